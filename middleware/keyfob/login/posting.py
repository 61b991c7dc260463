"""Posting: one mail, handed in to the mail server of the configuration.

Nobody but the owner of an address may learn whether a mail went there, and a server takes longer with a mail than
without one. So whoever asks waits until the server is ready for a mail, which takes as long either way, and the mail
follows in a thread behind the answer. What the server says of it then is for the log.
"""

import logging
import os
import smtplib
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from ipaddress import IPv6Address, ip_address
from typing import BinaryIO

from keyfob.errors import KeyfobError, LoginUnavailable
from keyfob.login.authorities import make_context
from keyfob.login.exchanges import MailServer, Post

# Seconds until a mail server is ready to take a mail, all of them; and until it has taken it.
PATIENCE = 5.0
DELIVERY = 30.0
# Connections that get ready at the same time, and mails that are then on their way.
MOST_MAILS, MOST_DELIVERIES = 16, 100
# Octets of all that a mail server says.
LARGEST = 65_536

_LOGGER = logging.getLogger("keyfob.login")
_SHOWN = 200


def check_server(server: MailServer) -> None:
    """Whether it may be used at all. Raises KeyfobError."""
    if server.security not in {"starttls", "tls", "none"}:
        raise KeyfobError(f"{server.security!r} is no security of a mail server", 'write "starttls", "tls" or "none"')
    if bool(server.username) != bool(server.password):
        raise KeyfobError("the mail server has a user name without a password, or the reverse", "write both, or none")
    if not (server.username + server.password).isascii():
        # smtplib sends nothing else, and says what it was when it fails.
        raise KeyfobError("user name and password of the mail server have to be ASCII", "choose another password")
    if server.username and server.security == "none" and not _is_here(server.host):
        raise KeyfobError("the password would cross the network in the clear", 'write security "starttls" or "tls"')


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def post(ask: Post) -> None:
    """Returns once the mail server is ready to take the mail. Raises LoginUnavailable.

    A process that ends takes a mail along that is still on its way.
    """
    try:
        check_server(ask.server)
    except KeyfobError as error:
        raise LoginUnavailable(error.message, error.hint) from error
    errand = _Errand(ask)
    if not _PLACES.acquire(blocking=False):
        raise LoginUnavailable(f"{MOST_MAILS} connections to {ask.server.host} are being made already")
    threading.Thread(target=errand.run, name="keyfob-mail", daemon=True).start()
    try:
        errand.is_ready.result(PATIENCE)
    except TimeoutError:
        errand.hang_up()
        raise LoginUnavailable(
            f"the mail server {ask.server.host} was not ready for a mail within {PATIENCE:g} seconds"
        ) from None


# Apart: whoever has a mail sent holds his place for longer, which would tell that there is one.
_PLACES, _DELIVERIES = threading.BoundedSemaphore(MOST_MAILS), threading.BoundedSemaphore(MOST_DELIVERIES)


