"""pki.ra: the certificate to which phones encrypt, and that it opens no door."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import make_leaf
from keyfob.errors import PKIError, WrongPurpose
from keyfob.pki.authority import Authority, Issued
from keyfob.pki.founding import found_intermediate, found_registry
from keyfob.pki.ra import RA, RA_KEY, REGISTRATION_AUTHORITY, ends_soon, open_ra
from keyfob.pki.registry import BUNDLE, ROOT, Registry
from keyfob.trust import Verifier
from keyfob.trust.roots import read_roots
from registries import make_registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


def test_it_is_rsa_and_signed_by_the_authority(registry: Registry) -> None:
    """iPhones take no other key for it, whatever the authority's own is."""
    ra = open_ra(registry)
    assert isinstance(ra.key, rsa.RSAPrivateKey)
    assert ra.key.key_size == 2048
    assert ra.certificate.public_key() == ra.key.public_key()
    ra.certificate.verify_directly_issued_by(registry.authority.certificate)


def test_it_signs_and_decrypts_and_nothing_else(registry: Registry) -> None:
    """iPhones look for both uses in one certificate; it is no authority, and makes none."""
    extensions = open_ra(registry).certificate.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_it_opens_no_door(registry: Registry) -> None:
    """It is signed by the very authority that devices are, and its key lies on the server."""
    ra = open_ra(registry)
    verifier = Verifier(read_roots((registry.folder / ROOT).read_bytes()))
    with pytest.raises(WrongPurpose, match="without clientAuth"):
        verifier.verify([ra.certificate_pem.decode()], time.time())
    usages = ra.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [REGISTRATION_AUTHORITY]
    assert ExtendedKeyUsageOID.SERVER_AUTH not in usages


def test_it_is_made_once(registry: Registry) -> None:
    """Phones ask for it and use it a moment later."""
    assert open_ra(registry).certificate == open_ra(registry).certificate
    again = Registry(registry.folder)
    assert open_ra(again).certificate == open_ra(registry).certificate


def test_its_files_are_for_the_owner_alone(registry: Registry) -> None:
    """The key is not encrypted."""
    open_ra(registry)
    for name in (RA, RA_KEY):
        assert (registry.folder / name).stat().st_mode & 0o777 == 0o600


def test_it_is_no_device(registry: Registry) -> None:
    """The inventory lists devices."""
    open_ra(registry)
    assert registry.inventory.count() == 0


def test_many_at_once_make_one(registry: Registry) -> None:
    """Two workers of a server start together."""
    found: list[x509.Certificate] = []
    together = threading.Barrier(4)

    def make() -> None:
        mine = Registry(registry.folder)
        together.wait(60)
        found.append(open_ra(mine).certificate)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(set(found)) == 1


def test_it_follows_the_authority(registry: Registry) -> None:
    """Below an intermediate, phones look for one that the intermediate has signed."""
    before = open_ra(registry)
    found_intermediate(registry.folder, "Money App Intermediate")
    after = Registry(registry.folder)
    ra = open_ra(after)
    assert ra.certificate != before.certificate
    ra.certificate.verify_directly_issued_by(after.authority.certificate)
    verifier = Verifier(read_roots((registry.folder / BUNDLE).read_bytes()))
    with pytest.raises(WrongPurpose):
        verifier.verify([ra.certificate_pem.decode()], time.time())


def test_one_that_ends_is_replaced(registry: Registry) -> None:
    """A day before, so that nobody has begun with it who has not ended."""
    put(registry, sign(registry.authority, timedelta(hours=23)))
    ending = x509.load_pem_x509_certificate((registry.folder / RA).read_bytes())
    ra = open_ra(registry)
    assert ra.certificate != ending
    assert not ends_soon(ra)
    assert ends_soon(ra._replace(certificate=ending))


def test_one_that_lasts_is_kept(registry: Registry) -> None:
    """As long as it does."""
    issued = sign(registry.authority, timedelta(hours=25))
    put(registry, issued)
    assert open_ra(registry).certificate == issued.certificate


def test_it_never_outlives_the_authority(tmp_path: Path) -> None:
    """What is signed beyond the end of its authority would end before its own date says."""
    registry = found_registry(tmp_path / "home", "Short", days=20)
    assert open_ra(registry).certificate.not_valid_after_utc <= registry.authority.certificate.not_valid_after_utc


def test_an_authority_about_to_end_is_an_error(tmp_path: Path) -> None:
    """And not a certificate that is replaced with every request."""
    registry = found_registry(tmp_path / "home", "Short", days=1)
    with pytest.raises(PKIError, match="ends too soon"):
        open_ra(registry)
    assert not (registry.folder / RA).exists()


@pytest.mark.parametrize("missing", [RA, RA_KEY])
def test_half_a_pair_is_made_whole(missing: str, registry: Registry) -> None:
    """An interrupted renewal leaves one file, and no phone depends on it."""
    before = open_ra(registry)
    (registry.folder / missing).unlink()
    ra = open_ra(registry)
    assert ra.certificate != before.certificate
    assert open_ra(registry).certificate == ra.certificate


def test_a_pair_that_does_not_belong_together_is_an_error(registry: Registry) -> None:
    """No interruption leaves that behind: somebody has been here."""
    open_ra(registry)
    (registry.folder / RA_KEY).write_bytes(sign(registry.authority, timedelta(days=9)).key_pem)
    with pytest.raises(PKIError, match="do not belong together"):
        open_ra(registry)


@pytest.mark.parametrize("name", [RA, RA_KEY])
def test_a_file_that_cannot_be_read_is_an_error(name: str, registry: Registry) -> None:
    """And is left for whoever wants to know why."""
    open_ra(registry)
    (registry.folder / name).write_bytes(b"not what it was")
    with pytest.raises(PKIError, match=name) as raised:
        open_ra(registry)
    assert raised.value.hint
    assert (registry.folder / name).read_bytes() == b"not what it was"


def sign(authority: Authority, lasts: timedelta) -> Issued:
    """A registration authority that ends so much from now on."""
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_leaf(None, "RA").certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + lasts)
    )
    return Issued(builder.sign(authority.issued.key, hashes.SHA256()), key)


def put(registry: Registry, issued: Issued) -> None:
    (registry.folder / RA).write_bytes(issued.certificate_pem)
    (registry.folder / RA_KEY).write_bytes(issued.key_pem)
