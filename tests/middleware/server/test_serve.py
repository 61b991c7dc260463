"""`keyfob serve` from its start to its end: what keeps it from starting, what it announces, and how it stops."""

import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import httpx
import pytest

from certificates import make_authority, make_leaf, make_server
from rules import ANY_DEVICE
from servers import environment, find_port, keyfob, make_client, running

# Says when it starts and when it ends; the lifespan fails with whatever stands in FAILURE.
APP = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette

class Unusable(Exception):
    def __init__(self, message, hint=""):
        super().__init__("never shown")
        self.message, self.hint = message, hint

@asynccontextmanager
async def lifespan(app):
    print("opened", flush=True)
    {failure}
    yield
    print("closed", flush=True)

app = Starlette(lifespan=lifespan)
"""
FROM_PYTHON = """
import os
from pathlib import Path
from keyfob.errors import ServeError
from keyfob.server.serve import Service, serve

def announce(url):
    print("answers at", url, flush=True)
    os._exit(1)

files = map(Path, ("access.toml", "server.pem", "server-key.pem"))
try:
    serve(Service("shop:app", *files, "127.0.0.1", 70000), announce)
except ServeError as error:
    print("refused:", error.message)
"""
FILES = ("--config", "access.toml", "--certificate", "server.pem", "--key", "server-key.pem")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Everything that a start needs: an app, rules, and certificates."""
    authority = make_authority()
    authority.write(tmp_path, "ca")
    make_server(authority).write(tmp_path, "server")
    make_leaf(authority).write(tmp_path, "device")
    (tmp_path / "access.toml").write_text(ANY_DEVICE, encoding="utf-8")
    write_app(tmp_path, "pass")
    return tmp_path


def write_app(folder: Path, failure: str) -> None:
    (folder / "shop.py").write_text(APP.replace("{failure}", failure), encoding="utf-8")


