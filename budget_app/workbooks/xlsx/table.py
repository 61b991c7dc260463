"""The part of an Excel table (ECMA-376 part 1, 18.5): its name and headings, and its area, which can be changed."""

from dataclasses import dataclass

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.cells import Area, parse_area
from budget_app.workbooks.xlsx.faults import damaged
from budget_app.workbooks.xlsx.markup import (
    Edit,
    Part,
    find_element,
    find_elements,
    read_attributes,
    read_part,
    read_string,
    read_text,
    set_attributes,
    splice,
)

# The elements whose areas end where the rows of the table do.
_WITH_AREAS = (b"autoFilter", b"sortState", b"sortCondition")


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one row of headings and no row of totals. `formulas` has that of each calculated column, or None."""

    path: str
    part: Part
    name: str
    area: Area
    headings: tuple[str, ...]
    formulas: tuple[str | None, ...]


def read_table_name(data: bytes) -> str:
    """The name by which formulas know the table."""
    part = read_part(data, "table")
    attributes = read_attributes(_root(part))
    return attributes.get(b"displayName", attributes.get(b"name", ""))


def read_table_area(data: bytes) -> Area:
    """Where the table is, headings and totals included."""
    area = parse_area(read_attributes(_root(read_part(data, "table"))).get(b"ref", ""))
    if area is None:
        raise damaged("a table has no place")
    return area


def read_table(path: str, data: bytes) -> Table:
    """Read the part at `path`. Raises WorkbookError for a table that rows cannot be added to."""
    part = read_part(data, "table")
    attributes = read_attributes(_root(part))
    name = read_table_name(data)
    _require_plain(name, attributes)
    area = read_table_area(data)
    columns = list(find_elements(part.data, part.prefix + b"tableColumn"))
    if len(columns) != area.right - area.left + 1 or area.top == area.bottom:
        raise damaged(f"the columns or rows of the table {name} are not those it says")
    headings = tuple(read_string(read_attributes(each.inside).get(b"name", "")) for each in columns)
    formulas = tuple(_read_formula(part, each.content_start, each.content_end) for each in columns)
    return Table(path, part, name, area, headings, formulas)


def _root(part: Part) -> bytes:
    element = find_element(part.data, part.prefix + b"table")
    return element.inside if element else b""


def _require_plain(name: str, attributes: dict[bytes, str]) -> None:
    if attributes.get(b"totalsRowCount", "0") != "0":
        raise WorkbookError(
            "the table {table} has a row of totals, which new rows would have to move",
            "turn “Total Row” off in its design, and add up on another sheet",
            table=name,
        )
    if attributes.get(b"headerRowCount", "1") != "1":
        raise WorkbookError(
            "the headings of the table {table} are hidden", "turn “Header Row” on in its design", table=name
        )
    if attributes.get(b"tableType", "worksheet") != "worksheet":
        raise WorkbookError(
            "the table {table} is filled from outside, and its next refresh would take new rows away",
            "convert it to a range and make a table of that",
            table=name,
        )


def _read_formula(part: Part, start: int, end: int) -> str | None:
    element = find_element(part.data, part.prefix + b"calculatedColumnFormula", start, end)
    return None if element is None else read_text(part.data[element.content_start : element.content_end])


def resize_table(table: Table, bottom: int) -> bytes:
    """The part with the table ending in that row, and its filter and what it was sorted by with it."""
    data, prefix = table.part.data, table.part.prefix
    edits = []
    for name in (b"table", *_WITH_AREAS):
        # A table holds its filter, so its own tag alone is looked at.
        elements = [find_element(data, prefix + name)] if name == b"table" else find_elements(data, prefix + name)
        edits += [
            edit
            for each in elements
            if each and (edit := _resize(each.start, each.inside, prefix + name, table, bottom))
        ]
    return splice(data, edits)


def _resize(start: int, inside: bytes, name: bytes, table: Table, bottom: int) -> Edit | None:
    area = parse_area(read_attributes(inside).get(b"ref", ""))
    if area is None or area.bottom != table.area.bottom:
        return None
    begin = start + 1 + len(name)
    return Edit(begin, begin + len(inside), set_attributes(inside, {b"ref": str(area.with_bottom(bottom))}))
