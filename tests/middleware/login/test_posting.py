"""Posting: real mail servers on loopback, right and wrong."""

import base64
import logging
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from cryptography import x509

from certificates import DAY, SERVER, Pair, make_authority, make_leaf, make_server
from keyfob.errors import KeyfobError, LoginUnavailable
from keyfob.login import posting
from keyfob.login.exchanges import MailServer, Post
from keyfob.login.posting import check_server, post
from providers.mailbox import Mailbox, mailbox, speaking
from providers.serving import wait_until
from servers import environment, find_port

ME, SENDER = "me@example.com", "keys@example.org"
NAME, PASSWORD = "keyfob", "hush-hush"
ROOT = make_authority("Mail")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_text(ROOT.pem, encoding="ascii")
    return str(path)


@pytest.fixture(autouse=True)
def _all_come_to_an_end() -> Iterator[None]:
    """No mail is on its way any more when a test ends."""
    yield
    wait_until(is_left)


def make_message() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Your code"
    message["From"], message["To"] = SENDER, ME
    message.set_content("12345678 is your code.\n.\nA dot alone ends nothing.\n")
    return message


def hand_in(server: MailServer, message: EmailMessage | None = None) -> None:
    post(Post(server, SENDER, ME, message))


def here(box: Mailbox, security: str = "none", **more: str) -> MailServer:
    return MailServer("localhost", box.port, security, **more)


def make_aged(begins: timedelta, ends: timedelta) -> Pair:
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    return make_leaf(ROOT, "localhost", usages=[SERVER], extensions=[(names, False)], begins=begins, ends=ends)


# --- Mails that arrive ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", [None, (NAME, PASSWORD)], ids=["open", "login"])
@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_mail_arrives(security: str, login: tuple[str, str] | None, authority: str) -> None:
    more = {} if login is None else {"username": NAME, "password": PASSWORD}
    with mailbox(security=security, pair=make_server(ROOT), login=login) as box:
        hand_in(here(box, security, authority=authority, **more), make_message())
        mail = box.wait()
    assert (mail.sender, mail.recipients, mail.code) == (SENDER, [ME], "12345678")
    assert mail.text.splitlines() == ["12345678 is your code.", ".", "A dot alone ends nothing."]


def test_nobody_is_asked_what_we_are_called() -> None:
    """A name of this machine would have to be looked up, and is nobody's business."""
    with mailbox() as box:
        hand_in(here(box), make_message())
        box.wait()
        assert box.names == ["[127.0.0.1]"]


def test_without_a_message_all_is_done_that_is_waited_for() -> None:
    """Whoever measures how long it takes learns nothing."""
    with mailbox() as box:
        hand_in(here(box))
        wait_until(lambda: "QUIT" in box.said)
        assert box.said == ["MAIL", "QUIT"]
        assert box.mails == []


def test_nobody_waits_for_what_the_server_says_of_a_mail() -> None:
    with mailbox() as box:
        box.waits["RCPT"] = 60.0
        hand_in(here(box), make_message())
        assert box.mails == []
        box.waits["RCPT"] = 0.0
        box.ended.set()
        box.wait()


# --- Servers that take none -------------------------------------------------------------------------------------------


