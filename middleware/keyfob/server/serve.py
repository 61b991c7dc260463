"""Starts an app behind the gate on uvicorn."""

import asyncio
import contextlib
import errno
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.importer import ImportFromStringError, import_from_string

from keyfob.asgi import AccessMiddleware, find_prefix
from keyfob.enrolment.app import make_enrolment_app
from keyfob.enrolment.outlet import Outlet
from keyfob.enrolment.renewal import RenewalCorner
from keyfob.errors import ServeError
from keyfob.server.addresses import EVERYWHERE, LOOPBACK
from keyfob.server.context import ServerContext, make_context
from keyfob.server.neighbour import Neighbour, make_open_context
from keyfob.server.uvicorn import HTTPProtocol, WebSocketProtocol
from keyfob.sources.tls import TLSSource


class Service(NamedTuple):
    """What to serve, and how.

    `app` is `module:attribute`, and so is `on_decision`, a function for every record; `port` 0 lets the system choose.
    """

    app: str
    config: Path
    certificate: Path | None
    key: Path | None
    host: str
    port: int
    on_decision: str | None = None
    enrolment: "Enrolment | None" = None


class Enrolment(NamedTuple):
    """Devices come to their keys at a port of its own, where nobody is asked for one, and renew them inside the gate.

    `port` None leaves that port out. Where it is `optional` and somebody else has it, the app is served without it.
    `renewal` is the link of the rules, if they have one.
    """

    outlet: Outlet
    port: int | None
    optional: bool = False
    renewal: str | None = None


class Addresses(NamedTuple):
    """Where the app answers, and where keys are handed out: the ports, and the first as a URL for this machine."""

    url: str
    port: int
    enrolment_port: int | None = None


def serve(service: Service, announce: Callable[[Addresses], None]) -> None:
    """Serves until it is told to stop. `announce` is called once everything answers.

    The gate stands in front of the app; the app needs no line of its own. Raises ConfigError for the configuration
    and ServeError for everything else that keeps the server from starting.
    """
    on_decision = import_object(service.on_decision, "function") if service.on_decision else None
    door = _Door(_nothing, config=service.config, on_decision=on_decision)
    context = _make_context(service, door)
    app = import_object(service.app, "app")
    door.app = app
    if service.enrolment is not None:
        door.app = RenewalCorner(app, service.enrolment.outlet, service.enrolment.renewal)
    door.prefix = find_prefix(app)
    with _listen(service.host, service.port) as listener, _listen_beside(service) as beside:
        config = _configure(door, service, context)
        second = None if beside is None else _find_port(beside)
        addresses = Addresses(_address(service, listener), _find_port(listener), second)
        try:
            _Server(config, lambda: announce(addresses), _make_neighbour(service, beside)).run(sockets=[listener])
        except SystemExit:
            raise door.failure or ServeError("the app did not start") from None


def _configure(app: ASGIApp, service: Service, context: ssl.SSLContext | None, **others: Any) -> Config:
    return Config(
        app,
        http=HTTPProtocol,
        ws=WebSocketProtocol,
        ssl_certfile=service.certificate,
        ssl_keyfile=service.key,
        ssl_context_factory=None if context is None else lambda *_: context,
        # Nobody's headers are believed but by the gate, which knows whose.
        proxy_headers=False,
        server_header=False,
        # A phone asleep in a pocket would otherwise keep a stopping server waiting for half a minute.
        timeout_graceful_shutdown=5,
        log_config=None,
        access_log=False,
        **others,
    )


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where the app will, until everything else is known to be well."""


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
    def __init__(self, config: Config, ready: Callable[[], None], neighbour: Neighbour | None) -> None:
        super().__init__(config)
        self._ready = ready
        self._neighbour = neighbour

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        try:
            if self._neighbour is not None:
                await self._neighbour.start()
            # Before the event loop can answer anybody.
            self._ready()
        except BaseException:
            # The app has started, and is to end as it does otherwise.
            await self.shutdown(sockets)
            raise

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = [super().shutdown(sockets)]
        if self._neighbour is not None:
            ending.append(self._neighbour.stop())
        await asyncio.gather(*ending)


@contextlib.contextmanager
def _listen_beside(service: Service) -> Iterator[socket.socket | None]:
    """The enrolment port, if there is to be one, and if it is free or has to be."""
    enrolment = service.enrolment
    if enrolment is None or enrolment.port is None:
        yield None
        return
    try:
        listener = _listen(service.host, enrolment.port)
    except ServeError:
        if not enrolment.optional:
            raise
        yield None
        return
    with listener:
        yield listener


def _make_neighbour(service: Service, listener: socket.socket | None) -> Neighbour | None:
    if listener is None or service.enrolment is None:
        return None
    if service.certificate is None or service.key is None:
        raise ServeError("keys are handed out over TLS alone", "give --certificate and --key, or --no-enrolment")
    outlet = service.enrolment.outlet
    context = make_open_context(service.certificate, service.key)
    config = _configure(make_enrolment_app(outlet), service, context, lifespan="off")
    return Neighbour(config, listener, outlet.registry.inventory)


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


def import_object(name: str, what: str) -> Any:
    """The app or function that `module:attribute` names. Raises ServeError."""
    module, _, attribute = name.partition(":")
    try:
        found = import_from_string(name)
    except (ImportFromStringError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            # The module is there, and lacks something itself.
            raise
        if not module or not attribute:
            hint = "write it as module:attribute"
        elif module in sys.modules:
            hint = f"what is the {what} called in {module}?"
        else:
            hint = f"is {module.partition('.')[0]} in this folder?"
        raise ServeError(f"cannot import the {what}: {error}", hint) from error
    if not callable(found):
        raise ServeError(f"{name} is no {what}: it cannot be called", f"what is the {what} called in {module}?")
    return found


def _make_context(service: Service, door: AccessMiddleware) -> ServerContext | None:
    """The TLS side of the server; None for plain HTTP, behind a proxy that asks for the certificates."""
    if service.certificate is not None and service.key is not None:
        return make_context(
            service.certificate,
            service.key,
            lambda: door.gate.roots,
            door.refuse_handshake,
        )
    if service.certificate is not None or service.key is not None:
        raise ServeError("a certificate without its key, or a key without its certificate", _BOTH)
    if isinstance(door.gate.source, TLSSource):
        hint = (
            "give --certificate and --key, so that the server speaks TLS and can ask for certificates; behind a proxy, "
            'write kind = "header" into [source]'
        )
        raise ServeError("the certificate source is tls, but this server would not speak TLS", hint)
    return None


_BOTH = "give both --certificate and --key, or neither behind a proxy that asks for the certificates"


def _find_port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _address(service: Service, listener: socket.socket) -> str:
    port = _find_port(listener)
    scheme, usual = ("https", 443) if service.certificate else ("http", 80)
    name = "localhost" if service.host in (*EVERYWHERE, *LOOPBACK) else service.host
    bracketed = f"[{name}]" if ":" in name else name
    return f"{scheme}://{bracketed}" if port == usual else f"{scheme}://{bracketed}:{port}"
