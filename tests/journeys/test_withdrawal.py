"""What somebody does who has lost a phone: one command, and the phone is out, connected or not."""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from keyfob.pki.home import open_home
from live.world import SECONDS, wait_for
from servers import environment, find_port, find_program, keyfob, make_client, running, wait_for_handshake


@dataclass(frozen=True)
class Home:
    """The folder that a first start made, and the port at which its app answers."""

    folder: Path
    port: int

    @property
    def revoked(self) -> Path:
        return self.folder / "revoked.txt"

    def type(self, line: str) -> None:
        """A line in a terminal that stands in the folder."""
        find_program("openssl", "openssl")
        subprocess.run(["sh", "-c", line], cwd=self.folder, check=True)

    def run(self, *words: str) -> None:
        """A command of keyfob about this folder."""
        command = [*keyfob(*words), "--home", str(self.folder)]
        subprocess.run(command, env=environment(), check=True, capture_output=True)

    def renew(self) -> None:
        """A new key for the device, as a start makes it where the files are gone."""
        for path in self.folder.glob("devices/*"):
            path.unlink()
        open_home(self.folder, ["localhost"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """What `make run` starts, with an app that has WebSockets and a list of serial numbers beside the inventory."""
    port = find_port()
    config = open_home(tmp_path / "home", ["localhost"]).config
    (tmp_path / "home" / "revoked.txt").write_text("# lost\n", encoding="utf-8")
    rules = config.read_text(encoding="utf-8")
    config.write_text(rules.replace("\ninventory =", '\nrevoked = "revoked.txt"\ninventory ='), encoding="utf-8")
    command = keyfob("serve", "live.apps:open_app", "--home", "home", "--no-enrolment", "--port", str(port))
    with running(command, port, tmp_path, environment()):
        wait_for_handshake(port)
        yield Home(tmp_path / "home", port)


class Phone:
    """A device with one connection, which it keeps, and a WebSocket."""

    def __init__(self, home: Home) -> None:
        self._context = make_client(
            home.folder / "ca.pem",
            home.folder / "devices/this-computer.pem",
            home.folder / "devices/this-computer-key.pem",
        )
        self._port = home.port
        self._connection = http.client.HTTPSConnection("localhost", home.port, context=self._context, timeout=SECONDS)
        self._connection.connect()
        self._socket = self._connection.sock

    def ask(self, accept: str = "*/*") -> tuple[int, str]:
        """Status and body of one more request on the same connection."""
        self._connection.request("GET", "/", headers={"Accept": accept})
        response = self._connection.getresponse()
        body = response.read().decode()
        assert self._connection.sock is self._socket, "the server has ended the connection"
        return response.status, body

    def talk(self) -> ClientConnection:
        url = f"wss://localhost:{self._port}/echo"
        return connect(url, ssl=self._context, open_timeout=SECONDS, proxy=None)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def phone(home: Home) -> Iterator[Phone]:
    with contextlib.closing(Phone(home)) as phone:
        yield phone


def test_a_lost_phone_is_out_at_once_and_its_successor_in(home: Home, phone: Phone) -> None:
    """Nobody restarts anything, and the phone keeps its connection."""
    assert phone.ask()[0] == 200
    with phone.talk() as websocket:
        assert websocket.recv(SECONDS)

        home.run("revoke", "this-computer", "--reason", "keyCompromise")

        wait_for(lambda: phone.ask()[0] != 200)
        status, problem = phone.ask()
        assert (status, json.loads(problem)["type"]) == (403, "urn:keyfob:certificate-revoked")
        # Safari hides a 403 on a connection with a client certificate.
        status, page = phone.ask("text/html")
        assert (status, "This certificate was withdrawn" in page) == (401, True)
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(SECONDS)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "certificate-revoked")

    home.renew()

    with contextlib.closing(Phone(home)) as successor:
        assert successor.ask()[0] == 200
        with successor.talk() as websocket:
            assert websocket.recv(SECONDS)
    assert phone.ask()[0] == 403


def test_a_list_that_nobody_can_read_changes_nothing(home: Home, phone: Phone) -> None:
    """A slip of the editor lets no revoked phone in and locks no other one out; what follows counts again."""
    nothing = home.revoked.read_text(encoding="utf-8")
    home.type("openssl x509 -in devices/this-computer.pem -noout -serial >> revoked.txt")
    wait_for(lambda: phone.ask()[0] == 403)
    log = home.folder.parent / f"server-{home.port}.log"
    home.revoked.write_text(f"{nothing}my old phone\n", encoding="utf-8")
    wait_for(lambda: "the old state stays in force" in log.read_text(encoding="utf-8"))
    assert "revoked.txt" in log.read_text(encoding="utf-8")
    assert phone.ask()[0] == 403
    home.revoked.write_text(nothing, encoding="utf-8")
    wait_for(lambda: phone.ask()[0] == 200)
