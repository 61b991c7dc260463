"""login.steps: a whole login, for those who look and those who do not, on both skins."""

import re
from collections.abc import Sequence
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from certificates import Pair
from keyfob.login.cookies import BROWSER, name_session
from keyfob.login.providers import Provider
from logins import (
    EVERYONE,
    HOST,
    LAPTOP,
    ME,
    MINE,
    NAVIGATION,
    PHONE,
    PHONE_ONLY,
    Browser,
    Clock,
    Make,
    Stub,
    Told,
    build,
    encode,
    find_link,
    find_state,
    make_application,
    make_policy,
    open_browser,
    tag,
)

# --- A login ----------------------------------------------------------------------------------------------------------


def test_whoever_logs_in_gets_to_the_page_that_was_asked_for(skin: Make) -> None:
    """With its query, and the app meets the person and none of our cookies."""
    browser = open_browser(skin)
    reply = browser.log_in("/books?year=2026&q=a%20b")
    [seen] = reply.seen
    assert seen.identity.user == ME
    assert seen.whole.get("query_string", seen.whole.get("QUERY_STRING")) in (b"year=2026&q=a%20b", "year=2026&q=a%20b")
    assert browser.get("/else").seen[0].identity.user == ME
    assert b"__host-keyfob" not in b"".join(seen.cookies).lower()
    assert not any(value and value in seen.everything for value in browser.jar.values())


def test_nobody_reaches_the_app_on_the_way(skin: Make) -> None:
    """Neither before the login, nor with the state that was to come back."""
    browser = open_browser(skin)
    reply = browser.get("/")
    state = find_state(reply)
    assert reply.seen == []
    assert browser.come_back(state).seen == []
    assert reply["cache-control"] == "no-store"
    assert reply.location.startswith("https://stub.example/authorize?")


def test_the_cookies_of_a_login_are_of_this_host_alone(skin: Make) -> None:
    """And live as long as they have to."""
    browser = open_browser(skin, session=7200.0)
    reply = browser.get("/")
    [mark] = reply.cookies
    assert mark.partition("=")[0] == BROWSER
    assert mark.endswith("; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax")
    [cookie] = browser.come_back(find_state(reply)).cookies
    assert cookie.partition("=")[0] == name_session(tag("Budget"))
    assert cookie.endswith("; Path=/; Max-Age=7200; HttpOnly; Secure; SameSite=Lax")


@pytest.mark.parametrize(
    ("policy", "application", "everywhere", "expected"),
    [(60.0, 600.0, 6000.0, 60), (None, 600.0, 6000.0, 600), (None, None, 6000.0, 6000), (9000.0, 600.0, 60.0, 9000)],
)
def test_a_session_is_as_long_as_the_nearest_setting_says(
    skin: Make, clock: Clock, policy: float | None, application: float | None, everywhere: float, expected: int
) -> None:
    """That of the policy that let somebody in, of the application, or of all; and it is over then."""
    policies = [make_policy("allow", {"email": {"email": "x@example.com"}}, name="a", session=5.0)]
    policies.append(make_policy("allow", EVERYONE, name="b", session=policy))
    browser = open_browser(skin, make_application(*policies, session=application), session=everywhere)
    [cookie] = browser.come_back(browser.begin()).cookies
    assert f"Max-Age={expected};" in cookie
    clock.now += expected - 1
    assert browser.get("/").seen
    clock.now += 2
    assert browser.get("/").status == 303


