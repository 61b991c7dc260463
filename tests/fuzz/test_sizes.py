"""Oversized and deep input: the work grows with the input's length and no faster, and what is too long is not read.

The inputs are so long that quadratic work takes minutes and more. The alarm is there so that a mistake fails instead of
hanging; it measures nothing, for linear work is thousands of times quicker.
"""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from types import FrameType, ModuleType
from typing import Any

import pytest

import keyfob.addresses
import keyfob.request
import keyfob.sources.encodings
import keyfob.sources.peers
import keyfob.wsgi
from exchanges import make_request, make_scope
from fuzz.gates import LOOPBACK, make_source
from fuzz.issued import NOW
from fuzz.proxies import PROXIES
from keyfob.addresses import parse_address, parse_network, parse_node, split_forwarded, split_forwarded_for
from keyfob.errors import CertificateError, HeaderMalformed, HeaderTooLarge, PeerNotTrusted, PeerUnclear
from keyfob.request import SOCKET_PEER, parse_host
from keyfob.sources.encodings import ENCODINGS, decode_byte_sequences, decode_der_list, decode_pem_chain, parse_xfcc
from keyfob.sources.formats import FORMATS
from keyfob.sources.headers import LARGEST_CERTIFICATE, HeaderSource
from keyfob.sources.peers import ClientAddress, Peers, find_forwarding

