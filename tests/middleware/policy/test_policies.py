"""policy.policies: include, require and exclude."""

import itertools

import pytest

from exchanges import make_request, make_scope
from keyfob.errors import Missing
from keyfob.policy import Identity, Policy, PolicyDecision, Test
from keyfob.request import Request

REQUEST = make_request(make_scope(), 0)
NOBODY = Identity(None, Missing("-"), ())


def yes(_: Request, __: Identity) -> bool:
    return True


def no(_: Request, __: Identity) -> bool:
    return False


RULES: list[tuple[Test, ...]] = [(), (yes,), (no,), (yes, no), (no, yes), (yes, yes), (no, no)]


@pytest.mark.parametrize(("include", "require", "exclude"), list(itertools.product(RULES, RULES, RULES)))
def test_any_include_every_require_and_no_exclude(
    include: tuple[Test, ...], require: tuple[Test, ...], exclude: tuple[Test, ...]
) -> None:
    """The documented reading, written out, for every combination."""
    policy = Policy("p", PolicyDecision.NON_IDENTITY, include, require, exclude)
    assert policy.matches(REQUEST, NOBODY) is (yes in include and no not in require and yes not in exclude)


def test_a_policy_without_include_matches_nobody() -> None:
    """At least one include is needed; requiring is not including."""
    assert not Policy("p", PolicyDecision.BYPASS, (), (yes,)).matches(REQUEST, NOBODY)
