"""pki.founding: a root, an intermediate, an inventory, a bundle; each made once, and whole."""

import stat
from pathlib import Path

import pytest
from cryptography import x509

from commands import list_files
from keyfob.errors import PKIError
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.founding import found_intermediate, found_registry, write_bundle
from keyfob.pki.registry import BUNDLE, INTERMEDIATE_KEY, ROOT, ROOT_KEY, Registry

ONE, TWO = "one", "two"


def path_length(certificate: x509.Certificate) -> int | None:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def test_a_registry_is_four_files_for_its_owner_alone(tmp_path: Path) -> None:
    """Keys and all, in a folder that nobody else may look into."""
    home = tmp_path / "a" / "home"
    registry = found_registry(home, "Money App Test")
    assert list_files(home) == [BUNDLE, ROOT_KEY, ROOT, "inventory.db"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir() if path.suffix in {".pem", ".db"}} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert registry.root.subject.rfc4514_string() == "CN=Money App Test"
    assert path_length(registry.root) == 1
    assert registry.inventory.count() == 0


def test_an_authority_is_never_written_over(tmp_path: Path) -> None:
    """Neither by another one, nor where only half of it is there."""
    found_registry(tmp_path, "First")
    before = (tmp_path / ROOT_KEY).read_bytes()
    with pytest.raises(PKIError, match="never written over"):
        found_registry(tmp_path, "Second")
    (tmp_path / ROOT).unlink()
    with pytest.raises(PKIError, match="never written over"):
        found_registry(tmp_path, "Second")
    assert (tmp_path / ROOT_KEY).read_bytes() == before


def test_an_inventory_that_cannot_be_made_leaves_no_key(tmp_path: Path) -> None:
    """The database goes first."""
    with pytest.raises(PKIError):
        found_registry(tmp_path / "home", "Test", inventory=str(tmp_path / "missing" / "inventory.db"))
    with pytest.raises(PKIError, match="no inventory"):
        found_registry(tmp_path / "home", "Test", inventory="mysql://localhost/x")
    assert list_files(tmp_path) == []


def test_an_inventory_elsewhere_is_found_by_the_next_command(tmp_path: Path) -> None:
    """It stands in a file that only its owner can read, since a URL may have a password."""
    found_registry(tmp_path / "home", "Test", inventory=str(tmp_path / "elsewhere.db"))
    assert Registry(tmp_path / "home").inventory.name == str(tmp_path / "elsewhere.db")
    assert stat.S_IMODE((tmp_path / "home" / "inventory.url").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_a_key_with_a_passphrase_signs_with_it(tmp_path: Path, kind: str) -> None:
    """Root and intermediate may have different ones."""
    found_registry(tmp_path, "Test", kind, passphrase=ONE)
    assert b"ENCRYPTED" in (tmp_path / ROOT_KEY).read_bytes()
    assert Registry(tmp_path, None, lambda: ONE).issue(DeviceRequest("a"))
    found_intermediate(tmp_path, "Devices", kind, root_passphrase=lambda: ONE, passphrase=TWO)
    assert b"ENCRYPTED" in (tmp_path / INTERMEDIATE_KEY).read_bytes()
    assert Registry(tmp_path, None, lambda: TWO).issue(DeviceRequest("b"))
    with pytest.raises(PKIError, match="cannot be read as a key"):
        Registry(tmp_path, None, lambda: ONE).issue(DeviceRequest("c"))


def test_the_bundle_holds_both(tmp_path: Path) -> None:
    """The intermediate first; and one that a killed command has left with the root alone learns of it."""
    found_registry(tmp_path, "Test")
    alone = (tmp_path / BUNDLE).read_bytes()
    made = found_intermediate(tmp_path, "Devices")
    root = x509.load_pem_x509_certificate((tmp_path / ROOT).read_bytes())
    both = [made.certificate, root]
    assert path_length(made.certificate) == 0
    assert x509.load_pem_x509_certificates((tmp_path / BUNDLE).read_bytes()) == both
    (tmp_path / BUNDLE).write_bytes(alone)
    write_bundle(tmp_path)
    assert x509.load_pem_x509_certificates((tmp_path / BUNDLE).read_bytes()) == both


def test_a_bundle_of_somebody_s_own_stays_as_it_is(tmp_path: Path) -> None:
    """It may hold further roots."""
    found_registry(tmp_path, "Test")
    (tmp_path / BUNDLE).write_text("# mine\n")
    found_intermediate(tmp_path, "Devices")
    assert (tmp_path / BUNDLE).read_text() == "# mine\n"


def test_there_is_one_intermediate(tmp_path: Path) -> None:
    """A second one would leave devices behind that no bundle covers."""
    found_registry(tmp_path, "Test")
    found_intermediate(tmp_path, "Devices")
    with pytest.raises(PKIError, match="never written over"):
        found_intermediate(tmp_path, "Devices")
