"""login.desk: what of a request says who is there, and which addresses are the login's own."""

import tracemalloc
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from exchanges import make_request, make_scope
from keyfob.errors import LoginFailed, LoginLapsed, LoginUnavailable, SessionOfAnotherDevice, TokenInvalid
from keyfob.login.book import EVERYBODY, SESSION, Ending
from keyfob.login.cookies import name_session
from keyfob.login.desk import NOBODY, REMEMBERED, Visitor
from keyfob.login.sessions import SKEW, Session, Sessions
from keyfob.policy import Application, Identity, ServiceToken
from keyfob.policy.paths import UNCLEAR_PATH
from logins import (
    KEY,
    LAPTOP,
    ME,
    PHONE,
    ROOT,
    House,
    Stub,
    build,
    make_application,
    make_book,
    make_facts,
    make_key,
    make_policy,
    make_token,
    write_pair,
)
from situations import NOBODY as STRANGER
from situations import show

AT = 1_800_000_000.0
BUDGET, BOOKS = make_application(name="Budget"), make_application(name="Books")
BOTH = [Stub("google"), Stub("other")]


# --- Addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "root", "station"),
    [
        ("/.keyfob/login", "", "login"),
        ("/.keyfob/login/google", "", "login/google"),
        ("/.keyfob/callback/google", "", "callback/google"),
        ("/.keyfob/code/other", "", "code/other"),
        ("/.keyfob/identity", "", "identity"),
        ("/.keyfob/keys", "", "keys"),
        ("/.keyfob/logout", "", "logout"),
        ("/app/.keyfob/login", "/app", "login"),
        ("/.keyfob/login", "/app", "login"),
        ("/.keyfob/callback/google", "/app/", "callback/google"),
        # What nobody has given an address to is the app's.
        ("/", "", ""),
        ("/.keyfob", "", ""),
        ("/.keyfob/", "", ""),
        ("/.keyfob/callback", "", ""),
        ("/.keyfob/code", "", ""),
        ("/.keyfob/login/", "", ""),
        ("/.keyfob/login/unknown", "", ""),
        ("/.keyfob/login/google/", "", ""),
        ("/.keyfob/login/google/x", "", ""),
        ("/.keyfob/keys/google", "", ""),
        ("/.keyfob/logout/google", "", ""),
        ("/.keyfob/Login", "", ""),
        ("/.KEYFOB/login", "", ""),
        ("/.keyfob/login.html", "", ""),
        ("/.keyfob//login", "", ""),
        ("//.keyfob/login", "", ""),
        ("/x/.keyfob/login", "", ""),
        ("login/.keyfob/google", "", ""),
        ("/app/.keyfob/login", "", ""),
        ("/app/.keyfob/login", "/app/app", ""),
        ("/apple/.keyfob/login", "/app", ""),
    ],
)
def test_the_logins_own_addresses_are_these(path: str, root: str, station: str) -> None:
    """Exactly as they are written, below the prefix of the app, and with the providers that there are."""
    found = build(providers=BOTH).desk.find_station(make_scope(path=path, root_path=root, raw_path=None))
    assert found == station


@pytest.mark.parametrize("raw", [b"/.keyfob%2flogin", b"/.keyfob/login%00", b"/%252e"])
def test_an_address_that_could_mean_two_things_is_none_of_ours(raw: bytes) -> None:
    """Nor is one whose prefix anybody may have moved."""
    desk = build().desk
    assert desk.find_station(make_scope(path="/.keyfob/login", raw_path=raw)) == ""
    assert desk.find_station(make_scope(path="/.keyfob/login", extensions={UNCLEAR_PATH: "a header"})) == ""


# --- Who is there -----------------------------------------------------------------------------------------------------


def seal(house: House, application: Application = BUDGET, **changes: Any) -> str:
    """The Cookie field of a session."""
    session = Session("session-1", application.tag, AT, AT + 3600, ME)._replace(**changes)
    return f"{name_session(application.tag)}={house.desk.sessions.seal(session, [], AT)}"


def meet(
    house: House,
    *cookies: str,
    application: Application = BUDGET,
    identity: Identity = STRANGER,
    at: float = AT + 1,
    headers: Any = (),
) -> Visitor:
    fields = [(b"cookie", each.encode("latin-1")) for each in cookies]
    said = [(name.lower().encode(), value.encode()) for name, value in headers]
    return house.desk.meet(application, make_request(make_scope(headers=[*fields, *said]), at), identity)


