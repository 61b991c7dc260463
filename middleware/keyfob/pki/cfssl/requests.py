"""What somebody asks a certificate for: the JSON of a CSR, and the CSR that is made of it."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place, Table, read_document
from keyfob.pki.cfssl.hosts import Hosts, Warn, parse_hosts, read_hosts
from keyfob.pki.cfssl.subjects import NAME_KEYS, Subject, parse_subject, read_oid, read_subject
from keyfob.pki.cfssl.times import read_duration
from keyfob.pki.keys import SMALLEST_RSA, PrivateKey, PublicKey

LARGEST_RSA = 8192
CURVES: Mapping[int, type[ec.EllipticCurve]] = {256: ec.SECP256R1, 384: ec.SECP384R1, 521: ec.SECP521R1}

_CURVES = tuple(CURVES.values())

KEYS = ("CN", "names", "hosts", "key", "ca", "serialnumber", "extensions", "crl_url", "delegation_enabled")
SUBJECT_KEYS = ("CN", "names", "SerialNumber")
_CA_KEYS = ("pathlen", "pathlenzero", "expiry", "backdate")

Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Kind = TypeVar("Kind", bound=x509.ExtensionType)
RequestExtensions = tuple[tuple[x509.UnrecognizedExtension, bool], ...]


class AuthorityWish(NamedTuple):
    """What a root shall be like."""

    path_length: int | None = None
    expiry: timedelta = timedelta()
    backdate: timedelta = timedelta()


class Request(NamedTuple):
    """What a CSR's JSON asks for; `generate` makes the key."""

    subject: Subject
    hosts: Hosts
    generate: Callable[[], PrivateKey]
    authority: AuthorityWish | None = None
    extensions: RequestExtensions = ()
    crl_url: str = ""


def read_request(data: bytes, name: str, warn: Warn) -> Request:
    """The request in a JSON document that errors call `name`. Raises PKIError."""
    table = read_document(data, name, KEYS)
    if table.says("delegation_enabled"):
        table.fail("delegation_enabled", "delegated credentials are not made here", "leave it out")
    subject = read_subject(table.text("CN"), table.text("serialnumber"), table.tables("names", NAME_KEYS))
    hosts = read_hosts(table.texts("hosts") or (), table.place.at("hosts"), warn)
    extensions = tuple(map(_read_extension, table.tables("extensions", ("Id", "Critical", "Value"))))
    return Request(subject, hosts, _read_key(table), _read_authority(table, warn), extensions, table.text("crl_url"))


def read_subject_document(data: bytes, name: str) -> Subject:
    """The subject in a JSON document, which `cfssl sign` takes beside a CSR. Raises PKIError."""
    table = read_document(data, name, SUBJECT_KEYS)
    return read_subject(table.text("CN"), table.text("SerialNumber"), table.tables("names", NAME_KEYS))


def _read_key(table: Table) -> Callable[[], PrivateKey]:
    wish, place = table.table("key", ("algo", "size")), table.place.at("key")
    algorithm, size = (wish.text("algo"), wish.number("size")) if wish else ("", None)
    if algorithm == "rsa":
        # Of odd sizes OpenSSL makes others.
        if size is None or size % 8 or not SMALLEST_RSA <= size <= LARGEST_RSA:
            message = f"{size or 'no number of'} bits are no RSA key"
            place.at("size").fail(message, f"write a multiple of 8 from {SMALLEST_RSA} to {LARGEST_RSA}, such as 3072")
        return partial(rsa.generate_private_key, 65537, size)
    if algorithm not in ("ecdsa", ""):
        _refuse_algorithm(algorithm, place.at("algo"))
    if (size or 256) not in CURVES:
        place.at("size").fail(f"there is no curve of {size} bits", "write 256, 384 or 521")
    return partial(ec.generate_private_key, CURVES[size or 256]())


def _refuse_algorithm(name: str, place: Place) -> NoReturn:
    if name == "ed25519":
        place.fail("no phone imports an Ed25519 key", '{"algo": "ecdsa", "size": 256} goes everywhere')
    place.fail(f"{name[:40]!r} is no algorithm", 'write "ecdsa" or "rsa", in small letters')


def _read_authority(table: Table, warn: Warn) -> AuthorityWish | None:
    wish = table.table("ca", _CA_KEYS)
    if wish is None:
        return None
    length = read_path_length(wish, "pathlen", "pathlenzero", warn)
    expiry = read_duration(wish.text("expiry"), wish.place.at("expiry"))
    return AuthorityWish(length, expiry, read_duration(wish.text("backdate"), wish.place.at("backdate")))


