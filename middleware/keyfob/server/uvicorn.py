"""Protocol classes with which uvicorn fills the ASGI `tls` extension and tells the socket's true peer.

Give them to uvicorn by name, `--http keyfob.server.uvicorn:HTTPProtocol --ws keyfob.server.uvicorn:WebSocketProtocol`,
or let `keyfob serve` do it. They work for HTTP and WebSocket, on asyncio and uvloop.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol as UvicornH11Protocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from keyfob.errors import ServeError
from keyfob.server.connection import Connection


class H11Protocol(Connection, UvicornH11Protocol):  # type: ignore[misc]
    """HTTP/1.1 in Python alone."""


# HTTP/1.1 on httptools where it is installed, on h11 otherwise.
HTTPProtocol: type[asyncio.Protocol]
try:
    from keyfob.server.httptools import HTTPToolsProtocol
except ImportError:
    HTTPProtocol = H11Protocol
else:
    HTTPProtocol = HTTPToolsProtocol


if AutoWebSocketsProtocol is None:
    raise ServeError("no WebSocket library is installed", "pip install 'keyfob[server]'")


class WebSocketProtocol(Connection, AutoWebSocketsProtocol):  # type: ignore[misc, valid-type]
    """WebSocket on websockets where it is installed, on wsproto otherwise."""

    conn: Any
    handshake_complete: bool

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # uvicorn says nothing to a handshake that the library refused to read, and trips over it when it stops.
        if getattr(self.conn, "handshake_exc", None) is not None and not self.handshake_complete:
            self.handshake_complete = True
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # A refusal answers the handshake, too. uvicorn would log an error about every one.
            self.handshake_complete = True
