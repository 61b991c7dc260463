"""trust.der: one encoding for each thing, and files that stream by."""

import base64
import io
from collections.abc import Callable
from datetime import datetime

import pytest

from keyfob.trust import der
from keyfob.trust.der import Octets, Unreadable, read_blocks, read_header, require_integer, require_time, split, wrap

LABEL = b"X509 CRL"


def blocks(data: bytes) -> list[bytes]:
    return [b"".join(block) for block in read_blocks(io.BytesIO(data), LABEL)]


def pem(text: bytes, label: bytes = LABEL) -> bytes:
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, text, label)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 24])
def test_a_length_is_read_as_it_is_written(size: int) -> None:
    """In one octet up to 127, in as few as possible beyond."""
    tag, begin, end = read_header(wrap(0x30, bytes(size)), 0)
    assert (tag, end - begin) == (0x30, size)


@pytest.mark.parametrize("header", ["", "30", "3080", "308100", "30817f", "30820080", "3082", "3081", "30850000000001"])
def test_a_length_that_is_cut_off_indefinite_or_too_long_is_unreadable(header: str) -> None:
    """DER has one form for each length, and none of these is it."""
    with pytest.raises(Unreadable):
        read_header(bytes.fromhex(header), 0)


def test_no_element_reaches_beyond_what_it_is_part_of() -> None:
    """Its neighbour's octets are not its own."""
    assert list(split(bytes.fromhex("020101040102"))) == [(2, b"\x01"), (4, b"\x02")]
    with pytest.raises(Unreadable):
        list(split(bytes.fromhex("02010104020200")[:-1]))


@pytest.mark.parametrize("content", ["", "0001", "007f", "ff80", "ffff"])
def test_a_number_has_no_octets_to_spare(content: str) -> None:
    """Two spellings of one serial number would be two keys."""
    with pytest.raises(Unreadable):
        require_integer(bytes.fromhex(content))


@pytest.mark.parametrize("content", ["00", "7f", "0080", "ff", "80", "ff7f"])
def test_a_number_in_its_one_spelling_is_read(content: str) -> None:
    """Zero, and those whose first octet is there for the sign."""
    require_integer(bytes.fromhex(content))


@pytest.mark.parametrize("content", ["", "80", "55ff", "558001", "5581818181" + "01", "55" * 64])
def test_an_object_identifier_that_is_none_is_unreadable(content: str) -> None:
    """Cut off, with octets to spare, or beyond every real one."""
    with pytest.raises(Unreadable):
        der.require_oid(bytes.fromhex(content))
    der.require_oid(bytes.fromhex("551d15"))
    der.require_oid(bytes.fromhex("2b060104018fffff7f"))


def is_time(tag: int, text: str) -> bool:
    try:
        require_time(tag, text.encode())
    except Unreadable:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "250101000000",
        "2501010000Z",
        "250101000000+0100",
        "251301000000Z",
        "250001000000Z",
        "250132000000Z",
        "250100000000Z",
        "250229000000Z",
        "250101240000Z",
        "250101006000Z",
        "250101000060Z",
        "25010100000 Z",
        "25010100000²Z",
        "",
        "Z",
    ],
)
def test_what_is_no_time_is_unreadable(text: str) -> None:
    """In two digits for the year as in four."""
    assert not is_time(der.UTC_TIME, text)
    assert not is_time(der.GENERALIZED_TIME, "20" + text)


def test_a_time_is_read_in_either_form_and_in_its_own_alone() -> None:
    """Two digits for the year under one tag, four under the other, and no tag but these."""
    assert is_time(der.UTC_TIME, "240229235959Z")
    assert is_time(der.GENERALIZED_TIME, "20240229235959Z")
    assert not is_time(der.GENERALIZED_TIME, "240229235959Z")
    assert not is_time(der.UTC_TIME, "20240229235959Z")
    assert not is_time(der.SEQUENCE, "240229235959Z")
    assert not is_time(der.GENERALIZED_TIME, "00000101000000Z")


@pytest.mark.parametrize("year", [1900, 1999, 2000, 2023, 2024, 2050, 2100, 2400])
def test_the_calendar_is_pythons(year: int) -> None:
    """Leap years included."""
    for month in range(14):
        for day in (0, 1, 28, 29, 30, 31, 32):
            try:
                datetime(year, month, day)  # noqa: DTZ001 - a day has no zone
                exists = True
            except ValueError:
                exists = False
            assert is_time(der.GENERALIZED_TIME, f"{year:04}{month:02}{day:02}000000Z") == exists
            if 1950 <= year < 2050:
                assert is_time(der.UTC_TIME, f"{year % 100:02}{month:02}{day:02}000000Z") == exists


