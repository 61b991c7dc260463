"""What a phone is told about the page on its home screen."""

import struct
from pathlib import Path

import pytest

from budget_app.manifest import make_manifest
from budget_app.settings import Settings
from budget_app.words import choose_words

APP = Path(__file__).parents[2] / "budget_app"
ENGLISH = choose_words(Settings(language="en"), None)


def find_addresses(value: object, key: str = "") -> list[str]:
    """Every address in a manifest."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in find_addresses(inner, name)]
    if isinstance(value, list):
        return [found for inner in value for found in find_addresses(inner, key)]
    return [str(value)] if key in ("src", "url", "start_url", "scope", "id") else []


def list_icons() -> list[dict[str, str]]:
    icons = make_manifest(Settings(), ENGLISH)["icons"]
    assert isinstance(icons, list)
    return icons


def test_the_page_opens_in_the_browser_unless_the_settings_say_otherwise() -> None:
    """Whether a page outside of the browser shows its certificate is up to the phone."""
    assert make_manifest(Settings(), ENGLISH)["display"] == "browser"
    assert make_manifest(Settings(display="standalone"), ENGLISH)["display"] == "standalone"


def test_every_address_is_on_this_site() -> None:
    """A phone that reads the manifest asks nobody else for anything."""
    addresses = find_addresses(make_manifest(Settings(), ENGLISH))
    assert len(addresses) > 6
    assert [each for each in addresses if not each.startswith("/") or each.startswith("//")] == []


def test_it_speaks_the_language_of_the_page() -> None:
    """The name under the icon and the language that a phone reads it in belong together."""
    portuguese = choose_words(Settings(language="pt"), None)
    manifest = make_manifest(Settings(), portuguese)
    assert manifest["lang"] == portuguese.lang
    assert manifest["name"] == portuguese.say("Budget")
    assert manifest["dir"] == "ltr"


@pytest.mark.parametrize(
    "icon", [icon for icon in list_icons() if icon["type"] == "image/png"], ids=lambda icon: icon["src"]
)
def test_each_picture_has_the_size_that_is_said_of_it(icon: dict[str, str]) -> None:
    """A phone leaves out an icon whose size is another one."""
    picture = (APP / icon["src"].removeprefix("/")).read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert icon["sizes"] == f"{width}x{height}"
    assert len(picture) < 10_000


def test_there_is_an_icon_that_a_phone_may_cut() -> None:
    """Android cuts a maskable one to its own shape, and shrinks any other onto a white plate."""
    assert {icon["purpose"] for icon in list_icons()} == {"any", "maskable"}
    assert (APP / "static/icons/icon.svg").is_file()


def test_an_iphone_finds_a_square_without_transparency() -> None:
    """What is transparent in it would be black on the home screen."""
    picture = (APP / "static/icons/apple-touch-icon.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (180, 180)
    assert b"tRNS" not in picture
