"""The budget workbook: the file `budget.xlsx`, read and written whole. Runs on POSIX systems.

The person may open, edit and sort the file at any time, so it is read afresh for every row that is added, and it is
never replaced by anything but itself with one row more.
"""

import fcntl
import glob
import io
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from budget_app.entries import Entry
from budget_app.rows import HEADINGS, Row, append_row, has_headings, read_rows, write_headings

SHEET = "Expenses"

# Parts of a workbook that openpyxl leaves out, without a word, when it writes the workbook back.
_UNKEPT_PARTS = ("xl/media/", "xl/threadedComments/", "xl/slicers/", "xl/vbaProject.bin")

# What zipfile, the XML parser and openpyxl raise on a file that is not, or no longer, a workbook.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    SyntaxError,  # xml.etree.ElementTree.ParseError is one.
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

Stamp = tuple[int, int, int]
"""Inode, modification time and size of a file: they change whenever its content does."""


class WorkbookError(Exception):
    """The workbook cannot be read or written; `message` says what is wrong and `hint` what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; hint: {self.hint}"


class ExpenseWorkbook:
    """The workbook at `path`. Every method raises WorkbookError, and leaves the file as it was when it does."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def prepare(self) -> None:
        """Make the workbook, and the folder it lies in, if it is missing; otherwise see that it can be used."""
        path = self._target()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        with _locked_folder(path) as folder:
            _remove_leftovers(path)
            if _stamp(path) is None:
                _write(path, _serialise(path, _new_book()), folder)
        _require_writable(path)
        _load(path)

    def append(self, entry: Entry, device: str) -> int:
        """Add one row and return its number, once the row is on disk. A file that is missing is made."""
        path = self._target()
        with _locked_folder(path) as folder:
            stamp = _stamp(path)
            book = _new_book() if stamp is None else _load(path)
            number = _append(path, book, entry, device)
            content = _serialise(path, book)
            if _stamp(path) != stamp:
                raise WorkbookError(
                    f"{path} was changed by another program while the row was being added",
                    "send the expense once more",
                )
            _write(path, content, folder)
        return number

    def stamp(self) -> Stamp | None:
        """What tells one state of the file from another; None if there is no file."""
        return _stamp(self._target())

    def rows(self) -> tuple[Row, ...]:
        """Every row of the sheet, from the top; none if there is no file."""
        path = self._target()
        return () if _stamp(path) is None else tuple(read_rows(_expenses(_load(path))))

    def _target(self) -> Path:
        """The file itself, so that replacing it keeps a symbolic link that leads to it."""
        return Path(os.path.realpath(self.path))


@contextmanager
def _locked_folder(path: Path) -> Iterator[int]:
    """Hold the folder of the workbook, as a file descriptor, against other processes that run this app."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        # Some network file systems cannot lock a folder. There, one process alone may run the app.
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise WorkbookError(f"{path} is {kind}, not a workbook", "move it away or choose another path for the workbook")
    return status.st_ino, status.st_mtime_ns, status.st_size


def _load(path: Path) -> Workbook:
    """Read the workbook and see that it has our sheet and headings, and nothing that writing it back would lose."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        parts = zipfile.ZipFile(io.BytesIO(content)).namelist()
        book = load_workbook(io.BytesIO(content), rich_text=True)
    except (*_DAMAGE, OSError) as error:  # The content is in memory, so an OSError is openpyxl's own.
        raise _damaged(path) from error
    _require_kept(path, parts)
    _require_layout(path, book)
    return book


def _require_kept(path: Path, parts: list[str]) -> None:
    unkept = next((part for part in parts if part.startswith(_UNKEPT_PARTS)), None)
    if unkept is not None:
        raise WorkbookError(
            f"{path} holds pictures, macros or add-ons that adding a row would lose ({unkept})",
            "move them to another workbook",
        )


def _require_layout(path: Path, book: Workbook) -> None:
    if not isinstance(book[SHEET] if SHEET in book.sheetnames else None, Worksheet):
        raise WorkbookError(
            f"{path} has no sheet named {SHEET}",
            f"rename the sheet that holds the expenses to {SHEET}, or move the file away and a new one is made",
        )
    if not has_headings(_expenses(book)):
        raise WorkbookError(
            f"the first row of the sheet {SHEET} in {path} does not read {', '.join(HEADINGS)}",
            "put these headings back in columns A to E",
        )


def _require_writable(path: Path) -> None:
    """Replacing a file asks only for rights to its folder; a file that was made read-only is meant to stay as it is."""
    for target in (path, path.parent):
        if target.exists() and not os.access(target, os.W_OK):
            raise WorkbookError(
                f"{target} may not be written by this program", "give its user the right to write there"
            )


def _expenses(book: Workbook) -> Worksheet:
    sheet = book[SHEET]
    if not isinstance(sheet, Worksheet):
        raise TypeError(sheet)
    return sheet


def _new_book() -> Workbook:
    book = Workbook()
    book.properties.creator = "keyfob budget"
    sheet = book.worksheets[0]
    sheet.title = SHEET
    write_headings(sheet)
    return book


def _append(path: Path, book: Workbook, entry: Entry, device: str) -> int:
    try:
        return append_row(_expenses(book), entry, device)
    except OverflowError as error:
        raise WorkbookError(f"the sheet {SHEET} in {path} is full", "start a new workbook") from error


def _serialise(path: Path, book: Workbook) -> bytes:
    content = io.BytesIO()
    try:
        book.save(content)
    except OSError as error:  # openpyxl gathers each sheet in a temporary file.
        raise _unwritable(path, error) from error
    except _DAMAGE as error:
        raise _damaged(path) from error
    return content.getvalue()


def _write(path: Path, content: bytes, folder: int) -> None:
    """Replace the file in one step: whoever reads it, or pulls the plug, finds the old content or the new one."""
    _require_writable(path)
    try:
        _replace(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        os.fsync(folder)
    except OSError as error:
        raise WorkbookError(
            f"{path} was written, but the disk did not confirm it ({error.strerror})",
            "look at the last row of the workbook before sending the expense again",
        ) from error


def _remove_leftovers(path: Path) -> None:
    """What a write that was killed has left beside the file. The lock says that no other one is going on."""
    with suppress(OSError):
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            leftover.unlink()


def _replace(path: Path, content: bytes) -> None:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _unreadable(path: Path, error: OSError) -> WorkbookError:
    return WorkbookError(
        f"{path} cannot be read ({error.strerror})",
        "give the user of this program the right to read it, or choose another path for the workbook",
    )


def _unwritable(path: Path, error: OSError) -> WorkbookError:
    return WorkbookError(
        f"{path} cannot be written ({error.strerror})",
        f"see that {path.parent} is a folder this program may write in, and that its disk has room",
    )


def _damaged(path: Path) -> WorkbookError:
    return WorkbookError(
        f"{path} is damaged, encrypted or not an .xlsx workbook",
        "open it in a spreadsheet program and save it again as .xlsx without a password, "
        "or move it away and a new one is made",
    )
