"""server.httptools: what somebody who has not been let in can make the server keep, and for how long."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from keyfob.pki.home import Home, open_home
from keyfob.server.httptools import LONGEST_HEAD, HTTPToolsProtocol
from servers import Running, environment, find_port, keyfob, make_client, running

# A server that waits for more is no such thing: that is a TimeoutError.
HUNG_UP = (ConnectionError, ssl.SSLError)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return open_home(tmp_path_factory.mktemp("head") / "home", ["localhost"])


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    (home.folder.parent / "hello.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "app = Starlette(routes=[Route('/', lambda request: PlainTextResponse('hello'), methods=['GET', 'POST'])])\n"
    )
    port = find_port()
    command = keyfob("serve", "hello:app", "--home", home.folder, "--port", str(port))
    with running(command, port, home.folder.parent, environment()) as server:
        yield server


def connect(server: Running, home: Home, *identity: Path) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    return make_client(home.authority, *identity).wrap_socket(plain, server_hostname="localhost")


def read_status(connection: ssl.SSLSocket) -> bytes:
    answer = connection.recv(65536)
    while answer.startswith(b"HTTP/1.1 200") and not answer.endswith(b"hello"):
        answer += connection.recv(65536)
    return answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "piece",
    [b"x" * 1000, b"x: y\r\n" * 200, b"\r\nx: " + b"y" * 500],
    ids=["one endless name or value", "endless headers", "many long headers"],
)
def test_an_endless_head_is_cut_off(server: Running, home: Home, piece: bytes) -> None:
    """A stranger cannot make the server keep more than LONGEST_HEAD bytes of a request that never begins."""
    with connect(server, home) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
        with suppress(*HUNG_UP):  # The server may do so while the rest is still on its way.
            for _ in range(LONGEST_HEAD // len(piece) + 200):
                connection.sendall(piece)
        try:
            status = read_status(connection)
        except HUNG_UP:
            return  # Before the answer could be read: cut off all the same.
        assert status in {b"HTTP/1.1 431 Request Header Fields Too Large", b""}


def test_a_long_head_is_answered(server: Running, home: Home) -> None:
    """Up to the limit: cookies can be long, and the limit counts one head, not a connection."""
    long = b"x: " + b"y" * (LONGEST_HEAD // 2)
    with connect(server, home, home.device, home.device_key) as connection:
        for _ in range(4):
            connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + long + b"\r\n\r\n")
            assert read_status(connection) == b"HTTP/1.1 200 OK"


def test_a_long_body_is_no_long_head(server: Running, home: Home) -> None:
    """What comes after the head is the app's own to limit."""
    body = b"z" * (3 * LONGEST_HEAD)
    with connect(server, home, home.device, home.device_key) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert read_status(connection) == b"HTTP/1.1 200 OK"


def end_of(connection: ssl.SSLSocket) -> bytes:
    """Everything that still comes, until the server hangs up."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except HUNG_UP:
        pass
    return received


@pytest.mark.parametrize("piece", [b"a:b\r\n" * 200, b"x" * 1000], ids=["endless trailers", "one endless trailer"])
def test_endless_trailers_are_cut_off(server: Running, home: Home, piece: bytes) -> None:
    """What follows a chunked body is bounded like a head."""
    with connect(server, home) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ")
        with suppress(*HUNG_UP):
            for _ in range(LONGEST_HEAD // len(piece) + 2000):
                connection.sendall(piece)
        end_of(connection)


def test_a_trailer_is_no_header(server: Running, home: Home) -> None:
    """A host that is named after the body was not named when the gate looked."""
    with connect(server, home, home.device, home.device_key) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nhost: localhost\r\n\r\n")
        assert read_status(connection) == b"HTTP/1.1 400 Bad Request"


def test_a_chunked_body_with_small_chunks_is_no_long_head(server: Running, home: Home) -> None:
    """Progress is progress, however small the pieces."""
    with connect(server, home, home.device, home.device_key) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"400\r\n" + b"z" * 1024 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert read_status(connection) == b"HTTP/1.1 200 OK"


UPGRADE = (
    b"GET %b HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%b\r\n%b"
)


@pytest.mark.parametrize(
    "handshake",
    [
        UPGRADE % (b"/", b"content-length: 6\r\n", b"x" * 6),
        UPGRADE % (b"/", b"transfer-encoding: chunked\r\n", b"0\r\n\r\n"),
        UPGRADE % (b"/", b"x: y\r\n" * 300, b""),
        UPGRADE % (b"/" + b"a" * 20_000, b"", b""),
    ],
    ids=["with a body", "with a chunked body", "many headers", "a long path"],
)
def test_a_handshake_that_cannot_be_read_is_answered(server: Running, home: Home, handshake: bytes) -> None:
    """With 400 and the end of the connection, so that it neither hangs nor trips the server when it stops."""
    with connect(server, home) as connection:
        connection.sendall(handshake)
        assert end_of(connection).startswith(b"HTTP/1.1 400 ")


def test_pipelined_requests_are_no_long_head(server: Running, home: Home) -> None:
    """A thousand small ones at once are a thousand heads."""
    request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with connect(server, home, home.device, home.device_key) as connection:
        connection.sendall(request * 3000 + b"GET / HTTP/1.1\r\nhost: ")
        answers = b""
        while answers.count(b"hello") < 3000:
            piece = connection.recv(1 << 20)
            assert piece, answers.count(b"hello")
            answers += piece
        assert b"431" not in answers
        connection.sendall(b"localhost\r\n\r\n")
        assert read_status(connection) == b"HTTP/1.1 200 OK"


class TestPatience:
    """How long a connection may stay without a whole request. The real wait is shortened for the test."""

    @pytest.fixture
    def port(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        monkeypatch.setattr("keyfob.server.httptools.PATIENCE", 0.2)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await asyncio.sleep(1)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"hello"})

        config = uvicorn.Config(app, http=HTTPToolsProtocol, ws="wsproto", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            yield int(listener.getsockname()[1])
            server.should_exit = True
            thread.join()

    @pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: localhost\r\n"])
    def test_half_a_request_does_not_hold_a_connection(self, port: int, said: bytes) -> None:
        """Nor does silence."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(said)
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
            assert connection.recv(65536) == b""

    def test_half_a_second_request_does_not_either(self, port: int) -> None:
        """A good first one buys nothing."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"hello" in connection.recv(65536)
            connection.sendall(b"GET / HT")
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
            assert connection.recv(65536) == b""

    def test_an_app_may_take_its_time(self, port: int) -> None:
        """The request is whole; what takes long is the answer."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("header", [b"content-length: 6\r\n", b"transfer-encoding: chunked\r\n"])
    def test_a_handshake_with_a_body_is_refused_whatever_library_would_read_it(self, port: int, header: bytes) -> None:
        """It is parsed twice, and the second parser is given no body: some would wait for one."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(UPGRADE % (b"/", header, b""))
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
            assert connection.recv(65536) == b""

    def test_the_end_of_a_body_is_no_half_a_request(self, port: int) -> None:
        """A chunked body's last bytes may come on their own, and the app take its time after them."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"POST /slow HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(0.05)
            connection.sendall(b"0\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
