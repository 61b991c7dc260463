"""Ten thousand entries into a Google spreadsheet of which a third of all calls fail, in every way there is.

The app's own ledger, view, writer and Google workbook, over HTTP to a stand-in for Google. Everything that waits is
told to wait less: Google works on a request for seconds instead of minutes, and the writer's pauses are cut short.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

from budget_app import writer as writing
from budget_app.entries import Entry
from budget_app.ledger import Accepted, Ledger
from budget_app.settings import Settings
from budget_app.view import View
from budget_app.workbooks.google import GoogleWorkbook, calls
from budget_app.workbooks.google import workbook as google_workbook
from budget_app.writer import Writer
from sheets_server import Fault, FaultPlan, Google, sheets_server
from torture.books import read_day
from torture.findings import Findings
from torture.promises import CATEGORIES

SHARE = 1 / 3
_BATCH = 100
# One in so many entries is changed after it was added, and one removed.
_CHANGED, _REMOVED = 10, 15
_FIRST_DAY = date(2025, 1, 1)
_HEADINGS = ("Date", "Amount", "Category", "Note", "Device", "Entry ID")
# How long a request without an answer is held, how late a late one is done, how late the stand-in promises to be done.
_HANG, _LATE, _LIMIT = 0.5, 0.3, 1.5
_SECONDS = 900
Tell = Callable[[str], None]


def torture(entries: int, seed: int, folder: Path, tell: Tell) -> Findings:
    """Zero lost and zero doubled, whatever becomes of the calls."""
    findings = Findings()
    with sheets_server() as google, _hurrying():
        google.hang, google.late, google.retry_after = _HANG, _LATE, "0.05"
        google.faults = plan = FaultPlan(seed, SHARE)
        google.token_faults = FaultPlan(seed + 1, SHARE, [each for each in Fault if each is not Fault.LATE])
        environ = {
            "BUDGET_GOOGLE_ENDPOINT": google.endpoint,
            "BUDGET_GOOGLE_REQUEST_LIMIT": str(_LIMIT),
            "BUDGET_GOOGLE_PACE": "0.01",
        }
        key, doubts = google.credentials(folder / "key.json"), folder / "doubts.json"
        workbook = GoogleWorkbook(google.spreadsheet, "Expenses", _HEADINGS, key, environ, doubts=doubts)
        begun = time.monotonic()
        try:
            expected = _fill(google, workbook, entries, seed, folder, tell)
        finally:
            workbook.close()
        # What a late request may still do.
        time.sleep(_LATE + 0.2)
        for late in google.late_threads:
            late.join()
        _compare(google.rows("Expenses"), expected, findings)
        _count(google, plan, len(expected), findings)
        findings.count("seconds", round(time.monotonic() - begun))
    return findings


@contextmanager
def _hurrying() -> Iterator[None]:
    """The writer's waits and batches, cut short; nothing else of it is other than in the app."""
    shorter: dict[str, Any] = {"FIRST_WAIT": 0.02, "LONGEST_WAIT": 0.2, "LOOK": 0.05, "BATCH": _BATCH}
    with (
        patch.multiple(writing, **shorter),
        patch.object(google_workbook, "LOOK_AGAIN", 0.1),
        patch.object(calls, "QUOTA_WAIT", 0.05),
    ):
        yield


def _fill(
    google: Google, workbook: GoogleWorkbook, entries: int, seed: int, folder: Path, tell: Tell
) -> dict[str, Entry]:
    ledger = Ledger(folder / "ledger.db")
    ledger.open()
    try:
        view = View(ledger, Settings())
        view.start()
        chance = random.Random(seed)  # noqa: S311  What happens is to happen again.
        writer = Writer(ledger, workbook, view, chance.random)
        writer.start()
        try:
            expected = _enter(ledger, entries, chance, tell, google)
            _wait(ledger, google, tell)
        finally:
            writer.stop()
    finally:
        ledger.close()
    return expected


def _enter(ledger: Ledger, entries: int, chance: random.Random, tell: Tell, google: Google) -> dict[str, Entry]:
    """Add all, a batch at a time as the workbook takes them in, and change and remove some; gives what is left."""
    expected: dict[str, Entry] = {}
    for first in range(0, entries, _BATCH):
        ids = [f"entry-{number}" for number in range(first, min(first + _BATCH, entries))]
        added = {entry_id: _think(entry_id, chance) for entry_id in ids}
        accepted = [ledger.add(entry_id, entry, "phone") for entry_id, entry in added.items()]
        expected |= added
        for each in [future.result() for future in accepted]:
            _think_again(ledger, each, chance, expected)
        _wait(ledger, google, tell, most=2 * _BATCH)
    return expected


def _think_again(ledger: Ledger, accepted: Accepted, chance: random.Random, expected: dict[str, Entry]) -> None:
    entry_id, version = accepted.record.entry_id, accepted.record.version
    if chance.randrange(_CHANGED) == 0:
        expected[entry_id] = _think(f"{entry_id}, changed", chance)
        ledger.change(entry_id, version, expected[entry_id], "phone", None).result()
    elif chance.randrange(_REMOVED) == 0:
        del expected[entry_id]
        ledger.remove(entry_id, version, "phone").result()


def _think(note: str, chance: random.Random) -> Entry:
    day = _FIRST_DAY + timedelta(days=chance.randrange(600))
    cents = Decimal(chance.randint(1, 99_999))
    return Entry(cents.scaleb(-2), chance.choice(CATEGORIES), day, note)


def _wait(ledger: Ledger, google: Google, tell: Tell, most: int = 0) -> None:
    deadline = time.monotonic() + _SECONDS
    while (waiting := ledger.count_waiting()) > most:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the spreadsheet does not catch up: {waiting} wait")
        tell(f"google: {len(google.seen)} calls, {waiting} entries wait")
        time.sleep(0.02)


def _compare(rows: Sequence[Sequence[Any]], expected: dict[str, Entry], findings: Findings) -> None:
    counts = Counter(str(row[5]) if len(row) > 5 else "" for row in rows[1:] if any(cell is not None for cell in row))
    for entry_id, count in counts.items():
        if count > 1 or entry_id not in expected:
            findings.add("doubled", f"google: {entry_id!r} is there {count} times")
    for entry_id in expected.keys() - counts.keys():
        findings.add("lost", f"google: {entry_id} is not there")
    for row in rows[1:]:
        entry = expected.get(str(row[5])) if len(row) > 5 else None
        if entry is not None and row[:4] != [*_show(entry, row)]:
            findings.add("damaged", f"google: {row} is not {entry}")


def _show(entry: Entry, row: Sequence[Any]) -> Iterator[Any]:
    yield row[0] if isinstance(row[0], int | float) and read_day(row[0]) == entry.date else entry.date
    yield float(entry.amount)
    yield entry.category
    yield entry.note


def _count(google: Google, plan: FaultPlan, rows: int, findings: Findings) -> None:
    findings.count("rows at the end", rows)
    findings.count("calls", len(google.seen))
    findings.count("calls that failed", plan.made.total())
    findings.count("ways in which they failed", len(plan.made))
    findings.count("tokens granted", google.granted)
