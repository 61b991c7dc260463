"""`keyfob`: the group of commands, and how any of them fails."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

import keyfob
from keyfob.cli.terminal import escape
from keyfob.errors import KeyfobError


class Place(NamedTuple):
    """Where a command is. `help` is the first sentence of its own help, so that nobody has to import it for that."""

    module: str
    attribute: str
    help: str


# Each is imported when it is called for: together they take a second, and the help shall not.
SECTIONS: Mapping[str, Mapping[str, Place]] = {
    "The door": {
        "serve": Place("keyfob.cli.serve", "serve_command", "Serve MODULE:APP behind the gate."),
        "check": Place("keyfob.cli.check", "check_command", "Check a configuration, access.toml by default."),
        "explain": Place(
            "keyfob.cli.explain",
            "explain_command",
            "Say whether a certificate, or somebody who has logged in, would get in, and why.",
        ),
    },
    "The keys": {
        "ca": Place("keyfob.cli.ca", "ca_command", "Make and show the authority that signs devices."),
        "issue": Place("keyfob.cli.devices", "issue_command", "Make a device's key and certificate."),
        "export": Place("keyfob.cli.export", "export_command", "Write a device's key as phones and programs take it."),
        "enrol": Place("keyfob.cli.enrol", "enrol_command", "Invite a device by a QR code and a link."),
        "list": Place("keyfob.cli.listing", "list_command", "List the devices' certificates."),
        "show": Place("keyfob.cli.listing", "show_command", "Show everything about a device or certificate."),
        "renew": Place("keyfob.cli.devices", "renew_command", "Give a device a new key and certificate."),
        "revoke": Place("keyfob.cli.devices", "revoke_command", "Withdraw a device's certificates, or a single one."),
        "crl": Place("keyfob.cli.crl", "crl_command", "Write the list of what has been withdrawn."),
    },
    "The people": {
        "token": Place("keyfob.cli.token", "token_command", "Make and withdraw the tokens of scripts."),
        "sessions": Place("keyfob.cli.sessions", "sessions_command", "Log people out, wherever they have logged in."),
    },
    "The walkthrough's own words": {
        "cfssl": Place("keyfob.cli.cfssl", "cfssl_command", "Take cfssl's commands and JSON files."),
        "cfssljson": Place("keyfob.cli.cfssljson", "cfssljson_command", "Write what cfssl has printed into files."),
    },
}

_PLACES = {name: place for section in SECTIONS.values() for name, place in section.items()}


class Commands(click.Group):
    """The commands of SECTIONS, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _PLACES.get(cmd_name)
        return None if place is None else load(place)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _PLACES and not args[0].startswith("-"):
            close = get_close_matches(args[0][:40], _PLACES, n=1)
            raise click.UsageError(
                f"no such command {args[0][:40]!r}" + (f"; did you mean {close[0]!r}?" if close else ""), ctx
            )
        return super().resolve_command(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        # The help is written here.
        with _leaving_quietly():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with _leaving_quietly():
            status = super().invoke(ctx)
            sys.stdout.flush()
        return status

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, place.help) for name, place in section.items()], col_max=12)


@contextmanager
def _leaving_quietly() -> Iterator[None]:
    """Whoever read the output has seen enough. The status is what the shell says of programs that SIGPIPE ends."""
    try:
        yield
    except BrokenPipeError:
        _close_output()
        raise SystemExit(128 + 13) from None


def load(place: Place) -> click.Command:
    """The command. Raises KeyfobError if a package that it needs is not installed."""
    try:
        found: click.Command = getattr(import_module(place.module), place.attribute)
    except ModuleNotFoundError as error:
        raise KeyfobError(f"the command needs the package {error.name}", "pip install 'keyfob[cli]'") from error
    return found


@click.group(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(keyfob.__version__, message="keyfob %(version)s")
def commands() -> None:
    """Your own devices are the key to your web apps."""


def main() -> NoReturn:
    """The console script. Status 1 is a refusal, 2 a wrong use of the command; errors are never a traceback."""
    if sys.stdout is None:
        # The shell's `>&-`: whoever closes it wants no output.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    try:
        status = commands.main(prog_name="keyfob", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        _fail(_shorten(error.format_message()), f"see `{error.ctx.command_path if error.ctx else 'keyfob'} --help`", 2)
    except KeyfobError as error:
        _fail(error.message, error.hint, 1)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except OSError as error:
        _close_output()
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", "is it yours, and is there room on the disk?", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _shorten(message: str) -> str:
    """It repeats what was typed, however long that was."""
    return message if len(message) <= 600 else f"{message[:300]}…{message[-100:]}"


def _fail(message: str, hint: str, status: int) -> NoReturn:
    said = f"error: {message}\nhint: {hint}" if hint else f"error: {message}"
    for line in said.split("\n"):
        click.echo(escape(line), err=True)
    sys.exit(status)


def _close_output() -> None:
    """The interpreter would try once more to write what nobody takes, and complain."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
