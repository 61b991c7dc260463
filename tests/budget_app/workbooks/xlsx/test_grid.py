"""The cells of a sheet as the rows of the expenses."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from budget_app.workbooks.workbook import Row, WorkbookError

from .parts import change_part, entry_row, headings_row, minimal, open_book, zip_parts

FORMATS = '<cellXfs count="4"><xf/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="46"/></cellXfs>'


def read(path: Path, cells: str, **more: str) -> Row | None:
    """The one row with these cells, which have no numbers."""
    for letter in "ABCDEF":
        cells = cells.replace(f'r="{letter}"', f'r="{letter}2"')
    parts = minimal(f'{headings_row()}<row r="2">{cells}</row>', "A1:F2", formats=FORMATS, **more)
    rows = open_book(zip_parts(parts, path / "budget.xlsx")).read().rows
    return rows[0] if rows else None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('<c r="A" s="1"><v>46349</v></c>', date(2026, 11, 23)),
        ('<c r="A" s="2"><v>46349.75</v></c>', date(2026, 11, 23)),
        ('<c r="A"><v>46349</v></c>', date(2026, 11, 23)),
        ('<c r="A" t="d"><v>2026-11-23</v></c>', date(2026, 11, 23)),
        ('<c r="A"><v>99999999</v></c>', "99999999"),
        ('<c r="A"><v>-5</v></c>', "-5"),
        ('<c r="A" t="b"><v>1</v></c>', "TRUE"),
        ('<c r="A" t="e"><v>#N/A</v></c>', "#N/A"),
        ('<c r="A" t="str"><f>TEXT(1,"x")</f><v>soon</v></c>', "soon"),
    ],
)
def test_days_are_days_and_all_else_is_text(tmp_path: Path, cell: str, expected: date | str) -> None:
    """As SUMIFS takes them, however they are shown."""
    row = read(tmp_path, cell)
    assert row is not None
    assert row.date == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('<c r="B"><v>4.5</v></c>', Decimal("4.5")),
        ('<c r="B"><v>0.30000000000000004</v></c>', Decimal("0.30000000000000004")),
        ('<c r="B"><f>1+1</f><v>2</v></c>', Decimal(2)),
        ('<c r="B" s="1"><v>46349</v></c>', Decimal(46349)),
        ('<c r="B" s="3"><v>0.5</v></c>', Decimal("0.5")),
        ('<c r="B" t="b"><v>0</v></c>', "FALSE"),
        ('<c r="B" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "#DIV/0!"),
        ('<c r="B" t="inlineStr"><is><t>4,50</t></is></c>', "4,50"),
        ('<c r="B"><v>1e999</v></c>', "inf"),
    ],
)
def test_amounts_are_unrounded_numbers_and_all_else_is_text(tmp_path: Path, cell: str, expected: Decimal | str) -> None:
    """As SUMIFS takes them, however they are shown."""
    row = read(tmp_path, cell)
    assert row is not None
    assert row.amount == expected


def test_texts_may_be_numbers_and_days(tmp_path: Path) -> None:
    """A person may type anything anywhere."""
    row = read(tmp_path, '<c r="C"><v>5</v></c><c r="D" s="1"><v>46349</v></c><c r="F" t="b"><v>1</v></c>')
    assert row == Row(2, "", "", "5", "2026-11-23", "", "TRUE")


def test_rows_without_anything_in_our_columns_are_none(tmp_path: Path) -> None:
    """Formats and empty texts are nothing."""
    assert read(tmp_path, '<c r="A" s="1"/><c r="C" t="inlineStr"><is><t></t></is></c><c r="H2"><v>1</v></c>') is None


def test_what_is_typed_below_a_table_is_none_of_it(tmp_path: Path) -> None:
    """The table's sums do not count it either."""
    parts = minimal(headings_row() + entry_row(2, "a") + entry_row(3, "b"), "A1:F2")
    assert [row.entry_id for row in open_book(zip_parts(parts, tmp_path / "b.xlsx")).read().rows] == ["a"]


@pytest.mark.parametrize(
    "cell",
    [
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        '<row r="1048576">' + "<c/>" * 16383 + "<c><v>1</v></c></row>",
    ],
)
def test_a_cell_far_off_does_not_fill_the_memory(tmp_path: Path, cell: str) -> None:
    """All cells up to the last one would be kept."""
    path = zip_parts(minimal(headings_row() + entry_row(2, "a") + cell, "A1:F2"), tmp_path / "b.xlsx")
    with pytest.raises(WorkbookError, match="too far out"):
        open_book(path).read()


def test_a_format_far_off_does_no_harm(tmp_path: Path) -> None:
    """Only what holds something counts."""
    rows = headings_row() + entry_row(2, "a") + '<row r="1048576"><c r="XFD1048576" s="1"/></row>'
    path = zip_parts(minimal(rows, "A1:F2"), tmp_path / "b.xlsx")
    assert len(open_book(path).read().rows) == 1


DEADLY = {
    "rows in a wrong order": entry_row(9, "b") + entry_row(3, "c"),
    "cells of other rows": entry_row(9, "b").replace('r="C9"', 'r="C2"'),
    "cells of other rows, in single quotes": entry_row(9, "b").replace('r="C9"', "r='C2'"),
    "cells beyond the sheet": '<row r="3"><c r="A9999999"><v>1</v></c></row>',
    "cells just beyond the sheet": '<row r="3"><c r="A1048577"><v>1</v></c></row>',
}


@pytest.mark.parametrize("kind", DEADLY)
def test_cells_out_of_place_are_refused_before_they_are_read(tmp_path: Path, kind: str) -> None:
    """The reader takes room from the first cell to the last, and would end the whole process for want of it."""
    rows = headings_row() + entry_row(2, "a") + DEADLY[kind]
    with pytest.raises(WorkbookError):
        open_book(zip_parts(minimal(rows, "A1:F9"), tmp_path / "b.xlsx")).read()


STRINGS = ("<sst ", "<sst uniqueCount='4294967295' ")


@pytest.mark.parametrize("part", ["xl/sharedStrings.xml", "xl/styles.xml"])
def test_counts_that_are_not_true_are_refused_before_they_are_believed(tmp_path: Path, part: str) -> None:
    """The reader takes room for as many at once, and would end the whole process for want of it."""
    path = zip_parts(minimal(headings_row() + entry_row(2, "a"), "A1:F2", formats=FORMATS), tmp_path / "b.xlsx")
    change_part(path, part, ("<cellXfs count=", "<cellXfs count='4294967295' c=") if "styles" in part else STRINGS)
    with pytest.raises(WorkbookError, match="damaged"):
        open_book(path).read()
