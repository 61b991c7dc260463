"""A spreadsheet in memory with the semantics of the Sheets v4 API, without HTTP: ranges, tables, inputs, batches.

What the API's guide says is followed (https://developers.google.com/workspace/sheets/api/guides/values), and recorded
answers of the real service where the guide is silent: a table that `append` finds is a block of cells without a gap,
so that an empty cell in the only row of a sheet makes two tables of it, and the last one is appended to.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

Value = str | int | float | bool | None
Json = dict[str, Any]
EPOCH = date(1899, 12, 30)
MOST_CELLS = 10_000_000
_REFERENCE = re.compile(r"(?:(?P<sheet>'(?:[^']|'')+'|[^'!]+)!)?(?P<cells>[A-Z]*[0-9]*(?::[A-Z]*[0-9]*)?)")
_CORNER = re.compile(r"(?P<column>[A-Z]*)(?P<row>[0-9]*)")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Refusal(Exception):
    """An error as the API answers it."""

    def __init__(self, message: str, code: int = 400, status: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Box:
    """Cells of a sheet, counted from 0; the ends are not part of it."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Formula:
    """What a person typed after an equals sign, and what it gives."""

    text: str
    value: Value


@dataclass
class Sheet:
    """One sheet: rows of cells as they are stored, and the number format of each cell that has one."""

    title: str
    number: int
    rows: list[list[Any]] = field(default_factory=list)
    formats: list[dict[int, Json]] = field(default_factory=list)
    row_count: int = 1000
    column_count: int = 26
    frozen: int = 0
    protected: bool = False

    @property
    def properties(self) -> Json:
        grid = {"rowCount": self.row_count, "columnCount": self.column_count}
        if self.frozen:
            grid["frozenRowCount"] = self.frozen
        return {"sheetId": self.number, "title": self.title, "sheetType": "GRID", "gridProperties": grid}

    def cell(self, row: int, column: int) -> Any:
        cells = self.rows[row] if 0 <= row < len(self.rows) else ()
        return cells[column] if 0 <= column < len(cells) else None

    def put(self, row: int, column: int, value: Any) -> None:
        while len(self.rows) <= row:
            self.rows.append([])
        cells = self.rows[row]
        cells.extend([None] * (column + 1 - len(cells)))
        cells[column] = None if value == "" else value

    def filled(self, row: int, left: int, right: int) -> bool:
        cells = self.rows[row] if 0 <= row < len(self.rows) else ()
        return any(cell is not None for cell in cells[max(0, left) : max(0, right)])

    def format_of(self, row: int, column: int) -> Json:
        return self.formats[row].get(column, {}) if row < len(self.formats) else {}

    def set_format(self, row: int, column: int, number_format: Json) -> None:
        while len(self.formats) <= row:
            self.formats.append({})
        self.formats[row][column] = number_format

    def insert_rows(self, at: int, count: int) -> None:
        """New rows look like the one above them."""
        while len(self.rows) < at:
            self.rows.append([])
        while len(self.formats) < at:
            self.formats.append({})
        above = self.formats[at - 1] if at else {}
        self.rows[at:at] = [[] for _ in range(count)]
        self.formats[at:at] = [dict(above) for _ in range(count)]
        self.row_count += count

    def delete_rows(self, start: int, end: int) -> None:
        del self.rows[start:end]
        del self.formats[start:end]
        self.row_count -= end - start


