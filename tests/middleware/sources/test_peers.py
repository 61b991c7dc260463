"""sources.peers: whose headers count, and where the client is beyond them."""

import hmac
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

import pytest

from exchanges import make_request, make_scope
from keyfob.addresses import parse_network
from keyfob.errors import PeerNotTrusted, PeerUnclear
from keyfob.request import SOCKET_PEER, UNCLEAR, Request
from keyfob.sources.peers import FORWARDING, REMEMBERED, ClientAddress, Peers, find_forwarding, find_peer

Fields = Sequence[tuple[bytes, bytes]]
SECRET = b"0123456789abcdef0123456789abcdef"


def trusting(*networks: str, **more: Any) -> Peers:
    return Peers([each for each in map(parse_network, networks) if each], **more)


def ours(address: str | None, headers: Fields = (), server: object = ("127.0.0.1", 8000)) -> Request:
    """A request from a server that records its socket's other end, while `client` says something else."""
    peer = {"client": None if address is None else (address, 50000)}
    told: dict[str, Any] = {"client": ("198.51.100.200", 1), "server": server, "extensions": {SOCKET_PEER: peer}}
    return make_request(make_scope(None, headers=headers, **told), 0)


def stock(client: object, headers: Fields = (), server: object = ("127.0.0.1", 8000)) -> Request:
    """A request from a server that tells `client` alone, rewritten or not."""
    return make_request(make_scope(None, headers=headers, client=client, server=server), 0)


def require(peers: Peers, request: Request, *secrets: bytes) -> None:
    peers.require(request, secrets, find_forwarding(request.headers))


def find(peers: Peers, request: Request, *secrets: bytes) -> str | None:
    found = peers.find_client(request, secrets, find_forwarding(request.headers))
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.0/8", "10.255.0.1"),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("::ffff:10.0.0.0/104", "10.1.2.3"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:7f00:1"),
        ("2001:db8::/32", "2001:db8::1"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("fe80::/10", "fe80::1%eth0"),
    ],
)
def test_an_address_in_a_trusted_network_is_believed(trusted: str, peer: str) -> None:
    """However it is spelled, and an IPv4-mapped IPv6 address is the IPv4 address in it."""
    require(trusting(trusted), ours(peer))
    require(trusting(trusted), stock((peer, 50000)))


@pytest.mark.parametrize(
    "peer",
    ["127.0.0.2", "::1", "11.0.0.0", "", "localhost", "127.0.0.1 ", "127.1", "0x7f000001", "not an ip", "127.0.0.1,x"],
)
def test_anybody_else_is_not_believed(peer: str) -> None:
    """An address that cannot be read is nobody's."""
    peers = trusting("127.0.0.1", "10.0.0.0/8")
    for request in (ours(peer), stock((peer, 1))):
        with pytest.raises(PeerNotTrusted):
            require(peers, request)


def test_the_sockets_own_word_counts_before_the_scopes() -> None:
    """Whatever `client` was rewritten to, a server of ours has recorded the truth."""
    untrue = make_scope(None, client=("127.0.0.1", 1), extensions={SOCKET_PEER: {"client": ("203.0.113.9", 1)}})
    with pytest.raises(PeerNotTrusted, match=r"203\.0\.113\.9") as raised:
        require(trusting("127.0.0.1"), make_request(untrue, 0))
    assert not raised.value.hint


def test_where_the_server_may_have_rewritten_it_the_hint_says_so() -> None:
    """It is what people meet first: a browser's address where the proxy's should be."""
    with pytest.raises(PeerNotTrusted) as raised:
        require(trusting("127.0.0.1"), stock(("203.0.113.9", 0)))
    assert "--no-proxy-headers" in raised.value.hint


