"""Whether a POST was sent by a page of this very server.

Browsers tell where a request came from in `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` (RFC 6454 section 7), and
no page can forge either. Programs such as curl send neither, and carry no authority that they were not given.
"""

from collections.abc import Iterable

_OWN_SITE = {b"same-origin", b"none"}


def is_own_page(headers: Iterable[tuple[bytes, bytes]], *, with_referrer: bool = True) -> bool:
    """Whether the raw ASGI `headers` allow that a page of ours has sent it, over HTTPS. Doubled headers do not.

    Without a referrer, which is what a page can ask for, browsers keep its origin back as well and say `null`.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in {b"sec-fetch-site", b"origin", b"host"}:
            if name in found:
                return False
            found[name] = value.lower()
    if found.get(b"sec-fetch-site", b"none") not in _OWN_SITE:
        return False
    origin = found.get(b"origin")
    if origin is None or (origin == b"null" and not with_referrer):
        return True
    return _drop_usual_port(origin) == b"https://" + _drop_usual_port(found.get(b"host", b""))


def _drop_usual_port(authority: bytes) -> bytes:
    return authority.removesuffix(b":443")
