"""What a login asks of the world while it goes on: a step yields one of these, and is sent the answer.

The steps themselves read and write nothing, so that they are the same under ASGI and WSGI, and under a test.
"""

from collections.abc import Callable, Generator, Mapping
from email.message import EmailMessage
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Fetch(NamedTuple):
    """One HTTP request to a provider, answered by a Fetched. `url` is https, or http on this very machine.

    `authority` is the path of a PEM file of CAs to trust instead of the system's, empty for those.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    authority: str = ""


class Fetched(NamedTuple):
    """The whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class MailServer(NamedTuple):
    """Where mail is handed in. `security` is "starttls", "tls" or "none"."""

    host: str
    port: int
    security: str = "starttls"
    username: str = ""
    password: str = ""
    authority: str = ""

    def __repr__(self) -> str:
        return f"<MailServer {self.host}:{self.port}, {self.security}>"


class Post(NamedTuple):
    """One mail to hand in, answered by None once the server is ready to take it.

    What it says of the recipient comes too late for an answer. Without `message`, everything up to there is done.
    """

    server: MailServer
    sender: str
    recipient: str
    message: EmailMessage | None


class Store(Protocol):
    """The state database, as far as a login needs it. Moments are seconds since the epoch."""

    def claim(self, mark: bytes, until: float, at: float) -> bool:
        """Whether this is the first claim of a mark. It is remembered until a moment."""
        ...

    def end_session(self, session: str, at: float, until: float) -> None:
        """Ends one session, which would count until a moment."""
        ...

    def end_person(self, person: str, at: float, until: float) -> None:
        """Ends every session that this person (`provider:subject`) has begun by now."""
        ...

    def keep_code(self, mark: bytes, address: bytes, digest: bytes, at: float, until: float) -> bool:
        """Keeps a one-time code under a mark, until a moment; False if this address has had too many lately."""
        ...

    def try_code(self, mark: bytes, digest: bytes, at: float) -> bool:
        """Whether this is the code, which is then used up. Each try counts, and after some of them none is right."""
        ...


class Work(NamedTuple):
    """Something to be done with the state database, answered by what it returns."""

    do: Callable[[Store], Any]


Ask = Fetch | Post | Work
# A sequence of steps that comes to a T. What could not be had is thrown into it as a LoginUnavailable.
Steps = Generator[Ask, Any, T]
