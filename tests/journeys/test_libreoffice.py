"""The workbook in the hands of the program that a person would open it with."""

import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from python_calamine import CalamineWorkbook

from budget_app.budget import Budget, open_budget
from budget_app.entries import Entry
from budget_app.settings import Place
from budgets import settle
from servers import find_program

SETTINGS = """
[[categories]]
name = "Groceries"
budget = 400

[[categories]]
name = "Coffee"
budget = 30.5

[[categories]]
name = "Café & Bar"
"""


@pytest.fixture
def budget(tmp_path: Path) -> Iterator[Budget]:
    place = Place(tmp_path / "budget.toml")
    place.path.write_text(SETTINGS, encoding="utf-8")
    budget = open_budget(place)
    yield budget
    budget.close()


def add(budget: Budget, category: str, amount: str, day: date, note: str = "") -> None:
    number = budget.view.count()
    budget.ledger.add(f"n{number}", Entry(Decimal(amount), category, day, note), "Rhea Group").result()


def recalculate(workbook: str, folder: Path) -> CalamineWorkbook:
    """What LibreOffice makes of the file: it opens it, and saves it again under the same name in `folder`."""
    soffice = find_program("soffice", "libreoffice-calc-nogui")
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [soffice, "--headless", profile, "--convert-to", "xlsx", "--outdir", str(folder), workbook]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return CalamineWorkbook.from_path(folder / Path(workbook).name)


def read_summary(book: CalamineWorkbook) -> dict[str, list[Any]]:
    """The rows of the sheet by their names, under the months: budget, twelve months, the year, what is left."""
    rows = book.get_sheet_by_name("Summary").to_python()
    return {str(name): figures for name, *figures in rows[3:]}


def test_numbers_dates_and_text_arrive_as_such(budget: Budget, tmp_path: Path) -> None:
    """Nothing that a person typed becomes a formula."""
    day = date(2026, 11, 23)
    for note in ("with Ana", "+351 210", "=1+1"):
        add(budget, "Coffee", "1234.50", day, note)
    settle(budget)
    (tmp_path / "out").mkdir()
    sheet = recalculate(budget.workbook.place, tmp_path / "out").get_sheet_by_name("Expenses").to_python()
    assert [row[:5] for row in sheet[1:]] == [
        [day, 1234.5, "Coffee", note, "Rhea Group"] for note in ("with Ana", "+351 210", "=1+1")
    ]


def test_the_pages_sums_are_the_workbooks_own(budget: Budget, tmp_path: Path) -> None:
    """Every month of the year by category, also what was typed by hand, and what SUMIFS passes over."""
    today = budget.today
    months = [date(today.year, month, 1) for month in range(1, 13)]
    for month in months:
        add(budget, "Groceries", f"{month.month}.10", month)
        add(budget, "Groceries", "-0.30", month + timedelta(days=27))
        add(budget, "Café & Bar", "33.33", month.replace(day=28))
    settle(budget)
    path = Path(budget.workbook.place)
    book = load_workbook(path)
    typed: list[list[Any]] = [
        [today, 4.5, "COFFEE", "typed by hand"],
        [today, 0.1, "café & bar", None],
        [today, 2.25, "Yachts", None],
        [today, "5.00", "Coffee", "an amount that is text"],
        [str(today), 7, "Coffee", "a date that is text"],
        [None, 8, "Coffee", "no date"],
    ]
    for row in typed:
        book["Expenses"].append(row)
    book["Expenses"].tables["Expenses"].ref = f"A1:F{book['Expenses'].max_row}"
    book.save(path)
    settle(budget)
    add(budget, "Coffee", "1.20", today)
    settle(budget)
    (tmp_path / "out").mkdir()
    summary = read_summary(recalculate(budget.workbook.place, tmp_path / "out"))
    for column, month in enumerate(months, start=1):
        spending = budget.view.spending(month, today)
        for category in spending.categories:
            assert Decimal(str(round(summary[category.name][column], 6))) == category.spent, (category, month)
        listed = [name for name in summary if name not in {each.name for each in spending.categories}]
        others, total = (Decimal(str(round(summary[name][column], 6))) for name in listed[:2])
        assert (others, total) == (spending.others, spending.total), month
    assert budget.view.spending(today.replace(day=1), today).others == Decimal("2.25")
