"""Fewer and fuller writes: what one turn of the event loop says goes out as one."""

import asyncio

# Beyond this much, waiting for the end of the turn saves nothing, and the real transport has to see how much there is.
LONGEST_WAIT = 16 * 1024

_PASSED_ON = (
    "get_extra_info",
    "get_protocol",
    "get_write_buffer_limits",
    "get_write_buffer_size",
    "is_closing",
    "is_reading",
    "pause_reading",
    "resume_reading",
    "set_protocol",
    "set_write_buffer_limits",
)


class GatheringTransport(asyncio.Transport):
    """Holds back what is written until the event loop's next turn, and then writes it at once.

    uvicorn writes an answer's head and its body apart, which TLS makes two records of, each encrypted and sent on its
    own. Together they cost little more than one: that pays for the gate and leaves something over. Nothing waits for
    longer than the turn in which it was written, so a stream's first bytes are not late.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: list[bytes | bytearray | memoryview] = []
        self._size = 0
        for name in _PASSED_ON:
            setattr(self, name, getattr(transport, name))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As transports do it: returns at once, and what cannot be sent any more is dropped."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > LONGEST_WAIT:
            self._flush()

    def close(self) -> None:
        """Sends what is held first."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Drops what is held, as it drops everything else."""
        self._held, self._size = [], 0
        self._transport.abort()

    def can_write_eof(self) -> bool:
        """TLS has no half-closed connections, and HTTP needs none."""
        return False

    def _flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))
