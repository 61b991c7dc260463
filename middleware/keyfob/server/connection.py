"""One connection on uvicorn: what its TLS layer knows, put where every request of it can see it."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.carriers import read_chain
from keyfob.certificate import read_pem
from keyfob.errors import Malformed
from keyfob.request import SOCKET_PEER
from keyfob.server.context import ServerContext
from keyfob.server.transport import GatheringTransport

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config

App = Callable[[Any, Any, Any], Awaitable[None]]

# In bytes: three or four certificates.
LONGEST_REMEMBERED = 8 * 1024

# The numbers of RFC 5246 and RFC 8446; older versions cannot be negotiated any more.
TLS_VERSIONS: Mapping[str | None, int] = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class Connection:
    """Mixed into a uvicorn protocol: wraps the app once per connection, outside anything that rewrites the scope."""

    # What AccessMiddleware looks for when the server starts.
    hands_over_certificates = True

    app: App
    config: "Config"
    loop: "asyncio.AbstractEventLoop"

    def connection_made(self, transport: "asyncio.Transport") -> None:
        # A WebSocket takes over the transport of the HTTP connection that it began as.
        if not isinstance(transport, GatheringTransport):
            transport = GatheringTransport(transport, self.loop)
        super().connection_made(transport)  # type: ignore[misc]
        self.app = _announce(self.app, describe_connection(transport, self.config.ssl_certfile))


def describe_connection(transport: "asyncio.BaseTransport", server_certificate: object) -> dict[str, dict[str, Any]]:
    """The ASGI extensions that hold for every request of one connection: the socket's peer, and `tls` if there is TLS.

    `server_certificate` is the path of the PEM file that the server presents, or None.
    """
    peer = transport.get_extra_info("peername")
    # A UNIX socket's peer has no address: its name is empty text.
    client = tuple(peer[:2]) if isinstance(peer, tuple | list) else None
    extensions: dict[str, dict[str, Any]] = {SOCKET_PEER: {"client": client}}
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is not None:
        extensions["tls"] = describe_tls(tls, server_certificate)
    return extensions


def describe_tls(tls: ssl.SSLObject, server_certificate: object) -> dict[str, Any]:
    """The `tls` extension of the ASGI specification, version 0.2, every key of it."""
    chain, name, error = _describe_client(tuple(read_chain(tls)))
    cipher = tls.cipher()
    return {
        "server_cert": _describe_server(tls, server_certificate),
        "client_cert_chain": chain,
        "client_cert_name": name,
        "client_cert_error": error,
        "tls_version": TLS_VERSIONS.get(tls.version()),
        "cipher_suite": _cipher_numbers().get(cipher[0]) if cipher else None,
    }


def _announce(app: App, extensions: Mapping[str, Any]) -> App:
    # No coroutine of its own: one more frame in every request would cost more than all it does.
    def announcing(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        others = scope.get("extensions")
        scope["extensions"] = {**others, **extensions} if others else {**extensions}
        return app(scope, receive, send)

    return announcing


def _describe_client(chain: tuple[bytes, ...]) -> tuple[tuple[str, ...], str | None, str | None]:
    """PEM, name and error. All connections of a device get the very same texts, which makes looking them up cheap.

    But not those of one who sends a heap of certificates, another each time, to fill the memory with them.
    """
    short = sum(map(len, chain)) <= LONGEST_REMEMBERED
    return _describe_once(chain) if short else _describe_once.__wrapped__(chain)


@lru_cache(maxsize=1024)
def _describe_once(chain: tuple[bytes, ...]) -> tuple[tuple[str, ...], str | None, str | None]:
    pem = tuple(map(ssl.DER_cert_to_PEM_cert, chain))
    if not pem:
        return (), None, None
    try:
        return pem, read_pem(pem[0]).subject.rfc4514_string(), None
    except Malformed as error:
        return pem, None, error.message


def _describe_server(tls: ssl.SSLObject, path: object) -> str | None:
    """The certificate that the server presents: ours knows, uvicorn's own context read this file when it started."""
    if isinstance(tls.context, ServerContext):
        return tls.context.server_certificate
    return _read_leaf(Path(str(path))) if path else None


@lru_cache(maxsize=16)
def _read_leaf(path: Path) -> str | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.PEM).decode("ascii")
    except (OSError, ValueError):
        # The extension's own word for "not known"; the handshake has already gone well without our reading.
        return None


@lru_cache(maxsize=1)
def _cipher_numbers() -> Mapping[str, int]:
    """OpenSSL's cipher names and the sixteen bits that stand for them on the wire."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL")
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}
