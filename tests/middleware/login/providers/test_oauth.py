"""OAuth 2: what comes back with the browser, what a token is, and where secrets may be sent."""

from typing import Any

import pytest

from keyfob.errors import KeyfobError, LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched
from keyfob.login.providers.oauth import (
    ask_token,
    make_challenge,
    quote,
    read_code,
    read_json,
    read_object,
    read_token,
    require_private,
)


def test_the_challenge_is_that_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    assert (
        make_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_words_of_others_are_short_and_one_line() -> None:
    assert quote("a\r\nb") == r"'a\r\nb'"
    assert len(quote("x" * 10_000)) == 202


def test_a_code_comes_back() -> None:
    assert read_code({"code": "abc", "state": "s"}, "Work") == "abc"


@pytest.mark.parametrize(
    "said", [{}, {"code": ""}, {"state": "s"}, {"error": ""}, {"error": "access_denied", "code": "abc"}]
)
def test_an_error_is_no_code_whatever_comes_with_it(said: dict[str, str]) -> None:
    with pytest.raises(LoginFailed, match="Work"):
        read_code(said, "Work")


def test_a_token_request_is_a_form() -> None:
    steps = ask_token("https://work.example/token", {"code": "a b&c", "name": "é"}, "/ca.pem")
    asked = next(steps)
    assert isinstance(asked, Fetch)
    assert (asked.method, asked.url, asked.authority) == ("POST", "https://work.example/token", "/ca.pem")
    assert asked.headers == {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    assert asked.body == b"code=a+b%26c&name=%C3%A9"


@pytest.mark.parametrize("kind", ["bearer", "Bearer", "BEARER"])
def test_a_bearer_token_is_one(kind: str) -> None:
    assert read_token({"access_token": "abc.~+/=", "token_type": kind}, "Work") == "abc.~+/="


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"access_token": "", "token_type": "bearer"},
        {"access_token": None, "token_type": "bearer"},
        {"access_token": ["a"], "token_type": "bearer"},
        {"access_token": "a\r\nb", "token_type": "bearer"},
        {"access_token": "a b", "token_type": "bearer"},
        {"access_token": "é", "token_type": "bearer"},
        {"access_token": "a"},
        {"access_token": "a", "token_type": "mac"},
        {"access_token": "a", "token_type": 1},
    ],
)
def test_what_is_no_bearer_token_is_none(found: dict[str, Any]) -> None:
    """It is written into a header, so it may not end that line."""
    with pytest.raises(LoginUnavailable, match="Work answers with"):
        read_token(found, "Work")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}', b"NaN", b"a=b"])
def test_what_is_no_json_is_nothing(body: bytes) -> None:
    with pytest.raises(LoginUnavailable, match="Work answers 200 with something other than JSON"):
        read_json(Fetched(200, {}, body), "Work")


def test_json_may_be_anything() -> None:
    assert read_json(Fetched(200, {}, b"[1]"), "Work") == [1]


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null"])
def test_an_object_is_an_object(body: bytes) -> None:
    assert read_object(Fetched(200, {}, b'{"a":1}'), "Work") == {"a": 1}
    with pytest.raises(LoginUnavailable, match="other than an object"):
        read_object(Fetched(200, {}, body), "Work")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://work.example", "https://work.example"),
        ("https://work.example/", "https://work.example"),
        ("https://work.example:8443/idp/", "https://work.example:8443/idp"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_secrets_go_over_tls_or_stay_here(url: str, found: str) -> None:
    assert require_private(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "work.example",
        "http://work.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://localhost@work.example",
        "https://me:secret@work.example",
        "https://work.example?a=b",
        "https://work.example#a",
        "https://work.example:0",
        "https://work.example:99999",
        "https://",
        "https:///path",
        "http://[::1",
        "ftp://localhost",
        "javascript:alert(1)",
    ],
)
def test_secrets_go_nowhere_else(url: str) -> None:
    with pytest.raises(KeyfobError, match="no address for secrets"):
        require_private(url)
