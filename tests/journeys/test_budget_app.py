"""The budget's pages in a real browser with a real client certificate: no script, no key, no barrier."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from browser import measure_overflow, open_browser, take_picture
from certificates import DAY
from live.world import wait_for
from phones import PATIENCE, WIDTH, Site, type_expense

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
each_theme = pytest.mark.parametrize("theme", THEMES)

EXPENSES = [
    {"id": "rent", "amount": "850", "category": "Home", "note": "Rent", "date": "today"},
    {
        "id": "tram",
        "amount": "1234.50",
        "category": "Travel",
        "note": "A flight, and the tram to it 🛫",
        "date": "yesterday",
    },
    {"id": "back", "amount": "19.99", "category": "Clothes", "refund": "yes", "note": "Too small"},
    {"id": "cup", "amount": "4.50", "category": "Coffee", "note": "<b>Espresso</b> & water"},
    {"id": "long", "amount": "12", "category": "Groceries", "note": "Donaudampfschifffahrtsgesellschaft" * 4},
]
BUDGETS = {"Groceries": 400, "Coffee": 3, "Home": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("budget"))
    with (site.home.folder / "budget.toml").open("a", encoding="utf-8") as settings:
        for name in ("Groceries", "Coffee", "Eating out", "Home", "Clothes", "Travel"):
            settings.write(f'[[categories]]\nname = "{name}"\n')
            settings.write(f"budget = {BUDGETS[name]}\n" if name in BUDGETS else "")
    site.start()
    with site.program("this-computer") as program:
        for expense in EXPENSES:
            assert program.post("/", json=expense).status_code == HTTPStatus.CREATED
    wait_for(lambda: len(site.rows()) == len(EXPENSES))
    yield site
    site.stop()


@contextmanager
def visit(browser: Browser, site: Site, certificate: Path, key: Path, **options: Any) -> Iterator[Page]:
    """A page of a device with this key."""
    identity = {"origin": site.url, "certPath": certificate, "keyPath": key}
    context = browser.new_context(
        client_certificates=[identity],  # type: ignore[list-item]
        ignore_https_errors=True,
        locale="en-GB",
        **options,
    )
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(
    "path", ["/", "/entries", "/entries/tram", "/overview", "/devices", "/health", "/shell", "/nothing"]
)
def test_nothing_is_in_the_way_of_anybody(browser: Browser, site: Site, path: str) -> None:
    """axe-core finds nothing, nothing is wider than the window, and no page asks another host for anything."""
    asked: list[str] = []
    with visit(browser, site, site.home.device, site.home.device_key, bypass_csp=True) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(site.url + path)
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            for width in (320, WIDTH, 1280):
                page.set_viewport_size({"width": width, "height": 812})
                results = Axe().run(page)
                assert results.violations_count == 0, results.generate_report()
                assert measure_overflow(page) == 0
                if width == WIDTH:
                    take_picture(page, f"budget{path.replace('/', '-')}-{width}-{theme}")
        assert [url for url in asked if not url.startswith((f"{site.url}/", "data:"))] == []


def test_axe_finds_what_is_in_the_way(browser: Browser, site: Site) -> None:
    """Otherwise the silence of the tests around this one would say nothing."""
    with visit(browser, site, site.home.device, site.home.device_key, bypass_csp=True) as page:
        page.goto(site.url)
        page.evaluate("document.documentElement.removeAttribute('lang')")
        assert Axe().run(page).violations_count > 0


@each_theme
def test_what_is_wrong_with_a_form_is_said_to_everybody(browser: Browser, site: Site, theme: Theme) -> None:
    """The page after a refused form has no barrier, either, and neither has what the script shows in its place."""
    for scripted in (False, True):
        view: Any = {"viewport": {"width": WIDTH, "height": 812}, "color_scheme": theme}
        with visit(browser, site, site.home.device, site.home.device_key, bypass_csp=True, **view) as page:
            page.goto(site.url)
            if not scripted:
                page.evaluate("document.getElementById('entry').onsubmit = null")
            type_expense(page, "4 or 5", "wrong")
            expect(page.locator("#amount-message")).to_contain_text("Use only digits")
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            take_picture(page, f"budget-wrong-{'script' if scripted else 'page'}-{theme}")


def test_everything_works_without_a_script(browser: Browser, site: Site) -> None:
    """Adding and taking back are forms that are posted, and pages that come after."""
    with visit(browser, site, site.home.device, site.home.device_key, java_script_enabled=False) as page:
        page.goto(site.url)
        type_expense(page, "4,50", "no script", then="Add another")
        expect(page.locator("#notice")).to_contain_text("Added €4.50 for Coffee")
        assert "no script" in page.locator("#latest li").first.inner_text()
        wait_for(lambda: site.find("no script") == [("4.50", "Coffee")])
        page.reload()
        page.locator("#notice").get_by_role("button", name="Undo").click()
        expect(page.locator("#notice")).to_contain_text("Removed €4.50")
        wait_for(lambda: site.find("no script") == [])


def test_a_link_opens_the_form_filled_in(browser: Browser, site: Site) -> None:
    """Without a script, too; one tap on Add is what is left to do."""
    with visit(browser, site, site.home.device, site.home.device_key, java_script_enabled=False) as page:
        page.goto(f"{site.url}/?amount=4.50&category=Coffee&note=From%20a%20shortcut")
        assert page.input_value("#amount") == "4.50"
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#notice")).to_contain_text("Added €4.50 for Coffee")


def test_an_expired_key_ends_the_handshake(browser: Browser, site: Site, tmp_path: Path) -> None:
    """A browser that shows it gets no page of ours, and the server's log says why."""
    identity = site.sign("Old phone", begins=-9 * DAY, ends=-DAY).write(tmp_path, "old")
    with visit(browser, site, *identity) as page:
        page.goto(site.url)
        assert page.locator("#entry").count() == 0
    assert site.server is not None
    assert "certificate has expired" in site.server.said()


def test_a_withdrawn_key_is_told_so(browser: Browser, site: Site) -> None:
    """On a phone that has never had the app's service worker; the offline tests have one that has."""
    site.run("issue", "Sold phone")
    files = site.home.folder / "devices"
    with visit(browser, site, files / "Sold phone.pem", files / "Sold phone-key.pem") as page:
        page.goto(site.url)
        expect(page.locator("#amount")).to_be_visible()
        with site.program("Sold phone") as program:
            site.run("revoke", "Sold phone")
            wait_for(lambda: program.get("/").status_code == HTTPStatus.FORBIDDEN)
        page.reload()
        expect(page.get_by_role("heading")).to_have_text("This certificate was withdrawn")
