"""From a file to the raw document in it: TOML or JSON, with what it imports."""

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from keyfob.config.exports import Export, read_export
from keyfob.config.files import Files
from keyfob.errors import ConfigError, Problem

IMPORT = "import"


def read_document(path: Path, files: Files) -> object:
    """The document in the file at `path`, nothing about it checked but that it is TOML or JSON. Raises ConfigError."""
    return _parse(path, _read_text(path, files))


def _read_text(path: Path, files: Files, hint: str = "name an access.toml") -> str:
    try:
        # Some editors put a byte order mark before the text, where nobody can see it.
        return files.read(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), [Problem("", "there is no such file", hint)]) from None
    except (OSError, ValueError) as error:  # text that is not UTF-8, or a path with a NUL in it
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error}", "name a text file in UTF-8")]) from error


def _parse(path: Path, text: str) -> object:
    return _parse_json(path, text) if path.suffix == ".json" else _load(path, "TOML", tomllib.loads, text)


def _parse_json(path: Path, text: str) -> object:
    return _load(path, "JSON", partial(json.loads, object_pairs_hook=_once), text)


def _load(path: Path, kind: str, loads: Callable[[str], object], text: str) -> object:
    try:
        return loads(text)
    except RecursionError:
        raise ConfigError(str(path), [Problem("", "is nested too deeply", "write it as the README shows")]) from None
    except ValueError as error:
        raise ConfigError(str(path), [Problem("", f"is not {kind}: {error}", "mend it there")]) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no key stands twice: RFC 8259 leaves open which of them would count."""
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return table


class Raw(NamedTuple):
    """A document as it was read, with what it imports behind what it says itself.

    `places` say where a table or a rule that was imported stands: by its place in `document`, the file and the place
    there. `warnings` name what in an export guards nothing here.
    """

    document: object
    places: Mapping[str, tuple[str, str]] = {}
    warnings: tuple[Problem, ...] = ()

    def relocate(self, problem: Problem) -> Problem:
        """The problem with the file and the place at which its cause really stands."""
        around = problem.place
        while around and around not in self.places:
            around = around[: max(around.rfind("."), around.rfind("["), 0)]
        if not around:
            return problem
        file, place = self.places[around]
        return problem._replace(file=file, place=place + problem.place[len(around) :])


def merge_exports(document: object, path: Path, files: Files) -> Raw:
    """The document of the file at `path`, with what the files under its key `import` define.

    Raises ConfigError, with the name of the file, for everything in an export that cannot be obeyed here.
    """
    if not isinstance(document, dict) or IMPORT not in document:
        return Raw(document)
    names = document[IMPORT]
    if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
        raise ConfigError(str(path), [Problem(IMPORT, "is not a list of files", 'write import = ["access.json"]')])
    merged: dict[str, Any] = {key: value for key, value in document.items() if key != IMPORT}
    places: dict[str, tuple[str, str]] = {}
    warnings: list[Problem] = []
    for name in names:
        exported = path.parent / name
        file = str(exported)
        export = read_export(_parse_json(exported, _read_text(exported, files, "is its name spelt right?")))
        if export.problems:
            raise ConfigError(file, export.problems)
        warnings.extend(warning._replace(file=file) for warning in export.warnings)
        places |= _place(export, merged, file)
        for key in _TABLES:
            own = merged.get(key, [])
            merged[key] = [*own, *getattr(export, key)] if isinstance(own, list) else own
    return Raw(merged, places, tuple(warnings))


_TABLES = ("applications", "policies", "groups", "ip_lists", "email_lists")


def _place(export: Export, merged: Mapping[str, Any], file: str) -> dict[str, tuple[str, str]]:
    """Where the export's tables stand: by the places that they get behind what is there already."""
    found: dict[str, tuple[str, str]] = {}
    for (key, index, *rest), place in export.places.items():
        before = merged.get(str(key), [])
        if isinstance(before, list) and isinstance(index, int):
            inner = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in rest)
            found[f"{key}[{len(before) + index}]{inner}"] = file, place
    return found
