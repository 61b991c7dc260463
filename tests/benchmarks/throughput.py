"""Requests per second through uvicorn with TLS and keep-alive: behind the gate, against the same app without it.

Without it there are two sides: uvicorn as it comes, and uvicorn with keyfob's protocol classes, which send an answer in
fewer writes. The limit holds against the first, which is what people have; the second shows the gate's own share.
"""

import contextlib
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from check import CONFIG

from certificates import make_authority, make_leaf, make_server
from servers import find_port, keyfob, make_client, running

ROUNDS, REQUESTS, CONNECTIONS, LIMIT = 151, 40, 8, 0.95

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
    elif scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
"""

# What curl sends.
REQUEST = b"GET / HTTP/1.1\r\nHost: money.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"


def connect(port: int, folder: Path) -> ssl.SSLSocket:
    """A connection that shows the device's certificate."""
    context = make_client(folder / "ca.pem", folder / "device.pem", folder / "device-key.pem")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")


def ask_all(connections: Sequence[ssl.SSLSocket]) -> None:
    """One request on each connection, all of them waiting at the server at once."""
    for connection in connections:
        connection.sendall(REQUEST)
    for connection in connections:
        answer = b""
        while not answer.endswith(b"hello"):
            received = connection.recv(65536)
            if not received:
                raise RuntimeError(f"the server hung up: {answer!r}")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"refused: {answer!r}")


def count_per_second(connections: Sequence[ssl.SSLSocket]) -> float:
    start = time.perf_counter()
    for _ in range(REQUESTS):
        ask_all(connections)
    return REQUESTS * len(connections) / (time.perf_counter() - start)


def _write_files(folder: Path) -> None:
    root = make_authority()
    (folder / "ca.pem").write_text(root.pem, encoding="ascii")
    make_leaf(root).write(folder, "device")
    make_server(root).write(folder, "server")
    (folder / "access.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "bare.py").write_text(APP, encoding="utf-8")


def _start(stack: contextlib.ExitStack, folder: Path, command: Sequence[str]) -> list[ssl.SSLSocket]:
    """A server of its own, and connections to it that have been used once."""
    port = find_port()
    stack.enter_context(running([*command, "--port", str(port)], port, folder))
    connections = [stack.enter_context(connect(port, folder)) for _ in range(CONNECTIONS)]
    count_per_second(connections)
    return connections


def measure() -> bool:
    """Prints the three sides, and the medians of the ratios of neighbouring rounds."""
    files = ["--certificate", "server.pem", "--key", "server-key.pem"]
    guarded = keyfob("serve", "bare:app", "--config", "access.toml", *files)
    stock = [sys.executable, "-m", "uvicorn", "bare:app", "--no-access-log", "--no-proxy-headers", "--log-level"]
    stock += ["warning", "--ssl-certfile", "server.pem", "--ssl-keyfile", "server-key.pem"]
    stock += ["--ssl-ca-certs", "ca.pem", "--ssl-cert-reqs", "1"]
    protocols = ["--http", "keyfob.server.uvicorn:HTTPProtocol", "--ws", "keyfob.server.uvicorn:WebSocketProtocol"]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        _write_files(Path(name))
        sides = [_start(stack, Path(name), command) for command in (stock, [*stock, *protocols], guarded)]
        rounds = [[count_per_second(connections) for connections in sides] for _ in range(ROUNDS)]
    theirs, ungated, ours = (statistics.median(side) for side in zip(*rounds, strict=True))
    ratio = statistics.median(each[2] / each[0] for each in rounds)
    share = statistics.median(each[2] / each[1] for each in rounds)
    print(f"throughput: uvicorn, TLS, {CONNECTIONS} connections, {ROUNDS} rounds of {REQUESTS * CONNECTIONS} requests")
    print(f"  uvicorn, the app alone         {theirs:7.0f} requests/s")
    print(f"  the same, keyfob's protocols   {ungated:7.0f} requests/s")
    print(f"  keyfob serve, the same app     {ours:7.0f} requests/s")
    print(f"  ratio to uvicorn               {ratio:7.2f}    (limit {LIMIT}: {'met' if ratio >= LIMIT else 'MISSED'})")
    print(f"  ratio to keyfob's protocols    {share:7.2f}    (the gate's own share)")
    return ratio >= LIMIT
