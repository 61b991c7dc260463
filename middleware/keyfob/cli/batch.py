"""`keyfob issue --batch`: how far it is, what is wrong with its rows, and how to go on when it was stopped."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from keyfob.cli.terminal import escape
from keyfob.pki.batch.issuing import Progress, Stage, issue_batch
from keyfob.pki.batch.rows import BadRows
from keyfob.pki.registry import Registry

# Seconds between two looks at a terminal, and between two lines in a log.
_TERMINAL, _LOG = 0.2, 5.0
_BAR = 24


def run_batch(registry: Registry, path: Path, out: Path, *, kind: str, days: int, processes: int | None) -> None:
    """Makes what the rows of `path` ask for, in the folder or zip file `out`; what it says goes to stderr."""
    meter = Meter()
    try:
        with _frozen():
            outcome = issue_batch(registry, path, out, kind=kind, days=days, processes=processes, watch=meter.show)
    except BadRows as error:
        meter.end()
        _list(error)
        raise
    except KeyboardInterrupt:
        meter.end()
        _talk("Stopped. Nothing is lost: the same command goes on where it has stopped.")
        raise
    finally:
        meter.end()
    there = f"; {outcome.present:,} had theirs already" if outcome.present else ""
    _talk(f"{outcome.made:,} {'certificate' if outcome.made == 1 else 'certificates'} made, in {out}{there}.")


@contextmanager
def _frozen() -> Iterator[None]:
    """What a command has imported stays; to look it over for garbage again and again would take a tenth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _list(error: BadRows) -> None:
    for line, name, reason in error.faults:
        # Most reasons name it themselves.
        who = f" {_cut(name)!r}:" if name and repr(name) not in reason and ascii(name) not in reason else ""
        _talk(f"{error.source}:{line}:{who} {reason}")
    if error.count > len(error.faults):
        _talk(f"… and {error.count - len(error.faults):,} more")


def _cut(name: str) -> str:
    return name if len(name) <= 40 else name[:30] + "…"


def _talk(text: str) -> None:
    click.echo(escape(text), err=True)


class Meter:
    """Shows progress on stderr: one line that changes on a terminal, and a line every few seconds elsewhere."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_terminal = sys.stderr.isatty()
        self._pause = _TERMINAL if self._is_terminal else _LOG
        self._stage: Stage | None = None
        self._begun = self._shown = clock()
        self._is_open = False

    def show(self, progress: Progress) -> None:
        """Shows it, if it is time."""
        now = self._clock()
        if progress.stage is not self._stage:
            self._stage, self._begun = progress.stage, now
        if now - self._shown >= self._pause:
            self._shown = now
            self._write(describe(progress, now - self._begun, with_bar=self._is_terminal))

    def end(self) -> None:
        """Leaves the line, so that what is said next has its own."""
        if self._is_open:
            click.echo("\r\033[K", err=True, nl=False)
            self._is_open = False

    def _write(self, text: str) -> None:
        if self._is_terminal:
            click.echo(f"\r{escape(text)}\033[K", err=True, nl=False)
            self._is_open = True
        else:
            click.echo(escape(text), err=True)


def describe(progress: Progress, seconds: float, *, with_bar: bool) -> str:
    """One line: what is done, how fast, and how long it will take from here."""
    stage, done, total = progress
    if stage is Stage.RESUMING:
        return f"going on where it was stopped: part {done + 1:,} of {total:,}"
    if stage is Stage.FINISHING:
        return "finishing"
    rate = done / seconds if seconds > 0 else 0.0
    if stage is Stage.CHECKING or not total:
        return f"checked {done:,} rows"
    bar = f"[{'#' * (_BAR * done // total):-<{_BAR}}] " if with_bar else ""
    left = f", {_show_time((total - done) / rate)} left" if rate else ""
    return f"{bar}{done:,} of {total:,} certificates, {rate:,.0f}/s{left}"


def _show_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
