"""Looks into inventories for what has been withdrawn, and tells them who was seen, in threads of its own."""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from keyfob.errors import KeyfobError
from keyfob.login.book import Book
from keyfob.trust.withdrawals import Withdrawals

if TYPE_CHECKING:
    from keyfob.config.inventories import LoginReader, Reader

LOGGER = logging.getLogger("keyfob.live")

# Seconds from the end of one look to the next.
PAUSE = 0.3
# Seconds for which sightings are gathered: what is written makes every command wait its turn.
GATHERING = 5.0
# How many devices one round of sightings holds; more are not noted until it has been written.
MOST_SEEN = 10_000
# Seconds without a look after which whoever needs the book lets the thread run: some servers let none, otherwise.
LATE = 1.0
# Seconds that he gives it for that, once in LATE.
COURTESY = 0.2
# How many seconds have to lie between two complaints about one inventory.
QUIET = 60.0
# How many seconds `stop` waits for threads that are about to end, and a fork for a look.
LONGEST_FAREWELL = 2.0
LONGEST_COMPLAINT = 500


class Inventories:
    """The inventories of a configuration and the threads that look into them; one book for each place.

    `on_change` is called from such a thread whenever something was withdrawn or taken back, so that verdicts made
    before can be forgotten. Keep the book of a place when the configuration changes. Nobody looks before `start`. A
    forked child inherits the books, but no threads and no connections: it calls `start` itself.

    An inventory has two threads: SQLite lets one program write at a time, and whoever waits for his turn to write down
    who was seen must not keep a withdrawal waiting.
    """

    def __init__(self, books: Mapping[str, Withdrawals | Book], on_change: Callable[[], None] | None = None) -> None:
        self._on_change = on_change or _nothing
        self._lines = {where: _Line(where, book, self._changed) for where, book in books.items()}
        self._started = False
        self._process = os.getpid()
        _EVERYONE.add(self)

    def __repr__(self) -> str:
        # Not the places: there may be passwords in them.
        return f"<Inventories {', '.join(line.book.name for line in self.lines) or 'none'}>"

    def start(self) -> None:
        """Begins to look, in this process. Once is enough; more bring back to life what does not run as it should."""
        if self._process != os.getpid():
            # uWSGI forks without a word to Python: no thread has come along, and a lock may be held by one of them.
            for line in self.lines:
                line.book.lock = threading.Lock()
            self.disown()
        self._started = True
        for line in self.lines:
            with contextlib.suppress(RuntimeError):  # There may be no room for another thread.
                line.start()
            line.hurry()

    def replace(self, books: Mapping[str, Withdrawals | Book]) -> None:
        """Goes on with these inventories. One that stays, with the same book, does not notice."""
        before = self._lines
        kept = {where: line for where, line in before.items() if books.get(where) is line.book}
        fresh = {where: _Line(where, book, self._changed) for where, book in books.items() if where not in kept}
        self._lines = kept | fresh
        _stop([line for where, line in before.items() if where not in kept])
        if self._started:
            self.start()

    def note(self, fingerprint: bytes, at: float, address: str) -> None:
        """Notes that a device was let in at `at` (seconds since the epoch). Waits for nobody, and may be lost."""
        for line in self.lines:
            line.note(fingerprint, at, address)

    def flush(self) -> None:
        """Writes down who was seen, and waits for that, two seconds at most."""
        end = time.monotonic() + LONGEST_FAREWELL
        for line in self.lines if self._process == os.getpid() else ():
            line.flush(end)

    def stop(self) -> None:
        """Ends the threads and waits for them, two seconds at most: one that waits for a database ends by itself."""
        self._started = False
        if self._process == os.getpid():
            _stop(self.lines)

    def _changed(self) -> None:
        self._on_change()

    @property
    def lines(self) -> list["_Line"]:
        """For a fork, which has to know that no thread is in the middle of anything."""
        return list(self._lines.values())

    def disown(self) -> None:
        """In a forked child: the threads are the parent's, and the connections with them."""
        if self._process != os.getpid():
            self._process = os.getpid()
            for line in self.lines:
                line.disown()


