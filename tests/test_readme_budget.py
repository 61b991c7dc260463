"""The README's words on the budget app: its settings are read, its addresses answer, and every setting has a row."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from starlette.routing import Route

from budget_app.app import app
from budget_app.settings import Category, CsvSettings, GoogleSettings, Place, Settings, XlsxSettings, read_settings
from servers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## The budget\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)


def test_there_are_settings_to_read() -> None:
    """Or the test below would hold of nothing."""
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("block", BLOCKS)
def test_the_settings_are_read_as_they_stand(tmp_path: Path, block: str) -> None:
    """No word in them is unknown to the app."""
    place = Place(tmp_path / "budget.toml")
    place.path.write_text(block, encoding="utf-8")
    named = read_settings(place).model_dump(exclude_unset=True)
    assert set(tomllib.loads(block)) == set(named)


def list_settings() -> list[str]:
    """Every setting by the name that its row has."""
    named = [name for name in Settings.model_fields if name != "workbook"]
    kinds: tuple[type[BaseModel], ...] = (XlsxSettings, CsvSettings, GoogleSettings)
    return named + sorted({f"workbook.{name}" for kind in kinds for name in kind.model_fields})


@pytest.mark.parametrize("name", list_settings())
def test_every_setting_has_a_row(name: str) -> None:
    """In the first column of the table."""
    firsts = [line.split("|")[1] for line in SECTION.splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in first for first in firsts)


def test_a_categorys_own_settings_are_named() -> None:
    """In the row of the categories."""
    row = next(line for line in SECTION.splitlines() if line.startswith("| `categories`"))
    assert all(f"`{name}`" in row for name in Category.model_fields)


@pytest.mark.parametrize(
    "route", [route for route in app.routes if isinstance(route, Route)], ids=lambda route: route.path
)
def test_every_address_has_a_row(route: Route) -> None:
    """But for those that only a page of the app itself asks for."""
    if route.path in {"/shell", "/manifest.webmanifest", "/service-worker.js"}:
        return
    path = route.path.replace("{entry_id}", "ID")
    rows = [line.split("|")[1] for line in SECTION.splitlines() if line.startswith(("| `GET", "| `POST"))]
    assert any(f" {path}`" in row or f"`{path.removeprefix('/entries/ID')}`" in row for row in rows)
