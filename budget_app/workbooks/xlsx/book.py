"""The parts of a workbook and how they hang together: content types, relationships, sheets, tables, calculation."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.cells import Area
from budget_app.workbooks.xlsx.faults import damaged
from budget_app.workbooks.xlsx.markup import (
    Part,
    escape,
    find_element,
    find_elements,
    read_attributes,
    read_part,
    read_text,
    set_attributes,
)
from budget_app.workbooks.xlsx.package import Package
from budget_app.workbooks.xlsx.serials import EPOCH_1900, EPOCH_1904

_RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
_TYPES_PART = "[Content_Types].xml"

# The elements that may stand in front of calcPr (ECMA-376 part 1, 18.2.27, CT_Workbook), from the last.
_BEFORE_CALCULATION = (b"definedNames", b"externalReferences", b"functionGroups", b"sheets")


@dataclass(frozen=True, slots=True)
class Link:
    """A relationship of a part to another one."""

    identifier: str
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class SheetPlace:
    """A sheet as the workbook lists it: `index` is its place among all of them, `part` the name of its part."""

    name: str
    index: int
    part: str


class Book:
    """The workbook's own part, and the way from it to the others. Raises WorkbookError for what it cannot follow."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.path = self._find_workbook()
        self._require_kind()
        self.part = read_part(package.read(self.path), "workbook")
        self.links = tuple(read_links(package, self.path))
        self.sheets = tuple(self._read_sheets())

    @property
    def epoch(self) -> date:
        """The day with the serial number 0."""
        element = find_element(self.part.data, self.part.prefix + b"workbookPr")
        flag = read_attributes(element.inside).get(b"date1904", "0") if element else "0"
        return EPOCH_1904 if flag in ("1", "true") else EPOCH_1900

    def find_sheet(self, name: str) -> SheetPlace:
        """The worksheet with this name; names have no case."""
        for sheet in self.sheets:
            if sheet.name.casefold() == name.casefold():
                return sheet
        raise WorkbookError(
            "the workbook has no sheet {sheet}",
            "give the sheet of the expenses this name, or write its name into the settings",
            sheet=name,
        )

    def find_part(self, kind: str) -> str | None:
        """The part with this relationship to the workbook, such as `styles`."""
        return next((link.target for link in self.links if link.kind == kind), None)

    def find_tables(self, sheet: SheetPlace) -> list[str]:
        """The parts of all tables on a sheet."""
        return [link.target for link in read_links(self.package, sheet.part) if link.kind == "table"]

    def _find_workbook(self) -> str:
        for link in read_links(self.package, ""):
            if link.kind == "officeDocument":
                return link.target
        raise damaged("it has no workbook in it")

    def _require_kind(self) -> None:
        kind = _read_content_type(self.package, self.path)
        if "macroEnabled" in kind:
            raise WorkbookError(
                "the workbook may have macros in it (.xlsm)", "save it as “Excel Workbook (.xlsx)”, without macros"
            )
        if kind != _WORKBOOK:
            raise damaged(f"its kind is {kind or 'not given'}")

    def _read_sheets(self) -> Iterator[SheetPlace]:
        data, prefix = self.part.data, self.part.prefix
        parts = {link.identifier: link for link in self.links}
        relation = _find_prefix(data, _OFFICE) + b"id"
        for index, element in enumerate(find_elements(data, prefix + b"sheet")):
            attributes = read_attributes(element.inside)
            link = parts.get(attributes.get(relation, ""))
            if link is not None and link.kind == "worksheet":
                yield SheetPlace(attributes.get(b"name", ""), index, link.target)


def _find_prefix(data: bytes, namespace: str) -> bytes:
    match = re.search(rb"""xmlns:([^\s=]+)\s*=\s*["']""" + re.escape(namespace).encode() + rb"""["']""", data)
    return match[1] + b":" if match else b""


