"""pki.batch.folder: files are put in their places once, and never in the place of others."""

import os
from pathlib import Path

import pytest

from keyfob.errors import PKIError
from keyfob.pki.batch.folder import place

FILES = [("a.pem", b"certificate"), ("a-key.pem", b"key")]


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        place(tmp_path, FILES)
    finally:
        os.umask(before)
    assert read_all(tmp_path) == dict(FILES)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("there", [b"", b"cert", b"certificate"])
def test_the_beginning_of_a_file_becomes_the_whole(tmp_path: Path, there: bytes) -> None:
    """That is what a kill in the middle of a write leaves."""
    (tmp_path / "a.pem").write_bytes(there)
    place(tmp_path, FILES)
    assert read_all(tmp_path) == dict(FILES)


@pytest.mark.parametrize("there", [b"another", b"certificate and more"])
def test_another_file_is_never_written_over(tmp_path: Path, there: bytes) -> None:
    """It may be the only copy of somebody's key."""
    (tmp_path / "a.pem").write_bytes(there)
    with pytest.raises(PKIError, match="exists and is never written over"):
        place(tmp_path, FILES)
    assert (tmp_path / "a.pem").read_bytes() == there


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was whole before stays; the part has the rest."""
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if data == b"key":
            real(descriptor, data[:1])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        place(tmp_path, FILES)
    assert read_all(tmp_path) == dict(FILES[:1])
