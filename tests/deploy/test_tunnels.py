"""A request that would make the proxy a mere wire: what comes after it would be the client's own words to the app.

`Upgrade: h2c` does so in front of a server that obeys it, as hypercorn and anycorn do, and CONNECT in front of an app
that answers it with 2xx. Either the proxy keeps such a request to itself, or keyfob refuses what comes of it: each is
looked at alone.
"""

import contextlib
import importlib
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

from deploy.forgeries import Headers, make_claims, write_request
from deploy.fronts import nginx
from deploy.identities import World
from deploy.setting import HOST, Setting, Start
from deploy.standing import Front, write_rules
from deploy.wire import Answer, ask_app, connect
from servers import environment, find_port, make_client, running

FRONTS: Mapping[str, tuple[str, str]] = {
    "nginx": ("nginx", "start"),
    "nginx-debian": ("nginx", "start_debian"),
    "haproxy": ("haproxy", "start"),
    "apache": ("apache", "start"),
    "caddy": ("caddy", "start"),
    "traefik": ("traefik", "start"),
    "envoy": ("envoy", "start"),
}
PROXY = "127.0.0.1"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: {settings}\r\n"
# Ways to ask for HTTP/2. Some servers do without the settings, and take one of several upgrades.
UPGRADES: Mapping[str, str] = {
    "RFC 7540": H2C,
    "upper case": H2C.replace("h2c", "H2C"),
    "settings not of the connection": H2C.replace(", HTTP2-Settings", ""),
    "no settings": "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "websocket first": H2C.replace("h2c", "websocket, h2c"),
    "websocket last": H2C.replace("h2c", "h2c, websocket"),
    "two lines, websocket first": H2C.replace("Upgrade: h2c", "Upgrade: websocket\r\nUpgrade: h2c"),
    "two lines, websocket last": H2C.replace("Upgrade: h2c", "Upgrade: h2c\r\nUpgrade: websocket"),
    "tab": H2C.replace("Upgrade: h2c", "Upgrade:\th2c\t"),
}
# The only target that a CONNECT may have; some proxies refuse any other.
TARGET = f"{HOST}:443"


class FrontModule(Protocol):
    """What a module in deploy/fronts has."""

    FORMAT: str


@contextlib.contextmanager
def running_app(server: str, port: int, folder: Path, world: World, format_name: str) -> Iterator[None]:
    """The app on a server that obeys `Upgrade: h2c`."""
    rules = write_rules(folder, world.ca, format_name)
    command = [sys.executable, "-m", server, "--bind", f"127.0.0.1:{port}", "deploy.fronted_app:app"]
    with running(command, port, folder, environment(FRONTED_CONFIG=str(rules))):
        yield


