"""The rows of a CSV file: which devices shall have a certificate, and what is wrong with those that cannot."""

import base64
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TextIO

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, DeviceRequest, require_days
from keyfob.pki.batch.template import Template
from keyfob.pki.keys import KEY_KINDS
from keyfob.pki.requests import parse_signing_request, read_signing_request, require_request

COLUMNS = ("name", "email", "dns", "uri", "organization", "unit", "key", "days", "csr")
# What spreadsheets call CSV, in the order in which it is tried.
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Rows beyond these are counted, and not listed.
MOST_FAULTS = 50
_LONGEST_HEADER = 1 << 16
# Octets that were no UTF-8, as they were read.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
# The cells of a row, in the order of COLUMNS.
_Pick = Callable[[Sequence[str]], Sequence[str]]


class Wish(NamedTuple):
    """One row that has been checked. All of it can be written as JSON, and read back by `recall`."""

    line: int
    request: DeviceRequest
    kind: str
    """The kind of key that is to be made; empty where there is one."""
    public_key: str
    """SubjectPublicKeyInfo, DER in Base64, of a key that was born elsewhere; or empty."""


def recall(line: int, request: Sequence[object], kind: str, public_key: str) -> Wish:
    """A Wish, from what JSON has made of it."""
    return Wish(line, DeviceRequest(*request), kind, public_key)  # type: ignore[arg-type]


class Fault(NamedTuple):
    """A row that cannot be used. Name and reason are what the file says, so a terminal needs them escaped."""

    line: int
    name: str
    reason: str


class BadRows(PKIError):
    """Rows that cannot be used: the first of them, in the order of their lines, and how many there are."""

    def __init__(self, source: Path, faults: Sequence[Fault], count: int) -> None:
        rows = "1 row" if count == 1 else f"{count} rows"
        super().__init__(
            f"{rows} of {source.name} cannot be used, and nothing was made",
            "mend what is listed, and run the same command again",
        )
        self.source = source
        self.faults = tuple(faults)
        self.count = count


