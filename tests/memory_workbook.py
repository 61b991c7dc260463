"""A workbook in memory: what a person and the network may do to one, at the moment that a test says.

It keeps to the promises of `Workbook`, and holds its callers to theirs: one call at a time, an id once in a write.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal

from budget_app.entries import Entry
from budget_app.workbooks.workbook import Change, Contents, Row, WorkbookBusy, WorkbookError, Written

Call = Literal["prepare", "stamp", "read", "write"]

# A test that waits so long has failed; none waits so long otherwise.
PATIENCE = 30.0

BROKEN = WorkbookError("the disk of {path} has no room left", "make room on it", path="memory")
BUSY = WorkbookBusy("{path} is open in LibreOffice", "close it there", path="memory")


@dataclass(frozen=True, slots=True)
class Fault:
    """What one call raises; `after` it did what it was asked, or instead of it."""

    error: Exception
    after: bool = False


class MemoryWorkbook:
    """Rows in a list. `blind` tells no stamps, as Google does."""

    def __init__(self, rows: Iterable[Row] = (), *, pace: float = 0.0, blind: bool = False) -> None:
        self.place, self.pace, self.blind = "memory", pace, blind
        self.asked: Counter[Call] = Counter()
        """How often each call has begun."""
        self.written: list[tuple[Change, ...]] = []
        """The changes of each write that began, whether or not it went wrong."""
        self.on_read: Callable[[], None] = lambda: None
        """Called before the rows are taken, when another process may still write."""
        self.on_write: Callable[[], None] = lambda: None
        """Called in the midst of a write, before the rows are changed."""
        self._rows = list(rows)
        self._state = 1
        self._faults: dict[Call, deque[Fault]] = {call: deque() for call in ("prepare", "stamp", "read", "write")}
        self._always: dict[Call, Fault] = {}
        self._moved = threading.Condition()
        self._in_use = threading.Lock()

    # What the writer asks.

    def prepare(self) -> None:
        with self._called("prepare"):
            pass

    def stamp(self) -> Hashable:
        with self._called("stamp"):
            return self._stamp()

    def read(self) -> Contents:
        self.on_read()
        with self._called("read"), self._moved:
            return Contents(self._stamp(), tuple(self._rows))

    def write(self, changes: Sequence[Change]) -> Written:
        with self._moved:
            self.written.append(tuple(changes))
        twice = [entry_id for entry_id, count in Counter(each.entry_id for each in changes).items() if count > 1]
        if twice:
            raise AssertionError(f"one write names these more than once: {twice}")
        with self._called("write"):
            self.on_write()
            with self._moved:
                before = self._stamp()
                blocked = frozenset(each.entry_id for each in changes if self._is_blocked(each))
                missing = frozenset(
                    each.entry_id for each in changes if each.entry_id not in blocked and not self._apply(each)
                )
                self._state += 1
                written = Written(before, self._stamp(), missing, blocked)
            if blocked:
                raise copied().after(written)
            return written

    # What a person does by hand.

    @property
    def rows(self) -> tuple[Row, ...]:
        with self._moved:
            return tuple(self._rows)

    @property
    def stamp_now(self) -> Hashable:
        """The stamp of this moment, without anybody having asked for it."""
        with self._moved:
            return self._stamp()

    @property
    def ids(self) -> list[str]:
        """The ids of the rows that have one, as they come."""
        return [row.entry_id for row in self.rows if row.entry_id]

    def type_row(self, row: Row) -> None:
        """Put a row at the end; its number is set."""
        with self._by_hand():
            self._rows.append(replace(row, number=self._next_number()))

    def edit_row(
        self,
        entry_id: str,
        *,
        day: date | str | None = None,
        amount: Decimal | str | None = None,
        category: str | None = None,
        note: str | None = None,
    ) -> None:
        """Change what is given of the first row with this id."""
        with self._by_hand():
            index = self._find(entry_id)
            row = self._rows[index]
            self._rows[index] = replace(
                row,
                date=row.date if day is None else day,
                amount=row.amount if amount is None else amount,
                category=row.category if category is None else category,
                note=row.note if note is None else note,
            )

    def copy_row(self, entry_id: str) -> None:
        """Copy the first row with this id to the end, its id with it."""
        with self._by_hand():
            row = self._rows[self._find(entry_id)]
            self._rows.append(replace(row, number=self._next_number()))

    def remove_row(self, entry_id: str) -> None:
        """Take the first row with this id out."""
        with self._by_hand():
            del self._rows[self._find(entry_id)]

    def touch(self) -> None:
        """Save it once more as it is."""
        with self._by_hand():
            pass

    # What goes wrong, and when.

    def fail(self, call: Call, *faults: Fault | Exception) -> None:
        """Let the next calls fail, one after the other."""
        with self._moved:
            self._faults[call].extend(_as_fault(fault) for fault in faults)

    def fail_always(self, call: Call, fault: Fault | Exception | None) -> None:
        """Let every call fail from now on, until it is called with None."""
        with self._moved:
            if fault is None:
                del self._always[call]
            else:
                self._always[call] = _as_fault(fault)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so; looked at after each call, and every few milliseconds. Raises TimeoutError."""
        with self._moved:
            for _ in range(int(PATIENCE / 0.005)):
                if reached():
                    return
                self._moved.wait(0.005)
        raise TimeoutError(f"not reached; asked so far: {dict(self.asked)}")

    def wait_for(self, call: Call, times: int) -> None:
        """Wait until so many more of these calls have begun."""
        goal = self.asked[call] + times
        self.wait_until(lambda: self.asked[call] >= goal)

    @contextmanager
    def _called(self, call: Call) -> Iterator[None]:
        if not self._in_use.acquire(blocking=False):
            raise AssertionError(f"{call} was called while another call was under way")
        try:
            fault = self._begin(call)
            if fault is not None and not fault.after:
                raise fault.error
            yield
            if fault is not None:
                raise fault.error
        finally:
            self._in_use.release()
            with self._moved:
                self._moved.notify_all()

    def _begin(self, call: Call) -> Fault | None:
        with self._moved:
            self.asked[call] += 1
            faults = self._faults[call]
            return faults.popleft() if faults else self._always.get(call)

    @contextmanager
    def _by_hand(self) -> Iterator[None]:
        with self._moved:
            yield
            self._state += 1
            self._moved.notify_all()

    def _stamp(self) -> Hashable:
        return None if self.blind else self._state

    def _next_number(self) -> int:
        return 1 + max((row.number for row in self._rows), default=1)

    def _find(self, entry_id: str) -> int:
        return next(index for index, row in enumerate(self._rows) if row.entry_id == entry_id)

    def _is_blocked(self, change: Change) -> bool:
        """Whether several rows have its id, and not all of them are as they shall be."""
        rows = [row for row in self._rows if row.entry_id == change.entry_id]
        return len(rows) > 1 and not all(_rewrite(row, change) == row for row in rows)

    def _apply(self, change: Change) -> bool:
        """Whether the workbook has it now as it shall be; it has not if the person took its row out."""
        found = any(row.entry_id == change.entry_id for row in self._rows)
        entry = change.entry
        if entry is None:
            if found:
                del self._rows[self._find(change.entry_id)]
            return True
        if not found and change.written:
            return False
        if found:
            index = self._find(change.entry_id)
            self._rows[index] = _rewrite(self._rows[index], change) or self._rows[index]
        else:
            self._rows.append(_make_row(self._next_number(), entry, change))
        return True


def copied() -> WorkbookError:
    """What a write says that has found more than one row of an entry."""
    return WorkbookError("several rows of {path} are one entry", "empty the ids of the copies", path="memory")


def _rewrite(row: Row, change: Change) -> Row | None:
    """The row as it shall be; None if it shall be gone."""
    if change.entry is None:
        return None
    kept = {name: getattr(row, name) for name in change.kept}
    return replace(_make_row(row.number, change.entry, change), **kept)


def _make_row(number: int, entry: Entry, change: Change) -> Row:
    return Row(number, entry.date, entry.amount, entry.category, entry.note, change.device, change.entry_id)


def _as_fault(fault: Fault | Exception) -> Fault:
    return fault if isinstance(fault, Fault) else Fault(fault)
