"""HTTP/1.1 on httptools, with the bounds that httptools leaves to others."""

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as UvicornHTTPToolsProtocol

from keyfob.server.connection import Connection

if TYPE_CHECKING:
    import asyncio

# In bytes, as h11's own, and in seconds.
LONGEST_HEAD = 64 * 1024
PATIENCE = 20.0


class HTTPToolsProtocol(Connection, UvicornHTTPToolsProtocol):
    """HTTP/1.1 on httptools.

    Everybody may speak to it: strangers have to be let into the TLS connection to be told why they may not come in. So
    it bounds what one of them can make it keep, where httptools alone does not: a head or a trailer of LONGEST_HEAD
    bytes, and PATIENCE seconds for a head to be complete. What comes after the body is never taken for a header.
    """

    _waiting = 0
    _heads = 0
    _heads_seen = -1

    def connection_made(self, transport: "asyncio.Transport") -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._next_look = self.loop.call_later(PATIENCE, self._look_again)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._waiting += len(data)
        _receive(self, data)
        if self._waiting > LONGEST_HEAD:
            self._hang_up(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._waiting = 0
        self._heads += 1
        if not self.parser.should_upgrade():
            _complete_head(self)
            # Trailers would be added to the headers that the app reads, after the gate has read them.
            self.headers = _NOWHERE
        elif any(name in _BODY_HEADERS for name, _ in self.headers):
            # The handshake is parsed a second time, by the WebSocket library, which knows no body.
            raise ValueError("a handshake has no body")
        else:
            _complete_head(self)

    def on_body(self, body: bytes) -> None:
        self._waiting = 0
        _add_body(self, body)

    def _look_again(self) -> None:
        """Ends a connection on which the same head, or none, was unfinished at the last look as well."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        # While an answer is on its way, what came last may have been the end of its request's body.
        unfinished = self._heads == 0 or (self._waiting > 0 and self._is_idle())
        if unfinished and self._heads == self._heads_seen:
            self._hang_up(b"408 Request Timeout")
            return
        self._heads_seen = self._heads
        self._next_look = self.loop.call_later(PATIENCE, self._look_again)

    def _is_idle(self) -> bool:
        """No request is being answered."""
        cycle: Any = self.cycle  # None until the first head is complete, whatever its annotation says.
        return cycle is None or bool(cycle.response_complete)

    def _hang_up(self, status: bytes) -> None:
        if self.transport.is_closing():
            return
        # In the middle of another answer, a status line would be read as a part of it.
        if self._is_idle():
            self.transport.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()


class _Nowhere(list[tuple[bytes, bytes]]):
    """A list that stays empty."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        return


_NOWHERE = _Nowhere()
_BODY_HEADERS = (b"content-length", b"transfer-encoding")

# By name, because super() costs a look-up for every piece of every request.
_receive = UvicornHTTPToolsProtocol.data_received
_complete_head = UvicornHTTPToolsProtocol.on_headers_complete
_add_body = UvicornHTTPToolsProtocol.on_body
