"""One policy: a decision, and the rules under which it is taken."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from keyfob.policy.decision import Identity
from keyfob.policy.selectors import Test
from keyfob.request import Request


class PolicyDecision(StrEnum):
    """What a matching policy does. `service_auth` in a configuration is the same word as `non_identity`."""

    BYPASS = "bypass"
    NON_IDENTITY = "non_identity"
    DENY = "deny"


class Policy(NamedTuple):
    """Matches when any `include` holds, every `require` holds and no `exclude` holds.

    `looks_at_request` says that some rule here looks at more than the certificate.
    """

    name: str
    decision: PolicyDecision
    include: Sequence[Test]
    require: Sequence[Test] = ()
    exclude: Sequence[Test] = ()
    looks_at_request: bool = True

    def matches(self, request: Request, identity: Identity) -> bool:
        """Whether the decision of this policy is to be taken."""
        return (
            not any(test(request, identity) for test in self.exclude)
            and all(test(request, identity) for test in self.require)
            and any(test(request, identity) for test in self.include)
        )
