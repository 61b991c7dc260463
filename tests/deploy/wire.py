"""TLS and HTTP by hand: bytes go out as they are, and whatever comes back is told apart."""

import contextlib
import json
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

from deploy.setting import HOST

PATIENCE = 30

# Where clients come from: neither the proxy's address, nor one that is forged.
CLIENT = "127.0.0.3"


@dataclass(frozen=True)
class Answer:
    """What a request came to. `status` 0 means that the connection ended without an answer."""

    status: int
    body: bytes = b""
    session: ssl.SSLSession | None = None
    resumed: bool = False

    @property
    def told(self) -> dict[str, Any]:
        """The JSON that the app, or keyfob before it, answered with; empty when the proxy answered itself."""
        with contextlib.suppress(ValueError):
            read = json.loads(self.body)
            if isinstance(read, dict):
                return read
        return {}

    @property
    def reached_the_app(self) -> bool:
        return "fingerprint" in self.told

    @property
    def refusal(self) -> str:
        """keyfob's reason, or the proxy's status, or that it hung up. Not for what reached the app."""
        if self.status == 0:
            return "hung up"
        reason = str(self.told.get("type", ""))
        return reason.removeprefix("urn:keyfob:") if reason else f"proxy {self.status}"


def ask(
    context: ssl.SSLContext,
    port: int,
    request: bytes,
    *,
    name: str | None = HOST,
    session: ssl.SSLSession | None = None,
    source: str = CLIENT,
) -> Answer:
    """One connection, one request. `name` is the one in the handshake (SNI); `source` the address it comes from."""
    try:
        with (
            connect(port, source) as plain,
            context.wrap_socket(plain, server_hostname=name, session=session) as tls,
        ):
            tls.sendall(request)
            status, body = _read_answer(tls)
            return Answer(status, body, tls.session, bool(tls.session_reused))
    except TimeoutError:
        raise
    except OSError:
        # An alert, in the handshake or (TLS 1.3) after it, or a connection that was closed at once.
        return Answer(0)


def ask_app(port: int, request: bytes, *, source: str) -> Answer:
    """One request without TLS, past the proxy."""
    with connect(port, source) as plain:
        plain.sendall(request)
        return Answer(*_read_answer(plain))


def connect(port: int, source: str = CLIENT) -> socket.socket:
    """A connection to a port of this machine, from the address `source`."""
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
    # The end of a handshake and the request after it would wait for each other.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def _read_answer(connection: socket.socket) -> tuple[int, bytes]:
    response = HTTPResponse(connection)
    try:
        response.begin()
        return response.status, response.read()
    except HTTPException:
        return 0, b""
    finally:
        response.close()
