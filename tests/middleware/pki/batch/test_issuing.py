"""pki.batch.issuing: exactly one certificate a row, whatever was there before and whoever comes between."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from batches import read_files, require_one_each, require_pair, require_tidy, write_rows
from keyfob.errors import PKIError
from keyfob.inventory import Entry, RevocationReason
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.batch import issuing, known
from keyfob.pki.batch.issuing import Outcome, Progress, Stage, issue_batch
from keyfob.pki.batch.parts import open_workshop
from keyfob.pki.batch.rows import BadRows
from keyfob.pki.files import replace_file
from keyfob.pki.founding import found_intermediate
from keyfob.pki.registry import Registry
from registries import make_registry

NAMES = [f"device {number}" for number in range(30)]

each_out = pytest.mark.parametrize("out", ["fleet", "fleet.zip"])


def issue(registry: Registry, folder: Path, out: str, names: Sequence[str] = NAMES) -> Outcome:
    """A batch of these names, by one worker."""
    source = write_rows(folder / "devices.csv", names)
    return issue_batch(registry, source, folder / out, days=30, processes=1)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- What is made ---------------------------------------------------------------------------------------------------


@each_out
def test_every_row_gets_one_certificate_with_its_key(each_registry: Registry, tmp_path: Path, out: str) -> None:
    """In both databases, in both kinds of places; a name may have accents."""
    names = [*NAMES, "Rhéa's 📱"]
    assert issue(each_registry, tmp_path, out, names) == Outcome(len(names), 0)
    require_one_each(each_registry, names, tmp_path / out)
    require_tidy(tmp_path / out)


@each_out
def test_a_second_run_makes_nothing(each_registry: Registry, tmp_path: Path, out: str) -> None:
    """And leaves what is there, octet by octet."""
    issue(each_registry, tmp_path, out)
    before = read_files(tmp_path / out)
    assert issue(each_registry, tmp_path, out) == Outcome(0, len(NAMES))
    assert read_files(tmp_path / out) == before
    require_one_each(each_registry, NAMES, tmp_path / out)
    require_tidy(tmp_path / out)


def test_rows_that_are_added_later_are_made_then(registry: Registry, tmp_path: Path) -> None:
    """The folder is what the file says, as often as it is asked."""
    issue(registry, tmp_path, "fleet", NAMES[:10])
    assert issue(registry, tmp_path, "fleet") == Outcome(20, 10)
    require_one_each(registry, NAMES, tmp_path / "fleet")


def test_a_row_says_what_its_certificate_says(registry: Registry, tmp_path: Path) -> None:
    """Kinds of keys, days and names of its own; the rest is as the command has it."""
    source = tmp_path / "devices.csv"
    source.write_text("name,key,days,email,organization\nrsa,rsa2048,20,a@example.com,Money\np384,p384,,,\nplain,,,,\n")
    issue_batch(registry, source, tmp_path / "fleet", days=30)
    files = read_files(tmp_path / "fleet")
    certificates = {name: x509.load_pem_x509_certificate(files[f"{name}.pem"]) for name in ("rsa", "p384", "plain")}
    for name, certificate in certificates.items():
        key = load_pem_private_key(files[f"{name}-key.pem"], None)
        assert key.public_key() == certificate.public_key()
    assert isinstance(certificates["rsa"].public_key(), rsa.RSAPublicKey)
    assert isinstance(certificates["p384"].public_key(), ec.EllipticCurvePublicKey)
    assert certificates["rsa"].subject.rfc4514_string() == "CN=rsa,O=Money"
    names = certificates["rsa"].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["a@example.com"]
    lives = {name: each.not_valid_after_utc - each.not_valid_before_utc for name, each in certificates.items()}
    assert {name: each.days for name, each in lives.items()} == {"rsa": 20, "p384": 30, "plain": 30}


def test_a_csr_gets_a_certificate_and_no_key(registry: Registry, tmp_path: Path) -> None:
    """The key stays where it was born."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(key, registry.authority.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    (tmp_path / "phone.csr").write_bytes(csr.public_bytes(Encoding.PEM))
    source = tmp_path / "devices.csv"
    source.write_text("name,csr\nPhone,phone.csr\n")
    for _ in range(2):
        issue_batch(registry, source, tmp_path / "fleet", days=30)
    files = read_files(tmp_path / "fleet")
    assert list(files) == ["Phone.pem"]
    assert x509.load_pem_x509_certificate(files["Phone.pem"]).public_key() == key.public_key()