DEVICE, OTHER_DEVICE = show(PHONE, ROOT), show(LAPTOP, ROOT)
PRINT = DEVICE.certificate.fingerprint_sha256 if DEVICE.certificate else ""


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every token that is looked at in full during a test."""
    seen: list[str] = []
    look = Sessions.open

    def spy(self: Sessions, token: str, audience: str, at: float) -> Session:
        seen.append(token)
        return look(self, token, audience, at)

    with patch.object(Sessions, "open", spy):
        yield seen


def test_whoever_brings_a_session_is_the_person_in_it() -> None:
    """In whichever field it comes, among whatever else."""
    house = build(BUDGET)
    cookie = seal(house)
    for fields in ([cookie], ["a=b", cookie], [f"a=b; {cookie}; c=d"], [cookie, cookie], [f"{cookie};"]):
        visitor = meet(house, *fields)
        assert (visitor.user, visitor.trouble) == (ME, None)
        assert visitor.session is not None
        assert visitor.session.id == "session-1"


def test_whoever_brings_none_is_nobody() -> None:
    """Or another application's, or two that differ."""
    house = build(BUDGET, ("books.example.com", "/*", BOOKS))
    other = seal(house, BOOKS)
    for fields in ([], [""], ["a=b"], [other], [seal(house), seal(house)], ["__Host-keyfob-browser=x"]):
        assert meet(house, *fields) == NOBODY
    assert meet(house, other, application=BOOKS).user == ME


def test_a_session_of_another_application_under_this_ones_name_is_none() -> None:
    """Whoever is somebody there may be nobody here."""
    house = build(BUDGET, ("books.example.com", "/*", BOOKS))
    renamed = seal(house, BOOKS).replace(BOOKS.tag, BUDGET.tag, 1)
    visitor = meet(house, renamed)
    assert visitor.user is None
    assert isinstance(visitor.trouble, LoginLapsed)


@pytest.mark.parametrize(
    ("bound", "identity", "counts"),
    [
        (PRINT, DEVICE, True),
        (PRINT, OTHER_DEVICE, False),
        (PRINT, STRANGER, False),
        ("", DEVICE, True),
        ("", OTHER_DEVICE, True),
        ("", STRANGER, True),
    ],
)
def test_a_session_counts_with_the_certificate_with_which_it_began(
    bound: str, identity: Identity, counts: bool
) -> None:
    """RFC 8705 section 3; one that began without any may be used with one. Also when it was remembered before."""
    house = build(BUDGET)
    cookie = seal(house, bound_to=bound)
    assert meet(house, cookie, identity=DEVICE).user == ME
    for visitor in [meet(house, cookie, identity=identity) for _ in range(2)]:
        assert (visitor.user == ME) is counts
        assert isinstance(visitor.trouble, SessionOfAnotherDevice) is not counts
        if visitor.trouble is not None:
            assert ME.email in visitor.trouble.message
            assert PRINT in visitor.trouble.message


@pytest.mark.parametrize(
    ("at", "counts"), [(AT, True), (AT - SKEW, True), (AT - SKEW - 1, False), (AT + 3599, True), (AT + 3600, False)]
)
def test_the_time_is_looked_at_with_every_request(at: float, counts: bool) -> None:
    """What is remembered does not outlive the session, nor precede it."""
    house = build(BUDGET)
    cookie = seal(house)
    assert (meet(house, cookie, at=at).user == ME) is counts
    assert meet(house, cookie).user == ME
    assert (meet(house, cookie, at=at).user == ME) is counts


def test_a_session_seen_before_is_not_verified_again(opened: list[str]) -> None:
    """Whatever other cookies come with it."""
    house = build(BUDGET)
    cookie = seal(house)
    for number in range(5):
        assert meet(house, f"a={number}", cookie).user == ME
    assert len(opened) == 1


def test_a_session_is_verified_again_when_anything_has_changed(opened: list[str]) -> None:
    """What was ended counts no more, with the very next request; nor does what a key has signed that was withdrawn."""
    house = build(BUDGET)
    cookie, other = seal(house), seal(house, id="session-2")
    assert meet(house, cookie).user == meet(house, other).user == ME
    house.book.enter(endings=[Ending(SESSION, "session-1", AT, AT + 9999)])
    assert isinstance(meet(house, cookie).trouble, LoginLapsed)
    assert meet(house, other).user == ME
    house.book.enter(keys=[KEY._replace(retires_at=AT)])
    assert isinstance(meet(house, other).trouble, LoginLapsed)
    house.book.enter(keys=[make_key(KEY.kid)])
    assert isinstance(meet(house, other).trouble, LoginFailed)
    assert len(opened) == 6


def test_what_ends_while_a_session_is_looked_at_is_not_missed() -> None:
    """The state from before the look is what is remembered with it."""
    house = build(BUDGET)
    cookie = seal(house)
    look = Sessions.open

    def end_meanwhile(self: Sessions, token: str, audience: str, at: float) -> Session:
        session = look(self, token, audience, at)
        house.book.enter(endings=[Ending(EVERYBODY, "", AT, AT + 9999)])
        return session

    with patch.object(Sessions, "open", end_meanwhile):
        meet(house, cookie)
    assert isinstance(meet(house, cookie).trouble, LoginLapsed)


