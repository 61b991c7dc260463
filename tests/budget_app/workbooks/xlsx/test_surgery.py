"""Rows added, changed and taken out in sheets of every legal shape, and refused where something is in the way."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from budget_app.workbooks.workbook import WorkbookError

from .parts import (
    DAY,
    SHEET,
    add,
    change_part,
    entry_row,
    headings_row,
    minimal,
    open_book,
    part,
    read_ids,
    read_row,
    remove,
    update,
    zip_parts,
)

TWO = headings_row() + entry_row(2, "a") + entry_row(3, "b")


def make(path: Path, rows: str = TWO, table: str = "A1:F3", **more: str) -> Path:
    return zip_parts(minimal(rows, table, **more), path / "budget.xlsx")


def formula(column: str, number: int, text: str, more: str = "") -> str:
    return f'<c r="{column}{number}"><f{more}>{text}</f><v>7</v></c></row>'


def with_cells(*cells: tuple[int, str]) -> str:
    """The two rows, with more cells at the end of some."""
    rows = {1: headings_row(), 2: entry_row(2, "a"), 3: entry_row(3, "b")}
    for number, cell in cells:
        rows[number] = rows.get(number, f'<row r="{number}"></row>').replace("</row>", cell)
    return "".join(rows[number] for number in sorted(rows))


@pytest.mark.parametrize("prefix", ["", "x:"])
def test_names_with_a_prefix_are_names(tmp_path: Path, prefix: str) -> None:
    """A namespace may be bound to any prefix."""
    path = make(tmp_path, headings_row(prefix), "", prefix=prefix)
    book = open_book(path, table="")
    book.write([add("a"), add("b", "-2.00", "=x")])
    book.write([remove("a"), update("b", "3.00", "=y")])
    (row,) = book.read().rows
    assert (row.number, row.amount, row.note) == (3, Decimal(3), "=y")
    assert f'<{prefix}c r="F3" t="inlineStr"><{prefix}is><{prefix}t xml:space="preserve">b</{prefix}t>' in part(path)


def test_rows_and_cells_need_not_say_where_they_are(tmp_path: Path) -> None:
    """Without `r` each follows the one before it (18.3.1.4 and 18.3.1.73)."""
    path = make(tmp_path, TWO.replace(' r="', ' ht="'))
    text = part(path)
    for number in (1, 2, 3):
        for letter in "ABCDEF":
            text = text.replace(f' ht="{letter}{number}"', "")
        text = text.replace(f'<row ht="{number}">', "<row>")
    change_part(path, SHEET, (part(path), text))
    book = open_book(path)
    assert read_ids(book) == ["a", "b"]
    book.write([add("c"), update("a", "9.00")])
    book.write([remove("b")])
    assert [(row.number, row.entry_id) for row in book.read().rows] == [(2, "a"), (4, "c")]
    assert read_row(book, "a").amount == Decimal(9)


def test_an_empty_sheet_is_opened_for_its_first_row(tmp_path: Path) -> None:
    """`<sheetData/>` has no place between its tags."""
    path = make(tmp_path, "", "A1:F2")
    change_part(path, SHEET, ("<sheetData></sheetData>", "<sheetData/>"))
    book = open_book(path)
    book.write([add("a"), add("b")])
    assert [(row.number, row.entry_id) for row in book.read().rows] == [(2, "a"), (3, "b")]


def test_blank_rows_at_the_end_of_a_table_are_filled(tmp_path: Path) -> None:
    """People make tables with rows to spare."""
    path = make(tmp_path, TWO + '<row r="4"><c r="B4" s="1"/></row>', "A1:F6")
    book = open_book(path)
    book.write([add("c")])
    assert 'ref="A1:F6"' in part(path, "xl/tables/table1.xml")
    book.write([add("d"), add("e"), add("f")])
    assert [row.number for row in book.read().rows] == [2, 3, 4, 5, 6, 7]
    assert part(path, "xl/tables/table1.xml").count('ref="A1:F7"') == 2


def test_what_is_typed_below_a_table_is_not_written_over(tmp_path: Path) -> None:
    """It is refused, with the cell named; nothing is written."""
    path = make(tmp_path, TWO + '<row r="4"><c r="C4" t="inlineStr"><is><t>Total</t></is></c></row>')
    content = path.read_bytes()
    with pytest.raises(WorkbookError, match="cell C4"):
        open_book(path).write([add("c")])
    assert path.read_bytes() == content


@pytest.mark.parametrize("cell", ['<c r="B4"><v>1</v></c>', '<c r="D4"><f>1+1</f></c>', '<c r="F4" t="s"><v>0</v></c>'])
def test_anything_below_a_table_is_in_the_way(tmp_path: Path, cell: str) -> None:
    """Numbers, formulas without a result, and shared texts."""
    path = make(tmp_path, TWO + f'<row r="4">{cell}</row>', strings="<si><t>x</t></si>")
    with pytest.raises(WorkbookError, match="below the table"):
        open_book(path).write([add("c")])


def typed(number: int, day: str = "<v>46000</v>", amount: str = "<v>3.5</v>", more: str = "") -> str:
    """A row as LibreOffice writes what was typed below a table, which it leaves as long as it was."""
    return (
        f'<row r="{number}"><c r="A{number}" t="n">{day}</c><c r="B{number}" t="n">{amount}</c>'
        f'<c r="C{number}" t="inlineStr"><is><t>Home</t></is></c>{more}</row>'
    )


def test_expenses_typed_below_a_table_come_into_it(tmp_path: Path) -> None:
    """The next entry goes below them, and they are read from then on; the view hears that it has not seen them."""
    path = make(tmp_path, TWO + typed(4) + typed(5, amount="<v>-2</v>"))
    book = open_book(path)
    assert read_ids(book) == ["a", "b"]
    written = book.write([add("c")])
    assert (written.before, written.after) == (None, book.stamp())
    assert read_ids(book) == ["a", "b", "", "", "c"]
    assert [(row.number, row.amount) for row in book.read().rows[2:4]] == [(4, Decimal("3.5")), (5, Decimal(-2))]
    assert part(path, "xl/tables/table1.xml").count('ref="A1:F6"') == 2
    assert book.write([add("d")]).before is not None


def test_expenses_typed_below_a_table_get_its_formulas(tmp_path: Path) -> None:
    """A calculated column goes on in them, as Excel does it."""
    rows = [headings_row(), entry_row(2, "a"), entry_row(3, "b")]
    rows[0] = rows[0].replace("</row>", '<c r="G1" t="inlineStr"><is><t>Twice</t></is></c></row>')
    rows[1:] = [row.replace("</row>", formula("G", number, f"B{number}*2")) for number, row in enumerate(rows[1:], 2)]
    path = make(tmp_path, "".join(rows) + typed(4), "A1:G3")
    column = '<tableColumn id="7" name="Twice"/></tableColumns>'
    change_part(path, "xl/tables/table1.xml", ("</tableColumns>", column), ('count="6"', 'count="7"'))
    open_book(path).write([add("c")])
    assert ["<f>B4*2</f>" in part(path), "<f>B5*2</f>" in part(path)] == [True, True]


@pytest.mark.parametrize(
    "row",
    [
        typed(4, day="<v>2026</v>"),
        typed(4, day="<f>TODAY()</f><v>46000</v>"),
        typed(4, amount="<f>SUM(B2:B3)</f><v>9</v>"),
        typed(4, amount="<v>NaN</v>"),
        typed(4, day="").replace('<c r="A4" t="n"></c>', ""),
        typed(4, more='<c r="F4" t="inlineStr"><is><t>c</t></is></c>'),
        typed(4).replace('<c r="A4" t="n"><v>46000</v>', '<c r="A4" t="inlineStr"><is><t>Total</t></is>'),
        typed(4).replace("</row>", '<c r="D4"><f>1+1</f></c></row>'),
        typed(5),
    ],
)
def test_what_may_be_no_expense_stays_below_the_table(tmp_path: Path, row: str) -> None:
    """Totals, years, formulas, an entry of the app's, and what a free row sets apart."""
    path = make(tmp_path, TWO + row)
    content = path.read_bytes()
    with pytest.raises(WorkbookError, match="below the table"):
        open_book(path).write([add("c"), add("d")])
    assert path.read_bytes() == content


