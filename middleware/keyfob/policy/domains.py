"""Hosts and paths of applications, with Access's wildcards: the most specific wins, and nothing is inherited."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from keyfob.errors import KeyfobError
from keyfob.policy.paths import Paths, PathTable, WrongPattern, fold, parse_path_pattern
from keyfob.request import LONGEST_NAME, parse_host

T = TypeVar("T")

# How many hosts below wildcards are remembered: a client can ask for as many as there are names.
REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Domain:
    """What an application protects: a host pattern and a path pattern, each in the one way to write it.

    Two domains are equal if they cover the same, whatever was `written`.
    """

    host: str
    path: str
    written: str = field(compare=False)

    def __str__(self) -> str:
        return self.written


class SameDomain(KeyfobError):
    """Two applications are for the same requests. `first` and `second` are their places in the list."""

    def __init__(self, message: str, hint: str, first: int, second: int) -> None:
        super().__init__(message, hint)
        self.first, self.second = first, second


# --- What stands in a configuration -----------------------------------------------------------------------------------


def parse_domain(text: str) -> Domain:
    """A host with or without a path, such as `example.com`, `*.example.com/admin` or `[2001:db8::1]/foo*/bar`.

    A path that does not end with a wildcard covers what is below it, too. Raises WrongPattern.
    """
    scheme, colon, rest = text.partition("://")
    if colon:
        raise WrongPattern(f"{scheme!r} is a scheme, which is no part of a match", f'write "{rest}"')
    for mark, name in (("?", "a query"), ("#", "a fragment")):
        if mark in text:
            raise WrongPattern(f"{name} is no part of a match", f"leave out everything from the {mark} on")
    host, slash, path = text.partition("/")
    return Domain(parse_host_pattern(host), parse_path_pattern(slash + path), text)


def parse_host_pattern(text: str) -> str:
    """A host, or a pattern of hosts, as `parse_host` normalises it. Raises WrongPattern.

    A `*` stands for any part of what is between two dots, and for all of it: `*.example.com` covers names of that one
    level, neither example.com nor a.b.example.com.
    """
    if not text:
        raise WrongPattern("no host is named", "write one, such as money.example.com")
    if not text.isascii():
        raise WrongPattern(f"the host {text[:64]!r} is not ASCII", "write it as browsers send it, with xn-- (punycode)")
    if "*" in text:
        return _parse_wildcard(text)
    # An IPv6 address may stand without its brackets here, but nothing may stand with a port.
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    host = parse_host(f"[{bare}]".encode() if ":" in bare else text.encode()) if len(text) <= LONGEST_NAME + 1 else None
    if host is None or (bare != text and ":" not in bare):
        raise _refuse(text)
    return host


def _refuse(text: str) -> WrongPattern:
    said = f"{text[:64]!r} is not a host"
    name, _, port = text.rpartition(":")
    if name and port.isdigit() and parse_host(text.encode()) is not None:
        return WrongPattern(f"{text[:64]!r} names a port, which is no part of a match", f'write "{name}"')
    return WrongPattern(said, "write a DNS name or an address, such as money.example.com, 192.0.2.7 or 2001:db8::1")


_LABEL = re.compile(r"[a-z0-9_-]*\*?[a-z0-9_-]*")


def _parse_wildcard(text: str) -> str:
    pattern = text.lower().removesuffix(".")
    *labels, top = pattern.split(".")
    for label in labels:
        if label.count("*") > 1:
            raise WrongPattern(f"{label!r} has more than one * between two dots", "one covers as much as several")
        if not label or _LABEL.fullmatch(label) is None:
            raise _refuse(text)
    if "*" in top or top.isdigit():
        hint = "write the end of the name out, as in *.example.com; addresses have no wildcards"
        raise WrongPattern(f"{text[:64]!r} does not say where its hosts belong", hint)
    if not top or _LABEL.fullmatch(top) is None or len(pattern) > LONGEST_NAME:
        raise _refuse(text)
    return pattern


# --- Hosts ------------------------------------------------------------------------------------------------------------


def covers(pattern: str, host: str) -> bool:
    """Whether a host pattern covers a host, both normalised."""
    return _cover(pattern.split("."), host.split("."))


def _cover(wanted: Sequence[str], given: Sequence[str]) -> bool:
    return len(wanted) == len(given) and all(map(_fits, wanted, given))


def _fits(wanted: str, label: str) -> bool:
    head, star, tail = wanted.partition("*")
    if not star:
        return wanted == label
    return len(label) >= len(head) + len(tail) and label.startswith(head) and label.endswith(tail)


class _Family(NamedTuple, Generic[T]):
    """A host pattern with a wildcard, and what is to be found there. The best has the lowest rank."""

    rank: int
    labels: Sequence[str]
    table: PathTable[T]


class _Families(Generic[T]):
    """Host patterns by what they end with, so that a host is compared with its own relatives alone."""

    def __init__(self, patterns: Iterable[tuple[str, PathTable[T]]]) -> None:
        self._by_end: dict[str, list[_Family[T]]] = {}
        # Hosts below the same wildcards have the same paths: the very same object, whatever hosts a client makes up.
        self._join: Callable[[tuple[PathTable[T], ...]], Paths[T]] = lru_cache(REMEMBERED)(Paths)
        ranked = sorted(patterns, key=lambda row: (-len(row[0].replace("*", "")), row[0].count("*")))
        for rank, (pattern, table) in enumerate(ranked):
            end = pattern.rpartition("*")[2].partition(".")[2]
            self._by_end.setdefault(end, []).append(_Family(rank, pattern.split("."), table))

    def find(self, host: str) -> list[PathTable[T]]:
        """What is to be found at a host below wildcards, the most specific pattern's first."""
        given = host.split(".")
        found = (family for end in _find_endings(host) for family in self._by_end.get(end, ()))
        return [family.table for family in sorted(each for each in found if _cover(each.labels, given))]

    def find_paths(self, host: str) -> Paths[T] | None:
        """The paths of a host that no pattern names without a wildcard; None if none covers it."""
        tables = self.find(host)
        return self._join(_leave_out_unasked(tables)) if tables else None


