"""Facebook: over a socket, against a server that speaks what Meta's documentation describes."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from keyfob.errors import KeyfobError, LoginError, LoginFailed, LoginUnavailable
from keyfob.login.providers.facebook import Facebook
from keyfob.policy import Names
from logins import ASGI, Browser, build, make_application, make_policy
from providers.facebook import CLIENT_ID, CLIENT_SECRET, FacebookServer, facebook, refuse
from providers.serving import Reply, say
from providers.trips import follow, leave, log_in, make_journey, run

NAMES = Names(providers={"fb": "fb"})
ME = {"id": "10158342", "name": "Me Myself", "email": "me@example.com"}


@pytest.fixture
def server() -> Iterator[FacebookServer]:
    with facebook() as running:
        running.people["me"], running.here = dict(ME), "me"
        yield running


def make_provider(server: FacebookServer | None = None, **more: Any) -> Facebook:
    places = {} if server is None else {"dialog": server.url, "graph": server.url}
    said = {"id": "fb", "name": "Facebook", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return Facebook(**(said | places | more))


def begin(provider: Facebook, *, afresh: bool = False) -> tuple[str, dict[str, str]]:
    parts = urlsplit(leave(provider, make_journey(provider), afresh=afresh))
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query))


def test_a_login_begins_at_facebook_in_a_version_that_was_chosen() -> None:
    place, said = begin(make_provider())
    assert place == "https://www.facebook.com/v26.0/dialog/oauth"
    assert said == {
        "client_id": CLIENT_ID,
        "redirect_uri": "https://money.example.com/.keyfob/callback/fb",
        "response_type": "code",
        "scope": "public_profile",
        "state": "the-state",
    }


def test_an_address_is_asked_for_where_it_counts_and_nowhere_else() -> None:
    """What would be thrown away is not asked for; what was kept back once is asked for again."""
    assert begin(make_provider(trust_email=True))[1]["scope"] == "public_profile,email"
    assert begin(make_provider(trust_email=True))[1]["auth_type"] == "rerequest"
    assert begin(make_provider(trust_email=True), afresh=True)[1]["auth_type"] == "reauthenticate"
    assert begin(make_provider(), afresh=True)[1]["auth_type"] == "reauthenticate"


@pytest.mark.parametrize("place", ["dialog", "graph"])
def test_a_secret_goes_nowhere_in_the_clear(place: str) -> None:
    elsewhere: dict[str, Any] = {place: "http://facebook.example.com"}
    with pytest.raises(KeyfobError, match="no address for secrets"):
        make_provider(**elsewhere)


def test_the_secret_is_in_no_text_of_the_provider() -> None:
    assert CLIENT_SECRET not in repr(make_provider())


def test_somebody_logs_in_and_has_no_address_by_that(server: FacebookServer) -> None:
    """Facebook does not promise that it was confirmed: somebody else's would open that person's doors."""
    user = log_in(make_provider(server))
    assert (user.identity, user.name, user.email) == ("fb:10158342", "Me Myself", "")
    assert "email" not in server.asked[-1].query["fields"]


def test_an_address_counts_where_the_configuration_says_so(server: FacebookServer) -> None:
    assert log_in(make_provider(server, trust_email=True)).email == "me@example.com"
    del server.people["me"]["email"]
    assert log_in(make_provider(server, trust_email=True)).email == ""


def test_an_address_that_came_unasked_does_not_count(server: FacebookServer) -> None:
    server.replies["me"] = say(ME)
    assert log_in(make_provider(server)).email == ""


def test_no_secret_is_in_an_address(server: FacebookServer) -> None:
    """Addresses stand in logs of whoever is on the way. The proof is good for five minutes, and with the token only."""
    log_in(make_provider(server))
    token = server.asked[-1].headers["authorization"].removeprefix("Bearer ")
    for asked in server.asked:
        assert CLIENT_SECRET not in asked.query.values()
        assert token not in asked.query.values()


def test_a_proof_is_of_this_moment(server: FacebookServer) -> None:
    """A clock that is ten minutes off is told, and opens nothing."""
    provider = make_provider(server)
    journey = make_journey(provider)
    said = follow(leave(provider, journey), journey)
    with pytest.raises(LoginFailed, match="Invalid appsecret_proof"):
        run(provider.finish(journey, said, frozenset(), journey.begun_at - 600))


def test_a_code_is_worth_nothing_twice(server: FacebookServer) -> None:
    provider = make_provider(server)
    journey = make_journey(provider)
    said = follow(leave(provider, journey), journey)
    run(provider.finish(journey, said, frozenset(), journey.begun_at))
    with pytest.raises(LoginFailed, match="has been used"):
        run(provider.finish(journey, said, frozenset(), journey.begun_at))


def test_somebody_says_no(server: FacebookServer) -> None:
    server.denies = True
    with pytest.raises(LoginFailed, match="'access_denied': 'Permissions error'"):
        log_in(make_provider(server))


def test_a_wrong_secret_is_told_without_it(server: FacebookServer) -> None:
    """Facebook gives this error the code of an unknown one, which may pass."""
    with pytest.raises(LoginError, match="client secret") as caught:
        log_in(make_provider(server, client_secret=f"not {CLIENT_SECRET}"))
    assert CLIENT_SECRET not in str(caught.value)


def test_a_token_that_is_repeated_in_an_error_is_not_repeated_here(server: FacebookServer) -> None:
    server.replies["oauth/access_token"] = say({"access_token": "EAABsecret", "token_type": "bearer"})
    with pytest.raises(LoginFailed, match="Malformed access token …") as caught:
        log_in(make_provider(server))
    assert "EAABsecret" not in f"{caught.value!r}{caught.value.hint}"


def test_what_facebook_leaves_behind_its_redirect_does_not_reach_the_app(server: FacebookServer) -> None:
    """A fragment is carried along by every redirect that has none; this one has an empty one."""
    application = make_application(make_policy("allow", {"login_method": {"id": "fb"}}, names=NAMES))
    house = build(application, providers=[make_provider(server)])
    browser = Browser(ASGI(house.gate))
    away = browser.get("/expenses?month=3")
    back = httpx.get(away.location, trust_env=False).headers["location"]
    assert back.endswith("#_=_")
    parts = urlsplit(back)
    reply = browser.get(f"{parts.path}?{parts.query}")
    assert reply.location == "https://money.example.com/expenses?month=3#"
    again = browser.get(f"{parts.path}?{parts.query}")
    assert again.location == reply.location
    assert browser.follow(reply).status == 200


LIES: dict[str, tuple[Reply | None, type[LoginError]]] = {
    "no JSON": (Reply(200, b"access_token=EAAB&expires=5"), LoginUnavailable),
    "nested": (Reply(200, b'{"a":' * 100_000), LoginUnavailable),
    "a list": (say([]), LoginUnavailable),
    "huge": (Reply(200, b" " * 1_100_000), LoginUnavailable),
    "a server error": (say({}, 500), LoginUnavailable),
    "an error with status 200": (refuse(190, "Error validating access token", status=200), LoginFailed),
    "a refusal without words": (say({"error": "no"}, 400), LoginUnavailable),
    "a refusal with odd words": (say({"error": {"code": ["x"], "message": {"a": 1}}}, 400), LoginFailed),
    "expired": (refuse(190, "Session has expired", subcode=463), LoginFailed),
    "too often": (refuse(4, "Application request limit reached"), LoginUnavailable),
    "too often here": (refuse(17, "User request limit reached"), LoginUnavailable),
    "passing": (refuse(2, "An unexpected error has occurred. Please retry.", is_transient=True), LoginUnavailable),
    "passing, it says": (refuse(12345, "Later", is_transient=True), LoginUnavailable),
    "429": (say({}, 429), LoginUnavailable),
    "a redirect": (Reply(302, b"{}", {"location": "https://example.org/"}), LoginUnavailable),
    "hung up": (None, LoginUnavailable),
    "empty": (say({}), LoginUnavailable),
    "a good answer that is an error": (
        say({"id": "7", "access_token": "a", "token_type": "bearer"}, 500),
        LoginUnavailable,
    ),
}
NO_TOKENS = LIES | {
    "a number": (say({"access_token": 7, "token_type": "bearer"}), LoginUnavailable),
    "another kind": (say({"access_token": "a", "token_type": "mac"}), LoginUnavailable),
}
NOBODY = LIES | {
    "a number for an id": (say({"id": 10158342}), LoginUnavailable),
    "no number": (say({"id": "me"}), LoginUnavailable),
    "digits of elsewhere": (say({"id": "١٢٣"}), LoginUnavailable),
    "an empty id": (say({"id": ""}), LoginUnavailable),
}


@pytest.mark.parametrize("lie", NO_TOKENS)
def test_what_is_no_token_logs_nobody_in(server: FacebookServer, lie: str) -> None:
    server.replies["oauth/access_token"], expected = NO_TOKENS[lie]
    with pytest.raises(expected):
        log_in(make_provider(server))


@pytest.mark.parametrize("lie", NOBODY)
def test_what_names_nobody_logs_nobody_in(server: FacebookServer, lie: str) -> None:
    server.replies["me"], expected = NOBODY[lie]
    with pytest.raises(expected):
        log_in(make_provider(server))


@pytest.mark.parametrize("said", [{"name": ["Me"]}, {"name": None}, {}])
def test_whoever_has_no_name_is_somebody_all_the_same(server: FacebookServer, said: dict[str, Any]) -> None:
    server.replies["me"] = say({"id": "7"} | said)
    user = log_in(make_provider(server))
    assert (user.subject, user.name) == ("7", "")


@pytest.mark.parametrize("email", [["me@example.com"], {"a": 1}, None, 7])
def test_an_address_is_a_text(server: FacebookServer, email: object) -> None:
    server.replies["me"] = say({"id": "7", "email": email})
    assert log_in(make_provider(server, trust_email=True)).email == ""
