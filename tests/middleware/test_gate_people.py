"""gate: people, devices and services before the same policies, and those who are recognised at a glance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

import keyfob.gate
from certificates import Pair, make_authority, make_leaf
from exchanges import make_scope
from keyfob.errors import Reason
from keyfob.login.book import EVERYBODY, Ending
from keyfob.login.cookies import name_session
from keyfob.login.desk import Desk
from keyfob.login.sessions import Session, Sessions
from keyfob.policy import Allow, Decision, Deny, Identity, Login, Names, Policy, Rules, User, compile_rule
from logins import (
    CERTIFICATE,
    EVERYONE,
    HOST,
    KEY,
    LAPTOP,
    ME,
    MINE,
    PHONE,
    PHONE_ONLY,
    PROVIDERS,
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
    tag,
    write_pair,
)

AT = ROOT.certificate.not_valid_before_utc.timestamp() + 3 * 86_400
BOSS = User("boss@example.com", "other", subject="8")
TAG = tag("Budget")
NAME = name_session(TAG)
STRANGER = make_leaf(make_authority("Another"), "Rhea Group")


@dataclass(frozen=True, eq=False)
class Who:
    """Somebody: the person in a session, a device, or a service."""

    user: User | None = None
    leaf: Pair | None = None
    service: str = ""


NOBODY, DEVICE, OTHER, PERSON, CHIEF = Who(), Who(leaf=PHONE), Who(leaf=LAPTOP), Who(ME), Who(BOSS)
EQUIPPED, SERVICE, FOREIGN = Who(ME, PHONE), Who(service="id-1"), Who(leaf=STRANGER)


def build_house(*policies: Policy, **more: Any) -> House:
    providers = [Stub(), Stub("other")]
    book = make_book(tokens=[make_token()])
    return build(make_application(*policies, **more), providers=providers, book=book)


def write_cookie(house: House, user: User, **changes: Any) -> bytes:
    session = Session(f"session of {user.email}", TAG, AT, AT + 3600, user)._replace(**changes)
    return f"{NAME}={house.desk.sessions.seal(session, [], AT)}".encode()


def ask(house: House, who: Who = NOBODY, *, at: float = AT + 1, headers: Any = (), **scope: Any) -> Decision:
    """What somebody's request comes to."""
    said = [(name.lower().encode(), value.encode()) for name, value in (write_pair(who.service) if who.service else [])]
    if who.user is not None:
        said.append((b"cookie", write_cookie(house, who.user)))
    chain = [who.leaf.pem] if who.leaf else []
    return house.gate.check(house.gate.source.receive(make_scope(chain, headers=[*said, *headers], **scope), at))


def describe(decision: Decision) -> str:
    """What it comes to in a word: the policy that lets somebody in, a login, or the reason against it."""
    if isinstance(decision, Allow):
        return decision.policy
    return "login" if isinstance(decision, Login) else str(decision.reason)


# --- Which policy, for whom -------------------------------------------------------------------------------------------

NOT_ME = make_policy("deny", MINE, name="not me")
GROUP = Names(
    groups={"us": Rules([compile_rule(MINE, Names()), compile_rule(PHONE_ONLY, Names())])}, providers=PROVIDERS
)
NEAR = {"ip": {"ip": "192.0.2.0/24"}}