def test_one_provider_is_gone_to_at_once_and_several_are_offered(skin: Make) -> None:
    """With the page that was asked for in each address, and names as people wrote them.

    The page to choose from has an address of its own: a service worker would take it for one of the app's.
    """
    browser = open_browser(skin, providers=[Stub("google"), Stub("other", "<b>Other & Co</b>")])
    sent = browser.get("/books?a=b")
    assert (sent.status, sent.location) == (303, f"https://{HOST}/.keyfob/login?to=%2Fbooks%3Fa%3Db")
    reply = browser.get(sent.location.removeprefix(f"https://{HOST}"))
    assert (reply.status, reply["content-type"], reply.cookies) == (200, "text/html; charset=utf-8", [])
    assert b"&lt;b&gt;Other &amp; Co&lt;/b&gt;" in reply.body
    assert b"<b>" not in reply.body
    addresses = [unescape(each.decode()) for each in re.findall(rb'href="([^"]*)"', reply.body)]
    for address, name in zip(addresses, ("google", "other"), strict=True):
        assert address == f"https://{HOST}/.keyfob/login/{name}?to=%2Fbooks%3Fa%3Db"
        back = browser.get(address.removeprefix(f"https://{HOST}"))
        assert back.location.startswith(f"https://{name}.example/")
        assert browser.come_back(find_state(back), name).location == f"https://{HOST}/books?a=b"


def test_an_application_offers_the_providers_that_it_allows(skin: Make) -> None:
    """The others lead nowhere, though they are there for another application."""
    one = make_application(name="One", providers=["google"])
    two = make_application(name="Two", providers=["google", "other"])
    house = build((HOST, "/one/*", one), (HOST, "/two/*", two), providers=[Stub("google"), Stub("other"), Stub("more")])
    browser = Browser(skin(house))
    assert browser.get("/one/x").location.startswith("https://google.example/")
    assert browser.get("/.keyfob/login?to=/two/x").body.count(b'class="button"') == 2
    for provider, path, expected in (
        ("google", "/one/x", 303),
        ("other", "/one/x", 401),
        ("other", "/two/x", 303),
        ("more", "/two/x", 401),
        ("google", "/three", 401),
        ("google", "/", 401),
    ):
        reply = browser.get(f"/.keyfob/login/{provider}?to={encode(path)}")
        assert (reply.status, bool(reply.location)) == (expected, expected == 303), (provider, path)


def test_where_nobody_can_log_in_nobody_is_sent_anywhere(skin: Make) -> None:
    """Such as with service tokens alone."""
    browser = open_browser(skin, providers=[])
    for target in ("/", "/.keyfob/login"):
        reply = browser.get(target)
        assert (reply.status, reply.location, reply.cookies) == (401, "", [])


def test_somebody_may_ask_for_another_account(skin: Make) -> None:
    """The provider is told so, or it would send the same person back at once."""
    browser = open_browser(skin)
    reply = browser.get("/.keyfob/login?to=%2Fbooks&again=1")
    assert parse_qs(urlsplit(reply.location).query)["again"] == ["1"]
    assert "again" not in parse_qs(urlsplit(browser.get("/.keyfob/login?to=%2F").location).query)


# --- Manners ----------------------------------------------------------------------------------------------------------

HTML = ("accept", "text/html,*/*;q=0.8")
JSON, ANY = ("accept", "application/json"), ("accept", "*/*")
SCRIPT = [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", NAVIGATION, "redirect"),
        ("GET", [HTML], "redirect"),
        ("HEAD", [HTML], "redirect"),
        ("GET", [ANY], "problem"),
        ("GET", [], "problem"),
        ("GET", [JSON], "problem"),
        ("GET", [ANY, *SCRIPT], "problem"),
        ("GET", [HTML, *SCRIPT], "page"),
        ("GET", [*NAVIGATION, ("x-requested-with", "XMLHttpRequest")], "page"),
        ("GET", [JSON, ("x-requested-with", "XMLHttpRequest")], "problem"),
        ("POST", NAVIGATION, "page"),
        ("POST", [JSON], "problem"),
        ("PUT", [ANY], "problem"),
        ("DELETE", [], "problem"),
        ("OPTIONS", [], "problem"),
    ],
    ids=str,
)
def test_only_somebody_who_looks_is_sent_to_a_login(
    skin: Make, told: Told, method: str, headers: Sequence[tuple[str, str]], expected: str
) -> None:
    """A program gets 401 and the address; a form is told that it was not taken. Redirects leave no record."""
    reply = open_browser(skin).send(method, "/books?a=b", headers, navigates=False)
    assert reply.seen == []
    records = [(each["decision"], each["reason"], each["path"]) for each in told()]
    if expected == "redirect":
        assert reply.status == 303
        assert records == []
        return
    assert (reply.status, reply.cookies, reply.location) == (401, [], "")
    assert reply["www-authenticate"]
    assert records == [("refused", "login-required", "/books")]
    back = "%2Fbooks%3Fa%3Db" if method == "GET" else "%2F"
    if expected == "problem":
        assert reply["content-type"] == "application/problem+json"
        assert reply.json["type"] == "urn:keyfob:login-required"
        assert reply.json["login"] == f"https://{HOST}/.keyfob/login?to={back}"
        assert reply.json["request_id"]
    else:
        assert reply["content-type"].startswith("text/html")
        assert find_link(reply) == f"/.keyfob/login?to={back}"
        assert b"it was not taken: log in in another tab" in reply.body


