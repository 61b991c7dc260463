"""A set of fixed-width keys, for millions of them: about their own size in memory, and never slow to grow."""

# On average. More would be slower to search, fewer would cost more beside the keys themselves.
KEYS_A_BUCKET = 32


class KeyTable:
    """A set of keys of `width` octets each. A million keys of 16 octets take about 23 MB.

    It grows by linear hashing: one bucket at a time is divided, so no step is longer than the division of one bucket
    (some 10 µs), and another thread that waits for the interpreter gets it. Python's own hash of bytes is keyed anew
    in every process, so nobody can choose keys that all fall into one bucket. What is not promised: that one thread
    may add while another looks; fill a table first and share it then.
    """

    __slots__ = ("_buckets", "_count", "_mask", "width")

    def __init__(self, width: int) -> None:
        if width < 1:
            raise ValueError(f"keys of {width} octets")
        self.width = width
        self._buckets = [bytearray()]
        self._mask = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: bytes) -> bool:
        return len(key) == self.width and _holds(self._bucket_of(key), key, self.width)

    def add(self, key: bytes) -> None:
        """Adds `key`; one that is there already stays there once. Raises ValueError if it has another width."""
        # Written out, since a call for each step would take as long as the steps themselves.
        width, buckets = self.width, self._buckets
        if len(key) != width:
            raise ValueError(f"a key of {len(key)} octets among those of {width}")
        place = hash(key) & self._mask
        bucket = buckets[place if place < len(buckets) else place & (self._mask >> 1)]
        if key in bucket and _holds(bucket, key, width):
            return
        bucket += key
        self._count += 1
        if self._count > len(buckets) * KEYS_A_BUCKET:
            self._divide()

    def _bucket_of(self, key: bytes) -> bytearray:
        place = hash(key) & self._mask
        # What the mask reaches beyond the last bucket has not been divided yet.
        return self._buckets[place if place < len(self._buckets) else place & (self._mask >> 1)]

    def _divide(self) -> None:
        """One more bucket, with what belongs there of the one bucket that held it until now."""
        new = len(self._buckets)
        if new > self._mask:
            self._mask = self._mask * 2 + 1
        mask, old, width = self._mask, new & (self._mask >> 1), self.width
        octets = bytes(self._buckets[old])
        keys = [octets[at : at + width] for at in range(0, len(octets), width)]
        self._buckets[old] = bytearray(b"".join([key for key in keys if hash(key) & mask == old]))
        self._buckets.append(bytearray(b"".join([key for key in keys if hash(key) & mask == new])))


def _holds(bucket: bytearray, key: bytes, width: int) -> bool:
    at = bucket.find(key)
    # The end of one key and the beginning of the next may look like a third.
    while at > 0 and at % width:
        at = bucket.find(key, at + 1)
    return at >= 0
