"""A workbook of each kind, and a person at it who edits it with other programs than the app."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import xlsxwriter  # type: ignore[import-untyped]
from openpyxl import load_workbook
from openpyxl.utils import range_boundaries
from openpyxl.worksheet.table import Table

from budget_app.workbooks.csv import CsvWorkbook
from budget_app.workbooks.google import GoogleWorkbook
from budget_app.workbooks.workbook import HEADINGS, Workbook
from budget_app.workbooks.xlsx import XlsxWorkbook
from sheets_grid import EPOCH
from sheets_server import Google, sheets_server


@dataclass(frozen=True)
class Formula:
    """A cell that a person's program calculates."""

    text: str


Cell = str | int | float | bool | Decimal | date | Formula | None
Cells = list[list[Cell]]

OWN_HEADINGS = ("Paid on", "Sum", "Kind", "Remark", "Phone", "Key")


class Person(Protocol):
    """What a person and the tests do with a workbook."""

    @property
    def headings(self) -> Sequence[str]:
        """Those of our columns, in the order of FIELDS."""

    def open(self) -> Workbook:
        """The workbook, as a process of the app that has just started has it."""

    def content(self) -> bytes | None:
        """All that there is of it, None where that is no file."""

    def load(self) -> Cells:
        """Our sheet, the headings first, without the empty rows at its end."""

    def save(self, cells: Cells) -> None:
        """Our sheet with these cells, as the person's program saves it."""


@runtime_checkable
class FilePerson(Person, Protocol):
    """A person whose workbook is a file."""

    path: Path


def edit(person: Person, change: Callable[[Cells], object]) -> None:
    """Change the sheet as a person does: open, edit, save."""
    cells = person.load()
    change(cells)
    person.save(cells)


def type_row(person: Person, **values: Any) -> None:
    """Add a row by hand below the others; the values are named as in FIELDS, dates and numbers are what they are."""
    names = dict(zip(("date", "amount", "category", "note", "device", "entry_id"), person.headings, strict=True))

    def change(cells: Cells) -> None:
        row: list[Cell] = [None] * len(cells[0])
        for name, value in values.items():
            row[cells[0].index(names[name])] = value
        cells.append(row)

    edit(person, change)


def find_row(person: Person, cells: Cells, entry_id: str) -> int:
    """Where the row of an entry is."""
    column = cells[0].index(person.headings[-1])
    return next(number for number, row in enumerate(cells) if row[column : column + 1] == [entry_id])


def delete_row(person: Person, entry_id: str) -> None:
    """Take the row of an entry out by hand."""
    edit(person, lambda cells: cells.pop(find_row(person, cells, entry_id)))


def _trim(cells: Cells) -> Cells:
    while cells and all(cell in (None, "") for cell in cells[-1]):
        cells.pop()
    return cells


class CsvPerson:
    """Edits a CSV file as a text; every cell of it is one."""

    headings = HEADINGS

    def __init__(self, folder: Path) -> None:
        self.path = folder / "budget.csv"

    def open(self) -> Workbook:
        return CsvWorkbook(self.path, ",", ".", self.headings)

    def content(self) -> bytes:
        return self.path.read_bytes()

    def load(self) -> Cells:
        return _trim([list(row) for row in csv.reader(io.StringIO(self.content().decode("utf-8-sig"), newline=""))])

    def save(self, cells: Cells) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([["" if cell is None else str(cell) for cell in row] for row in cells])
        self.path.write_text(text.getvalue(), encoding="utf-8-sig", newline="")


