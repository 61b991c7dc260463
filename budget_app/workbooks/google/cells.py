"""What a sheet holds, as Google tells it: where our columns are, which rows have which ids, and values to and fro."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from gspread.utils import absolute_range_name, rowcol_to_a1

from budget_app.workbooks.google.calls import Names
from budget_app.workbooks.workbook import FIELDS, Change, Row, WorkbookError

Cells = tuple[Any, ...]
"""The values of one row in the order of FIELDS, "" for an empty cell."""

ID = FIELDS.index("entry_id")
DATE = FIELDS.index("date")
# A date is the number of days since this one (https://developers.google.com/workspace/sheets/api/guides/formats).
EPOCH = date(1899, 12, 30)
# The last column that a sheet can have.
LAST_COLUMN = "ZZZ"


class Snapshot:
    """The sheet at one moment. Rows and columns are counted from 0 here."""

    def __init__(self, values: Sequence[Sequence[Any]], headings: Sequence[str], names: Names) -> None:
        """Raises WorkbookError if a heading is missing, or is there twice."""
        self.names = names
        self.values = values
        self.top, self.columns = _find_columns(values, headings, names)
        self.left, self.right = min(self.columns), max(self.columns)
        self._rows: dict[str, list[int]] = defaultdict(list)
        column = self.columns[ID]
        for number in range(self.top + 1, len(values)):
            row = values[number]
            if len(row) > column and row[column] not in ("", None):
                self._rows[show(row[column])].append(number)

    def find(self, entry_id: str) -> Sequence[int]:
        """The rows with this id, from the top."""
        return self._rows.get(entry_id, ())

    def cells(self, number: int) -> Cells:
        row = self.values[number] if number < len(self.values) else ()
        return tuple(_at(row, column) for column in self.columns)

    def rows(self) -> Iterator[Row]:
        """Every row that holds anything in our columns."""
        for number in range(self.top + 1, len(self.values)):
            cells = self.cells(number)
            if any(cell != "" for cell in cells):
                yield _make_row(number + 1, cells)

    def find_end(self) -> int:
        """The last row with an id and something in the leftmost of our columns; the headings if there is none.

        The block of cells that it is part of is the table to append to. A range that is larger than this cell would
        find whatever comes last, such as a sum under the table, or the latter half of a row with an empty cell in it.
        """
        rows = (rows[-1] for rows in self._rows.values() if _at(self.values[rows[-1]], self.left) != "")
        return max(rows, default=self.top)

    def find_start(self) -> int:
        """The first column of that block, as far as two rows of it tell: `values:append` writes from there."""
        return min(self._start_of(self.top), self._start_of(self.find_end()))

    def _start_of(self, number: int) -> int:
        column = self.left
        while column and _at(self.values[number], column - 1) != "":
            column -= 1
        return column

    def find_shifted(self, wanted: dict[str, Cells]) -> Iterator[tuple[str, int, int]]:
        """Rows of these entries that stand so many columns beside where they belong: id, row, and how many."""
        for number in range(self.top + 1, len(self.values)):
            for column, cell in enumerate(self.values[number]):
                if isinstance(cell, str) and cell in wanted and column != self.columns[ID]:
                    shift = column - self.columns[ID]
                    if self._shifted(number, shift) == wanted[cell]:
                        yield cell, number, shift

    def _shifted(self, number: int, shift: int) -> Cells:
        return tuple(_at(self.values[number], column + shift) for column in self.columns)

    def name(self, number: int, left: int, right: int) -> str:
        """The cells of one row, in A1 notation; `right` is the last one."""
        first, last = rowcol_to_a1(number + 1, left + 1), rowcol_to_a1(number + 1, right + 1)
        return absolute_range_name(self.names.sheet, f"{first}:{last}")

    def name_table(self) -> str:
        """One cell of the table to append to."""
        return absolute_range_name(self.names.sheet, rowcol_to_a1(self.find_end() + 1, self.left + 1))


def name_everything(sheet: str) -> str:
    """All cells of a sheet. Its name alone might be that of a named range as well."""
    return absolute_range_name(sheet, f"A:{LAST_COLUMN}")


def make_cells(change: Change) -> Cells:
    """What the row of an entry holds; only its id if the entry is to be gone."""
    entry = change.entry
    if entry is None:
        return ("",) * ID + (change.entry_id,)
    serial = (entry.date - EPOCH).days
    # A double has 15 digits for certain, and the largest amount has 11.
    return serial, float(entry.amount), entry.category, entry.note, change.device, change.entry_id


def spread(cells: Cells, columns: Sequence[int], left: int, right: int) -> list[Any]:
    """The cells in their columns of a row, from `left` to `right`; None, which changes nothing, everywhere else."""
    row: list[Any] = [None] * (right - left + 1)
    for column, cell in zip(columns, cells, strict=True):
        row[column - left] = cell
    return row


def show(value: Any) -> str:
    """A cell's value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value)


def _at(row: Sequence[Any], column: int) -> Any:
    value = row[column] if 0 <= column < len(row) else ""
    return "" if value is None else value


def _make_row(number: int, cells: Cells) -> Row:
    day, amount, category, note, device, entry_id = cells
    return Row(number, _read_date(day), _read_amount(amount), show(category), show(note), show(device), show(entry_id))


def _read_date(value: Any) -> date | str:
    if _is_number(value):
        try:
            # The fraction is the time of day.
            return EPOCH + timedelta(days=math.floor(value))
        except OverflowError:
            pass
    return show(value)


def _read_amount(value: Any) -> Decimal | str:
    return Decimal(str(value)) if _is_number(value) else show(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _find_columns(
    values: Sequence[Sequence[Any]], headings: Sequence[str], names: Names
) -> tuple[int, tuple[int, ...]]:
    """The first row with all our headings, and where they are in it."""
    wanted = [_fold(heading) for heading in headings]
    best: tuple[int, int] = (0, 0)
    for number, row in enumerate(values):
        folded = [_fold(cell) if isinstance(cell, str) else "" for cell in row]
        count = sum(heading in folded for heading in wanted)
        if count == len(wanted):
            _require_once(folded, headings, number, names)
            return number, tuple(folded.index(heading) for heading in wanted)
        best = max(best, (count, -number))
    nearest = [_fold(cell) for cell in values[-best[1]] if isinstance(cell, str)] if values else []
    missing = [heading for heading in headings if _fold(heading) not in nearest]
    raise WorkbookError(
        "no row of the sheet {sheet} of {place} has all our headings; missing in row {row}: {missing}",
        "put them back, or write the names of these columns into budget.toml",
        sheet=names.sheet,
        place=names.place,
        row=1 - best[1],
        missing=", ".join(missing),
    )


def _require_once(folded: Sequence[str], headings: Sequence[str], number: int, names: Names) -> None:
    for heading in headings:
        if folded.count(_fold(heading)) > 1:
            raise WorkbookError(
                "row {row} of the sheet {sheet} of {place} has the heading {heading} twice",
                "rename one of the two columns",
                row=number + 1,
                sheet=names.sheet,
                place=names.place,
                heading=heading,
            )


def _fold(text: str) -> str:
    return text.strip().casefold()
