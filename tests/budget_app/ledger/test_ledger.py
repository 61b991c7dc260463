"""What the ledger said it has taken is on disk, is there once, and can be taken back."""

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from budget_app.entries import Entry
from budget_app.ledger import Accepted, Conflict, Ledger, LedgerError, NotInLedger, Numbers, Record
from budget_app.ledger import journal as rows
from servers import environment

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
DINNER = Entry(Decimal("31.00"), "Eating out", date(2025, 11, 24), "Dinner")
COFFEE = Entry(Decimal("2.80"), "Coffee", date(2025, 11, 23))
BY_HAND = Entry(Decimal("12.50"), "Home", date(2025, 11, 23), "Lunch, with Ana")
PHONE = "Rhea Group"

# Nothing here takes so long; a test that waits so long has failed.
PATIENCE = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with opened(path) as ledger:
        yield ledger


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()


def done(future: "Future[Accepted]") -> Record:
    return future.result(PATIENCE).record


def add(ledger: Ledger, entry_id: str, entry: Entry = LUNCH) -> Record:
    return done(ledger.add(entry_id, entry, PHONE))


def deliver(ledger: Ledger, *records: Record) -> None:
    ledger.deliver([(record.entry_id, record.version) for record in records]).result(PATIENCE)


def find(ledger: Ledger, entry_id: str) -> Record:
    record = ledger.find(entry_id)
    assert record is not None
    return record


@contextmanager
def held(ledger: Ledger) -> Iterator[None]:
    """Inside, the ledger is busy with one commit, so that all that is asked for comes into the next one together."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        busy.set()
        go_on.wait(PATIENCE)

    held_up = ledger._ask(hold)
    assert busy.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()
    wait([held_up], PATIENCE)


def look(path: Path, question: str, *values: object) -> list[Any]:
    """What another connection sees, which knows nothing of this one."""
    with closing(sqlite3.connect(path)) as other:
        return other.execute(question, values).fetchall()


# What was said to be taken is on disk.


def test_what_was_accepted_is_seen_by_everybody_before_the_answer(ledger: Ledger, path: Path) -> None:
    """The answer comes after the commit."""
    accepted = ledger.add("a", LUNCH, PHONE).result(PATIENCE)
    assert accepted.new
    assert look(path, "SELECT entry, cents, note, device FROM event") == [("a", 1250, "Lunch", PHONE)]
    assert accepted.record == find(ledger, "a")


def test_what_was_accepted_outlives_a_process_that_ends_at_once(path: Path) -> None:
    """Nothing that was answered waited for a proper end."""
    script = (
        "import os, sys\n"
        "from datetime import date\n"
        "from decimal import Decimal\n"
        "from pathlib import Path\n"
        "from budget_app.entries import Entry\n"
        "from budget_app.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "ledger.open()\n"
        "for number in range(20):\n"
        "    ledger.add(f'a{number}', Entry(Decimal('4.50'), 'Coffee', date(2025, 11, 23)), 'phone').result()\n"
        "os._exit(9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, path], env=environment(), check=False)
    assert ended.returncode == 9
    with opened(path) as ledger:
        assert {record.entry_id for record in ledger.list_waiting(100)} == {f"a{number}" for number in range(20)}


def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    """A server that is stopped has answered everybody."""
    with opened(path) as ledger:
        asked = [ledger.add(f"a{number}", COFFEE, PHONE) for number in range(2000)]
    assert all(future.done() for future in asked)
    assert {done(future).entry_id for future in asked} == {f"a{number}" for number in range(2000)}
    assert look(path, "SELECT count(*) FROM event") == [(2000,)]


def test_what_is_asked_of_a_closed_ledger_is_refused_and_not_forgotten(path: Path) -> None:
    """Also before it was opened: an answer always comes."""
    ledger = Ledger(path)
    with pytest.raises(LedgerError, match="is closed"):
        add(ledger, "a")
    with pytest.raises(LedgerError, match="is closed"):
        ledger.find("a")
    ledger.open()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        add(ledger, "a")
    ledger.close()


def test_what_is_asked_while_the_ledger_closes_is_answered(path: Path) -> None:
    """With yes or with no, but nobody waits for ever."""
    ledger = Ledger(path)
    ledger.open()
    with held(ledger):
        closing_it = threading.Thread(target=ledger.close, daemon=True)
        closing_it.start()
        wait_until(lambda: not ledger._asked.empty())
        late = ledger.add("a", LUNCH, PHONE)
    closing_it.join(PATIENCE)
    finished, _ = wait([late], timeout=1)
    assert finished, "the future of what was asked for late is never settled"


def test_a_ledger_that_was_closed_can_be_opened_again(path: Path) -> None:
    """The same object, after a restart of the app in one process."""
    ledger = Ledger(path)
    for version in (1, 2):
        ledger.open()
        add(ledger, f"a{version}")
        ledger.close()
    assert look(path, "SELECT count(*) FROM event") == [(2,)]


@pytest.mark.parametrize("content", [b"What is this?" * 1000, None])
def test_a_file_that_is_no_ledger_is_told_and_left_alone(path: Path, content: bytes | None) -> None:
    """The message says which file, and nothing stays open or half made."""
    path.mkdir() if content is None else path.write_bytes(content)
    ledger = Ledger(path)
    with pytest.raises(LedgerError) as caught:
        ledger.open()
    assert str(path) in str(caught.value)
    assert content is None or path.read_bytes() == content
    with pytest.raises(LedgerError, match="is closed"):
        add(ledger, "a")


def test_a_ledger_of_another_version_is_told(path: Path) -> None:
    """An older app that is started by mistake writes nothing."""
    with opened(path) as ledger:
        add(ledger, "a")
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version=99")
    with pytest.raises(LedgerError, match="another version"):
        Ledger(path).open()
    assert look(path, "SELECT count(*) FROM event") == [(1,)]


# The same id is one entry.


def test_the_same_expense_twice_is_one_entry(ledger: Ledger, path: Path) -> None:
    """A phone that has heard no answer sends it again, perhaps with a renewed key of another name."""
    first = ledger.add("a", LUNCH, PHONE).result(PATIENCE)
    again = ledger.add("a", Entry(Decimal("12.5"), *(LUNCH.category, LUNCH.date, LUNCH.note)), "iPad").result(PATIENCE)
    assert (first.new, again.new) == (True, False)
    assert again.record == first.record
    assert look(path, "SELECT count(*) FROM event") == [(1,)]


def test_the_same_expense_is_known_again_after_it_was_changed_or_removed(ledger: Ledger) -> None:
    """The phone's retry comes late; what was done since stays done."""
    add(ledger, "a")
    changed = done(ledger.change("a", 1, DINNER, PHONE, None))
    assert ledger.add("a", LUNCH, PHONE).result(PATIENCE) == Accepted(changed, new=False)
    removed = done(ledger.remove("a", 2, PHONE))
    assert ledger.add("a", LUNCH, PHONE).result(PATIENCE) == Accepted(removed, new=False)