def test_an_intermediate_signs_where_there_is_one(registry: Registry, tmp_path: Path) -> None:
    """As it does for a single device."""
    found_intermediate(registry.folder, "Devices")
    issue(registry, tmp_path, "fleet", ["a"])
    certificate = require_pair(read_files(tmp_path / "fleet"), "a")
    assert certificate.issuer.rfc4514_string() == "CN=Devices"


def test_how_far_it_is_is_told(registry: Registry, tmp_path: Path) -> None:
    """All rows are checked before the first is made, and every one is counted."""
    source, told = write_rows(tmp_path / "devices.csv", NAMES), list[Progress]()
    issue_batch(registry, source, tmp_path / "fleet", days=30, watch=told.append)
    assert [each.stage for each in told] == [Stage.CHECKING, Stage.ISSUING, Stage.ISSUING, Stage.FINISHING]
    assert told[0].done == told[2].done == told[2].total == 30


# --- What is refused ------------------------------------------------------------------------------------------------


@each_out
def test_bad_rows_are_listed_before_anything_is_made(each_registry: Registry, tmp_path: Path, out: str) -> None:
    """Wrong, twice, or taken: all of them at once. Afterwards, everything is as it was."""
    each_registry.issue(DeviceRequest("taken"))
    source = tmp_path / "devices.csv"
    source.write_text("name,days\nfine,30\ntaken,30\nfine,30\nodd,soon\n")
    before = snapshot(tmp_path)
    with pytest.raises(BadRows) as raised:
        issue_batch(each_registry, source, tmp_path / out, days=30)
    assert [(fault.line, fault.name) for fault in raised.value.faults] == [(3, "taken"), (4, "fine"), (5, "odd")]
    assert raised.value.count == 3
    assert "has a certificate already" in raised.value.faults[0].reason
    assert snapshot(tmp_path).keys() - {"home/inventory.db-wal", "home/inventory.db-shm"} == before.keys()
    assert not (tmp_path / out).exists()
    assert each_registry.inventory.count() == 1


def test_a_name_that_was_revoked_is_free_again(registry: Registry, tmp_path: Path) -> None:
    """As it is for a single device."""
    registry.issue(DeviceRequest("a"))
    registry.inventory.revoke(list(registry.inventory.iterate()), RevocationReason.SUPERSEDED, time.time())
    assert issue(registry, tmp_path, "fleet", ["a"]) == Outcome(1, 0)


def test_a_device_that_was_revoked_since_is_not_made_anew(registry: Registry, tmp_path: Path) -> None:
    """Whoever runs the same file again has not asked for a second certificate."""
    issue(registry, tmp_path, "fleet", ["a"])
    registry.inventory.revoke(list(registry.inventory.iterate()), RevocationReason.KEY_COMPROMISE, time.time())
    assert issue(registry, tmp_path, "fleet", ["a"]) == Outcome(0, 1)
    assert registry.inventory.count() == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pem", b"notes", "a.pem is there already, and is no certificate"),
        ("a-key.pem", b"a key", "a-key.pem is there already, without its certificate"),
    ],
)
def test_what_is_in_the_way_is_never_written_over(
    registry: Registry, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """It may be somebody's only key."""
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / name).write_bytes(content)
    with pytest.raises(BadRows) as raised:
        issue(registry, tmp_path, "fleet", ["a", "b"])
    assert [fault.line for fault in raised.value.faults] == [2]
    assert reason in raised.value.faults[0].reason
    assert read_files(tmp_path / "fleet") == {name: content}


def test_a_certificate_of_somebody_else_is_in_the_way(registry: Registry, tmp_path: Path) -> None:
    """Whoever has signed it, it is not of this inventory."""
    other = make_registry(tmp_path / "other")
    issue(other, tmp_path, "fleet", ["a"])
    with pytest.raises(BadRows) as raised:
        issue(registry, tmp_path, "fleet", ["a"])
    assert "is not of this inventory" in raised.value.faults[0].reason


def test_a_bundle_of_other_rows_is_never_written_over(registry: Registry, tmp_path: Path) -> None:
    """Nor one that another authority has made of the same rows, or what is no bundle at all."""
    issue(registry, tmp_path, "fleet.zip", ["a"])
    before = (tmp_path / "fleet.zip").read_bytes()
    with pytest.raises(PKIError, match="exists and is never written over"):
        issue(registry, tmp_path, "fleet.zip", ["a", "b"])
    assert (tmp_path / "fleet.zip").read_bytes() == before
    assert registry.inventory.count() == 1
    other = make_registry(tmp_path / "other")
    with pytest.raises(PKIError, match="exists and is never written over"):
        issue(other, tmp_path, "fleet.zip", ["a"])
    (tmp_path / "notes.zip").write_bytes(b"x")
    with pytest.raises(PKIError, match="exists and is never written over"):
        issue(registry, tmp_path, "notes.zip", ["c"])


