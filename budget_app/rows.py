"""Rows of the sheet `Expenses`: how an entry becomes cells, and how cells, also odd ones typed by hand, are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal

from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.cell_range import CellRange
from openpyxl.worksheet.formula import ArrayFormula
from openpyxl.worksheet.worksheet import Worksheet

from budget_app.entries import CENT, Entry

HEADINGS = ("Date", "Amount", "Category", "Note", "Device")
LAST_ROW = 1_048_576

_COLUMN_WIDTHS = (12, 14, 22, 48, 20)
_DATE_FORMAT = "yyyy-mm-dd"
_AMOUNT_FORMAT = "#,##0.00"
_FORMULA_STARTS = ("=", "+", "-", "@")
# A double holds every cent exactly enough up to here; beyond it a cell is shown as the text of its number.
_LARGEST_MONEY = 1e13


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the sheet holds it, numbered from 2; an odd date or amount typed by hand is given as its text."""

    number: int
    date: date | str
    amount: Decimal | str
    category: str
    note: str
    device: str


def has_headings(sheet: Worksheet) -> bool:
    """Whether the first row starts with our headings; a person may add columns to their right."""
    return tuple(_text(sheet.cell(1, column).value).strip() for column in _columns()) == HEADINGS


def write_headings(sheet: Worksheet) -> None:
    """Lay out an empty sheet: bold headings that stay in view, column widths and a filter."""
    for column, heading, width in zip(_columns(), HEADINGS, _COLUMN_WIDTHS, strict=True):
        cell = sheet.cell(1, column, heading)
        cell.font = Font(bold=True)
        cell.border = Border(bottom=Side(style="thin"))
        cell.alignment = Alignment(horizontal="right" if heading == "Amount" else "left")
        sheet.column_dimensions[get_column_letter(column)].width = width
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(HEADINGS))}1"


def append_row(sheet: Worksheet, entry: Entry, device: str) -> int:
    """Write `entry` below the last used row and return its row number. Raises OverflowError if the sheet is full."""
    number = _last_used_row(sheet) + 1
    if number > LAST_ROW:
        raise OverflowError(number)
    sheet.cell(number, 1, entry.date).number_format = _DATE_FORMAT
    sheet.cell(number, 2, entry.amount).number_format = _AMOUNT_FORMAT
    for column, text in enumerate((entry.category, entry.note, device), start=3):
        if text:
            _write_text(sheet, number, column, text)
    _stretch_filter(sheet, number)
    return number


def read_rows(sheet: Worksheet) -> Iterator[Row]:
    """Every row below the headings that holds anything, from the top."""
    for number, values in enumerate(sheet.iter_rows(min_row=2, max_col=len(HEADINGS), values_only=True), start=2):
        if any(value is not None for value in values):
            yield _read_row(number, values)


def _columns() -> range:
    return range(1, len(HEADINGS) + 1)


def _last_used_row(sheet: Worksheet) -> int:
    """The last row that holds a value in our columns, or lies in a merged range: only its first cell can be written."""
    merged = max((cells.max_row for cells in sheet.merged_cells.ranges if cells.min_col <= len(HEADINGS)), default=1)
    for number in range(sheet.max_row, merged, -1):
        if any(sheet.cell(number, column).value is not None for column in _columns()):
            return number
    return int(merged)


def _write_text(sheet: Worksheet, number: int, column: int, text: str) -> None:
    """Write `text` as text, whatever it looks like: openpyxl takes `=1+1` for a formula and `#N/A` for an error.

    The quote prefix keeps it text when a person edits the cell; it is the leading apostrophe that Excel shows.
    """
    cell = sheet.cell(number, column, text)
    cell.data_type = "s"
    cell.quotePrefix = text.startswith(_FORMULA_STARTS)


def _stretch_filter(sheet: Worksheet, number: int) -> None:
    """Let the filter reach the new row. A person may have taken the filter off; then it stays off."""
    if not sheet.auto_filter.ref:
        return
    area = CellRange(sheet.auto_filter.ref)
    if area.max_row < number:
        area.expand(down=number - area.max_row)
        sheet.auto_filter.ref = area.coord


def _read_row(number: int, values: Sequence[object]) -> Row:
    day, amount, category, note, device = values
    return Row(number, _date(day), _money(amount), _text(category), _text(note), _text(device))


def _date(value: object) -> date | str:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else _text(value)


def _money(value: object) -> Decimal | str:
    # bool is an int in Python, but TRUE is no amount.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_MONEY:
        return Decimal(str(value)).quantize(CENT, ROUND_HALF_UP)
    return _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case float():
            return f"{value:.15g}"
        case datetime() | date() | time():
            return value.isoformat()
        case ArrayFormula():
            return str(value.text)
        case _:
            return str(value)