@pytest.mark.parametrize(
    "other",
    [
        DINNER,
        Entry(Decimal("-12.50"), LUNCH.category, LUNCH.date, LUNCH.note),
        Entry(LUNCH.amount, "eating out", LUNCH.date, LUNCH.note),
        Entry(LUNCH.amount, LUNCH.category, DINNER.date, LUNCH.note),
        Entry(LUNCH.amount, LUNCH.category, LUNCH.date, ""),
    ],
)
def test_an_id_that_stands_for_another_expense_is_refused(ledger: Ledger, path: Path, other: Entry) -> None:
    """One of the two would be lost otherwise; the refusal tells what there is."""
    first = add(ledger, "a")
    with pytest.raises(Conflict) as caught:
        add(ledger, "a", other)
    assert caught.value.record == first
    assert look(path, "SELECT count(*) FROM event") == [(1,)]


def test_ids_differ_in_upper_and_lower_case(ledger: Ledger) -> None:
    """An id is what its sender says it is, and nothing is folded."""
    add(ledger, "a")
    add(ledger, "A", DINNER)
    assert (find(ledger, "a").entry, find(ledger, "A").entry) == (LUNCH, DINNER)


def test_an_expense_that_comes_many_times_at_once_is_one_entry(ledger: Ledger, path: Path) -> None:
    """A double tap arrives on two threads, and so does every retry."""
    with ThreadPoolExecutor(16) as pool:
        accepted = list(
            pool.map(lambda number: ledger.add(f"a{number % 10}", LUNCH, PHONE).result(PATIENCE), range(400))
        )
    assert sum(each.new for each in accepted) == 10
    assert look(path, "SELECT count(*), count(DISTINCT entry) FROM event") == [(10, 10)]


