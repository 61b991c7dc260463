"""The first page: adding an expense, once, or being told what is wrong with it."""

import re
import uuid
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from budget_app.budget import Budget
from budget_app.entries import Entry
from budget_app.ledger import LedgerError
from budgets import Client, ReadRows, settle, words_of

LUNCH = {"id": "lunch", "amount": "12,50", "category": "Eating out", "date": "2025-11-23", "note": "Lunch"}
LUNCH_ENTRY = Entry(Decimal("12.50"), "Eating out", date(2025, 11, 23), "Lunch")
PROGRAM = {"accept": "application/json"}


def find_input(response: httpx.Response, name: str) -> str:
    """The tag of the input named `name`."""
    found = re.search(rf'<input[^>]*\bid="{name}"[^>]*>', response.text)
    assert found is not None
    return unescape(found[0])


def find_entry(budget: Budget, entry_id: str = "lunch") -> Entry | None:
    """What the ledger has under an id."""
    record = budget.ledger.find(entry_id)
    return None if record is None else record.entry


def test_an_expense_is_in_the_ledger_when_the_answer_comes_and_then_in_the_workbook(
    client: Client, budget: Budget, read_rows: ReadRows
) -> None:
    """The answer leads to a page that may be loaded again."""
    response = client.post(data=LUNCH)
    assert (response.status_code, response.headers["location"]) == (303, "/?added=lunch")
    assert find_entry(budget) == LUNCH_ENTRY
    (row,) = read_rows()
    assert (row.date, row.amount, row.category, row.note) == (
        date(2025, 11, 23),
        Decimal("12.50"),
        "Eating out",
        "Lunch",
    )
    assert (row.device, row.entry_id) == ("Rhea Group", "lunch")
    page = client.get("/?added=lunch")
    assert re.search(r'role="status".*?Added.*?12\.50.*?Eating out', page.text, re.DOTALL)
    assert 'action="/entries/lunch/undo"' in page.text


