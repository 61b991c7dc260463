"""Keys, gates and servers that the modules here share: each is made, or started, once."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from servers_asgi.keys import Keys, make_keys
from servers_asgi.starting import Fleet


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def fleet(keys: Keys) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(keys.folder, stack)