class Spreadsheet:
    """All sheets of one spreadsheet. Every method that changes it changes all of it or nothing, and raises Refusal."""

    def __init__(self, title: str, sheets: Sequence[str]) -> None:
        self.title = title
        self.sheets = [Sheet(name, number) for number, name in enumerate(sheets)]
        self.most_cells = MOST_CELLS

    def __getitem__(self, title: str) -> Sheet:
        return next(sheet for sheet in self.sheets if sheet.title == title)

    # Values

    def read(self, reference: str, render: str, dates: str) -> Json:
        sheet, box = self._locate(reference)
        self._require_start(sheet, box)
        box = Box(box.top, box.left, min(box.bottom, sheet.row_count), min(box.right, sheet.column_count))
        return _value_range(sheet, box, render, dates)

    def update(self, reference: str, values: Sequence[Sequence[Any]], option: str) -> tuple[Sheet, Box]:
        sheet, box = self._locate(reference)
        self._require_unprotected(sheet)
        self._require_start(sheet, box)
        if len(values) > box.bottom - box.top or any(len(row) > box.right - box.left for row in values):
            raise Refusal(f"Requested writing within range [{reference}], but tried writing outside of it")
        parsed = [[_parse(value, option) for value in row] for row in values]
        _write(sheet, box.top, box.left, parsed)
        return sheet, box

    def append(
        self, reference: str, values: Sequence[Sequence[Any]], option: str, insert: str
    ) -> tuple[Sheet, Box | None, Box]:
        sheet, box = self._locate(reference)
        self._require_unprotected(sheet)
        parsed = [[_parse(value, option) for value in row] for row in values]
        table = _find_table(sheet, box)
        top, left = (box.top, box.left) if table is None else (table.bottom, table.left)
        right = left + max(map(len, parsed), default=0)
        if insert == "INSERT_ROWS" and (sheet.rows or table):
            self._require_room(sheet, sheet.row_count + len(parsed), max(sheet.column_count, right))
            sheet.insert_rows(top, len(parsed))
        else:
            rows = max(sheet.row_count, top + len(parsed))
            self._require_room(sheet, rows, max(sheet.column_count, right))
            sheet.row_count = rows
        sheet.column_count = max(sheet.column_count, right)
        _write(sheet, top, left, parsed)
        return sheet, table, Box(top, left, top + len(parsed), right)

    def clear(self, reference: str) -> tuple[Sheet, Box]:
        sheet, box = self._locate(reference)
        self._require_unprotected(sheet)
        for row in range(box.top, min(box.bottom, len(sheet.rows))):
            for column in range(box.left, min(box.right, len(sheet.rows[row]))):
                sheet.rows[row][column] = None
        return sheet, box

    # Batches

    def batch(self, requests: Sequence[Json]) -> list[Json]:
        """Each request is tried in turn; if one is refused, the spreadsheet is as it was before all of them."""
        before = [_copy(sheet) for sheet in self.sheets]
        try:
            return [self._apply(index, request) for index, request in enumerate(requests)]
        except Refusal:
            self.sheets = before
            raise

    def _apply(self, index: int, request: Json) -> Json:
        ((kind, body),) = request.items()
        actions: Mapping[str, Callable[[Json], Json]] = {
            "addSheet": self._add_sheet,
            "updateCells": self._update_cells,
            "repeatCell": self._repeat_cell,
            "findReplace": self._find_replace,
            "deleteDimension": self._delete_dimension,
        }
        if kind not in actions:
            raise Refusal(f"Invalid JSON payload received. Unknown name \"{kind}\" at 'requests[{index}]'")
        try:
            return actions[kind](body)
        except Refusal as refusal:
            raise Refusal(f"Invalid requests[{index}].{kind}: {refusal}", refusal.code, refusal.status) from None

    def _add_sheet(self, body: Json) -> Json:
        properties = body["properties"]
        title, number = properties["title"], properties.get("sheetId", 1_000_000 + len(self.sheets))
        if any(sheet.title == title for sheet in self.sheets):
            raise Refusal(f'A sheet with the name "{title}" already exists. Please enter another name.')
        if any(sheet.number == number for sheet in self.sheets):
            raise Refusal(f"Sheet with ID {number} already exists.")
        sheet = Sheet(title, number)
        sheet.frozen = properties.get("gridProperties", {}).get("frozenRowCount", 0)
        self._require_room(sheet, sheet.row_count, sheet.column_count)
        self.sheets.append(sheet)
        return {"addSheet": {"properties": sheet.properties}}

    def _update_cells(self, body: Json) -> Json:
        sheet, box = self._grid_range({**body["start"], "startRowIndex": body["start"].get("rowIndex", 0)})
        left = body["start"].get("columnIndex", 0)
        values = [[_typed(cell) for cell in row.get("values", ())] for row in body["rows"]]
        _write(sheet, box.top, left, values)
        return {}

    def _repeat_cell(self, body: Json) -> Json:
        if body["fields"] != "userEnteredFormat.numberFormat":
            raise Refusal("this stand-in repeats number formats alone")
        sheet, box = self._grid_range(body["range"])
        for row in range(box.top, box.bottom):
            for column in range(box.left, box.right):
                sheet.set_format(row, column, body["cell"]["userEnteredFormat"]["numberFormat"])
        return {}

    def _find_replace(self, body: Json) -> Json:
        sheet, box = self._grid_range(body["range"])
        if not (body.get("matchEntireCell") and body.get("matchCase")) or body.get("searchByRegex"):
            raise Refusal("this stand-in replaces whole cells alone")
        if not body["find"]:
            raise Refusal("Find text is empty.")
        count = 0
        for row in range(box.top, min(box.bottom, len(sheet.rows))):
            for column in range(box.left, min(box.right, len(sheet.rows[row]))):
                cell = sheet.rows[row][column]
                if cell is not None and not isinstance(cell, Formula) and _shown(sheet, row, column) == body["find"]:
                    sheet.put(row, column, _parse(body.get("replacement", ""), "USER_ENTERED"))
                    count += 1
        if not count:
            return {"findReplace": {}}
        changed = {"valuesChanged": count, "rowsChanged": count, "sheetsChanged": 1, "occurrencesChanged": count}
        return {"findReplace": changed}

    def _delete_dimension(self, body: Json) -> Json:
        sheet, _ = self._grid_range({"sheetId": body["range"]["sheetId"]})
        if body["range"]["dimension"] != "ROWS":
            raise Refusal("this stand-in deletes rows alone")
        sheet.delete_rows(body["range"]["startIndex"], body["range"]["endIndex"])
        return {}

    # Places

    def _grid_range(self, body: Json) -> tuple[Sheet, Box]:
        sheet = next((sheet for sheet in self.sheets if sheet.number == body.get("sheetId", 0)), None)
        if sheet is None:
            raise Refusal(f"No grid with id: {body.get('sheetId', 0)}")
        self._require_unprotected(sheet)
        box = Box(
            body.get("startRowIndex", 0),
            body.get("startColumnIndex", 0),
            body.get("endRowIndex", sheet.row_count),
            body.get("endColumnIndex", sheet.column_count),
        )
        if box.bottom > sheet.row_count or box.right > sheet.column_count:
            raise Refusal(f"range extends beyond the grid of {sheet.row_count} rows and {sheet.column_count} columns")
        return sheet, box

    def _locate(self, reference: str) -> tuple[Sheet, Box]:
        match = _REFERENCE.fullmatch(reference)
        whole = next((sheet for sheet in self.sheets if reference in (sheet.title, _quote(sheet.title))), None)
        if whole is not None:
            return whole, Box(0, 0, whole.row_count, whole.column_count)
        if match is None or not match["cells"]:
            raise Refusal(f"Unable to parse range: {reference}")
        named = (match["sheet"] or "").removeprefix("'").removesuffix("'").replace("''", "'")
        sheet = next((sheet for sheet in self.sheets if sheet.title == named), None) if named else self.sheets[0]
        if sheet is None:
            raise Refusal(f"Unable to parse range: {reference}")
        return sheet, _read_cells(match["cells"], sheet)

    def _require_start(self, sheet: Sheet, box: Box) -> None:
        if box.top >= sheet.row_count or box.left >= sheet.column_count:
            raise Refusal(
                f"Range ({_name(sheet, box)}) exceeds grid limits. "
                f"Max rows: {sheet.row_count}, max columns: {sheet.column_count}"
            )

    def _require_unprotected(self, sheet: Sheet) -> None:
        if sheet.protected:
            message = (
                "You are trying to edit a protected cell or object. "
                "Please contact the spreadsheet owner to remove protection if you need to edit."
            )
            raise Refusal(message, 403, "PERMISSION_DENIED")

    def _require_room(self, sheet: Sheet, rows: int, columns: int) -> None:
        others = sum(other.row_count * other.column_count for other in self.sheets if other is not sheet)
        if others + rows * columns > self.most_cells:
            raise Refusal(
                "This action would increase the number of cells in the workbook "
                f"above the limit of {self.most_cells} cells."
            )


