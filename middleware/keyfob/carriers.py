"""The WSGI servers that are known, one table row each: where in an environ their own word stands, and where it ends.

What a client sends stands under keys that begin with `HTTP_`, and nothing here reads one of those.
"""

import os
import socket
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

# How a server's own settings are found: through what it wants to be called back by.
StartResponse = Callable[..., object]
Environ = Mapping[str, Any]
Hides = Callable[[bytes], bool]
Address = tuple[str, int | None]


class TLS(NamedTuple):
    """What the TLS layer has seen of a client that it asked: a chain in PEM, leaf first, and why that was refused."""

    chain: tuple[str, ...]
    error: str | None = None


class Peer(NamedTuple):
    """The socket's other end, whatever was written over REMOTE_ADDR since; None for a UNIX socket, which has none."""

    address: Address | None


# Where a socket has an address and nobody can tell which. RFC 7239 section 6.2 has the same word for it.
UNKNOWN_PEER = Peer(("unknown", None))


class Server(NamedTuple):
    """One row.

    `mark` is a key that this server alone writes. `read_tls` returns None where no client was asked for a certificate,
    `find_peer` None where REMOTE_ADDR has to do. `find_doubt` says why certificate headers cannot be believed, given
    the environ, `start_response` and which names matter; empty if they can. `cure` says how the server is made to hand
    over certificates of its own TLS layer.
    """

    name: str
    mark: str
    read_tls: Callable[[Environ], TLS | None]
    find_peer: Callable[[Environ], Peer | None]
    find_doubt: Callable[[Environ, StartResponse, Hides], str]
    cure: str


def find_server(environ: Environ) -> Server:
    """The row of the one server whose mark this environ bears; UNKNOWN where there is none, or more than one."""
    found = [row for row in SERVERS if row.mark in environ]
    return found[0] if len(found) == 1 else UNKNOWN


# --- A certificate of the server's own TLS layer --------------------------------------------------------------------


def read_socket(connection: object) -> TLS | None:
    """The chain that came with this connection's handshake. A resumed session brings back the leaf alone.

    Python ends a handshake with a certificate that it cannot verify, so there is never an error to tell.
    """
    if not isinstance(connection, ssl.SSLSocket) or connection.context.verify_mode == ssl.CERT_NONE:
        return None
    return TLS(tuple(map(_write_pem, read_chain(connection))))


def read_chain(tls: ssl.SSLSocket | ssl.SSLObject) -> list[bytes]:
    """What the client sent, DER, leaf first. Empty unless OpenSSL was told to verify it, and did."""
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None or tls.context.verify_mode == ssl.CERT_NONE:
        return []
    if sys.version_info >= (3, 13):
        return list(tls.get_unverified_chain()) or [leaf]
    # Before 3.13 the same method is there, on the inner object alone, and a certificate wraps its bytes.
    wrapped = tls._sslobj.get_unverified_chain() or ()  # type: ignore[union-attr,unused-ignore]
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in wrapped] or [leaf]


def _read_ssl_variables(environ: Environ) -> TLS | None:
    """mod_ssl's variables, which cheroot has borrowed. A certificate without a verdict beside it proves nothing."""
    verdict, leaf = environ.get("SSL_CLIENT_VERIFY"), environ.get("SSL_CLIENT_CERT")
    if environ.get("wsgi.url_scheme") != "https" or verdict is None:
        return None
    if verdict == "NONE" and not leaf:
        return TLS(())
    if verdict == "SUCCESS" and not leaf:
        # Verified, but not exported.
        return None
    error = None if verdict == "SUCCESS" else f"SSL_CLIENT_VERIFY says {verdict!r}"
    return TLS((str(leaf), *_read_numbered(environ)) if leaf else (), error)


def _read_numbered(environ: Environ) -> list[str]:
    """SSL_CLIENT_CERT_CHAIN_0 and so on: what the client sent after its leaf."""
    above: list[str] = []
    while pem := environ.get(f"SSL_CLIENT_CERT_CHAIN_{len(above)}"):
        above.append(str(pem))
    return above


def _read_uwsgi(environ: Environ) -> TLS | None:
    """uWSGI's HTTPS router hands over the leaf, as DER, if it could be verified.

    The router speaks to the worker over a socket of its own, and whoever else reaches that socket can say the same.
    """
    if environ.get("wsgi.url_scheme") != "https" or environ.get("UWSGI_ROUTER") != "http" or not _came_by_file():
        return None
    leaf = environ.get("HTTPS_CLIENT_CERTIFICATE")
    return TLS((_write_pem(leaf.encode("latin-1")),) if leaf else ())


