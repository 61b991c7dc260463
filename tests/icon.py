"""Draws keyfob's own icon, the key on a phone's home screen: `python tests/icon.py` writes pki/icon.png anew."""

import math
import struct
import zlib
from pathlib import Path

ICON = Path(__file__).parent.parent / "middleware" / "keyfob" / "pki" / "icon.png"
# What an iPhone shows largest. It rounds the corners itself.
SIZE = 180

_TOP, _BOTTOM = (47, 148, 112), (14, 66, 49)
_KEY_TOP, _KEY_BOTTOM = (255, 255, 255), (219, 238, 229)
_SHADE = (4, 26, 19)
_SHADOW, _SHADOW_AT, _SHADOW_BLUR = 0.34, 0.026, 0.05
Colour = tuple[float, float, float]


def draw_icon(size: int = SIZE) -> bytes:
    """A PNG of `size` x `size` pixels, without transparency, which phones would paint black."""
    rows = (_draw_row(y, size) for y in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    # Filter 0 (none) in front of each row; a gradient with a key on it is small without the others.
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _draw_row(y: int, size: int) -> bytes:
    row = bytearray()
    for x in range(size):
        row += bytes(round(each) for each in _find_colour((x + 0.5) / size, (y + 0.5) / size, 1 / size))
    return bytes(row)


def _find_colour(x: float, y: float, pixel: float) -> Colour:
    """The colour at a point of the unit square: a gradient, on it the key's shadow, on that the key."""
    ground = _mix(_TOP, _BOTTOM, 0.25 * x + 0.75 * y)
    shade = _SHADOW * _soften(_distance(x, y - _SHADOW_AT), _SHADOW_BLUR)
    key = _mix(_KEY_TOP, _KEY_BOTTOM, y)
    return _mix(_mix(ground, _SHADE, shade), key, _soften(_distance(x, y), pixel))


def _distance(x: float, y: float) -> float:
    """How far a point is outside of the key (inside, negative). The key stands at 45 degrees, its bow at the top."""
    across, along = (x - y) * math.sqrt(0.5), (x + y - 1) * math.sqrt(0.5)
    # `along` runs from the top left to the bottom right; the key goes from the top right down to the left.
    along, across = -across, along
    bow = abs(math.hypot(along + 0.17, across) - 0.135) - 0.05
    shaft = _distance_to_box(along - 0.145, across, 0.185, 0.042)
    long_tooth = _distance_to_box(along - 0.295, across - 0.075, 0.035, 0.075)
    short_tooth = _distance_to_box(along - 0.165, across - 0.06, 0.035, 0.06)
    return min(bow, shaft, long_tooth, short_tooth)


def _distance_to_box(x: float, y: float, width: float, height: float, rounding: float = 0.016) -> float:
    right, below = abs(x) - width + rounding, abs(y) - height + rounding
    return math.hypot(max(right, 0.0), max(below, 0.0)) + min(max(right, below), 0.0) - rounding


def _soften(distance: float, blur: float) -> float:
    """1 inside, 0 outside, and a smooth step of the width `blur` between them."""
    step = min(max(0.5 - distance / blur, 0.0), 1.0)
    return step * step * (3 - 2 * step)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (one + (other - one) * share for one, other in zip(first, second, strict=True))
    return red, green, blue


if __name__ == "__main__":
    ICON.write_bytes(draw_icon())
