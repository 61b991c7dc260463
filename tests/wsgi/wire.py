"""One request and its answer: over TLS, over TCP, or over a UNIX socket."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What a request came to. `status` 0 means that the connection ended without an answer."""

    status: int
    body: bytes = b""
    session: ssl.SSLSession | None = None
    resumed: bool = False

    @property
    def told(self) -> dict[str, Any]:
        """The JSON that the app, or keyfob before it, answered with; empty when it was the server itself."""
        with contextlib.suppress(ValueError):
            read = json.loads(self.body)
            return read if isinstance(read, dict) else {}
        return {}

    @property
    def outcome(self) -> str:
        """`let in`, keyfob's reason, the server's own status, or that it hung up."""
        if self.status == 0:
            return "hung up"
        if "fingerprint" in self.told:
            return "let in"
        reason = str(self.told.get("type", ""))
        return reason.removeprefix("urn:keyfob:") if reason else f"server {self.status}"


def write_request(path: str, headers: Iterable[tuple[str, str]] = (), host: str = "localhost") -> bytes:
    """A request as its text goes over the wire; names and values are written as they are."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *(f"{key}: {text}" for key, text in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def ask(place: int | Path, request: bytes, source: str = "127.0.0.1") -> Answer:
    """Asks a port of 127.0.0.1, coming from the address `source`, or the UNIX socket at a path."""
    with _connect(place, source) as connection:
        connection.sendall(request)
        return Answer(*_read_answer(connection))


def ask_tls(
    port: int, client: ssl.SSLContext, request: bytes, *, host: str = "localhost", session: ssl.SSLSession | None = None
) -> Answer:
    """Asks over TLS. The handshake names `host`."""
    try:
        with (
            _connect(port, "127.0.0.1") as plain,
            client.wrap_socket(plain, server_hostname=host, session=session) as connection,
        ):
            connection.sendall(request)
            status, body = _read_answer(connection)
            return Answer(status, body, connection.session, bool(connection.session_reused))
    except TimeoutError:
        raise
    except OSError:
        # An alert, in the handshake or (TLS 1.3) after it, or a connection that was closed at once.
        return Answer(0)


def _connect(place: int | Path, source: str) -> socket.socket:
    if isinstance(place, int):
        connection = socket.create_connection(("127.0.0.1", place), SECONDS, (source, 0))
        # The end of a handshake and the request after it would wait for each other.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(SECONDS)
    connection.connect(str(place))
    return connection


def _read_answer(connection: socket.socket) -> tuple[int, bytes]:
    response = HTTPResponse(connection)
    try:
        response.begin()
        return response.status, response.read()
    except HTTPException:
        return 0, b""
    finally:
        response.close()
