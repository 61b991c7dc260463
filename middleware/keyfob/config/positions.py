"""On which line of a configuration something stands: for texts that tomllib or json has already accepted."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Literal

Path = tuple[str | int, ...]

# Whoever nests deeper than this is told the line on which the last of these levels stands.
DEEPEST = 50


def find_lines(text: str, kind: Literal["toml", "json"]) -> Mapping[Path, int]:
    """The line, counted from 1, on which each key and each list item of `text` begins, by its path.

    `("applications", 0, "domain")` is the key `domain` of the first application. The time it takes grows with the
    length of the text alone. Of a text that the parser has refused nothing is promised but an end; what is not found
    is left out.
    """
    reader = _Reader(text, kind)
    if kind == "json":
        reader.read_value(())
    else:
        reader.read_tables()
    return reader.lines


def find_line(lines: Mapping[Path, int], place: str | Sequence[str | int]) -> int | None:
    """The line of a path, or of a place as a Problem writes it, or else of the nearest table or list around it.

    None where only the document as a whole is around it.
    """
    path = _read_place(place) if isinstance(place, str) else tuple(place)
    around = (path[:length] for length in range(len(path), 0, -1))
    return next((lines[each] for each in around if each in lines), None)


def _read_place(place: str) -> Path:
    """`applications[0].domain` as a path. A dot within a key is taken for one between two keys."""
    return tuple(int(index) if index else key for index, key in re.findall(r"\[(\d+)\]|([^.\[\]]+)", place))


# Each takes what it can and never goes back: the quantifiers with a second plus give nothing up again.
_SPACE = re.compile(r"(?:[\s,]++|#[^\n]*+)*+")
_OPENING = re.compile(r"[\[{]")
_CLOSING = re.compile(r"[\]}]")
_HEADER = re.compile(r"\[\[?[ \t]*")
_HEADER_END = re.compile(r"[ \t]*\]\]?")
_SIGN = re.compile(r"\s*[=:]")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'""")
# TOML lets up to two quotes stand right before the three that end a text.
_TEXT = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+"{3,5}|\'\'\'(?:[^']++|'(?!''))*+'{3,5}|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+\'''',
    re.DOTALL,
)
_WORD = re.compile(r"[^,\[\]{}#\n]+")


class _Reader:
    """Goes through a text once, from its first character to its last."""

    def __init__(self, text: str, kind: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text, self._at, self._line = text, 0, 1
        self._unquote = json.loads if kind == "json" else _unquote_toml

    def read_tables(self) -> None:
        """A whole TOML document."""
        table: Path = ()
        sizes: dict[Path, int] = {}  # of the arrays of tables
        while True:
            self._take(_SPACE)
            bracket = self._take(_HEADER)
            keys = self._take_keys()
            if not keys:
                return
            if bracket:
                table = self._open_table(keys, sizes, is_array=bracket.startswith("[["))
                self._take(_HEADER_END)
            else:
                self.read_value(self._note_all(table, keys))

    def read_value(self, path: Path | None) -> None:
        """One value, with everything that is in it."""
        around: list[tuple[Path, bool]] = []  # the lists and tables that are open, and whether each is a list
        sizes: list[int] = []
        while path is not None:
            self._take(_SPACE)
            if bracket := self._take(_OPENING):
                around.append((path, bracket == "["))
                sizes.append(0)
            else:
                _ = self._take(_TEXT) or self._take(_WORD)
            path = self._next_path(around, sizes)

    def _next_path(self, around: list[tuple[Path, bool]], sizes: list[int]) -> Path | None:
        """Where the next value stands in what is open; None where all of it ends."""
        while around:
            self._take(_SPACE)
            if self._take(_CLOSING):
                around.pop()
                sizes.pop()
                continue
            path, is_list = around[-1]
            if is_list and self._at < len(self._text):
                sizes[-1] += 1
                return self._note(path, sizes[-1] - 1)
            keys = self._take_keys()
            return self._note_all(path, keys) if keys else None
        return None

    def _open_table(self, keys: list[str], sizes: dict[Path, int], *, is_array: bool) -> Path:
        """The path that a header names: through an array of tables, it goes on from the last of them."""
        path: Path = ()
        for key in keys[:-1]:
            path = self._note(path, key)
            path = (*path, sizes[path] - 1) if path in sizes else path
        path = self._note(path, keys[-1])
        if is_array:
            sizes[path] = sizes.get(path, 0) + 1
            return self._note(path, sizes[path] - 1)
        self.lines[path] = self._line  # A table below it may have named it before.
        return path

    def _note_all(self, path: Path, keys: list[str]) -> Path:
        for key in keys:
            path = self._note(path, key)
        return path

    def _note(self, path: Path, part: str | int) -> Path:
        if len(path) >= DEEPEST:
            return path
        path = (*path, part)
        self.lines.setdefault(path, self._line)
        return path

    def _take_keys(self) -> list[str]:
        keys: list[str] = []
        while found := self._take(_KEY):
            keys.append(self._unquote(found) if found[0] == '"' else found.strip("'"))
            if not self._take(_DOT):
                break
        self._take(_SIGN)
        return keys

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        self._line += found.group().count("\n")
        return found.group()


def _unquote_toml(text: str) -> str:
    return str(tomllib.loads(f"key = {text}")["key"]) if "\\" in text else text[1:-1]
