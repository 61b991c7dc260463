"""A batch that is killed at any moment, again and again, by a signal that nothing can catch."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batches import require_one_each, require_tidy, write_rows
from keyfob.pki.registry import Registry
from postgresql import fresh_database
from registries import make_registry
from servers import environment

NAMES = [f"device {number}" for number in range(1200)]
# Small parts, so that there are many moments between the first and the last of them.
CHUNK = 60
# Whoever runs these tests in the background has its children ignore Ctrl+C.
PROGRAM = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import keyfob.pki.batch.issuing as issuing
issuing._CHUNK, issuing._RECORDED = {CHUNK}, 180
from keyfob.cli.entry import main
main()
"""
PATIENCE = 60


class Place:
    """A batch's folder or bundle, and what can be seen of it from outside."""

    def __init__(self, folder: Path, out: str) -> None:
        self.out = folder / out
        self.workshop = self.out / ".batch" if self.out.suffix != ".zip" else folder / f".{out}.batch"

    def count_parts(self) -> int:
        return len(list(self.workshop.glob("0*.zip")))

    def is_finishing(self) -> bool:
        """The bundle is being written, or nothing more is to be made."""
        return (self.workshop / "bundle").exists() or self.count_parts() >= len(NAMES) // CHUNK


@contextmanager
def running(home: Path, source: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, as the leader of a group of processes."""
    line: list[str | Path] = [
        sys.executable,
        "-P",
        "-c",
        PROGRAM,
        "issue",
        "--batch",
        source,
        "--out",
        out,
        "--home",
        home,
    ]
    with (home.parent / "log").open("wb") as log:
        process = subprocess.Popen(line, env=environment(), stderr=log, process_group=0)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def kill_at(
    process: subprocess.Popen[bytes], is_reached: Callable[[], bool], *, whole: bool, number: int = signal.SIGKILL
) -> None:
    """Kills the group, or only the process that leads it, a little after a moment."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline and not is_reached():
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.03))  # noqa: S311 - any moment will do
    if process.poll() is None:
        (os.killpg if whole else os.kill)(process.pid, number)
    process.wait(PATIENCE)


def require_killing(registry: Registry, folder: Path, out: str) -> None:
    """Kills a batch at several moments, one run after another; then it is let through, and has to be complete."""
    place, source = Place(folder, out), write_rows(folder / "devices.csv", NAMES)
    for more, whole in ((1, True), (5, False), (len(NAMES), True)):
        wanted = place.count_parts() + more

        def is_reached(wanted: int = wanted) -> bool:
            return place.count_parts() >= wanted or place.is_finishing()

        with running(registry.folder, source, place.out) as process:
            kill_at(process, is_reached, whole=whole)
        assert {record.name for record in registry.inventory.iterate()} <= set(NAMES)
    with running(registry.folder, source, place.out) as process:
        status = process.wait(PATIENCE)
    assert status == 0, (folder / "log").read_text()
    require_one_each(registry, NAMES, place.out)
    require_tidy(place.out)


@pytest.mark.parametrize("out", ["fleet", "fleet.zip"])
def test_a_batch_that_is_killed_ends_with_one_certificate_a_row(registry: Registry, tmp_path: Path, out: str) -> None:
    """The second kill leaves the workers alive: what they are making then comes to nothing."""
    require_killing(registry, tmp_path, out)


def test_a_batch_into_postgresql_that_is_killed_ends_with_one_certificate_a_row(tmp_path: Path) -> None:
    """A server that has lost its client takes back what was not committed."""
    with fresh_database() as url:
        registry = make_registry(tmp_path / "home", inventory=url)
        require_killing(registry, tmp_path, "fleet")
        registry.inventory.close()


def test_ctrl_c_ends_it_cleanly_and_says_how_to_go_on(registry: Registry, tmp_path: Path) -> None:
    """A terminal sends it to every process; no one of them complains, and none is left behind."""
    place, source = Place(tmp_path, "fleet"), write_rows(tmp_path / "devices.csv", NAMES)
    with running(registry.folder, source, place.out) as process:
        kill_at(process, lambda: place.count_parts() > 0, whole=True, number=signal.SIGINT)
        status = process.returncode
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    said = (tmp_path / "log").read_text()
    assert status == 130, said
    assert "the same command goes on where it has stopped" in said
    assert "Traceback" not in said
    assert not [path.name for path in place.workshop.iterdir() if not path.name.startswith("0")]
    with running(registry.folder, source, place.out) as process:
        assert process.wait(PATIENCE) == 0
    require_one_each(registry, NAMES, place.out)