def test_a_program_gets_the_entry_as_json(client: Client) -> None:
    """201 for a new one, 200 for one that was there."""
    first, second = (client.post(data=LUNCH, headers=PROGRAM) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["entry"] == {
        "id": "lunch",
        "version": 1,
        "amount": "12.50",
        "category": "Eating out",
        "date": "2025-11-23",
        "note": "Lunch",
        "device": "Rhea Group",
        "waiting": True,
    }
    assert (first.json()["new"], second.json()["new"]) == (True, False)


@pytest.mark.parametrize("kind", ["multipart", "json"])
def test_other_encodings_of_the_form_work_as_well(client: Client, budget: Budget, kind: str) -> None:
    """Whatever a program likes to send."""
    options: dict[str, Any] = (
        {"json": LUNCH} if kind == "json" else {"files": {name: (None, value) for name, value in LUNCH.items()}}
    )
    assert client.post(**options).status_code == 303
    assert find_entry(budget) == LUNCH_ENTRY


def test_a_program_may_leave_out_the_date_and_the_note(client: Client, budget: Budget) -> None:
    """Then it is today, where the settings say that it is."""
    assert client.post(data={"id": "a", "amount": "1", "category": "Coffee"}).status_code == 303
    assert find_entry(budget, "a") == Entry(Decimal("1.00"), "Coffee", budget.today)


@pytest.mark.parametrize(("day", "ago"), [("today", 0), ("yesterday", 1)])
def test_a_day_may_be_one_tap(client: Client, budget: Budget, day: str, ago: int) -> None:
    """Whatever the date beside it says."""
    client.post(data={**LUNCH, "day": day, "date": "2020-01-01"})
    found = find_entry(budget)
    assert found is not None
    assert found.date == budget.today - timedelta(days=ago)


def test_another_day_needs_its_date(client: Client, budget: Budget) -> None:
    """None is guessed."""
    response = client.post(data={**LUNCH, "day": "other", "date": ""}, headers=PROGRAM)
    assert response.json()["errors"] == {"date": "Choose the day of the expense."}
    assert find_entry(budget) is None


def test_a_refund_is_below_zero_and_marked(client: Client, budget: Budget) -> None:
    """By the box, since the keypads of phones have no minus, or by a minus."""
    client.post(data={**LUNCH, "refund": "yes"})
    client.post(data={**LUNCH, "id": "other", "amount": "-3"})
    assert [found.amount for each in ("lunch", "other") if (found := find_entry(budget, each))] == [
        Decimal("-12.50"),
        Decimal("-3.00"),
    ]
    assert words_of(client.get().text).count("Refund") >= 2


def test_a_button_tapped_twice_makes_one_entry(client: Client, read_rows: ReadRows) -> None:
    """The page carries the id, and another one the next time."""
    found = re.search(r'name="id" value="([^"]+)"', client.get().text)
    assert found is not None
    assert str(uuid.UUID(found[1])) == found[1]
    form = {**LUNCH, "id": found[1]}
    assert [client.post(data=form).headers["location"] for _ in range(2)] == [
        f"/?added={found[1]}",
        f"/?kept={found[1]}",
    ]
    assert len(read_rows()) == 1
    assert found[1] not in re.findall(r'name="id" value="([^"]+)"', client.get().text)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_an_id_with_other_content_is_refused(client: Client, budget: Budget, accept: str) -> None:
    """It stands for what it stood for first."""
    client.post(data=LUNCH)
    response = client.post(data={**LUNCH, "amount": "13"}, headers={"accept": accept})
    assert response.status_code == 409
    assert "This id stands for another expense" in words_of(response.text)
    assert find_entry(budget) == LUNCH_ENTRY


def test_the_same_id_is_the_same_entry_also_after_it_was_changed(client: Client, budget: Budget) -> None:
    """A phone that sends again late does not undo what was changed since."""
    client.post(data=LUNCH)
    client.post("/entries/lunch", data={**LUNCH, "amount": "14", "version": "1"})
    assert client.post(data=LUNCH, headers=PROGRAM).json()["entry"]["amount"] == "14.00"
    found = find_entry(budget)
    assert found is not None
    assert found.amount == 14


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("amount", "0", "other than zero"),
        ("amount", "1e999", "Use only digits"),
        ("amount", "four", "Use only digits"),
        ("amount", "9" * 200, "at most 999,999,999.99"),
        ("amount", "💸", "Use only digits"),
        ("amount", "", "Enter an amount"),
        ("amount", "1,234", "ambiguous"),
        ("amount", "$4", "This budget is in EUR"),
        ("note", "🍋" * 10_000, "Shorten this to 500 characters; it has 10,000."),
        ("note", "two\nlines", "one line of plain text"),
        ("date", "1826-11-23", "Choose a day from 1 Jan 2000"),
        ("date", "2226-11-23", "Choose a day from 1 Jan 2000"),
        ("date", "2025-02-30", "exists in the calendar"),
        ("category", "Yachts", "“Yachts” is not in the settings"),
        ("category", "", "Choose a category"),
        ("id", "", "Send an id of your own"),
        ("id", "a b", "An id has 1 to 64 letters"),
    ],
)
def test_bad_input_has_its_sentence_beside_its_field(
    client: Client, budget: Budget, field: str, text: str, sentence: str
) -> None:
    """The same for people and for programs, and nothing is written."""
    form = {**LUNCH, field: text}
    program = client.post(data=form, headers=PROGRAM)
    assert program.status_code == 422
    assert program.headers["content-type"] == "application/problem+json"
    assert list(program.json()["errors"]) == [field]
    assert sentence in program.json()["errors"][field]
    page = client.post(data=form)
    assert page.status_code == 422
    assert program.json()["errors"][field] in words_of(page.text)
    if field != "id":
        assert f'id="{field}-message"' in page.text
    assert budget.ledger.count_waiting() == 0
    assert find_entry(budget) is None


def test_what_was_typed_is_kept(client: Client) -> None:
    """Nothing has to be typed again."""
    typed = {**LUNCH, "amount": "1,234", "note": 'a "kept" <note>'}
    response = client.post(data=typed)
    for name in ("amount", "note"):
        assert f'value="{typed[name]}"' in find_input(response, name)
    assert re.search(r'value="Eating out"[^>]*\bchecked', response.text)
    assert 'aria-invalid="true"' in find_input(response, "amount")
    assert "autofocus" in find_input(response, "amount")
    assert response.text.count("autofocus") == 1


def test_a_link_fills_the_form_in(client: Client) -> None:
    """For shortcuts on the phone; nothing is added before the button is pressed."""
    page = client.get("/", params={"amount": "4.50", "category": "Coffee", "note": "With <Ana>"})
    assert 'value="4.50"' in find_input(page, "amount")
    assert 'value="With <Ana>"' in find_input(page, "note")
    assert re.search(r'value="Coffee"[^>]*\bchecked', page.text)


def test_an_expense_is_duplicated_by_a_form_that_is_filled_in(client: Client) -> None:
    """With an id of its own, and for today."""
    client.post(data=LUNCH)
    page = client.get("/?copy=lunch")
    assert 'value="12.50"' in find_input(page, "amount")
    assert 'value="Lunch"' in find_input(page, "note")
    assert "2025-11-23" not in find_input(page, "date")
    assert 'name="id" value="lunch"' not in page.text


