"""A Google spreadsheet as the workbook: the unmodified gspread against a stand-in for Google, over HTTP on loopback."""

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from budget_app.entries import Entry
from budget_app.workbooks.google import GoogleWorkbook
from budget_app.workbooks.workbook import HEADINGS, Change, Row, Workbook, WorkbookError, Written
from servers import find_port
from sheets_grid import Formula
from sheets_server import Fault, FaultList, FaultPlan, Google, private_key_pem, sheets_server

DAY = date(2026, 11, 23)
SERIAL = 46349
# Faults that leave open whether the request was done, or will be.
UNANSWERED = [fault for fault in Fault if "429" not in fault.value and fault not in (Fault.UNAUTHORISED, Fault.SLOW)]
UNDONE = [fault for fault in UNANSWERED if not fault.applied]
DONE = [fault for fault in UNANSWERED if fault.applied and fault is not Fault.LATE]

Make = Callable[..., GoogleWorkbook]


@pytest.fixture
def google() -> Iterator[Google]:
    with sheets_server() as running:
        running.put("Expenses", [HEADINGS])
        running.hang = 2.0
        yield running


@pytest.fixture
def make(google: Google, tmp_path: Path) -> Iterator[Make]:
    """Makes workbooks that read the stand-in; `limit` is for how long it may work on a request, in seconds."""
    made: list[GoogleWorkbook] = []

    def build(
        sheet: str = "Expenses",
        columns: Sequence[str] = HEADINGS,
        *,
        limit: float = 30,
        doubts: Path | None = None,
        key: Path | None = None,
        **environ: str,
    ) -> GoogleWorkbook:
        endpoint = {"BUDGET_GOOGLE_ENDPOINT": google.endpoint, "BUDGET_GOOGLE_REQUEST_LIMIT": str(limit)}
        path = key or google.credentials(tmp_path / "key.json")
        made.append(GoogleWorkbook(google.spreadsheet, sheet, columns, path, {**endpoint, **environ}, doubts=doubts))
        return made[-1]

    yield build
    for workbook in made:
        workbook.close()


@pytest.fixture
def workbook(make: Make) -> GoogleWorkbook:
    return make()


def add(name: str, amount: str = "4.50", note: str = "", day: date = DAY, *, written: bool = False) -> Change:
    return Change(name, Entry(Decimal(amount), "Coffee", day, note), "Anna's phone", written)


def remove(name: str) -> Change:
    return Change(name, None, "Anna's phone", written=True)


def row(name: str, amount: float = 4.5, note: str | None = None, day: int = SERIAL) -> list[Any]:
    return [day, amount, "Coffee", note, "Anna's phone", name]


def insist(workbook: Workbook, changes: Sequence[Change], tries: int = 400) -> int:
    """Repeat a write until it succeeds, with short waits, as the writer does with longer ones; how often it failed."""
    for failures in range(tries):
        try:
            workbook.write(changes)
        except WorkbookError as error:
            time.sleep(min(error.retry_after or 0.05, 0.2))
        else:
            return failures
    raise AssertionError("it never succeeds")


def count_appends(google: Google) -> int:
    return sum(seen.path.endswith(":append") for seen in google.seen)


def refuse(workbook: GoogleWorkbook, action: str = "write") -> WorkbookError:
    with pytest.raises(WorkbookError) as caught:
        workbook.write([add("one")]) if action == "write" else getattr(workbook, action)()
    return caught.value


# The sheet


def test_a_new_spreadsheet_gets_the_sheet_and_its_headings(tmp_path: Path) -> None:
    """The one empty sheet of a new spreadsheet stays, and dates and amounts will be shown as such."""
    with sheets_server("Folha1") as google:
        environ = {"BUDGET_GOOGLE_ENDPOINT": google.endpoint}
        workbook = GoogleWorkbook(
            google.spreadsheet, "Expenses", HEADINGS, google.credentials(tmp_path / "key.json"), environ
        )
        workbook.prepare()
        workbook.prepare()
        workbook.close()
        assert [sheet.title for sheet in google.book.sheets] == ["Folha1", "Expenses"]
        assert google.rows("Expenses") == [list(HEADINGS)]
        assert [google.book["Expenses"].format_of(1, column).get("type") for column in range(3)] == [
            "DATE",
            "NUMBER",
            None,
        ]


def test_headings_are_written_into_an_empty_sheet(google: Google, workbook: GoogleWorkbook) -> None:
    """A sheet of the right name with nothing in it is meant for them."""
    google.put("Expenses", [])
    workbook.prepare()
    assert google.rows("Expenses") == [list(HEADINGS)]


