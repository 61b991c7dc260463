"""A person with a browser, at the real server with real mutual TLS: with a key, and without."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from browser import measure_overflow, open_browser, take_picture
from keyfob.pki.home import Home, open_home
from servers import Running, environment, find_port, keyfob, running

each_theme = pytest.mark.parametrize("theme", ["light", "dark"])
PHONE = 375


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return open_home(tmp_path_factory.mktemp("first-start") / "home", ["localhost"])


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    port = find_port()
    command = keyfob("serve", "budget_app.app:app", "--home", home.folder, "--port", str(port))
    with running(command, port, home.folder.parent, environment()) as server:
        yield server


@each_theme
def test_a_stranger_sees_a_page_that_says_why(
    browser: Browser, server: Running, theme: Literal["light", "dark"]
) -> None:
    """Not a broken connection and not a bare status: a page, on a phone, in either theme, with a number to quote."""
    context = browser.new_context(
        ignore_https_errors=True,
        viewport={"width": PHONE, "height": 700},
        device_scale_factor=2,
        color_scheme=theme,
        java_script_enabled=False,
    )
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(f"{server.url}/")
    assert answer is not None
    assert answer.status == 401
    assert page.get_by_role("heading").inner_text() == "This door opens to known devices"
    number = page.locator("code").inner_text()
    assert number in server.said()
    assert measure_overflow(page) == 0
    assert asked == [f"{server.url}/"]
    take_picture(page, f"refusal-{PHONE}-{theme}")
    context.close()


def test_another_sites_form_writes_nothing(browser: Browser, server: Running, home: Home, tmp_path: Path) -> None:
    """A browser adds its certificate to whatever another page makes it send; the app looks at where that came from."""
    fields = '<input name="amount" value="1"><input name="category" value="x">'
    identity = {"origin": server.url, "certPath": home.device, "keyPath": home.device_key}
    context = browser.new_context(client_certificates=[identity], ignore_https_errors=True)  # type: ignore[list-item]
    page = context.new_page()
    page.goto("about:blank")
    page.set_content(f'<form method="post" action="{server.url}/">{fields}<button>Win a prize</button></form>')
    with page.expect_navigation():
        page.click("button")
    assert "sent from another site" in page.inner_text("main")
    with contextlib.closing(sqlite3.connect(home.folder / "ledger.db")) as ledger:
        assert ledger.execute("SELECT count(*) FROM event").fetchone() == (0,)
    context.close()
