"""login.carrying: what steps ask for is fetched from where they say and from nowhere else, within limits."""

import gc
import gzip
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keyfob.login.carrying as room
from certificates import Pair, make_authority, make_server
from inventories import run_at_once
from keyfob.errors import LoginUnavailable, PKIError
from keyfob.login.carrying import LARGEST, Carrier, drive
from keyfob.login.exchanges import Fetch, Steps, Work
from logins import Memory, make_book
from providers.serving import Asked, Reply, Service, lead, say, serving
from servers import environment, find_port

STORE = Memory(make_book())
# A thousand octets that would be a million and one.
BOMB = gzip.compress(b"x" * (LARGEST + 1))
# As it is where no test has changed it.
PATIENCE = room.PATIENCE


@pytest.fixture
def carrier() -> Carrier:
    return Carrier(STORE)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a busy machine."""
    monkeypatch.setattr(room, "PATIENCE", 60.0)


def answer(asked: Asked) -> Reply | None:
    """One path for each way to answer."""
    ways: dict[str, Callable[[], Reply | None]] = {
        "/": lambda: say({"agent": asked.headers.get("user-agent"), "body": asked.body.decode()}),
        "/large": lambda: Reply(200, b"x" * (LARGEST + 1)),
        "/just": lambda: Reply(200, b"x" * LARGEST),
        "/packed": lambda: Reply(200, BOMB, {"content-encoding": "gzip"}),
        "/cookie": lambda: say(asked.headers.get("cookie"), 200, {"set-cookie": "who=somebody; Path=/"}),
        "/late": lambda: Reply(200, b"late", wait=6),
        "/away": lambda: lead("http://localhost:1/"),
        "/slow": lambda: Reply(200, b"late", wait=30),
        "/drip": lambda: Reply(200, b"x" * 1000, drip=0.1),
        "/silent": lambda: None,
        "/broken": lambda: Reply(500, b"no"),
    }
    return ways[asked.path]()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(answer) as service:
        yield service


def test_an_answer_comes_as_it_is(carrier: Carrier, service: Service) -> None:
    """Whatever its status: what it means is for the steps to say."""
    found = carrier.perform(Fetch("POST", f"{service.url}/", {"x-y": "z"}, b"hello"))
    assert (found.status, found.headers["content-type"]) == (200, "application/json")
    assert found.body == b'{"agent": "keyfob", "body": "hello"}'
    [asked] = service.asked
    assert (asked.method, asked.headers["x-y"], asked.headers["accept-encoding"]) == ("POST", "z", "identity")
    assert carrier.perform(Fetch("GET", f"{service.url}/broken")).status == 500
    assert len(carrier.perform(Fetch("GET", f"{service.url}/just")).body) == LARGEST


@pytest.mark.parametrize("path", ["/large", "/packed", "/slow", "/drip", "/silent"])
def test_what_is_too_large_too_slow_or_nothing_is_not_waited_for(
    carrier: Carrier, service: Service, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for the whole of it, so that a drop every now and then does not stretch it."""
    monkeypatch.setattr(room, "PATIENCE", 1.0)
    begin = time.monotonic()
    with pytest.raises(LoginUnavailable, match="localhost"):
        carrier.perform(Fetch("GET", f"{service.url}{path}"))
    # What drips would take a hundred seconds.
    assert time.monotonic() - begin < 60


def test_an_answer_has_five_seconds(carrier: Carrier, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PATIENCE", PATIENCE)
    with pytest.raises(LoginUnavailable, match="did not answer within 5 seconds"):
        carrier.perform(Fetch("GET", f"{service.url}/late"))


def test_nothing_of_one_person_is_told_with_another(carrier: Carrier, service: Service) -> None:
    """A provider's cookie would be theirs whose code was exchanged last."""
    for _ in range(2):
        assert carrier.perform(Fetch("GET", f"{service.url}/cookie")).body == b"null"


def test_nobody_is_followed_elsewhere(carrier: Carrier, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a redirect, nor by a proxy that the environment names."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://localhost:1")
    found = carrier.perform(Fetch("GET", f"{service.url}/away"))
    assert (found.status, found.body) == (302, b"")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "url", ["http://localhost:{port}/", "http://nowhere.invalid/", "https://localhost:{port}/", "ftp://localhost/", "x"]
)
def test_nobody_there_is_said_so(carrier: Carrier, url: str) -> None:
    with pytest.raises(LoginUnavailable):
        carrier.perform(Fetch("GET", url.format(port=find_port())))


