"""Files that hold keys: made once, for their owner alone, never written over. Runs on POSIX systems."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from glob import escape
from pathlib import Path

from keyfob.errors import PKIError


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds the folder against other processes that would make keys in it. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Removes what an interrupted `write_together` left of these files. To be called under `lock_folder`."""
    for name in names:
        for path in folder.glob(f".{escape(name)}.{'[0-9a-f]' * 8}"):
            path.unlink()


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Makes all of these files in `folder`, each 0600, or none of them.

    Each is written under another name first and linked into place when all are on disk, so an interrupted write
    leaves no half of a key. Raises PKIError if one of them exists already or the folder does not take them.
    """
    staged: list[tuple[Path, Path]] = []
    unfinished: list[Path] = []
    try:
        for name, data in contents.items():
            path = folder / f".{name}.{secrets.token_hex(4)}"
            staged.append((path, folder / name))
            _write_exclusively(path, data)
        for path, target in staged:
            # link() fails where rename() would replace: what exists is somebody's key.
            os.link(path, target)
            unfinished.append(target)
        _sync_folder(folder)
        unfinished.clear()
    except OSError as error:
        name = Path(str(error.filename2 or error.filename or folder)).name
        if isinstance(error, FileExistsError):
            raise PKIError(f"{folder / name} exists and is never written over", "move it away first") from error
        raise PKIError(f"{folder} cannot be written: {error.strerror}", "choose a folder that you own") from error
    finally:
        # Also after Ctrl+C: half of a pair would keep the next start from going on.
        for path in (*unfinished, *(path for path, _ in staged)):
            with contextlib.suppress(OSError):
                path.unlink()


def replace_file(path: Path, data: bytes) -> None:
    """Puts `data`, 0600, in the place of what was there: in one step, so that a reader finds the one or the other.

    For what is not a key. Raises PKIError.
    """
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_exclusively(staged, data)
        staged.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise PKIError(f"{path} cannot be written: {error.strerror}", "choose a folder that you own") from error
    finally:
        with contextlib.suppress(OSError):
            staged.unlink()


def make_folder(folder: Path) -> None:
    """Makes the folder for its owner alone, unless it is there. Raises PKIError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PKIError(
            f"{folder} cannot be made: {error.strerror}", "name a folder you own, with --home or KEYFOB_HOME"
        ) from error


def _write_exclusively(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
