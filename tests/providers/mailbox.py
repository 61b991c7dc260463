"""A real mail server (aiosmtpd) on loopback, and one that says over the same protocol whatever a test wants.

with mailbox(security="starttls", pair=certificate, login=("me", "secret")) as box:
    … something that hands in mail at localhost:box.port …
    box.wait().code
"""

import asyncio
import contextlib
import re
import socket
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from certificates import Pair
from providers.serving import wait_until


@dataclass(frozen=True)
class Mail:
    """One that was handed in: by whom, for whom, and what it says."""

    sender: str
    recipients: list[str]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        found = message_from_bytes(self.raw, policy=POLICY)
        assert isinstance(found, EmailMessage)
        return found

    @property
    def text(self) -> str:
        return str(self.message.get_content())

    @property
    def code(self) -> str:
        """What stands first in it."""
        match = re.match(r"[0-9]+", self.text)
        assert match is not None, self.text
        return match[0]


@dataclass
class Mailbox:
    """A server that is up. `answers` are what it says to MAIL, RCPT and DATA instead of 250; `waits` are seconds
    before that. `said` is every command that it was told, without what an AUTH has in it."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    closed: int = 0

    def wait(self, number: int = 1) -> Mail:
        """The last of so many mails, once they are there."""
        wait_until(lambda: len(self.mails) >= number)
        return self.mails[number - 1]

    async def _answer(self, command: str) -> str:
        self.said.append(command)
        for _ in range(int(self.waits.get(command, 0.0) * 50)):
            if self.ended.is_set():
                break
            await asyncio.sleep(0.02)
        return self.answers.get(command, "250 OK")

    # --- What aiosmtpd calls ------------------------------------------------------------------------------------------

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.names.append(hostname)
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer("MAIL")
        if answer.startswith("250"):
            envelope.mail_from = address
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer("RCPT")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await self._answer("DATA")
        if answer.startswith("250"):
            content = envelope.original_content or b""
            self.mails.append(Mail(str(envelope.mail_from), list(envelope.rcpt_tos), content))
        return answer

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.said.append("QUIT")
        return "221 Bye"


@contextlib.contextmanager
def mailbox(
    *, security: str = "none", pair: Pair | None = None, login: tuple[str, str] | None = None, name: str = "mail.test"
) -> Iterator[Mailbox]:
    """One that is up on a free port of localhost; with "tls" and "starttls" it shows the certificate `pair`."""
    box = Mailbox()
    context = None if pair is None else make_context(pair)
    options: dict[str, Any] = {"hostname": name}
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if login is not None:
        expected = LoginPassword(*(each.encode() for each in login))
        options |= {
            "authenticator": lambda server, session, envelope, mechanism, data: AuthResult(
                success=data == expected, handled=False
            ),
            "auth_required": True,
            "auth_require_tls": security == "starttls",
        }

    connections: list[SMTP] = []

    def serve() -> SMTP:
        with warnings.catch_warnings():
            # It warns of passwords in the clear, which is what a test may be about.
            warnings.simplefilter("ignore")
            connections.append(SMTP(box, **options))
        return connections[-1]

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    wrapped = context if security == "tls" else None
    server = asyncio.run_coroutine_threadsafe(loop.create_server(serve, "127.0.0.1", 0, ssl=wrapped), loop).result()
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        box.ended.set()
        asyncio.run_coroutine_threadsafe(_stop(server, connections), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(server: asyncio.Server, connections: Sequence[SMTP]) -> None:
    server.close()
    for each in connections:
        if isinstance(each.transport, asyncio.WriteTransport):
            each.transport.abort()
    tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # What was aborted is closed in the rounds of the loop that come next, one after the other with TLS.
    for _ in range(5):
        await asyncio.sleep(0)


def make_context(pair: Pair) -> ssl.SSLContext:
    """A server's side of TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*pair.write(Path(folder), "server"))
    return context


# --- One that says whatever a test wants ------------------------------------------------------------------------------


@dataclass
class Speaker:
    """A server that says its lines: the first at once, each of the others to the next command. `heard` are those."""

    port: int
    heard: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def speaking(lines: Sequence[bytes], *, drip: float = 0.0) -> Iterator[Speaker]:
    """After the last line it says nothing more, and keeps the connection. `drip` are seconds between two octets."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        speaker = Speaker(listener.getsockname()[1])

        def speak(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
                for number, line in enumerate(lines):
                    if number:
                        heard = reader.readline(2000)
                        if not heard:
                            return
                        speaker.heard.append(heard)
                    _say(connection, line, drip, ended)
                while not ended.is_set() and (more := reader.readline(2000)):
                    speaker.heard.append(more)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=speak, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield speaker
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def _say(connection: socket.socket, line: bytes, drip: float, ended: threading.Event) -> None:
    if not drip:
        connection.sendall(line)
        return
    for octet in line:
        connection.sendall(bytes([octet]))
        if ended.wait(drip):
            return
