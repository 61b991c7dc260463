"""The zip file around a workbook (APPNOTE.TXT 6.3.10): members are read with suspicion and carried over as they are.

What is not replaced keeps its bytes, its compressed bytes and its place; Python's zipfile has no way to copy these.
"""

import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.faults import damaged, unusual

MOST_BYTES = 512 * 1024 * 1024
_MOST_MEMBERS = 65_535
# Deflate itself ends at 1,032 to one; sheets of nothing but formatted cells come near a hundred.
_MOST_RATIO = 400
_SMALL = 1024 * 1024

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x0001, 0x0800
_ZIP64 = 0xFFFF_FFFF
_VERSION = 20
# Half the time of level 6 for a twentieth more bytes.
_LEVEL = 4
_OLE = bytes.fromhex("D0CF11E0A1B11AE1")


class _Header(NamedTuple):
    """A record of the central directory, 4.3.12."""

    mark: bytes
    made_by: int
    needs: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    packed: int
    size: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    internal: int
    external: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Member:
    header: _Header
    name: bytes
    extra: bytes
    comment: bytes


class Package:
    """The members of a zip file in memory. Raises WorkbookError for one that is damaged, encrypted or a bomb."""

    def __init__(self, content: bytes) -> None:
        _require_zip(content)
        self._content = content
        self._directory, self._end = _find_directory(content)
        self._members = {_decode(each): each for each in _read_directory(content, self._directory, self._end)}
        self._starts = self._require_sound()
        self._read: dict[str, bytes] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the directory."""
        return tuple(self._members)

    def find(self, name: str) -> str | None:
        """The member with this name; part names have no case (ECMA-376 part 2, 6.2.2.3)."""
        if name in self._members:
            return name
        return next((each for each in self._members if each.lower() == name.lower()), None)

    def read(self, name: str) -> bytes:
        """All of a member, which has to be there and to have the size and the checksum that it says."""
        if name not in self._read:
            self._read[name] = self._inflate(self._require(name))
        return self._read[name]

    def check(self) -> None:
        """Raise WorkbookError if any member is damaged; nothing is kept of what is read."""
        for name, member in self._members.items():
            if name not in self._read:
                self._inflate(member)

    def replace(self, parts: Mapping[str, bytes], without: Collection[str] = ()) -> bytes:
        """The file with other content in these members, and without some; the rest keeps its bytes and its order."""
        records: dict[str, bytes] = {}
        pieces: list[bytes] = []
        position = 0
        for name, (start, end) in self._starts.items():
            if name in without:
                continue
            header, piece = self._members[name].header, self._content[start:end]
            if name in parts:
                header, piece = _pack(self._members[name], parts[name])
            records[name] = _describe(self._members[name], header._replace(offset=position), kept=name not in parts)
            pieces.append(piece)
            position += len(piece)
        directory = b"".join(records[name] for name in self._members if name in records)
        tail = _END.pack(_END_MARK, 0, 0, len(records), len(records), len(directory), position, len(self._comment))
        return b"".join([*pieces, directory, tail, self._comment])

    @property
    def _comment(self) -> bytes:
        return self._content[self._end + _END.size :]

    def _require(self, name: str) -> _Member:
        try:
            return self._members[name]
        except KeyError as error:
            raise damaged(f"{name} is missing") from error

    def _require_sound(self) -> dict[str, tuple[int, int]]:
        """Where each member starts and ends with all that belongs to it, in the order of the file."""
        if sum(each.header.size for each in self._members.values()) > MOST_BYTES:
            raise _too_large()
        ordered = sorted(self._members.items(), key=lambda pair: pair[1].header.offset)
        limits = [*(member.header.offset for _, member in ordered), self._directory]
        if limits[0] != 0:
            raise damaged("it does not start with its first part")
        for (_, member), end in zip(ordered, limits[1:], strict=True):
            _require_plain(member)
            if self._find_data(member) + member.header.packed > end:
                raise damaged("its parts lie upon each other")
        return {name: limit for (name, _), limit in zip(ordered, pairwise(limits), strict=True)}

    def _find_data(self, member: _Member) -> int:
        """Where the content of a member starts: behind its local header, 4.3.7."""
        start = member.header.offset
        if start + _LOCAL.size > self._directory:
            raise damaged("a part lies outside of it")
        mark, name_length, extra_length = _read_local(self._content, start)
        name = self._content[start + _LOCAL.size : start + _LOCAL.size + name_length]
        if mark != _LOCAL_MARK or name != member.name:
            raise damaged(f"{_decode(member)} is not where it is said to be")
        return start + _LOCAL.size + name_length + extra_length

    def _inflate(self, member: _Member) -> bytes:
        header = member.header
        start = self._find_data(member)
        packed = self._content[start : start + header.packed]
        data = packed if header.method == _STORED else _decompress(packed, header.size)
        if len(data) != header.size or zlib.crc32(data) != header.crc:
            raise damaged(f"the checksum of {_decode(member)} is wrong")
        return data


def _read_local(content: bytes, start: int) -> tuple[bytes, int, int]:
    """The mark, the length of the name and that of the extra field."""
    mark, _, _, _, _, _, _, _, _, name_length, extra_length = _LOCAL.unpack_from(content, start)
    return mark, name_length, extra_length


def _require_zip(content: bytes) -> None:
    if content.startswith(_OLE):
        raise WorkbookError(
            "the workbook is encrypted with a password, or in the old format .xls",
            "save it as .xlsx without a password",
        )
    if not content.startswith(_LOCAL_MARK):
        raise damaged("it is no zip file")


def _find_directory(content: bytes) -> tuple[int, int]:
    """Where the central directory starts and ends, 4.3.16."""
    end = content.rfind(_END_MARK, max(0, len(content) - _END.size - 0xFFFF))
    if end < 0 or end + _END.size > len(content):
        raise damaged("its end is missing")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(content, end)
    if _ZIP64 in (size, start) or count == _MOST_MEMBERS:
        raise unusual("zip64")
    if (disk, first_disk, here) != (0, 0, count) or start + size != end or end + _END.size + comment != len(content):
        raise damaged("its directory is not where it should be")
    return start, end


def _read_directory(content: bytes, start: int, end: int) -> Iterator[_Member]:
    seen: set[str] = set()
    while start < end:
        if start + _CENTRAL.size > end:
            raise damaged("its directory ends too early")
        header = _Header(*_CENTRAL.unpack_from(content, start))
        lengths = (header.name_length, header.extra_length, header.comment_length)
        if header.mark != _CENTRAL_MARK or start + _CENTRAL.size + sum(lengths) > end:
            raise damaged("its directory cannot be read")
        start += _CENTRAL.size
        pieces = []
        for length in lengths:
            pieces.append(content[start : start + length])
            start += length
        member = _Member(header, *pieces)
        name = _decode(member).lower()
        if name in seen:
            raise damaged(f"{name} is in it twice")
        seen.add(name)
        yield member
    if not seen:
        raise damaged("it is empty")


def _decode(member: _Member) -> str:
    # Names of parts are ASCII; what is not is carried over and never looked for.
    return member.name.decode("utf-8" if member.header.flags & _UTF8 else "cp437", "replace")


def _require_plain(member: _Member) -> None:
    header, name = member.header, _decode(member)
    if header.flags & _ENCRYPTED:
        raise WorkbookError("the workbook is encrypted with a password", "save it as .xlsx without a password")
    if header.method not in (_STORED, _DEFLATED):
        raise unusual(f"{name} is packed by method {header.method}")
    if header.disk or _ZIP64 in (header.packed, header.size, header.offset):
        raise unusual("zip64")
    if header.size > _SMALL and header.size > _MOST_RATIO * header.packed:
        raise _too_large()


def _too_large() -> WorkbookError:
    return WorkbookError(
        "the workbook unpacks to more than {most} MiB, or to far more than it should",
        "move what is large in it to another workbook",
        most=MOST_BYTES // 1024 // 1024,
    )


def _decompress(packed: bytes, size: int) -> bytes:
    """At most one byte more than `size`, so that a part that unpacks to more than it says is told by its length."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise damaged("a part cannot be unpacked") from error
    return data if stream.eof and not stream.unused_data else b""


def _pack(member: _Member, data: bytes) -> tuple[_Header, bytes]:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = stream.compress(data) + stream.flush()
    header = member.header._replace(
        needs=_VERSION,
        flags=member.header.flags & _UTF8,
        method=_DEFLATED,
        crc=zlib.crc32(data),
        packed=len(packed),
        size=len(data),
        extra_length=0,
    )
    return header, _LOCAL.pack(_LOCAL_MARK, *header[2:11], 0) + member.name + packed


def _describe(member: _Member, header: _Header, *, kept: bool) -> bytes:
    return _CENTRAL.pack(*header) + member.name + (member.extra if kept else b"") + member.comment