def _came_by_file() -> bool:
    """Whether uWSGI got this request over a UNIX socket with a path, which file permissions guard."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    with socket.socket(fileno=os.dup(uwsgi.connection_fd())) as connection:
        name = connection.getsockname()
    # A port has a pair for a name, and an abstract socket has bytes.
    return isinstance(name, str) and bool(name)


def _write_pem(der: bytes) -> str:
    """All connections of a device get the very same text, which makes looking it up cheap."""
    return _write_once(der) if len(der) <= LONGEST_REMEMBERED else ssl.DER_cert_to_PEM_cert(der)


# In bytes: whoever sends certificates longer than this shall not fill the memory with them.
LONGEST_REMEMBERED = 4 * 1024
_write_once = lru_cache(maxsize=1024)(ssl.DER_cert_to_PEM_cert)


# --- The socket's other end -----------------------------------------------------------------------------------------


def find_other_end(connection: object) -> Peer:
    """Of a socket, that is; of anything else it is unknown, as it is once the other end has hung up."""
    if not isinstance(connection, socket.socket):
        return UNKNOWN_PEER
    if connection.family == socket.AF_UNIX:
        return Peer(None)
    try:
        host, port, *_ = connection.getpeername()
    except OSError:
        return UNKNOWN_PEER
    return Peer((host, port))


def _find_waitress_peer(environ: Environ) -> Peer:
    # The channel whose method this is keeps the socket, while REMOTE_ADDR may be what a header said.
    channel = getattr(environ["waitress.client_disconnected"], "__self__", None)
    return find_other_end(getattr(channel, "socket", None))


def _find_apache_peer(environ: Environ) -> Peer:
    # mod_remoteip writes over REMOTE_ADDR and removes the header that it copied, so that no trace is left.
    address = environ.get("CONN_REMOTE_ADDR")
    return Peer((str(address), None)) if address else UNKNOWN_PEER


# --- Whether a header can be told from its aliases ------------------------------------------------------------------


def _keeps_apart(environ: Environ, start_response: StartResponse, hides: Hides) -> str:
    """Headers with an underscore in their name are dropped, always."""
    return ""


# What gunicorn's settings have to be, so that no other spelling of a header arrives as that header. A value that is
# missing is that of a version which does not know the setting.
_GUNICORN: Mapping[str, tuple[Sequence[object], object]] = {
    "header_map": (("drop", "refuse"), "dangerous"),
    "protocol": (("http",), "http"),
    "http2_cleartext": (("off", "prior-knowledge"), "off"),
    "strip_header_spaces": ((False,), False),
}


def _find_gunicorn_doubt(environ: Environ, start_response: StartResponse, hides: Hides) -> str:
    settings = getattr(getattr(start_response, "__self__", None), "cfg", None)
    if settings is None:
        return (
            "gunicorn's settings are out of sight, so nobody can tell whether it takes X_Client_Cert for "
            "X-Client-Cert: let AccessMiddleware be the outermost middleware"
        )
    for name, (good, absent) in _GUNICORN.items():
        value = getattr(settings, name, absent)
        if value not in good:
            return f"gunicorn's {name} is {value!r}, so that a client can write a header which the proxy does not know"
    for name in getattr(settings, "forwarder_headers", ()):
        if name == "*" or hides(str(name).encode("latin-1", "replace")):
            return f"gunicorn's forwarder_headers lets {name} pass, which is then taken for the proxy's own header"
    return ""


def _merges(name: str) -> Callable[[Environ, StartResponse, Hides], str]:
    said = f"{name} takes X_Client_Cert for X-Client-Cert, so nobody can tell which of the two the proxy wrote: {_USE}"
    return lambda environ, start_response, hides: said


def _find_apache_doubt(environ: Environ, start_response: StartResponse, hides: Hides) -> str:
    if environ.get("CONN_REMOTE_ADDR"):
        return ""
    return (
        "Apache does not tell who its peer is, only what mod_remoteip may have made of it: write SetEnvIfExpr "
        '"%{CONN_REMOTE_ADDR} =~ /(.+)/" CONN_REMOTE_ADDR=$1 into its configuration'
    )


_USE = "use gunicorn, waitress or mod_wsgi behind a proxy"

# --- The table ------------------------------------------------------------------------------------------------------

_CONTEXT = "give it an ssl.SSLContext whose verify_mode is CERT_OPTIONAL and which has loaded ca.pem"
_NO_TLS = 'speaks no TLS: let a proxy do it, and write kind = "header" into the configuration'

SERVERS = (
    Server(
        "gunicorn",
        "gunicorn.socket",
        lambda environ: read_socket(environ["gunicorn.socket"]),
        lambda environ: find_other_end(environ["gunicorn.socket"]),
        _find_gunicorn_doubt,
        "give gunicorn all of --certfile server.pem --keyfile server-key.pem --ca-certs ca.pem --cert-reqs 1",
    ),
    Server(
        "werkzeug",
        "werkzeug.socket",
        lambda environ: read_socket(environ["werkzeug.socket"]),
        lambda environ: find_other_end(environ["werkzeug.socket"]),
        _keeps_apart,
        f"werkzeug's run_simple takes it as ssl_context: {_CONTEXT}",
    ),
    Server(
        "waitress",
        "waitress.client_disconnected",
        lambda environ: None,
        _find_waitress_peer,
        _keeps_apart,
        f"waitress {_NO_TLS}",
    ),
    Server(
        "cheroot",
        "ACTUAL_SERVER_PROTOCOL",
        _read_ssl_variables,
        lambda environ: None,
        _merges("cheroot"),
        f"cheroot's BuiltinSSLAdapter has it as context: {_CONTEXT}",
    ),
    Server(
        "mod_wsgi",
        "mod_wsgi.version",
        _read_ssl_variables,
        _find_apache_peer,
        _find_apache_doubt,
        "write SSLVerifyClient optional, SSLCACertificateFile and SSLOptions +StdEnvVars +ExportCertData into the "
        "virtual host",
    ),
    Server(
        "uwsgi",
        "uwsgi.version",
        _read_uwsgi,
        lambda environ: None,
        _merges("uWSGI"),
        "start uWSGI with --https ADDRESS,server.pem,server-key.pem,HIGH,ca.pem and, because whoever reaches the "
        "worker's socket can claim any certificate, with --socket PATH for a UNIX socket",
    ),
)

UNKNOWN = Server(
    "unknown",
    "",
    lambda environ: None,
    lambda environ: None,
    lambda environ, start_response, hides: (
        f"it is not known whether this server takes X_Client_Cert for X-Client-Cert: {_USE}"
    ),
    f"use one of {', '.join(row.name for row in SERVERS)}",
)
