"""What a decision may look at: the same few facts for ASGI and WSGI."""

import ipaddress
import re
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from keyfob.addresses import Address

Headers = Sequence[tuple[bytes, bytes]]

# The ASGI extension in which `keyfob.server` records the socket's true peer: `{"client": (address, port) | None}`.
SOCKET_PEER = "keyfob.socket_peer"

# The ASGI extension in which a skin says, as a sentence, why this server's headers can be nobody's word.
UNCLEAR = "keyfob.unclear"

# The ASGI extension in which a skin says how this very server is made to hand over certificates of its own TLS layer.
REMEDY = "keyfob.remedy"

# Where the identity of an admitted request stands in its ASGI scope or WSGI environ.
IDENTITY = "keyfob.identity"

# Where the door stands that it came through, and the headers that it came with, if the app sees fewer.
DOOR = "keyfob.door"
HEADERS = "keyfob.headers"

# The headers in which a service shows its token: ours, and Access's own, so that its scripts go on as they are.
TOKEN_PAIRS = (
    (b"keyfob-client-id", b"keyfob-client-secret"),
    (b"cf-access-client-id", b"cf-access-client-secret"),
)
TOKEN_HEADERS = frozenset(name for pair in TOKEN_PAIRS for name in pair)
# Every header in which something secret of ours may come.
SECRET_HEADERS = TOKEN_HEADERS | {b"cookie"}
# Under which keyfob's own addresses are, behind the prefix of the app if it has one.
PLACE = "/.keyfob/"
# How the names of our cookies begin. RFC 6265bis section 4.1.3.2: the browser takes such a cookie from this very host
# alone, over TLS, and for all its paths.
COOKIES = b"__Host-keyfob-"
# One of them, with the sign before it: some WSGI servers join two Cookie fields with a comma. Ours hold neither sign.
_COOKIES = re.compile(rb"(?:^|[;,])\s*+__Host-keyfob-[^;,]*+", re.IGNORECASE)

# RFC 3986 section 3.2.2, narrowed to what a server is named by: a DNS name or an IPv4 address, or a bracketed IPv6
# address, with an optional port. Anything else (user information, percent-encoding, commas, spaces) is no host.
_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?)(?::[0-9]{0,5})?"
)
# RFC 1035 section 2.3.4, as text; a final dot, a colon and a port may follow.
LONGEST_NAME = 253
LONGEST_HOST = LONGEST_NAME + 1 + 6


class Request(NamedTuple):
    """One request or WebSocket handshake, as the gate sees it.

    `scope` speaks ASGI's vocabulary whatever the server does: `type`, `method`, `path`, `headers` (lower-case names),
    `client` and `extensions`. `host` is what `find_host` makes of the headers. `at` is the moment of the request in
    seconds since the epoch, UTC. `presented` is what a certificate arrived in, where the source could tell at a glance.
    `visible` are the headers that the app may see, None for all of them. `client` is the client's own address beyond
    every trusted proxy: the gate fills it in where a rule looks at more than the certificate.
    """

    scope: Mapping[str, Any]
    host: str | None
    at: float
    presented: Hashable = None
    visible: Headers | None = None
    client: Address | None = None

    @property
    def is_websocket(self) -> bool:
        """A WebSocket's opening handshake, not an HTTP request."""
        return bool(self.scope["type"] == "websocket")

    @property
    def method(self) -> str:
        """The method. RFC 6455 section 4.1: a WebSocket's handshake is a GET."""
        return str(self.scope.get("method", "GET"))

    @property
    def path(self) -> str:
        """The path, percent-decoded by the server."""
        return str(self.scope["path"])

    @property
    def headers(self) -> Headers:
        """Name and value pairs as they came, names in lower case."""
        headers: Headers = self.scope["headers"]
        return headers

    @property
    def peer(self) -> str | None:
        """The address of the socket's other end, None where the server does not tell it.

        A server of ours records it before anything rewrites `client`; with another server it may be what a proxy, or
        whoever writes like one, said in a header.
        """
        recorded = (self.scope.get("extensions") or {}).get(SOCKET_PEER)
        client = recorded["client"] if recorded else self.scope.get("client")
        return str(client[0]) if client else None


# What a NamedTuple's own __new__ calls, without the call in between. Takes Request and all its fields as one tuple.
make_tuple = tuple.__new__


def hide_secrets(headers: Headers) -> Headers:
    """The headers without the sessions and the service tokens in them: the app has no need of either."""
    left: list[tuple[bytes, bytes]] = []
    for pair in headers:
        if pair[0] in TOKEN_HEADERS:
            continue
        if pair[0] == b"cookie":
            value = hide_cookies(pair[1])
            if value:
                left.append((b"cookie", value))
        else:
            left.append(pair)
    return left


def hide_cookies(value: bytes) -> bytes:
    """A Cookie field without the cookies that are ours, and the others as they came; empty if that was all."""
    left, found = _COOKIES.subn(b"", value)
    return left.lstrip(b";, \t") if found else value


def find_host(headers: Headers) -> str | None:
    """The one host that the headers name, normalised by `parse_host`.

    None if they name none, or one twice: RFC 9110 section 7.2 allows exactly one Host field.
    """
    found = None
    for name, value in headers:
        if name == b"host":
            if found is not None:
                return None
            found = value
    # A longer one is no host, and must not be kept in parse_host's memory.
    return None if found is None or len(found) > LONGEST_HOST else parse_host(found)


@lru_cache(maxsize=1024)
def parse_host(value: bytes) -> str | None:
    """The host of a Host field: lower case, no port, no final dot, IPv6 in its canonical form; None if malformed."""
    # latin-1 reads any byte, so that what is not ASCII fails the pattern instead of raising.
    match = _HOST.fullmatch(value.decode("latin-1"))
    if match is None:
        return None
    if match["ipv6"] is None:
        return match["name"].lower() if len(match["name"]) <= LONGEST_NAME else None
    try:
        return str(ipaddress.IPv6Address(match["ipv6"]))
    except ValueError:
        return None
