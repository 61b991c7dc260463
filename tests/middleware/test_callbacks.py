"""callbacks: an app's function is told of decisions, and can neither break nor delay what it is told of."""

import asyncio
import http.server
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from exchanges import make_request, make_scope
from keyfob import callbacks
from keyfob.audit import AuditRecord, Recorder
from keyfob.callbacks import Messenger, OnDecision
from keyfob.errors import Reason, Untrusted
from keyfob.policy import Deny, Identity
from servers import ROOT, environment

SECONDS = 30
RECORD = AuditRecord(datetime.now(UTC), "refused", "certificate-untrusted", "0", path="/")
RECORDS = [RECORD._replace(request_id=str(n)) for n in range(20)]

Make = Callable[[OnDecision], Messenger]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes messengers whose threads end with the test."""
    made: list[Messenger] = []

    def make_one(function: OnDecision) -> Messenger:
        made.append(Messenger(function))
        return made[-1]

    yield make_one
    for each in made:
        each.close(SECONDS)


def send(messenger: Messenger, *records: AuditRecord) -> None:
    """Hands the records over, and waits until all are delivered."""
    for record in records:
        messenger(record)
    messenger.close(SECONDS)


class TestDelivery:
    """What the function gets."""

    def test_to_a_function_is_every_record_in_order(self, make: Make) -> None:
        """On one thread that is not the caller's."""
        told: list[AuditRecord] = []
        threads: set[str] = set()

        def notify(record: AuditRecord) -> None:
            told.append(record)
            threads.add(threading.current_thread().name)

        send(make(notify), *RECORDS)
        assert told == RECORDS
        assert threads == {"keyfob-callbacks"}

    def test_to_an_async_function_is_every_record_in_order(self, make: Make) -> None:
        """In one event loop, so that it can keep a connection open."""
        told: list[AuditRecord] = []
        loops: set[asyncio.AbstractEventLoop] = set()

        async def notify(record: AuditRecord) -> None:
            await asyncio.sleep(0)
            told.append(record)
            loops.add(asyncio.get_running_loop())

        send(make(notify), *RECORDS)
        assert told == RECORDS
        assert len(loops) == 1

    def test_to_an_object_that_is_called_works_as_well(self, make: Make) -> None:
        """What counts is what the call returns."""
        told: list[AuditRecord] = []

        class Notifier:
            async def __call__(self, record: AuditRecord) -> None:
                told.append(record)

        send(make(Notifier()), RECORD)
        assert told == [RECORD]

    def test_leaves_a_function_free_to_have_its_own_loop(self, make: Make) -> None:
        """asyncio.run() works in no thread whose loop is running."""
        told: list[AuditRecord] = []

        async def tell(record: AuditRecord) -> None:
            told.append(record)

        send(make(lambda record: asyncio.run(tell(record))), RECORD)
        assert told == [RECORD]

    def test_needs_no_thread_before_there_is_a_record(self, make: Make) -> None:
        """A server that forks after it has read the app would lose it."""
        before = threading.active_count()
        make(print)
        assert threading.active_count() == before

    def test_goes_on_after_close(self, make: Make) -> None:
        """On another thread, since the first has ended."""
        told: list[AuditRecord] = []
        messenger, before = make(told.append), threading.active_count()
        send(messenger, RECORD)
        assert threading.active_count() == before
        send(messenger, RECORD)
        assert told == [RECORD, RECORD]


