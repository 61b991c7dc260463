"""server.transport: what one turn of the event loop says goes out as one, and nothing is late, lost or unbounded."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.pki.home import Home, open_home
from keyfob.server.transport import LONGEST_WAIT, GatheringTransport
from servers import Running, environment, find_port, keyfob, make_client, running


class Wire(asyncio.Transport):
    """A transport that notes what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.said.append("pause")

    def resume_reading(self) -> None: ...
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class TestGathering:
    """On a loop of its own, with a wire that notes what reaches it."""

    @staticmethod
    def run(script: Any) -> Wire:
        wire = Wire()

        async def turn() -> None:
            script(GatheringTransport(wire, asyncio.get_running_loop()))
            await asyncio.sleep(0)

        asyncio.run(turn())
        return wire

    def test_what_is_written_in_one_turn_goes_out_as_one(self) -> None:
        """In its order."""
        assert self.run(lambda out: [out.write(b"head "), out.write(b"body")]).said == [b"head body"]

    def test_each_turn_is_its_own(self) -> None:
        """Nothing is held for longer than the turn in which it was written."""

        async def turns() -> list[Any]:
            wire = Wire()
            out = GatheringTransport(wire, asyncio.get_running_loop())
            for word in (b"one", b"two"):
                out.write(word)
                assert wire.said[-1:] != [word]
                await asyncio.sleep(0)
                assert wire.said[-1] == word
            return wire.said

        assert asyncio.run(turns()) == [b"one", b"two"]

    def test_much_goes_out_at_once(self) -> None:
        """So that the real transport can say stop: an app that never waits must not fill the memory."""
        wire = Wire()

        async def turn() -> None:
            out = GatheringTransport(wire, asyncio.get_running_loop())
            for _ in range(100):
                out.write(b"x" * 1000)
            assert sum(map(len, wire.said)) >= 100_000 - LONGEST_WAIT

        asyncio.run(turn())

    def test_closing_sends_what_is_held_first(self) -> None:
        """The last answer on a connection is an answer, too."""
        wire = self.run(lambda out: [out.write(b"goodbye"), out.close()])
        assert (wire.said, wire.closed) == ([b"goodbye"], True)

    def test_aborting_drops_what_is_held(self) -> None:
        """As it does with everything else."""
        wire = self.run(lambda out: [out.write(b"too late"), out.abort()])
        assert (wire.said, wire.closed) == ([], True)

    def test_a_connection_that_went_away_is_not_written_to(self) -> None:
        """asyncio would warn of it."""
        wire = Wire()

        async def turn() -> None:
            GatheringTransport(wire, asyncio.get_running_loop()).write(b"anybody there?")
            wire.closed = True
            await asyncio.sleep(0)

        asyncio.run(turn())
        assert wire.said == []

    def test_the_rest_is_the_real_transports(self) -> None:
        """Flow control and addresses are asked of it."""
        wire = self.run(lambda out: out.pause_reading())
        assert wire.said == ["pause"]

        async def ask() -> tuple[bool, bool]:
            out = GatheringTransport(wire, asyncio.get_running_loop())
            return out.is_closing(), out.can_write_eof()

        assert asyncio.run(ask()) == (False, False)


APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/events":
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    for _ in range(2000):
        await send({"type": "http.response.body", "body": b"x" * 16384, "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return open_home(tmp_path_factory.mktemp("transport") / "home", ["localhost"])


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    (home.folder.parent / "streams.py").write_text(APP, encoding="utf-8")
    port = find_port()
    command = keyfob("serve", "streams:app", "--home", home.folder, "--port", str(port))
    with running(command, port, home.folder.parent, environment()) as server:
        yield server


def get(server: Running, home: Home, path: str) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    context = make_client(home.authority, home.device, home.device_key)
    connection = context.wrap_socket(plain, server_hostname="localhost")
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return connection


def test_a_streams_first_event_is_not_late(server: Running, home: Home) -> None:
    """Head and first event arrive while the app is still waiting."""
    with get(server, home, "/events") as connection:
        received = b""
        while b"first" not in received:
            received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 200")


def memory_of(server: Running) -> int:
    """Resident bytes."""
    [line] = [line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, for /proc")
def test_a_reader_who_does_not_read_fills_no_memory(server: Running, home: Home) -> None:
    """32 MiB for somebody who takes his time: the app waits, not the memory. And all of it arrives in the end."""
    before = memory_of(server)
    with get(server, home, "/much") as connection:
        received = connection.recv(10)
        assert memory_of(server) - before < 16 * 1024 * 1024
        total, tail = len(received), b""
        while b"end\r\n0\r\n" not in tail:
            piece = connection.recv(1 << 20)
            assert piece
            total, tail = total + len(piece), tail[-20:] + piece[-200:]
    assert total > 2000 * 16384
