"""What a document defines by name, groups, lists and reusable policies, and the rules that refer to it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from pydantic import ValidationError

from keyfob.config.countries import open_countries
from keyfob.config.devices import read_devices
from keyfob.config.document import Document, GroupTable, PolicyTable, ProviderTable, RulesTable
from keyfob.config.files import Files
from keyfob.config.problems import explain, suggest
from keyfob.errors import ConfigError, KeyfobError, Problem
from keyfob.policy import (
    Fact,
    Names,
    Policy,
    PolicyDecision,
    Rule,
    Rules,
    Test,
    UnknownName,
    compile_rule,
)
from keyfob.policy.selectors import DeviceList


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str | None: ...


Entry = TypeVar("Entry", bound=_Named)


def index_names(entries: Sequence[Entry], place: str, problems: list[Problem]) -> dict[str, tuple[int, Entry]]:
    """Entries by name and by id, each with its index; a name that stands for two of them is a problem."""
    found: dict[str, tuple[int, Entry]] = {}
    for index, entry in enumerate(entries):
        for name in {entry.name, entry.id or entry.name}:
            if name in found:
                problems.append(Problem(f"{place}[{index}].name", f"{name!r} is the name of another one", _ONE_EACH))
            found.setdefault(name, (index, entry))
    return found


_ONE_EACH = "give each a name of its own"


def compile_rules(table: RulesTable, place: str, names: Names, problems: list[Problem]) -> Rules:
    """The rules of a policy or a group; what refers to nothing is a problem, and left out."""
    compiled: dict[str, list[Rule]] = {"include": [], "require": [], "exclude": []}
    for key, index, written in table.places():
        try:
            compiled[key].append(compile_rule(written, names))
        except UnknownName as error:
            hint = suggest(error.name, error.known) or f"known: {', '.join(error.known) or 'none'}"
            problems.append(Problem(f"{place}.{key}[{index}]", error.message, hint))
        except KeyfobError as error:
            problems.append(Problem(f"{place}.{key}[{index}]", error.message, error.hint))
    return Rules(*(tuple(rules) for rules in compiled.values()))


def compile_policy(table: PolicyTable, place: str, names: Names, problems: list[Problem]) -> Policy:
    """The policy that a table describes."""
    rules = compile_rules(table, place, names, problems)
    decision = PolicyDecision(_WORDS.get(table.decision, table.decision))
    if decision is PolicyDecision.BYPASS:
        # As in Access: what is open to whoever comes by cannot ask who it is.
        people = [rule.text for rule in rules.each() if rule.is_identity]
        problems.extend(
            Problem(place, f"a bypass cannot ask who somebody is: {each}", 'write "allow"') for each in people
        )
    return Policy(table.name, decision, rules, table.session_duration)


_WORDS: Mapping[str, str] = {"service_auth": "non_identity"}


# Each level of groups is some calls deep when a request is judged, and below an app's own there is not endless room.
DEEPEST = 32


class _Groups(Mapping[str, Rules]):
    """Groups by name and id, compiled when they are asked for, so that each may refer to any other."""

    def __init__(self, entries: Sequence[GroupTable], problems: list[Problem]) -> None:
        self.names = Names()
        self._entries = index_names(entries, "groups", problems)
        self._problems = problems
        self._compiled: dict[int, Rules] = {}
        # How many groups deep each goes, itself included, and those that are being compiled, each for the one before.
        self._depths: dict[int, int] = {}
        self._path: list[int] = []

    def __getitem__(self, name: str) -> Rules:
        index, entry = self._entries[name]
        if index in self._path:
            circle = " > ".join([*(self._name(each) for each in self._path[self._path.index(index) :]), entry.name])
            raise KeyfobError(f"the groups go round in a circle: {circle}", "take one of them out of another")
        self._require_shallow(len(self._path) + 1)
        if index not in self._compiled:
            self._depths[index] = 1
            self._path.append(index)
            self._compiled[index] = compile_rules(entry, f"groups[{index}]", self.names, self._problems)
            self._path.pop()
        if self._path:
            depth = self._depths[index] + 1
            self._require_shallow(depth)
            self._depths[self._path[-1]] = max(depth, self._depths[self._path[-1]])
        return self._compiled[index]

    @staticmethod
    def _require_shallow(depth: int) -> None:
        if depth > DEEPEST:
            raise KeyfobError(f"groups are nested more than {DEEPEST} deep", "write some of their rules out")

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _name(self, index: int) -> str:
        return next(entry.name for place, entry in self._entries.values() if place == index)


def gather_names(
    document: Document,
    roots: Mapping[str, frozenset[bytes]],
    hides: Callable[[bytes], bool] | None,
    folder: Path,
    files: Files,
    problems: list[Problem],
) -> Names:
    """Everything that the document's rules may refer to. Groups are compiled, and their problems found, all of them."""
    groups = _Groups(document.groups, problems)
    names = Names(
        groups=groups,
        ip_lists={
            name: tuple(each.items) for name, (_, each) in index_names(document.ip_lists, "ip_lists", problems).items()
        },
        email_lists={
            name: frozenset(each.items)
            for name, (_, each) in index_names(document.email_lists, "email_lists", problems).items()
        },
        root_certificates=roots,
        providers=index_providers(document.identity_providers, problems),
        service_tokens=document.login is not None,
        find_country=open_countries(folder / document.geoip, files, problems) if document.geoip else None,
        read_devices=partial(_read_devices, folder, files),
        hides_header=hides,
    )
    groups.names = names
    for name in groups:
        groups[name]
    return names


