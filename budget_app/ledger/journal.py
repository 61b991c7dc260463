"""The journal in SQLite: one row for everything that was ever said of an entry, and none is changed or taken out.

`event` is the journal itself, `delivery` what the workbook was seen to have. Both only grow; triggers hold that against
mistakes. `entry` is what they add up to, one row an entry, kept in the same transactions.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple

from budget_app.entries import Entry

Kind = Literal["add", "change", "remove", "restore", "seen"]
"""`seen` is what a person made of the row in the workbook by hand, noted before the app changes it."""

VERSION = 1
# How long another process may hold the write lock, in seconds: far longer than any of our transactions takes.
_PATIENCE = 20

_SCHEMA = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    entry TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    kind TEXT NOT NULL CHECK (kind IN ('add', 'change', 'remove', 'restore', 'seen')),
    date TEXT NOT NULL,
    cents INTEGER NOT NULL,
    category TEXT NOT NULL,
    note TEXT NOT NULL,
    device TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (entry, version)
) STRICT;
CREATE TABLE delivery (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    entry TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE TABLE entry (
    id TEXT PRIMARY KEY,
    event INTEGER NOT NULL,
    version INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    in_workbook INTEGER NOT NULL DEFAULT 0,
    device TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting ON entry (event) WHERE delivered < version;
CREATE TRIGGER event_stays BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER delivery_stays BEFORE UPDATE ON delivery BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER delivery_is_kept BEFORE DELETE ON delivery BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""

_RECORD = """
SELECT entry.id, entry.version, entry.removed, entry.delivered,
       entry.in_workbook AND NOT EXISTS (
           SELECT 1 FROM event AS since
           WHERE since.entry = entry.id AND since.version > entry.delivered AND since.kind = 'remove'
       ), entry.device,
       event.kind, event.date, event.cents, event.category, event.note, event.at
FROM entry JOIN event ON event.number = entry.event
"""
_EVENT = "SELECT number, entry, version, kind, date, cents, category, note, device, at FROM event"


@dataclass(frozen=True, slots=True)
class Record:
    """What an entry has come to. `entry` is its last content, also if it was `removed`; `device` is who added it.

    `delivered` is the version that the workbook was last brought to, 0 for none, and `in_workbook` whether it had a row
    then. `kind` and `at` are of the last event.
    """

    entry_id: str
    version: int
    removed: bool
    delivered: int
    in_workbook: bool
    device: str
    kind: Kind
    entry: Entry
    at: datetime

    @property
    def waiting(self) -> bool:
        """Whether the workbook does not have the last version yet."""
        return self.delivered < self.version


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the journal; `entry` is the content after it (before it, for what was removed)."""

    number: int
    entry_id: str
    version: int
    kind: Kind
    entry: Entry
    device: str
    at: datetime


class Numbers(NamedTuple):
    """The numbers of an event and of a delivery: how far somebody has read the journal."""

    event: int = 0
    delivery: int = 0


def open_journal(path: Path) -> sqlite3.Connection:
    """A connection for one thread at a time. The file is made if it is missing; raises sqlite3.Error and OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite makes files that everybody may read; and the files beside it get the mode of this one.
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)
    journal = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _prepare_in_turn(journal)
    except BaseException:
        journal.close()
        raise
    return journal


def _prepare_in_turn(journal: sqlite3.Connection) -> None:
    """SQLite does not wait for a lock where the mode of a file is changed, so that we do when several start at once."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return _prepare(journal)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        if journal.in_transaction:
            journal.execute("ROLLBACK")
        time.sleep(0.02)


def _prepare(journal: sqlite3.Connection) -> None:
    _require_own(journal)
    # Without it, REPLACE takes rows out that no trigger hears of.
    journal.execute("PRAGMA recursive_triggers=ON")
    journal.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit is on disk before anybody is told of it. The default of WAL may lose the last ones.
    journal.execute("PRAGMA synchronous=FULL")
    journal.execute("PRAGMA foreign_keys=ON")
    if _read_version(journal) == 0:
        journal.execute("BEGIN IMMEDIATE")
        # Another process may have been faster.
        if _read_version(journal) == 0:
            for statement in _split(_SCHEMA):
                journal.execute(statement)
            journal.execute(f"PRAGMA user_version={VERSION}")
        journal.execute("COMMIT")


