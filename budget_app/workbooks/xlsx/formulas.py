"""Formulas that go on in the next row, as they do when a person fills them down."""

import re
from dataclasses import dataclass, replace

from openpyxl.formula.tokenizer import TokenizerError
from openpyxl.formula.translate import Translator, TranslatorError

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.cells import Area, name_cell, parse_area
from budget_app.workbooks.xlsx.markup import (
    escape,
    find_elements,
    read_attributes,
    read_text,
    write_attribute,
)
from budget_app.workbooks.xlsx.sheet import Sheet, read_formula

# What may be a reference that moves: the address of a cell, of whole rows or of whole columns.
_ADDRESS = re.compile(r"[A-Za-z]{1,3}\$?[0-9]|[0-9]\s*:|:\s*\$?[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula as it stands in one cell; `array` says that it is one over arrays, `metadata` what kind of these."""

    text: str
    array: bool = False
    metadata: str | None = None

    def move(self, column: int, origin: int, number: int) -> "Formula":
        """The same formula in another row: references without `$` move along, those to table columns stay."""
        if origin == number:
            return self
        return replace(self, text=_translate(self.text, (column, origin), (column, number)))

    def write(self, column: int, number: int, prefix: bytes) -> tuple[bytes, bytes]:
        """More attributes of a cell, and its content; without a result, which is for others to calculate."""
        name = prefix + b"f"
        kind = b""
        if self.array:
            kind = write_attribute(b"t", "array") + write_attribute(b"ref", name_cell(column, number))
        inside = b"" if self.metadata is None else write_attribute(b"cm", self.metadata)
        return inside, b"<" + name + kind + b">" + escape(self.text) + b"</" + name + b">"


def find_formula(sheet: Sheet, column: int, number: int) -> Formula | None:
    """The formula in a cell, as if it stood there alone; None if there is none or it is one of a larger whole."""
    cell = sheet.read_row(number).cells.get(column)
    found = None if cell is None else read_formula(cell.content, sheet.part.prefix)
    if cell is None or found is None:
        return None
    attributes, text = found
    kind = attributes.get(b"t", "normal")
    if kind == "shared":
        return _find_shared(sheet, attributes.get(b"si", ""), text, column, number)
    if kind == "dataTable" or (kind == "array" and _reaches_on(attributes, column, number)):
        return None
    return Formula(text, kind == "array", read_attributes(cell.inside).get(b"cm")) if text else None


def _reaches_on(attributes: dict[bytes, str], column: int, number: int) -> bool:
    area = parse_area(attributes.get(b"ref", ""))
    return area is not None and area != Area(column, number, column, number)


def is_shared_on(sheet: Sheet, content: bytes, column: int, number: int) -> bool:
    """Whether other cells rely on the formula in this one."""
    found = read_formula(content, sheet.part.prefix)
    return found is not None and _reaches_on(found[0], column, number)


def _find_shared(sheet: Sheet, group: str, text: str, column: int, number: int) -> Formula | None:
    """The formula of a group (18.3.1.40): written out in its first cell, which the others name by a number."""
    if text:
        return Formula(text)
    data, prefix = sheet.part.data, sheet.part.prefix
    for each in find_elements(data, prefix + b"f"):
        attributes = read_attributes(each.inside) if b"ref" in each.inside else {}
        area = parse_area(attributes.get(b"ref", ""))
        if attributes.get(b"t") == "shared" and attributes.get(b"si") == group and area is not None:
            origin = read_text(data[each.content_start : each.content_end])
            return Formula(_translate(origin, (area.left, area.top), (column, number)))
    return None


def _translate(text: str, origin: tuple[int, int], place: tuple[int, int]) -> str:
    if not _ADDRESS.search(text):
        return text
    try:
        moved: str = Translator(f"={text}", name_cell(*origin)).translate_formula(name_cell(*place))
    except TranslatorError:  # It would point beyond the sheet.
        return "#REF!"
    except TokenizerError as error:
        raise WorkbookError(
            "the formula in the cell {cell} on the sheet of the expenses cannot be carried on to new rows",
            "write it in another way, or take it out of the last row",
            cell=name_cell(*origin),
        ) from error
    return moved.removeprefix("=")
