"""The workbook as a CSV file: what is in it byte for byte, and what is refused."""

import csv
import errno
import io
import os
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_app.entries import Entry
from budget_app.workbooks import csv as module
from budget_app.workbooks.csv import CsvWorkbook
from budget_app.workbooks.workbook import HEADINGS, Change, Row, WorkbookBusy, WorkbookError

DAY = date(2026, 11, 23)
LUNCH = Entry(Decimal("12.50"), "Eating out", DAY, "Lunch")
HEAD = b"Date,Amount,Category,Note,Device,Entry ID\r\n"
LUNCH_LINE = b"2026-11-23,12.50,Eating out,Lunch,phone,a\r\n"
MARK = b"\xef\xbb\xbf"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.csv"


def open_book(path: Path, delimiter: str = ",", decimal: str = ".", columns: Sequence[str] = HEADINGS) -> CsvWorkbook:
    return CsvWorkbook(path, delimiter, decimal, columns)


def add(entry_id: str = "a", entry: Entry | None = LUNCH, *, written: bool = False) -> Change:
    return Change(entry_id, entry, "phone", written=written)


def note(text: str) -> Entry:
    return Entry(Decimal("12.50"), "Eating out", DAY, text)


def refuse(path: Path, content: bytes, words: str, **how: Any) -> None:
    """Every way to use this file is refused with these words, and it stays as it is."""
    path.write_bytes(content)
    book = open_book(path, **how)
    for action in (book.prepare, book.read, lambda: book.write([add()])):
        with pytest.raises(WorkbookError) as caught:
            action()
        assert words in str(caught.value)
    assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_new_file_has_a_mark_for_excel_and_the_line_ends_of_the_standard(path: Path) -> None:
    """And rows as RFC 4180 has them."""
    book = open_book(path)
    book.prepare()
    book.write([add()])
    assert path.read_bytes() == MARK + HEAD + LUNCH_LINE


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_the_mark_and_the_line_ends_are_kept_as_they_are(path: Path, mark: bytes, end: bytes) -> None:
    """A person's other programs may depend on them."""
    head, line = HEAD.replace(b"\r\n", end), LUNCH_LINE.replace(b"\r\n", end)
    path.write_bytes(mark + head)
    open_book(path).write([add()])
    assert path.read_bytes() == mark + head + line
    open_book(path).write([add("a", note("Tea"), written=True)])
    assert path.read_bytes() == mark + head + line.replace(b"Lunch", b"Tea")


def test_a_file_without_a_last_line_break_gets_one(path: Path) -> None:
    """The new row is one of its own."""
    path.write_bytes((HEAD + b"2026-11-01,1.00,Home,typed,,").rstrip(b"\n"))
    open_book(path).write([add()])
    assert path.read_bytes() == HEAD + b"2026-11-01,1.00,Home,typed,,\r\n" + LUNCH_LINE


def test_a_file_of_headings_alone_may_lack_the_line_break(path: Path) -> None:
    """It gets that of the standard."""
    path.write_bytes(HEAD.strip())
    open_book(path).write([add()])
    assert path.read_bytes() == HEAD + LUNCH_LINE


ODD = (
    b'Shop,"Date",Amount,Category,Note,Device,Entry ID,"Own, too"\n'
    b'"A ""B""\nC",2026-11-01,"1",Home,\'plain,phone,x,"unneeded"\n'
    b"short,2026-11-02\n"
    b"\n"
    b"long,2026-11-03,3.0,Home,n,d,y,z,and,more\n"
    b",,,,,,,\n"
)


def test_foreign_rows_and_columns_are_kept_byte_for_byte(path: Path) -> None:
    """Needless quotes, short and long rows, empty lines, line breaks in fields."""
    path.write_bytes(ODD)
    book = open_book(path)
    book.write([add()])
    added = b",2026-11-23,12.50,Eating out,Lunch,phone,a,\n"
    assert path.read_bytes() == ODD + added
    book.write([add("x", note("new"), written=True), add("y", None, written=True)])
    changed = b'"A ""B""\nC",2026-11-23,12.50,Eating out,new,phone,x,"unneeded"\n'
    lines = ODD.split(b"\n")
    # What a person wrote beside an entry stays when the entry goes.
    emptied = b"long,,,,,,,z,and,more"
    expected = lines[0] + b"\n" + changed + b"\n".join([lines[3], lines[4], emptied, lines[6], b""]) + added
    assert path.read_bytes() == expected


