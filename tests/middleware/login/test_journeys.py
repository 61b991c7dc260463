"""login.journeys: logins under way, sealed in a state."""

from typing import Any

import pytest

from keyfob.errors import LoginLapsed
from keyfob.login.journeys import LONGEST, SKEW, Journey, begin_journey, pack, unpack
from keyfob.login.sessions import Session, Sessions
from logins import KEY, ME, make_book, make_key

AT = 1_800_000_000.0
SESSIONS = Sessions(make_book())


def begin(back: str = "/books?year=2026", at: float = AT) -> Journey:
    return begin_journey("google", "tag", "https://money.example.com", "/app", back, "mark", at)


def test_a_journey_comes_back_as_it_began() -> None:
    """From where it was begun, to where it leads."""
    journey = begin()
    assert unpack(pack(journey, SESSIONS, AT), SESSIONS, AT + 60) == journey


def test_each_journey_has_secrets_of_its_own() -> None:
    """RFC 7636 section 4.1: a verifier has 43 characters at least."""
    journeys = [begin() for _ in range(100)]
    for name in ("id", "nonce", "verifier"):
        assert len({getattr(each, name) for each in journeys}) == 100
    assert all(len(each.verifier) >= 43 and len(each.nonce) >= 22 for each in journeys)
    assert len({pack(journeys[0], SESSIONS, AT) for _ in range(100)}) == 100


def test_each_provider_has_a_callback_of_its_own() -> None:
    """RFC 9700 section 4.4.2.2: so that what one sends cannot be taken for another's."""
    assert begin().callback == "https://money.example.com/app/.keyfob/callback/google"


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [(0, True), (LONGEST, True), (LONGEST + 1, False), (1e9, False), (-SKEW, True), (-SKEW - 1, False)],
)
def test_a_journey_lasts_a_quarter_of_an_hour(seconds: float, counts: bool) -> None:
    """And may have begun on a host whose clock is ahead by a minute."""
    assert LONGEST == 900
    journey = begin()
    text = pack(journey, SESSIONS, AT)
    if counts:
        assert unpack(text, SESSIONS, AT + seconds) == journey
    else:
        with pytest.raises(LoginLapsed, match="took more than 15 minutes"):
            unpack(text, SESSIONS, AT + seconds)


CONTENT: dict[str, Any] = {"for": "journey", **begin()._asdict()}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {**CONTENT, "for": "code"},
        {key: value for key, value in CONTENT.items() if key != "for"},
        {key: value for key, value in CONTENT.items() if key != "browser"},
        {**CONTENT, "more": 1},
    ],
)
def test_what_was_sealed_for_something_else_is_no_journey(content: dict[str, Any]) -> None:
    """Nor what an earlier version has sealed, with other fields."""
    assert unpack(SESSIONS.hide(CONTENT, AT), SESSIONS, AT).provider == "google"
    with pytest.raises(LoginLapsed):
        unpack(SESSIONS.hide(content, AT), SESSIONS, AT)


def test_what_was_not_sealed_here_is_no_journey() -> None:
    """Tampered with, from another database, or a session."""
    text = pack(begin(), SESSIONS, AT)
    token = SESSIONS.seal(Session("id", "tag", AT, AT + 1, ME), [], AT)
    foreign = pack(begin(), Sessions(make_book(make_key("key-9"))), AT)
    forged = pack(begin(), Sessions(make_book(KEY._replace(seal=bytes(32)))), AT)
    for each in ("", "state", token, foreign, forged, text[:-1], text[1:], text.upper(), text.replace(".", "")):
        with pytest.raises(LoginLapsed):
            unpack(each, SESSIONS, AT)


def test_the_longest_journey_fits_into_an_address() -> None:
    """A provider sends it back in a query; servers take lines of 8 kB."""
    text = pack(begin(back="/" + "x" * 1499), SESSIONS, AT)
    print(f"the longest state: {len(text)} characters")
    assert len(text) < 4000
