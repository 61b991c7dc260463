"""Whether a POST was sent by this site's own page.

A browser adds its client certificate to every request, as it does cookies, so another site could submit our form in a
person's name. Browsers tell where a request came from in `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` (RFC 6454,
section 7); a page cannot forge either. Programs such as curl send neither and carry no ambient authority.
"""

import re
from collections.abc import Iterable

_SAME_SITE = (b"same-origin", b"none")
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_AUTHORITY = rb"(?P<host>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[0-9]{1,5}))?"
_ORIGIN = re.compile(rb"(?P<scheme>https?)://" + _AUTHORITY, re.IGNORECASE)
_HOST = re.compile(_AUTHORITY, re.IGNORECASE)


class CrossOriginError(Exception):
    """The request was not sent by this site's own page; `str()` says how that is known."""


def require_same_origin(headers: Iterable[tuple[bytes, bytes]], scheme: str) -> None:
    """Raise CrossOriginError unless the raw ASGI `headers` of a request over `scheme` allow that our page sent it."""
    headers = list(headers)
    site = _single(headers, b"sec-fetch-site")
    origin = _single(headers, b"origin")
    host = _single(headers, b"host")
    if site is not None and site not in _SAME_SITE:
        raise CrossOriginError(f"Sec-Fetch-Site is {site!r}")
    if origin is not None and not _is_own(origin, host, scheme):
        raise CrossOriginError(f"Origin {origin!r} is not Host {host!r}")


def _single(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise CrossOriginError(f"found multiple {name.decode()} headers")
    return values[0] if values else None


def _is_own(origin: bytes, host: bytes | None, scheme: str) -> bool:
    """Compare hosts and ports; a missing port is the default one of the origin's scheme, on both sides.

    The server may see http where the browser saw https, because a proxy ended TLS. The reverse does not happen: there,
    a page that came over plain http, where anybody on the network can write it, posts to the https site.
    """
    ours = _HOST.fullmatch(host or b"")
    theirs = _ORIGIN.fullmatch(origin)
    if ours is None or theirs is None:
        return False
    their_scheme = theirs["scheme"].lower()
    if scheme == "https" and their_scheme != b"https":
        return False
    default = _DEFAULT_PORTS[their_scheme]
    return _endpoint(ours, default) == _endpoint(theirs, default)


def _endpoint(match: re.Match[bytes], default_port: int) -> tuple[bytes, int]:
    return match["host"].lower(), int(match["port"] or default_port)
