"""Who the person or the service is: what a login or a service token has proved, for the rules that ask about it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple


class User(NamedTuple):
    """A person, as an identity provider described them.

    `email` is an address that the provider has verified, and empty where there is none. `provider` is the id of that
    provider in the configuration, `subject` what the provider itself calls the person and never gives to another one,
    `name` what people call them. `methods` is what RFC 8176 calls `amr`, `groups` the ids, names or addresses of
    groups, `organizations` the GitHub organizations with the teams in each, `claims` the further claims or SAML
    attributes with all of their values, `evaluated` the external evaluations that said yes, each as the address that
    was asked and the address of its keys. Of the last four a session keeps what rules name.
    """

    email: str
    provider: str
    methods: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    organizations: Mapping[str, frozenset[str]] = {}
    claims: Mapping[str, frozenset[str]] = {}
    evaluated: frozenset[tuple[str, str]] = frozenset()
    subject: str = ""
    name: str = ""

    @property
    def is_authenticated(self) -> bool:
        """True: Starlette asks this of whoever it calls `request.user`."""
        return True

    @property
    def display_name(self) -> str:
        """What people call the person, or else their address, or what the provider calls them."""
        return self.name or self.email or self.subject

    @property
    def identity(self) -> str:
        """Provider and subject: no two people share it, and it stays when an address changes."""
        return f"{self.provider}:{self.subject}"


# The evaluations of somebody about whom nobody has been asked yet: nobody can tell what they will say.
UNASKED: frozenset[tuple[str, str]] = frozenset({("", "")})

# Somebody who has yet to log in: every rule about people answers that nobody can tell.
PROSPECT = User("", "")


class FactKind(StrEnum):
    """What kind of thing about a person a rule can name."""

    GROUP = "group"
    ORGANIZATION = "organization"
    TEAM = "team"
    CLAIM = "claim"
    EVALUATED = "evaluated"


class Fact(NamedTuple):
    """One thing about a person that a rule names, which is what a session keeps of all that a provider tells.

    `provider` is empty for an evaluation, which anybody's login may need. `value` is a team, the value of a claim, or
    the address of an evaluation's keys; a group and an organization have none.
    """

    kind: FactKind
    provider: str
    name: str
    value: str = ""


def give_facts(user: User, facts: Iterable[Fact]) -> User:
    """The person, as one for whom these facts hold, and no others."""
    organizations: dict[str, frozenset[str]] = {}
    claims: dict[str, frozenset[str]] = {}
    groups: set[str] = set()
    evaluated: set[tuple[str, str]] = set()
    for kind, _, name, value in facts:
        match kind:
            case FactKind.GROUP:
                groups.add(name)
            case FactKind.ORGANIZATION:
                organizations.setdefault(name, frozenset())
            case FactKind.TEAM:
                organizations[name] = organizations.get(name, frozenset()) | {value}
            case FactKind.CLAIM:
                claims[name] = claims.get(name, frozenset()) | {value}
            case FactKind.EVALUATED:
                evaluated.add((name, value))
    return user._replace(
        groups=frozenset(groups), organizations=organizations, claims=claims, evaluated=frozenset(evaluated)
    )


class ServiceToken(NamedTuple):
    """A service that has shown its token: `token_id` is what it sends as its client id, `name` what people call it."""

    token_id: str
    name: str = ""

    @property
    def is_authenticated(self) -> bool:
        """True: Starlette asks this of whoever it calls `request.user`."""
        return True

    @property
    def display_name(self) -> str:
        """What people call it."""
        return self.name or self.token_id

    @property
    def identity(self) -> str:
        """Its id."""
        return self.token_id
