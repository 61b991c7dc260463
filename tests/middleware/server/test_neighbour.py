"""server.neighbour: the enrolment port starts and stops with the app, asks nobody for a certificate, and sweeps."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.responses import PlainTextResponse
from uvicorn import Config

from certificates import Pair, make_authority, make_server
from keyfob.errors import PKIError, ServeError
from keyfob.server import neighbour as neighbour_module
from keyfob.server.neighbour import Crowd, Neighbour, find_room, find_sender, make_open_context
from keyfob.server.uvicorn import HTTPProtocol
from registries import make_registry


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority()


def shake_hands(context: ssl.SSLContext) -> bytes:
    """One handshake in memory, with a client that checks nothing; the certificate that it was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    client = anybody.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, authority: Pair) -> None:
    """The files are read for each connection; while they cannot be, the old ones go on."""
    first, second = make_server(authority), make_server(authority)
    files = first.write(tmp_path, "server")
    context = make_open_context(*files)
    assert shake_hands(context) == ssl.PEM_cert_to_DER_cert(first.pem)
    second.write(tmp_path, "server")
    assert shake_hands(context) == ssl.PEM_cert_to_DER_cert(second.pem)
    files[0].write_text("half of a fi", encoding="ascii")
    assert shake_hands(context) == ssl.PEM_cert_to_DER_cert(first.pem)


def test_a_context_asks_for_nothing(tmp_path: Path, authority: Pair) -> None:
    """And speaks TLS 1.2 at least."""
    context = make_open_context(*make_server(authority).write(tmp_path, "server"))
    assert context.verify_mode == ssl.CERT_NONE
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_files_that_are_no_pair_are_a_sentence(tmp_path: Path, authority: Pair) -> None:
    """Not a traceback."""
    certificate, _ = make_server(authority).write(tmp_path, "server")
    _, other = make_server(authority).write(tmp_path, "other")
    with pytest.raises(ServeError, match="cannot be used together"):
        make_open_context(certificate, other)


async def greet(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("here")(scope, receive, send)


def test_it_answers_when_it_has_started_and_is_gone_when_it_has_stopped(tmp_path: Path) -> None:
    """Within the same loop as the app."""

    async def live() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            with make_registry(tmp_path / "home").inventory as inventory:
                neighbour = Neighbour(Config(greet, lifespan="off", log_config=None), listener, inventory)
                await neighbour.start()
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert (await reader.read()).endswith(b"here")
                writer.close()
                await neighbour.stop()
            with pytest.raises(OSError, match=r"refused|Connect"):
                await asyncio.open_connection(*address)

    asyncio.run(live())


def test_an_inventory_that_is_away_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database may be restarted."""
    inventory = make_registry(tmp_path / "home").inventory

    def fail(*_: object) -> None:
        raise PKIError("the database is away")

    monkeypatch.setattr(inventory.invitations, "erase_lapsed", fail)

    async def live() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            neighbour = Neighbour(Config(greet, lifespan="off", log_config=None), listener, inventory)
            await neighbour.start()
            for _ in range(2000):
                if caplog.records:
                    break
                await asyncio.sleep(0.01)
            await neighbour.stop()

    with caplog.at_level(logging.ERROR, "keyfob.server"):
        asyncio.run(live())
    inventory.close()
    assert "the database is away" in caplog.text


async def wait_for_room(neighbour: Neighbour, open_still: int) -> None:
    for _ in range(3000):
        if len(neighbour._server._crowd) <= open_still:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a connection that has ended is still counted")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_connections_are_counted_before_the_handshake_and_until_their_end(
    tmp_path: Path, authority: Pair, monkeypatch: pytest.MonkeyPatch, loop: str, *, encrypted: bool
) -> None:
    """Those beyond the limit are closed at once; when the others have gone, there is room again."""
    monkeypatch.setattr(neighbour_module, "FROM_ONE_ADDRESS", 3)
    files = make_server(authority).write(tmp_path, "server")
    context = make_open_context(*files)
    tls: dict[str, Any] = {"ssl_certfile": files[0], "ssl_context_factory": lambda *_: context} if encrypted else {}
    config = Config(greet, http=HTTPProtocol, lifespan="off", log_config=None, **tls)
    anybody = ssl.create_default_context() if encrypted else None
    if anybody is not None:
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE

    async def live() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            with make_registry(tmp_path / "home").inventory as inventory:
                neighbour = Neighbour(config, listener, inventory)
                await neighbour.start()
                silent = [await asyncio.open_connection(*address) for _ in range(3)]
                reader, writer = await asyncio.open_connection(*address)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 30) == b""
                for _, each in [*silent, (reader, writer)]:
                    each.close()
                await wait_for_room(neighbour, 0)
                for _ in range(5):
                    await wait_for_room(neighbour, 2)
                    reader, writer = await asyncio.open_connection(*address, ssl=anybody)
                    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    answer = await asyncio.wait_for(reader.read(), 30)
                    assert b"connection: close" in answer.lower()
                    assert answer.endswith(b"here")
                    writer.close()
                await neighbour.stop()

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(live())


def test_never_more_than_a_quarter_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is the app's."""
    for soft, room in ((1024, 256), (400, 100), (1 << 20, 256), (resource.RLIM_INFINITY, 256)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert find_room() == room


def test_all_addresses_together_are_limited() -> None:
    """And one IPv6 network is one address."""
    crowd, pairs = Crowd(2), [socket.socketpair() for _ in range(3)]
    visits = [crowd.admit(here, (f"192.0.2.{number}", 1)) for number, (here, _) in enumerate(pairs)]
    assert [visit is not None for visit in visits] == [True, True, False]
    for visit in filter(None, visits):
        visit.close()
    assert len(crowd) == 0
    for _, there in pairs:
        there.close()
    assert find_sender(("2001:db8::1", 1, 0, 0)) == find_sender(("2001:db8::2", 1, 0, 0))
    assert find_sender(("::ffff:192.0.2.1", 1, 0, 0)) == find_sender(("192.0.2.1", 1))
