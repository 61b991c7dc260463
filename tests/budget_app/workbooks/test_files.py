"""What the workbooks that are files share: one step from old to new, stamps, locks, and a copy for each day."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from budget_app.workbooks import files
from budget_app.workbooks.files import (
    back_up,
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
from budget_app.workbooks.workbook import WorkbookBusy, WorkbookError

DAY = date(2026, 11, 23)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A workbook of three bytes."""
    path = tmp_path / "budget.xlsx"
    path.write_bytes(b"old")
    return path


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fail(number: int) -> Callable[..., Any]:
    """A call of the system that fails with this error."""

    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def assert_untouched(path: Path) -> None:
    """The file is as it was, and nothing lies beside it."""
    assert path.read_bytes() == b"old"
    assert names(path.parent) == [path.name]


def test_a_stamp_changes_with_the_file_and_there_is_none_without_one(path: Path) -> None:
    """Each state has its own."""
    stamps = [stamp_file(path), replace_file(path, b"new", stamp_file(path))]
    path.write_bytes(b"newer")
    stamps.append(stamp_file(path))
    path.unlink()
    stamps.append(stamp_file(path))
    assert len(set(stamps)) == 4
    assert stamps[-1] is None
    assert stamp_file(path / "below") is None


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """A folder, a pipe, and a link that leads to itself."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path, tmp_path / "pipe", tmp_path / "loop"):
        for action in (stamp_file, read_file):
            with pytest.raises(WorkbookError):
                action(place)


def test_a_file_is_read_with_its_stamp(path: Path) -> None:
    """The stamp is of what was read."""
    assert read_file(path) == (b"old", stamp_file(path))


def test_reading_says_that_the_file_is_gone_or_not_allowed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have another cure."""
    monkeypatch.setattr(Path, "open", fail(errno.EACCES))
    with pytest.raises(WorkbookError, match=r"cannot be read.*the right to read it"):
        read_file(path)
    monkeypatch.undo()
    path.unlink()
    with pytest.raises(WorkbookError, match="is not there"):
        read_file(path)


def test_a_file_that_is_being_written_in_place_is_not_read_by_half(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program writes between the beginning and the end of our reading."""
    real = os.fstat
    asked: list[int] = []

    def fstat(descriptor: int) -> os.stat_result:
        if asked:
            with path.open("ab") as other:
                other.write(b"more")
        asked.append(descriptor)
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(WorkbookError, match="changed by another program"):
        read_file(path)


def test_replacing_returns_the_stamp_that_the_file_then_has(path: Path) -> None:
    """The next write is sure of what it goes on from."""
    stamp = replace_file(path, b"new", stamp_file(path))
    assert path.read_bytes() == b"new"
    assert stamp == stamp_file(path)
    assert names(path.parent) == [path.name]


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """So is a new folder."""
    path = tmp_path / "far" / "away" / "budget.xlsx"
    make_folder(path)
    replace_file(path, b"new", None)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


def test_the_mode_of_an_old_file_is_kept(path: Path) -> None:
    """A person has shared it with somebody."""
    path.chmod(0o664)
    replace_file(path, b"new", stamp_file(path))
    assert mode(path) == 0o664


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_and_the_group_of_an_old_file_are_kept(path: Path) -> None:
    """The app may run as somebody else than the person."""
    os.chown(path, 1234, 4321)
    path.chmod(0o660)
    replace_file(path, b"new", stamp_file(path))
    back_up(path, DAY)
    for each in (path, path.parent / "backups" / "budget.2026-11-23.xlsx"):
        assert (each.stat().st_uid, each.stat().st_gid, mode(each)) == (1234, 4321, 0o660)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file with another group here")
def test_another_group_gets_no_rights_where_the_group_cannot_be_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was shared with one group is not shared with the app's own."""
    os.chown(path, -1, 4321)
    path.chmod(0o664)
    monkeypatch.setattr(os, "fchown", fail(errno.EPERM))
    replace_file(path, b"new", stamp_file(path))
    assert mode(path) == 0o604


def test_a_link_still_leads_to_the_file(path: Path, tmp_path: Path) -> None:
    """The file that it leads to is replaced, not the link."""
    link = tmp_path / "elsewhere" / "link.xlsx"
    link.parent.mkdir()
    link.symlink_to(path)
    replace_file(resolve(link), b"new", stamp_file(link))
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("change", ["edited", "gone", "replaced"])
def test_a_file_that_is_not_what_was_read_is_not_replaced(path: Path, change: str) -> None:
    """What another program did since is not overwritten."""
    stamp = stamp_file(path)
    path.unlink()
    if change != "gone":
        path.write_bytes(b"theirs" if change == "edited" else b"old")
    content = path.read_bytes() if path.exists() else None
    with pytest.raises(WorkbookError, match="changed by another program"):
        replace_file(path, b"new", stamp)
    assert (path.read_bytes() if path.exists() else None) == content
    assert names(path.parent) == ([] if content is None else [path.name])


def test_a_file_that_appeared_meanwhile_is_not_replaced(path: Path) -> None:
    """A new one was to be made."""
    with pytest.raises(WorkbookError, match="changed by another program"):
        replace_file(path, b"new", None)
    assert_untouched(path)


def test_what_changes_while_the_new_file_is_written_is_not_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last look is after the slowest step."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path.write_bytes(b"theirs")
        real(descriptor)

    stamp = stamp_file(path)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WorkbookError, match="changed by another program"):
        replace_file(path, b"new", stamp)
    assert path.read_bytes() == b"theirs"


