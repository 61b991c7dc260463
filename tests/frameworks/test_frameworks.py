"""Every ASGI framework behind its one line: in this process, and on a real uvicorn."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.middleware import DefineMiddleware
from starlette.types import ASGIApp

from exchanges import make_scope
from frameworks.calls import CALLS
from frameworks.litestar_app import hello
from frameworks.living import live_and_ask
from keyfob import AccessMiddleware
from servers import Running, environment, find_port, make_client, running
from servers_asgi.wire import HANDSHAKE, ask_over_tls

FRAMEWORKS = ["fastapi", "starlette", "django", "litestar", "quart"]
WITH_WEBSOCKETS = [name for name in FRAMEWORKS if name != "django"]
WITH_LIFESPAN = WITH_WEBSOCKETS


def make(framework: str) -> ASGIApp:
    app: ASGIApp = importlib.import_module(f"frameworks.{framework}_app").make()
    return app


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_handler_reads_who_it_is(here: Path, chain: tuple[str, ...], framework: str) -> None:
    """From whatever this framework calls a request."""
    answer = live_and_ask(make(framework), make_scope(chain))
    assert (answer.status, answer.body) == (200, b"Hello, Rhea Group!")
    assert "hello" in CALLS


@pytest.mark.parametrize("framework", WITH_WEBSOCKETS)
def test_a_websocket_s_handler_reads_who_it_is(here: Path, chain: tuple[str, ...], framework: str) -> None:
    """From whatever this framework calls a WebSocket."""
    answer = live_and_ask(make(framework), make_scope(chain, kind="websocket", scheme="wss", path="/talk"))
    assert [message.get("text") for message in answer.messages[:2]] == [None, "Hello, Rhea Group!"]


@pytest.mark.parametrize("path", ["/", "/talk", "/no-such-page", "/docs", "/openapi.json", "/schema", "/static/a.css"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nobody_else_reaches_any_of_its_code(here: Path, framework: str, kind: str, path: str) -> None:
    """No handler, no dependency, no middleware, and no page for what is not found or came with the framework."""
    scheme = "https" if kind == "http" else "wss"
    answer = live_and_ask(make(framework), make_scope(kind=kind, scheme=scheme, path=path, raw_path=path.encode()))
    if kind == "http":
        assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    else:
        assert [message["type"] for message in answer.messages] == ["websocket.close"]
    assert set(CALLS) <= {"start", "stop"}


@pytest.mark.parametrize("framework", WITH_LIFESPAN)
def test_its_lifespan_goes_on(here: Path, framework: str) -> None:
    """Start-up comes before the first request, and shutdown after the last."""
    live_and_ask(make(framework), make_scope())
    assert CALLS == ["start", "stop"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_does_not_start_with_rules_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    """The line that protects it is the line that says so, at the latest when the server starts."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"access\.toml: there is no such file|the app did not start"):
        live_and_ask(make(framework), make_scope())


def test_litestar_s_own_list_of_middlewares_would_be_too_late(here: Path) -> None:
    """A path without a route does not pass it: anybody would learn which paths there are."""
    door: Any = AccessMiddleware
    inside = DefineMiddleware(door, config="access.toml")
    app: Any = Litestar([hello], middleware=[inside], openapi_config=None)
    path = "/no-such-page"
    assert live_and_ask(app, make_scope(path=path, raw_path=path.encode())).status == 404


@pytest.fixture(scope="module")
def started(home: Path) -> Iterator[dict[str, Running]]:
    """Each framework's app on a uvicorn of its own."""
    command = [sys.executable, "-m", "uvicorn", "--factory"]
    command += ["--http", "keyfob.server.uvicorn:HTTPProtocol", "--ws", "keyfob.server.uvicorn:WebSocketProtocol"]
    command += ["--ssl-certfile", "server.pem", "--ssl-keyfile", "server-key.pem"]
    command += ["--ssl-ca-certs", "ca.pem", "--ssl-cert-reqs", "1"]
    with ExitStack() as stack:
        servers = {}
        for framework in FRAMEWORKS:
            port = find_port()
            app = [f"frameworks.{framework}_app:make", "--port", str(port)]
            servers[framework] = stack.enter_context(running([*command, *app], port, home, environment()))
        yield servers


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_server_brings_it_the_device(started: dict[str, Running], home: Path, framework: str) -> None:
    """And nobody else."""
    port = started[framework].port
    device = make_client(home / "ca.pem", home / "device.pem", home / "device-key.pem")
    assert ask_over_tls(port, "/", device).body == b"Hello, Rhea Group!"
    assert ask_over_tls(port, "/", make_client(home / "ca.pem")).refusal == "certificate-missing"


@pytest.mark.parametrize("framework", WITH_WEBSOCKETS)
def test_a_server_brings_it_the_device_s_websocket(started: dict[str, Running], home: Path, framework: str) -> None:
    """And nobody else's."""
    port = started[framework].port
    device = make_client(home / "ca.pem", home / "device.pem", home / "device-key.pem")
    assert ask_over_tls(port, "/talk", device, HANDSHAKE).body == b"Hello, Rhea Group!"
    assert ask_over_tls(port, "/talk", make_client(home / "ca.pem"), HANDSHAKE).refusal == "certificate-missing"
