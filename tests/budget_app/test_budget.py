"""All parts together, on a real file: what is taken is in the workbook, also after the app was away."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from budget_app import budget as module
from budget_app import writer
from budget_app.app import create_app
from budget_app.budget import Budget, open_budget
from budget_app.entries import Entry
from budget_app.items import Query
from budget_app.ledger import LedgerError
from budget_app.settings import Place, Settings, SettingsError, read_settings
from budget_app.workbooks.workbook import Workbook
from budgets import Client, OpenDoor
from memory_workbook import BROKEN, BUSY, MemoryWorkbook

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
PHONE = "Rhea Group"
PATIENCE = 30.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "new" / "budget.toml")


@pytest.fixture
def workbook(monkeypatch: pytest.MonkeyPatch) -> MemoryWorkbook:
    """Stands in for the one that the settings name."""
    workbook = MemoryWorkbook()

    def make(settings: Settings, place: Place) -> Workbook:
        return workbook

    monkeypatch.setattr(module, "make_workbook", make)
    monkeypatch.setattr(writer, "LOOK", 0.005)
    monkeypatch.setattr(writer, "FIRST_WAIT", 0.005)
    return workbook


@contextmanager
def opened(place: Place) -> Iterator[Budget]:
    budget = open_budget(place)
    try:
        yield budget
    finally:
        budget.close()


def test_the_first_start_makes_settings_a_ledger_and_a_workbook(place: Place) -> None:
    """And an expense goes through all of it."""
    with opened(place) as budget:
        assert budget.settings == Settings() == read_settings(place)
        budget.ledger.add("a", LUNCH, PHONE).result(PATIENCE)
        wait_until_written(budget)
        names = {path.name for path in place.folder.iterdir()}
        assert {"budget.toml", "ledger.db", "budget.xlsx"} <= names
        (row,) = budget.workbook.read().rows
        assert (row.entry_id, row.amount, row.device) == ("a", LUNCH.amount, PHONE)


def test_what_was_taken_is_there_after_a_restart(place: Place) -> None:
    """Once, with its id and version, and without waiting for anything."""
    with opened(place) as budget:
        budget.ledger.add("a", LUNCH, PHONE).result(PATIENCE)
        wait_until_written(budget)
    with opened(place) as budget:
        (item,) = budget.view.search(Query(), 1, 10).items
        assert (item.entry_id, item.version, item.amount, item.waiting) == ("a", 1, LUNCH.amount, False)
        health = budget.examine()
        assert (health.rows, health.waiting, health.missing, health.problem) == (1, 0, 0, None)
        assert health.read_at is not None


def test_the_health_tells_how_everything_is(place: Place, workbook: MemoryWorkbook) -> None:
    """What waits and why, what is missing, and when it is tried again."""
    workbook.fail_always("write", BUSY)
    with opened(place) as budget:
        budget.ledger.add("a", LUNCH, PHONE).result(PATIENCE)
        workbook.wait_until(lambda: budget.examine().busy)
        health = budget.examine()
        assert (health.place, health.rows, health.waiting, health.missing) == ("memory", 1, 1, 0)
        assert health.problem == (BUSY.message, BUSY.hint)
        assert health.next_try is not None
        assert health.written_at is None
        workbook.fail_always("write", None)
        wait_until_written(budget)
        workbook.remove_row("a")
        workbook.wait_until(lambda: budget.examine().missing == 1)
        health = budget.examine()
        assert (health.rows, health.waiting, health.problem, health.busy) == (0, 0, None, False)
        assert health.written_at is not None


def test_a_workbook_that_cannot_be_used_is_no_reason_not_to_start(place: Place, workbook: MemoryWorkbook) -> None:
    """Expenses wait in the ledger, and are on the pages."""
    workbook.fail_always("prepare", BROKEN)
    with opened(place) as budget:
        assert budget.writer.progress.problem == (BROKEN.message, BROKEN.hint)
        budget.ledger.add("a", LUNCH, PHONE).result(PATIENCE)
        assert [item.waiting for item in budget.view.latest(5)] == [True]


def test_settings_with_a_mistake_are_told_and_nothing_is_made(place: Place) -> None:
    """The ledger is opened when it is known what for."""
    place.folder.mkdir()
    place.path.write_text('curency = "EUR"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="did you mean currency"):
        open_budget(place)
    assert list(place.folder.iterdir()) == [place.path]


def test_a_ledger_that_cannot_be_used_is_told_and_nothing_goes_on(place: Place) -> None:
    """No thread is left behind, and the workbook is not touched."""
    place.folder.mkdir()
    place.ledger.write_bytes(b"What is this?" * 1000)
    with pytest.raises(LedgerError, match=r"ledger\.db cannot be used"):
        open_budget(place)
    assert {path.name for path in place.folder.iterdir()} <= {"budget.toml", "ledger.db"}
    assert not {"ledger", "writer"} & {thread.name for thread in threading.enumerate()}


def test_a_start_that_fails_half_way_leaves_nothing_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's thread ends with it, and the next start finds the file free."""

    def fail(self: object) -> None:
        raise LedgerError("ledger.db cannot be read (disk I/O error)")

    with monkeypatch.context() as patch:
        patch.setattr("budget_app.view.View.start", fail)
        with pytest.raises(LedgerError):
            open_budget(place)
    left = [thread for thread in threading.enumerate() if thread.name == "ledger"]
    try:
        assert left == []
    finally:
        for thread in left:
            # The fault left it running; it must not run on into other tests.
            thread._target.__self__.close()  # type: ignore[attr-defined]


