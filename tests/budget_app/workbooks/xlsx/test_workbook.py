"""The person's own workbook: rows come and go, and everything else stays as it was."""

import stat
from pathlib import Path

import pytest
from openpyxl import load_workbook
from python_calamine import CalamineWorkbook

from budget_app.workbooks import files
from budget_app.workbooks.workbook import WorkbookBusy, WorkbookError, Written

from .parts import (
    MAIN,
    SHEET,
    add,
    change_part,
    members,
    open_book,
    packed,
    part,
    read_ids,
    read_row,
    remove,
    rich_book,
    update,
    zip_parts,
)

# What openpyxl says of conditional formats in extensions, which it leaves out when it loads a file.
pytestmark = pytest.mark.filterwarnings("ignore:.* extension is not supported")

TABLE = "xl/tables/table1.xml"


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    return rich_book(tmp_path / "budget.xlsx")


def test_a_write_keeps_every_other_part_byte_for_byte(rich: Path) -> None:
    """Charts, pictures, comments, names and other sheets, the compressed bytes included; order and names as well."""
    before = packed(rich)
    open_book(rich).write([add("id-c"), add("id-d"), update("id-a", "1.00"), remove("id-b")])
    after = packed(rich)
    assert list(after) == list(before)
    assert {name for name in before if after[name] != before[name]} == {SHEET, "xl/worksheets/sheet2.xml", TABLE}
    assert any("chart" in name for name in before)
    assert any("media" in name for name in before)


def test_nothing_is_rewritten_where_nothing_changes(rich: Path) -> None:
    """The file, its time and its backups are as they were."""
    book = open_book(rich)
    book.write([add("id-c", "2.00")])
    content, stamp = rich.read_bytes(), files.stamp_file(rich)
    assert book.write([add("id-c", "2.00"), remove("nobody")]) == Written(stamp, stamp, frozenset())
    assert (rich.read_bytes(), files.stamp_file(rich)) == (content, stamp)


def test_the_table_and_what_covers_it_grow(rich: Path) -> None:
    """Its area and filter, conditional formats and validations of its rows, those in extensions included."""
    open_book(rich).write([add("id-c"), add("id-d")])
    sheet = part(rich)
    assert part(rich, TABLE).count('ref="A2:H6"') == 2
    assert '<conditionalFormatting sqref="B3:B6">' in sheet
    assert "<xm:sqref>B3:B6</xm:sqref>" in sheet
    assert 'sqref="C3:C6"' in sheet
    assert '<conditionalFormatting sqref="L1:L9">' in sheet
    assert '<dimension ref="A1:J6"/>' in sheet or "<dimension" in sheet


def test_new_rows_look_and_calculate_like_the_row_above(rich: Path) -> None:
    """Formats and the formula of the calculated column; a row's height is its own."""
    open_book(rich).write([add("id-c"), add("id-d")])
    book = load_workbook(rich)
    sheet = book["Expenses"]
    for number in (5, 6):
        shapes = [sheet.cell(number, column).number_format for column in (1, 2, 7)]
        assert shapes == ["dd/mm/yyyy", "#,##0.00 [$€-407]", "#,##0.00 [$€-407]"]
        assert sheet.cell(number, 7).value == "=Expenses[[#This Row],[Amount]]*2"
    assert sheet.protection.sheet
    book.close()


def test_no_old_result_of_a_formula_is_left(rich: Path) -> None:
    """LibreOffice would show it, whatever the workbook asks for; Excel is asked to calculate."""
    open_book(rich).write([add("id-c")])
    assert "999" not in part(rich).replace("1999", "")
    assert "<v>999</v></c><c r=" not in part(rich, "xl/worksheets/sheet2.xml")
    assert "fullCalcOnLoad" in part(rich, "xl/workbook.xml")


