"""Starts an app behind the gate on uvicorn."""

import errno
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.importer import ImportFromStringError, import_from_string

from keyfob.asgi import AccessMiddleware
from keyfob.config import load_gate
from keyfob.errors import ServeError
from keyfob.server.addresses import EVERYWHERE, LOOPBACK
from keyfob.server.context import make_context
from keyfob.server.uvicorn import HTTPProtocol, WebSocketProtocol


class Service(NamedTuple):
    """What to serve, and how. `app` is `module:attribute`; `port` 0 lets the system choose one."""

    app: str
    config: Path
    certificate: Path | None
    key: Path | None
    host: str
    port: int


def serve(service: Service, announce: Callable[[str], None]) -> None:
    """Serves until it is told to stop. `announce` is called with the server's address once it answers.

    The gate stands in front of the app; the app needs no line of its own. Raises ConfigError for the configuration
    and ServeError for everything else that keeps the server from starting.
    """
    gate = load_gate(service.config)
    if service.certificate is None or service.key is None:
        # Every source that exists so far is the TLS layer itself.
        hint = "give --certificate and --key, so that the server speaks TLS and can ask for certificates"
        raise ServeError("the certificate source is tls, but this server would not speak TLS", hint)
    context = make_context(service.certificate, service.key, gate.roots)
    door = _Door(_import_app(service.app), gate=gate)
    with _listen(service.host, service.port) as listener:
        config = Config(
            door,
            http=HTTPProtocol,
            ws=WebSocketProtocol,
            ssl_certfile=service.certificate,
            ssl_keyfile=service.key,
            ssl_context_factory=lambda *_: context,
            # The socket's peer is the client: nobody stands between, so nobody's headers are believed.
            proxy_headers=False,
            server_header=False,
            # A phone asleep in a pocket would otherwise keep a stopping server waiting for half a minute.
            timeout_graceful_shutdown=5,
            log_config=None,
            access_log=False,
        )
        try:
            _Server(config, lambda: announce(_address(service.host, listener))).run(sockets=[listener])
        except SystemExit:
            raise door.failure or ServeError("the app did not start") from None


class _Door(AccessMiddleware):
    """Keeps the exception with which the app failed to start, so that the command can say it instead of a traceback.

    An exception with `message` and `hint`, as keyfob's own have, becomes a ServeError; any other stays what it is.
    """

    failure: Exception | None = None

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def listen(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                said, _, hint = str(message.get("message", "")).removeprefix("error: ").partition("\nhint: ")
                self.failure = ServeError(said or "the app did not start", hint)
                # What was said, an app's traceback as a rule, is said once, by the command.
                message = {**message, "message": ""}
            await send(message)

        try:
            await super().live(scope, receive, listen)
        except Exception as error:
            if self.failure is not None:
                said, hint = getattr(error, "message", None), getattr(error, "hint", "")
                self.failure = ServeError(str(said), str(hint)) if said else error
            raise


class _Server(Server):
    def __init__(self, config: Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


_PORT_HINTS = {
    errno.EADDRINUSE: "choose another port, such as 8444, or stop the program that has it",
    errno.EACCES: "choose a port above 1023, such as 8443: those below are the system's",
}


def _listen(host: str, port: int) -> socket.socket:
    """Bound before anything else is set up, so that a taken port is a sentence and not a traceback."""
    if not 0 <= port <= 65535:
        # Some systems would quietly take what is left of it in sixteen bits.
        raise ServeError(f"{port} is no port", "choose one from 1 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or "not a host name"
        raise ServeError(f"{host} is no address of this machine: {said}", "try 127.0.0.1") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        hint = _PORT_HINTS.get(error.errno or 0, "try another host, such as 127.0.0.1")
        raise ServeError(f"cannot listen on {host} port {port}: {error.strerror}", hint) from error
    return listener


def _import_app(name: str) -> ASGIApp:
    module, _, attribute = name.partition(":")
    try:
        app: ASGIApp = import_from_string(name)
    except ImportFromStringError as error:
        if not module or not attribute:
            hint = "write it as module:attribute"
        elif module in sys.modules:
            hint = f"what is the app called in {module}?"
        else:
            hint = f"is {module.partition('.')[0]} in this folder?"
        raise ServeError(f"cannot import the app: {error}", hint) from error
    if not callable(app):
        raise ServeError(f"{name} is no app: it cannot be called", f"what is the app called in {module}?")
    return app


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    name = "localhost" if host in (*EVERYWHERE, *LOOPBACK) else host
    bracketed = f"[{name}]" if ":" in name else name
    return f"https://{bracketed}" if port == 443 else f"https://{bracketed}:{port}"
