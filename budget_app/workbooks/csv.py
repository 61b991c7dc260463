"""The workbook as a CSV file: RFC 4180 in UTF-8, written so that what is not ours stays as it is, byte for byte.

A new file begins with a byte order mark: without one, Excel takes the file for one in the code page of its Windows,
shows “café” as “cafÃ©”, and makes that permanent when it saves. LibreOffice reads both.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from budget_app.workbooks.files import (
    Stamp,
    back_up,
    find_today,
    lock_folder,
    make_folder,
    read_file,
    remove_leftovers,
    replace_file,
    require_not_open,
    require_writable,
    resolve,
    stamp_file,
)
from budget_app.workbooks.workbook import FIELDS, Change, Contents, Row, WorkbookError, Written

BYTE_ORDER_MARK = "\ufeff"
_NEW_LINE = "\r\n"
_DELIMITERS = ",;\t|"

# What a spreadsheet takes for the start of a formula, also in its wide forms (OWASP, “CSV Injection”). Apostrophes in
# front count too, so that a note that begins with one is told from ours.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ENTRY_ID = FIELDS.index("entry_id")


class CsvWorkbook:
    """The CSV file at `path`, with our columns under `columns`, the headings in the order of FIELDS.

    `delimiter` is one ASCII character, `decimal` a point or a comma. Amounts have no grouping and dates are those of
    ISO 8601; all others are read as text. Text of ours that a spreadsheet would run as a formula has an apostrophe in
    front, which reading takes off. The line of an entry that goes leaves nothing behind: nothing refers to it.
    """

    pace = 0.0

    def __init__(self, path: Path, delimiter: str, decimal: str, columns: Sequence[str]) -> None:
        self.place = str(path)
        self._path = path
        self._dialect = _Dialect(delimiter, decimal)
        self._columns = tuple(columns)
        # What was last written or read: as long as the file still has this text, nothing in it is looked for again.
        self._last: _Sheet | None = None

    def prepare(self) -> None:
        """Make the file and its folder if they are missing; otherwise see that it can be used."""
        path = resolve(self._path)
        make_folder(path)
        with lock_folder(path):
            remove_leftovers(path)
            if stamp_file(path) is None:
                headings = self._dialect.join(map(self._dialect.write_text, self._columns))
                replace_file(path, f"{BYTE_ORDER_MARK}{headings}{_NEW_LINE}".encode(), None)
            require_writable(path)
            self._load(path)[0].find_entries()

    def stamp(self) -> Hashable:
        """The stamp of the file, None without one."""
        return stamp_file(resolve(self._path))

    def read(self) -> Contents:
        """Every row."""
        sheet, stamp = self._load(resolve(self._path))
        return Contents(stamp, tuple(sheet.rows()))

    def write(self, changes: Sequence[Change]) -> Written:
        """Make the file agree with `changes`, in one step; nothing is written if it does already.

        What can be done is done before it raises for an entry that is in two rows. A file that is gone is not made
        again: the person may have moved it, with all that is in it.
        """
        path = resolve(self._path)
        with lock_folder(path):
            sheet, before = self._load(path)
            done = sheet.change(changes)
            after = self._replace(path, done.sheet, before) if done.sheet.text != sheet.text else before
        written = Written(before, after, frozenset(done.missing), frozenset(done.doubled))
        if done.doubled:
            raise done.sheet.explain_doubled(done.doubled[0]).after(written)
        return written

    def _replace(self, path: Path, sheet: "_Sheet", before: Stamp) -> Stamp:
        require_not_open(self._path)
        back_up(path, find_today())
        after = replace_file(path, sheet.text.encode(), before)
        self._last = sheet
        return after

    def _load(self, path: Path) -> tuple["_Sheet", Stamp]:
        content, stamp = read_file(path)
        text = _decode(path, content)
        if self._last is None or self._last.text != text:
            self._last = _Sheet(path, text, self._dialect, self._columns)
        return self._last, stamp


def _decode(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable_text(path, content.count(b"\n", 0, error.start) + 1) from error
    if "\0" in text:
        raise _unreadable_text(path, text.count("\n", 0, text.index("\0")) + 1)
    return text


def _unreadable_text(path: Path, line: int) -> WorkbookError:
    return WorkbookError(
        "{path} is not text in UTF-8 (line {line})",
        "open it in a spreadsheet program and save it as CSV in UTF-8",
        path=path,
        line=line,
    )


class _Dialect:
    """How fields, records, amounts and text are written. A raw field is one as the file has it, quotes included."""

    def __init__(self, delimiter: str, decimal: str) -> None:
        self.delimiter, self.decimal = delimiter, decimal
        mark, point = re.escape(delimiter), re.escape(decimal)
        field = f'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{mark}\r\n]*+)'
        # Most records have no quotes, and are found faster without looking at their fields.
        self.record = re.compile(f'(?:[^"\r\n]*+|{field}(?:{mark}{field})*+)(?:\r\n|\n|\r|\\Z)')
        self._field = re.compile(f"{mark}({field})")
        # More digits than any spreadsheet holds: Decimal would take minutes for a million of them.
        self._amount = re.compile(f" *(-?(?:[0-9]{{1,40}}(?:{point}[0-9]{{0,40}})?|{point}[0-9]{{1,40}})) *")
        self._to_quote = re.compile(f'[{mark}"\r\n]')

    def split(self, record: str) -> list[str]:
        """The raw fields of a record."""
        if '"' not in record:
            return record.split(self.delimiter)
        return self._field.findall(self.delimiter + record)

    def join(self, fields: Iterable[str]) -> str:
        """The record of these raw fields."""
        return self.delimiter.join(fields)

    def read_text(self, raw: str) -> str:
        """What the field says, without the apostrophe that keeps it from being a formula."""
        text = _unquote(raw)
        return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text

    def write_text(self, text: str) -> str:
        """The raw field of a text that no spreadsheet runs as a formula."""
        return self._quote(f"'{text}" if _FORMULA.match(text) else text)

    def read_amount(self, raw: str) -> Decimal | str:
        """The amount, else the text."""
        text = _unquote(raw)
        match = self._amount.fullmatch(text)
        return Decimal(match[1].replace(self.decimal, ".")) if match else text

    def write_amount(self, amount: Decimal) -> str:
        """A raw field. It is a number, so a minus sign in front is no danger."""
        return self._quote(f"{amount:f}".replace(".", self.decimal))

    def _quote(self, text: str) -> str:
        if not self._to_quote.search(text):
            return text
        doubled = text.replace('"', '""')
        return f'"{doubled}"'


def _unquote(raw: str) -> str:
    return raw[1:-1].replace('""', '"') if raw[:1] == '"' else raw


@lru_cache(maxsize=8192)
def _read_date(raw: str) -> date | str:
    text = _unquote(raw)
    if _ISO_DATE.fullmatch(text.strip(" ")):
        try:
            return date.fromisoformat(text.strip(" "))
        except ValueError:
            return text
    return text


class _Record(NamedTuple):
    """One record: its number from 1, where it starts and where the next one does, and its raw fields."""

    number: int
    start: int
    end: int
    fields: list[str]


_Place = tuple[int, int]


class _Entries(NamedTuple):
    """Where the record of each entry starts and where the next one does; for ids that several records have, all."""

    places: Mapping[str, _Place]
    doubled: Mapping[str, Sequence[_Place]]


class _Changed(NamedTuple):
    """A sheet after changes, the ids of written entries that it misses, and of those that cannot be told apart."""

    sheet: "_Sheet"
    missing: Sequence[str]
    doubled: Sequence[str]


class _Sheet:
    """The text of a CSV file, and where our columns are in it. Raises WorkbookError if they are not."""

    def __init__(
        self, path: Path, text: str, dialect: _Dialect, columns: Sequence[str], entries: _Entries | None = None
    ) -> None:
        self.text = text
        self._path, self._dialect, self._columns = path, dialect, columns
        self._entries = entries
        self._heading = next(self._records())
        self._places = self._find_columns()
        self._width = len(self._heading.fields)
        head = text[: self._heading.end]
        self._line_break = head[len(head.rstrip("\r\n")) :] or _NEW_LINE

    def rows(self) -> Iterator[Row]:
        """Every row below the headings that holds anything in our columns."""
        day, amount, *texts = self._places
        read_text = self._dialect.read_text
        for record in self._body():
            fields = self._pad(record.fields)
            if not any(_unquote(fields[place]).strip() for place in self._places):
                continue
            category, note, device, entry_id = (read_text(fields[place]) for place in texts)
            when, money = _read_date(fields[day]), self._dialect.read_amount(fields[amount])
            yield Row(record.number, when, money, category, note, device, entry_id.strip(" "))

    def find_entries(self) -> _Entries:
        """All of them. Raises WorkbookError where the quoting of the file is damaged."""
        if self._entries is None:
            places: dict[str, _Place] = {}
            doubled: dict[str, list[_Place]] = {}
            column = self._places[_ENTRY_ID]
            for _, start, end, fields in self._body():
                entry_id = self._dialect.read_text(fields[column]).strip(" ") if column < len(fields) else ""
                if entry_id in places:
                    doubled.setdefault(entry_id, [places[entry_id]]).append((start, end))
                elif entry_id:
                    places[entry_id] = start, end
            self._entries = _Entries(places, doubled)
        return self._entries

    def change(self, changes: Sequence[Change]) -> _Changed:
        """The sheet as it is after these changes."""
        entries = self.find_entries()
        edits: list[tuple[int, int, str]] = []
        fresh: list[Change] = []
        missing, doubled = [], []
        for change in changes:
            if change.entry_id in entries.doubled:
                if not self._agrees(entries.doubled[change.entry_id], change):
                    doubled.append(change.entry_id)
            elif place := entries.places.get(change.entry_id):
                edits.append((*place, self._rewrite(self.text[slice(*place)], change)))
            elif change.entry is not None:
                missing.append(change.entry_id) if change.written else fresh.append(change)
        return _Changed(self._add(self._splice(edits), fresh), missing, doubled)

    def _agrees(self, places: Sequence[_Place], change: Change) -> bool:
        """Whether there is nothing to do in any of these records."""
        lines = [self.text[slice(*place)] for place in places]
        return all(self._rewrite(line, change) == line for line in lines)

    def explain_doubled(self, entry_id: str) -> WorkbookError:
        """Several rows have this id, which happens when a person copies one."""
        numbers = [str(row.number) for row in self.rows() if row.entry_id == entry_id]
        return WorkbookError(
            "rows {numbers} of {path} have the same entry ID, so nobody can tell which of them is meant",
            "empty the entry ID of those that were copied by hand",
            numbers=", ".join(numbers),
            path=self._path,
        )

    def _splice(self, edits: list[tuple[int, int, str]]) -> "_Sheet":
        """With each of these stretches replaced by its text."""
        parts, done = [], 0
        for start, end, text in sorted(edits):
            parts += [self.text[done:start], text]
            done = end
        text = "".join([*parts, self.text[done:]])
        return self if text == self.text else _Sheet(self._path, text, self._dialect, self._columns)

    def _add(self, sheet: "_Sheet", fresh: Sequence[Change]) -> "_Sheet":
        """`sheet` with one more line for each of these."""
        if not fresh:
            return sheet
        known = sheet.find_entries()
        places = dict(known.places)
        parts = [sheet.text] if sheet.text.endswith(("\r", "\n")) else [sheet.text, self._line_break]
        position = sum(map(len, parts))
        for change in fresh:
            line = self._rewrite(self._line_break, change)
            places[change.entry_id] = position, position + len(line)
            position += len(line)
            parts.append(line)
        return _Sheet(self._path, "".join(parts), self._dialect, self._columns, _Entries(places, known.doubled))

    def _rewrite(self, line: str, change: Change) -> str:
        """The line with the fields of the change, where they differ in more than how they are written."""
        record = line.rstrip("\r\n")
        fields = self._pad(self._dialect.split(record))
        if change.entry is None:
            return self._empty(fields) + line[len(record) :] if self._has_others(fields) else ""
        if not record:
            fields += [""] * (self._width - len(fields))
        entry, dialect = change.entry, self._dialect
        wanted: tuple[tuple[Callable[[str], object], object, str], ...] = (
            (_read_date, entry.date, entry.date.isoformat()),
            (dialect.read_amount, entry.amount, dialect.write_amount(entry.amount)),
            *(
                (dialect.read_text, text, dialect.write_text(text))
                for text in (entry.category, entry.note, change.device, change.entry_id)
            ),
        )
        for name, place, (read, value, raw) in zip(FIELDS, self._places, wanted, strict=True):
            if not (record and name in change.kept) and read(fields[place]) != value:
                fields[place] = raw
        return dialect.join(fields) + line[len(record) :]

    def _has_others(self, fields: Sequence[str]) -> bool:
        """Whether a person has written something beside our columns, which is not ours to take away."""
        return any(_unquote(field).strip() for place, field in enumerate(fields) if place not in self._places)

    def _empty(self, fields: Sequence[str]) -> str:
        return self._dialect.join(["" if place in self._places else field for place, field in enumerate(fields)])

    def _pad(self, fields: list[str]) -> list[str]:
        """With empty fields at the end as far as our columns reach: a person may leave them out."""
        return fields + [""] * (max(self._places) + 1 - len(fields))

    def _body(self) -> Iterator[_Record]:
        records = self._records()
        next(records)
        return records

    def _records(self) -> Iterator[_Record]:
        """Every record, the headings first. Raises WorkbookError where one is damaged."""
        match, split = self._dialect.record.match, self._dialect.split
        text, number, position = self.text, 0, int(self.text.startswith(BYTE_ORDER_MARK))
        while position < len(text) or not number:
            found = match(text, position)
            if found is None:
                raise self._damaged(position)
            number += 1
            yield _Record(number, position, found.end(), split(found[0].rstrip("\r\n")))
            position = found.end()

    def _find_columns(self) -> tuple[int, ...]:
        names = [self._name(field) for field in self._heading.fields]
        wanted = [column.strip().casefold() for column in self._columns]
        for heading, name in zip(self._columns, wanted, strict=True):
            if names.count(name) > 1:
                raise WorkbookError(
                    "{path} has the heading “{heading}” twice", "rename one of them", path=self._path, heading=heading
                )
            if name not in names:
                raise self._other_delimiter(wanted) or WorkbookError(
                    "the first line of {path} has no heading “{heading}”",
                    "put it back, or name the column that holds this in budget.toml",
                    path=self._path,
                    heading=heading,
                )
        return tuple(names.index(name) for name in wanted)

    def _name(self, field: str) -> str:
        return self._dialect.read_text(field).strip().casefold()

    def _other_delimiter(self, wanted: Sequence[str]) -> WorkbookError | None:
        """The file has all the headings, with something else between them."""
        first = self.text[self._heading.start : self._heading.end].rstrip("\r\n")
        for delimiter in _DELIMITERS:
            names = [self._name(field) for field in first.split(delimiter)]
            if delimiter != self._dialect.delimiter and set(wanted) <= set(names):
                return WorkbookError(
                    "{path} has “{found}” between its fields, and not “{expected}”",
                    'write delimiter = "{found}" under [workbook] in budget.toml',
                    path=self._path,
                    found=delimiter.replace("\t", "\\t"),
                    expected=self._dialect.delimiter.replace("\t", "\\t"),
                )
        return None

    def _damaged(self, position: int) -> WorkbookError:
        return WorkbookError(
            "the quoting of {path} is damaged in line {line}",
            'put every field that has quotes in it into quotes, and double those in it, such as "5"" pipe"',
            path=self._path,
            line=len(re.findall("\r\n|\n|\r", self.text[:position])) + 1,
        )
