"""A machine that loses its power: whatever was not brought to the disk by fsync may be gone, wholly or in part.

Inside the server's own process, which counts on nothing of this:

* SQLite's files: its VFS is told to call us for `xWrite` and `xSync` (https://sqlite.org/c3ref/io_methods.html). What
  was written to a file since its last sync is taken back when the plug is pulled; then each such write is made again,
  up to some sector of it, or not, as chance has it.
* Files that Python writes: `os.fsync` and `os.replace` are ours. A file that was not synced as it is now is cut off
  anywhere; a rename whose folder was not synced afterwards is taken back, or not.

Then the process kills itself. What is not simulated: a disk that says it has synced and has not, sectors that go bad,
and new files whose folder was not synced (all of ours are synced with it, but for `budget.toml`).
"""

import ctypes
import os
import random
import signal
import stat
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_SECTOR = 512
_DATABASE, _WAL = 0x100, 0x80000


@dataclass(frozen=True)
class Plug:
    """When it is pulled: at a step after so many seconds, at any (`sqlite`, `workbook`) with this chance."""

    seed: int
    seconds: float
    steps: str
    chance: float


class _Write(NamedTuple):
    offset: int
    new: bytes
    old: bytes
    size: int


class _Rename(NamedTuple):
    source: str
    target: str
    kept: str | None


def pull_at(plug: Plug, folder: Path) -> None:
    """Begin to watch the disk, and pull the plug of this process. Raises LookupError where SQLite cannot be watched."""
    disk = _Disk(plug, folder)
    _watch_python(disk)
    _watch_sqlite(disk)


class _Disk:
    """What is not on the disk yet. One at a time writes, and nobody any more once the plug is pulled."""

    def __init__(self, plug: Plug, folder: Path) -> None:
        self.lock = threading.RLock()
        self._plug, self._folder = plug, folder
        self._random = random.Random(plug.seed)  # noqa: S311  What happens is to happen again.
        self._begun, self._armed = time.time_ns(), time.monotonic() + plug.seconds
        self._writes: dict[str, list[_Write]] = {}
        self._synced: dict[int, tuple[int, int]] = {}
        self._renames: list[_Rename] = []
        self._descriptors: dict[str, int] = {}
        self._lost: Counter[str] = Counter()

    def step(self, kind: str) -> None:
        """A moment at which the power may fail."""
        if kind == self._plug.steps and time.monotonic() >= self._armed and self._random.random() < self._plug.chance:
            self._fail()

    def note_write(self, path: str, offset: int, new: bytes) -> None:
        descriptor = self._open(path)
        size = os.fstat(descriptor).st_size
        self._writes.setdefault(path, []).append(_Write(offset, new, os.pread(descriptor, len(new), offset), size))

    def note_sync(self, path: str) -> None:
        self._writes.pop(path, None)

    def note_file(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            for rename in self._renames:
                if rename.kept is not None:
                    self._unlink(rename.kept)
            self._renames.clear()
        else:
            self._synced[status.st_ino] = (status.st_size, status.st_mtime_ns)

    def note_rename(self, source: str, target: str) -> None:
        """Before it is done: the file that is to be replaced is kept."""
        kept = None
        if Path(target).exists():
            kept = f"{self._folder}-kept-{os.getpid()}-{len(self._renames)}"
            os.link(target, kept)
        self._renames.append(_Rename(source, target, kept))

    def _fail(self) -> None:
        for path, writes in self._writes.items():
            self._lose_writes(self._open(path), writes)
        for rename in reversed(self._renames):
            self._lose_rename(rename)
        for each in self._folder.rglob("*"):
            self._lose_content(each)
        lost = " ".join(f"{name}={count}" for name, count in sorted(self._lost.items()))
        Path(f"{self._folder}-lost").write_text(f"at={self._plug.steps} {lost}", encoding="ascii")
        os.kill(os.getpid(), signal.SIGKILL)

    def _lose_writes(self, descriptor: int, writes: list[_Write]) -> None:
        for write in reversed(writes):
            os.pwrite(descriptor, write.old, write.offset)
            os.ftruncate(descriptor, write.size)
        for write in writes:
            sectors = self._random.choice((0, self._random.randrange(1 + len(write.new) // _SECTOR), None))
            done = write.new if sectors is None else write.new[: sectors * _SECTOR]
            os.pwrite(descriptor, done, write.offset)
            self._lost["writes"] += len(done) < len(write.new)

    def _lose_rename(self, rename: _Rename) -> None:
        if self._random.random() < 0.5 or not Path(rename.target).exists():
            return
        self._lost["renames"] += 1
        _RENAME(rename.target, rename.source)
        if rename.kept is not None:
            _RENAME(rename.kept, rename.target)

    def _lose_content(self, path: Path) -> None:
        status = path.lstat()
        ours = path.name.endswith((".tmp", ".xlsx", ".csv")) and stat.S_ISREG(status.st_mode)
        if not ours or status.st_mtime_ns < self._begun:
            return
        if self._synced.get(status.st_ino) != (status.st_size, status.st_mtime_ns):
            os.truncate(path, self._random.randrange(status.st_size + 1))
            self._lost["files"] += 1

    def _open(self, path: str) -> int:
        # Never closed: that would give up the locks which SQLite holds on the file (fcntl(2), advisory locks).
        if path not in self._descriptors:
            self._descriptors[path] = os.open(path, os.O_RDWR | os.O_CREAT)
        return self._descriptors[path]

    def _unlink(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)


_RENAME = os.replace


# --- What Python writes -----------------------------------------------------------------------------------------------


def _watch_python(disk: _Disk) -> None:
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: Any) -> None:
        with disk.lock:
            disk.step("workbook")
            fsync(descriptor)
            disk.note_file(descriptor)
            disk.step("workbook")

    def rename(source: Any, target: Any, **options: Any) -> None:
        with disk.lock:
            disk.step("workbook")
            disk.note_rename(os.fspath(source), os.fspath(target))
            replace(source, target, **options)
            disk.step("workbook")

    os.fsync = sync  # type: ignore[assignment]
    os.replace = rename  # type: ignore[assignment]


# --- What SQLite writes -----------------------------------------------------------------------------------------------

_POINTER = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, _POINTER)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)
# Of sqlite3_io_methods, version 3.
_METHODS = (
    "close",
    "read",
    "write",
    "truncate",
    "sync",
    "size",
    "lock",
    "unlock",
    "check",
    "control",
    "sector",
    "traits",
)
_SHARED = ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")


class _Methods(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), *((name, _POINTER) for name in (*_METHODS, *_SHARED))]


