"""login.steps: what comes back from a provider, and everything that only looks like it, on both skins."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from keyfob.errors import LoginFailed, LoginUnavailable
from keyfob.login.cookies import BROWSER, name_session
from keyfob.login.exchanges import Steps
from keyfob.login.journeys import LONGEST
from keyfob.policy import User
from logins import (
    HOST,
    ME,
    MINE,
    OTHER_HOST,
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

# --- What comes back --------------------------------------------------------------------------------------------------


def refuse(browser: Browser, state: str, provider: str = "stub", **said: str) -> str:
    """The reason for which a callback is refused, which opens no session."""
    before = dict(browser.jar)
    query = "&".join(f"{name}={encode(value)}" for name, value in {"state": state, "code": "abc", **said}.items())
    reply = browser.fetch(f"{browser.base}/.keyfob/callback/{provider}?{query}")
    assert (reply.cookies, reply.location, reply.seen, browser.jar) == ([], "", [], before)
    assert reply.json["request_id"]
    return reply.reason


def test_a_state_counts_in_the_browser_in_which_it_was_given_out(skin: Make, told: Told) -> None:
    """RFC 9700 section 4.7: a link would log others in as whoever made it, and they would write into that account."""
    stub = Stub()
    house = build(providers=[stub])
    door = skin(house)
    mine, victim, fresh = Browser(door), Browser(door), Browser(door)
    state = mine.begin()
    victim.begin()
    assert refuse(victim, state) == "login-lapsed"
    assert refuse(fresh, state) == "login-lapsed"
    twice = Browser(door, jar={"a": f"b; {BROWSER}={mine.jar[BROWSER]}", BROWSER: victim.jar[BROWSER]})
    assert refuse(twice, state) == "login-lapsed"
    assert stub.finished == 0
    assert {each["reason"] for each in told()} == {"login-lapsed"}
    assert mine.come_back(state).status == 303


def test_a_state_counts_at_the_host_at_which_it_was_given_out(skin: Make) -> None:
    """Another host of the same app is another place, also with all the cookies of this one, and another port is."""
    house = build(make_application(name="One"), (OTHER_HOST, "/*", make_application(name="Two")))
    door = skin(house)
    browser = Browser(door)
    state = browser.begin()
    for host in (OTHER_HOST, f"{HOST}:8443"):
        assert refuse(Browser(door, host=host, jar=dict(browser.jar)), state) == "login-lapsed"
    assert refuse(Browser(door, base="/app", jar=dict(browser.jar)), state) == "login-lapsed"
    assert browser.come_back(state).status == 303


def test_a_state_counts_for_the_provider_that_it_was_given_to(skin: Make) -> None:
    """RFC 9700 section 4.4: one that mixes itself in gets nothing of another one's."""
    stub, evil = Stub(), Stub("other")
    browser = open_browser(skin, providers=[stub, evil])
    state = find_state(browser.get("/.keyfob/login/stub?to=%2F"))
    assert refuse(browser, state, "other") == "login-lapsed"
    assert (stub.finished, evil.finished) == (0, 0)
    assert browser.come_back(state).status == 303


def test_a_state_counts_for_a_quarter_of_an_hour(skin: Make, clock: Clock) -> None:
    """From its beginning, with the cookie that goes with it."""
    browser = open_browser(skin)
    early, late = browser.begin(), browser.begin()
    clock.now += LONGEST
    assert browser.come_back(early).status == 303
    clock.now += 1
    assert refuse(browser, late) == "login-lapsed"


def test_a_state_that_was_changed_is_none(skin: Make) -> None:
    """Also half of one, none, or two."""
    browser = open_browser(skin)
    state = browser.begin()
    changed = state[:99] + ("A" if state[99] != "A" else "B") + state[100:]
    for wrong in ("", "x", state[:-1], state[1:], changed):
        assert refuse(browser, wrong) == "login-lapsed"
    target = f"/.keyfob/callback/stub?code=abc&state={state}"
    assert browser.fetch(f"{target}&state={state}").reason == "login-lapsed"
    assert browser.fetch("/.keyfob/callback/stub?code=abc").reason == "login-lapsed"
    assert browser.fetch("/.keyfob/callback/stub").reason == "login-lapsed"
    assert browser.fetch(target).status == 303


