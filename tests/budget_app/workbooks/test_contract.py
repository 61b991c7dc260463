"""What every kind of workbook promises, by the same tests for each: `budget_app.workbooks.workbook`."""

import fcntl
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from budget_app.entries import MAX_AMOUNT, Entry, clean_device, parse_note
from budget_app.workbooks.workbook import Change, Row, Workbook, WorkbookBusy, WorkbookError
from workbooks import KINDS, Cells, FilePerson, Person, delete_row, edit, find_row, meet, type_row

DAY = date(2026, 11, 23)
LUNCH = Entry(Decimal("12.50"), "Eating out", DAY, "Lunch")
TEA = Entry(Decimal("2.80"), "Coffee", DAY, "Tea")
TYPED = {"date": DAY, "amount": 8.25, "category": "Home", "note": "typed by hand"}

TEXTS = (
    "=1+1",
    '=HYPERLINK("http://example.com","x")',
    "=cmd|' /C calc'!A0",
    "+351 912 345 678",
    "-5 %",
    "@SUM(A1)",
    "'",
    "'quoted'",
    "'=1+1",
    "''=1+1",
    '"',
    '""',
    'a "quote", a comma; a semicolon',
    "007",
    "1e5",
    "12.50",
    "0x1F",
    "TRUE",
    "false",
    "NULL",
    "#N/A",
    "#REF!",
    "2026-11-23",
    "23/11/2026",
    "11/23",
    "10:30",
    "50 %",
    "€ 4.50",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 and \U0001f1f5\U0001f1f9",
    "שלום 4.50 عليكم",
    "e\u0301 is not \u00e9",
    "a\u00a0b",
    "two  spaces",
    "<b>&amp;</b>]]>",
    "\\n \\t {{1}} %s",
    "\ufeffmark",
    "\u200bunseen",
    "x" * 500,
    "\U0001f600" * 500,
)
IDS = ("0190f7a4-5b1c-7e2a-9c1d-2f3e4a5b6c7d", "-1", "007", "1e5", "TRUE", "true", ".", "a.b_c-d", "x" * 64)


@pytest.fixture(params=KINDS)
def person(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Person]:
    with meet(request.param, tmp_path) as met:
        yield met


@pytest.fixture
def workbook(person: Person) -> Workbook:
    return person.open()


def add(entry_id: str, entry: Entry = LUNCH, device: str = "phone") -> Change:
    return Change(entry_id, entry, device, written=False)


def update(entry_id: str, entry: Entry, device: str = "phone") -> Change:
    return Change(entry_id, entry, device, written=True)


def remove(entry_id: str) -> Change:
    return Change(entry_id, None, "phone", written=True)


def numbered(count: int, start: int = 0) -> list[Change]:
    days = (DAY + timedelta(days=number % 365) for number in range(start, start + count))
    return [
        add(f"id-{number}", Entry(Decimal(number + 1) / 100, "Coffee", day, f"note {number}"))
        for number, day in enumerate(days, start)
    ]


def expect(change: Change) -> tuple[object, ...]:
    """What the row of a change shows: everything but its number."""
    if change.entry is None:
        raise ValueError(change)
    entry = change.entry
    return entry.date, entry.amount, entry.category, entry.note, change.device, change.entry_id


def show(row: Row) -> tuple[object, ...]:
    return row.date, row.amount, row.category, row.note, row.device, row.entry_id


def shown(workbook: Workbook) -> list[tuple[object, ...]]:
    return [show(row) for row in workbook.read().rows]


def ids(workbook: Workbook) -> list[str]:
    return [row.entry_id for row in workbook.read().rows]


def assert_round_trip(person: Person, changes: Sequence[Change]) -> None:
    """Another process reads exactly what was written."""
    written = person.open().write(changes)
    assert not written.missing
    assert shown(person.open()) == [expect(change) for change in changes]


def assert_unchanged_by(person: Person, action: Callable[[], object]) -> None:
    """Not a cell of the sheet, and of a file not a byte, is another one after this."""
    cells, content = person.load(), person.content()
    action()
    assert person.load() == cells
    assert person.content() == content


