"""Forwarding headers: a second reading of RFC 7239, and the readings of the servers that are installed here."""

import logging

from hypothesis import given
from hypothesis import strategies as st
from uvicorn.middleware.proxy_headers import _TrustedHosts
from waitress.proxy_headers import parse_proxy_headers  # type: ignore[import-untyped]

from exchanges import make_request, make_scope
from fuzz.patience import examples
from keyfob.addresses import Address, parse_address, parse_network, parse_node, split_forwarded
from keyfob.sources.peers import ClientAddress, Peers, find_forwarding

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def read_forwarded(text: str) -> list[str] | None:
    """The node of each element, one character after the other; None if this is no such field.

    RFC 7239 section 4 with the tokens, quoted strings and lists of RFC 9110 section 5.6, and blanks around separators.
    """
    nodes: list[str] = []
    element: dict[str, str] = {}
    at = 0
    while True:
        at = _skip_blanks(text, at)
        if text[at : at + 1] not in ("", ",", ";"):
            pair = _read_pair(text, at)
            if pair is None or pair[0] in element:
                return None
            element[pair[0]] = pair[1]
            at = _skip_blanks(text, pair[2])
        mark = text[at : at + 1]
        if mark not in ("", ",", ";"):
            return None
        if mark != ";":
            nodes += [element.get("for", "")] if element else []
            element = {}
        if not mark:
            return nodes
        at += 1


def _skip_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    return at


def _read_token(text: str, at: int) -> str:
    end = at
    while end < len(text) and text[end] in _TOKEN:
        end += 1
    return text[at:end]


def _read_pair(text: str, at: int) -> tuple[str, str, int] | None:
    name = _read_token(text, at)
    at += len(name)
    if not name or text[at : at + 1] != "=":
        return None
    at += 1
    if text[at : at + 1] != '"':
        value = _read_token(text, at)
        return (name.lower(), value, at + len(value)) if value else None
    said = ""
    at += 1
    while text[at : at + 1] != '"':
        at += text[at : at + 1] == "\\"
        if at >= len(text):
            return None
        said += text[at]
        at += 1
    return name.lower(), said, at + 1


def parse(text: str) -> list[str] | None:
    """keyfob's reading; None if it is no such field."""
    try:
        return list(split_forwarded(text))
    except ValueError:
        return None


# Control characters are left out: no server lets them in, and the two readings need not agree on them.
_LETTERS = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
_ANY = st.text(_LETTERS | st.just("\t"), max_size=40)
_SIGNS = st.text(st.sampled_from('for=by;,"\\ \t[]:.1a_@('), max_size=40)
_NAMES = st.sampled_from(["for", "For", "by", "host", "proto", "x"])
_ADDRESSES = st.ip_addresses().map(str)
_PORTS = st.sampled_from(["", ":80", ":65535"])
_NAMED = st.builds(lambda address, port: f"[{address}]{port}" if ":" in address else address + port, _ADDRESSES, _PORTS)
_NODES = _NAMED | st.sampled_from(["unknown", "_gazonk", "_SEVKISEK", "192.0.2.43:_port"])
_QUOTED = st.text(_LETTERS, max_size=8) | _NODES


