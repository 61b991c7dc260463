"""Serial numbers by the million, and our own list of withdrawn ones."""

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cryptography import x509

from keyfob.errors import KeyfobError
from keyfob.tables import KeyTable

# RFC 5280 section 4.1.2.2: at most 20 octets, and a leading zero where the first bit would be a sign.
LONGEST_SERIAL = 21

# Where processors are short, a thread that never rests is stopped by force while it holds the interpreter. These are
# seconds after every thousand entries or so; for a million they come to less than one.
REST = 0.0005


class UnusableList(KeyfobError):
    """A list of revocations that cannot be obeyed as it is. Start-up turns this into a ConfigError with its place."""


class Serials:
    """A set of serial numbers, as the content of their DER encoding. A million of 20 octets take about 28 MB."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[int, KeyTable] = {}

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def __contains__(self, serial: bytes) -> bool:
        table = self._tables.get(len(serial))
        return table is not None and serial in table

    def add(self, serial: bytes) -> None:
        """Adds a serial number of 1 to LONGEST_SERIAL octets."""
        table = self._tables.get(len(serial))
        if table is None:
            table = self._tables[len(serial)] = KeyTable(len(serial))
        table.add(serial)


def encode_serial(certificate: x509.Certificate) -> bytes:
    """The serial number's octets as DER has them: a leading 00 keeps a high bit from meaning a sign."""
    return _encode(certificate.serial_number)


def _encode(number: int) -> bytes:
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)


class OwnList:
    """Serial numbers that whoever runs the app has withdrawn, whoever has issued them. `name` is its file's."""

    def __init__(self, name: str, serials: Serials) -> None:
        self.name = name
        self._serials = serials

    def __len__(self) -> int:
        return len(self._serials)

    def withdraws(self, certificate: x509.Certificate) -> bool:
        return encode_serial(certificate) in self._serials


def read_own_list(path: Path) -> OwnList:
    """The list in a text file: one serial number a line, hexadecimal, and `#` before comments.

    It is read line by line and can be millions of lines long. Raises UnusableList.
    """
    serials = Serials()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                try:
                    serial = _read_line(line)
                except ValueError as error:
                    raise UnusableList(f"{path}, line {number}: {error}", _LIKE_THIS) from error
                if serial:
                    serials.add(serial)
                if number % 1000 == 0:
                    time.sleep(REST)
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        raise UnusableList(f"{path} cannot be read: {said}", "name a text file in UTF-8") from error
    return OwnList(str(path), serials)


_LIKE_THIS = "write one serial number a line in hex, as `openssl x509 -noout -serial` prints it; # begins a comment"
LONGEST_LINE = 4096
_MARK = b"\xef\xbb\xbf"  # Some editors put a byte order mark before the text, where nobody can see it.
_LINE = re.compile(rb"(?:serial=)?([0-9A-Fa-f]+|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+)", re.ASCII)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    yield file.readline(LONGEST_LINE).removeprefix(_MARK)
    yield from iter(partial(file.readline, LONGEST_LINE), b"")


def _read_line(line: bytes) -> bytes:
    """The serial number on a line, empty if there is none. Raises ValueError."""
    if len(line) == LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE} bytes")
    if not line.isascii():
        line.decode()
    written = line.partition(b"#")[0].strip()
    if not written:
        return b""
    found = _LINE.fullmatch(written)
    if found is None:
        raise ValueError(f"{written[:60].decode('ascii', 'replace')!r} is no serial number")
    serial = _encode(int(found[1].replace(b":", b""), 16))
    if len(serial) > LONGEST_SERIAL:
        raise ValueError("a serial number of more than 20 octets")
    return serial