class Faults:
    """Gathers what is wrong: all is counted, and the first is kept."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[Fault] = []

    def add(self, line: int, name: str, reason: str) -> None:
        self.count += 1
        self._kept.append(Fault(line, name, reason))
        if len(self._kept) > 2 * MOST_FAULTS:
            self._kept = self.listed

    @property
    def listed(self) -> list[Fault]:
        return sorted(self._kept)[:MOST_FAULTS]


class Reader:
    """Reads rows as wishes. `kind` and `days` are for rows that do not say."""

    def __init__(self, source: Path, authority: Authority, kind: str, days: int) -> None:
        self.source = source
        self._kind, self._days = kind, days
        self._find_objection = _make_lifetime_check(authority)

    def read(self, faults: Faults) -> Iterator[Wish]:
        """Every row that is right, as it is read. The others go to `faults`. Raises PKIError for the file itself."""
        try:
            with open_text(self.source) as file:
                delimiter, columns, skipped = _read_header(self.source, file)
                rows = csv.reader(file, delimiter=delimiter, strict=True)
                # A cell that is always empty stands behind the others, for the columns that are not there.
                places = [columns.index(each) if each in columns else -1 for each in COLUMNS]
                pick: _Pick = itemgetter(*places)
                for line, cells in _number(rows, skipped, faults):
                    if len(cells) != len(columns) and any(cells):
                        faults.add(line, "", _describe_length(cells, columns))
                    elif any(cells):
                        picked = pick([*cells, ""])
                        try:
                            wish = self._understand(line, picked)
                        except PKIError as error:
                            faults.add(line, picked[0], explain(error))
                        else:
                            yield wish
        except OSError as error:
            raise unreadable(self.source, error) from error

    def _understand(self, line: int, cells: Sequence[str]) -> Wish:
        name, emails, dns, uris, organization, unit, kind, days, csr = cells
        if not "".join(cells).isascii():
            _require_characters(cells)
        if kind:
            _require_kind(kind, csr)
        request = DeviceRequest(
            name,
            self._read_days(days),
            organization or None,
            unit or None,
            _read_list("email", emails) if emails else (),
            _read_list("dns", dns) if dns else (),
            _read_list("uri", uris) if uris else (),
        )
        require_request(request)
        if csr:
            return Wish(line, request, "", _read_csr(self.source.parent, csr))
        return Wish(line, request, kind or self._kind, "")

    def _read_days(self, text: str) -> int:
        days = self._days
        if text:
            if not (text.isascii() and text.isdecimal() and len(text) < 10):
                raise PKIError(f"{text[:40]!r} is no number of days", "such as 365")
            days = int(text)
        if objection := self._find_objection(days):
            raise PKIError(objection)
        return days


def open_text(source: Path) -> TextIO:
    """The file, with what is no UTF-8 in it kept for the row that has it. Raises PKIError and OSError."""
    if source.exists() and not source.is_file():
        raise PKIError(f"{source} is no file", "write the rows into one first: it is read twice")
    with source.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise PKIError(f"{source} is written in UTF-16", "save it as 'CSV UTF-8'")
    return source.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="")


def _read_header(source: Path, file: TextIO) -> tuple[str, list[str], int]:
    """The delimiter, the names of the columns, and the line on which they stand. Raises PKIError."""
    text, line = "", 0
    while not text.strip():
        text, line = file.readline(_LONGEST_HEADER), line + 1
        if not text:
            raise PKIError(f"{source} is empty", f"its first line names the columns, such as {','.join(COLUMNS[:2])}")
    found = {each: _split_header(text, each) for each in _DELIMITERS}
    delimiter = max(found, key=lambda each: ("name" in found[each], len(found[each])))
    columns = found[delimiter]
    for column in columns:
        if column not in COLUMNS:
            hint = _suggest(column, COLUMNS) or f"there are {', '.join(COLUMNS)}"
            shown = f"column {column[:40]!r}" if column else "column without a name"
            raise PKIError(f"{source} has a {shown}, which nothing is made of", hint)
        if columns.count(column) > 1:
            raise PKIError(f"{source} has two columns {column!r}", "leave one of them out")
    if "name" not in columns:
        raise PKIError(f"{source} has no column 'name'", f"its first line names the columns: {', '.join(COLUMNS)}")
    return delimiter, columns, line


def _split_header(text: str, delimiter: str) -> list[str]:
    try:
        return [each.strip().lower() for each in next(csv.reader([text], delimiter=delimiter, strict=True))]
    except csv.Error:
        return [text.strip()]


def _number(rows: Iterator[list[str]], line: int, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """The rows with the lines on which they begin: a quoted cell may have several. `line` is that of the header."""
    skipped = line
    while True:
        line = skipped + 1 + rows.line_num  # type: ignore[attr-defined]
        try:
            cells = next(rows, None)
        except csv.Error as error:
            # Where the quotes are wrong, nobody knows where the next row begins.
            faults.add(line, "", f"the row cannot be read, and nothing behind it was: {error}")
            return
        if cells is None:
            return
        yield line, cells


def _make_lifetime_check(authority: Authority) -> Callable[[int], str | None]:
    @cache
    def find_objection(days: int) -> str | None:
        try:
            Template(authority, require_days(days))
        except PKIError as error:
            return explain(error)
        return None

    return find_objection


def _describe_length(cells: Sequence[str], columns: Sequence[str]) -> str:
    cells_here = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return f"the row has {cells_here}, and the first line has {len(columns)}"


def _require_characters(cells: Sequence[str]) -> None:
    for column, cell in zip(COLUMNS, cells, strict=True):
        if _NOT_UTF8.search(cell):
            raise PKIError(f"the {column} is not written in UTF-8", "save the file as 'CSV UTF-8'")


def _require_kind(kind: str, csr: str) -> None:
    if csr:
        raise PKIError("a key is to be made, and a CSR brings one", "leave one of the two empty")
    if kind not in KEY_KINDS:
        hint = _suggest(kind, KEY_KINDS) or f"one of {', '.join(KEY_KINDS)}"
        raise PKIError(f"{kind[:40]!r} is no kind of key", hint)


def _read_list(column: str, text: str) -> tuple[str, ...]:
    values = tuple(each for each in re.split(r"[\s;]+", text) if each)
    if column != "uri" and "," in text:
        raise PKIError(f"the {column} has a comma in it", "put spaces or semicolons between several")
    return values


def _read_csr(folder: Path, cell: str) -> str:
    """The public key of a CSR whose sender has its private key. The other things that it says are not looked at."""
    if cell.lstrip().startswith("-----BEGIN"):
        request = parse_signing_request(cell.encode("utf-8"), "the CSR")
    else:
        request = read_signing_request(folder / cell)
    public = request.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode("ascii")


def unreadable(source: Path, error: OSError) -> PKIError:
    return PKIError(f"{source} cannot be read: {error.strerror}", "name a CSV file with the devices")


def _suggest(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def explain(error: PKIError) -> str:
    """An error in one line."""
    return f"{error.message} ({error.hint})" if error.hint else error.message
