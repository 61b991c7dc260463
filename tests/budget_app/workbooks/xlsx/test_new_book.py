"""The workbook that is made where there is none."""

from pathlib import Path

import pytest
from openpyxl import load_workbook
from python_calamine import CalamineWorkbook

from budget_app.workbooks.workbook import HEADINGS, WorkbookError
from budget_app.workbooks.xlsx import XlsxWorkbook

from .parts import add, open_book, part


def test_a_new_workbook_has_a_table_and_sums(tmp_path: Path) -> None:
    """In a folder of its own, for its owner alone; and it is usable at once."""
    path = tmp_path / "new" / "budget.xlsx"
    open_book(path).prepare()
    assert path.stat().st_mode & 0o777 == 0o600
    book = load_workbook(path)
    assert book.sheetnames == ["Expenses", "Summary"]
    sheet, sums = book["Expenses"], book["Summary"]
    assert [cell.value for cell in sheet[1]] == list(HEADINGS)
    assert sheet.freeze_panes == "A2"
    assert sheet.tables["Expenses"].ref == "A1:F2"
    assert [sums[place].value for place in ("A1", "B1", "A4", "B4", "A6", "A7")] == [
        "Year",
        "=YEAR(TODAY())",
        "Coffee",
        50,
        "Everything else",
        "Total",
    ]
    assert sums["C4"].value == (
        '=SUMIFS(Expenses[Amount],Expenses[Category],$A4,Expenses[Date],">="&C$3,Expenses[Date],"<"&EDATE(C$3,1))'
    )
    book.close()


def test_an_existing_workbook_is_not_made_anew(tmp_path: Path) -> None:
    """Not a byte of it changes."""
    path = tmp_path / "budget.xlsx"
    open_book(path).prepare()
    content = path.read_bytes()
    open_book(path).prepare()
    assert path.read_bytes() == content


def test_the_first_expense_fills_the_first_row(tmp_path: Path) -> None:
    """An Excel table has one from the start; all that follow look like it."""
    path = tmp_path / "budget.xlsx"
    book = open_book(path)
    book.prepare()
    book.write([add("a"), add("b"), add("c")])
    loaded = load_workbook(path)
    sheet = loaded["Expenses"]
    assert sheet.tables["Expenses"].ref == "A1:F4"
    for number in (2, 3, 4):
        assert [sheet.cell(number, column).number_format for column in (1, 2)] == ["yyyy-mm-dd", "#,##0.00\\ [$€]"]
    loaded.close()
    assert "fullCalcOnLoad" in part(path, "xl/workbook.xml")


@pytest.mark.parametrize("currency", ["EUR", "USD", "JPY", "BRL", "SDG", "MYR", "HUF", "DOP", "YER", "CHF"])
def test_every_currency_is_read_as_a_number(tmp_path: Path, currency: str) -> None:
    """The letters of a currency are no parts of a day."""
    path = tmp_path / "budget.xlsx"
    book = XlsxWorkbook(path, "Expenses", "Expenses", HEADINGS, [("Coffee", None)], currency)
    book.prepare()
    book.write([add("a", "-4.50")])
    with CalamineWorkbook.from_path(path) as loaded:
        assert loaded.get_sheet_by_name("Expenses").to_python()[1][1] == -4.5
    assert book.read().rows[0].amount == -4.5


@pytest.mark.parametrize(
    ("sheet", "table"),
    [
        ("a/b", "T"),
        ("[a]", "T"),
        ("'a", "T"),
        ("x" * 32, "T"),
        ("History", "T"),
        ("summary", "T"),
        ("Costs", "A1"),
        ("Costs", "R1C1"),
        ("Costs", "c"),
        ("Costs", "my table"),
        ("Costs", "1st"),
    ],
)
def test_names_that_a_workbook_cannot_have_are_refused(tmp_path: Path, sheet: str, table: str) -> None:
    """Excel would call the file damaged; no file is made."""
    with pytest.raises(WorkbookError, match="settings"):
        open_book(tmp_path / "budget.xlsx", sheet, table).prepare()
    assert list(tmp_path.iterdir()) == []
