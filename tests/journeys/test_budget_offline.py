"""The budget on a phone without reception: real Chromium, real client certificate, real server, service worker."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Dialog, Error, Page, Playwright, Request, expect, sync_playwright

from browser import take_picture
from live.world import wait_for
from phones import Site, forget, make_expired_identity, make_identity, open_budget, phone, type_expense, wait_for_worker


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("budget"))
    site.start()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def device(playwright: Playwright, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    folder = tmp_path_factory.mktemp("phone")
    with phone(playwright, site, make_identity(site, "My phone", folder), folder) as context:
        yield context


@pytest.fixture
def page(device: BrowserContext, site: Site) -> Iterator[Page]:
    yield open_budget(device, site.url)
    forget(device, site)


def count_bytes(request: Request) -> int:
    sizes = request.sizes()
    return sizes["responseBodySize"] + sizes["responseHeadersSize"]


def test_the_first_visit_is_small_and_asks_nobody_else(device: BrowserContext, site: Site) -> None:
    """All that comes over the wire for the page, its files and what the service worker keeps: under 60 kB."""
    with site.program("My phone") as program:
        for number in range(70):
            expense = {
                "id": f"{number}",
                "amount": f"{number + 1}",
                "category": "Home",
                "note": f"Something, number {number}",
            }
            assert program.post("/", json=expense).status_code == HTTPStatus.CREATED
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)

    device.on("requestfinished", note)
    page = device.new_page()
    page.goto(site.url)
    wait_for_worker(page)
    wait_for(lambda: page.evaluate("navigator.serviceWorker.ready.then(({ active }) => active.state)") == "activated")
    device.remove_listener("requestfinished", note)
    sizes = [(each.url.removeprefix(site.url), count_bytes(each)) for each in asked]
    paths = {path for path, _ in sizes}
    assert paths >= {"/", "/shell", "/service-worker.js", "/static/budget.css", "/static/budget.js"}
    assert [path for path in paths if not path.startswith("/")] == []
    assert sum(size for _, size in sizes) < 60_000, sizes
    forget(device, site)


def test_the_manifest_is_read_with_the_key(page: Page) -> None:
    """A manifest is fetched without credentials unless the page says otherwise, and would be refused."""
    session = page.context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert manifest["url"].endswith("/manifest.webmanifest")
    assert json.loads(manifest["data"])["display"] == "browser"


def test_a_note_from_the_history_brings_category_and_amount(page: Page, site: Site) -> None:
    """What was typed or chosen before is left alone, and what another note brought is not."""
    for amount, note, category in [("2.20", "Espresso", "Coffee"), ("40", "Tickets", "Leisure")]:
        type_expense(page, amount, note, category)
        expect(page.locator("#latest li").first).to_contain_text(note)
    page.reload()
    for note, amount, category in [("Espresso", "2.20", "Coffee"), ("Tickets", "40.00", "Leisure")]:
        page.fill("#note", note)
        expect(page.locator("#amount")).to_have_value(amount)
        assert page.locator("#categories input:checked").input_value() == category
    page.fill("#amount", "3")
    page.get_by_label("Home", exact=True).check()
    page.fill("#note", "Espresso")
    expect(page.locator("#amount")).to_have_value("3")
    assert page.locator("#categories input:checked").input_value() == "Home"


def test_what_was_just_added_can_be_taken_back(page: Page, site: Site) -> None:
    """The confirmation that the script has fetched has the same buttons as that of the page."""
    type_expense(page, "17", "taken back")
    page.locator("#notice").get_by_role("button", name="Undo").click()
    expect(page.locator("#notice")).to_contain_text("Removed €17.00")
    page.locator("#notice").get_by_role("button", name="Put back").click()
    expect(page.locator("#notice")).to_contain_text("Put back")
    page.locator("#notice").get_by_role("link", name="Edit").click()
    page.fill("#amount", "18")
    page.get_by_role("button", name="Save").click()
    wait_for(lambda: site.find("taken back") == [("18.00", "Coffee")])


def test_an_expense_is_added_where_the_page_stays(page: Page, site: Site) -> None:
    """The form is empty again, the keyboard gone, and the list and the sums are as the server has them."""
    type_expense(page, "4,50", "stays")
    expect(page.locator("#notice")).to_contain_text("Added €4.50 for Coffee")
    expect(page.locator("#latest li").first).to_contain_text("stays")
    assert page.input_value("#amount") == page.input_value("#note") == ""
    assert page.locator("#categories input:checked").count() == 0
    expect(page.locator("#waiting")).to_be_hidden()
    assert page.url == f"{site.url}/"
    wait_for(lambda: site.find("stays") == [("4.50", "Coffee")])
    take_picture(page, "budget-added-375")


def test_add_another_keeps_the_day_and_goes_to_the_amount(page: Page, site: Site) -> None:
    """Who enters yesterday's receipts chooses the day once."""
    page.get_by_label("Yesterday", exact=True).check()
    type_expense(page, "1", "first of two", then="Add another")
    expect(page.locator("#notice")).to_contain_text("Added")
    assert page.evaluate("document.activeElement.id") == "amount"
    type_expense(page, "2", "second of two")
    yesterday = f"{datetime.now().astimezone() - timedelta(days=1):%Y-%m-%d}"
    wait_for(lambda: site.find("second of two"))
    days = {row["Date"] for row in site.rows() if row["Note"].endswith("of two")}
    assert days == {yesterday}


