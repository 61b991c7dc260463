"""The desk: what of a request says who the person or the service is, and which addresses are the login's own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfob.errors import LoginError, LoginUnavailable, SessionOfAnotherDevice
from keyfob.login.book import Book
from keyfob.login.cookies import find_cookie, name_session
from keyfob.login.providers import Provider
from keyfob.login.sessions import SKEW, Session, Sessions
from keyfob.login.tokens import read_token
from keyfob.policy import Application, Fact, Identity, ServiceToken, User
from keyfob.policy.paths import AmbiguousPath, find_path
from keyfob.policy.rules import Test
from keyfob.request import COOKIES, PLACE, SECRET_HEADERS, Headers, Request, hide_secrets

if TYPE_CHECKING:
    from keyfob.login.carrying import Carrier

# How many sessions are remembered. Only those that were signed here get in, so strangers cannot fill it.
REMEMBERED = 4096
# Seconds of a session where nothing else says so: Access's default.
SESSION = 86_400.0
# The longest, so that keys need not be kept for ever.
LONGEST_SESSION = 31 * 86_400.0

# Addresses without a provider, and those in front of one.
LOGIN, LOGOUT, IDENTITY, KEYS = "login", "logout", "identity", "keys"
CALLBACK, CODE = "callback", "code"
_ALONE = frozenset({LOGIN, LOGOUT, IDENTITY, KEYS})
_OF_PROVIDERS = frozenset({LOGIN, CALLBACK, CODE})


class Known(NamedTuple):
    """A session that was opened before, with the state of the book and the facts by which it was."""

    session: Session
    version: int
    facts: object


class Visitor(NamedTuple):
    """What a request says of who is there. `trouble` is why a session or a token that came along does not count."""

    user: User | None = None
    service_token: ServiceToken | None = None
    session: Session | None = None
    trouble: LoginError | None = None


NOBODY = Visitor()


class Desk:
    """One for all sites of a configuration. Shared by threads.

    `find_facts` lists what rules outside the configuration name about people, each with its test: it is asked with
    every request, since handlers may be imported late, and gives the same object as long as nothing has changed.
    """

    def __init__(
        self,
        book: Book,
        providers: Sequence[Provider],
        applications: Iterable[Application],
        session: float = SESSION,
        find_facts: Callable[[], Sequence[tuple[Fact, Test]]] = tuple,
        *,
        carrier: "Carrier",
        where: str = "",
    ) -> None:
        self.where = where
        """The place of the state database: an absolute path, or a URL with perhaps a password; empty if a book is kept
        by hand."""
        self.book = book
        self.carrier = carrier
        self.providers: Mapping[str, Provider] = {each.id: each for each in providers}
        self.applications: Mapping[str, Application] = {each.tag: each for each in applications}
        self.session = session
        self.find_facts = find_facts
        self.sessions = Sessions(
            book, {tag: [fact for fact, _ in each.facts()] for tag, each in self.applications.items()}
        )
        # By the application's tag, and the token.
        self._known: dict[tuple[str, str], Known] = {}
        # Until when a person's or a service's admission to an application is worth no further record.
        self._admitted: dict[tuple[str, str], float] = {}
        self._writing = Lock()

    def without_memory(self) -> "Desk":
        """The same desk, which has met nobody yet: for whoever only wants to know."""
        fresh = copy(self)
        fresh._known, fresh._admitted = {}, {}
        return fresh

    def find_station(self, scope: Mapping[str, Any]) -> str:
        """Which of the login's own addresses was asked for, such as `login` or `callback/google`; empty if none."""
        if PLACE not in scope["path"]:
            return ""
        try:
            path = find_path(scope)
        except AmbiguousPath:
            return ""
        prefix = f"{find_base(scope)}{PLACE}"
        if not path.startswith(prefix):
            return ""
        place, sign, provider = path.removeprefix(prefix).partition("/")
        if sign:
            return f"{place}/{provider}" if place in _OF_PROVIDERS and provider in self.providers else ""
        return place if place in _ALONE else ""

    def meet(self, application: Application, request: Request, identity: Identity) -> Visitor:
        """Who is there. Never raises: what does not count is told, and then nobody is."""
        cookies: bytes | None = None
        tokens: list[tuple[bytes, bytes]] | None = None
        for pair in request.scope["headers"]:
            name = pair[0]
            if name in SECRET_HEADERS:
                if name == b"cookie":
                    # HTTP/2 sends one field for each (RFC 9113 section 8.2.3).
                    cookies = pair[1] if cookies is None else cookies + b"; " + pair[1]
                else:
                    tokens = [pair] if tokens is None else [*tokens, pair]
        if tokens is not None:
            # Whoever shows a token is a script, and what else it brings along does not count.
            try:
                return Visitor(service_token=read_token(tokens, self.book, request.at))
            except LoginError as error:
                return Visitor(trouble=error)
        if cookies is None or COOKIES not in cookies:
            return NOBODY
        return self._recognise(application, request.at, cookies, identity)

    def _recognise(self, application: Application, at: float, cookies: bytes, identity: Identity) -> Visitor:
        token = find_cookie([(b"cookie", cookies)], name_session(application.tag))
        if token is None:
            return NOBODY
        try:
            session = self._open(application, token, at)
            if not session.begun_at - SKEW <= at < session.expires_at:
                return NOBODY
            self._require_device(session, identity)
            if self.book.measure_rest() <= 0:
                raise LoginUnavailable(self.book.find_trouble())
        except LoginError as error:
            return Visitor(trouble=error)
        return Visitor(session.user, None, session) if self.admits(application, session.user.provider) else NOBODY

    def _open(self, application: Application, token: str, at: float) -> Session:
        """The session of a token, which is verified anew when anything has changed that it rests on."""
        mark, facts = (application.tag, token), self.find_facts()
        known = self._known.get(mark)
        if known is None or known.version != self.book.version or known.facts is not facts:
            version = self.book.version
            self.sessions.know(fact for fact, _ in facts)
            known = Known(self.sessions.open(token, application.tag, at), version, facts)
            self._remember(mark, known)
        return known.session

    def _remember(self, mark: tuple[str, str], known: Known) -> None:
        with self._writing:
            self._known[mark] = known
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]

    @property
    def state(self) -> tuple[int, object] | None:
        """What a look at a session rests on: with another one it has to be repeated; None where nobody can tell."""
        book = self.book
        if book.clock() >= book.good_until:
            return None
        return book.version, self.find_facts()

    def bound(self, application: Application, session: Session, length: float) -> tuple[float, float]:
        """From when until when, without that moment, a session counts and its admission needs no further record."""
        if not length:
            return 0.0, 0.0
        end = self._admitted.get((application.tag, session.id), 0.0)
        return max(session.begun_at - SKEW, end - length - SKEW), min(session.expires_at, end)

    def opens_session(self, application: Application, visitor: Visitor, at: float, length: float) -> bool:
        """Whether this admission is the first for a while, and worth a record; `length` is that while in seconds."""
        session, token = visitor.session, visitor.service_token
        mark = application.tag, session.id if session else token.token_id if token else ""
        if length and at < self._admitted.get(mark, 0.0) <= at + length + SKEW:
            return False
        with self._writing:
            self._admitted.pop(mark, None)
            self._admitted[mark] = at + length
            while len(self._admitted) > REMEMBERED:
                del self._admitted[next(iter(self._admitted))]
        return True

    @staticmethod
    def _require_device(session: Session, identity: Identity) -> None:
        """RFC 8705 section 3: a token that is bound to a certificate counts with that certificate alone."""
        if not session.bound_to:
            return
        certificate = identity.certificate
        if certificate is None or certificate.fingerprint_sha256 != session.bound_to:
            who = session.user.email or session.user.identity
            shown = "none" if certificate is None else certificate.fingerprint_sha256
            raise SessionOfAnotherDevice(
                f"the session of {who} was begun with the certificate {session.bound_to}, and came with {shown}"
            )

    def hide(self, request: Request) -> Headers:
        """The headers that the app may see: none with a secret of ours."""
        return hide_secrets(request.scope["headers"] if request.visible is None else request.visible)

    def find_providers(self, application: Application) -> list[Provider]:
        """At which of the providers one may log in to an application."""
        return [each for each in self.providers.values() if self.admits(application, each.id)]

    def admits(self, application: Application, provider: str) -> bool:
        """Whether one may have logged in to an application with the provider of this id, as it is configured now."""
        return provider in self.providers and (not application.providers or provider in application.providers)


def find_base(scope: Mapping[str, Any]) -> str:
    """The prefix under which the app is mounted, such as `/budget`, or nothing."""
    return str(scope.get("root_path") or "").rstrip("/")
