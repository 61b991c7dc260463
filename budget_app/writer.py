"""The one who writes: takes what waits in the ledger to the workbook, and reads the workbook when it has changed."""

import fcntl
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from budget_app.ledger import Ledger, LedgerError, Record
from budget_app.sentences import Sentence
from budget_app.view import View
from budget_app.workbooks.workbook import Change, Workbook, WorkbookBusy, WorkbookError, Written

_LOG = logging.getLogger("budget_app.writer")

# At most so many entries in one write.
BATCH = 5000
# So many are noted in the ledger at a time: whoever adds an entry meanwhile waits for no more of them.
_DELIVERED = 250
# How often a file is looked at, in seconds: whether somebody else has changed it.
LOOK = 1.0
# How old a workbook may be that cannot be looked at without reading it, while somebody looks at its pages.
STALE = 60.0
# The waits after a failure, in seconds: the first, and the longest. Each is twice the one before.
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
# The longest wait that the other side may ask for.
MOST_HEEDED = 3600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How the writing goes. `problem` is what was wrong at the last try, None if nothing was; times are in UTC."""

    problem: tuple[Sentence, Sentence] | None = None
    busy: bool = False
    written_at: datetime | None = None
    next_try: datetime | None = None


class Writer:
    """A thread of its own, once `start` was called. Of several processes with one ledger, one at a time writes."""

    def __init__(
        self, ledger: Ledger, workbook: Workbook, view: View, jitter: Callable[[], float] = random.random
    ) -> None:
        """`jitter` gives numbers from 0 to 1; a wait after a failure is half its length, and this share of the rest."""
        self.progress = Progress()
        self._ledger, self._workbook, self._view, self._jitter = ledger, workbook, view, jitter
        self._turn = _Turn(ledger.path.with_name(f"{ledger.path.name}-writer"))
        self._asked, self._stopping, self._wanted = threading.Event(), threading.Event(), threading.Event()
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._failures = 0
        self._not_before = self._blocked_until = 0.0
        self._blocked: frozenset[str] = frozenset()
        self._prepared, self._stale = False, True
        self._noticed: Hashable = None
        self._read_last = float("-inf")

    def start(self) -> None:
        """Begin, and wait until the workbook was read for the first time or could not be."""
        self._ledger.changed = self._asked.set
        self._thread.start()
        self._settled.wait()

    def stop(self) -> None:
        """End after what is being done now. What waits then is written after the next start."""
        self._stopping.set()
        self._asked.set()
        self._thread.join()
        self._turn.give_up()

    def want(self) -> None:
        """Somebody looks at a page: a workbook that is only ever read when there is a reason has one now."""
        self._wanted.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._asked.clear()
            self._try(self._take_turn)
            self._settled.set()
            rest = self._not_before - time.monotonic()
            # While it rests, only the file is looked at: what comes in the meantime goes into one write.
            self._stopping.wait(min(LOOK, rest)) if rest > 0 else self._asked.wait(LOOK)

    def _take_turn(self) -> None:
        if self._has_changed():
            # Perhaps somebody has put right what was wrong.
            self._not_before = self._blocked_until = 0.0
        if time.monotonic() < self._not_before:
            return
        if not self._prepared:
            self._workbook.prepare()
            self._prepared = True
        if self._is_outdated():
            self._read()
        self._write()

    def _try(self, step: Callable[[], None]) -> None:
        """Do one step; whatever goes wrong is shown, and tried again later."""
        try:
            step()
        except WorkbookBusy as error:
            self._fail(error.message, error.hint, LOOK, busy=True)
        except WorkbookError as error:
            self._fail(error.message, error.hint, self._heed(error.retry_after))
        except LedgerError as error:
            self._fail(error.message, error.hint, self._next_wait())
        except Exception:  # noqa: BLE001  The thread goes on whatever happens: nobody else would take up its work.
            _LOG.exception("the workbook could not be written")
            hint = Sentence("look at the log of the budget app, which describes it")
            self._fail(Sentence("the budget app has a fault"), hint, self._next_wait())

    def _fail(self, message: Sentence, hint: Sentence, wait: float, *, busy: bool = False) -> None:
        """Tell it, and rest."""
        self._not_before = time.monotonic() + wait
        self._tell(message, hint, wait, busy=busy)

    def _tell(self, message: Sentence, hint: Sentence, wait: float, *, busy: bool = False) -> None:
        if self.progress.problem != (message, hint):
            _LOG.warning("%s; hint: %s", message, hint)
        next_try = datetime.now(UTC) + timedelta(seconds=wait)
        self.progress = replace(self.progress, problem=(message, hint), busy=busy, next_try=next_try)

    def _heed(self, asked: float | None) -> float:
        """How long to wait: as long as the other side asks for, within reason; else longer each time."""
        if asked is None or not asked > 0:
            return self._next_wait()
        return min(asked, MOST_HEEDED)

    def _next_wait(self) -> float:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return wait * (0.5 + 0.5 * self._jitter())

    def _succeed(self) -> None:
        self._failures = 0
        if self.progress.problem is not None:
            _LOG.warning("%s is written again", self._workbook.place)
            self.progress = replace(self.progress, problem=None, busy=False, next_try=None)

    def _has_changed(self) -> bool:
        """Whether the workbook is another than at the last look. While it rests, a look that fails is no failure."""
        try:
            stamp = self._workbook.stamp()
        except WorkbookError:
            if time.monotonic() < self._not_before:
                return False
            raise
        last, self._noticed = self._noticed, stamp
        return stamp != last

    def _is_outdated(self) -> bool:
        """Whether the pages show another state of the workbook than it is in."""
        if self._stale or self._noticed != self._view.stamp:
            return True
        return self._noticed is None and self._wanted.is_set() and time.monotonic() - self._read_last > STALE

    def _read(self) -> None:
        self._wanted.clear()
        self._read_last = time.monotonic()
        stock = self._ledger.take_stock()
        contents = self._workbook.read()
        self._view.replace(contents, stock)
        self._noticed, self._stale = contents.stamp, False

    def _write(self) -> None:
        if time.monotonic() >= self._blocked_until:
            self._blocked = frozenset()
        records = [each for each in self._ledger.list_waiting(BATCH) if each.entry_id not in self._blocked]
        if records and not self._turn.take():
            return
        started = time.monotonic()
        if records:
            self._bring(records)
        if not self._blocked:
            self._succeed()
        if records:
            self.progress = replace(self.progress, written_at=datetime.now(UTC))
            # A fifth of the time at most goes into writing, so that a large file leaves room for everything else.
            self._not_before = time.monotonic() + max(self._workbook.pace, 4 * (time.monotonic() - started))

    def _bring(self, records: Sequence[Record]) -> None:
        changes = [self._ask_for(record) for record in records]
        try:
            self._note(records, self._workbook.write(changes))
        except WorkbookError as error:
            if error.written is None:
                # What it did before it failed is not taken for somebody else's change.
                with suppress(WorkbookError):
                    self._noticed = self._workbook.stamp()
                raise
            self._note(records, error.written)
            self._block(error, error.written.blocked)

    def _block(self, error: WorkbookError, blocked: frozenset[str]) -> None:
        """Leave these alone for a while; all others go on."""
        wait = self._heed(error.retry_after)
        self._blocked |= blocked
        self._blocked_until = time.monotonic() + wait
        self._tell(error.message, error.hint, wait)

    def _note(self, records: Sequence[Record], written: Written) -> None:
        """Write down what the workbook has now."""
        # Without stamps nothing tells whether a person has edited what the write then left as it was.
        unseen = written.after is None and any(record.in_workbook for record in records)
        if written.before != self._view.stamp or written.missing or unseen:
            self._stale = True
        else:
            self._view.stamp = written.after
        self._noticed = written.after
        there = [(record.entry_id, record.version) for record in records if record.entry_id not in written.blocked]
        for each in range(0, len(there), _DELIVERED):
            self._ledger.deliver(there[each : each + _DELIVERED]).result()

    def _ask_for(self, record: Record) -> Change:
        entry = None if record.removed else record.entry
        bases = self._ledger.list_bases(record.entry_id) if record.in_workbook else ()
        return Change(record.entry_id, entry, record.device, written=record.in_workbook, bases=bases)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock on a file, None if somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class _Turn:
    """Whose turn it is to write, among the processes that share a ledger: a lock on a file, held until the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Whether it is ours. Raises LedgerError if nobody can tell."""
        try:
            if self._descriptor is None:
                self._descriptor = _lock(self._path)
        except OSError as error:
            raise LedgerError("the ledger {path} cannot be used ({why})", path=self._path, why=error) from error
        return self._descriptor is not None

    def give_up(self) -> None:
        """Let another one write."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
