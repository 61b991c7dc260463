"""Services on loopback that answer over HTTP what a function says, and keep what they were asked."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("ascii"), keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer. `wait` are seconds until it begins, `drip` seconds between two of its octets."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    drip: float = 0.0


def say(content: Any, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
    """JSON."""
    return Reply(status, json.dumps(content).encode(), {"content-type": "application/json", **headers})


def lead(address: str) -> Reply:
    """A redirect."""
    return Reply(302, b"", {"location": address})


@dataclass
class Service:
    """One that is up at `url`. `asked` is everything that it was asked."""

    url: str
    asked: list[Asked]
    ended: threading.Event

    @property
    def paths(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.asked]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With five, which is the default, the sixth of those that come at once is answered a second later.
    request_queue_size = 128
    service: Service
    answer: Callable[[Asked], Reply | None]

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together: apart, the second would wait for the first to be acknowledged.
    wbufsize = 65_536
    server: _Server

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("content-length", 0))),
        )
        self.server.service.asked.append(asked)
        reply = self.server.answer(asked)
        if reply is None:
            self.close_connection = True
            return
        with contextlib.suppress(OSError):
            self._send(reply)

    do_GET = do_POST = _serve  # noqa: N815 - as http.server calls them

    def _send(self, reply: Reply) -> None:
        ended = self.server.service.ended
        ended.wait(reply.wait)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        if not reply.drip:
            self.wfile.write(reply.body)
            return
        for octet in reply.body:
            self.wfile.write(bytes([octet]))
            self.wfile.flush()
            if ended.wait(reply.drip):
                return

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(answer: Callable[[Asked], Reply | None], tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    """Answers on a free port of localhost until the end. Where there is no Reply, the connection is closed."""
    server = _Server(("127.0.0.1", 0), _Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    service = Service(f"{scheme}://localhost:{server.server_port}", [], threading.Event())
    server.service, server.answer = service, answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def wait_until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for something that another thread brings about. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.01)
