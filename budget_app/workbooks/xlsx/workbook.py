"""The expenses in an `.xlsx` file, which may be the person's own, with whatever else is in it."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from pathlib import Path

from budget_app.workbooks import files
from budget_app.workbooks.workbook import Change, Contents, Written
from budget_app.workbooks.xlsx.new_book import NewBook
from budget_app.workbooks.xlsx.package import Package
from budget_app.workbooks.xlsx.state import Names, Plan, State, explain_doubled


class XlsxWorkbook:
    """The workbook at `path`; rows are in the table `table` of the sheet, or, without one, below the first headings.

    `columns` are the headings in the order of FIELDS, and are looked for each time. `categories` with their monthly
    budgets and the ISO code of the `currency` are for a workbook that is made new.
    """

    pace = 0.25

    def __init__(
        self,
        path: Path,
        sheet: str,
        table: str,
        columns: Sequence[str],
        categories: Sequence[tuple[str, float | None]],
        currency: str,
    ) -> None:
        self._path = files.resolve(path)
        self._names = Names(sheet, table, tuple(columns))
        self._new = NewBook(sheet, table, tuple(columns), tuple(categories), currency)
        self.place = str(path)

    def prepare(self) -> None:
        """Make the file and its folder if they are missing; otherwise see that rows can be read and written."""
        files.make_folder(self._path)
        with files.lock_folder(self._path):
            files.remove_leftovers(self._path)
            if files.stamp_file(self._path) is None:
                files.replace_file(self._path, self._new.write(), None)
        files.require_writable(self._path)
        content, _ = files.read_file(self._path)
        State(content, self._names).require_usable()

    def stamp(self) -> Hashable:
        """Of the file, None if there is none."""
        return files.stamp_file(self._path)

    def read(self) -> Contents:
        """Every row; what is typed below a table is none of it before the next write takes it in."""
        content, stamp = files.read_file(self._path)
        return Contents(stamp, State(content, self._names).read())

    def write(self, changes: Sequence[Change]) -> Written:
        """As the protocol says. Raises WorkbookBusy while another program has the file open.

        Where an entry to be changed is in several rows, WorkbookError is raised when everything else is written.
        """
        with files.lock_folder(self._path):
            files.require_not_open(self._path)
            content, before = files.read_file(self._path)
            state = State(content, self._names)
            plan = state.plan(changes)
            after = self._replace(state, plan, before)
        # Rows that were below the table until now are in no view yet.
        written = Written(None if state.adopted else before, after, plan.missing, frozenset(plan.doubled))
        for rows in plan.doubled.values():
            raise explain_doubled(rows).after(written)
        return written

    def _replace(self, state: State, plan: Plan, before: files.Stamp) -> files.Stamp:
        new = state.carry_out(plan)
        if new is None:
            return before
        # What is written is read back before it takes the place of the old file.
        Package(new).check()
        files.back_up(self._path, datetime.now().astimezone().date())
        files.require_not_open(self._path)
        return files.replace_file(self._path, new, before)