def index_providers(tables: Sequence[ProviderTable], problems: list[Problem]) -> dict[str, str]:
    """The id of each provider, by that and by its name."""
    return {
        name: find_provider_id(table)
        for index, table in enumerate(tables)
        for name in _name_provider(table, index, tables, problems)
    }


def _name_provider(
    table: ProviderTable, index: int, tables: Sequence[ProviderTable], problems: list[Problem]
) -> Iterator[str]:
    for name in dict.fromkeys((table.name, find_provider_id(table))):
        if any(name in (each.name, find_provider_id(each)) for each in tables[:index]):
            problems.append(
                Problem(f"identity_providers[{index}].name", f"{name!r} is the name of another one", _ONE_EACH)
            )
        else:
            yield name


def find_provider_id(table: ProviderTable) -> str:
    """The id of a provider: as it is written, or made of the name."""
    return table.id or re.sub(r"[^a-z0-9]+", "-", table.name.lower()).strip("-")[:64] or table.type.lower()


def _read_devices(folder: Path, files: Files, written: str) -> DeviceList:
    try:
        return files.parse(folder / written, "devices", read_devices)
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        raise KeyfobError(f"{folder / written} cannot be read: {said}", "name a text file of devices") from error


def compile_requirement(written: Mapping[str, Any]) -> Callable[[Names], Rules]:
    """Rules outside a configuration, such as a handler's, checked at once and compiled with the names of a Gate.

    Raises ConfigError, and so does what is returned, for names that are not there.
    """
    try:
        table = RulesTable.model_validate(written)
    except ValidationError as error:
        raise ConfigError("requires", [explain(each, RulesTable) for each in error.errors(include_url=False)]) from None

    def compile_with(names: Names) -> Rules:
        problems: list[Problem] = []
        rules = compile_rules(table, "requires", names, problems)
        if problems:
            raise ConfigError("requires", problems)
        return rules

    _REQUIREMENTS.add(compile_with)
    return compile_with


class _Requirements:
    """The rules of handlers, so that a login keeps what they name about people."""

    def __init__(self) -> None:
        self.count = 0
        """How many there have ever been: a number is compared sooner than a set."""
        self._living: WeakSet[Callable[[Names], Rules]] = WeakSet()

    def add(self, compile_with: Callable[[Names], Rules]) -> None:
        self._living.add(compile_with)
        self.count += 1

    def list(self) -> Sequence[Callable[[Names], Rules]]:
        return [*self._living]


_REQUIREMENTS = _Requirements()


class RequiredFacts:
    """What the rules of handlers name about people, compiled with the names of one configuration.

    Asked at every login, since handlers may be imported late; compiled anew only when there are others than before.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._count = 0
        self._facts: tuple[tuple[Fact, Test], ...] = ()

    def __call__(self) -> tuple[tuple[Fact, Test], ...]:
        """The same tuple as before, as long as nothing has changed: every request asks."""
        if _REQUIREMENTS.count != self._count:
            self._count = _REQUIREMENTS.count
            self._facts = tuple(pair for each in _REQUIREMENTS.list() for pair in self._find(each))
        return self._facts

    def _find(self, compile_with: Callable[[Names], Rules]) -> Iterator[tuple[Fact, Test]]:
        # Names that are not there are the handler's own trouble, with each of its requests.
        with suppress(ConfigError):
            yield from (pair for rule in compile_with(self._names).each() for pair in rule.facts)
