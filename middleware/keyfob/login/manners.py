"""Manners: who gets a page, who gets a status, and how addresses of ours are written."""

from urllib.parse import quote, unquote, urlencode

from keyfob.login.desk import LOGIN, find_base
from keyfob.policy.paths import AmbiguousPath, find_path
from keyfob.request import PLACE, Request


def is_navigation(request: Request) -> bool:
    """Whether somebody looks at the answer as a page of its own, so that a redirect leads a person somewhere.

    Fetch Metadata says so where a browser sends it; a script can set none of it. Older ones say by Accept what they
    would like.
    """
    if request.method not in {"GET", "HEAD"} or request.is_websocket:
        return False
    if _read(request, b"x-requested-with").lower() == b"xmlhttprequest":
        return False
    mode = _read(request, b"sec-fetch-mode")
    if mode:
        # A service worker that passes a navigation on says `empty` (Fetch, section 5.4: the new request has no
        # destination); no script can ask in this mode otherwise.
        return mode == b"navigate" and _read(request, b"sec-fetch-dest") in {b"", b"document", b"empty"}
    return b"text/html" in _read(request, b"accept").lower()


def is_own_page(request: Request) -> bool:
    """Whether a form was sent from a page of ours: a browser that does not say so has SameSite for it.

    Origin does not tell: our pages name no referrer, and then it is `null` (Fetch, section 3.2).
    """
    return _read(request, b"sec-fetch-site") in {b"", b"same-origin", b"none"}


def find_origin(request: Request) -> str:
    """Scheme, host and port as the browser has them. Always https: a cookie of ours comes over nothing else."""
    # The gate knows this host, so nothing but a port can be anybody's choice.
    host = _read(request, b"host").decode("latin-1").lower()
    return f"https://{host.removesuffix(':443').removesuffix(':')}"


def find_prefix(request: Request) -> str:
    """The prefix under which the app is mounted, such as `/budget`, percent-encoded; empty if there is none."""
    return quote(find_base(request.scope), safe=_PLAIN, errors="replace")


def find_address(request: Request) -> str:
    """The path, in full, and the query as the browser asked for them, percent-encoded; empty if nobody can tell."""
    try:
        path = find_path(request.scope)
    except AmbiguousPath:
        return ""
    raw = (request.scope.get("raw_path") or b"").decode("latin-1")
    # What was judged is the decoded path. A server may keep no other, or one that lacks the prefix.
    written = raw if unquote(raw) == path else quote(path, safe=_PLAIN, errors="replace")
    query = (request.scope.get("query_string") or b"").decode("latin-1")
    return f"{written}?{query}" if query else written


# RFC 3986 section 3.3: what a path holds as it is, beside letters, digits and "-._~".
_PLAIN = "/:@!$&'()*+,;="


def describe_login(origin: str, base: str, back: str, provider: str = "", *, afresh: bool = False) -> str:
    """The address at which a login begins that leads to `back`; `afresh` for another person than the last one."""
    place = f"{origin}{base}{PLACE}{LOGIN}{'/' if provider else ''}{provider}"
    said = {"to": back} | ({"again": "1"} if afresh else {})
    return f"{place}?{urlencode(said)}"


def _read(request: Request, name: bytes) -> bytes:
    """A header as one value, however many fields it came in; empty if it did not come."""
    return b",".join(value for each, value in request.headers if each == name)
