"""Parts: what a worker has made of some rows, whole on the disk before anything else knows of it.

A part is a zip file with the devices' files, and a ledger beside it with what the inventory shall say of them. It stays
until the whole batch is finished: whatever was signed is found again, and recorded, however the batch was stopped.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from keyfob.errors import PKIError
from keyfob.pki.batch.archive import pack, unpack
from keyfob.pki.files import replace_file

ROWS = "rows"
# A bundle that is being written; it is the finished one, too, until everything else is removed.
STAGED = "bundle"
_PART, _LEDGER = ".zip", ".ledger"


def name_files(name: str) -> tuple[str, str]:
    """What a device's files are called: its certificate, and its key."""
    return f"{name}.pem", f"{name}-key.pem"


class Signed(NamedTuple):
    """One line of a ledger."""

    name: str
    certificate: bytes
    """DER."""
    serial: int
    not_before: int
    not_after: int


class Ledger(NamedTuple):
    """What one part holds, for the inventory."""

    issuer: bytes
    issued_at: int
    certificates: tuple[Signed, ...]


def stage(folder: Path, files: Iterable[tuple[str, bytes]], ledger: Ledger) -> str:
    """Writes a part and its ledger under a name of the moment, which is returned. They count once they are committed.

    Raises OSError; then there is nothing.
    """
    token = f".{secrets.token_hex(8)}"
    try:
        write_durably(folder / f"{token}{_LEDGER}", _encode(ledger))
        write_durably(folder / f"{token}{_PART}", pack(files))
    except OSError:
        for suffix in (_LEDGER, _PART):
            (folder / f"{token}{suffix}").unlink(missing_ok=True)
        raise
    return token


class Workshop:
    """The folder with the parts of one batch, held against every other batch."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @property
    def rows(self) -> Path:
        """The file with the rows that are to be made."""
        return self.folder / ROWS

    def find_parts(self) -> list[Path]:
        """Those that were committed, in their order."""
        return sorted(each for each in self.folder.glob(f"*{_PART}") if not each.name.startswith("."))

    def count_on(self) -> int:
        """The number of the next part."""
        parts = self.find_parts()
        return int(parts[-1].stem) + 1 if parts else 0

    def find_part(self, number: int) -> Path:
        return self.folder / f"{number:08}{_PART}"

    def commit(self, number: int, token: str) -> None:
        """Makes what was staged under `token` the part of this number. Raises OSError."""
        part = self.find_part(number)
        (self.folder / f"{token}{_LEDGER}").rename(part.with_suffix(_LEDGER))
        (self.folder / f"{token}{_PART}").rename(part)

    def sync(self) -> None:
        """Returns when what was committed has survived the next power cut."""
        os.fsync(self._descriptor)

    def remove_leftovers(self) -> None:
        """Removes everything that is no part: nobody knows of it."""
        kept = {name for part in self.find_parts() for name in (part.name, part.with_suffix(_LEDGER).name)} | {STAGED}
        for each in self.folder.iterdir():
            if each.name not in kept:
                each.unlink()

    def remove(self) -> None:
        """Removes the folder with everything in it: parts before ledgers, since a part needs its own."""
        for each in sorted(self.folder.iterdir(), key=lambda path: (path.name == STAGED, path.suffix != _PART)):
            each.unlink()
        self.folder.rmdir()


@contextlib.contextmanager
def open_workshop(folder: Path) -> Iterator[Workshop]:
    """Makes the folder, or takes it as it was left. Raises PKIError if another batch is at work in it."""
    try:
        descriptor = _hold(folder)
        workshop = Workshop(folder, descriptor)
        try:
            yield workshop
        except BaseException:
            # Nothing stays of a batch that has made nothing.
            with contextlib.suppress(OSError):
                workshop.remove_leftovers()
                folder.rmdir()
            raise
        else:
            workshop.remove()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PKIError(f"{error.filename or folder} cannot be written: {error.strerror}", _MEND) from error


_MEND = "see to it, and run the same command again: it goes on where it has stopped"


def _hold(folder: Path) -> int:
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise PKIError(f"another batch is at work in {folder.parent}", "wait until it is done") from error
        if _is_still(folder, descriptor):
            return descriptor
        # The batch that held it has just finished, and has removed it.
        os.close(descriptor)


def _is_still(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def read_ledger(part: Path) -> Ledger:
    """The ledger of a part. Raises PKIError."""
    path = part.with_suffix(_LEDGER)
    try:
        return _decode(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise PKIError(f"{path} cannot be read: {error}", "put it back from a backup") from error


def drop(part: Path, names: Collection[str]) -> None:
    """Takes devices out of a part, as if they had never been in it. Raises PKIError."""
    ledger = read_ledger(part)
    gone = {file for name in names for file in name_files(name)}
    kept = tuple(each for each in ledger.certificates if each.name not in names)
    # A name that is in the ledger alone is found again, and dropped again.
    replace_file(part, pack((name, data) for name, data in unpack(part) if name not in gone))
    replace_file(part.with_suffix(_LEDGER), _encode(ledger._replace(certificates=kept)))


def _encode(ledger: Ledger) -> bytes:
    """A line of JSON, and behind it the certificates as they are: Base64 would take longer than all the rest."""
    lines = [(name, len(der), serial, begin, end) for name, der, serial, begin, end in ledger.certificates]
    head = json.dumps([ledger.issuer.hex(), ledger.issued_at, lines]).encode("ascii")
    return b"".join((head, b"\n", *(each.certificate for each in ledger.certificates)))


def _decode(data: bytes) -> Ledger:
    head, _, ders = data.partition(b"\n")
    issuer, issued_at, lines = json.loads(head)
    signed, at = [], 0
    for name, length, serial, begin, end in lines:
        signed.append(Signed(name, ders[at : at + length], serial, begin, end))
        at += length
    if at != len(ders):
        raise ValueError("it is not as long as it says")
    return Ledger(bytes.fromhex(issuer), issued_at, tuple(signed))


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder have survived the next power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """A new file for its owner alone, on disk when this returns. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
