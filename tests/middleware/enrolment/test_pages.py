"""enrolment.pages: as a person sees them, in real Chromium without JavaScript, on small phones, light and dark."""

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route

from browser import measure_overflow, open_browser, take_picture
from keyfob.enrolment import pages
from keyfob.enrolment.pages import Visitor
from keyfob.enrolment.platforms import Platform
from keyfob.enrolment.steps import ROOT_FILE, ROOT_PROFILE, Handover, Place
from keyfob.enrolment.style import CONTENT_POLICY, STYLE

URL = "https://keys.example.com:8444/enrol/x"
PLACE = Place("Budget", "https://keys.example.com:8443/", "keyfob CA")
PUBLIC = PLACE._replace(authority=None)
KEY = Handover("My iPhone")
BORN = Handover("My iPhone", born_on_device=True)
# As long as a name may be, without a place to break it.
LONG = Handover("Donaudampfschifffahrtsgesellschaftskapitänsmützenablage-Telefon1")
NOW = time.time()
ENDS = datetime(2025, 12, 1, tzinfo=UTC)
SAFARI, CHROME = (Visitor(Platform.IPHONE, name) for name in ("Safari", "Chrome"))

ALL = {
    "iphone": pages.render_invitation(KEY, NOW + 900, SAFARI, PLACE),
    "iphone-public": pages.render_invitation(KEY, NOW + 900, SAFARI, PUBLIC),
    "iphone-chrome": pages.render_invitation(KEY, NOW + 900, CHROME, PLACE),
    "android": pages.render_invitation(KEY, NOW + 900, Visitor(Platform.ANDROID, "Chrome"), PLACE),
    "mac": pages.render_invitation(KEY, NOW + 900, Visitor(Platform.MAC, "Safari"), PLACE),
    "windows": pages.render_invitation(KEY, NOW + 900, Visitor(Platform.WINDOWS, "Edge"), PLACE),
    "linux": pages.render_invitation(KEY, NOW + 90000, Visitor(Platform.LINUX, None), PLACE),
    "long": pages.render_invitation(LONG, NOW + 900, Visitor(Platform.ANDROID, "Chrome"), PLACE),
    "born": pages.render_invitation(BORN, NOW + 900, SAFARI, PLACE),
    "born-android": pages.render_invitation(BORN, NOW + 900, Visitor(Platform.ANDROID, "Chrome"), PLACE),
    "born-mac": pages.render_invitation(BORN, NOW + 900, Visitor(Platform.MAC, "Safari"), PUBLIC),
    "wrong-device": pages.render_wrong_device("My iPhone"),
    "program": pages.render_program_invitation("build-server"),
    "used": pages.render_used(NOW, "2001:db8:1234:5678:9abc:def0:1234:5678", tried=True),
    "lapsed": pages.render_lapsed(),
    "unknown": pages.render_unknown(),
    "nowhere": pages.render_nowhere(),
    "renew-iphone": pages.render_renewal("My iPhone", ENDS, SAFARI, PLACE),
    "renew-mac": pages.render_renewal("My iPhone", ENDS, Visitor(Platform.MAC, "Safari"), PLACE),
    "password": pages.render_password(
        KEY._replace(where="above"), "abcde-fghij-klmno-pqr23", Platform.ANDROID, PUBLIC, NOW
    ),
    "stranger": pages.render_stranger(),
    "early": pages.render_early(ENDS),
    "renewed": pages.render_renewed("My iPhone", NOW),
    "no-authority": pages.render_no_authority("My iPhone"),
}
each_page = pytest.mark.parametrize("name", ALL)
each_theme = pytest.mark.parametrize("theme", ["light", "dark"])


PICTURED = {"iphone", "android", "mac", "born", "used", "unknown", "renew-iphone", "password"}


@dataclass
class Viewer:
    """A window without scripts. `asked` is everything that pages wanted to load, `said` what Chromium complained of."""

    page: Page
    html: str = ""
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def open(self, name: str) -> Page:
        """Shows a page under its own policy."""
        self.html = ALL[name]
        self.asked.clear()
        self.said.clear()
        self.page.goto(URL)
        return self.page

    def answer(self, route: Route) -> None:
        self.asked.append(route.request.url)
        headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": CONTENT_POLICY}
        route.fulfill(status=200, headers=headers, body=self.html)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def make_viewer(browser: Browser, theme: Literal["light", "dark"], width: int = 320) -> Viewer:
    viewport = {"width": width, "height": 640}
    context = browser.new_context(viewport=viewport, color_scheme=theme, java_script_enabled=False)  # type: ignore[arg-type]
    viewer = Viewer(context.new_page())
    context.route("**/*", viewer.answer)
    viewer.page.on("console", lambda message: viewer.said.append(message.text))
    return viewer


