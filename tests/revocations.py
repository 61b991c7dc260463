"""Revocation lists for tests, right and wrong, and large ones made fast. Independent of `keyfob`."""

import hashlib
import os
from base64 import encodebytes
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from certificates import DAY, Pair

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
RSA_PSS = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)
ED25519 = bytes.fromhex("300506032b6570")


def tlv(tag: int, *content: bytes) -> bytes:
    """One DER element."""
    octets = b"".join(content)
    if len(octets) < 128:
        return bytes((tag, len(octets))) + octets
    size = len(octets).to_bytes((len(octets).bit_length() + 7) // 8)
    return bytes((tag, 128 | len(size))) + size + octets


def make_time(moment: datetime) -> bytes:
    """RFC 5280 section 4.1.2.5: two digits for the year until 2049."""
    if moment.year < 2050:
        return tlv(0x17, f"{moment:%y%m%d%H%M%S}Z".encode())
    return tlv(0x18, f"{moment:%Y%m%d%H%M%S}Z".encode())


def make_serial(serial: int) -> bytes:
    return tlv(0x02, serial.to_bytes((serial + (serial < 0)).bit_length() // 8 + 1, signed=True))


def make_extension(extension: x509.ExtensionType, critical: bool = False) -> bytes:
    """One extension, DER."""
    return make_raw_extension(extension.oid, extension.public_bytes(), critical)


def make_raw_extension(oid: x509.ObjectIdentifier, value: bytes, critical: bool = False) -> bytes:
    flag = tlv(0x01, b"\xff") if critical else b""
    return tlv(0x30, make_oid(oid), flag, tlv(0x04, value))


def make_oid(oid: x509.ObjectIdentifier) -> bytes:
    first, second, *rest = map(int, oid.dotted_string.split("."))
    octets = bytearray()
    for number in (first * 40 + second, *rest):
        groups = [number & 127]
        while number := number >> 7:
            groups.append(number & 127 | 128)
        octets += bytes(reversed(groups))
    return tlv(0x06, bytes(octets))


REVOKED_AT = make_time(datetime(2025, 1, 1, tzinfo=UTC))


def make_entry(serial: int, *extensions: bytes, date: bytes = REVOKED_AT) -> bytes:
    """One entry; `extensions` are DER."""
    return tlv(0x30, make_serial(serial), date, tlv(0x30, *extensions) if extensions else b"")


def make_list(
    issuer: Pair,
    entries: Iterable[bytes | Pair | int] = (),
    *extensions: tuple[x509.ExtensionType, bool],
    begins: timedelta = -DAY,
    ends: timedelta | None = 7 * DAY,
    signer: Pair | None = None,
    algorithm: bytes | None = None,
) -> bytes:
    """A list, DER. `entries` are DER, certificates, or serial numbers; `ends` None leaves nextUpdate out."""
    now = datetime.now(UTC).replace(microsecond=0)
    written = b"".join(map(_write_entry, entries))
    tbs = make_tbs(
        issuer.certificate.subject.public_bytes(),
        algorithm or _algorithm_of(signer or issuer),
        make_time(now + begins) + (b"" if ends is None else make_time(now + ends)),
        tlv(0x30, written) if written else b"",
        tlv(0xA0, tlv(0x30, *(make_extension(*each) for each in extensions))) if extensions else b"",
    )
    return sign_list(tbs, signer or issuer, algorithm)


def make_tbs(name: bytes, algorithm: bytes, times: bytes, entries: bytes, extensions: bytes) -> bytes:
    return tlv(0x30, b"\x02\x01\x01", algorithm, name, times, entries, extensions)


def sign_list(tbs: bytes, signer: Pair, algorithm: bytes | None = None) -> bytes:
    """The list with the signature of `signer` over `tbs`."""
    key, digest, hashed = signer.key, hashlib.sha256(tbs).digest(), Prehashed(hashes.SHA256())
    algorithm = algorithm or _algorithm_of(signer)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(digest, ec.ECDSA(hashed))
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(tbs)
    elif algorithm == RSA_PSS:
        signature = key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashed)
    else:
        signature = key.sign(digest, padding.PKCS1v15(), hashed)
    return tlv(0x30, tbs, algorithm, tlv(0x03, b"\0", signature))


def make_crl(count: int, issuer: Pair, also: Sequence[Pair] = ()) -> bytes:
    """A list of `count` random serial numbers of 16 octets, each with a reason, and the certificates `also`.

    A million make 40 MB, in about a second.
    """
    reason = tlv(0x30, make_extension(x509.CRLReason(x509.ReasonFlags.superseded)))
    rest = REVOKED_AT + reason
    head = bytes((0x30, 18 + len(rest), 0x02, 16, 0x11))
    octets = memoryview(os.urandom(15 * count))
    many = b"".join([b"".join((head, octets[at : at + 15], rest)) for at in range(0, 15 * count, 15)])
    return make_list(issuer, [many, *also])


def write_pem(*lists: bytes) -> bytes:
    """The lists as PEM blocks."""
    return b"".join(b"-----BEGIN X509 CRL-----\n" + encodebytes(each) + b"-----END X509 CRL-----\n" for each in lists)


def _write_entry(entry: bytes | Pair | int) -> bytes:
    if isinstance(entry, bytes):
        return entry
    return make_entry(entry if isinstance(entry, int) else entry.certificate.serial_number)


def _algorithm_of(signer: Pair) -> bytes:
    if isinstance(signer.key, rsa.RSAPrivateKey):
        return RSA_SHA256
    return ED25519 if isinstance(signer.key, ed25519.Ed25519PrivateKey) else ECDSA_SHA256