@pytest.mark.parametrize("sheets", [("2026",), ("2026", "Summary")])
def test_a_renamed_sheet_is_reported_and_none_is_made(sheets: tuple[str, ...], google: Google, make: Make) -> None:
    """A second sheet of the old name would split the expenses in two without a word."""
    google.put("Expenses", [HEADINGS, row("one")])
    google.book["Expenses"].title = sheets[0]
    for name in sheets[1:]:
        google.book.batch([{"addSheet": {"properties": {"title": name}}}])
    workbook = make()
    for action in ("prepare", "read", "write"):
        error = refuse(workbook, action)
        assert "has no sheet named Expenses" in str(error)
        assert "rename" in str(error.hint)
    assert [sheet.title for sheet in google.book.sheets] == list(sheets)


def test_the_place_is_the_title_once_it_is_known(google: Google, workbook: GoogleWorkbook) -> None:
    """Before that it is the id; a renamed spreadsheet is found by its id all the same."""
    assert workbook.place == google.spreadsheet
    google.book.title = "Money 2026"
    workbook.prepare()
    assert workbook.place == "Money 2026"


def test_the_spreadsheet_may_be_named_by_its_address(google: Google, tmp_path: Path) -> None:
    """As it is in the browser's address bar."""
    address = f"https://docs.google.com/spreadsheets/d/{google.spreadsheet}/edit#gid=0"
    environ = {"BUDGET_GOOGLE_ENDPOINT": google.endpoint}
    workbook = GoogleWorkbook(address, "Expenses", HEADINGS, google.credentials(tmp_path / "key.json"), environ)
    workbook.prepare()
    workbook.close()
    assert workbook.place == "Household"


def test_columns_are_found_by_their_headings(google: Google, make: Make) -> None:
    """They may be moved, stand among others, and begin below a title; the other cells of a row stay as they are."""
    ours = ("When", "How much", "What for", "Note", "Who", "Id")
    google.put("Expenses", [["Money"], [], ["", "Id", "Who", "Paid", "When", "How much", "What for", "Note"]])
    workbook = make(columns=ours)
    workbook.write([add("one", note="beans")])
    google.book["Expenses"].put(3, 3, Formula("=TRUE()", value=True))
    google.book["Expenses"].put(3, 8, "mine")
    workbook.write([add("one", "5.00", "filter", written=True)])
    assert google.rows("Expenses")[3] == [
        None,
        "one",
        "Anna's phone",
        Formula("=TRUE()", value=True),
        SERIAL,
        5.0,
        "Coffee",
        "filter",
        "mine",
    ]
    workbook.write([remove("one")])
    assert google.rows("Expenses")[3] == [None, None, None, Formula("=TRUE()", value=True), *[None] * 4, "mine"]


def test_columns_that_are_moved_later_are_followed(google: Google, workbook: GoogleWorkbook) -> None:
    """The headings are looked for each time, and not remembered."""
    workbook.write([add("one")])
    google.put("Expenses", [list(reversed(cells)) for cells in google.rows("Expenses")])
    workbook.write([add("two"), add("one", "9.00", written=True)])
    assert google.rows("Expenses")[1:] == [list(reversed(row("one", 9))), list(reversed(row("two")))]


def test_a_missing_heading_is_named(google: Google, workbook: GoogleWorkbook) -> None:
    """Nothing is written beside columns that cannot be told."""
    google.put("Expenses", [[*HEADINGS[:4], "Gerät", HEADINGS[5]]])
    error = refuse(workbook)
    assert "row 1: Device" in str(error)
    assert not google.requests("write")


def test_a_heading_that_is_there_twice_is_refused(google: Google, workbook: GoogleWorkbook) -> None:
    """Which of the two columns is meant is not guessed."""
    google.put("Expenses", [[*HEADINGS, "amount"]])
    assert "heading Amount twice" in str(refuse(workbook))


# Reading


def test_rows_are_read_as_they_are(google: Google, workbook: GoogleWorkbook) -> None:
    """Serial numbers are dates, with a time of day as well; text stays text, and empty rows are left out."""
    google.put(
        "Expenses",
        [
            HEADINGS,
            [SERIAL, 4.5, "Coffee", "", "", "one"],
            [],
            [SERIAL + 0.75, -3, 2026, True, "", ""],
            ["2026-11-23", "four", "Rent"],
            [Formula("=TODAY()", SERIAL), Formula("=1/0", "#DIV/0!"), "", "", "", "", "beside"],
            ["", "", "", "", "", "", "not ours"],
            [1e300, 0.1, "x"],
        ],
    )
    contents = workbook.read()
    assert contents.stamp is None
    assert contents.rows == (
        Row(2, DAY, Decimal("4.5"), "Coffee", "", "", "one"),
        Row(4, DAY, Decimal(-3), "2026", "TRUE", "", ""),
        Row(5, "2026-11-23", "four", "Rent", "", "", ""),
        Row(6, DAY, "#DIV/0!", "", "", "", ""),
        Row(8, f"{1e300:.0f}", Decimal("0.1"), "x", "", "", ""),
    )


