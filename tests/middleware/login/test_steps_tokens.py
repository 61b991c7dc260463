"""Service tokens from a request to the app, on both skins: strict answers, no cookie, and nothing left to see."""

from collections.abc import Sequence

import pytest

from keyfob.login.cookies import name_session
from logins import (
    EVERYONE,
    MINE,
    NAVIGATION,
    PHONE,
    Browser,
    House,
    Make,
    Told,
    build,
    make_application,
    make_book,
    make_policy,
    make_token,
    tag,
    write_pair,
)

AN_IMPORT = make_policy("non_identity", {"service_token": {"token_id": "Import id-1"}}, name="import")
PEOPLE = make_policy("allow", MINE, name="people")
TOKENS = [make_token(), make_token("id-2"), make_token("id-3", revoked=True), make_token("id-4", expires_at=1.0)]


def house(*policies: object) -> House:
    """A house with four tokens, of which two count and one may come in."""
    return build(make_application(*(policies or (AN_IMPORT, PEOPLE))), book=make_book(tokens=TOKENS))  # type: ignore[arg-type]


Pair = Sequence[tuple[str, str]]


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        (write_pair(), 200, None),
        (write_pair(prefix="CF-Access"), 200, None),
        (write_pair(prefix="cf-access"), 200, None),
        # Somebody, and not let in.
        (write_pair("id-2"), 403, "no-matching-policy"),
        # Nobody.
        (write_pair("id-3"), 401, "token-invalid"),
        (write_pair("id-4"), 401, "token-invalid"),
        (write_pair("id-9"), 401, "token-invalid"),
        (write_pair("id-1", "wrong"), 401, "token-invalid"),
        (write_pair()[:1], 401, "token-malformed"),
        (write_pair()[1:], 401, "token-malformed"),
        (write_pair("id-1", ""), 401, "token-malformed"),
        ([*write_pair(), *write_pair()], 401, "token-malformed"),
        ([*write_pair(), *write_pair("id-2")], 401, "token-malformed"),
        ([*write_pair(), *write_pair(prefix="CF-Access")], 401, "token-malformed"),
        (write_pair("id-1,id-1", "s3cret,s3cret"), 401, "token-malformed"),
        ([("Keyfob-Client-Id", "id-1"), ("CF-Access-Client-Secret", "s3cret")], 401, "token-malformed"),
    ],
)
def test_a_token_is_answered_strictly(skin: Make, told: Told, headers: Pair, status: int, reason: str | None) -> None:
    """401 to whom nobody knows, 403 to whom nobody lets in; never a redirect, and never a cookie."""
    browser = Browser(skin(house()))
    for looks in ([], NAVIGATION):
        reply = browser.fetch("/books", [*headers, *looks])
        assert (reply.status, reply.location, reply.cookies) == (status, "", [])
        assert bool(reply.seen) is (reason is None)
        assert b"/.keyfob/login" not in reply.body
    records = told()
    assert [each["reason"] for each in records] == ([None] if reason is None else [reason] * 2)
    known = {None: "Import id-1", "no-matching-policy": "Import id-2"}.get(reason)
    assert {each["service_token"] for each in records} == {known}
    assert not any("s3cret" in str(each) for each in records)


def test_an_app_sees_which_service_it_is_and_not_how_it_proved_it(skin: Make) -> None:
    """Neither the headers, nor the cookies of ours that came along."""
    browser = Browser(skin(house()), jar={"__Host-keyfob-x": "hidden", "a": "b"})
    for prefix in ("Keyfob", "CF-Access"):
        [seen] = browser.fetch("/", write_pair(prefix=prefix)).seen
        token = seen.identity.service_token
        assert token is not None
        assert (token.token_id, token.name, token.display_name) == ("id-1", "Import id-1", "Import id-1")
        assert "s3cret" not in seen.everything
        assert "hidden" not in seen.everything
        assert seen.cookies == [b"a=b"]
        assert not [name for name, _ in seen.headers if name.startswith((b"keyfob-", b"cf-access-"))]