def test_what_stands_beside_a_table_stays(tmp_path: Path) -> None:
    """Rows are added around it, in the order of the columns."""
    path = make(tmp_path, TWO + '<row r="4" spans="8:8"><c r="H4"><v>77</v></c></row>')
    book = open_book(path)
    book.write([add("c"), add("d")])
    assert read_ids(book) == ["a", "b", "c", "d"]
    text = part(path)
    assert text.index('r="F4"') < text.index('<c r="H4"><v>77</v></c>') < text.index('r="A5"')
    assert "spans" not in text


@pytest.mark.parametrize("area", ["C4:D4", "F4:H9", "A5:A6"])
def test_merged_cells_below_a_table_are_in_the_way(tmp_path: Path, area: str) -> None:
    """Only the first of them shows anything."""
    path = make(tmp_path, tail=f'<mergeCells count="1"><mergeCell ref="{area}"/></mergeCells>')
    with pytest.raises(WorkbookError, match="merged"):
        open_book(path).write([add("c"), add("d")])


def test_without_a_table_rows_go_below_the_last_used_one(tmp_path: Path) -> None:
    """Of our columns; what is in others, and merged over ours, is passed by. The headings need not come first."""
    title = '<row r="1"><c r="A1" t="inlineStr"><is><t>Date</t></is></c></row>'
    rows = (
        title
        + headings_row(number=3)
        + '<row r="4"><c r="H4"><v>1</v></c></row><row r="9"><c r="H9"><v>2</v></c></row>'
    )
    path = make(tmp_path, rows, "", tail='<mergeCells count="1"><mergeCell ref="A5:C6"/></mergeCells>')
    book = open_book(path, table="")
    book.write([add("a"), add("b")])
    assert [(row.number, row.entry_id) for row in book.read().rows] == [(7, "a"), (8, "b")]
    book.write([add("c"), add("d")])
    book.write([remove("d")])
    assert [row.number for row in book.read().rows] == [7, 8, 9]
    assert '<c r="H9"><v>2</v></c>' in part(path)


