"""The zip file: what is not replaced is carried over as it lies there, and what is no sound zip file is refused."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from budget_app.workbooks.workbook import WorkbookError
from budget_app.workbooks.xlsx.package import MOST_BYTES, Package

from .parts import add, open_book, rich_book


def zipped(**options: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", options.get("method", zipfile.ZIP_DEFLATED)) as file:
        file.comment = b"a comment"
        for name in ("first.xml", "dir/second.bin", "third.xml"):
            info = zipfile.ZipInfo(name, (2020, 2, 3, 4, 5, 6))
            info.compress_type = options.get("method", zipfile.ZIP_DEFLATED)
            info.comment, info.extra, info.external_attr = b"own", struct.pack("<2H4s", 0xCAFE, 4, b"data"), 0o644 << 16
            file.writestr(info, name.encode() * 100)
    return content.getvalue()


def streamed() -> bytes:
    """Sizes behind the content, as programs write that cannot go back; Excel's files on the web are so."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError

        def tell(self) -> int:
            raise OSError

    content = Stream()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("first.xml", b"1" * 100)
        file.writestr("third.xml", b"3" * 100)
    return content.getvalue()


def test_a_replaced_part_leaves_the_others_as_they_were() -> None:
    """Compressed bytes, times, attributes, comments and extra fields."""
    before = zipped()
    after = Package(before).replace({"dir/second.bin": b"new"})
    with zipfile.ZipFile(io.BytesIO(before)) as old, zipfile.ZipFile(io.BytesIO(after)) as new:
        assert new.testzip() is None
        assert new.comment == old.comment
        assert new.namelist() == old.namelist()
        assert new.read("dir/second.bin") == b"new"
        for name in ("first.xml", "third.xml"):
            was, now = old.getinfo(name), new.getinfo(name)
            assert (now.date_time, now.comment, now.extra, now.external_attr, now.CRC) == (
                was.date_time,
                was.comment,
                was.extra,
                was.external_attr,
                was.CRC,
            )
    start = before.index(b"third.xml") - 30
    assert before[start : before.index(b"PK\1\2")] in after


def test_nothing_replaced_is_the_same_file() -> None:
    """Byte for byte, with sizes in front of the content or behind it."""
    for content in (zipped(), zipped(method=zipfile.ZIP_STORED), streamed()):
        assert Package(content).replace({}) == content


def test_a_part_can_be_left_out() -> None:
    """The rest moves together."""
    after = Package(zipped()).replace({}, ["first.xml"])
    Package(after).check()
    assert Package(after).names == ("dir/second.bin", "third.xml")


def test_names_of_parts_have_no_case() -> None:
    """ECMA-376 part 2, 6.2.2.3."""
    assert Package(zipped()).find("FIRST.xml") == "first.xml"
    assert Package(zipped()).find("fourth.xml") is None


def patch(content: bytes, mark: bytes, offset: int, value: bytes, *, last: bool = False) -> bytes:
    start = (content.rindex(mark) if last else content.index(mark)) + offset
    return content[:start] + value + content[start + len(value) :]


def lying(size: int) -> bytes:
    """The central directory says another size than the content has."""
    return patch(zipped(), b"PK\1\2", 24, struct.pack("<L", size))


def record(name: bytes, data: bytes, packed: bytes, offset: int) -> tuple[bytes, bytes]:
    """A local header with its content, and the record of the directory; packed bytes that are the data are stored."""
    method = 0 if packed == data else 8
    common = struct.pack("<4H3L2H", 0, method, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0)
    local = b"PK\3\4" + struct.pack("<H", 20) + common + name + packed
    return local, b"PK\1\2" + struct.pack("<2H", 20, 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, offset) + name


def close(local: bytes, *records: bytes) -> bytes:
    directory = b"".join(records)
    return (
        local
        + directory
        + b"PK\5\6"
        + struct.pack("<4H2LH", 0, 0, len(records), len(records), len(directory), len(local), 0)
    )


