"""The pages show what the workbook has, and on top of it what waits: nothing twice, and nothing missing."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budget_app.entries import MAX_AMOUNT, MAX_NOTE, Entry
from budget_app.items import Item, Query, Spending
from budget_app.ledger import Ledger, Record
from budget_app.settings import Category, Settings
from budget_app.view import View
from budget_app.workbooks.workbook import Change, Contents, Row, WorkbookError
from memory_workbook import MemoryWorkbook

TODAY = date(2025, 11, 19)  # a Wednesday
NOVEMBER = date(2025, 11, 1)
OPEN = Settings(
    categories=(
        Category(name="Eating out", budget=100.0),
        Category(name="Café", budget=50.50),
        Category(name="Home"),
    )
)
PHONE = "Rhea Group"
PATIENCE = 30.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path) as ledger:
        yield ledger


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(folder / "ledger.db")
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()


def typed(
    number: int,
    day: date | str = TODAY,
    amount: str | Decimal = "4.50",
    category: str = "Home",
    note: str = "",
    device: str = "",
    entry_id: str = "",
) -> Row:
    """A row as a workbook tells it; an amount that begins with a quote is a text."""
    cell = amount if isinstance(amount, Decimal) else amount[1:] if amount.startswith("'") else Decimal(amount)
    return Row(number, day, cell, category, note, device, entry_id)


def spend(amount: str = "4.50", category: str = "Home", day: date = TODAY, note: str = "") -> Entry:
    return Entry(Decimal(amount), category, day, note)


def add(ledger: Ledger, entry_id: str, entry: Entry, device: str = PHONE) -> Record:
    return ledger.add(entry_id, entry, device).result(PATIENCE).record


def deliver(ledger: Ledger, *records: Record) -> None:
    ledger.deliver([(record.entry_id, record.version) for record in records]).result(PATIENCE)


def read(view: View, ledger: Ledger, *rows: Row) -> View:
    view.replace(Contents("state", rows), ledger.take_stock())
    return view


def view_of(ledger: Ledger, *rows: Row, options: Settings = OPEN) -> View:
    view = View(ledger, options)
    view.start()
    return read(view, ledger, *rows)


def all_of(view: View) -> tuple[Item, ...]:
    return view.search(Query(), 1, 10_000).items


def sums(spending: Spending) -> dict[str, Decimal]:
    return {each.name: each.spent for each in spending.categories} | {"others": spending.others}


# What is there.


def test_what_waits_is_shown_before_the_workbook_was_ever_read(ledger: Ledger) -> None:
    """A workbook that cannot be opened hides nothing of what was taken since."""
    add(ledger, "a", spend(note="Lamp"))
    view = View(ledger, OPEN)
    view.start()
    assert view.read_at is None
    (item,) = all_of(view)
    assert (item.entry_id, item.version, item.note, item.device, item.waiting) == ("a", 1, "Lamp", PHONE, True)


def test_an_entry_is_shown_as_soon_as_the_ledger_has_it(ledger: Ledger) -> None:
    """And no longer as waiting once the workbook has it."""
    view = view_of(ledger)
    record = add(ledger, "a", spend())
    assert [(item.entry_id, item.waiting) for item in all_of(view)] == [("a", True)]
    deliver(ledger, record)
    assert [(item.entry_id, item.waiting) for item in all_of(view)] == [("a", False)]


def test_rows_of_the_workbook_are_shown_as_they_are_there(ledger: Ledger) -> None:
    """Typed by hand, or changed by hand since the app wrote them: what the workbook says counts."""
    deliver(ledger, add(ledger, "a", spend("4.50", "Home", note="Lamp")))
    view = view_of(
        ledger,
        typed(2, amount="5.25", category="Garden", note="Lamp, red", device=PHONE, entry_id="a"),
        typed(3, day=date(2025, 11, 20), amount="7", note="By hand"),
    )
    assert [(item.entry_id, item.version, item.amount, item.category, item.note) for item in all_of(view)] == [
        ("", 0, Decimal(7), "Home", "By hand"),
        ("a", 1, Decimal("5.25"), "Garden", "Lamp, red"),
    ]
    found = view.find("a")
    assert found is not None
    assert (found.note, found.version, found.waiting) == ("Lamp, red", 1, False)


def test_what_waits_stands_in_the_place_of_its_row(ledger: Ledger) -> None:
    """A change that the workbook does not have yet is shown once, as it will be."""
    record = add(ledger, "a", spend("4.50"))
    deliver(ledger, record)
    ledger.change("a", 1, spend("9.00"), PHONE, None).result(PATIENCE)
    view = view_of(ledger, typed(2, entry_id="a"), typed(3, amount="1"))
    assert [(item.entry_id, item.amount, item.waiting) for item in all_of(view) if item.entry_id] == [
        ("a", Decimal("9.00"), True)
    ]
    assert view.count() == 2


def test_what_was_removed_is_not_shown_although_its_row_is_still_there(ledger: Ledger) -> None:
    """Before the view was made, and after."""
    for entry_id in ("a", "b"):
        deliver(ledger, add(ledger, entry_id, spend()))
    ledger.remove("a", 1, PHONE).result(PATIENCE)
    view = view_of(ledger, typed(2, entry_id="a"), typed(3, entry_id="b"))
    assert [item.entry_id for item in all_of(view)] == ["b"]
    ledger.remove("b", 1, PHONE).result(PATIENCE)
    assert all_of(view) == ()
    assert view.find("b") is None
    ledger.undo("b", 2, PHONE).result(PATIENCE)
    assert [item.entry_id for item in all_of(view)] == ["b"]


@pytest.mark.parametrize("entry_id", ["", "nobody", "2", "a'--"])
def test_an_id_that_is_nobody_s_finds_nothing(ledger: Ledger, entry_id: str) -> None:
    """Neither the number of a row, nor the id of an entry that nobody knows."""
    assert view_of(ledger, typed(2)).find(entry_id) is None


def test_a_row_with_an_id_that_the_ledger_does_not_know_is_one_typed_by_hand(ledger: Ledger) -> None:
    """It came from elsewhere, and the app has no right to change it."""
    view = view_of(ledger, typed(2, entry_id="somebody-s"))
    (item,) = all_of(view)
    assert (item.entry_id, item.version) == ("", 0)
    found = view.find("somebody-s")
    assert found is None or found.entry_id == ""


def test_a_row_that_was_copied_with_its_id_counts_twice_and_is_not_changed_from_here(ledger: Ledger) -> None:
    """As the workbook's own sums count it; nobody can tell which of the rows is the entry."""
    deliver(ledger, add(ledger, "a", spend("4.50")))
    view = view_of(ledger, typed(2, entry_id="a"), typed(7, entry_id="a"), typed(9, entry_id="a"))
    assert view.count() == 3
    assert [item.entry_id for item in all_of(view)] == ["", "", ""]
    assert view.find("a") is None
    assert view.spending(NOVEMBER, TODAY).total == Decimal("13.50")
    ledger.remove("a", 1, PHONE).result(PATIENCE)
    assert [item.entry_id for item in all_of(view)] == ["", ""]


