"""What the state database says of logins, in memory: the keys of sessions, what ended early, and service tokens."""

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

# For so many seconds after a look the book is relied on; then nobody can tell what has been withdrawn since.
GRACE = 30.0

# Whom an ending is about: one session by its id, one person by `provider:subject` or by address, or everybody.
SESSION, PERSON, ADDRESS, EVERYBODY = "session", "person", "address", "everybody"


class SessionKey(NamedTuple):
    """One key of sessions. `private` is PKCS#8 in DER, P-256; `seal` are 32 octets for what a browser only carries.

    It signs from `begins_at` until a younger one begins, and what it has signed counts until `retires_at`: seconds
    since the epoch.
    """

    kid: str
    private: bytes
    seal: bytes
    begins_at: float
    retires_at: float


class Ending(NamedTuple):
    """Sessions that ended before their time: those of `who` that were begun at `at` or before, since the epoch.

    After `until` none of them would count anyway.
    """

    kind: str
    who: str
    at: float
    until: float


class TokenRecord(NamedTuple):
    """A service token. `digest` is SHA-256 of its secret, `previous` that of the one before, until a moment.

    Moments are seconds since the epoch.
    """

    token_id: str
    name: str
    digest: bytes
    expires_at: float
    previous: bytes | None = None
    previous_until: float = 0.0
    revoked: bool = False


class Book:
    """Shared by all threads. One thread enters what it has read; every request looks, and waits for nobody."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`name` is for people, and has no password in it; `clock` gives seconds that only go forward."""
        self.name = name
        self.clock = clock
        self.lock = threading.Lock()
        """Held while anything changes. Whoever forks holds it, so that the child gets the book in one piece."""
        self.version = 0
        """Counts the changes after which sessions that were looked at before have to be looked at again."""
        self.revision = 0
        """Up to which of its changes the database was read."""
        self.mark: tuple[Hashable, bytes | None] | None = None
        """What tells the database that was read, and its last change, from others at the same place."""
        self.trouble = ""
        """Why the last look failed; empty after one that did not."""
        self.keys: dict[str, SessionKey] = {}
        self.tokens: dict[str, TokenRecord] = {}
        self._ended: dict[tuple[str, str], Ending] = {}
        self.good_until = float("-inf")
        """Until when, by the clock, it may be relied on if nobody looks again."""

    def __repr__(self) -> str:
        return f"<Book of {self.name!r}, {len(self.keys)} keys, {len(self.tokens)} tokens>"

    def enter(
        self, keys: Iterable[SessionKey] = (), endings: Iterable[Ending] = (), tokens: Iterable[TokenRecord] = ()
    ) -> None:
        """Enters what is new or has changed. What has ended stays so, whatever comes later."""
        with self.lock:
            # Replaced as a whole, so that whoever looks meanwhile sees the one or the other.
            fresh = {each.kid: each for each in keys}
            found = {each.token_id: self._keep_revoked(each) for each in tokens}
            ended = self._find_later(endings)
            if fresh or found or ended:
                self.keys = self.keys | fresh
                self.tokens = self.tokens | found
                self._ended = self._ended | ended
                self.version += 1

    def settle(self, now: float) -> None:
        """Forgets what has no effect any more."""
        with self.lock:
            if any(each.retires_at <= now for each in self.keys.values()):
                self.keys = {kid: each for kid, each in self.keys.items() if each.retires_at > now}
                self.version += 1
            if any(each.until <= now for each in self._ended.values()):
                self._ended = {mark: each for mark, each in self._ended.items() if each.until > now}

    def confirm(self, revision: int, mark: tuple[Hashable, bytes | None], since: float) -> None:
        """Notes that everything up to `revision` has been entered, as it was at `since` by the book's clock."""
        with self.lock:
            self.revision, self.mark, self.good_until, self.trouble = revision, mark, since + GRACE, ""

    def measure_rest(self) -> float:
        """For how many seconds it may still be relied on if nobody looks again; not more than 0 if nobody can tell."""
        return self.good_until - self.clock()

    def find_trouble(self) -> str:
        """Why it may not be what the database says now; empty if all is well."""
        if self.trouble or self.measure_rest() > 0:
            return self.trouble
        return f"nobody has looked into {self.name} for more than {GRACE:.0f} seconds"

    def has_ended(self, session: str, person: str, address: str, begun_at: float) -> bool:
        """Whether a session, begun by this person at this moment, ended before its time."""
        ended = self._ended
        marks = ((SESSION, session), (PERSON, person), (ADDRESS, address), (EVERYBODY, ""))
        return any((found := ended.get(mark)) is not None and begun_at <= found.at for mark in marks)

    def find_signing_key(self, at: float) -> SessionKey | None:
        """The youngest key that has begun; None if there is none yet."""
        begun = [each for each in self.keys.values() if each.begins_at <= at < each.retires_at]
        return max(begun, key=lambda each: each.begins_at) if begun else None

    def _keep_revoked(self, token: TokenRecord) -> TokenRecord:
        before = self.tokens.get(token.token_id)
        return token._replace(revoked=True) if before is not None and before.revoked else token

    def _find_later(self, endings: Iterable[Ending]) -> dict[tuple[str, str], Ending]:
        found: dict[tuple[str, str], Ending] = {}
        for each in endings:
            mark = (each.kind, each.who)
            before = found.get(mark) or self._ended.get(mark)
            if before is None or each.at > before.at:
                found[mark] = (
                    each if before is None or each.until >= before.until else each._replace(until=before.until)
                )
        return found