def _nothing() -> None:
    pass


class _Line:
    """One inventory, its book, and the threads that go between them."""

    def __init__(self, where: str, book: Withdrawals | Book, changed: Callable[[], None]) -> None:
        self.book = book
        self._where = where
        self._changed = changed
        self._told = book.version
        self._looking = _Complaints("what it has withdrawn goes on counting")
        self._writing = _Complaints("when devices were last seen is not written down there")
        self.disown()

    def disown(self) -> None:
        """What each process has of its own begins anew. Connections are their threads' own, and gone with these."""
        self.resting = (threading.Lock(), threading.Lock())
        """Held by each of the two threads while it speaks with the database. Whoever forks holds them."""
        self.condition = threading.Condition()
        self._run: object | None = None
        self._threads: list[threading.Thread] = []
        self._looks = 0
        self._looked_at = self._hurried_at = time.monotonic() - LATE
        self._seen: dict[bytes, tuple[float, str]] = {}
        self._is_writing = self._is_urgent = False
        # Sightings have a condition of their own, so that they wake nobody but who writes them.
        self.noted = threading.Condition()

    # --- Threads ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self.condition:
            if self._run is not None and all(each.is_alive() for each in self._threads):
                return
            run = self._run = object()
            self._threads = [
                threading.Thread(target=work, args=(run,), name=f"keyfob-inventory {word}", daemon=True)
                for word, work in (("looks", self._keep_looking), ("writes", self._keep_writing))
            ]
            for thread in self._threads:
                thread.start()

    def stop(self) -> list[threading.Thread]:
        """The threads that are about to end."""
        with self.condition:
            self._run = None
            ending, self._threads = self._threads, []
            self.condition.notify_all()
        with self.noted:
            self.noted.notify_all()
        return ending

    def hurry(self) -> None:
        """Lets the thread run where nobody has looked for a second; a database that does not answer has no more."""
        now = time.monotonic()
        with self.condition:
            if now - max(self._looked_at, self._hurried_at) < LATE or self._run is None:
                return
            self._hurried_at, looks = now, self._looks
            self.condition.notify_all()
            self.condition.wait_for(lambda: self._looks != looks, COURTESY)

    # --- Withdrawals --------------------------------------------------------------------------------------------------

    def _keep_looking(self, run: object) -> None:
        with _Table(self._where, self.book) as table:
            while self._run is run:
                self._look(table)
                with self.condition:
                    self._looks += 1
                    self._looked_at = time.monotonic()
                    self.condition.notify_all()
                    if self._run is run:
                        self.condition.wait(PAUSE)

    def _look(self, table: "_Table") -> None:
        try:
            with self.resting[0]:
                table.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, a withdrawal tomorrow has to be seen
            self.book.trouble = _describe(self.book, error)
            self._looking.complain(self.book.trouble, error)
        else:
            self._looking.withdraw(f"the inventory {self.book.name} is looked into again")
        self.book.settle(time.time())
        version = self.book.version
        if version != self._told:
            self._changed()
            self._told = version

    # --- Sightings ----------------------------------------------------------------------------------------------------

    def note(self, fingerprint: bytes, at: float, address: str) -> None:
        with self.noted:
            if len(self._seen) < MOST_SEEN or fingerprint in self._seen:
                self._seen[fingerprint] = at, address
                self.noted.notify_all()

    def flush(self, end: float) -> None:
        with self.noted:
            self._is_urgent = True
            self.noted.notify_all()
            self.noted.wait_for(
                lambda: self._run is None or not (self._seen or self._is_writing), max(0, end - time.monotonic())
            )
            self._is_urgent = False

    def _keep_writing(self, run: object) -> None:
        with _Table(self._where, self.book) as table:
            while self._run is run:
                with self.noted:
                    self.noted.wait_for(lambda: self._run is not run or self._seen)
                    self.noted.wait_for(lambda: self._run is not run or self._is_urgent, GATHERING)
                    seen, self._seen, self._is_writing = self._seen, {}, True
                if seen:
                    self._write_down(seen, table)
                with self.noted:
                    self._is_writing = False
                    self.noted.notify_all()

    def _write_down(self, seen: Mapping[bytes, tuple[float, str]], table: "_Table") -> None:
        try:
            with self.resting[1]:
                table.find_reader().note_seen(seen)
        except Exception as error:  # noqa: BLE001 - no device is refused for want of a note
            self._writing.complain(_describe(self.book, error), error)
        else:
            self._writing.withdraw(f"who was seen is written into the inventory {self.book.name} again")


