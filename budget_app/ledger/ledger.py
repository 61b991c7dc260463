"""The ledger as the app sees it: everything that it accepts is on disk when the answer is there."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from budget_app.entries import Entry
from budget_app.ledger import journal as rows
from budget_app.ledger.journal import Numbers, Record
from budget_app.sentences import Sentence

# How many that ask at once share one commit, and so one wait for the disk.
_SHARED = 512

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]


class _Addition(NamedTuple):
    entry_id: str
    entry: Entry
    device: str


_Asked = tuple[Operation[object] | _Addition, "Future[object]"]
_Outcome = tuple["Future[object]", object]


class LedgerError(Exception):
    """The ledger cannot be read or written; `message` says why. Nothing of what was asked has happened."""

    hint = Sentence("see that its disk has room and works, and that this program may write there")

    def __init__(self, message: str, **values: object) -> None:
        self.message = Sentence(message, values)
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.message)


class Conflict(Exception):
    """The id stands for another expense, or its version is not the one that was seen; `record` is what there is."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.entry_id)
        self.record = record


class NotInLedger(Exception):
    """No entry has this id."""


class Accepted(NamedTuple):
    """What an entry has become, and whether that is `new`, or was so already."""

    record: Record
    new: bool


class Stock(NamedTuple):
    """The ledger at one moment: what waits for the workbook, the version of each entry that was not removed, and the
    numbers of the last event and delivery."""

    waiting: list[Record]
    versions: dict[str, int]
    numbers: Numbers


