"""The workbook that is made where there is none: the table of the expenses, and a sheet that adds them up."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from babel.numbers import get_currency_symbol
from openpyxl import Workbook
from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.table import Table, TableStyleInfo
from openpyxl.worksheet.worksheet import Worksheet

from budget_app.workbooks.workbook import FIELDS, WorkbookError

SUMMARY = "Summary"

_WIDTHS = (12, 14, 22, 48, 20, 38)
_DATE_FORMAT = "yyyy-mm-dd"
_MONTH_FORMAT = "mmm yyyy"
_FORMULA_STARTS = ("=", "+", "-", "@")

# What Excel refuses in the name of a sheet, and what it asks of the name of a table.
_NOT_IN_SHEET = re.compile(r"[\[\]:*?/\\\x00-\x1f]|^'|'$")
_TABLE_NAME = re.compile(r"[^\W\d][\w.]{0,254}")
_LIKE_CELL = re.compile(r"[A-Za-z]{1,3}[0-9]+|[Rr][0-9]*(?:[Cc][0-9]*)?|[Cc][0-9]*")
# These have a meaning of their own in a reference to a column of a table, but behind an apostrophe.
_IN_REFERENCE = re.compile(r"(['\[\]#])")

_FIRST_ROW, _MONTH_ROW = 4, 3
_FIRST_MONTH, _MONTHS = 3, 12
_YEAR_COLUMN = _FIRST_MONTH + _MONTHS
_LEFT_COLUMN = _YEAR_COLUMN + 1


@dataclass(frozen=True, slots=True)
class NewBook:
    """What to make it of: names, headings in the order of FIELDS, categories with monthly budgets, and a currency."""

    sheet: str
    table: str
    headings: tuple[str, ...]
    categories: tuple[tuple[str, float | None], ...]
    currency: str

    def write(self) -> bytes:
        """The file. Raises WorkbookError if a name in the settings is none that a workbook can have."""
        self._require_names()
        book = Workbook()
        book.properties.creator = "keyfob budget"
        expenses = book.worksheets[0]
        expenses.title = self.sheet
        self._lay_out_expenses(expenses)
        _Summary(book.create_sheet(SUMMARY), self).write()
        content = io.BytesIO()
        book.save(content)
        book.close()
        return content.getvalue()

    def _require_names(self) -> None:
        if not 0 < len(self.sheet) <= 31 or _NOT_IN_SHEET.search(self.sheet) or self.sheet.casefold() == "history":
            raise WorkbookError(
                "no sheet can have the name {sheet}", "choose another name for it in the settings", sheet=self.sheet
            )
        if self.sheet.casefold() == SUMMARY.casefold():
            raise WorkbookError(
                "the sheet {sheet} of a new workbook holds the sums",
                "choose another name for the sheet of the expenses in the settings",
                sheet=SUMMARY,
            )
        if self.table and (not _TABLE_NAME.fullmatch(self.table) or _LIKE_CELL.fullmatch(self.table)):
            raise WorkbookError(
                "no table can have the name {table}", "choose another name for it in the settings", table=self.table
            )

    def _lay_out_expenses(self, sheet: Worksheet) -> None:
        for column, (heading, width) in enumerate(zip(self.headings, _WIDTHS, strict=True), start=1):
            _write_text(cell := sheet.cell(1, column), heading)
            _make_heading(cell, right=FIELDS[column - 1] == "amount")
            sheet.column_dimensions[get_column_letter(column)].width = width
        sheet.freeze_panes = "A2"
        # An Excel table has a row from the start; the first expense fills it, and the next ones look like it.
        sheet.cell(2, 1).number_format = _DATE_FORMAT
        sheet.cell(2, 2).number_format = self.money_format
        if self.table:
            table = Table(displayName=self.table, ref=f"A1:{get_column_letter(len(FIELDS))}2")
            table.tableStyleInfo = TableStyleInfo(name="TableStyleLight9", showRowStripes=True)
            sheet.add_table(table)
        else:
            sheet.auto_filter.ref = f"A1:{get_column_letter(len(FIELDS))}2"

    @property
    def money_format(self) -> str:
        """Two decimals, and the sign of the currency behind them."""
        return f"#,##0.00\\ [${get_currency_symbol(self.currency, 'en')}]"

    def refer(self, field: str) -> str:
        """A whole column in a formula on another sheet."""
        index = FIELDS.index(field)
        if self.table:
            heading = _IN_REFERENCE.sub(r"'\1", self.headings[index])
            return f"{self.table}[{heading}]"
        letter = get_column_letter(index + 1)
        quoted = self.sheet.replace("'", "''")
        return f"'{quoted}'!${letter}:${letter}"


class _Summary:
    """The sheet of the sums: a row for each category, a column for each month of the year in B1."""

    def __init__(self, sheet: Worksheet, new: NewBook) -> None:
        self._sheet = sheet
        self._new = new
        self._last = _FIRST_ROW + len(new.categories) - 1

    def write(self) -> None:
        self._write_top()
        for row, (name, budget) in enumerate(self._new.categories, start=_FIRST_ROW):
            _write_text(self._sheet.cell(row, 1), name)
            self._write_row(row, name, budget)
        self._write_others(self._last + 1)
        self._write_total(self._last + 2)
        self._sheet.freeze_panes = f"B{_FIRST_ROW}"
        self._sheet.column_dimensions["A"].width = 24
        for column in range(2, _LEFT_COLUMN + 1):
            self._sheet.column_dimensions[get_column_letter(column)].width = 15

    def _write_top(self) -> None:
        for place, value, shape in (
            ("A1", "Year", "General"),
            ("B1", "=YEAR(TODAY())", "0"),
            ("C1", "This month", "General"),
            ("D1", "=DATE(YEAR(TODAY()),MONTH(TODAY()),1)", _MONTH_FORMAT),
        ):
            self._sheet[place] = value
            self._sheet[place].number_format = shape
        self._sheet["A1"].font = self._sheet["B1"].font = Font(bold=True)
        headings = {1: "Category", 2: "Budget", _YEAR_COLUMN: "Year", _LEFT_COLUMN: "Left this month"}
        for column, heading in headings.items():
            self._sheet.cell(_MONTH_ROW, column, heading)
        for month in range(_MONTHS):
            cell = self._sheet.cell(_MONTH_ROW, _FIRST_MONTH + month, f"=DATE($B$1,{month + 1},1)")
            cell.number_format = _MONTH_FORMAT
        for column in range(1, _LEFT_COLUMN + 1):
            _make_heading(self._sheet.cell(_MONTH_ROW, column), right=column > 1)

    def _write_row(self, row: int, name: str, budget: float | None) -> None:
        category = f"{self._new.refer('category')},$A{row}"
        for letter, cell in self._months(row):
            cell.value = self._add_up(f"{letter}${_MONTH_ROW}", category)
        if budget is not None:
            self._money(row, 2).value = budget
        self._money(row, _YEAR_COLUMN).value = self._add_months(row)
        spent = self._add_up("$D$1", category).removeprefix("=")
        self._money(row, _LEFT_COLUMN).value = f'=IF($B{row}="","",$B{row}-{spent})'

    def _write_others(self, row: int) -> None:
        """What is spent on categories that are not listed: all there is, without what is listed."""
        self._sheet.cell(row, 1, "Everything else")
        for letter, cell in self._months(row):
            cell.value = f"={letter}{row + 1}-SUM({letter}{_FIRST_ROW}:{letter}{self._last})"
        self._money(row, _YEAR_COLUMN).value = self._add_months(row)

    def _write_total(self, row: int) -> None:
        self._sheet.cell(row, 1, "Total")
        for letter, cell in self._months(row):
            cell.value = self._add_up(f"{letter}${_MONTH_ROW}")
        self._money(row, _YEAR_COLUMN).value = self._add_months(row)
        for column in (2, _LEFT_COLUMN):
            letter = get_column_letter(column)
            self._money(row, column).value = f"=SUM({letter}{_FIRST_ROW}:{letter}{self._last})"
        for column in range(1, _LEFT_COLUMN + 1):
            self._sheet.cell(row, column).font = Font(bold=True)
            self._sheet.cell(row, column).border = Border(top=Side(style="thin"))

    def _months(self, row: int) -> Iterator[tuple[str, Cell | MergedCell]]:
        for column in range(_FIRST_MONTH, _YEAR_COLUMN):
            yield get_column_letter(column), self._money(row, column)

    def _money(self, row: int, column: int) -> Cell | MergedCell:
        cell = self._sheet.cell(row, column)
        cell.number_format = self._new.money_format
        return cell

    def _add_up(self, month: str, *criteria: str) -> str:
        """The amounts of the month whose first day is in that cell; whole numbers mean the same in every language."""
        day = self._new.refer("date")
        return (
            "=SUMIFS("
            + ",".join([self._new.refer("amount"), *criteria, day, f'">="&{month}', day, f'"<"&EDATE({month},1)'])
            + ")"
        )

    def _add_months(self, row: int) -> str:
        first, last = get_column_letter(_FIRST_MONTH), get_column_letter(_YEAR_COLUMN - 1)
        return f"=SUM({first}{row}:{last}{row})"


def _make_heading(cell: Cell | MergedCell, *, right: bool) -> None:
    cell.font = Font(bold=True)
    cell.border = Border(bottom=Side(style="thin"))
    cell.alignment = Alignment(horizontal="right" if right else "left")


def _write_text(cell: Cell | MergedCell, text: str) -> None:
    """Text as text, whatever it looks like: openpyxl takes `=1+1` for a formula."""
    cell.value = text
    cell.data_type = "s"
    cell.quotePrefix = text.startswith(_FORMULA_STARTS)
