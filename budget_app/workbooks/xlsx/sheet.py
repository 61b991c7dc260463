"""The XML of a sheet (ECMA-376 part 1, 18.3.1): where its rows and cells are, and edits to them, in bytes."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite

from budget_app.workbooks.xlsx.cells import LAST_ROW, Area, name_cell, parse_area, parse_cell
from budget_app.workbooks.xlsx.faults import damaged
from budget_app.workbooks.xlsx.markup import (
    INSIDE,
    Edit,
    Part,
    close_element,
    escape,
    find_element,
    find_elements,
    read_attributes,
    read_number,
    read_part,
    read_text,
    set_attributes,
    tag_pattern,
)

_NUMBER = re.compile(rb"""\sr\s*=\s*["']([0-9]+)["']""")
_STYLE = re.compile(rb"""\ss\s*=\s*["']([0-9]+)["']""")
# What grows along with the rows it covers, by the attribute `sqref`.
_COVERING = (b"conditionalFormatting", b"dataValidation", b"ignoredError")
_EXTENSION_AREAS = re.compile(rb"<((?:[^\s<>/:]+:)?sqref)>([^<]*)</")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it is written: all of it, what is inside its start tag, and its content."""

    raw: bytes
    inside: bytes
    content: bytes

    @property
    def style(self) -> int:
        """The index of its format."""
        match = _STYLE.search(self.inside)
        return read_number(match[1]) if match else 0


@dataclass(slots=True)
class RowDraft:
    """A row to be written: its cells by column, and what else its XML has, `inside` its start tag and behind the cells.

    `span` is where the row is in the sheet; empty, at the place for it, for a row that is not there yet.
    """

    number: int
    span: tuple[int, int]
    inside: bytes
    cells: dict[int, Cell]
    rest: bytes = b""


@dataclass(slots=True)
class Sheet:
    """Raises WorkbookError for rows and cells that are not in order."""

    part: Part
    numbers: list[int] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _begin: int = 0
    _end: int = 0
    _closed: bool = False
    _implied: bool = False

    def __post_init__(self) -> None:
        element = find_element(self.part.data, self.part.prefix + b"sheetData")
        if element is None:
            raise damaged("a sheet has no place for rows")
        self._begin, self._end = element.content_start, element.content_end
        self._closed = element.end == element.content_start
        self._find_rows()

    def _find_rows(self) -> None:
        last = 0
        for match in _row_pattern(self.part.prefix).finditer(self.part.data, self._begin, self._end):
            given = match[1] or (found[1] if (found := _NUMBER.search(match[0])) else None)
            number = read_number(given) if given else last + 1
            if not last < number <= LAST_ROW:
                raise damaged("the rows of a sheet are not in order")
            self._implied = self._implied or given is None
            last = number
            self.numbers.append(number)
            self._starts.append(match.start())

    def read_row(self, number: int) -> RowDraft:
        """The row with that number; one without cells, at its place, if the sheet has none."""
        index = bisect_left(self.numbers, number)
        if index == len(self.numbers) or self.numbers[index] != number:
            place = self._starts[index] if index < len(self._starts) else self._end
            return RowDraft(number, (place, place), b' r="%d"' % number, {})
        name = self.part.prefix + b"row"
        match = tag_pattern(name).match(self.part.data, self._starts[index])
        if match is None:
            raise damaged("a row of a sheet cannot be read")
        row = close_element(self.part.data, name, match)
        cells, end = self._read_cells(number, row.content_start, row.content_end)
        inside = set_attributes(row.inside, {b"r": str(number)})
        return RowDraft(number, (row.start, row.end), inside, cells, self.part.data[end : row.content_end])

    def _read_cells(self, number: int, start: int, end: int) -> tuple[dict[int, Cell], int]:
        cells: dict[int, Cell] = {}
        column = 0
        for each in find_elements(self.part.data, self.part.prefix + b"c", start, end):
            address = read_attributes(each.inside).get(b"r")
            place = parse_cell(address) if address is not None else (column + 1, number)
            if place is None or place[0] <= column or place[1] != number:
                raise damaged(f"the cells of row {number} are not in order")
            column = place[0]
            raw = self.part.data[each.start : each.end]
            content = self.part.data[each.content_start : each.content_end]
            cells[column] = Cell(raw, each.inside, content)
            if address is None:
                cells[column] = self.make_cell(column, number, each.inside, content)
            start = each.end
        return cells, start

    def find_end(self) -> tuple[int, int]:
        """The last column and the last row that hold anything, by a look at every cell."""
        last_column = last_row = 1
        for number in self.numbers:
            filled = [column for column, cell in self.read_row(number).cells.items() if cell.content]
            if filled:
                last_column, last_row = max(last_column, *filled), number
        return last_column, last_row

    def make_cell(self, column: int, number: int, inside: bytes, content: bytes) -> Cell:
        """A cell at that place."""
        name = self.part.prefix + b"c"
        inside = b' r="%s"' % name_cell(column, number).encode() + set_attributes(inside, {b"r": None})
        raw = b"<" + name + inside + (b">" + content + b"</" + name + b">" if content else b"/>")
        return Cell(raw, inside, content)

    def write_row(self, row: RowDraft) -> Edit:
        """The edit that puts a row into its place; without cells and attributes of its own it is taken out."""
        bare = set(read_attributes(row.inside)) <= {b"r", b"spans"}
        if not row.cells and not row.rest.strip() and bare and not self._implied:
            return Edit(*row.span, b"")
        name = self.part.prefix + b"row"
        # How many columns a row spans is a hint (18.3.1.73), and right no longer.
        inside = set_attributes(row.inside, {b"spans": None})
        content = b"".join(row.cells[column].raw for column in sorted(row.cells)) + row.rest
        return Edit(*row.span, b"<" + name + inside + b">" + content + b"</" + name + b">")

    def write_rows(self, rows: list[RowDraft]) -> list[Edit]:
        """The edits for several rows in order, those that come to the same place as one."""
        edits: list[Edit] = []
        for edit in map(self.write_row, rows):
            if edits and edit.start == edit.end == edits[-1].start == edits[-1].end:
                edits[-1] = edits[-1]._replace(content=edits[-1].content + edit.content)
            else:
                edits.append(edit)
        return self._open(edits) if self._closed else edits

    def _open(self, edits: list[Edit]) -> list[Edit]:
        """`<sheetData/>` has to be opened before anything can be put into it."""
        name = self.part.prefix + b"sheetData"
        start = self.part.data.rindex(b"<" + name, 0, self._begin)
        content = b"".join(edit.content for edit in edits)
        return [Edit(start, self._begin, b"<" + name + b">" + content + b"</" + name + b">")]

    def merged_areas(self) -> Iterator[Area]:
        """What is merged into one cell each."""
        for each in find_elements(self.part.data, self.part.prefix + b"mergeCell", self._end):
            if area := parse_area(read_attributes(each.inside).get(b"ref", "")):
                yield area

    def filter_area(self) -> Area | None:
        """What the sheet's own filter covers; the filters of tables are in the tables."""
        element = find_element(self.part.data, self.part.prefix + b"autoFilter", self._end)
        return None if element is None else parse_area(read_attributes(element.inside).get(b"ref", ""))

    def column_style(self, column: int) -> int:
        """The format that a whole column has."""
        for each in find_elements(self.part.data, self.part.prefix + b"col", 0, self._begin):
            attributes = read_attributes(each.inside)
            if read_number(attributes.get(b"min", "0")) <= column <= read_number(attributes.get(b"max", "0")):
                return read_number(attributes.get(b"style", "0"))
        return 0

    def _stretch(self, name: bytes, change: Callable[[Area], Area], start: int, end: int) -> Iterator[Edit]:
        """Edits that change the attribute `ref` of the first element of this name."""
        element = find_element(self.part.data, self.part.prefix + name, start, end)
        area = element and parse_area(read_attributes(element.inside).get(b"ref", ""))
        if element and area and (changed := change(area)) != area:
            yield self._set(element.start, name, element.inside, b"ref", str(changed))

    def stretch_dimension(self, used: Area) -> Iterator[Edit]:
        """Let what the sheet says of its size hold `used` as well."""

        def change(area: Area) -> Area:
            return Area(
                min(area.left, used.left),
                min(area.top, used.top),
                max(area.right, used.right),
                max(area.bottom, used.bottom),
            )

        return self._stretch(b"dimension", change, 0, self._begin)

    def stretch_filter(self, area: Area) -> Iterator[Edit]:
        """Let the sheet's own filter cover `area`."""
        return self._stretch(b"autoFilter", lambda _: area, self._end, len(self.part.data))

    def stretch_coverings(self, change: Callable[[Area], Area]) -> Iterator[Edit]:
        """Edits that change what conditional formats and the like cover, those in extensions included."""
        data = self.part.data
        for name in _COVERING:
            for each in find_elements(data, self.part.prefix + name, self._end):
                old = read_attributes(each.inside).get(b"sqref", "")
                if (new := _change_areas(old, change)) != old:
                    yield self._set(each.start, name, each.inside, b"sqref", new)
        for match in _EXTENSION_AREAS.finditer(data, self._end):
            old = read_text(match[2])
            if (new := _change_areas(old, change)) != old:
                yield Edit(match.start(2), match.end(2), escape(new))

    def _set(self, start: int, name: bytes, inside: bytes, attribute: bytes, value: str) -> Edit:
        begin = start + 1 + len(self.part.prefix + name)
        return Edit(begin, begin + len(inside), set_attributes(inside, {attribute: value}))


def _change_areas(text: str, change: Callable[[Area], Area]) -> str:
    """A list of areas, changed one by one; what is written in another way stays."""
    changed = []
    for each in text.split():
        area = parse_area(each)
        new = change(area) if area else None
        changed.append(each if new is None or new == area else str(new))
    return " ".join(changed)


def _row_pattern(prefix: bytes) -> re.Pattern[bytes]:
    """The start tag of a row, with its number where that comes first, as in all files of spreadsheet programs."""
    return re.compile(rb"<" + re.escape(prefix) + rb'row(?=[\s/>])(?: r="([0-9]+)")?+' + INSIDE + rb"/?>")


def read_sheet(data: bytes) -> Sheet:
    """The rows of a sheet's part."""
    return Sheet(read_part(data, "worksheet"))


def read_formula(content: bytes, prefix: bytes) -> tuple[dict[bytes, str], str] | None:
    """The attributes and the text of the formula in a cell's content, None if there is none."""
    element = find_element(content, prefix + b"f")
    if element is None:
        return None
    return read_attributes(element.inside), read_text(content[element.content_start : element.content_end])


def read_plain_number(cell: Cell, prefix: bytes) -> float | None:
    """The number that a cell holds as one, None for everything else."""
    element = find_element(cell.content, prefix + b"v")
    if element is None or read_attributes(cell.inside).get(b"t", "n") != "n":
        return None
    try:
        number = float(cell.content[element.content_start : element.content_end])
    except ValueError:
        return None
    return number if isfinite(number) else None


def forget_results(part: Part, keep: Callable[[int, int], bool] | None = None) -> bytes:
    """The sheet without the results of its formulas, so that nobody shows old ones; but for those in cells to `keep`.

    LibreOffice shows a result that is there, whatever the workbook asks for.
    """
    names = {"c": part.prefix + b"c", "f": part.prefix + b"f", "v": part.prefix + b"v"}
    pattern = re.compile(_RESULT % {name.encode(): re.escape(each) for name, each in names.items()})

    def forget(match: re.Match[bytes]) -> bytes:
        place = parse_cell(read_attributes(match["cell"]).get(b"r", ""))
        if keep is not None and (place is None or keep(*place)):
            return match[0]
        # A data table is written as its results; its formula stands in its first cell alone.
        if read_attributes(match["how"]).get(b"t") == "dataTable":
            return match[0]
        inside = set_attributes(match["cell"], {b"t": None})
        return b"<" + names["c"] + inside + b">" + match["formula"]

    return pattern.sub(forget, part.data)


_UNNAMED = INSIDE.replace(b"(", b"(?:", 1)
_RESULT = (
    rb"<%(c)s(?P<cell>(?=\s)" + _UNNAMED + rb")>"
    rb"(?P<formula><%(f)s(?P<how>(?=[\s/>])" + _UNNAMED + rb")(?:/>|>[^<]*</%(f)s\s*>))"
    rb"\s*<%(v)s(?:\s" + _UNNAMED + rb")?(?:/>|>[^<]*</%(v)s\s*>)"
)
_ANY_FORMULA = re.compile(rb"<(?:[^\s<>/:]+:)?f[\s/>]")


def has_formulas(data: bytes) -> bool:
    """Whether a sheet has any formula."""
    # The simple search is much faster, and mostly in vain.
    return (b"<f" in data or b":f" in data) and _ANY_FORMULA.search(data) is not None