@pytest.mark.parametrize("bad", [write_pair("id-9"), write_pair()[:1]])
def test_a_token_that_does_not_count_opens_no_door_that_is_open(skin: Make, bad: Pair) -> None:
    """Whoever shows one wants to be somebody; a script would otherwise not notice that its token has ended."""
    browser = Browser(skin(house(make_policy("bypass", EVERYONE))), PHONE)
    assert browser.fetch("/").seen
    assert browser.fetch("/", bad).status == 401


def test_a_token_goes_before_a_session(skin: Make) -> None:
    """Also one that is let in nowhere: what else a script brings along does not count."""
    browser = Browser(skin(house()))
    browser.log_in()
    [seen] = browser.fetch("/", write_pair()).seen
    assert (seen.identity.user, seen.identity.service_token is not None) == (None, True)
    assert browser.fetch("/", write_pair("id-2")).status == 403
    assert browser.fetch("/", write_pair("id-9")).status == 401
    assert browser.get("/").seen


def test_a_token_is_no_login(skin: Make) -> None:
    """A policy for people lets no service in, whatever its rules include."""
    browser = Browser(skin(house(make_policy("allow", EVERYONE, {"any_valid_service_token": {}}))))
    assert browser.fetch("/", write_pair()).status == 403


def test_a_token_counts_beside_a_certificate(skin: Make) -> None:
    """A rule may ask for both, and the app meets both."""
    both = make_policy("non_identity", {"any_valid_service_token": {}}, require=[{"certificate": {}}])
    door = skin(house(both))
    assert Browser(door).fetch("/", write_pair()).reason == "no-matching-policy"
    assert Browser(door, PHONE).fetch("/").reason == "no-matching-policy"
    [seen] = Browser(door, PHONE).fetch("/", write_pair()).seen
    assert seen.identity.certificate is not None
    assert seen.identity.service_token is not None


def test_a_token_tells_who_it_is(skin: Make) -> None:
    """As a person is told."""
    browser = Browser(skin(house()))
    said = browser.fetch("/.keyfob/identity", write_pair()).json
    assert (said["service_token"], said["user"], said["expires_at"]) == ("Import id-1", None, None)
    assert browser.fetch("/.keyfob/identity", write_pair("id-9")).reason == "token-invalid"
    assert browser.fetch("/.keyfob/identity", write_pair()[:1]).reason == "token-malformed"


def test_a_revoked_token_ends_with_the_next_request(skin: Make) -> None:
    """And one that was made a moment ago counts at once."""
    place = house(make_policy("non_identity", {"any_valid_service_token": {}}))
    browser = Browser(skin(place))
    assert browser.fetch("/", write_pair()).seen
    place.book.enter(tokens=[make_token(revoked=True), make_token("id-7")])
    assert browser.fetch("/", write_pair()).status == 401
    assert browser.fetch("/", write_pair("id-7")).seen


def test_where_nobody_follows_the_book_a_token_is_asked_to_come_back(skin: Make) -> None:
    """That is neither 401 nor 403: the script is not at fault."""
    place = house()
    place.book.clock = lambda: 1e6
    reply = Browser(skin(place)).fetch("/", write_pair())
    assert (reply.status, reply.reason, reply.seen) == (503, "login-unavailable", [])


def test_what_an_app_is_handed_has_no_secret_of_ours_anywhere(skin: Make) -> None:
    """Not the session, not the mark of a login, not the state; neither under our names nor under others."""
    browser = Browser(skin(house()))
    browser.log_in("/x?y=z")
    secrets = [value for value in browser.jar.values() if value]
    assert len(secrets) == 2
    [seen] = browser.get("/").seen
    for secret in (*secrets, name_session(tag("Budget")), "__Host-keyfob", "__host-keyfob"):
        assert secret not in seen.everything