def _begin_in_child() -> None:
    """No thread outlives a fork, and none of them gives its place back."""
    global _PLACES, _DELIVERIES
    _PLACES, _DELIVERIES = threading.BoundedSemaphore(MOST_MAILS), threading.BoundedSemaphore(MOST_DELIVERIES)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class _Errand:
    """One connection, in a thread of its own. Any other thread can end it."""

    def __init__(self, ask: Post) -> None:
        self.is_ready: Future[None] = Future()
        self._ask = ask
        self._places, self._deliveries = _PLACES, _DELIVERIES
        self._socket: socket.socket | None = None
        self._is_over = False
        self._connection = smtplib.SMTP(local_hostname="[127.0.0.1]", timeout=PATIENCE)

    def run(self) -> None:
        try:
            try:
                self._open()
            finally:
                self._places.release()
            # Set here and not before, so that nobody who waits sees more than this moment.
            self.is_ready.set_result(None)
            if self._ask.message is not None:
                self._take_turn(self._ask.message)
            with suppress(OSError, smtplib.SMTPException):
                self._connection.quit()
        except LoginUnavailable as error:
            self.is_ready.set_exception(error)
        finally:
            self._connection.close()
            if self._socket is not None:
                self._socket.close()

    def hang_up(self) -> None:
        """Ends it, in whatever the thread waits for."""
        self._is_over = True
        wire = self._socket
        if wire is not None:
            with suppress(OSError):
                # Not the method of an SSLSocket: that one first makes a plain socket of it, and the thread may be
                # about to send a password.
                socket.socket.shutdown(wire, socket.SHUT_RDWR)

    # --- Until the server is ready ------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Raises LoginUnavailable, whatever it is: somebody waits for it."""
        server, connection = self._ask.server, self._connection
        try:
            self._greet(server)
            if server.username:
                connection.login(server.username, server.password)
            _require(250, connection.mail(self._ask.sender))
        except Exception as error:
            raise LoginUnavailable(f"the mail server {server.host} takes no mail: {_describe(error)}") from error

    def _greet(self, server: MailServer) -> None:
        connection = self._connection
        self._socket = wire = socket.create_connection((server.host, server.port), timeout=PATIENCE)
        if self._is_over:
            raise TimeoutError("too late")
        connection.local_hostname = _write_literal(wire.getsockname()[0])
        self._attach(self._secure(wire, server) if server.security == "tls" else wire)
        _require(220, connection.getreply())
        connection.ehlo_or_helo_if_needed()
        if server.security == "starttls":
            self._start_tls(wire, server)

    def _start_tls(self, wire: socket.socket, server: MailServer) -> None:
        """RFC 3207. Somebody between who takes the word out of the server's list gets no further than this."""
        connection = self._connection
        if not connection.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("it offers no STARTTLS")
        _require(220, connection.docmd("STARTTLS"))
        # Section 4.2: nothing counts that was said before, and what was sent ahead of the handshake is lost with the
        # old reader.
        self._attach(self._secure(wire, server))
        connection.ehlo_resp = connection.helo_resp = None
        connection.ehlo_or_helo_if_needed()

    def _secure(self, wire: socket.socket, server: MailServer) -> ssl.SSLSocket:
        context = make_context(server.authority)
        secured = context.wrap_socket(wire, server_hostname=server.host, do_handshake_on_connect=False)
        self._socket = secured
        secured.do_handshake()
        return secured

    def _attach(self, wire: socket.socket) -> None:
        if self._connection.file is not None:
            self._connection.file.close()
        self._connection.sock, self._connection.file = wire, _Reader(wire.makefile("rb"))

    # --- And behind the answer ----------------------------------------------------------------------------------------

    def _take_turn(self, message: EmailMessage) -> None:
        if not self._deliveries.acquire(blocking=False):
            where, recipient = self._ask.server.host, self._ask.recipient
            _LOGGER.warning("%d mails are on their way to %s, and %r gets none", MOST_DELIVERIES, where, recipient)
            return
        try:
            self._deliver(message)
        finally:
            self._deliveries.release()

    def _deliver(self, message: EmailMessage) -> None:
        connection, recipient = self._connection, self._ask.recipient
        watch = threading.Timer(DELIVERY, self.hang_up)
        watch.daemon = True
        watch.start()
        try:
            if connection.sock is not None:
                connection.sock.settimeout(DELIVERY)
            _require(250, connection.rcpt(recipient))
            _require(250, connection.data(message.as_bytes(policy=SMTP)))
        except Exception as error:  # noqa: BLE001 - nobody waits for it any more
            where, why = self._ask.server.host, _describe(error)
            _LOGGER.warning("the mail server %s did not take a code for %r: %s", where, recipient, why)
        finally:
            watch.cancel()


def _require(code: int, answer: tuple[int, bytes]) -> None:
    if answer[0] != code:
        raise smtplib.SMTPResponseException(*answer)


class _Reader:
    """What a server says, up to a limit. smtplib reads each line with one, but as many lines as there are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = LARGEST

    def readline(self, most: int) -> bytes:
        line = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise OSError(f"it says more than {LARGEST} octets")
        return line

    def close(self) -> None:
        self._file.close()


def _write_literal(address: str) -> str:
    """What a client without a name says in EHLO (RFC 5321 section 4.1.3): nobody has to be asked for it."""
    found = ip_address(address.partition("%")[0])
    return f"[IPv6:{found}]" if isinstance(found, IPv6Address) else f"[{found}]"


def _describe(error: Exception) -> str:
    """What went wrong, and nothing that was sent."""
    match error:
        case smtplib.SMTPAuthenticationError():
            # Its words may be those that it was sent.
            return f"{error.smtp_code}, it refuses the user name or the password"
        case smtplib.SMTPResponseException():
            said = error.smtp_error
            words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
            return f"{error.smtp_code} {words[:_SHOWN]!r}"
        case ssl.SSLCertVerificationError():
            return f"its certificate does not fit: {error.verify_message}"
        case smtplib.SMTPServerDisconnected() | smtplib.SMTPNotSupportedError():
            return str(error)
        case OSError():
            return error.strerror or str(error)
    return type(error).__name__
