"""What the commands about keys have in common: their folder, its inventory, its passphrase, and how they are read."""

import os
import shlex
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from keyfob.cli.passphrase import ask_for
from keyfob.cli.terminal import escape
from keyfob.inventory import Inventory, NotInInventory
from keyfob.inventory.records import Stored
from keyfob.pki.registry import Registry

HOME, HOME_VARIABLE = ".keyfob", "KEYFOB_HOME"
Function = TypeVar("Function", bound=Callable[..., Any])
# Whether a path can be read is said better by what reads it.
FILE = click.Path(path_type=Path, readable=False)


class _Folder(click.Path):
    """A path; nothing at all is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("names no folder; write . for this one", param, ctx)
        return super().convert(value, param, ctx)


def _require_open_url(context: click.Context, parameter: click.Parameter, where: str | None) -> str | None:
    """Everybody on a machine can read the arguments of its processes."""
    given = context.get_parameter_source(parameter.name or "")
    if where == "":
        raise click.BadParameter("names no inventory")
    if where is not None and given is ParameterSource.COMMANDLINE and _has_password(where):
        raise click.BadParameter("a password in an argument can be read by others; say it by KEYFOB_INVENTORY")
    return where


def _has_password(where: str) -> bool:
    user = where.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return ":" in user or "password=" in where


home_option = click.option(
    "--home",
    type=_Folder(path_type=Path, readable=False),
    default=HOME,
    envvar=HOME_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="The folder with the keys.",
)
inventory_option = click.option(
    "--inventory",
    metavar="PATH|URL",
    envvar="KEYFOB_INVENTORY",
    show_envvar=True,
    callback=_require_open_url,
    help="Where the inventory is, if not in the folder: a file, or postgresql://…",
)
passphrase_file_option = click.option(
    "--passphrase-file",
    type=FILE,
    help="A file with the passphrase of the authority's key; KEYFOB_PASSPHRASE says it, too, and so does a terminal.",
)


def inventory_options(command: Function) -> Function:
    """--home and --inventory, for whatever signs nothing."""
    return home_option(inventory_option(command))


def registry_options(command: Function) -> Function:
    """--home, --inventory and --passphrase-file."""
    return home_option(inventory_option(passphrase_file_option(command)))


@contextmanager
def open_registry(home: Path, inventory: str | None = None, passphrase_file: Path | None = None) -> Iterator[Registry]:
    """The registry that the options name; its inventory is closed at the end, if anybody has opened it."""
    registry = Registry(home, inventory, ask_for(passphrase_file))
    try:
        yield registry
    finally:
        opened = registry.__dict__.get("inventory")
        if isinstance(opened, Inventory):
            opened.close()


def find_certificates(inventory: Inventory, words: str) -> list[Stored]:
    """What a name, serial number or fingerprint means, newest first. Raises NotInInventory, naming what is close."""
    # Some keyboards, and all of macOS's file names, write accents as characters of their own.
    normal = unicodedata.normalize("NFC", words)
    found = inventory.find(normal) if normal.isprintable() else []
    if not found:
        close = _find_close(inventory, normal)
        raise NotInInventory(
            f"{shorten(words)!r} is no device, serial number or fingerprint of the inventory",
            f"did you mean {close!r}?" if close else "see `keyfob list`",
        )
    return found


# Beyond so many certificates a guess would take longer than a look at the list.
GUESSED = 10_000


def _find_close(inventory: Inventory, words: str) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415 - for errors alone

    if len(words) > 100 or inventory.count() > GUESSED:
        return None
    names = {record.name.casefold(): record.name for record in inventory.iterate()}
    close = get_close_matches(words.casefold(), names, n=1)
    return names[close[0]] if close else None


def shorten(text: str) -> str:
    """A text that somebody has typed, short enough for an error."""
    return text if len(text) <= 80 else text[:60] + "…"


def say_home(home: Path) -> str:
    """What a further command needs to find the same folder."""
    return "" if home == Path(os.environ.get(HOME_VARIABLE) or HOME) else f" --home {shlex.quote(str(home))}"


def show_moment(seconds: int | None) -> str:
    """A moment of the inventory to the second, UTC; a dash for none."""
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def show_day(seconds: int | None) -> str:
    """A moment of the inventory as a date, UTC; a dash for none."""
    return "-" if seconds is None else _show_date(seconds // 86400)


@lru_cache(maxsize=4096)
def _show_date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * 86400, UTC):%Y-%m-%d}"


def talk(text: str) -> None:
    """What is said to people beside the data: on stderr."""
    for line in text.split("\n"):
        click.echo(escape(line), err=True)
