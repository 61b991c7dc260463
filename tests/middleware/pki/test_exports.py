"""pki.exports: the closed table of formats, and what is refused before anything is written."""

import plistlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from apple import find_faults
from certificates import make_authority, make_server
from keyfob.errors import PKIError
from keyfob.inventory import NotInInventory, RevocationReason
from keyfob.pki.authority import Authority, DeviceRequest, Issued
from keyfob.pki.exports import FORMATS, App, Export, Signer, collect_export, read_signer
from keyfob.pki.founding import found_intermediate
from keyfob.pki.keys import generate_key, write_key
from keyfob.pki.pkcs12 import make_password
from keyfob.pki.profiles import read_icon
from keyfob.pki.registry import Registry
from registries import make_registry

ROOT = Authority.create("Money App Test")
ISSUED = ROOT.issue_device("My iPhone")
EXPORT = Export(ISSUED, "My iPhone", ROOT.certificate)
PASSWORD = make_password()
APP = App("https://money.example.com/", "Budget", read_icon())
DAY = 86400

each_format = pytest.mark.parametrize("kind", FORMATS)


def find_p12(data: bytes) -> bytes:
    """The identity inside a profile; another file is one itself."""
    if not data.startswith(b"<?xml"):
        return data
    payloads = plistlib.loads(data)["PayloadContent"]
    [found] = [each["PayloadContent"] for each in payloads if each["PayloadType"] == "com.apple.security.pkcs12"]
    assert isinstance(found, bytes)
    return found


def open_key(data: bytes, password: str) -> object:
    """The private numbers in an export. Raises ValueError for a wrong password."""
    if data.startswith(b"-----"):
        key = load_pem_private_key(data[data.index(b"-----BEGIN ENCRYPTED") :], password.encode())
    else:
        read = pkcs12.load_pkcs12(find_p12(data), password.encode())
        assert read.key is not None
        key = read.key
    return key.private_numbers()  # type: ignore[union-attr]


# --- The table ------------------------------------------------------------------------------------------------------


def test_the_table_is_closed() -> None:
    """What can be asked for, and as what a browser gets it; a new row here is a decision."""
    assert {row.name: (row.media_type, row.ending) for row in FORMATS.values()} == {
        "p12": ("application/x-pkcs12", "p12"),
        "p12-modern": ("application/x-pkcs12", "p12"),
        "mobileconfig": ("application/x-apple-aspen-config", "mobileconfig"),
        "pem": ("application/x-pem-file", "pem"),
    }
    assert list(FORMATS) == [row.name for row in FORMATS.values()]
    assert all(row.readers for row in FORMATS.values())


@each_format
def test_every_format_has_the_key_encrypted_with_the_password(kind: str) -> None:
    """To its last character; and neither the password nor the key itself is in the file."""
    data = FORMATS[kind].compose(EXPORT, PASSWORD)
    assert open_key(data, PASSWORD) == ISSUED.key.private_numbers()
    for wrong in (PASSWORD[:-1], make_password()):
        # Of 256 wrong passwords of a PEM file one leaves something that is padded well, and is no key.
        with pytest.raises(ValueError, match=r"(?i)password|decrypt|deserialize"):
            open_key(data, wrong)
    assert PASSWORD.encode() not in data
    assert b"BEGIN PRIVATE KEY" not in data


# --- Profiles -------------------------------------------------------------------------------------------------------


def kinds_of(export: Export) -> list[str]:
    profile = FORMATS["mobileconfig"].compose(export, PASSWORD)
    assert find_faults(profile) == []
    return [each["PayloadType"].rpartition(".")[2] for each in plistlib.loads(profile)["PayloadContent"]]


def test_a_profile_has_the_root_the_key_and_the_app_s_icon() -> None:
    """The root first, so that it is known when the key comes; what is not there is left out."""
    assert kinds_of(EXPORT._replace(app=APP)) == ["root", "pkcs12", "managed"]
    assert kinds_of(EXPORT) == ["root", "pkcs12"]
    assert kinds_of(EXPORT._replace(with_root=False)) == ["pkcs12"]


