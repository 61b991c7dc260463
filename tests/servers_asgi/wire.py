"""HTTP by hand, as a proxy or somebody who plays one writes it: to a port or to a UNIX socket, with TLS or without."""

import socket
import ssl
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from deploy.forgeries import Headers, write_request
from deploy.wire import Answer

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
# Long enough for a busy machine; nothing waits for it on a quiet one.
PATIENCE = 30

# RFC 6455 section 1.3: the specification's own key.
HANDSHAKE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


def ask(at: int | Path, target: str, headers: Headers = (), *, source: str = PROXY) -> Answer:
    """One GET, on a connection of its own. `source` is the address that it comes from, where it has one."""
    return send(at, write_request(headers, target=target), source=source)


def ask_websocket(at: int | Path, target: str, headers: Headers = (), *, source: str = PROXY) -> Answer:
    """One opening handshake. The answer's status is 101 where it was accepted, and its body the first frame's text."""
    return send(at, write_request([*HANDSHAKE, *headers], target=target), source=source)


def ask_over_tls(at: int | Path, target: str, context: ssl.SSLContext, headers: Headers = ()) -> Answer:
    """One GET to `localhost` over TLS. Status 0 where the handshake was refused."""
    with connect(at) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(write_request(headers, host="localhost", target=target))
                return _read(tls)
        except (ssl.SSLError, ConnectionError):
            # TLS 1.3 says no after the handshake, and a client that writes meanwhile may find the connection gone.
            return Answer(0)


def write_chunked(target: str, headers: Headers, trailers: Headers) -> bytes:
    """A POST whose body is one letter, in a chunk, with trailers after it."""
    head = write_request([*headers, ("Transfer-Encoding", "chunked")], target=target).replace(b"GET", b"POST", 1)
    end = "".join(f"{header}: {value}\r\n" for header, value in trailers)
    return head + f"1\r\na\r\n0\r\n{end}\r\n".encode("ascii")


def send(at: int | Path, request: bytes, *, source: str = PROXY) -> Answer:
    """Exactly these bytes, in one packet where they fit into one."""
    with connect(at, source) as connection:
        connection.sendall(request)
        return _read(connection)


def connect(at: int | Path, source: str = PROXY) -> socket.socket:
    """A connection to the server that listens there."""
    if isinstance(at, int):
        return socket.create_connection(("127.0.0.1", at), PATIENCE, (source, 0))
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(str(at))
    except OSError:
        connection.close()
        raise
    return connection


def _read(connection: socket.socket) -> Answer:
    response = HTTPResponse(connection)
    try:
        response.begin()
        body = _read_frame(response) if response.status == 101 else response.read()
    except HTTPException:
        return Answer(0)
    else:
        return Answer(response.status, body)
    finally:
        response.close()


def _read_frame(response: HTTPResponse) -> bytes:
    """RFC 6455 section 5.2: an unmasked frame of less than 64 KiB."""
    length = response.fp.read(2)[1]
    return response.fp.read(int.from_bytes(response.fp.read(2), "big") if length == 126 else length)