class XlsxPerson:
    """Edits a new workbook with openpyxl."""

    headings: Sequence[str] = HEADINGS
    sheet, table = "Expenses", "Expenses"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "budget.xlsx"

    def open(self) -> Workbook:
        budgets = (("Coffee", 40.0), ("Home", None))
        return XlsxWorkbook(self.path, self.sheet, self.table, self.headings, budgets, "EUR")

    def content(self) -> bytes:
        return self.path.read_bytes()

    def load(self) -> Cells:
        book = load_workbook(self.path)
        sheet = book[self.sheet]
        (left, top, right, _) = _box(sheet.tables[self.table])
        rows = sheet.iter_rows(min_row=top, min_col=left, max_col=right)
        cells = _trim([[_show(cell) for cell in row] for row in rows])
        book.close()
        return cells

    def save(self, cells: Cells) -> None:
        book = load_workbook(self.path)
        sheet = book[self.sheet]
        table = sheet.tables[self.table]
        (left, top, _, bottom) = _box(table)
        width, height = len(cells[0]), max(len(cells), 2)
        for down in range(max(bottom - top + 1, height)):
            row = cells[down] if down < len(cells) else []
            for right in range(width):
                _put(sheet.cell(top + down, left + right), row[right] if right < len(row) else None)
        last = sheet.cell(top + height - 1, left + width - 1)
        table.ref = f"{sheet.cell(top, left).coordinate}:{last.coordinate}"
        if table.autoFilter is not None:
            table.autoFilter.ref = table.ref
        table.tableColumns = []
        table._initialise_columns()
        for column, heading in zip(table.tableColumns, cells[0], strict=True):
            column.name = str(heading)
        book.save(self.path)
        book.close()


def _box(table: Table) -> tuple[int, int, int, int]:
    left, top, right, bottom = range_boundaries(table.ref)
    return int(left or 1), int(top or 1), int(right or 1), int(bottom or 1)


def _show(cell: Any) -> Any:
    if cell.data_type == "f":
        return Formula(str(cell.value))
    return cell.value.date() if isinstance(cell.value, datetime) else cell.value


def _put(cell: Any, value: Any) -> None:
    cell.value = value.text if isinstance(value, Formula) else value
    if isinstance(value, str):
        cell.data_type = "s"


class OwnXlsxPerson(XlsxPerson):
    """Has had a workbook for years: other sheets, a chart, own headings, and columns between and beside ours."""

    headings = OWN_HEADINGS
    sheet, table = "Spending 2026", "Costs"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        book = xlsxwriter.Workbook(str(self.path))
        plan = book.add_worksheet("Plan")
        plan.write_row(0, 0, ["Home", 700])
        plan.write_formula(1, 1, "=B1*12")
        chart = book.add_chart({"type": "column"})
        chart.add_series({"values": "=Plan!$B$1:$B$2"})
        plan.insert_chart("D2", chart)
        sheet = book.add_worksheet(self.sheet)
        sheet.write(0, 0, "What we spend")
        headings = ["Kind", "Paid on", "Checked", "Remark", "Sum", "Key", "Phone", "Twice"]
        columns: list[dict[str, Any]] = [{"header": heading} for heading in headings]
        columns[-1]["formula"] = "=[@Sum]*2"
        sheet.add_table(2, 1, 3, 8, {"name": self.table, "columns": columns})
        book.close()


class GooglePerson:
    """Edits the spreadsheet that the stand-in for Google holds."""

    headings = HEADINGS

    def __init__(self, folder: Path, google: Google, stack: ExitStack) -> None:
        self.google, self._stack = google, stack
        self._key = google.credentials(folder / "key.json")

    def open(self) -> Workbook:
        environ = {"BUDGET_GOOGLE_ENDPOINT": self.google.endpoint}
        workbook = GoogleWorkbook(self.google.spreadsheet, "Expenses", self.headings, self._key, environ)
        self._stack.callback(workbook.close)
        return workbook

    def content(self) -> None:
        return None

    def load(self) -> Cells:
        return _trim([list(row) for row in self.google.rows("Expenses")])

    def save(self, cells: Cells) -> None:
        self.google.put("Expenses", [[_serial(cell) for cell in row] for row in cells])


def _serial(cell: Cell) -> Cell:
    """Google keeps days as their serial numbers."""
    return (cell - EPOCH).days if isinstance(cell, date) else cell


Meet = Callable[[Path, ExitStack], Person]

KINDS: Mapping[str, Meet] = {
    "csv": lambda folder, _: CsvPerson(folder),
    "xlsx": lambda folder, _: XlsxPerson(folder),
    "own xlsx": lambda folder, _: OwnXlsxPerson(folder),
    "google": lambda folder, stack: GooglePerson(folder, stack.enter_context(sheets_server()), stack),
}


@contextmanager
def meet(kind: str, folder: Path) -> Iterator[Person]:
    """A person whose workbook of this kind is prepared and has no expenses yet."""
    with ExitStack() as stack:
        person = KINDS[kind](folder, stack)
        person.open().prepare()
        yield person
