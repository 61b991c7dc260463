"""Zip files that are written piece by piece: what is joined at the end was packed in many places.

Members are stored as they are, each for its owner alone. Python's own `zipfile` keeps something of every member in
memory, which a million devices would feel; reading a piece back is left to it.
"""

import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from keyfob.errors import PKIError

# APPNOTE.TXT 4.3.7, 4.3.12, 4.3.14, 4.3.15 and 4.3.16.
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
# Where the lengths and the offset are in a member's central record.
_LENGTHS, _OFFSET = 28, 42
_VERSION, _VERSION64, _UNIX, _UTF8 = 20, 45, 3 << 8, 1 << 11
_MODE = 0o100600 << 16
_LARGEST, _MOST = 0xFFFF_FFFF, 0xFFFF


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip file of at most 65,535 members and 4 GB."""
    local: list[bytes] = []
    central: list[bytes] = []
    size = count = 0
    day, moment = _tell_time()
    for name, data in files:
        encoded, check = name.encode("utf-8"), zlib.crc32(data)
        shared = (_UTF8, 0, moment, day, check, len(data), len(data), len(encoded), 0)
        local += (_LOCAL.pack(b"PK\3\4", _VERSION, *shared), encoded, data)
        central += (_CENTRAL.pack(b"PK\1\2", _UNIX | _VERSION, _VERSION, *shared, 0, 0, 0, _MODE, size), encoded)
        size += _LOCAL.size + len(encoded) + len(data)
        count += 1
    directory = b"".join(central)
    return b"".join((*local, directory, _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), size, 0)))


def unpack(path: Path) -> Iterator[tuple[str, bytes]]:
    """The members of what `pack` has made. Raises PKIError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            for each in archive.infolist():
                yield each.filename, archive.read(each)
    except (OSError, zipfile.BadZipFile) as error:
        raise PKIError(f"{path} cannot be read: {error}", "put it back from a backup") from error


class Joiner:
    """Writes one zip file of many that `pack` has made. Memory does not depend on how many there are.

    The file begins wherever `target` is. Methods raise OSError.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        # A file without a name, for the central records: they stand behind all members.
        self._directory = TemporaryFile()  # noqa: SIM115 - `close` does
        self._count = 0

    def add(self, part: Path) -> None:
        """Appends the members of one piece."""
        data = part.read_bytes()
        _, _, _, _, members, size, begin, _ = _END.unpack_from(data, len(data) - _END.size)
        self._directory.write(_relocate(bytearray(data[begin : begin + size]), self._target.tell()))
        self._target.write(memoryview(data)[:begin])
        self._count += members

    def finish(self, comment: bytes) -> None:
        """Writes what makes it a zip file."""
        target, count = self._target, self._count
        begin, size = target.tell(), self._directory.tell()
        self._directory.seek(0)
        while piece := self._directory.read(1 << 20):
            target.write(piece)
        shared = (0, 0, count, count, size, begin)
        target.write(_END64.pack(b"PK\6\6", _END64.size - 12, _UNIX | _VERSION64, _VERSION64, *shared))
        target.write(_LOCATOR.pack(b"PK\6\7", 0, begin + size, 1))
        told = (min(count, _MOST), min(count, _MOST), min(size, _LARGEST), min(begin, _LARGEST))
        target.write(_END.pack(b"PK\5\6", 0, 0, *told, len(comment)) + comment)

    def close(self) -> None:
        """Forgets the members; the target is left as it is."""
        self._directory.close()


def read_tail(path: Path, length: int) -> bytes:
    """The last octets of a file: the comment, in a zip file that has one of that length. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length))
        return file.read(length)


def _relocate(directory: bytearray, base: int) -> bytes:
    """The central records of a piece, for members that stand `base` octets further behind."""
    at, records = 0, []
    while at < len(directory):
        name, extra, comment = struct.unpack_from("<3H", directory, at + _LENGTHS)
        [offset] = struct.unpack_from("<L", directory, at + _OFFSET)
        end = at + _CENTRAL.size + name + extra + comment
        if base + offset < _LARGEST:
            struct.pack_into("<L", directory, at + _OFFSET, base + offset)
        else:
            # 4.5.3: the offset is in an extra field of its own.
            struct.pack_into("<L", directory, at + _OFFSET, _LARGEST)
            struct.pack_into("<H", directory, at + 6, _VERSION64)
            struct.pack_into("<H", directory, at + _LENGTHS + 2, 12)
        records.append(bytes(directory[at:end]))
        if base + offset >= _LARGEST:
            records.append(struct.pack("<2HQ", 1, 8, base + offset))
        at = end
    return b"".join(records)


def _tell_time() -> tuple[int, int]:
    """Today and now, as zip files write them: 4.4.6."""
    now = time.localtime()
    return (
        now.tm_year - 1980
    ) << 9 | now.tm_mon << 5 | now.tm_mday, now.tm_hour << 11 | now.tm_min << 5 | now.tm_sec // 2
