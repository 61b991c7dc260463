"""The ASGI servers of the README's table, each started as it stands there: on a port, on a UNIX socket, or with TLS."""

import contextlib
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from servers import SECONDS_TO_START, environment, find_port, running

APP = "servers_asgi.doors:app"
# The folder, beside the keys, with the rules of every door of that app.
DOORS = "doors"
OURS = "--http keyfob.server.uvicorn:HTTPProtocol --ws keyfob.server.uvicorn:WebSocketProtocol"


class Server(NamedTuple):
    """One row: the command for an app `hello:app`, and the options of the three ways to listen.

    `speaks_tls` says whether the certificates of its own TLS connections reach the app, `knows_peer` whether it tells
    the socket's own peer, and `rewrites` whether it takes a client's address out of X-Forwarded-For in its place.
    """

    command: str
    port: str
    unix: str
    tls: str
    speaks_tls: bool = False
    knows_peer: bool = False
    rewrites: bool = False


_UVICORN = Server(
    "uvicorn hello:app",
    "--port {port}",
    "--uds {path}",
    "--ssl-certfile server.pem --ssl-keyfile server-key.pem --ssl-ca-certs ca.pem --ssl-cert-reqs 1",
)
_HYPERCORN = Server(
    "hypercorn hello:app",
    "--bind 127.0.0.1:{port}",
    "--bind unix:{path}",
    "--certfile server.pem --keyfile server-key.pem --ca-certs ca.pem --verify-mode CERT_OPTIONAL",
)

SERVERS: Mapping[str, Server] = {
    "uvicorn with keyfob's protocols": _UVICORN._replace(
        command=f"uvicorn hello:app {OURS}", speaks_tls=True, knows_peer=True
    ),
    "uvicorn": _UVICORN._replace(command="uvicorn hello:app --no-proxy-headers"),
    "uvicorn with its own defaults": _UVICORN._replace(rewrites=True),
    # On Python 3.13, the first client without a certificate ends an anycorn that does not insist on one.
    "anycorn": _HYPERCORN._replace(
        command="anycorn hello:app", tls=_HYPERCORN.tls.replace("CERT_OPTIONAL", "CERT_REQUIRED"), speaks_tls=True
    ),
    "hypercorn": _HYPERCORN,
    "granian": Server(
        "granian --interface asgi hello:app",
        "--port {port}",
        "--uds {path}",
        "--ssl-certificate server.pem --ssl-keyfile server-key.pem --ssl-ca ca.pem --ssl-client-verify",
    ),
    "gunicorn": Server(
        "gunicorn -k asgi hello:app",
        "--bind 127.0.0.1:{port}",
        "--bind unix:{path}",
        "--certfile server.pem --keyfile server-key.pem --ca-certs ca.pem --cert-reqs 1",
    ),
}

# The row that is no server of its own: the gate stands outside the app here, with the rules that the option names.
SERVE = "keyfob serve shop:app --config access.toml"
SERVE_TLS = "--certificate server.pem --key server-key.pem"

# Started in a way that no README should name: they believe everybody's word about addresses.
RECKLESS: Mapping[str, Server] = {
    f"uvicorn on {parser}, believing everybody": _UVICORN._replace(
        command=f"uvicorn hello:app --forwarded-allow-ips '*' --http {parser}", rewrites=True
    )
    for parser in ("httptools", "h11")
}
EVERY = {**SERVERS, **RECKLESS}


@dataclass(frozen=True)
class Listening:
    """A server that answers, at a port of 127.0.0.1 or at the path of a UNIX socket."""

    at: int | Path
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


class Fleet:
    """Servers, each started when a test first asks for it. They run in the folder with all keys."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._env = environment(DOORS=str(folder / DOORS))
        self._listening: dict[tuple[str, str], Listening] = {}

    def on_port(self, name: str) -> Listening:
        return self._find(name, "port")

    def on_socket(self, name: str) -> Listening:
        return self._find(name, "unix")

    def with_tls(self, name: str) -> Listening:
        return self._find(name, "tls")

    def _find(self, name: str, way: str) -> Listening:
        if (name, way) not in self._listening:
            start = start_on_socket if way == "unix" else start_on_port
            options = EVERY[name].tls if way == "tls" else ""
            self._listening[name, way] = self._stack.enter_context(
                start(EVERY[name], APP, self._folder, options, self._env)
            )
        return self._listening[name, way]


@contextlib.contextmanager
def start_on_port(
    server: Server, app: str, folder: Path, options: str = "", env: Mapping[str, str] | None = None
) -> Iterator[Listening]:
    """Serves `app` on a free port, with further options."""
    port = find_port()
    command = _write(server, app, server.port.format(port=port), options)
    with running(command, port, folder, env) as started:
        yield Listening(port, started.log)


@contextlib.contextmanager
def start_on_socket(
    server: Server, app: str, folder: Path, options: str = "", env: Mapping[str, str] | None = None
) -> Iterator[Listening]:
    """Serves `app` on a UNIX socket of its own in `folder`."""
    path = folder / f"{len(list(folder.glob('*.sock')))}.sock"
    log = path.with_suffix(".log")
    # Relative, because the path of a socket has to fit into a hundred bytes.
    command = _write(server, app, server.unix.format(path=path.name), options)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, path, log)
        yield Listening(path, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write(server: Server, app: str, *options: str) -> list[str]:
    """The row's own command, for this app, run by this very interpreter."""
    command = server.command.replace("hello:app", app)
    return [sys.executable, "-m", *shlex.split(" ".join([command, *options]))]


def _wait(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer at {path}:\n{log.read_text(errors='replace')}")
