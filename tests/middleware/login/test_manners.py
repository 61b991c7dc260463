"""login.manners: who gets a page, who gets a status, and how addresses of ours are written."""

from typing import Any

import pytest

from exchanges import make_request, make_scope
from keyfob.login.manners import (
    describe_login,
    find_address,
    find_origin,
    find_prefix,
    is_navigation,
    is_own_page,
)
from keyfob.policy.paths import UNCLEAR_PATH
from keyfob.request import Request

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def ask(
    method: str = "GET", kind: str = "http", host: str | None = None, *, fields: Any = (), **headers: str
) -> Request:
    said = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return make_request(make_scope(kind=kind, host=host, headers=[*said, *fields], method=method))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        # Browsers, as they say so themselves.
        (ask(accept=HTML, sec_fetch_mode="navigate", sec_fetch_dest="document", sec_fetch_site="none"), True),
        (ask(accept=HTML, sec_fetch_mode="navigate"), True),
        (ask(accept="*/*", sec_fetch_mode="navigate", sec_fetch_dest="document"), True),
        (ask("HEAD", accept=HTML, sec_fetch_mode="navigate", sec_fetch_dest="document"), True),
        # Chromium, by a service worker that passes the request on.
        (ask(accept=HTML, sec_fetch_mode="navigate", sec_fetch_dest="empty", sec_fetch_site="same-origin"), True),
        (ask(accept=HTML, sec_fetch_mode="same-origin", sec_fetch_dest="empty"), False),
        (ask(accept=HTML, sec_fetch_mode="navigate", sec_fetch_dest="iframe"), False),
        (ask(accept=HTML, sec_fetch_mode="navigate", sec_fetch_dest="embed"), False),
        (ask(accept=HTML, sec_fetch_mode="cors", sec_fetch_dest="empty"), False),
        (ask(accept=HTML, sec_fetch_mode="same-origin", sec_fetch_dest="serviceworker"), False),
        (ask(accept="image/avif,*/*", sec_fetch_mode="no-cors", sec_fetch_dest="image"), False),
        (ask(accept="*/*", sec_fetch_mode="cors", sec_fetch_dest="manifest"), False),
        (ask(accept=HTML, sec_fetch_mode="websocket"), False),
        (ask(accept=HTML, sec_fetch_mode="Navigate"), False),
        (ask(accept=HTML, fields=[(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-mode", b"cors")]), False),
        # Older ones, and programs.
        (ask(accept=HTML), True),
        (ask(accept="TEXT/HTML"), True),
        (ask(fields=[(b"accept", b"text/html"), (b"accept", b"*/*")]), True),
        (ask("HEAD", accept=HTML), True),
        (ask(accept="*/*"), False),
        (ask(accept="application/json"), False),
        (ask(accept="application/json, text/plain, */*"), False),
        (ask(accept=""), False),
        (ask(), False),
        # Scripts in a page that say so.
        (ask(accept=HTML, x_requested_with="XMLHttpRequest"), False),
        (ask(accept=HTML, x_requested_with="xmlhttprequest", sec_fetch_mode="navigate"), False),
        (ask(accept=HTML, x_requested_with="com.example.app"), True),
        # What is in it would be lost.
        (ask("POST", accept=HTML, sec_fetch_mode="navigate", sec_fetch_dest="document"), False),
        (ask("PUT", accept=HTML), False),
        (ask("DELETE", accept=HTML), False),
        (ask("OPTIONS", accept=HTML), False),
        (ask("get", accept=HTML), False),
        (ask(kind="websocket", accept=HTML, sec_fetch_mode="navigate"), False),
    ],
    ids=lambda value: "" if isinstance(value, Request) else str(value),
)
def test_a_navigation_is_what_somebody_will_look_at(request_: Request, expected: bool) -> None:
    """Everything else would follow a redirect and take a provider's page for the answer."""
    assert is_navigation(request_) is expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False), ("x", False)],
)
def test_a_form_of_ours_comes_from_a_page_of_ours(said: str, expected: bool) -> None:
    """Not from another site, nor from another host of this one."""
    assert is_own_page(ask("POST", sec_fetch_site=said)) is expected
    assert is_own_page(ask("POST"))
    assert not is_own_page(
        ask("POST", fields=[(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-origin")])
    )


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("money.example.com", "https://money.example.com"),
        ("Money.Example.COM", "https://money.example.com"),
        ("money.example.com:443", "https://money.example.com"),
        ("money.example.com:8443", "https://money.example.com:8443"),
        ("money.example.com:", "https://money.example.com"),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("[::]", "https://[::]"),
    ],
)
def test_the_origin_is_the_browsers(host: str, origin: str) -> None:
    """Always over TLS, and without the port that it leaves out."""
    assert find_origin(ask(host=host)) == origin


def at(path: str, raw: bytes | None = None, root: str = "", query: bytes = b"", unclear: str = "") -> Request:
    scope = make_scope(path=path, root_path=root, query_string=query, raw_path=raw)
    return make_request({**scope, "extensions": {UNCLEAR_PATH: unclear} if unclear else {}})


@pytest.mark.parametrize(
    ("request_", "prefix", "address"),
    [
        (at("/"), "", "/"),
        (at("/books", b"/books", query=b"a=%20b"), "", "/books?a=%20b"),
        (at("/a b/é", b"/a%20b/%C3%A9"), "", "/a%20b/%C3%A9"),
        (at("/a b/é"), "", "/a%20b/%C3%A9"),
        (at("/a?b#c%d"), "", "/a%3Fb%23c%25d"),
        (at("/100%", b"/100%25"), "", "/100%25"),
        # With a prefix, whether the server leaves it in the path or not.
        (at("/app/books", b"/app/books", "/app"), "/app", "/app/books"),
        (at("/books", b"/books", "/app", b"x=1"), "/app", "/app/books?x=1"),
        (at("/books", b"/app/books", "/app/"), "/app", "/app/books"),
        (at("/café/x", b"/caf%C3%A9/x", "/café"), "/caf%C3%A9", "/caf%C3%A9/x"),
        # What the server says of the raw path is not what is judged.
        (at("/books", b"/elsewhere"), "", "/books"),
        (at("/books", b"https://money.example.com/books"), "", "/books"),
        (at("/books", b"//evil.example/books"), "", "/books"),
        # What nobody can tell.
        (at("/a/b", b"/a%2fb"), "", ""),
        (at("/apple", b"/apple", "/app"), "/app", ""),
        (at("/books", unclear="a header may have moved it"), "", ""),
    ],
)
def test_the_address_is_what_the_browser_asked_for(request_: Request, prefix: str, address: str) -> None:
    """In full, and percent-encoded, so that it can be asked for again."""
    assert (find_prefix(request_), find_address(request_)) == (prefix, address)


def test_a_path_that_is_no_text_is_an_address_all_the_same() -> None:
    """Nobody gets an error for it."""
    find_address(at("/\udcff\x00")).encode("ascii")


def test_the_address_of_a_login_says_where_it_leads() -> None:
    """Whole, so that a program can show it; what leads on is quoted in it."""
    origin = "https://money.example.com:8443"
    assert describe_login(origin, "", "/") == f"{origin}/.keyfob/login?to=%2F"
    assert describe_login(origin, "/app", "/app/a?b=c&d", "google", afresh=True) == (
        f"{origin}/app/.keyfob/login/google?to=%2Fapp%2Fa%3Fb%3Dc%26d&again=1"
    )
