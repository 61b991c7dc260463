"""cli.export: one file for its owner alone, a password that is said once, and nothing where something is wrong."""

import plistlib
import re
import stat
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificates

from apple import find_faults
from certificates import make_authority, make_server
from keyfob.cli.main import main
from keyfob.inventory import RevocationReason
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.exports import FORMATS
from keyfob.pki.keys import write_key
from keyfob.pki.profiles import read_icon
from keyfob.pki.registry import Registry
from registries import make_registry

PASSWORD = re.compile(r"[a-z2-7]{5}(?:-[a-z2-7]{5}){3}")
REFUSED, USED_WRONGLY = 1, 2
URL = "https://money.example.com/"

each_format = pytest.mark.parametrize("kind", FORMATS)


class Ended(NamedTuple):
    """What a command has said, and its status."""

    status: object
    out: str
    err: str

    @property
    def password(self) -> str:
        [password] = PASSWORD.findall(self.err)
        return str(password)


class Person:
    """Somebody in an empty folder, with a registry elsewhere."""

    def __init__(self, home: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.registry = make_registry(home)
        self.here = here
        self._capsys = capsys

    def issue(self, name: str) -> None:
        """As `keyfob issue` does."""
        issued = self.registry.issue(DeviceRequest(name))
        folder = self.registry.folder / "devices"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.pem").write_bytes(issued.certificate_pem)
        key = folder / f"{name}-key.pem"
        key.write_bytes(issued.key_pem)
        key.chmod(0o600)

    def export(self, *arguments: str | Path) -> Ended:
        sys.argv = ["keyfob", "export", "--home", str(self.registry.folder), *map(str, arguments)]
        with pytest.raises(SystemExit) as raised:
            main()
        return Ended(raised.value.code, *self._capsys.readouterr())

    def fail(self, status: int, *arguments: str | Path) -> str:
        """An export that has to fail; its error. Nothing was written."""
        before = {path: path.read_bytes() for path in self.here.iterdir()}
        ended = self.export(*arguments)
        assert (ended.status, ended.out) == (status, ""), ended
        error, hint = ended.err.splitlines()
        assert error.startswith("error: ")
        assert re.fullmatch(r"hint: \S.*", hint)
        assert not PASSWORD.search(ended.err)
        assert {path: path.read_bytes() for path in self.here.iterdir()} == before
        return error

    def profile(self, *arguments: str | Path) -> dict[str, object]:
        """An exported profile, with its payloads by the last word of their types."""
        ended = self.export("Phone", "--format", "mobileconfig", *arguments)
        assert ended.status == 0, ended
        data = Path(ended.out.strip()).read_bytes()
        assert find_faults(data) == []
        return {each["PayloadType"].rpartition(".")[2]: each for each in plistlib.loads(data)["PayloadContent"]}


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Person:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "argv", [])
    for name in ("KEYFOB_HOME", "KEYFOB_INVENTORY", "KEYFOB_SIGNING_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    person = Person(tmp_path / "home", here, capsys)
    person.issue("Phone")
    return person


def open_with(data: bytes, password: str) -> str | None:
    """The device's name, where a certificate is encrypted, too. Raises ValueError for a wrong password."""
    if data.startswith(b"-----"):
        load_pem_private_key(data[data.index(b"-----BEGIN ENCRYPTED") :], password.encode())
        return None
    if data.startswith(b"<?xml"):
        payloads = plistlib.loads(data)["PayloadContent"]
        data = next(each for each in payloads if each["PayloadType"].endswith("pkcs12"))["PayloadContent"]
    read = pkcs12.load_pkcs12(data, password.encode())
    assert read.cert is not None
    [name] = read.cert.certificate.subject
    return str(name.value)


# --- What is written and said ---------------------------------------------------------------------------------------


@each_format
def test_an_export_is_one_file_for_its_owner_alone(person: Person, kind: str) -> None:
    """Called after the device, 0600, its path alone on stdout, and opened by the password from stderr."""
    ended = person.export("Phone", "--format", kind)
    assert ended.status == 0, ended.err
    [path] = person.here.iterdir()
    assert ended.out == f"{path}\n"
    assert path.name == f"Phone.{FORMATS[kind].ending}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    open_with(path.read_bytes(), ended.password)
    assert ended.password.encode() not in path.read_bytes()


def test_every_export_has_a_password_of_its_own(person: Person) -> None:
    """There is no way to ask for one, or for none."""
    first, second = (person.export("Phone", "--format", "p12", "--out", name) for name in ("one", "two"))
    assert first.password != second.password
    with pytest.raises(ValueError, match="password"):
        open_with((person.here / "one").read_bytes(), second.password)
    person.fail(USED_WRONGLY, "Phone", "--format", "p12", "--password", "x")


def test_nothing_that_exists_is_written_over(person: Person) -> None:
    """Neither somebody's file nor an export of before, whose password somebody may have."""
    (person.here / "Phone.p12").write_bytes(b"mine")
    assert "Phone.p12 exists" in person.fail(REFUSED, "Phone", "--format", "p12")
    assert "Phone.p12 exists" in person.fail(REFUSED, "Phone", "--format", "p12-modern")
    # In the folder of the devices, the certificate itself is in the way.
    devices = person.registry.folder / "devices"
    before = (devices / "Phone.pem").read_bytes()
    person.fail(REFUSED, "Phone", "--format", "pem", "--out", devices / "Phone.pem")
    assert (devices / "Phone.pem").read_bytes() == before


@pytest.mark.parametrize("out", ["nowhere/phone.p12", "."])
def test_a_place_that_takes_no_file_is_an_error(person: Person, out: str) -> None:
    """And nothing is left there."""
    person.fail(REFUSED, "Phone", "--format", "p12", "--out", out)


@pytest.mark.parametrize("name", ['"Rhéa\'s" phone', "📱" * 16, "x" * 64, "手机 & <co>"], ids=ascii)
@pytest.mark.parametrize("kind", ["p12", "mobileconfig"])
def test_any_device_s_name_can_be_exported(person: Person, kind: str, name: str) -> None:
    """The file is called so, and so is who it is for."""
    person.issue(name)
    ended = person.export(name, "--format", kind)
    assert ended.status == 0, ended.err
    [path] = person.here.iterdir()
    assert path.name == f"{name}.{kind}"
    assert open_with(path.read_bytes(), ended.password) == name


def test_a_name_in_decomposed_letters_is_the_same_name(person: Person) -> None:
    """As macOS hands it over."""
    person.issue("Rhéa")
    assert person.export("Rhe\u0301a", "--format", "p12").status == 0


def test_help_says_what_each_format_is_for(person: Person) -> None:
    """And every row of the table is one that can be asked for."""
    ended = person.export("--help")
    assert ended.status == 0
    listed = re.findall(r"^    (\S+) +\S.+$", ended.out, re.MULTILINE)
    assert listed[: len(FORMATS)] == list(FORMATS)


# --- Profiles -------------------------------------------------------------------------------------------------------


def test_a_profile_has_the_app_that_the_server_has_left_in_the_inventory(person: Person) -> None:
    """Whoever exports a key for the phone need not know the address by heart."""
    person.registry.inventory.write_setting("app.url", URL)
    person.registry.inventory.write_setting("app.name", "Budget")
    clip = person.profile()["managed"]
    assert isinstance(clip, dict)
    assert (clip["URL"], clip["Label"], clip["Icon"]) == (URL, "Budget", read_icon())


def test_what_is_asked_for_goes_before_what_the_server_has_left(person: Person, tmp_path: Path) -> None:
    """Address, name and icon."""
    person.registry.inventory.write_setting("app.url", "https://elsewhere.example/")
    icon = tmp_path / "icon.png"
    icon.write_bytes(read_icon() + b"another")
    clip = person.profile("--app-url", URL, "--app-name", "Money", "--app-icon", icon)["managed"]
    assert isinstance(clip, dict)
    assert (clip["URL"], clip["Label"], clip["Icon"]) == (URL, "Money", icon.read_bytes())


def test_an_app_without_a_name_is_called_after_its_host(person: Person) -> None:
    """Something has to stand under the icon."""
    clip = person.profile("--app-url", URL)["managed"]
    assert isinstance(clip, dict)
    assert clip["Label"] == "money.example.com"


def test_without_an_app_there_is_no_icon_and_a_note_says_so(person: Person) -> None:
    """A key alone is a profile, too."""
    ended = person.export("Phone", "--format", "mobileconfig", "--out", "one")
    assert "--app-url" in ended.err
    assert list(person.profile()) == ["root", "pkcs12"]


def test_the_root_can_be_left_out(person: Person) -> None:
    """Where the server has a certificate that every phone trusts."""
    assert list(person.profile("--no-root")) == ["pkcs12"]
    assert list(person.profile("--root", "--out", "with")) == ["root", "pkcs12"]


def sign(folder: Path, passphrase: str | None = None) -> list[str | Path]:
    """The options for a certificate with an intermediate, whose key is perhaps encrypted."""
    root = make_authority()
    signer, below = make_server(root), make_authority("Below", root)
    certificate, key = signer.write(folder, "signer", above=[below])
    if passphrase:
        key.write_bytes(write_key(signer.key, passphrase))  # type: ignore[arg-type]
    return ["--sign-with", certificate, "--sign-key", key]


def test_a_profile_is_signed_where_a_certificate_is_named(person: Person, tmp_path: Path) -> None:
    """With everything that stands behind the certificate in its file."""
    ended = person.export("Phone", "--format", "mobileconfig", *sign(tmp_path))
    assert ended.status == 0, ended.err
    data = (person.here / "Phone.mobileconfig").read_bytes()
    assert data[:1] == b"\x30"
    assert b"<?xml" in data
    chain = load_pem_x509_certificates((tmp_path / "signer.pem").read_bytes())
    assert len(chain) == 2
    assert all(each.public_bytes(Encoding.DER) in data for each in chain)


def test_an_encrypted_signing_key_needs_its_passphrase(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment, or typed; never as an argument."""
    options = sign(tmp_path, "open sesame")
    assert "encrypted" in person.fail(REFUSED, "Phone", "--format", "mobileconfig", *options)
    monkeypatch.setenv("KEYFOB_SIGNING_PASSPHRASE", "wrong")
    assert "wrong" not in person.fail(REFUSED, "Phone", "--format", "mobileconfig", *options)
    monkeypatch.setenv("KEYFOB_SIGNING_PASSPHRASE", "open sesame")
    assert person.export("Phone", "--format", "mobileconfig", *options).status == 0


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--app-url", URL],
        ["--app-name", "Budget"],
        ["--app-icon", "icon.png"],
        ["--root"],
        ["--no-root"],
        ["--sign-with", "cert.pem", "--sign-key", "key.pem"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", ["p12", "p12-modern", "pem"])
def test_what_only_a_profile_has_room_for_is_refused_elsewhere(person: Person, kind: str, arguments: list[str]) -> None:
    """Nobody shall think that a .p12 was signed, or has the CA in it."""
    assert arguments[0].replace("no-", "") in person.fail(USED_WRONGLY, "Phone", "--format", kind, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sign-with", "cert.pem"],
        ["--sign-key", "key.pem"],
        ["--sign-chain", "chain.pem"],
        ["--app-name", "Budget"],
        ["--app-icon", "icon.png"],
    ],
    ids=" ".join,
)
def test_half_of_what_belongs_together_is_refused(person: Person, arguments: list[str]) -> None:
    """A key without a certificate signs nothing, and an icon without an address opens nothing."""
    person.fail(USED_WRONGLY, "Phone", "--format", "mobileconfig", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--app-url", "http://money.example.com/"],
        ["--app-url", "https://[::1/"],
        ["--app-url", URL, "--app-name", ""],
        ["--app-url", URL, "--app-icon", "nowhere.png"],
        ["--app-url", URL, "--app-icon", "junk.png"],
        ["--sign-with", "nowhere.pem", "--sign-key", "nowhere.pem"],
        ["--sign-with", "junk.png", "--sign-key", "junk.png"],
    ],
    ids=" ".join,
)
def test_a_profile_that_no_phone_would_take_is_refused(person: Person, arguments: list[str]) -> None:
    """Before anything is written."""
    (person.here / "junk.png").write_bytes(b"junk")
    person.fail(REFUSED, "Phone", "--format", "mobileconfig", *arguments)


def test_the_format_is_the_one_that_every_device_takes_unless_another_of_the_table_is_asked_for(person: Person) -> None:
    """A phone says "wrong password" to the format that it does not know."""
    assert person.export("Phone").status == 0
    assert (person.here / "Phone.p12").exists()
    assert "'jks'" in person.fail(USED_WRONGLY, "Phone", "--format", "jks")


def test_a_device_that_nobody_knows_is_refused_with_a_guess(person: Person) -> None:
    """A slip of the finger is said as such."""
    ended = person.export("Phnoe", "--format", "p12")
    assert ended.status == REFUSED
    assert "'Phone'" in ended.err


@pytest.mark.parametrize("name", ["../Phone", "a/b", "\u202egnp", "Pho\x00ne", "x" * 10_000, ""], ids=ascii)
def test_a_name_that_no_device_can_have_is_refused(person: Person, name: str) -> None:
    """And it is no path, whatever it looks like."""
    assert len(person.fail(REFUSED, name, "--format", "p12")) < 300


def test_a_revoked_device_is_refused(person: Person) -> None:
    """Its key opens nothing any more."""
    inventory = person.registry.inventory
    records = [each.record for each in inventory.find("Phone")]
    inventory.revoke(records, RevocationReason.KEY_COMPROMISE, time.time())
    assert "revoked" in person.fail(REFUSED, "Phone", "--format", "p12")


def test_a_key_that_was_born_elsewhere_cannot_be_exported(person: Person) -> None:
    """The device has it, and nobody else."""
    (person.registry.folder / "devices" / "Phone-key.pem").unlink()
    assert "born elsewhere" in person.fail(REFUSED, "Phone", "--format", "p12")


def test_a_folder_without_a_registry_is_refused(person: Person, tmp_path: Path) -> None:
    """The error names it."""
    person.registry = Registry(tmp_path / "empty")
    assert str(tmp_path / "empty") in person.fail(REFUSED, "Phone", "--format", "p12")
    assert not (tmp_path / "empty").exists()
