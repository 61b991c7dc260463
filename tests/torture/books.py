"""What is on the disk, read by programs that the app does not write with, and held against what was promised."""

import csv
import io
import re
import sqlite3
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from openpyxl import load_workbook
from python_calamine import CalamineError, CalamineWorkbook

from torture.findings import Findings
from torture.promises import Content, Promise, State, list_live

_SHEET, _HEADINGS = "Expenses", ("Date", "Amount", "Category", "Note", "Device", "Entry ID")
_UNREADABLE = (OSError, zipfile.BadZipFile, CalamineError, LookupError, ValueError, TypeError, ArithmeticError)
_EPOCH = date(1899, 12, 30)
_FORMULA = re.compile(r"\A'('*[=+@-])")

Rows = list[tuple[str, Content]]


# --- The workbook -----------------------------------------------------------------------------------------------------


def require_whole(path: Path, when: str, findings: Findings) -> None:
    """The file as it lies there: all old or all new, at any time. There may be none yet."""
    if not path.exists():
        return
    try:
        rows = _read(path)
    except _UNREADABLE as error:
        findings.add("damaged", f"{when}: {path.name} cannot be read: {error!r}")
        return
    for name, rows_of in rows.items():
        twice = [each for each, count in Counter(entry_id for entry_id, _ in rows_of).items() if count > 1]
        for each in twice:
            findings.add("doubled", f"{when}: {name} finds {each} twice")


def require_agreement(path: Path, promises: Iterable[Promise], when: str, findings: Findings) -> None:
    """Exactly one row for each entry that is live, with its content, and no other row; nothing is left behind."""
    live = list_live(iter(promises))
    try:
        found = _read(path)
    except _UNREADABLE as error:
        findings.add("damaged", f"{when}: {path.name} cannot be read: {error!r}")
        return
    for name, rows in found.items():
        _compare(rows, live, f"{when}, {name}", findings)
    for each in sorted(path.parent.rglob("*.tmp")):
        findings.add("other", f"{when}: {each.name} was left behind")


def _compare(rows: Rows, live: Mapping[str, Content], when: str, findings: Findings) -> None:
    counts = Counter(entry_id for entry_id, _ in rows)
    for entry_id, count in counts.items():
        if count > 1:
            findings.add("doubled", f"{when}: {entry_id} is there {count} times")
        if entry_id not in live:
            findings.add("doubled", f"{when}: {entry_id} ought not to be there")
    for entry_id in live.keys() - counts.keys():
        findings.add("lost", f"{when}: {entry_id} is not there")
    for entry_id, content in rows:
        if entry_id in live and content != live[entry_id]:
            findings.add("damaged", f"{when}: {entry_id} is {content}, not {live[entry_id]}")


def _read(path: Path) -> dict[str, Rows]:
    """The rows by each of the readers."""
    if path.suffix == ".csv":
        return {"csv": _read_csv(path)}
    with zipfile.ZipFile(path) as archive:
        if (broken := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
    return {"calamine": _read_with_calamine(path), "openpyxl": _read_with_openpyxl(path)}


def _read_with_calamine(path: Path) -> Rows:
    with CalamineWorkbook.from_path(path) as book:
        return _read_rows(book.get_sheet_by_name(_SHEET).to_python())


def _read_with_openpyxl(path: Path) -> Rows:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        book = load_workbook(path, data_only=True)
    with closing(book):
        return _read_rows([list(row) for row in book[_SHEET].iter_rows(values_only=True)])


def _read_csv(path: Path) -> Rows:
    text = path.read_bytes().decode("utf-8-sig")
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    # A text that a spreadsheet would take for a formula has an apostrophe in front.
    return _read_rows([[_FORMULA.sub(r"\1", cell) for cell in row] for row in rows])


def _read_rows(cells: Sequence[Sequence[Any]]) -> Rows:
    """The rows with an id, or with anything else, which then have the empty id."""
    places = [list(cells[0]).index(heading) for heading in _HEADINGS]
    rows = ([row[place] for place in places] for row in cells[1:])
    return [(str(row[5] or ""), _read_content(row)) for row in rows if any(cell not in (None, "") for cell in row)]


def _read_content(row: Sequence[Any]) -> Content:
    day, amount, category, note = row[:4]
    # A binary fraction is no amount; the cents that a person sees are.
    return Content(Decimal(str(amount)).quantize(Decimal("0.01")), category, read_day(day), _plain(note))


def read_day(cell: object) -> date:
    """A day as a reader gives it: as a date, its ISO text, or its serial number."""
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    return _EPOCH + timedelta(days=cell) if isinstance(cell, int | float) else date.fromisoformat(str(cell))


def _plain(note: object) -> str:
    """Line ends as they were sent; a spreadsheet has them in several ways."""
    return "" if note is None else str(note).replace("\r\n", "\n")


# --- The ledger -------------------------------------------------------------------------------------------------------


def settle_doubts(path: Path, promises: Iterable[Promise], when: str, findings: Findings) -> None:
    """Everything acknowledged is in the ledger, in full; what was not answered was done or not, as the ledger says."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as ledger:
        ledger.execute("BEGIN")
        if (said := ledger.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            findings.add("damaged", f"{when}: {path.name}: {said}")
        states = _read_states(ledger)
    for promise in promises:
        _settle(promise, states.pop(promise.entry_id, []), when, findings)
    for entry_id in states:
        findings.add("doubled", f"{when}: the ledger has {entry_id}, which nobody sent")


def _read_states(ledger: sqlite3.Connection) -> dict[str, list[State]]:
    states: dict[str, list[State]] = {}
    rows = ledger.execute("SELECT entry, version, kind, date, cents, category, note FROM event ORDER BY entry, version")
    for entry_id, version, kind, day, cents, category, note in rows:
        content = Content(Decimal(cents).scaleb(-2), category, date.fromisoformat(day), note)
        states.setdefault(entry_id, []).append(State(version, kind, kind == "remove", content))
    return states


def _settle(promise: Promise, found: list[State], when: str, findings: Findings) -> None:
    owed = len(promise.states)
    if len(found) < owed:
        findings.add("lost", f"{when}: the ledger has {len(found)} of {owed} versions of {promise.entry_id}")
    elif found[:owed] != promise.states:
        findings.add("damaged", f"{when}: the ledger has {found}, not {promise.states}")
    elif found[owed:] not in ([], [promise.doubt]):
        findings.add("doubled", f"{when}: the ledger has {found[owed:]} of {promise.entry_id} beyond {promise.doubt}")
    if promise.doubt is not None:
        findings.count("without an answer, and done" if len(found) > owed else "without an answer, and not done")
    promise.states = found or promise.states
    # An add that was not done is sent again by its owner; of anything else, they see the page and think anew.
    if found or (promise.doubt is not None and promise.doubt.kind != "add"):
        promise.doubt = None
