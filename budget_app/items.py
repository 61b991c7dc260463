"""What the pages show of the expenses: one item, a search and what it found, a month's spending, the devices."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from budget_app.entries import Entry
from budget_app.sentences import Sentence


@dataclass(frozen=True, slots=True)
class Item:
    """One expense, as the workbook has it or will have it.

    `entry_id` and `version` are of the ledger; both are empty (0) for what was typed by hand. `waiting` says that the
    workbook does not have this version yet. A `date` or `amount` that is none is given as its text.
    """

    entry_id: str
    version: int
    date: date | str
    amount: Decimal | str
    category: str
    note: str
    device: str
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. `text` is found in note, category, amount and device, in upper and lower case alike.

    `month` is the first day of the month, `device` and `category` are whole names; None and empty leave it open.
    """

    text: str = ""
    month: date | None = None
    device: str = ""
    category: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what was found, newest first; `count` and `total` are of all that was found."""

    items: tuple[Item, ...]
    count: int
    total: Decimal


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A note from the history, with the category it last had and the amount it had most often lately."""

    note: str
    category: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CategorySpending:
    """What one category has cost in a month. `budget` is None without a limit."""

    name: str
    spent: Decimal
    budget: Decimal | None


@dataclass(frozen=True, slots=True)
class Spending:
    """One month (its first day), the categories of the settings in their order, and all others as one number.

    `left` is what the budgets leave of the money of the categories that have one, and `left_per_day` that by the days
    that are left, today included; both None for another month than today's and where no category has a budget.
    `week` is what this week has cost so far, None for another month. `months` are the twelve up to this one, oldest
    first, each with what it has cost.
    """

    month: date
    categories: tuple[CategorySpending, ...]
    others: Decimal
    total: Decimal
    budget: Decimal | None
    left: Decimal | None
    left_per_day: Decimal | None
    days_left: int
    week: Decimal | None
    months: tuple[tuple[date, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Device:
    """Who entered what, by certificate name; `last` is the latest day of an expense."""

    name: str
    count: int
    total: Decimal
    last: date | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry whose last version has not reached the workbook yet, since when, and what shall become of it.

    `entry` is None if it is to be taken out of the workbook.
    """

    entry_id: str
    entry: Entry | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """How the ledger and the workbook are. `problem` is why the last write or read failed, None if it did not.

    `missing` counts entries that were in the workbook and are not any more, taken out by hand. `next_try` is when the
    workbook is tried again.
    """

    place: str
    rows: int
    waiting: int
    missing: int
    problem: tuple[Sentence, Sentence] | None
    busy: bool
    written_at: datetime | None
    read_at: datetime | None
    next_try: datetime | None
