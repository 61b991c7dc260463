"""All entries: finding them, and changing, removing and taking back what the app wrote."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from budget_app.budget import Budget
from budget_app.entries import Entry
from budgets import Client, ReadRows, settle, words_of

LUNCH = {"id": "lunch", "amount": "12.50", "category": "Eating out", "date": "2025-11-23", "note": "Lunch"}
PROGRAM = {"accept": "application/json"}


@pytest.fixture
def lunch(client: Client) -> dict[str, str]:
    """One expense, added."""
    assert client.post(data=LUNCH).status_code == 303
    return LUNCH


def find(budget: Budget, entry_id: str = "lunch") -> tuple[int, bool, Entry]:
    """Version, whether it is removed, and content, as the ledger says."""
    record = budget.ledger.find(entry_id)
    assert record is not None
    return record.version, record.removed, record.entry


def type_by_hand(budget: Budget, old: str, new: str) -> None:
    """Replace text in the workbook, as a person with an editor does."""
    settle(budget)
    path = Path(budget.workbook.place)
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")
    settle(budget)


def test_an_entry_is_changed(client: Client, lunch: dict[str, str], read_rows: ReadRows) -> None:
    """In the ledger at once, and in the same row of the workbook."""
    page = client.get("/entries/lunch")
    assert 'name="version" value="1"' in page.text
    response = client.post("/entries/lunch", data={**lunch, "amount": "13", "note": "Dinner", "version": "1"})
    assert (response.status_code, response.headers["location"]) == (303, "/?changed=lunch")
    (row,) = read_rows()
    assert (row.amount, row.note, row.entry_id) == (Decimal(13), "Dinner", "lunch")


def test_an_entry_is_removed_and_put_back(
    client: Client, budget: Budget, lunch: dict[str, str], read_rows: ReadRows
) -> None:
    """The row goes from the workbook, and comes again."""
    assert len(read_rows()) == 1
    response = client.post("/entries/lunch/remove", data={"version": "1"})
    assert response.headers["location"] == "/?removed=lunch"
    assert read_rows() == ()
    page = client.get("/?removed=lunch")
    assert "Put back" in words_of(page.text)
    response = client.post("/entries/lunch/undo", data={"version": "2"})
    assert response.headers["location"] == "/?restored=lunch"
    (row,) = read_rows()
    assert row.entry_id == "lunch"


def test_undo_right_after_adding_leaves_nothing(client: Client, lunch: dict[str, str], read_rows: ReadRows) -> None:
    """As if it had not been."""
    assert client.post("/entries/lunch/undo", data={"version": "1"}).headers["location"] == "/?removed=lunch"
    assert read_rows() == ()


def test_undo_of_a_change_brings_back_what_was(client: Client, budget: Budget, lunch: dict[str, str]) -> None:
    """And of that, the change."""
    client.post("/entries/lunch", data={**lunch, "amount": "13", "version": "1"})
    assert client.post("/entries/lunch/undo", data={"version": "2"}).headers["location"] == "/?changed=lunch"
    assert find(budget)[2].amount == Decimal("12.50")
    client.post("/entries/lunch/undo", data={"version": "3"})
    assert find(budget)[2].amount == 13


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("action", ["", "/remove", "/undo"])
def test_what_was_changed_in_the_meantime_is_not_changed_blindly(
    client: Client, budget: Budget, lunch: dict[str, str], action: str, accept: str
) -> None:
    """Two devices, or an old page in another tab."""
    client.post("/entries/lunch", data={**lunch, "amount": "13", "version": "1"})
    old = {**lunch, "amount": "14", "version": "1"} if not action else {"version": "1"}
    response = client.post(f"/entries/lunch{action}", data=old, headers={"accept": accept})
    assert response.status_code == 409
    assert "changed in the meantime" in words_of(response.text)
    assert find(budget) == (2, False, Entry(Decimal(13), "Eating out", date(2025, 11, 23), "Lunch"))


@pytest.mark.parametrize("version", ["", "0", "-1", "x", "²", "9" * 400])
def test_a_version_that_is_none_changes_nothing(
    client: Client, budget: Budget, lunch: dict[str, str], version: str
) -> None:
    """Nobody has seen such a one; a program that forgot it hears that, and nothing of somebody else's change."""
    for action in ("", "/remove", "/undo"):
        answer = client.post(f"/entries/lunch{action}", data={**lunch, "version": version}, headers=PROGRAM)
        assert answer.status_code == 422
        assert answer.json()["detail"] == "Send the version that you have seen, such as 1."
    assert find(budget)[:2] == (1, False)


