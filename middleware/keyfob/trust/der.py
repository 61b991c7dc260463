"""Just enough of DER (X.690) to walk through a list of a million entries as it streams by, and PEM around it.

Everything has its one encoding: a length that could be shorter, or a number with octets to spare, is unreadable.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import BinaryIO

INTEGER, BIT_STRING, OCTET_STRING, OID, UTC_TIME, GENERALIZED_TIME, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x17, 0x18, 0x30

# What is read at once: small enough that no call keeps the interpreter from other threads for a millisecond.
CHUNK = 32 * 1024
# No part of a list but the list itself is larger: not one entry, nor a name, nor all the extensions.
LARGEST = 64 * 1024


class Unreadable(ValueError):
    """Octets that are not what they should be."""


def read_header(octets: bytes, at: int) -> tuple[int, int, int]:
    """The tag of the element at `at`, where its content begins, and where it ends. Raises Unreadable.

    What is not promised: that the end lies within `octets`.
    """
    header = octets[at : at + 6]
    if len(header) < 2:
        raise Unreadable("it ends in the middle")
    tag, size = header[0], header[1]
    if size < 0x80:
        return tag, at + 2, at + 2 + size
    count = size & 0x7F
    if not 1 <= count <= 4 or len(header) < 2 + count:
        raise Unreadable(f"a length of {count} octets")
    size = int.from_bytes(header[2 : 2 + count])
    if size < 0x80 or size >> (8 * (count - 1)) == 0:
        raise Unreadable("a length that is not written in its shortest form")
    return tag, at + 2 + count, at + 2 + count + size


def split(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements that follow one another in `octets`: tag and content of each. Raises Unreadable."""
    at = 0
    while at < len(octets):
        tag, begin, end = read_header(octets, at)
        if end > len(octets):
            raise Unreadable("an element that reaches beyond what it is part of")
        yield tag, octets[begin:end]
        at = end


