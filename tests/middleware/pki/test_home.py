"""pki.home: what the first start makes, what the second one keeps, and how a damaged folder is told."""

import contextlib
import json
import os
import shlex
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certificates import DAY, SERVER, Pair, make_authority, make_leaf, make_server
from exchanges import make_request
from keyfob import load_gate
from keyfob.errors import ConfigError, PKIError, Reason
from keyfob.inventory import RevocationReason, State
from keyfob.pki.authority import Authority
from keyfob.pki.founding import found_intermediate
from keyfob.pki.home import DEVICE_NAME, Home, open_home, unnamed_hosts
from keyfob.pki.registry import INVENTORY
from keyfob.policy import Allow, Decision, Deny
from permissions import closed
from servers import environment, find_program

HOSTS = ["localhost", "127.0.0.1", "::1", "box.local"]
FILES = [
    "access.toml",
    "bundle.pem",
    "ca-key.pem",
    "ca.pem",
    "devices/this-computer-key.pem",
    "devices/this-computer.pem",
    "inventory.db",
    "server-key.pem",
    "server.pem",
]
PAIRED = [name for name in FILES if name.endswith(".pem") and name != "bundle.pem"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after its first start. For reading only."""
    return open_home(tmp_path_factory.mktemp("made") / "home", HOSTS)


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    """The same home, to be damaged."""
    shutil.copytree(made.folder, tmp_path / "home")
    return Home(tmp_path / "home")


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in list_files(folder):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (path.read_bytes(), status.st_mode, status.st_ino, status.st_mtime_ns)
    return found


def list_files(folder: Path) -> list[Path]:
    """Every file, at whatever depth."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def list_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in list_files(folder))


def refuse(folder: Path) -> PKIError:
    """Opens a home that cannot be opened; anything but a PKIError with a hint is a failure."""
    with pytest.raises(PKIError) as raised:
        open_home(folder, HOSTS)
    assert raised.value.hint
    return raised.value


# --- The first start ------------------------------------------------------------------------------------------------


def test_the_first_start_makes_everything_for_its_owner_alone(tmp_path: Path) -> None:
    """The folder 0700 and every file 0600, whatever the umask, folders above it included where they are missing."""
    before = os.umask(0)
    try:
        made = open_home(tmp_path / "above" / "home", HOSTS)
    finally:
        os.umask(before)
    assert list_names(made.folder) == FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in (made.folder, made.device.parent)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in list_files(made.folder)} == {0o600}


def test_a_relative_folder_becomes_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed has to work in another terminal, which stands elsewhere."""
    monkeypatch.chdir(tmp_path)
    made = open_home(Path("home"), HOSTS)
    assert made.folder == tmp_path / "home"
    assert all(path.is_absolute() for path in (made.authority, made.device, made.device_key, made.config))


def test_each_property_names_a_file_that_is_there(made: Home) -> None:
    """Every file has one name in the code, and the folder holds no other."""
    paths = [made.authority, made.authority_key, made.bundle, made.server, made.server_key, made.device]
    paths += [made.device_key, made.config, made.folder / INVENTORY]
    assert sorted(str(path.relative_to(made.folder)) for path in paths) == FILES
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize("name", ["ca", "server", "devices/this-computer"])
def test_each_certificate_belongs_to_the_key_beside_it(made: Home, name: str) -> None:
    """Pairs are never mixed."""
    certificate = x509.load_pem_x509_certificate((made.folder / f"{name}.pem").read_bytes())
    key = load_pem_private_key((made.folder / f"{name}-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize(("name", "purpose"), [("server", "sslserver"), ("devices/this-computer", "sslclient")])
def test_openssl_verifies_the_files_as_they_stand(made: Home, name: str, purpose: str) -> None:
    """What is on disk is what a server and curl will use."""
    openssl = find_program("openssl", "openssl")
    command: list[str | Path] = [openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", made.authority]
    subprocess.run([*command, made.folder / f"{name}.pem"], check=True, capture_output=True)


def test_the_first_device_is_in_the_inventory(made: Home) -> None:
    """What is not recorded cannot be withdrawn."""
    [stored] = made.registry().inventory.find(DEVICE_NAME)
    assert stored.parsed == x509.load_pem_x509_certificate(made.device.read_bytes())
    assert stored.record.find_state(time.time()) is State.ACTIVE


def test_two_homes_share_nothing(made: Home, tmp_path: Path) -> None:
    """Nothing is built in: every authority and key is this folder's own."""
    other = open_home(tmp_path / "home", HOSTS)
    for name in PAIRED:
        assert (other.folder / name).read_bytes() != (made.folder / name).read_bytes()


