"""audit.files: many processes, one file, no line lost and none torn; and a file that fails breaks nothing."""

import contextlib
import fcntl
import json
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from keyfob.audit import files
from keyfob.audit.files import RecordFile
from keyfob.errors import KeyfobError
from servers import environment

SECONDS = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is tried again at once."""
    monkeypatch.setattr(files, "PAUSE", 0.0)


def read(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines()


def write(file: RecordFile, *lines: str) -> None:
    for line in lines:
        file.write(line, 0)


class TestAppending:
    """One line after the other, to a file for its owner alone."""

    def test_makes_a_file_that_others_cannot_read(self, path: Path) -> None:
        """It says who was where, and when."""
        file = RecordFile(path, 1000, 5)
        write(file, "one", "two")
        file.close()
        assert read(path) == ["one", "two"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_leaves_what_is_there(self, path: Path) -> None:
        """And the mode that somebody gave it."""
        path.write_text("zero\n")
        path.chmod(0o640)
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        file.close()
        assert read(path) == ["zero", "one"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_begins_a_new_line_behind_half_a_one(self, path: Path) -> None:
        """A machine lost its power in the middle of it."""
        path.write_text('{"time": "2027')
        os.utime(path, (1e9, 1e9))
        file = RecordFile(path, 1000, 5)
        write(file, "one", "two")
        file.close()
        assert read(path) == ['{"time": "2027', "one", "two"]

    def test_takes_no_line_for_half_a_one_that_is_being_written(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process is at it, and its line's end would come behind ours."""
        path.write_text('{"time": "2027')
        monkeypatch.setattr(files, "time", lambda: path.stat().st_mtime + 0.5)
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        file.close()
        assert path.read_text() == '{"time": "2027one\n'

    def test_is_one_write_a_line(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """That is what keeps the lines of several processes apart."""
        written: list[bytes] = []
        real = os.write

        def note_and_write(descriptor: int, data: bytes) -> int:
            written.append(data)
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", note_and_write)
        file = RecordFile(path, 1000, 5)
        write(file, "one", "two")
        file.close()
        assert written == [b"one\n", b"two\n"]

    def test_goes_on_after_close(self, path: Path) -> None:
        """A request that ends late has its line, and leaves no file open."""
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        file.close()
        write(file, "two", "three")
        assert read(path) == ["one", "two", "three"]
        assert path not in {Path(each.path) for each in psutil.Process().open_files()}

    def test_follows_a_link_to_the_file_itself(self, tmp_path: Path, path: Path) -> None:
        """Or it would be the link that is rotated."""
        (tmp_path / "logs").mkdir()
        path.symlink_to(tmp_path / "logs" / "keyfob.log")
        file = RecordFile(path, 10, 5)
        write(file, "one line", "two lines")
        file.close()
        assert path.is_symlink()
        assert read(tmp_path / "logs" / "keyfob.log") == ["two lines"]
        assert read(tmp_path / "logs" / "keyfob.log.1") == ["one line"]


class TestRotation:
    """When a line would make the file too long, it moves aside."""

    def test_keeps_the_newest_and_so_many_older_ones(self, path: Path) -> None:
        """Each of them at most as long as was said."""
        file = RecordFile(path, 30, 2)
        write(file, *(f"line {n:04}" for n in range(20)))
        file.close()
        assert read(path) == ["line 0018", "line 0019"]
        assert read(path.with_name("audit.log.1")) == ["line 0015", "line 0016", "line 0017"]
        assert read(path.with_name("audit.log.2")) == ["line 0012", "line 0013", "line 0014"]
        assert {each.name for each in path.parent.iterdir()} == {
            "audit.log",
            "audit.log.1",
            "audit.log.2",
            "audit.log.lock",
        }
        assert stat.S_IMODE(path.with_name("audit.log.lock").stat().st_mode) == 0o600

    def test_may_keep_nothing_but_the_newest(self, path: Path) -> None:
        """With kept = 0."""
        file = RecordFile(path, 30, 0)
        write(file, *(f"line {n:04}" for n in range(20)))
        file.close()
        assert read(path) == ["line 0018", "line 0019"]
        assert not path.with_name("audit.log.1").exists()

    def test_happens_at_the_start_if_it_is_due(self, path: Path) -> None:
        """The process before this one filled it to the brim."""
        path.write_text("zero\n" * 6)
        file = RecordFile(path, 30, 1)
        write(file, "one")
        file.close()
        assert read(path) == ["one"]
        assert read(path.with_name("audit.log.1")) == ["zero"] * 6

    def test_leaves_a_line_whole_that_is_longer_than_a_file(self, path: Path) -> None:
        """It gets a file of its own."""
        file = RecordFile(path, 10, 5)
        write(file, "short", "x" * 100, "short")
        file.close()
        assert [read(each) for each in (path, path.with_name("audit.log.1"))] == [["short"], ["x" * 100]]

    def test_is_not_done_twice(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process saw the same file full, and was faster: what it began is not moved away."""
        file, other, real = RecordFile(path, 30, 5), RecordFile(path, 30, 5), files._alone

        @contextlib.contextmanager
        def come_late(lock: Path) -> Iterator[bool]:
            monkeypatch.setattr(files, "_alone", real)
            write(other, "theirs")
            with real(lock) as alone:
                yield alone

        write(file, "x" * 28)
        monkeypatch.setattr(files, "_alone", come_late)
        write(file, "ours")
        file.close()
        other.close()
        assert read(path) == ["theirs", "ours"]
        assert read(path.with_name("audit.log.1")) == ["x" * 28]
        assert not path.with_name("audit.log.2").exists()

    def test_never_waits_for_another_process(self, path: Path) -> None:
        """Which may have been stopped with the lock in its hand; then the file is a little longer."""
        file = RecordFile(path, 10, 5)
        with path.with_name("audit.log.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            write(file, "one line", "two lines")
            assert read(path) == ["one line", "two lines"]
        write(file, "three")
        file.close()
        assert read(path) == ["three"]
        assert read(path.with_name("audit.log.1")) == ["one line", "two lines"]

    def test_that_fails_loses_nothing(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The folder takes no new names, as /var/log of a service without rights there: logged once, and growing."""
        path.with_name("audit.log.lock").mkdir()
        file = RecordFile(path, 10, 5)
        write(file, "one line", "two lines", "three")
        assert read(path) == ["one line", "two lines", "three"]
        assert [each.levelno for each in caplog.records] == [logging.ERROR]
        assert "cannot be rotated" in caplog.text
        assert file.unwritten == 0

        path.with_name("audit.log.lock").rmdir()
        write(file, "four")
        file.close()
        assert read(path) == ["four"]


class TestSomebodyElse:
    """logrotate, or a hand."""

    def test_may_move_the_file_away(self, path: Path) -> None:
        """What was written stays in it, and the next line begins a new one."""
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        path.rename(path.with_name("audit.log-20270115"))
        write(file, "two")
        file.close()
        assert read(path.with_name("audit.log-20270115")) == ["one"]
        assert read(path) == ["two"]

    def test_may_put_another_one_there(self, path: Path) -> None:
        """As logrotate does with `create`."""
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        path.rename(path.with_name("moved"))
        path.touch()
        write(file, "two")
        file.close()
        assert read(path) == ["two"]

    def test_may_cut_it_off(self, path: Path) -> None:
        """As logrotate does with `copytruncate`: nothing is written behind a hole."""
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        os.truncate(path, 0)
        write(file, "two")
        file.close()
        assert path.read_bytes() == b"two\n"

    def test_may_delete_it_at_the_worst_moment(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the look at the file and the write, which would then go where nobody can read it."""
        real, deletions = os.write, iter([True, False])

        def delete_and_write(descriptor: int, data: bytes) -> int:
            if next(deletions):
                path.unlink()
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", delete_and_write)
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        file.close()
        assert read(path) == ["one"]


@pytest.mark.usefixtures("impatient")
class TestFailure:
    """A file that cannot be written is logged once, counted, and tried again."""

    def test_of_a_missing_folder_ends_when_it_is_there(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The file itself says what it lacks."""
        path = tmp_path / "logs" / "audit.log"
        file = RecordFile(path, 1000, 5)
        for n in range(3):
            file.write(f"lost {n}", 1_800_000_000 + n)
        assert file.unwritten == 3
        assert [each.levelno for each in caplog.records] == [logging.ERROR]

        path.parent.mkdir()
        file.write("kept", 1_800_000_009)
        file.write("kept", 1_800_000_009)
        file.close()
        gap, *others = read(path)
        assert json.loads(gap) == {
            "time": "2027-01-15T08:00:02.000+00:00",
            "decision": "omitted",
            "count": 3,
            "since": "2027-01-15T08:00:00.000+00:00",
            "until": "2027-01-15T08:00:02.000+00:00",
            "reasons": {"file-unwritable": 3},
        }
        assert others == ["kept", "kept"]
        assert [each.levelno for each in caplog.records] == [logging.ERROR, logging.WARNING]
        assert {each.name for each in caplog.records} == {"keyfob"}

    def test_is_not_tried_again_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A disk in trouble is not asked by every request."""
        monkeypatch.setattr(files, "PAUSE", 3600.0)
        path = tmp_path / "logs" / "audit.log"
        file = RecordFile(path, 1000, 5)
        write(file, "lost")
        path.parent.mkdir()
        write(file, "lost as well")
        assert file.unwritten == 2
        assert not path.exists()

    def test_of_a_named_pipe_hangs_nobody(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Without a reader, opening one waits; and what is in it nobody keeps."""
        os.mkfifo(path)
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        assert file.unwritten == 1
        assert "cannot be written" in caplog.text

    @pytest.mark.parametrize("name", ["/dev/full", "/dev/null", "/"])
    def test_of_what_is_no_file_is_told(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        """A device or a folder keeps no records."""
        file = RecordFile(Path(name), 1000, 5)
        write(file, "one")
        assert file.unwritten == 1
        assert "cannot be written" in caplog.text

    def test_of_a_file_that_never_stays_ends(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody deletes it each time."""
        real = os.write

        def delete_and_write(descriptor: int, data: bytes) -> int:
            path.unlink()
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", delete_and_write)
        file = RecordFile(path, 1000, 5)
        write(file, "one")
        assert file.unwritten == 1


def test_a_system_without_such_files_says_so_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the first record is lost."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(KeyfobError, match="POSIX"):
        RecordFile(path, 1000, 5)


# A disk that takes 1,000 bytes, by the limit on a file's size: the write that reaches it is cut short, as ENOSPC does.
FULL_DISK = """
import resource, sys
from pathlib import Path
from keyfob.audit import files

files.PAUSE = 0.0
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
file = files.RecordFile(Path(sys.argv[1]), 10_000, 5)
for n in range(40):
    file.write(f"line {n:04}" + "x" * 41, 0)
print(file.unwritten, len(Path(sys.argv[1]).read_bytes()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.write("room again", 0)
"""


def test_a_full_disk_tears_no_line(path: Path) -> None:
    """The part of a line that found a place is taken back, and the next one begins where a line begins."""
    said = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    # 51 bytes a line: 19 of them are 969.
    assert said.stdout.split() == ["21", "969"]
    *lines, gap, last = read(path)
    assert lines == [f"line {n:04}" + "x" * 41 for n in range(19)]
    assert json.loads(gap)["count"] == 21
    assert last == "room again"


FORKED = """
import os, signal, sys
from pathlib import Path
from keyfob.audit.files import RecordFile

children = []
class Forking(RecordFile):
    def _move_up(self):
        if not children:
            children.append(os.fork())
            if not children[-1]:
                signal.alarm(60)
                signal.pause()
        super()._move_up()

file = Forking(Path(sys.argv[1]), 10, 5)
for n in range(4):
    file.write(f"line {n:04}", 0)
os.kill(children[0], signal.SIGKILL)
os.waitpid(children[0], 0)
"""


def test_a_child_made_during_a_rotation_holds_up_none_of_the_next(path: Path) -> None:
    """It has the lock's descriptor, too, and would hold the lock as long as it lives."""
    subprocess.run([sys.executable, "-c", FORKED, path], env=environment(), timeout=SECONDS, check=True)
    assert [read(path.with_name(f"audit.log.{n}")) for n in (1, 2, 3)] == [["line 0002"], ["line 0001"], ["line 0000"]]


WORKER = """
import json, sys, threading
from pathlib import Path
from keyfob.audit.files import RecordFile

path, worker, largest, kept, threads, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
file = RecordFile(Path(path), largest, kept)

def write(thread):
    for n in range(count):
        file.write(json.dumps({"by": f"{worker}-{thread}", "n": n, "filling": "x" * (n * 37 % 300)}), 0)

sys.stdin.readline()
writing = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
for each in writing:
    each.start()
for each in writing:
    each.join()
file.close()
print(file.unwritten)
"""
WORKERS, THREADS, LINES = 3, 2, 300


def work(path: Path, largest: int, kept: int) -> Iterator[None]:
    """Starts processes that write lines, all at once; yields while they do. None of them may leave a line out."""
    arguments = [str(each) for each in (largest, kept, THREADS, LINES)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), str(worker), *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(WORKERS)
    ]
    try:
        for each in workers:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        while any(each.poll() is None for each in workers):
            yield
        assert [each.communicate(timeout=SECONDS)[0] for each in workers] == ["0\n"] * WORKERS
    finally:
        for each in workers:
            each.kill()
            each.communicate()


def gather(folder: Path) -> dict[str, list[int]]:
    """Which lines of which writer are in the files, in no order. Fails where one is not whole."""
    found: dict[str, list[int]] = {}
    for each in folder.iterdir():
        text = each.read_text(encoding="ascii")
        assert not text or text.endswith("\n")
        for line in text.splitlines():
            said: dict[str, Any] = json.loads(line)
            found.setdefault(said["by"], []).append(said["n"])
    return found


class TestProcesses:
    """Several of them, each with threads, write and rotate the same file."""

    def test_lose_no_line_and_tear_none(self, path: Path) -> None:
        """With files enough for all of them."""
        for _ in work(path, 20_000, 1000):
            time.sleep(0.01)
        found = gather(path.parent)
        assert {by: sorted(lines) for by, lines in found.items()} == {by: list(range(LINES)) for by in found}
        assert len(found) == WORKERS * THREADS
        assert len(list(path.parent.iterdir())) > 10

    def test_lose_none_but_the_oldest(self, path: Path) -> None:
        """With one file kept, which goes when the next one is full: what is left of each writer has no hole."""
        for _ in work(path, 10_000, 1):
            time.sleep(0.01)
        assert {each.name for each in path.parent.iterdir()} == {"audit.log", "audit.log.1", "audit.log.lock"}
        for lines in gather(path.parent).values():
            assert sorted(lines) == list(range(min(lines), min(lines) + len(lines)))
        assert LINES - 1 in {max(lines) for lines in gather(path.parent).values()}

    def test_lose_none_while_somebody_else_moves_the_file(self, path: Path) -> None:
        """logrotate knows nothing of the lock."""
        for n, _ in enumerate(work(path, 20_000, 1000)):
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_name(f"moved-{n}"))
            time.sleep(0.002)
        found = gather(path.parent)
        assert {by: sorted(lines) for by, lines in found.items()} == {by: list(range(LINES)) for by in found}
        assert len(found) == WORKERS * THREADS
        assert any(each.name.startswith("moved-") for each in path.parent.iterdir())
