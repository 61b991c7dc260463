"""trust.serials: serial numbers, and our own list of withdrawn ones."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_authority, make_leaf
from keyfob.trust.serials import LONGEST_LINE, UnusableList, encode_serial, read_own_list
from revocations import make_serial
from servers import find_program

ROOT = make_authority("Root")
LEAF, OTHER = make_leaf(ROOT), make_leaf(ROOT)
SERIAL = LEAF.certificate.serial_number


def withdrawn(folder: Path, text: str | bytes) -> bool:
    """Whether a list of this text withdraws LEAF; it never withdraws OTHER."""
    path = folder / "revoked.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    own = read_own_list(path)
    assert not own.withdraws(OTHER.certificate)
    return own.withdraws(LEAF.certificate)


def with_colons(serial: int) -> str:
    return serial.to_bytes((serial.bit_length() + 7) // 8).hex(":").upper()


@pytest.mark.parametrize(
    "line",
    [
        f"{SERIAL:x}",
        f"{SERIAL:X}",
        f"000{SERIAL:x}",
        f"serial={SERIAL:X}",
        with_colons(SERIAL),
        f"serial={with_colons(SERIAL)}",
        f"  {SERIAL:x}\t",
        f"{SERIAL:x} # lost on the train, Zürich",
        f"{SERIAL:x}\r",
    ],
    ids=["lower", "upper", "zeros", "openssl", "colons", "openssl with colons", "spaces", "comment", "CRLF"],
)
def test_a_serial_number_is_read_however_it_is_written(line: str, tmp_path: Path) -> None:
    """Among others, as the first line behind a byte order mark, and as the last without an end."""
    for text in (f"{line}\n", f"# mine\n\n1\n{line}\n2\n", f"\ufeff{line}\n", f"1\n{line}"):
        assert withdrawn(tmp_path, text)


def test_openssls_own_words_are_read(tmp_path: Path) -> None:
    """What `openssl x509 -noout -serial` prints can be appended as it is."""
    (tmp_path / "leaf.pem").write_text(LEAF.pem)
    command = [find_program("openssl", "openssl"), "x509", "-noout", "-serial", "-in", "leaf.pem"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert said.startswith(b"serial=")
    assert withdrawn(tmp_path, said)


def test_an_empty_list_withdraws_nobody(tmp_path: Path) -> None:
    """Nor does one of comments alone."""
    assert not withdrawn(tmp_path, "")
    assert not withdrawn(tmp_path, "# nobody yet\n\n")


@pytest.mark.parametrize(
    "line",
    [
        b"phone",
        b"0x1A",
        b"1A 2B",
        b"1A,2B",
        b"-1A",
        b"serial=",
        b"Serial=1A",
        b"serial=serial=1A",
        b"1A:2",
        b"1:A2",
        b":1A",
        b"1A:",
        b"1A::2B",
        b"ff" * 21,
        b"\xff\xfe1\x00",
        b"1A # \xff",
        b"1A\xc2\xa0",
        "\N{FULLWIDTH DIGIT ONE}A".encode(),
        b"#" * LONGEST_LINE,
    ],
)
def test_any_other_line_is_an_error_with_its_number(line: bytes, tmp_path: Path) -> None:
    """A line that nobody obeys would be a device that still gets in."""
    with pytest.raises(UnusableList, match=r"revoked\.txt, line 3: ") as raised:
        withdrawn(tmp_path, b"# mine\n1A\n" + line + b"\n2B\n")
    assert raised.value.hint


def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Not an empty list."""
    for path in (tmp_path / "missing.txt", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UnusableList, match="cannot be read") as raised:
            read_own_list(path)
        assert raised.value.hint


def test_thousands_of_lines_are_read(tmp_path: Path) -> None:
    """Each of them, and once."""
    lines = [f"{SERIAL + 2 + number:x}" for number in range(20_000)]
    path = tmp_path / "revoked.txt"
    path.write_text("\n".join([*lines, f"{SERIAL:x}", *lines]))
    own = read_own_list(path)
    assert len(own) == 20_001
    assert own.withdraws(LEAF.certificate)


def test_a_serial_number_has_the_octets_that_the_certificate_has() -> None:
    """So that a list's octets and a certificate's are compared as they are."""
    for pair in (LEAF, OTHER, ROOT):
        der = make_serial(pair.certificate.serial_number)
        assert der in pair.certificate.public_bytes(Encoding.DER)
        assert der[2:] == encode_serial(pair.certificate)