# --- The second start -----------------------------------------------------------------------------------------------


def test_the_second_start_changes_not_a_byte(home: Home) -> None:
    """Nor a mode, a time or an inode."""
    before = snapshot(home.folder)
    assert open_home(home.folder, HOSTS) == home
    assert open_home(home.folder, [*HOSTS, "another.local"]) == home
    assert snapshot(home.folder) == before


def test_a_folder_that_was_there_is_filled_and_the_rest_in_it_left_alone(tmp_path: Path) -> None:
    """Somebody may have made it beforehand, or keep a workbook there."""
    (tmp_path / "budget.xlsx").write_bytes(b"mine")
    open_home(tmp_path, HOSTS)
    assert (tmp_path / "budget.xlsx").read_bytes() == b"mine"
    assert list_names(tmp_path) == sorted([*FILES, "budget.xlsx"])


@pytest.mark.parametrize(
    "gone",
    [["server.pem", "server-key.pem"], ["access.toml"], ["bundle.pem"]],
    ids=["server", "rules", "bundle"],
)
def test_what_is_missing_as_a_whole_is_made_again(home: Home, gone: list[str]) -> None:
    """By the same authority, and nothing else is touched."""
    for name in gone:
        (home.folder / name).unlink()
    before = snapshot(home.folder)
    again = open_home(home.folder, HOSTS)
    after = snapshot(home.folder)
    assert sorted(after) == FILES
    assert {name: after[name] for name in before} == before
    assert isinstance(check(again, read_chain(again)), Allow)


def test_a_first_device_whose_files_were_deleted_is_made_anew_and_the_old_one_is_out(home: Home) -> None:
    """Whoever has taken the files away shall not have a key to the door."""
    old = read_chain(home)
    home.device.unlink()
    home.device_key.unlink()
    open_home(home.folder, HOSTS)
    assert isinstance(check(home, read_chain(home)), Allow)
    assert find_reason(home, old) is Reason.CERTIFICATE_REVOKED


def test_a_first_device_that_an_interrupted_start_did_not_record_is_recorded(home: Home) -> None:
    """Its files came first; without a record nobody could withdraw it."""
    with contextlib.closing(sqlite3.connect(home.folder / INVENTORY)) as database:
        database.execute("DELETE FROM certificates")
        database.commit()
    open_home(home.folder, HOSTS)
    [stored] = home.registry().inventory.find(DEVICE_NAME)
    assert stored.parsed == x509.load_pem_x509_certificate(home.device.read_bytes())


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_a_lost_inventory_is_not_made_anew(home: Home, content: bytes | None) -> None:
    """An empty one would let everybody in again who was withdrawn."""
    inventory = home.folder / INVENTORY
    inventory.unlink()
    if content is not None:
        inventory.write_bytes(content)
    before = snapshot(home.folder)
    assert "inventory.db" in refuse(home.folder).message
    assert snapshot(home.folder) == before


def test_a_bundle_of_before_the_intermediate_learns_of_it(home: Home) -> None:
    """A command that was interrupted between the two files is finished by the next start."""
    before = home.bundle.read_bytes()
    found_intermediate(home.folder, "Devices")
    after = home.bundle.read_bytes()
    home.bundle.write_bytes(before)
    open_home(home.folder, HOSTS)
    assert home.bundle.read_bytes() == after != before