@pytest.mark.parametrize("how", ['calcMode="manual"', 'iterate="1"'])
def test_results_stay_where_programs_may_not_calculate(rich: Path, how: str) -> None:
    """Calculated by hand or by iteration, a result is more than its formula says."""
    change_part(rich, "xl/workbook.xml", ('fullCalcOnLoad="1"', how))
    before = members(rich)
    open_book(rich).write([add("id-c")])
    after = members(rich)
    assert {name for name in after if after[name] != before[name]} == {SHEET, TABLE}
    assert "<v>999</v>" in part(rich)


def test_what_is_calculated_in_our_columns_keeps_its_result(rich: Path) -> None:
    """An amount that a person calculates is read from its result, so it is not taken away."""
    change_part(rich, SHEET, ("<v>12.5</v>", "<f>10+2.5</f><v>12.5</v>"))
    book = open_book(rich)
    book.write([add("id-c")])
    assert str(read_row(book, "id-a").amount) == "12.5"


def test_the_last_row_goes_and_one_between_is_emptied(rich: Path) -> None:
    """Rows below must not move, since formulas elsewhere may point at them; the next one takes the free row."""
    book = open_book(rich)
    book.write([add("id-c"), add("id-d")])
    book.write([remove("id-d"), remove("id-a")])
    assert [row.number for row in book.read().rows] == [4, 5]
    assert 'ref="A2:H5"' in part(rich, TABLE)
    assert 'r="6"' not in part(rich)
    book.write([add("id-e")])
    assert [(row.number, row.entry_id) for row in book.read().rows] == [(4, "id-b"), (5, "id-c"), (6, "id-e")]


@pytest.mark.parametrize("cell", ["H4", "J4"])
def test_the_last_row_stays_if_it_holds_anything_else(rich: Path, cell: str) -> None:
    """What a person typed in it, in the table or beside it, keeps its place, and no entry is written over it."""
    typed = f'<c r="{cell}" t="inlineStr"><is><t>mine</t></is></c></row>'
    head, mark, row = part(rich).partition('<row r="4"')
    zip_parts({**members(rich), SHEET: head + mark + row.replace("</row>", typed, 1)}, rich)
    book = open_book(rich)
    book.write([remove("id-b")])
    assert 'ref="A2:H4"' in part(rich, TABLE)
    book.write([add("id-c")])
    assert part(rich).count("mine") == 1
    assert [row.number for row in book.read().rows] == ([3, 5] if cell == "H4" else [3, 4])


def test_the_first_row_of_a_table_is_never_taken_out(rich: Path) -> None:
    """A table without any row is none."""
    book = open_book(rich)
    book.write([remove("id-a"), remove("id-b")])
    assert book.read().rows == ()
    assert 'ref="A2:H3"' in part(rich, TABLE)
    book.write([add("id-c")])
    assert [row.number for row in book.read().rows] == [3]


def test_cells_that_are_right_are_not_touched(rich: Path) -> None:
    """Only what differs is written anew, in the format that it had."""
    change_part(rich, SHEET, ("<v>12.5</v>", "<f>10+2.5</f><v>12.5</v>"))
    open_book(rich).write([update("id-a", "12.50", "after")])
    sheet = part(rich)
    assert "<f>10+2.5</f><v>12.5</v>" in sheet
    assert "after" in sheet


def test_an_open_workbook_is_not_written(rich: Path) -> None:
    """Its lock file says so."""
    content = rich.read_bytes()
    rich.with_name(".~lock.budget.xlsx#").write_text(",Ana,host,23.11.2026 10:00,file:///x;")
    with pytest.raises(WorkbookBusy):
        open_book(rich).write([add("id-c")])
    assert rich.read_bytes() == content