def test_one_of_two_expenses_with_one_id_that_come_at_once_is_refused(ledger: Ledger) -> None:
    """Also when one commit takes both."""
    with held(ledger):
        asked = [ledger.add("a", LUNCH, PHONE), ledger.add("a", DINNER, PHONE), ledger.add("a", LUNCH, PHONE)]
    assert [done(asked[0]).entry, done(asked[2]).entry] == [LUNCH, LUNCH]
    assert isinstance(asked[1].exception(PATIENCE), Conflict)


def test_two_processes_that_take_the_same_expenses_take_each_once(path: Path) -> None:
    """During a restart the old and the new server share the file."""
    script = (
        "import sys\n"
        "from datetime import date\n"
        "from decimal import Decimal\n"
        "from pathlib import Path\n"
        "from budget_app.entries import Entry\n"
        "from budget_app.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "ledger.open()\n"
        "print(flush=True)\n"
        "sys.stdin.readline()\n"
        "asked = [ledger.add(f'a{number}', Entry(Decimal('4.50'), 'Coffee', date(2025, 11, 23)), 'phone')\n"
        "         for number in range(300)]\n"
        "print(sum(future.result().new for future in asked))\n"
        "ledger.close()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    both = [
        subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for each in both:
            assert each.stdout is not None
            each.stdout.readline()
        for each in both:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        taken = [int(each.communicate(timeout=PATIENCE)[0]) for each in both]
    finally:
        for each in both:
            each.kill()
            each.communicate()
    assert sum(taken) == 300
    assert look(path, "SELECT count(*), count(DISTINCT entry) FROM event") == [(300, 300)]


# Changing, removing, taking back.


def test_a_change_is_made_to_the_version_that_was_seen(ledger: Ledger) -> None:
    """Two phones that change one expense: the second is told what there is, and writes over nothing."""
    add(ledger, "a")
    changed = done(ledger.change("a", 1, DINNER, "iPad", None))
    assert (changed.version, changed.kind, changed.entry, changed.device) == (2, "change", DINNER, PHONE)
    with pytest.raises(Conflict) as caught:
        done(ledger.change("a", 1, COFFEE, PHONE, None))
    assert caught.value.record == changed
    with pytest.raises(Conflict):
        done(ledger.change("a", 3, COFFEE, PHONE, None))


@pytest.mark.parametrize("seen", [None, LUNCH, DINNER])
def test_a_change_that_is_sent_again_is_made_once(ledger: Ledger, path: Path, seen: Entry | None) -> None:
    """Its answer was lost; by then the workbook may have it, which `seen` says, or not yet."""
    add(ledger, "a")
    changed = ledger.change("a", 1, DINNER, PHONE, LUNCH).result(PATIENCE)
    deliver(ledger, changed.record)
    if seen == LUNCH:
        # By hand it is as it was before: that is another change.
        assert ledger.change("a", 2, DINNER, PHONE, seen).result(PATIENCE).new
        return
    again = ledger.change("a", 1, DINNER, PHONE, seen).result(PATIENCE)
    assert (again.record.version, again.new) == (2, False)
    assert look(path, "SELECT count(*) FROM event") == [(2,)]


def test_a_change_to_what_there_is_makes_no_version(ledger: Ledger) -> None:
    """Save, without having changed anything."""
    record = add(ledger, "a")
    deliver(ledger, record)
    for seen in (None, LUNCH):
        assert not ledger.change("a", 1, LUNCH, PHONE, seen).result(PATIENCE).new
    assert not find(ledger, "a").waiting


def test_a_change_to_what_the_ledger_says_undoes_what_was_typed_by_hand(ledger: Ledger) -> None:
    """The workbook has something else, so that there is something to write."""
    deliver(ledger, add(ledger, "a"))
    changed = ledger.change("a", 1, LUNCH, PHONE, BY_HAND).result(PATIENCE)
    assert (changed.new, changed.record.entry, changed.record.waiting) == (True, LUNCH, True)


def test_what_was_typed_by_hand_is_noted_before_it_is_changed(ledger: Ledger, path: Path) -> None:
    """Undo brings back what the workbook had, and not what the ledger remembered."""
    deliver(ledger, add(ledger, "a"))
    changed = done(ledger.change("a", 1, DINNER, PHONE, BY_HAND))
    assert look(path, "SELECT version, kind FROM event") == [(1, "add"), (2, "seen"), (3, "change")]
    undone = done(ledger.undo("a", changed.version, PHONE))
    assert undone.entry == BY_HAND
    again = done(ledger.undo("a", undone.version, PHONE))
    assert again.entry == DINNER


def test_undoing_an_addition_takes_it_out_and_undoing_that_brings_it_back(ledger: Ledger) -> None:
    """There and back, as often as the button is pressed."""
    add(ledger, "a")
    for version in (1, 3, 5):
        removed = done(ledger.undo("a", version, PHONE))
        assert (removed.version, removed.removed, removed.kind) == (version + 1, True, "remove")
        restored = done(ledger.undo("a", version + 1, PHONE))
        assert (restored.removed, restored.kind, restored.entry) == (False, "restore", LUNCH)


def test_undoing_a_change_brings_back_what_was_before(ledger: Ledger) -> None:
    """Undoing that is the change again."""
    add(ledger, "a")
    done(ledger.change("a", 1, DINNER, PHONE, None))
    done(ledger.change("a", 2, COFFEE, PHONE, None))
    assert done(ledger.undo("a", 3, PHONE)).entry == DINNER
    assert done(ledger.undo("a", 4, PHONE)).entry == COFFEE


def test_only_the_last_thing_can_be_taken_back(ledger: Ledger) -> None:
    """A page that was left open does not undo what was done since."""
    add(ledger, "a")
    changed = done(ledger.change("a", 1, DINNER, PHONE, None))
    with pytest.raises(Conflict) as caught:
        done(ledger.undo("a", 1, PHONE))
    assert caught.value.record == changed


def test_what_is_out_already_stays_out(ledger: Ledger) -> None:
    """Whichever version was seen: two phones that remove one expense agree."""
    add(ledger, "a")
    removed = done(ledger.remove("a", 1, PHONE))
    for version in (0, 1, 2):
        assert ledger.remove("a", version, PHONE).result(PATIENCE) == Accepted(removed, new=False)
    with pytest.raises(Conflict):
        done(ledger.change("a", 2, DINNER, PHONE, None))


def test_an_expense_that_was_changed_in_the_meantime_is_not_removed(ledger: Ledger) -> None:
    """Who removes it has not seen what it is."""
    add(ledger, "a")
    done(ledger.change("a", 1, DINNER, PHONE, None))
    with pytest.raises(Conflict):
        done(ledger.remove("a", 1, PHONE))


def test_a_restored_entry_is_written_again_although_the_workbook_had_it(ledger: Ledger) -> None:
    """The workbook was told to take its row out, so that its row is missing for a reason."""
    deliver(ledger, add(ledger, "a"))
    assert find(ledger, "a").in_workbook
    deliver(ledger, done(ledger.remove("a", 1, PHONE)))
    restored = done(ledger.undo("a", 2, PHONE))
    assert (restored.in_workbook, restored.waiting) == (False, True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: ledger.change("a", 1, LUNCH, PHONE, None),
        lambda ledger: ledger.remove("a", 1, PHONE),
        lambda ledger: ledger.undo("a", 1, PHONE),
    ],
)
def test_what_is_not_in_the_ledger_is_told(ledger: Ledger, ask: Callable[[Ledger], "Future[Accepted]"]) -> None:
    """A row that was typed by hand is changed by hand."""
    with pytest.raises(NotInLedger):
        done(ask(ledger))
    assert ledger.find("a") is None


