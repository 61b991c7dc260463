"""Byte sequences against `http-sfv`, and against what the HTTP working group's vectors say of them."""

import re
from base64 import b64encode

import pytest
from http_sfv.item import Item
from http_sfv.list import List
from hypothesis import given
from hypothesis import strategies as st

from fuzz.patience import examples
from keyfob.sources.encodings import decode_byte_sequence, decode_byte_sequences

# What a field could hold, with a leaning towards byte sequences that are nearly right.
_TEXT = st.text(st.sampled_from('AQgwz09+/=:-_,; \t"()?*a1.\\%\n\0é'), max_size=24).map(
    lambda text: text.encode("latin-1")
)
_SEQUENCE = st.binary(max_size=12).map(lambda data: b":" + b64encode(data) + b":")
_BLANK = st.text(st.sampled_from(" \t"), max_size=2).map(str.encode)
_LIST = st.lists(st.tuples(_SEQUENCE, _BLANK, _BLANK), max_size=4).map(
    lambda parts: b",".join(before + each + after for each, before, after in parts)
)


@st.composite
def edited(draw: st.DrawFn, fields: st.SearchStrategy[bytes]) -> bytes:
    """A field with a few bytes changed, or as it was."""
    field = draw(fields)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(field)))
        field = field[:at] + draw(_TEXT)[:2] + field[at + draw(st.integers(0, 2)) :]
    return field


FIELDS = st.binary(max_size=24) | _TEXT | edited(_SEQUENCE) | edited(_LIST)


def parse_item(field: bytes) -> bytes | None:
    """What `http-sfv` reads: the bytes of a byte sequence without parameters; None for everything else."""
    item = Item()
    try:
        item.parse(field)
    except ValueError:
        return None
    return item.value if isinstance(item.value, bytes) and not item.params else None


def parse_list(field: bytes) -> tuple[bytes, ...] | None:
    """The same for a list of byte sequences, one or more."""
    members = List()
    try:
        members.parse(field)
    except (ValueError, IndexError):
        return None
    values = tuple(each.value for each in members if isinstance(each, Item) and not each.params)
    found = tuple(value for value in values if isinstance(value, bytes))
    return found if found and len(found) == len(members) else None


def write(data: bytes) -> bytes:
    """RFC 8941 section 4.1.8: the one way to write these bytes."""
    return str(Item(data)).encode()


def accept_item(field: bytes) -> bytes | None:
    """What keyfob reads."""
    try:
        [data] = decode_byte_sequence(field)
    except ValueError:
        return None
    return data


def accept_list(field: bytes) -> tuple[bytes, ...] | None:
    """What keyfob reads."""
    try:
        return decode_byte_sequences(field)
    except ValueError:
        return None


@examples(800)
@given(FIELDS)
def test_an_item_is_what_the_oracle_says(field: bytes) -> None:
    """Whatever is accepted is the same there; whatever is there in its one form, and not empty, is accepted."""
    ours, theirs = accept_item(field), parse_item(field)
    if ours is not None:
        assert ours == theirs
        assert field == write(ours)
    elif theirs:
        assert field != write(theirs)


@examples(800)
@given(FIELDS)
def test_a_list_is_what_the_oracle_says(field: bytes) -> None:
    """With blanks around the commas, since RFC 8941 allows them there, and none around the field."""
    ours, theirs = accept_list(field), parse_list(field)
    members = re.split(rb"[ \t]*,[ \t]*", field)
    if ours is not None:
        assert ours == theirs
        assert members == [write(each) for each in ours]
    elif theirs and all(theirs):
        assert members != [write(each) for each in theirs]


@examples(100)
@given(st.lists(st.binary(min_size=1, max_size=64), min_size=1, max_size=5))
def test_what_the_oracle_writes_is_accepted(data: list[bytes]) -> None:
    """One alone, and all of them as a list."""
    assert accept_item(write(data[0])) == data[0]
    members = List()
    members.extend(map(Item, data))
    assert accept_list(str(members).encode()) == tuple(data)


# What structured fields make of a byte sequence, and what is made of it here: stricter wherever a parser has a choice.
@pytest.mark.parametrize(
    ("field", "theirs", "ours"),
    [
        (b":Y2VydA==:", b"cert", b"cert"),
        (b":/+D/:", b"\xff\xe0\xff", b"\xff\xe0\xff"),
        (b"::", b"", None),  # bytes, but no certificate
        (b" :Y2VydA==: ", b"cert", None),  # blanks are taken off before a value is decoded
        (b":Y2VydA==:;v=1", None, None),  # RFC 9440 defines no parameters
        (b":Y2VydB==:", b"cert", None),  # a parser may fail where unused bits are set
        (b":Y2VydA:", None, None),  # a parser may fill in what is missing
        (b":Y2VydA=:", None, None),
        (b":Y2VydA==", None, None),
        (b"Y2VydA==:", None, None),
        (b":Y2Vy dA==:", None, None),
        (b":Y2Vy\ndA==:", None, None),
        (b":Y2V!dA==:", None, None),
        (b":_-D_:", None, None),
        (b":Y2VydA==: x", None, None),
        (b":Y2VydA==:,", None, None),
        (b'"Y2VydA=="', None, None),
        (b"", None, None),
        (b":", None, None),
    ],
)
def test_the_facts_about_byte_sequences_hold(field: bytes, theirs: bytes | None, ours: bytes | None) -> None:
    """Delimiters on both sides, the standard alphabet, padding, and nothing around."""
    assert (parse_item(field), accept_item(field)) == (theirs, ours)


@pytest.mark.parametrize(
    ("field", "theirs", "ours"),
    [
        (b":YQ==:, :Yg==:", (b"a", b"b"), (b"a", b"b")),
        (b":YQ==:,:Yg==:", (b"a", b"b"), (b"a", b"b")),
        (b":YQ==: \t ,\t\t:Yg==:", (b"a", b"b"), (b"a", b"b")),
        (b":YQ==:, :YQ==:", (b"a", b"a"), (b"a", b"a")),
        (b":YQ==:, ::", (b"a", b""), None),
        (b":YQ==:,", None, None),
        (b",:YQ==:", None, None),
        (b":YQ==:,,:Yg==:", None, None),
        (b":YQ==: :Yg==:", None, None),
        (b":YQ==:, b", None, None),
        (b":YQ==:, (:Yg==:)", None, None),
        (b":YQ==:;a, :Yg==:", None, None),
        (b"", None, None),
    ],
)
def test_the_facts_about_lists_hold(
    field: bytes, theirs: tuple[bytes, ...] | None, ours: tuple[bytes, ...] | None
) -> None:
    """No member is empty, and no comma is left over."""
    assert (parse_list(field), accept_list(field)) == (theirs, ours)
