"""Where the files of a batch end up: in a folder, or in one zip file."""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.batch.archive import Joiner, read_tail, unpack
from keyfob.pki.batch.parts import STAGED, Workshop, name_files, open_workshop, read_ledger, sync_folder
from keyfob.pki.files import replace_file


class Destination(Protocol):
    """What a folder and a bundle have in common."""

    workshop: Path

    @property
    def target(self) -> Path | None:
        """The folder into which workers put files, if they do."""

    def prepare(self) -> None:
        """Makes the folders that are missing. Raises PKIError."""

    def find(self, name: str) -> bytes | None:
        """The fingerprint of the certificate that is there for this device already. Raises PKIError."""

    def find_whole(self, name: str) -> x509.Certificate | None:
        """The certificate that is there for this device, if its files are whole and belong together."""

    def restore(self, part: Path) -> None:
        """Brings what is in a part of an earlier run to where it belongs. Raises PKIError and OSError."""

    def collect(self, part: Path) -> None:
        """Takes what is in a part that is recorded. Raises OSError."""

    def forget(self, names: Collection[str], part: Path) -> None:
        """Takes back the files of devices that are about to be dropped from this part."""

    def finish(self, workshop: Workshop) -> None:
        """Whatever remains to be done when all is recorded. Raises PKIError and OSError."""

    def give_up(self) -> None:
        """Closes what is open, and removes the folder if this run has made it and there is nothing in it."""


class Folder:
    """A folder with `NAME.pem` and, unless the device brought its own, `NAME-key.pem` for each device."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workshop = path / ".batch"
        self._is_new = False
        self._is_empty = False

    @property
    def target(self) -> Path | None:
        return self.path

    def prepare(self) -> None:
        self._is_new = not self.path.exists()
        _make_folder(self.path)
        with os.scandir(self.path) as entries:
            self._is_empty = all(each.name == self.workshop.name for each in entries)

    def find(self, name: str) -> bytes | None:
        if self._is_empty:
            return None
        data = self._read(name)
        return None if data is None else _read_mark(self.path / name_files(name)[0], data)

    def find_whole(self, name: str) -> x509.Certificate | None:
        """The device's certificate, if its files are whole and belong together."""
        try:
            certificate = x509.load_pem_x509_certificate(self._read(name) or b"")
            key = self.path / name_files(name)[1]
            if key.exists() and load_pem_private_key(key.read_bytes(), None).public_key() != certificate.public_key():
                return None
        except (OSError, *UNREADABLE):
            return None
        return certificate

    def restore(self, part: Path) -> None:
        self._is_empty = False
        place(self.path, unpack(part))

    def collect(self, part: Path) -> None:
        """The worker has put the files in their places already."""

    def forget(self, names: Collection[str], part: Path) -> None:
        gone = {file for name in names for file in name_files(name)}
        for file, data in unpack(part):
            path = self.path / file
            if file in gone and _read_if_there(path) == data:
                path.unlink()

    def finish(self, workshop: Workshop) -> None:
        # The parts go, so what was copied from them has to be on the disk itself.
        os.sync()

    def give_up(self) -> None:
        if self._is_new:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def _read(self, name: str) -> bytes | None:
        certificate, key = (self.path / each for each in name_files(name))
        data = _read_if_there(certificate)
        if data is None and os.path.lexists(key):
            raise PKIError(f"{key.name} is there already, without its certificate", "move it away")
        return data


