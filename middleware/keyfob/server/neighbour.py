"""The enrolment port: a second server in the same process, at which nobody is asked for a certificate."""

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from uvicorn import Config, Server

from keyfob.enrolment.floods import Restraint
from keyfob.enrolment.inviting import erase_lapsed
from keyfob.errors import KeyfobError, ServeError
from keyfob.inventory import Inventory

_log = logging.getLogger(__name__)

Context = TypeVar("Context", bound=ssl.SSLContext)

# Seconds between two looks at invitations that nobody has used.
SWEEPS_EVERY = 60
# Connections that are open at once, and those of one address. Strangers are not to take the app's descriptors, for they
# are the same process's: there are never more connections than a quarter of the descriptors that it may have.
CONNECTIONS, FROM_ONE_ADDRESS = 256, 32
# Seconds for a TLS handshake.
HANDSHAKE_TAKES = 15.0


class Neighbour:
    """Starts and stops together with the server beside it."""

    def __init__(self, config: Config, listener: socket.socket, inventory: Inventory) -> None:
        # One request for each connection: nobody keeps one for what he may still send.
        config.headers = [*config.headers, ("connection", "close")]
        self._server = _QuietServer(config)
        self._listener = listener
        self._inventory = inventory
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns once it answers. Raises ServeError if it does not come to that."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        self._tasks = [serving, asyncio.create_task(self._sweep())]
        while not self._server.started:
            if serving.done():
                raise ServeError("the enrolment port did not start", "serve without it, with --no-enrolment")
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Lets what is being answered come to its end, for a while."""
        if self._tasks:
            serving, sweeping = self._tasks
            self._server.should_exit = True
            sweeping.cancel()
            await asyncio.gather(serving, sweeping, return_exceptions=True)

    async def _sweep(self) -> None:
        """Erases what nobody has fetched in time, at once and every minute."""
        while True:
            try:
                for lapsed in await run_in_threadpool(erase_lapsed, self._inventory, time.time()):
                    _log.info("the invitation of %r has lapsed: its key is erased and withdrawn", lapsed.name)
            except KeyfobError as error:
                _log.error("invitations that have lapsed cannot be erased: %s", error.message)
            await asyncio.sleep(SWEEPS_EVERY)


class _QuietServer(Server):
    """Leaves the signals to the server beside it, and takes its connections itself.

    uvicorn's `limit_concurrency` would not do: it keeps those beyond the limit, counts none before the end of its TLS
    handshake, and knows no addresses.
    """

    _accepting: asyncio.Future[list[None]] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        self._crowd = Crowd(find_room())
        self._arrivals: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.gather(*map(self._accept, sockets or []))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            for each in self._arrivals:
                each.cancel()
            await asyncio.gather(self._accepting, *self._arrivals, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        loop = asyncio.get_running_loop()
        while True:
            try:
                arrived, peer = await loop.sock_accept(listener)
            except OSError:
                # No descriptor is left, or whoever came has gone again.
                await asyncio.sleep(0.1)
                continue
            visit = self._crowd.admit(arrived, peer)
            if visit is not None:
                task = asyncio.create_task(self._receive(visit))
                self._arrivals.add(task)
                task.add_done_callback(self._arrivals.discard)
            # On asyncio, sock_accept does not let others go on as long as somebody waits to be accepted.
            await asyncio.sleep(0)

    async def _receive(self, visit: socket.socket) -> None:
        tls = self.config.ssl
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol, visit, ssl=tls, ssl_handshake_timeout=HANDSHAKE_TAKES if tls else None
            )

    def _make_protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


class Crowd:
    """The connections that are open: `room` of them, FROM_ONE_ADDRESS from each address. Those beyond are closed."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._open: Counter[Hashable] = Counter()
        self._restraint = Restraint(_log)

    def __len__(self) -> int:
        return self._open.total()

    def admit(self, arrived: socket.socket, peer: object) -> socket.socket | None:
        """The same connection, counted until it is closed; None if there was no room."""
        sender = find_sender(peer)
        if len(self) >= self._room:
            self._restraint.warn("all", "a connection to the enrolment port was closed: %d are open", len(self))
        elif self._open[sender] >= FROM_ONE_ADDRESS:
            words = "a connection to the enrolment port was closed: %d from its address are open, %r"
            self._restraint.warn("one address", words, self._open[sender], peer)
        else:
            self._open[sender] += 1
            return _Visit(arrived, lambda: self._leave(sender))
        arrived.close()
        return None

    def _leave(self, sender: Hashable) -> None:
        self._open[sender] -= 1
        if self._open[sender] <= 0:
            del self._open[sender]


class _Visit(socket.socket):
    """An accepted connection that says when it ends."""

    def __init__(self, accepted: socket.socket, leave: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.settimeout(0)
        self._leave: Callable[[], None] | None = leave

    def close(self) -> None:
        super().close()
        self._end()

    def detach(self) -> int:
        # uvloop closes a socket's descriptor itself, and detaches it from the object for that.
        descriptor = super().detach()
        self._end()
        return descriptor

    def _end(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


def find_sender(peer: object) -> Hashable:
    """Who is taken for one address: an IPv4 address, the /64 of an IPv6 address, and all that nobody can tell."""
    if not isinstance(peer, tuple):
        return None
    try:
        address = ip_address(peer[0].partition("%")[0])
    except ValueError:
        return None
    # RFC 4291 section 2.5.5.2: where a socket listens for both, IPv4 addresses come as IPv6 addresses.
    address = getattr(address, "ipv4_mapped", None) or address
    # RFC 4291 section 2.5.1: the last 64 bits are the interface's, to be chosen as it likes. ~ keeps the two apart.
    return int(address) if address.version == 4 else ~(int(address) >> 64)


def find_room() -> int:
    """How many connections may be open: CONNECTIONS, but a quarter of the process's descriptors at most."""
    if sys.platform == "win32":
        return CONNECTIONS
    import resource  # noqa: PLC0415 - Windows has none.

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, soft // 4))


class OpenContext(ssl.SSLContext):
    """A server's context that asks no client for anything, with the present files for each connection."""

    files: tuple[Path, Path]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        try:
            fresh = _fill(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *self.files)
            return fresh.wrap_bio(*args, **kwargs)
        except (OSError, ValueError) as error:
            _log.error("the server's certificate cannot be read again, so the old one stays: %s", error)
            return super().wrap_bio(*args, **kwargs)


def make_open_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer, with files that the app's own context could use a moment ago. Raises ServeError."""
    try:
        context = _fill(OpenContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    except (OSError, ValueError) as error:
        raise ServeError(f"{certificate} and {key} cannot be used together: {error}", "name a pair") from error
    context.files = certificate, key
    return context


def _fill(context: Context, certificate: Path, key: Path) -> Context:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An encrypted key would make OpenSSL ask the terminal; an empty answer makes it an error instead.
    context.load_cert_chain(certificate, key, password="")
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context