@pytest.fixture(scope="module", params=FRONTS)
def front(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One proxy with the very file of `deploy/`, in front of the app on hypercorn."""
    name: str = request.param
    module_name, function = FRONTS[name]
    module = importlib.import_module(f"deploy.fronts.{module_name}")
    start = cast("Start", getattr(module, function))
    found = Front(name, cast("FrontModule", module).FORMAT, find_port(), find_port(), world)
    folder = tmp_path_factory.mktemp(f"{name}-tunnels")
    own = folder / "proxy"
    own.mkdir()
    setting = Setting(own, found.port, found.app_port, world.server, world.server_key, world.ca)
    with running_app("hypercorn", found.app_port, folder, world, found.format), start(setting):
        yield found


@contextlib.contextmanager
def opened(front: Front, device: str) -> Iterator[socket.socket]:
    """A connection to the proxy over TLS, as `device`."""
    context = make_client(front.world.ca, *front.world.identities[device].files)
    with connect(front.port) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        yield tls


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """An answer's head, and what came with it. The end of the connection ends a head as well."""
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def climb(connection: socket.socket, upgrade: str, claim: Headers) -> tuple[int, Answer | None]:
    """Asks for HTTP/2 by `upgrade`: the status and, where that is 101, what a request with `claim` then comes to."""
    client = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
    settings = (client.initiate_upgrade_connection() or b"").decode("ascii")
    request = f"GET /first HTTP/1.1\r\nHost: {HOST}\r\n{upgrade.format(settings=settings)}\r\n"
    connection.sendall(request.encode("ascii"))
    head, rest = read_head(connection)
    status = int(head.split(b" ", 2)[1])
    if status != 101:
        return status, None
    assert b"h2c" in head.lower(), head
    pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/forged")]
    forged = [*pseudo, ("accept", "application/json"), *((name.lower(), value) for name, value in claim)]
    client.send_headers(3, forged, end_stream=True)
    connection.sendall(client.data_to_send())
    return status, read_stream(connection, client, rest)


def read_stream(connection: socket.socket, client: H2Connection, data: bytes) -> Answer:
    """The answer on stream 3; status 0 if it, or the connection, ended without one."""
    status, body = 0, b""
    while True:
        events: list[Event] = client.receive_data(data)
        for event in events:
            if getattr(event, "stream_id", None) != 3:
                continue
            if isinstance(event, ResponseReceived):
                status = int(dict(cast("list[tuple[str, str]]", event.headers))[":status"])
            elif isinstance(event, DataReceived):
                body += event.data or b""
            elif isinstance(event, StreamEnded | StreamReset):
                return Answer(status, body)
        connection.sendall(client.data_to_send())
        data = connection.recv(65536)
        if not data:
            return Answer(status, body)


def victims_claim(front: Front) -> Headers:
    """What claims to be the victim in the front's own format, with the good verdict."""
    return make_claims(front.world.victim)[front.format]


@pytest.mark.parametrize("device", ["none", "valid"])
def test_no_client_comes_to_speak_http_2_with_the_app(front: Front, device: str) -> None:
    """However HTTP/2 is asked for, the proxy goes on speaking HTTP/1.1, and nobody becomes the victim."""
    found = {}
    for name, upgrade in UPGRADES.items():
        with opened(front, device) as connection:
            found[name] = climb(connection, upgrade, victims_claim(front))
    assert [name for name, (_, forged) in found.items() if forged and forged.status == 200] == []
    assert [name for name, (status, _) in found.items() if status == 101] == []
    # keyfob answered as it does without the upgrade: the proxy kept back this one thing, and nothing else went wrong.
    assert found["RFC 7540"][0] == (401 if device == "none" else 200)


@pytest.fixture(scope="module", params=["hypercorn", "anycorn"])
def app_port(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The app without a proxy, believing this machine, on each server that obeys `Upgrade: h2c`."""
    port = find_port()
    with running_app(request.param, port, tmp_path_factory.mktemp(request.param), world, nginx.FORMAT):
        yield port


def test_http_2_that_a_client_asked_for_is_refused_by_keyfob(app_port: int, world: World) -> None:
    """From the proxy's own address, as through a proxy that passes the upgrade on: 403, and the victim is nobody."""
    with connect(app_port, PROXY) as connection:
        status, forged = climb(connection, H2C, make_claims(world.victim)[nginx.FORMAT])
    assert status == 101
    assert forged is not None
    assert (forged.status, forged.refusal) == (403, "peer-unclear")


def test_a_wire_through_nginx_is_refused_by_keyfob(world: World, tmp_path: Path) -> None:
    """Without the file's rule about WebSockets nginx passes the upgrade on, and keyfob refuses what comes through."""
    front = Front("nginx", nginx.FORMAT, find_port(), find_port(), world)
    own = tmp_path / "proxy"
    own.mkdir()
    setting = Setting(own, front.port, front.app_port, world.server, world.server_key, world.ca)
    text = nginx.read_file(setting)
    for ours, careless in (
        ("Upgrade    $keyfob_upgrade;", "Upgrade $http_upgrade;"),
        ("$keyfob_connection;", "upgrade;"),
    ):
        assert ours in text
        text = text.replace(ours, careless)
    with (
        running_app("hypercorn", front.app_port, tmp_path, world, front.format),
        nginx.run_nginx(nginx.find_wheel(), setting, text),
        opened(front, "none") as connection,
    ):
        status, forged = climb(connection, H2C, victims_claim(front))
    assert status == 101
    assert forged is not None
    assert (forged.status, forged.refusal) == (403, "peer-unclear")


def write_connect(claim: Headers) -> bytes:
    """A CONNECT with the headers `claim`."""
    lines = [f"CONNECT {TARGET} HTTP/1.1", f"Host: {TARGET}", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in claim]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def test_connect_opens_no_tunnel(front: Front) -> None:
    """Not even for a device that may come in: it is refused, and what follows is not taken for the proxy's words."""
    claim = "".join(f"{name}: {value}\r\n" for name, value in victims_claim(front))
    with opened(front, "valid") as connection:
        connection.sendall(write_connect([]))
        head, said = read_head(connection)
        # Whoever has refused it may hang up at once.
        with contextlib.suppress(OSError):
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{claim}Connection: close\r\n\r\n".encode("ascii"))
            while more := connection.recv(65536):
                said += more
    assert front.world.victim_fingerprint.encode("ascii") not in said
    status = int(head.split(b" ", 2)[1])
    # HAProxy would pass it on, but for the line in its file. Traefik has its own answer: not implemented.
    assert status == 405 if front.name == "haproxy" else status == 501 or 400 <= status < 500


def test_connect_is_malformed_to_keyfob(app_port: int, world: World) -> None:
    """From the proxy's own address, with a certificate that any other request gets in with."""
    claim = make_claims(world.victim)[nginx.FORMAT]
    answer = ask_app(app_port, write_request(claim), source=PROXY)
    assert (answer.status, answer.told["fingerprint"]) == (200, world.victim_fingerprint)
    answer = ask_app(app_port, write_connect(claim), source=PROXY)
    assert (answer.status, answer.refusal) == (400, "header-malformed")
