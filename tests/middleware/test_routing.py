"""routing: handlers, dependencies and routes that ask for more than the door did, and how they refuse."""

# Django has no types.
# mypy: disable-error-code="import-untyped"

import functools
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import flask
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from certificates import DAY, make_authority, make_leaf
from exchanges import Answer, ask, make_scope
from frameworks.living import live_and_ask
from keyfob import (
    AccessMiddleware,
    CertificateRoute,
    ClientCertificate,
    ConfigError,
    MiddlewareMissing,
    load_gate,
    requires,
)
from keyfob.request import SOCKET_PEER
from keyfob.wsgi import AccessMiddleware as WSGIAccessMiddleware

CA = make_authority()
BOSS, CLERK = make_leaf(CA, "Boss"), make_leaf(CA, "Clerk")
SECRET = "0123456789abcdef" * 2
PROXY, HOME, ELSEWHERE = "10.0.0.1", "192.0.2.7", "198.51.100.9"

_RULES = """
[[root_certificates]]
name = "CA"
certificate = "ca.pem"
associated_hostnames = ["money.example.com"]
[[applications]]
name = "App"
domain = "money.example.com"
policies = [{ name = "Devices", decision = "non_identity", include = [{ certificate = {} }] }]
[[groups]]
name = "Bosses"
include = [{ common_name = { common_name = "BOSS" } }]
[[ip_lists]]
name = "Home"
items = ["192.0.2.0/24"]
"""
TLS = 'source = { kind = "tls" }\n'
HEADER = '[source]\nkind = "header"\nformat = "rfc9440"\nproxy_verifies = true\n'
BY_SECRET = HEADER + 'shared_secret = { header = "X-Proxy-Secret", file = "secret" }\n'
BY_ADDRESS = HEADER + f'trusted_proxies = ["{PROXY}"]\n'

only_the_boss = requires({"common_name": {"common_name": "Boss"}})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration, with the group's one member, and returns its path."""

    def write(source: str = TLS, boss: str = "Boss") -> Path:
        CA.write(tmp_path, "ca")
        (tmp_path / "secret").write_text(SECRET)
        path = tmp_path / "access.toml"
        path.write_text(source + _RULES.replace("BOSS", boss))
        return path

    return write


Protect = Callable[..., AccessMiddleware]


@pytest.fixture
def protect(write: Callable[..., Path]) -> Protect:
    """An app behind the gate of a configuration."""

    def protect(app: ASGIApp, source: str = TLS) -> AccessMiddleware:
        return AccessMiddleware(app, gate=load_gate(write(source)))

    return protect


def routed(*routes: BaseRoute) -> Starlette:
    return Starlette(routes=list(routes))


def visit(app: ASGIApp, leaf: Any = BOSS, path: str = "/", **more: Any) -> Answer:
    return live_and_ask(app, make_scope([leaf.pem], path=path, raw_path=path.encode(), **more))


