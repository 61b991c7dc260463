"""scep.ber: what is read of BER, what it becomes in DER, and where it ends."""

import random

import pytest

from apple_ber import ber, cut, der
from keyfob.enrolment.scep.ber import DEEPEST, LARGEST, MOST, Element, Unreadable, build, join_strings, read, wrap

NUMBER = der(0x02, b"\1")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (ber(0x30, NUMBER), der(0x30, NUMBER)),
        (ber(0x30), der(0x30)),
        (ber(0x30, ber(0xA0, ber(0x31, NUMBER))), der(0x30, der(0xA0, der(0x31, NUMBER)))),
        (der(0x30, ber(0x31, NUMBER), NUMBER), der(0x30, der(0x31, NUMBER), NUMBER)),
        (b"\x30\x82\x00\x03" + NUMBER, der(0x30, NUMBER)),
        (ber(0x30, ber(0x24, *cut(b"abcdefg", 3))), der(0x30, der(0x04, b"abcdefg"))),
        (ber(0x30, der(0x24, *cut(b"abcdefg", 3))), der(0x30, der(0x04, b"abcdefg"))),
        (ber(0x30, ber(0x24)), der(0x30, der(0x04))),
        (ber(0x30, der(0x04, b"\0\0")), der(0x30, der(0x04, b"\0\0"))),
        (ber(0x30, der(0x04, b"x" * 300)), der(0x30, der(0x04, b"x" * 300))),
    ],
)
def test_what_phones_write_becomes_der(written: bytes, wanted: bytes) -> None:
    """Lengths are filled in, written as short as they can be, and strings put together."""
    assert read(written).der == wanted


def test_der_stays_as_it_is() -> None:
    """Otherwise a signature over it would not fit any more."""
    written = der(0x30, NUMBER, der(0x05), der(0x13, b"text"), der(0x80, b"x" * 200), der(0xA3, der(0x31, NUMBER)))
    assert read(written).der == written


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x80\x00",
        b"\x30\x80\x00\x01\x00",
        b"\x30\x80\x00\x00\x00",
        b"\x30\x00\x00",
        b"\x30\x02\x02\x05",
        b"\x30\x02\x30\x80",
        b"\x30\x04\x30\x80\x00\x00" + b"\x00",
        b"\x30\x85\x00\x00\x00\x00\x00",
        b"\x30\xff" + b"\x00" * 127,
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x82\x01",
        der(0x31, NUMBER),
        NUMBER,
    ],
)
def test_octets_that_are_not_one_whole_sequence_are_unreadable(written: bytes) -> None:
    """Too short, too long, without an end, or something else."""
    with pytest.raises(Unreadable):
        read(written)


@pytest.mark.parametrize(
    "inside",
    [
        b"\x04\x80ab\x00\x00",
        b"\x10\x00",
        b"\x11\x00",
        b"\x00\x01a",
        b"\x1f\x81\x01\x00",
        b"\x3f\x81\x01\x00",
        b"\x9f\x81\x01\x00",
        b"\x41\x00",
        b"\x61\x00",
        b"\xc1\x00",
        b"\xe1\x00",
        der(0x22, NUMBER),
        der(0x23, der(0x03, b"\0a")),
        der(0x33, der(0x13, b"text")),
        ber(0x24, NUMBER),
        ber(0x24, ber(0x24, der(0x04, b"a")), NUMBER),
    ],
    ids=bytes.hex,
)
def test_what_no_request_has_is_unreadable(inside: bytes) -> None:
    """Primitive elements of no length, tags of several octets, other classes, other strings in pieces."""
    with pytest.raises(Unreadable):
        read(der(0x30, inside))


def test_no_element_reaches_beyond_what_it_is_part_of() -> None:
    """Two readers would else see two different messages."""
    with pytest.raises(Unreadable):
        read(der(0x30, b"\x30\x05" + NUMBER) + b"\0\0")
    with pytest.raises(Unreadable):
        read(der(0x30, b"\x30\x80" + NUMBER) + b"\0\0")


@pytest.mark.parametrize("wrapped", [ber, der])
def test_nesting_has_an_end(wrapped: object) -> None:
    """Every level costs a call, and a request has a dozen."""
    assert callable(wrapped)
    inner = NUMBER
    for _ in range(DEEPEST):
        inner = wrapped(0x30, inner)
    assert read(inner).der
    with pytest.raises(Unreadable, match="too deep"):
        read(wrapped(0x30, inner))


def test_a_bomb_of_depth_is_refused_and_does_not_recurse() -> None:
    """30,000 levels in 60 kB would be the end of the stack."""
    with pytest.raises(Unreadable, match="too deep"):
        read(b"\x30\x80" * 30_000)


def test_a_bomb_of_elements_is_refused() -> None:
    """32,000 of them fit into what is read."""
    with pytest.raises(Unreadable, match="too many elements"):
        read(der(0x30, b"\x05\x00" * MOST))
    assert len(read(der(0x30, b"\x05\x00" * (MOST - 1))).parts) == MOST - 1


def test_more_than_64_kib_is_not_looked_at() -> None:
    """That is what a request can be at most."""
    largest = der(0x30, der(0x04, b"x" * (LARGEST - 8)))
    assert len(largest) == LARGEST
    assert read(largest).der == largest
    with pytest.raises(Unreadable, match="too many octets"):
        read(der(0x30, der(0x04, b"x" * (LARGEST - 7))))


def test_random_octets_are_read_or_unreadable() -> None:
    """Nothing else is raised, and what is read is the same when it is read again."""
    draw = random.Random(7030)  # noqa: S311 - a seed that can be had again is the point
    tags = bytes((0x30, 0x31, 0x24, 0x04, 0x02, 0x80, 0x00, 0x01, 0x05, 0xA0))
    readable = 0
    for _ in range(5000):
        octets = b"\x30" + bytes(draw.choice(tags) for _ in range(draw.randrange(24)))
        try:
            element = read(octets)
        except Unreadable:
            continue
        readable += 1
        assert read(element.der) == element
    assert readable > 20


def test_parts_are_exactly_those_expected() -> None:
    """An element too many is as wrong as one too few, or another."""
    element = read(der(0x30, NUMBER, der(0x05)))
    assert [part.tag for part in element.open(0x02, 0x05)] == [0x02, 0x05]
    for tags in ((0x02,), (0x05, 0x02), (0x02, 0x05, 0x05), ()):
        with pytest.raises(Unreadable):
            element.open(*tags)


def test_a_string_is_put_together_of_strings_alone() -> None:
    """Of pieces that are anything else it is none."""
    assert join_strings((Element(0x04, b"a"), Element(0x04, b"b"))) == b"ab"
    with pytest.raises(Unreadable):
        join_strings((Element(0x04, b"a"), build(0x30)))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_are_written_as_short_as_they_can_be(size: int) -> None:
    """X.690 section 10.1."""
    assert wrap(0x04, b"x" * size) == der(0x04, b"x" * size)
