"""What the app answers, behind the real AccessMiddleware."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from openpyxl import load_workbook

from budget_app import app as module
from budget_app.app import create_app
from budget_app.workbook import ExpenseWorkbook, WorkbookError

from .conftest import Client, OpenDoor, ReadSheet

LUNCH = {"amount": "12,50", "category": "Eating out", "date": "2025-11-23", "note": "Lunch"}
LUNCH_ROW = [date(2025, 11, 23), 12.5, "Eating out", "Lunch", "Rhea Group"]
STRICT = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; img-src 'self' data:; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


def text_of(response: httpx.Response) -> str:
    """The words of a page, without its tags."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.text)))


def attributes(response: httpx.Response, field: str) -> str:
    """The tag of the input named `field`."""
    found = re.search(rf'<input id="{field}"[^>]*>', response.text)
    assert found is not None
    return unescape(found[0])


def test_the_page_names_the_device_and_asks_for_an_expense(client: Client) -> None:
    response = client.get()
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "This device: Rhea Group" in text_of(response)
    amount = attributes(response, "amount")
    assert all(part in amount for part in ('inputmode="decimal"', "enterkeyhint=", 'autocomplete="off"', "autofocus"))
    assert f'value="{datetime.now(UTC).astimezone().date()}"' in attributes(response, "date")
    assert "Nothing yet" in text_of(response)
    assert "<script" not in response.text
    assert "style=" not in response.text


@pytest.mark.parametrize("name", [None, "_x0041_", "“Žofie” & <b>"])
def test_a_device_with_an_odd_name_or_none_is_named_too(
    open_door: OpenDoor, client: Client, workbook_path: Path, name: str | None
) -> None:
    shown = {None: "unnamed device", "_x0041_": "\ufffd"}.get(name, name)
    other = Client(open_door(create_app(workbook_path), name))
    assert f"This device: {shown}" in text_of(other.get())
    assert other.post(data=LUNCH).status_code == 303
    assert ExpenseWorkbook(workbook_path).rows()[0].device == shown


def test_without_a_door_in_front_nothing_is_shown_or_written(client: Client, workbook_path: Path) -> None:
    bare = Client(create_app(workbook_path))
    for response in (bare.get(), bare.post(data=LUNCH)):
        assert response.status_code == 500
        assert "The budget app has a fault" in text_of(response)
        assert STRICT.items() <= response.headers.items()
        assert response.headers["cache-control"] == "no-store"
    assert not workbook_path.exists()


def test_an_expense_is_in_the_workbook_when_the_answer_comes(client: Client, read_sheet: ReadSheet) -> None:
    response = client.post(data=LUNCH)
    assert (response.status_code, response.headers["location"]) == (303, "/?added=2")
    assert read_sheet() == [LUNCH_ROW]
    page = client.get("/?added=2")
    assert re.search(r'role="status">.*?Added <strong>12.50</strong> for', page.text, re.DOTALL)
    assert "Eating out 12.50" in re.sub(r"Amount ", "", text_of(page))


def test_a_multipart_form_works_as_well(client: Client, read_sheet: ReadSheet) -> None:
    fields = {name: (None, value) for name, value in LUNCH.items()}
    assert client.post(files=fields).status_code == 303
    assert read_sheet() == [LUNCH_ROW]


def test_a_program_may_leave_out_the_date_and_the_note(client: Client, read_sheet: ReadSheet) -> None:
    assert client.post(data={"amount": "1", "category": "Home"}).status_code == 303
    assert read_sheet() == [[datetime.now(UTC).astimezone().date(), 1.0, "Home", "", "Rhea Group"]]


def test_a_button_tapped_twice_makes_one_row(client: Client, read_sheet: ReadSheet) -> None:
    found = re.search(r'name="submission" value="([^"]+)"', client.get().text)
    assert found is not None
    form = {**LUNCH, "submission": found[1]}
    assert [client.post(data=form).headers["location"] for _ in range(2)] == ["/?added=2"] * 2
    assert read_sheet() == [LUNCH_ROW]
    assert found[1] not in client.get().text


@pytest.mark.parametrize("number", ["1", "3", "02", "-1", "x", "<b>", "²"])
def test_a_row_number_that_is_none_says_nothing(client: Client, number: str) -> None:
    client.post(data=LUNCH)
    response = client.get("/", params={"added": number})
    assert response.status_code == 200
    assert 'role="status"' not in response.text