def fail(folder: Path, *arguments: str, app: str = "shop:app", status: int = 1) -> tuple[str, str]:
    """Runs `keyfob serve` until it ends; returns the one error that it says, and its hint."""
    ended = subprocess.run(
        keyfob("serve", app, *arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
    match = re.fullmatch(r"error: (?P<error>.+)\n(?:hint: (?P<hint>.+)\n)?", ended.stderr)
    assert match is not None, ended.stderr
    return match["error"], match["hint"] or ""


class TestAddress:
    """Where to listen, said wrongly."""

    def test_a_taken_port_is_named(self, folder: Path) -> None:
        """The most usual mistake of all."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            error, hint = fail(folder, *FILES, "--port", str(port))

        assert error == f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        assert hint == "choose another port, such as 8444, or stop the program that has it"

    def test_an_address_of_another_machine_is_named(self, folder: Path) -> None:
        """RFC 5737: 192.0.2.1 is nobody's. Another port would not help, so the hint speaks of the host."""
        error, hint = fail(folder, *FILES, "--host", "192.0.2.1", "--port", str(find_port()))

        assert "192.0.2.1" in error
        assert "127.0.0.1" in hint
        assert "port" not in hint

    def test_a_host_that_cannot_be_found_is_named(self, folder: Path) -> None:
        """RFC 6761: nothing under .invalid is ever found."""
        error, hint = fail(folder, *FILES, "--host", "nowhere.invalid", "--port", str(find_port()))

        assert error.startswith("nowhere.invalid is no address of this machine: ")
        assert "127.0.0.1" in hint

    @pytest.mark.parametrize("port", ["70000", "-1", "https"])
    def test_a_port_that_is_none_is_wrong_use(self, folder: Path, port: str) -> None:
        """Status 2, as for every wrong flag."""
        error, hint = fail(folder, *FILES, f"--port={port}", status=2)

        assert port in error
        assert hint == "see `keyfob serve --help`"

    def test_a_port_that_is_none_never_becomes_another_one(self, folder: Path) -> None:
        """From Python nobody else looks: 70000 is not 4464, which is what sixteen bits make of it."""

        ended = subprocess.run(
            [sys.executable, "-c", FROM_PYTHON],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

        assert ended.stdout == "refused: 70000 is no port\n"


class TestApp:
    """An app that is not there, or does not start."""

    def test_a_module_that_is_not_there_is_named(self, folder: Path) -> None:
        """With where it was looked for."""
        error, hint = fail(folder, *FILES, app="nothere:app")

        assert "nothere" in error
        assert hint == "is nothere in this folder?"

    def test_an_attribute_that_is_not_there_is_named(self, folder: Path) -> None:
        """The module was found."""
        error, hint = fail(folder, *FILES, app="shop:application")

        assert "application" in error
        assert hint == "what is the app called in shop?"

    def test_the_apps_own_line_may_be_wrong(self, folder: Path) -> None:
        """A middleware that cannot be built says why, in the command's own words."""
        (folder / "lined.py").write_text(
            "from starlette.applications import Starlette\n"
            "from keyfob import AccessMiddleware\n"
            "app = Starlette()\n"
            "app.add_middleware(AccessMiddleware, roots='nowhere.pem')\n"
        )
        error, hint = fail(folder, *FILES, app="lined:app")

        assert "nowhere.pem cannot be read" in error
        assert hint == "name the CA's PEM file"

    def test_a_name_without_an_attribute_is_no_app(self, folder: Path) -> None:
        """uvicorn's own form, and no other."""
        error, hint = fail(folder, *FILES, app="shop")

        assert "shop" in error
        assert hint == "write it as module:attribute"

    def test_what_its_startup_raises_is_said_in_its_own_words(self, folder: Path) -> None:
        """An exception with `message` and `hint`, of whatever class, is one error and one hint."""
        write_app(folder, 'raise Unusable("budget.xlsx is a folder", "move it away")')

        assert fail(folder, *FILES, "--port", str(find_port())) == ("budget.xlsx is a folder", "move it away")

    def test_a_hint_may_be_missing(self, folder: Path) -> None:
        """Then there is the error alone."""
        write_app(folder, 'raise Unusable("the disk is full")')

        assert fail(folder, *FILES, "--port", str(find_port())) == ("the disk is full", "")

    def test_a_fault_of_the_app_keeps_its_traceback(self, folder: Path) -> None:
        """Nobody foresaw it, so its author needs to see where it happened; it is said once."""
        write_app(folder, "1 / 0")

        ended = subprocess.run(
            keyfob("serve", "shop:app", *FILES, "--port", str(find_port())),
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

        assert ended.returncode == 1
        assert ended.stderr.count("ZeroDivisionError: division by zero") == 1
        assert "shop.py" in ended.stderr


class TestFiles:
    """Rules and certificates that are not there, or not usable."""

    @pytest.mark.parametrize(
        "files",
        [FILES[:4], (*FILES[:2], *FILES[4:])],
        ids=["no key", "no certificate"],
    )
    def test_half_a_certificate_is_an_error(self, folder: Path, files: tuple[str, ...]) -> None:
        """Nobody who gives one of the two wants plain HTTP."""
        assert fail(folder, *files, "--port", str(find_port())) == (
            "a certificate without its key, or a key without its certificate",
            "give both --certificate and --key, or neither behind a proxy that asks for the certificates",
        )

    def test_behind_a_proxy_plain_http_will_do(self, folder: Path) -> None:
        """The certificate comes in a header then, from the peer that the server itself has seen."""
        nginx = 'kind = "header"\nformat = "nginx"\ntrusted_proxies = ["127.0.0.1"]'
        (folder / "access.toml").write_text(ANY_DEVICE.replace('kind = "tls"', nginx), encoding="utf-8")
        device = quote((folder / "device.pem").read_text(encoding="ascii"), safe="")
        host = {"Host": "localhost"}
        proxied = {
            **host,
            "X-SSL-Client-Verify": "SUCCESS",
            "X-SSL-Client-Cert": device,
            "X-Forwarded-For": "127.0.0.1",
        }
        port = find_port()

        with running(keyfob("serve", "shop:app", *FILES[:2], "--port", str(port)), port, folder, environment()):
            url = f"http://127.0.0.1:{port}/"
            # The app has no such page.
            assert httpx.get(url, headers=proxied).status_code == 404
            assert httpx.get(url, headers=host).status_code == 401
            with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as stranger:
                assert stranger.get(url, headers=proxied).status_code == 403

    def test_the_tls_source_needs_a_server_that_speaks_tls(self, folder: Path) -> None:
        """An error, not a warning: this server could never let anybody in."""
        error, hint = fail(folder, *FILES[:2], "--port", str(find_port()))

        assert error == "the certificate source is tls, but this server would not speak TLS"
        assert "--certificate" in hint
        assert "--key" in hint

    def test_a_certificate_that_is_not_there_is_named(self, folder: Path) -> None:
        """With a hint, as every error here."""
        (folder / "server.pem").unlink()

        error, hint = fail(folder, *FILES, "--port", str(find_port()))

        assert "server.pem" in error
        assert hint

    def test_a_key_of_another_certificate_is_an_error(self, folder: Path) -> None:
        """Found at the start, not by the first visitor."""
        (folder / "server-key.pem").write_bytes((folder / "device-key.pem").read_bytes())

        error, hint = fail(folder, *FILES, "--port", str(find_port()))

        assert "server.pem and server-key.pem cannot be used together" in error
        assert "the unencrypted key that belongs to it" in hint

    def test_rules_that_are_not_there_are_named(self, folder: Path) -> None:
        """Without rules nobody would get in."""
        (folder / "access.toml").unlink()

        assert fail(folder, *FILES) == ("access.toml: there is no such file", "name an access.toml")

    def test_broken_rules_are_named_with_their_place(self, folder: Path) -> None:
        """A misspelt key is never passed over."""
        (folder / "access.toml").write_text(ANY_DEVICE.replace("decision", "desicion"), encoding="utf-8")

        ended = subprocess.run(
            keyfob("serve", "shop:app", *FILES),
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

        assert ended.returncode == 1
        assert ended.stderr.startswith("error: access.toml: ")
        assert "applications[0].policies[0].desicion" in ended.stderr
        assert "did you mean 'decision'?" in ended.stderr
        assert "Traceback" not in ended.stderr


class Served:
    """`keyfob serve` as a child of this test, its lines as they come."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._arriving: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._arriving.put(line)
        self._arriving.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first new line that matches."""
        while (line := self._arriving.get(timeout=20)) is not None:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"{pattern} was not said before the end:\n{''.join(self.lines)}")

    def wait_for_end(self, seconds: float = 20) -> tuple[int, str]:
        """The exit status, and everything that was said. Raises TimeoutExpired if it takes longer."""
        status = self.process.wait(seconds)
        while (line := self._arriving.get(timeout=20)) is not None:
            self.lines.append(line)
        return status, "".join(self.lines)


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Served]:
    process = subprocess.Popen(
        keyfob("serve", "shop:app", *FILES, *arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            yield Served(process)
        finally:
            process.kill()


ANNOUNCED = r"^Serving https://localhost:(\d+)$"


class TestLife:
    """From the announcement to the end."""

    def test_port_0_announces_the_port_that_the_system_chose(self, folder: Path) -> None:
        """Once it answers there, and not before the app has started."""
        with serving(folder, "--port", "0") as served:
            port = int(served.wait_for(ANNOUNCED)[1])
            device = (folder / "device.pem", folder / "device-key.pem")
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
                make_client(folder / "ca.pem", *device).wrap_socket(plain, server_hostname="localhost") as tls,
            ):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = tls.recv(64)

        assert port not in {0, 8443}
        assert served.lines[0] == "opened\n"
        # The app has no route; the gate would have said 401 or 403.
        assert answer.startswith(b"HTTP/1.1 404 ")

    @pytest.mark.parametrize(
        ("number", "statuses"),
        [(signal.SIGTERM, {0, -signal.SIGTERM}), (signal.SIGINT, {0, 130, -signal.SIGINT})],
        ids=["SIGTERM", "SIGINT"],
    )
    @pytest.mark.parametrize("connected", [False, True], ids=["idle", "with a visitor"])
    def test_a_signal_ends_it_cleanly(
        self, folder: Path, number: signal.Signals, statuses: set[int], connected: bool
    ) -> None:
        """The app closes what it opened, an open connection keeps nobody waiting, and nothing else is said."""
        with serving(folder, "--port", "0") as served:
            port = int(served.wait_for(ANNOUNCED)[1])
            visitor = visit(folder, port) if connected else None
            os.kill(served.process.pid, number)
            if visitor is not None:
                leave(visitor)
            status, said = served.wait_for_end()

        assert status in statuses
        # After Ctrl+C the terminal gets a line of its own.
        assert said.rstrip("\n") == f"opened\nServing https://localhost:{port}\nclosed"

    @pytest.mark.parametrize("asleep", [True, False], ids=["asleep", "never said a word"])
    def test_a_visitor_who_says_nothing_keeps_nobody_waiting_for_long(self, folder: Path, asleep: bool) -> None:
        """A phone in a pocket does not even answer the end of TLS; service managers lose patience after a while."""
        with serving(folder, "--port", "0") as served:
            port = int(served.wait_for(ANNOUNCED)[1])
            with visit(folder, port) if asleep else socket.create_connection(("127.0.0.1", port), timeout=10):
                os.kill(served.process.pid, signal.SIGTERM)
                _, said = served.wait_for_end(seconds=10)

        assert "closed" in said

    def test_the_port_is_free_again_at_once(self, folder: Path) -> None:
        """A restart needs no patience, although the last connection was closed by the server."""
        port = find_port()
        for _ in range(2):
            with serving(folder, "--port", str(port)) as served:
                served.wait_for(ANNOUNCED)
                visitor = visit(folder, port)
                os.kill(served.process.pid, signal.SIGTERM)
                leave(visitor)
                served.wait_for_end()


def leave(visitor: ssl.SSLSocket) -> None:
    """What every browser does once the server says goodbye."""
    while visitor.recv(4096):
        pass
    visitor.close()


def visit(folder: Path, port: int) -> ssl.SSLSocket:
    """A connection with one request behind it, kept open."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    device = (folder / "device.pem", folder / "device-key.pem")
    tls = make_client(folder / "ca.pem", *device).wrap_socket(plain, server_hostname="localhost")
    tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert tls.recv(12) == b"HTTP/1.1 404"
    return tls
