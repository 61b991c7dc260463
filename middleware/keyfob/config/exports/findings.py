"""What has been found in an export so far: its tables as they were written, and what is wrong with them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, NamedTuple

from keyfob.errors import Problem

Table = dict[str, Any]


class Kind(StrEnum):
    """What a table of an export describes."""

    APPLICATION = "application"
    POLICY = "policy"
    GROUP = "group"
    LIST = "list"


class Item(NamedTuple):
    """One table of an export, without the members that are null, and where in the export it stands."""

    kind: Kind
    place: str
    table: Table


class Findings:
    """Filled from the first look at an export to the last. `origins` say where what was made of it came from."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.origins: list[tuple[object, str]] = []

    def add(self, kind: Kind, place: str, table: Mapping[str, Any]) -> None:
        """One more table."""
        self.items.append(Item(kind, place, drop_nulls(table)))

    def refuse(self, place: str, message: str, hint: str = "") -> None:
        """Something that keeps the export from being obeyed exactly."""
        self.problems.append(Problem(place.removeprefix("."), message, hint))

    def warn(self, place: str, message: str, hint: str = "") -> None:
        """Something that is left out, and opens nothing by that."""
        self.warnings.append(Problem(place.removeprefix("."), message, hint))


def drop_nulls(table: Mapping[str, Any]) -> Table:
    """The table without the members that say nothing: Terraform writes every one that a provider knows."""
    return {key: value for key, value in table.items() if value is not None}


def only_tables(value: object) -> list[Table]:
    """The tables of a list; none, if it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def says_something(value: object) -> bool:
    """Whether a value is anything but null, false, zero, empty, or made of such."""
    if isinstance(value, dict):
        return any(map(says_something, value.values()))
    if isinstance(value, list):
        return any(map(says_something, value))
    return value not in (None, False, "", 0)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The hint for a word outside a closed set."""
    close = get_close_matches(str(word), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else "it may decide who gets in, so it is not passed over"
