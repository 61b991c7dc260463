"""The file of records: any number of processes append to it, one of them rotates it, and none of them ever waits."""

import contextlib
import errno
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, time

from keyfob.audit.record import format_omitted
from keyfob.errors import KeyfobError

if sys.platform != "win32":
    import fcntl

LOGGER = logging.getLogger("keyfob")

# After a failure the file is left alone for so many seconds, so that a full disk costs a request nothing.
PAUSE = 5.0

# No descriptor.
_NONE = -1

# How often in a row a file may be deleted between the look at it and the write.
_TRIES = 5


class RecordFile:
    """Lines that are appended to `path`, each whole: one write() with O_APPEND, in a file of mode 0600.

    When the next line would make it longer than `largest` bytes, it becomes `path`.1, that one `path`.2, and so on up
    to `kept`; what stood there is deleted. Whoever else moves or deletes the file finds that a new one is begun. While
    another process rotates, lines go on into the old file, which may then be a little longer than `largest`.

    Raises KeyfobError where the system cannot do that, and nothing later: what goes wrong is logged once, counted
    in `unwritten`, and tried again some seconds after.
    """

    def __init__(self, path: Path, largest: int, kept: int) -> None:
        if sys.platform == "win32":
            raise KeyfobError(
                f"{path}: a file of records needs a POSIX system", "leave file out of [audit]; logging has the records"
            )
        # A link is followed once and for all, so that what is renamed is the file.
        self._path = path.resolve()
        self._largest, self._kept = largest, kept
        self.unwritten = 0
        self._gap = _Gap()
        self._writing = threading.Lock()
        self._descriptor, self._identity = _NONE, (0, 0)
        self._begun = b""
        self._closed = self._stuck = False

    def renew(self) -> "RecordFile":
        """Another one for the same file: for a child process, where a thread that is gone may still hold the lock."""
        return RecordFile(self._path, self._largest, self._kept)

    def write(self, line: str, now: float) -> None:
        """Appends one line of ASCII; `now` is the time in seconds since the epoch."""
        with self._writing:
            if monotonic() < self._gap.pause_ends:
                self._leave_out(now)
                return
            try:
                self._append(f"{self._gap.describe()}{line}\n".encode("ascii"))
            except OSError as error:
                self._leave_out(now, error)
                return
            self._end_gap()
            if self._closed:
                self._shut()

    def close(self) -> None:
        """Lets go of the file. A line that comes later opens it once more, for itself alone."""
        with self._writing:
            self._closed = True
            self._shut()

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self._shut()

    def _append(self, line: bytes) -> None:
        for _ in range(_TRIES):
            descriptor = self._prepare(len(line))
            _write_whole(descriptor, self._begun + line)
            self._begun = b""
            if os.fstat(descriptor).st_nlink:
                return
            # Rotated out of existence, or deleted, since the look at it: nobody will ever read it there.
            self._shut()
        raise OSError(errno.ENOENT, "the file is deleted again and again")

    def _prepare(self, length: int) -> int:
        """The descriptor of the file that stands at the path now and has room for so many bytes."""
        found = self._look() or self._open()
        if self._is_full(found, length):
            self._rotate(length)
            if self._look() is None:
                self._open()
        return self._descriptor

    def _look(self) -> os.stat_result | None:
        """What stands at the path, if it is the open file: another process may have rotated it, or logrotate."""
        if self._descriptor == _NONE:
            return None
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found if (found.st_dev, found.st_ino) == self._identity else None

    def _is_full(self, found: os.stat_result, length: int) -> bool:
        return found.st_size > 0 and found.st_size + length > self._largest

    def _open(self) -> os.stat_result:
        self._shut()
        # O_NONBLOCK and O_NOCTTY: what turns out to be a pipe or a terminal is to keep nobody waiting, nor be ours.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            self._shut()
            raise OSError(errno.EINVAL, "this is no regular file")
        self._identity = found.st_dev, found.st_ino
        self._begun = b"\n" if _ends_in_half_a_line(self._descriptor, found) else b""
        return found

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, _NONE
        if descriptor != _NONE:
            os.close(descriptor)

    def _rotate(self, length: int) -> None:
        """Moves the files up, unless another process does it just now or has done it.

        A folder that takes no new names is no reason to lose records: the file grows on, for logrotate.
        """
        try:
            with _alone(self._path.with_name(f"{self._path.name}.lock")) as alone:
                found = self._look() if alone else None
                if found is not None and self._is_full(found, length):
                    self._move_up()
        except OSError as error:
            if not self._stuck:
                LOGGER.error("%s cannot be rotated, so it grows: %s", self._path, error.strerror)
            self._stuck = True
        else:
            self._stuck = False

    def _move_up(self) -> None:
        if not self._kept:
            self._path.unlink(missing_ok=True)
            return
        names = [self._path]
        while len(names) <= self._kept and names[-1].exists():
            names.append(self._path.with_name(f"{self._path.name}.{len(names)}"))
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            # Somebody else may clear up here, too.
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def _leave_out(self, now: float, error: OSError | None = None) -> None:
        self.unwritten += 1
        if error is not None:
            if not self._gap.count:
                LOGGER.error("%s cannot be written, so records are missing there: %s", self._path, error.strerror)
            self._gap.pause_ends = monotonic() + PAUSE
            self._shut()
        self._gap.widen(now)

    def _end_gap(self) -> None:
        if self._gap.count:
            LOGGER.warning("%s is written again; %d records are missing there", self._path, self._gap.count)
            self._gap = _Gap()


class _Gap:
    """The records that one file lacks: how many, from when to when, and the moment before which nothing is tried."""

    def __init__(self) -> None:
        self.count = 0
        self.pause_ends = 0.0
        self._since = self._until = 0.0

    def widen(self, now: float) -> None:
        """One more is missing."""
        self._since = now if not self.count else self._since
        self._until = now
        self.count += 1

    def describe(self) -> str:
        """A line for the file itself; empty where nothing is missing."""
        return f"{format_omitted({UNWRITTEN: self.count}, self._since, self._until)}\n" if self.count else ""


UNWRITTEN = "file-unwritable"


def _ends_in_half_a_line(descriptor: int, found: os.stat_result) -> bool:
    """Whether a machine that lost its power, or a process that was killed, left a line without its end."""
    if not found.st_size or os.pread(descriptor, 1, found.st_size - 1) == b"\n":
        return False
    # The size grows page by page, so another process may be in the middle of its write: then this is of just now.
    return not -1 < time() - found.st_mtime < 1


def _write_whole(descriptor: int, line: bytes) -> None:
    """One write; what a disk took only a part of is taken back. Raises OSError."""
    written = os.write(descriptor, line)
    if written == len(line):
        return
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    # On a full disk nobody else can have appended either; if somebody has after all, the part stays.
    if os.fstat(descriptor).st_size == end:
        os.ftruncate(descriptor, end - written)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether no other process holds the lock at `path`; if so, none gets it before the end. Never waits."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            try:
                yield True
            finally:
                # Closing alone would leave it held by a process that was forked meanwhile.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
