"""Which path a request means, and whose that path is.

A path is judged in the very form that the router sees, so nothing is cleaned here. What another reader could take for
another path, be it a framework, a file system or the app behind the app, is refused instead of guessed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from keyfob.errors import KeyfobError

T = TypeVar("T")

# The ASGI extension in which a skin says, as a sentence, why nobody can tell which path the app will be asked for.
UNCLEAR_PATH = "keyfob.unclear_path"

# The longest path that a pattern may have. It bounds how much of a hostile path is ever looked at in pieces.
LONGEST_PATTERN = 1024

# The longest path in more than ASCII that is read: normalised, it can become eighteen times as long.
LONGEST_UNICODE = 2048

EVERY_PATH = "/*"


class AmbiguousPath(KeyfobError):
    """A request whose path could mean two things. The message says what in it."""


class WrongPattern(KeyfobError):
    """The `domain` of an application, or a host of a root, that cannot be obeyed as it is written."""


# --- What a request's path is -----------------------------------------------------------------------------------------

_PLAINLY = "let the client write the path plainly, or give this host one application for all its paths"

# Percent-encoded slashes, backslashes, dots, NULs, and percent signs that stand before a second encoding. Decoding
# makes them equal to what they are kept apart from.
_HIDDEN = re.compile(rb"%(?:2[EFef]|5[Cc]|00|25[0-9A-Fa-f]{2})")


def find_path(scope: Mapping[str, Any]) -> str:
    """The path of an ASGI scope in full: the prefix that the server or a mount took off, and what the router sees.

    The same on servers that put `root_path` into `path` and on those that do not. Raises AmbiguousPath where already
    the server's own words can be read in two ways; what is left is for `Paths.find` to judge.
    """
    unclear = (scope.get("extensions") or {}).get(UNCLEAR_PATH)
    if unclear:
        raise AmbiguousPath(unclear)
    raw: bytes = scope.get("raw_path") or b""
    hidden = _HIDDEN.search(raw) if b"%" in raw else None
    if hidden is not None:
        said = hidden[0].decode("ascii")
        raise AmbiguousPath(f"{said} in the path {_quote(raw.decode('latin-1'))} is a character in disguise", _PLAINLY)
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    prefix = root.rstrip("/")
    return prefix + _take_off(root, path) if prefix else path


def _take_off(root: str, path: str) -> str:
    """What Starlette's router sees of `path`. Others take a prefix off inside a segment, too, and see another path."""
    rest = path.removeprefix(root)
    if rest and not rest.startswith("/"):
        raise AmbiguousPath(
            f"the path {_quote(path)} starts like the prefix {_quote(root)}, but goes on in the same segment",
            "write root_path or SCRIPT_NAME as /prefix: a slash before it, and none behind it",
        )
    return rest


def find_other_reading(scope: Mapping[str, Any]) -> str | None:
    """The path in full for whoever looks for the prefix anywhere, as Litestar does, and cuts off what is before it.

    None where that makes no difference.
    """
    root: str = scope.get("root_path") or ""
    path: str = scope["path"]
    if not root.rstrip("/") or path.startswith(root) or root not in path:
        return None
    return f"{root.rstrip('/')}/{path.split(root, 1)[1].lstrip('/')}"


def _quote(path: str) -> str:
    return repr(path[:64]) + ("…" if len(path) > 64 else "")


# --- What could be read in two ways -----------------------------------------------------------------------------------

# The one character first, and then what makes it a trap: so the search is as fast as one for a character.
_UNCLEAR = re.compile(
    r"[/;\\%:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]"
    r"(?:(?<=/)(?:/|\.[. ]*+(?=[/?#]|\Z))|(?<=%)[0-9A-Fa-f]{2}|(?<=:)\$|(?<![/%:]))"
)
_SAID = {
    "//": "two slashes in a row",
    "/.": "a segment of dots",
    ";": "a semicolon, before which some servers cut a segment off",
    "\\": "a backslash, which is a slash on Windows",
    "%": "a percent-encoding",
    ":": "':$', which names a stream on Windows",
}
_CONTROL = "a control character, or bytes that are not UTF-8"

# Unicode's Default_Ignorable_Code_Point: some file systems pass over them when they compare names.
_IGNORABLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# Paths that nobody reads in two ways, and that `fold` leaves as they are. Most are such, and one look tells.
PLAIN = re.compile(r"(?=/)(?:/(?:[a-z_][a-z0-9_-]{0,30}+(?:\.[a-z0-9_-]{1,30}+)*+|0|[1-9][0-9]{0,30}+))*+/?+")


def find_doubt(path: str) -> str | None:
    """What in a decoded path could be read in two ways, as words; None if nothing."""
    if not path.startswith("/"):
        return "no slash at its beginning"
    text = path
    if not path.isascii():
        if len(path) > LONGEST_UNICODE:
            return f"more than {LONGEST_UNICODE} characters, and not only ASCII"
        # Full-width dots and slashes are dots and slashes to whoever normalises.
        text = _IGNORABLE.sub("", unicodedata.normalize("NFKC", path))
        if text.count("/") != path.count("/"):
            return "a character that becomes a slash"
    match = _UNCLEAR.search(text)
    return None if match is None else _SAID.get(match[0][:2]) or _SAID.get(match[0][0], _CONTROL)


