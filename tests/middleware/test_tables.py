"""tables: a set of fixed-width keys that is about as large as its keys."""

import sys
import tracemalloc
from itertools import pairwise
from random import Random

import pytest

from keyfob.tables import KEYS_A_BUCKET, KeyTable


@pytest.mark.parametrize("width", [1, 2, 3, 16, 21, 32])
def test_it_is_a_set(width: int) -> None:
    """Whatever was added is in it, whatever was not is not, and twice counts once."""
    random = Random(width)  # noqa: S311 - the same keys in every run
    table, model = KeyTable(width), set[bytes]()
    for _ in range(5000):
        key = random.randbytes(width)
        table.add(key)
        model.add(key)
    assert len(table) == len(model)
    assert all(key in table for key in model)
    others = [random.randbytes(width) for _ in range(5000)]
    assert [key in table for key in others] == [key in model for key in others]


def test_keys_side_by_side_do_not_make_another() -> None:
    """`aab` and `bcc` lie side by side without `abb` being there; and behind such a place the real one is found."""
    table = KeyTable(3)
    for key in (b"aab", b"bcc"):
        table.add(key)
    assert b"abb" not in table
    assert b"abc" not in table
    table.add(b"abb")
    assert b"abb" in table
    assert len(table) == 3


def test_a_key_of_another_width_is_neither_taken_nor_found() -> None:
    """Otherwise every key behind it would be read askew."""
    table = KeyTable(3)
    table.add(b"abc")
    for key in (b"", b"ab", b"abcd", b"abcabc"):
        assert key not in table
        with pytest.raises(ValueError, match="octets"):
            table.add(key)
    with pytest.raises(ValueError, match="octets"):
        KeyTable(0)


def test_it_grows_by_one_bucket_at_a_time() -> None:
    """No step copies the whole table, so no other thread has to wait for that."""
    table = KeyTable(8)
    sizes = []
    for number in range(KEYS_A_BUCKET * 100):
        table.add(number.to_bytes(8))
        sizes.append(len(table._buckets))
    assert max(after - before for before, after in pairwise(sizes)) == 1
    assert max(map(len, table._buckets)) < 8 * KEYS_A_BUCKET * 4


def test_it_takes_little_more_memory_than_its_keys() -> None:
    """A million keys of 16 octets are held in a third of what a set of Python's needs for the slots alone."""
    tracemalloc.start()
    try:
        table = KeyTable(16)
        for number in range(50_000):
            table.add(number.to_bytes(16))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 50_000 * 16 * 1.6
    assert peak < held * 1.1
    assert sys.getsizeof(table) < 200
