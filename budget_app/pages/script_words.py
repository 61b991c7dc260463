"""The sentences that the scripts say: those in `say("…")` in `static/*.js`, found there, so that none is missed."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from babel.messages.extract import extract_from_file

from budget_app.words import Words

_SCRIPTS = Path(__file__).parents[1] / "static"


@cache
def find_script_sentences() -> tuple[str, ...]:
    """In English, sorted."""
    scripts = (extract_from_file("javascript", path, keywords={"say": None}) for path in _SCRIPTS.glob("*.js"))
    return tuple(sorted({str(found[1]) for each in scripts for found in each}))


def translate_scripts(words: Words) -> Mapping[str, str]:
    """The translations by their English sentences; those that are the same are left out."""
    translated = ((sentence, words.say(sentence)) for sentence in find_script_sentences())
    return {sentence: text for sentence, text in translated if text != sentence}
