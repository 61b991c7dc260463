"""Whatever the workbook does, each entry gets into it once, and what a person does there by hand is kept."""

import errno
import fcntl
import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from budget_app import writer as module
from budget_app.entries import Entry
from budget_app.items import Query
from budget_app.ledger import Ledger, LedgerError, Record
from budget_app.settings import Settings
from budget_app.view import View
from budget_app.workbooks.workbook import Row, WorkbookError
from budget_app.writer import Writer
from memory_workbook import BROKEN, BUSY, Call, Fault, MemoryWorkbook

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
DINNER = Entry(Decimal("31.00"), "Eating out", date(2025, 11, 24), "Dinner")
PHONE = "Rhea Group"
PATIENCE = 30.0
# A wait that no test outlasts.
NEVER = 3600.0
# How many looks at the workbook have to go by before nothing is taken to have happened.
LOOKS = 10


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and waits that take milliseconds."""
    monkeypatch.setattr(module, "LOOK", 0.005)
    monkeypatch.setattr(module, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.02)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.open()
    yield ledger
    ledger.close()


@pytest.fixture
def workbook() -> MemoryWorkbook:
    return MemoryWorkbook()


class Desk:
    """A writer at its work, and what it works with."""

    def __init__(self, ledger: Ledger, workbook: MemoryWorkbook, jitter: Callable[[], float] = random.random) -> None:
        self.ledger, self.workbook = ledger, workbook
        self.view = View(ledger, Settings())
        self.view.start()
        self.writer = Writer(ledger, workbook, self.view, jitter)

    def add(self, *entry_ids: str, entry: Entry = LUNCH) -> None:
        for future in [self.ledger.add(entry_id, entry, PHONE) for entry_id in entry_ids]:
            future.result(PATIENCE)

    def find(self, entry_id: str) -> Record:
        record = self.ledger.find(entry_id)
        assert record is not None
        return record

    @property
    def problem(self) -> str | None:
        problem = self.writer.progress.problem
        return None if problem is None else f"{problem[0]}; {problem[1]}"

    def settle(self) -> None:
        """Wait until nothing waits, nothing is wrong, and the view has been read since."""
        self.workbook.wait_until(
            lambda: (
                self.ledger.count_waiting() == 0 and self.problem is None and self.view.stamp == self.workbook.stamp_now
            )
        )

    def look_on(self, looks: int = LOOKS) -> None:
        """Wait until the writer has looked at the workbook so often, and done what it found to do."""
        self.workbook.wait_for("stamp", looks)


@contextmanager
def working(ledger: Ledger, workbook: MemoryWorkbook, jitter: Callable[[], float] = random.random) -> Iterator[Desk]:
    desk = Desk(ledger, workbook, jitter)
    desk.writer.start()
    try:
        yield desk
    finally:
        desk.writer.stop()


def typed(number: int, note: str = "By hand", entry_id: str = "") -> Row:
    return Row(number, date(2025, 11, 23), Decimal("4.50"), "Home", note, "", entry_id)


def notes(view: View) -> list[str]:
    return sorted(item.note for item in view.search(Query(), 1, 1000).items)


# In fair weather.


def test_an_entry_gets_into_the_workbook_and_the_ledger_hears_of_it(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """Its row has all of it, and the device that entered it."""
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
        (row,) = workbook.rows
        assert (row.date, row.amount, row.category, row.note) == (LUNCH.date, LUNCH.amount, LUNCH.category, LUNCH.note)
        assert (row.device, row.entry_id) == (PHONE, "a")
        record = desk.find("a")
        assert (record.delivered, record.in_workbook) == (1, True)
        written_at = desk.writer.progress.written_at
        assert written_at is not None
        assert written_at.tzinfo is UTC


def test_what_waited_before_the_start_is_written_too(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """The app was stopped, or killed, before the workbook had it."""
    ledger.add("a", LUNCH, PHONE).result(PATIENCE)
    with working(ledger, workbook) as desk:
        desk.settle()
    assert workbook.ids == ["a"]


def test_changes_removals_and_restorations_follow(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """Each in its row; what was restored gets a new one."""
    with working(ledger, workbook) as desk:
        desk.add("a", "b")
        desk.settle()
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        desk.settle()
        assert [(row.entry_id, row.note) for row in workbook.rows] == [("a", "Dinner"), ("b", "Lunch")]
        ledger.remove("a", 2, PHONE).result(PATIENCE)
        desk.settle()
        assert workbook.ids == ["b"]
        ledger.undo("a", 3, PHONE).result(PATIENCE)
        desk.settle()
        assert [(row.entry_id, row.note) for row in workbook.rows] == [("b", "Lunch"), ("a", "Dinner")]


def test_an_entry_that_comes_and_goes_before_it_was_written_leaves_no_row(
    ledger: Ledger, workbook: MemoryWorkbook
) -> None:
    """Added, and taken back at once."""
    ledger.add("a", LUNCH, PHONE).result(PATIENCE)
    ledger.undo("a", 1, PHONE).result(PATIENCE)
    with working(ledger, workbook) as desk:
        desk.settle()
        assert workbook.rows == ()
        ledger.undo("a", 2, PHONE).result(PATIENCE)
        desk.settle()
        assert workbook.ids == ["a"]


def test_many_are_written_together_and_in_order(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a batch at a time."""
    monkeypatch.setattr(module, "BATCH", 100)
    ids = [f"a{number}" for number in range(250)]
    desk = Desk(ledger, workbook)
    desk.add(*ids)
    desk.writer.start()
    try:
        desk.settle()
    finally:
        desk.writer.stop()
    assert workbook.ids == ids
    assert [len(changes) for changes in workbook.written] == [100, 100, 50]


