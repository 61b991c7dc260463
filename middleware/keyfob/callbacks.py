"""Callbacks: an app's own function is told of decisions, on a thread of its own, where it can hold up nobody."""

import asyncio
import contextlib
import inspect
import logging
import os
import queue
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from traceback import extract_tb

from keyfob.audit import AuditRecord

LOGGER = logging.getLogger("keyfob")

# An app's function, sync or async. What it returns otherwise is dropped.
OnDecision = Callable[[AuditRecord], object]

# How many records may wait for the function; what comes on top is dropped, and counted.
WAITING = 1000
# How many seconds an async function has for one record.
LONGEST = 10.0
# The same trouble is logged no oftener than every so many seconds.
QUIET = 60.0
# How much of an exception's text is logged.
_SHOWN = 512


class Messenger:
    """Hands each record to `function`, in their order, one after the other, and never raises or waits.

    A daemon thread calls the function; it is started by the first record, and anew in a child process, which begins
    with nothing waiting. An async function runs in that thread's own event loop, always the same one, and is cancelled
    after LONGEST seconds. A sync one cannot be: if it waits for ever, so do the records behind it, so give whatever it
    calls a time limit. What it raises is logged. Not promised: that a record is delivered, since those that are still
    waiting when the process ends are lost, as are those that find WAITING others before them.
    """

    def __init__(self, function: OnDecision) -> None:
        self._function = function
        self._post = _Post(function)

    @property
    def dropped(self) -> int:
        """How many records this process could not hand over, since the last close() if there was one."""
        return self._post.dropped

    def __call__(self, record: AuditRecord) -> None:
        """Puts the record into the queue, or drops it if that is full."""
        self._find_post().put(record)

    def close(self, seconds: float = 1.0) -> None:
        """Ends the thread once what is in the queue is delivered, and waits for that, for at most so many seconds.

        A record that comes later starts another thread.
        """
        post, self._post = self._find_post(), _Post(self._function)
        post.end(seconds)

    def _find_post(self) -> "_Post":
        post = self._post
        if post.process != os.getpid():
            # A child has none of its parent's threads, and the queue's lock may be held by one of them.
            post = self._post = _Post(self._function)
        return post


class _Post:
    """The queue and the thread of one process."""

    def __init__(self, function: OnDecision) -> None:
        self.process = os.getpid()
        self.dropped = 0
        self._function = function
        self._queue: queue.Queue[AuditRecord | threading.Event] = queue.Queue(WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._drops, self._failures = _Complaint(), _Complaint()

    def put(self, record: AuditRecord) -> None:
        try:
            if self._thread is None:
                self._start()
            self._queue.put_nowait(record)
        except queue.Full:
            self._drop(f"{WAITING} are waiting already")
        except RuntimeError as error:
            # No thread can be started, now or, while the interpreter ends, ever.
            self._drop(str(error))

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._drops.log(f"a record was not handed to on_decision: {why}")

    def end(self, seconds: float) -> None:
        if self._thread is None:
            return
        deadline, ended = monotonic() + seconds, threading.Event()
        with contextlib.suppress(queue.Full):
            self._queue.put(ended, timeout=seconds)
            ended.wait(deadline - monotonic())

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._deliver, name="keyfob-callbacks", daemon=True)
                thread.start()
                self._thread = thread

    def _deliver(self) -> None:
        with asyncio.Runner() as runner:
            while not isinstance(item := self._queue.get(), threading.Event):
                self._tell(item, runner)
        item.set()

    def _tell(self, record: AuditRecord, runner: asyncio.Runner) -> None:
        error: BaseException | None = None
        try:
            result = self._function(record)
            if inspect.isawaitable(result):
                error = runner.run(_limit(result))
        except BaseException as raised:  # noqa: BLE001 - not even sys.exit() in a callback may end the deliveries
            error = raised
        if error is not None:
            self._failures.log(f"on_decision failed: {_describe(error)}")


async def _limit(result: Awaitable[object]) -> BaseException | None:
    """What went wrong within LONGEST seconds, after which nobody waits, also if it does not let itself be cancelled."""
    task = asyncio.ensure_future(_find_error(result))
    done, _ = await asyncio.wait([task], timeout=LONGEST)
    if done:
        return task.result()
    task.cancel()
    # One turn of the loop, in which it hears of it.
    await asyncio.sleep(0)
    return TimeoutError(f"not done within {LONGEST:g} seconds")


async def _find_error(result: Awaitable[object]) -> BaseException | None:
    try:
        await result
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - raised out of a task, sys.exit() would stop the loop around it
        return error
    return None


def _describe(error: BaseException) -> str:
    """What happened and where, as printable ASCII: a record's texts may be in it."""
    try:
        said = ascii(error)[:_SHOWN]
    except Exception:  # noqa: BLE001 - an exception may be broken itself
        said = type(error).__name__
    frames = extract_tb(error.__traceback__)
    return f"{said}, in {frames[-1].filename!a} line {frames[-1].lineno}" if frames else said


class _Complaint:
    """Says at once what is wrong, and then no oftener than every QUIET seconds, with a count."""

    def __init__(self) -> None:
        self._count = 0
        self._quiet_until = 0.0

    def log(self, what: str) -> None:
        self._count += 1
        now = monotonic()
        if now >= self._quiet_until:
            LOGGER.error("%s (%d since the last word about it)", what, self._count)
            self._count, self._quiet_until = 0, now + QUIET