def swap_columns(cells: Cells) -> None:
    """The person drags every column to the other side."""
    for row in cells:
        row.extend([None] * (len(cells[0]) - len(row)))
        row.reverse()


def put_column(cells: Cells, place: int) -> None:
    """The person adds a column of their own."""
    for number, row in enumerate(cells):
        row.extend([None] * (place - len(row)))
        row.insert(place, f"own {number}" if number else "Own")


def find_own(person: Person, cells: Cells, entry_id: str) -> object:
    """What the person wrote beside an entry, in the column that `put_column` added."""
    row, column = cells[find_row(person, cells, entry_id)], cells[0].index("Own")
    return row[column] if column < len(row) else None


def test_a_prepared_workbook_has_the_headings_and_no_rows(person: Person) -> None:
    """A workbook that is new to the app has nothing to read, and every heading once."""
    assert person.open().read().rows == ()
    headings = person.load()[0]
    assert all(headings.count(heading) == 1 for heading in person.headings)


def test_preparing_a_good_workbook_changes_nothing(person: Person) -> None:
    """The app starts often."""
    person.open().write([add("a")])
    assert_unchanged_by(person, person.open().prepare)


def test_every_kind_of_text_comes_back_as_it_is(person: Person) -> None:
    """A note is text, whatever a spreadsheet would make of it."""
    assert all(parse_note(text) == text for text in TEXTS if text.strip() == text)
    assert_round_trip(person, [add(f"id-{n}", Entry(Decimal("1.00"), "Coffee", DAY, t)) for n, t in enumerate(TEXTS)])


def test_categories_and_devices_are_text_too(person: Person) -> None:
    """They come from a person as well."""
    short = [text for text in TEXTS if len(text) <= 50]
    changes = [add(f"id-{n}", Entry(Decimal("1.00"), t, DAY), clean_device(t)) for n, t in enumerate(short)]
    assert_round_trip(person, changes)


def test_an_id_is_text_too(person: Person) -> None:
    """Ids that look like numbers, words or formulas are found again."""
    changes = [add(entry_id) for entry_id in IDS]
    assert_round_trip(person, changes)
    assert_unchanged_by(person, lambda: person.open().write(changes))


def test_no_text_becomes_a_formula(person: Person) -> None:
    """What is shown to a person's own program is text that it calculates nothing from."""
    person.open().write([add("a", Entry(Decimal("1.00"), "Coffee", DAY, "=1+1"))])
    cells = person.load()
    note = cells[find_row(person, cells, "a")][cells[0].index(person.headings[3])]
    assert note in ("=1+1", "'=1+1")


def test_amounts_are_exact_to_the_cent_both_ways(person: Person) -> None:
    """Cents that a binary fraction has no end for, refunds, and the largest."""
    chance = random.Random(6)  # noqa: S311  The amounts are to be the same each time.
    cents = [1, -1, 7, 10, 29, 57, -450, 100, 1_00, 1234_56, *(chance.randrange(1, 10**11) for _ in range(200))]
    amounts = [*(Decimal(cent).scaleb(-2) for cent in cents), MAX_AMOUNT, -MAX_AMOUNT]
    assert_round_trip(person, [add(f"id-{n}", Entry(a, "Coffee", DAY)) for n, a in enumerate(amounts)])


def test_dates_are_exact_from_2000_to_2226(person: Person) -> None:
    """Leap days, the ends of years, and one day in about a hundred."""
    first, last = date(2000, 1, 1), date(2226, 12, 31)
    days = [first + timedelta(days=n) for n in range(0, (last - first).days, 97)]
    days += [date(2000, 2, 29), date(2100, 2, 28), date(2100, 3, 1), date(2024, 2, 29), date(2026, 12, 31), last]
    assert_round_trip(person, [add(f"id-{n}", Entry(Decimal("1.00"), "Coffee", day)) for n, day in enumerate(days)])


