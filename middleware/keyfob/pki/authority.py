"""A certificate authority, and the certificates that it issues to intermediates, servers and devices."""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.keys import Passphrase, PrivateKey, PublicKey, choose_hash, generate_key, read_key, write_key

AUTHORITY_DAYS = 3650
INTERMEDIATE_DAYS = 1825
# Apple devices accept a private root's server certificate for 825 days at most.
SERVER_DAYS = 820
DEVICE_DAYS = 365
LONGEST_DAYS = 36500

# Clocks differ; a certificate that starts in its reader's future is refused.
BACKDATE = timedelta(minutes=5)


class Issued(NamedTuple):
    """A certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8 in PEM, not encrypted: it goes into a file for its owner alone."""
        return write_key(self.key)


class DeviceRequest(NamedTuple):
    """What a device's certificate shall say. `name` is its common name, and has been checked."""

    name: str
    days: int = DEVICE_DAYS
    organization: str | None = None
    unit: str | None = None
    emails: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


class Authority:
    """Signs certificates with its own."""

    def __init__(self, issued: Issued) -> None:
        self.issued = issued

    @property
    def certificate(self) -> x509.Certificate:
        return self.issued.certificate

    @classmethod
    def create(cls, name: str, days: int = AUTHORITY_DAYS, kind: str = "p256") -> "Authority":
        """A new self-signed authority with the common name `name`. Path length 1: an intermediate, and no more."""
        key = generate_key(kind)
        subject = make_name(name)
        return cls(Issued(_sign_authority(subject, subject, key.public_key(), key, days, path_length=1), key))

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes, passphrase: Passphrase | None = None) -> "Authority":
        """The authority of two PEM texts. Raises PKIError if they do not belong together or cannot be read."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            _ = certificate.extensions
            public = certificate.public_key()
        except UNREADABLE as error:
            raise PKIError(f"the authority's certificate cannot be read: {error}") from error
        key = read_key(key_pem, "the authority's key", passphrase)
        if public != key.public_key():
            raise PKIError("the authority's certificate and key do not belong together", "put the pair back together")
        return cls(Issued(certificate, key))

    def issue_intermediate(self, name: str, days: int = INTERMEDIATE_DAYS, kind: str = "p256") -> "Authority":
        """An authority below this one that makes no further authorities. Raises PKIError if this one may not."""
        constraints = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        if constraints.path_length == 0:
            raise PKIError(
                "this authority was made to sign devices alone (path length 0)", "make a new one with `keyfob ca init`"
            )
        key = generate_key(kind)
        subject = make_name(name)
        if subject == self.certificate.subject:
            raise PKIError(f"{name!r} is the name of the root", "give the intermediate another one")
        self._require_lifetime(days)
        signed = _sign_authority(
            subject, self.certificate.subject, key.public_key(), self.issued.key, days, 0, self.certificate
        )
        return Authority(Issued(signed, key))

    def issue_server(self, names: Sequence[str], days: int = SERVER_DAYS) -> Issued:
        """A TLS server's certificate for host names and IP addresses, of which the first is the common name."""
        alternatives = [_alternative(name) for name in names]
        key = generate_key()
        return Issued(
            self._sign(make_name(names[0]), key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH, days, alternatives), key
        )

    def issue_device(self, request: DeviceRequest | str, kind: str = "p256") -> Issued:
        """A TLS client's certificate on a new key."""
        key = generate_key(kind)
        return Issued(self.sign_device(request, key.public_key()), key)

    def sign_device(self, request: DeviceRequest | str, key: PublicKey) -> x509.Certificate:
        """A TLS client's certificate on a key that was born elsewhere. It says only what is asked for."""
        request = DeviceRequest(request) if isinstance(request, str) else request
        subject = make_name(request.name, request.organization, request.unit)
        return self._sign(subject, key, ExtendedKeyUsageOID.CLIENT_AUTH, request.days, find_alternatives(request))

    def _sign(
        self,
        subject: x509.Name,
        key: PublicKey,
        usage: x509.ObjectIdentifier,
        days: int,
        names: Iterable[x509.GeneralName],
    ) -> x509.Certificate:
        self._require_lifetime(days)
        authority = self.certificate
        builder = (
            start_certificate(subject, authority.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(make_key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(identify_issuer(authority), critical=False)
        )
        alternatives = list(names)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self.issued.key, choose_hash(self.issued.key))

    def _require_lifetime(self, days: int) -> None:
        require_days(days)
        left = self.certificate.not_valid_after_utc - datetime.now(UTC)
        if left < timedelta(days=days):
            name, end = self.certificate.subject.rfc4514_string(), self.certificate.not_valid_after_utc
            if left.days < 1:
                raise PKIError(f"{name} ends on {end:%Y-%m-%d} and signs nothing more", "make a new authority")
            message = f"{name} ends on {end:%Y-%m-%d}, before a certificate of {days} days would"
            raise PKIError(message, f"ask for --days {left.days} at most, or make a new authority")


def require_days(days: int) -> int:
    """The number, if a certificate can live so long. Raises PKIError."""
    if not 1 <= days <= LONGEST_DAYS:
        raise PKIError(f"{days} days are no lifetime", f"choose 1 to {LONGEST_DAYS}")
    return days


def _sign_authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: PublicKey,
    signer: PrivateKey,
    days: int,
    path_length: int,
    parent: x509.Certificate | None = None,
) -> x509.Certificate:
    require_days(days)
    builder = (
        start_certificate(subject, issuer, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(make_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if parent is not None:
        builder = builder.add_extension(identify_issuer(parent), critical=False)
    return builder.sign(signer, choose_hash(signer))


def start_certificate(subject: x509.Name, issuer: x509.Name, key: PublicKey, days: int) -> x509.CertificateBuilder:
    """A certificate that is valid from a moment ago for `days`, with a random serial number of 159 bits."""
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


def make_name(name: str, organization: str | None = None, unit: str | None = None) -> x509.Name:
    """The subject with these attributes. Raises PKIError."""
    wanted = (
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, name),
    )
    attributes = []
    for oid, value in wanted:
        if value is not None:
            try:
                attributes.append(x509.NameAttribute(oid, value))
            except ValueError as error:
                raise PKIError(
                    f"{value[:80]!r} cannot stand in a subject: {error}", "use 1 to 64 characters"
                ) from error
    return x509.Name(attributes)


def find_alternatives(request: DeviceRequest) -> list[x509.GeneralName]:
    """The alternative names that a request asks for. Raises PKIError."""
    kinds = (
        (x509.RFC822Name, request.emails),
        (x509.DNSName, request.dns),
        (x509.UniformResourceIdentifier, request.uris),
    )
    found: list[x509.GeneralName] = []
    for kind, values in kinds:
        for value in values:
            try:
                found.append(kind(_require_visible(value)))
            except ValueError as error:
                raise PKIError(
                    f"{value[:80]!r} cannot be an alternative name: {error}", "write it in ASCII, as programs send it"
                ) from error
    return found


def _require_visible(value: str) -> str:
    if not value or not value.isprintable() or " " in value:
        raise ValueError("empty, or with characters that cannot stand there")
    return value


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise PKIError(f"{name!r} cannot be a host name: {error}", "write it as browsers send it, in ASCII") from error


def identify_issuer(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What a certificate says about the key that has signed it."""
    try:
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def make_key_usage(*usages: str) -> x509.KeyUsage:
    """The extension with exactly these, by their names in `cryptography`."""
    return x509.KeyUsage(**{name: name in usages for name in _USAGES})
