"""pki.crl: lists that OpenSSL, `cryptography` and our own reader understand alike, of any length."""

import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.errors import PKIError
from keyfob.inventory import Entry, RevocationReason
from keyfob.pki import crl
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.crl import remove_unfinished, write_crls
from keyfob.pki.founding import found_registry
from keyfob.pki.registry import ROOT, Registry
from keyfob.trust import read_crls, read_roots
from registries import make_registry

NOW = int(time.time())


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


def write(registry: Registry, days: int = 7) -> x509.CertificateRevocationList:
    """The registry's list, which every reader has verified."""
    path = registry.folder / "ca.crl"
    [written] = write_crls(path, [registry.authority], registry.inventory, days)
    root = registry.folder / ROOT
    said = subprocess.run(
        ["openssl", "crl", "-in", path, "-noout", "-verify", "-CAfile", root],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr.strip()) == (0, "verify OK")
    parsed = x509.load_pem_x509_crl(path.read_bytes())
    assert parsed.is_signature_valid(registry.root.public_key())  # type: ignore[arg-type]
    [ours] = read_crls(path, read_roots(root.read_bytes()))
    assert len(ours) == len(parsed) == written.entries
    assert parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == written.number
    return parsed


def record(registry: Registry, count: int, *, ends: int = NOW + 86400) -> None:
    """So many certificates, of which only the numbers are real."""
    issuer, before = registry.root.public_bytes(Encoding.DER), registry.inventory.count()
    numbers = range(before, before + count)
    entries = [
        Entry(f"device {n}", b"%d" % n, issuer, (n * 2654435761 << 100) + n + 1, NOW - 10, ends, NOW) for n in numbers
    ]
    registry.inventory.add(entries)


def revoke(registry: Registry, reason: RevocationReason = RevocationReason.UNSPECIFIED, at: float = NOW) -> None:
    registry.inventory.revoke(list(registry.inventory.iterate()), reason, at)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_every_kind_of_key_signs_lists(tmp_path: Path, kind: str) -> None:
    """With as strong a hash as its own."""
    registry = found_registry(tmp_path, "Test", kind)
    issued = registry.issue(DeviceRequest("Rhea Group"))
    revoke(registry)
    [entry] = write(registry)
    assert entry.serial_number == issued.certificate.serial_number


def test_a_list_says_what_rfc_5280_asks_for(registry: Registry) -> None:
    """Issuer, both times, the key's identifier, a number; and no entries where there are none."""
    before = datetime.now(UTC).replace(microsecond=0)
    parsed = write(registry, 30)
    assert parsed.issuer == registry.root.subject
    # A clock that is a little slow takes the list all the same.
    assert parsed.last_update_utc <= before - timedelta(minutes=4)
    assert before + timedelta(days=30) <= (parsed.next_update_utc or before) <= datetime.now(UTC) + timedelta(days=30)
    assert [(each.oid.dotted_string, each.critical) for each in parsed.extensions] == [
        ("2.5.29.35", False),
        ("2.5.29.20", False),
    ]
    identifier = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = registry.root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier.key_identifier == own.digest
    assert len(parsed) == 0


