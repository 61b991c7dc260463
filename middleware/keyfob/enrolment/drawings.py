"""What a device shows on the way, simplified: drawings in SVG, coloured by the classes of the page's style.

Each says in words what it shows, for those who cannot see it. What is drawn in the accent's colour is to be tapped.
"""

from collections.abc import Iterable
from html import escape

WIDTH = 280
_LONGEST = 24


def _draw(height: int, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg class="drawing" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f'<rect class="screen" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="18"/>{"".join(parts)}</svg>'
    )


def _write(x: int, y: int, text: str, kind: str = "", anchor: str = "") -> str:
    placed = f' text-anchor="{anchor}"' if anchor else ""
    styled = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{styled}{placed}>{escape(text)}</text>'


def _box(x: int, y: int, width: int, height: int, kind: str, radius: int = 10) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'


def _line(x: int, y: int, width: int) -> str:
    """A line of text that does not matter."""
    return _box(x, y, width, 6, "words", 3)


def _tap(x: int, y: int) -> str:
    return f'<circle class="ring" cx="{x}" cy="{y}" r="12"/><circle class="tip" cx="{x}" cy="{y}" r="5"/>'


def _row(y: int, text: str, *, chosen: bool = False) -> str:
    """One row of a list of settings, 36 high; the chosen one is to be tapped."""
    arrow = f'<path class="{"arrow hot" if chosen else "arrow"}" d="M252 {y + 13}l5 5-5 5"/>'
    if not text:
        return _box(28, y + 12, 13, 13, "words", 4) + _line(50, y + 15, 96) + arrow
    words = _write(28, y + 23, text, "hot" if chosen else "")
    return (_box(14, y, 252, 36, "chosen") if chosen else "") + words + arrow + (_tap(226, y + 18) if chosen else "")


def _bar(left: str, title: str, right: str) -> list[str]:
    """The top of a screen, whose right word is to be tapped."""
    words = (
        _write(18, 31, left, "soft"),
        _write(134, 31, title, "strong", "middle"),
        _box(206, 12, 62, 30, "chosen", 15),
        _write(237, 31, right, "hot", "middle"),
    )
    return [*words, '<path class="rule" d="M1 53h278"/>']


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def draw_allow() -> str:
    """Safari asks before it takes a profile."""
    parts = (
        _box(34, 16, 212, 116, "sheet", 16),
        _write(140, 43, "This website is trying to", "", "middle"),
        _write(140, 61, "download a configuration", "", "middle"),
        _write(140, 79, "profile. Allow this?", "", "middle"),
        '<path class="rule" d="M34 94h212M140 94v38"/>',
        _write(87, 117, "Ignore", "soft", "middle"),
        _box(150, 99, 86, 27, "chosen", 13),
        _write(193, 117, "Allow", "hot", "middle"),
    )
    return _draw(148, "Safari asks whether to allow the download. Tap Allow, on the right.", parts)


def draw_downloaded() -> str:
    """The top of the settings."""
    parts = (
        _write(20, 34, "Settings", "title"),
        '<circle class="words" cx="37" cy="66" r="13"/>',
        _line(60, 58, 84),
        _line(60, 70, 130),
        _row(90, "Profile Downloaded", chosen=True),
        _row(132, ""),
        _row(160, ""),
    )
    return _draw(200, "The Settings app. Near the top is a row, Profile Downloaded. Tap it.", parts)


def draw_install(name: str) -> str:
    """The profile, before it is installed."""
    parts = (
        *_bar("Cancel", "Install Profile", "Install"),
        _box(18, 62, 44, 44, "tile", 10),
        '<path class="glyph" d="M33 92l9-9m-2 2l4 4m-7-1l3 3"/><circle class="glyph" cx="45" cy="79" r="5.5"/>',
        _write(76, 80, _cut(name), "strong"),
        _line(76, 92, 116),
        _line(18, 122, 210),
        _line(18, 136, 160),
    )
    return _draw(158, "The profile, with Install at the top right. Tap Install.", parts)


