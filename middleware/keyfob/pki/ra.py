"""The registration authority: an RSA key to which devices encrypt their requests, so that the authority's own may not.

SCEP wants a key that both signs and decrypts, and iPhones want it to be RSA (RFC 8894 section 3.1). With this one the
authority can stay on P-256, and never decrypts what strangers send.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.authority import (
    Authority,
    Issued,
    identify_issuer,
    make_key_usage,
    make_name,
    start_certificate,
)
from keyfob.pki.files import lock_folder, remove_leftovers, write_together
from keyfob.pki.keys import choose_hash, generate_key, read_key
from keyfob.pki.registry import Registry, read_certificate

RA, RA_KEY = "ra.pem", "ra-key.pem"
RA_NAME = "keyfob registration authority"
RA_DAYS = 365
# A device asks for the certificate and uses it within seconds.
_SHORTEST_LEFT = timedelta(days=1)

# id-kp-cmcRA, RFC 6402 section 2.10. It is there for what it leaves out: without an extended key usage a certificate
# of this authority that signs could open the door like any device's.
REGISTRATION_AUTHORITY = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")


def open_ra(registry: Registry) -> Issued:
    """The registration authority of a folder; made at the first use, and anew when it ends or its authority changed.

    Its key is not encrypted: the file is for its owner alone, and opens no door. Raises PKIError if the files are there
    and cannot be read, or do not belong together.
    """
    authority = registry.authority
    try:
        with lock_folder(registry.folder):
            found = _read(registry.folder)
            return found if found is not None and _serves(found, authority) else _make(registry.folder, authority)
    except OSError as error:
        raise PKIError(f"{registry.folder} cannot be used: {error.strerror}", "choose a folder that you own") from error


def ends_soon(issued: Issued) -> bool:
    """Whether it is time for another."""
    return issued.certificate.not_valid_after_utc - datetime.now(UTC) < _SHORTEST_LEFT


def _read(folder: Path) -> Issued | None:
    """None where both are not there: an interrupted renewal leaves one file, or none."""
    certificate, key = folder / RA, folder / RA_KEY
    if not (certificate.exists() and key.exists()):
        return None
    issued = Issued(read_certificate(certificate), read_key(key.read_bytes(), str(key)))
    if issued.certificate.public_key() != issued.key.public_key():
        raise PKIError(f"{certificate} and {key.name} do not belong together", "move both away, and they are made anew")
    return issued


def _serves(issued: Issued, authority: Authority) -> bool:
    try:
        issued.certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, *UNREADABLE):
        return False
    return not ends_soon(issued)


def _make(folder: Path, authority: Authority) -> Issued:
    issued = _sign(authority)
    remove_leftovers(folder, (RA, RA_KEY))
    for name in (RA, RA_KEY):
        (folder / name).unlink(missing_ok=True)
    write_together(folder, {RA: issued.certificate_pem, RA_KEY: issued.key_pem})
    return issued


def _sign(authority: Authority) -> Issued:
    left = authority.certificate.not_valid_after_utc - datetime.now(UTC)
    if left < 2 * _SHORTEST_LEFT:
        raise PKIError("the authority ends too soon to sign anything more", "make a new authority")
    key = generate_key("rsa2048")
    builder = (
        start_certificate(make_name(RA_NAME), authority.certificate.subject, key.public_key(), min(RA_DAYS, left.days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(make_key_usage("digital_signature", "key_encipherment"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([REGISTRATION_AUTHORITY]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(identify_issuer(authority.certificate), critical=False)
    )
    return Issued(builder.sign(authority.issued.key, choose_hash(authority.issued.key)), key)
