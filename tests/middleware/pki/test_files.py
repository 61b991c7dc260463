"""pki.files: made once, for their owner alone, all of them or none, never over something else."""

import errno
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority
from keyfob.pki.files import write_together
from keyfob.pki.home import Home, open_home
from servers import environment

CONTENTS = {"one.pem": b"first", "two-key.pem": b"second \x00\xff", "three.p12": b""}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int, error: BaseException) -> None:
    """Makes the call with this number, counted from 1, of `os.name` raise `error`."""
    real, calls = getattr(os, name), itertools.count(1)

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- What is made ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o022, 0o077], ids=oct)
def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    """0600, with what was asked for inside, and nothing beside them."""
    with umask(mask):
        write_together(tmp_path, CONTENTS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENTS
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_nlink == 1


def test_a_file_is_never_readable_by_others_not_even_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mode that is set afterwards comes too late; a file that may exist already could be somebody else's."""
    opened: list[tuple[int, int]] = []
    real = os.open

    def watch(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if flags & os.O_CREAT:
            opened.append((flags, stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(os, "open", watch)
    with umask(0):
        write_together(tmp_path, CONTENTS)
    assert len(opened) == len(CONTENTS)
    assert all(flags & os.O_EXCL and mode == 0o600 for flags, mode in opened)


def test_everything_is_on_disk_before_any_of_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses its power must not come back with a key's name on an empty file."""
    steps: list[str] = []
    sync, link = os.fsync, os.link

    def watch_sync(descriptor: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        sync(descriptor)

    def watch_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "link", watch_link)
    write_together(tmp_path, CONTENTS)
    assert steps == ["sync file"] * 3 + ["link"] * 3 + ["sync folder"]


# --- What is there already ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_exists_is_kept_and_nothing_is_made_beside_it(tmp_path: Path, name: str) -> None:
    """Whichever of them it is: what exists is somebody's key."""
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(PKIError, match="never written over") as raised:
        write_together(tmp_path, CONTENTS)
    assert str(tmp_path / name) in raised.value.message
    assert raised.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"mine"}


@pytest.mark.parametrize("kind", ["file", "dangling", "folder", "itself"])
def test_a_symbolic_link_is_neither_followed_nor_replaced(tmp_path: Path, kind: str) -> None:
    """A link could lead anywhere, so a key would be written where somebody else wants it."""
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "two-key.pem"
    link.symlink_to(link if kind == "itself" else elsewhere)
    if kind == "file":
        elsewhere.write_bytes(b"mine")
    if kind == "folder":
        elsewhere.mkdir()
    with pytest.raises(PKIError) as raised:
        write_together(folder, CONTENTS)
    assert raised.value.hint
    assert names(folder) == ["two-key.pem"]
    assert link.is_symlink()
    assert elsewhere.exists() == (kind in {"file", "folder"})
    if kind == "file":
        assert elsewhere.read_bytes() == b"mine"
    if kind == "folder":
        assert names(elsewhere) == []


# --- What fails on the way ------------------------------------------------------------------------------------------

STEPS = [("open", number) for number in (1, 2, 3, 4)]
STEPS += [("fdopen", number) for number in (1, 2, 3)]
STEPS += [("fsync", number) for number in (1, 2, 3, 4)]
STEPS += [("link", number) for number in (1, 2, 3)]
at_each_step = pytest.mark.parametrize(("name", "number"), STEPS, ids=[f"{name}-{number}" for name, number in STEPS])


@at_each_step
def test_when_one_step_fails_none_of_the_files_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """A full disk, at whichever file: one PKIError with a hint, no leftovers, and the next try goes well."""
    with monkeypatch.context() as patch:
        fail_at(patch, name, number, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(PKIError, match="No space left") as raised:
            write_together(tmp_path, CONTENTS)
    assert raised.value.hint
    assert names(tmp_path) == []
    write_together(tmp_path, CONTENTS)


@at_each_step
def test_ctrl_c_leaves_none_of_the_files_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """A first start is where people change their minds; half a pair would keep the second one from starting."""
    with monkeypatch.context() as patch:
        fail_at(patch, name, number, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            write_together(tmp_path, CONTENTS)
    assert names(tmp_path) == []


def test_a_folder_that_takes_no_files_is_said_with_a_hint(tmp_path: Path) -> None:
    """No such folder, a file in its place, and a file system that nobody may write to, root included."""
    (tmp_path / "file").write_bytes(b"")
    folders = [tmp_path / "missing", tmp_path / "file", tmp_path / "file" / "below", Path("/proc/self")]
    for folder in filter(lambda path: path.parts[1] != "proc" or path.exists(), folders):
        with pytest.raises(PKIError) as raised:
            write_together(folder, CONTENTS)
        assert str(folder) in raised.value.message
        assert raised.value.hint


# --- kill -9 --------------------------------------------------------------------------------------------------------

# Runs a call in child after child, each in a folder of its own and killed one step later than the one before, until
# one of them comes to its end. A step is anything that Python's auditing knows of and that touches a file.
KILLER = """\
import itertools, json, os, signal, sys
from pathlib import Path
from keyfob.pki.files import write_together
from keyfob.pki.home import open_home

CALLS = {
    "files": lambda folder: write_together(folder, json.loads(sys.argv[3], object_hook=encode)),
    "home": lambda folder: open_home(folder, ["localhost", "127.0.0.1"]),
}
EVENTS = {"open", "os.link", "os.remove", "os.rename", "os.mkdir"}

def encode(names):
    return {name: text.encode("latin-1") for name, text in names.items()}

def live(folder, last):
    steps = itertools.count(1)
    def watch(event, _):
        if event in EVENTS and next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    CALLS[sys.argv[1]](folder)

for last in itertools.count(1):
    folder = Path(sys.argv[2], str(last))
    folder.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        live(folder, last)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(last, os.waitstatus_to_exitcode(status))
    if not os.WIFSIGNALED(status):
        break
"""


def kill_at_each_step(call: str, folder: Path, *arguments: str) -> list[Path]:
    """The folders that were left behind; the last one is that of a child that was not killed."""
    command = [sys.executable, "-c", KILLER, call, str(folder), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    lines = [line.split() for line in ended.stdout.splitlines()]
    *killed, last = [int(code) for _, code in lines]
    assert set(killed) == {-signal.SIGKILL}
    assert last == 0, ended.stderr
    return [folder / number for number, _ in lines]


def test_kill_9_at_any_step_leaves_no_half_of_a_file_under_its_name(tmp_path: Path) -> None:
    """What bears its name is whole; what does not yet is hidden and for its owner alone."""
    texts = json.dumps({name: data.decode("latin-1") for name, data in CONTENTS.items()})
    folders = kill_at_each_step("files", tmp_path, texts)
    assert len(folders) > 3 * len(CONTENTS)
    for folder in folders:
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.name.startswith(".") or path.read_bytes() == CONTENTS[path.name]
    assert names(folders[0]) == []
    assert names(folders[-1]) == sorted(CONTENTS)


def test_after_kill_9_at_any_step_the_next_start_has_everything_or_says_what_is_missing(tmp_path: Path) -> None:
    """A home that opens is whole; one that is not whole is a PKIError with a hint."""
    folders = kill_at_each_step("home", tmp_path)
    opened = 0
    for folder in folders:
        try:
            home = open_home(folder, ["localhost", "127.0.0.1"])
        except PKIError as error:
            assert error.hint
        else:
            opened += 1
            assert missing_from(home) == [], f"{folder.name}: {names(folder)}"
    assert opened >= len(folders) // 2


def missing_from(home: Home) -> list[str]:
    wanted: list[Callable[[Home], Path]] = [
        lambda home: home.authority,
        lambda home: home.authority_key,
        lambda home: home.server,
        lambda home: home.server_key,
        lambda home: home.device,
        lambda home: home.device_key,
        lambda home: home.bundle,
        lambda home: home.config,
    ]
    Authority.load(home.authority.read_bytes(), home.authority_key.read_bytes())
    return [path(home).name for path in wanted if not path(home).is_file()]
