"""The workbook in the hands of LibreOffice: what it saved is written to, and what was written it adds up anew."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from budget_app.workbooks.workbook import HEADINGS
from budget_app.workbooks.xlsx import XlsxWorkbook
from servers import find_program

from .parts import add, change_part, members, open_book, remove, rich_book, update

# Field separator, quote and UTF-8, from line 1, all columns; numbers as they are, and every sheet in a file.
CSV = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"

# What may differ after a write: the sheets with formulas, the table, the formats and the request to calculate.
CHANGED = {f"xl/worksheets/sheet{number}.xml" for number in (1, 2)}
CHANGED |= {"xl/tables/table1.xml", "xl/styles.xml", "xl/workbook.xml"}


def convert(folder: Path, files: Sequence[Path], how: str) -> Path:
    soffice = find_program("soffice", "libreoffice-calc-nogui")
    out = folder / "converted"
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [soffice, "--headless", profile, "--convert-to", how, "--outdir", str(out), *map(str, files)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return out


def read_lines(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()


def set_year(path: Path) -> None:
    """Overwrite the year of the sums, as a person does who looks at another one."""
    change_part(path, "xl/worksheets/sheet2.xml", ("<f>YEAR(TODAY())</f><v />", "<v>2026</v>"))


def save_in_libreoffice(folder: Path) -> None:
    """A person's workbook and a new one, opened and saved there."""
    fresh = folder / "fresh.xlsx"
    open_book(fresh).prepare()
    set_year(fresh)
    open_book(fresh).write([add("id-a", "12.50", "before"), add("id-b", "3.25", "before")])
    saved = convert(folder, [rich_book(folder / "rich.xlsx"), fresh], "xlsx:Calc MS Excel 2007 XML")
    for name in ("rich", "fresh"):
        (saved / f"{name}.xlsx").rename(folder / f"saved-{name}.xlsx")


def work(path: Path) -> None:
    """Add two, change one, take one out; what is left is 20.00 + 1.00 + 100.25 = 121.25."""
    book = open_book(path)
    book.prepare()
    before = members(path)
    book.write([add("id-c", "1.00", "=1+1", "Home"), add("id-d", "100.25", "  _x0041_ \U0001f600")])
    book.write([update("id-a", "20.00", "after"), remove("id-b")])
    assert [row.entry_id for row in book.read().rows] == ["id-a", "id-c", "id-d"]
    after = members(path)
    assert list(after) == list(before)
    assert {name for name in after if after[name] != before[name]} <= CHANGED


def make_new(path: Path, table: str, headings: Sequence[str], currency: str) -> None:
    """A new workbook with names that need care in formulas."""
    book = XlsxWorkbook(path, "The 'cost' sheet", table, headings, [("Coffee", 50.0), ("+x", None)], currency)
    book.prepare()
    set_year(path)
    book.write([add("id-a", "4.50"), add("id-b", "-1.25", category="Else"), add("id-c", "1.00", category="+X")])


def read_summary(out: Path, name: str) -> dict[str, list[str]]:
    """November and the whole year, by category."""
    rows = [line.split(",") for line in read_lines(out, f"{name}-Summary")]
    return {row[0]: [row[12], row[14]] for row in rows[3:]}


def test_libreoffice_shows_fresh_totals_in_every_workbook(tmp_path: Path) -> None:
    """Its own files, those of XlsxWriter that claim to be from Excel with old results in them, and new ones."""
    save_in_libreoffice(tmp_path)
    rich_book(tmp_path / "rich.xlsx")
    names = ("rich", "fresh", "saved-rich", "saved-fresh")
    for name in names:
        work(tmp_path / f"{name}.xlsx")
    make_new(tmp_path / "odd.xlsx", "Costs", ("Date #", "[Amount]", "Category", "Note's", "Device", "Entry ID"), "USD")
    make_new(tmp_path / "bare.xlsx", "", HEADINGS, "JPY")
    out = convert(tmp_path, [tmp_path / f"{name}.xlsx" for name in (*names, "odd", "bare")], CSV)
    for name in ("rich", "saved-rich"):
        sums = [line.split(",")[0] for line in read_lines(out, f"{name}-Sums")]
        assert sums[:5] == ["121.25", "242.5", "121.25", "242.5", "121.25"], name
        assert [line.split(",")[6] for line in read_lines(out, f"{name}-Expenses")[2:6]] == ["40", "0", "2", "200.5"]
    for name in ("fresh", "saved-fresh"):
        assert read_summary(out, name) == {
            "Coffee": ["120.25", "120.25"],
            "Home": ["1", "1"],
            "Everything else": ["0", "0"],
            "Total": ["121.25", "121.25"],
        }, name
        assert read_lines(out, f"{name}-Expenses")[3] == "2026-11-23,1,Home,=1+1,Phone,id-c"
    for name in ("odd", "bare"):
        assert read_summary(out, name) == {
            "Coffee": ["4.5", "4.5"],
            "+x": ["1", "1"],
            "Everything else": ["-1.25", "-1.25"],
            "Total": ["4.25", "4.25"],
        }, name
