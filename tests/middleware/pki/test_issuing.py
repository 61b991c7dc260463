"""pki.issuing: files and record appear together, whatever happens on the way, and nobody else's file is touched."""

import stat
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from commands import list_files
from interruptions import interrupt_everywhere
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, NameTaken, NotInInventory, RevocationReason, State
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.founding import found_intermediate
from keyfob.pki.issuing import DeviceFiles, issue_device, renew_device, settle_device
from keyfob.pki.keys import generate_key, read_key, write_key
from keyfob.pki.registry import DAY, DEVICES, Registry
from keyfob.pki.requests import describe_kind
from registries import make_registry

NAME = "Rhea Group"
WISH = DeviceRequest(NAME, 90, "Rhea Group", "Finance", ("rhea@example.com",), ("phone.example.com",), ("urn:x:1",))
PAIR = [f"{NAME}-key.pem", f"{NAME}.pem"]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


def devices(registry: Registry) -> Path:
    return registry.folder / DEVICES


def require_whole(registry: Registry, name: str = NAME) -> x509.Certificate:
    """The certificate in the device's place: its key belongs to it, it is the one that counts, and nothing is left."""
    folder = devices(registry)
    certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
    key = read_key((folder / f"{name}-key.pem").read_bytes(), "it")
    assert key.public_key() == certificate.public_key()
    present = registry.inventory.find_present(name)
    assert present is not None
    assert present.parsed == certificate
    assert not list(folder.glob(".*"))
    return certificate


def stage(registry: Registry) -> x509.Certificate:
    """What a command leaves that is killed just before it records: a whole pair that nobody knows of."""
    key = generate_key()
    certificate = registry.sign_unrecorded(WISH, key.public_key())
    files = DeviceFiles(registry, NAME)
    with files.hold():
        files._stage(certificate, key)
    return certificate


# --- What is made ---------------------------------------------------------------------------------------------------


def test_a_device_is_two_files_and_a_record(registry: Registry) -> None:
    """For their owner alone, with what was asked for, and nothing beside them."""
    made = issue_device(registry, WISH, "p384")
    assert list_files(devices(registry)) == PAIR
    assert {stat.S_IMODE(path.stat().st_mode) for path in devices(registry).iterdir()} == {0o600}
    assert stat.S_IMODE(devices(registry).stat().st_mode) == 0o700
    certificate = require_whole(registry)
    assert (made.certificate, made.resumed, describe_kind(certificate.public_key())) == (certificate, False, "p384")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == ["rhea@example.com", "phone.example.com", "urn:x:1"]


def test_a_key_that_was_born_elsewhere_has_no_file(registry: Registry) -> None:
    """Nobody here has it."""
    public = generate_key().public_key()
    made = issue_device(registry, WISH, public=public)
    assert (made.key, made.certificate.public_key()) == (None, public)
    assert list_files(devices(registry)) == [f"{NAME}.pem"]


def test_a_name_is_issued_once_and_again_when_it_was_revoked(registry: Registry) -> None:
    """The revoked pair is worth nothing any more, and makes room."""
    first = issue_device(registry, WISH).certificate
    with pytest.raises(NameTaken):
        issue_device(registry, WISH)
    assert require_whole(registry) == first
    revoke(registry)
    assert issue_device(registry, WISH).certificate != first
    assert require_whole(registry) != first
    assert registry.inventory.count() == 2


def revoke(registry: Registry) -> None:
    records = [each.record for each in registry.inventory.find(NAME)]
    registry.inventory.revoke(records, RevocationReason.UNSPECIFIED, time.time())


def test_renewal_keeps_the_words_and_replaces_the_pair(registry: Registry) -> None:
    """New key, same subject, same names, same lifetime, same kind; the old one lives until the day."""
    old = issue_device(registry, WISH, "rsa2048").certificate
    new = renew_device(registry, NAME, time.time() + 7 * DAY).certificate
    assert require_whole(registry) == new
    assert new.public_key() != old.public_key()
    assert describe_kind(new.public_key()) == "rsa2048"
    assert new.subject == old.subject
    alternative = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for each in (old, new)]
    assert alternative[0] == alternative[1]
    assert (new.not_valid_after_utc - new.not_valid_before_utc) == (old.not_valid_after_utc - old.not_valid_before_utc)
    states = [each.record.find_state(time.time()) for each in registry.inventory.find(NAME)]
    assert states == [State.ACTIVE, State.RETIRING]


