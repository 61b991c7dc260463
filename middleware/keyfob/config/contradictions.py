"""What can be said of rules without anybody asking: which never hold, which always do, and which hold together.

Everything here errs on one side: what it says is so, and of what it does not say nobody knows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from pydantic import BaseModel

from keyfob.config.document import DecisionWord, GroupTable, PolicyTable, RulesTable
from keyfob.policy import SELECTORS, Names
from keyfob.policy.selectors.texts import Comparison, Text

# A rule as it is written: `{"common_name": {"common_name": "x"}}`.
Written = Mapping[str, Any]


class Logic:
    """What follows from the rules of one document, given its groups and the names that rules may refer to."""

    def __init__(self, groups: Sequence[GroupTable], names: Names) -> None:
        self._groups = {name: group for group in groups for name in (group.name, group.id or group.name)}
        self._names = names

    def find_contradiction(self, table: RulesTable) -> str:
        """Why rules can never hold, as words that go on from "it"; empty if they may.

        A deny is taken where nobody can tell whether its rules hold, so of its rules less is certain.
        """
        is_deny = isinstance(table, PolicyTable) and table.decision is DecisionWord.DENY
        return next(self._find_contradictions(table, is_deny=is_deny), "")

    def _find_contradictions(self, table: RulesTable, *, is_deny: bool) -> Iterator[str]:
        for each in table.require:
            if said := self._find_impossible(each, is_deny=is_deny):
                yield f"requires {_say(each)}, {said}"
            if any(_follows(each, other, is_deny=is_deny) for other in table.exclude):
                yield f"requires {_say(each)} and excludes it"
        for one, other in combinations(table.require, 2):
            if _are_apart(one, other, is_deny=is_deny):
                yield f"requires {_say(one)} and {_say(other)}, and no request has both"
        if any(self._is_certain_rule(each) for each in table.exclude):
            yield "excludes everyone"
        whys = [self._find_obstacle(each, table, is_deny=is_deny) for each in table.include]
        if all(whys):
            yield f"includes {_say(table.include[0])}, {whys[0]}"

    def _find_obstacle(self, rule: Written, table: RulesTable, *, is_deny: bool) -> str:
        """Why this one of a table's `include` never lets its rules hold."""
        for each in table.exclude:
            if _follows(rule, each, is_deny=is_deny):
                return f"and excludes {_say(each)}"
        for each in table.require:
            if _are_apart(rule, each, is_deny=is_deny):
                return f"and requires {_say(each)}, and no request has both"
        return self._find_impossible(rule, is_deny=is_deny)

    def _find_impossible(self, rule: Written, *, is_deny: bool) -> str:
        """Why a rule never holds."""
        [(name, argument)] = rule.items()
        if name == "group":
            inner = self._groups.get(argument["id"])
            said = "" if inner is None else next(self._find_contradictions(inner, is_deny=is_deny), "")
            return said and f"which never holds: it {said}"
        if SELECTORS[name].is_identity and not self._names.providers:
            return "and nobody can log in"
        if name in _TOKENS and not self._names.service_tokens:
            return "and there are no service tokens"
        return ""

    def is_impossible(self, rule: Written) -> bool:
        """Whether a rule is False for whoever comes."""
        return bool(self._find_impossible(rule, is_deny=True))

    def is_certain(self, table: RulesTable) -> bool:
        """Whether rules hold for whoever comes."""
        return (
            any(map(self._is_certain_rule, table.include))
            and all(map(self._is_certain_rule, table.require))
            and all(map(self.is_impossible, table.exclude))
        )

    def _is_certain_rule(self, rule: Written) -> bool:
        [(name, argument)] = rule.items()
        if name == "group":
            inner = self._groups.get(argument["id"])
            return inner is not None and self.is_certain(inner)
        return name == "everyone"

    def includes(self, wide: RulesTable, narrow: RulesTable) -> bool:
        """Whether `wide` holds whenever `narrow` does."""
        return self.is_certain(wide) or (
            all(any(_follows(each, other) for other in wide.include) for each in narrow.include)
            and all(_demands(narrow, each) for each in wide.require)
            and all(each in narrow.exclude or self.is_impossible(each) for each in wide.exclude)
        )

    def may_meet(self, one: RulesTable, other: RulesTable) -> bool:
        """Whether both could hold for one request."""
        if any(_demands(one, each) for each in other.exclude) or any(_demands(other, each) for each in one.exclude):
            return False
        if any(_are_apart(a, b) for a in one.require for b in other.require):
            return False
        return any(
            not _are_apart(a, b)
            and not any(_are_apart(a, each) for each in other.require)
            and not any(_are_apart(b, each) for each in one.require)
            for a in one.include
            for b in other.include
        )