def nested() -> bytes:
    """A part inside of another one: both are whole, and taking one's bytes along takes those of the other."""
    inside, second = record(b"inside", b"data", b"data", 30 + len(b"outside"))
    outside, first = record(b"outside", inside, inside, 0)
    return close(outside, first, second)


def overfull() -> bytes:
    """More behind the end of the packed content."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return close(*record(b"a", b"data", stream.compress(b"data") + stream.flush() + b"more", 0))


DAMAGES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no zip": lambda: b"Date;Amount\r\n" * 50,
    "cut in the middle": lambda: zipped()[:200],
    "cut at the end": lambda: zipped()[:-12],
    "bytes behind the end": lambda: zipped() + b"x",
    "bytes in front": lambda: b"x" + zipped(),
    "a flipped bit": lambda: patch(zipped(), b"first.xml", 25, b"\xff\xff"),
    "a wrong checksum": lambda: patch(zipped(), b"PK\1\2", 16, b"\0\0\0\0"),
    "unpacks to more than it says": lambda: lying(10),
    "unpacks to less than it says": lambda: lying(5000),
    "parts upon each other": lambda: patch(zipped(), b"PK\1\2", 42, struct.pack("<L", 0), last=True),
    "a part inside of another": nested,
    "bytes behind packed content": overfull,
    "a part outside": lambda: patch(zipped(), b"PK\1\2", 42, struct.pack("<L", 10**6), last=True),
    "another name in front of the content": lambda: patch(zipped(), b"third.xml", 0, b"thirD.xml"),
    "a name twice": lambda: zipped().replace(b"third.xml", b"FIRST.xml"),
    "a directory with no records": lambda: zipped()[-31:],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_refused(kind: str) -> None:
    """Nothing of it is guessed at."""
    with pytest.raises(WorkbookError, match="damaged"):
        Package(DAMAGES[kind]()).check()


def test_an_encrypted_workbook_is_refused_with_the_cure() -> None:
    """Excel puts it into an OLE file; other programs encrypt the parts."""
    for content in (bytes.fromhex("D0CF11E0A1B11AE1") + bytes(600), patch(zipped(), b"PK\1\2", 8, b"\1")):
        with pytest.raises(WorkbookError, match="without a password"):
            Package(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method: int) -> None:
    """No spreadsheet program uses them."""
    with pytest.raises(WorkbookError, match="does not know"):
        Package(zipped(method=method))


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    """By the sizes that they say, which are held to; and by a ratio that no workbook has."""
    with pytest.raises(WorkbookError, match="unpacks"):
        Package(patch(lying(MOST_BYTES + 1), b"PK\1\2", 20, struct.pack("<L", MOST_BYTES)))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/workbook.xml", bytes(8 * 1024 * 1024))
    with pytest.raises(WorkbookError, match="unpacks"):
        Package(content.getvalue())


def test_no_cut_file_is_read_as_a_whole_one(tmp_path: Path) -> None:
    """Wherever a copy or a sync broke off."""
    content = rich_book(tmp_path / "budget.xlsx").read_bytes()
    path = tmp_path / "cut.xlsx"
    for length in range(0, len(content), 997):
        path.write_bytes(content[:length])
        for action in (open_book(path).read, lambda: open_book(path).write([add("a")])):
            with pytest.raises(WorkbookError):
                action()
        assert path.read_bytes() == content[:length]


def test_flipped_bytes_never_get_through_to_the_rows(tmp_path: Path) -> None:
    """A changed byte is refused, or is in a place that does not matter; no other fault comes out."""
    content = rich_book(tmp_path / "budget.xlsx").read_bytes()
    path = tmp_path / "flipped.xlsx"
    path.write_bytes(content)
    rows = [(row.entry_id, row.amount) for row in open_book(path).read().rows]
    for place in range(0, len(content), 211):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read = open_book(path).read().rows
        except WorkbookError:
            continue
        assert [(row.entry_id, row.amount) for row in read] == rows
