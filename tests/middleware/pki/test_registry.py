"""pki.registry: nothing is signed unrecorded, and what is missing is said with the way to get it."""

import time
from pathlib import Path

import pytest

from keyfob.errors import PKIError
from keyfob.inventory import NameTaken, NotInInventory, State
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.founding import found_intermediate
from keyfob.pki.keys import generate_key
from keyfob.pki.registry import INTERMEDIATE_KEY, INVENTORY_URL, ROOT, ROOT_KEY, Registry, find_inventory
from registries import make_registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


def test_a_certificate_that_was_issued_is_in_the_inventory(registry: Registry) -> None:
    """With the same octets, under its name."""
    issued = registry.issue(DeviceRequest("Rhea Group"))
    stored = registry.inventory.find_present("Rhea Group")
    assert stored is not None
    assert stored.parsed == issued.certificate
    assert issued.certificate.issuer == registry.root.subject


def test_a_name_is_given_once(registry: Registry) -> None:
    """Nothing is signed for it then."""
    registry.issue(DeviceRequest("Rhea Group"))
    with pytest.raises(NameTaken, match="'Rhea Group' has a certificate already"):
        registry.issue(DeviceRequest("Rhea Group"))
    assert registry.inventory.count() == 1


def test_renewal_records_the_successor_and_a_last_day(registry: Registry) -> None:
    """Both count until then."""
    registry.issue(DeviceRequest("Rhea Group"))
    registry.renew(DeviceRequest("Rhea Group"), generate_key().public_key(), time.time() + 60)
    states = [each.record.find_state(time.time()) for each in registry.inventory.find("Rhea Group")]
    assert states == [State.ACTIVE, State.RETIRING]
    with pytest.raises(NotInInventory, match="no device 'Nobody'"):
        registry.renew(DeviceRequest("Nobody"), generate_key().public_key(), time.time())


def test_the_intermediate_signs_as_soon_as_there_is_one(registry: Registry) -> None:
    """And the root's key is not asked for any more."""
    found_intermediate(registry.folder, "Devices")
    (registry.folder / ROOT_KEY).unlink()
    later = Registry(registry.folder)
    assert later.issue(DeviceRequest("Rhea Group")).certificate.issuer == later.authority.certificate.subject
    assert later.authority.certificate.subject.rfc4514_string() == "CN=Devices"


def test_a_missing_intermediate_key_is_not_replaced_by_the_root_s(registry: Registry) -> None:
    """Who has taken it away did not mean that."""
    found_intermediate(registry.folder, "Devices")
    (registry.folder / INTERMEDIATE_KEY).unlink()
    with pytest.raises(PKIError, match=r"intermediate-key\.pem is missing"):
        _ = Registry(registry.folder).authority


@pytest.mark.parametrize("name", [ROOT, ROOT_KEY])
def test_a_damaged_file_is_named(registry: Registry, name: str) -> None:
    """Whichever it is."""
    (registry.folder / name).write_bytes(b"junk")
    with pytest.raises(PKIError, match=r"ca\.pem"):
        _ = Registry(registry.folder).authority


def test_a_folder_without_an_authority_says_how_to_make_one(tmp_path: Path) -> None:
    """The first error that most people see."""
    with pytest.raises(PKIError, match=r"ca\.pem is missing") as raised:
        _ = Registry(tmp_path).authority
    assert "keyfob ca init" in raised.value.hint
    with pytest.raises(PKIError, match=r"inventory\.db is missing"):
        _ = Registry(tmp_path).inventory


def test_the_inventory_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """By an argument, by inventory.url, or in the folder."""
    assert find_inventory(tmp_path) == tmp_path / "inventory.db"
    (tmp_path / INVENTORY_URL).write_text("postgresql:///devices\n")
    assert find_inventory(tmp_path) == "postgresql:///devices"
    assert find_inventory(tmp_path, "other.db") == "other.db"
