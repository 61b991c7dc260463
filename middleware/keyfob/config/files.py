"""What a configuration was read from, so that a change can be seen at a glance and big files are read once."""

import errno
import os
import stat
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# What tells one state of a file from another: when it was written, when it was changed in any way, how long it is, and
# which file it is; or why nobody can tell.
Stamp = tuple[int, ...] | str

# Two writes within one tick of the kernel's clock leave the same stamp, and no kernel's ticks are longer than this.
TICK = 20_000_000

# The stamp of a file that may be written again without its stamp changing: no look ever finds it again.
_TOO_NEW = "written a moment ago"


class Files:
    """Reads the files of one configuration, in rounds: one round is one attempt to build everything from them.

    `begin` opens a round and `finish` closes one that went well; what was parsed and not asked for in it is forgotten
    then. After a round that failed, what the one before had parsed is kept, so that mending one line does not read a
    million others. Relative paths start where the process was when this was made. Not for several threads at once.

    A round that falls back takes what was good before of each file that cannot be parsed any more, and of all those
    that are read whole, whose faults show later. What else has changed counts in it.
    """

    def __init__(self) -> None:
        try:
            self._folder = Path.cwd()
        except OSError:  # The folder is gone: absolute paths are all that can be meant.
            self._folder = Path()
        self._stamps: dict[Path, Stamp] = {}
        self._parsed: dict[tuple[Path, Hashable], tuple[Stamp, Any]] = {}
        # What this round has got of it, and what the last good one had.
        self._asked: dict[tuple[Path, Hashable], Any] = {}
        self._in_force: dict[tuple[Path, Hashable], Any] = {}
        # What was read whole in the last good round, and in this one.
        self._good: dict[Path, bytes] = {}
        self._read: dict[Path, bytes] = {}
        self._falls_back = False
        self._kept: dict[Hashable, Any] = {}
        self._kept_asked: set[Hashable] = set()
        # Whether a file that is there could not be read: no stamp changes when that ends.
        self.hindered = False

    def begin(self, *, falls_back: bool = False) -> None:
        """Opens a new round: only what is read from here on is looked at again."""
        self._falls_back, self._read = falls_back, {}
        self._stamps, self._asked, self._kept_asked, self.hindered = {}, {}, set(), False

    def finish(self) -> None:
        """Closes a round that went well."""
        self._parsed = {key: kept for key, kept in self._parsed.items() if key in self._asked}
        self._kept = {key: kept for key, kept in self._kept.items() if key in self._kept_asked}
        self._good, self._in_force = self._read, self._asked

    @property
    def brings_news(self) -> bool:
        """Whether this round has parsed anything that the last good one had not."""
        return any(value is not self._in_force.get(key) for key, value in self._asked.items())

    def locate(self, path: Path) -> Path:
        """Where a file is, for whoever looks at it later: the process may have gone to another folder by then."""
        return self._folder / path

    def read(self, path: Path) -> bytes:
        """The bytes of a file. Raises OSError, and ValueError for a path that cannot be one."""
        path = self._folder / path
        self._note(path)
        good = self._good.get(path) if self._falls_back else None
        self._read[path] = self._attempt(Path.read_bytes, path) if good is None else good
        return self._read[path]

    def parse(self, path: Path, kind: Hashable, parse: Callable[[Path], T]) -> T:
        """What `parse` makes of a file: of this round, or of an earlier one if the file is the same since.

        `kind` says what is made of it, and has to be another one for another `parse`. Whatever `parse` raises is
        raised, and nothing is kept of it.
        """
        path = self._folder / path
        self._asked[path, kind] = value = self._find(path, kind, parse)
        return value

    def _find(self, path: Path, kind: Hashable, parse: Callable[[Path], T]) -> T:
        stamp, key = self._note(path), (path, kind)
        kept = self._parsed.get(key)
        if kept is not None and kept[0] == stamp != _TOO_NEW:
            value: T = kept[1]
            return value
        try:
            value = self._attempt(parse, path)
        except Exception:
            if kept is None or not self._falls_back:
                raise
            old: T = kept[1]
            return old
        self._parsed[key] = stamp, value
        return value

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What outlives the rounds: made once, and the same in every round that asks for it."""
        self._kept_asked.add(key)
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value

    def has_read(self, path: Path) -> bool:
        """Whether this round has read the file."""
        return any(each == self._folder / path or _is_same(each, self._folder / path) for each in self._stamps)

    def look(self) -> dict[Path, Stamp]:
        """How the files of the last round, whether it went well or not, are now."""
        return {path: _take_stamp(path) for path in self._stamps}

    def differ(self, looked: dict[Path, Stamp]) -> bool:
        """Whether what was seen in a look is not what the last round read."""
        return looked != self._stamps

    def have_changed(self) -> bool:
        """Whether a file of the last round is not what it was when it was read."""
        return self.differ(self.look())

    def _attempt(self, read: Callable[[Path], T], path: Path) -> T:
        try:
            _require_regular(path)
            return read(path)
        except FileNotFoundError:
            raise
        except OSError:
            self.hindered = True
            raise

    def _note(self, path: Path) -> Stamp:
        """Takes the stamp, before the file is read: what is written meanwhile differs from it afterwards."""
        stamp = _take_stamp(path)
        if isinstance(stamp, tuple) and 0 <= time.time_ns() - max(stamp[:2]) < TICK:
            stamp = _TOO_NEW
        # Read twice in one round, a file counts as it was the first time.
        return self._stamps.setdefault(path, stamp)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _require_regular(path: Path) -> None:
    """A pipe would be waited for without end, and a device read without end. Raises OSError."""
    mode = os.stat(path).st_mode  # noqa: PTH116
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "this is no regular file", str(path))


def _take_stamp(path: Path) -> Stamp:
    try:
        # Links are followed: Kubernetes swaps a link to a whole folder.
        found = os.stat(path)  # noqa: PTH116 - three times as fast, and asked five times a second
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"error {error.errno}"
    except ValueError:  # A path with a NUL in it.
        return "no path"
    # The time of change tells of new permissions, too, and of programs that turn the time of writing back.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
