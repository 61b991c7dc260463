"""The server's side of TLS: who it is, whom it asks, and what it forgets after every connection."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keyfob.errors import ServeError
from keyfob.trust import Roots

LOGGER = logging.getLogger("keyfob.server")

_END_OF_CERTIFICATE = "-----END CERTIFICATE-----"


class ServerContext(ssl.SSLContext):
    """A context that knows the certificate it presents, in PEM; `ssl` itself does not tell."""

    server_certificate: str
    record_refused: Callable[[str], None]


def make_context(
    certificate: Path, key: Path, find_roots: Callable[[], Roots], record_refused: Callable[[str], None]
) -> ServerContext:
    """A context that asks every client for a certificate of the present roots, and lets those without one speak, too.

    They have to be able to: only the gate can tell them why they may not come in. A certificate that OpenSSL itself
    cannot verify ends the handshake, and `record_refused` is told why. TLS 1.2 and newer; nothing is resumed.
    Roots are asked for and the PEM files read again for each connection, so neither a new root nor a renewed server
    certificate needs a restart; if the files cannot be read any more, what was read at the start goes on. Raises
    ServeError if that first reading fails.
    """
    for path in (certificate, key):
        _require_readable(path)
    try:
        context = _ForgetfulContext(ssl.PROTOCOL_TLS_SERVER)
        context.recipe = lambda: _prepare(_make_recording(record_refused), certificate, key, find_roots())
        context.record_refused = record_refused
        _prepare(context, certificate, key, find_roots())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; OpenSSL's complaints about text are not
        said = getattr(error, "reason", None) or "they are not a certificate and an unencrypted key in PEM"
        hint = "give the server's certificate with its intermediates, and the unencrypted key that belongs to it"
        raise ServeError(f"{certificate} and {key} cannot be used together: {said}", hint) from error
    return context


def _make_recording(record_refused: Callable[[str], None]) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.record_refused = record_refused
    return context


def _require_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ServeError(f"{path} cannot be read: {error.strerror}", "name the server's PEM files") from error


def _prepare(context: ServerContext, certificate: Path, key: Path, roots: Roots) -> ServerContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An encrypted key would make OpenSSL ask the terminal; an empty answer makes it an error instead.
    context.load_cert_chain(certificate, key, password="")
    # Latin-1, because comments around the certificates may be in any encoding.
    leaf, end, _ = certificate.read_text(encoding="latin-1").partition(_END_OF_CERTIFICATE)
    context.server_certificate = leaf[leaf.find("-----BEGIN CERTIFICATE") :] + end + "\n"
    context.verify_mode = ssl.CERT_OPTIONAL
    if roots.anchors:
        context.load_verify_locations(cadata=roots.pem)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.sslobject_class = _AuditedObject
    return context


class _ForgetfulContext(ServerContext):
    """Gives every connection an OpenSSL context of its own, so that none can resume another's session.

    A resumed session brings a certificate back without the chain and without a look at revocation. Tickets can be
    turned off; the session cache of TLS 1.2 cannot, from Python, but it ends with its context.
    """

    recipe: Callable[[], ServerContext]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        try:
            return self.recipe().wrap_bio(*args, **kwargs)
        except (OSError, ValueError) as error:
            LOGGER.error("the server's certificate cannot be read again, so the old one stays: %s", error)
            return super().wrap_bio(*args, **kwargs)


class _AuditedObject(ssl.SSLObject):
    """Writes down which handshakes OpenSSL ended because of a client's certificate: asyncio keeps that to itself."""

    _refused = False

    def do_handshake(self) -> None:
        if self._refused:
            raise ssl.SSLError("the handshake was refused")
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            self._refused = True
            self.context.record_refused(error.verify_message)  # type: ignore[attr-defined]
            # An error here would make the event loop drop the connection with OpenSSL's alert still unsent, and the
            # client would not learn why. Asked to wait for more, the loop sends it; then the client hangs up, and if
            # it does not, the next bytes or the handshake's time limit end it.
            raise ssl.SSLWantReadError(str(error)) from error
        if self.session_reused:
            # Only the long-lived context can have remembered it, while the files on disk cannot be read.
            raise ssl.SSLError("a session was resumed, and none may be")
