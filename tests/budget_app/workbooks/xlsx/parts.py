"""Workbooks for tests: made by XlsxWriter with all that a person may have, or part by part; and what is in them."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]

from budget_app.entries import Entry
from budget_app.workbooks.workbook import HEADINGS, Change, Row
from budget_app.workbooks.xlsx import XlsxWorkbook

DAY = date(2026, 11, 23)
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
SHEET = "xl/worksheets/sheet1.xml"


def open_book(path: Path, sheet: str = "Expenses", table: str = "Expenses") -> XlsxWorkbook:
    return XlsxWorkbook(path, sheet, table, HEADINGS, [("Coffee", 50.0), ("Home", None)], "EUR")


def add(entry_id: str, amount: str = "4.50", note: str = "", category: str = "Coffee", day: date = DAY) -> Change:
    return Change(entry_id, Entry(Decimal(amount), category, day, note), "Phone", written=False)


def update(entry_id: str, amount: str = "4.50", note: str = "", category: str = "Coffee") -> Change:
    return Change(entry_id, Entry(Decimal(amount), category, DAY, note), "Phone", written=True)


def remove(entry_id: str) -> Change:
    return Change(entry_id, None, "Phone", written=True)


def read_ids(book: XlsxWorkbook) -> list[str]:
    return [row.entry_id for row in book.read().rows]


def read_row(book: XlsxWorkbook, entry_id: str) -> Row:
    return next(row for row in book.read().rows if row.entry_id == entry_id)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def part(path: Path, name: str = SHEET) -> str:
    return members(path)[name].decode()


def packed(path: Path) -> dict[str, bytes]:
    """Each member as it lies in the file: its local header and its compressed bytes."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        found = {}
        for info in file.infolist():
            lengths = struct.unpack_from("<2H", content, info.header_offset + 26)
            end = info.header_offset + 30 + sum(lengths) + info.compress_size
            found[info.filename] = content[info.header_offset : end]
        return found


def zip_parts(parts: Mapping[str, bytes | str], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def change_part(path: Path, name: str, *changes: tuple[str, str]) -> None:
    """As another program would have written it; each text has to be there."""
    parts = members(path)
    text = parts[name].decode()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    zip_parts({**parts, name: text}, path)


def minimal(
    rows: str, table: str = "", *, head: str = "", tail: str = "", prefix: str = "", **more: str
) -> dict[str, str]:
    """The least of a workbook: one sheet with these rows in XML, and a table over that area if it is given.

    `more` replaces parts of it: `strings`, `formats`, `settings` (in front of the sheets).
    """
    bound = f' xmlns{":" if prefix else ""}{prefix.rstrip(":")}="{MAIN}" xmlns:r="{RELATIONS}"'
    links = {"sheet1": "worksheet", "styles": "styles", "sharedStrings": "sharedStrings"}
    rels = "".join(
        f'<Relationship Id="{name}" Type="{RELATIONS}/{kind}"'
        f' Target="{"worksheets/" * (kind == "worksheet")}{name}.xml"/>'
        for name, kind in links.items()
    )
    table_parts = f'<{prefix}tableParts count="1"><{prefix}tablePart r:id="t"/></{prefix}tableParts>' if table else ""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="xml" ContentType="text/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{KIND}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="w"'
        f' Type="{RELATIONS}/officeDocument" Target="/xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">{more.get("settings", "")}'
        '<sheets><sheet name="Expenses" sheetId="1" r:id="sheet1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{rels}</Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}">'
        + more.get("formats", '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>')
        + "</styleSheet>",
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{more.get("strings", "")}</sst>',
        SHEET: f"<{prefix}worksheet{bound}>{head}<{prefix}sheetData>{rows}</{prefix}sheetData>{tail}{table_parts}"
        f"</{prefix}worksheet>",
    }
    if table:
        columns = "".join(f'<tableColumn id="{n}" name="{name}"/>' for n, name in enumerate(HEADINGS, start=1))
        parts["xl/tables/table1.xml"] = (
            f'<table xmlns="{MAIN}" id="1" name="Expenses" displayName="Expenses" ref="{table}">'
            f'<autoFilter ref="{table}"/><tableColumns count="6">{columns}</tableColumns></table>'
        )
        parts["xl/worksheets/_rels/sheet1.xml.rels"] = (
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="t" Type="{RELATIONS}/table"'
            ' Target="../tables/table1.xml"/></Relationships>'
        )
    return parts