def read_links(package: Package, part: str) -> Iterator[Link]:
    """What a part points at in the same file; the package itself is the part without a name."""
    folder, name = posixpath.split(part)
    found = package.find(posixpath.join(folder, "_rels", f"{name}.rels"))
    if found is None:
        return
    rels = read_part(package.read(found), "Relationships", _RELATIONSHIPS)
    for element in find_elements(rels.data, rels.prefix + b"Relationship"):
        attributes = read_attributes(element.inside)
        kind = attributes.get(b"Type", "").rpartition("/")[2]
        if attributes.get(b"TargetMode") != "External":
            target = posixpath.normpath(posixpath.join("/", folder, attributes.get(b"Target", ""))).lstrip("/")
            yield Link(attributes.get(b"Id", ""), kind, package.find(target) or target)


def _read_content_type(package: Package, part: str) -> str:
    types = read_part(package.read(_TYPES_PART), "Types", _TYPES)
    for element in find_elements(types.data, types.prefix + b"Override"):
        attributes = read_attributes(element.inside)
        if attributes.get(b"PartName", "").lower() == f"/{part}".lower():
            return attributes.get(b"ContentType", "")
    for element in find_elements(types.data, types.prefix + b"Default"):
        attributes = read_attributes(element.inside)
        if part.lower().endswith(f".{attributes.get(b'Extension', '').lower()}"):
            return attributes.get(b"ContentType", "")
    return ""


def calculates_itself(part: Part) -> bool:
    """Whether programs calculate it whenever they like. By hand or by iteration, a result is more than its formula."""
    element = find_element(part.data, part.prefix + b"calcPr")
    if element is None:
        return True
    attributes = read_attributes(element.inside)
    by_hand = attributes.get(b"calcMode", "auto") == "manual"
    return not by_hand and attributes.get(b"iterate", "0") not in ("1", "true")


def calculate_on_load(part: Part) -> bytes:
    """The workbook's part, asking whatever opens it to calculate every formula anew; Excel takes that out again."""
    data, prefix = part.data, part.prefix
    element = find_element(data, prefix + b"calcPr")
    if element is not None:
        tag = b"<" + prefix + b"calcPr" + set_attributes(element.inside, {b"fullCalcOnLoad": "1"})
        start = data.rindex(b">", element.start, element.content_start)
        start -= data[start - 1 : start] == b"/"
        return data[: element.start] + tag + data[start:]
    for name in _BEFORE_CALCULATION:
        if (before := find_element(data, prefix + name)) is not None:
            return data[: before.end] + b"<" + prefix + b'calcPr fullCalcOnLoad="1"/>' + data[before.end :]
    raise damaged("its list of sheets is missing")


def stretch_filter_name(part: Part, sheet: SheetPlace, area: Area) -> bytes:
    """The hidden name of a sheet's filter, which LibreOffice reads instead of the filter itself, as long as that."""
    for element in find_elements(part.data, part.prefix + b"definedName"):
        attributes = read_attributes(element.inside)
        if (attributes.get(b"name"), attributes.get(b"localSheetId")) == ("_xlnm._FilterDatabase", str(sheet.index)):
            owner = read_text(part.data[element.content_start : element.content_end]).rpartition("!")[0]
            text = escape(f"{owner}!{area.absolute}")
            return part.data[: element.content_start] + text + part.data[element.content_end :]
    return part.data


def drop_calculation_chain(book: Book) -> tuple[dict[str, bytes], list[str]]:
    """The parts without the order of calculation, and the part that goes with that.

    Excel calls a file damaged if this order names a cell without a formula, and makes it anew where there is none.
    """
    name = book.find_part("calcChain")
    found = book.package.find(name) if name else None
    if found is None:
        return {}, []
    folder, own = posixpath.split(book.path)
    rels = book.package.find(posixpath.join(folder, "_rels", f"{own}.rels")) or ""
    links = read_part(book.package.read(rels), "Relationships", _RELATIONSHIPS)
    types = read_part(book.package.read(_TYPES_PART), "Types", _TYPES)
    changed = {
        rels: _without(links, b"Relationship", rb"/calcChain[\"']"),
        _TYPES_PART: _without(types, b"Override", rb"calcChain\+xml[\"']"),
    }
    return changed, [found]


def _without(part: Part, name: bytes, mark: bytes) -> bytes:
    """Without the element that is marked so."""
    for element in find_elements(part.data, part.prefix + name):
        if re.search(mark, element.inside):
            return part.data[: element.start] + part.data[element.end :]
    return part.data