def test_renewal_takes_other_kinds_days_and_keys(registry: Registry) -> None:
    """A key from elsewhere leaves no old key behind, which belongs to nothing any more."""
    issue_device(registry, WISH)
    new = renew_device(registry, NAME, time.time(), "p384", 10).certificate
    assert (new.not_valid_after_utc - new.not_valid_before_utc).days == 10
    assert describe_kind(new.public_key()) == "p384"
    renew_device(registry, NAME, time.time(), public=generate_key().public_key())
    assert list_files(devices(registry)) == [f"{NAME}.pem"]


def test_nobody_is_renewed_who_does_not_count(registry: Registry) -> None:
    """Neither a stranger, nor one that was revoked; and no folder is left behind for them."""
    with pytest.raises(NotInInventory, match="no device 'Rhea Group' to renew"):
        renew_device(registry, NAME, time.time())
    issue_device(registry, WISH)
    revoke(registry)
    with pytest.raises(NotInInventory):
        renew_device(registry, NAME, time.time())
    assert list_files(devices(registry)) == PAIR


# --- What is there already ------------------------------------------------------------------------------------------


def test_files_of_somebody_else_are_never_written_over(registry: Registry) -> None:
    """A key, a certificate by another CA, junk: nothing is recorded then, either."""
    devices(registry).mkdir()
    stranger = make_registry(registry.folder.parent / "other").issue(DeviceRequest(NAME))
    cases = (
        {f"{NAME}-key.pem": write_key(generate_key())},
        {f"{NAME}.pem": stranger.certificate_pem},
        {f"{NAME}.pem": stranger.certificate_pem, f"{NAME}-key.pem": stranger.key_pem},
        {f"{NAME}.pem": b"junk"},
    )
    for contents in cases:
        for name, data in contents.items():
            (devices(registry) / name).write_bytes(data)
        with pytest.raises(PKIError, match=r"never written over|not a file of this device|cannot be read"):
            issue_device(registry, WISH)
        assert {path.name: path.read_bytes() for path in devices(registry).iterdir()} == contents
        assert registry.inventory.count() == 0
        for name in contents:
            (devices(registry) / name).unlink()


def test_a_key_that_was_put_in_the_place_of_the_device_s_is_kept(registry: Registry) -> None:
    """It does not belong to the certificate beside it, so it is somebody's."""
    issue_device(registry, WISH)
    key = devices(registry) / f"{NAME}-key.pem"
    key.write_bytes(write_key(generate_key()))
    before = key.read_bytes()
    with pytest.raises(PKIError, match="not a file of this device"):
        renew_device(registry, NAME, time.time())
    assert key.read_bytes() == before
    assert registry.inventory.count() == 1


# --- Interruptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["issue", "renew"])
def test_a_command_that_is_killed_anywhere_is_finished_by_the_next(registry: Registry, command: str) -> None:
    """Before each step on disk: then the same command again, and there is one pair, whole, and recorded."""
    certificates = 1
    if command == "renew":
        issue_device(registry, DeviceRequest(NAME))
        certificates = 2
    registry.inventory.close()
    killed = list(interrupt_everywhere(registry.folder, command, NAME))
    assert len(killed) > 15
    for run in killed:
        again = Registry(Path(run["home"]))
        refused = "has a certificate already" in run["said"]
        assert run["status"] == (1 if refused else 0), run
        require_whole(again)
        # A renewal that was all but done is asked for once more, and done once more.
        assert again.inventory.count() in {certificates, certificates + (command == "renew")}
        assert list_files(devices(again)) == PAIR
        again.inventory.close()


def test_an_unrecorded_pair_is_adopted(registry: Registry) -> None:
    """It is recorded; no second certificate is made for the name."""
    certificate = stage(registry)
    made = issue_device(registry, WISH)
    assert (made.certificate, made.resumed) == (certificate, True)
    assert require_whole(registry) == certificate
    assert registry.inventory.count() == 1


def test_an_unrecorded_pair_in_its_place_is_adopted(registry: Registry) -> None:
    """As a command leaves it that writes the files themselves first."""
    issued = registry.authority.issue_device(WISH)
    devices(registry).mkdir()
    (devices(registry) / f"{NAME}.pem").write_bytes(issued.certificate_pem)
    (devices(registry) / f"{NAME}-key.pem").write_bytes(issued.key_pem)
    assert issue_device(registry, WISH).resumed
    assert require_whole(registry) == issued.certificate