def test_rows_are_numbered_as_a_spreadsheet_shows_them(path: Path) -> None:
    """A record that goes over two lines is one row, an empty line is one too."""
    path.write_bytes(ODD)
    assert open_book(path).read().rows == (
        Row(2, date(2026, 11, 1), Decimal(1), "Home", "'plain", "phone", "x"),
        Row(3, date(2026, 11, 2), "", "", "", "", ""),
        Row(5, date(2026, 11, 3), Decimal(3), "Home", "n", "d", "y"),
    )


def test_a_row_that_says_the_same_in_other_words_is_left_alone(path: Path) -> None:
    """12.5 is 12.50, and quotes around a text are no part of it."""
    content = HEAD + b'2026-11-23, 12.5 ,"Eating out","Lunch",phone,"a"\r\n'
    path.write_bytes(content)
    open_book(path).write([add()])
    assert path.read_bytes() == content


def test_a_short_row_is_filled_up_only_when_it_changes(path: Path) -> None:
    """Its id is what it has to have."""
    path.write_bytes(b"Entry ID,Date,Amount,Category,Note,Device,Own\na\nb\n")
    open_book(path).write([add(written=True)])
    assert path.read_bytes().splitlines()[1:] == [b"a,2026-11-23,12.50,Eating out,Lunch,phone", b"b"]


@pytest.mark.parametrize(
    ("delimiter", "decimal", "line"),
    [
        (";", ",", b'2026-11-23;-4,50;Home;"a; b, c";phone;a\r\n'),
        (",", ",", b'2026-11-23,"-4,50",Home,"a; b, c",phone,a\r\n'),
        ("\t", ".", b"2026-11-23\t-4.50\tHome\ta; b, c\tphone\ta\r\n"),
        (",", ".", b'2026-11-23,-4.50,Home,"a; b, c",phone,a\r\n'),
    ],
)
def test_delimiter_and_decimal_mark_are_those_of_the_settings(
    path: Path, delimiter: str, decimal: str, line: bytes
) -> None:
    """Amounts with a comma are quoted where the comma is the delimiter."""
    refund = Entry(Decimal("-4.50"), "Home", DAY, "a; b, c")
    book = open_book(path, delimiter, decimal)
    book.prepare()
    book.write([add("a", refund)])
    assert path.read_bytes().split(b"\r\n", 1)[1] == line
    assert book.read().rows == (Row(2, DAY, Decimal("-4.50"), "Home", "a; b, c", "phone", "a"),)


@pytest.mark.parametrize(
    ("decimal", "typed", "amount"),
    [
        (".", "4.5", Decimal("4.5")),
        (".", "-4", Decimal(-4)),
        (".", ".5", Decimal("0.5")),
        (".", "4.", Decimal(4)),
        (".", "0.123456789", Decimal("0.123456789")),
        (",", '"4,5"', Decimal("4.5")),
        (".", '"4,5"', "4,5"),
        (",", "4.5", "4.5"),
        (".", '"1,234.50"', "1,234.50"),
        (".", "1e5", "1e5"),
        (".", "€4.50", "€4.50"),
        (".", "4.50 EUR", "4.50 EUR"),
        (".", "--4", "--4"),
        (".", "Infinity", "Infinity"),
        (".", "\u0664", "\u0664"),
        (".", "9" * 200, "9" * 200),
        (".", "", ""),
    ],
)
def test_amounts_with_the_other_mark_with_grouping_or_with_more_are_text(
    path: Path, decimal: str, typed: str, amount: Decimal | str
) -> None:
    """Closed: 1,234 is two numbers, so none of them is guessed."""
    path.write_bytes(HEAD + f"2026-11-23,{typed},Home,n,,\r\n".encode())
    assert open_book(path, decimal=decimal).read().rows[0].amount == amount


@pytest.mark.parametrize("typed", ["23/11/2026", "2026-11-31", "20261123", "2026-W48-1", "2026-11-23T10:00", "46349"])
def test_dates_in_another_form_are_text(path: Path, typed: str) -> None:
    """23/11 is a day here and none there."""
    path.write_bytes(HEAD + f"{typed},1.00,Home,n,,\r\n".encode())
    assert open_book(path).read().rows[0].date == typed


STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


