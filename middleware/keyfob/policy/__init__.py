"""Who gets in: applications with their hosts, policies of rules, and the decision they come to."""

from keyfob.policy.applications import Application
from keyfob.policy.decision import Allow, Decision, Deny, Identity
from keyfob.policy.policies import Policy, PolicyDecision
from keyfob.policy.selectors import SELECTORS, Selector, Test

__all__ = [
    "SELECTORS",
    "Allow",
    "Application",
    "Decision",
    "Deny",
    "Identity",
    "Policy",
    "PolicyDecision",
    "Selector",
    "Test",
]