def test_a_workbook_that_is_opened_meanwhile_is_not_written(rich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock file is looked for again just before the file is replaced."""
    content = rich.read_bytes()
    monkeypatch.setattr(files, "back_up", lambda path, _: path.with_name("~$budget.xlsx").write_bytes(b""))
    with pytest.raises(WorkbookBusy):
        open_book(rich).write([add("id-c")])
    assert rich.read_bytes() == content


def test_a_workbook_that_changes_meanwhile_is_not_replaced(rich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other program wrote stays, and nothing lies beside it."""
    other = rich_book(rich.with_name("other.xlsx"), [("theirs", 1.0)]).read_bytes()
    monkeypatch.setattr(files, "back_up", lambda path, _: path.write_bytes(other))
    with pytest.raises(WorkbookError, match="changed by another program"):
        open_book(rich).write([add("id-c")])
    assert rich.read_bytes() == other


def test_a_file_that_would_be_damaged_is_not_written(rich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is read back first."""
    from budget_app.workbooks.xlsx.package import Package

    whole = Package.replace
    monkeypatch.setattr(Package, "replace", lambda *args: whole(*args).replace(b"xl/media", b"xl/nedia", 1))
    content = rich.read_bytes()
    with pytest.raises(WorkbookError, match="damaged"):
        open_book(rich).write([add("id-c")])
    assert rich.read_bytes() == content


def test_a_write_keeps_the_mode_and_makes_a_backup(rich: Path) -> None:
    """As it was before the first write of the day."""
    rich.chmod(0o640)
    content = rich.read_bytes()
    open_book(rich).write([add("id-c")])
    open_book(rich).write([add("id-d")])
    assert stat.S_IMODE(rich.stat().st_mode) == 0o640
    (backup,) = (rich.parent / files.BACKUP_FOLDER).iterdir()
    assert backup.read_bytes() == content


def test_other_readers_see_what_was_written(rich: Path) -> None:
    """Text is text, numbers and days are what they are."""
    note = "=1+1 #N/A  & <b> \U0001f600 שלום"
    open_book(rich).write([add("id-c", "0.07", note), add("id-d", "999999999.99", "@x")])
    with CalamineWorkbook.from_path(rich) as book:
        rows = book.get_sheet_by_name("Expenses").to_python()
    assert rows[4][1:6] == [0.07, "Coffee", note, "Phone", "id-c"]
    loaded = load_workbook(rich)
    cell = loaded["Expenses"]["D5"]
    assert (cell.value, cell.data_type, cell.quotePrefix) == (note, "s", True)
    assert loaded["Expenses"]["B6"].value == 999999999.99
    loaded.close()


def test_a_missing_workbook_is_not_written(tmp_path: Path) -> None:
    """Making it is for `prepare`; a workbook that is gone may come back."""
    with pytest.raises(WorkbookError, match="not there"):
        open_book(tmp_path / "budget.xlsx").write([add("a")])
    assert list(tmp_path.iterdir()) == []


def test_an_order_of_calculation_goes_when_a_formula_does(rich: Path) -> None:
    """Excel calls a file damaged whose order names a cell without a formula."""
    parts = members(rich)
    types, rels = "[Content_Types].xml", "xl/_rels/workbook.xml.rels"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.calcChain+xml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/calcChain"
    zip_parts({**parts, "xl/calcChain.xml": f'<calcChain xmlns="{MAIN}"><c r="G4" i="1"/></calcChain>'}, rich)
    change_part(rich, types, ("</Types>", f'<Override PartName="/xl/calcChain.xml" ContentType="{kind}"/></Types>'))
    change_part(
        rich,
        rels,
        ("</Relationships>", f'<Relationship Id="c" Type="{relation}" Target="calcChain.xml"/></Relationships>'),
    )
    book = open_book(rich)
    book.write([add("id-c")])
    assert "xl/calcChain.xml" in members(rich)
    book.write([remove("id-c")])
    book.write([remove("id-b")])
    after = members(rich)
    assert "xl/calcChain.xml" not in after
    assert b"calcChain" not in after[types] + after[rels]
    assert read_ids(book) == ["id-a"]
