"""Changes to the rows of the expenses on their sheet: cells are rewritten, emptied, taken out and added, no others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from budget_app.entries import FIRST_DAY
from budget_app.workbooks.workbook import Change, Row, WorkbookError
from budget_app.workbooks.xlsx.cells import LAST_ROW, Area, name_cell
from budget_app.workbooks.xlsx.contents import CellWriter, Value, holds, read_change
from budget_app.workbooks.xlsx.formulas import Formula, find_formula, is_shared_on
from budget_app.workbooks.xlsx.layout import Layout
from budget_app.workbooks.xlsx.markup import splice
from budget_app.workbooks.xlsx.serials import from_serial
from budget_app.workbooks.xlsx.sheet import Cell, RowDraft, Sheet, read_formula, read_plain_number
from budget_app.workbooks.xlsx.styles import Styles


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What the cells of new rows are like: formats by column, and formulas with the row that they stand in."""

    styles: dict[int, int]
    formulas: dict[int, tuple[int, Formula]]


class Surgery:
    """One operation on a sheet: updates first, then removals, then additions; afterwards `write` and the results.

    `bottom` is the last row of the table, or the last one used, `filtered` what the sheet's own filter covers if that
    has grown, `adopted` the rows that were typed below the table and are of it now, and `lost_formula` says that a cell
    has a formula no more.
    """

    def __init__(self, sheet: Sheet, layout: Layout, styles: Styles) -> None:
        self._sheet = sheet
        self._layout = layout
        self._writer = CellWriter(sheet, styles, layout.epoch)
        self._drafts: dict[int, RowDraft] = {}
        self._merged = tuple(sheet.merged_areas())
        self._last = self._find_last(layout.last or LAST_ROW)
        self._grown: tuple[int, int] | None = None
        self.bottom = layout.last or self._last
        self.filtered: Area | None = None
        self.adopted = range(0)
        self.lost_formula = False

    @property
    def changed(self) -> bool:
        """Whether anything is to be written at all."""
        return bool(self._drafts)

    def update(self, row: Row, change: Change) -> None:
        """Let a row hold what it shall; cells that do so already are not touched."""
        for value, column in zip(read_change(change), self._layout.columns, strict=True):
            if value.field not in change.kept and not holds(row, value):
                draft = self._open(row.number)
                self._require_free_cell(column, row.number)
                like = self._style_of(draft, column)
                self._put(draft, column, self._writer.write(value, column, row.number, like))

    def remove(self, numbers: Sequence[int]) -> None:
        """Empty these rows; the last ones go altogether, if they hold nothing else."""
        for number in sorted(numbers, reverse=True):
            if self._may_go(number):
                self._take_out(number)
            else:
                self._empty(number)
            if number == self._last:
                self._last = self._find_last(number)
                self.bottom = self.bottom if self._layout.table else self._last

    def append(self, changes: Sequence[Change]) -> None:
        """Add a row for each change below the last one used. Raises WorkbookError if something is in the way."""
        if not changes:
            return
        pattern, old = self._find_pattern(), max(self._last, self._layout.first)
        if self._layout.table is not None and self._last + len(changes) > self.bottom:
            self._adopt(pattern)
        first, last = self._last + 1, self._last + len(changes)
        self._require_room(max(first, self.bottom + 1 if self._layout.table else first), last)
        for number, change in enumerate(changes, start=first):
            self._add(number, change, pattern)
        self._grown = (old, last)
        self._last, self.bottom = last, max(self.bottom, last)

    def write(self) -> bytes:
        """The sheet's part."""
        edits = self._sheet.write_rows([self._drafts[number] for number in sorted(self._drafts)])
        if self._grown is not None:
            left, right = self._layout.span
            edits += self._sheet.stretch_dimension(Area(left, self._layout.first - 1, right, self._last))
            edits += self._sheet.stretch_coverings(self._grow)
            self.filtered = self._stretch_filter()
            edits += self._sheet.stretch_filter(self.filtered) if self.filtered else ()
        return splice(self._sheet.part.data, edits)

    def _open(self, number: int) -> RowDraft:
        if number not in self._drafts:
            self._drafts[number] = self._sheet.read_row(number)
        return self._drafts[number]

    def _look(self, number: int) -> RowDraft:
        return self._drafts[number] if number in self._drafts else self._sheet.read_row(number)

    def _formula_in(self, cell: Cell) -> bool:
        return read_formula(cell.content, self._sheet.part.prefix) is not None

    def _put(self, draft: RowDraft, column: int, cell: Cell | None) -> None:
        """Replace a cell of ours, or take it out."""
        old = draft.cells.pop(column, None)
        if old is not None and self._formula_in(old):
            self._require_alone(old, column, draft.number)
            self.lost_formula = True
        if cell is not None:
            draft.cells[column] = cell

    def _require_alone(self, cell: Cell, column: int, number: int) -> None:
        if is_shared_on(self._sheet, cell.content, column, number):
            raise WorkbookError(
                "the cell {cell} on the sheet of the expenses holds a formula that other cells share",
                "put its value in its place",
                cell=name_cell(column, number),
            )

    def _require_free_cell(self, column: int, number: int) -> None:
        place = Area(column, number, column, number)
        area = next((each for each in self._merged if each.meets(place)), None)
        if area is not None and (area.left, area.top) != (column, number):
            raise _in_the_way(area)

    def _style_of(self, draft: RowDraft, column: int) -> int:
        cell = draft.cells.get(column)
        return cell.style if cell else self._sheet.column_style(column)

    # The last row.

    def _find_last(self, start: int) -> int:
        """The last row from there upwards that is used; the row of headings if there is none."""
        used = self._layout.first - 1
        if self._layout.table is None:
            used = max([used, *(area.bottom for area in self._merged_here() if area.bottom <= start)])
        for number in self._numbers_from(start):
            if number <= used:
                break
            if self._is_used(self._look(number)):
                return number
        return used

    def _numbers_from(self, start: int) -> Iterator[int]:
        return (number for number in reversed(self._sheet.numbers) if number <= start)

    def _merged_here(self) -> Iterator[Area]:
        left, right = self._layout.span
        return (area for area in self._merged if area.left <= right and left <= area.right)

    def _is_used(self, row: RowDraft) -> bool:
        """Whether it holds anything of an expense: formulas of other columns are in rows that wait for one as well."""
        left, right = self._layout.span
        for column, cell in row.cells.items():
            if column in self._layout.columns and cell.content:
                return True
            in_table = self._layout.table is not None and left <= column <= right
            if in_table and cell.content and not self._formula_in(cell):
                return True
        return False

    # Removals.

    def _may_go(self, number: int) -> bool:
        """Whether a row can leave the end of the table or sheet, and takes nothing of the person's along."""
        if (
            number != self._last
            or number != self.bottom
            or any(area.top <= number <= area.bottom for area in self._merged)
        ):
            return False
        if self._layout.table is not None and number == self._layout.first:
            return False  # A table has at least one row.
        return all(
            self._is_ours(column, number, cell) for column, cell in self._look(number).cells.items() if cell.content
        )

    def _is_ours(self, column: int, number: int, cell: Cell) -> bool:
        if is_shared_on(self._sheet, cell.content, column, number):
            return False
        if column in self._layout.columns:
            return True
        left, right = self._layout.span
        if not self._formula_in(cell):
            return False
        return left <= column <= right if self._layout.table else self._continues(column, number)

    def _continues(self, column: int, number: int) -> bool:
        """Whether a formula is that of the row above, filled down."""
        here, above = find_formula(self._sheet, column, number), find_formula(self._sheet, column, number - 1)
        return here is not None and above is not None and above.move(column, number - 1, number) == here

    def _take_out(self, number: int) -> None:
        draft = self._open(number)
        left, right = self._layout.span
        for column in list(draft.cells):
            inside_table = self._layout.table is not None and left <= column <= right
            if inside_table or column in self._layout.columns or self._formula_in(draft.cells[column]):
                self._put(draft, column, None)
        if self._layout.table is not None:
            self.bottom = number - 1

    def _empty(self, number: int) -> None:
        draft = self._open(number)
        for column in self._layout.columns:
            if (cell := draft.cells.get(column)) is not None:
                self._put(draft, column, self._writer.clear(cell.style, column, number))

    # Additions.

    def _adopt(self, pattern: _Pattern) -> None:
        """Take the expenses that were typed right below the table into it, as Excel does while they are typed."""
        end = self.bottom + 1
        while self._is_typed(self._sheet.read_row(end)):
            end += 1
        self.adopted = range(self.bottom + 1, end)
        for number in self.adopted:
            draft = self._open(number)
            for column in pattern.formulas:
                if not (column in draft.cells and draft.cells[column].content):
                    self._fill(draft, column, pattern.styles.get(column, 0), pattern)
        if self.adopted:
            self._last = self.bottom = self.adopted[-1]

    def _is_typed(self, row: RowDraft) -> bool:
        """Whether a row can be nothing but an expense: a day and an amount, no formula, and no entry of the app's."""
        left, right = self._layout.span
        place = Area(left, row.number, right, row.number)
        if any(area.meets(place) for area in (*self._merged, *self._layout.others)):
            return False
        inside = {column: cell for column, cell in row.cells.items() if left <= column <= right and cell.content}
        day, amount, *_, entry_id = (inside.get(column) for column in self._layout.columns)
        if day is None or amount is None or entry_id is not None or any(map(self._formula_in, inside.values())):
            return False
        serial = read_plain_number(day, self._sheet.part.prefix)
        # A year on its own is a number too, and that of a day long ago.
        recent = serial is not None and (found := from_serial(serial, self._layout.epoch)) and found >= FIRST_DAY
        return bool(recent) and read_plain_number(amount, self._sheet.part.prefix) is not None

    def _require_room(self, first: int, last: int) -> None:
        """Raise WorkbookError unless the rows from `first` to `last`, which are no rows of expenses yet, are free."""
        if last > LAST_ROW:
            raise WorkbookError(
                "the sheet of the expenses is full",
                "move the rows of old years to another workbook, or start a new one",
            )
        left, right = self._layout.span
        target = Area(left, first, right, last)
        blocking = next((area for area in (*self._merged, *self._layout.others) if area.meets(target)), None)
        if first <= last and blocking is not None:
            raise _in_the_way(blocking)
        if self._layout.table is not None:
            for number in self._numbers_from(last):
                if number < first:
                    break
                self._require_empty(self._look(number))

    def _require_empty(self, row: RowDraft) -> None:
        left, right = self._layout.span
        for column, cell in row.cells.items():
            if left <= column <= right and cell.content:
                raise WorkbookError(
                    "something stands below the table of the expenses, in the cell {cell}, where new rows have to go",
                    "move it elsewhere or, if it is an expense, pull the lower right corner of the table over it",
                    cell=name_cell(column, row.number),
                )

    def _find_pattern(self) -> _Pattern:
        number = max(self._last, self._layout.first)
        row = self._look(number)
        left, right = self._layout.span
        columns = set(range(left, right + 1)) if self._layout.table else set(self._layout.columns)
        styles = {column: self._style_of(row, column) for column in columns}
        formulas = {}
        for column, cell in row.cells.items():
            if column not in self._layout.columns and (column in columns or not self._layout.table):
                formula = self._find_filled(column, number)
                if formula is not None:
                    formulas[column] = (number, formula)
                    styles[column] = cell.style
        return _Pattern(styles, self._declared(number) | formulas)

    def _find_filled(self, column: int, number: int) -> Formula | None:
        """The formula in a column that goes on in the next row: the same in two rows, or in a table's only one."""
        formula = find_formula(self._sheet, column, number)
        declared = self._layout.table and column in self._declared(number)
        if formula is None or declared:
            return formula
        if number == self._layout.first:
            return formula if self._layout.table else None
        return formula if self._continues(column, number) else None

    def _declared(self, number: int) -> dict[int, tuple[int, Formula]]:
        """The formulas of calculated columns that mean the same in every row."""
        table = self._layout.table
        if table is None:
            return {}
        found = {}
        for column, text in enumerate(table.formulas, start=table.area.left):
            formula = Formula(text) if text else None
            if formula and column not in self._layout.columns and formula.move(column, number, number + 1) == formula:
                found[column] = (number, formula)
        return found

    def _add(self, number: int, change: Change, pattern: _Pattern) -> None:
        draft = self._open(number)
        values = dict(zip(self._layout.columns, read_change(change), strict=True))
        for column, like in pattern.styles.items():
            old = draft.cells.get(column)
            style = old.style if old else like
            if column in values:
                draft.cells[column] = self._write(values[column], column, number, style)
            elif not (old and old.content):
                self._fill(draft, column, style, pattern)

    def _write(self, value: Value, column: int, number: int, style: int) -> Cell:
        return self._writer.write(value, column, number, style)

    def _fill(self, draft: RowDraft, column: int, style: int, pattern: _Pattern) -> None:
        """What a new row holds in a column that is not ours: its formula, or its format alone."""
        number = draft.number
        if column in pattern.formulas:
            origin, formula = pattern.formulas[column]
            inside, content = formula.move(column, origin, number).write(column, number, self._sheet.part.prefix)
            draft.cells[column] = self._writer.fill(style, column, number, inside, content)
        elif style:
            draft.cells[column] = self._writer.clear(style, column, number)

    def _grow(self, area: Area) -> Area:
        """What a conditional format covers: one that ended with the last row goes on to the new last one."""
        old, new = self._grown or (0, 0)
        left, right = self._layout.span
        more_than_one = area.bottom > area.top or old == self._layout.first
        here = area.left <= right and left <= area.right
        return area.with_bottom(new) if here and more_than_one and area.top <= old <= area.bottom < new else area

    def _stretch_filter(self) -> Area | None:
        area = self._sheet.filter_area()
        left, right = self._layout.span
        if area is None or self._layout.table is not None or not (area.left <= right and left <= area.right):
            return None
        return area.with_bottom(self._last) if self._layout.first - 1 <= area.bottom < self._last else None


def _in_the_way(area: Area) -> WorkbookError:
    return WorkbookError(
        "on the sheet of the expenses, the cells {area} are merged or another table, where new rows have to go",
        "take the cells apart, or move them elsewhere",
        area=area,
    )
