"""live.responders: OCSP responders are asked in the background, over real sockets."""

import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

import keyfob.live.responders as room
import keyfob.trust.ocsp as judgement
from certificates import DAY, SERVER, Pair, make_authority, make_leaf
from keyfob.live.responders import Responders
from keyfob.trust.ocsp import ResponseBook, UnusableResponder
from keyfob.trust.revocation import Response
from live.world import make_strict_authority
from responder import REVOKED, UNKNOWN, Answering, Index, answering, make_answer, make_delegate, openssl_answering
from responder import wait_until as wait
from servers import environment, find_port

ROOT = make_authority("Root")
PHONE, LAPTOP = make_leaf(ROOT, "Phone"), make_leaf(ROOT, "Laptop")


class Owner:
    """Whoever has the threads: a book, and how often it was told to forget its verdicts."""

    def __init__(self, url: str, book: ResponseBook | None = None) -> None:
        self.book = book or ResponseBook()
        self.changes = 0
        self.responders = Responders({url: self.book}, self._change)

    def _change(self) -> None:
        self.changes += 1

    def find(self, pair: Pair = PHONE, issuer: Pair = ROOT) -> Response | None:
        return self.book.find(pair.certificate, issuer.certificate, time.time())

    def status(self, pair: Pair = PHONE, issuer: Pair = ROOT) -> str | None:
        found = self.find(pair, issuer)
        return found.status if found else None

    def ask(self, pair: Pair = PHONE) -> str:
        """The first answer there is."""
        wait(lambda: self.status(pair))
        return self.status(pair) or "none"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is asked again soon, so that no test waits for it."""
    monkeypatch.setattr(judgement, "FIRST_PAUSE", 0.05)


@pytest.fixture
def responder() -> Iterator[Answering]:
    with answering(ROOT, PHONE, LAPTOP) as this:
        yield this


@pytest.fixture
def owner(responder: Answering) -> Iterator[Owner]:
    owner = Owner(responder.url)
    owner.responders.start()
    yield owner
    owner.responders.stop()


def test_the_first_look_asks_and_a_later_one_knows(responder: Answering, owner: Owner) -> None:
    """Nobody waits for the answer; it is there when it is there."""
    assert owner.find() is None
    wait(owner.find)
    found = owner.find()
    assert found is not None
    assert found.status == "good"
    assert found.until > time.time() + 3000
    assert responder.asked == [PHONE.certificate.serial_number]
    assert owner.changes == 0


def test_the_request_is_a_plain_post_to_the_configured_address(responder: Answering, owner: Owner) -> None:
    """RFC 6960 appendix A.1."""
    owner.ask()
    heard = responder.heard[0]
    assert heard["Content-Type"] == "application/ocsp-request"
    assert heard["Host"] == f"127.0.0.1:{responder.port}"
    assert heard[":path"] == "/"


@pytest.mark.parametrize(("said", "status"), [(REVOKED, "revoked"), (UNKNOWN, "unknown")])
def test_what_is_not_good_makes_the_owner_forget(
    responder: Answering, owner: Owner, said: x509.ocsp.OCSPCertStatus, status: str
) -> None:
    """A verdict may have been made without an answer, so the first bad one tells the owner too."""
    responder.statuses[PHONE.certificate.serial_number] = said
    assert owner.ask() == status
    wait(lambda: owner.changes == 1)
    assert owner.book.version == 1


def test_a_device_is_refused_after_the_responder_changes_its_mind(responder: Answering, owner: Owner) -> None:
    """The answer is renewed at half of its life although nobody looks, and the owner is told."""
    responder.life = timedelta(seconds=4)
    assert owner.ask() == "good"
    responder.statuses[PHONE.certificate.serial_number] = REVOKED
    wait(lambda: owner.changes)
    assert owner.status() == "revoked"
    assert owner.status(LAPTOP) is None


def test_a_slow_responder_makes_nobody_wait(responder: Answering, owner: Owner) -> None:
    """Looking takes no time while both threads are stuck, and another device is noted all the same."""
    responder.hold = threading.Event()
    assert owner.find() is None
    assert owner.find(LAPTOP) is None
    wait(lambda: len(responder.asked) == 2)
    assert owner.find() is None
    assert owner.find(LAPTOP) is None
    assert len(responder.asked) == 2
    responder.hold.set()
    assert owner.ask() == owner.ask(LAPTOP) == "good"


def test_a_slow_responder_holds_up_no_other(responder: Answering) -> None:
    """Every responder has threads of its own."""
    responder.hold = threading.Event()
    other_root = make_authority("Other")
    device = make_leaf(other_root)
    with answering(other_root, device) as other:
        slow, quick = ResponseBook(), ResponseBook()
        responders = Responders({responder.url: slow, other.url: quick})
        responders.start()
        try:
            for pair in (PHONE, LAPTOP):
                slow.find(pair.certificate, ROOT.certificate, time.time())
            wait(lambda: len(responder.asked) == 2)
            wait(lambda: quick.find(device.certificate, other_root.certificate, time.time()))
        finally:
            responders.stop()


def test_a_responder_that_is_down_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """The log hears of it once, and again when it is over."""
    port = find_port()
    owner = Owner(f"http://127.0.0.1:{port}")
    owner.responders.start()
    try:
        with caplog.at_level(logging.INFO, "keyfob.live"):
            assert owner.find() is None
            wait(lambda: owner.book.trouble)
            assert owner.find() is None
            with answering(ROOT, PHONE, port=port):
                assert owner.ask() == "good"
            wait(lambda: len(caplog.records) == 2)
    finally:
        owner.responders.stop()
    assert owner.book.trouble is None
    complaint, relief = caplog.messages
    assert f"http://127.0.0.1:{port}" in complaint
    assert "Connection refused" in complaint
    assert "answers again" in relief


def wrong_answers() -> dict[str, bytes]:
    """Bodies that say nothing about the phone, whatever they are."""
    stranger = make_authority("Root")
    plain = make_leaf(ROOT, "Responder")
    foreign = make_delegate(stranger)
    phone = PHONE.certificate
    return {
        "nothing": b"",
        "a page": b"<!doctype html><title>Welcome to our hotel</title>",
        "wrong signer": make_answer(phone, ROOT, signer=stranger, sent=[]),
        "wrong signer, certificate sent": make_answer(phone, ROOT, signer=stranger),
        "delegate without the usage": make_answer(phone, ROOT, signer=plain),
        "delegate of somebody else": make_answer(phone, ROOT, signer=foreign),
        "over": make_answer(phone, ROOT, begins=-DAY, ends=-DAY / 2),
        "another certificate": make_answer(LAPTOP.certificate, ROOT),
    }


@pytest.mark.parametrize("case", wrong_answers())
def test_an_unusable_answer_is_none(responder: Answering, owner: Owner, case: str) -> None:
    """The question stays open, and a good answer later on is taken."""
    body = wrong_answers()[case]
    responder.body = lambda _: body
    assert owner.find() is None
    wait(lambda: owner.book.trouble)
    assert owner.find() is None
    responder.body = None
    assert owner.ask() == "good"


def test_an_endless_answer_is_read_no_further_than_it_may_be_long(responder: Answering, owner: Owner) -> None:
    """Nobody fills the memory from the other side."""
    responder.body = lambda _: b"0" * 1_000_000
    owner.find()
    wait(lambda: owner.book.trouble)
    assert "a response of 65537 bytes" in str(owner.book.trouble)


@pytest.mark.parametrize("status", [301, 307, 404, 500, 503])
def test_no_other_status_than_200_is_an_answer(responder: Answering, owner: Owner, status: int) -> None:
    """A redirect is not followed either: it would lead to somebody whom the configuration does not name."""
    with answering(ROOT, PHONE) as elsewhere:
        responder.status, responder.headers = status, {"Location": elsewhere.url}
        assert owner.find() is None
        wait(lambda: owner.book.trouble)
        assert str(status) in str(owner.book.trouble)
        assert owner.find() is None
        assert not elsewhere.asked


def test_no_proxy_of_the_environment_is_asked(
    responder: Answering, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom to ask is said in the configuration alone."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{find_port()}")
    assert owner.ask() == "good"
    assert responder.asked


def test_the_certificate_does_not_say_whom_to_ask(responder: Answering) -> None:
    """A device could name a responder of its own, or anybody it would like us to knock at."""
    with answering(ROOT) as named:
        access = x509.AuthorityInformationAccess(
            [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(named.url))]
        )
        device = make_leaf(ROOT, extensions=[(access, False)])
        responder.certificates = {device.certificate.serial_number: device.certificate}
        owner = Owner(responder.url)
        owner.responders.start()
        try:
            assert owner.ask(device) == "good"
        finally:
            owner.responders.stop()
        assert not named.asked


def test_a_dripping_responder_ends_in_time(responder: Answering, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for the whole exchange, not from byte to byte."""
    monkeypatch.setattr(room, "PATIENCE", 0.4)
    responder.drip = 0.05
    assert owner.find() is None
    wait(lambda: owner.book.trouble)
    assert "timed out" in str(owner.book.trouble)
    assert owner.find() is None


