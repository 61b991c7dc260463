"""ClientCertificate: the facts that an app reads from one certificate."""

import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keyfob.errors import CertificateError, Expired, Malformed, NotYetValid, Revoked, Untrusted

# What the parser of certificates raises on hostile bytes; an unknown TLS feature is a KeyError, for one. It warns of
# odd names, such as a country of six letters; where warnings are errors, they stay inside the tree like the rest.
UNREADABLE = (
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    Warning,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)

# RFC 9440 leaves limits to the deployment; these are the ones that Workers document, in bytes of DER.
LEAF_LIMIT = 10 * 1024
CHAIN_LIMIT = 16 * 1024


class Device:
    """`request.user` behind a certificate, in the three words that Starlette's users have."""

    is_authenticated = True

    def __init__(self, certificate: "ClientCertificate") -> None:
        self.display_name = certificate.common_name or certificate.subject
        """The common name, or the whole subject where there is not exactly one."""
        self.identity = certificate.fingerprint_sha256
        """The certificate's fingerprint: what tells it from every other, even of the same name."""

    def __repr__(self) -> str:
        return f"<Device {self.display_name!r}>"


class ClientCertificate:
    """A client certificate that was verified for the host of this request.

    Everything is read from the certificate itself, never from a name that a proxy or a TLS layer wrote down. Texts
    are as the certificate has them; the issuer vouches for them, so escape them as you would any other input. What
    is not promised: that the certificate is still good later than the request it was handed out for.
    """

    def __init__(self, leaf: x509.Certificate, issuers: Sequence[x509.Certificate]) -> None:
        self._leaf = leaf
        self._issuers = tuple(issuers)
        self.renewal: str | None = None
        """Where its holder gets the successor: a link, while the end is near and the configuration names one."""

    def __repr__(self) -> str:
        return f"<ClientCertificate {self.subject!r} sha256={self.fingerprint_sha256[:16]}…>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientCertificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @property
    def parsed(self) -> x509.Certificate:
        """The certificate as `cryptography` parsed it, for what has no property here."""
        return self._leaf

    @property
    def issuers(self) -> tuple[x509.Certificate, ...]:
        """The verified path above the certificate: intermediates first, the root last."""
        return self._issuers

    @cached_property
    def der(self) -> bytes:
        """The certificate, DER."""
        return self._leaf.public_bytes(Encoding.DER)

    @cached_property
    def pem(self) -> str:
        """The certificate, PEM."""
        return self._leaf.public_bytes(Encoding.PEM).decode("ascii")

    @cached_property
    def common_names(self) -> tuple[str, ...]:
        """Every common name of the subject, in the certificate's order."""
        return _texts(self._leaf.subject, NameOID.COMMON_NAME)

    @cached_property
    def common_name(self) -> str | None:
        """The subject's common name; None when it has none, or several, since programs differ in which they take."""
        return self.common_names[0] if len(self.common_names) == 1 else None

    @cached_property
    def subject(self) -> str:
        """The subject as RFC 4514 writes it, most specific attribute first."""
        return _name(self._leaf.subject)

    @cached_property
    def issuer(self) -> str:
        """The issuer as RFC 4514 writes it, most specific attribute first."""
        return _name(self._leaf.issuer)

    @property
    def serial_number(self) -> int:
        """The serial number, unique for its issuer."""
        return self._leaf.serial_number

    @cached_property
    def fingerprint_sha256(self) -> str:
        """SHA-256 of the DER, lower hex without colons."""
        return self._leaf.fingerprint(hashes.SHA256()).hex()

    @cached_property
    def not_valid_before(self) -> datetime:
        """The first moment of validity, aware, UTC."""
        return self._leaf.not_valid_before_utc

    @cached_property
    def not_valid_after(self) -> datetime:
        """The last moment of validity, aware, UTC."""
        return self._leaf.not_valid_after_utc

    @property
    def expires_in(self) -> timedelta:
        """From now to the last moment of validity; negative once that has passed."""
        return self.not_valid_after - datetime.now(UTC)

    @cached_property
    def device(self) -> Device:
        """The device that holds this certificate, as `request.user` shows it."""
        return Device(self)

    @cached_property
    def tls_client_auth(self) -> Mapping[str, str | bool]:
        """The fields that Workers call `request.cf.tlsClientAuth`, in their formats; read-only."""
        return MappingProxyType(_tls_client_auth(self))


def read_pem(pem: str | bytes) -> x509.Certificate:
    """The one certificate in `pem`, with everything that a decision or an app may read already parsed.

    Raises Malformed and nothing else, whatever the bytes are.
    """
    data = pem.encode("utf-8", "surrogateescape") if isinstance(pem, str) else pem
    try:
        certificate = x509.load_pem_x509_certificate(data)
        require_readable(certificate)
    except UNREADABLE as error:
        raise Malformed(f"unreadable certificate: {error}") from error
    return certificate


def require_readable(certificate: x509.Certificate) -> None:
    """Raises one of UNREADABLE if anything in it cannot be parsed.

    `cryptography` parses most of a certificate on demand; asked for here, no later reader can meet an unreadable part.
    """
    _ = (certificate.version, certificate.serial_number, certificate.subject, certificate.issuer)
    _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.extensions)
    certificate.public_key()
    # The last octet before a signature counts bits that are not used. Nobody signs it, so any other count than none
    # would give the same certificate another fingerprint.
    if not certificate.public_bytes(Encoding.DER).endswith(b"\0" + certificate.signature):
        raise ValueError("a signature that does not end with an octet")


