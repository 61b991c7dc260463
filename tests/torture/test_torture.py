"""Each part of `make torture` in miniature, and that it would notice."""

import sqlite3
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from torture import rounds, sheets
from torture.books import require_agreement, require_whole, settle_doubts
from torture.findings import Findings
from torture.plug import find_sqlite
from torture.promises import Content, Promise, State

CONTENT = Content(Decimal("4.50"), "Coffee", date(2026, 11, 23), "flat white")


def say_nothing(line: str) -> None:
    """Nobody looks."""


@pytest.mark.parametrize(("kind", "number"), [("xlsx", 2), ("csv", 1)], ids=["xlsx", "csv"])
def test_nothing_is_lost_by_kill_9(tmp_path: Path, kind: str, number: int) -> None:
    """Some rounds of it under load."""
    with rounds.nursing(tmp_path / "log") as start:
        findings = rounds.torture("kill", [kind], number, 6, start, tmp_path, say_nothing)
    assert not findings, findings.described
    assert findings.figures["add, acknowledged"]


def test_nothing_is_lost_when_the_power_fails(tmp_path: Path) -> None:
    """Some rounds in which what was not synced is gone."""
    try:
        find_sqlite()
    except LookupError as error:
        pytest.skip(str(error))
    with rounds.nursing(tmp_path / "log") as start:
        findings = rounds.torture("power", ["xlsx"], 3, 6, start, tmp_path, say_nothing)
    assert not findings, findings.described
    assert any(name.startswith("power failures") for name in findings.figures)


def test_nothing_is_lost_while_google_fails(tmp_path: Path) -> None:
    """A few hundred entries, and a third of all calls."""
    findings = sheets.torture(200, 6, tmp_path, say_nothing)
    assert not findings, findings.described
    assert findings.figures["calls that failed"]


def write_csv(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["Date,Amount,Category,Note,Device,Entry ID", *rows, ""]), encoding="utf-8")
    return path


ROW = "2026-11-23,4.50,Coffee,flat white,phone,a"


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ([ROW], {}),
        ([], {"lost": 1}),
        ([ROW, ROW], {"doubled": 1}),
        ([ROW, ROW.replace("phone,a", "phone,b")], {"doubled": 1}),
        ([ROW.replace("4.50", "4.51")], {"damaged": 1}),
        ([ROW.replace("4.50", "four")], {"damaged": 1}),
    ],
    ids=["right", "lost", "twice", "nobody's", "changed", "unreadable"],
)
def test_a_workbook_that_breaks_a_promise_is_noticed(tmp_path: Path, rows: list[str], kinds: dict[str, int]) -> None:
    """In each way that one can."""
    findings = Findings()
    promise = Promise("a", [State(1, "add", removed=False, content=CONTENT)])
    require_agreement(write_csv(tmp_path / "budget.csv", *rows), [promise], "now", findings)
    assert dict(findings.faults) == kinds


def test_a_removed_entry_that_is_still_there_is_noticed(tmp_path: Path) -> None:
    """It was acknowledged that it goes."""
    findings = Findings()
    states = [State(1, "add", removed=False, content=CONTENT), State(2, "remove", removed=True, content=CONTENT)]
    require_agreement(write_csv(tmp_path / "budget.csv", ROW), [Promise("a", states)], "now", findings)
    assert dict(findings.faults) == {"doubled": 1}


def test_half_a_workbook_is_noticed(tmp_path: Path) -> None:
    """A zip that ends too soon, and a line that does."""
    findings = Findings()
    (tmp_path / "budget.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "budget.csv").write_text("Date,Amo", encoding="utf-8")
    for name in ("budget.xlsx", "budget.csv"):
        require_whole(tmp_path / name, "now", findings)
    assert dict(findings.faults) == {"damaged": 2}


@pytest.mark.parametrize(
    ("version", "kinds"), [(1, {}), (0, {"lost": 1}), (2, {"doubled": 1})], ids=["right", "lost", "more"]
)
def test_a_ledger_that_breaks_a_promise_is_noticed(tmp_path: Path, version: int, kinds: dict[str, int]) -> None:
    """Fewer versions than were acknowledged, or more than were asked for."""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        columns = "entry, version, kind, date, cents, category, note"
        ledger.execute(f"CREATE TABLE event ({columns})")
        for number in range(1, version + 1):
            values = ("a", number, "add", "2026-11-23", 450, "Coffee", "flat white")
            ledger.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        ledger.commit()
    findings = Findings()
    promise = Promise("a", [State(1, "add", removed=False, content=CONTENT)])
    settle_doubts(tmp_path / "ledger.db", [promise], "now", findings)
    assert dict(findings.faults) == kinds