@pytest.mark.parametrize("content", ["name\n", "name\n\n,\n"])
def test_a_file_without_rows_is_refused(registry: Registry, tmp_path: Path, content: str) -> None:
    """Somebody has saved the wrong sheet."""
    (tmp_path / "devices.csv").write_text(content.replace(",", "\n"))
    with pytest.raises(PKIError, match="has no rows"):
        issue_batch(registry, tmp_path / "devices.csv", tmp_path / "fleet", days=30)
    assert not (tmp_path / "fleet").exists()


@each_out
def test_a_second_batch_in_the_same_place_is_refused(registry: Registry, tmp_path: Path, out: str) -> None:
    """Each of them would take what the other makes for its own."""
    workshop = tmp_path / "fleet" / ".batch" if out == "fleet" else tmp_path / ".fleet.zip.batch"
    workshop.parent.mkdir(exist_ok=True)
    with open_workshop(workshop), pytest.raises(PKIError, match="another batch is at work"):
        issue(registry, tmp_path, out)
    assert registry.inventory.count() == 0
    issue(registry, tmp_path, out)
    require_one_each(registry, NAMES, tmp_path / out)


@pytest.mark.parametrize("out", ["file/fleet", "file/fleet.zip", "file"])
def test_a_place_that_cannot_be_made_is_said_with_a_hint(registry: Registry, tmp_path: Path, out: str) -> None:
    """The disk may be somebody else's, too."""
    (tmp_path / "file").write_text("")
    with pytest.raises(PKIError) as raised:
        issue(registry, tmp_path, out)
    assert raised.value.hint


