"""asgi: the skin that applications meet."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from certificates import DAY, make_authority, make_leaf
from exchanges import ask, make_scope
from keyfob import AccessMiddleware, MiddlewareMissing, client_certificate, tls_client_auth
from keyfob.errors import ConfigError, UnknownScope
from keyfob.gate import Renewal
from keyfob.policy import Policy, PolicyDecision, Rules
from keyfob.request import IDENTITY
from keyfob.trust import Roots
from rules import ANY_DEVICE
from sites import EVERYONE, make_gate, make_site

ROOT, OTHER = make_authority("Root"), make_authority("Other")
LEAF, STRANGER = make_leaf(ROOT), make_leaf(OTHER)
SECOND = make_leaf(ROOT, "Second device")


class Recorder:
    """An app that keeps the scopes it was called with, and answers 200."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text(ROOT.pem)
    return path


@pytest.fixture
def bypass(tmp_path: Path, roots: Path) -> Path:
    """A configuration that lets everybody in, with or without a certificate."""
    path = tmp_path / "open.toml"
    path.write_text(
        f"""
        source = {{ kind = "tls" }}
        root_certificates = [
            {{ name = "r", certificate = "{roots.name}", associated_hostnames = ["money.example.com"] }},
        ]
        [[applications]]
        name = "Open"
        domain = "money.example.com"
        policies = [{{ name = "open", decision = "bypass", include = [{{ everyone = {{}} }}] }}]
        """
    )
    return path


def test_a_known_device_reaches_the_app(roots: Path) -> None:
    """The app is called once, and its answer is the answer."""
    app = Recorder()
    answer = ask(AccessMiddleware(app, roots=roots), make_scope([LEAF.pem]))
    assert (answer.status, answer.body) == (200, b"hello")
    assert len(app.scopes) == 1


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("chain", "host"),
    [
        ((), "money.example.com"),
        (None, "money.example.com"),
        ((STRANGER.pem,), "money.example.com"),
        (("garbage",), "money.example.com"),
        ((LEAF.pem,), None),
        ((LEAF.pem,), "a, b"),
    ],
)
def test_the_app_is_not_called_for_anybody_else(
    roots: Path, kind: str, chain: tuple[str, ...] | None, host: str | None
) -> None:
    """HTTP and WebSocket alike."""
    app = Recorder()
    ask(AccessMiddleware(app, roots=roots), make_scope(chain, kind=kind, host=host))
    assert app.scopes == []


def test_only_the_named_devices(roots: Path) -> None:
    """common_names narrows the CA's certificates to those."""
    app = Recorder()
    door = AccessMiddleware(app, roots=roots, common_names=["Rhea Group", "Third device"])
    assert ask(door, make_scope([LEAF.pem])).status == 200
    assert ask(door, make_scope([SECOND.pem])).status == 403
    assert len(app.scopes) == 1


