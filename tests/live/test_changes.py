"""A change of the files is in force in every worker process, on connections that were open before it."""

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from live.world import ANY_DEVICE, ASGI, LISTED, NOBODY, SECONDS, Line, Server, World, wait_for


@contextlib.contextmanager
def lines(server: Server, world: World, device: str = "device") -> Iterator[list[Line]]:
    """Open connections of one device, one to each worker."""
    opened = server.connect(world.client(device))
    try:
        yield opened
    finally:
        for line in opened:
            line.close()


def wait_for_all(opened: list[Line], status: int, path: str = "/") -> None:
    for line in opened:
        wait_for(partial(line.answers, status, path))


def test_a_policy_that_changes(server: Server, world: World) -> None:
    """Who was let in is refused on the connection that he has, and let in again when the rules say so."""
    with lines(server, world) as opened:
        wait_for_all(opened, 200)
        assert {line.ask()[1] for line in opened} == {line.worker for line in opened}
        world.allow(NOBODY)
        wait_for_all(opened, 403)
        world.allow()
        wait_for_all(opened, 200)


def test_a_device_that_leaves_the_list(server: Server, world: World) -> None:
    """access.toml is the same as before; the file that it names has lost a line."""
    world.allow(LISTED)
    with lines(server, world) as known, lines(server, world, "spare") as unknown:
        wait_for_all(known, 200)
        wait_for_all(unknown, 403)
        world.write("devices.txt", "Spare\n")
        wait_for_all(known, 403)
        wait_for_all(unknown, 200)


def test_a_certificate_that_is_revoked(server: Server, world: World) -> None:
    """Its next request is refused, whatever was remembered about it; another device of the CA notices nothing."""
    world.allow(crl=True)
    with lines(server, world) as revoked, lines(server, world, "spare") as others:
        wait_for_all([*revoked, *others], 200)
        world.withdraw(world.device)
        wait_for_all(revoked, 403)
        wait_for_all(others, 200)


def test_a_new_root(server: Server, world: World) -> None:
    """A device of the new CA comes in, through the TLS layer of `keyfob serve` too; without the CA it is out again."""
    assert not can_come_in(server, world)
    world.allow(second_root=True)
    wait_for(lambda: can_come_in(server, world))
    with lines(server, world) as opened, lines(server, world, "newcomer") as newcomers:
        wait_for_all([*opened, *newcomers], 200)
        world.allow()
        wait_for_all(newcomers, 403)
        wait_for_all(opened, 200)


def can_come_in(server: Server, world: World) -> bool:
    """Whether a device of the other CA gets through the TLS layer, and through the gate behind it."""
    try:
        line = Line(server.port, world.client("newcomer"))
    except OSError:
        return False
    try:
        return line.ask()[0] == 200
    finally:
        line.close()


def test_a_broken_file_and_its_mending(server: Server, world: World) -> None:
    """Every worker goes on by the old rules and says so, to health and the log, until the mistake is mended."""
    world.allow(NOBODY)
    with lines(server, world) as opened:
        wait_for_all(opened, 403)
        world.allow(ANY_DEVICE.replace("include", "inclde"))
        wait_for_all(opened, 503, "/health")
        assert all("inclde" in line.ask("/health")[1] for line in opened)
        assert all(line.ask()[0] == 403 for line in opened)
        world.allow()
        wait_for_all(opened, 200, "/health")
        wait_for_all(opened, 200)
    said = (world.folder / f"server-{server.port}.log").read_text()
    assert "the old state stays in force" in said


@pytest.mark.parametrize("name", ASGI)
def test_an_open_websocket_is_closed(server: Server, world: World) -> None:
    """With the code for a policy violation, whether its app looks at it or not; another device's stays open."""
    with (
        open_websocket(server, world, "device", "/echo") as leaving,
        open_websocket(server, world, "device", "/ignore") as ignored,
        open_websocket(server, world, "spare", "/echo") as staying,
    ):
        assert all(each.recv(SECONDS) for each in (leaving, ignored, staying))
        world.allow('decision = "non_identity", include = [{ common_name = { common_name = "Spare" } }]')
        for each in (leaving, ignored):
            with pytest.raises(ConnectionClosed) as caught:
                each.recv(SECONDS)
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "no-matching-policy")
        staying.send("still here")
        assert staying.recv(SECONDS) == "still here"


@contextlib.contextmanager
def open_websocket(server: Server, world: World, device: str, path: str) -> Iterator[ClientConnection]:
    """A WebSocket of one device, once the rules let it in."""
    with lines(server, world, device) as opened:
        wait_for_all(opened, 200)
    url = f"wss://localhost:{server.port}{path}"
    with connect(url, ssl=world.chatting_client(device), open_timeout=SECONDS, proxy=None) as websocket:
        yield websocket
