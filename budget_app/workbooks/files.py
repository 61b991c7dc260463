"""What the workbooks that are files share: one step from old to new, stamps, locks, and a copy for each day. POSIX.

The person may open, edit, sort, move or sync the file at any time. It is never written in place, and never replaced
when it is not what was read.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from budget_app.workbooks.workbook import WorkbookBusy, WorkbookError

Stamp = tuple[int, int, int]
"""Inode, modification time in nanoseconds and size of a file: they change whenever its content does."""

BACKUP_FOLDER = "backups"
KEPT_BACKUPS = 30

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_ANY_WRITER = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

# What file systems answer that have no locks for folders (flock(2); NFS turns them into locks that need a writer).
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# What the kernel answers where it cannot copy from one file into another by itself (copy_file_range(2)).
_NO_COPY_RANGE = (errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV)

# Of an owner file of Excel: a byte for the length of the name, the name in the code page of that Windows, filled up to
# 55 bytes; then the same in UTF-16 with a length of two bytes.
_OWNER_WIDE = 55
_OWNER_LONGEST = 54
_LONGEST_LOCK = 4096


def resolve(path: Path) -> Path:
    """The file itself, so that replacing it keeps a symbolic link that leads to it; it need not be there."""
    return Path(os.path.realpath(path.expanduser()))


def stamp_file(path: Path) -> Stamp | None:
    """What tells one state of the file from another; None if there is no file.

    Raises WorkbookError for a folder or anything else that is no regular file, and where nobody can tell.
    """
    try:
        return _stamp(path, path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _stamp(path: Path, status: os.stat_result) -> Stamp:
    if stat.S_ISDIR(status.st_mode):
        raise WorkbookError(
            "{path} is a folder, not a workbook", "move it away or choose another path for the workbook", path=path
        )
    if not stat.S_ISREG(status.st_mode):
        raise WorkbookError(
            "{path} is not a regular file, so no workbook",
            "move it away or choose another path for the workbook",
            path=path,
        )
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_file(path: Path) -> tuple[bytes, Stamp]:
    """All of the file, and the stamp of the state it was read in. Raises WorkbookError, also where there is no file.

    A file that another program is writing in place at this moment is refused, as half of it would be read.
    """
    stamp_file(path)  # Opening a pipe would wait for its other end.
    try:
        with path.open("rb") as file:
            before = _stamp(path, os.fstat(file.fileno()))
            content = file.read()
            after = _stamp(path, os.fstat(file.fileno()))
    except FileNotFoundError as error:
        raise WorkbookError(
            "{path} is not there", "put it back, or start the app again and a new one is made", path=path
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if before != after or len(content) != after[2]:
        raise changed(path)
    return content, after


def make_folder(path: Path) -> None:
    """The folder of a workbook, for its owner alone, where it is missing. Raises WorkbookError."""
    try:
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Hold the folder of the workbook against other processes of this app, and wait for one that holds it.

    It is let go when the process ends, however it does. The same thread must not ask twice. Some network file systems
    cannot lock a folder; there, one process alone may run the app. Raises WorkbookError if there is no such folder.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        _lock(path, folder)
        yield
    finally:
        os.close(folder)


def _lock(path: Path, folder: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise unwritable(path, error) from error


def require_writable(path: Path) -> None:
    """Raise WorkbookError if the file, or without one its folder, may not be written.

    Replacing a file asks only for rights to its folder; a file that was made read-only is meant to stay as it is.
    """
    status = _status(path)
    if status is not None and not (status.st_mode & _ANY_WRITER and os.access(path, os.W_OK)):
        raise WorkbookError("{path} is read-only", "give the user of this program the right to write it", path=path)
    if path.parent.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise WorkbookError(
            "{folder} may not be written by this program",
            "give its user the right to write there",
            folder=path.parent,
        )


def replace_file(path: Path, content: bytes, expected: Stamp | None) -> Stamp:
    """Write `content` in one step, durably: whoever reads the file, or pulls the plug, finds all old or all new.

    The file still has to be what `expected` says, None for no file; otherwise nothing is written. Returns the new
    stamp. The mode is kept, 0600 for a new file, and the owner and the group as far as this program may give files
    away. Raises WorkbookError, and then the file is as it was, but for one case: a disk that has the new file and
    cannot confirm it, which the message tells.
    """
    require_writable(path)
    try:
        with _draft(path, _status(path)) as draft:
            _fill(draft.descriptor, content)
            os.fsync(draft.descriptor)
            stamp = _stamp(path, os.fstat(draft.descriptor))
            if stamp_file(path) != expected:
                raise changed(path)
            draft.path.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise WorkbookError(
            "{path} was written, but the disk did not confirm it ({why})",
            "see that the disk is healthy; it is written again",
            path=path,
            why=error.strerror,
        ) from error
    return stamp


class _Draft(NamedTuple):
    path: Path
    descriptor: int


@contextmanager
def _draft(path: Path, like: os.stat_result | None) -> Iterator[_Draft]:
    """A file beside `path`, with the rights of `like`, to become `path`; it is gone afterwards if it did not."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        _give_rights(descriptor, like)
        yield _Draft(temporary, descriptor)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _give_rights(descriptor: int, like: os.stat_result | None) -> None:
    """The owner, group and mode of `like`. Without the right to give the group, what the group may do goes too."""
    if like is None:
        os.fchmod(descriptor, _PRIVATE_FILE)
        return
    with suppress(PermissionError):
        os.fchown(descriptor, -1, like.st_gid)
    with suppress(PermissionError):
        os.fchown(descriptor, like.st_uid, -1)
    mode = stat.S_IMODE(like.st_mode)
    os.fchmod(descriptor, mode if os.fstat(descriptor).st_gid == like.st_gid else mode & ~stat.S_IRWXG)


