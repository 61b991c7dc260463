"""policy.applications: whether a login could help, what a session lasts, and that both agree with what is decided."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from keyfob.login.sessions import Session, Sessions, find_held
from keyfob.policy import (
    PROSPECT,
    Allow,
    Application,
    Identity,
    Names,
    Policy,
    PolicyDecision,
    Rules,
    ServiceToken,
    User,
    compile_rule,
)
from keyfob.policy.people import UNASKED
from keyfob.request import Request
from logins import EVERYONE, MINE, make_book, make_policy
from situations import NOBODY, ask_with, device

DEVICE, OTHER = device("a"), device("b")
PROVIDERS = {"one": "one", "two": "two"}
KNOWN = Names(providers=PROVIDERS)
ONE = {"identity_provider_id": "one"}

# Rules about people and about everything else; `ip` hangs on an address that nobody can tell here.
ABOUT_PEOPLE: list[Mapping[str, Any]] = [
    {"email": {"email": "me@example.com"}},
    {"email_domain": {"domain": "example.com"}},
    {"login_method": {"id": "one"}},
    {"auth_method": {"auth_method": "mfa"}},
    {"okta": {"name": "finance", **ONE}},
    {"github-organization": {"name": "acme", **ONE}},
    {"github-organization": {"name": "acme", "team": "ops", **ONE}},
    {"oidc": {"claim_name": "role", "claim_value": "clerk", **ONE}},
    {"external_evaluation": {"evaluate_url": "https://example.com/e", "keys_url": "https://example.com/k"}},
]
CLEAR: list[Mapping[str, Any]] = [
    {"everyone": {}},
    {"certificate": {}},
    {"common_name": {"common_name": "a"}},
    {"method": {"method": "GET"}},
    {"any_valid_service_token": {}},
]
HIDDEN: Mapping[str, Any] = {"ip": {"ip": "192.0.2.0/24"}}

# People who differ in whatever those rules ask.
PEOPLE = [
    User(
        email,
        provider,
        frozenset({"mfa"}) if has_mfa else frozenset(),
        frozenset({"finance", "others"}) if is_member else frozenset(),
        {"Acme": frozenset({"ops"} if is_member else {"else"})} if has_mfa else {},
        {"role": frozenset({"clerk" if is_member else "guest"})},
        frozenset({("https://example.com/e", "https://example.com/k")} if has_mfa else ()),
        subject="7",
    )
    for email, provider, has_mfa, is_member in itertools.product(
        ("me@example.com", "x@example.com", "x@example.net", ""), ("one", "two"), (True, False), (True, False)
    )
]


class Written(NamedTuple):
    """A policy as it would be written, without its name."""

    decision: PolicyDecision
    include: Sequence[Mapping[str, Any]]
    require: Sequence[Mapping[str, Any]]
    exclude: Sequence[Mapping[str, Any]]


def compile_all(written: Sequence[Written]) -> Application:
    policies = []
    for number, (decision, *lists) in enumerate(written):
        rules = (tuple(compile_rule(rule, KNOWN) for rule in each) for each in lists)
        policies.append(Policy(str(number), decision, Rules(*rules)))
    return Application("a", policies, tag="a")


def write(rules: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[list[Written]]:
    one = st.sampled_from(rules)
    few = st.lists(one, max_size=2)
    policy = st.builds(Written, st.sampled_from(PolicyDecision), st.lists(one, min_size=1, max_size=3), few, few)
    return st.lists(policy, min_size=1, max_size=4)


REQUESTS = st.sampled_from([ask_with(method="GET"), ask_with(method="POST")])
IDENTITIES = st.sampled_from([NOBODY, DEVICE, OTHER])


def lets_in(application: Application, request: Request, identity: Identity, user: User) -> bool:
    """Whether an allow policy lets this person in."""
    decision = application.decide(request, identity._replace(user=user))
    by = next((each.decision for each in application.policies if each.name == decision.policy), None)
    return isinstance(decision, Allow) and by is PolicyDecision.ALLOW


EXAMPLES = settings(max_examples=300, deadline=None)


def check_superset(case: tuple[list[Written], Request, Identity]) -> None:
    written, request, identity = case
    application = compile_all(written)
    found = [user for user in PEOPLE if lets_in(application, request, identity, user)]
    if found:
        assert application.awaits_login(request, identity)
        assert all(application.awaits_login(request, identity, user) for user in found)


def check_exact(case: tuple[list[Written], Request, Identity]) -> None:
    written, request, identity = case
    application = compile_all(written)
    if not isinstance(application.decide(request, identity), Allow):
        somebody = lets_in(application, request, identity, User("x@example.org", "one", subject="1"))
        assert application.awaits_login(request, identity) is somebody


def check_sessions(case: tuple[list[Written], Request, Identity], user: User) -> None:
    written, request, identity = case
    application = compile_all(written)
    facts = list(application.facts())
    sessions = Sessions(make_book(), {"a": [fact for fact, _ in facts]})
    whole = identity._replace(user=user)
    token = sessions.seal(Session("1", "a", 1e9, 2e9, user), find_held(facts, request, whole), 1e9)
    kept = sessions.open(token, "a", 1e9).user
    for asked in (request, ask_with(method="POST")):
        decision, later = application.decide(asked, whole), application.decide(asked, identity._replace(user=kept))
        assert (isinstance(later, Allow), later.policy) == (isinstance(decision, Allow), decision.policy)


SUPERSET = st.tuples(write([*ABOUT_PEOPLE, *CLEAR, HIDDEN]), REQUESTS, IDENTITIES)
EXACT = st.tuples(write(CLEAR), REQUESTS, IDENTITIES)


@EXAMPLES
@given(SUPERSET)
def test_whoever_could_get_in_is_asked_to_log_in(case: tuple[list[Written], Request, Identity]) -> None:
    """Of all people that the rules could tell apart, for any policies and on any device."""
    check_superset(case)


@EXAMPLES
@given(EXACT)
def test_where_rules_ask_nothing_about_people_a_login_is_offered_exactly_where_it_helps(
    case: tuple[list[Written], Request, Identity],
) -> None:
    """Then everybody who logs in is like everybody else."""
    check_exact(case)


@EXAMPLES
@given(SUPERSET, st.sampled_from(PEOPLE))
def test_a_session_comes_to_what_the_login_came_to(case: tuple[list[Written], Request, Identity], user: User) -> None:
    """Though it keeps of the person no more than the rules name, also in what they exclude or deny."""
    check_sessions(case, user)


def _match_by_policy_kind(self: Application, request: Request, identity: Identity, user: User = PROSPECT) -> bool:
    return any(each.asks_who for each in self.policies)


def _take_unknown_for_no(self: Application, request: Request, identity: Identity, user: User = PROSPECT) -> bool:
    prospect = identity._replace(user=user)
    return any(each.asks_who and each.rules.hold(request, prospect) is True for each in self.policies)


def _stop_at_any_deny(self: Application, request: Request, identity: Identity, user: User = PROSPECT) -> bool:
    prospect = identity._replace(user=user)
    for each in self.policies:
        held = each.rules.hold(request, prospect)
        if each.decision is PolicyDecision.DENY and held is not False:
            return False
        if each.asks_who and held is not False:
            return True
    return False


@pytest.mark.parametrize(
    ("mutant", "check", "cases"),
    [
        (_match_by_policy_kind, check_exact, EXACT),
        (_take_unknown_for_no, check_superset, SUPERSET),
        (_stop_at_any_deny, check_superset, SUPERSET),
    ],
)
def test_a_wrong_answer_is_noticed(mutant: Any, check: Callable[[Any], None], cases: st.SearchStrategy[Any]) -> None:
    """Each of these mistakes shows within the same number of examples."""
    seek = settings(EXAMPLES, database=None, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
    with patch.object(Application, "awaits_login", mutant), pytest.raises(AssertionError):
        seek(given(cases)(check))()


# --- Named cases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "nobody", "on_a", "on_b"),
    [
        ([make_policy("allow", MINE)], True, True, True),
        ([make_policy("allow", MINE, require=[{"certificate": {}}])], False, True, True),
        ([make_policy("allow", MINE, require=[{"common_name": {"common_name": "a"}}])], False, True, False),
        ([make_policy("allow", MINE, exclude=[{"certificate": {}}])], True, False, False),
        ([make_policy("allow", MINE, exclude=[{"everyone": {}}])], False, False, False),
        ([make_policy("deny", EVERYONE), make_policy("allow", MINE)], False, False, False),
        ([make_policy("allow", MINE), make_policy("deny", EVERYONE)], True, True, True),
        ([make_policy("deny", MINE), make_policy("allow", EVERYONE)], True, True, True),
        ([make_policy("deny", {"certificate": {}}), make_policy("allow", MINE)], True, False, False),
        ([make_policy("non_identity", MINE)], False, False, False),
        ([make_policy("bypass", EVERYONE)], False, False, False),
        ([make_policy("non_identity", MINE), make_policy("allow", MINE)], True, True, True),
        # Documented: nobody could, and nobody sees that before.
        ([make_policy("allow", MINE, exclude=[MINE])], True, True, True),
        ([make_policy("allow", MINE, require=[HIDDEN])], True, True, True),
    ],
)
def test_a_login_is_offered_where_it_could_help(
    policies: Sequence[Policy], nobody: bool, on_a: bool, on_b: bool
) -> None:
    """Without a certificate, and on two devices."""
    application = Application("a", policies)
    found = [application.awaits_login(ask_with(), each) for each in (NOBODY, DEVICE, OTHER)]
    assert found == [nobody, on_a, on_b]


def test_a_certain_person_may_be_asked_about_before_the_login_is_done() -> None:
    """Whose address is known, and about whom no evaluation has been asked yet."""
    urls = {"evaluate_url": "https://example.com/e", "keys_url": "https://example.com/k"}
    application = Application("a", [make_policy("allow", MINE, require=[{"external_evaluation": urls}])])
    me = User("me@example.com", "one", evaluated=UNASKED, subject="7")
    others = [me._replace(email="x@example.com"), me._replace(evaluated=frozenset())]
    assert application.awaits_login(ask_with(), NOBODY, me)
    assert not any(application.awaits_login(ask_with(), NOBODY, user) for user in others)


def test_a_service_is_nobody_who_could_log_in() -> None:
    """It is asked about as it is, and a policy for people is not for it."""
    service = NOBODY._replace(service_token=ServiceToken("id-1"))
    denied = make_policy("deny", {"any_valid_service_token": {}})
    assert not Application("a", [denied, make_policy("allow", MINE)]).awaits_login(ask_with(), service)


@pytest.mark.parametrize(
    ("policy", "application", "expected"),
    [(60.0, 600.0, 60.0), (None, 600.0, 600.0), (None, None, None), (0.5, None, 0.5)],
)
def test_a_session_lasts_as_the_nearest_setting_says(
    policy: float | None, application: float | None, expected: float | None
) -> None:
    """That of the policy before that of the application; None where neither says."""
    first = make_policy("allow", EVERYONE, name="a", session=9.0)
    policies = [first, make_policy("allow", MINE, name="b", session=policy)]
    whole = Application("a", policies, session=application)
    left = whole.narrow(ask_with(), DEVICE)
    assert isinstance(left, Application)
    for each in (whole, left):
        assert each.find_session("b") == expected
        assert each.find_session("a") == 9.0
        assert each.find_session("") == application


def test_what_is_left_of_an_application_is_still_that_application() -> None:
    """Its tag, its providers and its preflights stay, or its sessions would be another one's."""
    whole = Application("a", [make_policy("allow", MINE)], tag="t", session=5.0, providers=["one"])
    left = whole.narrow(ask_with(), DEVICE)
    assert isinstance(left, Application)
    assert (left.name, left.tag, left.session, left.providers) == ("a", "t", 5.0, ("one",))


def test_who_has_logged_in_is_never_remembered_with_the_device() -> None:
    """What is left to ask lets nobody in who is not there, and keeps nobody out who is."""
    for policy in (
        make_policy("allow", EVERYONE),
        make_policy("allow", {"certificate": {}}),
        make_policy("deny", MINE),
    ):
        whole = Application("a", [policy])
        for user in (None, *PEOPLE):
            asked = DEVICE._replace(user=user)
            left = whole.narrow(ask_with(), DEVICE)
            decision = left.decide(ask_with(), asked) if isinstance(left, Application) else left
            assert type(decision) is type(whole.decide(ask_with(), asked))
