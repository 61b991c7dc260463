"""How each proxy writes certificates down, and what a value written so says. Independent of `keyfob`.

Both directions are written from what the proxies do, so that a mistake in `keyfob.sources` is not made here as well.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from urllib.parse import unquote_to_bytes

from cryptography import x509

from fuzz.issued import DEVICES, INTERMEDIATE, ROOT, STRANGERS, write_der

Write = Callable[[Random, Sequence[bytes]], bytes]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Proxy:
    """One way to hand certificates over. `write` makes the header's value of DER, the leaf first.

    `proofs` are the headers that vouch for it, with their good values; `chain` is the header for the rest.
    """

    header: bytes
    encoding: str
    write: Write
    proofs: tuple[tuple[bytes, bytes], ...] = ()
    chain: bytes = b""

    @property
    def own(self) -> frozenset[bytes]:
        """Every header that is looked at."""
        return frozenset({self.header, *(name for name, _ in self.proofs)} | ({self.chain} if self.chain else set()))

    def write_headers(self, random: Random, ders: Sequence[bytes], value: bytes) -> Headers:
        """All the headers that go with this value."""
        headers = [(self.header, value), *self.proofs]
        if self.chain and len(ders) > 1:
            headers.append((self.chain, b", ".join(b":%b:" % b64encode(each) for each in ders[1:])))
        random.shuffle(headers)
        return headers


def write_pem(der: bytes) -> bytes:
    """PEM, RFC 7468."""
    text = b64encode(der)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % lines


def _escape(text: bytes, literal: bytes, *, lower: bool = False) -> bytes:
    """Percent-encoding of what stands in PEM, without what is in `literal`."""
    for each in b" \n+/=":
        if each not in literal:
            text = text.replace(bytes([each]), b"%%%02x" % each if lower else b"%%%02X" % each)
    return text


def _write_nginx(_: Random, ders: Sequence[bytes]) -> bytes:
    return _escape(write_pem(ders[0]), b"")


def _write_apache(random: Random, ders: Sequence[bytes]) -> bytes:
    """`%{SSL_CLIENT_CERT}s` has spaces for line ends, and one at the end; the other form is `escape:`."""
    pem = write_pem(ders[0])
    return pem.replace(b"\n", b" ") if random.random() < 0.5 else _escape(pem, b"+/=", lower=True)


def _write_alb(_: Random, ders: Sequence[bytes]) -> bytes:
    return _escape(write_pem(ders[0]), b"+/=")


def _write_alb_chain(random: Random, ders: Sequence[bytes]) -> bytes:
    """The documentation leaves = literal, and its own example does not."""
    return _escape(b"".join(map(write_pem, ders)), random.choice([b"+/=", b"+/"]))


def _write_der(_: Random, ders: Sequence[bytes]) -> bytes:
    return b64encode(ders[0])


def _write_traefik(_: Random, ders: Sequence[bytes]) -> bytes:
    return b",".join(map(b64encode, ders))


def _write_sequence(_: Random, ders: Sequence[bytes]) -> bytes:
    return b":%b:" % b64encode(ders[0])


def _write_envoy(random: Random, ders: Sequence[bytes]) -> bytes:
    """With SANITIZE_SET and every detail that can be asked for, or with some of them left out."""
    leaf = ders[0]
    pairs = [b"Hash=%b" % sha256(leaf).hexdigest().encode(), b'Cert="%b"' % _escape(write_pem(leaf), b"")]
    if random.random() < 0.2:
        pairs.insert(0, b"By=spiffe://cluster.local/ns/default/sa/app")
    if random.random() < 0.5:
        pairs.append(b'Chain="%b"' % _escape(b"".join(map(write_pem, ders)), b""))
    return b";".join([*pairs, *_NAMES.get(leaf, ())])


def _write_istio(_: Random, ders: Sequence[bytes]) -> bytes:
    """The gateway's default: Subject, Cert, Dns and Uri, no Chain."""
    leaf = ders[0]
    pairs = [b"Hash=%b" % sha256(leaf).hexdigest().encode(), b'Cert="%b"' % _escape(write_pem(leaf), b"")]
    return b";".join([*pairs, *_NAMES.get(leaf, ())])


def _write_names(certificate: x509.Certificate) -> list[bytes]:
    """Subject in quotation marks with RFC 2253's own backslashes, and every SAN raw, as Envoy writes them."""
    pairs = [b'Subject="%b"' % certificate.subject.rfc4514_string().encode()]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return pairs
    pairs += [b"URI=%b" % uri.encode() for uri in names.get_values_for_type(x509.UniformResourceIdentifier)]
    return pairs + [b"DNS=%b" % dns.encode() for dns in names.get_values_for_type(x509.DNSName)]


EVERYBODY = {write_der(each): name for name, each in {**STRANGERS, **DEVICES}.items()}
_NAMES = {write_der(each): _write_names(each) for each in (*DEVICES.values(), *STRANGERS.values())}