class TestFailure:
    """What the function may do without harm."""

    @pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    def test_of_any_kind_is_logged_and_the_next_is_told(
        self, make: Make, error: BaseException, is_async: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Even where it wants to end the process; once, however often it happens."""
        told: list[AuditRecord] = []

        def notify(record: AuditRecord) -> None:
            told.append(record)
            raise error

        async def notify_async(record: AuditRecord) -> None:
            notify(record)

        send(make(notify_async if is_async else notify), *RECORDS)
        assert told == RECORDS
        [logged] = caplog.records
        assert (logged.name, logged.levelno) == ("keyfob", logging.ERROR)
        assert logged.getMessage().startswith(f"on_decision failed: {type(error).__name__}(")

    def test_is_told_with_its_place(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever wrote the function will look there."""

        def notify(record: AuditRecord) -> None:
            raise ValueError(record.path)

        send(make(notify), RECORD._replace(path="/\n\x1b[31m\u202e" + "x" * 5000))
        [line] = [each.getMessage() for each in caplog.records]
        assert "test_callbacks.py' line" in line
        assert line.isprintable()
        assert line.isascii()
        assert len(line) < 1000

    def test_that_cannot_be_described_is_told_by_its_name(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """An exception may be broken, too."""

        class Broken(Exception):
            def __repr__(self) -> str:
                raise RuntimeError("broken")

        def notify(record: AuditRecord) -> None:
            raise Broken

        send(make(notify), RECORD)
        assert "on_decision failed: Broken, in" in caplog.text

    def test_is_told_again_after_a_while(
        self, make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With how often it happened meanwhile."""
        monkeypatch.setattr(callbacks, "QUIET", 0.0)
        send(make(lambda record: record.path and 1 // 0), RECORD, RECORD)
        assert len(caplog.records) == 2

    def test_to_end_stops_an_async_function(
        self, make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is cancelled, and the next record has its turn."""
        monkeypatch.setattr(callbacks, "LONGEST", 0.05)
        cancelled: list[AuditRecord] = []

        async def notify(record: AuditRecord) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(record)
                raise

        send(make(notify), *RECORDS[:3])
        assert cancelled == RECORDS[:3]
        assert "not done within 0.05 seconds" in caplog.text

    def test_to_end_and_to_be_cancelled_holds_up_nobody(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Some functions catch everything."""
        monkeypatch.setattr(callbacks, "LONGEST", 0.05)
        told: list[AuditRecord] = []
        ends = threading.Event()

        async def notify(record: AuditRecord) -> None:
            told.append(record)
            while not ends.is_set():
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    continue

        messenger = make(notify)
        for record in RECORDS[:3]:
            messenger(record)
        wait_until(lambda: len(told) == 3)
        ends.set()
        messenger.close(SECONDS)
        assert "not done within" in caplog.text


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_function_that_waits_holds_up_nobody(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """So many records wait with it; the others are dropped, counted, and the log says so once."""
    told: list[AuditRecord] = []
    begun, go_on = threading.Event(), threading.Event()

    def notify(record: AuditRecord) -> None:
        begun.set()
        go_on.wait(SECONDS)
        told.append(record)

    messenger = make(notify)
    messenger(RECORD)
    begun.wait(SECONDS)
    for _ in range(1200):
        messenger(RECORD)
    assert messenger.dropped == 200
    go_on.set()
    messenger.close(SECONDS)
    assert len(told) == 1001
    assert [each.getMessage() for each in caplog.records] == [
        "a record was not handed to on_decision: 1000 are waiting already (1 since the last word about it)"
    ]


def test_close_waits_no_longer_than_it_is_told(make: Make) -> None:
    """A server that ends has other things to do."""
    begun, go_on = threading.Event(), threading.Event()

    def notify(record: AuditRecord) -> None:
        begun.set()
        go_on.wait(SECONDS)

    messenger = make(notify)
    messenger(RECORD)
    begun.wait(SECONDS)
    messenger.close(0.01)
    assert not go_on.is_set()
    go_on.set()


def test_a_system_that_starts_no_thread_breaks_nothing(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on processes, or an interpreter that is about to end."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    messenger = make(print)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        messenger(RECORD)
    assert messenger.dropped == 1
    assert "can't start new thread" in caplog.text


PREAMBLE = """
import asyncio, os, signal, sys, threading, time
from datetime import datetime, UTC
from keyfob.audit import AuditRecord
from keyfob.callbacks import Messenger

RECORD = AuditRecord(datetime.now(UTC), "refused", "certificate-untrusted")
"""

FORKS = """
def tell(record):
    told.append(os.getpid())

told = []
messenger = Messenger(tell)
going = True

def keep_busy():
    while going:
        messenger(RECORD)
        time.sleep(0)

threads = [threading.Thread(target=keep_busy) for _ in range(2)]
for each in threads:
    each.start()
for _ in range(10):
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        told.clear()
        messenger(RECORD)
        messenger.close(20)
        os._exit(0 if told == [os.getpid()] else 1)
    if os.waitpid(pid, 0)[1]:
        print("a child was told", flush=True)
going = False
for each in threads:
    each.join()
messenger.close(20)
print("done")
"""


def test_a_child_of_a_busy_process_delivers_on_its_own() -> None:
    """On a thread of its own, and of the parent's queue nothing."""
    assert run(FORKS) == ("done\n", "")


@pytest.mark.parametrize(
    "function",
    ["lambda record: (begun.set(), time.sleep(600))", "sleep", "lambda record: (begun.set(), loop_for_ever())"],
    ids=["sync", "async", "busy"],
)
def test_a_sleeping_function_does_not_keep_the_process(function: str) -> None:
    """The interpreter ends, and says nothing of it, not even with every warning on."""
    script = f"""
begun = threading.Event()

async def sleep(record):
    begun.set()
    await asyncio.sleep(600)

def loop_for_ever():
    while True:
        pass

messenger = Messenger({function})
for _ in range(10):
    messenger(RECORD)
begun.wait(20)
print("done")
"""
    assert run(script) == ("done\n", "")


def test_a_record_at_the_very_end_breaks_nothing() -> None:
    """An atexit function may refuse somebody still."""
    script = "import atexit; messenger = Messenger(lambda _: None); atexit.register(messenger, RECORD)"
    stdout, stderr = run(script)
    assert stdout == ""
    assert "Traceback" not in stderr


def run(script: str) -> tuple[str, str]:
    """What a process of its own says; it has to end by itself."""
    # Forking with threads around is what Python 3.12 warns of, and what this is about.
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", PREAMBLE + script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, ended.stderr


README = (ROOT / "README.md").read_text(encoding="utf-8")
[SHOWN] = [text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "def notify(" in text]
# Without the line that puts it to use, which needs an app.
EXAMPLE = SHOWN.partition("app.add_middleware")[0]


class Ntfy(http.server.BaseHTTPRequestHandler):
    """Takes what is posted and keeps it."""

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posted.append((self.path, self.headers["Title"], text))  # type: ignore[attr-defined]
        body = json.dumps({"event": "message"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing on stderr."""


def test_the_example_tells_a_phone_of_an_unknown_device(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but for the address, to a real server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Ntfy) as server:
        posted: list[tuple[str, str, str]] = []
        server.posted = posted  # type: ignore[attr-defined]
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            names: dict[str, OnDecision] = {}
            exec(EXAMPLE.replace("https://ntfy.sh", f"http://127.0.0.1:{server.server_port}"), names)  # noqa: S102
            messenger = make(names["notify"])
            recorder = Recorder(on_decision=messenger)
            request, address = make_request(make_scope(path="/admin"), 1e9), ip_address("203.0.113.7")
            stranger = Identity(None, Untrusted("no path"), ())
            request_id = recorder.refuse(Deny(Reason.CERTIFICATE_UNTRUSTED, "Budget", "", stranger), request, address)
            recorder.refuse(Deny(Reason.HOST_UNKNOWN, "", "", stranger), request, address)
            messenger.close(SECONDS)
        finally:
            server.shutdown()
            serving.join()
    text = "An unknown device at 203.0.113.7 asked for money.example.com/admin: certificate-untrusted, " + request_id
    assert posted == [("/my-front-door", "Somebody knocks", text)]