MANY = 100_000
MEGABYTE = 1_000_000
PATIENCE = 60


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Ends a test that would go on for ever; the regular expressions' engine looks for signals, too."""

    def ring(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"still not done after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# What a grammar could go back over, again and again, and how such a run may begin and end.
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
PUMPS = [*' \t\r\n,;:=.%\\"[]-+/_a0A', "a=", "a=b;", "a=b,", 'a="', '\\"', "%0A", " ,", "\t ", "::", ":AA:,", "::,"]
PUMPS += ["1.", "1:", "=:", ":A", "[:", "]:", _BEGIN, _BEGIN + " A ", _END]
STARTS = ["", "a=", 'a="', ":", ":AA==:", ":AA==: ,", "[", "for=a", _BEGIN + " ", _BEGIN + " A"]
ENDS = ["", "@", '"', ":"]
MODULES = [keyfob.addresses, keyfob.request, keyfob.sources.encodings, keyfob.sources.peers, keyfob.wsgi]


def find_patterns(module: ModuleType) -> dict[str, re.Pattern[str] | re.Pattern[bytes]]:
    """Every regular expression of a module, by its name."""
    return {name: each for name, each in vars(module).items() if isinstance(each, re.Pattern)}


PATTERNS = {f"{module.__name__}.{name}": each for module in MODULES for name, each in find_patterns(module).items()}


def attempt(call: Callable[..., object], *arguments: object) -> None:
    """Calls it; a refusal is as good as a result, as long as either comes."""
    with suppress(ValueError, CertificateError):
        call(*arguments)


def test_there_are_patterns_to_try() -> None:
    """At the top of every module that reads what strangers write."""
    assert all(find_patterns(module) for module in MODULES)


@pytest.mark.parametrize("name", PATTERNS)
def test_no_regular_expression_goes_back_over_its_text_again_and_again(name: str) -> None:
    """Tried from the beginning, and on the whole."""
    pattern: Any = PATTERNS[name]
    is_bytes = isinstance(pattern.pattern, bytes)
    for start, pump, end in product(STARTS, PUMPS, ENDS):
        text = start + pump * (50_000 // len(pump)) + end
        pattern.match(text.encode() if is_bytes else text)
        pattern.fullmatch(text.encode() if is_bytes else text)


ENDLESS: dict[str, bytes] = {
    "nothing but A": b"A" * MEGABYTE,
    "padding": b"=" * MEGABYTE,
    "percent signs": b"%" * MEGABYTE,
    "escaped blanks": b"%20" * (MEGABYTE // 3),
    "an escaped certificate": b"-----BEGIN%20CERTIFICATE-----%0A"
    + b"AAAA" * (MEGABYTE // 4)
    + b"%0A-----END%20CERTIFICATE-----",
    "certificates": b"-----BEGIN CERTIFICATE----- AAAA -----END CERTIFICATE----- " * (MEGABYTE // 60),
    "beginnings": b"-----BEGIN CERTIFICATE-----" * (MEGABYTE // 27),
    "a beginning and blanks": b"-----BEGIN CERTIFICATE-----" + b" " * MEGABYTE,
    "blanks among digits": b"-----BEGIN CERTIFICATE----- " + b"A " * (MEGABYTE // 2),
    "commas": b"," * MANY,
    "a list": b"AAAA," * (MEGABYTE // 5) + b"AAAA",
    "a sequence": b":" + b"A" * MEGABYTE + b":",
    "sequences": b", ".join([b":AAAA:"] * (MEGABYTE // 8)),
    "sequences, the last broken": b", ".join([b":AAAA:"] * (MEGABYTE // 8)) + b", :A",
    "colons": b":" * MEGABYTE,
    "blanks behind a sequence": b":AAAA:" + b" " * MEGABYTE + b"x",
    "pairs": b";".join([b"By=a"] * MANY),
    "pairs, all of them certificates": b";".join([b"Cert=a"] * MANY),
    "elements": b",".join([b"By=a"] * MANY),
    "quoted pairs": b'Subject="' + b"\\a" * (MEGABYTE // 2) + b'"',
    "an open quotation mark": b'Subject="' + b"a" * MEGABYTE,
    "backslashes": b'Subject="' + b"\\" * MEGABYTE,
    "a key": b"A" * MEGABYTE + b"=",
    "quotation marks": b'"' * MEGABYTE,
    "zeros": b"\0" * MEGABYTE,
    "high": b"\xff" * MEGABYTE,
    "semicolons": b"By=a" + b";" * MEGABYTE,
}


@pytest.mark.parametrize("case", ENDLESS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_megabyte_is_decoded_or_refused(encoding: str, case: str) -> None:
    """Whatever it is made of, and whoever allows headers that long."""
    attempt(ENCODINGS[encoding], ENDLESS[case])


@pytest.mark.parametrize("case", ENDLESS)
def test_a_megabyte_of_chain_is_decoded_or_refused(case: str) -> None:
    """The same for the list that stands in its own header."""
    attempt(decode_byte_sequences, ENDLESS[case])


def test_many_certificates_are_all_decoded() -> None:
    """So that the tests above have tried what they say."""
    assert len(decode_pem_chain(ENDLESS["certificates"])) == MEGABYTE // 60
    assert len(decode_der_list(ENDLESS["a list"])) == MEGABYTE // 5 + 1
    assert len(decode_byte_sequences(ENDLESS["sequences"])) == MEGABYTE // 8
    assert len(parse_xfcc(ENDLESS["pairs"])[0]) == len(parse_xfcc(ENDLESS["elements"])) == MANY


@pytest.mark.parametrize("pump", PUMPS)
def test_endless_addresses_are_read_or_not(pump: str) -> None:
    """Every function of addresses, and the Host field."""
    text = pump * (200_000 // len(pump))
    for each in (text, f"for={text}", f'for="{text}"', f'for="{text}', f"[{text}]:80", f"for=a;{text}@"):
        assert (parse_address(each), parse_network(each)) == (None, None)
        assert parse_node(each) is None
        assert sum(1 for _ in split_forwarded_for(each)) == each.count(",") + 1
        attempt(list, split_forwarded(each))
    parse_host(text.encode())


_LONG = {
    "commas": "," * MANY,
    "addresses": ", ".join(["127.0.0.1"] * (MANY // 4)),
    "others": ", ".join(["198.51.100.9"] * (MANY // 4)),
    "blanks": "for=a;" + " " * MEGABYTE + "@",
    "elements": ", ".join(["for=127.0.0.1"] * (MANY // 4)),
    "quoted elements": ", ".join(['for="[::1]:80"'] * (MANY // 4)),
    "colons": ":" * MEGABYTE,
    "dots": "." * MEGABYTE,
    "pairs": "for=a;" + ";".join(f"p{number}=x" for number in range(MANY)),
}


@pytest.mark.parametrize("case", _LONG)
@pytest.mark.parametrize("header", ClientAddress)
def test_endless_forwarding_headers_are_read_or_not(header: ClientAddress, case: str) -> None:
    """From a trusted proxy, whose clients write what they like before its own word; and from nobody knows whom."""
    peers = Peers([LOOPBACK], client_address=header)
    headers = [(header.lower().encode(), _LONG[case].encode())]
    forwarding = find_forwarding(headers)
    seen = make_request(make_scope(None, headers=headers, extensions={SOCKET_PEER: {"client": ("127.0.0.1", 1)}}))
    found = peers.find_client(seen, [], forwarding)
    assert str(found) in ("None", "198.51.100.9", "127.0.0.1", "::1")
    unseen = make_request(make_scope(None, headers=headers, client=("198.51.100.10", 1)))
    with pytest.raises((PeerUnclear, PeerNotTrusted)):
        peers.require(unseen, [], forwarding)


def explode(_: bytes) -> tuple[bytes, ...]:
    raise AssertionError("decoded")


def send(source: HeaderSource, *headers: tuple[bytes, bytes]) -> object:
    """What the source reads from these headers."""
    presented: Any = source.presented(make_request(make_scope(None, headers=headers), NOW))
    return source.read(presented)


@pytest.mark.parametrize("row", FORMATS)
def test_what_is_too_long_is_refused_before_any_decoding(row: str) -> None:
    """By one byte as well as by a megabyte; and what is just short enough is decoded."""
    form, proxy = FORMATS[row], PROXIES[row]
    source = make_source(form._replace(decode=explode))
    for length in (LARGEST_CERTIFICATE + 1, MEGABYTE):
        with pytest.raises(HeaderTooLarge):
            send(source, (proxy.header, b"A" * length), *proxy.proofs)
    longest = (proxy.header, b"!" * LARGEST_CERTIFICATE)
    with pytest.raises(AssertionError, match="decoded"):
        send(source, longest, *proxy.proofs)
    with pytest.raises(HeaderMalformed):
        send(make_source(form), longest, *proxy.proofs)


@pytest.mark.parametrize("row", [row for row, proxy in PROXIES.items() if proxy.chain])
@pytest.mark.parametrize(("lines", "length"), [(17, 1000), (1, LARGEST_CERTIFICATE), (LARGEST_CERTIFICATE, 1)])
def test_the_chain_counts_too(row: str, lines: int, length: int) -> None:
    """All its lines together, with the leaf."""
    form, proxy = FORMATS[row], PROXIES[row]
    chain = [(proxy.chain, b"A" * length)] * lines
    with pytest.raises(HeaderTooLarge):
        send(make_source(form._replace(decode=explode)), (proxy.header, b":AAAA:"), *proxy.proofs, *chain)


def test_the_limit_is_the_configurations() -> None:
    """`largest` moves it."""
    source = HeaderSource(FORMATS["caddy"]._replace(decode=explode), Peers([LOOPBACK]), largest=100)
    with pytest.raises(AssertionError, match="decoded"):
        send(source, (b"x-ssl-client-der", b"A" * 100))
    with pytest.raises(HeaderTooLarge, match="more than 100 bytes"):
        send(source, (b"x-ssl-client-der", b"A" * 101))


@pytest.mark.parametrize("name", [b"x-%d", b"client-cert-chain", b"client_cert", b"x-forwarded-for"])
def test_a_hundred_thousand_headers_are_looked_through_once(name: bytes) -> None:
    """Servers allow a hundred or so; a source must not depend on it."""
    source = make_source(FORMATS["rfc9440"])
    headers = [(name % number if b"%" in name else name, b"") for number in range(MANY)]
    request = source.receive(make_scope(None, headers=[*headers, (b"client-cert", b":AAAA:")]), NOW)
    attempt(source.presented, request)
    assert source.find_client(request) is None
    assert len(request.visible or ()) == (MANY if name.startswith(b"x-") else 0) + 1  # and the Host field
