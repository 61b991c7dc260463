"""Every sentence that the app says, found in its sources: in calls of a few names, in templates and in scripts.

`python tests/catalogues.py pt` prints what is missing from a catalogue, ready to be pasted and translated.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

APP = Path(__file__).parents[1] / "budget_app"
LANGUAGES = APP / "languages"

# Which arguments of a call are sentences; two of `count` are one sentence about one thing and about many.
ARGUMENTS: Mapping[str, slice] = {
    "say": slice(1),
    "count": slice(2),
    "Sentence": slice(1),
    "FieldError": slice(1),
    "FormError": slice(1, 2),
    "LedgerError": slice(2),
    "WorkbookError": slice(2),
    "WorkbookBusy": slice(2),
}
Key = str | tuple[str, str]


@cache
def find_sentences() -> dict[Key, str]:
    """Each sentence, or its singular and plural, and where it is said first."""
    found: dict[Key, str] = {}
    for path in sorted(APP.rglob("*")):
        place = path.relative_to(APP).as_posix()
        if path.suffix == ".py":
            for key, line in read_module(path.read_text(encoding="utf-8")):
                found.setdefault(key, f"{place}:{line}")
        elif path.suffix in (".html", ".js"):
            for key, line in _read_with_babel(path):
                found.setdefault(key, f"{place}:{line}")
    return found


def read_module(source: str) -> Iterator[tuple[Key, int]]:
    """The sentences in a module: literal arguments, and the module's own constants that stand for them."""
    tree = ast.parse(source)
    constants = _find_constants(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name not in ARGUMENTS:
            continue
        texts = [text for each in call.args[ARGUMENTS[name]] for text in _read_texts(each, constants)]
        if name == "count":
            if len(texts) == 2:
                yield (texts[0], texts[1]), call.lineno
        else:
            yield from ((text, call.lineno) for text in texts)


def _find_constants(tree: ast.Module) -> dict[str, str]:
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _read_texts(argument: ast.expr, constants: Mapping[str, str]) -> Iterator[str]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.Name) and argument.id in constants:
        yield constants[argument.id]
    elif isinstance(argument, ast.IfExp):
        yield from _read_texts(argument.body, constants)
        yield from _read_texts(argument.orelse, constants)


def _read_with_babel(path: Path) -> Iterator[tuple[Key, int]]:
    found: Any
    if path.suffix == ".js":
        found = extract_from_file("javascript", path, keywords={"say": None})
    else:
        found = extract_from_file("jinja2.ext:babel_extract", path, keywords={"_": None, "count": (1, 2)})
    for line, message, _, _ in found:
        yield (message if isinstance(message, str) else (message[0], message[1])), line


def read_catalogue(path: Path) -> Catalog:
    """A language's file; one that gettext would misread is refused."""
    with path.open("rb") as file:
        return read_po(file, abort_invalid=True)


def list_missing(path: Path) -> dict[Key, str]:
    """What a language does not say yet, and where it is said."""
    said = {message.id for message in read_catalogue(path) if message.string and all(message.string)}
    return {key: place for key, place in find_sentences().items() if key not in said}


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main() -> None:
    for key, place in list_missing(LANGUAGES / f"{sys.argv[1]}.po").items():
        print(f"#: {place}")
        if isinstance(key, str):
            print(f'msgid {_quote(key)}\nmsgstr ""\n')
        else:
            print(f'msgid {_quote(key[0])}\nmsgid_plural {_quote(key[1])}\nmsgstr[0] ""\nmsgstr[1] ""\n')


if __name__ == "__main__":
    main()
