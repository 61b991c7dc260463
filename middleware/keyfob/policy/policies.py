"""One policy: a decision, and the rules under which it is taken."""

from enum import StrEnum
from typing import NamedTuple

from keyfob.policy.decision import Identity
from keyfob.policy.rules import Rules
from keyfob.request import Request


class PolicyDecision(StrEnum):
    """What a matching policy does. `service_auth` in a configuration is the same word as `non_identity`."""

    BYPASS = "bypass"
    NON_IDENTITY = "non_identity"
    DENY = "deny"
    ALLOW = "allow"


class Policy(NamedTuple):
    """A decision, taken when its rules hold.

    Where nobody can tell whether they do, nobody gets in by it, and nobody past it. `session` is for how many seconds
    a login by it counts, None for as long as the application says.
    """

    name: str
    decision: PolicyDecision
    rules: Rules
    session: float | None = None

    @property
    def comes_first(self) -> bool:
        """As Access documents it: bypass and service auth are asked before every allow and deny."""
        return self.decision in _FIRST

    @property
    def asks_who(self) -> bool:
        """An allow is for people who have logged in, whatever its rules ask for; every other policy is for anybody."""
        return self.decision is PolicyDecision.ALLOW

    def matches(self, request: Request, identity: Identity) -> bool:
        """Whether the decision of this policy is to be taken."""
        if self.decision is PolicyDecision.ALLOW and identity.user is None:
            return False
        held = self.rules.hold(request, identity)
        return held is True or (held is None and self.decision is PolicyDecision.DENY)


_FIRST = frozenset({PolicyDecision.BYPASS, PolicyDecision.NON_IDENTITY})