def test_what_is_entered_without_reception_arrives_once(page: Page, site: Site) -> None:
    """Neither server nor network are there; the page is loaded again meanwhile, and sends when both are back."""
    site.stop()
    page.context.set_offline(True)
    type_expense(page, "3", "offline one", then="Add another")
    expect(page.locator("#notice")).to_contain_text("Kept on this device")
    type_expense(page, "5.25", "offline two", "Groceries")
    expect(page.locator("#waiting h2")).to_have_text("2 waiting")
    page.reload()
    expect(page.locator("#waiting h2")).to_have_text("2 waiting")
    expect(page.locator("#notice")).to_have_text("2 waiting")
    expect(page.locator("#waiting")).to_contain_text("offline two")
    expect(page.locator("#amount")).to_be_visible()
    take_picture(page, "budget-waiting-375")
    assert site.find("offline one") == []
    site.start()
    page.context.set_offline(False)
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#notice")).to_have_text("2 sent")
    expect(page.locator("#latest")).to_contain_text("offline one")
    page.reload()
    expect(page.locator("#waiting")).to_be_hidden()
    wait_for(lambda: site.find("offline two"))
    assert (site.find("offline one"), site.find("offline two")) == ([("3.00", "Coffee")], [("5.25", "Groceries")])


# The first page asked for with reception is the one of before, and comes late.
LATE_PAGE = """
const ask = window.fetch;
let reception = false;
addEventListener("online", () => (reception = true));
window.fetch = async (url, options) => {
  if (!reception || options?.headers?.Accept !== "text/html") return ask(url, options);
  reception = false;
  await new Promise((resolve) => setTimeout(resolve, 3000));
  setTimeout(() => (document.documentElement.dataset.late = "shown"), 500);
  return new Response(`<ul id="latest"></ul><p id="status"></p><p id="notice"></p>`);
};
"""


def test_a_page_that_comes_late_hides_nothing_that_is_newer(page: Page, site: Site) -> None:
    """The page asked for on waking is older than the one after the sending, whichever arrives first."""
    site.stop()
    page.context.set_offline(True)
    type_expense(page, "3.10", "sent before")
    expect(page.locator("#waiting h2")).to_have_text("1 waiting")
    page.add_init_script(LATE_PAGE)
    page.reload()
    expect(page.locator("#waiting h2")).to_have_text("1 waiting")
    site.start()
    page.context.set_offline(False)
    expect(page.locator("#notice")).to_have_text("1 sent")
    expect(page.locator("html[data-late=shown]")).to_be_attached()
    expect(page.locator("#notice")).to_have_text("1 sent")
    expect(page.locator("#latest")).to_contain_text("sent before")


