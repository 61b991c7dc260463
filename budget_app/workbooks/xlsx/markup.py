"""XML in bytes: what may be trusted, where its elements are, and how text gets in and out. Offsets are of bytes.

A part that `read_part` lets through is well-formed and has no comments, processing instructions, CDATA sections or
entities of its own, so every `<` in it starts a tag, and patterns find elements as surely as a parser does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, NoReturn
from xml.parsers import expat

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.faults import damaged, unusual

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/"

# The inside of a start tag without its name; no `<` is allowed in it, and `>` only between quotes.
INSIDE = rb"""((?:[^"'/<>]|"[^"]*"|'[^']*')*+)"""
_ATTRIBUTE = re.compile(rb"""\s([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_TAG = re.compile(rb"<[^\s<>/]+" + INSIDE)
_REFERENCE = re.compile(rb"&(?:#x([0-9A-Fa-f]+)|#([0-9]+)|(lt|gt|amp|quot|apos));")
_MOST_DIGITS = 10
_NAMED = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"', b"apos": "'"}

# ECMA-376 part 1, 22.9.2.19 (ST_Xstring): a character that XML cannot hold, and an underscore that would look like one.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_ESCAPABLE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Part:
    """The content of a part, and the prefix that its elements have, with the colon; mostly none."""

    data: bytes
    prefix: bytes


class Element(NamedTuple):
    """Where an element and its content are; `inside` is what its start tag holds behind the name."""

    start: int
    end: int
    inside: bytes
    content_start: int
    content_end: int


class Edit(NamedTuple):
    """Put `content` in the place of what is from `start` to `end`."""

    start: int
    end: int
    content: bytes


def read_part(data: bytes, root: str, namespace: str = MAIN) -> Part:
    """See that a part is what it should be. Raises WorkbookError."""
    guard = _Guard()
    guard.read(data)
    prefix, _, name = guard.root.rpartition(":")
    bound = guard.attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
    if bound.startswith(_STRICT):
        raise WorkbookError(
            "the workbook is in the format “Strict Open XML”",
            "save it as “Excel Workbook (.xlsx)”",
        )
    if (name, bound) != (root, namespace):
        raise damaged(f"a {root} was expected where there is {guard.root}")
    if any(_may_change(found, prefix, namespace) for found in _find_declarations(data, guard.root_end)):
        _require_one_meaning(data, namespace)
    return Part(data, f"{prefix}:".encode() if prefix else b"")


_PIECE = 65_536


class _Guard:
    """Reads XML to its end and stops at what spreadsheet programs do not write, and patterns would not see."""

    def __init__(self) -> None:
        self.root = ""
        self.root_end = 0
        self.attributes: dict[str, str] = {}
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.XmlDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = lambda *_: self._refuse("a document type")
        parser.CommentHandler = lambda _: self._refuse("comments")
        parser.StartCdataSectionHandler = lambda: self._refuse("CDATA sections")
        parser.ProcessingInstructionHandler = lambda *_: self._refuse("processing instructions")

    def read(self, data: bytes) -> None:
        # Without a byte order mark and a declaration XML is UTF-8.
        if data[:2] in (b"\xfe\xff", b"\xff\xfe"):
            self._refuse("UTF-16")
        try:
            _parse(self._parser, data)
        except expat.ExpatError as error:
            raise damaged(f"XML: {error}") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.root, self.attributes = name, attributes
        self.root_end = self._parser.CurrentByteIndex + 1
        self._parser.StartElementHandler = None

    def _declare(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            self._refuse(encoding)

    def _refuse(self, what: str) -> NoReturn:
        raise unusual(what)


def _parse(parser: expat.XMLParserType, data: bytes) -> None:
    # In pieces, between which other threads have their turn: a sheet may take a second.
    for start in range(0, len(data), _PIECE):
        parser.Parse(data[start : start + _PIECE], False)  # noqa: FBT003 - there may be more
    parser.Parse(b"", True)  # noqa: FBT003 - this was all


def _find_declarations(data: bytes, start: int) -> Iterator[dict[bytes, str]]:
    """The attributes of every tag behind `start` that may declare a namespace."""
    place = data.find(b"xmlns", start)
    while place >= 0:
        # A `<` is nowhere but where a tag begins.
        tag = _TAG.match(data, data.rfind(b"<", start, place))
        if tag is not None and tag.end() > place:
            yield read_attributes(tag[1])
            place = tag.end()
        place = data.find(b"xmlns", place + 1)


def _may_change(attributes: Mapping[bytes, str], prefix: str, namespace: str) -> bool:
    """Whether what is declared concerns the prefix of the part, or the namespace it stands for."""
    own = f"xmlns:{prefix}".encode() if prefix else b"xmlns"
    return own in attributes or any(uri == namespace for name, uri in attributes.items() if name.startswith(b"xmlns"))


def _require_one_meaning(data: bytes, namespace: str) -> None:
    """Raise WorkbookError if a prefix, or having none, means the main namespace in one place and not in another."""
    bound: dict[str | None, set[str | None]] = {}
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartNamespaceDeclHandler = lambda prefix, uri: bound.setdefault(prefix, set()).add(uri)
    try:
        _parse(parser, data)
    except expat.ExpatError as error:  # A prefix that stands for nothing.
        raise damaged(f"XML: {error}") from error
    main = [uris for uris in bound.values() if namespace in uris]
    if len(main) > 1 or any(len(uris) > 1 for uris in main):
        raise unusual("namespaces that change")


@cache
def tag_pattern(name: bytes) -> re.Pattern[bytes]:
    """A start tag: what is inside, and the slash if the element has no content."""
    return re.compile(rb"<" + re.escape(name) + rb"(?=[\s/>])" + INSIDE + rb"(/?)>")


def find_elements(data: bytes, name: bytes, start: int = 0, end: int | None = None) -> Iterator[Element]:
    """Every element of this name, prefix included, that starts in that range; it must not lie in one of its name."""
    end = len(data) if end is None else end
    while (match := tag_pattern(name).search(data, start, end)) is not None:
        yield (element := close_element(data, name, match))
        start = element.end


def find_element(data: bytes, name: bytes, start: int = 0, end: int | None = None) -> Element | None:
    """The first one."""
    return next(find_elements(data, name, start, end), None)


def close_element(data: bytes, name: bytes, match: re.Match[bytes]) -> Element:
    """The element that starts with this tag."""
    if match[2]:
        return Element(match.start(), match.end(), match[1], match.end(), match.end())
    content_end = data.find(b"</" + name, match.end())
    while data[content_end + 2 + len(name) : content_end + 3 + len(name)] not in b"> \t\r\n":
        content_end = data.find(b"</" + name, content_end + 1)
    return Element(match.start(), data.index(b">", content_end) + 1, match[1], match.end(), content_end)


def read_attributes(inside: bytes) -> dict[bytes, str]:
    """The attributes of a start tag, by their names with prefixes."""
    return {
        match[1]: read_text(match[2] if match[2] is not None else match[3]) for match in _ATTRIBUTE.finditer(inside)
    }


def set_attributes(inside: bytes, values: Mapping[bytes, str | None]) -> bytes:
    """What is inside a start tag, with these attributes in their old places, new ones behind; None takes one out."""
    left = dict(values)

    def change(match: re.Match[bytes]) -> bytes:
        if match[1] not in values:
            return match[0]
        value = left.pop(match[1], None)
        return b"" if value is None else write_attribute(match[1], value)

    changed = _ATTRIBUTE.sub(change, inside)
    return changed.rstrip() + b"".join(
        write_attribute(name, value) for name, value in left.items() if value is not None
    )


def write_attribute(name: bytes, value: str) -> bytes:
    """With a space in front."""
    return b" " + name + b'="' + escape(value).replace(b'"', b"&quot;") + b'"'


def escape(text: str) -> bytes:
    """Text between tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()


def read_text(data: bytes) -> str:
    """Text as it is between tags or quotes."""
    return data.decode() if b"&" not in data else _REFERENCE.sub(_resolve, data).decode()


def read_number(text: str | bytes) -> int:
    """A whole number of an attribute. Raises WorkbookError for anything else."""
    if len(text) > _MOST_DIGITS or not text.isdigit():
        raise damaged("a number in it is none")
    return int(text)


def _resolve(match: re.Match[bytes]) -> bytes:
    if match[3]:
        return _NAMED[match[3]].encode()
    return chr(int(match[1], 16) if match[1] else int(match[2])).encode()


def escape_string(text: str) -> bytes:
    """A string of a cell, as ST_Xstring has it."""
    text = _ESCAPABLE.sub("_x005F_", text)
    return escape(_NOT_IN_XML.sub(lambda match: f"_x{ord(match[0]):04X}_", text))


def read_string(text: str) -> str:
    """What an ST_Xstring stands for."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def splice(data: bytes, edits: Iterable[Edit]) -> bytes:
    """All edits at once; they do not overlap."""
    pieces: list[bytes] = []
    position = 0
    for edit in sorted(edits):
        pieces += (data[position : edit.start], edit.content)
        position = edit.end
    return b"".join([*pieces, data[position:]])
