"""The file of the ledger: it only grows, belongs to its owner, and is on disk when it says so."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from budget_app.entries import MAX_AMOUNT, Entry
from budget_app.ledger import journal as rows
from budget_app.ledger.journal import VERSION, Kind, Numbers, Record, open_journal

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
DINNER = Entry(Decimal("31.00"), "Eating out", date(2025, 11, 24), "Dinner")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def journal(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_journal(path)) as opened:
        yield opened


def say(journal: sqlite3.Connection, kind: Kind, entry_id: str, version: int, entry: Entry = LUNCH) -> None:
    rows.write_event(journal, kind, entry_id, version, entry, "Rhea Group")


def find(journal: sqlite3.Connection, entry_id: str) -> Record:
    record = rows.find_record(journal, entry_id)
    assert record is not None
    return record


@pytest.mark.parametrize("table", ["event", "delivery"])
@pytest.mark.parametrize(
    "change",
    ["UPDATE {table} SET version = version", "DELETE FROM {table}", "REPLACE INTO {table} SELECT * FROM {table}"],
)
def test_nothing_in_the_journal_can_be_changed_or_taken_out(
    journal: sqlite3.Connection, table: str, change: str
) -> None:
    """A mistake in a statement ends it, and all of its transaction."""
    say(journal, "add", "a", 1)
    rows.write_deliveries(journal, [("a", 1)])
    before = list(journal.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        journal.execute(change.format(table=table))
    assert list(journal.iterdump()) == before


def test_a_version_of_an_entry_is_there_once(journal: sqlite3.Connection) -> None:
    """Two that write at once cannot both have made it."""
    say(journal, "add", "a", 1)
    with pytest.raises(sqlite3.IntegrityError):
        say(journal, "change", "a", 1, DINNER)


@pytest.mark.parametrize(("kind", "version"), [("melt", 1), ("add", 0), ("add", -1)])
def test_what_is_no_event_is_refused(journal: sqlite3.Connection, kind: Kind, version: int) -> None:
    """The file itself knows what an event is."""
    with pytest.raises(sqlite3.IntegrityError):
        say(journal, kind, "a", version)


def test_commits_wait_for_the_disk(journal: sqlite3.Connection) -> None:
    """WAL with `synchronous` FULL (2): its default may lose the last commits when the power fails."""
    assert journal.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_file_and_those_beside_it_are_for_their_owner_alone(path: Path, journal: sqlite3.Connection) -> None:
    """Also the ones that SQLite makes itself."""
    say(journal, "add", "a", 1)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_folders_that_are_missing_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    """The first start needs no preparation."""
    with closing(open_journal(tmp_path / "new" / "ledger.db")):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_file_that_is_opened_again_is_as_it_was(path: Path) -> None:
    """Its tables are made once."""
    with closing(open_journal(path)) as journal:
        say(journal, "add", "a", 1)
    with closing(open_journal(path)) as journal:
        assert find(journal, "a").entry == LUNCH
        assert journal.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_file_that_many_open_for_the_first_time_at_once_is_made_once(tmp_path: Path) -> None:
    """Two processes that start together, and find no ledger."""
    for number in range(20):
        path = tmp_path / f"{number}.db"
        together = threading.Barrier(6)

        def open_it(path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            open_journal(path).close()

        with ThreadPoolExecutor(6) as pool:
            for opened in [pool.submit(open_it) for _ in range(6)]:
                opened.result()


def test_a_file_of_another_version_is_refused_as_it_is(path: Path) -> None:
    """An older app does not write what a newer one would misread."""
    with closing(open_journal(path)) as journal:
        journal.execute(f"PRAGMA user_version={VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        open_journal(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_as_it_is(path: Path) -> None:
    """A file with tables that are none of ours is not ours to write into."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipe (name TEXT)")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError):
        open_journal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_as_it_is(path: Path) -> None:
    """It is somebody's, whatever it is."""
    path.write_bytes(b"What is this?" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        open_journal(path)
    assert path.read_bytes() == b"What is this?" * 1000


@pytest.mark.parametrize(
    "entry",
    [
        Entry(MAX_AMOUNT, "Home", date(2000, 1, 1), "n" * 500),
        Entry(-MAX_AMOUNT, "é" * 50, date(9999, 12, 31)),
        Entry(Decimal("0.01"), "'; DROP TABLE event; --", date(2024, 2, 29), "🍎 \u00a0 \x00"),
        Entry(Decimal("-0.10"), "Home", date(2025, 11, 23), ""),
    ],
)
def test_an_entry_is_read_as_it_was_written(journal: sqlite3.Connection, entry: Entry) -> None:
    """To the cent, and to the character."""
    say(journal, "add", "a", 1, entry)
    record = find(journal, "a")
    assert record.entry == entry
    assert str(record.entry.amount) == str(entry.amount.quantize(Decimal("0.01")))
    event = rows.find_event(journal, "a", 1)
    assert event is not None
    assert (event.entry, event.kind, event.device) == (entry, "add", "Rhea Group")


def test_a_record_is_what_the_events_add_up_to(journal: sqlite3.Connection) -> None:
    """The last content, who added it, and how far the workbook is."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    say(journal, "add", "a", 1)
    rows.write_event(journal, "change", "a", 2, DINNER, "iPad")
    record = find(journal, "a")
    assert (record.version, record.kind, record.entry, record.device) == (2, "change", DINNER, "Rhea Group")
    assert (record.removed, record.delivered, record.in_workbook, record.waiting) == (False, 0, False, True)
    assert before <= record.at <= datetime.now(UTC) + timedelta(seconds=1)
    say(journal, "remove", "a", 3)
    assert find(journal, "a").removed
    say(journal, "restore", "a", 4)
    assert not find(journal, "a").removed


def test_an_entry_that_was_given_to_the_workbook_waits_until_its_last_version_was(journal: sqlite3.Connection) -> None:
    """A change that came while the workbook was written is not forgotten."""
    say(journal, "add", "a", 1)
    say(journal, "change", "a", 2, DINNER)
    rows.write_deliveries(journal, [("a", 1)])
    record = find(journal, "a")
    assert (record.delivered, record.in_workbook, record.waiting) == (1, True, True)
    rows.write_deliveries(journal, [("a", 2)])
    assert not find(journal, "a").waiting


def test_a_removed_entry_that_the_workbook_was_told_of_is_not_in_it(journal: sqlite3.Connection) -> None:
    """So that it is written as new if it comes back."""
    say(journal, "add", "a", 1)
    rows.write_deliveries(journal, [("a", 1)])
    assert find(journal, "a").in_workbook
    say(journal, "remove", "a", 2)
    rows.write_deliveries(journal, [("a", 2)])
    assert not find(journal, "a").in_workbook
    say(journal, "restore", "a", 3)
    record = find(journal, "a")
    assert (record.in_workbook, record.waiting) == (False, True)


def test_a_version_that_there_is_not_is_never_the_last_one_delivered(journal: sqlite3.Connection) -> None:
    """A delivery of nothing brings no entry on."""
    say(journal, "add", "a", 1)
    rows.write_deliveries(journal, [("a", 7), ("nobody", 1)])
    assert find(journal, "a").delivered == 0


def test_what_waits_is_listed_in_the_order_in_which_it_was_touched(journal: sqlite3.Connection) -> None:
    """What waits longest is written first, however many do."""
    for entry_id in "abcd":
        say(journal, "add", entry_id, 1)
    say(journal, "change", "b", 2, DINNER)
    rows.write_deliveries(journal, [("c", 1)])
    assert [record.entry_id for record in rows.list_waiting(journal)] == ["a", "d", "b"]
    assert [record.entry_id for record in rows.list_waiting(journal, 2)] == ["a", "d"]
    assert rows.count_waiting(journal) == 3


def test_whoever_has_read_up_to_a_number_is_told_what_came_since(journal: sqlite3.Connection) -> None:
    """Events and deliveries, each entry once, in the order of their last events."""
    assert rows.find_last(journal) == Numbers(0, 0)
    for entry_id in "abc":
        say(journal, "add", entry_id, 1)
    seen = rows.find_last(journal)
    assert seen == Numbers(3, 0)
    rows.write_deliveries(journal, [("a", 1)])
    say(journal, "change", "c", 2, DINNER)
    say(journal, "change", "b", 2, DINNER)
    say(journal, "remove", "c", 3)
    assert [record.entry_id for record in rows.list_touched(journal, seen)] == ["a", "b", "c"]
    assert rows.list_touched(journal, rows.find_last(journal)) == []


@pytest.mark.parametrize(
    ("ask", "parameters"),
    [
        ("SELECT count(*) FROM entry WHERE delivered < version", ()),
        (f"{rows._RECORD} WHERE entry.delivered < entry.version ORDER BY entry.event LIMIT ?", (10,)),
        (f"{rows._RECORD} WHERE entry.id = ?", ("a",)),
        (f"{rows._EVENT} WHERE entry = ? AND version = ?", ("a", 1)),
    ],
)
def test_what_is_asked_for_each_page_reads_no_whole_table(
    journal: sqlite3.Connection, ask: str, parameters: tuple[object, ...]
) -> None:
    """A hundred thousand entries cost no more than ten."""
    plan = [row[3] for row in journal.execute(f"EXPLAIN QUERY PLAN {ask}", parameters)]
    assert plan
    assert not [step for step in plan if step.startswith("SCAN") and "waiting" not in step], plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