def read_path_length(table: Table, length_key: str, zero_key: str, warn: Warn) -> int | None:
    """The path length of two keys, since in cfssl's documents nought alone means none. Raises PKIError."""
    length, zero = table.number(length_key) or 0, table.flag(zero_key)
    if length < -1 or length > 255:
        table.fail(length_key, f"{length} is no path length", "write how many authorities may stand below this one")
    if length and zero:
        warn(f"{table.place.at(zero_key)}: is passed over beside a {length_key} of {length}")
    if length == 0:
        return 0 if zero else None
    return length if length > 0 else None


def _read_extension(table: Table) -> tuple[x509.UnrecognizedExtension, bool]:
    """As Go writes one: the identifier as a list of numbers, the value in base64."""
    numbers = table.numbers("Id")
    oid = read_oid(".".join(map(str, numbers)), table.place.at("Id"))
    if oid in (ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.BASIC_CONSTRAINTS):
        table.fail("Id", "has a key of its own", 'write "hosts" or "ca"')
    try:
        value = base64.b64decode(table.text("Value"), validate=True)
    except (binascii.Error, ValueError):
        table.fail("Value", "is no base64", "write the DER of the value in base64")
    return x509.UnrecognizedExtension(oid, value), table.flag("Critical")


def describe_certificate(certificate: x509.Certificate, name: str, warn: Warn) -> Request:
    """The request that would lead to a certificate of the same subject, names and, of an authority, lifetime."""
    place = Place(name)
    names = find_extension(certificate.extensions, x509.SubjectAlternativeName)
    basic = find_extension(certificate.extensions, x509.BasicConstraints)
    authority = None
    if basic is not None and basic.ca:
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        authority = AuthorityWish(basic.path_length, lifetime)
    subject = parse_subject(certificate.subject, place)
    return Request(subject, parse_hosts(names or (), place, warn), _make_no_key, authority)


def _make_no_key() -> PrivateKey:
    raise PKIError("a certificate says nothing about a new key", "name one with -key")


def find_extension(extensions: x509.Extensions, kind: type[Kind]) -> Kind | None:
    """The extension of this kind, if there is one."""
    for each in extensions:
        if isinstance(each.value, kind):
            return each.value
    return None


def make_csr(request: Request, key: PrivateKey) -> x509.CertificateSigningRequest:
    """The CSR of a request, on `key`. Raises PKIError."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(request.subject.as_name())
    names = request.hosts.names
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if request.authority is not None:
        constraints = x509.BasicConstraints(ca=True, path_length=request.authority.path_length)
        builder = builder.add_extension(constraints, critical=True)
    try:
        for extension, critical in request.extensions:
            builder = builder.add_extension(extension, critical)
    except ValueError as error:
        raise PKIError("an extension stands twice in the request", "write each once") from error
    return builder.sign(key, choose_hash(key.public_key()))


def choose_hash(key: PublicKey) -> Hash:
    """The hash that cfssl has a key sign with: as strong as the key is, and never below SHA-256."""
    if isinstance(key, rsa.RSAPublicKey):
        return hashes.SHA512() if key.key_size >= 4096 else hashes.SHA384() if key.key_size >= 3072 else hashes.SHA256()
    return hashes.SHA512() if key.key_size > 384 else hashes.SHA384() if key.key_size > 256 else hashes.SHA256()


def require_key(key: object, name: str) -> PublicKey:
    """The public key, if it is of a kind that is used here. Raises PKIError."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA <= key.key_size <= LARGEST_RSA:
        return key
    raise PKIError(
        f"{name} has a key that is not used here", f"use ECDSA with 256, 384 or 521 bits, or RSA with {SMALLEST_RSA}"
    )


def read_csr(pem: bytes, name: str) -> x509.CertificateSigningRequest:
    """The CSR in a PEM text that errors call `name`. Raises PKIError, also if its own key has not signed it."""
    try:
        csr = x509.load_pem_x509_csr(pem)
        sound = csr.is_signature_valid
        _ = csr.public_key(), csr.extensions, csr.subject
    except UNREADABLE as error:
        raise PKIError(f"{name} cannot be read as a CSR: {error}", "is it a certificate request in PEM?") from error
    if not sound:
        raise PKIError(f"{name} is not signed by its own key", "make it anew: it may have been changed on its way")
    return csr


def write_private_key(key: PrivateKey) -> str:
    """PEM in the older forms that cfssl writes: PKCS#1 for RSA, SEC 1 for ECDSA. Not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode("ascii")