def test_a_page_loaded_again_in_the_middle_of_a_send_adds_once(page: Page, site: Site) -> None:
    """The server has the request and has not answered when the page goes; the next page sends the entry again."""
    with site.frozen():
        type_expense(page, "6", "interrupted")
        page.wait_for_timeout(300)
        page.reload()
        # The server is silent, so this is the shell.
        expect(page.locator("#waiting h2")).to_have_text("1 waiting")
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#latest")).to_contain_text("interrupted")
    wait_for(lambda: site.find("interrupted"))
    page.reload()
    assert page.locator("#latest li", has_text="interrupted").count() == 1
    assert site.find("interrupted") == [("6.00", "Coffee")]


def test_somebody_with_little_reception_goes_on_after_three_seconds(page: Page, site: Site) -> None:
    """The answer is late: the form is free for the next expense, and the confirmation follows."""
    with site.frozen():
        type_expense(page, "6.50", "late answer")
        expect(page.locator("#notice")).to_contain_text("Kept on this device")
        assert page.input_value("#amount") == ""
    expect(page.locator("#notice")).to_contain_text(re.compile("Added|arrived twice|1 sent"))
    expect(page.locator("#waiting")).to_be_hidden()
    wait_for(lambda: site.find("late answer") == [("6.50", "Coffee")])


def test_a_double_tap_adds_once(page: Page, site: Site) -> None:
    """The second tap finds the first still under way, or an empty form."""
    page.fill("#amount", "8")
    page.locator("#categories label", has_text="Coffee").click()
    page.fill("#note", "tapped twice")
    page.evaluate("() => { for (let n = 0; n < 3; n += 1) document.getElementById('add').click(); }")
    expect(page.locator("#notice")).to_contain_text("Added")
    wait_for(lambda: site.find("tapped twice"))
    page.reload()
    assert page.locator("#latest li", has_text="tapped twice").count() == 1


def test_two_tabs_send_what_waits_once(page: Page, site: Site) -> None:
    """Both wake up at the same moment with the same entries."""
    other = page.context.new_page()
    other.goto(site.url)
    page.context.set_offline(True)
    type_expense(page, "9", "first tab")
    expect(page.locator("#waiting h2")).to_have_text("1 waiting")
    type_expense(other, "10", "second tab")
    expect(other.locator("#waiting h2")).to_have_text("2 waiting")
    page.context.set_offline(False)
    for tab in (page, other):
        tab.evaluate("dispatchEvent(new Event('online'))")
    wait_for(lambda: len(site.find("first tab") + site.find("second tab")) >= 2)
    for tab in (page, other):
        tab.reload()
        expect(tab.locator("#waiting")).to_be_hidden()
    assert [site.find("first tab"), site.find("second tab")] == [[("9.00", "Coffee")], [("10.00", "Coffee")]]


def test_what_waits_can_be_changed_and_removed(page: Page, site: Site) -> None:
    """A changed entry replaces the one that waited, and a removed one, which asks first, never arrives."""
    asked: list[str] = []

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", agree)
    page.context.set_offline(True)
    type_expense(page, "11", "to be changed")
    expect(page.locator("#waiting li")).to_have_count(1)
    type_expense(page, "12", "to be removed")
    expect(page.locator("#waiting li")).to_have_count(2)
    page.locator("#waiting li", has_text="to be removed").get_by_role("button", name="Remove").click()
    expect(page.locator("#waiting li")).to_have_count(1)
    assert len(asked) == 1
    page.locator("#waiting li").get_by_role("button", name="Edit").click()
    expect(page.locator("#amount")).to_have_value("11")
    expect(page.locator("#waiting li")).to_contain_text("Set aside")
    page.context.set_offline(False)
    # Another tab sends all that may be sent.
    other = open_budget(page.context, site.url)
    type_expense(other, "13", "from another tab")
    expect(other.locator("#notice")).to_contain_text("Added")
    wait_for(lambda: site.find("from another tab"))
    assert site.find("to be changed") == []
    page.fill("#amount", "11.50")
    page.click("#add")
    expect(page.locator("#waiting")).to_be_hidden()
    wait_for(lambda: site.find("to be changed") == [("11.50", "Coffee")])
    assert site.find("to be removed") == []