def test_rows_stand_in_the_order_they_came_in(person: Person) -> None:
    """Each write goes below the last."""
    workbook = person.open()
    for change in numbered(5):
        workbook.write([change])
    assert ids(workbook) == [f"id-{number}" for number in range(5)]
    numbers = [row.number for row in workbook.read().rows]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_the_same_changes_twice_change_nothing(person: Person, workbook: Workbook) -> None:
    """A writer that does not know whether it has written writes again."""
    workbook.write([*numbered(3), add("gone")])
    changes = [*numbered(3), update("id-1", TEA), remove("gone"), add("new", TEA)]
    changes.pop(1)
    workbook.write(changes)
    for other in (workbook, person.open()):
        assert_unchanged_by(person, lambda other=other: other.write(changes))  # type: ignore[misc]


def test_the_same_changes_in_another_order_change_nothing(person: Person, workbook: Workbook) -> None:
    """Rows are found by their ids alone."""
    workbook.write(numbered(20))
    assert_unchanged_by(person, lambda: workbook.write(numbered(20)[::-1]))


def test_nothing_to_do_writes_nothing(person: Person, workbook: Workbook) -> None:
    """An empty list, and an entry to remove that never was there."""
    workbook.write([add("a")])
    assert_unchanged_by(person, lambda: workbook.write([]))
    assert_unchanged_by(person, lambda: workbook.write([remove("never"), Change("none", None, "", written=False)]))


def test_the_rest_of_a_batch_is_added_after_a_crash(workbook: Workbook) -> None:
    """Half of it is there already."""
    workbook.write(numbered(10))
    workbook.write(numbered(20))
    assert ids(workbook) == [f"id-{number}" for number in range(20)]


def test_a_batch_of_a_thousand_is_all_there(person: Person) -> None:
    """In their order, once each."""
    assert_round_trip(person, numbered(1000))


def test_stamps_tell_states_apart_or_nothing_does(workbook: Workbook) -> None:
    """A file has one stamp before a write and another one after it; what has none says None throughout."""
    before = workbook.stamp()
    written = workbook.write([add("a")])
    assert (written.before, written.after) == (before, workbook.stamp())
    assert workbook.read().stamp == workbook.stamp()
    assert before is None or written.after != before
    again = workbook.write([add("a")])
    assert again.before == again.after == workbook.stamp()


def test_an_update_changes_the_cells_of_its_entry_alone(person: Person, workbook: Workbook) -> None:
    """Other rows, and what the person wrote beside ours in the same row, stay."""
    workbook.write(numbered(3))
    type_row(person, **TYPED)
    edit(person, lambda cells: put_column(cells, len(cells[0])))
    before = person.load()
    workbook.write([update("id-1", Entry(Decimal("-7.77"), "Home", date(2027, 1, 2), "=new"), "laptop")])
    after = person.load()
    changed = find_row(person, after, "id-1")
    ours = {after[0].index(heading) for heading in person.headings}
    assert [row for row in after if row is not after[changed]] == [row for row in before if row is not before[changed]]
    kept = [[cell for n, cell in enumerate(cells[changed]) if n not in ours] for cells in (before, after)]
    assert kept[0] == kept[1]
    assert shown(workbook)[1] == (date(2027, 1, 2), Decimal("-7.77"), "Home", "=new", "laptop", "id-1")


def test_an_update_empties_a_note(workbook: Workbook) -> None:
    """Nothing is a value too."""
    workbook.write([add("a")])
    workbook.write([update("a", Entry(Decimal("12.50"), "Eating out", DAY, ""))])
    assert shown(workbook) == [(DAY, Decimal("12.50"), "Eating out", "", "phone", "a")]


def test_a_removed_entry_is_gone_and_the_others_stay(person: Person, workbook: Workbook) -> None:
    """First, middle and last, and what was typed between them."""
    workbook.write(numbered(2))
    type_row(person, **TYPED)
    workbook.write(numbered(3, 2))
    rows = shown(workbook)
    written = workbook.write([remove("id-0"), remove("id-3"), remove("id-4")])
    assert not written.missing
    assert shown(workbook) == [rows[1], rows[2], rows[3]]
    assert workbook.write([remove("id-0")]).missing == frozenset()


def test_a_removed_entry_comes_back_when_it_is_restored(workbook: Workbook) -> None:
    """Undo of an undo: its row was taken out by the app, and not by a person."""
    workbook.write([add("a"), add("b", TEA)])
    workbook.write([remove("a")])
    workbook.write([add("a")])
    assert sorted(ids(workbook)) == ["a", "b"]


