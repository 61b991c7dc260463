"""Who gets in: applications with their hosts, policies of rules, and the decision they come to."""

from keyfob.policy.applications import Application, Preflights
from keyfob.policy.decision import Allow, Decision, Deny, Identity, Login, Preflight, Verdict
from keyfob.policy.people import PROSPECT, UNASKED, Fact, FactKind, ServiceToken, User, give_facts
from keyfob.policy.policies import Policy, PolicyDecision
from keyfob.policy.rules import Rule, Rules, Test
from keyfob.policy.selectors import SELECTORS, Names, Selector, UnknownName, compile_rule

__all__ = [
    "PROSPECT",
    "SELECTORS",
    "UNASKED",
    "Allow",
    "Application",
    "Decision",
    "Deny",
    "Fact",
    "FactKind",
    "Identity",
    "Login",
    "Names",
    "Policy",
    "PolicyDecision",
    "Preflight",
    "Preflights",
    "Rule",
    "Rules",
    "Selector",
    "ServiceToken",
    "Test",
    "UnknownName",
    "User",
    "Verdict",
    "compile_rule",
    "give_facts",
]