def test_a_stamp_asks_nobody(google: Google, workbook: GoogleWorkbook) -> None:
    """Google has nothing that would tell one state from another without a request."""
    workbook.write([add("one")])
    before = len(google.seen)
    assert workbook.stamp() is None  # type: ignore[func-returns-value]
    assert len(google.seen) == before


# Writing


def test_what_is_written_is_read_again(google: Google, workbook: GoogleWorkbook) -> None:
    """Numbers are numbers and dates are dates; a note that looks like a formula stays what was typed."""
    changes = [add("one", "-1234.56", "=IMPORTXML(A1)"), add("two", "999999999.99", "+351 ☕ '", date(2000, 1, 1))]
    workbook.write(changes)
    assert workbook.read().rows == (
        Row(2, DAY, Decimal("-1234.56"), "Coffee", "=IMPORTXML(A1)", "Anna's phone", "one"),
        Row(3, date(2000, 1, 1), Decimal("999999999.99"), "Coffee", "+351 ☕ '", "Anna's phone", "two"),
    )


def test_dates_are_shown_as_dates(google: Google, workbook: GoogleWorkbook) -> None:
    """A serial number in a column without a format would be shown as a number; a format that is there is kept."""
    workbook.write([add("one"), add("two")])
    workbook.write([add("three")])
    shown = google.book.read("Expenses!A2:A4", "FORMATTED_VALUE", "")["values"]
    assert shown == [["2026-11-23"]] * 3
    assert sum(seen.path.endswith(":batchUpdate") for seen in google.seen) == 1


def test_the_same_changes_twice_do_what_they_do_once(google: Google, workbook: GoogleWorkbook) -> None:
    """And the second time nothing is written at all."""
    changes = [add("one"), add("two")]
    workbook.write(changes)
    writes = len(google.requests("write"))
    workbook.write(changes)
    assert google.ids("Expenses") == ["one", "two"]
    assert len(google.requests("write")) == writes


def test_a_batch_is_few_requests(google: Google, workbook: GoogleWorkbook) -> None:
    """Whatever is in it: one that reads, and three that write."""
    workbook.write([add(f"old-{number}") for number in range(200)])
    google.seen.clear()
    changes = [add(f"old-{number}", "7.00", written=True) for number in range(100)]
    changes += [remove(f"old-{number}") for number in range(100, 200)]
    changes += [add(f"new-{number}") for number in range(500)]
    random.Random(6).shuffle(changes)  # noqa: S311  The same order each time.
    workbook.write(changes)
    assert len(google.requests("read")) == 1
    assert len(google.requests("write")) == 3
    assert Counter(google.ids("Expenses")) == Counter(
        [*(f"old-{number}" for number in range(100)), *(f"new-{number}" for number in range(500))]
    )


def test_a_large_batch_is_sent_in_parts_of_less_than_2_mb(google: Google, workbook: GoogleWorkbook) -> None:
    """As the API's limits recommend."""
    workbook.write([add(f"entry-{number}", note="☕" * 500) for number in range(800)])
    sizes = [len(json.dumps(seen.body)) for seen in google.seen if seen.path.endswith(":append")]
    assert len(sizes) == 2
    assert max(sizes) < 2_000_000
    assert google.ids("Expenses") == [f"entry-{number}" for number in range(800)]


def test_the_pace_stays_within_sixty_requests_a_minute(make: Make, google: Google) -> None:
    """With three requests that write in a write at the most."""
    assert GoogleWorkbook("id", "Expenses", HEADINGS, None, {}).pace * 60 / 3 >= 60
    workbook = make(BUDGET_GOOGLE_PACE="0.5")
    workbook.prepare()
    assert workbook.pace == 0.5


def test_what_the_person_took_out_stays_out(google: Google, workbook: GoogleWorkbook) -> None:
    """And is told; what was never written is added, and what is gone already may be removed."""
    written = workbook.write([add("taken", written=True), add("new"), remove("gone")])
    assert written == Written(None, None, frozenset({"taken"}))
    assert google.ids("Expenses") == ["new"]


