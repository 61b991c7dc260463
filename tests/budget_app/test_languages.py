"""The languages are complete: every sentence of the sources, the templates and the scripts, and no other."""

import ast
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Message

from catalogues import APP, LANGUAGES, find_sentences, list_missing, read_catalogue, read_module

FILES = sorted(LANGUAGES.glob("*.po"))
each_language = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def _places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w*)\}", text))


def _strings(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def test_portuguese_is_there() -> None:
    """There is a language beside English."""
    assert "pt" in [path.stem for path in FILES]


@each_language
def test_a_language_says_every_sentence(path: Path) -> None:
    """Nothing that the app says lacks its translation; the message names what does, and where it is said."""
    assert list_missing(path) == {}


@each_language
def test_a_language_says_nothing_else(path: Path) -> None:
    """A sentence that changed in the sources does not stay behind in a language."""
    found = find_sentences()
    assert [message.id for message in read_catalogue(path) if message.id and message.id not in found] == []


@each_language
def test_a_translation_has_the_places_of_its_sentence(path: Path) -> None:
    """What stands between braces is the same in both, or a value would be lost; “one” may go without its number."""
    for message in read_catalogue(path):
        if message.id:
            one, many = (message.id, message.id) if isinstance(message.id, str) else message.id
            assert all(_places(string) in (_places(one), _places(many)) for string in _strings(message)), message.id
            assert _places(_strings(message)[-1]) == _places(many), message.id


@each_language
def test_a_translation_ends_as_its_sentence_does(path: Path) -> None:
    """A full stop is there in both or in neither, because some sentences are put together with others."""
    for message in read_catalogue(path):
        if isinstance(message.id, str) and message.id:
            assert str(message.string).endswith(".") == message.id.endswith("."), message.id


@each_language
def test_nothing_is_guessed(path: Path) -> None:
    """A translation that a tool marked as a guess is not one: gettext leaves it out."""
    assert [message.id for message in read_catalogue(path) if message.id and message.fuzzy] == []


def test_no_sentence_is_put_together_where_it_is_said() -> None:
    """A sentence is whole in the source, with named places, since its parts could not be translated."""
    names = ("say", "Sentence", "FieldError", "FormError", "WorkbookError", "WorkbookBusy")
    for path in sorted(APP.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in names:
                assert not any(isinstance(each, ast.JoinedStr | ast.BinOp) for each in call.args), (path, call.lineno)


def test_sentences_are_found_in_each_kind_of_source() -> None:
    """The search sees Python, templates and scripts; one that saw nothing would find every language complete."""
    suffixes = {place.rpartition(":")[0].rpartition(".")[2] for place in find_sentences().values()}
    assert suffixes == {"py", "html", "js"}
    source = 'HINT = "wait"\nWorkbookError("it broke", HINT, path=1)\nw.count("{n} day", "{n} days", 2)\nFieldError(x)'
    assert [key for key, _ in read_module(source)] == ["it broke", "wait", ("{n} day", "{n} days")]
