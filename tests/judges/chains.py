"""Chains for more than one judge, and how they are made. Independent of `keyfob`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import CLIENT, DAY, Extensions, Key, Pair, make_certificate, make_name
from revocations import ECDSA_SHA256, RSA_SHA256, make_oid, tlv


@dataclass(frozen=True)
class Chain:
    """What a device presents, and what the host has: `file` begins with its roots, `lists` are DER or not asked for."""

    name: str
    device: Pair
    sent: tuple[Pair, ...]
    file: tuple[Pair, ...]
    lists: tuple[bytes, ...] | None = None

    @property
    def roots(self) -> tuple[Pair, ...]:
        return tuple(each for each in self.file if is_self_signed(each.certificate))

    @property
    def beside(self) -> tuple[Pair, ...]:
        return tuple(each for each in self.file if not is_self_signed(each.certificate))


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it says so: it names itself as its issuer, and its own key where it names one."""
    keys = [each.value for each in certificate.extensions]
    own = [each.digest for each in keys if isinstance(each, x509.SubjectKeyIdentifier)]
    above = [each.key_identifier for each in keys if isinstance(each, x509.AuthorityKeyIdentifier)]
    return certificate.subject == certificate.issuer and above in ([], own)


BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def make_usage(*bits: str) -> tuple[x509.ExtensionType, bool]:
    flags = {bit: bit in bits for bit in BITS}
    return x509.KeyUsage(**flags, encipher_only=False, decipher_only=False), True


def be_authority(path_length: int | None = None) -> Extensions:
    """What makes an authority, as real ones have it."""
    return (x509.BasicConstraints(ca=True, path_length=path_length), True), make_usage("key_cert_sign", "crl_sign")


AUTHORITY = be_authority()


@dataclass(frozen=True)
class Link:
    """One certificate of a path that is still to be made; what differs from a plain one."""

    extensions: Extensions = ()
    basic: Extensions = AUTHORITY
    begins: timedelta = -2 * DAY
    ends: timedelta = 60 * DAY
    key: Key | None = None
    subject: x509.Name | None = None
    change: Callable[[Pair, Pair | None], Pair] | None = None


PLAIN = Link()
DEVICE = Link(
    basic=((x509.BasicConstraints(ca=False, path_length=None), True), (x509.ExtendedKeyUsage([CLIENT]), False)),
    begins=-DAY,
    ends=30 * DAY,
)


def make_path(*links: Link) -> list[Pair]:
    """The certificates, root first; each names its own key and its issuer's, as real ones do."""
    path: list[Pair] = []
    for depth, link in enumerate(links):
        issuer = path[-1] if path else None
        subject = link.subject or make_name("Device" if depth == len(links) - 1 else f"CA {depth}")
        key = link.key or ec.generate_private_key(ec.SECP256R1())
        extensions = [*link.basic, *link.extensions, *make_identifiers(key, issuer)]
        made = make_certificate(subject, issuer, extensions, key=key, begins=link.begins, ends=link.ends)
        path.append(link.change(made, issuer) if link.change else made)
    return path


def make_identifiers(key: Key, issuer: Pair | None) -> Extensions:
    above = (issuer.key if issuer else key).public_key()
    return (
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(above), False),
    )


def present(name: str, path: Sequence[Pair], lists: tuple[bytes, ...] | None = None) -> Iterator[Chain]:
    """The path with its intermediates beside the root, and with them sent by the device."""
    root, *between, device = path
    yield Chain(f"{name}, from the file", device, (), (root, *between), lists)
    if between:
        yield Chain(f"{name}, sent", device, tuple(reversed(between)), (root,), lists)


def put(links: Sequence[Link], at: int, link: Link) -> list[Link]:
    """The links with another one in one place."""
    return [link if index == at else each for index, each in enumerate(links)]


PLACES = ("root", "first intermediate", "second intermediate", "device")
STRAIGHT = (PLAIN, PLAIN, PLAIN, DEVICE)


def sign_anew(pair: Pair, issuer: Pair | None, algorithm: bytes, digest: hashes.HashAlgorithm) -> Pair:
    """The certificate with its signature made in another way, which `cryptography` would refuse to begin."""
    signer = (issuer or pair).key
    old = RSA_SHA256 if isinstance(signer, rsa.RSAPrivateKey) else ECDSA_SHA256
    tbs = pair.certificate.tbs_certificate_bytes
    content = tbs[2 + (tbs[1] & 0x7F if tbs[1] & 0x80 else 0) :].replace(old, algorithm, 1)
    tbs = tlv(0x30, content)
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(tbs, padding.PKCS1v15(), digest)
    elif isinstance(signer, ec.EllipticCurvePrivateKey):
        signature = signer.sign(tbs, ec.ECDSA(digest))
    else:
        raise TypeError(signer)
    whole = tlv(0x30, tbs, algorithm, tlv(0x03, b"\0", signature))
    return Pair(x509.load_der_x509_certificate(whole), pair.key)


def spoil(pair: Pair, _: Pair | None) -> Pair:
    """The last octet of its signature is another."""
    der = pair.certificate.public_bytes(Encoding.DER)
    return Pair(x509.load_der_x509_certificate(der[:-1] + bytes((der[-1] ^ 1,))), pair.key)


def _rsa_algorithm(last: int) -> bytes:
    return tlv(0x30, make_oid(x509.ObjectIdentifier(f"1.2.840.113549.1.1.{last}")), b"\x05\x00")


SHA1_RSA, MD5_RSA = _rsa_algorithm(5), _rsa_algorithm(4)
SHA1_ECDSA = tlv(0x30, make_oid(x509.ObjectIdentifier("1.2.840.10045.4.1")))


@cache
def make_rsa(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)
