"""wsgi: people and services as an app meets them, what it never sees of them, and how a login is carried."""

import io
import threading
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import Pair
from keyfob.door import LARGEST_FORM
from keyfob.errors import LoginUnavailable
from keyfob.login.carrying import Carrier
from keyfob.policy import Policy
from keyfob.request import TOKEN_HEADERS
from keyfob.sources.formats import FORMATS
from keyfob.sources.headers import HeaderSource
from keyfob.sources.peers import Peers
from logins import (
    CERTIFICATE,
    EVERYONE,
    HOST,
    ME,
    PHONE,
    WSGI,
    Browser,
    House,
    Reply,
    build,
    make_application,
    make_book,
    make_policy,
    make_token,
    write_pair,
    write_session,
)

DEVICES = make_policy("non_identity", {"any_valid_service_token": {}}, CERTIFICATE, name="devices")
PEOPLE = make_policy("allow", EVERYONE, name="people")


def build_house(*policies: Policy, **more: Any) -> House:
    return build(make_application(*(policies or (DEVICES, PEOPLE))), book=make_book(tokens=[make_token()]), **more)


Headers = list[tuple[str, str]]


def show(house: House, who: str) -> Headers:
    """The headers of somebody with a session, or of a service."""
    return [("cookie", write_session(house))] if who == "person" else write_pair()


def ask(
    house: House,
    headers: Headers,
    environ: Mapping[str, Any] = {},
    *,
    method: str = "GET",
    target: str = "/",
    leaf: Pair | None = None,
) -> Reply:
    return WSGI(house.gate).send(method, target, [("host", HOST), *headers], b"", leaf, **environ)


# --- What is nobody's but ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["person", "service"])
@pytest.mark.parametrize("leaf", [PHONE, None])
def test_behind_a_proxy_neither_its_headers_nor_ours_reach_the_app(who: str, leaf: Pair | None) -> None:
    """Under no key of the environ, the first time and later."""
    house = build_house(source=HeaderSource(FORMATS["rfc9440"], Peers([ip_network("127.0.0.1")])))
    headers = [("x", "y"), *show(house, who), ("cookie", "a=1")]
    if leaf is not None:
        headers.append(("client-cert", f":{b64encode(leaf.certificate.public_bytes(Encoding.DER)).decode()}:"))
    for _ in range(3):
        reply = ask(house, headers)
        [seen] = reply.seen
        assert {key: value for key, value in seen.whole.items() if key.startswith("HTTP_")} == {
            "HTTP_HOST": HOST,
            "HTTP_X": "y",
            "HTTP_COOKIE": "a=1",
        }
        assert "s3cret" not in seen.everything
        assert "eyJ" not in seen.everything


def test_a_cookie_field_with_nothing_but_ours_is_none() -> None:
    """As if it had not come: some apps take an empty one for a mistake."""
    house = build_house()
    [seen] = ask(house, show(house, "person")).seen
    assert "HTTP_COOKIE" not in seen.whole
    assert seen.identity.user == ME


@pytest.mark.parametrize("sign", [",", ", "])
def test_fields_that_a_server_joined_with_a_comma_hide_ours_all_the_same(sign: str) -> None:
    """Whose a session in there would be nobody can tell: a cookie of another one's may hold a comma."""
    house = build_house(make_policy("bypass", EVERYONE))
    [seen] = ask(house, [("cookie", f"a=1{sign}{write_session(house)}{sign}b=2")]).seen
    assert seen.identity.user is None
    assert seen.whole["HTTP_COOKIE"] == f"a=1{sign}b=2"


def test_every_header_of_a_token_is_taken_out_whatever_it_is_worth() -> None:
    """As an environ spells it."""
    house = build_house()
    for prefix in ("Keyfob", "CF-Access"):
        [seen] = ask(house, write_pair(prefix=prefix)).seen
        left = {key[5:].replace("_", "-").lower().encode() for key in seen.whole if key.startswith("HTTP_")}
        assert not left & TOKEN_HEADERS