def test_a_program_is_refused_with_problem_details(roots: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The answer's number is the log's number."""
    with caplog.at_level(logging.WARNING, logger="keyfob.audit"):
        answer = ask(AccessMiddleware(Recorder(), roots=roots), make_scope())
    assert answer.status == 401
    problem, record = json.loads(answer.body), json.loads(caplog.records[-1].getMessage())
    assert problem["type"] == "urn:keyfob:certificate-missing"
    assert record["reason"] == "certificate-missing"
    assert problem["request_id"] == record["request_id"]


def test_a_person_is_refused_with_a_page(roots: Path) -> None:
    """With 401 where a program gets 403."""
    door = AccessMiddleware(Recorder(), roots=roots)
    answer = ask(door, make_scope([STRANGER.pem], headers=[(b"accept", b"text/html")]))
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert ask(door, make_scope([STRANGER.pem])).status == 403


def test_a_websocket_is_refused_before_it_is_accepted(roots: Path) -> None:
    """By closing it, which makes the server answer the handshake with 403."""
    answer = ask(AccessMiddleware(Recorder(), roots=roots), make_scope(kind="websocket"))
    assert [message["type"] for message in answer.messages] == ["websocket.close"]


def test_a_websocket_gets_the_whole_answer_where_the_server_can(roots: Path) -> None:
    """The extension websocket.http.response carries status, headers and body."""
    scope = make_scope(kind="websocket")
    scope["extensions"]["websocket.http.response"] = {}
    answer = ask(AccessMiddleware(Recorder(), roots=roots), scope)
    assert [message["type"] for message in answer.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert answer.status == 401
    assert json.loads(answer.body)["type"] == "urn:keyfob:certificate-missing"


@pytest.mark.parametrize("kind", ["", "HTTP", "http2", "webtransport", "http.response"])
def test_a_scope_that_nobody_knows_never_reaches_the_app(roots: Path, kind: str) -> None:
    """The ASGI specification wants an exception for it, and so do we."""
    app = Recorder()
    with pytest.raises(UnknownScope):
        ask(AccessMiddleware(app, roots=roots), make_scope([LEAF.pem], kind=kind))
    assert app.scopes == []


def test_an_unexpected_failure_is_no_open_door(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong on the way to a verdict, the app is not called."""
    app = Recorder()
    door = AccessMiddleware(app, roots=roots)

    def fail(_: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(door.gate, "check", fail)
    with pytest.raises(RuntimeError):
        ask(door, make_scope([LEAF.pem]))
    monkeypatch.setattr(door.gate, "check", lambda _: True)
    with pytest.raises(AttributeError):
        ask(door, make_scope([LEAF.pem]))
    assert app.scopes == []


def test_a_refused_scope_is_left_as_it_was(roots: Path) -> None:
    """Nothing is written into it before the decision, so nobody can mistake it for an admitted one."""
    scope = make_scope([STRANGER.pem])
    before = {**scope, "state": dict(scope["state"])}
    ask(AccessMiddleware(Recorder(), roots=roots), scope)
    assert scope == before


def test_the_state_of_the_lifespan_stays(roots: Path) -> None:
    """What the app put there at its start is there, also where a server gives no state at all."""
    app = Recorder()
    door = AccessMiddleware(app, roots=roots)
    ask(door, make_scope([LEAF.pem], state={"pool": "a pool"}))
    stateless = make_scope([LEAF.pem])
    del stateless["state"]
    ask(door, stateless)
    assert app.scopes[0]["state"]["pool"] == "a pool"
    assert [scope["state"]["client_certificate"].common_name for scope in app.scopes] == ["Rhea Group"] * 2


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("state", [{}, {"pool": "a pool", "renewal": "a lie"}, None])
def test_the_state_says_where_the_successor_is(roots: Path, kind: str, state: dict[str, str] | None) -> None:
    """For a certificate that ends soon; and always, so that a template may ask."""
    leaving = make_leaf(ROOT, ends=5 * DAY)
    open_to_all = Policy("all", PolicyDecision.BYPASS, Rules((EVERYONE,)))
    site = make_site(Roots((ROOT.certificate,), ()), open_to_all)
    site.renewal = Renewal("/renew", 20 * DAY.total_seconds())
    app = Recorder()
    door = AccessMiddleware(app, gate=make_gate(site))
    for chain in ([leaving.pem], [LEAF.pem], []):
        scope = make_scope(chain, kind=kind, state=state)
        if state is None:
            del scope["state"]
        ask(door, scope)
    ask(AccessMiddleware(app, roots=roots), make_scope([leaving.pem], kind=kind))
    assert [scope["state"]["renewal"] for scope in app.scopes] == ["/renew", None, None, None]


def test_a_state_that_a_server_shares_shows_nobody_elses_certificate(roots: Path) -> None:
    """The specification makes the state each request's own; not every server does."""
    app = Recorder()
    door = AccessMiddleware(app, roots=roots)
    shared = {"pool": "a pool"}
    for leaf in (LEAF, SECOND):
        ask(door, make_scope([leaf.pem], state=shared))
    names = [scope["state"]["client_certificate"].common_name for scope in app.scopes]
    assert names == ["Rhea Group", "Second device"]
    assert shared == {"pool": "a pool"}


def test_servers_take_it_for_asgi_3(roots: Path) -> None:
    """uvicorn asks whether an app's call is a coroutine function, and takes everything else for ASGI 2."""
    from uvicorn import Config

    config = Config(AccessMiddleware(Recorder(), roots=roots), log_config=None)
    config.load()
    assert config.interface == "asgi3"


def test_hypercorn_and_anycorn_take_it_for_asgi(roots: Path) -> None:
    """They ask for the attribute, not for the mark."""
    from anycorn.utils import is_asgi as anycorn_is_asgi
    from hypercorn.utils import is_asgi

    app = AccessMiddleware(Recorder(), roots=roots)
    assert is_asgi(app)
    assert anycorn_is_asgi(app)


def test_lifespan_passes(roots: Path) -> None:
    """It is the server's own, and no request."""
    app = Recorder()
    ask(AccessMiddleware(app, roots=roots), {"type": "lifespan", "asgi": {"version": "3.0"}})
    assert [scope["type"] for scope in app.scopes] == ["lifespan"]


@pytest.mark.parametrize(
    ("options", "warned"),
    [({}, True), ({"proxy_headers": False}, False), ({"http": "keyfob.server.uvicorn:HTTPProtocol"}, False)],
)
def test_a_uvicorn_that_rewrites_addresses_is_warned_of(
    tmp_path: Path, roots: Path, caplog: pytest.LogCaptureFixture, options: dict[str, Any], warned: bool
) -> None:
    """At the start, with the cure: otherwise people learn of it when every request is refused."""
    from uvicorn import Config
    from uvicorn.lifespan.on import LifespanOn

    source = "kind = 'header'\nformat = 'nginx'\ntrusted_proxies = ['127.0.0.1']"
    (tmp_path / "access.toml").write_text(ANY_DEVICE.replace('kind = "tls"', source), encoding="utf-8")
    app = AccessMiddleware(Recorder(), config=tmp_path / "access.toml")
    config = Config(app, log_config=None, **options)
    config.load()

    async def start() -> None:
        lifespan: Any = LifespanOn(config)
        await app({"type": "lifespan"}, lifespan.receive, lifespan.send)

    with caplog.at_level(logging.WARNING, logger="keyfob"):
        asyncio.run(start())
    assert [("--no-proxy-headers" in record.getMessage()) for record in caplog.records] == [True] * warned


def starlette(roots: Path, seen: dict[str, Any]) -> Starlette:
    async def page(request: StarletteRequest) -> JSONResponse:
        certificate = client_certificate(request)
        seen.update(
            certificate=certificate,
            state=request.state.client_certificate,
            user=request.user,
            scopes=request.auth.scopes,
            from_scope=client_certificate(request.scope),
            fields=tls_client_auth(request),
        )
        return JSONResponse({"name": certificate.common_name if certificate else None})

    @requires("certificate")
    async def guarded(request: StarletteRequest) -> JSONResponse:
        return JSONResponse({"guarded": True})

    routes = [Route("/", page), Route("/guarded", guarded)]
    return Starlette(routes=routes, middleware=[Middleware(AccessMiddleware, roots=roots)])


def test_a_handler_reads_the_certificate_in_every_way(roots: Path) -> None:
    """client_certificate, request.user, request.auth and request.state speak of the same certificate."""
    seen: dict[str, Any] = {}
    answer = ask(starlette(roots, seen), make_scope([LEAF.pem]))
    assert json.loads(answer.body) == {"name": "Rhea Group"}
    certificate = seen["certificate"]
    assert certificate is seen["state"] is seen["from_scope"]
    assert seen["user"].is_authenticated
    assert seen["user"].display_name == "Rhea Group"
    assert seen["user"].identity == certificate.fingerprint_sha256
    assert seen["scopes"] == ["authenticated", "certificate"]
    assert seen["fields"] == certificate.tls_client_auth


def test_starlettes_own_requires_works(roots: Path) -> None:
    """The scopes follow its conventions."""
    assert ask(starlette(roots, {}), make_scope([LEAF.pem], path="/guarded")).status == 200


def test_a_websocket_handler_reads_the_certificate(roots: Path) -> None:
    """The same functions take a WebSocket."""
    names: list[str | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        certificate = client_certificate(WebSocket(scope, receive, send))
        names.append(certificate.common_name if certificate else None)

    ask(AccessMiddleware(app, roots=roots), make_scope([LEAF.pem], kind="websocket"))
    assert names == ["Rhea Group"]


@pytest.mark.parametrize(
    ("chain", "verdict"),
    [((), "NONE"), ((STRANGER.pem,), "FAILED:unable to get local issuer certificate")],
)
def test_behind_a_bypass_nobody_is_somebody(bypass: Path, chain: tuple[str, ...], verdict: str) -> None:
    """A certificate that was not accepted is no certificate: None, an unauthenticated user, and placeholders."""
    app = Recorder()
    assert ask(AccessMiddleware(app, config=bypass), make_scope(chain)).status == 200
    [scope] = app.scopes
    assert client_certificate(scope) is None
    assert scope["state"]["client_certificate"] is None
    assert not scope["user"].is_authenticated
    assert scope["auth"].scopes == []
    assert tls_client_auth(scope)["certVerified"] == verdict


def test_asking_without_the_middleware_names_the_cure() -> None:
    """No None, which an app could take for a visitor without a certificate."""
    for ask_for in (client_certificate, tls_client_auth):
        with pytest.raises(MiddlewareMissing, match="AccessMiddleware") as raised:
            ask_for(StarletteRequest(make_scope([LEAF.pem])))
        assert "add_middleware" in raised.value.hint


@pytest.mark.parametrize("forged", [None, "CN=admin", {"certificate": "x"}, (LEAF, None, ())])
def test_only_the_middlewares_own_identity_counts(forged: object) -> None:
    """Anything else under the key is as if nothing were there."""
    with pytest.raises(MiddlewareMissing):
        client_certificate({**make_scope([LEAF.pem]), IDENTITY: forged})


@pytest.mark.parametrize("thing", [None, 5, "request", object()])
def test_asking_something_that_is_no_request_is_a_type_error(thing: object) -> None:
    """A programmer's mistake, told as one."""
    with pytest.raises(TypeError):
        client_certificate(thing)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"config": "a.toml", "roots": "ca.pem"},
        {"common_names": ["x"]},
        {"config": "a.toml", "common_names": ["x"]},
        {"roots": "ca.pem", "common_names": []},
        {"roots": "ca.pem", "common_names": "Rhea Group"},
        {"roots": "ca.pem", "common_names": [""]},
        {"roots": "ca.pem", "common_names": [5]},
        {"roots": "ca.pem", "common_names": 5},
        {"roots": "ca.pem", "common_names": ["\ud800"]},
        {"roots": "c\0a.pem"},
        {"config": "access\0.toml"},
        {"roots": "missing.pem"},
        {"config": "missing.toml"},
        {"config": ""},
    ],
)
def test_half_an_instruction_is_refused_at_start_up(arguments: dict[str, Any], roots: Path) -> None:
    """Nothing is guessed: not an empty list, not a name where a list of names is meant."""
    arguments = {name: str(roots) if value == "ca.pem" else value for name, value in arguments.items()}
    with pytest.raises(ConfigError):
        AccessMiddleware(Recorder(), **arguments)


def test_names_go_with_roots_alone(bypass: Path) -> None:
    """Beside a configuration they would be ignored."""
    with pytest.raises(ConfigError, match="goes with roots alone"):
        AccessMiddleware(Recorder(), config=bypass, common_names=["Rhea Group"])
