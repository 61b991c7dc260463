"""server.uvicorn: how long a request's head may grow before anybody has been let in."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from keyfob.pki import Home, open_home
from keyfob.server.uvicorn import LONGEST_HEAD
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
