"""Providers: who tells who a person is. One closed table of kinds."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from keyfob.answer import Answer
from keyfob.login.exchanges import Steps
from keyfob.login.journeys import Journey
from keyfob.policy import Fact, User
from keyfob.request import Request

if TYPE_CHECKING:
    from keyfob.login.desk import Desk


class Provider(Protocol):
    """Somebody who sends the browser back with a proof of who the person is.

    `id` stands in addresses and sessions, `name` is for people, `kind` is what the configuration calls its `type`.
    """

    id: str
    name: str
    kind: str

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        """The address to which the browser is sent; `state` comes back with it, and `afresh` asks for another person.

        `named` are the facts that rules name, so that it asks people for no more than that. Raises LoginUnavailable.
        """
        ...

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        """Who it is, from the parameters with which the browser came back, at `at` (seconds since the epoch).

        `named` are the facts that rules name: what nobody asks for need not be found out. Raises LoginFailed and
        LoginUnavailable.
        """
        ...


@runtime_checkable
class Asking(Provider, Protocol):
    """A provider of our own, which asks for an address and sends a code there; the code comes back by POST.

    `begin` leads to our own address `code/<id>`, with the state in its query.
    """

    def ask(
        self,
        journey: Journey,
        said: Mapping[str, str],
        desk: "Desk",
        request: Request,
        may_enter: Callable[[User], bool],
    ) -> Steps[Answer]:
        """The page that asks for the address, or, once one is in `said`, sends a code and asks for that.

        `may_enter` tells whether the rules could let somebody in who has logged in so.
        """
        ...

    def ask_again(self, journey: Journey, desk: "Desk", request: Request) -> Answer:
        """The page that asks for the code once more, after `finish` has raised CodeWrong."""
        ...
