"""The workbook as the running app sees it: one row at a time, each form once, and read again only when it changed."""

import threading
from collections import OrderedDict

from budget_app.entries import Entry
from budget_app.rows import Row
from budget_app.workbook import ExpenseWorkbook, Stamp

_REMEMBERED = 256


class Ledger:
    """Adds to and reads from one workbook. Methods block, may be called from many threads and raise WorkbookError."""

    def __init__(self, workbook: ExpenseWorkbook) -> None:
        self.workbook = workbook
        self._appending = threading.Lock()
        self._added: OrderedDict[tuple[str, Entry, str], int] = OrderedDict()
        self._last_read: tuple[Stamp | None, tuple[Row, ...]] = (None, ())

    def add(self, entry: Entry, device: str, submission: str = "") -> int:
        """Append `entry` and return its row number.

        A button tapped twice sends the same `submission` twice: the second one gets the row of the first. It is
        remembered until the app stops. The same submission with another entry is another expense.
        """
        key = (submission, entry, device)
        with self._appending:
            if submission and key in self._added:
                return self._added[key]
            number = self.workbook.append(entry, device)
            self._added[key] = number
            if len(self._added) > _REMEMBERED:
                self._added.popitem(last=False)
            return number

    def rows(self) -> tuple[Row, ...]:
        """Every row of the sheet, from the top."""
        stamp = self.workbook.stamp()
        last_stamp, rows = self._last_read
        if stamp is None or stamp != last_stamp:
            rows = self.workbook.rows()
            self._last_read = (stamp, rows)
        return rows