def test_a_row_of_a_removed_entry_that_somebody_put_back_is_one_typed_by_hand(ledger: Ledger) -> None:
    """The ledger's entry is gone, and removing it again would leave the row: so no button promises that."""
    deliver(ledger, add(ledger, "a", spend()))
    deliver(ledger, ledger.remove("a", 1, PHONE).result(PATIENCE).record)
    view = view_of(ledger, typed(2, entry_id="a"))
    assert [(item.entry_id, item.version) for item in all_of(view)] == [("", 0)]


def test_entries_that_were_taken_out_by_hand_are_counted(ledger: Ledger) -> None:
    """Those that wait, or that the app removed, are not missed."""
    for entry_id in ("a", "b", "c", "d"):
        deliver(ledger, add(ledger, entry_id, spend()))
    add(ledger, "e", spend())
    deliver(ledger, ledger.remove("d", 1, PHONE).result(PATIENCE).record)
    view = view_of(ledger, typed(2, entry_id="b"), typed(3))
    assert view.missing == {"a", "c"}
    assert [item.entry_id for item in all_of(view) if item.entry_id] == ["e", "b"]
    read(view, ledger, *(typed(number, entry_id=entry_id) for number, entry_id in enumerate("abc", 2)))
    assert view.missing == set()


def test_a_version_is_the_one_of_the_content_that_is_shown(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else changes the entry in the moment between: a form with the old content must not pass for the new."""
    add(ledger, "a", spend("4.50"))
    view = view_of(ledger)
    real = ledger._read

    def change_after(operation: Callable[[sqlite3.Connection], Any]) -> Any:
        monkeypatch.setattr(ledger, "_read", real)
        answer = real(operation)
        ledger.change("a", 1, spend("9.00"), "iPad", None).result(PATIENCE)
        return answer

    monkeypatch.setattr(ledger, "_read", change_after)
    found = view.find("a")
    assert found is not None
    assert (found.amount, found.version) in ((Decimal("4.50"), 1), (Decimal("9.00"), 2))


# The order, the pages, and what is looked for.


def test_the_latest_come_first_by_day_and_then_by_when_they_came(ledger: Ledger) -> None:
    """What has no day comes last."""
    view = view_of(
        ledger,
        typed(2, day=date(2025, 11, 3), note="third"),
        typed(3, day="soon", note="no day"),
        typed(4, day=date(2025, 11, 10), note="first"),
        typed(5, day=date(2025, 11, 10), note="second"),
    )
    add(ledger, "a", spend(day=date(2025, 11, 10), note="new"))
    add(ledger, "b", spend(day=date(2025, 11, 5), note="between"))
    notes = [item.note for item in all_of(view)]
    assert notes == ["new", "second", "first", "between", "third", "no day"]
    assert [item.note for item in view.latest(3)] == notes[:3]
    assert view.latest(0) == ()


def test_an_entry_that_is_changed_to_another_day_moves_there(ledger: Ledger) -> None:
    """And keeps its place among the others of one day otherwise."""
    view = view_of(ledger)
    for number in range(3):
        add(ledger, f"a{number}", spend(note=f"{number}"))
    assert [item.note for item in all_of(view)] == ["2", "1", "0"]
    ledger.change("a1", 1, spend(note="1, changed"), PHONE, None).result(PATIENCE)
    assert [item.note for item in all_of(view)] == ["2", "1, changed", "0"]
    ledger.change("a2", 1, spend(note="2", day=TODAY - timedelta(days=1)), PHONE, None).result(PATIENCE)
    assert [item.note for item in all_of(view)] == ["1, changed", "0", "2"]


def test_pages_have_every_item_once(ledger: Ledger) -> None:
    """The last one may be shorter, and what is beyond it is empty."""
    view = view_of(ledger, *(typed(number, note=f"{number}") for number in range(2, 25)))
    pages = [view.search(Query(), page, 10) for page in (1, 2, 3, 4)]
    assert [len(found.items) for found in pages] == [10, 10, 3, 0]
    assert [item.note for found in pages for item in found.items] == [f"{number}" for number in range(24, 1, -1)]
    assert {(found.count, found.total) for found in pages} == {(23, Decimal("103.50"))}


ROWS = (
    typed(2, date(2025, 11, 19), "4.5", "Café", "Bica, Ana", "Rhea Group"),
    typed(3, date(2025, 11, 1), "12", "Eating out", "STRASSE", "iPad"),
    typed(4, date(2025, 10, 31), "1234.56", "café", "Straße", "iPad"),
    typed(5, date(2025, 12, 1), "-3.20", "Home", "Deposit 4.50", ""),
    typed(6, "soon", "'a lot", "Rockets", "", ""),
)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (Query(), [5, 2, 3, 4, 6]),
        (Query("bica"), [2]),
        (Query("BICA, A"), [2]),
        (Query("strasse"), [3, 4]),
        (Query("CAFÉ"), [2, 4]),
        (Query("rhea"), [2]),
        (Query("a lot"), [6]),
        (Query("1234"), [4]),
        (Query("-3.2"), [5]),
        (Query("nothing like it"), []),
        (Query(month=NOVEMBER), [2, 3]),
        (Query(month=date(2025, 10, 1)), [4]),
        (Query(month=date(2024, 11, 1)), []),
        (Query(device="iPad"), [3, 4]),
        (Query(device="iPa"), []),
        (Query(category="CAFÉ"), [2, 4]),
        (Query(category="Caf"), []),
        (Query("a", NOVEMBER, "iPad", "eating out"), [3]),
    ],
)
def test_what_is_looked_for_is_found(ledger: Ledger, query: Query, numbers: list[int]) -> None:
    """Text in upper and lower case alike, months by day, devices and categories as a whole; all of it at once."""
    found = view_of(ledger, *ROWS).search(query, 1, 100)
    notes = {row.note: row.number for row in ROWS}
    assert [notes[item.note] for item in found.items] == numbers
    assert found.count == len(numbers)
    amounts = [row.amount for row in ROWS if row.number in numbers]
    assert found.total == sum((amount for amount in amounts if isinstance(amount, Decimal)), Decimal(0))


@pytest.mark.parametrize("text", ["4.50", "4,50", "4.5"])
def test_an_amount_is_found_as_it_is_typed_and_as_it_is_shown(ledger: Ledger, text: str) -> None:
    """A workbook knows no zeros at the end, and half of Europe no decimal points."""
    view = view_of(ledger, typed(2, amount="4.5", note="row"))
    add(ledger, "a", spend("4.50", note="entry"))
    assert {item.note for item in view.search(Query(text), 1, 10).items} == {"row", "entry"}


@pytest.mark.parametrize("month", [date(1, 1, 1), date(1, 6, 1), date(9999, 12, 1)])
def test_the_ends_of_the_calendar_are_months_too(ledger: Ledger, month: date) -> None:
    """A hand may have typed the year 9999, and anybody may ask for the year 1."""
    view = view_of(ledger, typed(2, day=date(9999, 12, 31), amount="1"), typed(3, day=date(1, 1, 1), amount="1"))
    assert view.search(Query(month=month), 1, 10).count == (0 if month.month == 6 else 1)
    assert view.spending(month, TODAY).total == (0 if month.month == 6 else 1)
    assert view.spending(date(9999, 12, 1), date(9999, 12, 31)).days_left == 1


def test_months_are_those_that_have_something_newest_first(ledger: Ledger) -> None:
    """What has no day is in no month."""
    view = view_of(ledger, *ROWS)
    assert view.months() == (date(2025, 12, 1), NOVEMBER, date(2025, 10, 1))
    add(ledger, "a", spend(day=date(2024, 2, 29)))
    assert view.months()[-1] == date(2024, 2, 1)
    assert view_of(ledger).months() == (date(2024, 2, 1),)


# Sums.


def test_sums_follow_sumifs(ledger: Ledger) -> None:
    """Numbers on days alone; categories in upper and lower case alike, and as a whole."""
    view = view_of(
        ledger,
        typed(2, amount="10", category="Home"),
        typed(3, amount="0.125", category="HOME"),
        typed(4, amount="'5", category="Home"),
        typed(5, day="2025-11-19", amount="7", category="Home"),
        typed(6, amount="20", category="Home "),
        typed(7, amount="1", category="CAFÉ"),
        typed(8, amount="2", category=""),
        typed(9, day=date(2025, 10, 31), amount="40", category="Home"),
        typed(10, day="", amount="'", category="Home"),
    )
    november = view.spending(NOVEMBER, TODAY)
    assert sums(november) == {
        "Eating out": Decimal(0),
        "Café": Decimal(1),
        "Home": Decimal("10.125"),
        "others": Decimal(22),
    }
    assert november.total == Decimal("33.125")
    assert november.months[-2:] == ((date(2025, 10, 1), Decimal(40)), (NOVEMBER, Decimal("33.125")))


def test_refunds_are_taken_off_and_may_leave_less_than_nothing(ledger: Ledger) -> None:
    """A month in which more came back than went out."""
    view = view_of(ledger, typed(2, amount="-30", category="Café"))
    add(ledger, "a", spend("10.00", "Café"))
    spending = view.spending(NOVEMBER, TODAY)
    assert sums(spending)["Café"] == Decimal(-20)
    assert (spending.total, spending.week) == (Decimal(-20), Decimal(-20))
    assert (spending.budget, spending.left) == (Decimal("150.50"), Decimal("170.50"))


@pytest.mark.parametrize(
    ("today", "days"),
    [
        (date(2025, 11, 1), 30),
        (date(2025, 11, 19), 12),
        (date(2025, 11, 29), 2),
        (date(2025, 11, 30), 1),
        (date(2024, 2, 29), 1),
        (date(2025, 12, 31), 1),
        (date(2025, 12, 1), 31),
    ],
)
def test_what_is_left_is_for_the_days_that_are_left_with_today(ledger: Ledger, today: date, days: int) -> None:
    """On the last day of a month it is all for that day."""
    month = today.replace(day=1)
    spending = view_of(ledger, typed(2, month, "50.50", "Café")).spending(month, today)
    assert (spending.left, spending.days_left) == (Decimal(100), days)
    assert spending.left_per_day == Decimal(100) / days


def test_too_much_spent_leaves_less_than_nothing_a_day(ledger: Ledger) -> None:
    """Categories without a budget take nothing from it."""
    view = view_of(ledger, typed(2, amount="270.50", category="Café"), typed(3, amount="5000", category="Home"))
    spending = view.spending(NOVEMBER, date(2025, 11, 30))
    assert (spending.left, spending.left_per_day) == (Decimal(-120), Decimal(-120))


def test_another_month_has_nothing_left_to_spend(ledger: Ledger) -> None:
    """Its budget stands beside what it has cost, and that is all."""
    spending = view_of(ledger, *ROWS).spending(date(2025, 10, 1), TODAY)
    assert (spending.budget, spending.total) == (Decimal("150.50"), Decimal("1234.56"))
    assert (spending.left, spending.left_per_day, spending.days_left, spending.week) == (None, None, 0, None)


def test_without_budgets_nothing_is_said_to_be_left(ledger: Ledger) -> None:
    """No limit is no limit of zero."""
    without = view_of(ledger, *ROWS, options=Settings(categories=(Category(name="Home"),)))
    spending = without.spending(NOVEMBER, TODAY)
    assert (spending.budget, spending.left, spending.left_per_day) == (None, None, None)
    nothing = view_of(ledger, *ROWS, options=Settings(categories=(Category(name="Home", budget=0.0),)))
    spending = nothing.spending(date(2025, 12, 1), date(2025, 12, 1))
    assert (spending.budget, spending.left) == (Decimal(0), Decimal("3.20"))


def test_budgets_are_added_as_decimals(ledger: Ledger) -> None:
    """Ten times 0.10 is one."""
    options = Settings(categories=tuple(Category(name=f"c{number}", budget=0.1) for number in range(10)))
    assert view_of(ledger, options=options).spending(NOVEMBER, TODAY).budget == 1


@pytest.mark.parametrize(
    ("week_start", "first"),
    [("monday", date(2025, 11, 17)), ("saturday", date(2025, 11, 15)), ("sunday", date(2025, 11, 16))],
)
def test_a_week_begins_on_the_day_of_the_settings(ledger: Ledger, week_start: str, first: date) -> None:
    """It goes to today, over the end of a month too."""
    options = OPEN.model_copy(update={"week_start": week_start})
    days = [date(2025, 11, 10) + timedelta(days=number) for number in range(15)]
    rows = [typed(number, day, str(2**number)) for number, day in enumerate(days)]
    view = view_of(ledger, *rows, options=options)
    expected = sum(2**number for number, day in enumerate(days) if first <= day <= TODAY)
    assert view.spending(NOVEMBER, TODAY).week == expected
    assert view.spending(NOVEMBER, first).week == 2 ** days.index(first)


def test_a_week_goes_over_the_end_of_a_month(ledger: Ledger) -> None:
    """Monday 29 September to Wednesday 1 October."""
    view = view_of(ledger, typed(2, date(2025, 9, 28), "1"), typed(3, date(2025, 9, 29), "2"), typed(4, "soon", "4"))
    add(ledger, "a", spend("8.00", day=date(2025, 10, 1)))
    add(ledger, "b", spend("16.00", day=date(2025, 10, 2)))
    assert view.spending(date(2025, 10, 1), date(2025, 10, 1)).week == 10


def test_twelve_months_end_with_the_one_that_is_shown(ledger: Ledger) -> None:
    """Oldest first, over the end of a year, and none is left out."""
    view = view_of(ledger, typed(2, date(2024, 12, 31), "5"), typed(3, date(2024, 11, 30), "7"))
    months = view.spending(NOVEMBER, TODAY).months
    assert [each for each, _ in months] == [date(2024, 12, 1), *(date(2025, month, 1) for month in range(1, 12))]
    assert [total for _, total in months] == [5, *[0] * 11]


# What the form offers.


def test_categories_in_use_come_first(ledger: Ledger) -> None:
    """The last used one at the top, then the others in the order of the settings, each once."""
    view = view_of(ledger)
    assert view.recent_categories() == ("Eating out", "Café", "Home")
    add(ledger, "a", spend(category="Home", day=date(2025, 11, 1)))
    assert view.recent_categories() == ("Home", "Eating out", "Café")
    add(ledger, "b", spend(category="Café", day=date(2025, 11, 2)))
    read(view, ledger, typed(2, date(2025, 11, 3), category="Rockets"), typed(3, date(2025, 11, 1), category="CAFÉ"))
    assert view.recent_categories() == ("Café", "Home", "Eating out")


def test_every_category_there_is_can_be_looked_for(ledger: Ledger) -> None:
    """Those that were typed by hand come after those of the settings; a cell full of text is none."""
    view = view_of(
        ledger,
        typed(2, category="Rockets"),
        typed(3, category="home"),
        typed(4, category="ROCKETS"),
        typed(5, category=""),
        typed(6, category="Books"),
        typed(7, category="n" * 51),
    )
    assert [name.lower() for name in view.all_categories()] == ["eating out", "café", "home", "books", "rockets"]


def test_suggestions_are_the_latest_notes_with_what_they_usually_are(ledger: Ledger) -> None:
    """The category it last had, and the amount it had most often lately."""
    days = [date(2025, 11, day) for day in range(1, 11)]
    view = view_of(
        ledger,
        typed(2, days[0], "9", "Home", "Bica"),
        typed(3, days[1], "0.8", "Café", "Bica"),
        typed(4, days[2], "0.80", "Café", "bica"),
        typed(5, days[3], "0.9", "Café", "BICA"),
        typed(6, days[4], "3", "Home", "Bread"),
        typed(7, days[5], "8", "Rockets", "Fuel"),
        typed(8, days[6], "'a lot", "Home", "Sofa"),
        typed(9, days[7], "2", "Home", ""),
    )
    suggestions = view.suggestions()
    assert [(each.note, each.category, each.amount) for each in suggestions] == [
        ("Bread", "Home", Decimal(3)),
        ("BICA", "Café", Decimal("0.80")),
    ]


def test_a_suggestion_is_something_that_could_be_entered(ledger: Ledger) -> None:
    """A zero is no amount, neither is a fraction of a cent or a sum of billions, and a story is no note."""
    rows = [
        typed(2, amount="0", note="Nothing"),
        typed(3, amount="1.999", note="Petrol"),
        typed(4, amount="1E+30", note="Moon"),
        typed(5, note="n" * 30_000),
        typed(6, note="Bread"),
    ]
    assert "Bread" in [suggestion.note for suggestion in view_of(ledger, *rows).suggestions()]
    for suggestion in view_of(ledger, *rows).suggestions():
        assert suggestion.amount
        assert abs(suggestion.amount) <= MAX_AMOUNT
        assert suggestion.amount == suggestion.amount.quantize(Decimal("0.01"))
        assert len(suggestion.note) <= MAX_NOTE


def test_suggestions_are_few_enough_for_a_phone(ledger: Ledger) -> None:
    """The page stays small after seven years."""
    rows = [typed(number, date(2025, 1, 1) + timedelta(days=number), note=f"n{number}") for number in range(2, 302)]
    suggestions = view_of(ledger, *rows).suggestions()
    assert len(suggestions) == 60
    assert [each.note for each in suggestions[:2]] == ["n301", "n300"]


def test_devices_are_those_that_entered_something(ledger: Ledger) -> None:
    """The busiest first, with the day of their latest expense; what was typed by hand has no device."""
    view = view_of(
        ledger,
        typed(2, date(2025, 11, 3), "2", device="iPad"),
        typed(3, date(2025, 11, 9), "3", device="iPad"),
        typed(4, "soon", "'a lot", device="iPad"),
        typed(5, "soon", "4", device="Old phone"),
    )
    add(ledger, "a", spend("5.00"))
    add(ledger, "b", spend("-1.00"))
    devices = {each.name: (each.count, each.total, each.last) for each in view.devices()}
    assert next(iter(devices)) == "iPad"
    assert devices == {
        "iPad": (3, Decimal(5), date(2025, 11, 9)),
        PHONE: (2, Decimal(4), TODAY),
        "Old phone": (1, Decimal(4), None),
    }


# Any order of everything, against counting it all again.

DAYS = st.sampled_from([date(2025, 10, 31), date(2025, 11, 1), TODAY, date(2025, 11, 16), date(2025, 11, 17)])
AMOUNTS = st.integers(-99_999, 99_999).filter(bool).map(lambda cents: Decimal(cents) / 100)
CATEGORIES = st.sampled_from(["Eating out", "EATING OUT", "Café", "Home", "Rockets", ""])
ENTRIES = st.builds(Entry, AMOUNTS, st.sampled_from(["Eating out", "Café", "Home"]), DAYS, st.sampled_from(["", "x"]))
ENTRY = Entry(Decimal("4.50"), "Café", TODAY, "new")
HAND_ROWS = st.builds(
    Row,
    st.just(0),
    DAYS | st.sampled_from(["soon", ""]),
    AMOUNTS | st.sampled_from(["a lot", "", "5"]),
    CATEGORIES,
    st.just("by hand"),
    st.just(""),
    st.sampled_from(["", "", "unknown"]),
)
IDS = st.integers(0, 4).map(lambda number: f"id-{number}")
STEPS = st.one_of(
    st.tuples(st.just("add"), IDS, ENTRIES),
    st.tuples(st.just("change"), IDS, ENTRIES),
    st.tuples(st.just("remove"), IDS),
    st.tuples(st.just("undo"), IDS),
    st.tuples(st.just("write")),
    st.tuples(st.just("write while reading"), ENTRIES),
    st.tuples(st.just("write and tell later")),
    st.tuples(st.just("read")),
    st.tuples(st.just("type"), HAND_ROWS),
    st.tuples(st.just("copy"), st.integers(0, 9)),
    st.tuples(st.just("edit"), st.integers(0, 9), HAND_ROWS),
    st.tuples(st.just("take out"), st.integers(0, 9)),
    st.tuples(st.just("look")),
)


def ask_for(record: Record) -> Change:
    entry = None if record.removed else record.entry
    return Change(record.entry_id, entry, record.device, written=record.in_workbook)


class Play:
    """A ledger, a workbook, a view, and everything that may happen to them in any order."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.workbook, self.view = ledger, MemoryWorkbook(), View(ledger, OPEN)
        self.view.start()
        self.untold: list[tuple[str, int]] = []
        self.added = 0

    def step(self, kind: str, *values: object) -> None:
        getattr(self, kind.replace(" ", "_"))(*values)

    def add(self, entry_id: str, entry: Entry) -> None:
        self.ledger.add(entry_id, entry, PHONE).exception(PATIENCE)

    def change(self, entry_id: str, entry: Entry) -> None:
        if record := self.ledger.find(entry_id):
            self.ledger.change(entry_id, record.version, entry, PHONE, None).exception(PATIENCE)

    def remove(self, entry_id: str) -> None:
        if record := self.ledger.find(entry_id):
            self.ledger.remove(entry_id, record.version, PHONE).result(PATIENCE)

    def undo(self, entry_id: str) -> None:
        if record := self.ledger.find(entry_id):
            self.ledger.undo(entry_id, record.version, PHONE).result(PATIENCE)

    def write(self) -> None:
        records = self.write_to_workbook()
        self.ledger.deliver([(each.entry_id, each.version) for each in records]).result(PATIENCE)

    def write_and_tell_later(self) -> None:
        """The other process has written, and the ledger hears of it after the next thing that happens here."""
        self.untold += [(each.entry_id, each.version) for each in self.write_to_workbook()]

    def write_to_workbook(self) -> list[Record]:
        records = self.ledger.list_waiting(100)
        try:
            written = self.workbook.write([ask_for(record) for record in records])
        except WorkbookError as error:
            # Copied rows block their entry, and it alone.
            assert error.written is not None
            written = error.written
        return [record for record in records if record.entry_id not in written.blocked]

    def write_while_reading(self, entry: Entry) -> None:
        """Between asking what waits and reading the rows, the other process takes an entry and writes all."""

        def interrupt() -> None:
            self.added += 1
            self.add(f"late-{self.added}", entry)
            self.write()

        self.workbook.on_read = interrupt
        self.read()
        self.workbook.on_read = lambda: None

    def read(self) -> None:
        stock = self.ledger.take_stock()
        self.view.replace(self.workbook.read(), stock)

    def type(self, row: Row) -> None:
        self.workbook.type_row(row)

    def copy(self, index: int) -> None:
        if rows := self.workbook.rows:
            self.workbook.type_row(rows[index % len(rows)])

    def edit(self, index: int, row: Row) -> None:
        rows = self.workbook.rows
        if own := [each for each in rows if each.entry_id]:
            entry_id = own[index % len(own)].entry_id
            self.workbook.edit_row(entry_id, day=row.date, amount=row.amount, category=row.category, note="edited")

    def take_out(self, index: int) -> None:
        if ids := self.workbook.ids:
            self.workbook.remove_row(ids[index % len(ids)])

    def look(self) -> None:
        """A page in between, which brings the view up to date with the ledger."""
        self.view.latest(10)

    def settle(self) -> None:
        """The ledger hears of what it was not told yet, and the workbook is read once more, as the writer would."""
        self.ledger.deliver(self.untold).result(PATIENCE)
        self.untold = []
        self.read()

    def count_again(self) -> list[tuple[object, ...]]:
        """Every item there should be, made from the rows and from what waits by the simplest means."""
        waiting = {record.entry_id: record for record in self.ledger.list_waiting(1000)}
        shown: list[tuple[object, ...]] = []
        first: set[str] = set()
        for row in self.workbook.rows:
            own = bool(row.entry_id) and row.entry_id not in first
            first.add(row.entry_id)
            if not (own and row.entry_id in waiting):
                shown.append((row.date, row.amount, row.category, row.note, False))
        for record in waiting.values():
            if not record.removed:
                entry = record.entry
                shown.append((entry.date, entry.amount, entry.category, entry.note, True))
        return sorted(shown, key=str)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_any_order_of_everything_is_shown_as_counting_it_all_again_does(steps: list[tuple[str, object]]) -> None:
    """Nothing twice and nothing missing, in the list as in every sum."""
    with TemporaryDirectory() as folder, opened(Path(folder)) as ledger:
        play = Play(ledger)
        for step in steps:
            play.step(*step)
        play.settle()
        check(play)
        play.write()
        play.read()
        check(play)
        # And once more with what the ledger tells from here on alone.
        play.add("new", ENTRY)
        play.write()
        check(play)


def check(play: Play) -> None:
    expected = play.count_again()
    items = all_of(play.view)
    shown = [(item.date, item.amount, item.category, item.note, item.waiting) for item in items]
    assert sorted(shown, key=str) == expected
    assert play.view.count() == len(expected)
    known = [item.entry_id for item in items if item.entry_id]
    assert len(known) == len(set(known))
    for month in (date(2025, 10, 1), NOVEMBER):
        by_category: defaultdict[str, Decimal] = defaultdict(Decimal)
        for day, amount, category, *_ in expected:
            if isinstance(day, date) and isinstance(amount, Decimal) and day.replace(day=1) == month:
                by_category[str(category).lower()] += amount
        spending = play.view.spending(month, TODAY)
        assert spending.total == sum(by_category.values(), Decimal(0))
        listed = {name: by_category.pop(name.lower(), Decimal(0)) for name in ("Eating out", "Café", "Home")}
        assert sums(spending) == listed | {"others": sum(by_category.values(), Decimal(0))}
    week = [
        amount
        for day, amount, *_ in expected
        if isinstance(day, date) and isinstance(amount, Decimal) and date(2025, 11, 17) <= day <= TODAY
    ]
    assert play.view.spending(NOVEMBER, TODAY).week == sum(week, Decimal(0))
    months = {day.replace(day=1) for day, *_ in expected if isinstance(day, date)}
    assert play.view.months() == tuple(sorted(months, reverse=True))


def test_an_entry_that_was_delivered_while_the_workbook_was_read_is_there_once(ledger: Ledger) -> None:
    """It waited when it was asked what waits, and was a row when the rows were read."""
    record = add(ledger, "a", spend("4.50"))
    view = View(ledger, OPEN)
    stock = ledger.take_stock()
    deliver(ledger, record)
    view.replace(Contents(1, (typed(2, entry_id="a"),)), stock)
    assert [(item.entry_id, item.waiting) for item in all_of(view)] == [("a", False)]
    assert view.spending(NOVEMBER, TODAY).total == Decimal("4.50")


def test_pages_may_be_asked_for_by_many_while_entries_come_and_the_workbook_is_read(ledger: Ledger) -> None:
    """Nobody sees half of anything: every sum is a whole number of entries."""
    view = view_of(ledger)
    workbook = MemoryWorkbook()
    with ThreadPoolExecutor(4) as pool:
        added = [pool.submit(add, ledger, f"a{number}", spend("2.00")) for number in range(150)]
        seen = [pool.submit(lambda: (view.spending(NOVEMBER, TODAY).total, view.latest(5))) for _ in range(150)]
        for _ in range(10):
            records = ledger.list_waiting(100)
            workbook.write([ask_for(record) for record in records])
            deliver(ledger, *records)
            read(view, ledger, *workbook.rows)
        assert all(future.result(PATIENCE).version == 1 for future in added)
        assert all(future.result(PATIENCE)[0] % 2 == 0 for future in seen)
    assert view.spending(NOVEMBER, TODAY).total == 300
    assert view.count() == 150