def test_removing_empties_the_cells_and_moves_none(google: Google, workbook: GoogleWorkbook) -> None:
    """The row stays, and new rows go under the last one."""
    workbook.write([add("one"), add("two"), add("three")])
    workbook.write([remove("two")])
    workbook.write([add("four")])
    assert google.rows("Expenses")[1:] == [row("one"), [], row("three"), row("four")]


def test_new_rows_stay_above_what_stands_under_the_table(google: Google, workbook: GoogleWorkbook) -> None:
    """A sum under the table is pushed down, and is not taken for the end of it."""
    google.put("Expenses", [HEADINGS, row("one"), [], ["Sum", Formula("=SUM(B2:B2)", 4.5)]])
    workbook.write([add("two")])
    assert google.rows("Expenses")[1:] == [row("one"), row("two"), [], ["Sum", Formula("=SUM(B2:B2)", 4.5)]]


@pytest.mark.parametrize(
    "rows",
    [
        [["Month", *HEADINGS]],
        [["", *HEADINGS], ["11", *row("old")]],
        [["", *HEADINGS], ["mine"], ["", *row("old")]],
    ],
    ids=["a heading beside ours", "a cell beside the last row", "a cell beside another row"],
)
def test_new_rows_are_in_our_columns_wherever_the_table_begins(
    rows: list[list[Any]], google: Google, workbook: GoogleWorkbook
) -> None:
    """Google begins a new row where the table above begins, which may be beside our columns."""
    google.put("Expenses", rows)
    workbook.write([add("one"), add("two", note="beans")])
    assert google.rows("Expenses")[len(rows) :] == [[None, *row("one")], [None, *row("two", note="beans")]]


def test_rows_beside_our_columns_are_put_right_later(google: Google, workbook: GoogleWorkbook) -> None:
    """If the app is stopped before it could, they are found and not sent again."""
    google.put("Expenses", [["", *HEADINGS], ["mine"], ["", *row("old")]])
    google.faults = FaultList(None, Fault.TOO_MANY, kind="write")
    refuse(workbook)
    workbook.write([add("one")])
    assert google.rows("Expenses")[3:] == [[None, *row("one")]]
    assert count_appends(google) == 1


def test_a_row_that_was_copied_by_hand_is_not_guessed_at(google: Google, workbook: GoogleWorkbook) -> None:
    """Two rows with one id: the person says which one is the entry's, and all else is written."""
    google.put("Expenses", [HEADINGS, row("one"), row("one", 7)])
    with pytest.raises(WorkbookError) as caught:
        workbook.write([add("one", "5.00", written=True), add("two")])
    assert "rows 2, 3" in str(caught.value)
    assert google.rows("Expenses")[1:] == [row("one"), row("one", 7), row("two")]


# Exactly one row an entry


@pytest.mark.parametrize("fault", DONE)
def test_what_was_done_without_an_answer_is_not_sent_again(fault: Fault, google: Google, make: Make) -> None:
    """The ids are read back, and the write has succeeded."""
    workbook = make(limit=1.0 if fault is Fault.TIMEOUT_AFTER else 30)
    google.faults = FaultList(fault, kind="write")
    workbook.write([add("one"), add("two")])
    assert google.ids("Expenses") == ["one", "two"]
    assert count_appends(google) == 1


@pytest.mark.parametrize("fault", UNDONE)
def test_what_was_not_done_is_sent_again_when_it_cannot_be_done_any_more(
    fault: Fault, google: Google, make: Make
) -> None:
    """Until then it is not there twice on any account, and other entries are not kept waiting."""
    workbook = make(limit=0.5)
    google.faults = FaultList(fault, kind="write")
    refuse(workbook)
    assert insist(workbook, [add("one"), add("two")]) > 0
    assert sorted(google.ids("Expenses")) == ["one", "two"]