def test_without_a_table_the_filter_of_the_sheet_grows(tmp_path: Path) -> None:
    """And the hidden name that LibreOffice knows it by."""
    path = make(tmp_path, TWO, "", tail='<autoFilter ref="A1:F3"/>')
    name = '<definedName name="_xlnm._FilterDatabase" localSheetId="0" hidden="1">Expenses!$A$1:$F$3</definedName>'
    change_part(path, "xl/workbook.xml", ("</sheets>", f"</sheets><definedNames>{name}</definedNames>"))
    open_book(path, table="").write([add("c"), add("d")])
    assert '<autoFilter ref="A1:F5"/>' in part(path)
    assert ">Expenses!$A$1:$F$5</definedName></definedNames><calcPr" in part(path, "xl/workbook.xml")


def test_without_a_table_formulas_go_on_that_did_so_before(tmp_path: Path) -> None:
    """A running sum is filled down; a formula that stands alone is not."""
    rows = with_cells(
        (2, formula("H", 2, "B2*2")), (3, formula("H", 3, "B3*2").replace("</row>", "") + formula("I", 3, "B2"))
    )
    path = make(tmp_path, rows, "")
    open_book(path, table="").write([add("c"), add("d")])
    text = part(path)
    assert '<c r="H5"><f>B5*2</f></c>' in text
    assert 'r="I4"' not in text


def test_shared_formulas_are_written_out(tmp_path: Path) -> None:
    """The group of a column that was filled down keeps its cells, and new ones have the formula of their row."""
    rows = with_cells(
        (2, formula("F", 2, "B2*$B$1+A1", ' t="shared" ref="F2:F3" si="4"')),
        (3, formula("F", 3, "", ' t="shared" si="4"')),
    )
    headings = minimal(rows.replace('r="F', 'r="G').replace('r="E', 'r="E'), "A1:G3")
    path = zip_parts(headings, tmp_path / "budget.xlsx")
    change_part(path, SHEET, ('<c r="G1"', '<c r="F1"'), ('ref="F2:F3"', 'ref="G2:G3"'))
    for number, entry_id in ((2, "a"), (3, "b")):
        change_part(
            path,
            SHEET,
            (f'<c r="G{number}" t="inlineStr"><is><t>{entry_id}', f'<c r="F{number}" t="inlineStr"><is><t>{entry_id}'),
        )
    change_part(path, "xl/tables/table1.xml", ("</tableColumns>", '<tableColumn id="7" name="Sum"/></tableColumns>'))
    open_book(path).write([add("c"), add("d")])
    assert '<c r="G4"><f>B4*$B$1+A3</f></c>' in part(path)
    assert '<c r="G5"><f>B5*$B$1+A4</f></c>' in part(path)


def test_a_formula_that_others_share_is_not_written_over(tmp_path: Path) -> None:
    """They would lose it."""
    rows = TWO.replace("<v>1.5</v>", '<f t="shared" ref="B2:B3" si="0">1+0.5</f><v>1.5</v>', 1)
    path = make(tmp_path, rows)
    with pytest.raises(WorkbookError, match="share"):
        open_book(path).write([update("a", "2.00")])


@pytest.mark.parametrize(("kind", "serial"), [("", 46349), ('<workbookPr date1904="1"/>', 44887)])
def test_days_are_counted_from_the_workbooks_own_first(tmp_path: Path, kind: str, serial: int) -> None:
    """Workbooks of old Macs start in 1904."""
    path = make(tmp_path, headings_row(), "A1:F2", settings=kind)
    book = open_book(path)
    book.write([add("a")])
    assert f"<v>{serial}</v>" in part(path)
    assert book.read().rows[0].date == DAY


def test_a_copied_row_is_told_when_everything_else_is_written(tmp_path: Path) -> None:
    """Nobody can tell which of the two is meant."""
    path = make(tmp_path, TWO + entry_row(4, "a"), "A1:F4")
    book = open_book(path)
    with pytest.raises(WorkbookError) as caught:
        book.write([update("a", "9.00"), add("c")])
    assert "rows 2, 4" in str(caught.value)
    assert read_ids(book) == ["a", "b", "a", "c"]