def value_range(sheet: Sheet, box: Box, render: str, dates: str) -> Json:
    """What the API answers of these cells; without the empty cells and rows at the end."""
    return _value_range(sheet, box, render, dates)


def name_range(sheet: Sheet, box: Box) -> str:
    """`Expenses!A5:F5`."""
    return _name(sheet, box)


def find_letters(column: int) -> str:
    """`A` for 0, `AA` for 26."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _copy(sheet: Sheet) -> Sheet:
    copied = Sheet(sheet.title, sheet.number, [row[:] for row in sheet.rows], [dict(row) for row in sheet.formats])
    copied.row_count, copied.column_count = sheet.row_count, sheet.column_count
    copied.frozen, copied.protected = sheet.frozen, sheet.protected
    return copied


def _read_cells(cells: str, sheet: Sheet) -> Box:
    first, _, last = cells.partition(":")
    left, top = _read_corner(first)
    if not last:
        return Box(top or 0, left or 0, (top or 0) + 1, (left or 0) + 1)
    right, bottom = _read_corner(last)
    return Box(
        top or 0,
        left or 0,
        sheet.row_count if bottom is None else bottom + 1,
        sheet.column_count if right is None else right + 1,
    )


def _read_corner(corner: str) -> tuple[int | None, int | None]:
    match = _CORNER.fullmatch(corner)
    assert match is not None
    column = 0
    for letter in match["column"]:
        column = column * 26 + ord(letter) - 64
    return (column - 1 if match["column"] else None), (int(match["row"]) - 1 if match["row"] else None)


def _quote(title: str) -> str:
    return "'" + title.replace("'", "''") + "'"


def _name(sheet: Sheet, box: Box) -> str:
    title = sheet.title if re.fullmatch(r"[A-Za-z0-9_]+", sheet.title) else _quote(sheet.title)
    first, last = f"{find_letters(box.left)}{box.top + 1}", f"{find_letters(box.right - 1)}{box.bottom}"
    return f"{title}!{first}" if first == last else f"{title}!{first}:{last}"


def _find_table(sheet: Sheet, box: Box) -> Box | None:
    """The last block without a gap that has a cell in `box`, as large as it is outside of it as well."""
    for row in range(min(box.bottom, len(sheet.rows)) - 1, box.top - 1, -1):
        for column in range(min(box.right, len(sheet.rows[row])) - 1, box.left - 1, -1):
            if sheet.rows[row][column] is not None:
                return _grow(sheet, Box(row, column, row + 1, column + 1))
    return None


def _grow(sheet: Sheet, box: Box) -> Box:
    while True:
        top, left, bottom, right = box.top, box.left, box.bottom, box.right
        while sheet.filled(top - 1, left - 1, right + 1):
            top -= 1
        while sheet.filled(bottom, left - 1, right + 1):
            bottom += 1
        while left and any(sheet.cell(row, left - 1) is not None for row in range(top, bottom)):
            left -= 1
        while any(sheet.cell(row, right) is not None for row in range(top, bottom)):
            right += 1
        if box == (box := Box(top, left, bottom, right)):
            return box


def _write(sheet: Sheet, top: int, left: int, values: Sequence[Sequence[Any]]) -> None:
    for row, cells in enumerate(values, top):
        for column, value in enumerate(cells, left):
            # A null leaves the cell as it is, an empty text empties it.
            if value is not None:
                sheet.put(row, column, value)


def _typed(cell: Json) -> Any:
    entered = cell.get("userEnteredValue", {})
    return next(iter(entered.values()), None)


def _parse(value: Any, option: str) -> Any:
    if isinstance(value, (dict, list)):
        raise Refusal("Invalid values: a cell is no list and no struct")
    if option == "RAW" or not isinstance(value, str):
        return value
    if option != "USER_ENTERED":
        raise Refusal("'valueInputOption' is required but not specified")
    return _enter(value)


def _enter(text: str) -> Any:
    """As if a person had typed it: this is what turns a note that begins with an equals sign into a formula."""
    if text.startswith("=") and len(text) > 1:
        return Formula(text, "#ERROR!")
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    try:
        return (date.fromisoformat(text) - EPOCH).days
    except ValueError:
        return {"TRUE": True, "FALSE": False}.get(text.upper(), text)


def _value_range(sheet: Sheet, box: Box, render: str, dates: str) -> Json:
    rows = [
        list(_render_row(sheet, row, box, render, dates)) for row in range(box.top, min(box.bottom, len(sheet.rows)))
    ]
    while rows and not rows[-1]:
        rows.pop()
    answer: Json = {"range": _name(sheet, box), "majorDimension": "ROWS"}
    if rows:
        answer["values"] = rows
    return answer


def _render_row(sheet: Sheet, row: int, box: Box, render: str, dates: str) -> Iterator[Any]:
    cells = sheet.rows[row]
    last = min(box.right, len(cells))
    while last > box.left and cells[last - 1] is None:
        last -= 1
    for column in range(box.left, last):
        yield _render(sheet, row, column, render, dates)


def _render(sheet: Sheet, row: int, column: int, render: str, dates: str) -> Any:
    cell = sheet.rows[row][column]
    if cell is None:
        return ""
    if render == "FORMATTED_VALUE":
        return _shown(sheet, row, column)
    if isinstance(cell, Formula):
        return cell.text if render == "FORMULA" else cell.value
    if dates == "FORMATTED_STRING" and sheet.format_of(row, column).get("type") == "DATE":
        return _shown(sheet, row, column)
    return cell


def _shown(sheet: Sheet, row: int, column: int) -> str:
    cell = sheet.rows[row][column]
    value: Value = cell.value if isinstance(cell, Formula) else cell
    if isinstance(value, bool):
        return str(value).upper()
    if not isinstance(value, int | float):
        return value or ""
    kind = sheet.format_of(row, column).get("type")
    if kind == "DATE":
        return (EPOCH + timedelta(days=int(value))).isoformat()
    return f"{value:,.2f}" if kind == "NUMBER" else f"{value:g}" if isinstance(value, float) else str(value)
