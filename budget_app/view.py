"""What the pages are made from: the workbook as it was last read, and on top of it what it does not have yet.

All sums are kept as entries come and go, so that a page costs the same at a hundred rows and at a hundred thousand.
They follow SUMIFS: amounts that are numbers, on days that are dates, and categories in upper and lower case alike.
"""

import threading
from bisect import bisect_left, insort
from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice

from budget_app.entries import CENT, MAX_AMOUNT, MAX_CATEGORY, FieldError, parse_note
from budget_app.items import CategorySpending, Device, Found, Item, Query, Spending, Suggestion
from budget_app.ledger import Ledger, Numbers, Record, Stock
from budget_app.settings import Settings
from budget_app.workbooks.workbook import Contents, Row

# How far back the categories in use and the suggestions are looked for.
_RECENT = 400
_SUGGESTIONS = 60
_FIRST_WEEKDAYS: Mapping[str, int] = {"monday": 0, "saturday": 5, "sunday": 6}
_ZERO = Decimal(0)
# Before every day that there is.
_NO_DAY = 0


class View:
    """One moment of all expenses. May be used by many threads; every method tells what the ledger knows by then."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._lock = threading.RLock()
        self._lines = _Lines()
        self._numbers = Numbers()
        self._missing: frozenset[str] = frozenset()
        self.stamp: Hashable = None
        self.read_at: datetime | None = None
        """When the workbook was last read; None before the first time."""

    def start(self) -> None:
        """Show what waits in the ledger, until the workbook has been read."""
        stock = self._ledger.take_stock()
        with self._lock:
            self._lines, self._numbers = _lay_out((), stock), stock.numbers

    def replace(self, contents: Contents, stock: Stock) -> None:
        """Show another state of the workbook, and what waited when `stock` was taken, before the workbook was read."""
        lines = _lay_out(contents.rows, stock)
        there = {row.entry_id for row in contents.rows} | {record.entry_id for record in stock.waiting}
        with self._lock:
            self._lines, self._numbers, self._missing = lines, stock.numbers, frozenset(stock.versions.keys() - there)
            self.stamp, self.read_at = contents.stamp, datetime.now(UTC)

    def find(self, entry_id: str) -> Item | None:
        """The entry of the ledger with this id, as the workbook has it or will have it."""
        with self._synchronised() as lines:
            item = lines.find(entry_id)
        return item if item is not None and item.entry_id else None

    def latest(self, count: int) -> tuple[Item, ...]:
        """The last ones by day."""
        with self._synchronised() as lines:
            return tuple(item for _, item in zip(range(count), lines.newest_first(), strict=False))

    def search(self, query: Query, page: int, size: int) -> Found:
        """The items that fit, newest first: the ones of page `page`, counted from 1, of `size` each."""
        with self._synchronised() as lines:
            return lines.search(query, (page - 1) * size, size)

    def recent_categories(self) -> tuple[str, ...]:
        """The categories of the settings: first those in use, the last used one first, then the others in order."""
        known = {name.lower(): name for name in self._settings.category_names}
        with self._synchronised() as lines:
            used = [known[name] for name in lines.recent_categories(_RECENT) if name in known]
        return tuple(dict.fromkeys([*used, *self._settings.category_names]))

    def suggestions(self) -> tuple[Suggestion, ...]:
        """The latest notes, each once, with the category it last had and its usual amount."""
        with self._synchronised() as lines:
            return lines.suggestions({name.lower() for name in self._settings.category_names})

    def all_categories(self) -> tuple[str, ...]:
        """Every category there is, those of the settings first, then those typed by hand alone."""
        with self._synchronised() as lines:
            others = lines.categories()
        known = {name.lower() for name in self._settings.category_names}
        return (*self._settings.category_names, *(name for key, name in sorted(others.items()) if key not in known))

    def months(self) -> tuple[date, ...]:
        """The first days of the months that have an item, newest first."""
        with self._synchronised() as lines:
            return lines.months()

    def devices(self) -> tuple[Device, ...]:
        """Who entered what, those with most entries first."""
        with self._synchronised() as lines:
            return lines.devices()

    def spending(self, month: date, today: date) -> Spending:
        """The month that begins on `month`, against the budgets of the settings."""
        with self._synchronised() as lines:
            sums = lines.sums[month]
            listed = tuple(
                CategorySpending(category.name, sums[category.name.lower()], _read_budget(category.budget))
                for category in self._settings.categories
            )
            months = tuple((each, lines.totals[each]) for each in _twelve_months(month))
            week = lines.sum_days(_first_of_week(today, self._settings.week_start), today)
        return _add_up(month, today, listed, months, week)

    def count(self) -> int:
        """How many items there are."""
        with self._synchronised() as lines:
            return len(lines)

    @property
    def missing(self) -> frozenset[str]:
        """The ids of the entries that were in the workbook and were not any more when it was last read."""
        return self._missing

    @contextmanager
    def _synchronised(self) -> Iterator["_Lines"]:
        """The lines, held against other threads, with everything that the ledger has taken up to now."""
        with self._lock:
            touched, self._numbers = self._ledger.list_touched(self._numbers)
            for record in touched:
                self._lines.apply(record)
            self._missing -= {record.entry_id for record in touched}
            yield self._lines


class _Lines:
    """Items in the order of their days, and the sums over them.

    A line is known by its key: the entry's id, or the number of its row if it was typed by hand.
    """

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._places: dict[Hashable, int] = {}
        self._order: list[tuple[int, int]] = []
        self._next = 0
        self._texts: dict[int, str] = {}
        self._total = _ZERO
        self._tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
        self._categories: Counter[str] = Counter()
        self.sums: defaultdict[date, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        self.totals: defaultdict[date, Decimal] = defaultdict(Decimal)

    def __len__(self) -> int:
        return len(self._items)

    def find(self, key: Hashable) -> Item | None:
        place = self._places.get(key)
        return None if place is None else self._items[place]

    def put(self, key: Hashable, item: Item) -> None:
        """Set the line of `key`; a new one comes after all others of its day."""
        place = self._places.get(key)
        if place is None:
            place, self._next = self._next, self._next + 1
            self._places[key] = place
        else:
            self._forget(place)
        self._items[place] = item
        insort(self._order, (_day(item), place))
        self._count(item, 1)

    def drop(self, key: Hashable) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._forget(place)
            del self._items[place]

    def fill(self, items: Sequence[tuple[Hashable, Item]]) -> None:
        """Take many at once, into lines that have none yet: sorting once is far cheaper than finding each its place."""
        for self._next, (key, item) in enumerate(items):
            self._places[key] = self._next
            self._items[self._next] = item
            self._count(item, 1)
        self._next = len(items)
        self._order = sorted((_day(item), place) for place, item in self._items.items())

    def apply(self, record: Record) -> None:
        """What has become of an entry of the ledger since."""
        if record.removed:
            self.drop(record.entry_id)
        else:
            self.put(record.entry_id, show(record))

    def newest_first(self) -> Iterator[Item]:
        return (self._items[place] for place in self._places_of(None))

    def search(self, query: Query, start: int, size: int) -> Found:
        if query == Query():
            # The list as it is opened: what has been counted along the way is not counted again.
            items = tuple(islice(self.newest_first(), start, start + size))
            return Found(items, len(self._items), self._total)
        places = [place for place in self._places_of(query.month) if _fits(self._items[place], query)]
        if query.text:
            text = query.text.casefold()
            # An amount may be typed with a comma.
            other = text.replace(",", ".")
            places = [place for place in places if text in self._text_of(place) or other in self._text_of(place)]
        found = [self._items[place] for place in places]
        total = sum((item.amount for item in found if isinstance(item.amount, Decimal)), _ZERO)
        return Found(tuple(found[start : start + size]), len(found), total)

    def _text_of(self, place: int) -> str:
        """What is looked through for a text; made when it is first needed."""
        text = self._texts.get(place)
        if text is None:
            text = self._texts[place] = _join_texts(self._items[place])
        return text

    def _places_of(self, month: date | None) -> Iterator[int]:
        first, last = 0, len(self._order)
        if month is not None:
            first = bisect_left(self._order, (month.toordinal(), -1))
            last = bisect_left(self._order, (_last_of_month(month).toordinal() + 1, -1))
        for index in range(last - 1, first - 1, -1):
            yield self._order[index][1]

    def sum_days(self, first: date, last: date) -> Decimal:
        start = bisect_left(self._order, (first.toordinal(), -1))
        end = bisect_left(self._order, (last.toordinal() + 1, -1))
        amounts = (self._items[place].amount for _, place in self._order[start:end])
        return sum((amount for amount in amounts if isinstance(amount, Decimal)), _ZERO)

    def recent_categories(self, count: int) -> list[str]:
        recent = (item.category.lower() for item, _ in zip(self.newest_first(), range(count), strict=False))
        return list(dict.fromkeys(recent))

    def suggestions(self, known: set[str]) -> tuple[Suggestion, ...]:
        categories: dict[str, tuple[str, str]] = {}
        amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
        for item, _ in zip(self.newest_first(), range(_RECENT), strict=False):
            if (
                item.category.lower() in known
                and isinstance(item.amount, Decimal)
                and _can_be_entered(item, item.amount)
            ):
                key = item.note.lower()
                categories.setdefault(key, (item.note, item.category))
                amounts[key].append(item.amount)
        return tuple(
            Suggestion(note, category, Counter(amounts[key][:5]).most_common(1)[0][0])
            for (key, (note, category)), _ in zip(categories.items(), range(_SUGGESTIONS), strict=False)
        )

    def categories(self) -> dict[str, str]:
        used = {name.lower(): name for name, count in self._categories.items() if count}
        return {key: name for key, name in used.items() if name and len(name) <= MAX_CATEGORY}

    def months(self) -> tuple[date, ...]:
        """Jumps from month to month instead of looking at every line."""
        months = []
        index = len(self._order)
        while index and (day := self._order[index - 1][0]) != _NO_DAY:
            months.append(date.fromordinal(day).replace(day=1))
            index = bisect_left(self._order, (months[-1].toordinal(), -1))
        return tuple(months)

    def devices(self) -> tuple[Device, ...]:
        tallies = sorted(self._tallies.items(), key=lambda each: -each[1].count)
        return tuple(Device(name, each.count, each.total, each.last) for name, each in tallies if each.count)

    def _forget(self, place: int) -> None:
        item = self._items[place]
        self._count(item, -1)
        self._texts.pop(place, None)
        del self._order[bisect_left(self._order, (_day(item), place))]

    def _count(self, item: Item, sign: int) -> None:
        self._categories[item.category] += sign
        tally = self._tallies[item.device]
        tally.count += sign
        if isinstance(item.amount, Decimal):
            self._total += sign * item.amount
            tally.total += sign * item.amount
        if isinstance(item.date, date):
            tally.days[item.date] += sign
        if isinstance(item.amount, Decimal) and isinstance(item.date, date):
            month = item.date.replace(day=1)
            self.sums[month][item.category.lower()] += sign * item.amount
            self.totals[month] += sign * item.amount


@dataclass(slots=True)
class _Tally:
    """What one device has entered, and for which days."""

    count: int = 0
    total: Decimal = _ZERO
    days: Counter[date] = field(default_factory=Counter)

    @property
    def last(self) -> date | None:
        return max((day for day, count in self.days.items() if count), default=None)


def show(record: Record) -> Item:
    """An entry as the ledger has it."""
    entry = record.entry
    return Item(
        record.entry_id,
        record.version,
        entry.date,
        entry.amount,
        entry.category,
        entry.note,
        record.device,
        waiting=record.waiting,
    )


def _lay_out(rows: Sequence[Row], stock: Stock) -> _Lines:
    lines = _Lines()
    seen: set[str] = set()
    items: list[tuple[Hashable, Item]] = []
    counts = Counter(row.entry_id for row in rows)
    for row in rows:
        # A row that was copied has its id as well, and nobody can tell which of them is the entry.
        own = bool(row.entry_id) and row.entry_id not in seen
        seen.add(row.entry_id)
        versions = stock.versions if counts[row.entry_id] == 1 else {}
        items.append((row.entry_id if own else row.number, _show_row(row, versions)))
    lines.fill(items)
    for record in stock.waiting:
        lines.apply(record)
    return lines


def _show_row(row: Row, versions: Mapping[str, int]) -> Item:
    """A row as the workbook has it; an id that the ledger does not know, or that was removed, is nobody's."""
    version = versions.get(row.entry_id, 0)
    return Item(row.entry_id if version else "", version, row.date, row.amount, row.category, row.note, row.device)