def test_a_worker_that_dies_ends_the_batch(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run goes on."""
    monkeypatch.setattr("keyfob.pki.batch.pool._START", "import sys; sys.exit(3)")
    with pytest.raises(PKIError, match="a worker process ended with status 3"):
        issue(registry, tmp_path, "fleet")
    monkeypatch.undo()
    issue(registry, tmp_path, "fleet")
    require_one_each(registry, NAMES, tmp_path / "fleet")


# --- What was stopped -----------------------------------------------------------------------------------------------


class Stopped(Exception):
    """In the place of a power cut."""


def stop_at(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr(target, stop)


STEPS = {
    "nothing is committed": "keyfob.pki.batch.parts.Workshop.commit",
    "nothing is recorded": "keyfob.pki.batch.issuing.record",
    "all is recorded": "keyfob.pki.batch.issuing._Batch._leave_out",
    "the bundle is not there": "keyfob.pki.batch.archive.Joiner.finish",
    "the bundle is there": "keyfob.pki.batch.folder.sync_folder",
    "all is in its place": "keyfob.pki.batch.parts.Workshop.remove",
}


@each_out
@pytest.mark.parametrize("step", STEPS)
def test_a_batch_goes_on_from_every_step(
    registry: Registry, tmp_path: Path, out: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded is the same afterwards; nothing is made a second time."""
    stop_at(monkeypatch, STEPS[step])
    # A folder has no step at which a bundle appears.
    with contextlib.suppress(Stopped):
        issue(registry, tmp_path, out)
    monkeypatch.undo()
    signed = {record.fingerprint for record in registry.inventory.iterate()}
    issue(registry, tmp_path, out)
    require_one_each(registry, NAMES, tmp_path / out)
    require_tidy(tmp_path / out)
    assert signed <= {record.fingerprint for record in registry.inventory.iterate()}


@each_out
def test_a_batch_that_goes_on_need_not_have_the_same_rows(
    registry: Registry, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been made stays made, and what is new is made, too."""
    stop_at(monkeypatch, "keyfob.pki.batch.issuing.record")
    with pytest.raises(Stopped):
        issue(registry, tmp_path, out, ["a", "b"])
    monkeypatch.undo()
    assert issue(registry, tmp_path, out, ["c", "b"]) == Outcome(1, 1)
    require_one_each(registry, ["a", "b", "c"], tmp_path / out)


def test_half_of_a_file_becomes_the_whole(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of a write leaves the beginning of it."""
    stop_at(monkeypatch, "keyfob.pki.batch.issuing.record")
    with pytest.raises(Stopped):
        issue(registry, tmp_path, "fleet")
    monkeypatch.undo()
    for name, length in ((f"{NAMES[3]}.pem", 100), (f"{NAMES[4]}-key.pem", 0)):
        os.truncate(tmp_path / "fleet" / name, length)
    issue(registry, tmp_path, "fleet")
    require_one_each(registry, NAMES, tmp_path / "fleet")
    require_tidy(tmp_path / "fleet")


def test_what_is_left_of_another_authority_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificates belong into its own inventory."""
    stop_at(monkeypatch, "keyfob.pki.batch.issuing.record")
    with pytest.raises(Stopped):
        issue(make_registry(tmp_path / "other"), tmp_path, "fleet", ["a"])
    monkeypatch.undo()
    with pytest.raises(PKIError, match="certificates of another authority"):
        issue(registry, tmp_path, "fleet", ["b"])
    assert registry.inventory.count() == 0


def test_what_an_intermediate_has_replaced_is_still_recorded(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root has signed the first half, and the intermediate signs the second."""
    stop_at(monkeypatch, "keyfob.pki.batch.issuing.record")
    with pytest.raises(Stopped):
        issue(registry, tmp_path, "fleet", ["a"])
    monkeypatch.undo()
    found_intermediate(registry.folder, "Devices")
    again = Registry(registry.folder)
    issue(again, tmp_path, "fleet", ["a", "b"])
    issuers = {name: require_pair(read_files(tmp_path / "fleet"), name).issuer.rfc4514_string() for name in "ab"}
    assert issuers == {"a": "CN=Money App Test", "b": "CN=Devices"}
    assert again.inventory.count() == 2
    again.inventory.close()


def test_files_without_a_record_are_adopted(registry: Registry, tmp_path: Path) -> None:
    """Such as when the inventory had to be put back from a backup."""
    shutil.copy(tmp_path / "home" / "inventory.db", tmp_path / "backup")
    issue(registry, tmp_path, "fleet")
    before = read_files(tmp_path / "fleet")
    for each in ("inventory.db-wal", "inventory.db-shm"):
        (tmp_path / "home" / each).unlink(missing_ok=True)
    replace_file(tmp_path / "home" / "inventory.db", (tmp_path / "backup").read_bytes())
    again = Registry(registry.folder)
    assert issue(again, tmp_path, "fleet") == Outcome(0, len(NAMES))
    assert read_files(tmp_path / "fleet") == before
    require_one_each(again, NAMES, tmp_path / "fleet")
    again.inventory.close()


@pytest.mark.parametrize("change", ["key", "name"])
def test_files_that_do_not_belong_together_are_not_adopted(registry: Registry, tmp_path: Path, change: str) -> None:
    """A certificate whose key is another's, or that names another device, is in the way."""
    for name in "ab":
        issued = registry.authority.issue_device(name)
        (tmp_path / "fleet").mkdir(exist_ok=True)
        (tmp_path / "fleet" / f"{name}.pem").write_bytes(issued.certificate_pem)
        (tmp_path / "fleet" / f"{name}-key.pem").write_bytes(issued.key_pem)
    swapped = ["-key.pem"] if change == "key" else ["-key.pem", ".pem"]
    for end in swapped:
        shutil.copy(tmp_path / "fleet" / f"b{end}", tmp_path / "fleet" / f"a{end}")
    with pytest.raises(BadRows) as raised:
        issue(registry, tmp_path, "fleet", ["a", "b"])
    assert [fault.name for fault in raised.value.faults] == ["a"]
    assert "is not of this inventory" in raised.value.faults[0].reason


# --- Who comes between ----------------------------------------------------------------------------------------------


def come_between(monkeypatch: pytest.MonkeyPatch, registry: Registry, names: Sequence[str]) -> None:
    """Somebody else gives these names a certificate after they were checked, and before they are recorded."""
    real: Callable[..., list[Entry]] = known.record

    def record(*arguments: object) -> list[Entry]:
        monkeypatch.setattr(issuing, "record", real)
        for name in names:
            registry.issue(DeviceRequest(name))
        return real(*arguments)

    monkeypatch.setattr(issuing, "record", record)


@each_out
def test_a_name_that_was_taken_in_the_meantime_is_left_out(
    each_registry: Registry, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are made, and the next run says so of its row."""
    taken = NAMES[5:8]
    come_between(monkeypatch, each_registry, taken)
    with pytest.raises(PKIError) as raised:
        issue(each_registry, tmp_path, out)
    assert "'device 5', 'device 6', 'device 7'" in raised.value.message
    assert "3 of 30 were left out" in raised.value.message
    others = {f"{name}{end}.pem" for name in NAMES if name not in taken for end in ("", "-key")}
    assert read_files(tmp_path / out).keys() == others
    assert each_registry.inventory.count() == len(NAMES)
    require_tidy(tmp_path / out)