def test_what_is_watched_is_exactly_what_was_asked_for() -> None:
    """From where the reader stands to the end of the part, whatever is read ahead, and nothing after it."""
    data = bytes(range(256)) * 2048
    for size in (0, 1, 1000, der.CHUNK, der.LARGEST + 1, len(data) - 10):
        seen = bytearray()
        octets = Octets(iter([data[at : at + der.CHUNK] for at in range(0, len(data), der.CHUNK)]))
        octets.fill()
        octets.at += 10
        octets.watch(size, seen.extend)
        while octets.tag != -1:
            octets.at = len(octets.data)
        assert bytes(seen) == data[10 : 10 + size]
        assert octets.position == len(data)


def test_a_file_of_der_is_one_block() -> None:
    """Handed out in chunks, whole."""
    data = wrap(0x30, bytes(100_000))
    assert blocks(data) == [data]


@pytest.mark.parametrize("size", [1, 2, 3, 47, 48, 49, 1000, der.CHUNK // 4 * 3, der.CHUNK // 4 * 3 + 1, 100_000])
@pytest.mark.parametrize("columns", [4, 61, 64, 76, 10**6])
def test_a_pem_block_is_decoded_wherever_its_lines_break(size: int, columns: int) -> None:
    """Also on one line for all, and with the line ends of another system."""
    data = bytes(index * 7 & 255 for index in range(size))
    text = base64.b64encode(data)
    for end in (b"\n", b"\r\n"):
        lines = b"".join(text[at : at + columns] + end for at in range(0, len(text), columns))
        assert blocks(pem(lines)) == [data]


def test_text_around_and_several_blocks_are_allowed() -> None:
    """As `openssl crl -text` writes it before the block (RFC 7468 section 2)."""
    assert blocks(b"0 Certificate Revocation List:\n" + pem(b"AAAA\n") + b"\nmore\n" + pem(b"BBBB\n")) == [
        b"\0\0\0",
        b"\x04\x10\x41",
    ]


@pytest.mark.parametrize(
    "text",
    [
        pem(b"AAAA\n").replace(b"-----END X509 CRL-----\n", b""),
        pem(b"AAAA\n").replace(b"END X509 CRL", b"END CERTIFICATE"),
        pem(b"AAAA\n", b"CERTIFICATE"),
        pem(b"AAAA\n") + pem(b"AAAA\n", b"PRIVATE KEY"),
        pem(b"AAA\n"),
        pem(b"AA!A\n"),
        pem(b"AA==\nAAAA\n"),
        pem(b"A" * (der.CHUNK - 2) + b"==\n" + b"A" * der.CHUNK + b"\n"),
        pem(b"A" * (der.CHUNK - 2) + b"==\nAAAA\n"),
        pem(b"AAAA\n").replace(b"BEGIN X509 CRL", b"BEGIN CERTIFICATE"),
        pem(b"Proc-Type: 4,ENCRYPTED\n\nAAAA\n"),
        pem(pem(b"AAAA\n")),
        b"-----END X509 CRL-----\n",
    ],
    ids=[
        "no end",
        "another end",
        "another kind",
        "another kind as well",
        "short",
        "no base64",
        "goes on after padding",
        "goes on after padding much later",
        "goes on after padding where a piece ends",
        "another beginning",
        "headers",
        "nested",
        "end alone",
    ],
)
def test_what_is_not_a_whole_block_is_unreadable(text: bytes) -> None:
    """A part of a list would be a list without the rest."""
    with pytest.raises(Unreadable):
        blocks(text)


@pytest.mark.parametrize("read", [lambda octets: octets.open(0x30), lambda octets: octets.take(0x30)])
@pytest.mark.parametrize("data", [b"", b"\x30", b"\x31\x00"])
def test_a_part_has_the_tag_that_it_must_have(read: Callable[[Octets], object], data: bytes) -> None:
    """And a part that is missing is no part."""
    with pytest.raises(Unreadable):
        read(Octets(iter([data])))


def test_a_part_is_not_larger_than_any_real_one() -> None:
    """Only the list itself streams; the rest is held in memory, and therefore bounded."""
    fits, large = wrap(0x30, bytes(der.LARGEST - 4)), wrap(0x30, bytes(der.LARGEST))
    assert Octets(iter([fits])).take(0x30) == fits
    for data in (large, fits[:-1]):
        with pytest.raises(Unreadable):
            Octets(iter([data])).take(0x30)