class Ledger:
    """One file. The first four methods return futures, whose results are on disk; all may be called by any thread.

    The futures raise LedgerError, Conflict and NotInLedger. Many that come at once are committed together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asking = threading.Lock()
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self.changed: Callable[[], None] = lambda: None

    def open(self) -> None:
        """Open the file, or make it, and start to take entries. Raises LedgerError."""
        try:
            self._reader = rows.open_journal(self.path)
            writer = rows.open_journal(self.path)
            self._identity = _identify(self.path)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise LedgerError("the ledger {path} cannot be used ({why})", path=self.path, why=error) from error
        self._thread = threading.Thread(target=self._work, args=(writer,), name="ledger", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what was asked for, and close the file."""
        with self._asking:
            # From now on nobody is listened to, so that what ends the queue is the last in it.
            thread, self._thread = self._thread, None
            if thread is not None:
                self._asked.put(None)
        if thread is not None:
            thread.join()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def add(self, entry_id: str, entry: Entry, device: str) -> "Future[Accepted]":
        """Accept a new entry. The same id and content again is the entry that there is; other content is a Conflict."""

        return self._ask(_Addition(entry_id, entry, device))

    def change(self, entry_id: str, version: int, entry: Entry, device: str, seen: Entry | None) -> "Future[Accepted]":
        """Give an entry other content. `seen` is what the workbook had, None if that is what the ledger says."""

        def change(journal: sqlite3.Connection) -> Accepted:
            record = _require(journal, entry_id)
            by_hand = seen is not None and seen != record.entry
            if record.entry == entry and not record.removed and not by_hand:
                return Accepted(record, new=False)
            if record.version != version or record.removed:
                raise Conflict(record)
            last = version
            if seen is not None and by_hand:
                last += 1
                rows.write_event(journal, "seen", entry_id, last, seen, record.device)
            rows.write_event(journal, "change", entry_id, last + 1, entry, device)
            return Accepted(_require(journal, entry_id), new=True)

        return self._ask(change)

    def remove(self, entry_id: str, version: int, device: str, seen: Entry | None = None) -> "Future[Accepted]":
        """Take an entry out; what is out already stays so. `seen` is as for `change`, and what undo brings back."""

        def remove(journal: sqlite3.Connection) -> Accepted:
            record = _require(journal, entry_id)
            if record.removed:
                return Accepted(record, new=False)
            if record.version != version:
                raise Conflict(record)
            _write_removal(journal, record, device, seen)
            return Accepted(_require(journal, entry_id), new=True)

        return self._ask(remove)

    def undo(self, entry_id: str, version: int, device: str, seen: Entry | None = None) -> "Future[Accepted]":
        """Take back the event that made this version: what was added goes, what was changed or removed is as before.

        If the workbook was changed by hand since (`seen`), there is nothing to take a change back to: a Conflict.
        """

        def undo(journal: sqlite3.Connection) -> Accepted:
            record = _require(journal, entry_id)
            if record.version != version:
                raise Conflict(record)
            if record.kind == "remove":
                rows.write_event(journal, "restore", entry_id, version + 1, record.entry, device)
            elif record.kind == "change":
                if seen is not None and seen != record.entry:
                    raise Conflict(record)
                before = _require_event(journal, entry_id, version - 1)
                rows.write_event(journal, "change", entry_id, version + 1, before.entry, device)
            else:
                _write_removal(journal, record, device, seen)
            return Accepted(_require(journal, entry_id), new=True)

        return self._ask(undo)

    def deliver(self, delivered: Iterable[tuple[str, int]]) -> "Future[None]":
        """Note which version of each entry the workbook has."""
        all_of_them = list(delivered)
        return self._ask(lambda journal: rows.write_deliveries(journal, all_of_them))

    def write_again(self, entry_ids: Iterable[str]) -> "Future[None]":
        """Have entries that the workbook has lost written into it once more."""
        all_of_them = list(entry_ids)
        return self._ask(lambda journal: rows.forget_deliveries(journal, all_of_them))

    def list_bases(self, entry_id: str) -> tuple[Entry, ...]:
        """What the workbook may have of an entry."""
        return tuple(self._read(lambda journal: rows.list_bases(journal, entry_id)))

    def find(self, entry_id: str) -> Record | None:
        """What has become of an entry."""
        return self._read(lambda journal: rows.find_record(journal, entry_id))

    def list_waiting(self, limit: int) -> list[Record]:
        """The entries whose last version the workbook does not have, those that wait longest first."""
        return self._read(lambda journal: rows.list_waiting(journal, limit))

    def count_waiting(self) -> int:
        """How many these are."""
        return self._read(rows.count_waiting)

    def list_touched(self, after: Numbers) -> tuple[list[Record], Numbers]:
        """The entries with events or deliveries after these numbers, and the numbers of the last ones there are."""

        def list_touched(journal: sqlite3.Connection) -> tuple[list[Record], Numbers]:
            last = rows.find_last(journal)
            return ([] if last == after else rows.list_touched(journal, after)), last

        return self._read(list_touched)

    def take_stock(self) -> Stock:
        """What waits for the workbook, which entries there are, and how far the journal goes, all of one moment."""
        return self._read(
            lambda journal: Stock(rows.list_waiting(journal), rows.list_versions(journal), rows.find_last(journal))
        )

    def _ask(self, operation: Operation[T] | _Addition) -> "Future[T]":
        future: Future[T] = Future()
        with self._asking:
            if self._thread is None:
                future.set_exception(LedgerError("the ledger {path} is closed", path=self.path))
            else:
                self._asked.put((operation, future))  # type: ignore[arg-type]
        return future

    def _read(self, operation: Operation[T]) -> T:
        with self._reading:
            if self._reader is None:
                raise LedgerError("the ledger {path} is closed", path=self.path)
            try:
                # One transaction, so that everything it reads is of one moment.
                self._reader.execute("BEGIN")
                try:
                    return operation(self._reader)
                finally:
                    self._reader.execute("COMMIT")
            except sqlite3.Error as error:
                raise LedgerError("the ledger {path} cannot be read ({why})", path=self.path, why=error) from error

    def _work(self, journal: sqlite3.Connection) -> None:
        try:
            while batch := self._take():
                self._commit(journal, batch)
        finally:
            journal.close()

    def _take(self) -> list[_Asked]:
        """All that is asked for now, at least one; nothing when it is time to close."""
        batch = []
        asked = self._asked.get()
        with suppress(queue.Empty):
            while asked is not None:
                batch.append(asked)
                if len(batch) == _SHARED:
                    return batch
                asked = self._asked.get_nowait()
        if asked is None and batch:
            self._asked.put(None)
        return batch

    def _commit(self, journal: sqlite3.Connection, batch: list[_Asked]) -> None:
        """Do them all in one transaction, or each in its own if one of them cannot be done at all."""
        try:
            self._require_place()
            outcomes = _run(journal, batch)
        except sqlite3.OperationalError as error:
            outcomes = self._fail(batch, error)
        except Exception as error:  # noqa: BLE001  Whoever waits has to hear of it, whatever it is.
            if len(batch) > 1:
                for each in batch:
                    self._commit(journal, [each])
                return
            outcomes = self._fail(batch, error)
        for future, outcome in outcomes:
            _settle(future, outcome)
        self.changed()

    def _require_place(self) -> None:
        """Refuse to write into a file that was deleted or replaced: nobody would ever find it again."""
        if _identify(self.path) != self._identity:
            raise sqlite3.OperationalError("it was deleted or replaced; start the app again")

    def _fail(self, batch: list[_Asked], error: Exception) -> list[_Outcome]:
        failure = LedgerError("the ledger {path} cannot be written ({why})", path=self.path, why=error)
        return [(future, failure) for _, future in batch]


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _run(journal: sqlite3.Connection, batch: list[_Asked]) -> list[_Outcome]:
    """What becomes of each, once all is on disk; one that is refused has written nothing. If it raises, none has."""
    journal.execute("BEGIN IMMEDIATE")
    try:
        # None of those who ask now has an answer, so that what is done first is free.
        outcomes = _add(journal, [(asked, future) for asked, future in batch if isinstance(asked, _Addition)])
        for operation, future in batch:
            if isinstance(operation, _Addition):
                continue
            try:
                outcomes.append((future, operation(journal)))
            except (Conflict, NotInLedger) as refusal:
                outcomes.append((future, refusal))
        journal.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            journal.execute("ROLLBACK")
        raise
    return outcomes