def test_a_callback_that_comes_twice_opens_one_session(skin: Make) -> None:
    """The second one, such as after a reload, leads to the page and nowhere else; the code was used up."""
    stub = Stub()
    house = build(providers=[stub])
    browser = Browser(skin(house))
    state = browser.begin("/books")
    assert len(browser.come_back(state).cookies) == 1
    for jar in (browser.jar, {BROWSER: browser.jar[BROWSER]}):
        again = Browser(browser.skin, jar=dict(jar)).come_back(state)
        assert (again.status, again.location, again.cookies) == (303, f"https://{HOST}/books", [])
    assert stub.finished == 1
    thief = Browser(browser.skin, jar={BROWSER: browser.jar[BROWSER]})
    assert thief.follow(thief.come_back(state)).seen == []


def test_tabs_that_log_in_at_once_do_not_disturb_each_other(skin: Make) -> None:
    """Each comes back to its own page, in whichever order."""
    browser = open_browser(skin)
    states = [browser.begin(f"/page/{number}") for number in range(3)]
    for number in (1, 2, 0):
        reply = browser.come_back(states[number])
        assert reply.location == f"https://{HOST}/page/{number}"
        assert browser.follow(reply).seen[0].identity.user == ME


def test_logins_that_nobody_ends_do_not_pile_up(skin: Make) -> None:
    """One small cookie, however many there are; all of them still count."""
    browser = open_browser(skin)
    states = [browser.begin(f"/page/{number}") for number in range(50)]
    assert list(browser.jar) == [BROWSER]
    assert len(browser.jar[BROWSER]) == 22
    assert len(set(states)) == 50
    assert browser.come_back(states[0]).location == f"https://{HOST}/page/0"


@pytest.mark.parametrize("planted", ["", "x", "a" * 23, "a" * 22 + "é", "-" * 21 + "=", "a" * 1000])
def test_a_mark_of_another_form_is_replaced(skin: Make, planted: str) -> None:
    """Ours are random, and nothing but that."""
    browser = open_browser(skin)
    browser.jar[BROWSER] = planted
    assert browser.come_back(browser.begin()).status == 303
    assert re.fullmatch("[A-Za-z0-9_-]{22}", browser.jar[BROWSER])


def test_a_callback_comes_as_its_provider_sends_it(skin: Make) -> None:
    """A form that another page has filled in is none."""
    stub = Stub()
    browser = open_browser(skin, providers=[stub])
    state = browser.begin()
    reply = browser.post("/.keyfob/callback/stub", {"state": state, "code": "abc"}, navigates=False)
    assert (reply.reason, stub.finished) == ("login-failed", 0)
    assert browser.fetch(f"/.keyfob/code/stub?state={state}").reason == "login-failed"
    assert browser.come_back(state).status == 303


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (ME._replace(subject=""), "login-failed"),
        (ME._replace(provider="other"), "login-failed"),
        (ME._replace(provider=""), "login-failed"),
        (ME._replace(email="x@example.com"), "no-matching-policy"),
        (ME._replace(email=""), "no-matching-policy"),
    ],
)
def test_a_provider_that_names_nobody_who_may_enter_opens_nothing(
    skin: Make, told: Told, user: Any, reason: str
) -> None:
    """Nobody without a subject, nobody of another provider's, and nobody whom the rules do not let in."""
    stub = Stub(user=user)
    # So that the stub does not put its own name there.
    stub.finish = _say(user)  # type: ignore[method-assign]
    browser = open_browser(skin, make_application(make_policy("allow", MINE)), providers=[stub])
    reply = browser.come_back(browser.begin("/books"))
    assert (reply.status, reply.cookies) == (401, [])
    assert find_link(reply) == "/.keyfob/login?to=%2Fbooks&again=1"
    [record] = told()
    assert (record["decision"], record["reason"], record["application"]) == ("refused", reason, "Budget")
    if reason == "no-matching-policy":
        assert (record["user"], record["provider"]) == (user.email or "stub:7", "stub")


def _say(user: User) -> Callable[..., Steps[User]]:
    def finish(*_: object) -> Steps[User]:
        yield from ()
        return user

    return finish


@pytest.mark.parametrize(
    ("trouble", "status", "reason", "link"),
    [
        (LoginFailed("access_denied", "x"), 403, "login-failed", "/.keyfob/login?to=%2Fbooks&again=1"),
        (LoginUnavailable("timeout"), 503, "login-unavailable", "/.keyfob/login?to=%2Fbooks"),
    ],
)
def test_a_provider_that_fails_is_a_page_and_a_record(
    skin: Make, told: Told, trouble: Any, status: int, reason: str, link: str
) -> None:
    """With a number that both have, and a way to try again; what it said is for the log alone."""
    stub = Stub()
    browser = open_browser(skin, providers=[stub])
    state = browser.begin("/books")
    stub.trouble = trouble
    for ask in (partial(browser.come_back, state), partial(browser.get, "/books")):
        reply = ask()
        assert (reply.status, reply.cookies) == (401 if status == 403 else status, [])
        assert find_link(reply) == link
        assert trouble.message.encode() not in reply.body
        [record] = told()
        assert (record["decision"], record["reason"], record["application"]) == ("refused", reason, "Budget")
        assert record["detail"].startswith(trouble.message)
        assert record["request_id"].encode() in reply.body
    stub.trouble = None
    assert browser.log_in("/books").seen


