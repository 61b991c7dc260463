"""QR codes in a terminal: two rows of modules a line, black on white whatever the terminal's own colours are."""

import os
import sys

import click
import segno

# ISO/IEC 18004 wants four modules of white around the code; phones read it with two.
_QUIET = 2
# Black (16) and white (231) of the 256 colours, which no theme changes: background for the lower module of a pair, and
# foreground for the upper.
_COLOURED = {
    (upper, lower): f"\x1b[38;5;{16 if upper else 231};48;5;{16 if lower else 231}m▀"
    for upper in (False, True)
    for lower in (False, True)
}
_RESET = "\x1b[0m"
# Without colours, what is drawn is the white: right on a dark background, and on a light one most phones read it, too.
_PLAIN = {(False, False): "█", (True, True): " ", (False, True): "▀", (True, False): "▄"}


def draw_code(text: str) -> list[str]:
    """The lines of the code, each as wide as the others. Error correction is at least M: 15 %."""
    matrix = [[bool(module) for module in row] for row in segno.make_qr(text, error="m").matrix_iter(border=_QUIET)]
    if len(matrix) % 2:
        matrix.append([False] * len(matrix[0]))
    pairs = zip(matrix[::2], matrix[1::2], strict=True)
    if not _has_colours():
        return ["".join(_PLAIN[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs]
    return ["".join(_COLOURED[pair] for pair in zip(upper, lower, strict=True)) + _RESET for upper, lower in pairs]


def find_obstacle(lines: list[str], columns: int) -> str | None:
    """Why this terminal cannot show such a code; None if it can."""
    if len(click.unstyle(lines[0])) > columns:
        return f"the terminal has {columns} columns, and the QR code needs {len(click.unstyle(lines[0]))}"
    try:
        "█▀▄".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "the terminal has no characters for a QR code"
    return None


def _has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
