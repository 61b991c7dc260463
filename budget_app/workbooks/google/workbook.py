"""The budget workbook as a Google spreadsheet.

What can be promised, and how:

* **One row an entry.** Nothing is written before the ids in the sheet have been read. A request that was not answered
  may be done later all the same; until the sheet shows it, or Google has certainly given it up (`Doubts`), its entries
  are not touched again. Google names its limit for a request, 180 seconds, but no proof that it keeps to it.
* **The right row.** Sheets writes to a place, not to an entry, and has no way to write on a condition. Each write to a
  row leaves the id in that row alone and has it sent back by the same, atomic request; if it is another one, because a
  person sorted or moved rows between our read and our write, the row that was hit gets back what it held before, and
  the write is repeated. What a formula in our columns gave is put back, not the formula; and a row without an id that
  cannot be told from others is reported, for the person to restore from the version history.
* **Removing** empties the entry's own cells and keeps the row: no cell moves, no reference breaks, other columns stay.
  The id is emptied last, found by what it is and not by where.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from gspread.exceptions import IncorrectCellLabel, NoValidUrlKeyFound
from gspread.utils import a1_to_rowcol, extract_id_from_url

from budget_app.workbooks.google.account import PACE, choose_endpoint, read_account
from budget_app.workbooks.google.calls import Calls, Failed, Fate, Json, Names, no_sheet, read_values, unreadable
from budget_app.workbooks.google.cells import DATE, ID, Cells, Snapshot, name_everything, show, spread
from budget_app.workbooks.google.doubts import Doubts
from budget_app.workbooks.google.plan import Plan, Target, find_overwritten, make_plan, split
from budget_app.workbooks.workbook import FIELDS, Change, Contents, WorkbookError, Written

T = TypeVar("T")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_UPDATED = re.compile(r"(?:.*!)?(?P<first>[A-Z]+[0-9]+)(?::(?P<last>[A-Z]+[0-9]+))?")
_DATE_FORMAT = {"type": "DATE"}
_AMOUNT_FORMAT = {"type": "NUMBER", "pattern": "#,##0.00"}
_FORMAT_FIELDS = "userEnteredFormat.numberFormat"
# How soon to look again whether Google has done what it did not confirm.
LOOK_AGAIN = 20.0


class GoogleWorkbook:
    """One sheet of a Google spreadsheet. Nothing is read or asked before the first call; `Workbook` says the rest.

    `place` is the spreadsheet's title once it is known. `doubts` is a file to keep doubts in across restarts; without
    it, a process that is killed while Google works on its request may, once started again, add the entry twice.
    """

    def __init__(
        self,
        spreadsheet: str,
        sheet: str,
        columns: Sequence[str],
        credentials: Path | None,
        environ: Mapping[str, str],
        *,
        doubts: Path | None = None,
    ) -> None:
        """`spreadsheet` is an id or an address, `columns` are the headings in the order of FIELDS."""
        self.pace = PACE
        self._spreadsheet, self._sheet, self._columns = spreadsheet, sheet, tuple(columns)
        self._credentials, self._environ, self._doubts_path = credentials, environ, doubts
        self._names = Names(spreadsheet, sheet, "")
        self._calls: Calls | None = None
        self._doubts: Doubts | None = None
        self._number: int | None = None
        # What was written without an answer, beside what the sheet was then.
        self._suspects: list[tuple[Snapshot, Mapping[str, Target]]] = []
        # Rows whose dates are shown as numbers: from, and up to.
        self._plain: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        return self._names.place

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._calls is not None:
            self._calls.close()
            self._calls = None

    def prepare(self) -> None:
        """See that the sheet can be used; write the headings into one that is wholly empty.

        A sheet that is missing is made only in a spreadsheet that has a single sheet with nothing in it, as a new one
        has. Anywhere else it was renamed or deleted by somebody who wants to know.
        """
        self._patiently(self._prepare)

    def stamp(self) -> None:
        """Google has nothing that would tell without a request of its own."""

    def read(self) -> Contents:
        """Every row, in one request."""
        return self._patiently(lambda: Contents(None, tuple(self._look().rows())))

    def write(self, changes: Sequence[Change]) -> Written:
        """As `Workbook.write`; at most three requests that write, for up to 1.5 MB of each kind of change.

        Everything that can be done is done before it raises for an entry that has to wait, or is in two rows.
        """
        if not changes:
            return Written(None, None, frozenset())
        return self._patiently(lambda: self._write(changes))

    # The way to Google

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do it; if the token was refused, do it once more from the beginning with a new one."""
        try:
            return action()
        except Failed as failed:
            if failed.fate is not Fate.EXPIRED:
                raise self._explain(failed) from failed
        self._open().forget_token()
        try:
            return action()
        except Failed as failed:
            raise self._explain(failed) from failed

    def _explain(self, failed: Failed) -> WorkbookError:
        if failed.fate in (Fate.UNSENT, Fate.EXPIRED):
            # The key is read again the next time: it may be the cure that it was replaced.
            self.close()
        return failed.error

    def _open(self) -> Calls:
        if self._calls is None:
            endpoint = choose_endpoint(self._environ)
            key = _find_key(self._spreadsheet)
            account = read_account(self._credentials, self._environ)
            if self._names.place == self._spreadsheet:
                self._names.place = key
            self._names.email = account.email
            self._calls = Calls(key, account, endpoint, self._names)
            self._doubts = self._doubts or Doubts(endpoint.request_limit, self._doubts_path)
            self.pace = endpoint.pace
        return self._calls

    def _known_doubts(self) -> Doubts:
        self._open()
        if self._doubts is None:
            raise RuntimeError("the doubts are read when the calls are opened")
        return self._doubts

    # Preparing

    def _prepare(self) -> None:
        try:
            description = self._open().describe()
            sheets = [sheet["properties"] for sheet in description["sheets"]]
            self._names.place = str(description["properties"]["title"])
            found = next((each["sheetId"] for each in sheets if each["title"] == self._sheet), None)
        except (LookupError, TypeError, AttributeError) as error:
            raise unreadable() from error
        if found is None:
            self._add_sheet([str(each["title"]) for each in sheets])
            return
        self._number = int(found)
        values = self._open().read(name_everything(self._sheet))
        if values:
            Snapshot(values, self._columns, self._names)
        else:
            self._open().batch(self._write_headings(self._number))

    def _add_sheet(self, titles: Sequence[str]) -> None:
        if len(titles) != 1 or self._open().read(name_everything(titles[0])):
            raise no_sheet(self._names)
        # A number of our own, so that all of it can be one request, and the same request twice is refused.
        self._number = 6_000_006
        properties = {"sheetId": self._number, "title": self._sheet}
        self._open().batch([{"addSheet": {"properties": properties}}, *self._write_headings(self._number)])

    def _write_headings(self, number: int) -> list[Json]:
        cells = [{"userEnteredValue": {"stringValue": heading}} for heading in self._columns]
        start = {"sheetId": number, "rowIndex": 0, "columnIndex": 0}
        rows = [{"values": cells}]
        return [
            {"updateCells": {"start": start, "rows": rows, "fields": "userEnteredValue"}},
            _format(number, DATE, _DATE_FORMAT),
            _format(number, FIELDS.index("amount"), _AMOUNT_FORMAT),
        ]

    def _find_number(self) -> int:
        """The number of the sheet, by which some requests name it."""
        if self._number is None:
            self._prepare()
        if self._number is None:
            raise no_sheet(self._names)
        return self._number

    # Reading

    def _look(self) -> Snapshot:
        values = self._open().read(name_everything(self._sheet))
        return Snapshot(values, self._columns, self._names)

    def _look_back(self) -> Snapshot:
        """Read the sheet, settle what is in doubt, and put right what a late write has done to a wrong row."""
        snapshot, doubts = self._look(), self._known_doubts()
        for suspect in list(self._suspects):
            self._repair(*suspect, snapshot)
        doubts.settle(snapshot)
        self._suspects = [suspect for suspect in self._suspects if any(each in doubts for each in suspect[1])]
        return snapshot

    # Writing

    def _write(self, changes: Sequence[Change]) -> Written:
        snapshot = self._look_back()
        plan = make_plan(snapshot, changes, self._known_doubts())
        self._overwrite(snapshot, {**plan.updates, **plan.removals})
        self._forget(snapshot, list(plan.removals))
        self._add(snapshot, plan.adds)
        self._format_dates(snapshot)
        written = Written(None, None, frozenset(plan.missing), frozenset([*plan.doubled, *plan.held]))
        if (problem := self._explain_blocked(plan)) is not None:
            raise problem.after(written)
        return written

    def _send(self, expected: Mapping[str, Cells | None], request: Callable[[], Json]) -> Json | None:
        """Send it; None if Google did not confirm it, but the sheet shows that all of it was done."""
        doubts = self._known_doubts()
        doubts.add(expected)
        try:
            answer = request()
        except Failed as failed:
            if failed.fate is not Fate.UNKNOWN:
                doubts.drop(expected)
                raise
            self._look_back()
            if any(entry_id in doubts for entry_id in expected):
                raise
            return None
        doubts.drop(expected)
        return answer

    def _overwrite(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        for part in split(list(targets.items()), lambda item: (snapshot.name(item[1].row, 0, 0), item[1].cells)):
            self._overwrite_part(snapshot, dict(part))

    def _overwrite_part(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        ranges = {_name_row(snapshot, target.row): _without_id(snapshot, target.cells) for target in targets.values()}
        suspect = (snapshot, targets)
        self._suspects.append(suspect)
        expected = {entry_id: target.cells for entry_id, target in targets.items()}
        answer = self._send(expected, lambda: self._open().update(ranges))
        if answer is not None and _read_ids(answer, snapshot) != list(targets):
            after = self._look()
            self._repair(snapshot, targets, after)
            if not all(any(after.cells(row) == cells for row in after.find(each)) for each, cells in expected.items()):
                raise _moved(self._names)
        if suspect in self._suspects:
            self._suspects.remove(suspect)

    def _repair(self, before: Snapshot, targets: Mapping[str, Target], after: Snapshot) -> None:
        """Put back what rows held that were hit by mistake; raises if there were any."""
        hit = list(find_overwritten(before, after, targets))
        if not hit:
            return
        # A row with an id is written as any other, so that this write is watched as well.
        named = {show(after.cells(row)[ID]): Target(row, cells) for row, cells in hit if cells and cells[ID] != ""}
        if named:
            self._overwrite_part(after, named)
        others = {_name_row(after, row): _without_id(after, cells) for row, cells in hit if cells and cells[ID] == ""}
        if others:
            self._open().update(others)
        lost = [row for row, cells in hit if not cells]
        if lost:
            raise WorkbookError(
                "row {row} of the sheet {sheet} of {place} was moved in the moment of a write, and overwritten",
                "open File, Version history there, and copy this row back from the version before",
                row=lost[0] + 1,
                sheet=self._sheet,
                place=self.place,
            )
        # A request is done as a whole, so this one is in doubt no more.
        self._known_doubts().drop(targets)
        raise _moved(self._names)

    def _forget(self, snapshot: Snapshot, entry_ids: Sequence[str]) -> None:
        """Empty the ids of rows that are otherwise empty, wherever they are by now."""
        if not entry_ids:
            return
        column = snapshot.columns[ID]
        place = {
            "sheetId": self._find_number(),
            "startRowIndex": snapshot.top + 1,
            "startColumnIndex": column,
            "endColumnIndex": column + 1,
        }
        requests = {each: {"findReplace": _find(each, place)} for each in entry_ids}
        for part in split(list(requests), requests.__getitem__):
            batch = [requests[each] for each in part]
            self._send(dict.fromkeys(part), lambda batch=batch: self._open().batch(batch))  # type: ignore[misc]

    def _add(self, snapshot: Snapshot, adds: dict[str, Cells]) -> None:
        if not adds:
            return
        if shifted := list(snapshot.find_shifted(adds)):
            self._straighten(snapshot, shifted, adds)
            adds = {
                entry_id: cells for entry_id, cells in adds.items() if entry_id not in {each[0] for each in shifted}
            }
        for part in split(list(adds.items()), lambda item: item[1]):
            self._add_part(snapshot, dict(part))

    def _add_part(self, snapshot: Snapshot, adds: dict[str, Cells]) -> None:
        left = snapshot.find_start()
        values = [spread(cells, snapshot.columns, left, snapshot.right) for cells in adds.values()]
        answer = self._send(dict.fromkeys(adds, ()), lambda: self._open().append(snapshot.name_table(), values))
        if answer is None:
            return
        try:
            corner, shown = _read_appended(answer)
            column = snapshot.columns[ID] - corner[1]
            straight = column >= 0 and [show(row[column]) for row in shown] == list(adds)
        except (LookupError, TypeError, ValueError, IncorrectCellLabel):
            corner, shown, straight = (0, 0), [], False
        if not straight:
            self._confirm(adds)
        elif shown[0][snapshot.columns[DATE] - corner[1]] == str(next(iter(adds.values()))[DATE]):
            self._plain = corner[0], corner[0] + len(adds)

    def _confirm(self, adds: dict[str, Cells]) -> None:
        """Google has put the new rows elsewhere than it was asked to, or did not say where: look."""
        snapshot = self._look()
        shifted = list(snapshot.find_shifted(adds))
        if shifted:
            self._straighten(snapshot, shifted, adds)
        absent = [each for each in adds if not snapshot.find(each) and each not in {found[0] for found in shifted}]
        if absent:
            raise WorkbookError(
                "Google said that it added rows to {sheet} of {place}, but {count} of them are not there",
                "see whether somebody has deleted them just now; what is missing is sent again by itself",
                sheet=self._sheet,
                place=self.place,
                count=len(absent),
            )

    def _straighten(self, snapshot: Snapshot, shifted: Sequence[tuple[str, int, int]], adds: dict[str, Cells]) -> None:
        """Move rows of ours into our columns.

        Google begins new rows where the table above begins, which is beside our columns if a row there is not filled.
        """
        ranges = {}
        for entry_id, row, shift in shifted:
            left = max(min(snapshot.left, snapshot.left + shift), 0)
            right = max(snapshot.right, snapshot.right + shift)
            taken = {column + shift for column in snapshot.columns}
            cells = spread(adds[entry_id], snapshot.columns, left, right)
            emptied = ["" if cell is None and left + i in taken else cell for i, cell in enumerate(cells)]
            ranges[snapshot.name(row, left, right)] = emptied
        self._send(dict.fromkeys((each[0] for each in shifted), ()), lambda: self._open().update(ranges))

    def _format_dates(self, snapshot: Snapshot) -> None:
        """Have the dates of the rows that were added last shown as dates, if they are shown as numbers."""
        if self._plain is None:
            return
        request = _format(self._find_number(), snapshot.columns[DATE], _DATE_FORMAT, *self._plain)
        try:
            self._open().batch([request])
        except Failed as failed:
            # Where it may not be done it is told once, and does not keep the entries from being written.
            if failed.fate is Fate.REFUSED and failed.error.retry_after is None:
                self._plain = None
            raise
        self._plain = None

    def _explain_blocked(self, plan: Plan) -> WorkbookError | None:
        if plan.doubled:
            entry_id, rows = next(iter(plan.doubled.items()))
            return WorkbookError(
                "rows {rows} of the sheet {sheet} of {place} have the same id {id}, and one of them is to be changed",
                "empty the id of the rows that you copied by hand",
                rows=", ".join(str(row + 1) for row in rows),
                sheet=self._sheet,
                place=self.place,
                id=entry_id,
            )
        if plan.held:
            rest = max(self._known_doubts().rest(plan.held), 0.0)
            return WorkbookError(
                "Google did not say whether it wrote {count} entries, and the sheet does not show them yet",
                "wait; what is not there in {seconds} seconds is sent again by itself",
                retry_after=min(rest + 0.1, LOOK_AGAIN),
                count=len(plan.held),
                seconds=round(rest) + 1,
            )
        return None


def _find_key(spreadsheet: str) -> str:
    with suppress(NoValidUrlKeyFound):
        return extract_id_from_url(spreadsheet)
    if not _KEY.fullmatch(spreadsheet):
        raise WorkbookError(
            "“{spreadsheet}” is neither the id nor the address of a Google spreadsheet",
            "copy the address from the browser where it is open into budget.toml",
            spreadsheet=spreadsheet,
        )
    return spreadsheet


def _name_row(snapshot: Snapshot, row: int) -> str:
    return snapshot.name(row, snapshot.left, snapshot.right)


def _without_id(snapshot: Snapshot, cells: Cells) -> list[Any]:
    return spread((*cells[:ID], None), snapshot.columns, snapshot.left, snapshot.right)


def _format(number: int, column: int, number_format: Json, top: int = 1, bottom: int | None = None) -> Json:
    place = {"sheetId": number, "startRowIndex": top, "startColumnIndex": column, "endColumnIndex": column + 1}
    if bottom is not None:
        place["endRowIndex"] = bottom
    cell = {"userEnteredFormat": {"numberFormat": number_format}}
    return {"repeatCell": {"range": place, "cell": cell, "fields": _FORMAT_FIELDS}}


def _find(text: str, place: Json) -> Json:
    return {"find": text, "replacement": "", "matchCase": True, "matchEntireCell": True, "range": place}


def _read_ids(answer: Json, snapshot: Snapshot) -> list[str]:
    """The ids in the rows that were written, as they were at that very moment; none if the answer does not say."""
    try:
        rows = [read_values(response["updatedData"])[0] for response in answer["responses"]]
        return [show(row[snapshot.columns[ID] - snapshot.left]) for row in rows]
    except (LookupError, TypeError, AttributeError, Failed):
        return []


def _read_appended(answer: Json) -> tuple[tuple[int, int], list[list[Any]]]:
    """The first cell of what was appended, counted from 0, and what is shown there."""
    updates = answer["updates"]
    match = _UPDATED.fullmatch(updates["updatedRange"])
    if match is None:
        raise ValueError(updates["updatedRange"])
    row, column = a1_to_rowcol(match["first"])
    return (row - 1, column - 1), read_values(updates["updatedData"])


def _moved(names: Names) -> WorkbookError:
    return WorkbookError(
        "rows of the sheet {sheet} of {place} were moved in the moment of a write",
        "wait; it is tried again by itself",
        retry_after=1.0,
        sheet=names.sheet,
        place=names.place,
    )