def test_the_versions_of_all_are_told_at_once(ledger: Ledger) -> None:
    """But of what was removed."""
    assert ledger.take_stock().versions == {}
    add(ledger, "a")
    add(ledger, "b")
    done(ledger.remove("b", 1, PHONE))
    assert ledger.take_stock().versions == {"a": 1}


def test_a_removal_brings_back_what_was_typed_by_hand(ledger: Ledger, path: Path) -> None:
    """And so does the removal by undo, right after adding."""
    for undo in (False, True):
        entry_id = f"a{undo}"
        deliver(ledger, add(ledger, entry_id))
        act = ledger.undo if undo else ledger.remove
        removed = done(act(entry_id, 1, PHONE, BY_HAND))
        assert (removed.version, removed.removed) == (3, True)
        assert done(ledger.undo(entry_id, 3, PHONE)).entry == BY_HAND


def test_a_change_is_not_taken_back_from_what_a_person_has_made_of_it(ledger: Ledger) -> None:
    """There is nothing that it could be taken back to."""
    deliver(ledger, add(ledger, "a"))
    deliver(ledger, done(ledger.change("a", 1, DINNER, PHONE, None)))
    with pytest.raises(Conflict):
        done(ledger.undo("a", 2, PHONE, BY_HAND))
    assert find(ledger, "a").entry == DINNER