class Bundle:
    """One zip file, 0600, with the same files. It appears when all is in it."""

    def __init__(self, path: Path, mark: bytes) -> None:
        """`mark` is the end of a bundle that is made of the same rows."""
        self.path, self._mark = path, mark
        self.workshop = path.with_name(f".{path.name}.batch")
        self._made: sqlite3.Connection | None = None
        self._open: tuple[Joiner, BinaryIO] | None = None

    @property
    def target(self) -> Path | None:
        return None

    def is_complete(self) -> bool:
        """Whether it is there, and made of these rows. Raises PKIError if it is there and is not."""
        try:
            found = read_tail(self.path, len(self._mark))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise PKIError(f"{self.path} cannot be read: {error.strerror}", "choose another name") from error
        if found != self._mark:
            raise PKIError(f"{self.path} exists and is never written over", "move it away, or choose another name")
        return True

    def prepare(self) -> None:
        _make_folder(self.path.parent)

    def find(self, name: str) -> bytes | None:
        if self._made is None:
            return None
        row = self._made.execute("SELECT fingerprint FROM made WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def find_whole(self, name: str) -> x509.Certificate | None:
        # What is in a part was recorded when the batch resumed.
        return None

    def restore(self, part: Path) -> None:
        if self._made is None:
            # A file without a name, for which 2 MB of memory are enough.
            self._made = sqlite3.connect("", isolation_level=None)
            self._made.execute("CREATE TABLE made (name TEXT PRIMARY KEY, fingerprint BLOB) WITHOUT ROWID")
            self._made.execute("BEGIN")
        signed = read_ledger(part).certificates
        rows = [(each.name, hashlib.sha256(each.certificate).digest()) for each in signed]
        self._made.executemany("INSERT OR REPLACE INTO made VALUES (?, ?)", rows)

    def collect(self, part: Path) -> None:
        self._open_bundle()[0].add(part)

    def _open_bundle(self) -> tuple[Joiner, BinaryIO]:
        if self._open is None:
            staged = self.workshop / STAGED
            staged.unlink(missing_ok=True)
            file = os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
            self._open = Joiner(file), file
        return self._open

    def forget(self, names: Collection[str], part: Path) -> None:
        """What is not in a part will not be in the bundle."""

    def finish(self, workshop: Workshop) -> None:
        joiner, file = self._open_bundle()
        joiner.finish(self._mark)
        file.flush()
        os.fsync(file.fileno())
        try:
            # link() fails where rename() would replace: what is there may hold the only copy of keys.
            os.link(workshop.folder / STAGED, self.path)
        except FileExistsError as error:
            message = f"{self.path} exists and is never written over"
            raise PKIError(message, "move it away, and run the same command again: nothing is lost") from error
        sync_folder(self.path.parent)

    def tidy_up(self) -> None:
        """Removes the parts of a complete bundle, if they are still there."""
        with contextlib.suppress(FileNotFoundError):
            # Parts of another bundle of this name may hold the only copy of keys.
            if (self.workshop / STAGED).samefile(self.path):
                with open_workshop(self.workshop):
                    pass

    def give_up(self) -> None:
        for each in self._open or ():
            each.close()
        if self._made is not None:
            self._made.close()


def place(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Writes files, each 0600. One that is there already stays if it is the same, and half of it becomes whole.

    Raises PKIError if it is another one, and OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name, data in files:
            try:
                _write(descriptor, name, data)
            except FileExistsError:
                _complete(folder / name, data)
    finally:
        os.close(descriptor)


def _write(folder: int, name: str, data: bytes) -> None:
    # Written out, since pathlib would take as long as the kernel.
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(file)


def _complete(path: Path, data: bytes) -> None:
    there = _read_if_there(path)
    if there == data:
        return
    if there is None or not data.startswith(there):
        raise PKIError(f"{path} exists and is never written over", "move it away, and run the same command again")
    replace_file(path, data)


def _read_if_there(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PKIError(f"{path} cannot be read: {error.strerror}", "move it away") from error


def _read_mark(path: Path, data: bytes) -> bytes:
    try:
        return x509.load_pem_x509_certificate(data).fingerprint(hashes.SHA256())
    except UNREADABLE as error:
        raise PKIError(f"{path.name} is there already, and is no certificate", "move it away") from error


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PKIError(f"{path} cannot be made: {error.strerror}", "name a folder that you own, with --out") from error
