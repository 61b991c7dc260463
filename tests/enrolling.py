"""The protocols of enrolment for tests: asked in memory, or on a real server in a thread, which is stopped again."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from uvicorn import Config, Server

from keyfob import AccessMiddleware
from keyfob.pki.registry import ROOT, Registry
from keyfob.server.uvicorn import HTTPProtocol
from servers import SECONDS_TO_START

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


class Client:
    """Asks an app in memory, from the address 192.0.2.7."""

    def __init__(self, app: ASGIApp | Sequence[BaseRoute]) -> None:
        self._transport = httpx.ASGITransport(app if callable(app) else Starlette(routes=app), client=("192.0.2.7", 1))

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", path)

    def post(
        self,
        path: str,
        content: bytes | Iterator[bytes] = b"",
        headers: Headers = (),
        token: str | None = None,
    ) -> httpx.Response:
        """Chunks, if the content is an iterator; as the user `x`, if there is a token, which is the password."""
        return self.send("POST", path, content, headers, token)

    def send(
        self,
        method: str,
        path: str,
        content: bytes | Iterator[bytes] = b"",
        headers: Headers = (),
        token: str | None = None,
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            sent = content if isinstance(content, bytes) else _pour(content)
            auth = None if token is None else ("x", token)
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await client.request(method, path, content=sent, headers=headers, auth=auth)

        return asyncio.run(ask())


async def _pour(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@dataclass(frozen=True)
class Identity:
    """A server's certificate and key."""

    certificate: Path
    key: Path


def make_identity(registry: Registry, folder: Path) -> Identity:
    """For `localhost`, from the registry's own authority; whoever connects knows the root alone."""
    issued = registry.authority.issue_server(["localhost", "127.0.0.1"])
    identity = Identity(folder / "server.pem", folder / "server-key.pem")
    above = b"" if registry.authority.certificate == registry.root else registry.authority.issued.certificate_pem
    identity.certificate.write_bytes(issued.certificate_pem + above)
    identity.key.write_bytes(issued.key_pem)
    return identity


def put_behind_gate(registry: Registry, routes: Sequence[BaseRoute]) -> ASGIApp:
    """The routes as an app that any device of the registry may use."""
    return AccessMiddleware(Starlette(routes=routes), roots=registry.folder / ROOT)


@contextlib.contextmanager
def serving(
    routes: Sequence[BaseRoute] | ASGIApp, identity: Identity | None = None, devices: Path | None = None
) -> Iterator[str]:
    """Serves until the end of the block, and yields the URL: with TLS if there is an identity.

    With `devices`, a root, client certificates are asked for.
    """
    app = routes if callable(routes) else Starlette(routes=routes)
    config = Config(
        app,
        http=HTTPProtocol if devices else "h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        ssl_certfile=identity.certificate if identity else None,
        ssl_keyfile=identity.key if identity else None,
        ssl_ca_certs=str(devices) if devices else None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if devices else ssl.CERT_NONE,
    )
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait(server, thread)
            yield f"{'https' if identity else 'http'}://localhost:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(SECONDS_TO_START)


def _wait(server: Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server does not start")
        time.sleep(0.02)
