"""The order of policies and the meaning of rules, against a second reading of their documentation.

`Model` below is that reading: it knows rules as they are written, and shares no code with the library. Random
applications are asked about random people and requests, in a row, so that what a gate remembers is asked, too. At the
end, wrong libraries show that the comparison notices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from certificates import make_authority, make_leaf, make_name
from exchanges import make_scope
from keyfob.addresses import Address, parse_network
from keyfob.certificate import ClientCertificate
from keyfob.errors import Missing
from keyfob.policy import (
    Allow,
    Application,
    Decision,
    Identity,
    Names,
    Policy,
    PolicyDecision,
    Rules,
    User,
    compile_rule,
)
from keyfob.policy.selectors import everybody
from keyfob.request import Request
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots
from sites import make_gate, make_site

Written = Mapping[str, Any]


class Visit(NamedTuple):
    """Who comes, with which common names in a certificate (None without one) and which email; and what they ask for."""

    names: tuple[str, ...] | None
    email: str | None
    method: str
    address: str | None


class Model:
    """The documented rules, read once more; None is what nobody can tell."""

    def __init__(self, groups: Mapping[str, Written], policies: Sequence[Written], visit: Visit) -> None:
        self.groups, self.policies, self.visit = groups, policies, visit

    def decide(self) -> tuple[bool, str]:
        first = [each for each in self.policies if each["decision"] in ("bypass", "non_identity")]
        then = [each for each in self.policies if each["decision"] in ("allow", "deny")]
        for policy in first + then:
            held = self.hold(policy)
            if policy["decision"] == "deny" and held is not False:
                return False, policy["name"]
            if policy["decision"] == "allow" and self.visit.email is None:
                continue
            if policy["decision"] != "deny" and held is True:
                return True, policy["name"]
        return False, ""

    def hold(self, rules: Written) -> bool | None:
        include = [self.ask(rule) for rule in rules["include"]]
        require = [self.ask(rule) for rule in rules["require"]]
        exclude = [self.ask(rule) for rule in rules["exclude"]]
        if False in require or True in exclude or not {True, None} & {*include}:
            return False
        return True if True in include and None not in require + exclude else None

    def ask(self, rule: Written) -> bool | None:
        visit, [(selector, argument)] = self.visit, rule.items()
        match selector:
            case "everyone":
                return True
            case "certificate":
                return visit.names is not None
            case "common_name":
                found = argument["common_name"] in (visit.names or ())
                return None if found and visit.names != (argument["common_name"],) else found
            case "method":
                return bool(visit.method == argument["method"])
            case "ip":
                return None if visit.address is None else bool(visit.address == argument["ip"])
            case "email":
                return bool(visit.email == argument["email"])
            case "group":
                return self.hold(self.groups[argument["id"]])
        raise AssertionError(selector)


# --- The library, asked the same --------------------------------------------------------------------------------------

ROOT = make_authority()
ADDRESSES = {text: network.network_address for text in ("192.0.2.7", "2001:db8::7") if (network := parse_network(text))}
LEAVES = {names: make_leaf(ROOT, make_name(*names)) for names in [("a",), ("b",), ("a", "b")]}
ERROR = Missing("no certificate")
AT = ROOT.certificate.not_valid_before_utc.timestamp() + 3 * 86_400


class _Hidden(TLSSource):
    """A source that finds the client's address where the test has put it."""

    def find_client(self, request: Request) -> Address | None:
        found: Address | None = request.scope["address"]
        return found


def compile_rules(written: Written, names: Names) -> Rules:
    return Rules(
        *(tuple(compile_rule(rule, names) for rule in written[key]) for key in ("include", "require", "exclude"))
    )


def compile_policies(groups: Mapping[str, Written], policies: Sequence[Written]) -> list[Policy]:
    compiled: dict[str, Rules] = {}
    for name, written in groups.items():
        compiled[name] = compile_rules(written, Names(groups=compiled))
    return [
        Policy(each["name"], PolicyDecision(each["decision"]), compile_rules(each, Names(groups=compiled)))
        for each in policies
    ]


def describe(visit: Visit) -> tuple[Request, Identity]:
    leaf = None if visit.names is None else LEAVES[visit.names]
    address = None if visit.address is None else ADDRESSES[visit.address]
    scope = make_scope([leaf.pem] if leaf else [], method=visit.method, address=address)
    user = None if visit.email is None else User(visit.email, "provider")
    certificate = None if leaf is None else ClientCertificate(leaf.certificate, [ROOT.certificate])
    return TLSSource().receive(scope, AT), Identity(certificate, None if leaf else ERROR, (), user)


def compare(groups: Mapping[str, Written], policies: Sequence[Written], visits: Iterable[Visit]) -> None:
    """The application, what is left of it for each visitor, and a gate that remembers them, against the model."""
    compiled = compile_policies(groups, policies)
    application = Application("a", compiled)
    gate = make_gate(make_site(Roots((ROOT.certificate,), ()), *compiled), _Hidden())
    left: dict[tuple[object, ...], Any] = {}
    for visit in visits:
        expected = Model(groups, policies, visit).decide()
        request, identity = describe(visit)
        asking = request._replace(client=request.scope["address"])
        decisions: list[Decision] = [application.decide(asking, identity)]
        rest = left.setdefault((visit.names, visit.email), application.narrow(asking, identity))
        decisions.append(rest.decide(asking, identity) if isinstance(rest, Application) else rest)
        if visit.email is None:
            decisions.append(gate.check(request))
        for decision in decisions:
            assert (isinstance(decision, Allow), decision.policy) == expected, (groups, policies, visit)


# --- Random ones ------------------------------------------------------------------------------------------------------