@pytest.mark.parametrize(
    "request_",
    [
        ours(None, server=("/run/app.sock", None)),
        stock(None, server=("/run/app.sock", None)),
        stock(("", "0"), server=None),
    ],
)
def test_a_unix_socket_is_believed_if_it_is_named(request_: Request) -> None:
    """Its other end has no address, in whatever way a server says so."""
    require(trusting(unix=True), request_)
    with pytest.raises(PeerNotTrusted, match="does not name unix"):
        require(trusting("127.0.0.1"), request_)


def test_no_address_on_a_port_is_no_unix_socket() -> None:
    """A server that does not tell the peer's address must not open the door for everybody."""
    with pytest.raises(PeerNotTrusted, match="listens on a port"):
        require(trusting(unix=True), stock(None))


@pytest.mark.parametrize("name", sorted(FORWARDING))
def test_an_address_that_a_header_names_too_is_unclear(name: bytes) -> None:
    """On a server that may have copied it from there."""
    for value in (b"127.0.0.1", b"203.0.113.9, 127.0.0.1", b"127.0.0.1:4321", b"for=127.0.0.1;proto=https"):
        with pytest.raises(PeerUnclear) as raised:
            require(trusting("127.0.0.1"), stock(("127.0.0.1", 0), [(name, value)]))
        assert "--no-proxy-headers" in raised.value.hint


@pytest.mark.parametrize(
    ("client", "value"),
    [
        ("::1", b"[::1]:80"),
        ("::1", b'for="[0:0:0:0:0:0:0:1]:80"'),
        ("127.0.0.1", b"::ffff:127.0.0.1"),
        ("::ffff:127.0.0.1", b"127.0.0.1"),
        ("127.0.0.1", b'"127.0.0.1"'),
        ("127.0.0.1", b"1.2.3.4\t127.0.0.1"),
        ("127.0.0.1", b"x;127.0.0.1;y"),
    ],
)
def test_an_address_is_recognised_in_any_spelling(client: str, value: bytes) -> None:
    """Brackets, ports, quotation marks and mapped addresses hide nothing."""
    for name in (b"x-forwarded-for", b"X_Forwarded_For", b"x.forwarded.for"):
        with pytest.raises(PeerUnclear):
            require(trusting("127.0.0.1", "::1"), stock((client, 0), [(name, value)]))


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1:+80",
        "127.0.0.1:123456",
        "[127.0.0.1]:xx",
        "::ffff:127.0.0.1%a=b",
        "::ffff:127.0.0.1%a b",
        "203.0.113.9, 127.0.0.1:",
        "203.0.113.9 127.0.0.1",
        "(127.0.0.1)",
        "localhost",
        "",
        ",",
    ],
)
@pytest.mark.parametrize("client", ["127.0.0.1", "::ffff:127.0.0.1", ""])
def test_a_header_that_might_be_read_in_another_way_is_unclear(value: str, client: str) -> None:
    """What we cannot read, whatever writes over the address may read as the proxy's."""
    with pytest.raises(PeerUnclear):
        require(trusting("127.0.0.1", unix=True), stock((client, 0), [(b"x-forwarded-for", value.encode())], None))


@pytest.mark.parametrize(
    "claimed", ["::ffff:127.0.0.1%a=b", "127.0.0.1%x", "::1%a b", "::ffff:127.0.0.1%eth0", "fe80::1%a/b"]
)
def test_a_zone_belongs_to_a_link_local_address(claimed: str) -> None:
    """Anything else behind a percent sign is a text that somebody made up."""
    for request in (ours(claimed), stock((claimed, 1))):
        with pytest.raises(PeerNotTrusted):
            require(trusting("127.0.0.1", "::1", "fe80::/10"), request)


def test_a_chunked_request_is_unclear() -> None:
    """On stock uvicorn its trailers stand among the headers, and no proxy has looked at them."""
    chunked = [(b"transfer-encoding", b"chunked")]
    for client in (("127.0.0.1", 1), None):
        for peers in (trusting("127.0.0.1", unix=True), Peers(secret=SECRET)):
            with pytest.raises(PeerUnclear, match="trailers"):
                require(peers, stock(client, chunked), SECRET)
    require(trusting("127.0.0.1"), ours("127.0.0.1", chunked))