@pytest.fixture(scope="module")
def viewers(browser: Browser) -> dict[str, Viewer]:
    return {"light": make_viewer(browser, "light"), "dark": make_viewer(browser, "dark")}


@pytest.fixture
def viewer(viewers: dict[str, Viewer]) -> Viewer:
    return viewers["light"]


@pytest.mark.parametrize(
    ("name", "theme"), [*((name, "light") for name in ALL), *((name, "dark") for name in sorted(PICTURED))]
)
def test_a_page_fits_a_small_phone_and_loads_nothing(viewers: dict[str, Viewer], name: str, theme: str) -> None:
    """At 320 pixels, under its own policy, in either theme; nothing is asked for but the page itself."""
    viewer = viewers[theme]
    page = viewer.open(name)
    if name in PICTURED:
        take_picture(page, f"enrolment-{name}-320-{theme}")
    for summary in page.locator("summary").all():
        summary.click()
    assert measure_overflow(page) == 0
    assert viewer.asked == [URL]
    assert viewer.said == []
    # The style was obeyed: without it the background would be none of ours.
    ground = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert ground == {"light": "rgb(246, 245, 241)", "dark": "rgb(22, 24, 28)"}[theme]


def test_a_page_fits_a_wide_window(browser: Browser) -> None:
    """The same page, with the lines no longer than can be read."""
    page = make_viewer(browser, "light", 1280).open("mac")
    assert measure_overflow(page) == 0
    box = page.locator("main").bounding_box()
    assert box is not None
    assert box["width"] < 640
    page.context.close()


@pytest.mark.parametrize("name", ["iphone", "android", "mac", "password"])
def test_buttons_are_as_large_as_a_thumb(viewer: Viewer, name: str) -> None:
    """44 pixels are what Apple asks for; and the first is on the screen without scrolling."""
    buttons = viewer.open(name).get_by_role("button").all()
    boxes = [box for button in buttons if (box := button.bounding_box()) is not None]
    assert boxes
    assert all(box["height"] >= 44 for box in boxes)
    assert boxes[0]["y"] + boxes[0]["height"] < 640


@each_page
def test_a_page_can_be_heard(name: str) -> None:
    """A language, a title, one main heading, and no level left out below it."""
    html = ALL[name]
    assert '<html lang="en">' in html
    assert re.search("<title>[^<]+</title>", html)
    levels = [int(level) for level in re.findall(r"<h([1-6])", html)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    for drawing in re.findall(r"<svg[^>]*>", html):
        assert 'aria-hidden="true"' in drawing or re.search(r'role="img" aria-label="[^"]{20,}"', drawing), drawing


@each_page
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No script, no image, no font; the one link that leads away is the app's."""
    html = ALL[name]
    assert "<script" not in html
    assert " style=" not in html
    assert "url(" not in html
    assert set(re.findall(r'(?:href|src|action)="([^"]+)"', html)) <= {PLACE.url, ROOT_FILE, ROOT_PROFILE}


def test_a_server_that_phones_trust_needs_no_steps_for_that() -> None:
    """They would only frighten."""
    assert "Certificate Trust Settings" in ALL["iphone"]
    assert "Certificate Trust Settings" not in ALL["iphone-public"]
    assert ROOT_FILE not in ALL["iphone-public"]


def test_the_password_is_asked_for_where_there_is_one() -> None:
    """A key that is born on the device has none."""
    assert "Type the password" in ALL["iphone"]
    assert "password" not in ALL["born"].partition("</style>")[2]


def test_whoever_says_nothing_of_the_app_is_not_led_anywhere() -> None:
    """The address of the app is not always known."""
    html = pages.render_invitation(KEY, NOW, SAFARI, Place("the app", None, None))
    assert "href" not in html


def test_what_others_have_written_is_shown_as_text() -> None:
    """Names, addresses and the app's own words."""
    evil = '"><i>'
    place = Place(evil, f"https://x/{evil}", evil)
    rendered = [
        *(pages.render_invitation(Handover(evil), NOW, Visitor(each, evil), place) for each in Platform),
        pages.render_used(NOW, evil, tried=True),
        pages.render_renewal(evil, ENDS, Visitor(Platform.IPHONE, evil), place),
        pages.render_password(Handover(evil), evil, Platform.ANDROID, place, NOW),
        pages.render_renewed(evil, None),
        pages.render_wrong_device(evil),
    ]
    assert not [html for html in rendered if "<i>" in html]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@each_theme
def test_every_text_can_be_read(theme: str) -> None:
    """4.5 to 1 is what WCAG asks of text; of the accent on its wash, too, since drawings have words in it."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if theme == "light" else light + dark))
    pairs = [(text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "card")]
    pairs += [("accent", "wash"), ("ink", "wash"), ("on-accent", "accent"), ("ink", "bad-wash"), ("bad", "paper")]
    for text, ground in pairs:
        lighter, darker = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)
