"""What a page takes at a hundred thousand entries: the first one, looking for something, and where the money goes.

Over TLS on a connection that stays open, one request after the other, as a person's browser asks. Beside each is the
same page of a workbook with ten rows, which is what the rest of the way costs.
"""

import tempfile
import warnings
from datetime import date, timedelta
from pathlib import Path

from accept import serving
from openpyxl import Workbook
from openpyxl.worksheet.table import Table
from volley import ask_all, connecting

FEW, MANY, WARM, REQUESTS, LIMIT = 10, 100_000, 20, 200, 15.0
_SEARCHES = 20
_CATEGORIES = ("Groceries", "Coffee", "Eating out", "Transport", "Home", "Health", "Leisure")
_NOTES = ("bread", "flat white", "lunch", "bus", "lamp", "plasters", "cinema")
_HEADINGS = ("Date", "Amount", "Category", "Note", "Device", "Entry ID")
_HEAD = (
    "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/html,application/xhtml+xml\r\naccept-language: en-GB,en\r\n"
    "sec-fetch-site: none\r\nuser-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) Safari/604.1\r\n\r\n"
)


def measure() -> bool:
    """Prints medians and 99th percentiles; the limit is for the median of the first page."""
    print(f"pages: answered at {MANY} rows of a workbook, over TLS on a connection that stays open (at {FEW} rows)")
    few, many = _time_pages(FEW), _time_pages(MANY)
    met = True
    for name, (median, last) in many.items():
        limit = f"   (limit {LIMIT}: {'met' if median < LIMIT else 'MISSED'})" if name == "first page" else ""
        met = met and (not limit or median < LIMIT)
        print(f"  {name:<46} {median:8.2f} ms, 99th {last:7.2f} ms (at {FEW}: {few[name][0]:.2f} ms){limit}")
    return met


def _time_pages(rows: int) -> dict[str, tuple[float, float]]:
    """The median and the 99th percentile of each page, in milliseconds."""
    today = date.today()  # noqa: DTZ011  The server's day is this machine's.
    paths = {
        "first page": ("/", REQUESTS),
        "entries, newest first": ("/entries", _SEARCHES),
        "entries of a month": (f"/entries?month={today:%Y-%m}", REQUESTS),
        "entries with a word in all of them": ("/entries?q=flat+white", _SEARCHES),
        "overview": ("/overview", REQUESTS),
        "devices": ("/devices", _SEARCHES),
        "health": ("/health", REQUESTS),
    }
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "home").mkdir()
        _write_workbook(Path(name) / "home" / "budget.xlsx", rows, today)
        with serving(Path(name)) as (port, client), connecting(port, client, 1) as connections:
            times = {}
            for title, (path, count) in paths.items():
                request = _HEAD.format(path=path).encode("ascii")
                ask_all(connections, [request] * min(WARM, count), b"200")
                told = ask_all(connections, [request] * count, b"200")
                times[title] = told.percentile(50), told.percentile(99)
    return times


def _write_workbook(path: Path, rows: int, today: date) -> None:
    """Rows of ten years up to today, as many on each day, without ids, as if typed by hand."""
    warnings.filterwarnings("ignore", "In write-only mode")
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Expenses")
    sheet.append(_HEADINGS)
    for number in range(rows):
        day = today - timedelta(days=(rows - 1 - number) * 3650 // rows)
        kind = number % len(_CATEGORIES)
        sheet.append([day, number % 9000 / 100 + 1, _CATEGORIES[kind], f"{_NOTES[kind]} {number % 50}", "phone", None])
    table = Table(displayName="Expenses", ref=f"A1:F{rows + 1}")
    table._initialise_columns()  # type: ignore[attr-defined]
    for column, heading in zip(table.tableColumns, _HEADINGS, strict=True):
        column.name = heading
    sheet.add_table(table)
    book.save(path)
