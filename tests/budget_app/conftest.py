"""A throwaway certificate authority, the real door in front of the app, and a budget in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from budget_app.app import create_app
from budget_app.budget import Budget, open_budget
from budget_app.settings import Place
from budget_app.workbooks.workbook import Row
from budgets import Client, Handshake, OpenDoor, ReadRows, settle
from certificates import Pair, make_authority, make_leaf, make_name
from keyfob import AccessMiddleware

# Amounts and days can be read from it as they are, and it is quick to write.
SETTINGS = """
time_zone = "Europe/Lisbon"
language = "en"

[workbook]
kind = "csv"

[[categories]]
name = "Groceries"
budget = 400

[[categories]]
name = "Coffee"

[[categories]]
name = "Eating out"
budget = 100.5
"""


@pytest.fixture(scope="session")
def authority() -> Pair:
    return make_authority("Money App Test")


@pytest.fixture(scope="session")
def open_door(authority: Pair, tmp_path_factory: pytest.TempPathFactory) -> OpenDoor:
    """Puts the real AccessMiddleware before an app, and in front of it the handshake of the named device."""
    roots, _ = authority.write(tmp_path_factory.mktemp("authority"), "ca")

    def build(app: ASGIApp, device: str | None = "Rhea Group") -> ASGIApp:
        name = make_name(organization_name="Nobody") if device is None else make_name(device)
        return Handshake(AccessMiddleware(app, roots=roots), [make_leaf(authority, name).pem])

    return build


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The settings above, in a folder of their own."""
    place = Place(tmp_path / "budget.toml")
    place.path.write_text(SETTINGS, encoding="utf-8")
    return place


@pytest.fixture
def budget(place: Place) -> Iterator[Budget]:
    """A budget that runs, with nothing in it."""
    budget = open_budget(place)
    yield budget
    budget.close()


@pytest.fixture
def app(budget: Budget) -> Starlette:
    """The app as it is once it has started."""
    app = create_app(lambda: budget)
    app.state.budget = budget
    return app


@pytest.fixture
def client(app: Starlette, open_door: OpenDoor) -> Client:
    """The device “Rhea Group” at the app behind its door."""
    return Client(open_door(app))


@pytest.fixture
def read_rows(budget: Budget) -> ReadRows:
    """The rows of the workbook, once everything is in it."""

    def read() -> tuple[Row, ...]:
        settle(budget)
        return budget.workbook.read().rows

    return read