# The first expense arrives at the server, and the answer never arrives here.
LOST_ANSWER = """
const ask = window.fetch;
let lost = false;
window.fetch = async (url, options) => {
  const answer = await ask(url, options);
  if (lost || options?.method !== "POST") return answer;
  lost = true;
  return new Promise(() => {});
};
"""


def test_a_change_that_comes_too_late_is_not_lost(page: Page, site: Site) -> None:
    """The server has the old amount already when the new one is sent under the same id: both are there to be seen."""
    page.add_init_script(LOST_ANSWER)
    page.reload()
    type_expense(page, "21", "too late")
    expect(page.locator("#waiting li")).to_have_count(1)
    wait_for(lambda: site.find("too late") == [("21.00", "Coffee")])
    page.locator("#waiting li").get_by_role("button", name="Edit").click()
    expect(page.locator("#amount")).to_have_value("21")
    page.fill("#amount", "22")
    page.click("#add")
    expect(page.locator("#waiting li")).to_contain_text("This id stands for another expense")
    expect(page.locator("#waiting li")).to_contain_text("22")
    assert site.find("too late") == [("21.00", "Coffee")]


def test_what_the_server_will_not_take_is_said_in_its_words(page: Page, site: Site) -> None:
    """Just typed, it is said beside the field and kept nowhere; one that has waited stays, with the sentence."""
    sentence = "Use only digits and a decimal point or comma"
    type_expense(page, "4 or 5", "unreadable")
    expect(page.locator("#amount-message")).to_contain_text(sentence)
    assert page.evaluate("document.activeElement.id") == "amount"
    page.reload()
    expect(page.locator("#waiting")).to_be_hidden()
    page.context.set_offline(True)
    type_expense(page, "4 or 5", "unreadable")
    expect(page.locator("#waiting li")).to_have_count(1)
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#waiting li")).to_contain_text(sentence)
    take_picture(page, "budget-unreadable-375")
    page.locator("#waiting li").get_by_role("button", name="Edit").click()
    expect(page.locator("#waiting li")).to_contain_text("Set aside")
    page.fill("#amount", "4")
    page.click("#add")
    expect(page.locator("#notice")).to_contain_text("Added €4.00")
    expect(page.locator("#waiting")).to_be_hidden()
    wait_for(lambda: site.find("unreadable") == [("4.00", "Coffee")])


def test_nothing_empty_is_kept(page: Page) -> None:
    """Without reception nobody else could say what is missing."""
    page.context.set_offline(True)
    page.click("#add")
    expect(page.locator("#amount-message")).to_have_text("Enter an amount, such as 4.50.")
    expect(page.locator("#category-message")).to_have_text("Choose a category.")
    page.fill("#amount", "four €")
    page.click("#add")
    expect(page.locator("#amount-message")).to_have_text("Enter an amount, such as 4.50.")
    page.reload()
    expect(page.locator("#amount")).to_be_visible()
    expect(page.locator("#waiting")).to_be_hidden()


def test_a_link_fills_in_the_form_with_and_without_reception(page: Page, site: Site) -> None:
    """A phone's shortcut opens the same form in either case, and every other page says that it needs reception."""
    link = f"{site.url}/?amount=4.50&category=travel&note=Tram&day=yesterday"
    page.goto(link)
    for offline in (False, True):
        page.context.set_offline(offline)
        page.reload()
        expect(page.locator("#amount")).to_have_value("4.50")
        assert page.locator("#categories input:checked").input_value() == "Travel"
        assert page.locator("#days input[type=radio]:checked").input_value() == "yesterday"
        assert page.input_value("#note") == "Tram"
    page.goto(f"{site.url}/overview")
    expect(page.locator("#notice")).to_contain_text("That page needs reception")
    take_picture(page, "budget-other-page-375")