_TOKENS = ("service_token", "any_valid_service_token")


def _say(rule: Written) -> str:
    [(name, argument)] = rule.items()
    values = [str(value) for value in argument.values() if isinstance(value, str)]
    return f"{name} {' '.join(map(repr, values))}" if values else name


def _demands(table: RulesTable, rule: Written) -> bool:
    """Whether `rule` holds whenever the table does."""
    return any(_follows(each, rule) for each in table.require) or all(_follows(each, rule) for each in table.include)


def _follows(rule: Written, other: Written, *, is_deny: bool = False) -> bool:
    """Whether `other` holds whenever `rule` does."""
    [(name, argument)], [(other_name, other_argument)] = rule.items(), other.items()
    if is_deny and name not in _TWO_VALUED:
        return False
    if other_name == "everyone" or rule == other:
        return True
    if other_name == "certificate":
        return SELECTORS[name].needs_certificate
    if name != other_name or name not in _WITHIN:
        return False
    return _WITHIN[name](_read(name, argument), _read(name, other_argument))


def _are_apart(rule: Written, other: Written, *, is_deny: bool = False) -> bool:
    """Whether no request can meet both."""
    [(name, argument)], [(other_name, other_argument)] = rule.items(), other.items()
    if name != other_name or name not in _APART or (is_deny and name not in _TWO_VALUED):
        return False
    return _APART[name](_read(name, argument), _read(name, other_argument))


def _read(name: str, argument: object) -> Any:
    return SELECTORS[name].argument.model_validate(argument)


def _differ(*keys: str) -> Callable[[Any, Any], bool]:
    return lambda one, other: any(getattr(one, key) != getattr(other, key) for key in keys)


def _texts_apart(one: Text, other: Text) -> bool:
    """Whether no text is both."""
    (kind, text), (other_kind, other_text) = sorted((one, other))
    match kind, other_kind:
        case Comparison.EQUALS, Comparison.EQUALS:
            return text != other_text
        case Comparison.EQUALS, Comparison.STARTS_WITH:
            return not text.startswith(other_text)
        case Comparison.ENDS_WITH, Comparison.EQUALS:
            return not other_text.endswith(text)
        case Comparison.STARTS_WITH, Comparison.STARTS_WITH:
            return not (text.startswith(other_text) or other_text.startswith(text))
        case Comparison.ENDS_WITH, Comparison.ENDS_WITH:
            return not (text.endswith(other_text) or other_text.endswith(text))
    return False


def _is_text_within(one: Text, other: Text) -> bool:
    """Whether every text that is `one` is `other`, too."""
    match other.comparison:
        case Comparison.STARTS_WITH:
            return one.comparison is not Comparison.ENDS_WITH and one.value.startswith(other.value)
        case Comparison.ENDS_WITH:
            return one.comparison is not Comparison.STARTS_WITH and one.value.endswith(other.value)
    return one == other


# A subject can have several of these, and any of them may be meant; addresses have two ways to be equal.
_MANY = ("organizational_unit", "email")


def _subjects_apart(one: BaseModel, other: BaseModel) -> bool:
    shared = (one.model_fields_set & other.model_fields_set).difference(_MANY)
    return any(_texts_apart(getattr(one, key), getattr(other, key)) for key in shared)


def _is_network_within(one: Any, other: Any) -> bool:
    return bool(one.ip.version == other.ip.version and one.ip.subnet_of(other.ip))


# Selectors about something of which a request has one alone.
_APART: Mapping[str, Callable[[Any, Any], bool]] = {
    "common_name": lambda one, other: _texts_apart(one.common_name, other.common_name),
    "fingerprint": _differ("fingerprint"),
    "geo": _differ("country_code"),
    "ip": lambda one, other: not one.ip.overlaps(other.ip),
    "issuer": _differ("issuer"),
    "method": _differ("method"),
    "public_key": _differ("type"),
    "serial_number": _differ("serial_number", "issuer"),
    "spki": _differ("spki"),
    "subject": _subjects_apart,
}

_WITHIN: Mapping[str, Callable[[Any, Any], bool]] = {
    "common_name": lambda one, other: _is_text_within(one.common_name, other.common_name),
    "ip": _is_network_within,
}

# Selectors to which the answer is always yes or no.
_TWO_VALUED = frozenset(
    {"certificate", "everyone", "fingerprint", "issuer", "public_key", "root_certificate", "serial_number", "spki"}
)
