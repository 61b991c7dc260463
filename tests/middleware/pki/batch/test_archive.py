"""pki.batch.archive: zip files that are joined of pieces, read by programs that others have written."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from keyfob.errors import PKIError
from keyfob.pki.batch.archive import Joiner, pack, read_tail, unpack
from servers import find_program

COMMENT = b"made of these rows"


def write_parts(folder: Path, count: int, members: int) -> dict[str, bytes]:
    """Parts with so many members each; the names have accents, and one member is empty."""
    contents = {f"dévice {part}-{each}.pem": os.urandom(each) for part in range(count) for each in range(members)}
    rows = list(contents.items())
    for part in range(count):
        (folder / f"{part:08}.zip").write_bytes(pack(rows[part * members : (part + 1) * members]))
    return contents


def join_all(folder: Path, begin: int = 0) -> Path:
    bundle = folder / "bundle"
    with bundle.open("wb") as file:
        file.seek(begin)
        joiner = Joiner(file)
        for part in sorted(folder.glob("*.zip")):
            joiner.add(part)
        joiner.finish(COMMENT)
        joiner.close()
    return bundle


def test_joined_parts_are_one_zip_file(tmp_path: Path) -> None:
    """Every member is there, in order, whole, and for its owner alone when it is taken out."""
    contents = write_parts(tmp_path, 3, 7)
    with zipfile.ZipFile(join_all(tmp_path)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        assert archive.namelist() == list(contents)
        assert {each.external_attr >> 16 for each in archive.infolist()} == {0o100600}
        assert {each.date_time[0] >= 2020 for each in archive.infolist()} == {True}
        assert archive.comment == COMMENT


def test_info_zip_takes_it_apart(tmp_path: Path) -> None:
    """The program that people have, and with the modes that it was given."""
    unzip = find_program("unzip", "unzip")
    contents = write_parts(tmp_path, 2, 5)
    bundle = join_all(tmp_path)
    subprocess.run([unzip, "-q", bundle, "-d", tmp_path / "out"], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == contents
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}


def test_a_part_is_a_zip_file_by_itself(tmp_path: Path) -> None:
    """Whatever becomes of a batch, any program gets the keys out of what is there."""
    contents = write_parts(tmp_path, 1, 4)
    with zipfile.ZipFile(tmp_path / "00000000.zip") as archive:
        assert archive.testzip() is None
    assert dict(unpack(tmp_path / "00000000.zip")) == contents


def test_more_members_than_the_old_format_counts_are_there(tmp_path: Path) -> None:
    """APPNOTE.TXT 4.4.1.4: beyond 65,535 the number stands in the records of ZIP64."""
    part = pack((f"{number}", b"") for number in range(1000))
    for number in range(66):
        (tmp_path / f"{number:08}.zip").write_bytes(part)
    with zipfile.ZipFile(join_all(tmp_path)) as archive:
        assert len(archive.infolist()) == 66_000


def test_members_beyond_four_gigabytes_are_found(tmp_path: Path) -> None:
    """The file has a hole in it, so this takes no room on the disk."""
    contents = write_parts(tmp_path, 2, 3)
    with zipfile.ZipFile(join_all(tmp_path, (1 << 32) - 60)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        offsets = [each.header_offset for each in archive.infolist()]
    assert min(offsets) < 0xFFFF_FFFF < max(offsets)


def test_the_end_of_a_file_tells_what_it_was_made_of(tmp_path: Path) -> None:
    """A short file has a short end."""
    write_parts(tmp_path, 1, 1)
    assert read_tail(join_all(tmp_path), len(COMMENT)) == COMMENT
    (tmp_path / "short").write_bytes(b"x")
    assert read_tail(tmp_path / "short", 10) == b"x"


@pytest.mark.parametrize("damage", [b"", b"PK\3\4", None])
def test_a_damaged_part_is_named(tmp_path: Path, damage: bytes | None) -> None:
    """Empty, cut off, or gone."""
    part = tmp_path / "00000000.zip"
    if damage is not None:
        part.write_bytes(damage)
    with pytest.raises(PKIError, match=r"00000000\.zip cannot be read"):
        list(unpack(part))