def fold(path: str) -> str:
    """What a careless reader could take the path for; two paths that fold to the same may be one to it.

    Letter case and Unicode's look-alikes, as file systems ignore them; a query or fragment, as those read it who take
    the path for a URL; the dots and spaces that Windows takes off a name's end; and the forms of a number or UUID that
    Starlette's path convertors take for the same. Takes patterns as well as paths.
    """
    if path.isascii():
        text = path.lower()
    else:
        text = _IGNORABLE.sub("", unicodedata.normalize("NFKC", path)).upper().casefold()
        text = unicodedata.normalize("NFKC", text)
    return "/".join(map(_fold_segment, re.split("[?#]", text, maxsplit=1)[0].split("/")))


_NUMBER = re.compile(r"0*+([0-9]*)(?:\.([0-9]+))?")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def _fold_segment(segment: str) -> str:
    segment = segment.rstrip(". ") or segment
    if any(map(str.isdecimal, segment)):
        # Other readers take +7, 7 behind a blank, 1_0 and the digits of other scripts for numbers as well.
        plain = "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in segment.strip())
        bare = re.sub(r"(?<=[0-9])_(?=[0-9])", "", plain.removeprefix("+"))
        segment = bare if _NUMBER.fullmatch(bare) else segment
    if segment[:1].isdigit() and (number := _NUMBER.fullmatch(segment)):
        fraction = (number[2] or "").rstrip("0")
        return (number[1] or "0") + ("." + fraction if fraction else "")
    if _UUID.fullmatch(segment):
        return segment.replace("-", "")
    return segment


def require_clear(path: str) -> None:
    """Returns if a decoded path can be read in one way only. Raises AmbiguousPath."""
    doubt = find_doubt(path)
    if doubt is not None:
        raise AmbiguousPath(f"the path {_quote(path)} has {doubt}", _PLAINLY)


# --- Patterns ---------------------------------------------------------------------------------------------------------


def parse_path_pattern(text: str) -> str:
    """The one way to write what a path pattern covers: `/alpha/` is `/alpha/*`, and nothing at all is `/*`.

    `text` has no query and no fragment. Raises WrongPattern for what no request's path can be, and for what could be
    read in two ways.
    """
    pattern = text + "*" if text.endswith("/") else text or EVERY_PATH
    doubt = find_doubt(pattern)
    if doubt is not None:
        raise WrongPattern(f"the path {_quote(text)} has {doubt}", _DECODED)
    if unicodedata.normalize("NFC", pattern) != pattern:
        raise WrongPattern(f"the path {_quote(text)} is not in Unicode's form NFC", "type it anew; browsers send NFC")
    if len(pattern) > LONGEST_PATTERN:
        raise WrongPattern(f"the path is longer than {LONGEST_PATTERN} characters", "a shorter one covers all below it")
    for segment in pattern.split("/"):
        _require_good_segment(segment)
    return pattern


def _require_good_segment(segment: str) -> None:
    if segment.count("*") > 1:
        raise WrongPattern(f"{segment!r} has more than one * between two slashes", "one covers as much as several")
    if segment.endswith((".", " ")):
        raise WrongPattern(f"{segment!r} ends with a dot or a space", "Windows would take it off; leave it out")


_DECODED = "write the path as the app sees it: decoded, with single slashes, such as /admin or /café/*"


class _Wildcard(NamedTuple):
    """A pattern with a `*` before its end: its rank, the length of its text before that, and the texts behind it.

    `last` is what the path, or one of those above it, has to end with; empty if the pattern ends with a `*`.
    """

    rank: int
    start: int
    middle: tuple[str, ...]
    last: str

    def covers(self, path: str) -> bool:
        """Whether a path with this beginning fits. Each text is looked for once, from where the one before ended."""
        at = self.start
        for text in self.middle:
            at = path.find(text, at)
            if at < 0:
                return False
            at += len(text)
        if not self.last or path.find(self.last + "/", at) >= 0:
            return True
        return len(path) - len(self.last) >= at and path.endswith(self.last)


class _Node:
    """What the patterns say at one prefix of a path, which ends where a segment does or with the slash behind it."""

    __slots__ = ("lengths", "rank", "wildcards")

    def __init__(self, rank: int) -> None:
        # The pattern that covers what ends here and what goes on here.
        self.rank = rank
        # Patterns with a wildcard further on: by their text before it, and by a segment that the path has to have.
        self.wildcards: dict[str, dict[str, list[_Wildcard]]] = {}
        # How long those texts are.
        self.lengths: tuple[int, ...] = ()