def describe_rejected(chain: Sequence[str], error: CertificateError) -> Mapping[str, str | bool]:
    """`tls_client_auth` for a request without an accepted certificate, in Workers' placeholders."""
    presented = bool(chain)
    verdict = f"FAILED:{_VERDICTS.get(type(error), _UNVERIFIED)}" if presented else "NONE"
    revoked = "1" if isinstance(error, Revoked) else "0"
    said = {"certPresented": "1" if presented else "0", "certVerified": verdict, "certRevoked": revoked}
    return MappingProxyType(_EMPTY | said)


_UNVERIFIED = "unable to verify the first certificate"
_VERDICTS: Mapping[type[CertificateError], str] = {
    Expired: "certificate has expired",
    NotYetValid: "certificate is not yet valid",
    Untrusted: "unable to get local issuer certificate",
    # Workers say SUCCESS here, and certRevoked beside it; whoever reads only one of the two shall not be wrong.
    Revoked: "certificate revoked",
}

_EMPTY: dict[str, str | bool] = {
    "certPresented": "0",
    "certVerified": "NONE",
    "certRevoked": "0",
    "certIssuerDN": "",
    "certSubjectDN": "",
    "certIssuerDNRFC2253": "",
    "certSubjectDNRFC2253": "",
    "certIssuerDNLegacy": "",
    "certSubjectDNLegacy": "",
    "certSerial": "",
    "certIssuerSerial": "",
    "certSKI": "",
    "certIssuerSKI": "",
    "certFingerprintSHA1": "",
    "certFingerprintSHA256": "",
    "certNotBefore": "",
    "certNotAfter": "",
    "certRFC9440": "",
    "certRFC9440TooLarge": False,
    "certChainRFC9440": "",
    "certChainRFC9440TooLarge": False,
}


def _tls_client_auth(certificate: ClientCertificate) -> dict[str, str | bool]:
    leaf, issuers = certificate.parsed, certificate.issuers
    issuer = issuers[0] if issuers else None
    chain = [each.public_bytes(Encoding.DER) for each in issuers]
    leaf_too_large, chain_too_large = len(certificate.der) > LEAF_LIMIT, sum(map(len, chain)) > CHAIN_LIMIT
    return {
        "certPresented": "1",
        "certVerified": "SUCCESS",
        "certRevoked": "0",
        "certIssuerDN": certificate.issuer,
        "certSubjectDN": certificate.subject,
        "certIssuerDNRFC2253": certificate.issuer,
        "certSubjectDNRFC2253": certificate.subject,
        "certIssuerDNLegacy": _legacy_name(leaf.issuer),
        "certSubjectDNLegacy": _legacy_name(leaf.subject),
        "certSerial": _hex_serial(leaf),
        "certIssuerSerial": _hex_serial(issuer) if issuer else "",
        "certSKI": _hex_key_identifier(leaf),
        "certIssuerSKI": _hex_key_identifier(issuer) if issuer else "",
        "certFingerprintSHA1": leaf.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - a name, not a proof
        "certFingerprintSHA256": certificate.fingerprint_sha256,
        "certNotBefore": _openssl_time(certificate.not_valid_before),
        "certNotAfter": _openssl_time(certificate.not_valid_after),
        "certRFC9440": "" if leaf_too_large else _byte_sequence(certificate.der),
        "certRFC9440TooLarge": leaf_too_large,
        "certChainRFC9440": "" if chain_too_large else ", ".join(map(_byte_sequence, chain)),
        "certChainRFC9440TooLarge": chain_too_large,
    }


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(value for each in name.get_attributes_for_oid(oid) if isinstance(value := each.value, str))


# RFC 4514 names no short form for it, and dotted digits help nobody who reads a log.
_SHORT_NAMES = {NameOID.EMAIL_ADDRESS: "emailAddress"}


def _name(name: x509.Name) -> str:
    return name.rfc4514_string(_SHORT_NAMES)


def _legacy_name(name: x509.Name) -> str:
    """`/C=PT/O=…/CN=…`: OpenSSL's old one-line form, which escapes nothing, so it is to be shown and never parsed."""
    return "".join(f"/{_SHORT_NAMES.get(each.oid, each.rfc4514_attribute_name)}={_shown(each.value)}" for each in name)


def _shown(value: str | bytes) -> str:
    return value if isinstance(value, str) else "#" + value.hex()


def format_serial(number: int) -> str:
    """A serial number as `openssl x509 -serial` prints it: upper hex, an even number of digits."""
    digits = f"{abs(number):X}"
    return ("-" if number < 0 else "") + digits.zfill(len(digits) + len(digits) % 2)


def _hex_serial(certificate: x509.Certificate) -> str:
    """The serial number's octets as DER has them, upper hex: a leading 00 keeps a high bit from meaning a sign."""
    serial = certificate.serial_number
    return serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True).hex().upper()


def _hex_key_identifier(certificate: x509.Certificate) -> str:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex().upper()
    except x509.ExtensionNotFound:
        return ""


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _openssl_time(moment: datetime) -> str:
    """`Dec 22 19:39:00 2018 GMT`, whatever the process's locale."""
    moment = moment.astimezone(UTC)
    return f"{_MONTHS[moment.month - 1]} {moment.day:2d} {moment:%H:%M:%S} {moment.year:04d} GMT"


def _byte_sequence(der: bytes) -> str:
    """A structured field's byte sequence, RFC 8941 section 3.3.5."""
    return f":{binascii.b2a_base64(der, newline=False).decode('ascii')}:"
