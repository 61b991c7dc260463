"""Which POST requests may have been sent by this site's own page."""

import pytest

from budget_app.origin import CrossOriginError, require_same_origin

Headers = list[tuple[bytes, bytes]]

HOST = (b"host", b"money.example.com")


def origin(value: bytes, host: bytes = b"money.example.com") -> Headers:
    return [(b"host", host), (b"origin", value)]


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [HOST, (b"sec-fetch-site", b"same-origin")],
        [HOST, (b"sec-fetch-site", b"none")],
        [*origin(b"https://money.example.com"), (b"sec-fetch-site", b"same-origin")],
        origin(b"https://money.example.com"),
        origin(b"HTTPS://Money.Example.COM"),
        origin(b"https://money.example.com:443"),
        origin(b"https://money.example.com", b"money.example.com:443"),
        origin(b"https://money.example.com:8443", b"money.example.com:8443"),
        origin(b"https://127.0.0.1:8443", b"127.0.0.1:8443"),
        origin(b"https://[::1]:8443", b"[::1]:8443"),
        origin(b"https://[::1]", b"[::1]:443"),
    ],
    ids=str,
)
def test_our_own_page_and_programs_without_a_browser_are_let_through(headers: Headers) -> None:
    require_same_origin(headers, "https")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, (b"sec-fetch-site", b"cross-site")],
        [HOST, (b"sec-fetch-site", b"same-site")],
        [HOST, (b"sec-fetch-site", b"")],
        [HOST, (b"sec-fetch-site", b"Same-Origin")],
        [HOST, (b"sec-fetch-site", b"same-origin, cross-site")],
        [*origin(b"https://money.example.com"), (b"sec-fetch-site", b"cross-site")],
        [*origin(b"https://evil.example"), (b"sec-fetch-site", b"same-origin")],
        origin(b"https://evil.example"),
        origin(b"null"),
        origin(b""),
        origin(b"money.example.com"),
        origin(b"https://"),
        origin(b"ftp://money.example.com"),
        origin(b"file://"),
        origin(b"https://money.example.com/"),
        origin(b"https://money.example.com\n"),
        origin(b"https://money.example.com:"),
        origin(b"https://money.example.com:8443"),
        origin(b"https://money.example.com:80"),
        origin(b"https://user@money.example.com"),
        origin(b"https://money.example.com.evil.example"),
        origin(b"https://money.example.com https://evil.example"),
        origin(b"http://money.example.com"),
        origin(b"https://money.example.com", b"money.example.com:8443"),
        origin(b"https://money.example.com", b""),
        [(b"origin", b"https://money.example.com")],
        [HOST, HOST],
        [HOST, (b"Host", b"evil.example")],
        [HOST, (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"same-origin")],
        [*origin(b"https://money.example.com"), (b"origin", b"https://money.example.com")],
    ],
    ids=str,
)
def test_everything_else_is_refused(headers: Headers) -> None:
    with pytest.raises(CrossOriginError):
        require_same_origin(headers, "https")


@pytest.mark.parametrize(
    "value", [b"http://money.example.com", b"https://money.example.com", b"http://money.example.com:80"]
)
def test_behind_a_proxy_that_ended_tls_the_origin_may_be_either_scheme(value: bytes) -> None:
    require_same_origin(origin(value), "http")