@pytest.fixture
def recorded(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The refusals of the audit log."""
    caplog.set_level(logging.WARNING, "keyfob.audit")
    return lambda: [json.loads(record.message) for record in caplog.records if record.name == "keyfob.audit"]


# --- Handlers ---------------------------------------------------------------------------------------------------------


@only_the_boss
async def later(request: Request) -> Response:
    """A coroutine."""
    return PlainTextResponse("in")


@only_the_boss
def at_once(request: Request) -> Response:
    """A function, which Starlette calls in a thread."""
    return PlainTextResponse("in")


class Endpoint(HTTPEndpoint):
    """One method that asks, and one that does not."""

    @only_the_boss
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("in")

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("in")


class Callee:
    """A handler that is an object, as some libraries make them."""

    async def __call__(self, request: Request) -> Response:
        return PlainTextResponse("in")


async def _with_more(more: str, request: Request) -> Response:
    return PlainTextResponse(more)


HANDLERS: dict[str, Any] = {
    "coroutine function": later,
    "function": at_once,
    "endpoint": Endpoint,
    "object": only_the_boss(Callee()),
    "partial": only_the_boss(functools.partial(_with_more, "in")),
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_a_handler_is_called_for_whoever_meets_its_rules_alone(protect: Protect, handler: Any) -> None:
    """Whatever kind of handler it is."""
    app = protect(routed(Route("/", handler, methods=["GET", "POST"])))
    assert visit(app).body == b"in"
    refused = visit(app, CLERK)
    assert (refused.status, b"in" in refused.body.split()) == (403, False)


def test_methods_without_the_decorator_stay_open(protect: Protect) -> None:
    """It is the method's own."""
    assert visit(protect(routed(Route("/", Endpoint))), CLERK, method="POST").body == b"in"


def test_a_class_is_no_handler() -> None:
    """Its methods are."""
    with pytest.raises(TypeError, match="decorate those of its methods"):
        only_the_boss(HTTPEndpoint)


def test_a_handler_keeps_its_name_and_signature() -> None:
    """Frameworks read both."""
    assert later.__name__ == "later"
    assert later.__doc__ == "A coroutine."


def test_without_a_request_nobody_is_let_in(protect: Protect) -> None:
    """A handler that the decorator cannot see through never runs."""

    @only_the_boss
    async def lonely() -> Response:
        raise AssertionError("it ran")

    async def outer(request: Request) -> Response:
        return await lonely()

    with pytest.raises(TypeError, match="give it a parameter"):
        visit(protect(routed(Route("/", outer))))


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_a_refusal_is_the_gates(protect: Protect, recorded: Callable[[], list[dict[str, Any]]]) -> None:
    """Problem details for a program, never stored, with the id that the record has."""
    refused = visit(protect(routed(Route("/", later))), CLERK)
    problem = json.loads(refused.body)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["cache-control"] == "no-store"
    assert problem["type"] == "urn:keyfob:requirement-not-met"
    [record] = recorded()
    assert record["request_id"] == problem["request_id"]
    assert (record["reason"], record["common_name"]) == ("requirement-not-met", "Clerk")
    assert record["detail"] == "not met: include everyone; require common_name: Boss"
    assert "Boss" not in refused.body.decode()


def test_a_person_gets_a_page(protect: Protect) -> None:
    """With 401, as Safari wants it."""
    refused = visit(protect(routed(Route("/", at_once))), CLERK, headers=[(b"accept", b"text/html")])
    assert (refused.status, b"<!doctype html>" in refused.body) == (401, True)


# --- WebSockets -------------------------------------------------------------------------------------------------------


@only_the_boss
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("in")
    await websocket.close()


class Talk(WebSocketEndpoint):
    @only_the_boss
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()


TALKS: dict[str, Any] = {"function": talk, "endpoint": Talk}


@pytest.mark.parametrize("handler", TALKS.values(), ids=TALKS)
def test_a_websocket_is_refused_before_it_is_accepted(protect: Protect, handler: Any) -> None:
    """With the gate's own answer, where the server can give one."""
    app = protect(routed(WebSocketRoute("/", handler)))
    assert visit(app, kind="websocket").messages[0]["type"] == "websocket.accept"
    [closed] = visit(app, CLERK, kind="websocket").messages
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 1008, "requirement-not-met")


def test_a_websocket_is_refused_with_a_body_where_that_can_be(protect: Protect) -> None:
    """The extension is the server's word that it can."""
    app = protect(routed(WebSocketRoute("/", talk)))
    scope = make_scope([CLERK.pem], kind="websocket")
    scope["extensions"]["websocket.http.response"] = {}
    answer = live_and_ask(app, scope)
    assert answer.messages[0]["type"] == "websocket.http.response.start"
    assert (answer.status, json.loads(answer.body)["type"]) == (403, "urn:keyfob:requirement-not-met")


# --- FastAPI ----------------------------------------------------------------------------------------------------------

Boss = Annotated[ClientCertificate, Depends(only_the_boss.dependency)]


def make_fastapi() -> FastAPI:
    app = FastAPI()

    @app.get("/depends")
    async def depends(certificate: Boss, word: str = "in") -> str:
        return f"{word} {certificate.common_name}"

    @app.get("/route", dependencies=[Depends(only_the_boss.dependency)])
    def route() -> str:
        return "in"

    @app.get("/decorated/{number}")
    @only_the_boss
    async def decorated(request: FastAPIRequest, number: int, word: str = "in") -> str:
        return f"{word} {number}"

    @app.get("/plain/{number}")
    @only_the_boss
    def plain(number: int, request: FastAPIRequest) -> str:
        return f"in {number}"

    @app.websocket("/talk")
    async def talk(websocket: WebSocket, certificate: Boss) -> None:
        await websocket.accept()
        await websocket.send_text(str(certificate.common_name))
        await websocket.close()

    return app


FASTAPI = {
    "/depends": b'"in Boss"',
    "/route": b'"in"',
    "/decorated/7": b'"in 7"',
    "/plain/7": b'"in 7"',
}