@st.composite
def fields(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A field that follows the grammar, and its nodes."""
    elements, nodes = [], []
    for _ in range(draw(st.integers(0, 4))):
        names = draw(st.lists(_NAMES, max_size=3, unique_by=str.lower))
        values = [draw(_QUOTED) for _ in names]
        written = [f"{name}={_write(value)}" for name, value in zip(names, values, strict=True)]
        elements.append(";".join(written))
        if names:
            said = {name.lower(): value for name, value in zip(names, values, strict=True)}
            nodes.append(said.get("for", ""))
    return draw(st.sampled_from([",", ", ", " ,\t"])).join(elements), nodes


def _write(value: str) -> str:
    if value and set(value) <= _TOKEN:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@examples(300)
@given(fields())
def test_what_follows_the_grammar_is_read_as_it_was_written(field: tuple[str, list[str]]) -> None:
    """By both."""
    text, nodes = field
    assert parse(text) == read_forwarded(text) == nodes


@examples(1000)
@given(_ANY | _SIGNS)
def test_both_readings_agree_on_any_text(text: str) -> None:
    """On the nodes, and on whether it is such a field."""
    assert parse(text) == read_forwarded(text)


@examples(500)
@given(fields(), st.data())
def test_both_readings_agree_on_nearly_right_fields(field: tuple[str, list[str]], data: st.DataObject) -> None:
    """With characters put in, taken out, and changed."""
    text = field[0]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(_SIGNS)[:2] + text[at + data.draw(st.integers(0, 2)) :]
    assert parse(text) == read_forwarded(text)


@examples(300)
@given(st.lists(_NAMED, min_size=1, max_size=4), st.sampled_from(['for="{}"', 'for="{}";proto=https', 'By=a;FOR="{}"']))
def test_waitress_finds_the_same_last_node(nodes: list[str], pattern: str) -> None:
    """Its parser splits before it looks for quotation marks, so that nothing in them here is a separator."""
    text = ", ".join(map(pattern.format, nodes))
    environ = {"HTTP_FORWARDED": text, "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http"}
    parse_proxy_headers(environ, 1, {"forwarded"}, logging.getLogger("quiet"))
    assert [parse_node(node) for node in parse(text) or ()][-1] == parse_address(environ["REMOTE_ADDR"])


# The proxies here; the others are clients.
_TRUSTED = ["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32"]
_KNOWN = ["127.0.0.1", "10.1.2.3", "10.1.2.3:80", "::1", "[::1]:80", "2001:db8::7", "198.51.100.9", "203.0.113.1:5"]
_HOPS = st.lists(st.sampled_from(_KNOWN) | _ADDRESSES, min_size=1, max_size=5)


def find_client(headers: list[tuple[bytes, bytes]], by: ClientAddress) -> Address | None:
    """Where a request's client is, behind a proxy at 127.0.0.1 that our server saw itself."""
    networks = [network for text in _TRUSTED if (network := parse_network(text)) is not None]
    peers = Peers(networks, client_address=by)
    extensions = {"keyfob.socket_peer": {"client": ("127.0.0.1", 50000)}}
    request = make_request(make_scope(None, headers=headers, extensions=extensions))
    return peers.find_client(request, [], find_forwarding(headers))


@examples(500)
@given(_HOPS, st.booleans())
def test_uvicorn_finds_the_same_client(hops: list[str], in_lines: bool) -> None:
    """The rightmost that is no proxy, or the first of all; on one line, or one line each."""
    values = hops if in_lines else [", ".join(hops)]
    headers = [(b"x-forwarded-for", value.encode()) for value in values]
    host, _ = _TrustedHosts(_TRUSTED).get_trusted_client_address(", ".join(hops))
    assert find_client(headers, ClientAddress.X_FORWARDED_FOR) == parse_address(host)


@examples(300)
@given(_HOPS)
def test_both_headers_lead_to_the_same_client(hops: list[str]) -> None:
    """The same hops, written in the one header or the other."""
    nodes = [f"[{hop}]" if hop.count(":") > 1 and "[" not in hop else hop for hop in hops]
    forwarded = ", ".join(f'for="{node}"' for node in nodes).encode()
    by_one = find_client([(b"x-forwarded-for", ", ".join(hops).encode())], ClientAddress.X_FORWARDED_FOR)
    by_other = find_client([(b"forwarded", forwarded)], ClientAddress.FORWARDED)
    assert by_one == by_other
    assert by_one is not None


@examples(500)
@given(st.lists(st.text(max_size=20) | _SIGNS, max_size=3), st.sampled_from(ClientAddress))
def test_a_client_that_forges_hops_is_never_nearer_than_it_is(lines: list[str], by: ClientAddress) -> None:
    """Whatever a client has written before, the hop that the trusted proxy appended is the client."""
    last = "198.51.100.9" if by is ClientAddress.X_FORWARDED_FOR else "for=198.51.100.9"
    name = by.lower().encode()
    forged = [(name, line.encode("latin-1", "replace")) for line in lines]
    found = find_client([*forged, (name, last.encode())], by)
    assert found == parse_address("198.51.100.9") or (by is ClientAddress.FORWARDED and found is None)
