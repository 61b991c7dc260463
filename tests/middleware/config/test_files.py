"""config.files: what was read, how it was then, and what need not be read again."""

import os
import time
from pathlib import Path

import pytest

from keyfob.config.files import TICK, Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that was written long enough ago for its stamp to tell it from a later state."""
    return write(tmp_path / "access.toml", "first")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    time.sleep(2 * TICK / 1e9)
    return path


class Counting:
    """A parser that tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, path: Path) -> list[str]:
        self.asked += 1
        return path.read_text(encoding="utf-8").split()


def test_what_was_read_and_left_alone_has_not_changed(path: Path) -> None:
    """Looking at the same file again tells nothing new."""
    files = Files()
    assert files.read(path) == b"first"
    assert not files.have_changed()


@pytest.mark.parametrize("way", ["in place", "by rename", "deleted", "same length", "turned back", "link"])
def test_every_way_of_writing_is_a_change(path: Path, tmp_path: Path, way: str) -> None:
    """Editors write in place or aside and rename; rsync turns times back; Kubernetes swaps links to folders."""
    link = tmp_path / "link"
    link.symlink_to(path)
    files = Files()
    files.read(link)
    before = path.stat()
    match way:
        case "in place":
            path.write_text("second state")
        case "by rename":
            write(tmp_path / "aside", "other").replace(path)
        case "deleted":
            path.unlink()
        case "same length":
            path.write_text("FIRST")
        case "turned back":
            path.write_text("FIRST")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "link":
            link.unlink()
            link.symlink_to(write(tmp_path / "new", "first"))
    assert files.have_changed()


def test_a_new_folder_behind_a_link_is_a_change(tmp_path: Path) -> None:
    """Kubernetes mounts a volume as links through `..data`, which it renames over the old one."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "access.toml", "same")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "access.toml").symlink_to("..data/access.toml")
    files = Files()
    files.read(tmp_path / "access.toml")
    assert not files.have_changed()
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert files.have_changed()


def test_what_is_written_while_it_is_read_is_a_change(path: Path) -> None:
    """The stamp is taken first, so nothing that was missed can look as if it had been read."""

    def parse(found: Path) -> str:
        text = found.read_text()
        write(found, "second")
        return text

    files = Files()
    assert files.parse(path, "text", parse) == "first"
    assert files.have_changed()


def test_what_was_written_this_very_moment_is_looked_at_once_more(tmp_path: Path) -> None:
    """A second write within one tick of the clock would leave the same stamp."""
    path = tmp_path / "fresh"
    files, parse = Files(), Counting()
    path.write_text("fresh")
    now = time.time_ns() + 1
    os.utime(path, ns=(now, now))
    files.parse(path, "words", parse)
    assert files.have_changed()
    time.sleep(2 * TICK / 1e9)
    for _ in range(2):
        files.begin()
        files.parse(path, "words", parse)
        files.finish()
        assert not files.have_changed()
    assert parse.asked == 2


def test_a_file_from_the_future_is_no_reason_to_read_it_for_ever(path: Path) -> None:
    """A file server's clock may be ahead of ours."""
    future = time.time_ns() + 60_000_000_000
    os.utime(path, ns=(future, future))
    files = Files()
    files.read(path)
    assert not files.have_changed()


def test_a_file_that_was_missing_and_comes_is_a_change(tmp_path: Path) -> None:
    """A broken configuration is mended by the file that it lacked."""
    files = Files()
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "later.pem")
    assert not files.have_changed()
    (tmp_path / "later.pem").write_text("now")
    assert files.have_changed()
    assert not files.hindered


def test_what_cannot_be_a_path_raises_as_ever(tmp_path: Path) -> None:
    """A NUL in a name is a ValueError, and no reason for the look to fail."""
    files = Files()
    with pytest.raises(ValueError, match="embedded null"):
        files.read(tmp_path / "a\0b")
    assert not files.have_changed()


def test_what_is_there_and_cannot_be_read_is_remembered(tmp_path: Path) -> None:
    """No stamp changes when a process may open files again, so somebody has to try."""
    files = Files()
    with pytest.raises(OSError, match="directory"):
        files.read(tmp_path)
    assert files.hindered
    files.begin()
    assert not files.hindered


def test_what_has_not_changed_is_parsed_once(path: Path, tmp_path: Path) -> None:
    """A million names are not read again because a line of access.toml changed."""
    names, parse, files = write(tmp_path / "names", "a b"), Counting(), Files()
    for state in ("first", "second", "third"):
        write(path, state)
        files.begin()
        assert files.read(path) == state.encode()
        assert files.parse(names, "words", parse) == ["a", "b"]
        files.finish()
    assert parse.asked == 1
    write(names, "a b c")
    files.begin()
    assert files.parse(names, "words", parse) == ["a", "b", "c"]


def test_each_kind_is_parsed_by_itself(path: Path) -> None:
    """One file may mean two things."""
    files = Files()
    assert files.parse(path, "words", Counting()) == ["first"]
    assert files.parse(path, "length", lambda each: len(each.read_bytes())) == 5


def test_what_nobody_asks_for_any_more_is_forgotten(path: Path) -> None:
    """The memory of a list ends with the configuration that named it."""
    files, parse = Files(), Counting()
    files.parse(path, "words", parse)
    files.begin()
    files.finish()
    files.begin()
    files.parse(path, "words", parse)
    assert parse.asked == 2


def test_a_failed_round_forgets_nothing(path: Path) -> None:
    """Who breaks a line and mends it does not wait for a million names twice."""
    files, parse = Files(), Counting()
    files.parse(path, "words", parse)
    files.finish()
    files.begin()  # and nothing finishes it
    files.begin()
    files.parse(path, "words", parse)
    assert parse.asked == 1


def test_what_a_parser_raises_is_raised_and_not_kept(path: Path) -> None:
    """A file that cannot be understood is tried again in the next round."""
    files = Files()

    def refuse(_: Path) -> None:
        raise ValueError("not a list")

    with pytest.raises(ValueError, match="not a list"):
        files.parse(path, "words", refuse)
    assert files.parse(path, "words", Counting()) == ["first"]


def test_relative_paths_stay_where_they_were(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may change its folder after it has read the configuration."""
    monkeypatch.chdir(path.parent)
    files = Files()
    monkeypatch.chdir("/")
    assert files.read(Path(path.name)) == b"first"
    assert not files.have_changed()


def test_a_folder_that_is_gone_hinders_no_absolute_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may outlive the folder that it was started in."""

    def fail(*_: object) -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "cwd", fail)
    assert Files().read(path) == b"first"
