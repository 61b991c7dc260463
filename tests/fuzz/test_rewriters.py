"""Servers that write a header's address over the socket's: what a header made trusted, a header must not vouch for.

Every rewriter that is installed here is run on hostile forwarding headers, as a stranger sends them. Whatever address
comes out, the source finds out that it may be somebody's word.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from anycorn.middleware import ProxyFixMiddleware as AnycornProxyFix
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware as HypercornProxyFix
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from waitress.proxy_headers import MalformedProxyHeader, parse_proxy_headers  # type: ignore[import-untyped]

from exchanges import make_request, make_scope
from fuzz.issued import DEVICES, NOW, write_der
from fuzz.patience import examples
from fuzz.proxies import PROXIES
from keyfob.addresses import parse_address, parse_network
from keyfob.errors import CertificateError, PeerNotTrusted, PeerUnclear
from keyfob.sources.formats import FORMATS
from keyfob.sources.headers import HeaderSource
from keyfob.sources.peers import Peers

STRANGER = "203.0.113.9"


def wrap_waitress(app: Any) -> Any:
    """What waitress makes of Forwarded, with an environ for a scope: it undoes quoted pairs as well."""

    async def wrapped(scope: dict[str, Any], receive: object, send: object) -> None:
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"forwarded"]
        environ = {"REMOTE_ADDR": STRANGER, "HTTP_FORWARDED": ", ".join(lines), "wsgi.url_scheme": "http"}
        with suppress(MalformedProxyHeader, IndexError):
            parse_proxy_headers(environ, 1, {"forwarded"}, logging.getLogger("quiet"))
        await app({**scope, "client": (environ["REMOTE_ADDR"], 0)}, receive, send)

    return wrapped


Rewriter = Callable[[Any], Any]
REWRITERS: dict[str, Rewriter] = {
    "uvicorn, trusting everybody": lambda app: ProxyHeadersMiddleware(app, "*"),
    "uvicorn, trusting the stranger": lambda app: ProxyHeadersMiddleware(app, STRANGER),
    "hypercorn": HypercornProxyFix,
    "hypercorn, two hops": lambda app: HypercornProxyFix(app, trusted_hops=2),
    "hypercorn, Forwarded": lambda app: HypercornProxyFix(app, mode="modern"),
    "anycorn, Forwarded": lambda app: AnycornProxyFix(app, mode="modern"),
    "granian, trusting everybody": lambda app: wrap_asgi_with_proxy_headers(app, "*"),
    "granian, trusting the stranger": lambda app: wrap_asgi_with_proxy_headers(app, [STRANGER]),
    "waitress, Forwarded": wrap_waitress,
}
TRUSTED = ["127.0.0.1", "10.0.0.0/8", "::1", "fe80::/10", "2001:db8::/32"]

_ADDRESSES = ["127.0.0.1", "10.1.2.3", "::1", "0:0::1", "2001:DB8::7", "::ffff:127.0.0.1", "fe80::1%eth-0"]
_ADDRESS = st.sampled_from(_ADDRESSES)
_AROUND = st.text(st.sampled_from("[]:;=\"' \t,0189_+-.abfx%\\\x1c\x85\xa0/()"), max_size=4)
_PORT = st.sampled_from(["", ":80", ":999999", ":+1", ":1_0", ": 80", ":-1", ":http", ":_p", "]:80", "]", "]:", "]:x"])
_NODE = st.tuples(_AROUND, _ADDRESS, _PORT, _AROUND).map("".join)
_HOP = _NODE | st.sampled_from(["198.51.100.9", "unknown", "", STRANGER])
_FOR = st.tuples(st.sampled_from(["for=", "for= ", "for=\xa0", "by=x;for=", "For=", 'for="']), _HOP).map("".join)


def rewrite(rewriter: Rewriter, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The scope that the app gets of a stranger's request with these headers."""
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], *_: object) -> None:
        seen.append(scope)

    scope = make_scope(None, headers=headers, client=(STRANGER, 50000))
    called: Awaitable[None] = rewriter(app)(scope, None, None)
    assert list(called.__await__()) == []
    return seen[0]


def make_source() -> HeaderSource:
    """It trusts what is trusted on most machines, and takes nginx's word."""
    networks = [network for text in TRUSTED if (network := parse_network(text)) is not None]
    assert len(networks) == len(TRUSTED)
    return HeaderSource(FORMATS["nginx"], Peers(networks))


def forge(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The headers by which nginx would vouch for a certificate, with these."""
    proxy, der = PROXIES["nginx"], write_der(DEVICES["phone"])
    forged = [(proxy.header, proxy.write(Random(0), [der])), *proxy.proofs]  # noqa: S311 - nginx has one spelling
    return forged + [(name.encode(), value.encode("latin-1")) for name, value in headers]


@pytest.mark.parametrize("rewriter", REWRITERS)
@examples(150)
@given(st.lists(_HOP, max_size=3), st.lists(_FOR, max_size=3), st.booleans())
@example(["127.0.0.1:999999"], [], True)
@example(["[127.0.0.1]:x"], [], True)
@example(["127.0.0.1: 80"], [], True)
@example(["[fe80::1%eth-0]:80"], [], True)
@example([], ["for=127.0.0.1"], True)
@example([], [r'for="127.0.0\.1"'], True)
def test_no_rewritten_address_is_believed(rewriter: str, hops: list[str], elements: list[str], merged: bool) -> None:
    """A stranger's request is refused whatever address it gives itself, and whatever the server makes of that."""
    values = [("x-forwarded-for", hop) for hop in hops] + [("forwarded", element) for element in elements]
    if merged:
        values = [("x-forwarded-for", ", ".join(hops))] if hops else []
        values += [("forwarded", ", ".join(elements))] if elements else []
    scope = rewrite(REWRITERS[rewriter], forge(values))
    with pytest.raises((PeerUnclear, PeerNotTrusted)):
        make_source().presented(make_request(scope, NOW))


@pytest.mark.parametrize("rewriter", REWRITERS)
def test_the_rewriters_do_rewrite(rewriter: str) -> None:
    """Otherwise the test above would show nothing."""
    values = [("x-forwarded-for", "127.0.0.1, 127.0.0.1"), ("forwarded", "for=127.0.0.1")]
    assert rewrite(REWRITERS[rewriter], forge(values))["client"][0] == "127.0.0.1"


_OTHERS = st.ip_addresses().map(str) | st.sampled_from(["198.51.100.9", "110.0.0.12", "127.0.0.11", "a::1", "::1:1"])


@examples(150)
@given(_ADDRESS, st.lists(_OTHERS, min_size=1, max_size=3))
def test_an_address_that_no_header_names_is_the_sockets(peer: str, hops: list[str]) -> None:
    """A proxy that tells its clients' addresses is believed, unless one of them is its own."""
    headers = forge([("x-forwarded-for", ", ".join(hops))])
    request = make_request(make_scope(None, headers=headers, client=(peer, 50000)), NOW)
    named = parse_address(peer.partition("%")[0]) in map(parse_address, hops)
    try:
        make_source().presented(request)
    except CertificateError as error:
        assert named, error
        assert isinstance(error, PeerUnclear)
    else:
        assert not named