def _require_own(journal: sqlite3.Connection) -> None:
    """A file that is not ours, or not yet, is not touched."""
    # Of one moment: another process may be making it.
    journal.execute("BEGIN")
    version = _read_version(journal)
    (tables,) = journal.execute("SELECT count(*) FROM sqlite_master").fetchone()
    journal.execute("COMMIT")
    if version == 0 and tables:
        raise sqlite3.DatabaseError("it is a database of another program")
    if version not in (0, VERSION):
        raise sqlite3.DatabaseError("it was made by another version of the budget app")


def _read_version(journal: sqlite3.Connection) -> int:
    (version,) = journal.execute("PRAGMA user_version").fetchone()
    return int(version)


def _split(script: str) -> Iterator[str]:
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def find_record(journal: sqlite3.Connection, entry_id: str) -> Record | None:
    """What has become of one entry."""
    row = journal.execute(f"{_RECORD} WHERE entry.id = ?", (entry_id,)).fetchone()
    return _read_record(row) if row else None


def list_waiting(journal: sqlite3.Connection, limit: int = -1) -> list[Record]:
    """The entries whose last version the workbook does not have, in the order in which they were last touched."""
    rows = journal.execute(f"{_RECORD} WHERE entry.delivered < entry.version ORDER BY entry.event LIMIT ?", (limit,))
    return [_read_record(row) for row in rows]


def count_waiting(journal: sqlite3.Connection) -> int:
    """How many these are."""
    (count,) = journal.execute("SELECT count(*) FROM entry WHERE delivered < version").fetchone()
    return int(count)


def find_first_events(journal: sqlite3.Connection, entry_ids: Iterable[str]) -> dict[str, Event]:
    """What these entries were when they were added, by their ids; those that there are."""
    asked = "SELECT value FROM json_each(?)"
    rows = journal.execute(f"{_EVENT} WHERE version = 1 AND entry IN ({asked})", (_write_json(entry_ids),))
    return {event.entry_id: event for event in map(_read_event, rows)}


def find_event(journal: sqlite3.Connection, entry_id: str, version: int) -> Event | None:
    """What was said of an entry at one of its versions."""
    row = journal.execute(f"{_EVENT} WHERE entry = ? AND version = ?", (entry_id, version)).fetchone()
    return _read_event(row) if row else None


def list_versions(journal: sqlite3.Connection) -> dict[str, int]:
    """The versions of all entries that were not removed, by their ids."""
    return dict(journal.execute("SELECT id, version FROM entry WHERE NOT removed"))


def list_bases(journal: sqlite3.Connection, entry_id: str) -> list[Entry]:
    """What the workbook had when it was last seen, and every version since but the last.

    The workbook may have got any of these: a write that was cut short, or was not confirmed, is not delivered.
    """
    rows = journal.execute(
        "SELECT date, cents, category, note FROM event WHERE entry = :id AND version >= ("
        "SELECT max(event.version) FROM event JOIN entry ON entry.id = event.entry WHERE event.entry = :id "
        "AND event.version >= entry.delivered AND (event.version = entry.delivered OR event.kind = 'seen')) "
        "AND version < (SELECT version FROM entry WHERE id = :id)",
        {"id": entry_id},
    )
    return [_read_entry(*row) for row in rows]


def find_last(journal: sqlite3.Connection) -> Numbers:
    """The highest numbers there are now; 0 where there is nothing."""
    (event,) = journal.execute("SELECT coalesce(max(number), 0) FROM event").fetchone()
    (delivery,) = journal.execute("SELECT coalesce(max(number), 0) FROM delivery").fetchone()
    return Numbers(event, delivery)


def list_touched(journal: sqlite3.Connection, after: Numbers) -> list[Record]:
    """The entries with events and deliveries of higher numbers, in the order of their last events."""
    touched = "SELECT entry FROM event WHERE number > ? UNION SELECT entry FROM delivery WHERE number > ?"
    rows = journal.execute(f"{_RECORD} WHERE entry.id IN ({touched}) ORDER BY entry.event", after)
    return [_read_record(row) for row in rows]