SELECTORS = [
    {"everyone": {}},
    {"certificate": {}},
    {"common_name": {"common_name": "a"}},
    {"common_name": {"common_name": "b"}},
    {"method": {"method": "GET"}},
    {"ip": {"ip": "192.0.2.7"}},
    {"ip": {"ip": "2001:db8::7"}},
    {"email": {"email": "alice@example.com"}},
]
VISITS = st.builds(
    Visit,
    st.sampled_from([None, *LEAVES]),
    st.sampled_from([None, None, "alice@example.com", "bob@example.com"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([None, *ADDRESSES]),
)


def write_rules(groups: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Rules that may refer to the groups of these names."""
    one: st.SearchStrategy[Written] = st.sampled_from(SELECTORS)
    if groups:
        one |= st.sampled_from(groups).map(lambda name: {"group": {"id": name}})
    some = st.lists(one, min_size=1, max_size=3)
    few = st.lists(one, max_size=2)
    return st.fixed_dictionaries({"include": some, "require": few, "exclude": few})


@st.composite
def configurations(draw: st.DrawFn) -> tuple[dict[str, Written], list[Written]]:
    groups: dict[str, Written] = {}
    for name in ["first", "second", "third"][: draw(st.integers(0, 3))]:
        # Each may refer to those before it, so that they nest.
        groups[name] = draw(write_rules(list(groups)))
    policies: list[Written] = [
        {"name": str(number), "decision": draw(st.sampled_from(list(map(str, PolicyDecision))))}
        | draw(write_rules(list(groups)))
        for number in range(draw(st.integers(1, 5)))
    ]
    return groups, policies


EXAMPLES = 200
CASES = st.tuples(configurations(), st.lists(VISITS, min_size=4, max_size=8))


def check(case: tuple[tuple[dict[str, Written], list[Written]], list[Visit]]) -> None:
    (groups, policies), visits = case
    compare(groups, policies, visits)


@settings(max_examples=EXAMPLES, deadline=None)
@given(CASES)
def test_the_library_decides_as_documented(
    case: tuple[tuple[dict[str, Written], list[Written]], list[Visit]],
) -> None:
    """Whoever comes, whatever they ask for, and in whichever order."""
    check(case)


# --- And would be noticed if it did not -------------------------------------------------------------------------------


def _deny_first() -> Any:
    return patch.object(Policy, "comes_first", property(lambda self: self.decision is PolicyDecision.DENY))


def _bypass_before_service_auth() -> Any:
    return patch.object(Policy, "comes_first", property(lambda self: self.decision is PolicyDecision.BYPASS))


def _hold(change: Callable[[Rules], Rules]) -> Any:
    hold = Rules.hold
    return patch.object(Rules, "hold", lambda self, request, identity: hold(change(self), request, identity))


def _require_any() -> Any:
    hold = Rules.hold

    def hold_any(self: Rules, request: Request, identity: Identity) -> bool | None:
        each = [self._replace(require=(rule,)) for rule in self.require] or [self]
        found = [hold(rules, request, identity) for rules in each]
        return True if True in found else None if None in found else False

    return patch.object(Rules, "hold", hold_any)


def _ignore_exclude() -> Any:
    return _hold(lambda rules: rules._replace(exclude=()))


def _include_all() -> Any:
    return _hold(lambda rules: rules._replace(include=rules.include[:1], require=(*rules.require, *rules.include[1:])))


def _leave_groups_flat() -> Any:
    find = everybody._find_group

    def find_flat(argument: everybody.Group, names: Names) -> Rules:
        found = find(argument, names)
        return Rules(*(tuple(rule for rule in rules if rule.members is None) for rules in found))

    return patch.object(everybody, "_find_group", find_flat)


def _take_unknown_for(answer: bool) -> Any:
    hold = Rules.hold

    def settle(self: Rules, request: Request, identity: Identity) -> bool | None:
        held = hold(self, request, identity)
        return answer if held is None else held

    return patch.object(Rules, "hold", settle)


def _allow_anybody() -> Any:
    matches = Policy.matches

    def match_anybody(self: Policy, request: Request, identity: Identity) -> bool:
        is_allow = self.decision is PolicyDecision.ALLOW
        return matches(self._replace(decision=PolicyDecision.BYPASS) if is_allow else self, request, identity)

    return patch.object(Policy, "matches", match_anybody)


def _forget_what_is_excluded() -> Any:
    narrow = Rules.narrow
    return patch.object(
        Rules, "narrow", lambda self, request, identity: narrow(self._replace(exclude=()), request, identity)
    )


def _remember_what_looks_at_the_request() -> Any:
    return patch.object(Application, "narrow", Application.decide)


def _ask_for_no_address() -> Any:
    return patch("keyfob.gate.Gate._look_at_client", lambda self, application, request: request)


MUTANTS = {
    "deny is asked first": _deny_first,
    "service auth is asked after deny": _bypass_before_service_auth,
    "one of require is enough": _require_any,
    "exclude is ignored": _ignore_exclude,
    "all of include are needed": _include_all,
    "groups in groups are left out": _leave_groups_flat,
    "what nobody can tell is a yes": lambda: _take_unknown_for(answer=True),
    "what nobody can tell is a no": lambda: _take_unknown_for(answer=False),
    "allow asks for no login": _allow_anybody,
    "what is left forgets exclude": _forget_what_is_excluded,
    "what looks at the request is remembered": _remember_what_looks_at_the_request,
    "nobody looks for the address": _ask_for_no_address,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_library_is_noticed(mutant: str) -> None:
    """Each of these mistakes shows within the same number of examples."""
    seek = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with MUTANTS[mutant](), pytest.raises(AssertionError):
        seek(given(CASES)(check))()