def test_all_entries_can_go_and_new_ones_come(person: Person, workbook: Workbook) -> None:
    """An emptied workbook still is one."""
    workbook.write(numbered(3))
    workbook.write([remove(f"id-{number}") for number in range(3)])
    assert workbook.read().rows == ()
    person.open().prepare()
    workbook.write([add("new")])
    assert ids(person.open()) == ["new"]


def test_what_a_person_took_out_stays_out(person: Person, workbook: Workbook) -> None:
    """It is told as missing; a new entry in the same write is added."""
    workbook.write(numbered(3))
    delete_row(person, "id-1")
    written = workbook.write([update("id-1", TEA), update("id-2", TEA), add("new", TEA)])
    assert written.missing == {"id-1"}
    assert ids(workbook) == ["id-0", "id-2", "new"]
    assert workbook.write([remove("id-1")]).missing == frozenset()


def test_what_a_person_typed_is_read_and_kept(person: Person, workbook: Workbook) -> None:
    """Rows without an id, among ours."""
    workbook.write([add("a")])
    type_row(person, **TYPED)
    workbook.write([add("b", TEA)])
    typed = (DAY, Decimal("8.25"), "Home", "typed by hand", "", "")
    assert shown(workbook) == [expect(add("a")), typed, expect(add("b", TEA))]


def test_odd_dates_and_amounts_are_given_as_text(person: Person, workbook: Workbook) -> None:
    """What is no date and no number is shown as the person typed it."""
    type_row(person, date="last Tuesday", amount="about four", category="Home")
    type_row(person, note="only a note")
    rows = workbook.read().rows
    assert [(row.date, row.amount, row.note) for row in rows] == [
        ("last Tuesday", "about four", ""),
        ("", "", "only a note"),
    ]


def test_what_a_person_changed_in_a_row_of_ours_is_read(person: Person, workbook: Workbook) -> None:
    """The truth of content is the workbook."""
    workbook.write(numbered(2))

    def change(cells: Cells) -> None:
        cells[find_row(person, cells, "id-1")][cells[0].index(person.headings[3])] = "better"

    edit(person, change)
    assert [row.note for row in workbook.read().rows] == ["note 0", "better"]


def test_columns_that_a_person_moved_are_followed(person: Person, workbook: Workbook) -> None:
    """The headings say where they are, also to a workbook that was open before."""
    workbook.write(numbered(2))
    edit(person, swap_columns)
    workbook.write([update("id-0", TEA), *numbered(1, 2)])
    assert shown(workbook) == [expect(update("id-0", TEA)), *map(expect, numbered(2, 1))]


def test_rows_that_a_person_sorted_are_followed(person: Person, workbook: Workbook) -> None:
    """An entry is where its id is."""
    workbook.write(numbered(5))
    edit(person, lambda cells: cells.__setitem__(slice(1, None), cells[:0:-1]))
    workbook.write([update("id-0", TEA), remove("id-2")])
    assert ids(workbook) == ["id-4", "id-3", "id-1", "id-0"]
    assert shown(workbook)[-1] == expect(update("id-0", TEA))


def test_a_column_that_a_person_added_stays_filled(person: Person, workbook: Workbook) -> None:
    """What is beside our columns goes with its row."""
    workbook.write(numbered(2))
    edit(person, lambda cells: put_column(cells, 1))
    before = person.load()
    own = [find_own(person, before, entry_id) for entry_id in ("id-0", "id-1")]
    workbook.write([*numbered(1, 2), update("id-0", TEA)])
    after = person.load()
    assert [find_own(person, after, entry_id) for entry_id in ("id-0", "id-1")] == own
    assert find_own(person, after, "id-2") in (None, "")


@pytest.mark.parametrize("field", range(6))
def test_a_missing_heading_is_refused_and_nothing_written(person: Person, workbook: Workbook, field: int) -> None:
    """Closed: a column that is not there is not guessed at."""
    workbook.write([add("a")])
    edit(person, lambda cells: cells[0].__setitem__(cells[0].index(person.headings[field]), "Something else"))

    def try_all() -> None:
        for action in (person.open().prepare, workbook.read, lambda: workbook.write([add("b")])):
            with pytest.raises(WorkbookError) as caught:
                action()
            assert person.headings[field] in str(caught.value)

    assert_unchanged_by(person, try_all)


