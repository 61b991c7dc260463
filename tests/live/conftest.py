"""Each server is started once, and every test writes the rules that it begins with."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from live.world import COMMANDS, Server, World, make_world, start


class Stage:
    """The servers that run, each with a world of its own."""

    def __init__(self, factory: pytest.TempPathFactory, stack: ExitStack) -> None:
        self._factory, self._stack = factory, stack
        self._running: dict[str, tuple[Server, World]] = {}

    def find(self, name: str) -> tuple[Server, World]:
        if name not in self._running:
            world = make_world(self._factory.mktemp("live"))
            process, server = start(name, world)
            self._stack.enter_context(process)
            self._running[name] = server, world
        return self._running[name]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path_factory, stack)


@pytest.fixture(params=COMMANDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def setting(stage: Stage, name: str) -> tuple[Server, World]:
    return stage.find(name)


@pytest.fixture
def server(setting: tuple[Server, World]) -> Server:
    return setting[0]


@pytest.fixture
def world(setting: tuple[Server, World]) -> World:
    world = setting[1]
    world.withdraw()
    world.write("devices.txt", "Rhea Group\n")
    world.allow()
    return world
