"""Draws the budget's mark for home screens: `python tests/budget_app/static/icons.py` writes the icons anew."""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "budget_app" / "static" / "icons"

_GREEN, _WHITE = "#1c6b50", "#fff"
# The mark is drawn on 32 x 32: three lines from the left to here, at these heights.
_LINES = ((9, 23, 12), (9, 23, 17), (9, 17, 22))
_STROKE = 2.6
_CORNER = 9.0
# A phone may cut a maskable icon to a circle of 80 % (https://www.w3.org/TR/appmanifest/#icon-masks), and an iPhone
# rounds the corners itself: these two have none.
_ICONS = (
    ("icon-192.png", 192, True),
    ("icon-512.png", 512, True),
    ("maskable-512.png", 512, False),
    ("apple-touch-icon.png", 180, False),
)


def draw_svg() -> str:
    """The mark as it is in the page's head."""
    lines = "".join(f"M{left} {height}H{right}" for left, right, height in _LINES)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="{_CORNER:g}" fill="{_GREEN}"/>'
        f'<path d="{lines}" stroke="{_WHITE}" stroke-width="{_STROKE}" stroke-linecap="round"/></svg>\n'
    )


def draw_png(size: int, *, rounded: bool) -> bytes:
    """A PNG of `size` x `size` pixels: indexed, from green without any cover over green to white."""
    scale = 32 / size
    rows = (
        bytes(_find_shade((x + 0.5) * scale, (y + 0.5) * scale, scale, rounded) for x in range(size))
        for y in range(size)
    )
    palette = b"".join(bytes(_mix(step / 127)) for step in range(128)) + bytes((28, 107, 80)) * 128
    alpha = b"\xff" * 128 + bytes(round(255 * step / 127) for step in range(128))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            *([_chunk(b"tRNS", alpha)] if rounded else []),
            _chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _find_shade(x: float, y: float, pixel: float, rounded: bool) -> int:
    """0 to 127 is from green to white, 128 to 255 from nothing to green."""
    across, down = (max(abs(place - 16) - 16 + _CORNER, 0.0) for place in (x, y))
    outside = math.hypot(across, down) - _CORNER
    if rounded and outside > -pixel / 2:
        return 128 + round(127 * max(0.5 - outside / pixel, 0.0))
    away = min(math.hypot(x - min(max(x, left), right), y - height) for left, right, height in _LINES)
    return round(127 * min(max(0.5 - (away - _STROKE / 2) / pixel, 0.0), 1.0))


def _mix(share: float) -> Iterator[int]:
    return (round(green + (255 - green) * share) for green in (28, 107, 80))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    (FOLDER / "icon.svg").write_text(draw_svg(), encoding="ascii")
    for name, size, rounded in _ICONS:
        (FOLDER / name).write_bytes(draw_png(size, rounded=rounded))