def test_a_profile_is_called_after_the_app_and_the_device() -> None:
    """That is what the phone lists."""
    profile = plistlib.loads(FORMATS["mobileconfig"].compose(EXPORT._replace(app=APP), PASSWORD))
    assert profile["PayloadDisplayName"] == "Budget (My iPhone)"
    assert profile["PayloadOrganization"] == "Money App Test"
    assert plistlib.loads(FORMATS["mobileconfig"].compose(EXPORT, PASSWORD))["PayloadDisplayName"] == "My iPhone"


def test_a_signed_profile_is_a_cms_message_around_the_profile() -> None:
    """DER from its first octet; OpenSSL verifies it among the judges."""
    signer = ROOT.issue_device("signer")
    signed = EXPORT._replace(signer=Signer(signer.certificate, signer.key))
    data = FORMATS["mobileconfig"].compose(signed, PASSWORD)
    assert data[:1] == b"\x30"
    assert b"<?xml" in data


# --- What the folder holds ------------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = make_registry(tmp_path / "home")
    keep(registry, registry.issue(DeviceRequest("My iPhone")))
    return registry


def keep(registry: Registry, issued: Issued, name: str = "My iPhone") -> None:
    """As `keyfob issue` leaves it."""
    folder = registry.folder / "devices"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pem").write_bytes(issued.certificate_pem)
    (folder / f"{name}-key.pem").write_bytes(issued.key_pem)
    (folder / f"{name}-key.pem").chmod(0o600)


def collect(registry: Registry, name: str = "My iPhone") -> Export:
    return collect_export(registry.folder, registry.inventory, name)


def test_a_device_is_found_with_its_key_and_the_root(registry: Registry) -> None:
    """What is in the folder, and what the inventory says counts."""
    export = collect(registry)
    assert export.name == "My iPhone"
    assert export.root == registry.root
    assert export.chain == ()
    assert export.issued.key.public_key() == export.issued.certificate.public_key()


def test_an_intermediate_is_in_the_chain(registry: Registry) -> None:
    """A server may know the root alone."""
    found_intermediate(registry.folder, "Below")
    registry = Registry(registry.folder)
    keep(registry, registry.issue(DeviceRequest("Laptop")), "Laptop")
    assert collect(registry, "Laptop").chain == (registry.authority.certificate,)
    # The older device was signed by the root itself.
    assert collect(registry).chain == ()


def test_the_key_of_the_authority_is_not_needed(registry: Registry) -> None:
    """It may have left the machine."""
    (registry.folder / "ca-key.pem").unlink()
    assert collect(registry).name == "My iPhone"


def key_file(registry: Registry) -> Path:
    return registry.folder / "devices" / "My iPhone-key.pem"


def remove_certificate(registry: Registry) -> None:
    (registry.folder / "devices" / "My iPhone.pem").unlink()


def remove_both(registry: Registry) -> None:
    key_file(registry).unlink()
    remove_certificate(registry)


def renew_elsewhere(registry: Registry) -> None:
    """The inventory knows the successor, and the folder has the old pair."""
    registry.renew(DeviceRequest("My iPhone"), generate_key().public_key(), time.time() + DAY)


def revoke(registry: Registry) -> None:
    found = registry.inventory.find("My iPhone")
    registry.inventory.revoke([each.record for each in found], RevocationReason.KEY_COMPROMISE, time.time())


def replace_authority(registry: Registry) -> None:
    (registry.folder / "ca.pem").write_bytes(Authority.create("Money App Test").issued.certificate_pem)


FAULTS: dict[str, tuple[Callable[[Registry], object], str]] = {
    "no key": (lambda registry: key_file(registry).unlink(), "born elsewhere"),
    "no files at all": (remove_both, "born elsewhere"),
    "no certificate": (remove_certificate, "that counts"),
    "broken key": (lambda registry: key_file(registry).write_bytes(b"-----BEGIN PRIVATE KEY-----\njunk"), "be read"),
    "empty key": (lambda registry: key_file(registry).write_bytes(b""), "cannot be read"),
    "another's key": (lambda registry: key_file(registry).write_bytes(write_key(generate_key())), "belong together"),
    "key for everybody to read": (lambda registry: key_file(registry).chmod(0o640), "read by others"),
    "encrypted key": (lambda registry: key_file(registry).write_bytes(write_key(generate_key(), "x")), "is encrypted"),
    "old pair": (renew_elsewhere, "that counts"),
    "revoked": (revoke, "is revoked"),
    "another authority": (replace_authority, "has issued"),
    "no authority": (lambda registry: (registry.folder / "ca.pem").unlink(), "is missing"),
}