class _System(ctypes.Structure):
    """The beginning of sqlite3_vfs."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
    ]


def find_sqlite() -> Any:
    """The library that the sqlite3 module uses. Raises LookupError where it cannot be reached."""
    import _sqlite3

    for name in (getattr(_sqlite3, "__file__", None), None):
        try:
            library = ctypes.CDLL(name)
            library.sqlite3_vfs_find.restype = ctypes.POINTER(_System)
        except (OSError, AttributeError):
            continue
        return library
    raise LookupError("SQLite is built into this Python where nothing can watch it")


def _watch_sqlite(disk: _Disk) -> None:
    system = find_sqlite().sqlite3_vfs_find(None).contents
    real = _OPEN(system.open)
    paths: dict[int, str] = {}
    copies: dict[int, _Methods] = {}

    def open_file(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        # SQLite keeps the address of the name, so the very same goes on.
        status: int = real(vfs, name, file, flags, out)
        if status == 0 and flags & (_DATABASE | _WAL) and name:
            paths[file] = os.fsdecode(ctypes.string_at(name))
            methods = _POINTER.from_address(file)
            if methods.value not in copies:
                copies[methods.value or 0] = _copy_methods(methods.value or 0, disk, paths)
            methods.value = ctypes.addressof(copies[methods.value or 0])
        return status

    system.open = _keep(_OPEN(open_file))


def _copy_methods(address: int, disk: _Disk, paths: dict[int, str]) -> _Methods:
    copy = _Methods.from_buffer_copy(ctypes.string_at(address, ctypes.sizeof(_Methods)))
    if copy.version < 3:
        raise LookupError("SQLite is too old to be watched")
    write_really, sync_really = _WRITE(copy.write), _SYNC(copy.sync)

    def write(file: int, data: int, length: int, offset: int) -> int:
        with disk.lock:
            disk.note_write(paths[file], offset, ctypes.string_at(data, length))
            status: int = write_really(file, data, length, offset)
            disk.step("sqlite")
            return status

    def sync(file: int, flags: int) -> int:
        with disk.lock:
            disk.step("sqlite")
            status: int = sync_really(file, flags)
            disk.note_sync(paths[file])
            disk.step("sqlite")
            return status

    copy.write, copy.sync = _keep(_WRITE(write)), _keep(_SYNC(sync))
    return copy


_KEPT: list[object] = []


def _keep(function: Any) -> int | None:
    """The address of a function for C, which must not be collected while it may be called."""
    _KEPT.append(function)
    return ctypes.cast(function, _POINTER).value
