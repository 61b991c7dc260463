"""enrolment.origin: which POST was sent by a page of ours."""

import pytest

from keyfob.enrolment.origin import is_own_page

HOST = (b"host", b"keys.example.com:8444")
OWN = (b"origin", b"https://keys.example.com:8444")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [HOST, OWN],
        [HOST, OWN, (b"sec-fetch-site", b"same-origin")],
        [HOST, (b"origin", b"https://KEYS.example.com:8444")],
        [(b"host", b"keys.example.com"), (b"origin", b"https://keys.example.com:443")],
        [(b"host", b"keys.example.com:443"), (b"origin", b"https://keys.example.com")],
        [HOST, (b"sec-fetch-site", b"none")],
    ],
)
def test_a_page_of_ours_is_known(headers: list[tuple[bytes, bytes]]) -> None:
    """Also where it is a program, which says nothing of it."""
    assert is_own_page(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, (b"origin", b"https://keys.example.com")],
        [HOST, (b"origin", b"https://keys.example.com:8443")],
        [HOST, (b"origin", b"http://keys.example.com:8444")],
        [HOST, (b"origin", b"https://evil.example:8444")],
        [HOST, (b"origin", b"null")],
        [HOST, (b"origin", b"")],
        [HOST, OWN, OWN],
        [HOST, HOST, OWN],
        [HOST, OWN, (b"sec-fetch-site", b"cross-site")],
        [HOST, (b"sec-fetch-site", b"same-site")],
        [HOST, (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
        [OWN],
    ],
)
def test_everything_else_is_not(headers: list[tuple[bytes, bytes]]) -> None:
    """Another scheme, another port, another host, or said twice."""
    assert not is_own_page(headers)


def test_a_page_without_a_referrer_says_null() -> None:
    """Which is then taken, as long as the browser does not say that it came from elsewhere."""
    said = [HOST, (b"origin", b"null")]
    assert is_own_page(said, with_referrer=False)
    assert not is_own_page([*said, (b"sec-fetch-site", b"cross-site")], with_referrer=False)