_SUCCESS = b"SUCCESS"
PROXIES: dict[str, Proxy] = {
    "rfc9440": Proxy(b"client-cert", "byte-sequence", _write_sequence, chain=b"client-cert-chain"),
    "nginx": Proxy(b"x-ssl-client-cert", "pem", _write_nginx, ((b"x-ssl-client-verify", _SUCCESS),)),
    "ingress-nginx": Proxy(b"ssl-client-cert", "pem", _write_nginx, ((b"ssl-client-verify", _SUCCESS),)),
    "apache": Proxy(b"x-ssl-client-cert", "pem", _write_apache, ((b"x-ssl-client-verify", _SUCCESS),)),
    "haproxy": Proxy(
        b"x-ssl-client-der", "der", _write_der, ((b"x-ssl-client-used", b"1"), (b"x-ssl-client-verify", b"0"))
    ),
    "envoy": Proxy(b"x-forwarded-client-cert", "xfcc", _write_envoy),
    "istio": Proxy(b"x-forwarded-client-cert", "xfcc", _write_istio),
    "traefik": Proxy(b"x-forwarded-tls-client-cert", "der-list", _write_traefik),
    "caddy": Proxy(b"x-ssl-client-der", "der", _write_der),
    "aws-alb": Proxy(b"x-amzn-mtls-clientcert-leaf", "pem", _write_alb),
    "aws-alb-passthrough": Proxy(b"x-amzn-mtls-clientcert", "pem-chain", _write_alb_chain),
    "cloudfront": Proxy(b"cloudfront-viewer-cert-pem", "pem", _write_nginx),
    "gcp": Proxy(
        b"x-client-cert-leaf",
        "byte-sequence",
        _write_sequence,
        ((b"x-client-cert-chain-verified", b"true"),),
        b"x-client-cert-chain",
    ),
    "azure-app-service": Proxy(b"x-arr-clientcert", "der", _write_der),
    "azure-app-gateway": Proxy(
        b"x-client-certificate", "pem", _write_nginx, ((b"x-client-certificate-verification", _SUCCESS),)
    ),
    "cloudflare": Proxy(b"cf-client-cert-der-base64", "der", _write_der),
    "kong": Proxy(b"x-client-cert", "pem", _write_nginx),
    "openshift": Proxy(b"x-ssl-client-der", "der", _write_der, ((b"x-ssl-client-verify", b"0"),)),
}


# What every spelling of one device's certificate comes down to, by encoding.
_BLANKS = re.compile(rb"[ \r\n]+")
_BY_BASE64 = {b64encode(write_der(each)): write_der(each) for each in DEVICES.values()}
_BY_PEM = {_BLANKS.sub(b"", write_pem(der)): der for der in _BY_BASE64.values()}
_END = b"-----ENDCERTIFICATE-----"


def find_device(encoding: str, value: bytes) -> bytes | None:
    """The DER of the one device whose certificate this value is, or that stands first in it; None if it is nobody's."""
    value = value.strip(b" \t")
    match encoding:
        case "der":
            return _BY_BASE64.get(value)
        case "der-list":
            return _BY_BASE64.get(value.partition(b",")[0])
        case "byte-sequence":
            return _BY_BASE64.get(value[1:-1]) if value[:1] == value[-1:] == b":" else None
        case "pem":
            return _find_in_pem(value, only=True)
        case "pem-chain":
            return _find_in_pem(value, only=False)
        case "xfcc":
            return _find_in_xfcc(value)
    raise ValueError(encoding)


def _find_in_pem(value: bytes, *, only: bool) -> bytes | None:
    squeezed = _BLANKS.sub(b"", unquote_to_bytes(value))
    first, end, rest = squeezed.partition(_END)
    return None if only and rest else _BY_PEM.get(first + end)


def _find_in_xfcc(value: bytes) -> bytes | None:
    elements = read_xfcc(value)
    if elements is None or len(elements) != 1:
        return None
    certificates = [said for key, said in elements[0] if key == b"cert"]
    hashes = [said for key, said in elements[0] if key == b"hash"]
    if len(certificates) != 1 or len(hashes) != 1:
        return None
    der = _find_in_pem(certificates[0], only=True)
    return der if der and sha256(der).hexdigest().encode() == hashes[0].lower() else None


Pairs = list[tuple[bytes, bytes]]


def read_xfcc(text: bytes) -> list[Pairs] | None:
    """Envoy's documented grammar, one character after the other: elements of pairs, keys in lower case; None if broken.

    A value that is not in quotation marks ends at the next comma or semicolon, and has no quotation mark in it.
    """
    elements: list[Pairs] = [[]]
    at = 0
    while True:
        key, at = _read_while(text, at, _IN_KEY)
        if not key or text[at : at + 1] != b"=":
            return None
        quoted = text[at + 1 : at + 2] == b'"'
        value, at = _read_quoted(text, at + 2) if quoted else _read_while(text, at + 1, _IN_BARE)
        elements[-1].append((key.lower(), value))
        if at == len(text):
            return elements
        if at > len(text) or text[at] not in b",;":
            return None
        if text[at] == ord(","):
            elements.append([])
        at += 1


_IN_KEY = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_IN_BARE = frozenset(range(256)) - frozenset(b',;"')


def _read_while(text: bytes, at: int, allowed: frozenset[int]) -> tuple[bytes, int]:
    start = at
    while at < len(text) and text[at] in allowed:
        at += 1
    return text[start:at], at


def _read_quoted(text: bytes, at: int) -> tuple[bytes, int]:
    """What stands before the quotation mark that ends it; one without an end ends behind the text."""
    value = bytearray()
    while at < len(text):
        if text[at] == ord('"'):
            return bytes(value), at + 1
        at += text[at] == ord("\\")
        value += text[at : at + 1]
        at += 1
    return b"", len(text) + 1


INTERMEDIATE_DER, ROOT_DER = write_der(INTERMEDIATE), write_der(ROOT)