@pytest.mark.parametrize("version", ["2", "2.0", "3"])
def test_http_2_is_unclear(version: str) -> None:
    """hypercorn speaks it when a client asks for h2c, through a proxy that passes the question on."""
    scope = make_scope(None, client=("127.0.0.1", 1), http_version=version)
    for peers in (trusting("127.0.0.1"), trusting("127.0.0.1", secret=SECRET)):
        with pytest.raises(PeerUnclear, match="h2c"):
            require(peers, make_request(scope, 0), SECRET)
    require(Peers(secret=SECRET), make_request(scope, 0), SECRET)


def test_a_port_in_text_is_a_port() -> None:
    """granian writes it so, and an empty address there is no UNIX socket."""
    with pytest.raises(PeerNotTrusted, match="listens on a port"):
        require(trusting(unix=True), stock(("", 0), server=("localhost", "8000")))
    require(trusting(unix=True), stock(("", "0"), server=("app.sock", "0")))


def test_a_header_that_names_somebody_else_leaves_the_address_clear() -> None:
    """Whatever was written over the socket's address came out of a header; this one did not."""
    require(trusting("127.0.0.1"), stock(("127.0.0.1", 50000), [(b"x-forwarded-for", b"203.0.113.9, 127.0.0.10")]))


def test_a_server_of_ours_is_never_unclear() -> None:
    """There the address is the socket's, whatever the headers say."""
    require(trusting("127.0.0.1"), ours("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")]))


def test_a_server_that_merges_headers_is_unclear() -> None:
    """A skin says so in a sentence, and the sentence is passed on."""
    scope = make_scope(None, extensions={UNCLEAR: "this server merges headers"})
    for peers in (trusting("127.0.0.1"), Peers(secret=SECRET)):
        with pytest.raises(PeerUnclear, match="merges headers"):
            require(peers, make_request(scope, 0), SECRET)


@pytest.mark.parametrize("sent", [[], [b""], [SECRET[:-1]], [SECRET + b"0"], [SECRET, SECRET], [SECRET.upper()]])
def test_a_secret_has_to_be_right_and_there_once(sent: list[bytes]) -> None:
    """Anything else is nobody, from wherever it comes."""
    with pytest.raises(PeerNotTrusted, match="shared secret"):
        require(Peers(secret=SECRET), ours("127.0.0.1"), *sent)


def test_a_secret_alone_is_enough_from_anywhere() -> None:
    """That is what it is for: peers without stable addresses."""
    for request in (ours("203.0.113.9"), stock(("203.0.113.9", 1)), stock(None)):
        require(Peers(secret=SECRET), request, SECRET)


def test_a_secret_and_addresses_are_both_asked_for() -> None:
    """Every time: having been trusted once does not make up for a secret that is missing."""
    peers = trusting("127.0.0.1", secret=SECRET)
    require(peers, ours("127.0.0.1"), SECRET)
    for request, secrets in ((ours("127.0.0.1"), []), (ours("203.0.113.9"), [SECRET])):
        with pytest.raises(PeerNotTrusted):
            require(peers, request, *secrets)
    assert not peers.known


def test_the_secret_is_compared_in_constant_time() -> None:
    """By the one function that promises it."""
    with patch("keyfob.sources.peers.hmac.compare_digest", wraps=hmac.compare_digest) as compare:
        require(Peers(secret=SECRET), ours("127.0.0.1"), SECRET)
    compare.assert_called_once_with(SECRET, SECRET)