@pytest.mark.parametrize(("spoil", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_not_whole_is_refused_with_a_hint(
    registry: Registry, spoil: Callable[[Registry], object], said: str
) -> None:
    """A file that opens no door is worse than an error."""
    spoil(registry)
    with pytest.raises(PKIError, match=said) as raised:
        collect(registry)
    assert raised.value.hint


def test_a_device_that_has_ended_is_refused(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key would be imported in vain."""
    later = time.time() + 400 * DAY
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(PKIError, match=r"ended on \d{4}-\d\d-\d\d"):
        collect(registry)


@pytest.mark.parametrize("name", ["nobody"])
def test_a_device_that_nobody_knows_is_said_to_be_none(registry: Registry, name: str) -> None:
    """Also where a file of such a name is there."""
    with pytest.raises(NotInInventory):
        collect(registry, name)


@pytest.mark.parametrize("name", ["../My iPhone", "", "a/b", "\u202egnp", "x" * 10_000])
def test_a_name_that_no_device_can_have_is_refused(registry: Registry, name: str) -> None:
    """Before any file is looked for."""
    with pytest.raises(PKIError):
        collect(registry, name)


def test_a_name_that_leads_out_of_the_folder_is_refused_whoever_has_recorded_it(registry: Registry) -> None:
    """An inventory that others write to, too, is no reason to read another file."""
    name = "../My iPhone"
    issued = Issued(registry.authority.sign_device("x", ISSUED.key.public_key()), ISSUED.key)
    keep(registry, issued, name)
    registry.record(name, issued.certificate)
    with pytest.raises(PKIError, match="has a '/' in it"):
        collect(registry, name)


def test_a_serial_number_is_no_name(registry: Registry) -> None:
    """Files are called after devices."""
    [stored] = registry.inventory.find("My iPhone")
    with pytest.raises(PKIError, match="a serial number or a fingerprint"):
        collect(registry, stored.record.serial_text.replace(":", ""))


# --- Signers --------------------------------------------------------------------------------------------------------


def test_a_signer_brings_the_intermediates_of_both_files(tmp_path: Path) -> None:
    """As `fullchain.pem` has them, and as a file beside it does."""
    root = make_authority()
    below = make_authority("Below", root)
    certificate, key = make_server(below).write(tmp_path, "server", above=[below])
    more = tmp_path / "more.pem"
    more.write_text(root.pem)
    signer = read_signer(certificate, key, more)
    assert signer.chain == (below.certificate, root.certificate)
    assert read_signer(certificate, key).chain == (below.certificate,)


def test_an_encrypted_signing_key_is_read_with_its_passphrase(tmp_path: Path) -> None:
    """Asked for only if it is encrypted."""
    issued = ROOT.issue_device("signer")
    (tmp_path / "cert.pem").write_bytes(issued.certificate_pem)
    (tmp_path / "key.pem").write_bytes(write_key(issued.key, "passphrase"))
    signer = read_signer(tmp_path / "cert.pem", tmp_path / "key.pem", None, lambda: "passphrase")
    assert signer.key.public_key() == issued.certificate.public_key()
    with pytest.raises(PKIError, match="cannot be read as a key"):
        read_signer(tmp_path / "cert.pem", tmp_path / "key.pem", None, lambda: "another")


@pytest.mark.parametrize("content", [b"", b"junk", ROOT.issued.key_pem], ids=["empty", "junk", "a key"])
def test_a_signer_s_certificate_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """With the file in it, as the one that is missing."""
    (tmp_path / "cert.pem").write_bytes(content)
    for name in ("cert.pem", "nowhere.pem"):
        with pytest.raises(PKIError, match=re.escape(str(tmp_path / name))):
            read_signer(tmp_path / name, tmp_path / "key.pem")
