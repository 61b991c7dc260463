"""The values of an expense as the cells of a row: what stands in each, and in which format."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from budget_app.workbooks.workbook import FIELDS, Change, Row
from budget_app.workbooks.xlsx.markup import escape_string
from budget_app.workbooks.xlsx.serials import to_serial
from budget_app.workbooks.xlsx.sheet import Cell, Sheet
from budget_app.workbooks.xlsx.styles import Styles

# What a program would take for a formula when a person edits the cell.
_FORMULA_STARTS = ("=", "+", "-", "@")


class Value(NamedTuple):
    """What shall stand in the column of a field."""

    field: str
    value: date | Decimal | str


def read_change(change: Change) -> list[Value]:
    """What the row of this change shall hold, in the order of FIELDS; nothing if it shall be gone."""
    entry = change.entry
    if entry is None:
        return []
    values: tuple[date | Decimal | str, ...] = (
        entry.date,
        entry.amount,
        entry.category,
        entry.note,
        change.device,
        change.entry_id,
    )
    return [Value(field, value) for field, value in zip(FIELDS, values, strict=True)]


def holds(row: Row, value: Value) -> bool:
    """Whether the row has that value already."""
    return bool(getattr(row, value.field) == value.value)


class CellWriter:
    """Makes cells of values for one sheet."""

    def __init__(self, sheet: Sheet, styles: Styles, epoch: date) -> None:
        self._sheet = sheet
        self._styles = styles
        self._epoch = epoch

    def write(self, value: Value, column: int, number: int, like: int) -> Cell:
        """A cell with that value, in a format as close to `like` as shows it."""
        match value.value:
            case date():
                style = self._styles.date_style(like)
                return self._number(str(to_serial(value.value, self._epoch)), style, column, number)
            case Decimal():
                return self._number(_write_decimal(value.value), self._styles.money_style(like), column, number)
            case str():
                return self._text(value.value, like, column, number)

    def clear(self, style: int, column: int, number: int) -> Cell:
        """A cell with a format and nothing else."""
        return self._sheet.make_cell(column, number, _style(style), b"")

    def fill(self, style: int, column: int, number: int, inside: bytes, content: bytes) -> Cell:
        """A cell with that content."""
        return self._sheet.make_cell(column, number, _style(style) + inside, content)

    def _number(self, text: str, style: int, column: int, number: int) -> Cell:
        name = self._sheet.part.prefix + b"v"
        content = b"<" + name + b">" + text.encode() + b"</" + name + b">"
        return self._sheet.make_cell(column, number, _style(style), content)

    def _text(self, text: str, like: int, column: int, number: int) -> Cell:
        if not text:
            return self.clear(like, column, number)
        style = self._styles.text_style(like, quoted=text.startswith(_FORMULA_STARTS))
        prefix = self._sheet.part.prefix
        content = b'<%sis><%st xml:space="preserve">%s</%st></%sis>' % (
            prefix,
            prefix,
            escape_string(text),
            prefix,
            prefix,
        )
        return self._sheet.make_cell(column, number, _style(style) + b' t="inlineStr"', content)


def _style(style: int) -> bytes:
    return b' s="%d"' % style if style else b""


def _write_decimal(amount: Decimal) -> str:
    """All digits and no exponent; zeros at the end of decimals are left out, as programs do."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
