"""config.devices: a file of devices, read exactly, and fast enough for a million of them."""

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.config.devices import _LOOKS_ELSE, UnusableDevices, read_devices

PRINT = sha256(b"phone").hexdigest()
COLONS = ":".join(PRINT[at : at + 2] for at in range(0, 64, 2)).upper()


def read(tmp_path: Path, content: str | bytes) -> object:
    path = tmp_path / "devices.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_devices(path)


def holds(tmp_path: Path, content: str | bytes, name: str) -> bool:
    path = tmp_path / "devices.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name in read_devices(path).names


def test_names_are_compared_exactly(tmp_path: Path) -> None:
    """In every letter, and whole."""
    text = "Rhea Group\nMüller\n"
    assert holds(tmp_path, text, "Rhea Group")
    assert holds(tmp_path, text, "Müller")
    for other in ("rhea group", "Rhea", "Rhea Group ", "Mu\u0308ller", ""):
        assert not holds(tmp_path, text, other), other


@pytest.mark.parametrize("line", [PRINT, PRINT.upper(), COLONS])
def test_a_fingerprint_is_one_in_any_spelling(tmp_path: Path, line: str) -> None:
    """As OpenSSL prints it, or as it is read from a certificate here."""
    path = tmp_path / "devices.txt"
    path.write_text(f"{line}\n")
    devices = read_devices(path)
    assert bytes.fromhex(PRINT) in devices.fingerprints
    assert line not in devices.names


def test_what_only_looks_like_a_fingerprint_is_a_name(tmp_path: Path) -> None:
    """One digit less, or one more."""
    for line in (PRINT[:-1], PRINT + "0", PRINT.replace("0", "g")):
        assert holds(tmp_path, f"{line}\n", line)


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n", "\ufeff", "#\r\n\r\n"])
def test_an_empty_list_lists_nobody(tmp_path: Path, text: str) -> None:
    """That is an order to keep everybody out, and obeyed."""
    assert not holds(tmp_path, text, "Rhea Group")
    assert not holds(tmp_path, text, "")


@pytest.mark.parametrize("text", ["A\r\nB\r\n", "\ufeffA\nB", "# c\nA\n\nB\n", "B\nA\nA\n"])
def test_line_ends_comments_and_repeats_say_nothing(tmp_path: Path, text: str) -> None:
    """Editors differ in them."""
    assert holds(tmp_path, text, "A")
    assert holds(tmp_path, text, "B")
    assert not holds(tmp_path, text, "# c")


UNUSABLE = {
    "a blank behind": "A\nB \n",
    "a blank before": "A\n B\n",
    "a tab": "A\nB\tC\n",
    "a control character": "A\nB\x1b[2J\n",
    "a direction mark": "A\nB\u202e\n",
    "another line end": "A\nB\x85C\n",
    "too long": "A\n" + "b" * 1025,
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_name_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    """A list that would silently lack a device keeps it out, or lets it in, for no reason that anybody sees."""
    with pytest.raises(UnusableDevices, match="line 2: not a name or a fingerprint") as raised:
        read(tmp_path, text)
    assert raised.value.hint


@pytest.mark.parametrize("content", [b"A\n\xff\n", "A\n".encode("utf-16"), b"A\n" * 9000 + b"\xc3"])
def test_what_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    """And not replaced by question marks."""
    with pytest.raises(UnusableDevices, match=r"not UTF-8|not a name"):
        read(tmp_path, content)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """Which the configuration turns into a problem."""
    with pytest.raises(FileNotFoundError):
        read_devices(tmp_path / "gone.txt")


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    lambda text: (
        text == text.strip()
        and text.isprintable()
        and not text.startswith(("#", "\ufeff"))
        and not _LOOKS_ELSE.search(text)
    )
)


@given(st.sets(NAMES, max_size=20), st.sets(NAMES, max_size=5))
def test_exactly_what_is_listed_is_held(
    tmp_path_factory: pytest.TempPathFactory, listed: set[str], others: set[str]
) -> None:
    """Nothing more, nothing less."""
    path = tmp_path_factory.mktemp("devices") / "devices.txt"
    path.write_text("".join(f"{name}\n" for name in listed), encoding="utf-8")
    devices = read_devices(path)
    for name in listed | others:
        assert (name in devices.names) is (name in listed)
