"""One state of the file, in memory: where the expenses are in it, what they are, and the file with changes to them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from budget_app.workbooks.workbook import Change, Row, WorkbookError
from budget_app.workbooks.xlsx.book import (
    Book,
    calculate_on_load,
    calculates_itself,
    drop_calculation_chain,
    stretch_filter_name,
)
from budget_app.workbooks.xlsx.contents import holds, read_change
from budget_app.workbooks.xlsx.faults import damaged
from budget_app.workbooks.xlsx.grid import Grid, read_grid, read_rows
from budget_app.workbooks.xlsx.identity import may_hold_any
from budget_app.workbooks.xlsx.layout import Layout, lay_out_sheet, lay_out_table
from budget_app.workbooks.xlsx.markup import Part, read_part
from budget_app.workbooks.xlsx.package import Package
from budget_app.workbooks.xlsx.sheet import Sheet, forget_results, has_formulas, read_sheet
from budget_app.workbooks.xlsx.styles import Styles
from budget_app.workbooks.xlsx.surgery import Surgery
from budget_app.workbooks.xlsx.table import resize_table


class Names(NamedTuple):
    """What the settings call the sheet, the table (empty for none) and the columns, in the order of FIELDS."""

    sheet: str
    table: str
    columns: tuple[str, ...]


class Plan(NamedTuple):
    """What has to be done for the changes, by the rows that have their ids.

    `missing` are the ids of written entries that are in no row, `doubled` the rows of each entry that several have.
    """

    updates: list[tuple[Row, Change]]
    removals: list[int]
    additions: list[Change]
    missing: frozenset[str]
    doubled: dict[str, list[Row]]


class State:
    """Raises WorkbookError for a file that this app cannot keep whole, and for a sheet, table or column not there."""

    def __init__(self, content: bytes, names: Names) -> None:
        self._content = content
        self._names = names
        self._package = Package(content)
        self._book = Book(self._package)
        self._place = self._book.find_sheet(names.sheet)
        self._grid: Grid | None = None
        self.adopted = False
        """Whether `carry_out` has taken in rows that a person had typed below the table."""

    def require_usable(self) -> None:
        """See that rows could be read, added and changed."""
        self._begin(self._lay_out())

    def read(self) -> tuple[Row, ...]:
        """Every row."""
        layout = self._lay_out()
        return tuple(read_rows(self._read_grid(), layout))

    def plan(self, changes: Sequence[Change]) -> Plan:
        """What these changes take."""
        rows = self._find_rows({change.entry_id for change in changes})
        plan = Plan([], [], [], frozenset(_find_missing(changes, rows)), _find_doubled(changes, rows))
        for change in changes:
            found = rows.get(change.entry_id, ())
            if len(found) == 1 and change.entry is not None:
                plan.updates.append((found[0], change))
            elif len(found) == 1:
                plan.removals.append(found[0].number)
            elif not found and change.entry is not None and not change.written:
                plan.additions.append(change)
        return plan

    def carry_out(self, plan: Plan) -> bytes | None:
        """The file after that, None if it is as it should be already."""
        layout = self._lay_out()
        sheet, styles, surgery = self._begin(layout)
        for row, change in plan.updates:
            surgery.update(row, change)
        surgery.remove(plan.removals)
        surgery.append(plan.additions)
        self.adopted = bool(surgery.adopted)
        if not surgery.changed:
            return None
        parts = self._write_sheets(layout, surgery, sheet.part.prefix)
        if layout.table is not None:
            parts[layout.table.path] = resize_table(layout.table, surgery.bottom)
        if (formats := styles.write()) is not None:
            parts[self._find_styles()] = formats
        chained, without = drop_calculation_chain(self._book) if surgery.lost_formula else ({}, [])
        parts |= {**chained, self._book.path: self._write_book(surgery)}
        changed = {name: new for name, new in parts.items() if new != self._package.read(name)}
        return self._package.replace(changed, without)

    def _lay_out(self) -> Layout:
        if self._names.table:
            return lay_out_table(self._book, self._place, self._names.table, self._names.columns)
        return lay_out_sheet(self._book, self._place, self._read_grid(), self._names.columns)

    def _begin(self, layout: Layout) -> tuple[Sheet, Styles, Surgery]:
        sheet = read_sheet(self._package.read(self._place.part))
        styles = Styles(self._package.read(self._find_styles()))
        return sheet, styles, Surgery(sheet, layout, styles)

    def _find_rows(self, wanted: set[str]) -> dict[str, list[Row]]:
        """The rows that have each of these ids, from the top; a person may have copied one."""
        if self._grid is None and not may_hold_any(self._package, self._place.part, self._find_strings(), wanted):
            return {}
        layout = self._lay_out()
        rows: dict[str, list[Row]] = {}
        for row in read_rows(self._read_grid(), layout):
            if row.entry_id in wanted:
                rows.setdefault(row.entry_id, []).append(row)
        return rows

    def _write_sheets(self, layout: Layout, surgery: Surgery, prefix: bytes) -> dict[str, bytes]:
        """Our sheet with the changes, and all that have formulas without the results of these."""

        def is_ours(column: int, number: int) -> bool:
            # What a person calculates in our columns is read from its result.
            return column in layout.columns and number >= layout.first

        data = surgery.write()
        if not calculates_itself(self._book.part):
            return {self._place.part: data}
        parts = {self._place.part: forget_results(Part(data, prefix), is_ours) if has_formulas(data) else data}
        for place in self._book.sheets:
            if place.part != self._place.part and has_formulas(other := self._package.read(place.part)):
                parts[place.part] = forget_results(read_part(other, "worksheet"))
        return parts

    def _write_book(self, surgery: Surgery) -> bytes:
        part = self._book.part
        data = calculate_on_load(part) if calculates_itself(part) else part.data
        if surgery.filtered is None:
            return data
        return stretch_filter_name(Part(data, self._book.part.prefix), self._place, surgery.filtered)

    def _find_styles(self) -> str:
        name = self._book.find_part("styles")
        if name is None:
            raise damaged("it has no formats")
        return name

    def _find_strings(self) -> str | None:
        return self._book.find_part("sharedStrings")

    def _read_grid(self) -> Grid:
        if self._grid is None:
            names = (self._book.find_part("styles"), self._find_strings())
            others = [self._package.read(name) for name in names if name and self._package.find(name)]
            sheet = self._package.read(self._place.part)
            self._grid = read_grid(self._content, self._place.name, sheet, others)
        return self._grid


def _find_missing(changes: Sequence[Change], rows: dict[str, list[Row]]) -> Iterator[str]:
    """What is in no row and should be; what shall be gone misses nobody."""
    return (each.entry_id for each in changes if each.written and each.entry and each.entry_id not in rows)


def _find_doubled(changes: Sequence[Change], rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of each entry that is in several, unless all hold what they shall."""
    doubled = {}
    for change in changes:
        found = rows.get(change.entry_id, [])
        if len(found) > 1 and not (
            change.entry and all(holds(row, each) for row in found for each in read_change(change))
        ):
            doubled[change.entry_id] = found
    return doubled


def explain_doubled(rows: Sequence[Row]) -> WorkbookError:
    """These rows have one id, which happens when a person copies one."""
    return WorkbookError(
        "rows {numbers} of the sheet of the expenses have the same entry ID, so nobody can tell which of them is meant",
        "empty the entry ID of those that were copied by hand",
        numbers=", ".join(str(row.number) for row in rows),
    )