def test_a_page_left_open_overnight_means_the_day_that_it_is(page: Page, site: Site) -> None:
    """The chip says “Today”, and today is when it is tapped."""
    tomorrow = datetime.now().astimezone() + timedelta(days=1)
    page.clock.set_fixed_time(tomorrow)
    type_expense(page, "13", "overnight")
    expect(page.locator("#notice")).to_contain_text("Added")
    wait_for(lambda: site.find("overnight"))
    assert [row["Date"] for row in site.rows() if row["Note"] == "overnight"] == [f"{tomorrow:%Y-%m-%d}"]


def test_a_browser_that_keeps_nothing_sends_the_form_itself(page: Page, site: Site) -> None:
    """As in some private windows: nothing is lost, and the page comes as it does without a script."""
    page.add_init_script("IDBFactory.prototype.open = () => { throw new DOMException('no', 'InvalidStateError'); };")
    page.reload()
    with page.expect_navigation(wait_until="load"):
        type_expense(page, "14", "private window")
    expect(page.locator("#notice")).to_contain_text("Added €14.00")
    wait_for(lambda: site.find("private window") == [("14.00", "Coffee")])


def test_a_device_keeps_the_form_and_no_entries(page: Page, site: Site) -> None:
    """All that the service worker has: the form with categories and notes, styles, scripts and the icon."""
    type_expense(page, "15", "secret present", "Leisure")
    expect(page.locator("#latest")).to_contain_text("secret present")
    page.reload()
    kept = page.evaluate(
        """async () => {
            const found = {};
            for (const name of await caches.keys()) {
                const cache = await caches.open(name);
                for (const request of await cache.keys()) {
                    found[new URL(request.url).pathname] = await (await cache.match(request)).text();
                }
            }
            return found;
        }"""
    )
    assert set(kept) >= {"/shell", "/static/budget.css", "/static/budget.js", "/static/outbox.js"}
    assert all(path == "/shell" or path.startswith("/static/") for path in kept)
    assert "15.00" not in kept["/shell"]


def test_a_lost_device_is_refused_and_keeps_what_waits(playwright: Playwright, site: Site, tmp_path: Path) -> None:
    """Its open page says that the key is refused and deletes nothing; its next page is the refusal, no shell."""
    with phone(playwright, site, make_identity(site, "Lost phone", tmp_path), tmp_path) as device:
        page = open_budget(device, site.url)
        device.set_offline(True)
        type_expense(page, "16", "of a lost phone")
        expect(page.locator("#waiting li")).to_have_count(1)
        site.run("revoke", "Lost phone")
        with site.program("Lost phone") as program:
            wait_for(lambda: program.get("/").status_code == HTTPStatus.FORBIDDEN)
        device.set_offline(False)
        page.evaluate("dispatchEvent(new Event('online'))")
        expect(page.locator("#alert")).to_contain_text("The server does not take this device's key")
        expect(page.locator("#alert")).to_contain_text("This certificate was withdrawn")
        expect(page.locator("#waiting li")).to_contain_text("of a lost phone")
        take_picture(page, "budget-refused-375")
        answer = page.goto(site.url)
        assert answer is not None
        assert answer.status == HTTPStatus.UNAUTHORIZED
        expect(page.get_by_role("heading")).to_have_text("This certificate was withdrawn")
        device.set_offline(True)
        # The form with its categories and notes is forgotten; what was not sent is not.
        with pytest.raises(Error, match="ERR_"):
            page.goto(site.url)
    assert site.find("of a lost phone") == []


def test_an_expired_key_opens_nothing(playwright: Playwright, site: Site, tmp_path: Path) -> None:
    """Chromium leaves it in the drawer, and the page says what is missing."""
    with phone(playwright, site, make_expired_identity(site, "Old phone", tmp_path), tmp_path) as device:
        page = device.new_page()
        answer = page.goto(site.url)
        assert answer is not None
        assert answer.status == HTTPStatus.UNAUTHORIZED
        expect(page.get_by_role("heading")).to_have_text("This door opens to known devices")
        assert page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
        take_picture(page, "budget-expired-375")