def test_a_bundle_of_ones_own_stays(home: Home) -> None:
    """Whoever adds another CA to it does not lose it at the next start."""
    mine = home.bundle.read_bytes() + make_authority("Another CA").pem.encode()
    home.bundle.write_bytes(mine)
    open_home(home.folder, HOSTS)
    assert home.bundle.read_bytes() == mine


# --- Half a folder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PAIRED if name != "ca-key.pem"])
def test_half_a_pair_is_neither_used_nor_replaced(home: Home, name: str) -> None:
    """Its other half may be in a backup; a new one would lock out every device."""
    (home.folder / name).unlink()
    before = snapshot(home.folder)
    assert Path(name).name in refuse(home.folder).message
    assert snapshot(home.folder) == before


@pytest.mark.parametrize(
    "gone",
    [["ca.pem", "ca-key.pem"], ["ca.pem", "ca-key.pem", "devices/this-computer.pem", "devices/this-computer-key.pem"]],
    ids=["both", "both-and-device"],
)
def test_no_second_authority_is_made_beside_certificates_of_the_first(home: Home, gone: list[str]) -> None:
    """Its certificates would be refused by the very door they stand in front of."""
    for name in gone:
        (home.folder / name).unlink()
    before = snapshot(home.folder)
    assert "ca" in refuse(home.folder).message
    assert snapshot(home.folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_dangling_link_in_place_of_a_file_is_not_written_through(home: Home, tmp_path: Path, name: str) -> None:
    """What is to be kept elsewhere, on a stick that is not plugged in, must not be made anew there or here."""
    elsewhere = tmp_path / "elsewhere"
    (home.folder / name).unlink()
    (home.folder / name).symlink_to(elsewhere)
    if name == "ca-key.pem":
        open_home(home.folder, HOSTS)
    else:
        refuse(home.folder)
    assert not elsewhere.exists()
    assert (home.folder / name).is_symlink()


# --- A damaged folder -----------------------------------------------------------------------------------------------


def pem(label: str, text: str = "AAAA") -> bytes:
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n".encode()


GARBAGE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "no-certificate": pem("CERTIFICATE"),
    "no-key": pem("PRIVATE KEY"),
    "no-base64": pem("CERTIFICATE", "????"),
    "another-key": make_authority().key_pem.encode(),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("name", FILES)
def test_garbage_in_a_file_never_becomes_a_traceback(home: Home, name: str, garbage: bytes) -> None:
    """Either the file is not looked at here, or it is a PKIError; and nothing is repaired by writing over it."""
    (home.folder / name).write_bytes(garbage)
    before = snapshot(home.folder)
    try:
        open_home(home.folder, HOSTS)
    except PKIError:
        pass
    else:
        assert name not in {"ca.pem", "ca-key.pem", "server.pem", "inventory.db"}
    assert snapshot(home.folder) == before


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem"])
def test_a_damaged_file_is_named_with_a_hint(home: Home, name: str) -> None:
    """Nine files lie there; which one is it, and what is to be done?"""
    (home.folder / name).write_bytes(b"junk")
    assert name in refuse(home.folder).message


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_never_becomes_a_traceback(home: Home, name: str) -> None:
    """A container mounts one where a file is missing."""
    (home.folder / name).unlink()
    (home.folder / name).mkdir()
    try:
        open_home(home.folder, HOSTS)
    except PKIError:
        pass
    else:
        assert name not in {"ca.pem", "ca-key.pem", "server.pem"}


def test_a_link_that_leads_nowhere_possible_never_becomes_a_traceback(home: Home) -> None:
    """Not even asking whether such a file exists gets an answer."""
    home.server.unlink()
    home.server.symlink_to("x" * 300)
    refuse(home.folder)


def test_a_folder_that_is_closed_to_this_user_is_said_with_a_hint(made: Home) -> None:
    """What is left behind when the first start was made with sudo."""
    # Not below tmp_path, whose folders nobody but this user may pass through.
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "home"
        shutil.copytree(made.folder, folder)
        with closed(folder):
            error = refuse(folder)
    assert str(folder) in error.message


@pytest.mark.parametrize("folder", ["file", "file/below", "{}/below".format("x" * 300)])
def test_a_folder_that_cannot_be_made_is_said_with_a_hint(tmp_path: Path, folder: str) -> None:
    """A file in its place or above it, and a name too long for any file system: root cannot make those either."""
    (tmp_path / "file").write_bytes(b"mine")
    assert str(tmp_path) in refuse(tmp_path / folder).message
    assert (tmp_path / "file").read_bytes() == b"mine"


# --- What has ended -------------------------------------------------------------------------------------------------


def read_pair(home: Home) -> Pair:
    key = load_pem_private_key(home.authority_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Pair(x509.load_pem_x509_certificate(home.authority.read_bytes()), key)


def test_an_ended_server_certificate_is_said_and_the_hint_makes_a_new_one(home: Home, tmp_path: Path) -> None:
    """Every visitor would be refused without a word on this side."""
    make_leaf(read_pair(home), "localhost", usages=[SERVER], ends=-DAY / 2).write(home.folder, "server")
    error = refuse(home.folder)
    assert "server.pem ended on" in error.message
    assert "server.pem" in error.hint
    assert "server-key.pem" in error.hint
    for path in (home.server, home.server_key):
        path.rename(tmp_path / path.name)
    open_home(home.folder, HOSTS)
    assert unnamed_hosts(home, HOSTS) == []


def test_an_ended_authority_is_said_and_doing_what_the_hint_says_helps(home: Home, tmp_path: Path) -> None:
    """Whatever it asks to be moved away, the next start has to work then."""
    make_authority("keyfob CA", ends=-DAY).write(home.folder, "ca")
    error = refuse(home.folder)
    assert "ca.pem ended on" in error.message
    named = [name for name in FILES if name in error.hint.split() or f"{name}," in error.hint.split()]
    aside = tmp_path / "aside"
    if named:
        aside.mkdir()
        for name in named:
            (home.folder / name).rename(aside / name)
    else:
        assert "folder" in error.hint
        home.folder.rename(aside)
    open_home(home.folder, HOSTS)


# --- The rules ------------------------------------------------------------------------------------------------------


def read_chain(home: Home) -> list[str]:
    return [home.device.read_text(encoding="ascii")]


def check(home: Home, chain: Sequence[str], host: str = "localhost") -> Decision:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", (f"[{host}]" if ":" in host else host).encode() + b":8443")],
        "extensions": {"tls": {"client_cert_chain": chain, "client_cert_error": None}},
    }
    return load_gate(home.config).check(make_request(scope, time.time()))


@pytest.mark.parametrize("host", HOSTS)
def test_the_device_is_let_in_at_every_host(made: Home, host: str) -> None:
    """Each name and address under which the machine can be reached."""
    decision = check(made, read_chain(made), host)
    assert isinstance(decision, Allow)
    assert decision.identity.certificate is not None
    assert decision.identity.certificate.common_name == DEVICE_NAME


@pytest.mark.parametrize("host", HOSTS)
def test_nobody_else_is_let_in_at_any_host(made: Home, host: str) -> None:
    """No certificate, the server, the authority, a namesake from elsewhere, and a device whose time is over."""
    authority = read_pair(made)
    strangers = {
        Reason.CERTIFICATE_MISSING: [],
        Reason.CERTIFICATE_WRONG_PURPOSE: [made.server.read_text(encoding="ascii")],
        Reason.CERTIFICATE_UNTRUSTED: [make_leaf(make_authority("keyfob CA"), DEVICE_NAME).pem],
        Reason.CERTIFICATE_EXPIRED: [make_leaf(authority, DEVICE_NAME, ends=-DAY / 2).pem],
    }
    for reason, chain in strangers.items():
        decision = check(made, chain, host)
        assert isinstance(decision, Deny)
        assert decision.reason is reason
    assert isinstance(check(made, [authority.pem], host), Deny)


def test_the_device_is_let_in_at_no_other_host(made: Home) -> None:
    """A name that was not there at the first start may lead to another app one day."""
    for host in ("elsewhere.local", "127.0.0.2", "::2", "localhost.evil.example"):
        decision = check(made, read_chain(made), host)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.HOST_UNKNOWN


def test_the_rules_name_the_hosts_in_order_and_only_once(made: Home) -> None:
    """A person reads and edits this file."""
    document = tomllib.loads(made.config.read_text(encoding="utf-8"))
    assert document["root_certificates"][0]["associated_hostnames"] == HOSTS
    assert document["applications"][0]["self_hosted_domains"] == HOSTS
    assert json.dumps(HOSTS) in made.config.read_text(encoding="utf-8")


ODD = ["under_score", "x--y", "xn--bcher-kva.example", "1", "a.b.c.d.e", "_x", "fd00::2", "2001:db8::1", "x" * 63]


def test_hosts_with_odd_names_are_hosts_too(tmp_path: Path) -> None:
    """Machines really are called like that; each is in the certificate and in the rules."""
    made = open_home(tmp_path / "home", ["localhost", *ODD])
    assert unnamed_hosts(made, ODD) == []
    for host in ODD:
        assert isinstance(check(made, read_chain(made), host), Allow)


@pytest.mark.parametrize("host", ["bücher.example", "\N{MOBILE PHONE}"])
def test_a_host_that_no_certificate_can_name_never_becomes_a_traceback(tmp_path: Path, host: str) -> None:
    """Callers should not ask for it; if one does, it is told so."""
    with pytest.raises(PKIError):
        open_home(tmp_path / "home", ["localhost", host])


# --- Keys that are taken back ---------------------------------------------------------------------------------------


def find_reason(home: Home, chain: Sequence[str]) -> Reason | None:
    """Why the rules refuse it; None if they let it in."""
    decision = check(home, chain)
    return decision.reason if isinstance(decision, Deny) else None


def withdraw(home: Home) -> None:
    inventory = home.registry().inventory
    [stored] = inventory.find(DEVICE_NAME)
    inventory.revoke([stored.record], RevocationReason.KEY_COMPROMISE, time.time())


def test_a_device_that_the_inventory_has_withdrawn_is_revoked(home: Home) -> None:
    """And no other one of the same name."""
    other = make_leaf(read_pair(home), DEVICE_NAME)
    withdraw(home)
    assert find_reason(home, read_chain(home)) is Reason.CERTIFICATE_REVOKED
    assert find_reason(home, [other.pem]) is None


def test_a_revoked_device_stays_revoked_when_the_rules_are_made_anew(home: Home) -> None:
    """Somebody deletes access.toml to begin with fresh rules: who was locked out is not let in by that."""
    withdraw(home)
    home.config.unlink()
    open_home(home.folder, HOSTS)
    assert find_reason(home, read_chain(home)) is Reason.CERTIFICATE_REVOKED


def test_an_inventory_that_is_gone_lets_nobody_in(home: Home) -> None:
    """The rules speak of it, so it is not taken for an empty one."""
    (home.folder / INVENTORY).unlink()
    with pytest.raises(ConfigError, match=r"inventory\.db"):
        load_gate(home.config)


# --- Hosts that came later ------------------------------------------------------------------------------------------


def test_hosts_that_the_certificate_does_not_name_are_told(made: Home) -> None:
    """In the order asked, names and addresses alike."""
    assert unnamed_hosts(made, HOSTS) == []
    assert unnamed_hosts(made, ["new.local", *HOSTS, "192.0.2.7"]) == ["new.local", "192.0.2.7"]


def test_a_certificate_of_ones_own_is_read_for_its_names(home: Home) -> None:
    """The server's pair may be replaced by one from elsewhere."""
    make_server(read_pair(home), "localhost").write(home.folder, "server")
    assert unnamed_hosts(open_home(home.folder, HOSTS), HOSTS) == HOSTS[1:]


def test_a_certificate_without_alternative_names_names_nobody(home: Home) -> None:
    """Old tools make such ones; browsers refuse them everywhere."""
    make_leaf(read_pair(home), "localhost", usages=[SERVER]).write(home.folder, "server")
    assert unnamed_hosts(open_home(home.folder, HOSTS), HOSTS) == HOSTS


def test_the_authority_of_the_folder_goes_on_issuing(made: Home) -> None:
    """Its files are what `Authority.load` takes."""
    issued = Authority.load(made.authority.read_bytes(), made.authority_key.read_bytes()).issue_device(DEVICE_NAME)
    assert isinstance(check(made, [issued.certificate_pem.decode()]), Allow)


@pytest.mark.parametrize("name", ["ca-key.pem", "server-key.pem", "devices/this-computer-key.pem", "inventory.db"])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    """Made here it cannot be; somebody opened it up, and the hint closes it again."""
    home = open_home(tmp_path / "home", ["localhost"])
    (home.folder / name).chmod(0o644)
    with pytest.raises(PKIError, match="can be read by others") as raised:
        open_home(home.folder, ["localhost"])
    assert raised.value.hint == f"chmod 600 {shlex.quote(str(home.folder / name))}"


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Whoever can put files there can put a CA of his own there."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o777)
    with pytest.raises(PKIError, match="can be written to by others"):
        open_home(tmp_path / "home", ["localhost"])


def test_what_an_interrupted_start_left_is_removed(tmp_path: Path) -> None:
    """A copy of the CA's key under another name would outlive the one that somebody moves to a safe place."""
    home = open_home(tmp_path / "home", ["localhost"])
    left = home.folder / ".ca-key.pem.0123abcd"
    left.hardlink_to(home.authority_key)
    mine = home.folder / ".ca-key.pem.backup"
    mine.write_text("mine")
    open_home(home.folder, ["localhost"])
    assert not left.exists()
    assert mine.exists()
    assert home.authority_key.exists()


def test_first_starts_at_once_make_one_home(tmp_path: Path) -> None:
    """The second waits for the first, and uses what it made."""
    script = "import sys, pathlib, keyfob.pki.home; keyfob.pki.home.open_home(pathlib.Path(sys.argv[1]), ['localhost'])"
    command = [sys.executable, "-c", script, str(tmp_path / "home")]
    starts = [subprocess.Popen(command, env=environment()) for _ in range(4)]
    assert [start.wait(60) for start in starts] == [0] * 4
    home = open_home(tmp_path / "home", ["localhost"])
    Authority.load(home.authority.read_bytes(), home.authority_key.read_bytes())


def test_the_authoritys_key_may_be_kept_elsewhere(home: Home) -> None:
    """Whoever has it can make new keys to the door, so it need not lie beside the door."""
    home.authority_key.unlink()
    home.config.unlink()
    before = {name: data for name, data in snapshot(home.folder).items() if name not in {".", "access.toml"}}
    open_home(home.folder, HOSTS)
    assert home.config.exists()
    assert before.items() <= snapshot(home.folder).items()


def test_without_the_authoritys_key_nothing_new_is_signed(home: Home) -> None:
    """A new device needs it; the message says which file to bring back, and no second authority is made."""
    home.authority_key.unlink()
    home.device.unlink()
    home.device_key.unlink()
    assert "ca-key.pem is missing" in refuse(home.folder).message
    assert not home.authority_key.exists()


def test_nothing_is_made_in_a_folder_that_is_open(tmp_path: Path) -> None:
    """It is looked at first."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o777)
    with pytest.raises(PKIError):
        open_home(tmp_path / "home", ["localhost"])
    assert list((tmp_path / "home").iterdir()) == []
