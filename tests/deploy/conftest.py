"""The world of the deployment tests: made once, and shared by all of them."""

import pytest

from deploy.identities import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An authority, a server's certificate, and a device for every kind of certificate."""
    return make_world(tmp_path_factory.mktemp("world"))
