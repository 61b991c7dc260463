"""Any sequence of writes on any workbook agrees with a list of what should be there, and other programs can read it."""

import string
import warnings
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from python_calamine import CalamineWorkbook

from budget_app.entries import Entry
from budget_app.workbooks.workbook import Change

from .parts import entry_row, headings_row, minimal, open_book, rich_book, zip_parts

IDS = [f"id-{letter}" for letter in string.ascii_lowercase[:9]]

texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufffe\uffff"), max_size=12
)
entries = st.builds(
    Entry,
    st.integers(-99_999_999_999, 99_999_999_999).map(lambda cents: Decimal(cents) / 100),
    st.sampled_from(["Coffee", "=Home", "#N/A"]),
    st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    texts.map(str.strip) | st.sampled_from(["=1+1", "_x0041_", "@a", "007", "-1", "TRUE"]),
)
batches = st.lists(st.dictionaries(st.sampled_from(IDS), st.none() | entries, max_size=5), max_size=6)


class Shape(NamedTuple):
    """A workbook to begin with: of XlsxWriter or as little as there may be, with a table or without."""

    rich: bool
    table: bool
    typed: int
    spare: int
    prefix: str


shapes = st.builds(
    Shape, st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 2), st.sampled_from(["", "x:"])
)


def make(path: Path, shape: Shape) -> str:
    """Returns the name of the table. Rows typed by hand have no id, and something of the person's beside them."""
    if shape.rich:
        rich_book(path, [("", 1.5)] * max(shape.typed, 1))
        return "Expenses"
    rows = headings_row() + "".join(
        entry_row(number, "").replace("</row>", f'<c r="H{number}"><v>{number}</v></c></row>')
        for number in range(2, 2 + shape.typed)
    )
    for name in ("row", "c", "v", "is", "t"):
        for mark in (" ", ">", "/"):
            rows = rows.replace(f"<{name}{mark}", f"<{shape.prefix}{name}{mark}")
        rows = rows.replace(f"</{name}>", f"</{shape.prefix}{name}>")
    area = f"A1:F{max(1 + shape.typed, 2) + shape.spare}" if shape.table else ""
    zip_parts(minimal(rows, area, prefix=shape.prefix), path)
    return "Expenses" if shape.table else ""


class Model:
    """The rows from the top; those typed by hand have no id."""

    def __init__(self, typed: list[tuple[str, ...]]) -> None:
        self.rows: list[tuple[object, ...]] = list(typed)
        self.written: set[str] = set()

    def write(self, changes: dict[str, Entry | None]) -> set[str]:
        """Returns the ids that are missing."""
        here = {str(row[-1]): row for row in self.rows}
        for entry_id, entry in changes.items():
            if entry is None:
                self.rows = [row for row in self.rows if row[-1] != entry_id]
            elif entry_id in here:
                self.rows[self.rows.index(here[entry_id])] = show(entry_id, entry)
        fresh = [
            (key, entry) for key, entry in changes.items() if entry and key not in here and key not in self.written
        ]
        self.rows += [show(*each) for each in fresh]
        missing = {key for key, entry in changes.items() if entry and key not in here and key in self.written}
        self.written |= {key for key, entry in changes.items() if entry}
        return missing


def show(entry_id: str, entry: Entry) -> tuple[object, ...]:
    return (entry.date, entry.amount, entry.category, entry.note, "Phone", entry_id)


@pytest.mark.filterwarnings("ignore:.* extension is not supported")
@settings(max_examples=60)
@given(shapes, batches)
def test_writes_agree_with_a_list(shape: Shape, steps: list[dict[str, Entry | None]]) -> None:
    """In any order, in batches of any size, twice each; what was typed by hand stays where it was."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "budget.xlsx"
        book = open_book(path, table=make(path, shape))
        book.prepare()
        typed = book.read().rows
        model = Model([(row.date, row.amount, row.category, row.note, row.device, "") for row in typed])  # type: ignore[misc]
        for step in steps:
            changes = [Change(key, entry, "Phone", key in model.written) for key, entry in step.items()]
            assert book.write(changes).missing == model.write(step)
            again = [
                change for change in changes if change.entry_id not in {"", *model.written} or change.entry is None
            ]
            stamp = book.stamp()
            book.write(again)
            assert book.stamp() == stamp
            rows = book.read().rows
            assert [
                (row.date, row.amount, row.category, row.note, row.device, row.entry_id) for row in rows
            ] == model.rows
            assert [row for row in rows if not row.entry_id] == list(typed)
        read_by_others(path, model)


def read_by_others(path: Path, model: Model) -> None:
    with CalamineWorkbook.from_path(path) as book:
        cells = [row for row in book.get_sheet_by_name("Expenses").to_python() if row[5:6] and row[5] in IDS]
    assert [row[5] for row in cells] == [row[-1] for row in model.rows if row[-1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_workbook(path)
    values = [row for row in loaded["Expenses"].iter_rows(values_only=True) if len(row) > 5 and row[5] in IDS]
    assert [Decimal(str(row[1])) for row in values] == [row[1] for row in model.rows if row[-1]]
    loaded.close()