@pytest.mark.parametrize("path", FASTAPI)
def test_fastapi_handlers_ask_by_decorator_and_by_dependency(
    protect: Protect, recorded: Callable[[], list[dict[str, Any]]], path: str
) -> None:
    """Parameters are found all the same, and a refusal is the gate's in every one of them."""
    app = protect(make_fastapi())
    assert visit(app, path=path).body == FASTAPI[path]
    refused = visit(app, CLERK, path)
    assert (refused.status, refused.headers["cache-control"]) == (403, "no-store")
    assert refused.headers["content-type"] == "application/problem+json"
    assert json.loads(refused.body)["request_id"] == recorded()[-1]["request_id"]


def test_a_dependency_refuses_a_websocket(protect: Protect) -> None:
    """Before it is accepted."""
    app = protect(make_fastapi())
    assert visit(app, path="/talk", kind="websocket").messages[1]["text"] == "Boss"
    [closed] = visit(app, CLERK, "/talk", kind="websocket").messages
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 1008, "requirement-not-met")


def test_the_decorator_adds_nothing_to_the_apis_description() -> None:
    """Neither does the dependency."""
    paths = make_fastapi().openapi()["paths"]
    names = {path: [each["name"] for each in paths[path]["get"].get("parameters", [])] for path in paths}
    assert names == {
        "/depends": ["word"],
        "/route": [],
        "/decorated/{number}": ["number", "word"],
        "/plain/{number}": ["number"],
    }


def test_an_app_may_answer_a_dependencys_refusal_itself(protect: Protect) -> None:
    """As it does any other 403; the headers of the gate are there for it."""
    app = make_fastapi()

    @app.exception_handler(403)
    async def sorry(request: FastAPIRequest, error: Any) -> Response:
        return PlainTextResponse(f"sorry: {error.detail}", 403, error.headers)

    refused = visit(protect(app), CLERK, "/depends")
    assert (refused.body, refused.headers["cache-control"]) == (b"sorry: requirement-not-met", "no-store")


# --- Routes -----------------------------------------------------------------------------------------------------------


def test_the_router_looks_on_where_a_certificate_does_not_fit(protect: Protect) -> None:
    """The same path leads the boss to one handler and the clerk to another."""

    async def boss(request: Request) -> Response:
        return PlainTextResponse("office")

    async def anybody(request: Request) -> Response:
        return PlainTextResponse("counter")

    app = protect(routed(CertificateRoute("/", boss, requires=only_the_boss), Route("/", anybody)))
    assert (visit(app).body, visit(app, CLERK).body) == (b"office", b"counter")


def test_a_route_for_some_is_not_there_for_others(protect: Protect) -> None:
    """Not even its methods: 404, and no 405."""
    app = protect(routed(CertificateRoute("/", at_once, requires=only_the_boss, methods=["GET"], name="office")))
    assert visit(app, method="POST").status == 405
    assert visit(app, CLERK, method="POST").status == 404


def test_a_route_below_a_mount_asks_too(protect: Protect) -> None:
    """What a mount changes in the scope is nothing that rules look at."""
    inner = routed(CertificateRoute("/x", later, requires=only_the_boss))
    app = protect(routed(Mount("/below", inner)))
    assert (visit(app, path="/below/x").body, visit(app, CLERK, "/below/x").status) == (b"in", 404)


# --- What rules can ask -----------------------------------------------------------------------------------------------


