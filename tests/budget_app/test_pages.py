"""The page as a person sees it: in real Chromium without JavaScript, on phones and wider, light and dark."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from starlette.types import ASGIApp

from browser import measure_overflow, open_browser, take_picture
from budget_app.entries import Entry
from budget_app.pages import FormPage, format_amount, format_day
from budget_app.rows import Row
from budget_app.workbook import ExpenseWorkbook

from .conftest import ReadSheet

OpenPage = Callable[[int, Literal["light", "dark"]], Page]

ROOT = Path(__file__).parents[2]
STYLE = (ROOT / "budget_app" / "static" / "budget.css").read_text(encoding="utf-8")
TODAY = date(2025, 11, 23)
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützen"

each_screen = pytest.mark.parametrize(
    ("width", "scheme"), [(width, scheme) for width in (320, 375, 1200) for scheme in ("light", "dark")]
)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(Decimal("4.5"), "4.50"), (Decimal("999999999.99"), "999,999,999.99"), (Decimal(-3), "-3.00"), ("ten", "ten")],
)
def test_money_has_two_decimals(amount: Decimal | str, shown: str) -> None:
    assert format_amount(amount) == shown


@pytest.mark.parametrize(
    ("day", "shown"),
    [
        (date(2025, 11, 23), "Today"),
        (date(2025, 11, 22), "Yesterday"),
        (date(2025, 11, 9), "9 Nov"),
        (date(2025, 12, 1), "1 Dec"),
        (date(2024, 12, 31), "31 Dec 2024"),
        ("someday", "someday"),
    ],
)
def test_a_day_is_said_as_a_person_says_it(day: date | str, shown: str) -> None:
    assert format_day(day, TODAY) == shown


def test_categories_that_differ_only_in_case_are_suggested_once() -> None:
    rows = [
        Row(number, TODAY, Decimal(1), name, "", "")
        for number, name in enumerate(["GIFTS", "", "x" * 51, "Car", "car"])
    ]
    categories = FormPage("Rhea Group", "", TODAY, rows).categories
    assert categories[:3] == ["car", "GIFTS", "Groceries"]
    assert "Gifts" not in categories


def palette(scheme: str) -> dict[str, str]:
    """The colours of one theme by name; the dark theme replaces those of the light one."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
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
        ("soft", "card", 4.5),
        ("soft", "paper", 4.5),
        ("on-accent", "accent", 4.5),
        ("accent-ink", "accent-wash", 4.5),
        ("accent-ink", "card", 4.5),
        ("bad", "card", 4.5),
        ("bad", "bad-wash", 4.5),
        ("ink", "bad-wash", 4.5),
        ("soft", "bad-wash", 4.5),
        ("edge", "card", 3),
        ("accent", "card", 3),
        ("accent", "paper", 3),
    ],
)
def test_contrast_is_enough_in_both_themes(scheme: str, front: str, back: str, least: float) -> None:
    darker, lighter = sorted(luminance(palette(scheme)[name]) for name in (front, back))
    assert (lighter + 0.05) / (darker + 0.05) >= least


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def address(door: ASGIApp) -> Iterator[str]:
    """The app behind its door, on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(door, log_level="error", lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[OpenPage]:
    """Opens the page on a screen of its own; at the end, nothing but the app may have been asked for anything."""
    asked: list[str] = []
    contexts = []

    def build(width: int, scheme: Literal["light", "dark"]) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 700},
            color_scheme=scheme,
            java_script_enabled=False,
            device_scale_factor=2,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield build
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((f"{address}/", "data:image/svg+xml,"))] == []


def fill(page: Page, amount: str, category: str, note: str = "") -> None:
    page.fill("#amount", amount)
    page.fill("#category", category)
    page.fill("#note", note)
    with page.expect_navigation(wait_until="load"):
        page.click("button")


def test_overflow_is_measured(open_page: OpenPage) -> None:
    page = open_page(375, "light")
    page.set_content('<meta name="viewport" content="width=device-width"><pre>' + "a" * 500)
    assert measure_overflow(page) > 100


@each_screen
def test_an_expense_is_entered_and_shown(
    open_page: OpenPage, workbook_path: Path, read_sheet: ReadSheet, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = open_page(width, scheme)
    expect(page.locator("#amount")).to_be_focused()
    assert measure_overflow(page) == 0
    take_picture(page, f"budget-empty-{width}-{scheme}")
    for day in range(1, 10):
        entry = Entry(Decimal(day * 1234) / 100, "Groceries", date(2025, 11, day), "Weekly shop")
        ExpenseWorkbook(workbook_path).append(entry, "iPad in the kitchen")
    fill(page, "999 999 999,99", LONG, LONG * 5)
    fill(page, "4,50", "Eating out", "Coffee with Ana ☕")
    assert page.url.endswith("/?added=12")
    expect(page.get_by_role("status")).to_have_text("Added 4.50 for Eating out")
    assert page.get_by_role("listitem").count() == 10
    expect(page.locator("#amount")).to_be_focused()
    assert measure_overflow(page) == 0
    assert read_sheet()[-1][1:] == [4.5, "Eating out", "Coffee with Ana ☕", "Rhea Group"]
    take_picture(page, f"budget-added-{width}-{scheme}")


@each_screen
def test_mistakes_are_shown_beside_their_fields(
    open_page: OpenPage, read_sheet: ReadSheet, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = open_page(width, scheme)
    fill(page, "1,234", "", LONG * 4)
    assert page.get_by_role("alert").get_by_role("link").count() == 2
    assert page.input_value("#amount") == "1,234"
    assert page.input_value("#note") == LONG * 4
    expect(page.locator("#amount")).to_be_focused()
    assert page.get_by_label("Category").get_attribute("aria-describedby") == "category-message"
    assert measure_overflow(page) == 0
    assert read_sheet() == []
    take_picture(page, f"budget-mistakes-{width}-{scheme}")


@each_screen
def test_a_workbook_that_broke_is_explained(
    open_page: OpenPage, workbook_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = open_page(width, scheme)
    workbook_path.write_bytes(b"junk")
    fill(page, "4.50", "Eating out")
    assert "did not take this expense" in page.get_by_role("alert").inner_text()
    assert page.input_value("#amount") == "4.50"
    assert measure_overflow(page) == 0
    take_picture(page, f"budget-broken-{width}-{scheme}")


@each_screen
def test_a_wrong_address_leads_back(open_page: OpenPage, width: int, scheme: Literal["light", "dark"]) -> None:
    page = open_page(width, scheme)
    page.goto(page.url + "nope")
    assert measure_overflow(page) == 0
    take_picture(page, f"budget-not-found-{width}-{scheme}")
    page.get_by_role("link").click()
    expect(page.get_by_role("button")).to_have_text("Add expense")


@pytest.mark.parametrize("width", [320, 375])
def test_everything_to_touch_is_large_and_no_field_makes_a_phone_zoom(open_page: OpenPage, width: int) -> None:
    page = open_page(width, "light")
    fill(page, "x", "")
    for target in page.locator("input:not([type=hidden]), button, a").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["width"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    # iOS zooms in on a field whose letters are smaller than 16 px.
    sizes = page.locator("input:not([type=hidden])").evaluate_all(
        "all => all.map(each => getComputedStyle(each).fontSize)"
    )
    assert all(float(size.removesuffix("px")) >= 16 for size in sizes)


def test_every_field_has_a_label_and_the_page_reads_in_order(open_page: OpenPage) -> None:
    page = open_page(375, "light")
    fill(page, "4.50", "Eating out", "Lunch")
    snapshot = page.locator("body").aria_snapshot()
    order = [
        "Budget",
        "Add an expense",
        "status",
        "Amount",
        "Category",
        "Date",
        "Note",
        "Add expense",
        "Latest",
        "Lunch",
    ]
    places = [snapshot.index(part) for part in order]
    assert places == sorted(places)
    assert "This device: Rhea Group" in snapshot


def test_the_focus_is_seen(open_page: OpenPage) -> None:
    page = open_page(375, "light")
    for _ in range(3):
        page.keyboard.press("Tab")
    outlines = page.locator(":focus").evaluate_all("all => all.map(each => getComputedStyle(each).outlineWidth)")
    assert outlines == ["3px"]