@pytest.mark.parametrize("person", ["csv", "google"], indirect=True)
def test_a_heading_that_is_there_twice_is_refused(person: Person, workbook: Workbook) -> None:
    """Nobody can tell which column is meant. A table in Excel cannot have this; a sheet can."""
    edit(person, lambda cells: cells[0].append(person.headings[1]))

    def try_to_write() -> None:
        with pytest.raises(WorkbookError):
            workbook.write([add("a")])

    assert_unchanged_by(person, try_to_write)


def test_an_id_that_two_rows_have_is_refused(person: Person, workbook: Workbook) -> None:
    """A person who copied a row may have meant either; both stay, and both are read."""
    workbook.write(numbered(3))
    edit(person, lambda cells: cells.append(list(cells[find_row(person, cells, "id-1")])))
    for change in (update("id-1", TEA), remove("id-1")):
        with pytest.raises(WorkbookError):
            workbook.write([change])
    assert shown(workbook) == [*map(expect, numbered(3)), expect(numbered(1, 1)[0])]
    assert_unchanged_by(person, lambda: workbook.write(numbered(3)))


@pytest.fixture(params=[kind for kind in KINDS if kind != "google"])
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilePerson]:
    """A person whose workbook is a file."""
    with meet(request.param, tmp_path) as met:
        assert isinstance(met, FilePerson)
        yield met


def test_a_file_that_is_open_elsewhere_waits_and_is_then_written(owner: FilePerson) -> None:
    """It is read all the same."""
    workbook = owner.open()
    workbook.write([add("a")])
    lock = owner.path.with_name(f".~lock.{owner.path.name}#")
    lock.write_text(",ana,laptop,23.11.2026 21:00,file:///home/ana;")

    def try_to_write() -> None:
        with pytest.raises(WorkbookBusy, match="LibreOffice, by ana"):
            workbook.write([add("b")])

    assert_unchanged_by(owner, try_to_write)
    assert ids(workbook) == ["a"]
    lock.unlink()
    workbook.write([add("b")])
    assert ids(workbook) == ["a", "b"]


def test_a_file_that_is_gone_is_refused_and_not_made_again(owner: FilePerson) -> None:
    """A person has moved it, with all that is in it, or its disk is not there."""
    workbook = owner.open()
    workbook.write([add("a")])
    owner.path.unlink()
    assert workbook.stamp() is None
    for action in (workbook.read, lambda: workbook.write([add("b")])):
        with pytest.raises(WorkbookError):
            action()
    assert not owner.path.exists()


def test_a_link_to_a_file_is_kept(owner: FilePerson) -> None:
    """The folder of the settings may hold a link into one that is synced."""
    real = owner.path.rename(owner.path.with_name(f"real{owner.path.suffix}"))
    owner.path.symlink_to(real)
    owner.open().prepare()
    owner.open().write([add("a")])
    assert owner.path.is_symlink()
    assert ids(owner.open()) == ["a"]


def test_a_file_that_was_made_read_only_stays_as_it_is(owner: FilePerson) -> None:
    """The person has closed the book of a year."""
    owner.path.chmod(0o444)

    def try_all() -> None:
        for action in (owner.open().prepare, lambda: owner.open().write([add("a")])):
            with pytest.raises(WorkbookError, match="read-only"):
                action()

    assert_unchanged_by(owner, try_all)


