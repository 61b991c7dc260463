"""policy.applications: what becomes of a browser's question whether another page may ask here."""

import pytest

from keyfob.policy import Preflights

ASKED = {
    b"origin": b"https://app.example.com",
    b"access-control-request-method": b"PUT",
    b"access-control-request-headers": b"content-type,x-one",
}
VARY = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
NAMED = frozenset({"https://app.example.com"})


def answer(preflights: Preflights, **changes: bytes) -> dict[str, str]:
    """The headers of the answer, without what all of them are called and without Vary, which has to be there."""
    asked = ASKED | {name.replace("_", "-").encode(): value for name, value in changes.items()}
    said = preflights.answer(asked)
    assert said[0] == VARY
    assert len({name for name, _ in said}) == len(said)
    return {name.decode().removeprefix("access-control-"): value.decode("latin-1") for name, value in said[1:]}


@pytest.mark.parametrize(
    ("preflights", "expected"),
    [
        (Preflights(), {}),
        (Preflights(methods=("GET",), headers=("x",), with_credentials=True, max_age=60), {}),
        (Preflights(origins=NAMED), {"allow-origin": "https://app.example.com"}),
        (Preflights(origins=frozenset({"*"})), {"allow-origin": "*"}),
        (
            Preflights(origins=NAMED, methods=("GET", "PUT"), headers=("X-One", "X-Two"), max_age=600),
            {
                "allow-origin": "https://app.example.com",
                "allow-methods": "GET, PUT",
                "allow-headers": "X-One, X-Two",
                "max-age": "600",
            },
        ),
        (
            Preflights(origins=NAMED, methods=None, headers=None, with_credentials=True, max_age=-1),
            {
                "allow-origin": "https://app.example.com",
                "allow-methods": "PUT",
                "allow-headers": "content-type,x-one",
                "allow-credentials": "true",
                "max-age": "-1",
            },
        ),
        (Preflights(origins=NAMED, max_age=0), {"allow-origin": "https://app.example.com", "max-age": "0"}),
        # A named origin beside any other.
        (
            Preflights(origins=NAMED | {"*"}, with_credentials=True),
            {"allow-origin": "https://app.example.com", "allow-credentials": "true"},
        ),
    ],
)
def test_the_answer_is_what_was_configured(preflights: Preflights, expected: dict[str, str]) -> None:
    """And nothing for an origin that is not named, not even what it may not do."""
    assert answer(preflights) == expected


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"https://evil.example",
        b"http://app.example.com",
        b"https://app.example.com:8443",
        b"https://app.example.com/",
        b"https://APP.example.com",
        b"https://app.example.com.evil.example",
        b"https://evil.example https://app.example.com",
        b"https://app.example.com,https://evil.example",
        b"*",
        b"\xff",
    ],
)
def test_an_origin_is_compared_whole(origin: bytes) -> None:
    """Scheme, host and port, as a browser writes them."""
    assert answer(Preflights(origins=NAMED, methods=("PUT",), with_credentials=True), origin=origin) == {}


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"*"])
def test_credentials_are_for_named_origins_alone(origin: bytes) -> None:
    """Any page on the web could otherwise act as whoever looks at it; a configuration that says so is refused, too."""
    for origins in (frozenset({"*"}), NAMED | {"*"}):
        assert answer(Preflights(origins=origins, methods=None, with_credentials=True), origin=origin) == {}


def test_what_was_not_asked_for_is_not_answered() -> None:
    """Any header is none where none was asked for."""
    said = answer(Preflights(origins=NAMED, headers=None), access_control_request_headers=b"")
    assert said == {"allow-origin": "https://app.example.com"}