def wrap(tag: int, content: bytes) -> bytes:
    """One element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def require_integer(content: bytes) -> None:
    """Raises Unreadable unless these octets are the one encoding of a number."""
    if not content or (len(content) > 1 and content[0] in (0x00, 0xFF) and content[0] >> 7 == content[1] >> 7):
        raise Unreadable("a number that is not written in its shortest form")


def require_oid(content: bytes) -> None:
    """Raises Unreadable unless these octets are the one encoding of an object identifier, of numbers below 2**28."""
    if len(content) > 63 or _OID.fullmatch(content) is None:
        raise Unreadable("an object identifier that is none")


_OID = re.compile(rb"(?:(?!\x80)[\x80-\xff]{0,3}[\x00-\x7f])+", re.DOTALL)


def require_time(tag: int, content: bytes) -> None:
    """RFC 5280 section 4.1.2.5: a date and a time to the second, in UTC. Raises Unreadable."""
    year = _YEAR_DIGITS.get(tag, 0)
    digits, day, hour, rest = content[:-1], content[: year + 4], content[year + 4 : year + 6], content[year + 6 : -1]
    if len(content) != year + 11 or content[-1:] != b"Z" or not year or not digits.isdigit():
        raise Unreadable("a date that is not one")
    if hour >= b"24" or rest[:2] >= b"60" or rest[2:] >= b"60":
        raise Unreadable("a time of day that is not one")
    _require_day(day)


_YEAR_DIGITS = {UTC_TIME: 2, GENERALIZED_TIME: 4}
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@lru_cache(maxsize=4096)
def _require_day(digits: bytes) -> None:
    year, month, day = int(digits[:-4]), int(digits[-4:-2]), int(digits[-2:])
    # A year of two digits is one of 1950 to 2049, and in those every fourth is a leap year.
    leap = month == 2 and year % 4 == 0 and (len(digits) == 6 or year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1] + leap or digits[:4] == b"0000":
        raise Unreadable("a day that is in no calendar")


class Octets:
    """A stream, read from the front. `data[at:]` is what has been read of it and not been used yet."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.data = b""
        self.at = 0
        self._chunks = chunks
        self._before = 0
        self._watched = 0
        self._watcher: Callable[[bytes], object] = bytes

    def watch(self, size: int, watcher: Callable[[bytes], object]) -> None:
        """Shows the next `size` octets, from `at` on, to `watcher` when they are read; what is read already, now."""
        self._watched, self._watcher = size, watcher
        self._show(self.data[self.at :])

    def fill(self) -> None:
        """Reads on until more than LARGEST octets lie ahead, or the stream has ended."""
        ahead = [self.data[self.at :]]
        size = len(ahead[0])
        while size <= LARGEST and (chunk := next(self._chunks, b"")):
            self._show(chunk)
            ahead.append(chunk)
            size += len(chunk)
        self._before += self.at
        self.data, self.at = b"".join(ahead), 0

    def _show(self, octets: bytes) -> None:
        if self._watched > 0:
            self._watcher(octets[: self._watched])
            self._watched -= len(octets)

    @property
    def position(self) -> int:
        """How many octets have been used."""
        return self._before + self.at

    def open(self, tag: int) -> tuple[bytes, int]:
        """Steps into an element of this tag. Its header, and the position at which it ends. Raises Unreadable."""
        self.fill()
        found, begin, end = read_header(self.data, self.at)
        if found != tag:
            raise Unreadable(f"the tag {found:02x} in the place of {tag:02x}")
        header, self.at = self.data[self.at : begin], begin
        return header, self._before + end

    def take(self, *tags: int) -> bytes:
        """The whole next element, header and content, which has to have one of these tags. Raises Unreadable."""
        self.fill()
        tag, _, end = read_header(self.data, self.at)
        if tag not in tags:
            raise Unreadable(f"the tag {tag:02x} in the place of {' or '.join(f'{each:02x}' for each in tags)}")
        if end - self.at > LARGEST or end > len(self.data):
            raise Unreadable("an element that is too large, or cut off")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    @property
    def tag(self) -> int:
        """The tag of the next element, -1 at the end."""
        self.fill()
        return self.data[self.at] if self.at < len(self.data) else -1


def read_blocks(file: BinaryIO, label: bytes) -> Iterator[Iterator[bytes]]:
    """The DER in a file, as streams of chunks: all of it, or each of its PEM blocks (RFC 7468), which bear `label`.

    Each stream has to be read to its end before the next is asked for. Raises Unreadable.
    """
    first = file.read(CHUNK)
    # No text has an octet with the high bit there, and no list is so short that it could do without.
    if first[:1] == b"\x30" and first[1:2] >= b"\x80":
        yield _chain(first, iter(partial(file.read, CHUNK), b""))
        return
    file.seek(0)
    lines = iter(partial(file.readline, CHUNK), b"")
    for line in lines:
        if line.startswith(b"-----"):
            if line.strip() != b"-----BEGIN " + label + b"-----":
                shown = line[:80].decode("ascii", "replace").strip()
                raise Unreadable(f"{shown!r} where only {label.decode()} should be")
            yield _decode(lines, b"-----END " + label + b"-----")


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _decode(lines: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        text = line.strip()
        if text.startswith(b"-----"):
            if text != end:
                raise Unreadable("a PEM block that does not end")
            yield _decode_base64(b"".join(held))
            return
        held.append(text)
        size += len(text)
        if size > CHUNK:
            whole = b"".join(held)
            # The last four letters wait, since they may be the end of everything, and only there is padding.
            cut = (size - 1) // 4 * 4
            chunk = _decode_base64(whole[:cut])
            if len(chunk) != cut // 4 * 3:
                raise Unreadable("base64 that goes on after its end")
            held, size = [whole[cut:]], size - cut
            yield chunk
    raise Unreadable("a PEM block that does not end")


def _decode_base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise Unreadable(f"not base64: {error}") from error
