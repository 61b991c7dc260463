"""What every kind of workbook can do, and what it is asked and tells in."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple, Protocol, Self

from budget_app.entries import Entry
from budget_app.sentences import Sentence

FIELDS = ("date", "amount", "category", "note", "device", "entry_id")
"""The columns of an expense, by the names that `budget.toml` calls them; each is also a field of `Row`."""

HEADINGS = ("Date", "Amount", "Category", "Note", "Device", "Entry ID")
"""The headings of these columns in a workbook that is made new, and wherever `budget.toml` names no others."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the sheet that holds anything in our columns, typed by hand or written by the app.

    `number` is the row's number in the sheet, counted from 1. A `date` or `amount` that is none is given as its text,
    empty if the cell is. Amounts have all the digits that the workbook has; refunds are below zero. `entry_id` is empty
    for what was typed by hand.
    """

    number: int
    date: date | str
    amount: Decimal | str
    category: str
    note: str
    device: str
    entry_id: str


class Contents(NamedTuple):
    """Every row from the top, and the stamp of the state of the workbook that they were read from."""

    stamp: Hashable
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What the row of one entry shall be; `entry` is None if it shall be gone.

    `written` says that the workbook had this entry before: if no row has its id now, the person took it out, and it
    stays out. Otherwise a row is added. `bases` are what the workbook may have had when the entry was changed.
    """

    entry_id: str
    entry: Entry | None
    device: str
    written: bool
    bases: tuple[Entry, ...] = ()

    @property
    def kept(self) -> frozenset[str]:
        """The fields of a row that is there which were not changed: whatever a person makes of them stays."""
        if self.entry is None or not self.bases:
            return frozenset()
        entry, bases = self.entry, self.bases
        return frozenset(
            [
                "device",
                *(
                    name
                    for name in ("date", "amount", "category", "note")
                    if all(getattr(entry, name) == getattr(base, name) for base in bases)
                ),
            ]
        )


class Written(NamedTuple):
    """What `write` did: the stamps of the workbook before and after, and the ids of written entries that it misses.

    A workbook that cannot tell one state from another (Google) gives None for both, and one that has taken in rows that
    were not read as expenses before gives None for `before`. `blocked` are the ids of entries
    that could not be brought in; it is empty unless this is the `written` of a WorkbookError.
    """

    before: Hashable
    after: Hashable
    missing: frozenset[str]
    blocked: frozenset[str] = frozenset()


class WorkbookError(Exception):
    """The workbook cannot be read or written now; `message` says what is wrong and `hint` what to do about it.

    Both are sentences without a full stop, the message starting in lower case unless with a name, the hint as what to
    do (“close it there”). `retry_after` is for how many seconds the other side asked to be left alone, if it did.
    `written` is there if `write` has done everything but for the entries that are blocked.
    """

    written: Written | None = None

    def __init__(self, message: str, hint: str, *, retry_after: float | None = None, **values: object) -> None:
        self.message = Sentence(message, values)
        self.hint = Sentence(hint, values)
        self.retry_after = retry_after
        super().__init__(message, hint)

    def __str__(self) -> str:
        return f"{self.message}; hint: {self.hint}"

    def after(self, written: Written) -> Self:
        """This error, with what was done all the same."""
        self.written = written
        return self


class WorkbookBusy(WorkbookError):
    """Somebody has the workbook open; it is written as soon as they close it. Nothing is wrong."""


class Workbook(Protocol):
    """One sheet of expenses. Methods block, are called by one thread at a time and raise WorkbookError alone.

    Whatever happens, a power failure included, the workbook afterwards has all of a `write` or nothing of it, and is
    whole; where the place itself cannot promise that (Google), repeating the same `write` finishes it.
    """

    @property
    def place(self) -> str:
        """What to call it to a person: a path, or a title."""

    @property
    def pace(self) -> float:
        """The least number of seconds from one write, or one read, to the next."""

    def prepare(self) -> None:
        """Make it if it is missing and can be made; otherwise see that it can be used."""

    def stamp(self) -> Hashable:
        """What tells one state from another without reading it, None where nothing can; it is asked for often."""

    def read(self) -> Contents:
        """Every row."""

    def write(self, changes: Sequence[Change]) -> Written:
        """Make the workbook agree with `changes`, at most one for each entry id, and return when that is durable.

        Rows are found by their ids, so the same changes twice do what they do once. Everything else in the workbook,
        and in the rows' other columns, stays as it was.
        """
