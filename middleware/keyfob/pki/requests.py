"""What devices may ask for: texts that programs read as people do, and signing requests that were made elsewhere."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.authority import DeviceRequest, find_alternatives, make_name
from keyfob.pki.keys import KEY_KINDS, PublicKey, require_public_key
from keyfob.pki.names import require_device_name

# RFC 5280 appendix A.1: ub-organization-name, ub-organizational-unit-name.
LONGEST_TEXT = 64
# RFC 5321 section 4.5.3.1.
LONGEST_MAILBOX, LONGEST_EMAIL = 64, 254
LONGEST_URI = 2000
LARGEST_CSR = 64 * 1024


def require_request(request: DeviceRequest) -> DeviceRequest:
    """The request, if everything in it can be what it is called. Raises PKIError."""
    require_device_name(request.name)
    for what, text in (("organization", request.organization), ("unit", request.unit)):
        if text is not None:
            require_text(text, what)
    _require_each(request.emails, _is_email, "e-mail address", "write it as name@example.com")
    _require_each(request.dns, _is_host, "DNS name", "write it as phone.example.com, in ASCII")
    _require_each(request.uris, _is_uri, "URI", "write it as https://example.com/phone, in ASCII")
    return request


def require_text(text: str, what: str) -> str:
    """A text of a subject, if it is what it looks like. Raises PKIError, which calls it `what`."""
    if not text.strip() or len(text) > LONGEST_TEXT:
        raise PKIError(f"{_shorten(text)} cannot be {_article(what)}", f"use 1 to {LONGEST_TEXT} characters")
    if not text.isprintable() or text != text.strip():
        raise PKIError(f"{text!a} has characters in it that cannot be seen", "leave them out")
    return text


def _require_each(values: Iterable[str], is_one: Callable[[str], bool], what: str, hint: str) -> None:
    seen = set[str]()
    for value in values:
        if not is_one(value):
            raise PKIError(f"{_shorten(value)} is no {what}", hint)
        if value in seen:
            raise PKIError(f"{_shorten(value)} is there twice", "once is enough")
        seen.add(value)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= LONGEST_TEXT else text[:40] + "…")


def _article(what: str) -> str:
    return f"{'an' if what[0] in 'aeio' else 'a'} {what}"


_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# RFC 5321 section 4.1.2: a dot-string. Nobody has a quoted one.
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 3986: what may stand in one at all.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def _is_host(text: str) -> bool:
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def _is_email(text: str) -> bool:
    mailbox, at, host = text.rpartition("@")
    short = len(mailbox) <= LONGEST_MAILBOX and len(text) <= LONGEST_EMAIL
    return bool(at) and short and _MAILBOX.fullmatch(mailbox) is not None and _is_host(host)


def _is_uri(text: str) -> bool:
    if len(text) > LONGEST_URI or _URI.fullmatch(text) is None:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    # RFC 5280 section 4.2.1.6: with a scheme that names a host, there is one.
    return bool(parts.hostname) if parts.scheme in {"http", "https"} else bool(parts.netloc or parts.path)


# --- What a certificate says ----------------------------------------------------------------------------------------


def repeat_request(name: str, certificate: x509.Certificate) -> DeviceRequest:
    """The request that leads to the same words once more, for as many days. Raises PKIError if there is none."""
    names = _read_names(certificate)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    request = DeviceRequest(
        name,
        max(1, lifetime.days),
        _read_text(certificate.subject, NameOID.ORGANIZATION_NAME),
        _read_text(certificate.subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
        tuple(names.get_values_for_type(x509.RFC822Name)),
        tuple(names.get_values_for_type(x509.DNSName)),
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
    )
    if not is_alike(certificate, request):
        message = (
            f"the certificate of {name!r} says more than can be said again: {certificate.subject.rfc4514_string()}"
        )
        raise PKIError(message, "revoke it, and issue another one")
    return request


def _read_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _read_text(subject: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    for each in subject.get_attributes_for_oid(oid):
        return str(each.value)
    return None


def is_alike(certificate: x509.Certificate, request: DeviceRequest) -> bool:
    """Whether the certificate says what is asked for, however long it lives and whatever its key is."""
    subject = make_name(request.name, request.organization, request.unit)
    return certificate.subject == subject and list(_read_names(certificate)) == find_alternatives(request)


def describe_kind(key: object) -> str:
    """The kind of a public key, such as p256; for one that is not in KEY_KINDS the nearest words."""
    match key:
        case ec.EllipticCurvePublicKey():
            return {"secp256r1": "p256", "secp384r1": "p384"}.get(key.curve.name, key.curve.name)
        case rsa.RSAPublicKey():
            return f"rsa{key.key_size}"
        case _:
            return type(key).__name__.removesuffix("PublicKey").lower()


def choose_kind(key: PublicKey) -> str:
    """The kind for a key in the place of this one."""
    kind = describe_kind(key)
    return kind if kind in KEY_KINDS else "p256"


# --- Signing requests -----------------------------------------------------------------------------------------------


class SigningRequest(NamedTuple):
    """What a PKCS#10 request brings: a key whose owner has signed it. `wishes` is what else it says, in words."""

    public: PublicKey
    wishes: str


def read_signing_request(path: Path) -> SigningRequest:
    """The request in a file, PEM or DER. Raises PKIError if it is none, or if its key is not used here."""
    try:
        # A pipe would be waited for, without end.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise PKIError(f"{path} cannot be read: it is no file", "name a file with a signing request")
        with path.open("rb") as file:
            data = file.read(LARGEST_CSR + 1)
    except OSError as error:
        raise PKIError(f"{path} cannot be read: {error.strerror}", "name a file with a signing request") from error
    if len(data) > LARGEST_CSR:
        raise PKIError(f"{path} is larger than any signing request", "name a PKCS#10 file, PEM or DER")
    return parse_signing_request(data, str(path))


def parse_signing_request(data: bytes, name: str) -> SigningRequest:
    """The request in PEM or DER that errors call `name`. Raises PKIError."""
    try:
        parsed = x509.load_pem_x509_csr(data) if b"-----BEGIN" in data else x509.load_der_x509_csr(data)
        public, valid = require_public_key(parsed.public_key(), name), parsed.is_signature_valid
        wishes = [f"the subject {parsed.subject.rfc4514_string()!r}"] if parsed.subject else []
        wishes += [f"the extension {_name_extension(each)}" for each in parsed.extensions]
    except (InvalidSignature, *UNREADABLE) as error:
        message = f"{name} cannot be read as a signing request: {error}"
        raise PKIError(" ".join(message.split()), "make one with `openssl req -new`, PEM or DER") from error
    if not valid:
        raise PKIError(f"the signature of {name} is not by its own key", "have the owner of the key make it again")
    return SigningRequest(public, ", ".join(wishes))


def _name_extension(extension: x509.Extension[x509.ExtensionType]) -> str:
    unknown = isinstance(extension.value, x509.UnrecognizedExtension)
    return extension.oid.dotted_string if unknown else type(extension.value).__name__
