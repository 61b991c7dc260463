"""login.steps: what a session is good for, who is told whose it is, and how it ends, on both skins."""

from time import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from keyfob.errors import LoginUnavailable
from keyfob.login.cookies import BROWSER, name_session
from logins import (
    EVERYONE,
    HOST,
    LAPTOP,
    ME,
    MINE,
    OTHER_HOST,
    PHONE,
    PHONE_ONLY,
    Browser,
    Clock,
    Make,
    Stub,
    Told,
    build,
    find_link,
    make_application,
    make_book,
    make_policy,
    make_token,
    open_browser,
    tag,
    write_pair,
)

BOTH = make_application(make_policy("allow", MINE, require=[PHONE_ONLY]))


# --- Sessions in use --------------------------------------------------------------------------------------------------


def test_applications_on_one_host_have_sessions_of_their_own(skin: Make) -> None:
    """Whoever is somebody in one is nobody in the other, and both can be had at once."""
    stub = Stub()
    one, two = make_application(name="One"), make_application(name="Two")
    browser = Browser(skin(build((HOST, "/one/*", one), (HOST, "/two/*", two), providers=[stub])))
    browser.log_in("/one/x")
    assert browser.get("/two/x").seen == []
    stub.user = ME._replace(email="other@example.com", subject="8")
    browser.log_in("/two/x")
    for _ in range(2):
        for path, email in (("/one/x", ME.email), ("/two/x", "other@example.com")):
            user = browser.get(path).seen[0].identity.user
            assert user is not None
            assert user.email == email
    one_name, two_name = name_session(tag("One")), name_session(tag("Two"))
    browser.jar[one_name], browser.jar[two_name] = browser.jar[two_name], browser.jar[one_name]
    assert browser.get("/one/x").seen == browser.get("/two/x").seen == []


def test_hosts_have_sessions_of_their_own(skin: Make) -> None:
    """Also where all the cookies of one are brought to the other."""
    here, there = make_application(name="Here"), make_application(name="There")
    door = skin(build(here, (OTHER_HOST, "/*", there)))
    browser = Browser(door)
    browser.log_in()
    assert Browser(door, host=OTHER_HOST, jar=dict(browser.jar)).get("/").seen == []


def test_identities_do_not_mix_between_requests(skin: Make) -> None:
    """People, devices, services and nobody, in turn, over and over."""
    policies = [
        make_policy("non_identity", PHONE_ONLY, {"any_valid_service_token": {}}),
        make_policy("allow", EVERYONE),
    ]
    stub = Stub()
    house = build(make_application(*policies), providers=[stub], book=make_book(tokens=[make_token()]))
    door = skin(house)
    me, boss, device, nobody = Browser(door), Browser(door), Browser(door, PHONE), Browser(door)
    me.log_in()
    stub.user = ME._replace(email="boss@example.com", subject="1")
    boss.log_in()
    both = Browser(door, PHONE, jar=dict(boss.jar))
    everybody = ((me, "me@", False), (boss, "boss@", False), (device, "", True), (both, "boss@", True))
    for _ in range(3):
        for browser, email, has_device in everybody:
            identity = browser.get("/").seen[0].identity
            assert (identity.user.email if identity.user else "").startswith(email)
            assert (identity.user is not None) is bool(email)
            assert (identity.certificate is not None) is has_device
            assert identity.service_token is None
        assert nobody.get("/").seen == []
        identity = nobody.fetch("/", write_pair()).seen[0].identity
        assert (identity.user, identity.certificate) == (None, None)
        assert identity.service_token is not None


ALTERNATIVE = make_application(
    make_policy("non_identity", PHONE_ONLY, name="phone"), make_policy("allow", MINE, name="me")
)


