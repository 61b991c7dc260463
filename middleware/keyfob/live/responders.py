"""Asks OCSP responders what their books want to know, in threads of its own."""

import contextlib
import http.client
import io
import logging
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from keyfob.errors import KeyfobError
from keyfob.trust.ocsp import LARGEST_ANSWER, Question, ResponseBook, UnusableAnswer, read_responder

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LOGGER = logging.getLogger("keyfob.live")

# A responder that has not answered after this many seconds is asked again later.
PATIENCE = 5.0
# How many questions one responder is asked at the same time.
THREADS = 2
# How many seconds have to lie between two complaints about one responder.
QUIET = 60.0
# However long there is nothing to ask, the clock is looked at again after this many seconds: it may have been set.
LONGEST_SLEEP = 60.0
# How many seconds `stop` waits for threads that are about to end.
LONGEST_FAREWELL = 1.0
LONGEST_COMPLAINT = 500


class NoAnswer(KeyfobError):
    """The responder could not be reached, broke off, or did not say 200."""


class Responders:
    """The responders of a configuration and the threads that ask them; one book for each URL.

    `on_change` is called from such a thread whenever a status became worse, so that verdicts made before can be
    forgotten. Keep the book of a URL when the configuration changes: whatever is in it then need not be asked again.
    Nothing is asked before `start`. A forked child inherits the books, but no threads: it calls `start` itself.
    """

    def __init__(self, books: Mapping[str, ResponseBook], on_change: Callable[[], None] | None = None) -> None:
        """Raises UnusableResponder for a key of `books` that is no http:// or https:// URL."""
        self._on_change = on_change or _nothing
        self._lines = {url: _Line(url, book, self._changed) for url, book in books.items()}
        self._started = False
        self._process = os.getpid()
        _EVERYONE.add(self)

    def __repr__(self) -> str:
        return f"<Responders {', '.join(self._lines) or 'none'}>"

    def start(self) -> None:
        """Begins to ask, in this process. Once is enough, more do no harm."""
        if self._process != os.getpid():
            # uWSGI forks without a word to Python: no thread has come along, and a lock may be held by one of them.
            for line in self._lines.values():
                line.book.lock = threading.Lock()
            self.disown()
        self._started = True
        for line in self._lines.values():
            line.start()

    def replace(self, books: Mapping[str, ResponseBook]) -> None:
        """Goes on with these responders. One that stays, with the same book, does not notice.

        Raises UnusableResponder, and then nothing has changed.
        """
        before = self._lines
        kept = {url: line for url, line in before.items() if books.get(url) is line.book}
        fresh = {url: _Line(url, book, self._changed) for url, book in books.items() if url not in kept}
        _stop([line for url, line in before.items() if url not in kept])
        self._lines = kept | fresh
        if self._started:
            self.start()

    def stop(self) -> None:
        """Ends the threads and waits for them, a second at most: one that is still looking up a name ends by itself."""
        self._started = False
        _stop(self._lines.values())

    def _changed(self) -> None:
        self._on_change()

    @property
    def lines(self) -> list["_Line"]:
        """For a fork, which has to know that no thread is in the middle of anything."""
        return list(self._lines.values())

    def disown(self) -> None:
        """In a forked child: the threads are the parent's."""
        self._process = os.getpid()
        for line in self._lines.values():
            line.disown()


def _nothing() -> None:
    pass