def test_an_entry_in_doubt_waits_and_says_so(google: Google, make: Make) -> None:
    """The sentence says for how long, and when to come again."""
    workbook = make(limit=60)
    google.faults = FaultList(Fault.RESET, kind="write")
    refuse(workbook)
    for change in (add("one"), add("one", "9.00"), Change("one", None, "", written=False)):
        with pytest.raises(WorkbookError) as caught:
            workbook.write([change, add("two")])
        assert "did not say whether it wrote 1 entries" in str(caught.value)
        assert caught.value.retry_after == 20
    assert google.ids("Expenses") == ["two"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_done_late_is_there_once(restarted: bool, google: Google, make: Make, tmp_path: Path) -> None:
    """Google may do what it did not answer after the ids were read back, and after the app was killed and restarted."""
    google.late = 0.6
    google.faults = FaultList(Fault.LATE, kind="write")
    doubts = tmp_path / "doubts.json"
    workbook = make(limit=1.0, doubts=doubts)
    refuse(workbook)
    assert doubts.stat().st_mode & 0o777 == 0o600
    insist(make(limit=1.0, doubts=doubts) if restarted else workbook, [add("one")])
    time.sleep(0.8)
    assert google.ids("Expenses") == ["one"]
    assert not doubts.exists()


def test_a_damaged_file_of_doubts_is_refused(make: Make, tmp_path: Path) -> None:
    """What may be under way is not guessed at."""
    doubts = tmp_path / "doubts.json"
    doubts.write_text("{")
    assert "is damaged" in str(refuse(make(doubts=doubts)))


@pytest.mark.parametrize("fault", [*Fault])
def test_an_entry_is_changed_and_removed_through_every_fault(fault: Fault, google: Google, make: Make) -> None:
    """In each of the requests that this takes."""
    google.late = 0.1
    workbook = make(limit=0.2)
    insist(workbook, [add("one"), add("two"), add("three")])
    google.faults = FaultList(fault, None, fault, None, fault, kind="write")
    insist(workbook, [add("one", "9.00", written=True), remove("two"), add("four")])
    google.faults = None
    assert google.rows("Expenses")[1:] == [row("one", 9), [], row("three"), row("four")]


@pytest.mark.parametrize("fault", [*Fault])
def test_a_failed_read_writes_nothing(fault: Fault, google: Google, make: Make) -> None:
    """Without the ids nothing is sent."""
    workbook = make(limit=0.5 if fault in (Fault.TIMEOUT, Fault.TIMEOUT_AFTER) else 30)
    google.faults = FaultList(fault, fault, kind="read")
    if fault is not Fault.SLOW:
        refuse(workbook)
        assert not google.requests("write")
    insist(workbook, [add("one")])
    assert google.ids("Expenses") == ["one"]


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_when_a_third_of_all_calls_fail(seed: int, google: Google, make: Make) -> None:
    """In every way, over adding, changing and removing; a small copy of `make torture`."""
    google.hang, google.late = 0.3, 0.05
    workbook = make(limit=0.15)
    plan = FaultPlan(seed, 1 / 3)
    google.faults, google.retry_after = plan, "0"
    rounds = random.Random(seed)  # noqa: S311  The same entries each time.
    for batch in range(6):
        names = [f"{batch}-{number}" for number in range(50)]
        insist(workbook, [add(name) for name in names])
        insist(workbook, [add(name, "9.00", written=True) for name in rounds.sample(names, 10)])
        insist(workbook, [remove(f"{batch}-{number}") for number in range(5)])
    google.faults = None
    expected = [f"{batch}-{number}" for batch in range(6) for number in range(5, 50)]
    assert Counter(google.ids("Expenses")) == Counter(expected)
    assert all(cells[:1] == [SERIAL] and cells[1] in (4.5, 9) for cells in google.rows("Expenses")[1:] if cells)
    assert sum(plan.made.values()) > 5


# A person at the same sheet in the same moment


@pytest.fixture
def shared(google: Google) -> Google:
    google.put("Expenses", [HEADINGS, row("one", 1), row("two", 2), [SERIAL, 3, "Rent"], row("four", 4)])
    return google


def swap(google: Google, first: int, second: int) -> Callable[[], None]:
    def act() -> None:
        rows = google.book["Expenses"].rows
        rows[first], rows[second] = rows[second], rows[first]

    return act


@pytest.mark.parametrize("change", [add("one", "9.00", written=True), remove("one")], ids=["change", "remove"])
@pytest.mark.parametrize("other", [2, 3], ids=["with an id", "typed by hand"])
@pytest.mark.parametrize("fault", [None, Fault.RESET_AFTER, Fault.TRUNCATED_AFTER], ids=str)
def test_a_row_that_was_hit_by_mistake_gets_back_what_it_held(
    change: Change, other: int, fault: Fault | None, shared: Google, workbook: GoogleWorkbook
) -> None:
    """Rows were sorted between our read and our write, which Google does not prevent."""
    shared.meddle = swap(shared, 1, other)
    shared.faults = FaultList(fault, kind="write")
    with pytest.raises(WorkbookError, match="moved in the moment"):
        workbook.write([change])
    insist(workbook, [change])
    held = {2: row("two", 2), 3: [SERIAL, 3, "Rent"]}
    rows = shared.rows("Expenses")
    assert rows[1] == held[other]
    assert rows[other] == (row("one", 9) if change.entry else [])
    assert len(rows) == 5


def test_a_row_that_cannot_be_put_back_is_reported(shared: Google, workbook: GoogleWorkbook) -> None:
    """Two rows typed by hand are gone at once, and which one was overwritten cannot be told."""

    def act() -> None:
        rows = shared.book["Expenses"].rows
        rows[1:] = [[SERIAL, 3, "Rent"], rows[1], rows[2]]

    shared.put("Expenses", [*shared.rows("Expenses"), [SERIAL, 5, "Heating"]])
    shared.meddle = act
    with pytest.raises(WorkbookError) as caught:
        workbook.write([add("one", "9.00", written=True)])
    assert "row 2 of the sheet Expenses" in str(caught.value)
    assert "Version history" in str(caught.value.hint)


def test_a_change_that_is_done_late_to_another_row_is_put_right(shared: Google, make: Make) -> None:
    """As long as it may come, the row is watched."""
    shared.late = 0.3
    shared.faults = FaultList(Fault.LATE, kind="write")
    workbook = make(limit=1.0)
    change = add("one", "9.00", written=True)
    with pytest.raises(WorkbookError):
        workbook.write([change])
    swap(shared, 1, 2)()
    time.sleep(0.5)
    insist(workbook, [change])
    assert shared.rows("Expenses")[1:3] == [row("two", 2), row("one", 9)]


def test_rows_added_by_hand_in_the_same_moment_stay(shared: Google, workbook: GoogleWorkbook) -> None:
    """New rows are inserted, and never written over others."""
    shared.meddle = lambda: shared.book["Expenses"].rows.append([SERIAL, 7, "Rent"])
    workbook.write([add("five", "5.00")])
    assert shared.rows("Expenses")[5:] == [[SERIAL, 7, "Rent"], row("five", 5)]


# The account, and what Google refuses


def test_an_expired_token_is_renewed_once(google: Google, workbook: GoogleWorkbook) -> None:
    """And the ids are read again before anything is sent again."""
    workbook.write([add("one")])
    google.faults = FaultList(None, Fault.UNAUTHORISED)
    workbook.write([add("two")])
    google.faults = None
    google.forget_tokens()
    workbook.write([add("three")])
    assert google.granted == 3
    assert google.ids("Expenses") == ["one", "two", "three"]


def test_a_token_that_is_refused_twice_is_no_use(google: Google, workbook: GoogleWorkbook) -> None:
    """Nobody tries for ever."""
    google.faults = FaultList(*[Fault.UNAUTHORISED] * 3)
    assert google.email in str(refuse(workbook))
    assert len(google.seen) == 2


def test_a_key_that_google_does_not_know_is_reported(google: Google, make: Make, tmp_path: Path) -> None:
    """By the account's address; when the file has been replaced, it is read again."""
    key = google.credentials(tmp_path / "other.json", client_email="old@keyfob-test.iam.gserviceaccount.com")
    workbook = make(key=key)
    error = refuse(workbook)
    assert "does not accept the key of old@keyfob-test.iam.gserviceaccount.com" in str(error)
    google.credentials(key)
    workbook.write([add("one")])
    assert google.ids("Expenses") == ["one"]


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.TIMEOUT, Fault.TRUNCATED_AFTER])
def test_a_token_endpoint_that_fails_is_no_wrong_key(fault: Fault, google: Google, make: Make) -> None:
    """It is tried again later."""
    workbook = make(limit=0.5 if fault is Fault.TIMEOUT else 30)
    google.token_faults = FaultList(fault)
    assert "cannot be reached" in str(refuse(workbook)) or fault is Fault.TRUNCATED_AFTER
    workbook.write([add("one")])
    assert google.ids("Expenses") == ["one"]