NO, BLOCKED, MISSING, LOGIN = "no-matching-policy", "blocked-by-policy", "certificate-missing", "login"


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        # Bypass and service auth come first, wherever they stand; then the others as they are written.
        (
            [make_policy("allow", MINE), make_policy("bypass", EVERYONE)],
            {NOBODY: "bypass", PERSON: "bypass", EQUIPPED: "bypass", SERVICE: "bypass", FOREIGN: "bypass"},
        ),
        (
            [make_policy("allow", MINE), make_policy("non_identity", PHONE_ONLY)],
            {
                NOBODY: LOGIN,
                DEVICE: "non_identity",
                OTHER: LOGIN,
                FOREIGN: LOGIN,
                PERSON: "allow",
                EQUIPPED: "non_identity",
                CHIEF: NO,
                SERVICE: NO,
            },
        ),
        (
            [NOT_ME, make_policy("non_identity", CERTIFICATE)],
            {NOBODY: MISSING, PERSON: BLOCKED, EQUIPPED: "non_identity", CHIEF: NO, SERVICE: NO},
        ),
        # A deny about people.
        (
            [NOT_ME, make_policy("allow", EVERYONE)],
            {NOBODY: LOGIN, OTHER: LOGIN, PERSON: BLOCKED, EQUIPPED: BLOCKED, CHIEF: "allow", SERVICE: NO},
        ),
        (
            [make_policy("allow", EVERYONE), NOT_ME],
            {NOBODY: LOGIN, PERSON: "allow", CHIEF: "allow"},
        ),
        (
            [make_policy("deny", EVERYONE, exclude=[MINE]), make_policy("allow", EVERYONE)],
            {NOBODY: LOGIN, PERSON: "allow", CHIEF: BLOCKED, DEVICE: LOGIN},
        ),
        # A deny about anybody: then no login is offered.
        (
            [make_policy("deny", EVERYONE), make_policy("allow", MINE)],
            {NOBODY: BLOCKED, PERSON: BLOCKED, DEVICE: BLOCKED, SERVICE: BLOCKED},
        ),
        (
            [make_policy("deny", PHONE_ONLY), make_policy("allow", MINE)],
            {NOBODY: LOGIN, DEVICE: BLOCKED, OTHER: LOGIN, PERSON: "allow", EQUIPPED: BLOCKED},
        ),
        # Both, and each way of writing it.
        (
            [make_policy("allow", MINE, require=[CERTIFICATE])],
            {NOBODY: MISSING, FOREIGN: "certificate-untrusted", DEVICE: LOGIN, PERSON: NO, EQUIPPED: "allow"},
        ),
        (
            [make_policy("allow", CERTIFICATE, require=[MINE])],
            {NOBODY: MISSING, DEVICE: LOGIN, PERSON: NO, EQUIPPED: "allow", Who(BOSS, PHONE): NO},
        ),
        (
            [make_policy("allow", EVERYONE, exclude=[MINE, PHONE_ONLY])],
            {NOBODY: LOGIN, DEVICE: NO, OTHER: LOGIN, PERSON: NO, CHIEF: "allow", Who(BOSS, PHONE): NO},
        ),
        # An allow is for people, whatever its rules ask for.
        (
            [make_policy("allow", CERTIFICATE)],
            {NOBODY: MISSING, DEVICE: LOGIN, EQUIPPED: "allow", PERSON: NO, SERVICE: NO},
        ),
        # One of several providers.
        (
            [make_policy("allow", {"login_method": {"id": "stub"}})],
            {NOBODY: LOGIN, PERSON: "allow", CHIEF: NO},
        ),
        # A group of both.
        (
            [make_policy("allow", {"group": {"id": "us"}}, names=GROUP)],
            {NOBODY: LOGIN, DEVICE: LOGIN, PERSON: "allow", CHIEF: NO, Who(BOSS, PHONE): "allow"},
        ),
        (
            [make_policy("deny", {"group": {"id": "us"}}, names=GROUP), make_policy("allow", EVERYONE)],
            {NOBODY: LOGIN, DEVICE: BLOCKED, PERSON: BLOCKED, CHIEF: "allow", OTHER: LOGIN},
        ),
        # Services.
        (
            [make_policy("non_identity", {"service_token": {"token_id": "id-1"}}), make_policy("allow", MINE)],
            {NOBODY: LOGIN, SERVICE: "non_identity", PERSON: "allow", DEVICE: LOGIN},
        ),
        (
            [make_policy("deny", {"any_valid_service_token": {}}), make_policy("bypass", CERTIFICATE)],
            {SERVICE: BLOCKED, Who(leaf=PHONE, service="id-1"): "bypass", NOBODY: MISSING},
        ),
        # A service auth policy asks nobody to log in, and lets in whoever has.
        (
            [make_policy("non_identity", MINE)],
            {NOBODY: MISSING, PERSON: "non_identity", CHIEF: NO},
        ),
    ],
)
def test_policies_are_asked_in_their_order_about_everybody(
    policies: Sequence[Policy], expected: Mapping[Who, str]
) -> None:
    """People, devices, both, services and nobody, each twice: what is remembered of them comes to the same."""
    house = build_house(*policies)
    for _ in range(2):
        assert {who: describe(ask(house, who)) for who in expected} == expected