class _Line:
    """One responder, its book, and the threads that go between them."""

    def __init__(self, url: str, book: ResponseBook, changed: Callable[[], None]) -> None:
        self.url = url
        self.book = book
        self._responder = read_responder(url)
        self._changed = changed
        self._context = ssl.create_default_context() if self._responder.tls else None
        self._complaints = _Complaints(url)
        self.disown()

    def disown(self) -> None:
        self.condition = threading.Condition()
        self._run: object | None = None
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()

    def start(self) -> None:
        with self.condition:
            if self._threads:
                return
            run = self._run = object()
            named = f"keyfob-ocsp {self._responder.host}"
            self._threads = [
                threading.Thread(target=self._serve, args=(run,), name=named, daemon=True) for _ in range(THREADS)
            ]
            for thread in self._threads:
                thread.start()
        # Whoever had taken questions before is gone.
        self.book.recall(time.time())
        self.book.on_question = self._wake

    def stop(self) -> list[threading.Thread]:
        """The threads that are about to end."""
        with self.condition:
            self._run = None
            ending, self._threads = self._threads, []
            self.condition.notify_all()
            for each in self._sockets:
                _break_off(each)
        if self.book.on_question == self._wake:
            self.book.on_question = None
        return ending

    def _wake(self) -> None:
        with self.condition:
            self.condition.notify()

    def _serve(self, run: object) -> None:
        while (question := self._wait(run)) is not None:
            try:
                self._ask(question, run)
            except Exception:
                # Not one of the failures below: a fault of ours, or of `on_change`. The thread goes on all the same.
                LOGGER.exception("OCSP responder %s: a question was given up", self.url)

    def _wait(self, run: object) -> Question | None:
        with self.condition:
            while self._run is run:
                now = time.time()
                question = self.book.take_question(now)
                if question is not None:
                    return question
                pause = self.book.measure_pause(now)
                self.condition.wait(LONGEST_SLEEP if pause is None else min(pause, LONGEST_SLEEP))
        return None

    def _ask(self, question: Question, run: object) -> None:
        try:
            changed = self.book.answer(question, self._fetch(question.der, run), time.time())
        except (NoAnswer, UnusableAnswer) as error:
            if self._run is run:
                self.book.fail(question, str(error), time.time())
                self._complaints.complain(question, error)
        else:
            self._complaints.withdraw()
            if changed:
                self._changed()

    def _fetch(self, request: bytes, run: object) -> bytes:
        end = time.monotonic() + PATIENCE
        host, port = self._responder.host, self._responder.port
        try:
            with socket.create_connection((host, port), PATIENCE) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is None:
                    return self._post(plain, request, end, run)
                with self._context.wrap_socket(plain, server_hostname=host) as secured:
                    return self._post(secured, request, end, run)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"no answer: {str(error) or type(error).__name__}") from error

    def _post(self, connected: socket.socket, request: bytes, end: float, run: object) -> bytes:
        """Sends one request as RFC 6960 appendix A.1 has it, and reads the body of the response.

        `http.client` asks the host in the URL and nobody else: it knows nothing of proxies in the environment, and
        follows no redirect. Both would let somebody answer whom the configuration does not name.
        """
        with self._watch(connected, run):
            connection = http.client.HTTPConnection(self._responder.host, self._responder.port)
            connection.sock = _Timed(connected, end)
            connection.request("POST", self._responder.path, request, self._headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise NoAnswer(f"no answer, but HTTP status {response.status}")
            # One byte more than is ever believed, and then no further.
            return response.read(LARGEST_ANSWER + 1)

    @property
    def _headers(self) -> dict[str, str]:
        tls, host, port, _ = self._responder
        name = f"[{host}]" if ":" in host else host
        return {
            "Host": name if port == (443 if tls else 80) else f"{name}:{port}",
            "Content-Type": "application/ocsp-request",
            "Accept": "application/ocsp-response",
            "Connection": "close",
        }

    @contextlib.contextmanager
    def _watch(self, connected: socket.socket, run: object) -> Iterator[None]:
        """Lets `stop` break this connection off."""
        with self.condition:
            if self._run is not run:
                raise NoAnswer("stopped")
            self._sockets.add(connected)
        try:
            yield
        finally:
            with self.condition:
                self._sockets.discard(connected)


class _Timed:
    """A socket for `http.client` on which everything together ends in time, however slowly the other side drips."""

    def __init__(self, connected: socket.socket, end: float) -> None:
        self._socket = connected
        self._end = end

    def sendall(self, data: bytes) -> None:
        self._hurry().sendall(data)

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self.receive))

    def receive(self, buffer: "WriteableBuffer") -> int:
        return self._hurry().recv_into(buffer)

    def close(self) -> None:
        """Left to whoever opened it: `http.client` closes before it has read the body."""

    def _hurry(self) -> socket.socket:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._socket


class _Incoming(io.RawIOBase):
    def __init__(self, receive: Callable[["WriteableBuffer"], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        return self._receive(buffer)


class _Complaints:
    """What the log is told about one responder: the first trouble, then at most one line in `QUIET` seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last: float | None = None
        self._left_out = 0
        self._open = False

    def complain(self, question: Question, error: KeyfobError) -> None:
        now = time.monotonic()
        if self._last is not None and now - self._last < QUIET:
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        self._last, self._open = now, True
        LOGGER.warning(
            "OCSP responder %s, asked about serial number %x: %s (%d more left out)",
            self._url,
            question.certificate.serial_number,
            # What somebody else wrote may hold anything; the log gets it in one line.
            str(error).replace("\n", "; ").encode("unicode_escape").decode("ascii")[:LONGEST_COMPLAINT],
            left_out,
        )

    def withdraw(self) -> None:
        if self._open:
            self._open = False
            LOGGER.info("OCSP responder %s answers again", self._url)


def _stop(lines: Iterable[_Line]) -> None:
    ending = [thread for line in lines for thread in line.stop()]
    end = time.monotonic() + LONGEST_FAREWELL
    for thread in ending:
        if thread is not threading.current_thread():
            thread.join(max(0, end - time.monotonic()))


def _break_off(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # An SSLSocket's own method would take its state away under the thread that reads.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


_EVERYONE: weakref.WeakSet[Responders] = weakref.WeakSet()
_HELD: list[contextlib.ExitStack] = []


def _before_fork() -> None:
    """A thread that holds a lock is not there in the child to let go of it, so nobody may hold one now."""
    lines = [line for each in list(_EVERYONE) for line in each.lines]
    held = contextlib.ExitStack()
    # Conditions first: a thread that has one of them may go on to its book, and never the other way round.
    for condition in [line.condition for line in lines]:
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
