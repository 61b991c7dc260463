"""policy.applications: which policy is asked first, and what silence means."""

import itertools

import pytest

from exchanges import make_request, make_scope
from keyfob.errors import Expired, Missing, Reason
from keyfob.policy import Allow, Application, Deny, Identity, Policy, PolicyDecision

REQUEST = make_request(make_scope(), 0)
NOBODY = Identity(None, Missing("-"), ())
BYPASS, NON_IDENTITY, DENY = PolicyDecision.BYPASS, PolicyDecision.NON_IDENTITY, PolicyDecision.DENY


def policy(name: str, decision: PolicyDecision, *, matches: bool = True) -> Policy:
    return Policy(name, decision, (lambda *_: matches,))


def test_silence_denies() -> None:
    """No policy, or none that matches, is a refusal."""
    assert isinstance(Application("a", []).decide(REQUEST, NOBODY), Deny)
    assert isinstance(Application("a", [policy("p", BYPASS, matches=False)]).decide(REQUEST, NOBODY), Deny)


@pytest.mark.parametrize("decision", [BYPASS, NON_IDENTITY])
def test_a_matching_policy_lets_in_and_is_named(decision: PolicyDecision) -> None:
    """The decision says who said so."""
    assert Application("a", [policy("p", decision)]).decide(REQUEST, NOBODY) == Allow("a", "p", NOBODY)


def test_a_deny_policy_denies_and_is_named() -> None:
    """With its own reason, so that a log tells it from silence."""
    decision = Application("a", [policy("p", DENY)]).decide(REQUEST, NOBODY)
    assert decision == Deny(Reason.BLOCKED_BY_POLICY, "a", "p", NOBODY)


def test_bypass_and_non_identity_are_asked_before_deny() -> None:
    """As Access documents it: a deny cannot take back what they give."""
    policies = [policy("blocked", DENY), policy("device", NON_IDENTITY), policy("open", BYPASS)]
    assert Application("a", policies).decide(REQUEST, NOBODY) == Allow("a", "device", NOBODY)


@pytest.mark.parametrize("order", list(itertools.permutations([BYPASS, NON_IDENTITY, DENY])))
@pytest.mark.parametrize("matching", list(itertools.product([True, False], repeat=3)))
def test_the_order_is_the_documented_one(order: tuple[PolicyDecision, ...], matching: tuple[bool, ...]) -> None:
    """Every arrangement of three policies, against a reading of the rule in other words."""
    policies = [
        policy(f"{number}", decision, matches=matches)
        for number, (decision, matches) in enumerate(zip(order, matching, strict=True))
    ]
    openers = [each for each in policies if each.decision is not DENY and each.matches(REQUEST, NOBODY)]
    decision = Application("a", policies).decide(REQUEST, NOBODY)
    if openers:
        assert isinstance(decision, Allow)
        assert decision.policy == openers[0].name
    else:
        assert isinstance(decision, Deny)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (NOBODY, Reason.CERTIFICATE_MISSING),
        (Identity(None, Expired("-"), ()), Reason.CERTIFICATE_EXPIRED),
    ],
)
def test_the_certificates_reason_is_the_denials(identity: Identity, reason: Reason) -> None:
    """When nothing matches, what was wrong with the certificate is the most useful thing to say."""
    decision = Application("a", [policy("p", NON_IDENTITY, matches=False)]).decide(REQUEST, identity)
    assert isinstance(decision, Deny)
    assert decision.reason is reason


def test_looking_at_the_request_is_known_of_the_whole() -> None:
    """One rule that looks at more than the certificate makes every decision a new one."""
    careless = Policy("p", DENY, (), looks_at_request=False)
    assert not Application("a", [careless]).looks_at_request
    assert Application("a", [careless, policy("q", DENY)]).looks_at_request