def write_additions(journal: sqlite3.Connection, added: Iterable[tuple[str, Entry, str]]) -> dict[str, Record]:
    """Append new entries, each an id, its content and its device, inside a transaction of the caller's.

    All by two statements: each statement lets other threads run, and then waits until they let this one.
    """
    now = time.time_ns() // 1_000_000
    lines = [(each, *_write_entry(entry), device) for each, entry, device in added]
    text = _write_json(lines)
    journal.execute(
        "INSERT INTO event (entry, version, kind, date, cents, category, note, device, at) SELECT "
        "json_extract(value, '$[0]'), 1, 'add', json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
        "json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), ? FROM json_each(?)",
        (now, text),
    )
    journal.execute(
        "INSERT INTO entry (id, event, version, removed, device) SELECT entry, number, 1, 0, device FROM event "
        "WHERE version = 1 AND entry IN (SELECT json_extract(value, '$[0]') FROM json_each(?))",
        (text,),
    )
    return {
        line[0]: _read_record((line[0], 1, 0, 0, 0, line[5], "add", line[1], line[2], line[3], line[4], now))
        for line in lines
    }


def write_event(
    journal: sqlite3.Connection, kind: Kind, entry_id: str, version: int, entry: Entry, device: str
) -> None:
    """Append to the journal, inside a transaction of the caller's."""
    cursor = journal.execute(
        "INSERT INTO event (entry, version, kind, date, cents, category, note, device, at) VALUES (?,?,?,?,?,?,?,?,?)",
        (entry_id, version, kind, *_write_entry(entry), device, time.time_ns() // 1_000_000),
    )
    journal.execute(
        "INSERT INTO entry (id, event, version, removed, device) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
        "SET event = excluded.event, version = excluded.version, removed = excluded.removed",
        (entry_id, cursor.lastrowid, version, kind == "remove", device),
    )


def write_deliveries(journal: sqlite3.Connection, delivered: Iterable[tuple[str, int]]) -> None:
    """Note which versions the workbook has, inside a transaction of the caller's."""
    text = _write_json(delivered)
    journal.execute(
        "INSERT INTO delivery (entry, version, at) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), ? "
        "FROM json_each(?)",
        (time.time_ns() // 1_000_000, text),
    )
    journal.execute(
        "UPDATE entry SET delivered = event.version, in_workbook = event.kind <> 'remove' FROM json_each(?) JOIN event "
        "ON event.entry = json_extract(value, '$[0]') AND event.version = json_extract(value, '$[1]') "
        "WHERE entry.id = event.entry",
        (text,),
    )


def forget_deliveries(journal: sqlite3.Connection, entry_ids: Iterable[str]) -> None:
    """Note that the workbook has nothing of these entries, inside a transaction of the caller's."""
    now = time.time_ns() // 1_000_000
    for entry_id in entry_ids:
        journal.execute("INSERT INTO delivery (entry, version, at) VALUES (?, 0, ?)", (entry_id, now))
        journal.execute("UPDATE entry SET delivered = 0, in_workbook = 0 WHERE id = ? AND NOT removed", (entry_id,))


def _read_record(row: tuple[str, int, int, int, int, str, Kind, str, int, str, str, int]) -> Record:
    entry_id, version, removed, delivered, there, device, kind, day, cents, category, note, at = row
    entry = _read_entry(day, cents, category, note)
    return Record(entry_id, version, bool(removed), delivered, bool(there), device, kind, entry, _read_time(at))


def _read_event(row: tuple[int, str, int, Kind, str, int, str, str, str, int]) -> Event:
    number, entry_id, version, kind, day, cents, category, note, device, at = row
    return Event(number, entry_id, version, kind, _read_entry(day, cents, category, note), device, _read_time(at))


def _write_json(values: Iterable[object]) -> str:
    # Text that cannot be UTF-8 is refused by SQLite as it is, and would pass for text when it is escaped.
    return json.dumps(list(values), ensure_ascii=False)


def _write_entry(entry: Entry) -> tuple[str, int, str, str]:
    return entry.date.isoformat(), int(entry.amount * 100), entry.category, entry.note


def _read_entry(day: str, cents: int, category: str, note: str) -> Entry:
    return Entry(Decimal(cents).scaleb(-2), category, date.fromisoformat(day), note)


def _read_time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
