"""pki.cfssl.answers: JSON with files in it."""

import json
import os
from pathlib import Path

import pytest

from keyfob.errors import PKIError
from keyfob.pki.cfssl.answers import Piece, read_answer, save, write_answer
from keyfob.pki.files import lock_folder

CERT, KEY, CSR = Piece(".pem", 0o664, b"c"), Piece("-key.pem", 0o600, b"k"), Piece(".csr", 0o644, b"r")


def test_an_answer_is_written_in_gos_order() -> None:
    """Without what is not there."""
    assert write_answer("c", "r", "k") == '{"cert":"c","csr":"r","key":"k"}'
    assert write_answer(csr="r") == '{"csr":"r"}'


def test_an_answer_comes_apart_again() -> None:
    """What this module writes it reads."""
    assert read_answer(write_answer("c", "r", "k").encode(), "x", bare=True) == [CERT, KEY, CSR]


def test_a_servers_answer_may_hold_a_bundle() -> None:
    """The chain, and its root by itself."""
    answer = {"success": True, "result": {"bundle": {"bundle": "b", "root": "r", "key_size": 256}}}
    pieces = read_answer(json.dumps(answer).encode(), "x", bare=False)
    assert [(each.ending, each.text) for each in pieces] == [("-bundle.pem", "b\nr"), ("-root.pem", "r")]


@pytest.mark.parametrize(
    ("answer", "bare", "message"),
    [
        ({"cert": "\ud800"}, True, "x: cert: is no text"),
        ({"ocspResponse": "%"}, True, "x: ocspResponse: is no base64"),
        ({"ocspResponse": "é"}, True, "x: ocspResponse: is no base64"),
        ({"bundle": "b"}, True, "x: bundle: is no JSON object"),
        ({"cert": ""}, True, "x: holds no certificate"),
        ({"success": "yes"}, False, "x: success: is of the wrong kind"),
        ({"success": True}, False, 'x: has no "result"'),
        ({"success": False}, False, "the request has failed: no reason is given"),
        ({"success": None, "result": {"cert": "c"}}, False, "the request has failed: no reason is given"),
    ],
)
def test_an_answer_that_cannot_be_read_is_refused(answer: object, bare: bool, message: str) -> None:
    """With a hint, and nothing of what is in it."""
    with pytest.raises(PKIError) as caught:
        read_answer(json.dumps(answer).encode(), "x", bare=bare)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_a_refusal_holds_no_key() -> None:
    """A message may end in a log."""
    with pytest.raises(PKIError) as caught:
        read_answer(json.dumps({"key": ["secret"], "cert": "c"}).encode(), "x", bare=True)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("there", [".pem", "-key.pem", ".csr"])
def test_with_a_key_nothing_is_written_over(there: str, tmp_path: Path) -> None:
    """Whichever of its files is there already: none is made, and none is touched."""
    (tmp_path / f"ca{there}").write_text("old")
    with pytest.raises(PKIError, match="never written over"):
        save([CERT, KEY, CSR], str(tmp_path / "ca"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"ca{there}": "old"}


def test_what_an_interrupted_command_has_left_is_removed(tmp_path: Path) -> None:
    """A key under a name that nobody looks for would stay for ever."""
    left = tmp_path / ".ca-key.pem.0123abcd"
    left.write_text("half of a key")
    assert save([CERT, KEY], str(tmp_path / "ca")) == [tmp_path / "ca.pem", tmp_path / "ca-key.pem"]
    assert not left.exists()


def test_the_umask_is_as_it_was(tmp_path: Path) -> None:
    """And decides what others may read."""
    before = os.umask(0o027)
    try:
        save([CERT, KEY, CSR], str(tmp_path / "ca"))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"ca.pem": 0o640, "ca-key.pem": 0o600, "ca.csr": 0o640}


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """In one sentence."""
    (tmp_path / "file").write_text("")
    for folder in ("none", "file"):
        with pytest.raises(PKIError, match="cannot be written") as caught:
            save([CERT], str(tmp_path / folder / "ca"))
        assert caught.value.hint


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    """Also after a refusal."""
    save([CERT, KEY], str(tmp_path / "ca"))
    with pytest.raises(PKIError):
        save([CERT, KEY], str(tmp_path / "ca"))
    with lock_folder(tmp_path):
        pass
