"""Rules: one selector each with its argument, and include, require and exclude over them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from keyfob.policy.decision import Identity
from keyfob.policy.people import Fact
from keyfob.request import Request

# True or False; None where nobody can tell, such as an `ip` rule about a client whose address is hidden.
Test = Callable[[Request, Identity], bool | None]


class Rule(NamedTuple):
    """One compiled rule. `text` is the rule as it is written, for those who read an explanation.

    `needs_certificate`: it can only hold with a verified certificate. `is_identity`: it asks who the person is, which
    only a login tells. `looks_at_request`: two requests with the same identity, or one at another time, can differ in
    it, so that its answer must not be remembered with the identity. `looks_at_client`: it asks for the client's own
    address. `members` are the rules of a group. `facts` are what it, or its members, name about a
    person, each with the test that tells whether it is so. `of_visitor`: of the request it looks at nothing but who has
    logged in, or which token was shown.
    """

    text: str
    test: Test
    needs_certificate: bool = False
    is_identity: bool = False
    looks_at_request: bool = False
    looks_at_client: bool = False
    members: "Rules | None" = None
    facts: tuple[tuple[Fact, Test], ...] = ()
    of_visitor: bool = False


ALWAYS = Rule("always", lambda request, identity: True)


class Rules(NamedTuple):
    """They hold when any of `include` holds, all of `require` hold and none of `exclude` holds."""

    include: Sequence[Rule]
    require: Sequence[Rule] = ()
    exclude: Sequence[Rule] = ()

    def each(self) -> Iterator[Rule]:
        """Every rule, wherever it stands."""
        yield from self.include
        yield from self.require
        yield from self.exclude

    def hold(self, request: Request, identity: Identity) -> bool | None:
        """True or False; None where that hangs on something that nobody can tell."""
        unknown = False
        for rule in self.exclude:
            held = rule.test(request, identity)
            if held:
                return False
            unknown = unknown or held is None
        for rule in self.require:
            held = rule.test(request, identity)
            if held is False:
                return False
            unknown = unknown or held is None
        return self._includes(request, identity, unknown=unknown)

    def _includes(self, request: Request, identity: Identity, *, unknown: bool) -> bool | None:
        held: bool | None = False
        for rule in self.include:
            match rule.test(request, identity):
                case True:
                    return None if unknown else True
                case None:
                    held = None
        return held

    def narrow(self, request: Request, identity: Identity) -> "Rules | None":
        """What is left to ask about this identity: the rules that look at the request. None if they never can hold.

        What does not look at the request is asked here, once. Rules that always hold become CERTAIN.
        """
        exclude = _leave_open(self.exclude, request, identity, ends=True)
        require = _leave_open(self.require, request, identity, ends=False)
        if exclude is None or require is None:
            return None
        include = _leave_open(self.include, request, identity, ends=True)
        if include is None:
            return Rules((ALWAYS,), tuple(require), tuple(exclude)) if require or exclude else CERTAIN
        return Rules(tuple(include), tuple(require), tuple(exclude)) if include else None


CERTAIN = Rules((ALWAYS,))


def _leave_open(rules: Sequence[Rule], request: Request, identity: Identity, *, ends: bool) -> list[Rule] | None:
    """The rules that have to be asked with every request; None if one of the others answers what `ends` it all."""
    left = []
    for rule in rules:
        held = None if rule.looks_at_request else rule.test(request, identity)
        if held is None:
            left.append(rule)
        elif bool(held) is ends:
            return None
    return left