def test_trusted_addresses_are_remembered_and_not_without_bound() -> None:
    """Nobody else is, so that strangers cannot fill the memory."""
    peers = trusting("10.0.0.0/8")
    for number in range(REMEMBERED + 10):
        require(peers, ours(f"10.0.{number // 256}.{number % 256}"))
    assert len(peers.known) == REMEMBERED
    with pytest.raises(PeerNotTrusted):
        require(peers, ours("11.0.0.1"))
    assert "11.0.0.1" not in peers.known


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4321", "203.0.113.9"),
        ("[2001:db8::1]:4321", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.0.0.7,10.0.0.8", "203.0.113.9"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, garbage", None),
        ("203.0.113.9, unknown, 10.0.0.7", None),
        ("203.0.113.9,", None),
        ("", None),
        ("garbage, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_client_is_the_rightmost_untrusted_hop(value: str, expected: str | None) -> None:
    """Everything to the left of it is what the client itself wrote."""
    peers = trusting("10.0.0.0/8")
    assert find(peers, ours("10.0.0.1", [(b"x-forwarded-for", value.encode())])) == expected


def test_several_lines_are_one_list() -> None:
    """RFC 9110 section 5.3: in the order in which they came."""
    lines = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"203.0.113.9, 10.0.0.7")]
    assert find(trusting("10.0.0.0/8"), ours("10.0.0.1", lines)) == "203.0.113.9"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=198.51.100.1, for=203.0.113.9;proto=https;by=10.0.0.7, for=10.0.0.7", "203.0.113.9"),
        ("for=unknown", None),
        ("for=_hidden, for=10.0.0.7", None),
        ("proto=https", None),
        ("for=203.0.113.9;for=198.51.100.1", None),
        ('for="203.0.113.9', None),
        ("for==x", None),
    ],
)
def test_the_client_may_stand_in_forwarded_instead(value: str, expected: str | None) -> None:
    """RFC 7239, if the configuration says that the proxies write that one."""
    peers = trusting("10.0.0.0/8", client_address=ClientAddress.FORWARDED)
    forged = (b"x-forwarded-for", b"198.51.100.250")
    assert find(peers, ours("10.0.0.1", [forged, (b"forwarded", value.encode())])) == expected


def test_the_other_header_is_not_looked_at() -> None:
    """A proxy that writes one of the two passes the client's own text in the other."""
    forged = [(b"forwarded", b"for=198.51.100.250"), (b"x_forwarded_for", b"198.51.100.251")]
    peers = trusting("10.0.0.0/8")
    assert find(peers, ours("10.0.0.1", [*forged, (b"x-forwarded-for", b"203.0.113.9")])) == "203.0.113.9"
    assert find(peers, ours("10.0.0.1", forged)) is None


def test_a_proxy_that_names_nobody_is_not_the_client() -> None:
    """A rule for its own address would let everybody in through it."""
    assert find(trusting("10.0.0.0/8"), ours("10.0.0.1")) is None
    assert find(Peers(secret=SECRET), ours("10.0.0.1"), SECRET) is None


def test_a_peer_that_is_not_trusted_is_the_client_itself() -> None:
    """What it says about others is nothing."""
    headers = [(b"x-forwarded-for", b"10.0.0.5")]
    assert find(trusting("10.0.0.0/8"), ours("203.0.113.9", headers)) == "203.0.113.9"
    assert find(trusting("10.0.0.0/8"), stock(("203.0.113.9", 1), headers)) == "203.0.113.9"


def test_an_address_that_may_be_forged_is_none() -> None:
    """On a server that copies headers into `client`, no rule about addresses can hold."""
    headers = [(b"x-forwarded-for", b"192.0.2.7")]
    assert find(trusting("10.0.0.0/8"), stock(("192.0.2.7", 0), headers)) is None
    assert find_peer(stock(("192.0.2.7", 0), headers), headers) is None
    assert find_peer(stock(("192.0.2.7", 0)), ()) == ip_address("192.0.2.7")


def test_behind_a_secret_alone_the_last_hop_is_the_client() -> None:
    """No address is trusted there, so nothing further left is."""
    request = ours("10.0.0.1", [(b"x-forwarded-for", b"198.51.100.1, 203.0.113.9")])
    assert find(Peers(secret=SECRET), request, SECRET) == "203.0.113.9"
    assert find(Peers(secret=SECRET), request) == "10.0.0.1"