def draw_password(button: str = "Next") -> str:
    """Where the certificate's password is typed."""
    dots = "".join(f'<circle class="dot" cx="{34 + 13 * each}" cy="93" r="3.6"/>' for each in range(10))
    parts = (*_bar("Cancel", "Enter Password", button), _box(18, 72, 244, 42, "field"), dots, _line(18, 126, 180))
    return _draw(150, f"A field for the certificate's password. Type it, then tap {button}.", parts)


def draw_trust(authority: str) -> str:
    """The switch that makes a private authority count for websites."""
    parts = (
        _write(140, 32, "Certificate Trust Settings", "strong", "middle"),
        '<path class="rule" d="M1 48h278"/>',
        _write(20, 72, "ENABLE FULL TRUST FOR ROOT CERTIFICATES", "tiny"),
        _box(14, 84, 252, 42, "chosen"),
        _write(28, 110, _cut(authority), "hot"),
        _box(208, 92, 44, 26, "switch", 13),
        '<circle class="knob" cx="239" cy="105" r="11"/>',
    )
    return _draw(144, f"The list of trusted roots. Turn on the switch beside {authority}.", parts)


def draw_file(name: str) -> str:
    """The file that was downloaded, waiting to be opened."""
    parts = (
        _box(14, 16, 252, 58, "chosen", 14),
        _box(28, 28, 30, 34, "tile", 6),
        '<path class="glyph" d="M37 50l6-6m-1 1l3 3"/><circle class="glyph" cx="45" cy="41" r="4"/>',
        _write(72, 42, _cut(name), "hot"),
        _write(72, 60, "Download complete", "soft"),
        _tap(240, 45),
    )
    return _draw(90, f"The downloaded file, {name}. Open it.", parts)


def draw_use() -> str:
    """Android asks what a certificate is for."""
    rows = (("VPN & app user certificate", True), ("CA certificate", False), ("Wi-Fi certificate", False))
    parts = [_write(20, 34, "Install a certificate", "title")]
    for number, (text, chosen) in enumerate(rows):
        y = 50 + 40 * number
        mark = f'<circle class="tip" cx="32" cy="{y + 18}" r="4.5"/>' if chosen else ""
        ring = f'<circle class="{"radio hot" if chosen else "radio"}" cx="32" cy="{y + 18}" r="8"/>'
        box = _box(14, y, 252, 36, "chosen") if chosen else ""
        parts += [box, ring, mark, _write(50, y + 23, text, "hot" if chosen else "")]
    return _draw(178, "A choice of what to install. Choose VPN and app user certificate.", parts)


def draw_choose(name: str) -> str:
    """The browser asks which certificate to show."""
    parts = (
        _write(20, 34, "Choose a certificate", "title"),
        _box(14, 48, 252, 42, "chosen"),
        _write(28, 74, _cut(name), "hot"),
        _write(176, 117, "Cancel", "soft", "end"),
        _box(196, 98, 70, 30, "chosen", 15),
        _write(231, 117, "Select", "hot", "middle"),
    )
    return _draw(142, f"The browser asks for a certificate. Choose {name}, then Select.", parts)


def draw_import(title: str, button: str) -> str:
    """A desktop's window that asks for the file's password."""
    dots = "".join(f'<circle class="dot" cx="{34 + 13 * each}" cy="81" r="3.6"/>' for each in range(10))
    parts = (
        '<circle class="words" cx="20" cy="20" r="5"/><circle class="words" cx="36" cy="20" r="5"/>',
        '<path class="rule" d="M1 38h278"/>',
        _write(140, 25, title, "strong", "middle"),
        _write(20, 58, "Password", "soft"),
        _box(18, 64, 244, 34, "field", 8),
        dots,
        _box(186, 110, 76, 30, "press", 8),
        _write(224, 130, button, "on", "middle"),
    )
    return _draw(154, f"A window, {title}, with a field for the password. Type it, then press {button}.", parts)
