"""request: what a decision may look at, above all which host was asked for."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges import make_request
from keyfob.request import SOCKET_PEER, hide_cookies, hide_secrets, parse_host


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"money.example.com", "money.example.com"),
        (b"MONEY.Example.Com", "money.example.com"),
        (b"money.example.com:8443", "money.example.com"),
        (b"money.example.com:", "money.example.com"),
        (b"money.example.com.", "money.example.com"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[::1]:8443", "::1"),
        (b"[0:0:0:0:0:0:0:1]", "::1"),
        (b"[2001:DB8::1]", "2001:db8::1"),
        (b"my_host", "my_host"),
    ],
)
def test_a_host_is_normalised(value: bytes, host: str) -> None:
    """Letter case, port, final dot and the spellings of IPv6 do not make another host."""
    assert parse_host(value) == host


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b":8443",
        b"a b",
        b"a,b",
        b"a/b",
        b"user@money.example.com",
        b"money.example.com:80:80",
        b"money.example.com:eighty",
        b"money.example.com:123456",
        b"money%2eexample.com",
        b"money.example.com\x00",
        b"money.example.com\n",
        b"m\xc3\xb6ney.example.com",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"[money]",
        b"[1.2.3.4]",
        b"[fe80::1%25eth0]",
        b".example.com",
        b"money..example.com",
        b"money.example.com..",
        b"*",
        b"a" * 300,
    ],
)
def test_what_is_no_host_is_none(value: bytes) -> None:
    """Anything that two programs could read differently is not guessed at."""
    assert parse_host(value) is None


def test_an_endless_host_is_not_remembered() -> None:
    """What strangers send must not fill the memory of hosts."""
    before = parse_host.cache_info().currsize
    for number in range(50):
        assert make_request({"headers": [(b"host", b"%d" % number * 1000)]}).host is None
    assert parse_host.cache_info().currsize == before


def test_two_hosts_are_no_host() -> None:
    """RFC 9110 section 7.2: a request names one host; with two, a proxy and the app may each take another."""
    host, other = (b"host", b"a"), (b"accept", b"*/*")
    for headers, expected in (([host, other, host], None), ([other], None), ([], None), ([other, host], "a")):
        assert make_request({"type": "http", "path": "/", "headers": headers}, 0).host == expected


@given(st.binary(max_size=64))
def test_any_bytes_are_a_clean_host_or_none(value: bytes) -> None:
    """No exception, and nothing comes out that is not spelled like a host."""
    host = parse_host(value)
    assert host is None or set(host) <= set(string.ascii_lowercase + string.digits + "._-:")


def test_the_recorded_socket_peer_wins_over_the_client() -> None:
    """`client` may have been rewritten from a header; what our server recorded cannot have been."""
    scope = {"type": "http", "headers": [], "path": "/", "client": ("203.0.113.9", 0)}
    assert make_request(scope, 0).peer == "203.0.113.9"
    assert make_request({**scope, "extensions": {SOCKET_PEER: {"client": ("127.0.0.1", 5)}}}, 0).peer == "127.0.0.1"
    assert make_request({**scope, "extensions": {SOCKET_PEER: {"client": None}}}, 0).peer is None
    assert make_request({**scope, "client": None}, 0).peer is None


def test_a_websocket_handshake_is_a_get() -> None:
    """RFC 6455 section 4.1; ASGI gives WebSocket scopes no method."""
    request = make_request({"type": "websocket", "headers": [], "path": "/live"}, 0)
    assert (request.is_websocket, request.method, request.path) == (True, "GET", "/live")


# --- What is nobody's but ours ----------------------------------------------------------------------------------------

OURS = b"__Host-keyfob-tag=a.b-c_d"


@pytest.mark.parametrize(
    ("field", "left"),
    [
        (OURS, b""),
        (OURS + b";", b""),
        (b" " + OURS + b" ; ", b""),
        (OURS + b"; " + OURS, b""),
        (OURS + b"; a=1", b"a=1"),
        (OURS + b";a=1; b=2", b"a=1; b=2"),
        (b"a=1; " + OURS, b"a=1"),
        (b"a=1;" + OURS + b";b=2", b"a=1;b=2"),
        (b"a=1;\t" + OURS + b" ;  b=2", b"a=1;  b=2"),
        (b"a=1; __host-KEYFOB-x=secret; b=2", b"a=1; b=2"),
        (b"a=1; __Host-keyfob-; b=2", b"a=1; b=2"),
        (b"__Host-keyfob-browser", b""),
        # As some WSGI servers join two fields.
        (b"a=1," + OURS, b"a=1"),
        (b"a=1, " + OURS + b",b=2", b"a=1,b=2"),
        (OURS + b",b=2", b"b=2"),
        # What is not ours stays as it is.
        (b"", b""),
        (b" a=1 ; b=2; ", b" a=1 ; b=2; "),
        (b"a=" + OURS, b"a=" + OURS),
        (b"x" + OURS + b"; b=2", b"x" + OURS + b"; b=2"),
        (b"__Host-keyfobx=1; __Host-key=2", b"__Host-keyfobx=1; __Host-key=2"),
        (b'a="x, y"; b=\xe9\xff', b'a="x, y"; b=\xe9\xff'),
    ],
)
def test_a_cookie_field_is_left_as_it_came_but_for_ours(field: bytes, left: bytes) -> None:
    """Byte for byte, with the spaces that it had."""
    assert hide_cookies(field) == left


# What others' cookies hold: any byte that a field can, but for what parts them and what would begin one of ours.
_VALUES = st.binary(max_size=12).filter(lambda value: not {*b";,\r\n\0_"} & {*value})


@given(st.lists(st.tuples(st.booleans(), _VALUES), max_size=8), st.sampled_from([b"; ", b";", b" ;"]))
def test_whatever_stands_around_ours_stays(cookies: list[tuple[bool, bytes]], sign: bytes) -> None:
    """In its order; nothing of ours is left, and nothing of theirs is lost."""
    field = sign.join(OURS if is_ours else b"n=" + value for is_ours, value in cookies)
    left = hide_cookies(field)
    assert b"keyfob" not in left
    theirs = [b"n=" + value for is_ours, value in cookies if not is_ours]
    assert left.replace(sign, b"|").strip(b" |;\t").split(b"|") == b"|".join(theirs).strip(b" |;\t").split(b"|")


def test_headers_of_ours_are_taken_out_of_the_others() -> None:
    """Both pairs of a service token, and our cookies in however many fields; the others stay in their order."""
    headers = [
        (b"host", b"x"),
        (b"cookie", b"a=1"),
        (b"keyfob-client-id", b"secret"),
        (b"cookie", OURS),
        (b"keyfob-client-secret", b"secret"),
        (b"cf-access-client-id", b"secret"),
        (b"cookie", OURS + b"; b=2"),
        (b"cf-access-client-secret", b"secret"),
        (b"cf-access-jwt-assertion", b"theirs"),
        (b"cookie2", OURS),
    ]
    left = [headers[0], headers[1], (b"cookie", b"b=2"), headers[8], headers[9]]
    assert hide_secrets(headers) == left
    assert hide_secrets(left) == left