class _Index:
    """Patterns by their literal beginning. A pattern's rank is its place among them, the best being 0."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._none = len(patterns)
        self._nodes = {"/": _Node(self._none)}
        for rank, pattern in enumerate(patterns):
            self._enter(rank, pattern)

    def _enter(self, rank: int, pattern: str) -> None:
        head, star, rest = pattern.partition("*")
        if not star or (not rest and head.endswith("/")):
            self._reach(head).rank = rank
            return
        node = self._reach(head[: head.rindex("/") + 1])
        *middle, last = rest.split("*")
        wildcard = _Wildcard(rank, len(head), tuple(middle), last)
        node.wildcards.setdefault(head, {}).setdefault(_find_needed(rest), []).append(wildcard)
        node.lengths = tuple(sorted({*node.lengths, len(head)}))

    def _reach(self, prefix: str) -> _Node:
        """The node of a prefix, with one for every prefix above it, so that a walk can stop at the first gap."""
        for end in range(1, len(prefix) + 1):
            if prefix[end - 1] == "/" or prefix[end : end + 1] in ("", "/"):
                self._nodes.setdefault(prefix[:end], _Node(self._none))
        return self._nodes[prefix]

    def find(self, path: str) -> int:
        """The rank of the best pattern that covers the path; the number of patterns if none does."""
        nodes = self._nodes
        best, end, node = self._none, 1, nodes.get("/")
        # Written out rather than called, since it runs with every request: a prefix without its slash, then with it.
        while node is not None:
            if node.rank < best:
                best = node.rank
            if node.lengths:
                best = _find_better(node, path, best)
            start, end = end, path.find("/", end)
            if end < 0:
                last = nodes.get(path) if start < len(path) else None
                return best if last is None or last.rank > best else last.rank
            before = nodes.get(path[:end])
            if before is None:
                break
            if before.rank < best:
                best = before.rank
            end += 1
            node = nodes.get(path[:end])
        return best


def _find_needed(rest: str) -> str:
    """A whole segment that stands behind a pattern's first wildcard; nothing if none does."""
    return max((segment for segment in rest.split("/")[1:] if "*" not in segment), key=len, default="")


def _find_better(node: _Node, path: str, best: int) -> int:
    """The rank of the node's best pattern with a wildcard that covers the path, if it is below `best`; else `best`."""
    # There is nothing before a path's first slash, and so what needs no segment is found as well.
    segments = set(path.split("/"))
    for length in node.lengths:
        by_segment = node.wildcards.get(path[:length], {})
        for segment in segments & by_segment.keys():
            for wildcard in by_segment[segment]:
                if wildcard.rank >= best:
                    break
                if wildcard.covers(path):
                    best = wildcard.rank
    return best


# --- Whose a path is --------------------------------------------------------------------------------------------------


class PathTable(Generic[T]):
    """The path patterns of one host pattern, each with its value; the one with the most literal characters wins.

    Patterns are as `parse_path_pattern` returns them. Of two with as many, the one with more of them before its first
    wildcard wins, and then the first in the list. A table of a thousand paths is searched as fast as one of one: only
    patterns that share the text before their first wildcard are tried one after the other.
    """

    def __init__(self, rows: Iterable[tuple[str, T]]) -> None:
        ranked = sorted(rows, key=lambda row: _weigh(row[0]))
        self.values = [value for _, value in ranked]
        patterns = [pattern for pattern, _ in ranked]
        folded = list(map(fold, patterns))
        self.written = _Index(patterns)
        # In the same order, because a pattern can get longer or shorter.
        self.folded = self.written if folded == patterns else _Index(folded)
        self.covers_all = EVERY_PATH in patterns

    @property
    def whole(self) -> T | None:
        """The only value there can be."""
        return self.values[0] if self.covers_all and len(self.values) == 1 else None


def _weigh(pattern: str) -> tuple[int, int]:
    return -len(pattern.replace("*", "")), -len(pattern.partition("*")[0])


class Paths(Generic[T]):
    """Whose each path of one host is. `tables`, of which there is at least one, are asked in turn.

    `whole` is the one value of every path, whatever it says, where there is such a one: then no path needs to be read,
    and none is ambiguous. Values are told apart by identity.
    """

    def __init__(self, tables: Sequence[PathTable[T]]) -> None:
        self.whole = tables[0].whole
        self._written = [(table.written.find, table.values) for table in tables]
        self._folded = [(table.folded.find, table.values) for table in tables]
        self._folds = any(table.folded is not table.written for table in tables)

    def find(self, path: str) -> T | None:
        """The value that covers a path of `find_path`, None if none does.

        Raises AmbiguousPath for a path that could be read as another one, if that makes a difference here.
        """
        if self.whole is not None:
            return self.whole
        plain = PLAIN.fullmatch(path) is not None
        if not plain:
            require_clear(path)
        found = _search(self._written, path)
        if (self._folds or not plain) and _search(self._folded, fold(path)) is not found:
            raise AmbiguousPath(f"the path {_quote(path)} is another application's to {_CARELESS}", _PLAINLY)
        return found


_CARELESS = "whoever ignores letter case, look-alikes, leading zeros, or what follows a ? or #"


def _search(tables: Iterable[tuple[Callable[[str], int], Sequence[T]]], path: str) -> T | None:
    for find, values in tables:
        rank = find(path)
        if rank < len(values):
            return values[rank]
    return None
