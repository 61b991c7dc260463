"""The file of records that `keyfob serve` keeps: who was refused, who was let in, and who failed at the handshake."""

import contextlib
import json
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from live.world import wait_for
from servers import environment, find_port, keyfob, make_client, running
from servers_asgi.keys import RULES, Keys
from servers_asgi.starting import DOORS, SERVE_TLS
from servers_asgi.wire import HANDSHAKE, ask_over_tls


class Recording:
    """A server, and the file that its rules name."""

    def __init__(self, keys: Keys, folder: Path, port: int) -> None:
        self._keys, self._folder, self._port = keys, folder, port

    @property
    def file(self) -> Path:
        return self._folder / "audit.log"

    def knock(self, name: str, *headers: tuple[str, str], path: str = "/") -> dict[str, Any]:
        """What the device of this name was told; empty where it was refused in the handshake."""
        client = make_client(self._keys.folder / "ca.pem", *self._keys.identity(name))
        return ask_over_tls(self._port, path, client, headers).told

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text(encoding="ascii").splitlines()]

    def write_rules(self, audit: str) -> None:
        """Beside the keys, whose files they name."""
        rules = self._folder / "access.toml.new"
        rules.write_text(f"{audit}\n{RULES['tls']}", encoding="utf-8")
        rules.replace(self._folder / "access.toml")


@contextlib.contextmanager
def recording(keys: Keys, folder: Path, audit: str, *options: str) -> Iterator[Recording]:
    for name in ("ca.pem", "server.pem", "server-key.pem"):
        (folder / name).write_bytes((keys.folder / name).read_bytes())
    doors, port = folder / DOORS, find_port()
    doors.mkdir()
    server = Recording(keys, doors, port)
    server.write_rules(audit)
    words = ["serve", "servers_asgi.doors:tell", "--config", f"{DOORS}/access.toml", *shlex.split(SERVE_TLS), *options]
    # That module has doors of its own to make, of which none is needed here.
    env = environment(DOORS=str(folder / "none"))
    with running(keyfob(*words, "--port", str(port)), port, folder, env):
        yield server


def test_the_file_has_each_refusal_and_one_admission_a_session(keys: Keys, tmp_path: Path) -> None:
    """A device's every request would be a heap; every one of them is there once the rules ask for it."""
    with recording(keys, tmp_path, '[audit]\nfile = "audit.log"') as server:
        refused = server.knock("nobody")
        assert [server.knock("device")["common_name"] for _ in range(3)] == ["Rhea Group"] * 3
        assert server.knock("device", *HANDSHAKE)["common_name"] == "Rhea Group"
        assert server.knock("stranger") == {}
        first, second, third = server.read()
        assert (first["decision"], first["reason"]) == ("refused", "certificate-missing")
        assert first["request_id"] == refused["request_id"]
        assert (second["decision"], second["common_name"], second["application"]) == ("admitted", "Rhea Group", "App")
        assert (second["address"], second["method"], second["path"]) == ("127.0.0.1", "GET", "/")
        assert (third["reason"], third["detail"]) == ("handshake-refused", "unable to get local issuer certificate")
        assert stat.S_IMODE(server.file.stat().st_mode) == 0o600

        server.write_rules('[audit]\nfile = "audit.log"\nadmissions = "every"')

        def asks_for_every_one() -> bool:
            before = len(server.read())
            assert server.knock("device")["common_name"] == "Rhea Group"
            return len(server.read()) == before + 1

        wait_for(asks_for_every_one)
        assert all(asks_for_every_one() for _ in range(3))
        assert {record["decision"] for record in server.read()[3:]} == {"admitted"}


def test_nothing_that_a_client_sends_forges_a_line(keys: Keys, tmp_path: Path) -> None:
    """Each record is one line of printable ASCII, whatever stands in a path."""
    with recording(keys, tmp_path, '[audit]\nfile = "audit.log"') as server:
        for path in ("/%0a%7b%22decision%22:%22admitted%22%7d", "/%1b%5b2J", "/%e2%80%ae", "/%ff", f"/{'a' * 9000}"):
            assert server.knock("nobody", path=path)["type"] == "urn:keyfob:certificate-missing"
        text = server.file.read_text(encoding="ascii")
        assert all(character == "\n" or character.isprintable() for character in text)
        assert [record["decision"] for record in server.read()] == ["refused"] * 5


def test_a_file_that_cannot_be_written_any_more_costs_nobody_an_answer(keys: Keys, tmp_path: Path) -> None:
    """The log has the records all the same, and says once what is wrong with the file."""
    with recording(keys, tmp_path, '[audit]\nfile = "audit.log"') as server:
        server.knock("nobody")
        server.file.unlink()
        server.file.mkdir()
        assert server.knock("device")["common_name"] == "Rhea Group"
        refused = [server.knock("nobody")["request_id"] for _ in range(3)]
        [log] = tmp_path.glob("server-*.log")
        said = log.read_text(encoding="utf-8")
    assert said.count("cannot be written, so records are missing there") == 1
    assert all(request_id in said for request_id in refused)


def test_a_function_is_told_of_strangers_who_get_no_further_than_the_handshake(keys: Keys, tmp_path: Path) -> None:
    """No request comes of them, so no app could tell."""
    told = tmp_path / "told.txt"
    (tmp_path / "callbacks.py").write_text(
        f"def note(record):\n    open({str(told)!r}, 'a').write(f'{{record.reason}}\\n')\n", encoding="utf-8"
    )
    with recording(keys, tmp_path, "", "--on-decision", "callbacks:note") as server:
        assert server.knock("stranger") == {}
        server.knock("nobody")
        wait_for(lambda: told.exists() and len(told.read_text().splitlines()) == 2)
    assert told.read_text().splitlines() == ["handshake-refused", "certificate-missing"]