@pytest.mark.parametrize(
    ("state", "said", "cure"),
    [
        ({"may_read": False}, "is not shared with budget@", "choose Share"),
        ({"may_write": False}, "is not shared with budget@", "as Editor"),
        ({"enabled": False}, "API is not enabled", "enable it in the Google Cloud console"),
        ({"exists": False}, "has no spreadsheet", "bin of Google Drive"),
    ],
    ids=["not shared", "shared to read", "API not enabled", "deleted"],
)
def test_what_google_refuses_is_told_with_its_cure(
    state: dict[str, bool], said: str, cure: str, google: Google, workbook: GoogleWorkbook
) -> None:
    """In words for the person who can put it right, and then it works without a restart."""
    for name, value in state.items():
        setattr(google, name, value)
    error = refuse(workbook)
    assert said in str(error.message)
    assert cure in str(error.hint)
    for name in state:
        setattr(google, name, True)
    workbook.write([add("one")])
    assert google.ids("Expenses") == ["one"]


def test_a_full_spreadsheet_is_reported(google: Google, workbook: GoogleWorkbook) -> None:
    """Nothing of the batch is added then, and all of it once there is room."""
    google.book.most_cells = 26_000
    error = refuse(workbook)
    assert "is full" in str(error.message)
    assert google.ids("Expenses") == []
    google.book.most_cells = 27_000
    workbook.write([add("one")])
    assert google.ids("Expenses") == ["one"]