@pytest.mark.parametrize(("address", "expected"), [("192.0.2.7", LOGIN), ("198.51.100.7", MISSING)])
def test_where_somebody_comes_from_is_looked_at_before_a_login(address: str, expected: str) -> None:
    """And after it, with every request."""
    house = build_house(make_policy("allow", MINE, require=[NEAR]))
    there = ip_address(address)
    assert describe(ask(house, address=there)) == expected
    assert describe(ask(house, PERSON, address=there)) == ("allow" if expected == LOGIN else NO)
    assert describe(ask(house, PERSON, address=ip_address("198.51.100.7"))) == NO


def test_who_it_was_is_told_also_where_nobody_gets_in() -> None:
    """The log says who was refused, and on which device; also where the device alone has settled it."""
    for policies in ([make_policy("allow", MINE)], [make_policy("deny", PHONE_ONLY)], [make_policy("bypass", NEAR)]):
        house = build_house(*policies)
        decision = ask(house, Who(BOSS, PHONE))
        assert isinstance(decision, Deny)
        assert decision.identity.user is not None
        assert decision.identity.user.email == BOSS.email
        assert decision.identity.certificate is not None
        service = ask(house, Who(leaf=PHONE, service="id-1"))
        assert service.identity.service_token is not None


def test_a_person_behind_a_bypass_is_somebody_all_the_same() -> None:
    """An open page may greet whoever has logged in; nobody is asked to."""
    house = build_house(make_policy("bypass", EVERYONE), make_policy("allow", MINE))
    decision = ask(house, PERSON)
    assert isinstance(decision, Allow)
    assert (decision.policy, decision.identity.user) == ("bypass", ME)
    assert ask(house).identity.user is None


def test_the_session_of_another_device_is_what_a_refusal_speaks_of() -> None:
    """Whether a login could follow or not; where somebody gets in by other means nothing is refused."""
    print_ = "ab" * 32
    for policy, kind in (
        (make_policy("allow", MINE), Login),
        (make_policy("allow", MINE, require=[CERTIFICATE]), Deny),
        (make_policy("non_identity", PHONE_ONLY), Deny),
    ):
        house = build_house(policy)
        decision = ask(house, headers=[(b"cookie", write_cookie(house, ME, bound_to=print_))])
        assert isinstance(decision, kind)
        assert decision.reason is Reason.SESSION_OF_ANOTHER_DEVICE
        assert ME.email in decision.detail
    house = build_house(make_policy("non_identity", PHONE_ONLY))
    assert (
        describe(ask(house, DEVICE, headers=[(b"cookie", write_cookie(house, ME, bound_to=print_))])) == "non_identity"
    )


@pytest.mark.parametrize("path", ["/.keyfob/login", "/.keyfob/keys", "/.keyfob/logout", "/.keyfob/callback/stub"])
def test_the_logins_own_addresses_are_the_logins_whatever_policies_say(path: str) -> None:
    """With a certificate, a session or a token, and where everybody may come in."""
    for policies in ([make_policy("bypass", EVERYONE)], [make_policy("deny", EVERYONE)]):
        house = build_house(*policies)
        for who in (NOBODY, DEVICE, PERSON, EQUIPPED, SERVICE):
            for _ in range(2):
                decision = ask(house, who, path=path, raw_path=path.encode())
                assert isinstance(decision, Login)
                assert decision.station == path.removeprefix("/.keyfob/")


# --- Recognised at a glance -------------------------------------------------------------------------------------------


