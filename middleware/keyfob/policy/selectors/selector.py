"""One row of the table of selectors, and how a rule is made of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keyfob.policy.people import Fact
from keyfob.policy.rules import Rule, Rules, Test
from keyfob.policy.selectors.arguments import Argument
from keyfob.policy.selectors.names import Names


class Selector(NamedTuple):
    """One row: the model of its argument, how it becomes a test, how it is written, and what the test looks at.

    `compile` raises UnknownName, or another KeyfobError, for an argument that refers to what is not there.
    `needs_certificate`: it can only hold with a verified certificate. `is_identity`: it asks who the person is, which
    only a login tells. `looks_at_request`, `looks_at_client` and `of_visitor` are as in Rule. `find_members` is there
    for a selector that stands for other rules: they say what it looks at. `find_facts` says what a session has to keep.
    """

    argument: type[Argument]
    compile: Callable[[Any, Names], Test]
    example: str
    needs_certificate: bool = False
    is_identity: bool = False
    looks_at_request: bool = False
    looks_at_client: bool = False
    of_visitor: bool = False
    find_members: Callable[[Any, Names], Rules] | None = None
    find_facts: Callable[[Any, Names], tuple[Fact, ...]] | None = None


def compile_rule(table: Mapping[str, Selector], written: Mapping[str, Any], names: Names) -> Rule:
    """The rule that `{selector: argument}` is, of a document that was validated. Raises KeyfobError."""
    [(name, value)] = written.items()
    row = table[name]
    argument = row.argument.model_validate(value)
    members = row.find_members(argument, names) if row.find_members else None
    inner = tuple(members.each()) if members else ()
    test = row.compile(argument, names)
    facts = row.find_facts(argument, names) if row.find_facts else ()
    return Rule(
        _write(name, value),
        test,
        needs_certificate=row.needs_certificate or any(rule.needs_certificate for rule in inner),
        is_identity=row.is_identity or any(rule.is_identity for rule in inner),
        looks_at_request=row.looks_at_request or any(rule.looks_at_request for rule in inner),
        looks_at_client=row.looks_at_client or any(rule.looks_at_client for rule in inner),
        members=members,
        of_visitor=row.of_visitor
        or (bool(inner) and all(rule.of_visitor or not rule.looks_at_request for rule in inner)),
        facts=(*((fact, test) for fact in facts), *(pair for rule in inner for pair in rule.facts)),
    )


def _write(name: str, value: Mapping[str, Any]) -> str:
    """`common_name: Rhea Group`: a rule in a line, for people."""
    words = {key: _say(each) for key, each in value.items() if each not in (None, {}, [])}
    if not words:
        return name
    if set(words) == {name}:
        return f"{name}: {words[name]}"
    return f"{name}: " + ", ".join(f"{key} {each}" for key, each in words.items())


def _say(value: object) -> str:
    match value:
        case Mapping():
            return " ".join(f"{key} {_say(each)}" for key, each in value.items())
        case list():
            return " ".join(map(_say, value))
    return str(value)