def test_a_written_entry_that_is_in_no_row_is_missing(tmp_path: Path) -> None:
    """The person took it out, and it stays out."""
    book = open_book(make(tmp_path))
    assert book.write([update("gone", "9.00"), add("c")]).missing == {"gone"}
    assert read_ids(book) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "<si><t>fresh</t></si>",
        '<si><r><t>fr</t></r><r><rPr><b/></rPr><t xml:space="preserve">esh</t></r></si>',
        "<si><t>fresh</t><rPh sb='0' eb='1'><t>phonetic</t></rPh></si>",
        "<si><t>&#102;resh</t></si>",
        "<si><t>_x0066_resh</t></si>",
        "<si><t>\n fresh </t></si>",
    ],
)
def test_an_id_is_found_however_it_is_written(tmp_path: Path, text: str) -> None:
    """Programs turn it into a shared text, and may write that in many ways; it is never added again."""
    shared = entry_row(2, "a").replace(' t="inlineStr"><is><t>a</t></is>', ' t="s"><v>0</v>')
    path = make(tmp_path, headings_row() + shared, "A1:F2", strings=text)
    book = open_book(path)
    stamp = book.stamp()
    book.write([add("fresh", "1.50", "note")])
    assert book.stamp() == stamp
    assert read_ids(book) == ["fresh"]


def test_a_full_sheet_is_refused(tmp_path: Path) -> None:
    """A sheet has 1,048,576 rows."""
    path = make(tmp_path, headings_row() + entry_row(1_048_576, "a"), "")
    with pytest.raises(WorkbookError, match="full"):
        open_book(path, table="").write([add("b")])


def test_rows_that_are_not_in_order_are_refused(tmp_path: Path) -> None:
    """Nobody could say where a row is."""
    path = make(tmp_path, headings_row() + entry_row(3, "a") + entry_row(2, "b"))
    with pytest.raises(WorkbookError, match="damaged"):
        open_book(path).prepare()


def test_cells_that_are_not_in_order_are_refused(tmp_path: Path) -> None:
    """A cell would be written twice, or over another."""
    for cells in ('<c r="B2"><v>1</v></c><c r="A2"><v>1</v></c>', '<c r="A3"><v>1</v></c>', '<c r="A2"/><c r="A2"/>'):
        path = make(tmp_path, f'{headings_row()}<row r="2">{cells}</row>', "A1:F2")
        with pytest.raises(WorkbookError, match="not in order"):
            open_book(path).write([add("a")])


def test_a_cell_that_is_hidden_in_a_merged_one_is_not_written(tmp_path: Path) -> None:
    """What is written there nobody would see."""
    path = make(tmp_path, TWO, "", tail='<mergeCells count="1"><mergeCell ref="A2:B2"/></mergeCells>')
    book = open_book(path, table="")
    book.write([update("a", "1.50", "seen")])
    with pytest.raises(WorkbookError, match="A2:B2"):
        book.write([update("a", "2.00", "seen")])


def test_a_last_row_with_merged_cells_stays(tmp_path: Path) -> None:
    """They would hang over."""
    path = make(tmp_path, TWO, tail='<mergeCells count="1"><mergeCell ref="H3:H4"/></mergeCells>')
    open_book(path).write([remove("b")])
    assert 'ref="A1:F3"' in part(path, "xl/tables/table1.xml")


def test_text_stays_text_and_cents_stay_cents(tmp_path: Path) -> None:
    """Whatever calamine and the app read is what was sent."""
    path = make(tmp_path, headings_row(), "A1:F2")
    notes = (
        "=1+1",
        "#N/A",
        "_x0041_",
        "_x005F_x0041_",
        "TRUE",
        "007",
        "{\\rtf1}",
        "\u05e9\u05dc\u05d5\u05dd",
        "a\u00a0 b",
        "<&>\"'",
        "]]>",
    )
    amounts = (
        "0.01",
        "-0.07",
        "999999999.99",
        "0.10",
        "100.00",
        "-999999999.99",
        "1234.56",
        "0.29",
        "1.15",
        "8.20",
        "3.00",
    )
    changes = [add(f"id-{n}", amounts[n], note, day=date(2000 + n, 2, 28)) for n, note in enumerate(notes)]
    book = open_book(path)
    book.write(changes)
    for row, change in zip(book.read().rows, changes, strict=True):
        assert change.entry is not None
        assert (row.date, row.amount, row.note) == (change.entry.date, change.entry.amount, change.entry.note)
    with CalamineWorkbook.from_path(path) as loaded:
        assert [row[3] for row in loaded.get_sheet_by_name("Expenses").to_python()[1:]] == list(notes)
    assert part(path).count("quotePrefix") == 0
    assert part(path, "xl/styles.xml").count('quotePrefix="1"') == 1
