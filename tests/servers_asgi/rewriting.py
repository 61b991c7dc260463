"""Middlewares of real servers that write a header's address over the socket's."""

from collections.abc import Callable, Mapping
from typing import Any

from anycorn.middleware import ProxyFixMiddleware as AnycornProxyFix
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware as HypercornProxyFix

# By the name that stands in a door's path. All of them believe whoever they hear; the first one is none.
REWRITING: Mapping[str, Callable[[Any], Any]] = {
    "": lambda app: app,
    "hypercorn-legacy": HypercornProxyFix,
    "hypercorn-modern": lambda app: HypercornProxyFix(app, mode="modern"),
    "anycorn-legacy": AnycornProxyFix,
    "anycorn-modern": lambda app: AnycornProxyFix(app, mode="modern"),
    "granian": lambda app: wrap_asgi_with_proxy_headers(app, trusted_hosts="*"),
}
