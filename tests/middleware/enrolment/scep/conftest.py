"""One registry for all tests of SCEP; each of them takes a name of its own."""

import itertools
from collections.abc import Iterator

import pytest

from keyfob.enrolment.scep.responder import Responder
from keyfob.pki.authority import Issued
from keyfob.pki.ra import open_ra
from keyfob.pki.registry import Registry
from registries import make_registry

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = make_registry(tmp_path_factory.mktemp("scep") / "home")
    with registry.inventory:
        yield registry


@pytest.fixture(scope="session")
def ra(registry: Registry) -> Issued:
    return open_ra(registry)


@pytest.fixture
def responder(registry: Registry) -> Responder:
    return Responder(registry)


@pytest.fixture
def name() -> str:
    return f"Phone {next(_numbers)}"