def test_a_silent_responder_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing."""
    monkeypatch.setattr(room, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        owner = Owner(f"http://127.0.0.1:{listener.getsockname()[1]}")
        owner.responders.start()
        try:
            assert owner.find() is None
            wait(lambda: owner.book.trouble)
        finally:
            owner.responders.stop()
    assert "timed out" in str(owner.book.trouble)


def test_the_log_hears_of_a_broken_responder_once(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred devices in front of a dead responder are one line."""
    owner = Owner(f"http://127.0.0.1:{find_port()}")
    devices = [make_leaf(ROOT) for _ in range(20)]
    owner.responders.start()
    try:
        with caplog.at_level(logging.INFO, "keyfob.live"):
            for device in devices:
                assert owner.find(device) is None
            wait(lambda: owner.book.measure_pause(time.time()))
    finally:
        owner.responders.stop()
    assert len(caplog.records) == 1


def test_what_a_responder_says_stays_in_one_line(
    responder: Answering, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """The name in a certificate that it sends along may hold anything."""
    forger = make_leaf(ROOT, "Responder\nkeyfob.live all is well\x1b[2J")
    responder.signer = forger
    owner.find()
    wait(lambda: caplog.records)
    (said,) = caplog.messages
    assert said.isprintable()
    assert "OCSPSigning" in said


def test_a_callback_that_raises_ends_no_thread(responder: Answering, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else's fault is logged, and the next question asked."""

    def fall() -> None:
        raise RuntimeError("from the callback")

    book = ResponseBook()
    responders = Responders({responder.url: book}, fall)
    devices = [make_leaf(ROOT) for _ in range(5)]
    responder.certificates = {each.certificate.serial_number: each.certificate for each in devices}
    responder.statuses = dict.fromkeys(responder.certificates, REVOKED)
    responders.start()
    try:
        for device in devices:
            book.find(device.certificate, ROOT.certificate, time.time())
        wait(lambda: book.version == 5)
        wait(lambda: len(caplog.records) == 5)
    finally:
        responders.stop()
    assert "from the callback" in caplog.text


def asking_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("keyfob-ocsp")]


def test_stop_ends_every_thread(responder: Answering, owner: Owner) -> None:
    """Also those that wait for an answer just now; and start begins where they were."""
    responder.hold = threading.Event()
    owner.find()
    wait(lambda: responder.asked)
    assert len(asking_threads()) == room.THREADS
    owner.responders.stop()
    assert not asking_threads()
    assert owner.book.trouble is None
    responder.hold.set()
    owner.responders.start()
    owner.responders.start()
    assert len(asking_threads()) == room.THREADS
    assert owner.ask() == "good"


def test_nothing_is_asked_before_start(responder: Answering) -> None:
    """A process that only reads the configuration knocks at nobody's door."""
    owner = Owner(responder.url)
    assert owner.find() is None
    assert not asking_threads()
    owner.responders.start()
    try:
        assert owner.ask() == "good"
    finally:
        owner.responders.stop()


def test_a_new_configuration_keeps_the_answers(responder: Answering, owner: Owner) -> None:
    """The line of a URL that stays does not notice; one that goes ends; one that comes begins."""
    assert owner.ask() == "good"
    with answering(ROOT, PHONE) as second:
        other = ResponseBook()
        owner.responders.replace({responder.url: owner.book, second.url: other})
        wait(lambda: other.find(PHONE.certificate, ROOT.certificate, time.time()))
        assert owner.status() == "good"
        assert owner.ask(LAPTOP) == "good"
        owner.responders.replace({second.url: other})
        assert len(asking_threads()) == room.THREADS
        assert owner.book.on_question is None
        with pytest.raises(UnusableResponder):
            owner.responders.replace({"ftp://127.0.0.1": ResponseBook()})
        assert len(asking_threads()) == room.THREADS


FORKING = """
import os, signal, sys, threading, time
from pathlib import Path
from cryptography import x509
from keyfob.live.responders import Responders
from keyfob.trust.ocsp import ResponseBook

url, folder = sys.argv[1], Path(sys.argv[2])
files = [folder / name for name in ("r.pem", "p.pem", "l.pem")]
root, phone, laptop = (x509.load_pem_x509_certificate(file.read_bytes()) for file in files)
book = ResponseBook()
responders = Responders({url: book})

def ask(device):
    end = time.monotonic() + 30
    while book.find(device, root, time.time()) is None and time.monotonic() < end:
        time.sleep(0.01)
    return book.find(device, root, time.time()).status

def hold(held):
    # Has the book's lock while the fork begins.
    with book.lock:
        held.set()
        time.sleep(0.05)

responders.start()
assert ask(phone) == "good"
children = []
for _ in range(8):
    held = threading.Event()
    threading.Thread(target=hold, args=(held,)).start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        held = book.find(phone, root, time.time()).status
        responders.start()
        os._exit(0 if held == "good" and ask(laptop) == "good" else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert ask(laptop) == "good"
responders.stop()
print(codes)
"""


def test_a_forked_child_starts_its_own_threads(responder: Answering, tmp_path: Path) -> None:
    """A server that loads the app before it forks gets the answers in every worker, and no lock that nobody opens."""
    for name, pair in (("r.pem", ROOT), ("p.pem", PHONE), ("l.pem", LAPTOP)):
        (tmp_path / name).write_text(pair.pem)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, responder.url, str(tmp_path)]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert said.stderr == ""
    assert said.stdout.strip() == str([0] * 8)


