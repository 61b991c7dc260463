"""Any bytes at all, in every format and encoding: a certificate comes out, or none, or a CertificateError."""

from base64 import b64encode
from random import Random
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges import make_request, make_scope
from fuzz.gates import ask, make_gate, make_source
from fuzz.issued import DEVICES, INTERMEDIATE, NOW, write_der
from fuzz.patience import examples
from fuzz.proxies import PROXIES, Proxy, find_device
from keyfob.certificate import read_pem
from keyfob.errors import CertificateError, HeaderMalformed, Malformed
from keyfob.policy import Allow, Deny
from keyfob.sources.encodings import ENCODINGS
from keyfob.sources.formats import FORMATS, Format, Verdict

# A configuration's own headers, in every encoding that it can name.
CUSTOM = {
    f"custom {encoding}": Format("x-my-cert", decode, Verdict.HEADER, {"x-my-verify": "yes"})
    for encoding, decode in ENCODINGS.items()
}
LIKE = {"pem": "nginx", "pem-chain": "aws-alb-passthrough", "der": "caddy", "der-list": "traefik", "xfcc": "envoy"}
LIKE["byte-sequence"] = "rfc9440"
ROWS = {**FORMATS, **CUSTOM}
_DERS = [write_der(each) for each in DEVICES.values()]


def make_proxy(row: str) -> Proxy:
    """The proxy that writes this format, known here independently of it."""
    if row in PROXIES:
        return PROXIES[row]
    encoding = row.removeprefix("custom ")
    return Proxy(b"x-my-cert", encoding, PROXIES[LIKE[encoding]].write, ((b"x-my-verify", b"yes"),))


SPECIAL = st.sampled_from(
    [b"%", b"%0", b"%0A", b"+", b"=", b"==", b":", b",", b";", b'"', b"\\", b" ", b"\t", b"\n", b"\0"]
)
PIECES = SPECIAL | st.binary(max_size=4) | st.sampled_from([b"Cert=", b"Hash=", b"Chain=", b'Chain=""', b"-----BEGIN"])


@st.composite
def values(draw: st.DrawFn, proxy: Proxy) -> bytes:
    """Bytes of no sense, bytes of the grammars', or what this proxy writes with some pieces changed."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.binary(max_size=300))
    if kind == 1:
        return b"".join(draw(st.lists(PIECES, max_size=20)))
    ders = draw(st.lists(st.sampled_from([*_DERS, write_der(INTERMEDIATE)]), min_size=1, max_size=3))
    value = proxy.write(Random(draw(st.integers(0, 9))), ders)  # noqa: S311 - only picks among a proxy's spellings
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(PIECES) + value[at + draw(st.integers(0, 3)) :]
    return value


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("row", ROWS)
@examples(60)
@given(data=st.data())
def test_any_bytes_are_a_certificate_or_none_or_a_certificate_error(row: str, data: st.DataObject) -> None:
    """And what is a certificate is one that the value spells out, to the byte."""
    proxy = make_proxy(row)
    value = data.draw(values(proxy))
    above = data.draw(st.lists(values(PROXIES["rfc9440"]), max_size=2)) if proxy.chain else []
    headers = [(proxy.header, value), *proxy.proofs, *((proxy.chain, each) for each in above)]
    request = make_request(make_scope(None, headers=headers), NOW)
    source = make_source(ROWS[row])
    try:
        presented: Any = source.presented(request)
        chain = source.read(presented)
    except CertificateError:
        return
    spelled = unquote_to_bytes(b" ".join([value, *above]).replace(b"\\", b"")).translate(None, b" \r\n\t")
    assert chain
    for pem in chain:
        lines = pem.encode().splitlines()
        assert (lines[0], lines[-1]) == (b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----")
        assert b"".join(lines[1:-1]) in spelled


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("row", ROWS)
@examples(60)
@given(data=st.data())
def test_whoever_is_admitted_was_issued(row: str, data: st.DataObject) -> None:
    """The gate raises nothing, and admits only the very bytes that the authority signed."""
    proxy = make_proxy(row)
    value = data.draw(values(proxy))
    decision = ask(make_gate(ROWS[row]), [(proxy.header, value), *proxy.proofs])
    if isinstance(decision, Allow):
        assert decision.identity.certificate is not None
        assert decision.identity.certificate.der == find_device(proxy.encoding, value)
    else:
        assert isinstance(decision.identity.error, CertificateError)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("device", ["phone", "tablet", "quotes", "names", "rsa"])
def test_what_the_proxy_writes_is_admitted(row: str, device: str) -> None:
    """Otherwise the tests above could pass by refusing everybody."""
    proxy, der = make_proxy(row), write_der(DEVICES[device])
    value = proxy.write(Random(1), [der])  # noqa: S311
    gate = make_gate(ROWS[row])
    for recorded in (False, True, True):
        decision = ask(gate, [(proxy.header, value), *proxy.proofs], recorded=recorded)
        assert isinstance(decision, Allow)
        assert decision.identity.certificate is not None
        assert decision.identity.certificate.der == der


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("value", [b"%20", b"%0A", b":", b",", b"-----BEGIN CERTIFICATE-----", b"A" * 7])
def test_half_a_value_is_no_chain(row: str, value: bytes) -> None:
    """A chain is never empty: what was read as nothing would be judged as a certificate that is missing or odd."""
    source = make_source(ROWS[row])
    with pytest.raises(HeaderMalformed):
        source.read(value)


@pytest.mark.parametrize("recorded", [True, False])
def test_no_other_names_pass_for_those_of_a_request_before(recorded: bool) -> None:
    """Also where a server let line ends into them, and they are the same text and as many."""
    gate, value, name = make_gate(FORMATS["caddy"]), b64encode(_DERS[0]), b"x-ssl-client-der"
    for _ in range(2):
        assert isinstance(ask(gate, [(b"x\n" + name, b""), (name, value)], recorded=recorded), Allow)
        assert isinstance(ask(gate, [(b"x", b""), (name + b"\n" + name, value)], recorded=recorded), Deny)


@examples(200)
@given(st.binary(max_size=200) | st.builds(lambda at, bit: flip(_DERS[0], at, bit), st.integers(0), st.integers(0, 7)))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_der_is_a_certificate_or_malformed(der: bytes) -> None:
    """The parser of certificates is somebody else's, and what it raises stays inside the tree of errors."""
    pem = b"-----BEGIN CERTIFICATE-----\n" + b64encode(der) + b"\n-----END CERTIFICATE-----\n"
    try:
        certificate = read_pem(pem)
    except Malformed:
        return
    assert write_der(certificate) == der


def flip(der: bytes, at: int, bit: int) -> bytes:
    """The same with one bit changed."""
    at %= len(der)
    return der[:at] + bytes([der[at] ^ 1 << bit]) + der[at + 1 :]
