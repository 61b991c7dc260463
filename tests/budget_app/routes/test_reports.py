"""Where the money goes, who entered what, and how everything is."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from budget_app.budget import Budget
from budget_app.entries import Entry
from budgets import Client, settle, words_of

PROGRAM = {"accept": "application/json"}


def add(budget: Budget, entry_id: str, amount: str, category: str, day: date, device: str = "Rhea Group") -> None:
    budget.ledger.add(entry_id, Entry(Decimal(amount), category, day), device).result()


def test_a_month_is_added_up_by_category_and_the_year_by_month(client: Client, budget: Budget) -> None:
    """Refunds count; what no category of the settings has is a number of its own."""
    for number, (amount, category, day) in enumerate(
        [
            ("100.10", "Groceries", date(2025, 11, 1)),
            ("-10", "Groceries", date(2025, 11, 30)),
            ("4.50", "Coffee", date(2025, 11, 2)),
            ("7", "Coffee", date(2025, 10, 31)),
        ]
    ):
        add(budget, f"n{number}", amount, category, day)
    settle(budget)
    with Path(budget.workbook.place).open("a", encoding="utf-8") as file:
        file.write("2025-11-24,3.10,Yachts,by hand,,\r\n2025-11-24,about 3,Coffee,,,\r\n2025-11-25,1,COFFEE,,,\r\n")
    settle(budget)
    found = client.get("/overview?month=2025-11", headers=PROGRAM).json()
    assert found["categories"] == [
        {"name": "Groceries", "spent": "90.10", "budget": "400.0"},
        {"name": "Coffee", "spent": "5.50", "budget": None},
        {"name": "Eating out", "spent": "0", "budget": "100.5"},
    ]
    assert (found["others"], found["total"]) == ("3.10", "98.70")
    assert list(found["months"].items())[-2:] == [("2025-10", "7.00"), ("2025-11", "98.70")]
    assert len(found["months"]) == 12
    page = client.get("/overview?month=2025-11")
    assert page.text.count("<svg") >= 2
    assert page.text.count("<table") >= 2
    words = words_of(page.text)
    assert all(figure in words for figure in ("90.10", "5.50", "3.10", "98.70", "7.00"))


@pytest.mark.parametrize("month", ["2025-13", "x", "", "0000-00", "9999-99", "2025-11-01"])
def test_a_month_that_is_none_is_this_one(client: Client, budget: Budget, month: str) -> None:
    """An address can be made up."""
    found = client.get("/overview", params={"month": month}, headers=PROGRAM).json()
    assert found["month"] == f"{budget.today:%Y-%m}"


@pytest.mark.parametrize("month", ["0001-01", "1900-01", "9999-12"])
def test_the_ends_of_the_calendar_are_months_too(client: Client, month: str) -> None:
    """Nothing was spent then, and nothing breaks."""
    assert client.get("/overview", params={"month": month}).status_code == 200
    assert client.get("/entries", params={"month": month}).status_code == 200


def test_devices_are_listed_by_their_certificates_names(client: Client, budget: Budget) -> None:
    """How many entries, how much, and the last day."""
    add(budget, "a", "1", "Coffee", date(2025, 11, 1))
    add(budget, "b", "2", "Coffee", date(2025, 11, 3))
    add(budget, "c", "5", "Coffee", date(2025, 11, 2), "Tablet")
    assert client.get("/devices", headers=PROGRAM).json()["devices"] == [
        {"name": "Rhea Group", "count": 2, "total": "3.00", "last": "2025-11-03"},
        {"name": "Tablet", "count": 1, "total": "5.00", "last": "2025-11-02"},
    ]
    assert "Tablet" in words_of(client.get("/devices").text)


def test_health_says_what_the_workbook_does_not_have_and_why(client: Client, budget: Budget) -> None:
    """For a person as a page, for a monitor as 503."""
    settle(budget)
    assert client.get("/health", headers=PROGRAM).status_code == 200
    path = Path(budget.workbook.place)
    content = path.read_bytes()
    path.write_bytes(b"\xff\xfe\x00 no text at all")
    add(budget, "a", "1", "Coffee", date(2025, 11, 1))
    while budget.writer.progress.problem is None:
        pass
    sick = client.get("/health", headers=PROGRAM)
    assert sick.status_code == 503
    assert (sick.json()["waiting"], str(path) in sick.json()["problem"]) == (1, True)
    page = client.get("/health")
    assert page.status_code == 200
    assert str(path) in words_of(page.text)
    assert "not in the workbook yet" in words_of(client.get("/").text)
    path.write_bytes(content)
    settle(budget)
    assert client.get("/health", headers=PROGRAM).status_code == 200


def test_a_workbook_that_somebody_has_open_is_waited_for(client: Client, budget: Budget) -> None:
    """Nothing is wrong then, and the page says who has it."""
    settle(budget)
    path = Path(budget.workbook.place)
    lock = path.with_name(f".~lock.{path.name}#")
    lock.write_text(",ana,desk,23.11.2026 10:00,file:///home/ana;", encoding="utf-8")
    add(budget, "a", "1", "Coffee", date(2025, 11, 1))
    while budget.writer.progress.problem is None:
        pass
    found = client.get("/health", headers=PROGRAM)
    assert (found.status_code, found.json()["busy"], found.json()["waiting"]) == (200, True, 1)
    assert "LibreOffice" in words_of(client.get("/health").text)
    lock.unlink()
    settle(budget)
    assert client.get("/health", headers=PROGRAM).json()["problem"] is None
