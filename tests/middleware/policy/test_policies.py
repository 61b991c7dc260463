"""policy.policies: when the decision of one policy is taken."""

import pytest

from keyfob.policy import Identity, Policy, PolicyDecision, Rule, Rules
from situations import NOBODY, REQUEST, device, person

BYPASS, NON_IDENTITY = PolicyDecision.BYPASS, PolicyDecision.NON_IDENTITY
DENY, ALLOW = PolicyDecision.DENY, PolicyDecision.ALLOW


def policy(decision: PolicyDecision, answer: bool | None) -> Policy:
    return Policy("p", decision, Rules((Rule("-", lambda request, identity: answer),)))


@pytest.mark.parametrize(
    ("decision", "answer", "matches"),
    [
        (BYPASS, True, True),
        (BYPASS, False, False),
        (BYPASS, None, False),
        (NON_IDENTITY, True, True),
        (NON_IDENTITY, False, False),
        (NON_IDENTITY, None, False),
        (DENY, True, True),
        (DENY, False, False),
        (DENY, None, True),
        (ALLOW, True, True),
        (ALLOW, False, False),
        (ALLOW, None, False),
    ],
)
def test_where_nobody_can_tell_nobody_gets_in_or_past(
    decision: PolicyDecision, answer: bool | None, matches: bool
) -> None:
    """A deny matches then, and nothing else does."""
    assert policy(decision, answer).matches(REQUEST, person()) is matches


@pytest.mark.parametrize("identity", [NOBODY, device("Rhea Group")])
def test_allow_is_for_people_who_have_logged_in(identity: Identity) -> None:
    """Whatever its rules ask for: a certificate says which device it is, not who."""
    assert not policy(ALLOW, True).matches(REQUEST, identity)
    assert policy(ALLOW, True).matches(REQUEST, identity._replace(user=person().user))


@pytest.mark.parametrize("decision", [BYPASS, NON_IDENTITY, DENY])
def test_every_other_policy_asks_for_no_login(decision: PolicyDecision) -> None:
    """With a certificate or without."""
    for identity in (NOBODY, device("Rhea Group"), person()):
        assert policy(decision, True).matches(REQUEST, identity)


def test_the_first_half_is_bypass_and_service_auth() -> None:
    """As Access documents it, and no other word is there."""
    assert {each for each in PolicyDecision if policy(each, True).comes_first} == {BYPASS, NON_IDENTITY}
    assert set(PolicyDecision) == {BYPASS, NON_IDENTITY, DENY, ALLOW}
