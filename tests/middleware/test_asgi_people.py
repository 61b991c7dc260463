"""asgi: people and services as an app meets them, what it never sees of them, and how a login is carried."""

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.authentication import requires as starlette_requires
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message

import keyfob.asgi
from certificates import Pair
from exchanges import ask, make_scope
from keyfob import AccessMiddleware, requires
from keyfob.door import LARGEST_FORM
from keyfob.errors import LoginUnavailable
from keyfob.login.carrying import Carrier
from keyfob.login.exchanges import Ask
from keyfob.policy import Policy
from keyfob.request import HEADERS
from keyfob.sources.formats import FORMATS
from keyfob.sources.headers import HeaderSource
from keyfob.sources.peers import Peers
from logins import (
    ASGI,
    CERTIFICATE,
    EVERYONE,
    ME,
    MINE,
    PHONE,
    Browser,
    House,
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


Headers = list[tuple[bytes, bytes]]


def show(house: House, who: str) -> Headers:
    """The headers of somebody with a session, of a service, or of nobody."""
    if who == "person":
        return [(b"cookie", write_session(house).encode())]
    return [(name.lower().encode(), value.encode()) for name, value in (write_pair() if who == "service" else [])]


# --- Who it is --------------------------------------------------------------------------------------------------------


async def whoami(request: Request) -> JSONResponse:
    user = request.user
    said = {"name": user.display_name, "kind": type(user).__name__, "scopes": request.auth.scopes}
    return JSONResponse(said | {"identity": user.identity, "is_authenticated": user.is_authenticated})


@starlette_requires("login")
async def for_people(request: Request) -> JSONResponse:
    return JSONResponse({})


@requires({"email_domain": {"domain": "example.com"}})
async def for_us(request: Request) -> JSONResponse:
    return JSONResponse({})


ROUTES = [Route("/", whoami), Route("/people", for_people), Route("/us", for_us)]


@pytest.mark.parametrize(
    ("who", "leaf", "name", "kind", "scopes"),
    [
        ("person", None, "Me", "User", ["authenticated", "login"]),
        ("person", PHONE, "Me", "User", ["authenticated", "certificate", "login"]),
        ("service", None, "Import id-1", "ServiceToken", ["authenticated", "service_token"]),
        ("service", PHONE, "Rhea Group", "Device", ["authenticated", "certificate", "service_token"]),
        ("nobody", PHONE, "Rhea Group", "Device", ["authenticated", "certificate"]),
    ],
)
def test_an_app_meets_the_person_else_the_device_else_the_service(
    who: str, leaf: Pair | None, name: str, kind: str, scopes: Sequence[str]
) -> None:
    """By Starlette's own conventions, each time anew; the scopes say what was shown, and handlers can ask for it."""
    house = build_house()
    app = Starlette(routes=ROUTES, middleware=[Middleware(AccessMiddleware, gate=house.gate)])
    for _ in range(2):
        headers, chain = show(house, who), [leaf.pem] if leaf else []
        said = json.loads(ask(app, make_scope(chain, headers=headers)).body)
        assert (said["name"], said["kind"], said["scopes"]) == (name, kind, scopes)
        assert said["is_authenticated"]
        assert said["identity"] == {"User": "stub:7", "ServiceToken": "id-1"}.get(kind, said["identity"])
        for path in ("/people", "/us"):
            status = ask(app, make_scope(chain, headers=headers, path=path)).status
            assert status == (200 if who == "person" else 403)


# --- What is nobody's but ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["person", "service"])
@pytest.mark.parametrize("leaf", [PHONE, None])
def test_behind_a_proxy_neither_its_headers_nor_ours_reach_the_app(who: str, leaf: Pair | None) -> None:
    """What is kept of the former for handlers' rules has nothing of the latter; both times, and at a glance."""
    house = build_house(source=HeaderSource(FORMATS["rfc9440"], Peers([ip_network("127.0.0.1")])))
    skin = ASGI(house.gate)
    headers = [(b"host", b"money.example.com"), (b"cookie", b"a=1"), (b"x", b"y"), *show(house, who)]
    if leaf is not None:
        headers.append((b"client-cert", b":%s:" % b64encode(leaf.certificate.public_bytes(Encoding.DER))))
    for _ in range(3):
        scope = make_scope(None, host=None, headers=headers)
        ask(skin.door, scope)
        app = skin.seen.pop().whole
        assert app["headers"] == headers[:3]
        assert [pair for pair in app[HEADERS] if pair[0] != b"client-cert"] == headers[:3]
        assert len(app[HEADERS]) == (4 if leaf else 3)
        assert scope["headers"] == headers[:3]


def test_a_refused_scope_keeps_its_headers() -> None:
    """They are the server's, and nobody but us has seen them."""
    house = build_house(make_policy("allow", {"email": {"email": "x@example.com"}}))
    for headers in (show(house, "person"), show(house, "service")):
        scope = make_scope(headers=headers)
        before = {**scope, "headers": [*scope["headers"]]}
        assert ask(ASGI(house.gate).door, scope).status == 403
        assert scope == before


def test_a_session_in_several_fields_counts_as_http_2_sends_it() -> None:
    """RFC 9113 section 8.2.3: a Cookie field for each cookie."""
    house = build_house()
    skin = ASGI(house.gate)
    for _ in range(2):
        fields = [(b"cookie", b"a=1"), *show(house, "person"), (b"cookie", b"b=2")]
        ask(skin.door, make_scope(headers=fields))
        seen = skin.seen.pop()
        assert seen.identity.user == ME
        assert seen.cookies == [b"a=1", b"b=2"]


# --- WebSockets -------------------------------------------------------------------------------------------------------


def open_websocket(house: House, headers: Headers, leaf: Pair | None = None) -> tuple[list[Message], list[Any]]:
    """What was sent to whoever opens one, and what the app saw of it."""
    skin = ASGI(house.gate)
    scope = make_scope([leaf.pem] if leaf else [], kind="websocket", headers=headers)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        skin.seen.append(scope)
        await send({"type": "websocket.accept"})

    skin.door.app = app
    return ask(skin.door, scope).messages, skin.seen


def test_a_websocket_is_opened_by_whoever_has_logged_in() -> None:
    """With the cookie that a browser sends along; the app meets the person there, too."""
    house = build_house()
    messages, [seen] = open_websocket(house, show(house, "person"))
    assert [each["type"] for each in messages] == ["websocket.accept"]
    assert seen["user"] == ME
    assert "__Host-keyfob" not in repr(seen["headers"])


@pytest.mark.parametrize("accept", [b"text/html", b"*/*"])
def test_a_websocket_is_no_place_to_log_in(accept: bytes) -> None:
    """Nobody is sent anywhere, and each reason is told."""
    house = build_house(make_policy("allow", MINE))
    stolen = [(b"cookie", write_session(house, bound_to="ab" * 32).encode())]
    for headers, reason in (([], "login-required"), (stolen, "session-of-another-device")):
        messages, seen = open_websocket(house, [(b"accept", accept), (b"sec-fetch-mode", b"navigate"), *headers])
        assert seen == []
        assert messages == [{"type": "websocket.close", "code": 1008, "reason": reason}]


def test_an_open_websocket_ends_with_the_session() -> None:
    """As it does with a certificate: what is looked at again is the request as it arrived."""
    house = build_house()
    skin = ASGI(house.gate)
    scope = make_scope(kind="websocket", headers=show(house, "person"))
    assert skin.door._find_refusal(scope) is None
    house.store.end_everybody(4e9)
    refusal = skin.door._find_refusal(scope)
    assert refusal is not None
    assert refusal.reason == "login-required"
    assert "ended" in refusal.detail
    bound = make_scope(kind="websocket", headers=[(b"cookie", write_session(house, bound_to="ab" * 32).encode())])
    assert str(getattr(skin.door._find_refusal(bound), "reason", "")) == "login-required"


# --- Forms of ours ----------------------------------------------------------------------------------------------------


def leave(house: House, *events: Message) -> str:
    """Where the page of a logout leads back to, as the form in these events says."""
    scope = make_scope(path="/.keyfob/logout", method="POST", headers=[(b"accept", b"text/html")])
    reply = ask(ASGI(house.gate).door, scope, events=events)
    assert reply.status == 200
    return reply.body.decode().partition("?to=")[2].partition("&")[0]


def write_body(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_form_is_read_however_it_comes() -> None:
    """In one piece, in several, and with empty ones between them."""
    house = build_house()
    assert leave(house, write_body(b"to=%2Fx")) == "%2Fx"
    pieces = [
        write_body(b"to=", more=True),
        write_body(b"", more=True),
        write_body(b"%2", more=True),
        write_body(b"Fx"),
    ]
    assert leave(house, *pieces) == "%2Fx"
    assert leave(house, write_body(b"a=1&" * ((LARGEST_FORM - 10) // 4) + b"to=%2Fx")) == "%2F"


@pytest.mark.parametrize(
    "events",
    [
        [write_body(b"to=%2Fx&a=" + b"x" * LARGEST_FORM)],
        [write_body(b"to=%2Fx&a=" + b"x" * 4000, more=True)] * 3,
        [write_body(b"to=%2Fx", more=True), {"type": "http.disconnect"}],
        [write_body(b"")],
        [write_body(b"\xff\xfe")],
        [{"type": "http.request"}],
    ],
)
def test_what_is_no_form_of_ours_says_nothing(events: list[Message]) -> None:
    """What is too long is not read to its end."""
    assert leave(build_house(), *events) == "%2F"


def test_a_form_of_the_apps_is_not_read() -> None:
    """Whoever is not logged in gets an answer before anything is sent."""
    house = build_house()
    scope = make_scope(method="POST", headers=[(b"content-length", b"5")])
    assert ask(ASGI(house.gate).door, scope, events=[]).status == 401


# --- Carrying ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[list[threading.Thread]]:
    """In which threads something was asked of the world."""
    seen: list[threading.Thread] = []
    perform = Carrier.perform

    def spy(self: Carrier, each: Ask) -> Any:
        seen.append(threading.current_thread())
        return perform(self, each)

    with patch.object(Carrier, "perform", spy):
        yield seen


def test_the_world_is_asked_in_other_threads(threads: list[threading.Thread]) -> None:
    """So that a slow provider holds up nobody else; what needs no asking needs no thread."""
    browser = Browser(ASGI(build_house().gate))
    browser.fetch("/")
    state = browser.begin()
    assert threads == []
    assert browser.come_back(state).status == 303
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_too_many_logins_at_once_are_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch, threads: list[threading.Thread]
) -> None:
    """Instead of being kept for ever; the state is still good then."""
    browser = Browser(ASGI(build_house().gate))
    state = browser.begin()
    with monkeypatch.context() as patched:
        patched.setattr(keyfob.asgi, "_WAITING", 0)
        reply = browser.come_back(state)
        assert (reply.status, reply.cookies, threads) == (503, [], [])
    assert browser.come_back(state).status == 303


def test_logins_that_wait_leave_room_for_the_apps_own_threads() -> None:
    """A provider that does not answer does not stop what an app does in threads, nor its event loop."""
    house = build_house()
    door, browsers = ASGI(house.gate), []
    free = threading.Event()

    def wait(self: Carrier, each: Ask) -> Any:
        assert free.wait(30)
        raise LoginUnavailable("too slow")

    for _ in range(20):
        browser = Browser(door)
        browsers.append((browser, browser.begin()))

    async def run() -> list[int]:
        statuses: list[int] = []

        async def come_back(browser: Browser, state: str) -> None:
            cookie = "; ".join(f"{name}={value}" for name, value in browser.jar.items()).encode()
            query = f"state={state}&code=x".encode()
            path = "/.keyfob/callback/stub"
            scope = make_scope(path=path, raw_path=path.encode(), query_string=query, headers=[(b"cookie", cookie)])

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            await door.door(scope, receive, send)

        async def receive() -> Message:
            return {"type": "http.request"}

        logins = [asyncio.create_task(come_back(*each)) for each in browsers]
        await asyncio.sleep(0.05)
        assert await asyncio.to_thread(lambda: 5) == 5
        assert statuses == []
        free.set()
        await asyncio.gather(*logins)
        return statuses

    with patch.object(Carrier, "perform", wait):
        assert asyncio.run(run()) == [503] * 20


def test_what_nobody_thought_of_opens_nothing() -> None:
    """An unexpected failure on the way is the server's to answer; the app is not called, and no session begins."""
    browser = Browser(ASGI(build_house().gate))
    state = browser.begin()
    failure = RuntimeError("nobody thought of this")
    with patch.object(Carrier, "perform", side_effect=failure), pytest.raises(RuntimeError):
        browser.come_back(state)
    assert browser.skin.seen == []
