"""The budget from a laptop: a real Chromium, no certificate, a real provider, and an expense without a session."""

import contextlib
import json
import os
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import BrowserContext, Error, Page, Playwright, Route, expect, sync_playwright

from browser import FLAGS, measure_overflow, take_picture
from live.world import wait_for
from nss import Database
from phones import PATIENCE, WIDTH, Site, make_identity, open_budget, phone, type_expense, wait_for_worker
from providers.certified import describe, running_certified
from servers import find_program

PERSON = "rhea"
ADDRESS = f"{PERSON}@example.com"
RULES = """
[login]
inventory = "inventory.db"

{provider}
[[identity_providers]]
name = "A code by mail"
type = "onetimepin"
smtp_host = "localhost"
sender = "keyfob@example.com"

[[applications.policies]]
name = "Me, from anywhere"
decision = "allow"
include = [{{ email = {{ email = "{address}" }} }}]
"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("budget"))
    with running_certified(f"{site.url}/.keyfob/callback/work") as provider:
        (site.home.folder / "work.secret").write_text(provider.client_secret, encoding="ascii")
        with (site.home.folder / "access.toml").open("a", encoding="utf-8") as rules:
            rules.write(RULES.format(provider=describe(provider), address=ADDRESS))
        site.start()
        yield site
        site.stop()


@contextlib.contextmanager
def laptop(playwright: Playwright, site: Site, folder: Path) -> Iterator[BrowserContext]:
    """A browser that trusts the server, and has no certificate to show."""
    Database(folder / ".pki" / "nssdb").trust(site.home.authority)
    context = playwright.chromium.launch_persistent_context(
        folder / "profile",
        executable_path=find_program("chromium", "chromium"),
        args=FLAGS,
        env={**os.environ, "HOME": str(folder)},
        viewport={"width": 1280, "height": 812},
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    try:
        yield context
    finally:
        context.close()


@pytest.fixture
def page(playwright: Playwright, site: Site, tmp_path: Path) -> Iterator[Page]:
    with laptop(playwright, site, tmp_path) as context:
        yield context.new_page()


def log_in(page: Page, name: str = PERSON) -> None:
    """Chooses the provider, which asks who it is, and whether that is meant."""
    page.get_by_role("link", name="Work").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("anything")
    page.locator("button[type=submit]").click()
    page.locator("button[type=submit]").click()


def list_cookies(page: Page) -> list[str]:
    return sorted(cookie["name"] for cookie in page.context.cookies() if cookie["name"].startswith("__Host-keyfob"))


def end_session(page: Page, site: Site) -> None:
    """Ends it by command, and waits until the server knows."""
    site.run("sessions", "end", ADDRESS)
    ask = "fetch('/health', {headers: {accept: 'application/json'}}).then((answer) => answer.status)"
    wait_for(lambda: page.evaluate(ask) == HTTPStatus.UNAUTHORIZED)


def test_a_laptop_logs_in_and_enters_an_expense(page: Page, site: Site) -> None:
    """It comes back to the page that it wanted; the workbook says whose the row is, and the page who is there."""
    page.goto(f"{site.url}/overview?month=2026-11")
    log_in(page)
    page.wait_for_url(f"{site.url}/overview?month=2026-11")
    page.goto(site.url)
    expect(page.get_by_text("Logged in as")).to_contain_text(ADDRESS)
    take_picture(page, "budget-logged-in")
    type_expense(page, "4.50", "from the laptop")
    wait_for(lambda: site.find("from the laptop") == [("4.50", "Coffee")])
    [row] = [row for row in site.rows() if row["Note"] == "from the laptop"]
    assert row["Device"] == ADDRESS
    assert page.evaluate("document.cookie") == ""


def test_a_phone_with_its_certificate_goes_straight_in(playwright: Playwright, site: Site, tmp_path: Path) -> None:
    """Nobody asks it who it is, and nothing of a login is on its page."""
    with phone(playwright, site, make_identity(site, "My phone", tmp_path), tmp_path) as device:
        page = open_budget(device, site.url)
        expect(page.get_by_text("Logged in as")).to_have_count(0)
        assert list_cookies(page) == []


def test_somebody_else_is_told_as_whom_he_is_not_let_in(page: Page, site: Site) -> None:
    """And can try as another person."""
    page.goto(site.url)
    log_in(page, "stranger")
    expect(page.locator("h1")).to_have_text("This door is closed to you")
    take_picture(page, "login-refused")
    assert list_cookies(page) == ["__Host-keyfob-browser"]
    page.locator("a.button").click()
    log_in(page)
    expect(page.get_by_text("Logged in as")).to_contain_text(ADDRESS)


def test_an_expense_outlives_its_session(page: Page, site: Site) -> None:
    """It stays on the laptop, visibly, and arrives once after the next login."""
    page.goto(site.url)
    log_in(page)
    page.wait_for_url(f"{site.url}/")
    wait_for_worker(page)
    end_session(page, site)
    type_expense(page, "7", "after the session")
    link = page.get_by_role("link", name="Log in to send 1 entry")
    expect(link).to_be_visible()
    take_picture(page, "budget-log-in-to-send")
    assert site.find("after the session") == []
    link.click()
    page.get_by_role("link", name="Work").click()
    # The provider still knows who it is, so nobody is asked.
    page.wait_for_url(f"{site.url}/")
    wait_for(lambda: site.find("after the session") == [("7.00", "Coffee")])
    expect(link).to_be_hidden()


def test_logging_out_ends_the_session_and_not_the_cookie_alone(page: Page, site: Site) -> None:
    """A copy of the cookie is worth nothing afterwards."""
    page.goto(site.url)
    log_in(page)
    page.wait_for_url(f"{site.url}/")
    kept = [cookie for cookie in page.context.cookies() if cookie["name"].startswith("__Host-keyfob")]
    page.get_by_role("link", name="Log out").click()
    take_picture(page, "login-leaving")
    page.get_by_role("button", name="Log out here").click()
    expect(page.locator("h1")).to_have_text("You are logged out")
    take_picture(page, "login-left")
    page.context.add_cookies(kept)  # type: ignore[arg-type]
    answer = page.goto(f"{site.url}/.keyfob/identity")
    assert answer is not None
    assert answer.status == 401


def test_a_form_without_a_script_is_sent_again_after_the_login(page: Page, site: Site) -> None:
    """The page says what happened; the login is in another tab, and a reload sends the same entry, once."""
    page.add_init_script("delete AbortSignal.timeout;")
    page.goto(site.url)
    log_in(page)
    page.wait_for_url(f"{site.url}/")
    end_session(page, site)
    type_expense(page, "8", "without a script")
    expect(page.locator("h1")).to_have_text("Log in first")
    assert Axe().run(page).violations_count == 0
    take_picture(page, "login-form-not-taken")
    assert site.find("without a script") == []
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Log in").click()
    opened.value.get_by_role("link", name="Work").click()
    opened.value.wait_for_url(f"{site.url}/")
    page.reload()
    expect(page.locator("#notice")).to_contain_text("Added €8.00")
    wait_for(lambda: site.find("without a script") == [("8.00", "Coffee")])
    page.reload()
    assert len(site.find("without a script")) == 1


def test_a_page_that_is_kept_does_not_hide_the_login(page: Page, site: Site) -> None:
    """Without a network the form is there; with one and without a session there is the login, and no form is kept."""
    page.goto(site.url)
    log_in(page)
    page.wait_for_url(f"{site.url}/")
    wait_for_worker(page)
    # The worker of the first visit did not serve its page.
    page.reload()
    page.context.set_offline(True)
    page.reload()
    expect(page.locator("#amount")).to_be_visible()
    page.context.set_offline(False)
    page.reload()
    end_session(page, site)
    page.goto(site.url)
    expect(page.locator("h1")).to_have_text("Log in to Budget")
    expect(page.locator("#amount")).to_have_count(0)
    page.context.set_offline(True)
    with pytest.raises(Error, match="net::ERR_"):
        page.goto(site.url)
    page.context.set_offline(False)
    page.goto(site.url)
    page.get_by_role("link", name="Work").click()
    expect(page.get_by_text("Logged in as")).to_contain_text(ADDRESS)


# What the server says is where to log in; the page asks whose address that is.
ELSEWHERE = {
    "type": "urn:keyfob:login-required",
    "title": "Log in first",
    "status": 401,
    "detail": "You are not logged in.",
}


@pytest.mark.parametrize(
    "address", ["https://elsewhere.example/login", "javascript:alert(1)", "//elsewhere.example", 5]
)
def test_no_login_of_another_site_is_offered(page: Page, site: Site, address: object) -> None:
    """The entry stays, and the page says that it was refused."""
    page.goto(site.url)
    log_in(page)
    page.wait_for_url(f"{site.url}/")

    def answer(route: Route) -> None:
        if route.request.method != "POST":
            return route.fallback()
        body = json.dumps({**ELSEWHERE, "login": address})
        return route.fulfill(status=401, content_type="application/problem+json", body=body)

    page.route(f"{site.url}/", answer)
    type_expense(page, "9", "elsewhere")
    expect(page.locator("#alert")).to_contain_text("Log in first")
    expect(page.locator("#login")).to_be_hidden()
    expect(page.locator("#waiting li")).to_contain_text("elsewhere")
    assert page.locator("#login a").get_attribute("href") is None


@pytest.mark.parametrize("path", ["/.keyfob/login?to=/", "/.keyfob/logout"])
def test_pages_of_a_login_are_in_nobodys_way(page: Page, site: Site, path: str) -> None:
    """axe-core finds nothing, and nothing is wider than the window, in the dark and on a phone."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (320, WIDTH, 1280):
            page.set_viewport_size({"width": width, "height": 812})
            page.goto(site.url + path)
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            assert measure_overflow(page) == 0
        take_picture(page, f"login-{path.rpartition('/')[2].partition('?')[0]}-{theme}")