def _day(item: Item) -> int:
    """Where it stands among the others, as a number of days; what has no date stands before all."""
    return item.date.toordinal() if isinstance(item.date, date) else _NO_DAY


def _can_be_entered(item: Item, amount: Decimal) -> bool:
    """Whether the form would take the note and the amount, which may have been typed into the workbook by hand."""
    try:
        note = parse_note(item.note)
    except FieldError:
        return False
    return bool(note and amount) and abs(amount) <= MAX_AMOUNT and amount == amount.quantize(CENT)


def _fits(item: Item, query: Query) -> bool:
    if query.device and item.device != query.device:
        return False
    return not query.category or item.category.lower() == query.category.lower()


def _join_texts(item: Item) -> str:
    # The amount as the workbook writes it, and with two decimals, as the pages show it.
    amount = f"{item.amount:.2f}" if isinstance(item.amount, Decimal) else item.amount
    return f"{item.note}\n{item.category}\n{item.device}\n{item.amount}\n{amount}".casefold()


def _read_budget(budget: float | None) -> Decimal | None:
    return None if budget is None else Decimal(str(budget))


def _add_up(
    month: date,
    today: date,
    listed: tuple[CategorySpending, ...],
    months: tuple[tuple[date, Decimal], ...],
    week: Decimal,
) -> Spending:
    total = months[-1][1]
    limited = [each for each in listed if each.budget is not None]
    now = month == today.replace(day=1)
    budget = sum((each.budget for each in limited if each.budget is not None), _ZERO) if limited else None
    left = budget - sum((each.spent for each in limited), _ZERO) if budget is not None and now else None
    days_left = (_last_of_month(month) - today).days + 1 if now else 0
    return Spending(
        month,
        listed,
        total - sum((each.spent for each in listed), _ZERO),
        total,
        budget,
        left,
        left / days_left if left is not None else None,
        days_left,
        week if now else None,
        months,
    )


def _last_of_month(month: date) -> date:
    return month.replace(day=monthrange(month.year, month.month)[1])


def _twelve_months(last: date) -> list[date]:
    """Fewer in the first year of the calendar, before which there is none."""
    months = [last]
    while len(months) < 12 and months[-1] > date.min:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    return months[::-1]


def _first_of_week(today: date, week_start: str) -> date:
    return today - timedelta(days=(today.weekday() - _FIRST_WEEKDAYS[week_start]) % 7)
