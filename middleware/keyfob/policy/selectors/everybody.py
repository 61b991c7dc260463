"""Selectors that look at nothing themselves: everybody, and groups of other rules."""

from keyfob.policy.rules import Rules, Test
from keyfob.policy.selectors.arguments import Argument, Name, Nothing
from keyfob.policy.selectors.names import Names, look_up
from keyfob.policy.selectors.selector import Selector


class Group(Argument):
    """A rule group, by its id or its name."""

    id: Name


def _everyone(_: Nothing, __: Names) -> Test:
    return lambda request, identity: True


def _find_group(argument: Group, names: Names) -> Rules:
    return look_up("group", argument.id, names.groups)


def _group(argument: Group, names: Names) -> Test:
    return _find_group(argument, names).hold


GENERAL_SELECTORS = {
    "everyone": Selector(Nothing, _everyone, "{ everyone = {} }"),
    "group": Selector(Group, _group, '{ group = { id = "Finance phones" } }', find_members=_find_group),
}