def test_the_body_of_an_answer_to_head_is_left_out(skin: Make) -> None:
    """As HTTP wants it, whatever the answer is."""
    browser = open_browser(skin, providers=[Stub("google"), Stub("other")])
    for target in ("/", "/.keyfob/login", "/.keyfob/keys", "/.keyfob/identity"):
        assert browser.send("HEAD", target).body == b""


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "login", "GET, HEAD"),
        ("POST", "login/stub", "GET, HEAD"),
        ("PUT", "identity", "GET, HEAD"),
        ("OPTIONS", "keys", "GET, HEAD"),
        ("DELETE", "logout", "GET, HEAD, POST"),
        ("HEAD", "callback/stub", "GET, POST"),
        ("PUT", "callback/stub", "GET, POST"),
        ("DELETE", "code/stub", "GET, HEAD, POST"),
    ],
)
def test_the_logins_own_addresses_have_their_methods(skin: Make, method: str, target: str, allowed: str) -> None:
    """And no others: the app is not asked instead."""
    reply = open_browser(skin).send(method, f"/.keyfob/{target}")
    assert (reply.status, reply["allow"], reply.seen) == (405, allowed, [])


# --- A certificate comes first ----------------------------------------------------------------------------------------

BOTH = make_application(make_policy("allow", MINE, require=[PHONE_ONLY]))


@pytest.mark.parametrize("providers", [[Stub()], [Stub(), Stub("other")]], ids=["one", "two"])
@pytest.mark.parametrize("target", ["/", "/.keyfob/login", "/.keyfob/login?to=%2Fx", "/.keyfob/login/stub?again=1"])
@pytest.mark.parametrize("leaf", [None, LAPTOP], ids=["none", "another"])
def test_where_a_certificate_is_missing_nobody_is_sent_to_a_login(
    skin: Make, told: Told, target: str, leaf: Pair | None, providers: Sequence[Provider]
) -> None:
    """Whatever a provider would say; nor is anybody asked to choose one."""
    browser = open_browser(skin, BOTH, leaf=leaf, providers=providers)
    for reply in (browser.get(target), browser.fetch(target)):
        assert (reply.location, reply.cookies) == ("", [])
        assert reply.status in (401, 403)
        assert b"stub.example" not in reply.body
        assert b"/.keyfob/login" not in reply.body
    reason = "certificate-missing" if leaf is None else "no-matching-policy"
    assert [each["reason"] for each in told()] == [reason] * 2
    assert browser.fetch(target).reason == reason


def test_with_the_certificate_the_login_begins_and_comes_back(skin: Make) -> None:
    """And the app meets the person on the device."""
    [seen] = open_browser(skin, BOTH, leaf=PHONE).log_in("/x").seen
    assert seen.identity.user == ME
    assert seen.identity.certificate is not None


def test_a_login_that_comes_back_without_the_certificate_ends_there(skin: Make) -> None:
    """The provider is not even asked who it is."""
    stub = Stub()
    browser = open_browser(skin, BOTH, leaf=PHONE, providers=[stub])
    state = browser.begin()
    browser.leaf = None
    reply = browser.come_back(state)
    assert (reply.status, reply.cookies, stub.finished) == (401, [], 0)