@pytest.fixture
def looks() -> Any:
    """How often somebody was looked at in full during a test."""
    seen: list[object] = []
    meet = Desk.meet

    def spy(self: Desk, *arguments: Any) -> Any:
        seen.append(arguments)
        return meet(self, *arguments)

    with patch.object(Desk, "meet", spy):
        yield seen


REGULAR = [make_policy("non_identity", PHONE_ONLY, name="phone"), make_policy("allow", MINE, name="me")]


def cookie(house: House, more: bytes = b"", **changes: Any) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), (b"cookie", write_cookie(house, ME, **changes) + more), (b"x", b"y")]


@pytest.mark.parametrize("leaf", [None, PHONE, LAPTOP])
@pytest.mark.parametrize("more", [b"", b"; a=1"])
def test_whoever_was_let_in_is_recognised(looks: list[object], leaf: Pair | None, more: bytes) -> None:
    """To the same verdict, with the same headers left for the app; whatever is asked for."""
    house = build_house(*REGULAR)
    headers = cookie(house, more)
    first = ask(house, Who(leaf=leaf), headers=headers)
    assert isinstance(first, Allow)
    assert first.opens_session
    assert len(looks) == 1
    for method, path in (("GET", "/"), ("POST", "/else")):
        again = ask(house, Who(leaf=leaf), headers=headers, method=method, path=path)
        assert again == first._replace(opens_session=False)
    assert len(looks) == 1
    assert first.visible == [
        (b"host", HOST.encode()),
        (b"accept", b"*/*"),
        *([(b"cookie", b"a=1")] if more else []),
        (b"x", b"y"),
    ]


Change = Callable[[House], object]


def _end(house: House) -> None:
    house.book.enter(endings=[Ending(EVERYBODY, "", AT, AT + 9999)])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_end, LOGIN),
        (lambda house: house.book.enter(keys=[KEY._replace(retires_at=AT)]), LOGIN),
        (lambda house: house.book.enter(keys=[make_key(KEY.kid)]), LOGIN),
        (lambda house: setattr(house.book, "clock", lambda: 1e6), "login-unavailable"),
        (lambda house: house.gate.forget(), "me"),
    ],
)
def test_what_has_changed_is_noticed_at_once(looks: list[object], change: Change, expected: str) -> None:
    """With the very next request."""
    house = build_house(*REGULAR)
    headers = cookie(house)
    for _ in range(2):
        assert describe(ask(house, headers=headers)) == "me"
    change(house)
    assert describe(ask(house, headers=headers)) == expected
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("at", "expected"), [(AT - 61, LOGIN), (AT, "me"), (AT + 3599, "me"), (AT + 3600, LOGIN), (AT + 1e6, LOGIN)]
)
def test_nobody_is_recognised_beyond_the_session(at: float, expected: str) -> None:
    """Before it begins, or once it is over."""
    house = build_house(*REGULAR)
    headers = cookie(house)
    with patch.object(house.sites[HOST], "session", 1e7):
        found = [describe(ask(house, headers=headers, at=moment)) for moment in (AT + 1, AT + 2, at, at)]
    assert found == ["me", "me", expected, expected]


def test_an_admission_is_told_again_after_a_while() -> None:
    """Being recognised does not keep anybody out of the log."""
    house = build_house(*REGULAR)
    headers = cookie(house)
    opened = [ask(house, headers=headers, at=AT + seconds) for seconds in (0, 1, 899, 900, 901, 1800)]
    assert [isinstance(each, Allow) and each.opens_session for each in opened] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


PRINT = PHONE.certificate.fingerprint(SHA256()).hex()


def test_a_bound_session_is_recognised_with_its_certificate_alone(looks: list[object]) -> None:
    """With another one, a refused one or none, it is looked at again, and refused."""
    house = build_house(make_policy("allow", MINE, name="me"))
    headers = cookie(house, bound_to=PRINT)
    for _ in range(2):
        assert describe(ask(house, DEVICE, headers=headers)) == "me"
    assert len(looks) == 1
    for who in (OTHER, FOREIGN, NOBODY, OTHER):
        decision = ask(house, who, headers=headers)
        assert decision.reason is Reason.SESSION_OF_ANOTHER_DEVICE  # type: ignore[union-attr]
    assert describe(ask(house, DEVICE, headers=headers)) == "me"