def test_a_database_that_is_away_opens_nothing(skin: Make, told: Told) -> None:
    """Nobody could tell whether the login had come back before."""
    stub = Stub()
    house = build(providers=[stub])
    browser = Browser(skin(house))
    state = browser.begin()
    house.store.trouble = LoginUnavailable("the inventory is gone")
    reply = browser.come_back(state)
    assert (reply.status, reply.cookies, stub.finished) == (503, [], 0)
    assert [each["reason"] for each in told()] == ["login-unavailable"]
    house.store.trouble = None
    assert browser.come_back(state).status == 303


def test_a_book_that_nobody_follows_begins_and_opens_nothing(skin: Make, told: Told) -> None:
    """Neither a login nor a session counts then, and a program gets no address that would not help."""
    house = build()
    browser = Browser(skin(house))
    state = browser.begin()
    browser.come_back(state)
    house.book.clock = lambda: 1e6
    assert browser.get("/").status == 503
    assert browser.fetch("/").json.get("login") is None
    browser.jar.clear()
    assert browser.get("/").status == 503
    assert {each["reason"] for each in told()[1:]} == {"login-unavailable"}


def test_a_login_does_not_outlive_the_rules_with_which_it_began(skin: Make) -> None:
    """Another application at that address, a provider that is gone, or one that is not allowed there any more."""
    first = build(providers=[Stub(), Stub("other")])
    browser = Browser(skin(first))
    state = find_state(browser.get("/.keyfob/login/stub?to=%2Fbooks"))
    for applications, providers in (
        ([make_application(name="Another")], [Stub(), Stub("other")]),
        ([make_application(providers=["other"])], [Stub(), Stub("other")]),
    ):
        later = build(*applications, providers=providers)
        assert refuse(Browser(skin(later), jar=dict(browser.jar)), state) == "login-lapsed"
    gone = Browser(skin(build(providers=[Stub("other")])), jar=dict(browser.jar))
    assert gone.fetch(f"/.keyfob/callback/stub?state={state}").reason == "login-required"


# --- Where it leads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "/.//evil.example", "/%0d%0ax", "/.keyfob/logout"],
)
@pytest.mark.parametrize("base", ["", "/app"])
def test_a_login_leads_to_the_app_alone(skin: Make, base: str, to: str) -> None:
    """Whatever somebody wrote into its address; the table of spellings is in test_returning."""
    browser = open_browser(skin)
    browser.base = base
    for where in (to, f"{base}{to}"):
        reply = browser.get(f"{base}/.keyfob/login?to={encode(where)}")
        assert browser.come_back(find_state(reply)).location == f"https://{HOST}{base}/"


@pytest.mark.parametrize("base", ["", "/app", "/caf%C3%A9"])
def test_a_login_leads_back_below_the_prefix_of_the_app(skin: Make, base: str) -> None:
    """With addresses of ours below it, too, and characters of every language."""
    browser = open_browser(skin)
    browser.base = base
    state = browser.begin(f"{base}/b%C3%BCcher/a%20b?q=%C3%A9")
    reply = browser.come_back(state)
    assert reply.location == f"https://{HOST}{base}/b%C3%BCcher/a%20b?q=%C3%A9"
    assert browser.follow(reply).seen[0].identity.user == ME
    problem = Browser(browser.skin, base=base).fetch(f"{base}/x").json
    assert problem["login"] == f"https://{HOST}{base}/.keyfob/login?to={encode(f'{base}/x')}"


def test_where_it_leads_is_judged_as_it_will_be_asked_for(skin: Make) -> None:
    """Decoded, as the app sees it: another application is there, and the session is for that one."""
    one, two = make_application(name="One"), make_application(name="Two")
    browser = Browser(skin(build((HOST, "/*", one), (HOST, "/bücher/*", two))))
    assert browser.come_back(browser.begin("/b%C3%BCcher/x")).cookies[0].startswith(f"{name_session(tag('Two'))}=")
    assert browser.get("/b%C3%BCcher/y").seen
    assert browser.get("/x").seen == []