def test_the_bases_of_a_change_are_what_the_workbook_may_have_had(ledger: Ledger) -> None:
    """What it was brought to or was seen of it since, and every version that it may have got without our knowing."""
    deliver(ledger, add(ledger, "a"))
    done(ledger.change("a", 1, DINNER, PHONE, None))
    assert ledger.list_bases("a") == (LUNCH,)
    done(ledger.change("a", 2, COFFEE, PHONE, None))
    assert ledger.list_bases("a") == (LUNCH, DINNER)
    deliver(ledger, find(ledger, "a"))
    done(ledger.change("a", 3, LUNCH, PHONE, BY_HAND))
    assert ledger.list_bases("a") == (BY_HAND,)
    assert ledger.list_bases("nobody") == ()


def test_what_was_put_back_is_written_even_if_nobody_heard_that_it_was_taken_out(ledger: Ledger) -> None:
    """The workbook had lost the row, and the power failed before the ledger knew: no hand has taken it out."""
    deliver(ledger, add(ledger, "a"))
    done(ledger.remove("a", 1, PHONE))
    done(ledger.undo("a", 2, PHONE))
    assert not find(ledger, "a").in_workbook


def test_what_the_workbook_has_lost_is_written_again(ledger: Ledger) -> None:
    """As what it never had; what was removed stays out."""
    for entry_id in ("a", "b"):
        deliver(ledger, add(ledger, entry_id))
    deliver(ledger, done(ledger.remove("b", 1, PHONE)))
    ledger.write_again(["a", "b", "nobody"]).result(PATIENCE)
    (waiting,) = ledger.take_stock().waiting
    assert (waiting.entry_id, waiting.in_workbook, waiting.delivered) == ("a", False, 0)


def test_nothing_is_written_into_a_file_that_was_deleted_or_replaced(path: Path) -> None:
    """Nobody would ever find it there."""
    with opened(path) as ledger:
        add(ledger, "a")
        path.rename(path.with_suffix(".moved"))
        with pytest.raises(LedgerError, match="deleted or replaced"):
            add(ledger, "b")
        path.write_bytes(b"")
        with pytest.raises(LedgerError, match="deleted or replaced"):
            add(ledger, "b")
        path.unlink()
        path.with_suffix(".moved").rename(path)
        add(ledger, "b")


# One commit for many, and disks that fail.


def test_many_that_come_at_once_share_one_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for the disk serves all who wait."""
    commits = []
    monkeypatch.setattr(ledger, "changed", lambda: commits.append(1))
    with held(ledger):
        asked = [ledger.add(f"a{number}", COFFEE, PHONE) for number in range(500)]
    assert all(future.result(PATIENCE).new for future in asked)
    wait_until(lambda: len(commits) >= 2)
    assert len(commits) == 2


def test_one_that_is_refused_leaves_the_others_of_its_commit(ledger: Ledger) -> None:
    """Whoever shares a commit with a conflict knows nothing of it."""
    add(ledger, "a")
    with held(ledger):
        asked = [
            ledger.add("b", LUNCH, PHONE),
            ledger.add("a", DINNER, PHONE),
            ledger.remove("nobody", 1, PHONE),
            ledger.change("a", 7, DINNER, PHONE, None),
            ledger.add("c", COFFEE, PHONE),
        ]
    outcomes = [type(future.exception(PATIENCE)) for future in asked]
    assert outcomes == [type(None), Conflict, NotInLedger, Conflict, type(None)]
    assert (find(ledger, "a").entry, find(ledger, "b").entry, find(ledger, "c").entry) == (LUNCH, LUNCH, COFFEE)


def test_one_that_cannot_be_written_leaves_the_others_of_its_commit(ledger: Ledger) -> None:
    """An amount beyond 64 bits, as a hand may have typed it into the workbook, is nobody else's fault."""
    deliver(ledger, add(ledger, "a"))
    huge = Entry(Decimal("1e20"), "Home", date(2025, 11, 23))
    with held(ledger):
        asked = [
            ledger.add("b", LUNCH, PHONE),
            ledger.change("a", 1, DINNER, PHONE, huge),
            ledger.add("c", COFFEE, PHONE),
        ]
    outcomes = [type(future.exception(PATIENCE)) for future in asked]
    assert outcomes[0] is outcomes[2] is type(None)
    assert outcomes[1] in (LedgerError, type(None))
    assert {record.entry_id for record in ledger.list_waiting(9)} >= {"b", "c"}


