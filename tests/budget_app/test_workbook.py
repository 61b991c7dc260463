"""The file budget.xlsx: made when missing, replaced in one step, never overwritten by anything else."""

import io
import os
import random
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.chart import BarChart

from budget_app import workbook as module
from budget_app.entries import Entry
from budget_app.rows import Row
from budget_app.workbook import ExpenseWorkbook, WorkbookError

from .conftest import ReadSheet

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
LUNCH_ROW = [date(2025, 11, 23), 12.5, "Eating out", "Lunch", "Rhea Group"]


@pytest.fixture
def workbook(workbook_path: Path) -> ExpenseWorkbook:
    return ExpenseWorkbook(workbook_path)


def save(book: Workbook, path: Path) -> None:
    book.save(path)
    book.close()


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change the sheet Expenses as a person does: open, edit, save."""
    book = load_workbook(path)
    change(book["Expenses"])
    save(book, path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def assert_untouched(path: Path, content: bytes) -> None:
    """The file is byte for byte what it was, and nothing lies beside it."""
    assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_missing_workbook_is_made_with_its_folder_for_its_owner_alone(tmp_path: Path) -> None:
    workbook = ExpenseWorkbook(tmp_path / "new" / "folder" / "budget.xlsx")
    workbook.prepare()
    assert mode(workbook.path) == 0o600
    assert mode(workbook.path.parent) == 0o700
    assert workbook.rows() == ()


def test_preparing_leaves_a_good_workbook_as_it_is(workbook: ExpenseWorkbook) -> None:
    workbook.append(LUNCH, "Rhea Group")
    content = workbook.path.read_bytes()
    workbook.prepare()
    assert_untouched(workbook.path, content)


def test_a_row_is_in_the_file_when_append_returns(workbook: ExpenseWorkbook, read_sheet: ReadSheet) -> None:
    workbook.prepare()
    assert workbook.append(LUNCH, "Rhea Group") == 2
    assert read_sheet() == [LUNCH_ROW]
    assert workbook.append(LUNCH, "Rhea Group") == 3
    assert read_sheet() == [LUNCH_ROW] * 2


def test_a_workbook_that_went_missing_is_made_by_the_next_row(workbook: ExpenseWorkbook, read_sheet: ReadSheet) -> None:
    workbook.append(LUNCH, "Rhea Group")
    workbook.path.unlink()
    assert workbook.rows() == ()
    assert workbook.append(LUNCH, "Rhea Group") == 2
    assert read_sheet() == [LUNCH_ROW]


def test_the_mode_of_an_old_file_is_kept(workbook: ExpenseWorkbook) -> None:
    workbook.prepare()
    workbook.path.chmod(0o640)
    workbook.append(LUNCH, "Rhea Group")
    assert mode(workbook.path) == 0o640


def test_a_symbolic_link_still_leads_to_the_workbook(workbook: ExpenseWorkbook, tmp_path: Path) -> None:
    real = tmp_path / "cloud" / "money.xlsx"
    real.parent.mkdir()
    workbook.path.symlink_to(real)
    workbook.prepare()
    workbook.append(LUNCH, "Rhea Group")
    assert workbook.path.is_symlink()
    assert len(ExpenseWorkbook(real).rows()) == 1


def test_what_a_person_typed_since_survives(workbook: ExpenseWorkbook, read_sheet: ReadSheet) -> None:
    workbook.append(LUNCH, "Rhea Group")
    typed = [date(2025, 11, 24), 8, "Home", "typed by hand", None, "an own column"]
    edit(workbook.path, lambda sheet: (sheet.append(typed), sheet.parent.create_sheet("Plans").append(["a", "=1+1"])))
    assert workbook.append(LUNCH, "Rhea Group") == 4
    assert [row[3] for row in read_sheet()] == ["Lunch", "typed by hand", "Lunch"]
    book = load_workbook(workbook.path)
    assert book["Plans"]["B1"].value == "=1+1"
    assert book["Expenses"]["F3"].value == "an own column"


def test_rows_are_read_with_dates_and_amounts(workbook: ExpenseWorkbook) -> None:
    workbook.append(LUNCH, "Rhea Group")
    assert workbook.rows() == (Row(2, date(2025, 11, 23), Decimal("12.50"), "Eating out", "Lunch", "Rhea Group"),)


def test_the_stamp_changes_with_the_file(workbook: ExpenseWorkbook) -> None:
    stamps = [workbook.stamp()]
    workbook.prepare()
    stamps.append(workbook.stamp())
    workbook.append(LUNCH, "Rhea Group")
    stamps.append(workbook.stamp())
    assert stamps[0] is None
    assert len(set(stamps)) == 3


def encrypted() -> bytes:
    """The first bytes of an OLE file, which is what a workbook with a password is."""
    return bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512)


NO_PARTS = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


def zipped(parts: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        b"Date,Amount\n",
        encrypted(),
        zipped({}),
        zipped({"a.txt": "b"}),
        zipped({"[Content_Types].xml": "<"}),
        zipped({"[Content_Types].xml": NO_PARTS}),
    ],
    ids=["empty", "junk", "csv", "encrypted", "empty zip", "other zip", "broken xml", "no workbook"],
)
def test_a_damaged_file_is_told_and_never_overwritten(workbook: ExpenseWorkbook, content: bytes) -> None:
    workbook.path.write_bytes(content)
    for use in (workbook.prepare, workbook.rows, lambda: workbook.append(LUNCH, "Rhea Group")):
        with pytest.raises(WorkbookError) as caught:
            use()
        assert caught.value.message == f"{workbook.path} is damaged, encrypted or not an .xlsx workbook"
        assert "save it again as .xlsx" in caught.value.hint
        assert str(caught.value) == f"{caught.value.message}; hint: {caught.value.hint}"
    assert_untouched(workbook.path, content)


@pytest.mark.filterwarnings("ignore::UserWarning:openpyxl")
def test_no_damage_raises_anything_but_workbook_error(workbook: ExpenseWorkbook) -> None:
    workbook.append(LUNCH, "Rhea Group")
    sound = workbook.path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    chance = random.Random(7)  # noqa: S311
    for _ in range(300):
        workbook.path.write_bytes(damage(sound, chance) if chance.random() < 0.3 else damage_part(parts, chance))
        try:
            workbook.append(LUNCH, "Rhea Group")
            workbook.rows()
        except WorkbookError:
            continue


def damage(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randint(1, len(changed))] if chance.random() < 0.3 else changed)


def damage_part(parts: dict[str, bytes], chance: random.Random) -> bytes:
    """A zip file that is sound, around a part that is missing or garbled."""
    name = chance.choice(list(parts))
    changed = {**parts, name: damage(parts[name], chance)}
    if chance.random() < 0.2:
        del changed[name]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for each, data in changed.items():
            archive.writestr(each, data)
    return content.getvalue()


def test_a_workbook_without_our_sheet_is_told_and_never_overwritten(workbook: ExpenseWorkbook) -> None:
    save(Workbook(), workbook.path)
    content = workbook.path.read_bytes()
    with pytest.raises(WorkbookError, match="no sheet named Expenses; hint: rename the sheet"):
        workbook.append(LUNCH, "Rhea Group")
    assert_untouched(workbook.path, content)


def test_a_chart_named_expenses_is_no_sheet(workbook: ExpenseWorkbook) -> None:
    book = Workbook()
    book.create_chartsheet("Expenses").add_chart(BarChart())
    save(book, workbook.path)
    with pytest.raises(WorkbookError, match="no sheet named Expenses"):
        workbook.append(LUNCH, "Rhea Group")


def test_other_headings_are_told_and_never_overwritten(workbook: ExpenseWorkbook) -> None:
    workbook.prepare()
    edit(workbook.path, lambda sheet: sheet.delete_rows(1))
    content = workbook.path.read_bytes()
    with pytest.raises(WorkbookError, match="does not read Date, Amount, Category, Note, Device; hint: put these"):
        workbook.append(LUNCH, "Rhea Group")
    assert_untouched(workbook.path, content)


def test_a_workbook_whose_pictures_would_be_lost_is_left_alone(workbook: ExpenseWorkbook) -> None:
    workbook.prepare()
    with zipfile.ZipFile(workbook.path, "a") as archive:
        archive.writestr("xl/media/image1.png", b"a picture")
    content = workbook.path.read_bytes()
    with pytest.raises(WorkbookError, match=r"would lose \(xl/media/image1.png\); hint: move them"):
        workbook.append(LUNCH, "Rhea Group")
    assert_untouched(workbook.path, content)


def test_a_full_sheet_is_told(workbook: ExpenseWorkbook) -> None:
    workbook.prepare()
    edit(workbook.path, lambda sheet: sheet.cell(1_048_576, 1, "the end"))
    with pytest.raises(WorkbookError, match="is full; hint: start a new workbook"):
        workbook.append(LUNCH, "Rhea Group")


def test_a_path_that_is_a_folder_or_a_pipe_is_told(workbook: ExpenseWorkbook, tmp_path: Path) -> None:
    workbook.path.mkdir()
    with pytest.raises(WorkbookError, match="is a folder, not a workbook; hint: move it away"):
        workbook.prepare()
    os.mkfifo(tmp_path / "pipe.xlsx")
    with pytest.raises(WorkbookError, match="is not a regular file, not a workbook"):
        ExpenseWorkbook(tmp_path / "pipe.xlsx").prepare()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    workbook = ExpenseWorkbook(tmp_path / "file" / "budget.xlsx")
    with pytest.raises(
        WorkbookError, match=r"cannot be written .*hint: see that .* is a folder this program may write in"
    ):
        workbook.prepare()
    with pytest.raises(WorkbookError, match="cannot be"):
        workbook.append(LUNCH, "Rhea Group")
    with pytest.raises(WorkbookError, match="cannot be read"):
        workbook.rows()


def test_a_file_or_folder_without_the_right_to_write_is_told(
    workbook: ExpenseWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook.prepare()
    content = workbook.path.read_bytes()
    for refused in (workbook.path, workbook.path.parent):
        monkeypatch.setattr(os, "access", lambda path, _, refused=refused: path != refused)
        with pytest.raises(WorkbookError, match=f"{refused} may not be written by this program; hint: give its user"):
            workbook.append(LUNCH, "Rhea Group")
        with pytest.raises(WorkbookError, match="may not be written"):
            workbook.prepare()
    assert_untouched(workbook.path, content)


def fail(*_: object, **__: object) -> NoReturn:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["os.replace", "os.fsync", "os.fchmod", "tempfile.mkstemp", "openpyxl.Workbook.save"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    workbook: ExpenseWorkbook, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    workbook.append(LUNCH, "Rhea Group")
    content = workbook.path.read_bytes()
    monkeypatch.setattr(step, fail)
    with pytest.raises(WorkbookError, match=r"cannot be written \(No space left on device\); hint: see that"):
        workbook.append(LUNCH, "Rhea Group")
    assert_untouched(workbook.path, content)


def test_a_write_that_is_torn_off_leaves_the_old_file_and_nothing_beside_it(
    workbook: ExpenseWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    workbook.append(LUNCH, "Rhea Group")
    content = workbook.path.read_bytes()
    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        workbook.append(LUNCH, "Rhea Group")
    assert_untouched(workbook.path, content)


def test_content_reaches_the_disk_before_the_file_is_replaced_and_the_folder_after(
    workbook: ExpenseWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook.prepare()
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr("os.fsync", record_fsync)
    monkeypatch.setattr("os.replace", record_replace)
    workbook.append(LUNCH, "Rhea Group")
    assert steps == ["content", "replace", "folder"]


def test_a_disk_that_does_not_confirm_is_told(workbook: ExpenseWorkbook, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse_folder(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    workbook.prepare()
    monkeypatch.setattr("os.fsync", refuse_folder)
    with pytest.raises(WorkbookError, match=r"did not confirm it \(Input/output error\); hint: look at the last row"):
        workbook.append(LUNCH, "Rhea Group")


def test_a_file_that_was_saved_by_hand_in_the_same_moment_is_not_replaced(
    workbook: ExpenseWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook.prepare()
    serialise = module._serialise

    def serialise_slowly(path: Path, book: Workbook) -> bytes:
        edit(path, lambda sheet: sheet.append(["typed by hand"]))
        return serialise(path, book)

    monkeypatch.setattr(module, "_serialise", serialise_slowly)
    with pytest.raises(WorkbookError, match=r"changed by another program .*; hint: send the expense once more"):
        workbook.append(LUNCH, "Rhea Group")
    assert [row.date for row in workbook.rows()] == ["typed by hand"]


def test_threads_take_turns(workbook: ExpenseWorkbook, read_sheet: ReadSheet) -> None:
    threads = [threading.Thread(target=workbook.append, args=(LUNCH, "Rhea Group")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_sheet() == [LUNCH_ROW] * 8


PROGRAM = """
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from budget_app.entries import Entry
from budget_app.workbook import ExpenseWorkbook

entry = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
for _ in range(10):
    ExpenseWorkbook(Path(sys.argv[1])).append(entry, "Rhea Group")
"""


def test_processes_take_turns(workbook: ExpenseWorkbook, read_sheet: ReadSheet) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, str(workbook.path)]
    processes = [subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert read_sheet() == [LUNCH_ROW] * 30


def test_what_a_killed_write_left_is_removed_at_the_next_start(workbook_path: Path) -> None:
    ExpenseWorkbook(workbook_path).prepare()
    content = workbook_path.read_bytes()
    left, mine = workbook_path.with_name(".budget.xlsx.a1b2c3.tmp"), workbook_path.with_name(".budget.xlsx.backup")
    left.write_bytes(content[:100])
    mine.write_bytes(content)
    ExpenseWorkbook(workbook_path).prepare()
    assert (left.exists(), mine.exists()) == (False, True)
    assert workbook_path.read_bytes() == content
