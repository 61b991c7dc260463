"""How proxies write certificates into a header: each decoder takes a field's value and returns DER, the leaf first.

A decoder raises ValueError, with a sentence for the log, for everything that is not exactly its encoding. Whether the
bytes are a certificate is not looked at here.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from hashlib import sha256

Decoder = Callable[[bytes], tuple[bytes, ...]]


def decode_base64(text: bytes) -> bytes:
    """Strict base64, RFC 4648 section 4: padded, and nothing that could also be written otherwise (section 3.5)."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if not data or binascii.b2a_base64(data, newline=False) != text:
        raise ValueError("not base64 in its one canonical form")
    return data


def decode_der(value: bytes) -> tuple[bytes, ...]:
    """One certificate: base64 of DER on one line."""
    return (decode_base64(value),)


def decode_der_list(value: bytes) -> tuple[bytes, ...]:
    """Certificates as base64 of DER, with commas between them."""
    return tuple(map(decode_base64, value.split(b",")))


_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----[ \r\n]+([A-Za-z0-9+/=][A-Za-z0-9+/= \r\n]*?)-----END CERTIFICATE-----[ \r\n]*+"
)
_BETWEEN = b" \r\n"


def decode_pem(value: bytes) -> tuple[bytes, ...]:
    """One certificate in PEM, percent-encoded, or with spaces where its lines ended."""
    chain = decode_pem_chain(value)
    if len(chain) != 1:
        raise ValueError(f"{len(chain)} certificates where one is meant")
    return chain


def decode_pem_chain(value: bytes) -> tuple[bytes, ...]:
    """Certificates in PEM one after the other, percent-encoded, or with spaces where their lines ended."""
    if not value.isascii() or any(control in value for control in (b"\r", b"\n", b"\t", b"\0")):
        # Outside the percent-encoding these are the marks of a folded field, and folding is a way to smuggle.
        raise ValueError("PEM with raw line ends, tabs or characters beyond ASCII")
    chain = tuple(_split_pem(_unquote(value)))
    if not chain:
        raise ValueError("no certificate in it")
    return chain


def _split_pem(text: bytes) -> Iterator[bytes]:
    at, end = 0, len(text.rstrip(_BETWEEN))
    while at < end:
        match = _PEM.match(text, at)
        if match is None:
            raise ValueError("not PEM certificates and nothing else")
        yield decode_base64(match[1].translate(None, _BETWEEN))
        at = match.end()


_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})?")


def _unquote(value: bytes) -> bytes:
    """Percent-decoding, RFC 3986 section 2.1. A plus sign means itself: base64 has it as a digit."""

    def one(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            raise ValueError("a percent sign without two hexadecimal digits")
        return bytes([int(match[1], 16)])

    return _PERCENT.sub(one, value)


_BYTES = rb":([A-Za-z0-9+/]*={0,2}):"
_ONE_SEQUENCE = re.compile(_BYTES)
_SEQUENCES = re.compile(rb"%b(?:[ \t]*,[ \t]*%b)*" % (_BYTES, _BYTES))


def decode_byte_sequence(value: bytes) -> tuple[bytes, ...]:
    """One byte sequence, RFC 8941 section 3.3.5. RFC 9440 defines no parameters, so none are taken."""
    match = _ONE_SEQUENCE.fullmatch(value)
    if match is None:
        raise ValueError("not a structured field's byte sequence")
    return decode_der(match[1])


def decode_byte_sequences(value: bytes) -> tuple[bytes, ...]:
    """A list of byte sequences, RFC 8941 section 3.1."""
    if _SEQUENCES.fullmatch(value) is None:
        raise ValueError("not a structured field's list of byte sequences")
    return tuple(decode_base64(text) for text in _ONE_SEQUENCE.findall(value))


# Envoy's documentation of x-forwarded-client-cert: elements between commas, pairs between semicolons, and values in
# quotation marks where they hold one of these, with a backslash before a quotation mark.
_PAIR = re.compile(rb'([A-Za-z0-9]+)=(?:"((?:[^"\\]++|\\.)*+)"|([^",;]*))(?:([,;])|\Z)', re.DOTALL)


def parse_xfcc(value: bytes) -> list[list[tuple[bytes, bytes]]]:
    """The elements of an x-forwarded-client-cert field: pairs of key (lower case) and value, in their order."""
    elements: list[list[tuple[bytes, bytes]]] = [[]]
    at, mark = 0, b","
    while mark:
        match = _PAIR.match(value, at)
        if match is None:
            raise ValueError("not an x-forwarded-client-cert field")
        key, quoted, bare, mark = match[1].lower(), match[2], match[3], match[4]
        elements[-1].append((key, bare if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)))
        at = match.end()
        if mark == b",":
            elements.append([])
    return elements


def decode_xfcc(value: bytes) -> tuple[bytes, ...]:
    """The certificate of the one element of an x-forwarded-client-cert field, with the chain that the client sent.

    Names beside it are not looked at: Envoy writes a SAN without quotation marks, so whoever has a certificate could
    write any pair into this field. That is why each key that is looked at may be there once only, and why the
    fingerprint, which Envoy always writes, has to be this certificate's.
    """
    elements = parse_xfcc(value)
    if len(elements) != 1:
        raise ValueError(f"{len(elements)} elements where one proxy writes one")
    [certificate], digests, chains = [_values(elements[0], key) for key in (b"cert", b"hash", b"chain")]
    [leaf] = decode_pem(certificate)
    if [digest.lower() for digest in digests] != [sha256(leaf).hexdigest().encode("ascii")]:
        raise ValueError("Hash is not the fingerprint of Cert")
    sent = decode_pem_chain(chains[0]) if chains else (leaf,)
    if sent[0] != leaf:
        raise ValueError("Chain does not begin with Cert")
    return sent


def _values(element: list[tuple[bytes, bytes]], key: bytes) -> list[bytes]:
    values = [value for each, value in element if each == key]
    if len(values) > 1:
        raise ValueError(f"{key.decode('ascii')} stands there twice")
    return values


# The encodings that a configuration can name for its own headers.
ENCODINGS: dict[str, Decoder] = {
    "pem": decode_pem,
    "pem-chain": decode_pem_chain,
    "der": decode_der,
    "der-list": decode_der_list,
    "byte-sequence": decode_byte_sequence,
    "xfcc": decode_xfcc,
}
