"""The formats of cells (ECMA-376 part 1, 18.8): found where there is one that fits, else one more at the end."""

import re
from collections.abc import Iterator

from budget_app.workbooks.xlsx.faults import damaged
from budget_app.workbooks.xlsx.markup import (
    Edit,
    Element,
    Part,
    find_element,
    find_elements,
    read_attributes,
    read_number,
    read_part,
    set_attributes,
    splice,
)

# 18.8.30: the day as the person's own settings write it, money with two decimals, and text.
_DATE, _MONEY, _TEXT = 14, 4, 49
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(50, 59)])
_TIMES = frozenset([45, 46, 47])

# What is not a letter of the format itself: text in quotes, what follows a backslash, a star or an underscore, and
# colours, currencies and conditions in brackets; but [h], [mm] and [ss] are.
_LITERAL = re.compile(r'"[^"]*"|[\\*_].|\[(?!(?:h+|m+|s+)\])[^\]]*\]', re.IGNORECASE)


class Styles:
    """The formats of a workbook, to be asked for those of new cells; `write` gives the part with what was added."""

    def __init__(self, data: bytes) -> None:
        self._part = read_part(data, "styleSheet")
        self._list = _find_list(self._part)
        self._formats = list(_read_formats(self._part, self._list))
        self._known = len(self._formats)
        self._codes = dict(_read_codes(self._part))
        self._shown: dict[int, str] = {}
        self._derived: dict[tuple[int, int | None, bool], int] = {}

    def date_style(self, like: int) -> int:
        """A format that shows a number as a day, otherwise like that one, which may do so itself."""
        return self._derive(like, number=None if self._shows(like) == "day" else _DATE, quoted=False)

    def money_style(self, like: int) -> int:
        """A format that shows a number as one: like that one, unless that shows days, times or text."""
        return self._derive(like, number=_MONEY if self._shows(like) else None, quoted=False)

    def text_style(self, like: int, *, quoted: bool) -> int:
        """A format like that one, which keeps a text that looks like a formula a text when it is edited if `quoted`."""
        return self._derive(like, number=None, quoted=quoted)

    def write(self) -> bytes | None:
        """The part with the formats that were added, None if none was."""
        added = self._formats[self._known :]
        if not added:
            return None
        name = self._part.prefix + b"cellXfs"
        begin = self._list.start + 1 + len(name)
        inside = set_attributes(self._list.inside, {b"count": str(len(self._formats))})
        return splice(
            self._part.data,
            [
                Edit(begin, begin + len(self._list.inside), inside),
                Edit(self._list.content_end, self._list.content_end, b"".join(added)),
            ],
        )

    def _derive(self, like: int, *, number: int | None, quoted: bool) -> int:
        key = (like, number, quoted)
        if key not in self._derived:
            self._derived[key] = self._make(like, number, quoted=quoted)
        return self._derived[key]

    def _make(self, like: int, number: int | None, *, quoted: bool) -> int:
        old = self._read(like)
        changes: dict[bytes, str | None] = {}
        if number is not None:
            changes |= {b"numFmtId": str(number), b"applyNumberFormat": "1"}
        if quoted != (old.get(b"quotePrefix", "0") in ("1", "true")):
            changes[b"quotePrefix"] = "1" if quoted else None
        return self._find(like, changes) if changes else like

    def _find(self, like: int, changes: dict[bytes, str | None]) -> int:
        raw = self._formats[like]
        name = b"<" + self._part.prefix + b"xf"
        element = find_element(raw, name[1:])
        inside = element.inside if element else b""
        wanted = name + set_attributes(inside, changes) + raw[len(name) + len(inside) :]
        if wanted not in self._formats:
            self._formats.append(wanted)
        return self._formats.index(wanted)

    def _read(self, style: int) -> dict[bytes, str]:
        if style >= len(self._formats):
            raise damaged(f"a cell has the format {style}, which is not there")
        element = find_element(self._formats[style], self._part.prefix + b"xf")
        return read_attributes(element.inside) if element else {}

    def _shows(self, style: int) -> str:
        """`day`, `time` or `text` for what a format makes of a number; empty for a number."""
        if style not in self._shown:
            self._shown[style] = self._find_kind(style)
        return self._shown[style]

    def _find_kind(self, style: int) -> str:
        number = read_number(self._read(style).get(b"numFmtId", "0"))
        if number in self._codes:
            return _classify(self._codes[number])
        if number in _DATES:
            return "day"
        return "time" if number in _TIMES else "text" if number == _TEXT else ""


def _find_list(part: Part) -> Element:
    element = find_element(part.data, part.prefix + b"cellXfs")
    if element is None or element.content_start == element.content_end:
        raise damaged("it has no formats")
    return element


def _read_formats(part: Part, listed: Element) -> Iterator[bytes]:
    for each in find_elements(part.data, part.prefix + b"xf", listed.content_start, listed.content_end):
        yield part.data[each.start : each.end]


def _read_codes(part: Part) -> Iterator[tuple[int, str]]:
    """The formats of the workbook's own by number; those inside of differential formats do not count."""
    listed = find_element(part.data, part.prefix + b"numFmts")
    if listed is not None:
        for each in find_elements(part.data, part.prefix + b"numFmt", listed.content_start, listed.content_end):
            attributes = read_attributes(each.inside)
            yield read_number(attributes.get(b"numFmtId", "0")), attributes.get(b"formatCode", "")


def _classify(code: str) -> str:
    letters = _LITERAL.sub("", code.partition(";")[0]).lower()
    if "general" in letters:
        return ""
    if "d" in letters or "y" in letters or ("m" in letters and "h" not in letters and "s" not in letters):
        return "day"
    if "h" in letters or "s" in letters:
        return "time"
    return "text" if letters.strip() == "@" else ""
