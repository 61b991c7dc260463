"""What was sent to Google and not answered: it may still be done, as long as Google works on a request.

An entry in doubt is not sent again before its doubt is settled: because the sheet shows that it was done, or because
by then Google has given the request up. With a file, the doubts outlive the process.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from budget_app.workbooks.files import sync_folder
from budget_app.workbooks.google.cells import Cells, Snapshot
from budget_app.workbooks.workbook import WorkbookError

# The clocks of two machines and the way of a request to Google.
MARGIN = 10.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Until when (in seconds since 1970) a request may still be done, and what the sheet shows if it was.

    `cells` is what the row of the entry holds then; () is any row of it, None is no row.
    """

    until: float
    cells: Cells | None


class Doubts:
    """The doubts by entry id. Methods raise WorkbookError if the file cannot be read or written."""

    def __init__(self, limit: float, path: Path | None) -> None:
        """`limit` is for how many seconds Google may work on a request."""
        self._lasts = limit + min(MARGIN, limit)
        self._path = path
        self._doubts = self._load()

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._doubts

    def __bool__(self) -> bool:
        return bool(self._doubts)

    def add(self, expected: Mapping[str, Cells | None]) -> None:
        """These are about to be sent."""
        until = time.time() + self._lasts
        self._doubts.update({entry_id: Doubt(until, cells) for entry_id, cells in expected.items()})
        self._save()

    def drop(self, entry_ids: Iterable[str]) -> None:
        """These were answered."""
        for entry_id in entry_ids:
            self._doubts.pop(entry_id, None)
        self._save()

    def settle(self, snapshot: Snapshot) -> None:
        """Drop what the sheet shows as done, and what is too old to be done any more."""
        now = time.time()
        settled = [
            entry_id
            for entry_id, doubt in self._doubts.items()
            if doubt.until <= now or _is_done(entry_id, doubt, snapshot)
        ]
        if settled:
            self.drop(settled)

    def rest(self, entry_ids: Iterable[str]) -> float:
        """In how many seconds the last of these is settled at the latest."""
        return max((self._doubts[each].until for each in entry_ids if each in self._doubts), default=0.0) - time.time()

    def _load(self) -> dict[str, Doubt]:
        if self._path is None:
            return {}
        try:
            members = json.loads(self._path.read_text(encoding="utf-8"))
            # A clock that was put back must not keep an entry in doubt for ever.
            latest = time.time() + self._lasts
            return {
                entry_id: Doubt(min(float(until), latest), None if cells is None else tuple(cells))
                for entry_id, (until, cells) in members.items()
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unusable(self._path, error) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise WorkbookError(
                "{path} is damaged; it says which entries Google was asked to write and did not confirm",
                "delete it when the app has been stopped for at least five minutes",
                path=self._path,
            ) from error

    def _save(self) -> None:
        if self._path is None:
            return
        members = {entry_id: (doubt.until, doubt.cells) for entry_id, doubt in self._doubts.items()}
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            if not members:
                self._path.unlink(missing_ok=True)
                return
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(members, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise _unusable(self._path, error) from error


def _is_done(entry_id: str, doubt: Doubt, snapshot: Snapshot) -> bool:
    rows = snapshot.find(entry_id)
    if doubt.cells is None:
        return not rows
    return bool(rows) and (not doubt.cells or any(snapshot.cells(row) == doubt.cells for row in rows))


def _unusable(path: Path, error: OSError) -> WorkbookError:
    return WorkbookError(
        "{path} cannot be read or written ({reason})",
        "see that its folder is one this program may write in, and that its disk has room",
        path=path,
        reason=error.strerror,
    )
