"""gate: a browser's question whether another page may ask here carries nobody's cookies, and is answered first."""

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from exchanges import make_scope
from keyfob.policy import Allow, Policy, Preflight, Preflights
from logins import (
    ASGI,
    CERTIFICATE,
    EVERYONE,
    HOST,
    MINE,
    PHONE,
    SKINS,
    WSGI,
    Browser,
    build,
    make_application,
    make_policy,
)

APP = "https://app.example.com"
QUESTION = [("origin", APP), ("access-control-request-method", "PUT")]
FIXED = Preflights(origins=frozenset({APP}), methods=("GET", "PUT"))
PEOPLE = make_policy("allow", MINE)


def open_browser(skin: Any, preflights: Preflights | None, *policies: Policy, **more: Any) -> Browser:
    return Browser(skin(build(make_application(*(policies or (PEOPLE,)), preflights=preflights)).gate), **more)


@pytest.fixture(params=SKINS, ids=lambda each: each.__name__)
def skin(request: pytest.FixtureRequest) -> type[ASGI | WSGI]:
    made: type[ASGI | WSGI] = request.param
    return made


@pytest.mark.parametrize("policies", [[PEOPLE], [make_policy("deny", EVERYONE)], [make_policy("bypass", EVERYONE)]])
@pytest.mark.parametrize("leaf", [None, PHONE])
def test_a_fixed_answer_is_given_to_whoever_asks(
    skin: Any, caplog: pytest.LogCaptureFixture, policies: Sequence[Policy], leaf: Any
) -> None:
    """The app is not called, nobody is let in, nothing is recorded, and no cookie is set."""
    caplog.set_level(logging.INFO, "keyfob.audit")
    browser = open_browser(skin, FIXED, *policies, leaf=leaf)
    for _ in range(2):
        reply = browser.send("OPTIONS", "/api", QUESTION, navigates=False)
        assert (reply.status, reply.body, reply.seen, reply.cookies) == (204, b"", [], [])
        assert reply["access-control-allow-origin"] == APP
        assert reply["access-control-allow-methods"] == "GET, PUT"
        assert reply["vary"].startswith("Origin")
    assert caplog.records == []


def test_another_origin_is_told_nothing(skin: Any) -> None:
    """Which a browser takes for a no."""
    question = [("origin", "https://evil.example"), QUESTION[1]]
    reply = open_browser(skin, FIXED).send("OPTIONS", "/api", question, navigates=False)
    assert (reply.status, reply.seen) == (204, [])
    assert [name for name, _ in reply.headers] == ["vary"]


def test_what_the_app_is_to_answer_reaches_it_as_nobodys(skin: Any) -> None:
    """Whoever it came from: no policy was asked, so nobody is known, and no secret comes along."""
    browser = open_browser(skin, Preflights(pass_on=True))
    browser.log_in()
    browser.leaf = PHONE
    browser.jar["a"] = "b"
    [seen] = browser.send("OPTIONS", "/api", QUESTION, navigates=False).seen
    assert (seen.identity.user, seen.identity.certificate, seen.identity.service_token) == (None, None, None)
    assert seen.cookies == [b"a=b"]
    assert (b"origin", APP.encode()) in seen.headers


@pytest.mark.parametrize("preflights", [FIXED, Preflights(pass_on=True)])
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", []),
        ("OPTIONS", QUESTION[:1]),
        ("OPTIONS", QUESTION[1:]),
        ("GET", QUESTION),
        ("POST", QUESTION),
        ("options", QUESTION),
        ("PROPFIND", QUESTION),
    ],
)
def test_what_is_no_preflight_is_a_request_like_any_other(
    skin: Any, method: str, headers: Sequence[tuple[str, str]], preflights: Preflights
) -> None:
    """Also an OPTIONS that lacks a half: an app may do anything with it."""
    browser = open_browser(skin, preflights)
    reply = browser.send(method, "/api", headers, navigates=False)
    assert (reply.status, reply.reason, reply.seen) == (401, "login-required", [])
    assert open_browser(skin, None).send("OPTIONS", "/api", QUESTION, navigates=False).status == 401


def test_each_application_has_its_own_preflights(skin: Any) -> None:
    """By the path that is asked about."""
    one, two = make_application(name="One", preflights=FIXED), make_application(name="Two")
    browser = Browser(skin(build((HOST, "/api/*", one), (HOST, "/*", two)).gate))
    assert browser.send("OPTIONS", "/api/x", QUESTION, navigates=False).status == 204
    assert browser.send("OPTIONS", "/x", QUESTION, navigates=False).status == 401
    assert browser.send("OPTIONS", "/api/../x", QUESTION, navigates=False).seen == []


def test_a_preflight_to_an_address_of_the_logins_is_not_the_apps(skin: Any) -> None:
    """No other page may ask there."""
    for preflights in (FIXED, Preflights(pass_on=True)):
        reply = open_browser(skin, preflights).send("OPTIONS", "/.keyfob/identity", QUESTION, navigates=False)
        assert (reply.status, reply.seen, reply["access-control-allow-origin"]) == (405, [], "")


def test_an_answer_says_nothing_of_who_is_let_in_later(skin: Any) -> None:
    """A device whose verdict is remembered gets the same answer, and its next request the same verdict."""
    devices = make_policy("non_identity", CERTIFICATE)
    browser = open_browser(skin, FIXED, devices, leaf=PHONE)
    for _ in range(2):
        assert browser.fetch("/").seen
        assert browser.send("OPTIONS", "/", QUESTION, navigates=False).status == 204
    browser.leaf = None
    assert browser.fetch("/").status == 401


def test_an_open_websocket_is_never_asked_such_a_thing() -> None:
    """Its handshake is a GET, whatever headers come with it."""
    house = build(make_application(PEOPLE, preflights=FIXED))
    headers = [(name.encode(), value.encode()) for name, value in QUESTION]
    scope = make_scope(kind="websocket", headers=headers) | {"method": "OPTIONS"}
    decision = house.gate.check(house.gate.source.receive(scope, 1.8e9))
    assert not isinstance(decision, Preflight | Allow)


def test_the_record_of_a_refused_preflight_is_like_any_other(skin: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing is configured."""
    open_browser(skin, None).send("OPTIONS", "/api", QUESTION, navigates=False)
    [record] = [json.loads(each.getMessage()) for each in caplog.records if each.name == "keyfob.audit"]
    assert (record["method"], record["reason"]) == ("OPTIONS", "login-required")
