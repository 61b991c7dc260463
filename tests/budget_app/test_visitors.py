"""Who is named on pages and beside entries, where people and scripts come in beside devices, by the real door."""

import hashlib

import pytest
from starlette.applications import Starlette

from budget_app.budget import Budget
from budgets import Client, Handshake, words_of
from certificates import Pair
from keyfob import AccessMiddleware
from keyfob.login.book import TokenRecord
from keyfob.policy import User
from logins import (
    ASGI,
    CERTIFICATE,
    EVERYONE,
    FOREVER,
    ME,
    PHONE,
    Browser,
    Stub,
    build,
    make_application,
    make_book,
    make_policy,
    write_pair,
)

SECRET = "s" * 43
SCRIPT = TokenRecord("id-1", "Nightly import", hashlib.sha256(SECRET.encode("ascii")).digest(), FOREVER)
PAGES = ["/", "/shell", "/entries", "/overview", "/devices", "/health"]
LUNCH = {"id": "lunch", "amount": "12,50", "category": "Eating out", "date": "2025-11-23"}
LEAVE = 'href="/.keyfob/logout?to=/"'
JSON = {"accept": "application/json"}


class Doorstep:
    """The app behind a door that opens to devices, to scripts and to one person."""

    def __init__(self, app: Starlette, user: User = ME) -> None:
        script = make_policy("non_identity", {"any_valid_service_token": {}})
        device, person = make_policy("non_identity", CERTIFICATE), make_policy("allow", EVERYONE)
        book = make_book(tokens=[SCRIPT])
        self.house = build(make_application(script, device, person), book=book, providers=[Stub(user=user)])
        self._app = app

    def come(self, leaf: Pair | None = None) -> Client:
        """A browser, with this certificate or none."""
        return Client(Handshake(AccessMiddleware(self._app, gate=self.house.gate), [leaf.pem] if leaf else []))

    def log_in(self, leaf: Pair | None = None) -> dict[str, str]:
        """What a browser sends once somebody has logged in with it."""
        browser = Browser(ASGI(self.house.gate), leaf)
        state = browser.begin("/.keyfob/login?to=/")
        assert browser.come_back(state).status == 303
        return {"cookie": "; ".join(f"{name}={value}" for name, value in browser.jar.items())}


def find_device(budget: Budget, entry_id: str = "lunch") -> str:
    item = budget.view.find(entry_id)
    assert item is not None
    return item.device


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_who_has_logged_in_and_where_to_log_out(app: Starlette, path: str) -> None:
    """By the address; and no device is named that has shown no key."""
    door = Doorstep(app)
    page = door.come().get(path, headers=door.log_in()).text
    assert f"Logged in as {ME.email}" in words_of(page)
    assert LEAVE in page
    assert "This device:" not in words_of(page)


@pytest.mark.parametrize("path", PAGES)
def test_a_device_has_nothing_to_log_out_of(app: Starlette, path: str) -> None:
    """Its pages are as they were before there were logins."""
    page = Doorstep(app).come(PHONE).get(path).text
    assert "This device: Rhea Group" in words_of(page)
    assert "Logged in" not in words_of(page)
    assert LEAVE not in page


def test_without_a_certificate_the_entry_is_the_persons(app: Starlette, budget: Budget) -> None:
    """The page of devices knows it for the one who looks."""
    door = Doorstep(app)
    session = door.log_in()
    assert door.come().post(data=LUNCH, headers=session).status_code == 303
    assert find_device(budget) == ME.email
    assert f"{ME.email} you" in words_of(door.come().get("/devices", headers=session).text)
    assert f"{ME.email} you" not in words_of(door.come(PHONE).get("/devices").text)


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        (User("", "stub", subject="7", name="“Žofie” & <b>"), "“Žofie” & <b>"),
        (User("", "stub", subject="7", name="_x0041_"), "\ufffd"),
        (User("", "stub", subject="7"), "7"),
    ],
)
def test_a_person_without_an_address_is_named_as_the_provider_does(
    app: Starlette, budget: Budget, user: User, shown: str
) -> None:
    """A provider may tell any character, as a certificate may carry any."""
    door = Doorstep(app, user)
    session = door.log_in()
    assert f"Logged in as {shown}" in words_of(door.come().get(headers=session).text)
    assert door.come().post(data=LUNCH, headers=session).status_code == 303
    assert find_device(budget) == shown


def test_with_both_the_entry_is_the_devices_and_the_page_names_both(app: Starlette, budget: Budget) -> None:
    """One phone is one name in the workbook, whether its person has logged in on it or not."""
    house = build(make_application(make_policy("allow", EVERYONE, require=[CERTIFICATE])))
    door = Doorstep(app)
    door.house = house
    session = door.log_in(PHONE)
    page = words_of(door.come(PHONE).get(headers=session).text)
    assert "This device: Rhea Group" in page
    assert f"Logged in as {ME.email}" in page
    assert door.come(PHONE).post(data=LUNCH, headers=session).status_code == 303
    assert find_device(budget) == "Rhea Group"


def test_a_scripts_entry_has_the_name_of_its_token(app: Starlette, budget: Budget) -> None:
    """Nobody has logged in, so nobody can log out."""
    client, pair = Doorstep(app).come(), dict(write_pair("id-1", SECRET))
    assert client.post(json=LUNCH, headers={**pair, **JSON}).status_code == 201
    assert find_device(budget) == "Nightly import"
    page = client.get(headers=pair).text
    assert LEAVE not in page
    assert "Nightly import" in words_of(page)


def test_where_anybody_is_let_in_nobody_is_named(app: Starlette, budget: Budget) -> None:
    """A rule for everybody is still a rule, and the door has looked."""
    door = Doorstep(app)
    door.house = build(make_application(make_policy("bypass", EVERYONE)))
    assert door.come().post(data=LUNCH).status_code == 303
    assert find_device(budget) == "unnamed device"
    assert LEAVE not in door.come().get().text


def test_a_send_that_meets_an_expired_session_is_told_where_to_log_in(app: Starlette, budget: Budget) -> None:
    """Nothing is written; the same entry, sent after the login and once more, is there once."""
    door = Doorstep(app)
    answer = door.come().post(data=LUNCH, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["login"] == "https://money.example.com/.keyfob/login?to=%2F"
    assert budget.ledger.find("lunch") is None
    session = door.log_in()
    sent = [door.come().post(data=LUNCH, headers={**JSON, **session}).status_code for _ in range(2)]
    assert sent == [201, 200]
    assert len([item for item in budget.view.latest(10) if item.entry_id == "lunch"]) == 1