def test_another_one_comes_back_to_the_form(client: Client) -> None:
    """With what was just added above it."""
    response = client.post(data={**LUNCH, "then": "another"})
    assert response.headers["location"] == "/?added=lunch&then=another"


@pytest.mark.parametrize("entry_id", ["", "nobody", "<b>", "x" * 10_000])
def test_an_id_that_is_nobodys_says_nothing(client: Client, entry_id: str) -> None:
    """An address can be made up."""
    response = client.get("/", params={"added": entry_id})
    assert response.status_code == 200
    assert "Added" not in words_of(response.text)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "https://money.example.com"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/", "/entries/lunch", "/entries/lunch/remove", "/entries/lunch/undo"])
def test_a_form_from_another_site_is_refused_with_a_page_that_safari_shows(
    client: Client, budget: Budget, path: str, headers: dict[str, str]
) -> None:
    """A browser adds its certificate to whatever another site makes it send."""
    client.post(data=LUNCH)
    response = client.post(path, data={**LUNCH, "version": "1", "amount": "99"}, headers=headers)
    assert response.status_code == 400
    assert "This form was sent from another site; nothing was written." in words_of(response.text)
    record = budget.ledger.find("lunch")
    assert record is not None
    assert (record.version, record.entry) == (1, LUNCH_ENTRY)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"a" * 50_000_000, "headers": {"content-type": "application/x-www-form-urlencoded"}}, 413),
        ({"json": [LUNCH]}, 400),
        ({"content": b"amount=4"}, 415),
        ({"files": {"note": ("a.txt", b"a")}}, 400),
        ({"data": {**LUNCH, "colour": "red"}}, 400),
        ({"data": {**LUNCH, "amount": ["1", "2"]}}, 400),
        ({"content": b"--", "headers": {"content-type": "multipart/form-data; boundary=cut"}}, 400),
    ],
    ids=["50 MB", "a list", "no type", "file", "unknown field", "repeated field", "broken multipart"],
)
def test_a_body_that_is_no_form_of_ours_is_refused(client: Client, budget: Budget, options: Any, status: int) -> None:
    """With a page or problem details, and nothing is written."""
    response = client.post(**options)
    assert response.status_code == status
    assert "Not saved" in words_of(response.text)
    options = {**options, "headers": {**options.get("headers", {}), **PROGRAM}}
    program = client.post(**options)
    assert (program.status_code, program.json()["title"]) == (status, "Not saved")
    assert budget.ledger.count_waiting() == 0


def test_a_ledger_that_fails_says_so_and_keeps_what_was_typed(
    client: Client, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, for a program as for a person."""

    def fail(*_: object) -> Any:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(type(budget.ledger), "add", fail)
    page = client.post(data=LUNCH)
    assert page.status_code == 503
    assert "The ledger did not take it: the disk is full. Nothing was written" in words_of(page.text)
    assert 'value="12,50"' in find_input(page, "amount")
    assert client.post(data=LUNCH, headers=PROGRAM).status_code == 503


def test_a_hundred_expenses_at_once_are_a_hundred_rows(client: Client, read_rows: ReadRows) -> None:
    """None is lost between those that come in together."""
    answers: list[httpx.Response] = []

    async def send_all() -> None:
        async with client.connect() as connection, anyio.create_task_group() as tasks:

            async def send(number: int) -> None:
                answers.append(await connection.post("/", data={**LUNCH, "id": f"n{number}", "note": str(number)}))

            for number in range(100):
                tasks.start_soon(send, number)

    anyio.run(send_all)
    assert {answer.status_code for answer in answers} == {303}
    assert sorted(int(row.note) for row in read_rows()) == list(range(100))


def test_rows_typed_by_hand_are_listed_but_not_changed_from_here(client: Client, budget: Budget) -> None:
    """They are the person's own."""
    client.post(data=LUNCH)
    settle(budget)
    with Path(budget.workbook.place).open("a", encoding="utf-8") as file:
        file.write("2025-11-24,3.10,Coffee,by hand,,\r\n")
    settle(budget)
    page = client.get()
    words = words_of(page.text)
    assert words.index("by hand") < words.index("Lunch")
    assert page.text.count("/remove") == 1


def test_the_shell_has_nothing_of_the_list(client: Client) -> None:
    """It stays on the phone, also when the phone is not let in any more."""
    client.post(data=LUNCH)
    shell = words_of(client.get("/shell").text)
    assert "Coffee" in shell
    assert "23 Nov" not in shell