def _fill(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in the folder, as fsync has it keep what is in a file. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def remove_leftovers(path: Path) -> None:
    """Remove what writes that were killed have left beside the file, and among its backups. Ask under the lock."""
    _remove_drafts(path.parent, path.name)
    _remove_drafts(path.parent / BACKUP_FOLDER, f"{path.stem}.*{path.suffix}")


def _remove_drafts(folder: Path, name: str) -> None:
    # tempfile.mkstemp puts eight of these characters between the prefix and the suffix.
    pattern = re.compile(rf"\.{re.escape(name).replace(_ANY_DAY, _DAY)}\.[a-z0-9_]{{8}}\.tmp")
    with suppress(OSError):
        for each in folder.iterdir():
            if pattern.fullmatch(each.name) and not each.is_symlink():
                each.unlink()


_ANY_DAY = re.escape("*")
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


def require_not_open(path: Path) -> None:
    """Raise WorkbookBusy if a lock file says that somebody has the file, or a link to it, open. The app makes none."""
    for each in dict.fromkeys((resolve(path), path.expanduser().absolute())):
        _require_not_in_libreoffice(each)
        _require_not_in_excel(each)


def _require_not_in_libreoffice(path: Path) -> None:
    lock = path.with_name(f".~lock.{path.name}#")
    if (content := _read_lock(lock)) is None:
        return
    names = _read_libreoffice_lock(content)
    user = next((name for name in names[:2] if name), "")
    host = names[2] if len(names) > 2 else ""
    raise _busy(path, lock, "LibreOffice", f"{user} ({host})" if user and host else user or host)


def _require_not_in_excel(path: Path) -> None:
    lock = path.with_name(f"~${path.name}")
    if (content := _read_lock(lock)) is not None:
        raise _busy(path, lock, "Excel", _read_owner_file(content))


def _read_lock(lock: Path) -> bytes | None:
    """The beginning of the lock file, None if there is none; one that nobody may read is a lock all the same."""
    try:
        if not stat.S_ISREG(lock.lstat().st_mode):
            return b""
        with lock.open("rb") as file:
            return file.read(_LONGEST_LOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return None if error.errno == errno.ENAMETOOLONG else b""


def _busy(path: Path, lock: Path, program: str, user: str) -> WorkbookBusy:
    if not user:
        return WorkbookBusy(
            "{path} is open in {program}",
            "close it there, or, if nobody has it open, delete the file {lock}",
            path=path,
            program=program,
            lock=lock,
        )
    return WorkbookBusy(
        "{path} is open in {program}, by {user}",
        "close it there, or, if nobody has it open, delete the file {lock}",
        path=path,
        program=program,
        user=user,
        lock=lock,
    )


def _read_libreoffice_lock(content: bytes) -> list[str]:
    """The fields: the name from the settings, the user, the host and more; commas, semicolons and backslashes in them
    follow a backslash."""
    text = content.decode("utf-8", "replace").partition("\n")[0]
    fields = re.findall(r"((?:[^\\,;]|\\.)*)[,;]", text)
    return [_clean(re.sub(r"\\(.)", r"\1", field)) for field in fields]


def _read_owner_file(content: bytes) -> str:
    """The user's name, empty if there is none to be read."""
    wide = content[_OWNER_WIDE : _OWNER_WIDE + 2]
    length = int.from_bytes(wide, "little")
    if 0 < length <= _OWNER_LONGEST:
        start = _OWNER_WIDE + 2
        return _clean(content[start : start + 2 * length].decode("utf-16-le", "replace"))
    if content and 0 < content[0] <= _OWNER_LONGEST:
        return _clean(content[1 : 1 + content[0]].decode("cp1252", "replace"))
    return ""


def _clean(name: str) -> str:
    return "".join(character for character in name if character.isprintable()).strip()


def find_today() -> date:
    """The day that it is where this program runs, for `back_up`."""
    return datetime.now().astimezone().date()


def back_up(path: Path, today: date) -> None:
    """Before the first write of a day, copy the file to `backups/NAME.2026-11-23.xlsx` beside it, durably.

    The newest 30 such copies are kept, today's always; files with any other name are never touched. Raises
    WorkbookError if the copy cannot be made. Without a file there is nothing to copy.
    """
    copy = path.parent / BACKUP_FOLDER / f"{path.stem}.{today.isoformat()}{path.suffix}"
    if stamp_file(path) is None or stamp_file(copy) is not None:
        return
    try:
        if not copy.parent.exists():
            copy.parent.mkdir(mode=_PRIVATE_FOLDER)
            sync_folder(path.parent)
        _copy(path, copy)
    except OSError as error:
        raise _no_backup(copy, error) from error
    _prune(path, copy)


def _copy(path: Path, copy: Path) -> None:
    with path.open("rb") as source, _draft(copy, os.fstat(source.fileno())) as draft:
        before = _stamp(path, os.fstat(source.fileno()))
        _copy_content(source.fileno(), draft.descriptor, before[2])
        os.fsync(draft.descriptor)
        if _stamp(path, os.fstat(source.fileno())) != before or os.fstat(draft.descriptor).st_size != before[2]:
            raise changed(path)
        draft.path.replace(copy)
    sync_folder(copy.parent)


def _copy_content(source: int, target: int, size: int) -> None:
    """Let the kernel share or copy the blocks; where it cannot, read and write them."""
    done = 0
    try:
        while done < size and (count := os.copy_file_range(source, target, size - done)):
            done += count
    except OSError as error:
        if done or error.errno not in _NO_COPY_RANGE:
            raise
    if done < size:
        with open(source, "rb", closefd=False) as reader, open(target, "wb", closefd=False) as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)


def _prune(path: Path, newest: Path) -> None:
    # One copy too many does no harm, so it is no reason not to write.
    with suppress(OSError):
        copies = sorted(_find_backups(path, newest.parent.iterdir()), key=lambda copy: copy.name)
        for copy in copies[:-KEPT_BACKUPS]:
            if copy != newest:
                copy.unlink()


def _find_backups(path: Path, files: Iterable[Path]) -> Iterator[Path]:
    """Those with exactly the name that a copy of `path` gets, and a day that exists."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.({_DAY}){re.escape(path.suffix)}")
    for each in files:
        match = pattern.fullmatch(each.name)
        if match and not each.is_symlink() and each.is_file():
            with suppress(ValueError):
                date.fromisoformat(match[1])
                yield each


def changed(path: Path) -> WorkbookError:
    """The file is not what was read any more."""
    return WorkbookError(
        "{path} was changed by another program while it was being written",
        "nothing needs to be done; it is read and written again",
        path=path,
    )


def _unreadable(path: Path, error: OSError) -> WorkbookError:
    return WorkbookError(
        "{path} cannot be read ({why})",
        "give the user of this program the right to read it, or choose another path for the workbook",
        path=path,
        why=error.strerror,
    )


def unwritable(path: Path, error: OSError) -> WorkbookError:
    """Why the file cannot be written, in words for each thing that a person can do about it."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return WorkbookError("the disk of {path} has no room left for this program", "make room on it", path=path)
        case errno.EROFS:
            return WorkbookError("the disk of {path} is read-only", "mount it so that it can be written", path=path)
        case errno.EACCES | errno.EPERM:
            return WorkbookError(
                "{path} may not be written by this program",
                "give its user the right to write in {folder}",
                path=path,
                folder=path.parent,
            )
        case errno.ENAMETOOLONG:
            return WorkbookError("the name of {path} is too long", "give the workbook a shorter name", path=path)
        case errno.ENOENT:
            return WorkbookError("the folder of {path} is not there", "make it, or choose another path", path=path)
    return WorkbookError(
        "{path} cannot be written ({why})",
        "see that {folder} is a folder this program may write in",
        path=path,
        folder=path.parent,
        why=error.strerror,
    )


def _no_backup(copy: Path, error: OSError) -> WorkbookError:
    return WorkbookError(
        "today's backup {path} cannot be made ({why}), so nothing is written",
        "see that {folder} is a folder this program may write in, and that its disk has room",
        path=copy,
        folder=copy.parent,
        why=error.strerror,
    )