def test_a_stolen_session_is_worth_nothing_on_another_device(skin: Make, told: Told) -> None:
    """A page leads to a login, a program gets 401; each time the log says whose it was, once."""
    house = build(make_application(make_policy("allow", MINE)))
    door = skin(house)
    browser = Browser(door, PHONE)
    browser.log_in()
    told()
    for leaf in (None, LAPTOP):
        thief = Browser(door, leaf, jar=dict(browser.jar))
        page = thief.get("/books")
        assert (page.status, page.seen) == (303, [])
        assert page.location.startswith("https://stub.example/")
        program = thief.fetch("/books")
        assert (program.status, program.reason, program.seen) == (401, "session-of-another-device", [])
        assert program.json["login"]
        form = thief.post("/books", {"a": "b"})
        assert (form.status, form.seen) == (401, [])
        records = told()
        assert [each["reason"] for each in records] == ["session-of-another-device"] * 3
        assert all(ME.email in each["detail"] for each in records)
    assert browser.get("/books").seen


def test_a_stolen_session_is_told_also_where_the_certificate_is_missing(skin: Make, told: Told) -> None:
    """Where rules ask for both, nobody is sent to a login, and the log knows more than that one was missing."""
    door = skin(build(BOTH))
    browser = Browser(door, PHONE)
    browser.log_in()
    told()
    thief = Browser(door, jar=dict(browser.jar))
    assert thief.get("/").status == 401
    assert (thief.fetch("/").status, thief.fetch("/").reason) == (401, "session-of-another-device")
    assert [each["reason"] for each in told()] == ["session-of-another-device"] * 3


def test_a_session_without_a_certificate_may_be_used_with_one(skin: Make) -> None:
    """It was bound to none."""
    door = skin(build(make_application(make_policy("allow", MINE))))
    browser = Browser(door)
    browser.log_in()
    [seen] = Browser(door, LAPTOP, jar=dict(browser.jar)).get("/").seen
    assert seen.identity.user == ME
    assert seen.identity.certificate is not None


def test_the_other_rules_are_asked_with_every_request(skin: Make) -> None:
    """A session lets nobody in from where the rules let nobody in; a login would not help then."""
    policy = make_policy("allow", MINE, require=[{"method": {"method": "GET"}}])
    browser = open_browser(skin, make_application(policy))
    browser.log_in()
    assert browser.get("/").seen
    reply = browser.post("/", navigates=False)
    assert (reply.status, reply.reason, reply.seen) == (403, "no-matching-policy", [])


def test_other_cookies_reach_the_app_byte_for_byte(skin: Make) -> None:
    """Whatever stands before, between and behind ours."""
    browser = open_browser(skin, make_application(make_policy("bypass", EVERYONE), make_policy("allow", EVERYONE)))
    browser.get("/.keyfob/login?to=%2F")
    ours = f"{BROWSER}={browser.jar.pop(BROWSER)}"
    for field, left in (
        (f"{ours}", None),
        (f"{ours}; a=1", "a=1"),
        (f"a=1; {ours}", "a=1"),
        (f"a=1; {ours}; b=2", "a=1; b=2"),
        (f"a=1;{ours};b=2", "a=1;b=2"),
        (f'a="x y";  {ours};c=\xe9\xff=; {ours}', 'a="x y";c=\xe9\xff='),
        (f"a={BROWSER}", f"a={BROWSER}"),
        (f"a={ours}; b=2;", f"a={ours}; b=2;"),
        (f"x{ours}", f"x{ours}"),
        (f"a=1; {ours.upper()}", "a=1"),
        ("  a=1;; ", "  a=1;; "),
    ):
        [seen] = browser.get("/", [("cookie", field)]).seen
        assert seen.cookies == ([] if left is None else [left.encode("latin-1")]), field


# --- Who is there -----------------------------------------------------------------------------------------------------


