"""Is this configuration sound? Every problem at once, and what is probably not meant, with the lines they stand on."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from keyfob.config.advice import find_warnings
from keyfob.config.building import Assembly, assemble_document
from keyfob.config.document import Document, PolicyReference
from keyfob.config.files import Files
from keyfob.config.naming import index_names
from keyfob.config.positions import find_line, find_lines
from keyfob.config.problems import explain
from keyfob.config.reading import IMPORT, Raw, merge_exports, read_document
from keyfob.config.repairs import repair
from keyfob.errors import ConfigError, Problem


class Finding(NamedTuple):
    """One problem or warning.

    `line` counts from 1 in `file`, and `text` is what stands there; None and empty where no line says it.
    """

    file: str
    line: int | None
    problem: Problem
    is_warning: bool
    text: str = ""


def check(path: Path, at: datetime, stock: list[str] | None = None) -> list[Finding]:
    """What is wrong with a configuration file and what it imports, in the order of lines; if nothing is, warnings.

    The warnings are those of the moment `at` (aware). If nothing is wrong, a line about each inventory is appended to
    `stock`. Raises PKIError if one of them has gone away meanwhile.
    """
    files = Files()
    lines = Lines(path, files)
    try:
        document = read_document(path, files)
    except ConfigError as error:
        return lines.locate(error.problems, is_warning=False)
    try:
        raw = merge_exports(document, path, files)
    except ConfigError:
        return lines.locate(_find_problems_around_imports(document, path, files), is_warning=False)
    lines.raw = raw
    try:
        assembly = assemble_document(str(path), raw, path.parent, files)
    except ConfigError as error:
        return lines.locate([*error.problems, *_find_hidden_problems(raw, path, files)], is_warning=False)
    if stock is not None:
        stock.extend(_take_stock(assembly))
    warnings = (raw.relocate(each) for each in find_warnings(assembly, at, lines.is_imported))
    return lines.locate([*assembly.warnings, *warnings], is_warning=True)


def _take_stock(assembly: Assembly) -> Iterator[str]:
    for where, book in assembly.trusted.withdrawals.items():
        from keyfob.config.inventories import count_certificates  # noqa: PLC0415 - it needs SQLAlchemy, as the book did

        known, ending = count_certificates(where), book.count_ends()
        yield f"the inventory {book.name}: {known} certificates, {len(book)} withdrawn, {ending} with a last day"


def load(path: Path) -> tuple[Assembly, "Lines"]:
    """The gate of a configuration file, what it is made of, and the lines of that. Raises ConfigError."""
    files = Files()
    lines = Lines(path, files)
    lines.raw = merge_exports(read_document(path, files), path, files)
    return assemble_document(str(path), lines.raw, path.parent, files), lines


class Lines:
    """Where the places of one configuration stand: the file, which may be an imported one, and the line in it."""

    def __init__(self, path: Path, files: Files) -> None:
        self.raw = Raw({})
        self._path, self._files = path, files
        self._texts: dict[str, list[str]] = {}
        self._lines: dict[str, Mapping[tuple[str | int, ...], int]] = {}

    def find(self, place: str) -> tuple[str, int | None]:
        """The file and the line of a place; no line where none says it."""
        problem = self.raw.relocate(Problem(place, ""))
        file = problem.file or str(self._path)
        return file, find_line(self._read(file), problem.place)

    def show(self, place: str) -> str:
        """Both in one word, `access.toml:12`; empty for no place."""
        file, line = self.find(place) if place else ("", None)
        return file if line is None else f"{file}:{line}"

    def is_imported(self, place: str) -> bool:
        """Whether it stands in another file than the configuration itself."""
        return bool(self.raw.relocate(Problem(place, "")).file)

    def locate(self, problems: Iterable[Problem], *, is_warning: bool) -> list[Finding]:
        """Problems that know their own file, each once, in the order of files and lines."""
        found = [self._locate(each, is_warning=is_warning) for each in dict.fromkeys(problems)]
        return sorted(found, key=lambda each: (each.file != str(self._path), each.file, each.line or 0))

    def _locate(self, problem: Problem, *, is_warning: bool) -> Finding:
        file = problem.file or str(self._path)
        line = find_line(self._read(file), problem.place) or _find_line_in(problem.message)
        texts = self._texts[file]
        text = _PASSWORD.sub(r"\1…\2", texts[line - 1].strip()) if line and line <= len(texts) else ""
        return Finding(file, line, problem, is_warning, text)

    def _read(self, file: str) -> Mapping[tuple[str | int, ...], int]:
        if file not in self._lines:
            kind = "toml" if file == str(self._path) and self._path.suffix != ".json" else "json"
            try:
                text = self._files.read(Path(file)).decode("utf-8-sig")
            except (OSError, ValueError):
                text = ""
            self._texts[file] = text.split("\n")
            self._lines[file] = find_lines(text, "toml" if kind == "toml" else "json")
        return self._lines[file]


# Of a database's URL: what is found may be written into any log.
_PASSWORD = re.compile(r"(://[^/?#\s\"']*?:)[^\s\"']*(@)|(?<=[?&]password=)[^&\s\"']*")


def _find_line_in(message: str) -> int | None:
    """The line that a parser names in its own message."""
    match = re.search(r"\bline (\d+),? column \d+", message)
    return int(match[1]) if match else None


def _find_problems_around_imports(document: object, path: Path, files: Files) -> Iterator[Problem]:
    """Everything that is wrong with the imports, and what can be told without them about the rest."""
    if not isinstance(document, dict):
        return
    names = document.get(IMPORT)
    names = names if isinstance(names, list) else [names]
    for index, name in enumerate(names):
        try:
            merge_exports({IMPORT: [name]}, path, files)
        except ConfigError as error:
            is_there = isinstance(name, str) and (path.parent / name).is_file()
            for problem in error.problems:
                place, message = f"{IMPORT}[{index}]", f"{name}: {problem.message}"
                yield problem._replace(file=error.source) if is_there else Problem(place, message, _NAME_ONE)
    own = {key: value for key, value in document.items() if key != IMPORT}
    try:
        Document.model_validate(own)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            # The applications may be what is to be imported.
            if each["loc"] != ("applications",):
                yield explain(each, Document)


_NAME_ONE = 'write import = ["access.json"], with the names of exports'


def _find_hidden_problems(raw: Raw, path: Path, files: Files) -> Iterator[Problem]:
    """What else is wrong, behind a form that is not the document's: files, names and the like."""
    repaired = repair(raw.document)
    if repaired is None:
        return
    try:
        assemble_document(str(path), Raw(repaired.document), path.parent, files)
    except ConfigError as error:
        yield from map(raw.relocate, repaired.keep(error.problems))


def find_places(assembly: Assembly) -> dict[int, str]:
    """Where the rules of each policy and each group are written, by the identity of the Rules."""
    document, groups = assembly.document, assembly.gate.names.groups
    places = {id(groups[table.name]): f"groups[{index}]" for index, table in enumerate(document.groups)}
    reusable = index_names(document.policies, "policies", [])
    for index, (table, application) in enumerate(zip(document.applications, assembly.applications, strict=True)):
        for number, (written, policy) in enumerate(zip(table.policies, application.written, strict=True)):
            place = f"applications[{index}].policies[{number}]"
            if isinstance(written, PolicyReference):
                place = f"policies[{reusable[written.id][0]}]"
            places[id(policy.rules)] = place
    return places