def test_what_a_server_left_there_is_no_identity() -> None:
    """Nor what a middleware wrote that stands around ours."""
    house = build_house()
    reply = ask(house, [], {"keyfob.identity": "me", "REMOTE_USER": "me@example.com"})
    assert (reply.status, reply.seen) == (401, [])
    [seen] = ask(house, show(house, "person"), {"keyfob.identity": "boss"}).seen
    assert seen.identity.user == ME


# --- Forms of ours ----------------------------------------------------------------------------------------------------

FORM = b"to=%2Fx"


@pytest.mark.parametrize(
    ("body", "length", "expected"),
    [
        (FORM, str(len(FORM)), "%2Fx"),
        (FORM + b"more", str(len(FORM)), "%2Fx"),
        (FORM, "", "%2F"),
        (FORM, "-1", "%2F"),
        (FORM, "7.0", "%2F"),
        (FORM, "+7", "%2F"),
        (FORM, "\u0667", "%2F"),
        (FORM, None, "%2F"),
        (FORM, "9" * 30, "%2F"),
        (FORM, "9" * 5_000, "%2F"),
        (FORM + b"&a=" + b"x" * LARGEST_FORM, str(len(FORM) + 3 + LARGEST_FORM), "%2F"),
        (b"\xff\xfe", "2", "%2F"),
    ],
)
def test_a_form_says_how_long_it_is_or_says_nothing(body: bytes, length: str | None, expected: str) -> None:
    """What is too long is not read at all."""
    stream = io.BytesIO(body)
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": length}
    house = build_house()
    reply = ask(house, [("accept", "text/html")], environ, method="POST", target="/.keyfob/logout")
    assert reply.status == 200
    assert reply.body.decode().partition("?to=")[2].partition("&")[0] == expected
    assert stream.tell() <= LARGEST_FORM


def test_a_form_of_the_apps_is_not_read() -> None:
    """Whoever is not logged in gets an answer before anything is sent."""
    stream = io.BytesIO(b"a=b")
    assert ask(build_house(), [], {"wsgi.input": stream, "CONTENT_LENGTH": "3"}, method="POST").status == 401
    assert stream.tell() == 0


# --- Carrying ---------------------------------------------------------------------------------------------------------


def test_the_world_is_asked_in_the_servers_own_thread() -> None:
    """A WSGI server has one for each request."""
    browser = Browser(WSGI(build_house().gate))
    state = browser.begin()
    seen: list[threading.Thread] = []

    def fail(*_: object) -> None:
        seen.append(threading.current_thread())
        raise LoginUnavailable("timeout")

    with patch.object(Carrier, "perform", fail):
        assert browser.come_back(state).status == 503
    assert seen == [threading.current_thread()]


def test_what_nobody_thought_of_opens_nothing() -> None:
    """An unexpected failure on the way is the server's to answer; the app is not called, and no session begins."""
    browser = Browser(WSGI(build_house().gate))
    state = browser.begin()
    failure = RuntimeError("nobody thought of this")
    with patch.object(Carrier, "perform", side_effect=failure), pytest.raises(RuntimeError):
        browser.come_back(state)
    assert browser.skin.seen == []


# --- Addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", [{}, {"RAW_URI": None}, {"REQUEST_URI": ""}, {"REQUEST_URI": "https://x/caf%C3%A9/a%20b"}]
)
def test_where_a_login_leads_is_found_on_every_server(written: dict[str, Any]) -> None:
    """Also on those that keep no raw path, and those that keep the whole of what was asked for."""
    reply = ask(build_house(), [], {"base": "/caf%C3%A9", **written}, target="/caf%C3%A9/a%20b?x=1")
    assert reply.json["login"].endswith("/caf%C3%A9/.keyfob/login?to=%2Fcaf%25C3%25A9%2Fa%2520b%3Fx%3D1")