@pytest.mark.parametrize("start", STARTS)
def test_no_field_of_ours_starts_as_a_formula_does(path: Path, start: str) -> None:
    """Whichever field it is, and whoever reads the file; a refund is a number and stays one."""
    text = f"{start}1+1"
    book = open_book(path)
    book.prepare()
    change = Change("-id", Entry(Decimal("-1.00"), text, DAY, text), text, written=False)
    book.write([change])
    read = next(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    assert [read[name] for name in HEADINGS] == ["2026-11-23", "-1.00", f"'{text}", f"'{text}", f"'{text}", "'-id"]
    assert book.read().rows == (Row(2, DAY, Decimal("-1.00"), text, text, text, "-id"),)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example("'=")
@example("''=1")
@example("'")
@example("'plain'")
@example('"\r\n",')
def test_every_text_comes_back_whatever_it_starts_with(text: str) -> None:
    """Also one that starts with the very apostrophe that keeps others from being formulas."""
    dialect = module._Dialect(",", ".")
    raw = dialect.write_text(text)
    assert dialect.read_text(raw) == text
    assert dialect.split(f"a,{raw},b") == ["a", raw, "b"]
    assert next(csv.reader(io.StringIO(f"a,{raw},b", newline="")))[1] in (text, f"'{text}")


CELLS = st.text(st.sampled_from(["a", "é", " ", ",", ";", '"', "'", "=", "\n", "\U0001f600"]), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=6, max_size=9), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_rows_are_found_where_another_reader_finds_them(rows: list[list[str]], end: str, quote_all: bool) -> None:
    """Python's own module writes the file and reads what became of it."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerows(
        [HEADINGS, *rows]
    )
    sheet = module._Sheet(Path("x.csv"), text.getvalue(), module._Dialect(",", "."), HEADINGS)
    found = list(sheet._records())
    assert [[module._unquote(field) for field in record.fields] for record in found] == [list(HEADINGS), *rows]
    assert "".join(text.getvalue()[record.start : record.end] for record in found) == text.getvalue()


def test_headings_are_found_whatever_their_case_and_the_space_around(path: Path) -> None:
    """As a spreadsheet's own search finds them; the names are those of the settings."""
    path.write_bytes("entry id ; DATE;ámount;Sort;Note;Phone\n".encode())
    book = open_book(path, ";", columns=("Date", "Ámount", "Sort", "Note", "Phone", "Entry ID"))
    book.prepare()
    book.write([add()])
    assert path.read_text(encoding="utf-8").splitlines()[1] == "a;2026-11-23;12.50;Eating out;Lunch;phone"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no heading “Date”"),
        (b"\n" + HEAD, "has no heading “Date”"),
        (HEAD.replace(b"Note", b"Notes"), "has no heading “Note”"),
        (HEAD.replace(b"Note", b"Note,note"), "has the heading “Note” twice"),
        (HEAD.replace(b",", b";"), 'write delimiter = ";" under [workbook] in budget.toml'),
        (HEAD.replace(b",", b"\t"), 'write delimiter = "\\t" under [workbook] in budget.toml'),
        (HEAD + b'2026-11-23,1,Home,5" pipe,,\n', "quoting of"),
        (HEAD + b'2026-11-23,1,Home,"open,,\n', "is damaged in line 2"),
        (HEAD + b'1,2,3,4,5,6\n1,2,3,"a"b,,\n', "is damaged in line 3"),
        (HEAD + b'1,2,3,"a\r\nb",5,6\n1,2,3, "a",,\n', "is damaged in line 4"),
        (HEAD + "café".encode("cp1252"), "is not text in UTF-8 (line 2)"),
        (HEAD + b"1,2\n3,\0", "is not text in UTF-8 (line 3)"),
        (HEAD.decode().encode("utf-16"), "is not text in UTF-8 (line 1)"),
        (b"PK\x03\x04\xff", "save it as CSV in UTF-8"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_with_a_cure(path: Path, content: bytes, words: str) -> None:
    """Nothing is written beside it either."""
    refuse(path, content, words)


def test_a_decoding_that_fails_does_not_show_the_content(path: Path) -> None:
    """What a person wrote is nothing for a log."""
    path.write_bytes(HEAD + "secret café".encode("cp1252"))
    with pytest.raises(WorkbookError) as caught:
        open_book(path).read()
    assert "secret" not in repr(caught.value)


def test_rows_with_the_same_id_are_named_and_the_others_written(path: Path) -> None:
    """One row that a person copied does not keep a new expense from the workbook."""
    path.write_bytes(HEAD + LUNCH_LINE * 2)
    book = open_book(path)
    with pytest.raises(WorkbookError, match="rows 2, 3 of"):
        book.write([add("a", note("Tea"), written=True), add("b")])
    assert path.read_bytes() == HEAD + LUNCH_LINE * 2 + LUNCH_LINE.replace(b",a\r", b",b\r")
    with pytest.raises(WorkbookError, match="rows 2, 3 of"):
        book.write([add("a", None, written=True)])
    book.write([add()])


def test_a_file_that_is_gone_is_not_made_again_by_a_write(path: Path) -> None:
    """A person has moved it, or its disk is not there; the entries wait."""
    book = open_book(path)
    book.prepare()
    path.unlink()
    for action in (book.read, lambda: book.write([add()])):
        with pytest.raises(WorkbookError, match="is not there"):
            action()
    assert book.stamp() is None
    assert not path.exists()


def test_while_the_file_is_open_elsewhere_nothing_is_written(path: Path) -> None:
    """It is read all the same, and a write that has nothing to do is done."""
    book = open_book(path)
    book.prepare()
    book.write([add()])
    content = path.read_bytes()
    path.with_name(".~lock.budget.csv#").write_bytes(b",ana,laptop,x,x;")
    with pytest.raises(WorkbookBusy, match="by ana"):
        book.write([add("b")])
    book.write([add()])
    assert path.read_bytes() == content
    assert len(book.read().rows) == 1


def test_the_first_write_of_a_day_makes_a_backup(path: Path) -> None:
    """Of the file as it was before; a write that has nothing to do makes none."""
    path.write_bytes(HEAD + LUNCH_LINE)
    book = open_book(path)
    book.write([add()])
    assert not (path.parent / "backups").exists()
    book.write([add("b")])
    book.write([add("c")])
    (backup,) = (path.parent / "backups").iterdir()
    assert backup.read_bytes() == HEAD + LUNCH_LINE


def test_without_a_backup_nothing_is_written(path: Path) -> None:
    """The backup is what a person goes back to."""
    path.write_bytes(HEAD)
    (path.parent / "backups").touch()
    with pytest.raises(WorkbookError):
        open_book(path).write([add()])
    assert path.read_bytes() == HEAD


def test_a_write_that_fails_is_not_taken_for_done(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the workbook knows of the file is what is in the file."""
    book = open_book(path)
    book.prepare()
    book.write([add()])
    content = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(WorkbookError, match="no room left"):
        book.write([add("b"), add("a", note("Tea"), written=True)])
    monkeypatch.undo()
    assert path.read_bytes() == content
    book.write([add("b"), add("a", note("Tea"), written=True)])
    assert [row.note for row in book.read().rows] == ["Tea", "Lunch"]


def test_what_another_program_changed_with_size_and_time_kept_is_seen(path: Path) -> None:
    """What is known of the file is known by its text, and not by its stamp."""
    book = open_book(path)
    book.prepare()
    book.write([add("a"), add("b")])
    status = path.stat()
    content = path.read_bytes().replace(b",a\r\n", b",b\r\n", 1)[: -len(b"b\r\n")] + b"a\r\n"
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    book.write([add("a", note("Tea"), written=True)])
    assert [(row.entry_id, row.note) for row in book.read().rows] == [("b", "Lunch"), ("a", "Tea")]


def test_a_link_to_the_file_is_kept(path: Path, tmp_path: Path) -> None:
    """A folder that is synced somewhere else."""
    link = tmp_path / "elsewhere" / "link.csv"
    link.parent.mkdir()
    link.symlink_to(path)
    book = open_book(link)
    book.prepare()
    book.write([add()])
    assert link.is_symlink()
    assert path.read_bytes() == MARK + HEAD + LUNCH_LINE


def test_a_row_is_added_without_a_look_at_the_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of years is read once, and not for each expense again."""
    book = open_book(path)
    book.prepare()
    book.write([add(f"id-{number}") for number in range(100)])
    looks: list[int] = []
    real: Callable[..., list[str]] = module._Dialect.split

    def split(self: Any, record: str) -> list[str]:
        looks.append(len(record))
        return real(self, record)

    monkeypatch.setattr(module._Dialect, "split", split)
    book.write([add("new"), add("id-50", note("Tea"), written=True)])
    assert len(looks) < 110 + 100
    looks.clear()
    book.write([add("one")])
    book.write([add("two")])
    assert len(looks) < 10
    assert [row.entry_id for row in book.read().rows][-3:] == ["new", "one", "two"]