def probe(question: requires, seen: list[bool]) -> ASGIApp:
    """An app that asks, and answers nothing to speak of."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(question.holds(scope))
        await PlainTextResponse("")(scope, receive, send)

    return app


def test_groups_lists_and_methods_are_those_of_the_configuration(protect: Protect) -> None:
    """By their names, in the same words."""
    question = requires(
        {"group": {"id": "Bosses"}}, include=[{"method": {"method": "GET"}}, {"method": {"method": "HEAD"}}]
    )
    seen: list[bool] = []
    app = protect(probe(question, seen))
    for leaf, method in ((BOSS, "GET"), (BOSS, "POST"), (CLERK, "GET")):
        ask(app, make_scope([leaf.pem], method=method))
    assert seen == [True, False, False]


def test_what_is_excluded_does_not_hold(protect: Protect) -> None:
    """Exclude alone is enough of a rule."""
    seen: list[bool] = []
    app = protect(probe(requires(exclude=[{"common_name": {"common_name": "Clerk"}}]), seen))
    ask(app, make_scope([BOSS.pem]))
    ask(app, make_scope([CLERK.pem]))
    assert seen == [True, False]


def test_a_new_configuration_is_asked_anew(write: Callable[..., Path]) -> None:
    """A group is what it is now, not what it was when the handler was first called."""
    seen: list[bool] = []
    old, new = load_gate(write()), load_gate(write(boss="Clerk"))
    app = AccessMiddleware(probe(requires({"group": {"id": "Bosses"}}), seen), gate=old)
    ask(app, make_scope([BOSS.pem]))
    app.swap(new)
    ask(app, make_scope([BOSS.pem]))
    assert seen == [True, False]


FROM_HOME = requires({"ip_list": {"id": "Home"}})
FROM_THE_PROXY = requires({"ip": {"ip": f"{PROXY}/32"}})


def forwarded(client: str, *more: tuple[bytes, bytes]) -> dict[str, Any]:
    """A request that came by way of the proxy, to a server that tells the socket's other end."""
    certificate = b":" + b"".join(BOSS.pem.encode().splitlines()[1:-1]) + b":"
    headers = [(b"client-cert", certificate), (b"x-forwarded-for", client.encode()), *more]
    scope = make_scope(None, headers=headers, client=(PROXY, 4000))
    scope["extensions"] = {SOCKET_PEER: {"client": (PROXY, 4000)}}
    return scope


@pytest.mark.parametrize(
    ("source", "more"),
    [(BY_SECRET, [(b"x-proxy-secret", SECRET.encode())]), (BY_ADDRESS, [])],
    ids=["secret", "address"],
)
def test_addresses_are_the_clients_own_and_never_the_proxys(
    protect: Protect, source: str, more: list[tuple[bytes, bytes]]
) -> None:
    """Although the secret that proves the proxy's word is kept from the app."""
    home, proxy = list[bool](), list[bool]()
    for seen, question in ((home, FROM_HOME), (proxy, FROM_THE_PROXY)):
        app = protect(probe(question, seen), source)
        for client in (HOME, ELSEWHERE):
            assert ask(app, forwarded(client, *more)).status == 200
    assert home == [True, False]
    assert proxy == [False, False]


@pytest.mark.parametrize("question", [FROM_HOME, requires(exclude=[{"ip_list": {"id": "Home"}}])])
def test_an_address_that_nobody_can_tell_meets_no_rule(protect: Protect, question: requires) -> None:
    """Neither one that asks for it, nor one that shuts it out."""
    seen: list[bool] = []
    app = protect(probe(question, seen), BY_ADDRESS)
    assert ask(app, forwarded("unknown")).status == 200
    assert seen == [False]