def test_closing_ends_every_thread(place: Place, workbook: MemoryWorkbook) -> None:
    """What was asked for is answered, and the files are closed."""
    with opened(place) as budget:
        asked = budget.ledger.add("a", LUNCH, PHONE)
    assert asked.result(0).new
    assert not {"ledger", "writer"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_today_is_the_day_in_the_zone_of_the_settings(place: Place, workbook: MemoryWorkbook, zone: str) -> None:
    """These two never have the same date."""
    place.folder.mkdir()
    place.path.write_text(f'time_zone = "{zone}"\ncurrency = "CHF"\n[[categories]]\nname = "Home"\n', encoding="utf-8")
    with opened(place) as budget:
        before = datetime.now(ZoneInfo(zone)).date()
        terms = budget.terms
        assert before <= terms.today <= datetime.now(ZoneInfo(zone)).date()
        assert (terms.currency, tuple(terms.categories)) == ("CHF", ("Home",))


def test_without_a_zone_today_is_the_machine_s(place: Place, workbook: MemoryWorkbook) -> None:
    """As the clock in its corner shows it."""
    with opened(place) as budget:
        before = datetime.now().astimezone().date()
        assert before <= budget.today <= datetime.now().astimezone().date()


# What a person did to a row by hand, and what the app's buttons then do: the workbook has the last word on content.

BY_HAND = ("Home", "Lunch, with Ana")
FORM = {"amount": "31", "category": "Coffee", "date": "2025-11-23", "note": "Dinner"}


@pytest.fixture
def hand(place: Place, workbook: MemoryWorkbook, open_door: OpenDoor) -> Iterator[tuple[Budget, Client]]:
    """A budget with one entry in its workbook that was edited there, and a device at its door."""
    with opened(place) as budget:
        app = create_app(lambda: budget)
        app.state.budget = budget
        budget.ledger.add("a", LUNCH, PHONE).result(PATIENCE)
        wait_until_written(budget)
        workbook.edit_row("a", category=BY_HAND[0], note=BY_HAND[1])
        follow(budget, workbook)
        yield budget, Client(open_door(app))


def follow(budget: Budget, workbook: MemoryWorkbook) -> None:
    workbook.wait_until(lambda: budget.ledger.count_waiting() == 0 and budget.view.stamp == workbook.stamp_now)


@pytest.mark.parametrize("written", [False, True])
def test_what_was_removed_comes_back_as_it_was_in_the_workbook(
    hand: tuple[Budget, Client], workbook: MemoryWorkbook, written: bool
) -> None:
    """Whether or not the workbook had lost its row by then."""
    budget, client = hand
    if not written:
        workbook.fail_always("write", BUSY)
    assert client.post("/entries/a/remove", data={"version": "1"}).status_code == 303
    if written:
        follow(budget, workbook)
        assert workbook.ids == []
    else:
        workbook.fail_always("write", None)
    record = budget.ledger.find("a")
    assert record is not None
    assert client.post("/entries/a/undo", data={"version": str(record.version)}).status_code == 303
    follow(budget, workbook)
    (row,) = workbook.rows
    assert (row.category, row.note) == BY_HAND


def test_undoing_an_addition_and_undoing_that_brings_back_what_was_in_the_workbook(
    hand: tuple[Budget, Client], workbook: MemoryWorkbook
) -> None:
    """The button on the page from before the edit."""
    budget, client = hand
    client.post("/entries/a/undo", data={"version": "1"})
    follow(budget, workbook)
    assert workbook.ids == []
    record = budget.ledger.find("a")
    assert record is not None
    client.post("/entries/a/undo", data={"version": str(record.version)})
    follow(budget, workbook)
    (row,) = workbook.rows
    assert (row.category, row.note) == BY_HAND


def test_a_change_that_is_sent_again_after_it_was_written_is_kept(
    hand: tuple[Budget, Client], workbook: MemoryWorkbook
) -> None:
    """The answer was lost on the way; the second one says the same, and not that somebody else was faster."""
    budget, client = hand
    first = client.post("/entries/a", data=FORM | {"version": "1"})
    follow(budget, workbook)
    again = client.post("/entries/a", data=FORM | {"version": "1"})
    assert (first.status_code, again.status_code) == (303, 303)
    assert [row.note for row in workbook.rows] == ["Dinner"]


@pytest.mark.parametrize("amount", ["1E+12", "1E+20", "1E+30", "4.4999999999999999999999999999999"])
def test_any_number_that_a_hand_typed_can_be_changed_in_the_app(
    hand: tuple[Budget, Client], workbook: MemoryWorkbook, amount: str
) -> None:
    """Also one that no form would take, and that is too large for the ledger."""
    budget, client = hand
    workbook.edit_row("a", amount=Decimal(amount))
    follow(budget, workbook)
    for address in ("/", "/entries", "/entries/a", "/overview", "/devices"):
        assert client.get(address).status_code == 200, address
    assert client.post("/entries/a", data=FORM | {"version": "1"}).status_code == 303
    follow(budget, workbook)
    (row,) = workbook.rows
    assert (row.amount, row.note) == (Decimal(31), "Dinner")


@pytest.mark.parametrize("month", ["0001-01", "0001-12", "1999-12", "9999-11", "9999-12", "2025-13", "0000-01", "x"])
@pytest.mark.parametrize("address", ["/overview", "/entries"])
def test_any_month_can_be_asked_for(hand: tuple[Budget, Client], address: str, month: str) -> None:
    """Also one that nobody lives in, and one that is none."""
    _, client = hand
    for accept in ("text/html", "application/json"):
        assert client.get(f"{address}?month={month}", headers={"accept": accept}).status_code == 200


def wait_until_written(budget: Budget) -> None:
    for _ in range(int(PATIENCE / 0.005)):
        if budget.ledger.count_waiting() == 0 and budget.writer.progress.problem is None:
            return
        threading.Event().wait(0.005)
    raise TimeoutError(budget.writer.progress)