def test_who_shows_a_refused_certificate_is_not_taken_for_who_shows_none(looks: list[object]) -> None:
    """Nor the other way round: an app may ask what was wrong with it."""
    house = build_house(*REGULAR)
    headers = cookie(house)
    for who, reason in ((FOREIGN, Reason.CERTIFICATE_UNTRUSTED), (NOBODY, Reason.CERTIFICATE_MISSING)) * 2:
        decision = ask(house, who, headers=headers)
        assert isinstance(decision, Allow)
        assert decision.identity.error is not None
        assert decision.identity.error.reason is reason
        assert bool(decision.identity.presented) is (who is FOREIGN)
    assert len(looks) == 3


@pytest.mark.parametrize(
    "headers",
    [
        [(b"keyfob-client-id", b"id-1"), (b"keyfob-client-secret", b"s3cret")],
        [(b"keyfob-client-id", b"id-1")],
        [(b"cf-access-client-secret", b"x")],
        [(b"cookie", NAME.encode() + b"=another")],
        [(b"cookie", b"a=1")],
    ],
)
def test_whoever_brings_more_than_before_is_looked_at(looks: list[object], headers: list[tuple[bytes, bytes]]) -> None:
    """A service token, or a second Cookie field: what it means is not what was remembered."""
    house = build_house(*REGULAR)
    for _ in range(2):
        assert describe(ask(house, headers=cookie(house))) == "me"
    before = len(looks)
    for _ in range(2):
        decision = ask(house, headers=[*cookie(house), *headers])
        assert (describe(decision) == "me") is (headers == [(b"cookie", b"a=1")])
    assert len(looks) == before + 2


@pytest.mark.parametrize("name", [b"keyfob-client-id", b"cf-access-client-secret"])
def test_what_was_remembered_of_cookies_is_not_taken_from_another_header(name: bytes) -> None:
    """Half a token is refused, whatever is in it."""
    house = build_house(*REGULAR)
    text = write_cookie(house, ME)
    for _ in range(2):
        assert describe(ask(house, headers=[(b"cookie", text)])) == "me"
    refused = ask(house, headers=[(name, text)])
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "policies",
    [
        [make_policy("allow", MINE, require=[{"method": {"method": "GET"}}])],
        [make_policy("allow", MINE, require=[NEAR])],
        [make_policy("deny", {"header": {"name": "x-bad", "value": "1"}}), make_policy("allow", MINE)],
        [make_policy("allow", MINE, exclude=[{"time": {"from": "00:00", "until": "00:01", "zone": "UTC"}}])],
    ],
)
def test_where_rules_look_at_the_request_nobody_is_recognised(looks: list[object], policies: Sequence[Policy]) -> None:
    """Each of them may answer otherwise the next time."""
    house = build_house(*policies)
    for _ in range(3):
        decision = ask(house, headers=cookie(house), address=ip_address("192.0.2.7"))
        assert isinstance(decision, Allow)
    assert len(looks) == 3
    assert house.sites[HOST].regulars == {}


def test_where_a_path_decides_nobody_is_recognised(looks: list[object]) -> None:
    """Another application may have other rules, and people of its own."""
    one, two = make_application(*REGULAR), make_application(make_policy("deny", EVERYONE), name="Two")
    house = build((HOST, "/*", one), (HOST, "/two/*", two))
    headers = cookie(house)
    for _ in range(2):
        assert describe(ask(house, headers=headers)) == "me"
        assert describe(ask(house, headers=headers, path="/two/x")) == BLOCKED
    assert len(looks) == 4


def test_what_ends_during_the_look_is_not_remembered() -> None:
    """The session was good when it was looked at, and is not when it would be remembered."""
    house = build_house(*REGULAR)
    headers = cookie(house)
    look = Sessions.open

    def end_meanwhile(self: Sessions, *arguments: Any) -> Session:
        session = look(self, *arguments)
        _end(house)
        return session

    with patch.object(Sessions, "open", end_meanwhile):
        ask(house, headers=headers)
    assert describe(ask(house, headers=headers)) == LOGIN