def test_the_folder_is_locked_while_a_file_is_replaced(owner: FilePerson, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of the app do not write over each other."""
    locked: list[bool] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        folder = os.open(owner.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked.append(False)
        except BlockingIOError:
            locked.append(True)
        finally:
            os.close(folder)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    owner.open().write([add("a")])
    assert locked == [True, True]  # The backup, and the file.


def test_nothing_is_left_beside_a_file_but_its_backups(owner: FilePerson) -> None:
    """Neither by writes that worked nor by one that was killed."""
    names = {each.name for each in owner.path.parent.iterdir()}
    owner.path.with_name(f".{owner.path.name}.a1b2c3d4.tmp").write_bytes(b"half")
    owner.open().prepare()
    owner.open().write([add("a")])
    owner.open().write([add("b")])
    assert {each.name for each in owner.path.parent.iterdir()} == names | {"backups"}
    assert len(list((owner.path.parent / "backups").iterdir())) == 1


class Months(RuleBasedStateMachine):
    """Months of use by the app and a person, beside a list of what should be there."""

    meet: Callable[[], tuple[Person, ExitStack]]

    def __init__(self) -> None:
        super().__init__()
        self.person, self.stack = type(self).meet()
        self.workbook = self.person.open()
        self.rows: dict[str, tuple[object, ...]] = {}
        self.typed = 0
        self.made = 0
        self.last: list[Change] = []

    def teardown(self) -> None:
        self.stack.close()

    def write(self, changes: list[Change]) -> None:
        missing = {change.entry_id for change in changes if change.entry and change.written} - set(self.rows)
        assert self.workbook.write(changes).missing == missing
        for change in changes:
            if change.entry is None:
                self.rows.pop(change.entry_id, None)
            elif change.entry_id not in missing:
                self.rows[change.entry_id] = expect(change)
        self.last = changes

    texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufffe\uffff"))
    entries = st.builds(
        Entry,
        st.integers(-99_999_999_999, 99_999_999_999).filter(bool).map(lambda cents: Decimal(cents).scaleb(-2)),
        st.sampled_from(["Coffee", "Home", "=Food"]),
        st.dates(date(2000, 1, 1), date(2226, 12, 31)),
        texts.map(str.strip),
    )

    @rule(entries=st.lists(entries, min_size=1, max_size=4))
    def add(self, entries: list[Entry]) -> None:
        self.made += len(entries)
        self.write([add(f"id-{self.made - number}", entry) for number, entry in enumerate(entries)])

    @precondition(lambda self: self.made)
    @rule(data=st.data(), entry=entries)
    def update(self, data: st.DataObject, entry: Entry) -> None:
        self.write([update(f"id-{data.draw(st.integers(1, self.made))}", entry, "laptop")])

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.write([remove(f"id-{data.draw(st.integers(1, self.made))}")])

    @rule()
    def repeat(self) -> None:
        changes = [change for change in self.last if change.entry is None or change.entry_id in self.rows]
        assert_unchanged_by(self.person, lambda: self.workbook.write(changes))

    @rule()
    def start_again(self) -> None:
        self.workbook = self.person.open()
        self.workbook.prepare()

    @rule()
    def type_by_hand(self) -> None:
        type_row(self.person, **TYPED)
        self.typed += 1

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def take_out_by_hand(self, data: st.DataObject) -> None:
        entry_id = data.draw(st.sampled_from(sorted(self.rows)))
        delete_row(self.person, entry_id)
        del self.rows[entry_id]
        self.last = []

    @rule()
    def move_columns_by_hand(self) -> None:
        edit(self.person, swap_columns)

    @rule()
    def sort_by_hand(self) -> None:
        edit(self.person, lambda cells: cells.__setitem__(slice(1, None), cells[:0:-1]))

    @invariant()
    def agrees(self) -> None:
        rows = self.workbook.read().rows
        assert {row.entry_id: show(row) for row in rows if row.entry_id} == self.rows
        assert sum(not row.entry_id for row in rows) == self.typed
        assert len(rows) == len(self.rows) + self.typed


@pytest.mark.parametrize("kind", KINDS)
def test_the_workbook_agrees_with_a_list_after_months_of_use(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the app and the person do, in whatever order."""

    def meet_anew() -> tuple[Person, ExitStack]:
        stack = ExitStack()
        return stack.enter_context(meet(kind, tmp_path_factory.mktemp("months"))), stack

    machine = type("Months", (Months,), {"meet": staticmethod(meet_anew)})
    limits = settings(
        max_examples=6,
        stateful_step_count=12,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        # Making an example smaller takes minutes where each step reads and writes a workbook.
        phases=(Phase.explicit, Phase.generate),
    )
    run_state_machine_as_test(machine, settings=limits)
