"""What holds for every address of the app, behind the real AccessMiddleware."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette

from budget_app.app import create_app
from budget_app.budget import Budget, open_budget
from budget_app.settings import Place, SettingsError
from budgets import Client, OpenDoor, words_of

STRICT = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; manifest-src 'self'; "
        "worker-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
PAGES = ["/", "/shell", "/entries", "/overview", "/devices", "/health"]
LUNCH = {"id": "lunch", "amount": "12,50", "category": "Eating out", "date": "2025-11-23", "note": "Lunch"}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_names_the_device(client: Client, path: str) -> None:
    """By the certificate alone."""
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "Rhea Group" in words_of(response.text)
    assert "style=" not in response.text


@pytest.mark.parametrize("name", [None, "_x0041_", "“Žofie” & <b>"])
def test_a_device_with_an_odd_name_or_none_is_named_too(
    open_door: OpenDoor, app: Starlette, budget: Budget, name: str | None
) -> None:
    """A certificate may carry any character."""
    shown = {None: "unnamed device", "_x0041_": "\ufffd"}.get(name, name)
    other = Client(open_door(app, name))
    assert str(shown) in words_of(other.get().text)
    assert other.post(data=LUNCH).status_code == 303
    found = budget.view.find("lunch")
    assert found is not None
    assert found.device == shown


@pytest.mark.parametrize("json_too", [False, True])
@pytest.mark.parametrize("path", [*PAGES, "/manifest.webmanifest", "/service-worker.js", "/static/budget.css"])
def test_without_a_door_in_front_nothing_is_answered(app: Starlette, path: str, json_too: bool) -> None:
    """A forgotten middleware shows nobody's expenses to anybody."""
    headers = {"accept": "application/json"} if json_too else {}
    response = Client(app).get(path, headers=headers)
    assert response.status_code == 500
    assert "The budget app has a fault" in words_of(response.text)
    assert STRICT.items() <= response.headers.items()
    assert response.headers["cache-control"] == "no-store"


def test_without_a_door_in_front_nothing_is_written(app: Starlette, budget: Budget) -> None:
    """Not even into the ledger."""
    assert Client(app).post(data=LUNCH).status_code == 500
    assert budget.ledger.find("lunch") is None


def test_other_paths_are_not_found(client: Client) -> None:
    """As a page that leads back, and as problem details for programs."""
    paths = ("/nope", "/favicon.ico", "/static", "/static/", "/static/nope.css", "/static/%2e%2e/app.py", "/entries/")
    for path in (*paths, "/entries/nobody", "/entries/a/b", "/shell/"):
        response = client.get(path)
        assert response.status_code == 404, path
        assert "Nothing here" in words_of(response.text)
        assert 'href="/"' in response.text
        program = client.get(path, headers={"accept": "application/json"})
        assert (program.status_code, program.headers["content-type"]) == (404, "application/problem+json")
        assert program.json()["title"] == "Nothing here"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    """The answer says which are."""
    response = client.request(method, "/")
    assert response.status_code == 405
    assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD", "POST"]
    assert "That does not work here" in words_of(response.text)


@pytest.mark.parametrize("path", ["/entries/a/remove", "/entries/a/undo"])
def test_what_changes_something_is_never_done_by_get(client: Client, path: str) -> None:
    """Browsers load links ahead, and mail programs open them."""
    assert client.get(path).status_code == 405


def test_head_is_answered_as_get_is(client: Client) -> None:
    """On every page."""
    assert {client.request("HEAD", path).status_code for path in PAGES} == {200}


def test_every_answer_has_strict_headers_and_no_page_is_kept(client: Client) -> None:
    """Neither by the browser nor by anything on the way."""
    answers = [
        *(client.get(path) for path in PAGES),
        client.get("/nope"),
        client.post(data=LUNCH),
        client.post(data={"amount": ""}),
        client.post(content=b"x"),
        client.request("PUT", "/"),
        client.post(data=LUNCH, headers={"origin": "null"}),
    ]
    assert [answer.status_code for answer in answers[len(PAGES) :]] == [404, 303, 422, 415, 405, 400]
    for answer in answers:
        assert STRICT.items() <= answer.headers.items()
        assert answer.headers["cache-control"] == "no-store"


def test_starting_opens_the_budget_and_says_where_the_workbook_is(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """And stopping closes it."""
    opened: list[Budget] = []

    def open_it() -> Budget:
        opened.append(open_budget(place))
        return opened[0]

    async def run() -> None:
        app = create_app(open_it)
        assert opened == []
        async with app.router.lifespan_context(app):
            assert opened[0].ledger.count_waiting() == 0

    anyio.run(run)
    assert capsys.readouterr() == ("", f"  workbook   {place.folder / 'budget.csv'}\n")
    assert opened[0].ledger.add("x", None, "").exception() is not None  # type: ignore[arg-type]


def test_a_workbook_that_cannot_be_used_is_no_reason_not_to_start(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expenses wait in the ledger, and whoever started it is told what to put right."""
    (place.folder / "budget.csv").mkdir()

    async def run() -> None:
        app = create_app(lambda: open_budget(place))
        async with app.router.lifespan_context(app):
            pass

    anyio.run(run)
    said = capsys.readouterr().err
    assert f"warning: {place.folder / 'budget.csv'} is a folder" in said
    assert "\nhint: " in said


def test_settings_that_cannot_be_used_are(place: Place) -> None:
    """Nothing is guessed at."""
    place.path.write_text('colour = "red"', encoding="utf-8")

    async def run() -> None:
        app = create_app(lambda: open_budget(place))
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(SettingsError, match="colour: is no setting"):
        anyio.run(run)


def test_importing_the_app_touches_no_file(tmp_path: Path) -> None:
    """Tools import it, too."""
    program = "import json, os, budget_app.app as app; print(json.dumps([type(app.app).__name__, os.listdir()]))"
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, root / "middleware")))}
    environ["KEYFOB_HOME"] = str(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, check=True)
    assert json.loads(done.stdout) == ["Starlette", []]