def test_a_protected_sheet_is_reported(google: Google, workbook: GoogleWorkbook) -> None:
    """With the address that has to be allowed."""
    google.book["Expenses"].protected = True
    error = refuse(workbook)
    assert "is protected" in str(error.message)
    assert google.email in str(error.message)


@pytest.mark.parametrize(
    ("fault", "header", "least", "most"),
    [
        (Fault.TOO_MANY, "30", 30, 30),
        (Fault.TOO_MANY, "99999999", 3600, 3600),
        (Fault.TOO_MANY, formatdate(time.time() + 1800, usegmt=True), 600, 1800),
        (Fault.TOO_MANY, "soon", 60, 60),
        (Fault.TOO_MANY_BARE, "", 60, 60),
    ],
    ids=["seconds", "for years", "date", "nonsense", "nothing"],
)
def test_too_many_requests_are_followed_by_a_rest(
    fault: Fault, header: str, least: float, most: float, google: Google, workbook: GoogleWorkbook
) -> None:
    """As long as Google says, or a minute; nothing tries again by itself."""
    google.retry_after = header
    google.faults = FaultList(None, fault)
    error = refuse(workbook)
    assert error.retry_after is not None
    assert least <= error.retry_after <= most
    assert len(google.seen) == 2


def test_too_many_requests_may_have_been_done(google: Google, workbook: GoogleWorkbook) -> None:
    """The ids are read before it is sent again."""
    google.faults = FaultList(Fault.TOO_MANY_AFTER, kind="write")
    refuse(workbook)
    workbook.write([add("one")])
    assert google.ids("Expenses") == ["one"]
    assert count_appends(google) == 1


def test_google_may_be_out_of_reach(google: Google, make: Make) -> None:
    """Nothing was sent then, and nothing is in doubt."""
    workbook = make(limit=60)
    workbook.read()
    reachable = google.endpoint
    workbook.close()
    workbook._environ = {"BUDGET_GOOGLE_ENDPOINT": f"http://127.0.0.1:{find_port()}"}
    assert "cannot be reached" in str(refuse(workbook))
    workbook._environ = {"BUDGET_GOOGLE_ENDPOINT": reachable}
    workbook.write([add("one")])
    assert google.ids("Expenses") == ["one"]


def test_every_request_is_made_once(google: Google, workbook: GoogleWorkbook) -> None:
    """No layer below tries again by itself: not gspread, google-auth, requests or urllib3."""
    for fault in (Fault.RESET, Fault.ERROR, Fault.UNAVAILABLE, Fault.HTML, Fault.TOO_MANY, Fault.TRUNCATED_AFTER):
        google.seen.clear()
        google.faults = FaultList(*[fault] * 9)
        refuse(workbook)
        assert len(google.seen) == 1, fault


def test_nothing_follows_a_redirect(google: Google, workbook: GoogleWorkbook) -> None:
    """Neither the key's signature nor a token or an entry goes where nobody meant it to go."""
    with sheets_server() as other:
        google.redirect = other.endpoint
        refuse(workbook)
        assert other.granted == 0
        google.redirect = None
        workbook.read()
        google.redirect = other.endpoint
        refuse(workbook)
        assert not other.seen