def refuse(server: MailServer, words: str) -> None:
    """The same is said whether or not there is a mail."""
    for message in (None, make_message()):
        with pytest.raises(LoginUnavailable, match=words) as caught:
            hand_in(server, message)
        assert PASSWORD not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"421 too busy\r\n", "takes no mail: 421 'too busy'"),
        (b"554 no SMTP here\r\n", "takes no mail: 554 'no SMTP here'"),
        (b"250 what\r\n", "takes no mail: 250 'what'"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "takes no mail"),
        (b"\x16\x03\x01\x00\r\n", "takes no mail"),
        (b"", "timed out|not ready"),
    ],
)
def test_a_server_that_greets_otherwise_takes_no_mail(
    greeting: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PATIENCE", 0.5)
    with speaking([greeting, b"250 here\r\n", b"250 OK\r\n"]) as speaker:
        refuse(MailServer("localhost", speaker.port, "none"), words)


@pytest.mark.parametrize("answer", ["421 shutting down", "451 try later", "550 not this sender", "452 disk full"])
def test_a_server_that_refuses_the_sender_takes_no_mail(answer: str) -> None:
    with mailbox() as box:
        box.answers["MAIL"] = answer
        refuse(here(box), answer.partition(" ")[2])


def test_nobody_is_there() -> None:
    refuse(MailServer("localhost", find_port(), "none"), "Connection refused")


def test_nobody_has_that_name() -> None:
    refuse(MailServer("mail.invalid", 25, "none"), r"mail\.invalid (takes no mail|was not ready)")


def is_left() -> bool:
    return not [each for each in threading.enumerate() if each.name == "keyfob-mail"]


def test_a_silent_server_has_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PATIENCE", 0.3)
    with speaking([b""]) as speaker:
        refuse(MailServer("localhost", speaker.port, "none"), r"not ready for a mail within 0\.3 seconds|timed out")
        wait_until(is_left)


def test_a_slow_server_has_so_many_seconds_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then would otherwise keep whoever waits for ever; it would be ready in the end."""
    monkeypatch.setattr(posting, "PATIENCE", 0.3)
    lines = [b"220-" + b"x" * 60 + b"\r\n220 here\r\n", b"250 here\r\n", b"250 OK\r\n"]
    with speaking(lines, drip=0.03) as speaker:
        refuse(MailServer("localhost", speaker.port, "none"), "not ready for a mail|timed out")


@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_slow_server_is_left(security: str, monkeypatch: pytest.MonkeyPatch, authority: str) -> None:
    """Drop by drop, the greeting or the handshake would take more than a minute.

    Python's way to end a TLS connection first makes a plain one of it, over which the next thing would be sent.
    """
    monkeypatch.setattr(posting, "PATIENCE", 0.3)
    monkeypatch.setattr(ssl.SSLSocket, "shutdown", None)
    line = b"\x16\x03\x03\x40\x00" + b"\x02" * 4000 if security == "tls" else b"220-" + b"x" * 4000
    with speaking([line], drip=0.02) as speaker:
        refuse(MailServer("localhost", speaker.port, security, authority=authority), "not ready for a mail|timed out")
        wait_until(is_left)


@pytest.mark.parametrize("lines", [b"220-" + b"x" * 100 + b"\r\n", b"220-" + b"x" * 90_000], ids=["lines", "one line"])
def test_a_server_that_never_ends_is_not_listened_to(lines: bytes) -> None:
    with speaking([lines * 5000 if len(lines) < 1000 else lines]) as speaker:
        refuse(MailServer("localhost", speaker.port, "none"), "it says more than 65536 octets|Line too long")


# --- What nobody else may see -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["name", "issuer", "time", "not yet"])
def test_a_certificate_that_does_not_fit_gets_no_password(security: str, wrong: str, authority: str) -> None:
    pair = {
        "name": lambda: make_server(ROOT, "mail.example.com"),
        "issuer": lambda: make_server(make_authority("Somebody")),
        "time": lambda: make_aged(-9 * DAY, -DAY),
        "not yet": lambda: make_aged(DAY, 9 * DAY),
    }[wrong]()
    with mailbox(security=security, pair=pair, login=(NAME, PASSWORD)) as box:
        server = here(box, security, username=NAME, password=PASSWORD, authority=authority)
        refuse(server, "its certificate does not fit")
        assert box.said == []


def test_without_an_authority_the_systems_are_asked() -> None:
    with mailbox(security="tls", pair=make_server(ROOT)) as box:
        refuse(here(box, "tls"), "its certificate does not fit")


def test_a_server_without_starttls_gets_no_password() -> None:
    """Somebody between takes the word out of the list, and waits for the password."""
    lines = [b"220 here\r\n", b"250-here\r\n250 AUTH PLAIN LOGIN\r\n", b"235 thanks\r\n", b"250 OK\r\n", b"250 OK\r\n"]
    with speaking(lines) as speaker:
        server = MailServer("localhost", speaker.port, "starttls", NAME, PASSWORD)
        refuse(server, "it offers no STARTTLS")
        wait_until(lambda: len(speaker.heard) >= 2)
        assert {line.split()[0] for line in speaker.heard} == {b"ehlo"}


@pytest.mark.parametrize("answer", [b"454 not now\r\n", b"250 fine\r\n", b"220 go\r\n250-here\r\n250 AUTH PLAIN\r\n"])
def test_a_server_that_does_not_begin_tls_gets_no_password(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one sends ahead what it would say after the handshake."""
    monkeypatch.setattr(posting, "PATIENCE", 0.5)
    lines = [b"220 here\r\n", b"250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", answer]
    with speaking(lines) as speaker:
        refuse(MailServer("localhost", speaker.port, "starttls", NAME, PASSWORD), "takes no mail|not ready")
        assert base64.b64encode(f"\0{NAME}\0{PASSWORD}".encode()) not in b"".join(speaker.heard)
        assert b"AUTH" not in b"".join(speaker.heard).upper()


def test_a_wrong_password_is_told_without_it(authority: str) -> None:
    with mailbox(security="starttls", pair=make_server(ROOT), login=(NAME, "another")) as box:
        server = here(box, "starttls", username=NAME, password=PASSWORD, authority=authority)
        refuse(server, "535, it refuses the user name or the password")


def test_a_server_that_repeats_what_it_was_told_is_not_repeated() -> None:
    said = base64.b64encode(f"\0{NAME}\0{PASSWORD}".encode())
    lines = [b"220 here\r\n", b"250-here\r\n250 AUTH PLAIN\r\n", b"535 who is " + said + b"?\r\n"]
    with speaking(lines) as speaker:
        server = MailServer("localhost", speaker.port, "none", NAME, PASSWORD)
        with pytest.raises(LoginUnavailable) as caught:
            hand_in(server)
    assert said.decode() not in str(caught.value)


def test_a_server_that_knows_no_passwords_is_told_none() -> None:
    with mailbox() as box:
        refuse(here(box, username=NAME, password=PASSWORD), "AUTH")
        assert "MAIL" not in box.said


SERVERS = {
    "the clear": (MailServer("mail.example.com", 587, "none", NAME, PASSWORD), "in the clear"),
    "the clear, by number": (MailServer("192.0.2.1", 587, "none", NAME, PASSWORD), "in the clear"),
    "a name that looks near": (MailServer("localhost.example.com", 587, "none", NAME, PASSWORD), "in the clear"),
    "no such security": (MailServer("localhost", 587, "ssl"), "'ssl' is no security"),
    "no password": (MailServer("localhost", 587, "tls", NAME), "without a password"),
    "no name": (MailServer("localhost", 587, "tls", "", PASSWORD), "without a password"),
    "another alphabet": (MailServer("localhost", 587, "tls", NAME, "pässword"), "ASCII"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_a_server_that_cannot_be_used_is_not_asked(case: str) -> None:
    server, words = SERVERS[case]
    with pytest.raises(KeyfobError, match=words) as caught:
        check_server(server)
    assert PASSWORD not in str(caught.value)
    with pytest.raises(LoginUnavailable, match=words):
        hand_in(server)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_password_may_cross_this_machine_in_the_clear(host: str) -> None:
    check_server(MailServer(host, 25, "none", NAME, PASSWORD))


def test_a_mail_server_in_a_text_has_no_password() -> None:
    server = MailServer("localhost", 587, "tls", NAME, PASSWORD)
    assert PASSWORD not in f"{server!r} {server} {Post(server, SENDER, ME, None)!r}"


# --- Behind the answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
@pytest.mark.parametrize("answer", ["550 nobody here", "451 greylisted", "421 later", "354 what", "252 perhaps"])
def test_a_mail_that_is_not_taken_is_told_to_the_log_alone(
    command: str, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asked for it would learn that there was one."""
    if (command, answer) == ("DATA", "354 what"):
        answer = "554 no"
    with mailbox() as box, caplog.at_level(logging.WARNING, "keyfob.login"):
        box.answers[command] = answer
        hand_in(here(box), make_message())
        wait_until(lambda: caplog.records)
        assert box.mails == []
    assert answer.partition(" ")[2] in caplog.text
    assert ME in caplog.text
    assert "12345678" not in caplog.text


def test_a_server_may_take_longer_with_a_mail_than_until_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may look for spam in it."""
    monkeypatch.setattr(posting, "PATIENCE", 1.0)
    with mailbox() as box:
        box.waits["DATA"] = 1.5
        hand_in(here(box), make_message())
        box.wait()


@pytest.mark.parametrize("drip", [0.0, 0.02], ids=["silent", "drop by drop"])
def test_a_server_that_never_takes_a_mail_is_left(
    drip: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(posting, "DELIVERY", 0.3)
    taking = b"354-" + b"x" * 4000 if drip else b""
    lines = [b"220 here\r\n", b"250 here\r\n", b"250 OK\r\n", b"250 OK\r\n", taking]
    with speaking(lines, drip=drip) as speaker, caplog.at_level(logging.WARNING, "keyfob.login"):
        hand_in(MailServer("localhost", speaker.port, "none"), make_message())
        wait_until(lambda: caplog.records)
        wait_until(is_left)
    assert "did not take a code" in caplog.text


def test_connections_that_get_ready_have_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is slow to greet does not pile up threads."""
    monkeypatch.setattr(posting, "_PLACES", threading.BoundedSemaphore(1))
    with mailbox() as box, ThreadPoolExecutor(1) as other:
        box.waits["MAIL"] = 60.0
        waiting = other.submit(hand_in, here(box), make_message())
        wait_until(lambda: "MAIL" in box.said)
        refuse(here(box), "are being made already")
        box.ended.set()
        waiting.result(30)
        box.wait(1)


def test_mails_on_their_way_have_a_number_of_their_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are too many are left out, and whoever waits is told nothing of it: nobody learns who is sent one."""
    monkeypatch.setattr(posting, "_PLACES", threading.BoundedSemaphore(1))
    monkeypatch.setattr(posting, "_DELIVERIES", threading.BoundedSemaphore(2))
    with mailbox() as box, caplog.at_level(logging.WARNING, "keyfob.login"):
        box.waits["DATA"] = 60.0
        for _ in range(4):
            hand_in(here(box), make_message())
        wait_until(lambda: box.said.count("QUIT") == 2)
        assert caplog.text.count("gets none") == 2
        hand_in(here(box), None)
        box.ended.set()
        box.wait(2)
        wait_until(lambda: box.said.count("QUIT") == 5)
        box.waits.clear()
        hand_in(here(box), make_message())
        box.wait(3)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_takes_no_places_along(tmp_path: Path) -> None:
    script = (
        "import os; from keyfob.login import posting\n"
        "while posting._PLACES.acquire(blocking=False): pass\n"
        "while posting._DELIVERIES.acquire(blocking=False): pass\n"
        "child = os.fork()\n"
        "both = posting._PLACES, posting._DELIVERIES\n"
        "if child == 0: os._exit(0 if all(each.acquire(blocking=False) for each in both) else 9)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    subprocess.run([sys.executable, "-c", script], env=environment(), cwd=tmp_path, check=True)
