"""pki.names: a device's name is what it looks like, and can be the name of a file."""

from pathlib import Path

import pytest

from keyfob.errors import PKIError
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.issuing import issue_device
from keyfob.pki.names import require_device_name
from registries import make_registry


@pytest.mark.parametrize(
    "name",
    [
        "My iPhone",
        "Rhea Group",
        "x",
        "Küche",
        "电话",
        "телефон",
        "a'b",
        "100%",
        "[1] *?",
        "x" * 64,
        "é" * 32,
        "key",
        "my-keys",
    ],
)
def test_what_people_call_their_devices_is_taken(name: str) -> None:
    """In any script, with anything that a file system takes."""
    assert require_device_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "needs a name"),
        ("   ", "needs a name"),
        ("a/b", "'/' in it"),
        ("../../etc/passwd", "'/' in it"),
        ("a\\b", r"in it, and files"),
        ("a\0b", "cannot be seen, U+0000"),
        ("a\nb", "cannot be seen, U+000A"),
        ("a\x1b[2Jb", "cannot be seen, U+001B"),
        ("a\u202eb", "cannot be seen, U+202E"),
        ("a\u200fb", "cannot be seen, U+200F"),
        ("a\u200bb", "cannot be seen, U+200B"),
        ("a\ue000b", "cannot be seen, U+E000"),
        ("a\udcffb", "cannot be seen, U+DCFF"),
        (" a", "not what it looks like"),
        ("a ", "not what it looks like"),
        ("Cafe\u0301", "not what it looks like"),
        (".hidden", "begins with '.'"),
        ("..", "begins with '.'"),
        ("-rf", "begins with '-'"),
        ("x" * 65, "longer than 64"),
        ("é" * 33, "longer than 64"),
        ("x" * 10_000, "longer than 64"),
        ("电" * 22, "longer than 64"),
        ("phone-key", "ends with '-key'"),
        ("0" * 39, "a serial number or a fingerprint"),
        (":".join(["AB"] * 20), "a serial number or a fingerprint"),
        ("a1" * 32, "a serial number or a fingerprint"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_is_not_what_it_looks_like_is_refused_with_the_reason(name: str, said: str) -> None:
    """And the error itself is short, and can be printed."""
    with pytest.raises(PKIError) as raised:
        require_device_name(name)
    assert said in raised.value.message
    assert raised.value.hint
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 200


@pytest.mark.parametrize("name", ["x" * 64, "é" * 32, "\U0001f511" * 16])
def test_the_longest_names_fit_into_a_certificate_and_a_file(tmp_path: Path, name: str) -> None:
    """What is taken here is refused nowhere else."""
    registry = make_registry(tmp_path)
    issue_device(registry, DeviceRequest(require_device_name(name)))
    assert (tmp_path / "devices" / f"{name}-key.pem").exists()


def test_no_device_takes_the_file_of_another_ones_key(tmp_path: Path) -> None:
    """`phone-key.pem` is the key of `phone`."""
    registry = make_registry(tmp_path)
    issue_device(registry, DeviceRequest("phone"))
    with pytest.raises(PKIError, match="'-key'"):
        issue_device(registry, DeviceRequest("phone-key"))