@pytest.mark.parametrize("action", ["", "/remove", "/undo"])
def test_an_entry_that_is_nobodys_is_not_found(client: Client, action: str) -> None:
    """And none is made."""
    assert client.post(f"/entries/nobody{action}", data={**LUNCH, "version": "1"}).status_code == 404
    assert client.get("/entries/nobody").status_code == 404


def test_bad_input_is_explained_beside_its_field_and_changes_nothing(
    client: Client, budget: Budget, lunch: dict[str, str]
) -> None:
    """The version that was seen stays in the form."""
    form = {**lunch, "amount": "four", "version": "1"}
    page = client.post("/entries/lunch", data=form)
    assert page.status_code == 422
    assert 'id="amount-message"' in page.text
    assert 'value="four"' in page.text
    assert 'name="version" value="1"' in page.text
    assert list(client.post("/entries/lunch", data=form, headers=PROGRAM).json()["errors"]) == ["amount"]
    assert find(budget)[0] == 1


def test_a_row_that_a_person_changed_in_the_workbook_is_shown_and_edited_as_it_is_there(
    client: Client, budget: Budget, lunch: dict[str, str]
) -> None:
    """The workbook has the last word, and undo brings back the person's own."""
    type_by_hand(budget, "12.50,Eating out,Lunch", "99.00,Groceries,By hand")
    assert 'value="99.00"' in client.get("/entries/lunch").text
    client.post("/entries/lunch", data={**lunch, "amount": "100", "version": "1"})
    version, _, entry = find(budget)
    assert (version, entry.amount) == (3, Decimal(100))
    client.post("/entries/lunch/undo", data={"version": "3"})
    assert find(budget)[2] == Entry(Decimal("99.00"), "Groceries", date(2025, 11, 23), "By hand")


def test_a_row_that_a_person_took_out_of_the_workbook_is_gone(
    client: Client, budget: Budget, lunch: dict[str, str], read_rows: ReadRows
) -> None:
    """It is not written again, and health counts it."""
    settle(budget)
    path = Path(budget.workbook.place)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    assert read_rows() == ()
    assert client.get("/entries/lunch").status_code == 404
    assert client.get("/health", headers=PROGRAM).json()["missing"] == 1
    page = client.get("/health")
    assert "All is well" not in words_of(page.text)
    assert 'action="/health/write-again"' in page.text


def test_what_the_workbook_has_lost_is_written_again_when_a_person_asks_for_it(
    client: Client, budget: Budget, lunch: dict[str, str], read_rows: ReadRows
) -> None:
    """An old copy was put in its place, and nobody took anything out."""
    settle(budget)
    path = Path(budget.workbook.place)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert read_rows() == ()
    assert client.post("/health/write-again", data={"back": ""}).headers["location"] == "/health"
    (row,) = read_rows()
    assert row.entry_id == "lunch"
    assert client.get("/health", headers=PROGRAM).json()["missing"] == 0
    assert "All is well" in words_of(client.get("/health").text)


def test_only_what_was_changed_here_is_written_over_what_a_person_typed(
    client: Client, budget: Budget, lunch: dict[str, str], read_rows: ReadRows
) -> None:
    """They had the workbook open while the note was changed on the phone."""
    settle(budget)
    path = Path(budget.workbook.place)
    lock = path.with_name(f".~lock.{path.name}#")
    lock.write_text(",ana,desk,,;", encoding="utf-8")
    client.post("/entries/lunch", data={**lunch, "note": "Dinner", "version": "1"})
    path.write_text(path.read_text(encoding="utf-8").replace("12.50,Eating out", "99.00,Groceries"), encoding="utf-8")
    lock.unlink()
    (row,) = read_rows()
    assert (row.amount, row.category, row.note) == (Decimal("99.00"), "Groceries", "Dinner")


def test_a_removed_row_that_a_person_had_changed_comes_back_as_they_left_it(
    client: Client, budget: Budget, lunch: dict[str, str], read_rows: ReadRows
) -> None:
    """And an undo of an older change does not go behind their back."""
    type_by_hand(budget, "12.50,Eating out,Lunch", "54.00,Groceries,By hand")
    client.post("/entries/lunch/remove", data={"version": "1"})
    assert read_rows() == ()
    client.post("/entries/lunch/undo", data={"version": "3"})
    (row,) = read_rows()
    assert (row.amount, row.note) == (Decimal("54.00"), "By hand")


