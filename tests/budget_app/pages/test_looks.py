"""The pages as a person sees them: in real Chromium without our scripts, on phones and wider, light and dark."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from browser import measure_overflow, open_browser
from budget_app.pages import render

from .samples import make_pages

Scheme = Literal["light", "dark"]

STATIC = Path(__file__).parents[3] / "budget_app" / "static"
STYLES = {name: (STATIC / name).read_text(encoding="utf-8") for name in ("budget.css", "reports.css")}
USUAL = (
    "added",
    "laptop",
    "both",
    "laptop-devices",
    "mistakes",
    "shell",
    "edit",
    "entries",
    "overview",
    "devices",
    "waiting",
    "notice",
)


def inline(html: str) -> str:
    """A page that needs nothing from anywhere."""
    for name, style in STYLES.items():
        html = html.replace(f'<link rel="stylesheet" href="/static/{name}">', f"<style>{style}</style>")
    return re.sub(r'<script src=.*?</script>|<link rel="(manifest|apple-touch-icon)".*?>', "", html)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


class Screen:
    """One window; each page that it shows replaces the one before."""

    def __init__(self, page: Page, language: str) -> None:
        self.page = page
        self.html = {name: inline(render(page)) for name, page in make_pages(language).items()}

    def show(self, name: str) -> Page:
        self.page.set_content(self.html[name])
        return self.page


def open_screen(browser: Browser, width: int, scheme: Scheme, language: str = "en", forced: bool = False) -> Screen:
    page = browser.new_page(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        forced_colors="active" if forced else "none",
    )
    return Screen(page, language)


@pytest.mark.parametrize(("width", "scheme", "language"), [(320, "light", "en"), (1200, "dark", "pt")])
def test_axe_finds_nothing(browser: Browser, width: int, scheme: Scheme, language: str) -> None:
    """No page has a fault that axe-core knows, contrast included, on a phone as on a desktop."""
    screen, axe = open_screen(browser, width, scheme, language), Axe()
    for name in USUAL:
        found = axe.run(screen.show(name)).response["violations"]
        assert [(name, each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_axe_would_find_something(browser: Browser) -> None:
    """The same check fails where a label is missing and where letters are too pale."""
    screen = open_screen(browser, 320, "light")
    screen.html["added"] = screen.html["added"].replace('<label for="note">', "<label>").replace("#59625d", "#d0d0d0")
    found = {each["id"] for each in Axe().run(screen.show("added")).response["violations"]}
    assert {"label", "color-contrast"} <= found


@pytest.mark.parametrize(("width", "language"), [(320, "pt"), (832, "pt"), (1200, "en")])
def test_nothing_is_wider_than_the_window(browser: Browser, width: int, language: str) -> None:
    """Not even with the longest words, the largest amounts and the oddest texts."""
    screen = open_screen(browser, width, "light", language)
    for name in screen.html:
        assert (name, measure_overflow(screen.show(name))) == (name, 0)


def test_everything_to_touch_is_large_and_no_field_makes_a_phone_zoom(browser: Browser) -> None:
    """Targets are 44 px and more within the window; iOS zooms in on a field whose letters are smaller than 16 px."""
    screen = open_screen(browser, 320, "light", "pt")
    for name in USUAL:
        page = screen.show(name)
        # A box to tick is touched by its label, which is around it.
        boxes = page.locator("input:not([type=hidden], [type=checkbox]), label.refund, button, a, summary, select")
        sizes = boxes.evaluate_all(
            "all => all.filter(each => each.checkVisibility({visibilityProperty: true}) && !each.matches('.skip'))"
            ".map(each => [each.outerHTML, ...Object.values(each.getBoundingClientRect().toJSON())])"
        )
        assert [size for size in sizes if size[3] < 44 or size[4] < 44 or size[1] < 0 or size[1] + size[3] > 320] == []
        letters = page.locator("input:not([type=hidden], [type=radio], [type=checkbox]), select").evaluate_all(
            "all => all.map(each => parseFloat(getComputedStyle(each).fontSize))"
        )
        assert all(size >= 16 for size in letters)


def test_the_form_works_by_keyboard(browser: Browser) -> None:
    """Tab leads through it in order, arrows choose within a group, and what has the focus is seen."""
    page = open_screen(browser, 375, "light").show("first")
    expect(page.locator("#amount")).to_be_focused()
    seen = []
    for _ in range(5):
        page.keyboard.press("Tab")
        outline = "each => [each.id || each.value, parseFloat(getComputedStyle(each).outlineWidth)]"
        name, width = page.locator(":focus").evaluate(outline)
        seen.append(name)
        assert width >= 3
    assert seen == ["category", "note", "today", "add", "add-another"]
    page.focus("#category")
    page.keyboard.press("ArrowDown")
    assert page.locator("[name=category]:checked").input_value() == "Coffee"


def test_another_day_shows_its_date(browser: Browser) -> None:
    """The date field is there when it is needed, without a script."""
    page = open_screen(browser, 375, "light").show("first")
    expect(page.locator("#date")).to_be_hidden()
    page.get_by_label("Another day").first.check()
    expect(page.locator("#date")).to_be_visible()
    page.get_by_label("Yesterday").check()
    expect(page.locator("#date")).to_be_hidden()


def test_the_buttons_stay_within_reach(browser: Browser) -> None:
    """On a small phone the form is longer than the window, and its button is above the bar all the same."""
    page = open_screen(browser, 320, "light").show("added")
    page.set_viewport_size({"width": 320, "height": 568})
    button, bar = page.locator("#add").bounding_box(), page.locator(".nav").bounding_box()
    assert button is not None
    assert bar is not None
    assert button["y"] + button["height"] <= bar["y"]
    assert bar["y"] + bar["height"] == 568


def test_an_entry_unfolds_what_can_be_done(browser: Browser) -> None:
    """One touch shows Edit, Duplicate and Remove."""
    page = open_screen(browser, 375, "light").show("added")
    entry = page.locator("#latest li").first
    expect(entry.get_by_role("button", name="Remove")).to_be_hidden()
    entry.locator("summary").click()
    for role, name in (("link", "Edit"), ("link", "Duplicate"), ("button", "Remove")):
        expect(entry.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]


def test_forced_colours_still_show_what_is_chosen(browser: Browser) -> None:
    """Where the system chooses all colours, the chosen day is not drawn as the others are."""
    page = open_screen(browser, 375, "light", forced=True).show("overview")
    bar = page.locator("rect.spent").first
    assert bar.evaluate("each => getComputedStyle(each).fill") == "rgb(0, 0, 0)"
    page = open_screen(browser, 375, "light", forced=True).show("first")
    colours = page.locator("#days .chip span").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert colours[0] != colours[1] == colours[2]


def palette(scheme: Scheme) -> dict[str, str]:
    """The colours of one theme by name; the dark theme replaces those of the light one."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLES["budget.css"], re.DOTALL)
    block = light if scheme == "light" else light + dark
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("ink", "paper", 4.5),
        ("ink", "card", 4.5),
        ("ink", "accent-wash", 4.5),
        ("ink", "bad-wash", 4.5),
        ("ink", "calm-wash", 4.5),
        ("soft", "card", 4.5),
        ("soft", "paper", 4.5),
        ("soft", "bad-wash", 4.5),
        ("on-accent", "accent", 4.5),
        ("accent-ink", "accent-wash", 4.5),
        ("accent-ink", "card", 4.5),
        ("accent-ink", "paper", 4.5),
        ("bad", "card", 4.5),
        ("bad", "bad-wash", 4.5),
        ("edge", "card", 3),
        ("accent", "card", 3),
        ("accent", "paper", 3),
        ("accent", "accent-wash", 3),
    ],
)
def test_contrast_is_enough_in_both_themes(scheme: Scheme, front: str, back: str, least: float) -> None:
    """Also where axe cannot see it: in pictures, borders and what the focus shows."""
    darker, lighter = sorted(luminance(palette(scheme)[name]) for name in (front, back))
    assert (lighter + 0.05) / (darker + 0.05) >= least
