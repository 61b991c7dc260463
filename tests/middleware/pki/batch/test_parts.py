"""pki.batch.parts: what was made and not yet handed over, whole or not at all."""

import os
from pathlib import Path

import pytest

from keyfob.errors import PKIError
from keyfob.pki.batch.archive import unpack
from keyfob.pki.batch.parts import Ledger, Signed, drop, open_workshop, read_ledger, stage

SIGNED = (Signed("ä", b"\n\x00one", 1 << 158, 5, 6), Signed("b", b"two\n", 2, 7, 8))
LEDGER = Ledger(b"issuer", 9, SIGNED)
FILES = [("ä.pem", b"1"), ("ä-key.pem", b"2"), ("b.pem", b"3"), ("b-key.pem", b"4")]


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Certificates are octets, also those that look like the end of a line."""
    with open_workshop(tmp_path / "w") as workshop:
        workshop.commit(7, stage(workshop.folder, FILES, LEDGER))
        [part] = workshop.find_parts()
        assert read_ledger(part) == LEDGER
        assert dict(unpack(part)) == dict(FILES)
        assert workshop.count_on() == 8


def test_keys_that_wait_are_for_their_owner_alone(tmp_path: Path) -> None:
    """The folder keeps others out, and so does every file in it, whatever the umask is."""
    before = os.umask(0)
    try:
        with open_workshop(tmp_path / "w") as workshop:
            workshop.commit(0, stage(workshop.folder, FILES, LEDGER))
            assert workshop.folder.stat().st_mode & 0o777 == 0o700
            assert {path.stat().st_mode & 0o777 for path in workshop.folder.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_what_was_not_committed_is_removed(tmp_path: Path) -> None:
    """Nobody knows of it, so nobody would withdraw it."""
    with open_workshop(tmp_path / "w") as workshop:
        workshop.commit(0, stage(workshop.folder, FILES, LEDGER))
        stage(workshop.folder, FILES, LEDGER)
        workshop.remove_leftovers()
        assert sorted(path.name for path in workshop.folder.iterdir()) == ["00000000.ledger", "00000000.zip"]
    assert not (tmp_path / "w").exists()


def test_a_workshop_stays_if_its_batch_fails_and_has_made_something(tmp_path: Path) -> None:
    """And goes if it has made nothing."""
    for count in (0, 1):
        with pytest.raises(KeyError), open_workshop(tmp_path / f"w{count}") as workshop:
            for number in range(count):
                workshop.commit(number, stage(workshop.folder, FILES, LEDGER))
            stage(workshop.folder, FILES, LEDGER)
            raise KeyError
    assert [len(list(path.iterdir())) for path in tmp_path.iterdir()] == [2]


def test_a_full_disk_leaves_nothing_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the two files."""

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        stage(tmp_path, FILES, LEDGER)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_disk_is_said_with_a_hint(tmp_path: Path) -> None:
    """And that nothing is lost by it."""
    with pytest.raises(PKIError) as raised, open_workshop(tmp_path / "w"):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))
    assert "No space left on device" in raised.value.message
    assert "goes on where it has stopped" in raised.value.hint


def test_a_device_that_is_dropped_was_never_there(tmp_path: Path) -> None:
    """With its key; the others stay."""
    with open_workshop(tmp_path / "w") as workshop:
        workshop.commit(0, stage(workshop.folder, FILES, LEDGER))
        [part] = workshop.find_parts()
        drop(part, {"ä"})
        assert read_ledger(part).certificates == SIGNED[1:]
        assert dict(unpack(part)) == dict(FILES[2:])


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1, 2, 3]\n", b'["00", 1, [["a", 9, 1, 2, 3]]]\nshort'])
def test_a_damaged_ledger_is_named(tmp_path: Path, damage: bytes) -> None:
    """Nothing is guessed about certificates that exist."""
    (tmp_path / "00000000.ledger").write_bytes(damage)
    with pytest.raises(PKIError, match=r"00000000\.ledger cannot be read"):
        read_ledger(tmp_path / "00000000.zip")
