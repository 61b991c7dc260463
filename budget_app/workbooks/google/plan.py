"""What has to be done to a sheet so that it agrees with what was asked for. No I/O."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from budget_app.workbooks.google.calls import MOST_BYTES
from budget_app.workbooks.google.cells import ID, Cells, Snapshot, make_cells, show
from budget_app.workbooks.google.doubts import Doubts
from budget_app.workbooks.workbook import FIELDS, Change

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """The row of an entry, and what it shall hold."""

    row: int
    cells: Cells


@dataclass(slots=True)
class Plan:
    """By entry id: new rows, rows to overwrite, and rows to empty; and what is not to be touched now.

    `missing` were written and have no row any more, `held` are in doubt, `doubled` have several rows that differ from
    what was asked for.
    """

    adds: dict[str, Cells] = field(default_factory=dict)
    updates: dict[str, Target] = field(default_factory=dict)
    removals: dict[str, Target] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    doubled: dict[str, Sequence[int]] = field(default_factory=dict)

    def take(self, change: Change, snapshot: Snapshot, doubts: Doubts) -> None:
        rows, name = snapshot.find(change.entry_id), change.entry_id
        cells = _keep(change, snapshot.cells(rows[0])) if rows else make_cells(change)
        if name in doubts:
            self.held.add(name)
        elif not rows:
            self._take_absent(change, cells)
        elif change.entry is not None and all(snapshot.cells(row) == cells for row in rows):
            return
        elif len(rows) > 1:
            self.doubled[name] = rows
        else:
            (self.removals if change.entry is None else self.updates)[name] = Target(rows[0], cells)

    def _take_absent(self, change: Change, cells: Cells) -> None:
        if change.entry is None:
            return
        if change.written:
            self.missing.add(change.entry_id)
        else:
            self.adds[change.entry_id] = cells


def _keep(change: Change, there: Cells) -> Cells:
    """What the row shall hold, with what is there in the fields that were not changed."""
    wanted = make_cells(change)
    if not wanted:
        return wanted
    return tuple(old if name in change.kept else new for name, old, new in zip(FIELDS, there, wanted, strict=True))


def make_plan(snapshot: Snapshot, changes: Sequence[Change], doubts: Doubts) -> Plan:
    """The sheet may have been sorted, edited and added to; only what differs is done."""
    plan = Plan()
    for change in changes:
        plan.take(change, snapshot, doubts)
    return plan


def find_overwritten(before: Snapshot, after: Snapshot, targets: Mapping[str, Target]) -> Iterator[tuple[int, Cells]]:
    """Rows that were moved in the very moment of a write, so that it went into the wrong one: each row, as it was.

    What a row without an id was is told by elimination; () if that tells nothing.
    """
    for entry_id, target in targets.items():
        cells = after.cells(target.row)
        if cells[ID] != entry_id and cells[:ID] == target.cells[:ID]:
            was = _recall(before, after, show(cells[ID]))
            if was != cells:
                yield target.row, was


def _recall(before: Snapshot, after: Snapshot, entry_id: str) -> Cells:
    if entry_id:
        rows = before.find(entry_id)
        return before.cells(rows[0]) if len(rows) == 1 else ()
    now = [after.cells(number) for number in range(after.top + 1, len(after.values))]
    lost = []
    for number in range(before.top + 1, len(before.values)):
        cells = before.cells(number)
        if cells[ID] == "" and any(cell != "" for cell in cells):
            if cells in now:
                now.remove(cells)
            else:
                lost.append(cells)
    return lost[0] if len(lost) == 1 else ()


def split(items: Sequence[T], measure: Callable[[T], Any], most: int = MOST_BYTES) -> Iterator[Sequence[T]]:
    """Parts whose JSON is at most about `most` bytes; `measure` gives what of an item is sent."""
    part: list[T] = []
    size = 0
    for item in items:
        length = len(json.dumps(measure(item))) + 2
        if part and size + length > most:
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part
