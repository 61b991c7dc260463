"""Selectors that name one certificate or key by its hash, or many devices by a file."""

import binascii
from hashlib import sha256
from typing import Annotated

from cryptography import x509
from pydantic import PlainValidator

from keyfob.certificate import ClientCertificate
from keyfob.errors import KeyfobError
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, Name, parse_sha256, read_text, wrong
from keyfob.policy.selectors.names import Names
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.texts import match_only
from keyfob.policy.selectors.verified import ask_certificate


def _read_fingerprint(value: object) -> bytes:
    text = read_text(value)
    digest = parse_sha256(text)
    if digest is None:
        raise wrong(f"{text!r} is no SHA-256 of 64 hex digits", "see openssl x509 -noout -fingerprint -sha256")
    return digest


class Fingerprint(Argument):
    """The SHA-256 of a whole certificate."""

    fingerprint: Annotated[bytes, PlainValidator(_read_fingerprint)]


def _fingerprint(argument: Fingerprint, _: Names) -> Test:
    wanted = argument.fingerprint.hex()
    return ask_certificate(lambda certificate: certificate.fingerprint_sha256 == wanted)


def _read_pin(value: object) -> bytes:
    text = read_text(value)
    digest = parse_sha256(text) or _parse_base64_pin(text)
    if digest is None:
        said = f"{text!r} is no SHA-256 of a public key"
        raise wrong(said, 'write 64 hex digits, or base64 such as "sha256/…=", with 44 characters behind the slash')
    return digest


def _parse_base64_pin(text: str) -> bytes | None:
    """32 octets in base64, alone or as a pin is written: `sha256/…`, and `sha256//…` for curl."""
    bare = text.removeprefix("sha256//") if text.startswith("sha256//") else text.removeprefix("sha256/")
    try:
        digest = binascii.a2b_base64(bare, strict_mode=True)
    except ValueError:
        return None
    # The last character has bits to spare; only one of its four spellings is meant.
    canonical = binascii.b2a_base64(digest, newline=False).decode("ascii") == bare
    return digest if len(digest) == sha256().digest_size and canonical else None


class PublicKeyPin(Argument):
    """The SHA-256 of a certificate's SubjectPublicKeyInfo: it stays when a certificate is renewed with the same key."""

    spki: Annotated[bytes, PlainValidator(_read_pin)]


def _spki(argument: PublicKeyPin, _: Names) -> Test:
    wanted = argument.spki
    return ask_certificate(lambda certificate: sha256(_find_key(certificate.parsed)).digest() == wanted)


def _find_key(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo, octet by octet: `cryptography` would write some keys in another way, RSA-PSS for one.

    RFC 5280 section 4.1: it stands behind the serial number, the algorithm, the issuer, the validity and the subject,
    and before those may stand the version.
    """
    start, end = _find_contents(certificate.tbs_certificate_bytes, 0)
    fields: list[bytes] = []
    while start < end and len(fields) < _KEY_WITH_VERSION + 1:
        _, after = _find_contents(certificate.tbs_certificate_bytes, start)
        fields.append(certificate.tbs_certificate_bytes[start:after])
        start = after
    return fields[_KEY_WITH_VERSION if fields[0][0] == _VERSION else _KEY_WITH_VERSION - 1]


_VERSION, _KEY_WITH_VERSION = 0xA0, 6


def _find_contents(der: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the DER element at `at` begin and end. What was parsed before has sound lengths."""
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return start, start + length


class DeviceFile(Argument):
    """A file of common names and fingerprints, one a line."""

    file: Name


def _device_list(argument: DeviceFile, names: Names) -> Test:
    if names.read_devices is None:
        raise KeyfobError("files of devices are not read here", "write the rule into a configuration file")
    devices = names.read_devices(argument.file)

    def ask(certificate: ClientCertificate) -> bool | None:
        if bytes.fromhex(certificate.fingerprint_sha256) in devices.fingerprints:
            return True
        return match_only(devices.names.__contains__, certificate.common_names)

    return ask_certificate(ask)


PIN_SELECTORS = {
    "fingerprint": Selector(
        Fingerprint,
        _fingerprint,
        '{ fingerprint = { fingerprint = "6a2f8e0d4c1b9a7f5e3d2c1b0a9f8e7d6c5b4a39281706f5e4d3c2b1a0998877" } }',
        needs_certificate=True,
    ),
    "spki": Selector(
        PublicKeyPin,
        _spki,
        '{ spki = { spki = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" } }',
        needs_certificate=True,
    ),
    "device_list": Selector(
        DeviceFile, _device_list, '{ device_list = { file = "devices.txt" } }', needs_certificate=True
    ),
}