def test_what_comes_while_the_workbook_is_written_is_written_next(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """A change that overtakes its own entry is not lost."""
    with working(ledger, workbook) as desk:

        def interrupt() -> None:
            workbook.on_write = lambda: None
            ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
            ledger.add("b", LUNCH, PHONE).result(PATIENCE)

        workbook.on_write = interrupt
        desk.add("a")
        desk.settle()
        assert [(row.entry_id, row.note) for row in workbook.rows] == [("a", "Dinner"), ("b", "Lunch")]


def test_nothing_to_write_writes_nothing(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """The file stays as it is until there is something new."""
    with working(ledger, workbook) as desk:
        desk.look_on()
    assert workbook.asked["write"] == 0
    assert workbook.asked["read"] == 1


def test_own_writes_are_not_read_again(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """A large workbook is read when somebody else has changed it, and not after each expense."""
    with working(ledger, workbook) as desk:
        for number in range(5):
            desk.add(f"a{number}")
            desk.settle()
        desk.look_on()
        assert desk.view.count() == 5
    assert workbook.asked["read"] == 1


def test_a_pace_is_kept_from_one_write_to_the_next(ledger: Ledger) -> None:
    """What comes in the meantime goes into one write."""
    workbook = MemoryWorkbook(pace=NEVER)
    with working(ledger, workbook) as desk:
        desk.add("a")
        workbook.wait_until(lambda: desk.ledger.count_waiting() == 0)
        desk.add("b")
        desk.look_on()
        assert workbook.asked["write"] == 1
        assert desk.ledger.count_waiting() == 1
        assert desk.problem is None


# What a person does by hand.


def test_rows_that_were_typed_are_read(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """A second after they were saved."""
    with working(ledger, workbook) as desk:
        workbook.type_row(typed(0, "One"))
        desk.settle()
        assert notes(desk.view) == ["One"]
        workbook.type_row(typed(0, "Two"))
        desk.settle()
        assert notes(desk.view) == ["One", "Two"]


def test_rows_that_were_typed_just_before_a_write_are_read_after_it(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """The write found another state than was read last."""
    with working(ledger, workbook) as desk:

        def interrupt() -> None:
            workbook.on_write = lambda: None
            workbook.type_row(typed(0))

        workbook.on_write = interrupt
        desk.add("a")
        desk.settle()
        assert notes(desk.view) == ["By hand", "Lunch"]
        assert workbook.asked["read"] == 2


def test_a_row_that_was_taken_out_by_hand_stays_out(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """Also if the entry was changed in the app at the same time; the view is read again and says that it is missing."""
    with working(ledger, workbook) as desk:
        desk.add("a", "b")
        desk.settle()
        reads = workbook.asked["read"]

        def interrupt() -> None:
            workbook.on_write = lambda: None
            workbook.remove_row("a")

        workbook.on_write = interrupt
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        desk.settle()
        assert workbook.ids == ["b"]
        assert notes(desk.view) == ["Lunch"]
        assert desk.view.missing == {"a"}
        assert workbook.asked["read"] > reads
        desk.look_on()
        assert workbook.ids == ["b"]


def test_a_field_that_was_edited_by_hand_meanwhile_stays_as_it_was_edited(
    ledger: Ledger, workbook: MemoryWorkbook
) -> None:
    """The app has changed the amount, the person the note: the row has both, and the page shows it."""
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()

        def interrupt() -> None:
            workbook.on_write = lambda: None
            workbook.edit_row("a", note="Lunch, with Ana")

        workbook.on_write = interrupt
        dearer = Entry(Decimal("15.00"), LUNCH.category, LUNCH.date, LUNCH.note)
        ledger.change("a", 1, dearer, "iPad", None).result(PATIENCE)
        desk.settle()
        (row,) = workbook.rows
        assert (row.amount, row.note, row.device) == (dearer.amount, "Lunch, with Ana", PHONE)
        assert notes(desk.view) == ["Lunch, with Ana"]


def test_a_field_that_stayed_as_a_person_edited_it_is_shown_so(ledger: Ledger) -> None:
    """Also where no stamp tells that somebody was there: the row is not what the ledger says."""
    workbook = MemoryWorkbook(blind=True)
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
        workbook.edit_row("a", note="Lunch, with Ana")
        dearer = Entry(Decimal("15.00"), LUNCH.category, LUNCH.date, LUNCH.note)
        ledger.change("a", 1, dearer, PHONE, None).result(PATIENCE)
        desk.settle()
        assert [(row.amount, row.note) for row in workbook.rows] == [(dearer.amount, "Lunch, with Ana")]
        desk.look_on()
        assert notes(desk.view) == ["Lunch, with Ana"]


def test_a_change_has_the_content_of_the_workbook_as_its_base(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """What was noted as seen, else what was delivered last; nothing for what has no row."""
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        desk.settle()
        seen = Entry(Decimal("31.00"), "Home", DINNER.date, "By hand")
        ledger.change("a", 2, LUNCH, PHONE, seen).result(PATIENCE)
        desk.settle()
    assert [change.bases for (change,) in workbook.written] == [(), (LUNCH,), (seen,)]


@pytest.mark.parametrize("blind", [False, True])
def test_a_row_that_was_copied_with_its_id_blocks_its_entry_alone(ledger: Ledger, blind: bool) -> None:
    """Nobody can tell which of the two is meant; the others are written, and delivered once."""
    workbook = MemoryWorkbook(blind=blind)
    with working(ledger, workbook) as desk:
        desk.add("a", "b")
        desk.settle()
        workbook.copy_row("a")
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        ledger.change("b", 1, DINNER, PHONE, None).result(PATIENCE)
        ledger.add("c", DINNER, PHONE).result(PATIENCE)
        workbook.wait_until(lambda: desk.ledger.count_waiting() == 1 and desk.problem is not None)
        assert [record.entry_id for record in ledger.list_waiting(9)] == ["a"]
        assert desk.problem == "several rows of memory are one entry; empty the ids of the copies"
        assert [(row.entry_id, row.note) for row in workbook.rows] == [
            ("a", "Lunch"),
            ("b", "Dinner"),
            ("a", "Lunch"),
            ("c", "Dinner"),
        ]
        workbook.remove_row("a")
        desk.settle()
        assert sorted((row.entry_id, row.note) for row in workbook.rows) == [
            ("a", "Dinner"),
            ("b", "Dinner"),
            ("c", "Dinner"),
        ]


def test_a_blocked_entry_lets_no_other_wait(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that was copied last week is no reason for today's expenses to wait five minutes each."""
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
        workbook.copy_row("a")
        monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
        monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        workbook.wait_until(lambda: desk.problem is not None)
        writes = workbook.asked["write"]
        desk.look_on()
        assert workbook.asked["write"] == writes, "what is blocked is not tried at every look"
        desk.add("b")
        workbook.wait_until(lambda: ledger.count_waiting() == 1)
        assert workbook.ids == ["a", "a", "b"]
        assert desk.problem is not None


def test_what_the_workbook_has_lost_is_written_again_when_it_is_asked_for(
    ledger: Ledger, workbook: MemoryWorkbook
) -> None:
    """Somebody put an old copy of the file back; what they had removed in the app stays out."""
    with working(ledger, workbook) as desk:
        desk.add("a", "b", "c")
        ledger.remove("c", 1, PHONE).result(PATIENCE)
        desk.settle()
        workbook.remove_row("a")
        desk.settle()
        assert desk.view.missing == {"a"}
        ledger.write_again(desk.view.missing).result(PATIENCE)
        desk.settle()
        assert sorted(workbook.ids) == ["a", "b"]
        desk.view.latest(1)
        assert desk.view.missing == frozenset()


def test_the_view_is_read_again_after_a_write_that_missed_a_row(ledger: Ledger) -> None:
    """Also where no stamp tells that somebody was there."""
    workbook = MemoryWorkbook(blind=True)
    with working(ledger, workbook) as desk:
        desk.add("a", "b")
        desk.settle()
        workbook.remove_row("a")
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        workbook.wait_until(lambda: desk.view.missing == {"a"})
        assert notes(desk.view) == ["Lunch"]
        assert workbook.ids == ["b"]


def test_a_row_that_was_taken_out_by_hand_does_not_come_back_after_a_restart(
    ledger: Ledger, workbook: MemoryWorkbook
) -> None:
    """Nothing waits for it."""
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
    workbook.remove_row("a")
    with working(ledger, workbook) as desk:
        desk.look_on()
        assert workbook.ids == []
        assert desk.view.missing == {"a"}


def test_a_workbook_without_stamps_is_read_again_when_somebody_looks(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at night, so that it is left alone then; and not more often than it may be."""
    workbook = MemoryWorkbook(blind=True)
    with working(ledger, workbook) as desk:
        workbook.type_row(typed(0))
        desk.writer.want()
        desk.look_on()
        assert workbook.asked["read"] == 1
        monkeypatch.setattr(module, "STALE", 0.0)
        workbook.wait_until(lambda: notes(desk.view) == ["By hand"])
        reads = workbook.asked["read"]
        desk.look_on()
        assert workbook.asked["read"] == reads
        desk.writer.want()
        workbook.wait_until(lambda: workbook.asked["read"] > reads)


# When it goes wrong.


@pytest.mark.parametrize("error", [BROKEN, BUSY, RuntimeError("nobody expected this"), LedgerError("it is full")])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("blind", [False, True])
def test_an_entry_is_there_once_however_often_writing_it_failed(
    ledger: Ledger, error: Exception, after: bool, blind: bool
) -> None:
    """Whether the workbook had it by then or not."""
    workbook = MemoryWorkbook(blind=blind)
    with working(ledger, workbook) as desk:
        workbook.fail("write", *[Fault(error, after)] * 3)
        desk.add("a", "b")
        desk.settle()
        assert workbook.ids == ["a", "b"]
        assert workbook.asked["write"] >= 4
        ledger.change("a", 1, DINNER, PHONE, None).result(PATIENCE)
        ledger.remove("b", 1, PHONE).result(PATIENCE)
        workbook.fail("write", *[Fault(error, after)] * 3)
        desk.settle()
        assert [(row.entry_id, row.note) for row in workbook.rows] == [("a", "Dinner")]


def test_faults_of_every_kind_in_any_order_lose_and_double_nothing(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """While entries come, change and go, and a person types rows."""
    calls: tuple[Call, ...] = ("stamp", "read", "write", "write")
    chance = random.Random(6)  # noqa: S311
    errors = [BROKEN, BUSY, RuntimeError("nobody expected this")]
    with working(ledger, workbook) as desk:
        for number in range(60):
            for call in calls:
                if chance.random() < 0.4:
                    workbook.fail(call, Fault(chance.choice(errors), chance.random() < 0.5))
            desk.add(f"a{number}")
            if chance.random() < 0.3:
                workbook.type_row(typed(0, f"row {number}"))
            if chance.random() < 0.3:
                ledger.change(f"a{number}", 1, DINNER, PHONE, None).result(PATIENCE)
            elif chance.random() < 0.3:
                ledger.remove(f"a{number}", 1, PHONE).result(PATIENCE)
            desk.look_on(1)
        desk.settle()
        there = {row.entry_id: row.note for row in workbook.rows if row.entry_id}
        records = [desk.find(f"a{number}") for number in range(60)]
        assert there == {record.entry_id: record.entry.note for record in records if not record.removed}
        assert len(workbook.ids) == len(there)
        assert notes(desk.view) == sorted(row.note for row in workbook.rows)


def test_a_delivery_that_the_ledger_could_not_note_is_made_again(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workbook has the row by then, and finds it by its id."""
    real = ledger.deliver
    failing = [1, 2, 3]

    def deliver(delivered: list[tuple[str, int]]) -> object:
        if failing:
            failing.pop()
            raise LedgerError("the disk has no room left")
        return real(delivered)

    monkeypatch.setattr(ledger, "deliver", deliver)
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
        assert (workbook.ids, failing) == (["a"], [])
        assert workbook.asked["write"] == 4


def test_an_entry_that_is_put_back_is_written_although_its_removal_was_never_noted(
    ledger: Ledger, workbook: MemoryWorkbook
) -> None:
    """The workbook had lost its row to the app, and not to a person: it is no row that was taken out by hand."""
    with working(ledger, workbook) as desk:
        desk.add("a")
        desk.settle()
        workbook.fail_always("write", Fault(BROKEN, after=True))
        ledger.remove("a", 1, PHONE).result(PATIENCE)
        workbook.wait_until(lambda: workbook.ids == [])
        ledger.undo("a", 2, PHONE).result(PATIENCE)
        workbook.fail_always("write", None)
        desk.settle()
        assert workbook.ids == ["a"]
        assert notes(desk.view) == ["Lunch"]


def test_what_is_wrong_is_shown_and_logged_once(
    ledger: Ledger, workbook: MemoryWorkbook, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do about it, and when it is tried again; not a line for each try."""
    with working(ledger, workbook) as desk:
        workbook.fail_always("write", BROKEN)
        desk.add("a")
        workbook.wait_for("write", 5)
        assert desk.problem == "the disk of memory has no room left; make room on it"
        progress = desk.writer.progress
        assert (progress.busy, progress.written_at) == (False, None)
        assert progress.next_try is not None
        assert abs(progress.next_try - datetime.now(UTC)) < timedelta(minutes=5)
        workbook.fail_always("write", None)
        desk.settle()
        assert desk.writer.progress.next_try is None
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["the disk of memory has no room left; hint: make room on it", "memory is written again"]


def test_a_fault_that_nobody_expected_is_shown_and_logged_and_ends_nothing(
    ledger: Ledger, workbook: MemoryWorkbook, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has its traceback, and the page a sentence."""
    with working(ledger, workbook) as desk:
        workbook.fail_always("write", ZeroDivisionError("nobody expected this"))
        desk.add("a")
        workbook.wait_until(lambda: desk.problem is not None)
        assert desk.problem == "the budget app has a fault; look at the log of the budget app, which describes it"
        workbook.wait_for("write", 2)
        workbook.fail_always("write", None)
        desk.settle()
        assert workbook.ids == ["a"]
    assert any(record.exc_info and "nobody expected this" in str(record.exc_info[1]) for record in caplog.records)


@pytest.mark.parametrize("call", ["prepare", "stamp", "read"])
@pytest.mark.parametrize("error", [BROKEN, BUSY, ZeroDivisionError("nobody expected this")])
def test_a_workbook_that_cannot_be_used_at_first_is_used_when_it_can_be(
    ledger: Ledger, workbook: MemoryWorkbook, call: Call, error: Exception
) -> None:
    """The app starts all the same, and entries wait."""
    workbook.fail_always(call, error)
    with working(ledger, workbook) as desk:
        assert desk.problem is not None
        desk.add("a")
        workbook.wait_for(call, 3)
        assert workbook.asked["write"] == 0
        assert notes(desk.view) == ["Lunch"]
        workbook.fail_always(call, None)
        desk.settle()
        assert workbook.ids == ["a"]
    assert workbook.asked["prepare"] == (1 if call != "prepare" else workbook.asked["prepare"])


def test_a_workbook_that_is_open_elsewhere_is_tried_at_every_look(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong, so that no wait grows; the page says who has it open."""
    monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
    monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
    with working(ledger, workbook) as desk:
        workbook.fail_always("write", BUSY)
        desk.add("a")
        workbook.wait_for("write", 8)
        assert desk.writer.progress.busy
        assert desk.problem == "memory is open in LibreOffice; close it there"
        workbook.fail_always("write", None)
        desk.settle()
        assert (workbook.ids, desk.writer.progress.busy) == (["a"], False)


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_waits_grow_are_capped_and_differ(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch, jitter: float, share: float
) -> None:
    """Each is twice the one before up to the longest, and half of each is left to chance."""
    waits = record_waits(monkeypatch)
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.01)
    with working(ledger, workbook, lambda: jitter) as desk:
        workbook.fail_always("write", BROKEN)
        desk.add("a")
        workbook.wait_for("write", 7)
        workbook.fail_always("write", None)
        desk.settle()
        seen = waits[:6]
        assert seen == pytest.approx([share * wait for wait in (0.001, 0.002, 0.004, 0.008, 0.01, 0.01)])
        waits.clear()
        workbook.fail("write", BROKEN)
        desk.add("b")
        desk.settle()
        assert waits == pytest.approx([share * 0.001]), "after a success they begin anew"


def test_waits_of_any_number_of_failures_are_capped(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """A year without the workbook is no overflow."""
    desk = Desk(ledger, workbook, lambda: 1.0)
    desk.writer._failures = 100_000
    assert desk.writer._next_wait() == module.LONGEST_WAIT


def test_a_wait_that_the_other_side_asked_for_is_kept(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a second earlier, nor a jitter of it."""
    waits = record_waits(monkeypatch)
    with working(ledger, workbook) as desk:
        workbook.fail("write", WorkbookError("it is asked too often", "wait", retry_after=NEVER))
        desk.add("a")
        workbook.wait_until(lambda: desk.problem is not None)
        desk.look_on()
        assert workbook.asked["write"] == 1
        assert waits == [NEVER]


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e300, -5.0])
def test_a_wait_that_makes_no_sense_ends_nothing(ledger: Ledger, workbook: MemoryWorkbook, seconds: float) -> None:
    """A server that asks to be left alone for ever is asked again all the same."""
    with working(ledger, workbook) as desk:
        workbook.fail("write", WorkbookError("it is asked too often", "wait", retry_after=seconds))
        desk.add("a")
        workbook.wait_until(lambda: workbook.asked["write"] > 0)
        desk.look_on()
        assert desk.writer._thread.is_alive()


@pytest.mark.parametrize("call", ["prepare", "read", "write"])
def test_a_changed_workbook_ends_the_wait(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    """Somebody may have put right what was wrong, and does not wait five minutes to see it."""
    monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
    monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
    workbook.fail_always(call, BROKEN)
    with working(ledger, workbook) as desk:
        desk.add("a")
        workbook.wait_until(lambda: desk.problem is not None)
        workbook.fail_always(call, None)
        workbook.touch()
        desk.settle()
        assert workbook.ids == ["a"]


def test_a_workbook_that_cannot_be_read_is_not_read_at_every_look(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not changed since, so that the wait holds for it: a large damaged file is not parsed each second."""
    with working(ledger, workbook) as desk:
        monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
        monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
        reads = workbook.asked["read"]
        workbook.fail_always("read", BROKEN)
        workbook.touch()
        workbook.wait_until(lambda: desk.problem is not None)
        desk.look_on()
        assert workbook.asked["read"] == reads + 1


def test_looking_at_what_cannot_be_looked_at_makes_no_wait_longer(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is away for some seconds is tried again after seconds: a look is no try."""
    waits = record_waits(monkeypatch)
    with working(ledger, workbook) as desk:
        monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
        monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
        workbook.fail_always("stamp", BROKEN)
        workbook.wait_until(lambda: desk.problem is not None)
        desk.look_on()
        assert len(waits) <= 1


def test_a_problem_that_is_over_is_not_shown_any_more(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """Also when there is nothing to write, and the workbook is as it was."""
    with working(ledger, workbook) as desk:
        workbook.fail_always("stamp", BROKEN)
        workbook.wait_until(lambda: desk.problem is not None)
        workbook.fail_always("stamp", None)
        workbook.wait_until(lambda: desk.problem is None)
        assert desk.writer.progress.next_try is None


def test_own_writes_that_failed_do_not_pass_for_somebody_else_s(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that was made and could not be confirmed is not made again at every look."""
    monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
    monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
    with working(ledger, workbook) as desk:
        workbook.fail_always("write", Fault(BROKEN, after=True))
        desk.add("a")
        workbook.wait_until(lambda: desk.problem is not None)
        desk.look_on()
        # Once more, perhaps: the workbook is another than before.
        assert workbook.asked["write"] <= 2


def test_a_ledger_that_cannot_be_read_ends_nothing(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk may come back."""
    real = ledger.list_waiting
    with working(ledger, workbook) as desk:

        def fail(limit: int) -> list[Record]:
            raise LedgerError("ledger.db cannot be read (disk I/O error)")

        monkeypatch.setattr(ledger, "list_waiting", fail)
        desk.add("a")
        workbook.wait_until(lambda: desk.problem is not None)
        assert "disk I/O error" in str(desk.problem)
        monkeypatch.setattr(ledger, "list_waiting", real)
        desk.settle()
        assert workbook.ids == ["a"]


# Two of them, and the end.


def test_of_two_writers_on_one_ledger_one_writes(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """The other follows what it sees, and takes over when the first ends."""
    same = Ledger(ledger.path)
    same.open()
    other_workbook = MemoryWorkbook()
    first = Desk(ledger, workbook)
    first.writer.start()
    try:
        first.add("a")
        first.settle()
        with working(same, other_workbook) as second:
            second.add("b")
            first.settle()
            second.look_on()
            assert other_workbook.asked["write"] == 0
            assert second.problem is None
            assert notes(second.view) == ["Lunch"]
            first.writer.stop()
            second.add("c")
            second.settle()
    finally:
        if not first.writer._stopping.is_set():
            first.writer.stop()
        same.close()
    assert (workbook.ids, other_workbook.ids) == (["a", "b"], ["c"])


def test_a_turn_is_over_when_the_process_is(tmp_path: Path) -> None:
    """The lock is on the file and belongs to who holds it open, so that nothing has to be cleared away."""
    path = tmp_path / "ledger.db-writer"
    first, second = module._Turn(path), module._Turn(path)
    assert [first.take(), first.take(), second.take()] == [True, True, False]
    first.give_up()
    first.give_up()
    assert second.take()
    second.give_up()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_turn_that_nobody_can_tell_is_shown_and_writes_nothing(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have no locks; two processes would write at once. Nothing stays open of the tries."""
    real, locks = fcntl.flock, threading.Event()

    def lock(descriptor: int, how: int) -> None:
        if not locks.is_set():
            raise OSError(errno.ENOLCK, "No locks available")
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    with working(ledger, workbook) as desk:
        opened = len(list(Path("/proc/self/fd").iterdir()))
        desk.add("a")
        desk.look_on()
        assert "cannot be used ([Errno 37] No locks available)" in (desk.problem or "")
        assert workbook.ids == []
        assert len(list(Path("/proc/self/fd").iterdir())) <= opened
        locks.set()
        desk.settle()
        assert workbook.ids == ["a"]


@pytest.mark.parametrize("failing", [False, True])
def test_stopping_does_not_wait_for_a_wait(
    ledger: Ledger, workbook: MemoryWorkbook, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    """Neither for a look nor for a pause of five minutes."""
    desk = Desk(ledger, workbook)
    desk.writer.start()
    if failing:
        monkeypatch.setattr(module, "FIRST_WAIT", NEVER)
        monkeypatch.setattr(module, "LONGEST_WAIT", NEVER)
        workbook.fail_always("write", BROKEN)
        desk.add("a")
        workbook.wait_until(lambda: desk.problem is not None)
    monkeypatch.setattr(module, "LOOK", NEVER)
    desk.look_on(1) if not failing else None
    stopping = threading.Thread(target=desk.writer.stop, daemon=True)
    stopping.start()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert not desk.writer._thread.is_alive()


def test_stopping_ends_after_what_is_being_written(ledger: Ledger, workbook: MemoryWorkbook) -> None:
    """No write is left half way, and the ledger hears of it."""
    desk = Desk(ledger, workbook)
    desk.writer.start()
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    workbook.on_write = hold
    desk.add("a")
    assert begun.wait(PATIENCE)
    stopping = threading.Thread(target=desk.writer.stop, daemon=True)
    stopping.start()
    go_on.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert (workbook.ids, desk.find("a").delivered) == (["a"], 1)


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits after failures, as the writer sets them."""
    waits: list[float] = []
    real = Writer._fail

    def fail(self: Writer, message: object, hint: object, wait: float, *, busy: bool = False) -> None:
        waits.append(wait)
        real(self, message, hint, wait, busy=busy)  # type: ignore[arg-type]

    monkeypatch.setattr(Writer, "_fail", fail)
    return waits