class _Table:
    """Where one thread has its inventory open, once it could be opened."""

    def __init__(self, where: str, book: Withdrawals | Book) -> None:
        self._where, self._book = where, book
        self._reader: Reader | LoginReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.close()

    def find_reader(self) -> "Reader | LoginReader":
        """Raises PKIError."""
        if self._reader is None:
            # They need SQLAlchemy, and were imported before.
            from keyfob.config.inventories import LoginReader, Reader  # noqa: PLC0415

            self._reader = LoginReader(self._where) if isinstance(self._book, Book) else Reader(self._where)
        return self._reader

    def look(self) -> None:
        """Enters what is new. Raises PKIError."""
        reader: Any = self.find_reader()
        reader.look(self._book)


def _describe(book: Withdrawals | Book, error: Exception) -> str:
    if isinstance(error, KeyfobError):
        return error.message
    return f"the inventory {book.name} cannot be used: an unexpected {error!r}"


class _Complaints:
    """What the log is told of one trouble with one inventory: once, until it is over, and rarely if it returns."""

    def __init__(self, outcome: str) -> None:
        self._outcome = outcome
        self._is_open = False
        self._last: float | None = None

    def complain(self, said: str, error: Exception) -> None:
        now = time.monotonic()
        if self._is_open or (self._last is not None and now - self._last < QUIET):
            return
        self._last, self._is_open = now, True
        # What a database wrote may hold anything; the log gets it in one line.
        text = said.encode("unicode_escape").decode("ascii")[:LONGEST_COMPLAINT]
        LOGGER.warning("%s; %s", text, self._outcome)
        if not isinstance(error, KeyfobError):
            LOGGER.error("it came from here, and is worth a report", exc_info=error)

    def withdraw(self, said: str) -> None:
        if self._is_open:
            self._is_open = False
            LOGGER.warning("%s", said)


def _stop(lines: Iterable[_Line]) -> None:
    ending = [thread for line in lines for thread in line.stop()]
    end = time.monotonic() + LONGEST_FAREWELL
    for thread in ending:
        # One that there was no room for was never alive.
        if thread.is_alive() and thread is not threading.current_thread():
            thread.join(max(0, end - time.monotonic()))


# --- Forks ------------------------------------------------------------------------------------------------------------

_EVERYONE: "weakref.WeakSet[Inventories]" = weakref.WeakSet()
_HELD: list[contextlib.ExitStack] = []


def _before_fork() -> None:
    """A thread that holds a lock, here or in a library, is not there in the child to let go of it."""
    lines = [line for each in list(_EVERYONE) for line in each.lines]
    held, end = contextlib.ExitStack(), time.monotonic() + LONGEST_FAREWELL
    for lock in [lock for line in lines for lock in line.resting]:
        # A database that does not answer holds up no fork for ever: the child opens everything anew.
        if lock.acquire(timeout=max(0, end - time.monotonic())):
            held.callback(lock.release)
    for condition in [condition for line in lines for condition in (line.condition, line.noted)]:
        held.enter_context(condition)
    for lock in dict.fromkeys(line.book.lock for line in lines):
        held.enter_context(lock)
    _HELD.append(held)


def _after_fork() -> None:
    _HELD.pop().close()


def _after_fork_in_child() -> None:
    _after_fork()
    for each in list(_EVERYONE):
        each.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