def test_what_shares_a_commit_with_one_that_cannot_be_written_is_not_done_by_halves(ledger: Ledger) -> None:
    """What is tried once more is tried with all of it, also where it was given as an iterator."""
    a, b = add(ledger, "a"), add(ledger, "b")
    huge = Entry(Decimal("1e20"), "Home", date(2025, 11, 23))
    with held(ledger):
        delivered = ledger.deliver(iter([("a", a.version)]))
        failing = ledger.change("b", b.version, DINNER, PHONE, huge)
    delivered.result(PATIENCE)
    assert isinstance(failing.exception(PATIENCE), LedgerError)
    assert find(ledger, "a").delivered == 1


def test_an_operation_that_fails_half_way_leaves_no_half(ledger: Ledger) -> None:
    """What was noted as seen goes with the change that could not be made."""
    deliver(ledger, add(ledger, "a"))
    with pytest.raises(LedgerError):
        done(ledger.change("a", 1, Entry(Decimal("1e20"), "Home", date(2025, 11, 23)), PHONE, BY_HAND))
    assert (find(ledger, "a").version, find(ledger, "a").waiting) == (1, False)
    assert done(ledger.change("a", 1, DINNER, PHONE, BY_HAND)).version == 3


class Full:
    """A connection to a disk without room: the statement that `needs_room` fails, until there is room again."""

    def __init__(self, journal: sqlite3.Connection, needs_room: str) -> None:
        self._journal, self._needs_room = journal, needs_room

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if Full.full and statement.startswith(self._needs_room):
            raise sqlite3.OperationalError("database or disk is full")
        return self._journal.execute(statement, *parameters)

    def close(self) -> None:
        self._journal.close()

    full = False


@pytest.mark.parametrize("needs_room", ["COMMIT", "INSERT INTO event", "INSERT INTO entry", "BEGIN"])
def test_a_disk_without_room_fails_all_of_a_commit_and_writes_none(
    path: Path, monkeypatch: pytest.MonkeyPatch, needs_room: str
) -> None:
    """Nobody is told that it was taken, and nothing was; with room again, the same is taken."""
    real = rows.open_journal
    monkeypatch.setattr(rows, "open_journal", lambda path: Full(real(path), needs_room))
    with opened(path) as ledger:
        add(ledger, "a")
        with held(ledger):
            monkeypatch.setattr(Full, "full", True)
            asked = [ledger.add(f"b{number}", COFFEE, PHONE) for number in range(50)]
            asked.append(ledger.change("a", 1, DINNER, PHONE, None))
        failures = [future.exception(PATIENCE) for future in asked]
        assert all(isinstance(failure, LedgerError) for failure in failures)
        assert "disk is full" in str(failures[0])
        assert look(path, "SELECT entry, version FROM event") == [("a", 1)]
        monkeypatch.setattr(Full, "full", False)
        assert all(ledger.add(f"b{number}", COFFEE, PHONE).result(PATIENCE).new for number in range(50))
        assert add(ledger, "b0", COFFEE).version == 1


