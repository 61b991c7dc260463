"""Just enough BER (X.690) for what phones send: read within narrow limits, and written again as DER.

iPhones write lengths that are not known yet (section 8.1.3.6), and strings in pieces (section 8.7.3); neither
`cryptography` nor a signature over DER can do anything with those.
"""

from collections.abc import Iterator
from typing import NamedTuple

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, PRINTABLE, SEQUENCE, SET = 0x02, 0x03, 0x04, 0x05, 0x06, 0x13, 0x30, 0x31
# Context-specific tags 0 and 1; the first also as a string that is not in pieces.
FIRST, FIRST_STRING = 0xA0, 0x80

LARGEST = 64 * 1024
# A certificate's own names are about half as deep, and a request has about a tenth as many elements.
DEEPEST = 16
MOST = 4096

_CONSTRUCTED, _STRING_IN_PIECES, _NOT_KNOWN_YET = 0x20, OCTET_STRING | 0x20, 0x80


class Unreadable(ValueError):
    """Octets that are not what they should be."""


class Element(NamedTuple):
    """One element: the content of a primitive one, the parts of a constructed one. Never both."""

    tag: int
    content: bytes
    parts: tuple["Element", ...] = ()

    @property
    def der(self) -> bytes:
        """The element in DER, as far as lengths and strings go. What is not promised: that sets are in order."""
        return wrap(self.tag, self.content or b"".join(part.der for part in self.parts))

    def open(self, *tags: int) -> tuple["Element", ...]:
        """The parts, which have to be exactly so many, with these tags. Raises Unreadable."""
        if tuple(part.tag for part in self.parts) != tags:
            raise Unreadable(f"other parts than expected in an element {self.tag:02x}")
        return self.parts


def wrap(tag: int, content: bytes) -> bytes:
    """One element in DER."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def build(tag: int, *parts: Element) -> Element:
    """A constructed element."""
    return Element(tag, b"", parts)


def read(octets: bytes) -> Element:
    """The one sequence that these octets are. Raises Unreadable."""
    if len(octets) > LARGEST:
        raise Unreadable("too many octets")
    reader = _Reader(octets)
    element = reader.read(len(octets), 0)
    if reader.at != len(octets) or element.tag != SEQUENCE:
        raise Unreadable("octets after the end, or no sequence at all")
    return element


class _Reader:
    def __init__(self, octets: bytes) -> None:
        self.at = 0
        self._octets = octets
        self._left = MOST

    def read(self, end: int, depth: int) -> Element:
        """The element that begins here and lies before `end`."""
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            raise Unreadable("too many elements, or too deep")
        tag = self._take(1, end)[0]
        size = self._read_size(end)
        if not tag & _CONSTRUCTED:
            if size is None:
                raise Unreadable("a string of no length")
            return Element(_require_primitive(tag), self._take(size, end))
        if size is not None and size > end - self.at:
            raise Unreadable("an element that reaches beyond what it is part of")
        parts = tuple(self._read_until_mark(end, depth) if size is None else self._read_within(self.at + size, depth))
        if tag == _STRING_IN_PIECES:
            return Element(OCTET_STRING, join_strings(parts))
        return Element(_require_constructed(tag), b"", parts)

    def _read_within(self, end: int, depth: int) -> Iterator[Element]:
        while self.at < end:
            yield self.read(end, depth + 1)

    def _read_until_mark(self, end: int, depth: int) -> Iterator[Element]:
        """Up to the two zeros that end what had no length."""
        while self._octets[self.at : min(self.at + 2, end)] != b"\0\0":
            yield self.read(end, depth + 1)
        self.at += 2

    def _read_size(self, end: int) -> int | None:
        first = self._take(1, end)[0]
        if first < 0x80:
            return first
        if first == _NOT_KNOWN_YET:
            return None
        if first > 0x84:
            raise Unreadable("a length of more than four octets")
        return int.from_bytes(self._take(first & 0x7F, end))

    def _take(self, size: int, end: int) -> bytes:
        if size > end - self.at:
            raise Unreadable("it ends in the middle")
        self.at += size
        return self._octets[self.at - size : self.at]


def join_strings(parts: tuple[Element, ...]) -> bytes:
    """What the pieces of a string are together. Raises Unreadable if one of them is anything else."""
    if any(part.tag != OCTET_STRING for part in parts):
        raise Unreadable("a string of pieces that are none")
    return b"".join(part.content for part in parts)


def _require_primitive(tag: int) -> int:
    """Universal, or context-specific, but no mark of an end, sequence, set, or a tag of more than one octet."""
    if tag & 0x1F == 0x1F or tag & 0xC0 not in (0x00, 0x80) or tag in (0x00, SEQUENCE & 0x1F, SET & 0x1F):
        raise Unreadable(f"the tag {tag:02x}")
    return tag


def _require_constructed(tag: int) -> int:
    """A sequence, a set or context-specific: no other string comes in pieces here."""
    if tag in (SEQUENCE, SET) or (tag & 0xC0 == 0x80 and tag & 0x1F != 0x1F):
        return tag
    raise Unreadable(f"the tag {tag:02x}")
