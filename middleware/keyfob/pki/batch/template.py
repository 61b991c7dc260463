"""A certificate authority's device certificates, serialised once and then filled in: what varies is little.

`Authority.sign_device` takes five times as long as the signature in it. Here its own output is the mould: the parts
that every device has in common are cut out of one sample, and the rest is put between them. A test compares the two
field by field.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from keyfob.pki.authority import Authority, DeviceRequest, find_alternatives
from keyfob.pki.keys import PrivateKey, choose_hash, generate_key

_SEQUENCE, _SET, _BIT_STRING, _OCTET_STRING, _INTEGER, _UTF8_STRING = 0x30, 0x31, 0x03, 0x04, 0x02, 0x0C
_IDENTIFIER = bytes.fromhex("0603551d0e")
_ALTERNATIVES = bytes.fromhex("0603551d11")
_ORGANIZATION, _UNIT, _COMMON_NAME = (
    bytes.fromhex("060355040a"),
    bytes.fromhex("060355040b"),
    bytes.fromhex("0603550403"),
)
# SHA-1, RFC 5280 section 4.2.1.2 (1).
_IDENTIFIER_LENGTH = 20
_POINT_LENGTH = 65


class Filled(NamedTuple):
    """A finished certificate, DER, and its serial number."""

    certificate: bytes
    serial: int


class Template:
    """The certificates that an authority signs for one number of days. To be made anew every now and then: the moment
    at which they begin is the moment at which it was made."""

    def __init__(self, authority: Authority, days: int) -> None:
        """Raises PKIError if the authority does not live so long."""
        sample = authority.sign_device(DeviceRequest("x", days), authority.issued.key.public_key())
        version, _, algorithm, issuer, validity, _, _, extensions = split(_open(sample.tbs_certificate_bytes))
        before, after = _cut(split(_open(_open(extensions))))
        self.not_before = int(sample.not_valid_before_utc.timestamp())
        self.not_after = int(sample.not_valid_after_utc.timestamp())
        self._version, self._algorithm = version, algorithm
        self._middle = algorithm + issuer + validity
        self._before, self._after = before, after
        self._sign = _find_signature(authority.issued.key)

    def fill(self, request: DeviceRequest, public_key: bytes) -> Filled:
        """The certificate for a request that has been checked, on a key (DER, SubjectPublicKeyInfo).

        The request's days are not looked at.
        """
        serial = x509.random_serial_number()
        extensions = self._before + _identify(public_key) + self._after
        if request.emails or request.dns or request.uris:
            names = x509.SubjectAlternativeName(find_alternatives(request)).public_bytes()
            extensions += wrap(_SEQUENCE, _ALTERNATIVES + wrap(_OCTET_STRING, names))
        tbs = wrap(
            _SEQUENCE,
            self._version
            + wrap(_INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1))
            + self._middle
            + encode_subject(request)
            + public_key
            + wrap(0xA3, wrap(_SEQUENCE, extensions)),
        )
        signature = wrap(_BIT_STRING, b"\0" + self._sign(tbs))
        return Filled(wrap(_SEQUENCE, tbs + self._algorithm + signature), serial)


def make_key(kind: str) -> tuple[bytes, bytes]:
    """A new key: PKCS#8, and its SubjectPublicKeyInfo; DER both."""
    key = generate_key(kind)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if kind == "p256":
        # The point is the end of the private key's encoding (RFC 5915) already.
        return private, _P256 + private[-_POINT_LENGTH:]
    return private, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


def encode_subject(request: DeviceRequest) -> bytes:
    """As `make_name` does it: organization, unit, common name; UTF-8 strings, DER."""
    name = _attribute(_COMMON_NAME, request.name)
    if request.unit is not None:
        name = _attribute(_UNIT, request.unit) + name
    if request.organization is not None:
        name = _attribute(_ORGANIZATION, request.organization) + name
    return wrap(_SEQUENCE, name)


def _attribute(oid: bytes, value: str) -> bytes:
    return wrap(_SET, wrap(_SEQUENCE, oid + wrap(_UTF8_STRING, value.encode("utf-8"))))


def _identify(public_key: bytes) -> bytes:
    # The content of the bit string, without the octet that counts its unused bits.
    key = split(_open(public_key))[1]
    return hashlib.sha1(_open(key)[1:], usedforsecurity=False).digest()


def _cut(extensions: list[bytes]) -> tuple[bytes, bytes]:
    """What stands before the subject key's identifier, and behind it."""
    [place] = [at for at, each in enumerate(extensions) if _open(each).startswith(_IDENTIFIER)]
    return b"".join(extensions[: place + 1])[:-_IDENTIFIER_LENGTH], b"".join(extensions[place + 1 :])


def _find_signature(key: PrivateKey) -> Callable[[bytes], bytes]:
    algorithm = choose_hash(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curve, scheme = key, ec.ECDSA(algorithm)
        return lambda data: curve.sign(data, scheme)
    return lambda data: key.sign(data, PKCS1v15(), algorithm)


def wrap(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    if length < 0x100:
        return bytes((tag, 0x81, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def split(content: bytes) -> list[bytes]:
    """The elements of DER that was written by a library: nothing is checked."""
    found, at = [], 0
    while at < len(content):
        begin, length = _measure(content, at)
        found.append(content[at : begin + length])
        at = begin + length
    return found


def _open(element: bytes) -> bytes:
    begin, length = _measure(element, 0)
    return element[begin : begin + length]


def _measure(content: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins, and how long it is."""
    length = content[at + 1]
    if length < 0x80:
        return at + 2, length
    begin = at + 2 + (length & 0x7F)
    return begin, int.from_bytes(content[at + 2 : begin])