def test_a_handler_that_is_imported_late_is_noticed(looks: list[object]) -> None:
    """What it asks about people has to be read from the session."""
    known: list[Any] = [()]
    facts = make_facts({"okta": {"name": "finance", "identity_provider_id": "stub"}})
    house = build(make_application(*REGULAR), find_facts=lambda: known[0])
    session = Session("session-1", TAG, AT, AT + 3600, ME)
    token = house.desk.sessions.seal(session, [fact for fact, _ in facts], AT)
    headers = [(b"cookie", f"{NAME}={token}".encode())]
    for _ in range(2):
        ask(house, headers=headers)
    known[0] = facts
    for _ in range(2):
        decision = ask(house, headers=headers)
        assert decision.identity.user is not None
        assert decision.identity.user.groups == {"finance"}
    assert len(looks) == 2


def test_who_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number, and in what each of them may bring; and no request is kept with them."""
    monkeypatch.setattr(keyfob.gate, "REMEMBERED_REGULARS", 5)
    house = build_house(*REGULAR)
    place = house.sites[HOST]
    assert place.regulars is not None
    for number in range(20):
        ask(house, headers=cookie(house, f"; a={number}".encode()))
        assert len(place.regulars) <= 5
    for regular in place.regulars.values():
        [identity] = [each for each in regular if isinstance(each, Identity)]
        assert identity.error is not None
        assert identity.error.__traceback__ is None
    before = dict(place.regulars)
    assert describe(ask(house, headers=cookie(house, b"; a=" + b"x" * keyfob.gate.LONGEST_COOKIES))) == "me"
    assert place.regulars == before


# --- And the same as if nobody were remembered ------------------------------------------------------------------------

STEPS = st.tuples(
    st.sampled_from(["none", "mine", "bound", "boss", "short", "broken", "token", "half"]),
    st.sampled_from([NOBODY, DEVICE, OTHER, FOREIGN]),
    st.sampled_from([0, 1, 5, 120, 899, 901, 3600, -100]),
    st.sampled_from(["/", "/x", "/.keyfob/identity"]),
    st.sampled_from(["", "", "", "", "end", "forget"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=25), st.booleans())
def test_being_recognised_changes_no_verdict(steps: list[tuple[str, Who, int, str, str]], with_phone: bool) -> None:
    """Whatever comes in whichever order, over hours: a gate that remembers nobody says the same."""
    policies = REGULAR if with_phone else [make_policy("deny", PHONE_ONLY, exclude=[MINE]), *REGULAR[1:]]
    quick, slow = build_house(*policies), build_house(*policies)
    slow.sites[HOST].regulars = None
    written = {
        "none": [],
        "mine": cookie(quick),
        "bound": cookie(quick, bound_to=PRINT),
        "boss": [(b"cookie", b"a=1; " + write_cookie(quick, BOSS))],
        "short": cookie(quick, expires_at=AT + 60),
        "broken": [(b"cookie", NAME.encode() + b"=a.b.c")],
        "token": [*cookie(quick), (b"keyfob-client-id", b"id-1"), (b"keyfob-client-secret", b"s3cret")],
        "half": [(b"keyfob-client-id", b"id-1")],
    }
    at = AT
    for what, who, seconds, path, change in steps:
        at += seconds
        for house in (quick, slow):
            if change == "end":
                house.book.enter(endings=[Ending(EVERYBODY, "", at - 60, at + 9999)])
            elif change == "forget":
                house.gate.forget()
        found = [ask(house, who, headers=written[what], at=at, path=path) for house in (quick, slow)]
        one, other = map(_tell, found)
        assert one == other


def _tell(decision: Decision) -> tuple[object, ...]:
    certificate, error, presented, user, token = decision.identity
    said = (certificate and certificate.fingerprint_sha256, error and error.reason, presented, user, token)
    if isinstance(decision, Allow):
        return (*said, decision.policy, decision.opens_session, decision.visible)
    return (*said, str(decision.reason))
