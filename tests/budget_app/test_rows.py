"""How an entry becomes cells, and how cells typed by hand are read."""

import io
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.worksheet.formula import ArrayFormula
from openpyxl.worksheet.worksheet import Worksheet
from python_calamine import CalamineWorkbook

from budget_app.entries import Entry, FieldError, parse_note
from budget_app.rows import HEADINGS, LAST_ROW, Row, append_row, has_headings, read_rows, write_headings

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")


@pytest.fixture
def sheet() -> Worksheet:
    sheet = Workbook().worksheets[0]
    write_headings(sheet)
    return sheet


def save_and_load(sheet: Worksheet) -> tuple[Worksheet, list[list[Any]]]:
    """The sheet as openpyxl reads it again, and its rows as another reader sees them."""
    book = sheet.parent
    assert isinstance(book, Workbook)
    content = io.BytesIO()
    book.save(content)
    with CalamineWorkbook.from_filelike(io.BytesIO(content.getvalue())) as reader:
        rows = [list(row) for row in reader.get_sheet_by_index(0).to_python()]
    loaded = load_workbook(content, rich_text=True).worksheets[0]
    assert isinstance(loaded, Worksheet)
    return loaded, rows


def test_the_layout_has_headings_widths_a_filter_and_a_frozen_first_row(sheet: Worksheet) -> None:
    loaded, rows = save_and_load(sheet)
    assert has_headings(loaded)
    assert rows == [list(HEADINGS)]
    assert loaded.freeze_panes == "A2"
    assert loaded.auto_filter.ref == "A1:E1"
    assert loaded.column_dimensions["D"].width > loaded.column_dimensions["A"].width > 10


def test_a_row_holds_a_real_date_and_a_real_number(sheet: Worksheet) -> None:
    assert append_row(sheet, LUNCH, "Rhea Group") == 2
    loaded, rows = save_and_load(sheet)
    assert rows[1] == [date(2025, 11, 23), 12.5, "Eating out", "Lunch", "Rhea Group"]
    assert [cell.number_format for cell in loaded[2][:2]] == ["yyyy-mm-dd", "#,##0.00"]
    assert [cell.data_type for cell in loaded[2]] == ["d", "n", "s", "s", "s"]
    assert loaded.auto_filter.ref == "A1:E2"


@pytest.mark.parametrize(
    "text",
    ["=1+1", '=HYPERLINK("http://evil.example")', "+1", "-1", "@SUM(A1)", "=", "#N/A", "#REF!", "1234", "TRUE", "'a"],
)
def test_text_stays_text_whatever_it_looks_like(sheet: Worksheet, text: str) -> None:
    append_row(sheet, Entry(Decimal(1), text, date(2025, 11, 23), text), text)
    loaded, rows = save_and_load(sheet)
    assert rows[1][2:] == [text] * 3
    for cell in loaded[2][2:]:
        assert (cell.data_type, cell.value) == ("s", text)
        assert bool(cell.quotePrefix) is (text[0] in "=+-@")
    again, rows_again = save_and_load(loaded)
    assert (rows_again, again["C2"].data_type) == (rows, "s")


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[=+\-@_]x?[0-9A-F]{0,4}_?", fullmatch=True))
@example("=1+1")
@example("a  b")
@example("<&>\"']]>")
def test_any_note_that_is_accepted_reads_back_as_the_same_text(text: str) -> None:
    try:
        note = parse_note(text)
    except FieldError:
        return
    sheet = Workbook().worksheets[0]
    write_headings(sheet)
    append_row(sheet, Entry(Decimal(1), "Home", date(2025, 11, 23), note), "Rhea Group")
    loaded, rows = save_and_load(sheet)
    assert rows[1][3] == note
    again, rows_again = save_and_load(loaded)
    assert rows_again[1][3] == note
    assert next(read_rows(again)).note == note


def test_a_row_goes_below_the_last_used_one_and_leaves_columns_to_the_right_alone(sheet: Worksheet) -> None:
    sheet["B5"] = 3
    sheet["H9"] = "my own sum"
    sheet["A20"].number_format = "0.00"
    assert append_row(sheet, LUNCH, "Rhea Group") == 6
    assert sheet["H9"].value == "my own sum"


def test_a_row_goes_below_merged_cells(sheet: Worksheet) -> None:
    sheet.merge_cells("A3:E4")
    assert append_row(sheet, LUNCH, "Rhea Group") == 5


def test_a_filter_that_was_taken_off_stays_off_and_a_wider_one_keeps_its_width(sheet: Worksheet) -> None:
    sheet.auto_filter.ref = "A1:G9"
    append_row(sheet, LUNCH, "Rhea Group")
    assert sheet.auto_filter.ref == "A1:G9"
    sheet["A9"] = "x"
    append_row(sheet, LUNCH, "Rhea Group")
    assert sheet.auto_filter.ref == "A1:G10"
    sheet.auto_filter.ref = None
    append_row(sheet, LUNCH, "Rhea Group")
    assert sheet.auto_filter.ref is None


def test_a_full_sheet_takes_no_row(sheet: Worksheet) -> None:
    sheet.cell(LAST_ROW, 1, "the end")
    with pytest.raises(OverflowError):
        append_row(sheet, LUNCH, "Rhea Group")


def test_headings_may_have_more_to_their_right_but_no_other_names(sheet: Worksheet) -> None:
    sheet["F1"] = "Shop"
    assert has_headings(sheet)
    sheet["B1"] = "Sum"
    assert not has_headings(sheet)


def test_rows_come_from_the_top_and_empty_ones_are_passed_over(sheet: Worksheet) -> None:
    append_row(sheet, LUNCH, "Rhea Group")
    sheet["A4"] = datetime.fromisoformat("2025-11-24T08:30")
    sheet["B4"] = 7
    assert list(read_rows(save_and_load(sheet)[0])) == [
        Row(2, date(2025, 11, 23), Decimal("12.50"), "Eating out", "Lunch", "Rhea Group"),
        Row(4, date(2025, 11, 24), Decimal("7.00"), "", "", ""),
    ]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("about ten", "about ten"),
        (True, "TRUE"),
        (1e300, "1e+300"),
        (-4.5, Decimal("-4.50")),
        (2.675, Decimal("2.68")),
        ("=SUM(B1:B2)", "=SUM(B1:B2)"),
        (ArrayFormula("B2", "=B3*2"), "=B3*2"),
        ("#DIV/0!", "#DIV/0!"),
        (datetime.fromisoformat("2025-11-23"), "2025-11-23T00:00:00"),
        (time(8, 30), "08:30:00"),
        (timedelta(hours=30), "1 day, 6:00:00"),
        (CellRichText("two ", TextBlock(InlineFont(b=True), "fifty")), "two fifty"),
        (None, ""),
    ],
    ids=str,
)
def test_an_odd_amount_typed_by_hand_is_shown_as_its_text(sheet: Worksheet, typed: object, shown: object) -> None:
    sheet["A2"] = "someday"
    sheet.cell(2, 2).value = typed  # type: ignore[assignment]
    sheet["C2"] = 2024
    row = next(read_rows(save_and_load(sheet)[0]))
    assert (row.amount, row.date, row.category) == (shown, "someday", "2024")


def test_bold_words_typed_by_hand_stay_bold_when_a_row_is_added(sheet: Worksheet) -> None:
    sheet["D2"] = CellRichText("two ", TextBlock(InlineFont(b=True), "fifty"))
    loaded, _ = save_and_load(sheet)
    append_row(loaded, LUNCH, "Rhea Group")
    again, _ = save_and_load(loaded)
    assert isinstance(again["D2"].value, CellRichText)
