"""Addresses: cells and areas of a sheet as `B5` and `A1:F10`, with rows and columns counted from 1."""

import re
from dataclasses import dataclass, replace

LAST_ROW = 1_048_576
LAST_COLUMN = 16_384

_CELL = re.compile(r"\$?([A-Z]{1,3})\$?([1-9][0-9]{0,6})")
_AREA = re.compile(_CELL.pattern + "(?::" + _CELL.pattern + ")?")


@dataclass(frozen=True, slots=True)
class Area:
    """All cells from `left` to `right` in the rows from `top` to `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    def __str__(self) -> str:
        return f"{name_cell(self.left, self.top)}:{name_cell(self.right, self.bottom)}"

    @property
    def absolute(self) -> str:
        """As a defined name has it."""
        return f"${name_column(self.left)}${self.top}:${name_column(self.right)}${self.bottom}"

    def meets(self, other: "Area") -> bool:
        """Whether they share a cell."""
        return (
            self.left <= other.right
            and other.left <= self.right
            and self.top <= other.bottom
            and other.top <= self.bottom
        )

    def with_bottom(self, bottom: int) -> "Area":
        """The same columns down to another row."""
        return replace(self, bottom=bottom)


def parse_area(text: str) -> Area | None:
    """Read `A1:F10` or `B5`; None for whole columns and rows, and for anything else."""
    match = _AREA.fullmatch(text)
    if match is None:
        return None
    left, top = parse_column(match[1]), int(match[2])
    right, bottom = (parse_column(match[3]), int(match[4])) if match[3] else (left, top)
    return Area(left, top, right, bottom) if left <= right and top <= bottom <= LAST_ROW else None


def parse_cell(text: str) -> tuple[int, int] | None:
    """Column and row of `B5`."""
    match = _CELL.fullmatch(text)
    return (parse_column(match[1]), int(match[2])) if match else None


def parse_column(letters: str) -> int:
    """1 for `A`, 27 for `AA`."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def name_column(number: int) -> str:
    """`A` for 1."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def name_cell(column: int, row: int) -> str:
    """`B5` for 2 and 5."""
    return f"{name_column(column)}{row}"