def test_a_real_disk_without_room_fails_all_of_a_commit_and_writes_none(path: Path) -> None:
    """The limit on the size of files stands for the end of the disk, and SQLite meets it by itself."""
    script = (
        "import json, resource, signal, sys\n"
        "from datetime import date\n"
        "from decimal import Decimal\n"
        "from pathlib import Path\n"
        "from budget_app.entries import Entry\n"
        "from budget_app.ledger import Ledger, LedgerError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def add(numbers):\n"
        "    asked = [(f'a{n}', ledger.add(f'a{n}', Entry(Decimal('4.50'), 'Coffee', date(2025, 11, 23), 'n' * 500),\n"
        "             'phone')) for n in numbers]\n"
        "    outcomes = {name: future.exception() for name, future in asked}\n"
        "    assert {type(each) for each in outcomes.values()} <= {LedgerError, type(None)}, outcomes\n"
        "    return [name for name, failure in outcomes.items() if failure is None]\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "ledger.open()\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))\n"
        "taken = [name for first in range(0, 1000, 50) for name in add(range(first, first + 50))]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "later = add(range(2000, 2050))\n"
        "print(json.dumps([taken, later]))\n"
        "ledger.close()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, path], env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    taken, later = json.loads(ended.stdout)
    assert 0 < len(taken) < 1000
    assert len(later) == 50
    there = {entry_id for (entry_id,) in look(path, "SELECT entry FROM event")}
    assert there == {*taken, *later}
    assert look(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_ledger_that_another_process_holds_is_waited_for(ledger: Ledger, path: Path) -> None:
    """Its transaction ends, and nobody hears of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = ledger.add("a", LUNCH, PHONE)
        assert ledger.find("a") is None
        assert not asked.done()
        other.execute("COMMIT")
        assert done(asked).version == 1


def test_somebody_who_went_away_stops_nobody_else(ledger: Ledger) -> None:
    """A cancelled future is not settled; what it asked for is done, and the ledger goes on."""
    with held(ledger):
        asked = [ledger.add("a", LUNCH, PHONE), ledger.add("b", LUNCH, PHONE)]
        assert asked[0].cancel()
    assert done(asked[1]).version == 1
    add(ledger, "c")


def test_whoever_listens_for_changes_is_told_after_each_commit(ledger: Ledger) -> None:
    """The writer need not look by itself."""
    told = threading.Event()
    ledger.changed = told.set
    add(ledger, "a")
    assert told.wait(PATIENCE)


def test_what_waits_and_the_numbers_are_of_one_moment(ledger: Ledger) -> None:
    """Whoever follows from these numbers misses nothing and hears nothing twice."""
    record = add(ledger, "a")
    add(ledger, "b")
    deliver(ledger, record)
    waiting, versions, numbers = ledger.take_stock()
    assert ([each.entry_id for each in waiting], numbers) == (["b"], Numbers(2, 1))
    assert ledger.list_touched(numbers) == ([], numbers)
    deliver(ledger, *waiting)
    touched, later = ledger.list_touched(numbers)
    assert ([each.entry_id for each in touched], later) == (["b"], Numbers(2, 2))
    assert ledger.count_waiting() == 0
    assert versions == ledger.take_stock().versions == {"a": 1, "b": 1}


def test_readers_and_writers_do_not_wait_for_each_other(ledger: Ledger) -> None:
    """While many add, whoever follows the numbers sees every entry, and never fewer than before."""
    seen: dict[str, int] = {}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(add, ledger, f"a{number}") for number in range(400)]
        numbers = Numbers()
        while not all(future.done() for future in asked):
            touched, numbers = ledger.list_touched(numbers)
            seen.update((record.entry_id, record.version) for record in touched)
    touched, numbers = ledger.list_touched(numbers)
    seen.update((record.entry_id, record.version) for record in touched)
    assert seen == {f"a{number}": 1 for number in range(400)}


# Any order of all of it, against a model of a few lines.


@dataclass
class Model:
    """What an entry should be: all its versions' contents, kinds, and what the workbook was given."""

    contents: list[Entry]
    kinds: list[str]
    removed: bool = False
    delivered: int = 0
    in_workbook: bool = False

    @property
    def version(self) -> int:
        return len(self.contents)

    @property
    def entry(self) -> Entry:
        return self.contents[-1]

    def say(self, kind: str, entry: Entry) -> None:
        self.contents.append(entry)
        self.kinds.append(kind)
        self.removed = kind == "remove"


ENTRIES = st.sampled_from([LUNCH, DINNER, COFFEE, BY_HAND])
VERSIONS = st.integers(-2, 0)
NUMBERS = itertools.count()


class AnyOrder(RuleBasedStateMachine):
    """Three ids, and everything that may be asked of them, with versions that are right or late."""

    path: Path
    ledger: Ledger

    @initialize()
    def begin(self) -> None:
        run = next(NUMBERS)
        self.ids = [f"run{run}-{number}" for number in range(3)]
        self.models: dict[str, Model] = {}

    def ask(self, future: "Future[Accepted]", expected: str, entry_id: str) -> None:
        error = future.exception(PATIENCE)
        outcome = "new" if error is None and future.result().new else "known" if error is None else type(error).__name__
        assert outcome == expected
        if error is None:
            self.compare(entry_id, future.result().record)

    def compare(self, entry_id: str, record: Record | None) -> None:
        model = self.models.get(entry_id)
        if model is None:
            assert record is None
            return
        assert record is not None
        assert (record.version, record.entry, record.kind) == (model.version, model.entry, model.kinds[-1])
        assert (record.removed, record.delivered, record.in_workbook) == (
            model.removed,
            model.delivered,
            model.in_workbook and "remove" not in model.kinds[model.delivered :],
        )

    @rule(number=st.integers(0, 2), entry=ENTRIES)
    def add(self, number: int, entry: Entry) -> None:
        entry_id = self.ids[number]
        model = self.models.get(entry_id)
        if model is None:
            self.models[entry_id] = Model([entry], ["add"])
            expected = "new"
        else:
            expected = "known" if model.contents[0] == entry else "Conflict"
        self.ask(self.ledger.add(entry_id, entry, PHONE), expected, entry_id)

    @rule(number=st.integers(0, 2), entry=ENTRIES, late=VERSIONS, seen=st.none() | ENTRIES)
    def change(self, number: int, entry: Entry, late: int, seen: Entry | None) -> None:
        entry_id = self.ids[number]
        model = self.models.get(entry_id)
        version = late + (model.version if model else 1)
        if model is None:
            expected = "NotInLedger"
        elif model.entry == entry and not model.removed and seen in (None, entry):
            expected = "known"
        elif late or model.removed:
            expected = "Conflict"
        else:
            expected = "new"
            if seen is not None and seen != model.entry:
                model.say("seen", seen)
            model.say("change", entry)
        self.ask(self.ledger.change(entry_id, version, entry, PHONE, seen), expected, entry_id)

    @rule(number=st.integers(0, 2), late=VERSIONS)
    def remove(self, number: int, late: int) -> None:
        entry_id = self.ids[number]
        model = self.models.get(entry_id)
        version = late + (model.version if model else 1)
        if model is None:
            expected = "NotInLedger"
        elif model.removed:
            expected = "known"
        elif late:
            expected = "Conflict"
        else:
            expected = "new"
            model.say("remove", model.entry)
        self.ask(self.ledger.remove(entry_id, version, PHONE), expected, entry_id)

    @rule(number=st.integers(0, 2), late=VERSIONS)
    def undo(self, number: int, late: int) -> None:
        entry_id = self.ids[number]
        model = self.models.get(entry_id)
        version = late + (model.version if model else 1)
        expected = "NotInLedger" if model is None else "Conflict" if late else "new"
        if model is not None and not late:
            if model.kinds[-1] == "remove":
                model.say("restore", model.entry)
            elif model.kinds[-1] == "change":
                model.say("change", model.contents[-2])
            else:
                model.say("remove", model.entry)
        self.ask(self.ledger.undo(entry_id, version, PHONE), expected, entry_id)

    @precondition(lambda self: self.models)
    @rule(late=VERSIONS)
    def deliver(self, late: int) -> None:
        """The workbook was given all that waits, or a version that was the last when it was asked for."""
        delivered = []
        for entry_id, model in self.models.items():
            version = model.version + late
            if version > model.delivered:
                delivered.append((entry_id, version))
                model.delivered = version
                model.in_workbook = model.kinds[version - 1] != "remove"
        self.ledger.deliver(delivered).result(PATIENCE)

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        for entry_id in getattr(self, "ids", []):
            self.compare(entry_id, self.ledger.find(entry_id))
        assert {record.entry_id for record in self.ledger.take_stock().waiting} == {
            entry_id for entry_id, model in getattr(self, "models", {}).items() if model.delivered < model.version
        }

    def teardown(self) -> None:
        # What waits would be read again in every step of the next run.
        deliver(self.ledger, *self.ledger.take_stock().waiting)
        for entry_id, model in getattr(self, "models", {}).items():
            said = look(self.path, "SELECT cents, kind FROM event WHERE entry = ? ORDER BY version", entry_id)
            assert said == [
                (int(entry.amount * 100), kind) for entry, kind in zip(model.contents, model.kinds, strict=True)
            ]


def test_any_order_of_everything_ends_as_a_model_says(ledger: Ledger, path: Path) -> None:
    """Hypothesis looks for an order in which a version, a content or a delivery goes wrong."""

    class Here(AnyOrder):
        pass

    Here.ledger, Here.path = ledger, path
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def wait_until(reached: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE / 0.005)):
        if reached():
            return
        threading.Event().wait(0.005)
    raise TimeoutError