def test_an_id_in_the_workbook_that_the_ledger_does_not_know_is_typed_by_hand(client: Client, budget: Budget) -> None:
    """There is nothing to undo."""
    settle(budget)
    path = Path(budget.workbook.place)
    path.write_text(path.read_text(encoding="utf-8") + "2025-11-24,3.10,Coffee,foreign,,someone\r\n", encoding="utf-8")
    settle(budget)
    page = client.get("/entries")
    assert "foreign" in words_of(page.text)
    assert "/entries/someone" not in page.text


def test_entries_are_found_by_words_month_category_and_device(client: Client, budget: Budget) -> None:
    """Alone and together; the count and the total are of all that was found."""
    for number, (month, category, note) in enumerate(
        [("2025-10", "Coffee", "beans"), ("2025-11", "Coffee", "with Ana"), ("2025-11", "Groceries", "Beans and rice")]
    ):
        form = {"id": f"n{number}", "amount": "10", "category": category, "date": f"{month}-05", "note": note}
        client.post(data=form)

    def look(**query: str) -> tuple[list[str], str]:
        answer = client.get("/entries", params=query, headers=PROGRAM).json()
        return [entry["note"] for entry in answer["entries"]], answer["total"]

    assert look(q="BEANS") == (["Beans and rice", "beans"], "20.00")
    assert look(month="2025-11") == (["Beans and rice", "with Ana"], "20.00")
    assert look(month="2025-11", q="beans") == (["Beans and rice"], "10.00")
    assert look(category="coffee", month="2025-10") == (["beans"], "10.00")
    assert look(device="Rhea Group", q="ana") == (["with Ana"], "10.00")
    assert look(device="Somebody") == ([], "0")
    assert look(month="2025-13") == look()


def test_a_long_list_has_pages(client: Client, budget: Budget) -> None:
    """Fifty each; a page behind the last one is the last one."""
    for number in range(51):
        budget.ledger.add(f"n{number}", Entry(Decimal(1), "Coffee", date(2025, 11, 1), str(number)), "x").result()
    first, second, behind = (client.get(f"/entries?page={page}", headers=PROGRAM).json() for page in (1, 2, 900))
    assert [len(page["entries"]) for page in (first, second, behind)] == [50, 1, 1]
    assert first["count"] == 51
    assert client.get("/entries?page=0").status_code == client.get("/entries?page=x").status_code == 200


@pytest.mark.parametrize(
    ("back", "leads"),
    [
        ("/entries?month=2025-11&q=a", "/entries?month=2025-11&q=a&removed=lunch"),
        ("/entries", "/entries?removed=lunch"),
        ("//evil.example/", "/?removed=lunch"),
        ("https://evil.example/", "/?removed=lunch"),
        ("/\\evil.example", "/?removed=lunch"),
        ("/entries\r\nSet-Cookie: a=b", "/?removed=lunch"),
        ("/static/x", "/?removed=lunch"),
    ],
)
def test_a_form_leads_back_to_where_it_was_and_nowhere_else(
    client: Client, lunch: dict[str, str], back: str, leads: str
) -> None:
    """The field could have been filled in by anybody."""
    response = client.post("/entries/lunch/remove", data={"version": "1", "back": back})
    assert response.headers["location"] == leads


def test_programs_change_entries_as_well(client: Client, lunch: dict[str, str]) -> None:
    """The same addresses, answered in JSON."""
    assert client.get("/entries/lunch", headers=PROGRAM).json()["entry"]["version"] == 1
    changed = client.post("/entries/lunch", json={**lunch, "amount": "1.20", "version": 1}, headers=PROGRAM)
    assert changed.json()["entry"]["amount"] == "1.20"
    removed = client.post("/entries/lunch/remove", data={"version": "2"}, headers=PROGRAM)
    assert removed.json()["removed"] is True


def test_search_text_is_never_markup(client: Client) -> None:
    """Whatever the address says."""
    page = client.get("/entries", params={"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text
    assert re.search(r'name="q"[^>]*value="&#34;&gt;&lt;script', page.text)
