"""Whole servers that follow an inventory: what another process withdraws is out, in every worker and at once."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from certificates import Pair, make_leaf
from keyfob.inventory import Record, open_inventory
from keyfob.inventory.records import make_entry
from live.world import SECONDS, Line, Server, World, make_world, start, wait_for
from postgresql import fresh_database
from servers import environment

# Each server once, and each database with a server of either kind.
SETTINGS = SERVE, UVICORN, GUNICORN, PRELOADED = [
    ("keyfob serve", "sqlite"),
    ("uvicorn", "postgresql"),
    ("gunicorn", "sqlite"),
    ("gunicorn --preload", "postgresql"),
]


def on(*settings: tuple[str, str]) -> pytest.MarkDecorator:
    """For a test that some of them are enough for."""
    return pytest.mark.parametrize("setting", settings, ids=" on ".join, indirect=True)


_REVOKE = """
import sys, time
from keyfob.inventory import RevocationReason, open_inventory
with open_inventory(sys.argv[1]) as inventory:
    inventory.revoke([inventory.find(sys.argv[2])[0].record], RevocationReason.KEY_COMPROMISE, time.time())
"""
_RENEW = """
import sys, time
from cryptography import x509
from keyfob.inventory import open_inventory
from keyfob.inventory.records import make_entry
ca, successor = (x509.load_pem_x509_certificate(open(path, "rb").read()) for path in sys.argv[3:])
with open_inventory(sys.argv[1]) as inventory:
    inventory.renew(make_entry(sys.argv[2], successor, ca, time.time()), int(time.time()) + 2)
"""


@dataclass(frozen=True)
class Setting:
    """A server that runs, its world, and the place of its inventory."""

    server: Server
    world: World
    where: str

    def issue(self, name: str, *, recorded: bool = True) -> Pair:
        """A device with its files, which the inventory knows."""
        # Python 3.13 makes gunicorn ask for the identifier.
        identifier = x509.AuthorityKeyIdentifier(b"Test CA", None, None)
        pair = make_leaf(self.world.authority, name, extensions=[(identifier, False)])
        pair.write(self.world.folder, name)
        if recorded:
            with open_inventory(self.where) as inventory:
                inventory.add([make_entry(name, pair.certificate, self.world.authority.certificate, time.time())])
        return pair

    def run(self, script: str, *arguments: str | Path) -> None:
        """Works on the inventory in a process of its own."""
        subprocess.run([sys.executable, "-c", script, self.where, *arguments], env=environment(), check=True)

    def find(self, name: str) -> Record:
        with open_inventory(self.where) as inventory:
            return inventory.find(name)[0].record

    @contextlib.contextmanager
    def lines(self, name: str) -> Iterator[list[Line]]:
        """Open connections of one device, one to each worker."""
        opened = self.server.connect(self.world.client(name))
        try:
            yield opened
        finally:
            for line in opened:
                line.close()


@pytest.fixture(scope="module", params=SETTINGS, ids=" on ".join)
def setting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    name, database = request.param
    world = make_world(tmp_path_factory.mktemp("live"))
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fresh_database()) if database == "postgresql" else "inventory.db"
        where = url if database == "postgresql" else str(world.folder / url)
        open_inventory(where, create=True).close()
        rules = (world.folder / "access.toml").read_text(encoding="utf-8")
        named = f'certificate = "ca.pem"\ninventory = "{url}"'
        world.write("access.toml", rules.replace('certificate = "ca.pem"', named, 1))
        process, server = start(name, world)
        stack.enter_context(process)
        yield Setting(server, world, where)


def wait_for_all(opened: list[Line], status: int, path: str = "/") -> None:
    for line in opened:
        wait_for(partial(line.answers, status, path))


def test_a_device_that_another_process_revokes(setting: Setting) -> None:
    """It is out on the connections that it has, in every worker; another one, and one that nobody knows, are not."""
    setting.issue("lost")
    setting.issue("kept")
    setting.issue("unrecorded", recorded=False)
    with setting.lines("lost") as lost, setting.lines("kept") as kept, setting.lines("unrecorded") as unknown:
        wait_for_all([*lost, *kept, *unknown], 200)
        setting.run(_REVOKE, "lost")
        wait_for_all(lost, 403)
        assert all(line.answers(200) for line in (*kept, *unknown))
        assert all(line.answers(200, "/health") for line in kept)


def test_a_device_that_another_process_renews(setting: Setting) -> None:
    """The old certificate is out from its last moment on, and the new one is in."""
    setting.issue("old")
    setting.issue("new", recorded=False)
    with setting.lines("old") as old, setting.lines("new") as new:
        wait_for_all([*old, *new], 200)
        setting.run(_RENEW, "old", setting.world.folder / "ca.pem", setting.world.folder / "new.pem")
        wait_for_all(old, 403)
        wait_for_all(new, 200)


@on(SERVE, UVICORN)
def test_an_open_websocket_of_a_device_that_is_revoked(setting: Setting) -> None:
    """It is closed, as for any other withdrawal."""
    setting.issue("chatting")
    with setting.lines("chatting") as opened:
        wait_for_all(opened, 200)
    url, context = f"wss://localhost:{setting.server.port}/echo", setting.world.chatting_client("chatting")
    with connect(url, ssl=context, open_timeout=SECONDS, proxy=None) as websocket:
        assert websocket.recv(SECONDS)
        setting.run(_REVOKE, "chatting")
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(SECONDS)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "certificate-revoked")


@on(SERVE, PRELOADED)
def test_the_inventory_learns_who_was_seen(setting: Setting) -> None:
    """Within some seconds, and where from."""
    setting.issue("visitor")
    with setting.lines("visitor") as opened:
        wait_for_all(opened, 200)
        wait_for(lambda: setting.find("visitor").seen_at)
    assert setting.find("visitor").seen_from in {"127.0.0.1", "::1"}


@on(SERVE, GUNICORN)
def test_an_inventory_that_goes_away_and_comes_back(setting: Setting) -> None:
    """Health tells of it in every worker, nobody is refused for a moment's trouble, and withdrawals come again."""
    setting.issue("patient")
    aside = Path(f"{setting.where}.aside")
    with setting.lines("patient") as opened:
        wait_for_all(opened, 200)
        Path(setting.where).rename(aside)
        wait_for_all(opened, 503, "/health")
        assert all("is gone" in line.ask("/health")[1] for line in opened)
        assert all(line.answers(200) for line in opened)
        aside.rename(setting.where)
        wait_for_all(opened, 200, "/health")
        setting.run(_REVOKE, "patient")
        wait_for_all(opened, 403)