def test_a_responder_over_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An https URL means that the responder's own certificate has to lead to an authority of the system."""
    # From Python 3.13 on, `ssl` asks for key identifiers.
    system, names_issuer = make_strict_authority("System CA")
    named = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    host = make_leaf(system, "localhost", usages=[SERVER], extensions=[*names_issuer, (named, False)])
    certificate, key = host.write(tmp_path, "host")
    authority, _ = system.write(tmp_path, "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with answering(ROOT, PHONE, tls=context) as secured:
        assert secured.url.startswith("https://")
        stranger = Owner(secured.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        friend = Owner(secured.url)
        stranger.responders.start()
        friend.responders.start()
        try:
            assert friend.ask() == "good"
            assert stranger.find() is None
            wait(lambda: stranger.book.trouble)
            assert "CERTIFICATE_VERIFY_FAILED" in str(stranger.book.trouble)
        finally:
            stranger.responders.stop()
            friend.responders.stop()


@pytest.mark.parametrize("delegated", [False, True], ids=["issuer", "delegate"])
@pytest.mark.parametrize("options", [(), ("-nmin", "5"), ("-resp_key_id",)], ids=["plain", "next update", "by key"])
def test_openssl_as_responder(tmp_path: Path, delegated: bool, options: tuple[str, ...]) -> None:
    """Another implementation's answers are read, good and revoked and unknown, and its change of mind."""
    index = Index(tmp_path / "index.txt", ROOT)
    watch = make_leaf(ROOT, "Watch")
    index.write(PHONE, revoked=[LAPTOP])
    with openssl_answering(tmp_path, index, make_delegate(ROOT) if delegated else ROOT, *options) as url:
        owner = Owner(url)
        owner.responders.start()
        try:
            assert owner.ask() == "good"
            assert owner.ask(LAPTOP) == "revoked"
            assert owner.ask(watch) == "unknown"
            index.write(revoked=[PHONE, LAPTOP])
            # Asked as of a time when the answer is over, which is sooner than to wait for its half.
            wait(lambda: owner.book.find(PHONE.certificate, ROOT.certificate, time.time() + 3600) is not None)
            assert owner.status() == "revoked"
        finally:
            owner.responders.stop()
