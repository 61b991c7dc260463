"""One application: what its policies, in their documented order, make of a request."""

from collections.abc import Sequence

from keyfob.errors import Reason
from keyfob.policy.decision import Allow, Decision, Deny, Identity
from keyfob.policy.policies import Policy, PolicyDecision
from keyfob.request import Request


class Application:
    """Policies in the order in which they are asked; the first that matches ends it, and silence denies.

    As Access documents it: bypass and non_identity policies first, from top to bottom, then deny policies. So a deny
    cannot take back what a matching bypass or non_identity gives.
    """

    def __init__(self, name: str, policies: Sequence[Policy]) -> None:
        self.name = name
        # sorted() is stable: within each half the written order stays.
        self._policies = tuple(sorted(policies, key=lambda policy: policy.decision is PolicyDecision.DENY))
        self.looks_at_request = any(policy.looks_at_request for policy in policies)

    def decide(self, request: Request, identity: Identity) -> Decision:
        """Allow or Deny, with the policy that said so.

        Unless `looks_at_request`, the same identity always gets the same decision, whatever it asks for.
        """
        for policy in self._policies:
            if policy.matches(request, identity):
                if policy.decision is PolicyDecision.DENY:
                    return Deny(Reason.BLOCKED_BY_POLICY, self.name, policy.name, identity)
                return Allow(self.name, policy.name, identity)
        reason = Reason.NO_MATCHING_POLICY if identity.error is None else identity.error.reason
        return Deny(reason, self.name, "", identity)
