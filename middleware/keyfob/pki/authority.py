"""A certificate authority on P-256, and the certificates that it issues to servers and devices."""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError

AUTHORITY_DAYS = 3650
# Apple devices accept a private root's server certificate for 825 days at most.
SERVER_DAYS = 820
DEVICE_DAYS = 365

# Clocks differ; a certificate that starts in its reader's future is refused.
BACKDATE = timedelta(minutes=5)


class Issued(NamedTuple):
    """A certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8 in PEM, not encrypted: it goes into a file for its owner alone."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Authority:
    """Signs certificates with its own. Path length 0: it makes no other authorities."""

    def __init__(self, issued: Issued) -> None:
        self.issued = issued

    @classmethod
    def create(cls, name: str, days: int = AUTHORITY_DAYS) -> "Authority":
        """A new self-signed authority with the common name `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _common_name(name)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _builder(subject, subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(Issued(certificate, key))

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> "Authority":
        """The authority of two PEM texts. Raises PKIError if they do not belong together or cannot be read."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = load_pem_private_key(key_pem, password=None)
            _ = certificate.extensions
            fits = certificate.public_key() == key.public_key()
        except UNREADABLE as error:
            raise PKIError(f"the authority's certificate or key cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PKIError("the authority's key is not an elliptic curve key")
        if not fits:
            raise PKIError("the authority's certificate and key do not belong together", "put the pair back together")
        return cls(Issued(certificate, key))

    def issue_server(self, names: Sequence[str], days: int = SERVER_DAYS) -> Issued:
        """A TLS server's certificate for host names and IP addresses, of which the first is the common name."""
        return self._issue(names[0], ExtendedKeyUsageOID.SERVER_AUTH, days, [_alternative(name) for name in names])

    def issue_device(self, name: str, days: int = DEVICE_DAYS) -> Issued:
        """A TLS client's certificate with the common name `name`. It needs no alternative name, so it has none."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, days, [])

    def _issue(self, name: str, usage: x509.ObjectIdentifier, days: int, names: Iterable[x509.GeneralName]) -> Issued:
        key, authority = ec.generate_private_key(ec.SECP256R1()), self.issued.certificate
        builder = (
            _builder(_common_name(name), authority.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_identify_issuer(authority), critical=False)
        )
        alternatives = list(names)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return Issued(builder.sign(self.issued.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=days))
    )


def _common_name(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise PKIError(f"{name!r} cannot be a common name: {error}", "use 1 to 64 characters") from error


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise PKIError(f"{name!r} cannot be a host name: {error}", "write it as browsers send it, in ASCII") from error


def _identify_issuer(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
