"""Many connections that ask at once, each for its next answer as soon as it has the last: cheap, and in one thread.

What it costs is taken from the server's share of the machine, so requests are bytes that were made before, and nothing
of an answer is read but its status and its length.
"""

import re
import select
import socket
import ssl
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_SECONDS_OF_SILENCE = 60


@dataclass(frozen=True, slots=True)
class Told:
    """What a volley has met: seconds from each request to the end of its answer, and for all of them together."""

    waits: Sequence[float]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.waits) / self.seconds

    def percentile(self, percent: int) -> float:
        """In milliseconds."""
        return statistics.quantiles(self.waits, n=100, method="inclusive")[percent - 1] * 1000


@dataclass(slots=True)
class _Line:
    """One connection; `begun` is when its request was sent, `answer` what has come of it."""

    socket: ssl.SSLSocket
    begun: float = 0.0
    answer: bytearray = field(default_factory=bytearray)

    def ask(self, request: bytes) -> None:
        self.answer.clear()
        self.begun = time.perf_counter()
        # A request is far smaller than the room that a socket has for what is not sent yet.
        if self.socket.send(request) != len(request):
            raise RuntimeError("a request was sent in part")

    def receive(self) -> bool:
        """Whether the whole answer is there."""
        try:
            while received := self.socket.recv(1 << 18):
                self.answer += received
                if _is_whole(self.answer):
                    return True
        except ssl.SSLWantReadError:
            return False
        raise RuntimeError(f"the server hung up: {bytes(self.answer[:500])!r}")


@contextmanager
def connecting(port: int, context: ssl.SSLContext, count: int) -> Iterator[list[ssl.SSLSocket]]:
    """Connections to localhost, open until the end, whose handshakes are done."""
    with ExitStack() as stack:
        plain = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(count)]
        for each in plain:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield [stack.enter_context(context.wrap_socket(each, server_hostname="localhost")) for each in plain]


def ask_all(connections: Sequence[ssl.SSLSocket], requests: Iterable[bytes], expected: bytes) -> Told:
    """Send all requests, one at a time on each connection. Raises RuntimeError at an answer with another status."""
    lines = {each.fileno(): _Line(each) for each in connections}
    waiting, left, waits = select.epoll(), iter(requests), []
    for each in connections:
        each.setblocking(False)
        waiting.register(each.fileno(), select.EPOLLIN)
    begun = time.perf_counter()
    busy = sum(_ask_next(line, left) for line in lines.values())
    while busy:
        if not (ready := waiting.poll(_SECONDS_OF_SILENCE)):
            raise RuntimeError("the server does not answer")
        for descriptor, _ in ready:
            line = lines[descriptor]
            if line.begun and line.receive():
                waits.append(time.perf_counter() - line.begun)
                _require(line.answer, expected)
                busy -= not _ask_next(line, left)
    waiting.close()
    return Told(waits, time.perf_counter() - begun)


def _ask_next(line: _Line, left: Iterator[bytes]) -> bool:
    request = next(left, None)
    if request is None:
        line.begun = 0.0
        return False
    line.ask(request)
    return True


def _is_whole(answer: bytearray) -> bool:
    head = answer.find(_END_OF_HEAD)
    length = _LENGTH.search(answer, 0, head + 2) if head >= 0 else None
    return length is not None and len(answer) >= head + len(_END_OF_HEAD) + int(length[1])


def _require(answer: bytearray, expected: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 " + expected):
        raise RuntimeError(f"another answer than {expected!r}: {bytes(answer[:1000])!r}")
