"""What the cells of a sheet hold, read by calamine, and made into the rows of the expenses."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from math import isfinite
from operator import itemgetter

from python_calamine import CalamineError, CalamineWorkbook

from budget_app.workbooks.workbook import FIELDS, Row, WorkbookError
from budget_app.workbooks.xlsx.cells import LAST_ROW, name_column, parse_cell, parse_column
from budget_app.workbooks.xlsx.faults import damaged
from budget_app.workbooks.xlsx.layout import Layout
from budget_app.workbooks.xlsx.markup import read_attributes, read_number, read_text
from budget_app.workbooks.xlsx.serials import from_serial
from budget_app.workbooks.xlsx.sheet import read_sheet

Value = float | str | bool | date | datetime | time | timedelta

# calamine keeps every cell up to the last one that holds anything.
_MOST_CELLS = 12_000_000
_DAY = timedelta(days=1)
_NOTHING = ("",) * len(FIELDS)

_CELLS = re.compile(rb"<(?:[^\s<>/:\"']+:)?c(?=[\s/>])")
_CELL_COLUMNS = re.compile(rb'<c r="([A-Z]{1,3})[1-9]')
_CELL_ROWS = re.compile(rb'<c r="[A-Z]{1,3}([1-9][0-9]{0,6})"')
_COUNT = re.compile(rb"""ount\s*=\s*["']([^"']*)""")
_COUNTED = re.compile(rb"<(?:[^\s<>/:\"']+:)?(?:sst|cellXfs|numFmts)(\s[^<>]*)>")
_ERROR = re.compile(
    rb"""<(?:[^\s<>/:"']+:)?c(\s[^<>]*?\bt\s*=\s*["']e["'][^<>]*)>(?:<(?:[^<>/]+:)?f\b[^<>]*(?:/>|>[^<]*</[^<>]*>))?"""
    rb"""\s*<(?:[^\s<>/:"']+:)?v[^<>]*>([^<]*)<"""
)


Grid = Sequence[Sequence[Value]]
"""Values by row and column from the first on, empty cells as empty texts; a row may end before its columns do."""


def read_grid(content: bytes, name: str, sheet: bytes, others: Iterable[bytes]) -> Grid:
    """Read the sheet of that name from the workbook. Raises WorkbookError.

    `sheet` is the content of its part, `others` those of the formats and the shared strings.
    """
    _require_compact(sheet)
    for other in others:
        _require_true_counts(other)
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(content)) as book:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        for (column, number), text in _read_errors(sheet):
            _put(rows, column, number, text)
    except (CalamineError, OSError, ValueError) as error:
        raise damaged(str(error)) from error
    except BaseException as error:
        # What Rust cannot go on with is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise damaged("its cells cannot be read") from error
    return rows


def _put(rows: list[list[Value]], column: int, number: int, value: Value) -> None:
    rows += [[] for _ in range(number - len(rows))]
    row = rows[number - 1]
    row += [""] * (column - len(row))
    row[column - 1] = value


def _require_compact(sheet: bytes) -> None:
    """Raise WorkbookError for cells that calamine would not survive: out of order, nowhere, or very far off.

    It takes room for all cells between the first and the last one, and ends the whole process where there is none.
    """
    column, row = _measure(sheet)
    if column * row > _MOST_CELLS or row > LAST_ROW:
        raise WorkbookError(
            "the sheet of the expenses is filled too far out, to column {column} and to row {row}",
            "clear what stands there, far from everything else",
            column=name_column(column),
            row=row,
        )


def _require_true_counts(data: bytes) -> None:
    """Raise WorkbookError if a part says that more is in it than can be: calamine takes room for that at once."""
    for match in _COUNTED.finditer(data):
        if any(read_number(number) > len(data) for number in _COUNT.findall(match[1])):
            raise damaged("it says that it holds more than it does")


def _measure(sheet: bytes) -> tuple[int, int]:
    """The last column and the last row that hold anything."""
    numbers = _CELL_ROWS.findall(sheet)
    if len(numbers) == len(_CELLS.findall(sheet)):
        # All cells say where they are in the way that programs write, and one search for each tells enough.
        rows = [int(number) for number, _ in groupby(numbers)]
        if rows != sorted(rows):
            raise damaged("the cells of a sheet are not in order")
        column = max((parse_column(letters.decode()) for letters in set(_CELL_COLUMNS.findall(sheet))), default=1)
        if column * max(rows, default=1) <= _MOST_CELLS:
            return column, max(rows, default=1)
    return read_sheet(sheet).find_end()


def _read_errors(sheet: bytes) -> Iterator[tuple[tuple[int, int], str]]:
    for match in _ERROR.finditer(sheet) if b'"e"' in sheet or b"'e'" in sheet else ():
        place = parse_cell(read_attributes(match[1]).get(b"r", ""))
        if place is not None:
            yield place, read_text(match[2])


def read_rows(grid: Grid, layout: Layout) -> Iterator[Row]:
    """Every row of the expenses that holds anything in our columns, from the top."""
    width, pick = max(layout.columns), itemgetter(*(column - 1 for column in layout.columns))
    last = len(grid) if layout.last is None else layout.last
    for number, values in enumerate(grid[layout.first - 1 : last], start=layout.first):
        picked = pick(values if len(values) >= width else [*values, *[""] * (width - len(values))])
        if picked != _NOTHING:
            day, amount, *texts = picked
            when, much = _read_date(day, layout.epoch), _read_amount(amount, layout.epoch)
            category, note, device, entry_id = (text if type(text) is str else _read_text(text) for text in texts)
            yield Row(number, when, much, category, note, device, entry_id)


def _read_date(value: Value, epoch: date) -> date | str:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, float | int) and not isinstance(value, bool):
        # SUMIFS takes a number in a column of days for a day, however it is shown.
        return from_serial(value, epoch) or _read_text(value)
    return _read_text(value)


def _read_amount(value: Value, epoch: date) -> Decimal | str:
    if isinstance(value, bool):
        return _read_text(value)
    if isinstance(value, date | time | timedelta):
        # A number all the same, and SUMIFS adds it up, however it is shown.
        value = _to_number(value, epoch)
    if isinstance(value, float | int) and isfinite(value):
        return Decimal(repr(value))
    return _read_text(value)


def _to_number(value: date | time | timedelta, epoch: date) -> float:
    if isinstance(value, timedelta):
        return value / _DAY
    if isinstance(value, time):
        return (datetime.combine(epoch, value) - datetime.combine(epoch, time())) / _DAY
    day = value if isinstance(value, datetime) else datetime.combine(value, time())
    return (day - datetime.combine(epoch, time())) / _DAY


def _read_text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float | int):
        return f"{value:.15g}"
    return str(value) if isinstance(value, timedelta) else value.isoformat()