@pytest.mark.parametrize(
    "action", [lambda path: replace_file(path, b"new", stamp_file(path)), lambda path: back_up(path, DAY)]
)
def test_the_new_file_is_on_disk_before_its_name_and_its_name_before_we_say_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[Path], object]
) -> None:
    """Power may fail between any two of these; so it is with backups."""
    make_folder(path.parent / "backups" / path.name)
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("folder" if folder else f"file of {os.fstat(descriptor).st_size}")
        sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    action(path)
    assert steps == ["file of 3", "rename", "folder"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no room left"),
        (errno.EDQUOT, "no room left"),
        (errno.EROFS, "is read-only"),
        (errno.EACCES, "the right to write in"),
        (errno.EPERM, "the right to write in"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("step", ["os.fsync", "tempfile.mkstemp", "os.fchmod", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_everything_as_it_was_and_says_why(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, words: str
) -> None:
    """Whichever step of it fails."""
    stamp = stamp_file(path)
    monkeypatch.setattr(step, fail(number))
    with pytest.raises(WorkbookError, match=words):
        replace_file(path, b"new", stamp)
    assert_untouched(path)


def test_a_name_that_leaves_no_room_for_a_temporary_file_is_told(tmp_path: Path) -> None:
    """255 bytes are the limit of most file systems."""
    path = tmp_path / f"{'x' * 250}.csv"
    path.write_bytes(b"old")
    with pytest.raises(WorkbookError, match="shorter name"):
        replace_file(path, b"new", stamp_file(path))
    assert_untouched(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """To whoever replaces, and to whoever locks."""
    path = tmp_path / "gone" / "budget.xlsx"
    with pytest.raises(WorkbookError, match=r"folder of .* is not there"):
        replace_file(path, b"new", None)
    with pytest.raises(WorkbookError, match=r"folder of .* is not there"), lock_folder(path):
        pass


def test_a_disk_that_does_not_confirm_the_new_name_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the new one then, and whoever writes it again finds that out."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fail(errno.EIO)()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WorkbookError, match="was written, but the disk did not confirm it"):
        replace_file(path, b"new", stamp_file(path))
    assert path.read_bytes() == b"new"


def test_a_file_that_was_made_read_only_stays_as_it_is(path: Path) -> None:
    """Also for root, who could."""
    path.chmod(0o444)
    for action in (lambda: require_writable(path), lambda: replace_file(path, b"new", stamp_file(path))):
        with pytest.raises(WorkbookError, match="is read-only"):
            action()
    assert_untouched(path)


def test_a_folder_without_the_right_to_write_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file alone is not enough: it is replaced."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda place, way: place != path.parent and real(place, way))
    with pytest.raises(WorkbookError, match="may not be written by this program"):
        require_writable(path)


def test_what_a_killed_write_left_is_removed_and_nothing_else(path: Path) -> None:
    """Neither what only looks like it, nor what belongs to another workbook."""
    folder = path.parent
    (folder / "backups").mkdir()
    ours = [folder / ".budget.xlsx.a1b2c3_z.tmp", folder / "backups" / ".budget.2026-11-23.xlsx.00000000.tmp"]
    others = [
        folder / ".budget.xlsx.tmp",
        folder / ".budget.xlsx.short.tmp",
        folder / ".budget.xlsx.A1B2C3D4.tmp",
        folder / "budget.xlsx.a1b2c3_z.tmp",
        folder / ".other.xlsx.a1b2c3_z.tmp",
        folder / "backups" / ".budget.today.xlsx.00000000.tmp",
    ]
    for each in (*ours, *others):
        each.touch()
    remove_leftovers(path)
    assert not any(each.exists() for each in ours)
    assert all(each.exists() for each in others)


def is_locked(folder: Path) -> bool:
    """Whether somebody else would have to wait."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_the_folder_is_locked_against_others_until_the_end(path: Path) -> None:
    """Also where the end is an error."""
    with pytest.raises(KeyError), lock_folder(path):
        assert is_locked(path.parent)
        raise KeyError
    assert not is_locked(path.parent)
    assert names(path.parent) == [path.name]


def test_a_file_system_without_locks_does_not_keep_the_app_from_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other failure to lock does."""
    monkeypatch.setattr(fcntl, "flock", fail(errno.ENOLCK))
    with lock_folder(path):
        pass
    monkeypatch.setattr(fcntl, "flock", fail(errno.EIO))
    with pytest.raises(WorkbookError, match="Input/output error"), lock_folder(path):
        pass


def owner_file(name: str) -> bytes:
    """What Excel puts beside a workbook that is open."""
    narrow = name.encode("cp1252", "replace")
    wide = (name.ljust(54) + " ").encode("utf-16-le")
    return bytes([len(narrow)]) + narrow.ljust(54) + len(name).to_bytes(2, "little") + wide[:108]


@pytest.mark.parametrize(
    ("lock", "content", "words"),
    [
        (".~lock.budget.xlsx#", b",ana,laptop,23.11.2026 21:00,file:///home/ana;", "LibreOffice, by ana (laptop)"),
        (".~lock.budget.xlsx#", b"Ana Reis,ana,laptop,23.11.2026 21:00,x;", "LibreOffice, by Ana Reis (laptop)"),
        (".~lock.budget.xlsx#", b"Reis\\, Ana,ana,a\\;b,x,x;", "LibreOffice, by Reis, Ana (a;b)"),
        (".~lock.budget.xlsx#", "Zoë,z,,x,x;".encode(), "LibreOffice, by Zoë;"),
        (".~lock.budget.xlsx#", b",,laptop,x,x;", "LibreOffice, by laptop;"),
        (".~lock.budget.xlsx#", b"", "LibreOffice;"),
        (".~lock.budget.xlsx#", b"\xff\xfe\x00,\n\x1b[2J", "LibreOffice"),
        (".~lock.budget.xlsx#", b"ana\x1b[2J\xe2\x80\xae,ana,,x,x;", "LibreOffice, by ana[2J;"),
        ("~$budget.xlsx", owner_file("Ana Reis"), "Excel, by Ana Reis;"),
        ("~$budget.xlsx", owner_file("שלום"), "Excel, by שלום;"),
        ("~$budget.xlsx", b"\x08Ana Reis" + bytes(20), "Excel, by Ana Reis;"),
        ("~$budget.xlsx", b"", "Excel;"),
        ("~$budget.xlsx", b"\xff" * 165, "Excel;"),
    ],
)
def test_a_workbook_that_is_open_elsewhere_is_busy_and_it_is_said_where(
    path: Path, lock: str, content: bytes, words: str
) -> None:
    """The cure names the file to delete if a program has died."""
    path.with_name(lock).write_bytes(content)
    with pytest.raises(WorkbookBusy) as caught:
        require_not_open(path)
    assert words in str(caught.value)
    assert f"delete the file {path.with_name(lock)}" in str(caught.value.hint)
    assert str(caught.value).isprintable()


def test_a_lock_that_nobody_can_read_is_a_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed: what it says is not needed."""
    path.with_name("~$budget.xlsx").touch()
    monkeypatch.setattr(Path, "open", fail(errno.EACCES))
    with pytest.raises(WorkbookBusy):
        require_not_open(path)


@pytest.mark.parametrize("lock", [".~lock.{}#", "~${}"])
def test_a_lock_beside_the_link_and_beside_the_file_counts(path: Path, tmp_path: Path, lock: str) -> None:
    """LibreOffice follows links, and a program on a network share does not see them."""
    link = tmp_path / "elsewhere" / "link.xlsx"
    link.parent.mkdir()
    link.symlink_to(path)
    for place in (path, link):
        place.with_name(lock.format(place.name)).touch()
        with pytest.raises(WorkbookBusy):
            require_not_open(link)
        place.with_name(lock.format(place.name)).unlink()
    require_not_open(link)


def test_locks_of_other_files_do_not_count(path: Path) -> None:
    """Word leaves out the first letters of a long name, Excel does not."""
    for name in ("~$dget.xlsx", "~$other.xlsx", ".~lock.other.xlsx#", ".~lock.budget.xlsx"):
        path.with_name(name).touch()
    require_not_open(path)
    require_not_open(path.with_name("x" * 255))


def test_a_day_has_one_backup_of_the_workbook_as_it_was_first(path: Path) -> None:
    """With the rights of the workbook; the folder is its owner's alone."""
    path.chmod(0o640)
    back_up(path, DAY)
    path.write_bytes(b"newer")
    back_up(path, DAY)
    back_up(path, DAY + timedelta(days=1))
    copies = path.parent / "backups"
    assert {each.name: each.read_bytes() for each in copies.iterdir()} == {
        "budget.2026-11-23.xlsx": b"old",
        "budget.2026-11-24.xlsx": b"newer",
    }
    assert mode(copies / "budget.2026-11-23.xlsx") == 0o640
    assert mode(copies) == 0o700


def test_without_a_workbook_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    """Not even a folder."""
    back_up(tmp_path / "budget.xlsx", DAY)
    assert names(tmp_path) == []


def test_the_newest_thirty_backups_are_kept(path: Path) -> None:
    """One goes for each that comes."""
    for number in range(40):
        back_up(path, DAY + timedelta(days=number))
    kept = [f"budget.{DAY + timedelta(days=number)}.xlsx" for number in range(10, 40)]
    assert names(path.parent / "backups") == sorted(kept)


def test_files_that_are_no_backups_of_ours_are_never_deleted(path: Path) -> None:
    """Whatever they resemble."""
    copies = path.parent / "backups"
    copies.mkdir()
    others = [
        "budget.xlsx",
        "budget.2001-01-01.xlsx.old",
        "budget.2001-01-01.csv",
        "budget.2001-02-30.xlsx",
        "budget.2001-1-1.xlsx",
        "my budget.2001-01-01.xlsx",
        "budget2001-01-01.xlsx",
        "budget.before.2001-01-01.xlsx",
    ]
    for name in others:
        (copies / name).touch()
    (copies / "budget.2001-01-02.xlsx").mkdir()
    (copies / "budget.2001-01-03.xlsx").symlink_to(path)
    for number in range(32):
        back_up(path, DAY + timedelta(days=number))
    assert {*others, "budget.2001-01-02.xlsx", "budget.2001-01-03.xlsx"} <= set(names(copies))
    assert len(names(copies)) == len(others) + 2 + 30


def test_the_backup_of_today_is_kept_when_the_clock_went_back(path: Path) -> None:
    """Thirty copies with later days are there."""
    for number in range(1, 31):
        back_up(path, DAY + timedelta(days=number))
    back_up(path, DAY)
    assert "budget.2026-11-23.xlsx" in names(path.parent / "backups")


@pytest.mark.parametrize("step", ["os.fsync", "tempfile.mkstemp", "os.fchmod", "pathlib.Path.replace", "os.mkdir"])
def test_a_backup_that_fails_is_an_error_and_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whoever wants to write learns it before."""
    monkeypatch.setattr(step, fail(errno.ENOSPC))
    with pytest.raises(WorkbookError, match=r"backup .* cannot be made"):
        back_up(path, DAY)
    assert path.read_bytes() == b"old"
    assert [each.name for each in path.parent.rglob("*") if each.is_file()] == [path.name]


def test_a_backup_is_copied_also_where_the_kernel_cannot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system has copy_file_range; a real failure of it is one."""
    path.write_bytes(os.urandom(3_000_000))
    monkeypatch.setattr(os, "copy_file_range", fail(errno.EXDEV))
    back_up(path, DAY)
    assert (path.parent / "backups" / "budget.2026-11-23.xlsx").read_bytes() == path.read_bytes()
    monkeypatch.setattr(os, "copy_file_range", fail(errno.EIO))
    with pytest.raises(WorkbookError):
        back_up(path, DAY + timedelta(days=1))


def test_a_workbook_that_changes_while_it_is_copied_is_no_backup(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it would be old and half new."""
    real = os.copy_file_range

    def copy(source: int, target: int, count: int) -> int:
        done = real(source, target, count)
        path.write_bytes(b"theirs")
        return done

    monkeypatch.setattr(os, "copy_file_range", copy)
    with pytest.raises(WorkbookError, match="changed by another program"):
        back_up(path, DAY)
    assert names(path.parent / "backups") == []


def test_something_else_in_the_place_of_a_backup_is_refused(path: Path) -> None:
    """Neither a folder with its name nor a file with that of its folder is one."""
    (path.parent / "backups").touch()
    with pytest.raises(WorkbookError):
        back_up(path, DAY)
    (path.parent / "backups").unlink()
    (path.parent / "backups" / "budget.2026-11-23.xlsx").mkdir(parents=True)
    with pytest.raises(WorkbookError, match="is a folder"):
        back_up(path, DAY)


def test_today_is_the_day_where_the_program_runs() -> None:
    """Around midnight it is either of two."""
    before = date.today()  # noqa: DTZ011  The local day is what is asked for.
    assert before <= files.find_today() <= date.today()  # noqa: DTZ011