def test_an_unrecorded_pair_by_the_root_is_adopted_after_an_intermediate_was_made(registry: Registry) -> None:
    """It is recorded as the root's, so that the root's list can withdraw it."""
    certificate = stage(registry)
    found_intermediate(registry.folder, "Devices")
    later = Registry(registry.folder)
    assert issue_device(later, WISH).certificate == certificate
    revoke(later)
    root = later.root.public_bytes(Encoding.DER)
    assert len(list(later.inventory.iterate_revoked(root, time.time()))) == 1


def test_an_unrecorded_pair_that_says_something_else_is_recorded_and_said(registry: Registry) -> None:
    """It exists, so it has to be known to be revoked; but it is not what was asked for."""
    stage(registry)
    with pytest.raises(PKIError, match="had made another certificate") as raised:
        issue_device(registry, DeviceRequest(NAME, 365))
    assert "recorded" in raised.value.hint
    require_whole(registry)


def test_an_unrecorded_pair_of_a_stranger_is_not_adopted(registry: Registry) -> None:
    """Whoever can write into the folder cannot have a certificate of another CA recorded."""
    other = make_registry(registry.folder.parent / "other")
    stage(other)
    devices(registry).mkdir()
    (devices(other) / ".next").rename(devices(registry) / ".next")
    with pytest.raises(PKIError, match="is by nobody here"):
        issue_device(registry, WISH)
    assert registry.inventory.count() == 0


def test_what_is_recorded_is_put_in_place_for_whoever_reads_the_files(registry: Registry) -> None:
    """An export between a killed renewal and the next would hand out the old key."""
    certificate = stage(registry)
    registry.record(NAME, certificate)
    made = settle_device(registry, NAME)
    assert made is not None
    assert require_whole(registry) == made.certificate == certificate
    assert settle_device(registry, NAME) is None


def test_a_record_that_is_refused_leaves_no_file(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database may be full."""

    def refuse(*_: object) -> None:
        raise PKIError("full", "make room")

    monkeypatch.setattr(Inventory, "add", refuse)
    with pytest.raises(PKIError, match="full"):
        issue_device(registry, WISH)
    assert list_files(devices(registry)) == []


def test_a_record_whose_answer_was_lost_counts(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection broke after the commit: the certificate is there, and its key is not thrown away."""
    add = Inventory.add

    def lose(*arguments: object) -> None:
        add(*arguments)  # type: ignore[arg-type]
        raise PKIError("the server has gone away", "")

    monkeypatch.setattr(Inventory, "add", lose)
    issue_device(registry, WISH)
    require_whole(registry)


def test_a_database_that_falls_silent_leaves_the_pair_for_the_next_command(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell whether it was recorded, so nothing is thrown away."""
    with monkeypatch.context() as patch:

        def fall_silent(*_: object) -> None:
            patch.setattr(Inventory, "find", refuse)
            refuse()

        def refuse(*_: object) -> None:
            raise PKIError("the server has gone away", "start it")

        patch.setattr(Inventory, "add", fall_silent)
        with pytest.raises(PKIError, match="gone away"):
            issue_device(registry, WISH)
    assert issue_device(registry, WISH).resumed
    require_whole(registry)
    assert registry.inventory.count() == 1


@pytest.mark.parametrize("call", ["link", "rename", "fsync", "mkdir"])
def test_a_disk_that_fails_is_said_in_one_sentence(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Neither files nor a record are left, or the next command finishes them."""
    devices(registry).mkdir()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{call}", fail)
        with pytest.raises(PKIError, match="No space left on device"):
            issue_device(registry, WISH)
    assert not [name for name in list_files(devices(registry)) if not name.startswith(".next")]
    issue_device(registry, WISH)
    require_whole(registry)
    assert registry.inventory.count() == 1


# --- Several at once ------------------------------------------------------------------------------------------------


def test_of_two_at_once_one_gets_the_name(registry: Registry) -> None:
    """The other is refused, and the pair is the winner's."""
    refused: list[PKIError] = []

    def issue() -> None:
        try:
            issue_device(Registry(registry.folder), WISH)
        except NameTaken as error:
            refused.append(error)

    threads = [threading.Thread(target=issue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    require_whole(registry)
    assert registry.inventory.count() == 1


def test_of_two_folders_with_one_inventory_one_gets_the_name(registry: Registry) -> None:
    """There no lock on a folder helps; the inventory decides, and the loser's files are gone again."""
    other = Registry(make_registry(registry.folder.parent / "other").folder, registry.inventory.name)
    issue_device(registry, WISH)
    files = DeviceFiles(other, NAME)
    with files.hold(), pytest.raises(NameTaken):
        files.make(WISH, "p256", None, lambda entry: other.inventory.add([entry]))
    assert list_files(devices(other)) == []
