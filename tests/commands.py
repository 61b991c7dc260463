"""The `keyfob` command within this process: what it prints, and with which status it ends."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from keyfob.cli.main import main


class Said(NamedTuple):
    """A command's end. Wrong use is status 2, a refusal 1."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(*arguments: str | Path, typed: str = "", env: Mapping[str, str] | None = None) -> Said:
    """Runs `keyfob` with these arguments, and with none of this process's settings for it."""
    out, err = io.StringIO(), io.StringIO()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOB")}
    with (
        mock.patch.object(sys, "argv", ["keyfob", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.StringIO(typed)),
        mock.patch.dict(os.environ, {**kept, **(env or {})}, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            return Said(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise RuntimeError("the command did not end")


def succeed(*arguments: str | Path, typed: str = "", env: Mapping[str, str] | None = None) -> Said:
    """Runs a command that has to succeed."""
    said = run(*arguments, typed=typed, env=env)
    assert said.status == 0, said
    return said


def fail(status: int, *arguments: str | Path, typed: str = "", env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Runs a command that has to fail with `status`: its one error and its one hint, and nothing else was said."""
    said = run(*arguments, typed=typed, env=env)
    assert said.status == status, said
    assert said.out == "", said
    found = re.fullmatch(r"error: (\S[^\n]*)\nhint: (\S[^\n]*)\n", said.err)
    assert found is not None, said
    return found[1], found[2]


def list_files(folder: Path) -> list[str]:
    """Every file below the folder, but for what SQLite keeps beside an open database."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.endswith(("-wal", "-shm")))