def test_bad_input_is_kept_explained_and_not_written(client: Client, read_sheet: ReadSheet) -> None:
    client.post(data=LUNCH)
    typed = {"amount": "1,234", "category": "", "date": "2025-02-30", "note": 'a "kept" <note>'}
    response = client.post(data=typed)
    assert response.status_code == 422
    for name, value in typed.items():
        assert f'value="{value}"' in attributes(response, name)
    for name in ("amount", "category", "date"):
        assert f'aria-invalid="true" aria-describedby="{name}-message"' in attributes(response, name)
        assert f'id="{name}-message"' in response.text
        assert f'<a href="#{name}">' in response.text
    assert "aria-invalid" not in attributes(response, "note")
    assert "autofocus" in attributes(response, "amount")
    assert response.text.count("autofocus") == 1
    assert "“1,234” is ambiguous" in text_of(response)
    assert 'role="alert"' in response.text
    assert "Lunch" in text_of(response)
    assert read_sheet() == [LUNCH_ROW]


def test_the_first_bad_field_has_the_focus(client: Client) -> None:
    response = client.post(data={**LUNCH, "note": "two\nlines"})
    assert response.status_code == 422
    assert "one line of plain text" in text_of(response)
    assert "autofocus" in attributes(response, "note")
    assert "autofocus" not in attributes(response, "amount")


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "#N/A", "'a", "<script>alert(1)</script>", "עברית", "a & b"]
)
def test_text_is_shown_and_kept_as_typed(client: Client, read_sheet: ReadSheet, text: str) -> None:
    assert client.post(data={**LUNCH, "category": text, "note": text}).status_code == 303
    assert read_sheet()[0][2:4] == [text, text]
    assert f"<bdi>{text}</bdi>" in unescape(client.get().text)
    assert "<script" not in client.get().text


def test_the_last_ten_rows_are_listed_newest_first_also_those_typed_by_hand(
    client: Client, workbook_path: Path
) -> None:
    for number in range(9):
        client.post(data={**LUNCH, "note": f"note {number}"})
    book = load_workbook(workbook_path)
    book["Expenses"].append(["someday", "about ten", 2024, "by hand", None])
    book["Expenses"].append([None, None, None, "only a note", None])
    book.save(workbook_path)
    words = text_of(client.get())
    places = [words.index(part) for part in ("only a note", "by hand", "note 8", "note 7", "note 1")]
    assert places == sorted(places)
    assert "note 0" not in words
    assert all(part in words for part in ("someday", "about ten", "2024", "No category", "No date"))


def test_categories_in_use_are_suggested_before_those_to_start_with(client: Client) -> None:
    for category in ("Bicycle", "groceries", "Bicycle"):
        client.post(data={**LUNCH, "category": category})
    suggested = re.findall(r'<option value="([^"]+)">', client.get().text)
    assert suggested[:4] == ["Bicycle", "groceries", "Eating out", "Transport"]


def test_twenty_expenses_at_once_are_twenty_rows(client: Client, read_sheet: ReadSheet) -> None:
    answers: list[httpx.Response] = []

    async def send_all() -> None:
        async with client.connect() as connection, anyio.create_task_group() as tasks:

            async def send(number: int) -> None:
                answers.append(await connection.post("/", data={**LUNCH, "note": f"note {number}"}))

            for number in range(20):
                tasks.start_soon(send, number)

    anyio.run(send_all)
    assert {answer.status_code for answer in answers} == {303}
    assert {answer.headers["location"] for answer in answers} == {f"/?added={row}" for row in range(2, 22)}
    assert sorted(str(row[3]) for row in read_sheet()) == sorted(f"note {number}" for number in range(20))


def test_the_event_loop_runs_on_while_a_row_is_written(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    released = anyio.Event
    finished: list[str] = []

    async def send_both() -> None:
        written = released()
        append = ExpenseWorkbook.append

        def append_late(*args: Any) -> int:
            anyio.from_thread.run(written.wait)
            return append(*args)

        monkeypatch.setattr(ExpenseWorkbook, "append", append_late)
        async with client.connect() as connection, anyio.create_task_group() as tasks:

            async def post() -> None:
                await connection.post("/", data=LUNCH)
                finished.append("post")

            tasks.start_soon(post)
            await connection.get("/")
            finished.append("get")
            written.set()

    anyio.run(send_both)
    assert finished == ["get", "post"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://money.example.com"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "https://money.example.com"},
        [("origin", "https://money.example.com"), ("origin", "https://money.example.com")],
    ],
    ids=str,
)
def test_a_form_from_another_site_is_refused_with_a_page_that_safari_shows(
    client: Client, workbook_path: Path, headers: Any
) -> None:
    response = client.post(data=LUNCH, headers=headers)
    assert response.status_code == 400
    assert "This form was sent from another site; nothing was written." in text_of(response)
    assert not workbook_path.exists()


