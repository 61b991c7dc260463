"""cfssl's JSON documents, read as Go reads them: keys in any case, null for what is not there.

Unlike Go, nothing is passed over: a key that nobody knows, or that comes twice, is refused.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn, TypeVar

from keyfob.errors import PKIError

# A document of hand-written JSON has a few kilobytes; a bundle of certificates some more.
LARGEST = 1 << 20

Value = TypeVar("Value")


class Place(NamedTuple):
    """Where something stands: the file, and the path of keys in it."""

    file: str
    path: str = ""

    def at(self, key: str | int) -> "Place":
        """The place below this one."""
        below = f"[{key}]" if isinstance(key, int) else f".{key}" if self.path else key
        return Place(self.file, self.path + below)

    def __str__(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file

    def fail(self, message: str, hint: str = "") -> NoReturn:
        """Raises PKIError about what stands here."""
        raise PKIError(f"{self}: {message}", hint)


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the known name that is like it, or all of them."""
    spellings = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), spellings, n=1)
    return f"did you mean {spellings[close[0]]!r}?" if close else f"known: {', '.join(spellings.values())}"


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all of its pairs, also those whose key came before."""


class Table:
    """One JSON object, all of whose keys are known; where `known` is None, any may be, and capital letters count.

    Every reader raises PKIError for a value of another type.
    """

    def __init__(self, value: object, place: Place, known: Iterable[str] | None) -> None:
        self.place = place
        self._values: dict[str, Any] = {}
        spellings = {each.casefold(): each for each in known or ()}
        for key, each in _require_pairs(value, place):
            spelling = key if known is None else spellings.get(key.casefold())
            if spelling is None:
                place.at(key[:80]).fail("nothing is known of this key", suggest(key[:80], spellings.values()))
            if spelling in self._values:
                place.at(spelling).fail("stands there twice", "write it once; capital letters make no difference")
            self._values[spelling] = each

    def text(self, key: str) -> str:
        """A string; empty if it is not there."""
        return self._typed(key, str, "a text in quotes") or ""

    def flag(self, key: str) -> bool:
        """Whether it is true; what is not there is not."""
        return self._typed(key, bool, "true or false, without quotes") or False

    def number(self, key: str) -> int | None:
        """A whole number."""
        value = self._values.get(key)
        return None if value is None else _require_number(value, self.place.at(key))

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings; None if it is not there, which is not the same as empty."""
        return None if self._values.get(key) is None else self._listed(key, _require_text)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        return self._listed(key, _require_number)

    def table(self, key: str, known: Iterable[str] | None) -> "Table | None":
        """An object with these keys, or any; None if it is not there."""
        value = self._values.get(key)
        return None if value is None else Table(value, self.place.at(key), known)

    def tables(self, key: str, known: tuple[str, ...] | None) -> "tuple[Table, ...]":
        """A list of objects with these keys each, or any."""
        return self._listed(key, lambda value, place: Table(value, place, known))

    def named(self, key: str, known: Iterable[str] | None = None) -> "Iterator[tuple[str, Table | str]]":
        """What an object holds under names that somebody chose: objects with these keys each, or texts."""
        place, seen = self.place.at(key), set()
        pairs = self._values.get(key)
        for name, value in _require_pairs(_Pairs() if pairs is None else pairs, place):
            if name in seen:
                place.at(name).fail("stands there twice", "give each a name of its own")
            seen.add(name)
            yield name, _require_text(value, place.at(name)) if known is None else Table(value, place.at(name), known)

    def has(self, key: str) -> bool:
        """Whether the key stands there at all."""
        return key in self._values

    def says(self, key: str) -> bool:
        """Whether something stands under this key: neither null, nor empty, false or nought."""
        return bool(self._values.get(key))

    def fail(self, key: str, message: str, hint: str = "") -> NoReturn:
        """Raises PKIError about the value of `key`."""
        self.place.at(key).fail(message, hint)

    def _typed(self, key: str, kind: type[Value], wanted: str) -> Value | None:
        value = self._values.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, _Pairs)):
            self.place.at(key).fail("is of the wrong kind", f"write {wanted}")
        return value

    def _listed(self, key: str, read: Callable[[object, Place], Value]) -> tuple[Value, ...]:
        values, place = self._typed(key, list, "a list in brackets") or [], self.place.at(key)
        return tuple(read(value, place.at(index)) for index, value in enumerate(values))


def _require_pairs(value: object, place: Place) -> _Pairs:
    if not isinstance(value, _Pairs):
        place.fail("is no JSON object", "write { … }")
    return value


def _require_text(value: object, place: Place) -> str:
    if not isinstance(value, str):
        place.fail("is not a text", "put it in quotes")
    return value


def _require_number(value: object, place: Place) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        place.fail("is not a whole number", "write digits, without quotes")
    return value


def read_document(data: bytes, name: str, known: Iterable[str] | None) -> Table:
    """The object in a JSON document that errors call `name`. Raises PKIError."""
    place = Place(name)
    if not data.strip():
        place.fail("is empty", "if it comes through a pipe: the command before it has failed, and said why above")
    try:
        value = json.loads(data, object_pairs_hook=_Pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place.fail(f"line {error.lineno} is no JSON: {error.msg}", "look at the commas and quotes there")
    except (ValueError, RecursionError) as error:
        place.fail("is no JSON", f"{error}" if isinstance(error, ValueError) else "nest less deeply")
    return Table(value, place, known)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def write_document(value: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON as Go writes it: with the characters spelt out that would mean something in HTML."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    return text.translate(_ESCAPED)


_ESCAPED = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