def _add(journal: sqlite3.Connection, batch: list[tuple[_Addition, "Future[object]"]]) -> list[_Outcome]:
    """What becomes of each: a new entry, the one that there is already, or a Conflict with it."""
    if not batch:
        return []
    there = rows.find_first_events(journal, [asked.entry_id for asked, _ in batch])
    new: dict[str, _Addition] = {}
    for asked, _ in batch:
        if asked.entry_id not in there:
            new.setdefault(asked.entry_id, asked)
    records = rows.write_additions(journal, new.values())
    outcomes: list[_Outcome] = []
    for asked, future in batch:
        first = there[asked.entry_id] if asked.entry_id in there else new[asked.entry_id]
        record = records.get(asked.entry_id) or _require(journal, asked.entry_id)
        accepted = Accepted(record, new=first is asked)
        outcomes.append((future, accepted if first.entry == asked.entry else Conflict(record)))
    return outcomes


def _write_removal(journal: sqlite3.Connection, record: Record, device: str, seen: Entry | None) -> None:
    version, entry = record.version, record.entry
    if seen is not None and seen != entry:
        version, entry = version + 1, seen
        rows.write_event(journal, "seen", record.entry_id, version, seen, record.device)
    rows.write_event(journal, "remove", record.entry_id, version + 1, entry, device)


def _settle(future: "Future[object]", outcome: object) -> None:
    # Somebody who went away has cancelled theirs.
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _require(journal: sqlite3.Connection, entry_id: str) -> Record:
    record = rows.find_record(journal, entry_id)
    if record is None:
        raise NotInLedger(entry_id)
    return record


def _require_event(journal: sqlite3.Connection, entry_id: str, version: int) -> rows.Event:
    event = rows.find_event(journal, entry_id, version)
    if event is None:
        raise NotInLedger(entry_id)
    return event
