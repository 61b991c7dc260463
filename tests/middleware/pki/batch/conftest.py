"""Registries for batches, in each of the two databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.pki.registry import Registry
from postgresql import fresh_database
from registries import make_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry whose inventory is a file."""
    made = make_registry(tmp_path / "home")
    yield made
    made.inventory.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def each_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry in each database."""
    if request.param == "sqlite":
        made = make_registry(tmp_path / "home")
        yield made
        made.inventory.close()
    else:
        with fresh_database() as url:
            made = make_registry(tmp_path / "home", inventory=url)
            yield made
            made.inventory.close()
