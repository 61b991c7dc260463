"""Where the expenses are: found by names each time, and refused by name where they are not."""

from pathlib import Path

import pytest

from budget_app.workbooks.workbook import WorkbookError

from .parts import (
    MAIN,
    SHEET,
    add,
    change_part,
    entry_row,
    headings_row,
    members,
    minimal,
    open_book,
    read_ids,
    rich_book,
    zip_parts,
)

TABLE = "xl/tables/table1.xml"
ROWS = headings_row() + entry_row(2, "a")


def make(path: Path, table: str = "A1:F2", **more: str) -> Path:
    return zip_parts(minimal(ROWS, table, **more), path / "budget.xlsx")


def refuse(path: Path, *words: str, sheet: str = "Expenses", table: str = "Expenses") -> None:
    """Every method refuses it with these words, and the file stays as it was."""
    content = path.read_bytes()
    book = open_book(path, sheet, table)
    for action in (book.prepare, book.read, lambda: book.write([add("new")])):
        with pytest.raises(WorkbookError) as caught:
            action()
        assert all(word in str(caught.value) for word in words), str(caught.value)
    assert path.read_bytes() == content


def test_names_are_found_in_any_case(tmp_path: Path) -> None:
    """To Excel `EXPENSES` is the same name."""
    book = open_book(make(tmp_path), "EXPENSES", "expenses")
    book.write([add("b")])
    assert read_ids(book) == ["a", "b"]


def test_moved_columns_are_followed(tmp_path: Path) -> None:
    """By their headings, the table's own."""
    path = make(tmp_path)
    change_part(path, TABLE, ('name="Note"', 'name="x"'), ('name="Entry ID"', 'name="Note"'), ('"x"', '" entry id"'))
    book = open_book(path)
    book.write([add("b", note="n")])
    assert [(row.note, row.entry_id) for row in book.read().rows] == [("a", "note"), ("n", "b")]


def test_a_missing_sheet_table_or_heading_is_named(tmp_path: Path) -> None:
    """With what to do about it."""
    path = make(tmp_path)
    refuse(path, "no sheet Costs", "settings", sheet="Costs")
    refuse(path, "no table Costs", "settings", table="Costs")
    change_part(path, TABLE, ('"Note"', '"Why"'), ('"Device"', '"Who"'))
    refuse(path, "the table Expenses has no column Note, Device")
    bare = zip_parts(minimal(ROWS.replace("Note", "Why")), tmp_path / "bare.xlsx")
    refuse(bare, "Note is missing", table="")


def test_a_heading_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Nobody can tell which column is meant."""
    row = ROWS.replace("</row>", '<c r="H1" t="inlineStr"><is><t>amount</t></is></c></row>', 1)
    refuse(zip_parts(minimal(row), tmp_path / "budget.xlsx"), "the heading amount is there twice", table="")


def test_a_table_on_another_sheet_is_told(tmp_path: Path) -> None:
    """Names of tables are the workbook's, so this one is meant, and one of the two settings is wrong."""
    path = rich_book(tmp_path / "budget.xlsx")
    refuse(path, "is on the sheet Expenses, not on Sums", sheet="Sums")


def test_a_table_that_the_settings_do_not_name_is_told(tmp_path: Path) -> None:
    """Rows below it would not be counted by anything."""
    refuse(make(tmp_path), "those of the table Expenses", table="")


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ('totalsRowCount="1"', "row of totals"),
        ('headerRowCount="0"', "Header Row"),
        ('tableType="queryTable"', "filled from outside"),
    ],
)
def test_tables_that_rows_cannot_be_added_to_are_refused(tmp_path: Path, attribute: str, words: str) -> None:
    """With the cure."""
    path = make(tmp_path)
    change_part(path, TABLE, (' id="1" name="Expenses"', f' {attribute} id="1" name="Expenses"'))
    refuse(path, words)


def test_a_table_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """Its area has as many columns as it names."""
    path = make(tmp_path)
    change_part(path, TABLE, ('ref="A1:F2"', 'ref="A1:E2"'))
    refuse(path, "damaged")


def test_another_table_below_is_in_the_way(tmp_path: Path) -> None:
    """One table cannot grow into another."""
    path = make(tmp_path)
    other = f'<table xmlns="{MAIN}" id="2" name="B" displayName="B" ref="F3:G5"><tableColumns/></table>'
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/table"
    rels = "xl/worksheets/_rels/sheet1.xml.rels"
    zip_parts({**members(path), "xl/tables/table2.xml": other}, path)
    link = f'<Relationship Id="u" Type="{relation}" Target="/xl/tables/table2.xml"/>'
    change_part(path, rels, ("</Relationships>", f"{link}</Relationships>"))
    with pytest.raises(WorkbookError, match="F3:G5"):
        open_book(path).write([add("b")])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sheet.main+xml", "sheet.macroEnabled.main+xml", "macros"),
        ("spreadsheetml.sheet.main+xml", "spreadsheetml.template.main+xml", "its kind is"),
    ],
)
def test_other_kinds_of_workbook_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    """By what they say of themselves, whatever their names are."""
    path = make(tmp_path)
    kind = "application/vnd.ms-excel" if "macro" in new else "application/vnd.openxmlformats-officedocument"
    whole = f"application/vnd.openxmlformats-officedocument.spreadsheetml.{old.removeprefix('spreadsheetml.')}"
    change_part(path, "[Content_Types].xml", (whole, f"{kind}.{new}"))
    refuse(path, words)


def test_a_document_type_in_the_sheet_is_refused(tmp_path: Path) -> None:
    """Entities may be bombs, and nobody writes them."""
    path = make(tmp_path)
    change_part(path, SHEET, ("<worksheet", '<!DOCTYPE worksheet [<!ENTITY e "e">]><worksheet'))
    with pytest.raises(WorkbookError, match="document type"):
        open_book(path).write([add("b")])
