"""Whether ids can be in a workbook at all, told from its bytes: most entries are new, and most look-ups in vain."""

import re
from collections.abc import Collection

from budget_app.workbooks.xlsx.package import Package

# How the text of one cell may be in several pieces, or its characters be written as others.
_VEILS = (b"&#", b"_x", b"</r>", b":r>", b"</r ")


def may_hold_any(package: Package, sheet: str, strings: str | None, wanted: Collection[str]) -> bool:
    """Whether a cell of the sheet may hold one of these; False is certain, and says so without reading the cells.

    `strings` is the part of the shared strings, if there is one.
    """
    found = package.find(strings) if strings else None
    ids = {each.encode() for each in wanted}
    lengths = b"|".join(b"[A-Za-z0-9._-]{%d}" % length for length in sorted(set(map(len, ids))))
    tokens = re.compile(rb">\s*(" + lengths + rb")\s*</")
    for data in [package.read(name) for name in (sheet, found) if name]:
        if any(veil in data for veil in _VEILS) or not ids.isdisjoint(tokens.findall(data)):
            return True
    return False
