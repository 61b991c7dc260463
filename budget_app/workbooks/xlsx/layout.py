"""Where the expenses are on their sheet: the columns by their headings, and the rows from the first to the last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.book import Book, SheetPlace
from budget_app.workbooks.xlsx.cells import Area
from budget_app.workbooks.xlsx.table import Table, read_table, read_table_area, read_table_name


@dataclass(frozen=True, slots=True)
class Layout:
    """`columns` are in the order of FIELDS; `last` is None where no table says it.

    `table` is the Excel table, and `others` are the areas of all other tables on the sheet.
    """

    columns: tuple[int, ...]
    first: int
    last: int | None
    table: Table | None
    others: tuple[Area, ...]
    epoch: date

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last column that a row of expenses has, by the table or by our columns."""
        if self.table is not None:
            return self.table.area.left, self.table.area.right
        return min(self.columns), max(self.columns)


def lay_out_table(book: Book, place: SheetPlace, name: str, headings: Sequence[str]) -> Layout:
    """By the table of that name, which has to be on that sheet. Raises WorkbookError for what is missing."""
    paths = book.find_tables(place)
    path = _find_table(book, paths, name)
    if path is None:
        raise _no_table(book, place, name)
    table = read_table(path, book.package.read(path))
    found = _match(table.headings, headings)
    if missing := _find_missing(found, headings):
        raise WorkbookError(
            "the table {table} has no column {missing}",
            "put the heading back, or write the heading that it has into the settings",
            table=table.name,
            missing=missing,
        )
    columns = tuple(table.area.left + found[_fold(heading)] for heading in headings)
    others = tuple(read_table_area(book.package.read(each)) for each in paths if each != path)
    return Layout(columns, table.area.top + 1, table.area.bottom, table, others, book.epoch)


def lay_out_sheet(book: Book, place: SheetPlace, rows: Sequence[Sequence[object]], headings: Sequence[str]) -> Layout:
    """By the first row that holds all headings. Raises WorkbookError if there is none, or a table begins there."""
    best: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        found = _match(row, headings)
        if len(found) == len(headings):
            columns = tuple(found[_fold(heading)] + 1 for heading in headings)
            layout = Layout(columns, number + 1, None, None, _table_areas(book, place), book.epoch)
            _require_no_table(book, place, layout)
            return layout
        best = max(best, found, key=len)
    raise WorkbookError(
        "no row of the sheet {sheet} has all headings; {missing} is missing",
        "put the heading back, or write the heading that it has into the settings",
        sheet=place.name,
        missing=_find_missing(best, headings),
    )


def _table_areas(book: Book, place: SheetPlace) -> tuple[Area, ...]:
    return tuple(read_table_area(book.package.read(path)) for path in book.find_tables(place))


def _require_no_table(book: Book, place: SheetPlace, layout: Layout) -> None:
    heading_row = Area(layout.span[0], layout.first - 1, layout.span[1], layout.first - 1)
    for path in book.find_tables(place):
        data = book.package.read(path)
        if read_table_area(data).meets(heading_row):
            raise WorkbookError(
                "the headings on the sheet {sheet} are those of the table {table}, which the settings do not name",
                "write table = “{table}” into the settings",
                sheet=place.name,
                table=read_table_name(data),
            )


def _find_table(book: Book, paths: Sequence[str], name: str) -> str | None:
    for path in paths:
        if read_table_name(book.package.read(path)).casefold() == name.casefold():
            return path
    return None


def _no_table(book: Book, place: SheetPlace, name: str) -> WorkbookError:
    for other in book.sheets:
        if other.part != place.part and _find_table(book, book.find_tables(other), name) is not None:
            return WorkbookError(
                "the table {table} is on the sheet {found}, not on {sheet}",
                "write the name of its sheet into the settings",
                table=name,
                found=other.name,
                sheet=place.name,
            )
    return WorkbookError(
        "the sheet {sheet} has no table {table}",
        "give the table of the expenses this name, or write its name into the settings, or leave it empty for none",
        table=name,
        sheet=place.name,
    )


def _fold(heading: object) -> str:
    return heading.strip().casefold() if isinstance(heading, str) else ""


def _match(found: Sequence[object], headings: Sequence[str]) -> dict[str, int]:
    """Where each heading is that is there, by its folded text. Raises WorkbookError for one that is there twice."""
    wanted = {_fold(heading) for heading in headings}
    places: dict[str, int] = {}
    twice = []
    for index, each in enumerate(found):
        if (text := _fold(each)) in wanted:
            twice += [each] if text in places else []
            places.setdefault(text, index)
    if twice and len(places) == len(wanted):
        raise WorkbookError(
            "the heading {heading} is there twice", "rename the one that is not the app's", heading=twice[0]
        )
    return places


def _find_missing(found: dict[str, int], headings: Sequence[str]) -> str:
    return ", ".join(heading for heading in headings if _fold(heading) not in found)
