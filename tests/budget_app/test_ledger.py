"""One row at a time, each form once, and no reading of what has not changed."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from budget_app import ledger as module
from budget_app.entries import Entry
from budget_app.ledger import Ledger
from budget_app.workbook import ExpenseWorkbook, WorkbookError

LUNCH = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
COFFEE = Entry(Decimal("2.80"), "Eating out", date(2025, 11, 23))


@pytest.fixture
def ledger(workbook_path: Path) -> Ledger:
    return Ledger(ExpenseWorkbook(workbook_path))


def test_a_form_that_is_sent_twice_makes_one_row(ledger: Ledger) -> None:
    assert ledger.add(LUNCH, "Rhea Group", "form-1") == 2
    assert ledger.add(LUNCH, "Rhea Group", "form-1") == 2
    assert len(ledger.rows()) == 1


def test_a_form_that_is_sent_twice_at_once_makes_one_row(ledger: Ledger) -> None:
    """A double tap arrives on two threads."""
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: ledger.add(LUNCH, "Rhea Group", "form-1"), range(8)))
    assert rows == [2] * 8
    assert len(ledger.rows()) == 1


def test_a_form_that_was_changed_or_opened_anew_makes_another_row(ledger: Ledger) -> None:
    rows = [
        ledger.add(LUNCH, "Rhea Group", "form-1"),
        ledger.add(COFFEE, "Rhea Group", "form-1"),
        ledger.add(LUNCH, "Rhea Group", "form-2"),
        ledger.add(LUNCH, "iPad", "form-1"),
    ]
    assert rows == [2, 3, 4, 5]


def test_a_program_that_sends_no_submission_makes_a_row_each_time(ledger: Ledger) -> None:
    assert [ledger.add(LUNCH, "curl"), ledger.add(LUNCH, "curl")] == [2, 3]


def test_a_row_that_could_not_be_written_is_not_remembered(ledger: Ledger, workbook_path: Path) -> None:
    workbook_path.write_bytes(b"junk")
    with pytest.raises(WorkbookError):
        ledger.add(LUNCH, "Rhea Group", "form-1")
    workbook_path.unlink()
    assert ledger.add(LUNCH, "Rhea Group", "form-1") == 2
    assert len(ledger.rows()) == 1


def test_only_the_latest_forms_are_remembered(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 1)
    assert [ledger.add(LUNCH, "Rhea Group", form) for form in ("form-1", "form-2", "form-1")] == [2, 3, 4]


def test_the_file_is_read_again_only_when_it_changed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.add(LUNCH, "Rhea Group")
    first = ledger.rows()
    assert ledger.rows() is first
    status = ledger.workbook.path.stat()
    os.utime(ledger.workbook.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert ledger.rows() is not first
    assert ledger.rows() == first


def test_a_file_that_went_missing_has_no_rows(ledger: Ledger) -> None:
    ledger.add(LUNCH, "Rhea Group")
    assert len(ledger.rows()) == 1
    ledger.workbook.path.unlink()
    assert ledger.rows() == ()
