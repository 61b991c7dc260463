"""Flags as Go's library takes them, and files as cfssl names them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import LARGEST

# Flags of cfssl's that need its server, its database or a network.
_REFUSED_FLAGS: Mapping[str, str] = {
    **dict.fromkeys(
        ("remote", "tls-remote-ca", "mutual-tls-ca", "mutual-tls-cn", "label", "authkey"),
        "keys are used on this machine alone: leave it out, and give -ca and -ca-key",
    ),
    **dict.fromkeys(
        ("mutual-tls-client-cert", "mutual-tls-client-key", "mutual-tls-cert", "mutual-tls-key", "tls-cert", "tls-key"),
        "keys are used on this machine alone: leave it out, and give -ca and -ca-key",
    ),
    **dict.fromkeys(
        ("db-config", "aki", "serial", "sn"),
        "what cfssl keeps in a database, the inventory of `keyfob issue`, `list` and `show` keeps",
    ),
    "domain": "fetch it first: openssl s_client -connect HOST:443 -showcerts </dev/null, then -cert FILE",
}
_TRUE, _FALSE = {"1", "t", "T", "true", "TRUE", "True"}, {"0", "f", "F", "false", "FALSE", "False"}


class GoCommand(click.Command):
    """A command with flags as Go's library takes them: one dash or two, `-ca FILE` or `-ca=FILE`, `-initca=true`.

    They stand before the files. One that comes twice is refused.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = {option.name.replace("_", "-"): option for option in self._options() if option.name}
        translated: dict[str, str] = {}
        rest = list(args)
        while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
            name, equals, value = rest.pop(0).lstrip("-").partition("=")
            if name in ("h", "help"):
                return super().parse_args(ctx, ["--help"])
            option = options.get(name) or self._refuse(ctx, name)
            if name in translated:
                raise click.UsageError(f"-{name} stands there twice", ctx)
            translated[name] = _translate(ctx, option, name, value if equals else None, rest)
        files = rest[1:] if rest[:1] == ["--"] else rest
        late = next((each for each in files if each.startswith("-") and each != "-"), None)
        if late is not None:
            raise click.UsageError(f"{late} stands behind a file: flags come before it", ctx)
        return super().parse_args(ctx, [*filter(None, translated.values()), "--", *files])

    def _options(self) -> list[click.Option]:
        return [each for each in self.params if isinstance(each, click.Option)]

    def _refuse(self, ctx: click.Context, name: str) -> NoReturn:
        if name in _REFUSED_FLAGS:
            raise PKIError(f"-{name} is a flag of cfssl's that is not obeyed here", _REFUSED_FLAGS[name])
        known = [f"-{option.name.replace('_', '-')}" for option in self._options() if option.name]
        raise click.NoSuchOption(f"-{name}", possibilities=known, ctx=ctx)


def _translate(ctx: click.Context, option: click.Option, name: str, value: str | None, rest: list[str]) -> str:
    """The flag in click's form; empty for one that is false."""
    if option.is_flag:
        if value is not None and value not in _TRUE | _FALSE:
            raise click.BadParameter(f"{value!r} is neither true nor false", ctx, param_hint=f"-{name}")
        return "" if value in _FALSE else f"--{name}"
    if value is None:
        if not rest:
            raise click.BadOptionUsage(f"-{name}", f"-{name} needs a value", ctx)
        value = rest.pop(0)
    return f"--{name}={value}"


def read_named(name: str) -> bytes:
    """What stands in a file, as `FILE` or `file:FILE`, or in the environment, as `env:NAME`."""
    kind, colon, rest = name.partition(":")
    if colon and kind == "env":
        if rest not in os.environ:
            raise PKIError(f"the environment has no {rest!r}", "set it, or name a file")
        return os.environ[rest].encode("utf-8", "surrogateescape")
    return read(rest if colon and kind == "file" else name)


def read(name: str) -> bytes:
    """What stands in a file, or comes from stdin for `-`."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        raise PKIError(f"{call(name)} cannot be read: {said}", "name a file that is there") from error
    if len(data) > LARGEST:
        raise PKIError(f"{call(name)} has more than {LARGEST} bytes", "is it the file that is meant?")
    return data


def call(name: str) -> str:
    return "stdin" if name == "-" else name


def write(text: str) -> None:
    """Writes data for programs to stdout: in UTF-8, whatever the terminal has."""
    click.echo(text.encode("utf-8"))
