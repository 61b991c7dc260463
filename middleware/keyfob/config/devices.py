"""A file of devices, for device_list: names or fingerprints, one a line, by the million."""

import re
from hashlib import blake2b
from pathlib import Path
from time import sleep

from keyfob.errors import KeyfobError
from keyfob.policy.selectors import DeviceList
from keyfob.tables import KeyTable

# SHA-256 in hex, with or without colons. A device whose name looks like one cannot be listed by that name.
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_LONGEST_LINE = 1024
# After so many lines, a few milliseconds' work, so many seconds of rest for whoever waits for the interpreter.
# A thread that never rests keeps others waiting for 5 ms each time, and longer where processors are short.
_TURN, _REST, _PIECE = 1000, 0.0005, 1 << 20
# What openssl prints before a fingerprint or serial number, other digests, and a comment behind a name: taken for a
# name, none of it would ever hold, and so never shut anybody out.
_LOOKS_ELSE = re.compile(
    r"(?i)\A[\"']|\ACN\s*=|\A(?:sha-?\d+|md5)?\s*(?:fingerprint\s*=|:)\s*[0-9a-f:]+\Z|\Aserial\s*=|[ \t]#|"
    r"\A[0-9a-f]{2}(?:[: ]?[0-9a-f]{2}){15,}\b"
)
# Something of this is in all of it, and in few names.
_SUSPECT = re.compile(r"[:=#\"']|\A[0-9A-Fa-f]{2}[: ]?[0-9A-Fa-f]{2}")
_LINES = 'one common name or SHA-256 fingerprint a line, "# …" for comments'


class UnusableDevices(KeyfobError):
    """A list of devices that cannot be obeyed as it is."""


class _NameSet:
    """Texts by their digests, 16 octets each, whatever their length.

    128 bits of BLAKE2 do not meet by chance, and to find another name with a given digest is out of reach.
    """

    def __init__(self) -> None:
        self._digests = KeyTable(16)

    def __contains__(self, name: str) -> bool:
        return _digest(name) in self._digests

    def add(self, name: str) -> None:
        self._digests.add(_digest(name))


def _digest(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def read_devices(path: Path) -> DeviceList:
    """The devices in a file of UTF-8 lines. Blank lines and those that start with # say nothing.

    An empty file lists nobody, and so it is obeyed: it may have been emptied to keep everybody out. Names are compared
    exactly, so blanks around one are refused. Raises UnusableDevices, with the line, and OSError. Reads a line at a
    time: a million lines hold up no other thread.
    """
    names, fingerprints = _NameSet(), KeyTable(32)
    # In large pieces: each reading lets go of the interpreter, and whoever waits for it begins to wait anew.
    with path.open("rb", buffering=_PIECE) as lines:
        for number, line in enumerate(lines, start=1):
            if not number % _TURN:
                sleep(_REST)
            text = _decode(line, path, number)
            if not text or text.startswith("#"):
                continue
            if _FINGERPRINT.fullmatch(text):
                fingerprints.add(bytes.fromhex(text.replace(":", "")))
            else:
                _require_name(text, path, number)
                names.add(text)
    return DeviceList(names, fingerprints)


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        # Some editors put a byte order mark before the first line.
        return line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UnusableDevices(f"{path}, line {number}: not UTF-8", f"write {_LINES}") from error


def _require_name(text: str, path: Path, number: int) -> None:
    if _SUSPECT.search(text) and _LOOKS_ELSE.search(text):
        hint = "write 64 hex digits for a fingerprint, and comments on lines of their own"
        raise UnusableDevices(f"{path}, line {number}: no name, but it looks like something else", hint)
    if text != text.strip() or len(text) > _LONGEST_LINE or not text.isprintable():
        hint = "a name is compared exactly: take away blanks around it, and what cannot be printed"
        raise UnusableDevices(f"{path}, line {number}: not a name or a fingerprint", hint)
