"""Lines for people: as wide as their terminal, and without anything that could move its cursor."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator

import click

WIDEST, NARROWEST = 100, 40


def find_width() -> int:
    """How many columns a line may have."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def escape(text: str) -> str:
    """The text with everything that is not printed, or that this terminal has no character for, spelt out."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def wrap(text: str, indent: str = "", further: str = "") -> Iterator[str]:
    """The text in lines, the first behind `indent` and the others behind `further`. Words stay whole."""
    yield from textwrap.wrap(
        escape(text),
        find_width(),
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(text: str) -> None:
    """Writes data to stdout; in colour if that is a terminal, and nobody has asked for none (no-color.org)."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
