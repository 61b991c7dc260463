"""Who may be believed: the proxies whose headers count, and the client's own address beyond them."""

import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from keyfob.addresses import Address, Network, parse_address, parse_node, split_forwarded, split_forwarded_for
from keyfob.errors import PeerNotTrusted, PeerUnclear
from keyfob.request import SOCKET_PEER, UNCLEAR, Headers, Request
from keyfob.sources.formats import canonical

# How many trusted addresses are kept as text. A whole cluster fits, and a large IPv6 network cannot fill the memory.
REMEMBERED = 4096

START_OURS = (
    "if the client runs on the proxy's own machine, try from another; else start the app with keyfob's protocols "
    "(uvicorn --http keyfob.server.uvicorn:HTTPProtocol --ws keyfob.server.uvicorn:WebSocketProtocol), or keep the "
    "server from rewriting addresses (uvicorn --no-proxy-headers) and have the proxy overwrite X-Forwarded-For"
)

# What servers and middlewares take a client's address from, when they rewrite the one of the socket.
FORWARDING = frozenset(
    {
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"forwarded",
        b"forwarded-for",
        b"true-client-ip",
        b"x-appengine-user-ip",
        b"x-azure-clientip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded",
        b"x-forwarded-for",
        b"x-original-forwarded-for",
        b"x-real-ip",
        b"x-remote-ip",
    }
)


class ClientAddress(StrEnum):
    """The header in which the trusted proxies write the client's address."""

    X_FORWARDED_FOR = "X-Forwarded-For"
    FORWARDED = "Forwarded"


_SPLITTERS: Mapping[ClientAddress, Callable[[str], Iterator[str]]] = {
    ClientAddress.X_FORWARDED_FOR: split_forwarded_for,
    ClientAddress.FORWARDED: split_forwarded,
}


class Peers:
    """The trusted proxies: by network, by UNIX socket, by a secret that they send, or by both.

    `secret` is compared in constant time. Where networks or `unix` are given too, both have to hold.
    """

    def __init__(
        self,
        networks: Sequence[Network] = (),
        *,
        unix: bool = False,
        secret: bytes | None = None,
        client_address: ClientAddress = ClientAddress.X_FORWARDED_FOR,
    ) -> None:
        self._networks = tuple(networks)
        self._unix = unix
        self._secret = secret
        self._by_address = bool(networks) or unix
        self._client_header = client_address.lower().encode("ascii")
        self._split = _SPLITTERS[client_address]
        # Addresses found trusted before; with a secret none are kept, since it has to come with every request.
        self.known: set[str] = set()

    def require(self, request: Request, secrets: Sequence[bytes], forwarding: Headers) -> None:
        """Returns if the sender of this request is trusted.

        `secrets` are the values of the secret's header, `forwarding` the request's headers of FORWARDING. Raises
        PeerNotTrusted, or PeerUnclear where the address may be somebody's word instead of the socket's.
        """
        extensions = request.scope.get("extensions") or {}
        if UNCLEAR in extensions:
            raise PeerUnclear(extensions[UNCLEAR])
        if self._secret is not None:
            self._require_secret(self._secret, secrets)
        recorded = extensions.get(SOCKET_PEER)
        if recorded is None:
            _require_own_headers(request.headers)
        if not self._by_address:
            return
        client = recorded["client"] if recorded is not None else request.scope.get("client")
        # Some servers write an empty text for a UNIX socket's other end.
        address = client[0] if client else ""
        if recorded is None:
            _require_own_connection(request.scope)
            _require_unwritten(address, forwarding)
        if address not in self.known:
            self._require_address(address, request.scope)

    def _require_secret(self, secret: bytes, values: Sequence[bytes]) -> None:
        if len(values) != 1 or not hmac.compare_digest(values[0].strip(b" \t"), secret):
            raise PeerNotTrusted("the shared secret is missing, wrong, or there twice")

    def _require_address(self, address: str, scope: Mapping[str, Any]) -> None:
        if not address:
            server = scope.get("server")
            if not self._unix:
                raise PeerNotTrusted("the peer has no address, and trusted_proxies does not name unix")
            # granian writes ports as text, and "0" beside a UNIX socket's path.
            if server and (isinstance(server[1], int) or str(server[1]).strip("0").isdigit()):
                raise PeerNotTrusted("the peer has no address, but this server listens on a port")
            return
        if not self._trusts(parse_address(address)):
            rewritten = "if that is a browser's address and not the proxy's: " + START_OURS
            recorded = SOCKET_PEER in (scope.get("extensions") or {})
            raise PeerNotTrusted(
                f"the peer is {address[:64]!r}, which is not in trusted_proxies", "" if recorded else rewritten
            )
        if self._secret is None and len(self.known) < REMEMBERED:
            self.known.add(address)

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def find_client(self, request: Request, secrets: Sequence[bytes], forwarding: Headers) -> Address | None:
        """The client's own address: from the right of the forwarding header, the first that is no trusted proxy.

        Without a trusted sender it is the sender's own. None where an address cannot be read, a proxy names none, or
        the sender is unclear.
        """
        try:
            self.require(request, secrets, forwarding)
        except PeerNotTrusted:
            return find_peer(request, forwarding)
        except PeerUnclear:
            return None
        values = [value.decode("latin-1") for name, value in forwarding if name == self._client_header]
        try:
            hops = [hop for value in values for hop in self._split(value)]
        except ValueError:
            return None
        # A proxy that names nobody: its own address is not the client's, and a rule may hold for it.
        return self._find_untrusted(hops)

    def _find_untrusted(self, hops: Sequence[str]) -> Address | None:
        address = None
        for hop in reversed(hops):
            address = parse_node(hop)
            if not self._trusts(address):
                break
        return address