@pytest.mark.parametrize("answer", ["[]", '"no"', "{}", '{"values": 7}', '{"error": "no"}', "<html>", ""])
def test_an_answer_of_another_shape_is_an_error_in_words(
    answer: str, google: Google, workbook: GoogleWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a machine in between may say; an empty object is an empty sheet."""
    monkeypatch.setattr("sheets_server.json.dumps", lambda *_: answer)
    for action in ("read", "prepare"):
        with pytest.raises(WorkbookError):
            getattr(workbook, action)()


# The key


def test_the_key_may_be_in_the_environment(google: Google, tmp_path: Path) -> None:
    """As the JSON itself, or as the path that Google's own programs use."""
    path = google.credentials(tmp_path / "key.json")
    for key in (
        {"BUDGET_GOOGLE_CREDENTIALS": google.credentials_json(), "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"},
        {"GOOGLE_APPLICATION_CREDENTIALS": str(path)},
    ):
        environ = {"BUDGET_GOOGLE_ENDPOINT": google.endpoint, **key}
        workbook = GoogleWorkbook(google.spreadsheet, "Expenses", HEADINGS, None, environ)
        workbook.prepare()
        workbook.close()


def test_a_missing_key_is_told_with_its_cure(google: Google) -> None:
    """Nothing of it is needed before the first call."""
    workbook = GoogleWorkbook(google.spreadsheet, "Expenses", HEADINGS, None, {})
    assert "no key of a service account" in str(refuse(workbook))
    workbook = GoogleWorkbook(google.spreadsheet, "Expenses", HEADINGS, Path("/nowhere/key.json"), {})
    assert "/nowhere/key.json cannot be read" in str(refuse(workbook))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "authorized_user"},
        {"private_key": "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"},
        {"private_key": 7},
        {"client_email": "no address"},
        {"token_uri": "http://tokens.example.com/token"},
        {"token_uri": "http://127.0.0.1@tokens.example.com/token"},
        {"token_uri": None},
    ],
    ids=str,
)
def test_a_wrong_key_file_is_refused(changes: dict[str, Any], google: Google, make: Make, tmp_path: Path) -> None:
    """Before anything is sent, and without showing what is in it."""
    error = refuse(make(key=google.credentials(tmp_path / "wrong.json", **changes)))
    assert "secret" not in str(error)
    assert not google.seen
    assert google.granted == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"private_key": "secret"', "\udcff"])
def test_a_damaged_key_file_is_refused(text: str, make: Make, tmp_path: Path) -> None:
    """The parser's own error would hold the whole file."""
    path = tmp_path / "damaged.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    error = refuse(make(key=path))
    assert "is not the key of a service account" in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    "endpoint",
    ["http://sheets.example.com", "ftp://127.0.0.1", "https://", "https://a@b.example", "https://b.example/v4", "x"],
)
def test_an_unsafe_endpoint_is_refused(endpoint: str, make: Make) -> None:
    """A token goes over https, or stays on this machine."""
    assert "BUDGET_GOOGLE_ENDPOINT" in str(refuse(make(BUDGET_GOOGLE_ENDPOINT=endpoint)))


def test_the_limits_of_another_endpoint_count_for_it_alone() -> None:
    """Google's own cannot be weakened by the environment."""
    from budget_app.workbooks.google.account import Endpoint, choose_endpoint

    environ = {"BUDGET_GOOGLE_REQUEST_LIMIT": "0", "BUDGET_GOOGLE_PACE": "0"}
    assert choose_endpoint(environ) == Endpoint("https://sheets.googleapis.com", 180.0, 3.0)
    for wrong in ("soon", "-1", "nan", "inf"):
        with pytest.raises(WorkbookError, match="no number of seconds"):
            choose_endpoint({"BUDGET_GOOGLE_ENDPOINT": "https://b.example", "BUDGET_GOOGLE_PACE": wrong})


def test_a_wrong_spreadsheet_address_is_refused(make: Make, google: Google) -> None:
    """Only an id, or an address with one, is asked for."""
    google.spreadsheet = "Household/../x"
    assert "neither the id nor the address" in str(refuse(make()))


def test_nothing_secret_is_said(google: Google, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a log of everything, not in an error with all that led to it, and not in what the workbook looks like."""
    caplog.set_level(logging.DEBUG)
    workbook = make(doubts=tmp_path / "doubts.json")
    said = [repr(workbook)]
    workbook.write([add("zero")])
    faults = [Fault.RESET, Fault.HTML, Fault.TRUNCATED_AFTER, Fault.UNAUTHORISED, Fault.UNAUTHORISED, None]
    google.faults = FaultList(*faults, Fault.ERROR)
    for action in ("read", "read", "read", "read", "write"):
        error: BaseException | None = refuse(workbook, action)
        while error is not None:
            said += [str(error), repr(error), str(vars(error))]
            error = error.__cause__ or error.__context__
    said.append(caplog.text)
    secrets = [*google._tokens, *(line for line in private_key_pem().splitlines() if "KEY" not in line)]
    assert not [secret for secret in secrets for text in said if secret in text]
    assert google.granted
