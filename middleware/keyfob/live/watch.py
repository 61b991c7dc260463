"""Watches what a configuration was read from, and swaps a whole new Gate in when it changes."""

import contextlib
import inspect
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keyfob.config.files import Files, Stamp
from keyfob.errors import ConfigError, KeyfobError
from keyfob.gate import Gate

LOGGER = logging.getLogger("keyfob.live")

# Seconds from one look at the files to the next.
PAUSE = 0.2
# A file that changed has to look the same twice, this many seconds apart, before it is read: it may be half written.
SETTLING = 0.1
# Seconds after which files that never look the same twice are worth a word.
LONGEST_UNREST = 5.0
# Seconds without a look after which whoever needs the gate looks himself.
LATE = 1.0
# Seconds that such a request waits for somebody who is looking already: it may be a thread that nothing else lets run.
COURTESY = 0.02
# How often such a request looks at files that are still being written.
PATIENCE = 3
# Seconds until what could not be read is tried again: no stamp tells that it can be.
RETRY = 5.0
# Seconds that a fork waits for a new state to be built.
LONGEST_BUILDING = 10.0

Load = Callable[[Files], Gate]
Listener = Callable[[Gate], object]


class Watch:
    """The Gate that the files describe, now and after every change.

    `load` builds it and reads every file through the Files that it is given; `name` is what the log calls it. The
    first time, it is called here, and raises ConfigError as it always does. From the first `subscribe` on a daemon
    thread looks at the files' stamps five times a second, builds a new Gate there, away from any event loop, and hands
    it to everybody who listens. A state that cannot be built changes nothing: the old Gate stays, the log (at ERROR,
    once) and `health` say why, until it is mended.

    The thread ends when nobody listens any more, and begins anew in a forked process. What is not promised: a view of
    several files at one moment. Whoever changes files that belong together writes them aside and renames them.
    """

    def __init__(self, load: Load, name: str = "the configuration") -> None:
        self.name = name
        # Why the files are not what is in force, or why they have not been read yet; empty if all is well.
        self.problem = self.unrest = ""
        self._load = load
        self._files = Files()
        self._listeners: list[weakref.ref[Any]] = []
        self._glimpse: dict[Path, Stamp] | None = None
        self._glimpsed_at = 0.0
        self._unrest_since: float | None = None
        self._retry_at: float | None = None
        # Called with the time at every look, for whatever else has to happen every now and then.
        self.tick: Callable[[float], object] = float
        self._start_over()
        self.gate = self._build()
        self.since = datetime.now(UTC)
        # When the files were last found to be what is in force, or were read: in seconds since the epoch.
        self.checked_at = time.time()

    def _start_over(self) -> None:
        """What each process has of its own."""
        self._process = os.getpid()
        self._looking = threading.RLock()
        self._handing = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # --- Who listens --------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` with the present Gate now, and with each new one, in whichever thread built it.

        It is held weakly: the object whose method it is may be discarded without a word, and a plain function has to
        be kept by whoever subscribes it. What it raises now is raised here; what it raises later is a problem of the
        new state, as if that could not be built.
        """
        weak = weakref.WeakMethod(listener) if inspect.ismethod(listener) else weakref.ref(listener)
        with self._handing:
            listener(self.gate)
            self._listeners.append(weak)
            LIVING.add(self)
            self._start()

    def close(self) -> None:
        """Stops looking for good; the present Gate stays. Returns when the thread has ended."""
        self._stop.set()
        LIVING.discard(self)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(LONGEST_BUILDING)

    def _find_listeners(self) -> list[Listener]:
        found = [(weak, weak()) for weak in self._listeners]
        self._listeners = [weak for weak, listener in found if listener is not None]
        return [listener for _, listener in found if listener is not None]

    def _start(self) -> None:
        with self._handing:
            if self._stop.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(
                target=self._keep_looking, args=(self._stop,), name="keyfob.live", daemon=True
            )
            self._thread.start()

    def _keep_looking(self, stop: threading.Event) -> None:
        pause = PAUSE
        while not stop.wait(pause) and not self._has_nobody():
            settled = True
            with contextlib.suppress(BaseException):  # It has been written down.
                settled = self.look()
            pause = PAUSE if settled else SETTLING

    def _has_nobody(self) -> bool:
        """Whether there is nobody left to look for; whoever comes next needs a new thread."""
        with self._handing:
            if self._find_listeners():
                return False
            self._thread = None
            LIVING.discard(self)
            return True

    # --- One look -----------------------------------------------------------------------------------------------------

    def ensure(self, at: float) -> None:
        """Looks at the files here and now if nobody has for a second: some servers never let the thread run.

        `at` is the time of the request, in seconds since the epoch. Costs a comparison otherwise.
        """
        if not -LATE < at - self.checked_at < LATE:
            self._catch_up(at)

    def _catch_up(self, at: float) -> None:
        if self._process != os.getpid():
            # uWSGI forks without a word to Python.
            self.begin_again()
        if self._stop.is_set() or not self._looking.acquire(timeout=COURTESY):
            return
        try:
            if -LATE < at - self.checked_at < LATE:
                return
            with contextlib.suppress(RuntimeError):  # There may be no room for another thread.
                self._start()
            for _ in range(PATIENCE):
                if self.look():
                    break
                time.sleep(SETTLING)
            # Files that do not come to rest hold up one request a second, and no more.
            self.checked_at = time.time()
        finally:
            self._looking.release()

    def look(self) -> bool:
        """Looks once, and builds a new state if the files have changed and settled; False if they have yet to."""
        with self._looking:
            now = time.time()
            try:
                self.tick(now)
                settled = self._look()
            except Exception as error:  # noqa: BLE001 - a revocation tomorrow has to be seen, whatever fails today
                self._fail(error)
                settled = True
            except BaseException as error:
                # What a library's own machine code raises when it panics is no Exception.
                self._fail(error)
                raise
            if settled:
                self.checked_at = now
            return settled

    def _look(self) -> bool:
        seen = self._files.look()
        if not self._files.differ(seen) and not self._is_due():
            self._settle()
            return True
        if seen != self._glimpse or time.monotonic() - self._glimpsed_at < SETTLING / 2:
            self._wait_for_rest(seen)
            return False
        self._settle()
        self._renew()
        return True

    def _is_due(self) -> bool:
        return self._retry_at is not None and time.monotonic() >= self._retry_at

    def _settle(self) -> None:
        self._glimpse, self._unrest_since, self.unrest = None, None, ""

    def _wait_for_rest(self, seen: dict[Path, Stamp]) -> None:
        now = time.monotonic()
        if seen != self._glimpse:
            self._glimpse, self._glimpsed_at = seen, now
        self._unrest_since = self._unrest_since or now
        if now - self._unrest_since > LONGEST_UNREST and not self.unrest:
            self.unrest = f"{self.name}: its files keep changing, and are read once they have stopped"
            LOGGER.warning("%s", self.unrest)

    def _renew(self) -> None:
        try:
            gate = self._build()
        except ConfigError as error:
            self._say(str(error))
            self._fall_back()
            return
        if not self._hand_out(gate):
            return
        if self.problem:
            self.problem = ""
            LOGGER.warning("%s: mended, and in force", self.name)
        else:
            LOGGER.info("%s: changed, and in force", self.name)

    def _fall_back(self) -> None:
        """The old rules, with what else can be read: a broken file must not keep others from being withdrawn."""
        with contextlib.suppress(ConfigError):
            gate = self._build(falls_back=True)
            if self._has_news:
                self._hand_out(gate)

    def _hand_out(self, gate: Gate) -> bool:
        """Gives everybody the new state; False if anybody could not take it, whom it is offered again later."""
        failures: list[Exception] = []
        with self._handing:
            self.gate, self.since = gate, datetime.now(UTC)
            for listener in self._find_listeners():
                try:
                    listener(gate)
                except Exception as error:  # noqa: BLE001 - the others listen, too
                    failures.append(error)
        for failure in failures:
            self._fail(failure)
        return not failures

    def _build(self, *, falls_back: bool = False) -> Gate:
        self.is_building, self._retry_at = True, None
        self._files.begin(falls_back=falls_back)
        try:
            gate = self._load(self._files)
            self._has_news = self._files.brings_news
            self._files.finish()
        finally:
            self.is_building = False
            if self._files.hindered:
                self._retry_at = time.monotonic() + RETRY
        return gate

    def _fail(self, error: BaseException) -> None:
        self._retry_at = time.monotonic() + RETRY
        if isinstance(error, KeyfobError):
            self._say(str(error))
        elif self._say(f"{self.name}: an unexpected {error!r}"):
            LOGGER.error("it came from here, and is worth a report", exc_info=error)

    def _say(self, problem: str) -> bool:
        """Writes down why the files are not what is in force: once, however often they are tried."""
        if problem == self.problem:
            return False
        self.problem = problem
        LOGGER.error("the old state stays in force: %s", problem)
        return True

    # --- Forks --------------------------------------------------------------------------------------------------------

    def stand_still(self) -> bool:
        """Before a fork: a lock that this watch's thread held, here or in a library, would never open in the child."""
        return self._looking.acquire(timeout=LONGEST_BUILDING)

    def go_on(self) -> None:
        """After the fork, in the parent."""
        self._looking.release()

    def begin_again(self) -> None:
        """After the fork, in the child: no thread has come along."""
        self._start_over()
        if self.is_building:
            # The fork would not wait any longer, and the files' stamps are those of a state that nobody builds now.
            self.is_building, self._retry_at = False, 0.0
        if self._find_listeners():
            self._start()


# Every watch of this process that somebody listens to.
LIVING: "weakref.WeakSet[Watch]" = weakref.WeakSet()


class _Fork(threading.local):
    """The watches that stand still while this thread forks."""

    def __init__(self) -> None:
        self.still: list[Watch] = []

    def prepare(self) -> None:
        self.still = [watch for watch in list(LIVING) if watch.stand_still()]

    def finish(self) -> None:
        still, self.still = self.still, []
        for watch in still:
            watch.go_on()

    def begin(self) -> None:
        self.still = []
        for watch in list(LIVING):
            watch.begin_again()


if hasattr(os, "register_at_fork"):
    _fork = _Fork()
    os.register_at_fork(before=_fork.prepare, after_in_parent=_fork.finish, after_in_child=_fork.begin)