def find_forwarding(headers: Headers) -> Headers:
    """The headers of FORWARDING among these, under whatever alias."""
    return [(name, value) for name, value in headers if canonical(name) in FORWARDING]


def find_peer(request: Request, forwarding: Headers) -> Address | None:
    """The address of the socket's other end; None if it has none, or if somebody may have written over it."""
    address = request.peer or ""
    if SOCKET_PEER not in (request.scope.get("extensions") or {}):
        try:
            _require_unwritten(address, forwarding)
        except PeerUnclear:
            return None
    return parse_address(address)


_CHUNKED = (
    "start the app with keyfob's protocols (uvicorn --http keyfob.server.uvicorn:HTTPProtocol --ws "
    "keyfob.server.uvicorn:WebSocketProtocol), or have the proxy send bodies whole, with their length"
)


def _require_own_headers(headers: Headers) -> None:
    """Refuses a request that can have brought trailers, on a server that may have put them among the headers.

    uvicorn's httptools protocol does, unless it is ours, and no proxy looks at trailers when it strips headers. RFC
    9112 section 7.1: only a chunked message has some.
    """
    if any(name == b"transfer-encoding" for name, _ in headers):
        raise PeerUnclear("the request is chunked, and this server may count its trailers among its headers", _CHUNKED)


def _require_own_connection(scope: Mapping[str, Any]) -> None:
    """Refuses HTTP/2 from a server that may have been made to speak it by the client, through the proxy.

    hypercorn and anycorn obey `Upgrade: h2c`; a proxy that passes it on is a mere wire from then on, and the address
    at the other end is still the proxy's.
    """
    if not str(scope.get("http_version", "1.1")).startswith("1"):
        raise PeerUnclear(
            "this request came over HTTP/2, which a client can have asked this server for through the proxy (h2c)",
            "let the proxy speak HTTP/1.1 to the app, or send a shared_secret alone",
        )


# Every text between these marks that could be an address, in whatever header and syntax.
_BETWEEN_NODES = re.compile(r'[,;="\s]+')


def _require_unwritten(address: str, forwarding: Headers) -> None:
    """Refuses a request whose own headers name the address that the socket's other end is said to have.

    uvicorn and others write the address of a header over the socket's, and a header is anybody's word. Whatever was
    written over came out of one of these headers, so an address that none of them names is the socket's own. A header
    that cannot be read here may be read in some other way by whatever writes over, so it is refused, too.
    """
    claimed = parse_address(address)
    for name, value in forwarding:
        text = value.decode("latin-1")
        nodes = [parse_node(each) for each in _BETWEEN_NODES.split(text.replace("\\", ""))]
        if (claimed is not None and claimed in nodes) or not _is_well_formed(canonical(name), text):
            raise PeerUnclear(
                f"this server says that the peer is {address[:64]!r}, and {name.decode('latin-1')[:64]} says "
                f"{text[:64]!r}: nobody can tell whether the one was copied from the other",
                START_OURS,
            )


def _is_well_formed(name: bytes, text: str) -> bool:
    """Whether every hop is an address with or without a port, or one of RFC 7239's words for none."""
    split = split_forwarded if name == b"forwarded" else split_forwarded_for
    try:
        return all(hop == "unknown" or parse_node(hop) is not None for hop in split(text))
    except ValueError:
        return False