def test_the_record_has_the_clients_own_address_too(
    protect: Protect, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """As the gate's own records."""
    handler = requires({"common_name": {"common_name": "Somebody else"}})(at_once)
    app = protect(routed(Route("/", handler)), BY_SECRET)
    live_and_ask(app, forwarded(HOME, (b"x-proxy-secret", SECRET.encode())))
    [record] = recorded()
    assert (record["address"], record["peer"]) == (HOME, PROXY)


def test_time_counts_with_every_request(protect: Protect) -> None:
    """Rules about a certificate's age are asked now, whatever the gate remembers."""
    fresh, old = make_leaf(CA, "Boss"), make_leaf(CA, "Boss", begins=-20 * DAY)
    seen: list[bool] = []
    app = protect(probe(requires({"issued_within": {"issued_within": "10d"}}), seen))
    ask(app, make_scope([fresh.pem]))
    ask(app, make_scope([old.pem]))
    assert seen == [True, False]


# --- What cannot be asked ---------------------------------------------------------------------------------------------

WRONG: dict[str, Callable[[], object]] = {
    "nothing": requires,
    "no table": lambda: requires("certificate"),  # type: ignore[arg-type]
    "a handler, without brackets": lambda: requires(later),  # type: ignore[arg-type]
    "a misspelt selector": lambda: requires({"comon_name": {"common_name": "Boss"}}),
    "a wrong argument": lambda: requires({"ip": {"ip": "300.0.0.1"}}),
    "the cloud's own": lambda: requires({"device_posture": {"integration_uid": "x"}}),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_what_no_configuration_would_take_is_refused_at_once(make: Callable[[], object]) -> None:
    """While the app is loaded, long before anybody asks."""
    with pytest.raises(ConfigError) as raised:
        make()
    assert raised.value.source == "requires"


def test_a_misspelt_selector_is_suggested() -> None:
    """In the words of a configuration."""
    with pytest.raises(ConfigError, match="did you mean 'common_name'"):
        WRONG["a misspelt selector"]()


def test_a_name_that_is_not_there_is_an_error_and_no_yes(protect: Protect) -> None:
    """Only the configuration knows which names there are."""
    with pytest.raises(ConfigError, match="did you mean 'Bosses'"):
        ask(protect(probe(requires({"group": {"id": "Boses"}}), [])), make_scope([BOSS.pem]))


def test_without_the_middleware_nobody_is_let_in() -> None:
    """Whatever the TLS layer says."""
    for app in (routed(Route("/", later)), routed(CertificateRoute("/", at_once, requires=only_the_boss))):
        with pytest.raises(MiddlewareMissing):
            visit(app)


# --- WSGI -------------------------------------------------------------------------------------------------------------


def make_environ(*, behind: Any = BOSS, **more: Any) -> dict[str, Any]:
    """What mod_wsgi hands over."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "money.example.com",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "money.example.com",
        "HTTP_X_PART": "left",
        "wsgi.url_scheme": "https",
        "wsgi.errors": None,
        "mod_wsgi.version": (5, 0),
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_CERT": behind.pem,
    } | more


def call(app: Any, environ: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    """Status, headers and body."""
    said: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        said.extend((status, {name.lower(): value for name, value in headers}))

    body = b"".join(app(environ, start))
    return said[0], said[1], body


@pytest.fixture
def guard(write: Callable[..., Path]) -> Callable[[Any], WSGIAccessMiddleware]:
    """A WSGI app behind the gate."""
    return lambda app: WSGIAccessMiddleware(app, gate=load_gate(write()))


def test_flask_handlers_ask_by_decorator(
    guard: Callable[[Any], WSGIAccessMiddleware], recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """They need no argument for the request, and are refused as at the gate."""
    app = flask.Flask("shop")

    @app.get("/")
    @only_the_boss
    def hello() -> str:
        return "in"

    guarded = guard(app.wsgi_app)
    assert call(guarded, make_environ())[::2] == ("200 OK", b"in")
    status, headers, body = call(guarded, make_environ(behind=CLERK))
    assert (status, headers["cache-control"]) == ("403 FORBIDDEN", "no-store")
    assert headers["content-type"] == "application/problem+json"
    [record] = recorded()
    assert json.loads(body)["request_id"] == record["request_id"]
    assert (record["reason"], record["method"], record["path"]) == ("requirement-not-met", "GET", "/")


@pytest.fixture
def settled() -> Iterator[None]:
    """Django wants settings before it makes a request or an answer."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
    yield


def test_django_views_ask_by_decorator(guard: Callable[[Any], WSGIAccessMiddleware], settled: None) -> None:
    """The request is their first argument, of a method their second."""
    from django.core.handlers.wsgi import WSGIRequest
    from django.http import HttpResponse

    @only_the_boss
    def view(request: Any, pk: int) -> Any:
        return HttpResponse(f"in {pk}")

    def app(environ: Any, start: Any) -> Any:
        answer = view(WSGIRequest(environ | {"wsgi.input": io.BytesIO()}), pk=7)
        start(str(answer.status_code), list(answer.items()))
        return [answer.content]

    assert call(guard(app), make_environ())[::2] == ("200", b"in 7")
    status, headers, body = call(guard(app), make_environ(behind=CLERK))
    assert (status, headers["cache-control"]) == ("403", "no-store")
    assert json.loads(body)["type"] == "urn:keyfob:requirement-not-met"


def test_an_environ_can_be_asked_about_headers_and_methods(guard: Callable[[Any], WSGIAccessMiddleware]) -> None:
    """In any WSGI app."""
    questions = [
        requires({"method": {"method": "GET"}}, {"header": {"name": "X-Part", "value": "left"}}),
        requires({"header": {"name": "X-Part", "value": "right"}}),
    ]

    def app(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        return [str([question.holds(environ) for question in questions]).encode()]

    assert call(guard(app), make_environ())[2] == b"[True, False]"


def test_an_environ_cannot_be_asked_about_addresses(guard: Callable[[Any], WSGIAccessMiddleware]) -> None:
    """What the proxy said is gone, and its own address is not the client's."""

    def app(environ: Any, start: Any) -> Any:
        FROM_HOME.holds(environ)
        raise AssertionError("it was answered")

    with pytest.raises(ConfigError, match="cannot ask for addresses"):
        call(guard(app), make_environ())


def test_an_environ_without_the_middleware_is_no_yes() -> None:
    """As everywhere."""
    with pytest.raises(MiddlewareMissing):
        only_the_boss.holds(make_environ())
