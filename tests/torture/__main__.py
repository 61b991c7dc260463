"""What `make torture` runs: everything that may happen to the budget app's files, and whether anything was lost.

    python tests/torture [--rounds 100] [--entries 10000] [--seed 6] [--only kill|serve|power|google]

Progress is one line; at the end
there is a table, and status 1 if anything was lost, doubled or damaged. The same seed makes the same decisions, but
no clock is the same twice. The first budget that was found wrong is kept, and named.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torture import rounds, sheets
from torture.findings import KINDS, Findings

_WIDTH = 100
# One in so many rounds of kill -9 is with the real command, which takes longer.
_REAL = 20
# Budgets of the kinds in turn.
_BOOKS = ("xlsx", "csv", "xlsx", "xlsx")


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of everything."""

    rounds: int
    entries: int
    seed: int


def main(arguments: list[str] | None = None) -> int:
    """All parts, or the one that is named; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python tests/torture", description="Whether anything is ever lost.")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of kill -9, and of power failures")
    parser.add_argument("--entries", type=int, default=10_000, help="entries sent to the stand-in for Google")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--only", choices=list(PARTS), action="append", help="one part; may be given several times")
    chosen = parser.parse_args(arguments)
    amounts = Amounts(chosen.rounds, chosen.entries, chosen.seed)
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    found = {name: PARTS[name](amounts, folder) for name in chosen.only or PARTS}
    _tell("")
    for name, findings in found.items():
        _print(name, findings)
    failed = any(findings for findings in found.values())
    if failed:
        print(f"kept for a look: {folder}")
    else:
        shutil.rmtree(folder)
    return int(failed)


def _kill(amounts: Amounts, folder: Path) -> Findings:
    with rounds.nursing(folder / "kill.log") as start:
        return rounds.torture("kill", _BOOKS, amounts.rounds, amounts.seed, start, folder, _tell)


def _kill_real(amounts: Amounts, folder: Path) -> Findings:
    place = folder / "serve"
    place.mkdir()
    with rounds.serving(folder / "serve.log") as start:
        number = -(-amounts.rounds // _REAL)
        return rounds.torture("kill", ("xlsx",), number, amounts.seed, start, place, _tell)


def _fail(amounts: Amounts, folder: Path) -> Findings:
    with rounds.nursing(folder / "power.log") as start:
        return rounds.torture("power", _BOOKS, amounts.rounds, amounts.seed, start, folder, _tell)


def _ask_google(amounts: Amounts, folder: Path) -> Findings:
    place = folder / "google"
    place.mkdir()
    return sheets.torture(amounts.entries, amounts.seed, place, _tell)


PARTS: Mapping[str, Callable[[Amounts, Path], Findings]] = {
    "kill": _kill,
    "serve": _kill_real,
    "power": _fail,
    "google": _ask_google,
}
_TITLES = {
    "kill": "kill -9 at random moments under load",
    "serve": "the same with `keyfob serve`, TLS and the gate included",
    "power": "power failures: what was not synced is gone, in whole or in part",
    "google": "a Google spreadsheet, a third of whose calls fail",
}


def _tell(line: str) -> None:
    """One line on a terminal, over and over; nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line[:_WIDTH]:<{_WIDTH}}\r")
        sys.stderr.flush()


def _print(name: str, findings: Findings) -> None:
    print(f"{_TITLES[name]}")
    for figure, number in sorted(findings.figures.items()):
        print(f"  {figure:<46} {number:8}")
    for kind in KINDS:
        print(f"  {kind.upper() if findings.faults[kind] else kind:<46} {findings.faults[kind]:8}")
    for described in findings.described:
        print(f"    {described}")


if __name__ == "__main__":
    sys.exit(main())