def test_where_nobody_can_tell_what_has_ended_no_session_counts() -> None:
    """Also not one that is remembered; nobody is told to log in again, which would be in vain."""
    house = build(BUDGET)
    cookie = seal(house)
    assert meet(house, cookie).user == ME
    house.book.clock = lambda: 1e6
    visitor = meet(house, cookie)
    assert (visitor.user, visitor.session) == (None, None)
    assert isinstance(visitor.trouble, LoginUnavailable)


def test_a_session_ends_with_its_provider() -> None:
    """One that was taken out of the configuration vouches for nobody, nor does one that an application excludes."""
    application = make_application(name="Budget", providers=["google"])
    user = ME._replace(provider="google")
    cookie = seal(build(BUDGET, providers=BOTH), user=user)
    assert meet(build(BUDGET, providers=BOTH), cookie).user == user
    assert meet(build(application, providers=BOTH), cookie, application=application).user == user
    assert meet(build(BUDGET, providers=[Stub("other")]), cookie) == NOBODY
    other = seal(build(BUDGET, providers=BOTH), user=ME._replace(provider="other"))
    assert meet(build(application, providers=BOTH), other, application=application) == NOBODY


def test_what_handlers_ask_about_people_is_known_once_they_are_imported(opened: list[str]) -> None:
    """Without another configuration, and for sessions that were remembered before."""
    facts = make_facts({"okta": {"name": "finance", "identity_provider_id": "stub"}})
    known: list[Any] = [()]
    house = build(BUDGET, find_facts=lambda: known[0])
    session = Session("session-1", BUDGET.tag, AT, AT + 3600, ME)
    cookie = f"{house.cookie}={house.desk.sessions.seal(session, [fact for fact, _ in facts], AT)}"
    assert meet(house, cookie).user == ME
    known[0] = facts
    for _ in range(2):
        user = meet(house, cookie).user
        assert user is not None
        assert user.groups == {"finance"}
    assert len(opened) == 2


# --- Service tokens ---------------------------------------------------------------------------------------------------


def test_whoever_shows_a_token_is_that_service_and_nobody_else() -> None:
    """Whatever session comes along, and whether the token counts or not."""
    house = build(BUDGET, book=make_book(tokens=[make_token()]))
    cookie = seal(house)
    good = meet(house, cookie, headers=write_pair())
    assert (good.user, good.session, good.trouble) == (None, None, None)
    assert good.service_token == ServiceToken("id-1", "Import id-1")
    bad = meet(house, cookie, headers=write_pair("id-2"))
    assert (bad.user, bad.service_token) == (None, None)
    assert isinstance(bad.trouble, TokenInvalid)


def test_an_admission_is_worth_a_record_once_in_a_while() -> None:
    """For each person and each application; and with every request if so wished."""
    house = build(BUDGET)
    visitor = meet(house, seal(house))
    other = meet(house, seal(house, id="session-2"))
    times = [(visitor, 0, True), (visitor, 1, False), (other, 1, True), (visitor, 899, False), (visitor, 900, True)]
    for who, seconds, opens in times:
        assert house.desk.opens_session(BUDGET, who, AT + seconds, 900) is opens
    assert house.desk.opens_session(BOOKS, visitor, AT + 901, 900)
    # A clock that was put back begins anew, or an hour would last for days.
    assert house.desk.opens_session(BUDGET, visitor, AT - 86_400, 900)
    assert all(house.desk.opens_session(BUDGET, visitor, AT, 0) for _ in range(3))


# --- As many as there may be ------------------------------------------------------------------------------------------


def test_a_hundred_thousand_sessions_cost_no_memory() -> None:
    """What is remembered is bounded; who was forgotten is looked at again. Signatures are not what is asked here."""
    house = build(make_application(make_policy("allow", {"everyone": {}}), name="Budget"))
    [application] = house.desk.applications.values()
    name = name_session(application.tag)

    def read(_: Sessions, token: str, audience: str, at: float) -> Session:
        return Session(token, audience, AT, AT + 3600, ME._replace(subject=token))

    def come(numbers: range) -> int:
        for number in numbers:
            visitor = meet(house, f"{name}={number:0900}", application=application)
            assert visitor.session is not None
            house.desk.opens_session(application, visitor, AT, 900)
        # What threads of other tests allocate meanwhile is not ours.
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/keyfob/*.py")])
        return sum(trace.size for trace in ours.traces)

    with patch.object(Sessions, "open", read):
        tracemalloc.start()
        try:
            full = come(range(REMEMBERED + 10))
            grown = come(range(REMEMBERED + 10, 100_000)) - full
        finally:
            tracemalloc.stop()
    print(f"with {REMEMBERED} sessions {full / 1e6:.1f} MB, with 100,000 of them {grown / 1e3:+.0f} kB")
    assert len(house.desk._known) == len(house.desk._admitted) == REMEMBERED
    assert grown < 500_000
    assert full < 40_000_000


def test_what_is_no_session_is_not_remembered() -> None:
    """So strangers cannot push out those who are."""
    house = build(BUDGET)
    for number in range(50):
        meet(house, f"{house.cookie}=a.b.{number}")
    assert house.desk._known == {}