def test_each_list_has_the_next_number(registry: Registry) -> None:
    """Whoever has seen 2 knows that 1 is an old one."""
    assert registry.inventory.read_crl_number(registry.root.public_bytes(Encoding.DER)) == 0
    numbers = [write(registry).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert registry.inventory.read_crl_number(registry.root.public_bytes(Encoding.DER)) == 3


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_the_reason_stands_in_the_entry(registry: Registry, reason: RevocationReason) -> None:
    """But for `unspecified`, which is said by saying nothing."""
    record(registry, 1)
    revoke(registry, reason, NOW - 5)
    [entry] = write(registry)
    found = [each.value.reason.value for each in entry.extensions if isinstance(each.value, x509.CRLReason)]
    assert found == ([] if reason is RevocationReason.UNSPECIFIED else [reason.value])
    assert entry.revocation_date_utc.timestamp() == NOW - 5


def test_a_renewed_certificate_is_superseded_from_its_last_day_on(registry: Registry) -> None:
    """Not before."""
    entries = [registry.authority.issue_device(DeviceRequest("Rhea Group")) for _ in range(3)]
    registry.record("Rhea Group", entries[0].certificate)
    registry.renew(DeviceRequest("Rhea Group"), entries[1].key.public_key(), NOW - 1)
    registry.renew(DeviceRequest("Rhea Group"), entries[2].key.public_key(), NOW + 3600)
    [entry] = write(registry)
    assert entry.serial_number == entries[0].certificate.serial_number
    assert entry.revocation_date_utc.timestamp() == NOW - 1
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded


def test_entries_of_expired_certificates_drop_out(registry: Registry) -> None:
    """Nobody takes those anyway."""
    record(registry, 2, ends=NOW - 1)
    record(registry, 3)
    revoke(registry)
    assert len(write(registry)) == 3


def test_other_authorities_certificates_are_on_their_own_lists(registry: Registry) -> None:
    """A list speaks for its issuer alone."""
    other = make_registry(registry.folder.parent / "other", "Other").authority
    shared = Registry(registry.folder)
    shared.__dict__["authority"] = other
    issued = other.issue_device("Theirs")
    shared.record("Theirs", issued.certificate)
    revoke(registry)
    assert len(write(registry)) == 0


def test_dates_after_2049_are_written_as_rfc_5280_has_them(registry: Registry, tmp_path: Path) -> None:
    """In four digits."""
    lasting = found_registry(tmp_path / "lasting", "Test", days=36500)
    assert (write(lasting, 20_000).next_update_utc or datetime.now(UTC)).year > 2070
    with pytest.raises(PKIError, match="before a list of 20000 days would") as raised:
        write(registry, 20_000)
    assert "--days 36" in raised.value.hint


def test_every_length_of_serial_number_is_read_back(registry: Registry) -> None:
    """With a leading zero where the first bit would be a sign."""
    issuer = registry.root.public_bytes(Encoding.DER)
    serials = [1, 127, 128, 255, 256, 2**63, 2**64 - 1, 2**158, 2**159 - 1]
    registry.inventory.add([Entry(f"device {n}", b"%d" % n, issuer, n, NOW, NOW + 86400, NOW) for n in serials])
    revoke(registry)
    assert sorted(each.serial_number for each in write(registry)) == serials


def test_a_large_list_streams(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through chunks that are smaller than it, into a file that every reader takes."""
    monkeypatch.setattr(crl, "_CHUNK", 4800)
    record(registry, 20_000)
    revoke(registry, RevocationReason.KEY_COMPROMISE)
    parsed = write(registry)
    assert len({each.serial_number for each in parsed}) == 20_000


def test_a_list_is_public_and_replaced_in_one_step(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server may read it; and if writing fails, the old one stays, and nothing else is left."""
    write(registry)
    path = registry.folder / "ca.crl"
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(crl, "_write_pem", fail)
    with pytest.raises(PKIError, match=r"ca\.crl cannot be written: No space left on device"):
        write_crls(path, [registry.authority], registry.inventory)
    assert path.read_bytes() == before
    assert not list(registry.folder.glob(".*"))


def test_what_a_killed_command_has_left_is_swept(tmp_path: Path) -> None:
    """And nothing else."""
    (tmp_path / ".crl.0123456789abcdef").touch()
    (tmp_path / ".crl.mine").touch()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".crl.mine"]


def test_an_authority_that_has_ended_writes_no_list(registry: Registry) -> None:
    """Nor for no days."""
    for days in (0, -1, 3651):
        with pytest.raises(PKIError, match=r"lifetime of a list|before a list"):
            write(registry, days)
    assert registry.inventory.read_crl_number(registry.root.public_bytes(Encoding.DER)) == 0


def test_the_inventory_decides_what_is_withdrawn(registry: Registry) -> None:
    """A certificate that counts is not on the list."""
    record(registry, 2)
    registry.inventory.revoke(list(registry.inventory.iterate())[:1], RevocationReason.UNSPECIFIED, NOW)
    assert len(write(registry)) == 1