def test_an_app_may_ask_who_is_there(skin: Make) -> None:
    """The person with what rules ask about, and the device."""
    group = {"okta": {"name": "finance", "identity_provider_id": "stub"}}
    stub = Stub(user=ME._replace(groups=frozenset({"finance", "secret"}), methods=frozenset({"mfa"})))
    browser = open_browser(skin, make_application(make_policy("allow", group)), leaf=PHONE, providers=[stub])
    browser.log_in()
    said = browser.fetch("/.keyfob/identity").json
    assert said["application"] == "Budget"
    assert said["user"] == {
        "email": "me@example.com",
        "name": "Me",
        "provider": "stub",
        "subject": "7",
        "methods": ["mfa"],
        "groups": ["finance"],
        "organizations": {},
        "claims": {},
    }
    assert said["certificate"]["common_name"] == "Rhea Group"
    assert said["expires_at"] - said["begun_at"] == pytest.approx(86_400, abs=2)
    assert said["service_token"] is None


def test_who_is_there_is_told_of_the_application_that_is_asked_about(skin: Make) -> None:
    """Of the first page's, if none is."""
    one, two = make_application(name="One"), make_application(name="Two")
    browser = Browser(skin(build((HOST, "/*", one), (HOST, "/two/*", two))))
    browser.log_in("/two/x")
    assert browser.fetch("/.keyfob/identity").status == 401
    assert browser.fetch("/.keyfob/identity?to=%2Ftwo%2Fy").json["application"] == "Two"
    assert browser.fetch("/.keyfob/identity?to=%2F%2Fevil.example").status == 401


def test_nobody_is_told_so(skin: Make) -> None:
    """With an address to become somebody; a device is somebody without a login."""
    browser = open_browser(skin, ALTERNATIVE)
    reply = browser.fetch("/.keyfob/identity")
    assert (reply.status, reply.reason) == (401, "login-required")
    browser.leaf = LAPTOP
    assert browser.fetch("/.keyfob/identity").json["user"] is None
    browser.leaf = None
    browser.jar[name_session(tag("Budget"))] = "a.b.c"
    assert browser.fetch("/.keyfob/identity").reason == "login-failed"


def test_the_published_keys_verify_a_session(skin: Make) -> None:
    """And sign none: nothing private is among them. Nobody has to log in to get them."""
    browser = open_browser(skin)
    reply = browser.fetch("/.keyfob/keys")
    assert reply["content-type"] == "application/jwk-set+json"
    [key] = reply.json["keys"]
    assert "d" not in key
    browser.log_in()
    token = browser.jar[name_session(tag("Budget"))]
    assert jwt.decode(token, ECKey.import_key(key), algorithms=["ES256"]).claims["email"] == ME.email


# --- Leaving ----------------------------------------------------------------------------------------------------------


def test_logging_out_is_asked_and_then_done(skin: Make) -> None:
    """A copy of the cookie is worth nothing then; the person's other sessions go on."""
    door = skin(build())
    browser, other = Browser(door), Browser(door)
    browser.log_in()
    other.log_in()
    copy = dict(browser.jar)
    page = browser.get("/.keyfob/logout?to=%2Fbooks")
    assert (page.status, browser.jar) == (200, copy)
    assert b"You are logged in as <strong>Me</strong>" in page.body
    assert browser.get("/").seen
    left = browser.post("/.keyfob/logout?to=%2Fbooks", {"where": "here", "to": "/books"})
    assert find_link(left) == "/.keyfob/login?to=%2Fbooks&again=1"
    assert list(browser.jar) == [BROWSER]
    for jar in (browser.jar, copy):
        assert Browser(door, jar=dict(jar)).get("/").seen == []
    assert other.get("/").seen


