"""policy.applications: which policy is asked first, and what silence means."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import Expired, Missing, Reason
from keyfob.policy import Allow, Application, Deny, Identity, Policy, PolicyDecision, Rule, Rules
from keyfob.request import Request
from situations import NOBODY, REQUEST, ask_with, device, person

BYPASS, NON_IDENTITY = PolicyDecision.BYPASS, PolicyDecision.NON_IDENTITY
DENY, ALLOW = PolicyDecision.DENY, PolicyDecision.ALLOW
PERSON, DEVICE = person(), device("Rhea Group")


def policy(name: str, decision: PolicyDecision, *, matches: bool = True) -> Policy:
    return Policy(name, decision, Rules((Rule("-", lambda request, identity: matches),)))


def test_silence_denies() -> None:
    """No policy, or none that matches, is a refusal."""
    assert isinstance(Application("a", []).decide(REQUEST, NOBODY), Deny)
    assert isinstance(Application("a", [policy("p", BYPASS, matches=False)]).decide(REQUEST, NOBODY), Deny)


@pytest.mark.parametrize("decision", [BYPASS, NON_IDENTITY, ALLOW])
def test_a_matching_policy_lets_in_and_is_named(decision: PolicyDecision) -> None:
    """The decision says who said so."""
    assert Application("a", [policy("p", decision)]).decide(REQUEST, PERSON) == Allow("a", "p", PERSON)


def test_a_deny_policy_denies_and_is_named() -> None:
    """With its own reason, so that a log tells it from silence."""
    decision = Application("a", [policy("p", DENY)]).decide(REQUEST, NOBODY)
    assert decision == Deny(Reason.BLOCKED_BY_POLICY, "a", "p", NOBODY)


def test_the_documented_example_runs_in_the_documented_order() -> None:
    """Allow A, Block B, Service Auth C, Bypass D, Allow E: C and D first, and then A, B and E."""
    written = [("A", ALLOW), ("B", DENY), ("C", NON_IDENTITY), ("D", BYPASS), ("E", ALLOW)]
    application = Application("a", [policy(*each) for each in written])
    assert "".join(each.name for each in application.policies) == "CDABE"
    assert "".join(each.name for each in application.written) == "ABCDE"


@pytest.mark.parametrize("order", list(itertools.permutations([BYPASS, NON_IDENTITY, DENY, ALLOW])))
def test_the_first_match_in_that_order_ends_it(order: tuple[PolicyDecision, ...]) -> None:
    """Every arrangement of four policies, with every choice of those that match; a deny takes back nothing before."""
    for matching in itertools.product([True, False], repeat=4):
        written = list(zip("wxyz", order, matching, strict=True))
        policies = [policy(name, decision, matches=matches) for name, decision, matches in written]
        found = [each for half in ({BYPASS, NON_IDENTITY}, {DENY, ALLOW}) for each in written if each[1] in half]
        first = next((each for each in found if each[2]), None)
        decision = Application("a", policies).decide(REQUEST, PERSON)
        assert decision.policy == (first[0] if first else "")
        assert isinstance(decision, Allow) is (first is not None and first[1] is not DENY)


def test_of_two_that_tie_the_upper_one_is_asked() -> None:
    """From top to bottom within each half: bypass has no precedence over service auth, nor the other way round."""
    for first, second in itertools.product([BYPASS, NON_IDENTITY], repeat=2):
        decision = Application("a", [policy("upper", first), policy("lower", second)]).decide(REQUEST, NOBODY)
        assert decision.policy == "upper"


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (NOBODY, Reason.CERTIFICATE_MISSING),
        (Identity(None, Missing("-"), ()), Reason.CERTIFICATE_MISSING),
        (Identity(None, Expired("-"), ()), Reason.CERTIFICATE_EXPIRED),
        (DEVICE, Reason.NO_MATCHING_POLICY),
    ],
)
def test_the_certificates_reason_is_the_denials(identity: Identity, reason: Reason) -> None:
    """When nothing matches, what was wrong with the certificate is the most useful thing to say."""
    decision = Application("a", [policy("p", NON_IDENTITY, matches=False)]).decide(REQUEST, identity)
    assert isinstance(decision, Deny)
    assert decision.reason is reason


@pytest.mark.parametrize("key", ["include", "require", "exclude"])
def test_one_rule_that_looks_at_the_client_is_known_of_the_whole(key: str) -> None:
    """Wherever it stands, so that the address is looked for only where somebody asks."""
    looking = Rule("-", lambda request, identity: True, looks_at_request=True, looks_at_client=True)
    rules = Rules(())._replace(**{key: (looking,)})
    assert not Application("a", [policy("p", DENY)]).looks_at_client
    assert Application("a", [policy("p", DENY), Policy("q", DENY, rules)]).looks_at_client


# --- What is left to ask of one identity ------------------------------------------------------------------------------

# What a rule answers to a GET and to a POST, and whether it looks at the request.
ANSWERS = st.sampled_from([True, False, None])
RULE = st.tuples(ANSWERS, ANSWERS) | ANSWERS
RULES = st.lists(RULE, max_size=2)
POLICIES = st.lists(st.tuples(st.sampled_from(PolicyDecision), RULES, RULES, RULES), max_size=5)


def make_rule(written: tuple[bool | None, bool | None] | bool | None) -> Rule:
    if not isinstance(written, tuple):
        return Rule(str(written), lambda request, identity: written)
    get, post = written

    def test(request: Request, _: Identity) -> bool | None:
        return get if request.method == "GET" else post

    return Rule(str(written), test, looks_at_request=True)


@given(POLICIES, st.sampled_from([NOBODY, DEVICE, PERSON]))
def test_what_is_left_comes_to_the_same_decision(
    written: list[tuple[PolicyDecision, *tuple[list[object], ...]]], identity: Identity
) -> None:
    """On every request, whichever it was that the rest was asked about."""
    policies = [
        Policy(str(number), decision, Rules(*(tuple(map(make_rule, each)) for each in rules)))  # type: ignore[arg-type]
        for number, (decision, *rules) in enumerate(written)
    ]
    application = Application("a", policies)
    requests = [ask_with(method=method) for method in ("GET", "POST")]
    for first in requests:
        left = application.narrow(first, identity)
        for request in requests:
            decision = left.decide(request, identity) if isinstance(left, Application) else left
            assert decision == application.decide(request, identity)


def test_what_hangs_on_no_request_is_decided_at_once() -> None:
    """Then there is nothing left but the decision: what a policy behind it looks at does not matter."""
    looking = Policy("q", DENY, Rules((Rule("-", lambda request, identity: True, looks_at_request=True),)))
    assert Application("a", [policy("p", NON_IDENTITY), looking]).narrow(REQUEST, NOBODY) == Allow("a", "p", NOBODY)
    assert isinstance(Application("a", [policy("p", BYPASS, matches=False)]).narrow(REQUEST, NOBODY), Deny)


def test_nothing_is_asked_twice_of_one_identity() -> None:
    """What is left of an application are the policies and rules that look at the request."""
    looking = Policy("q", NON_IDENTITY, Rules((Rule("-", lambda request, identity: True, looks_at_request=True),)))
    left = Application("a", [policy("p", BYPASS, matches=False), looking, policy("r", DENY)]).narrow(REQUEST, NOBODY)
    assert isinstance(left, Application)
    assert [each.name for each in left.policies] == ["q", "r"]