def test_a_server_is_believed_by_its_certificate(carrier: Carrier, tmp_path: Path) -> None:
    """Of the CA that the configuration names; the system's know nothing of it, and another name is another server."""
    ca = make_authority("Inside")
    (tmp_path / "ca.pem").write_text(ca.pem)
    authority = str(tmp_path / "ca.pem")
    with serving(answer, make_server_context(ca, tmp_path, "localhost")) as service:
        assert carrier.perform(Fetch("GET", f"{service.url}/", authority=authority)).status == 200
        with pytest.raises(LoginUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            carrier.perform(Fetch("GET", f"{service.url}/"))
    with (
        serving(answer, make_server_context(ca, tmp_path, "elsewhere.example")) as service,
        pytest.raises(LoginUnavailable, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        carrier.perform(Fetch("GET", f"{service.url}/", authority=authority))


@pytest.mark.parametrize(
    "url", ["https://999.999.999.999/t", "https://[::1]x/t", "https://xn--a/t", "https://a\tb/", "x"]
)
def test_an_address_that_is_none_cannot_be_asked(carrier: Carrier, url: str) -> None:
    """Providers describe themselves, and what they say is not always so."""
    with pytest.raises(LoginUnavailable, match="cannot be asked"):
        carrier.perform(Fetch("GET", url))


def test_a_ca_that_was_replaced_is_believed_no_more(carrier: Carrier, tmp_path: Path) -> None:
    """As soon as its file is another one: nothing is restarted for it."""
    ca, other = make_authority("Inside"), make_authority("Before")
    authority = tmp_path / "ca.pem"
    authority.write_text(other.pem)
    with serving(answer, make_server_context(ca, tmp_path, "localhost")) as service:
        ask = Fetch("GET", f"{service.url}/", authority=str(authority))
        with pytest.raises(LoginUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            carrier.perform(ask)
        authority.write_text(f"{other.pem}{ca.pem}")
        assert carrier.perform(ask).status == 200
        authority.unlink()
        with pytest.raises(LoginUnavailable, match=r"ca\.pem"):
            carrier.perform(ask)


def make_server_context(ca: Pair, folder: Path, name: str) -> ssl.SSLContext:
    server = make_server(ca, name)
    (folder / "server.pem").write_text(server.pem)
    (folder / "server-key.pem").write_text(server.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    return context


def test_an_authority_that_is_gone_is_said_so(carrier: Carrier, tmp_path: Path) -> None:
    with pytest.raises(LoginUnavailable, match="localhost"):
        carrier.perform(Fetch("GET", "https://localhost:1/", authority=str(tmp_path / "ca.pem")))


def test_what_the_database_says_is_told_to_the_steps(carrier: Carrier) -> None:
    """Also that it cannot be used."""

    def fail(_: object) -> object:
        raise PKIError("the inventory cannot be used", "put it back")

    def steps() -> Steps[str]:
        first = yield Work(lambda store: store.claim(b"x", 1, 0))
        try:
            yield Work(fail)
        except LoginUnavailable as error:
            return f"{first} {error.message} {error.hint}"
        return "never"

    assert drive(steps(), carrier.perform) == "True the inventory cannot be used put it back"


def test_many_threads_and_a_child_ask_at_once(carrier: Carrier, service: Service) -> None:
    """A forked child has none of its parent's threads, and makes its own."""
    statuses: list[int] = []
    ask = Fetch("GET", f"{service.url}/")
    threads = [threading.Thread(target=lambda: statuses.append(carrier.perform(ask).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert run_at_once([lambda: carrier.perform(ask).status] * 2) == [200, 200]
    assert carrier.perform(ask).status == 200


def test_its_thread_ends_with_it(service: Service) -> None:
    """And leaves no connection behind."""
    carrier = Carrier(STORE)
    carrier.perform(Fetch("GET", f"{service.url}/"))
    [thread] = [each for each in threading.enumerate() if each.name == "keyfob-logins"][-1:]
    del carrier
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


ENDING = """
import threading, time
from keyfob.login.carrying import Carrier
from keyfob.login.exchanges import Fetch

carrier = Carrier(None)
print(carrier.perform(Fetch("GET", "{url}/")).status)
if {under_way}:
    threading.Thread(target=carrier.perform, args=(Fetch("GET", "{url}/slow"),), daemon=True).start()
    time.sleep(0.5)
"""


@pytest.mark.parametrize("under_way", [False, True])
def test_a_process_ends_without_a_word(service: Service, *, under_way: bool) -> None:
    """Whatever is open then, or being asked for."""
    script = ENDING.format(url=service.url, under_way=under_way)
    command = [sys.executable, "-W", "error", "-c", script]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("200\n", "")
