"""Passphrases of keys: said by a file, the environment or a person, and never by an argument."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyfob.errors import PKIError

if TYPE_CHECKING:
    from keyfob.pki.keys import Passphrase

VARIABLE, ROOT_VARIABLE = "KEYFOB_PASSPHRASE", "KEYFOB_ROOT_PASSPHRASE"
# OpenSSL takes no longer ones.
LONGEST = 1023


def find_passphrase(file: Path | None, variable: str = VARIABLE) -> str | None:
    """What the file says, or else the environment; None if neither was given. Raises PKIError."""
    if file is not None:
        return _require(_read(file), str(file))
    said = os.environ.get(variable)
    return None if said is None else _require(said, variable)


def ask_for(file: Path | None, variable: str = VARIABLE, *, key: str = "the authority's key") -> "Passphrase":
    """Asks for the passphrase of a key that is there: file, environment, then whoever sits at the terminal; once."""

    answers: list[str | None] = []

    def ask() -> str | None:
        if not answers:
            answers.append(_ask(file, variable, key))
        return answers[0]

    return ask


def choose_passphrase(file: Path | None, *, prompt: bool, none: bool) -> str | None:
    """For a new key: what file or environment say, or what is typed twice; None leaves the key unencrypted."""
    if none and (prompt or file is not None):
        raise click.UsageError("--no-passphrase leaves no room for another one")
    if prompt and file is not None:
        raise click.UsageError("--passphrase asks, and --passphrase-file does not: give one of them")
    if none:
        return None
    if prompt:
        if sys.stdin is None or not sys.stdin.isatty():
            raise PKIError("there is no terminal to ask at", f"name a --passphrase-file, or set {VARIABLE}")
        typed = click.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt="Once more", err=True)
        return _require(typed, "the passphrase")
    return find_passphrase(file)


def _ask(file: Path | None, variable: str, key: str) -> str | None:
    said = find_passphrase(file, variable)
    if said is None and sys.stdin is not None and sys.stdin.isatty():
        typed: str = click.prompt(f"Passphrase of {key}", hide_input=True, err=True)
        return _require(typed, "the passphrase")
    return said


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(LONGEST + 3)
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise PKIError(f"{file} cannot be read: {error.strerror}", "name a file with the passphrase in it") from error
    except ValueError as error:
        raise PKIError(f"{file} is no text in UTF-8", "name a file with the passphrase in it") from error


def _require(said: str, where: str) -> str:
    """The passphrase, if it is one. What it is stays out of the error."""
    if not said:
        raise PKIError(f"{where} is empty, and that is no passphrase", "say one, or ask for none")
    if "\n" in said or len(said.encode("utf-8", "surrogateescape")) > LONGEST:
        raise PKIError(f"{where} has more than one line, or more than {LONGEST} octets", "take a shorter passphrase")
    if not said.isprintable():
        raise PKIError(f"{where} has characters in it that nobody can type", "take another passphrase, in UTF-8")
    return said