def headings_row(prefix: str = "", *, number: int = 1) -> str:
    cells = "".join(
        f'<{prefix}c r="{letter}{number}" t="inlineStr">'
        f"<{prefix}is><{prefix}t>{name}</{prefix}t></{prefix}is></{prefix}c>"
        for letter, name in zip("ABCDEF", HEADINGS, strict=True)
    )
    return f'<{prefix}row r="{number}">{cells}</{prefix}row>'


def entry_row(number: int, entry_id: str, amount: str = "1.5") -> str:
    texts = "".join(
        f'<c r="{letter}{number}" t="inlineStr"><is><t>{text}</t></is></c>'
        for letter, text in zip("CDEF", ("Coffee", "note", "Phone", entry_id), strict=True)
    )
    return f'<row r="{number}"><c r="A{number}" s="1"><v>46349</v></c><c r="B{number}"><v>{amount}</v></c>{texts}</row>'


def picture() -> bytes:
    """A PNG of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
        + chunk(b"IEND", b"")
    )


def rich_book(path: Path, rows: Iterable[tuple[str, float]] = (("id-a", 12.5), ("id-b", 3.25))) -> Path:
    """What a person may have after years: a table with more columns, sums, charts, pictures, rules, names, notes."""
    book = xlsxwriter.Workbook(str(path))
    day, money = book.add_format({"num_format": "dd/mm/yyyy"}), book.add_format({"num_format": "#,##0.00 [$€-407]"})
    red = book.add_format({"bg_color": "red"})
    sheet, sums = book.add_worksheet("Expenses"), book.add_worksheet("Sums")
    columns: list[dict[str, Any]] = [{"header": heading} for heading in HEADINGS]
    columns += [
        {"header": "Twice", "formula": "=[@Amount]*2"},
        {"header": "Checked"},
    ]
    rows = list(rows)
    last = 2 + len(rows)
    sheet.write("A1", "What we spend")
    sheet.add_table(1, 0, last - 1, 7, {"name": "Expenses", "columns": columns})
    for number, (entry_id, amount) in enumerate(rows, start=2):
        sheet.write_datetime(number, 0, DAY, day)
        sheet.write_number(number, 1, amount, money)
        sheet.write_row(number, 2, ["Coffee", "before", "Phone", entry_id])
        sheet.write_formula(number, 6, "=Expenses[[#This Row],[Amount]]*2", money, 999)
    sheet.write("J2", "beside")
    sheet.write_comment("B3", "a note")
    sheet.conditional_format(f"B3:B{last}", {"type": "cell", "criteria": ">", "value": 100, "format": red})
    sheet.conditional_format(f"B3:B{last}", {"type": "data_bar", "data_bar_2010": True})
    sheet.conditional_format("L1:L9", {"type": "cell", "criteria": ">", "value": 100, "format": red})
    sheet.data_validation(f"C3:C{last}", {"validate": "list", "source": ["Coffee", "Home"]})
    sheet.insert_image("L2", "dot.png", {"image_data": io.BytesIO(picture())})
    sheet.protect("", {"insert_rows": True})
    sheet.set_row(last - 1, 30)
    sums.write_formula("A1", "=SUM(Expenses[Amount])", None, 999)
    sums.write_formula("A2", "=A1*2", None, 999)
    sums.write_formula("A3", '=TEXT(A1,"0.00")', None, "old")
    sums.write_formula("A4", "=SUM(Expenses[Twice])", None, 999)
    sums.write_formula("A5", "=Total", None, 999)
    sums.write_array_formula("C1:C2", "{=TRANSPOSE(A1:B1)}", None, 999)
    book.define_name("Total", "=SUM(Expenses[Amount])")
    chart = book.add_chart({"type": "column"})
    chart.add_series({"values": "=Sums!$A$1:$A$2", "name": "=Sums!$A$3"})
    sums.insert_chart("E2", chart)
    plan = book.add_worksheet("Plan")
    plan.write_row(0, 0, ["no", "formulas"])
    plan.insert_image("C3", "dot.png", {"image_data": io.BytesIO(picture())})
    book.close()
    return path
