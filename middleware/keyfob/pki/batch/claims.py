"""What the rows of one file claim for themselves alone: names and keys. On disk, so memory stays flat."""

import sqlite3
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from keyfob.pki.batch.rows import Faults, Wish


class _Double(NamedTuple):
    what: str
    line: int
    first: int


class Claims:
    """A temporary database: about 30 octets of disk for each row, and 2 MB of memory for any number of them."""

    def __init__(self) -> None:
        # A file that has no name, and is gone when it is closed.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE names (what TEXT, line INTEGER)")
        self._database.execute("CREATE TABLE keys (what TEXT, line INTEGER)")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()

    def add(self, wishes: Sequence[Wish]) -> None:
        """Writes down what these rows claim."""
        self._database.executemany(
            "INSERT INTO names VALUES (?, ?)", [(each.request.name, each.line) for each in wishes]
        )
        keys = [(each.public_key, each.line) for each in wishes if each.public_key]
        if keys:
            self._database.executemany("INSERT INTO keys VALUES (?, ?)", keys)

    def find_doubles(self, faults: Faults) -> None:
        """Reports every row that claims what another one has claimed before it."""
        for name, line, first in self._find_repeated("names"):
            faults.add(line, name, f"the name is on line {first} already")
        for _, line, first in self._find_repeated("keys"):
            faults.add(line, "", f"its CSR has the key of the one on line {first} (each device has a key of its own)")

    def _find_repeated(self, table: str) -> Iterator[_Double]:
        # Grouping sorts on disk, and what it finds is little: it is looked for once more, with the lines.
        grouped = f"SELECT what, min(line) AS first FROM {table} GROUP BY what HAVING count(*) > 1"  # noqa: S608
        self._database.execute(f"CREATE TABLE repeated_{table} (what TEXT PRIMARY KEY, first INTEGER) WITHOUT ROWID")
        self._database.execute(f"INSERT INTO repeated_{table} {grouped}")
        joined = f"{table} CROSS JOIN repeated_{table} AS seen USING (what)"
        query = f"SELECT what, line, first FROM {joined} WHERE line > first ORDER BY line"  # noqa: S608
        return (_Double(*row) for row in self._database.execute(query))