def test_logging_out_everywhere_ends_all_sessions_of_the_person(skin: Make, clock: Clock) -> None:
    """At every application, and nobody else's; whoever logs in again is let in."""
    stub = Stub()
    one, two = make_application(name="One"), make_application(name="Two")
    door = skin(build((HOST, "/one/*", one), (HOST, "/two/*", two), providers=[stub]))
    here, there, boss = Browser(door), Browser(door), Browser(door)
    here.log_in("/one/")
    there.log_in("/two/")
    stub.user = ME._replace(subject="8")
    boss.log_in("/two/")
    clock.now += 1
    here.post("/.keyfob/logout", {"where": "everywhere", "to": "/one/"})
    assert here.get("/one/").seen == there.get("/two/").seen == []
    assert boss.get("/two/").seen
    clock.now += 1
    stub.user = ME
    assert there.log_in("/two/").seen


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_other_page_can_log_somebody_out(skin: Make, site: str) -> None:
    """Not one that sends the cookies along, and not one that comes without: nothing is taken away."""
    browser = open_browser(skin)
    browser.log_in()
    before = dict(browser.jar)
    reply = browser.post("/.keyfob/logout", {"where": "everywhere"}, [("sec-fetch-site", site)])
    assert (reply.status, reply.cookies) == (401, [])
    lax = Browser(browser.skin).post("/.keyfob/logout", {"where": "everywhere"})
    assert (lax.status, lax.cookies) == (200, [])
    assert browser.jar == before
    assert browser.get("/").seen


def test_nobody_is_told_to_be_logged_out_who_is_not(skin: Make) -> None:
    """Where the database is away the session goes on, and so does the cookie."""
    house = build()
    browser = Browser(skin(house))
    browser.log_in()
    house.store.trouble = LoginUnavailable("the inventory is gone")
    reply = browser.post("/.keyfob/logout", {"where": "here"})
    assert (reply.status, reply.cookies) == (503, [])
    house.store.trouble = None
    house.book.clock = lambda: 1e6
    for reply in (browser.get("/.keyfob/logout"), browser.post("/.keyfob/logout", {"where": "here"})):
        assert (reply.status, reply.cookies) == (503, [])


def test_whoever_has_no_session_is_logged_out_already(skin: Make) -> None:
    """A cookie that counts no more is taken away."""
    house = build()
    browser = Browser(skin(house))
    assert find_link(browser.get("/.keyfob/logout")) == "/.keyfob/login?to=%2F&again=1"
    browser.log_in()
    house.store.end_everybody(time() + 1)
    assert b"You are logged out" in browser.get("/.keyfob/logout").body
    browser.post("/.keyfob/logout")
    assert list(browser.jar) == [BROWSER]


# --- Records ----------------------------------------------------------------------------------------------------------


def test_a_login_is_recorded_once_as_an_admission(skin: Make, told: Told) -> None:
    """With who it is, where it led and by which policy; the requests after it are the same session."""
    browser = open_browser(skin, ALTERNATIVE, leaf=LAPTOP)
    state = browser.begin("/books?a=b")
    assert told() == []
    reply = browser.come_back(state)
    [record] = told()
    browser.follow(reply)
    browser.get("/else")
    assert told() == []
    assert (record["decision"], record["reason"], record["policy"]) == ("admitted", None, "me")
    assert (record["user"], record["provider"], record["path"]) == (ME.email, "stub", "/books")
    assert (record["application"], record["common_name"]) == ("Budget", "Second device")


def test_a_session_that_lasts_is_recorded_again_after_a_while(skin: Make, told: Told, clock: Clock) -> None:
    """As a device is."""
    browser = open_browser(skin)
    browser.log_in()
    told()
    clock.now += 901
    browser.get("/")
    browser.get("/")
    assert [(each["decision"], each["user"]) for each in told()] == [("admitted", ME.email)]


def test_of_a_choice_or_a_page_of_ours_nothing_is_recorded(skin: Make, told: Told) -> None:
    """Nobody was let in, and nobody refused."""
    browser = open_browser(skin, providers=[Stub(), Stub("other")])
    for target in ("/", "/.keyfob/login", "/.keyfob/login/stub", "/.keyfob/logout", "/.keyfob/keys"):
        browser.get(target)
    assert told() == []
