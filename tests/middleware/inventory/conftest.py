"""An empty inventory in each of the two databases: every test that asks for one runs twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.inventory import Inventory, database, open_inventory
from postgresql import fresh_database


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for an inventory, where nothing is yet."""
    if request.param == "sqlite":
        # As the server of postgresql.py has it, too: nobody pulls the plug, and the tests take a fifth of the time.
        hurried = [each.replace("= FULL", "= OFF") for each in database._PRAGMAS]
        monkeypatch.setattr(database, "_PRAGMAS", hurried)
        yield str(tmp_path / "inventory.db")
    else:
        with fresh_database() as url:
            yield url


@pytest.fixture
def inventory(where: str) -> Iterator[Inventory]:
    """An empty inventory."""
    with open_inventory(where, create=True) as opened:
        yield opened
