"""Nothing that stands where a file was stops the watching, the records or the requests."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certificates import make_authority, make_leaf
from exchanges import make_scope
from keyfob.audit.files import RecordFile
from keyfob.config import build_gate
from keyfob.live import Watch, health
from keyfob.live.watch import LIVING, SETTLING
from keyfob.policy import Allow
from revocations import make_list

ROOT = make_authority()
PHONE = make_leaf(ROOT)
CONFIG = """
[source]
kind = "tls"
[[root_certificates]]
name = "Ours"
certificate = "ca.pem"
associated_hostnames = ["money.example.com"]
revoked = "revoked.txt"
crl = ["ca.crl"]
[[applications]]
name = "Budget"
domain = "money.example.com"
[[applications.policies]]
name = "Devices"
decision = "non_identity"
include = [{ certificate = {} }]
exclude = [{ device_list = { file = "devices.txt" } }]
"""
SECONDS = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ROOT.write(tmp_path, "ca")
    (tmp_path / "ca.crl").write_bytes(make_list(ROOT))
    (tmp_path / "devices.txt").write_text("lost\n")
    (tmp_path / "revoked.txt").write_text("")
    (tmp_path / "access.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def watch(folder: Path) -> Watch:
    return Watch(lambda files: build_gate(folder / "access.toml", files), "regressions")


@contextlib.contextmanager
def freeing(pipe: Path) -> Iterator[None]:
    """Lets go whoever waits for a pipe, at the end."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


def returns(call: Callable[[], object]) -> bool:
    """Whether it does, in a while."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return not thread.is_alive()


def look(watch: Watch) -> None:
    """Until nothing is left to be seen: a change has to stand still first."""
    for _ in range(3):
        watch.look()
        time.sleep(SETTLING)


def lets_in(watch: Watch) -> bool:
    gate = watch.gate
    return isinstance(gate.check(gate.source.receive(make_scope([PHONE.pem]), time.time())), Allow)


@pytest.mark.parametrize("name", ["devices.txt", "ca.crl", "ca.pem", "access.toml"])
def test_a_pipe_in_the_place_of_a_file_stops_no_watching(folder: Path, watch: Watch, name: str) -> None:
    """It would be read to an end that never comes, while a device is withdrawn in another file."""
    assert lets_in(watch)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with freeing(folder / name):
        (folder / "revoked.txt").write_text(f"{PHONE.certificate.serial_number:X}\n")
        assert returns(lambda: look(watch))
        assert "no regular file" in watch.problem
        assert not lets_in(watch)


class Clock:
    """Stands still."""

    def __init__(self, at: float) -> None:
        self.at = at

    def time(self) -> float:
        return self.at


@pytest.mark.parametrize(
    ("builds", "silent", "ok"), [(True, 59, True), (True, 61, False), (False, 9, True), (False, 11, False)]
)
def test_health_knows_how_long_nobody_has_looked(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, builds: bool, silent: float, ok: bool
) -> None:
    """Building takes longer than looking, and not for ever: a disk that does not answer would hold it up."""
    watch.is_building = builds
    monkeypatch.setattr("keyfob.live.condition.time", Clock(watch.checked_at + silent))
    LIVING.add(watch)
    try:
        [state] = [each for each in health().configurations if each.name == "regressions"]
    finally:
        LIVING.discard(watch)
    assert state.ok is ok
    assert ("nobody has looked" in state.problem) is not ok


# --- Records ----------------------------------------------------------------------------------------------------------


def test_no_record_is_written_through_a_link_put_there_later(tmp_path: Path) -> None:
    """Whoever may write into the folder could have us write anywhere else."""
    precious, path = tmp_path / "precious", tmp_path / "audit.log"
    precious.write_text("mine\n")
    file = RecordFile(path, 10_000, 2)
    file.write("one", 0)
    path.unlink()
    path.symlink_to(precious)
    file.write("two", 0)
    file.close()
    assert precious.read_text() == "mine\n"
    assert file.unwritten == 1


def write(file: RecordFile) -> None:
    """More than fits."""
    for number in range(6):
        file.write(f"line {number:04}", 0)


def test_a_pipe_in_the_place_of_the_lock_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The file grows on, and no record is lost."""
    path, lock = tmp_path / "audit.log", tmp_path / "audit.log.lock"
    file = RecordFile(path, 30, 2)
    os.mkfifo(lock)
    with freeing(lock):
        assert returns(lambda: write(file))
    file.close()
    assert path.read_text().splitlines() == [f"line {number:04}" for number in range(6)]


def test_the_lock_is_not_made_elsewhere(tmp_path: Path) -> None:
    """A link in its place would have us make a file wherever it leads."""
    path = tmp_path / "audit.log"
    path.with_name("audit.log.lock").symlink_to(tmp_path / "elsewhere")
    file = RecordFile(path, 30, 2)
    write(file)
    file.close()
    assert not (tmp_path / "elsewhere").exists()