def _leave_out_unasked(tables: Sequence[PathTable[T]]) -> tuple[PathTable[T], ...]:
    """The tables up to the first that covers every path."""
    end = next((place for place, table in enumerate(tables, 1) if table.covers_all), len(tables))
    return tuple(tables[:end])


def _find_endings(host: str) -> Iterator[str]:
    _, dot, end = host.partition(".")
    while dot:
        yield end
        _, dot, end = end.partition(".")


class Domains(Generic[T]):
    """Whose each host and path is: the values of a list of domains, told apart by identity.

    An exact host goes before one with a wildcard; of those, the one with more literal characters goes first, then the
    one with fewer wildcards, then the first in the list. Within a host, paths are compared as in PathTable. Where the
    most specific host pattern has nothing for a path, the next one is asked. Raises SameDomain if two domains cover
    the same, or differ in nothing but letter case and what else `fold` leaves out.
    """

    def __init__(self, rows: Sequence[tuple[Domain, T]]) -> None:
        _require_distinct([domain for domain, _ in rows])
        by_host: dict[str, list[tuple[str, T]]] = {}
        for domain, value in rows:
            by_host.setdefault(domain.host, []).append((domain.path, value))
        tables = {host: PathTable(paths) for host, paths in by_host.items()}
        families = _Families((host, table) for host, table in tables.items() if "*" in host)
        self._hosts = tuple(by_host)
        self._exact = {
            host: Paths(_leave_out_unasked([table, *families.find(host)]))
            for host, table in tables.items()
            if "*" not in host
        }
        self._find_below = lru_cache(REMEMBERED)(families.find_paths)

    def at_host(self, host: str) -> Paths[T] | None:
        """What is to be found at a normalised host; None if no domain covers it. The same object for the same host, and
        for all hosts that only the same wildcards cover, as long as those combine in no more than a thousand ways.
        """
        return self._exact.get(host) or self._find_below(host)

    def hosts(self) -> tuple[str, ...]:
        """Every host pattern once, with wildcards and without, in the order of the list."""
        return self._hosts


def _require_distinct(domains: Sequence[Domain]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for place, domain in enumerate(domains):
        first = seen.setdefault((domain.host, fold(domain.path)), place)
        if first != place:
            raise SameDomain(*_describe_same(domains[first], domain), first, place)


def _describe_same(first: Domain, second: Domain) -> tuple[str, str]:
    if first == second:
        return f"{str(first)!r} and {str(second)!r} cover the same", "put the policies of both into one application"
    return (
        f"{str(first)!r} and {str(second)!r} differ in nothing but letter case, look-alikes or leading zeros",
        "keep one of them: not every reader of a path can tell the two apart",
    )