def test_a_form_from_this_site_is_taken(client: Client) -> None:
    headers = {"origin": "https://money.example.com", "sec-fetch-site": "same-origin"}
    assert client.post(data=LUNCH, headers=headers).status_code == 303


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": {**LUNCH, "note": "a" * 17_000}}, 413),
        ({"json": LUNCH}, 415),
        ({"content": b"amount=4"}, 415),
        ({"files": {"note": ("a.txt", b"a")}}, 400),
        ({"data": {**LUNCH, "colour": "red"}}, 400),
        ({"data": {**LUNCH, "amount": ["1", "2"]}}, 400),
        ({"content": b"--", "headers": {"content-type": "multipart/form-data; boundary=cut"}}, 400),
    ],
    ids=["too long", "json", "no type", "file", "unknown field", "repeated field", "broken multipart"],
)
def test_a_body_that_is_no_form_of_ours_is_refused_with_a_page(
    client: Client, workbook_path: Path, options: Any, status: int
) -> None:
    response = client.post(**options)
    assert response.status_code == status
    assert "Nothing was written. Back to the budget" in text_of(response)
    assert not workbook_path.exists()


def test_a_workbook_that_cannot_be_used_is_explained_and_what_was_typed_is_kept(
    client: Client, workbook_path: Path
) -> None:
    workbook_path.write_bytes(b"junk")
    page = client.get()
    assert page.status_code == 503
    assert "The workbook cannot be used" in text_of(page)
    response = client.post(data=LUNCH)
    assert response.status_code == 503
    words = text_of(response)
    assert f"{workbook_path} is damaged, encrypted or not an .xlsx workbook." in words
    assert "To put this right, open it in a spreadsheet program" in words
    assert "What you typed is still here." in words
    for name, value in LUNCH.items():
        assert f'value="{value}"' in attributes(response, name)
    assert client.post(data={**LUNCH, "amount": "x"}).status_code == 503
    assert workbook_path.read_bytes() == b"junk"


def test_other_paths_are_not_found(client: Client) -> None:
    for path in ("/nope", "/favicon.ico", "/static", "/static/", "/static/nope.css", "/static/%2e%2e/app.py"):
        response = client.get(path)
        assert response.status_code == 404
        assert "Nothing here" in text_of(response)
        assert 'href="/"' in response.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    response = client.request(method, "/")
    assert response.status_code == 405
    assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD", "POST"]
    assert "That does not work here" in text_of(response)


def test_head_is_answered_as_get_is(client: Client) -> None:
    assert client.request("HEAD", "/").status_code == 200


def test_every_answer_has_strict_headers_and_no_page_is_kept(client: Client) -> None:
    answers = [
        client.get(),
        client.get("/nope"),
        client.post(data=LUNCH),
        client.post(data={"amount": ""}),
        client.post(json={}),
        client.request("PUT", "/"),
        client.post(data=LUNCH, headers={"origin": "null"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 303, 422, 415, 405, 400]
    for answer in answers:
        assert STRICT.items() <= answer.headers.items()
        assert answer.headers["cache-control"] == "no-store"


def test_the_style_is_served_and_asked_for_again(client: Client) -> None:
    response = client.get("/static/budget.css")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/css")
    assert response.headers["cache-control"] == "no-cache"
    assert STRICT.items() <= response.headers.items()
    again = client.get("/static/budget.css", headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304


def start(path: Path) -> None:
    async def run() -> None:
        app = create_app(path)
        async with app.router.lifespan_context(app):
            pass

    anyio.run(run)


def test_starting_makes_the_workbook_and_says_where_it_is(
    workbook_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(workbook_path)
    assert ExpenseWorkbook(workbook_path).rows() == ()
    assert capsys.readouterr() == ("", f"  workbook   {workbook_path}\n")


def test_starting_fails_where_the_workbook_cannot_be_used(workbook_path: Path) -> None:
    workbook_path.mkdir()
    with pytest.raises(WorkbookError, match=f"{workbook_path} is a folder.*; hint: move it away"):
        start(workbook_path)


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"BUDGET_WORKBOOK": "/a/money.xlsx", "KEYFOB_HOME": "/b"}, "/a/money.xlsx"),
        ({"BUDGET_WORKBOOK": "", "KEYFOB_HOME": "/b"}, "/b/budget.xlsx"),
        ({"KEYFOB_HOME": ""}, ".keyfob/budget.xlsx"),
        ({}, ".keyfob/budget.xlsx"),
    ],
)
def test_the_environment_says_where_the_workbook_is(environ: dict[str, str], path: str) -> None:
    assert module._workbook_path(environ) == Path(path)


def test_importing_the_app_touches_no_file(tmp_path: Path) -> None:
    program = "import json, os, budget_app.app as app; print(json.dumps([type(app.app).__name__, os.listdir()]))"
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, root / "middleware")))}
    environ.pop("BUDGET_WORKBOOK", None)
    environ["KEYFOB_HOME"] = str(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, check=True)
    assert json.loads(done.stdout) == ["Starlette", []]
