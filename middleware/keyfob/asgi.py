"""The ASGI skin: a scope becomes a Request, a Decision becomes a call of the app or a refusal."""

import asyncio
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.types import ASGIApp, Receive, Scope, Send

from keyfob.answer import Answer
from keyfob.attendance import attend
from keyfob.door import LARGEST_FORM, Counter, Door
from keyfob.errors import ConfigError, KeyfobError, LoginUnavailable, NotRequested, Reason, UnknownScope
from keyfob.gate import ClosedGate, Gate
from keyfob.policy import Allow, Deny, Identity, Login, Preflight
from keyfob.request import DOOR, HEADERS, IDENTITY, Request, hide_secrets
from keyfob.sources.headers import HeaderSource
from keyfob.sources.peers import START_OURS
from keyfob.sources.tls import CURE, TLSSource

if TYPE_CHECKING:
    from keyfob.callbacks import OnDecision

Call = TypeVar("Call", bound=Callable[..., Awaitable[None]])


def _as_coroutine_function(function: Call) -> Call:
    """Marks a plain function that returns an awaitable, so that servers do not take it for an ASGI 2 application."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    # What inspect.markcoroutinefunction became of; asyncio.iscoroutinefunction looks for it.
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return function


class AccessMiddleware(Door):
    """Lets the requests through that the configuration allows, and nobody else.

    `config` is the path of an access.toml (or the same model as JSON). Or, for one app with one CA: `roots` is the
    path of its certificate in PEM, and `common_names` narrows it to those names. `gate` takes a Gate built by hand.
    Exactly one of `config`, `roots` and `gate` is given. The files of the first two are watched: what they say is in
    force within a second. `on_decision` is called with an AuditRecord for every refusal, and every admission that is
    recorded; it may be a coroutine function, and neither delays nor breaks a request.

    Raises ConfigError with everything that is wrong; inside a running event loop it is kept instead, keeps the server
    from starting, and is raised for any request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        config: str | Path | None = None,
        roots: str | Path | None = None,
        common_names: Sequence[str] | None = None,
        gate: Gate | None = None,
        on_decision: "OnDecision | None" = None,
    ) -> None:
        self.app = app
        self.prefix = find_prefix(app)
        if sys.version_info < (3, 12):
            # hypercorn and anycorn look at this attribute to tell ASGI from WSGI, and know no mark; nobody calls it.
            self.__dict__["__call__"] = self.live
        try:
            super().__init__(config, roots, common_names, gate, on_decision)
        except ConfigError as error:
            if not _in_event_loop():
                raise
            # Starlette builds its middleware in the lifespan's call. uvicorn takes whatever is raised there for an app
            # without a lifespan, and would start.
            self.gate = ClosedGate(error)

    @_as_coroutine_function
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # noqa: C901 - see below
        """One request, WebSocket or lifespan.

        Returns the app's own awaitable: checking waits for nothing, and a coroutine around every request would cost
        as much again as the check.
        """
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            return self._pass_on(kind, scope, receive, send)
        if self.prefix:
            scope["root_path"] = self.prefix
        gate = self.gate
        request = gate.source.receive(scope, time())
        decision = gate.check(request)
        if type(decision) is Allow:
            identity, opens_session = decision[2], decision[3]
            certificate = identity[0]
            visible, arrived = request[4], scope["headers"]
            if decision[4] is not None:
                # Sessions and service tokens are nobody's but ours, wherever in the scope they would stand.
                if visible is not None:
                    scope[HEADERS] = hide_secrets(arrived)
                scope["headers"] = decision[4]
            elif visible is not None:
                scope[HEADERS], scope["headers"] = arrived, visible
            # Who it is goes into the scope, as Starlette's own AuthenticationMiddleware does it. Written out here, like
            # all that every request runs through: a call costs as much as what it would do.
            scope[DOOR] = self
            scope[IDENTITY] = identity
            if certificate is None:
                scope["auth"], scope["user"], renewal = _NOTHING, _NOBODY, None
            else:
                scope["auth"], scope["user"], renewal = _CERTIFICATE, certificate.device, certificate.renewal
            if identity[3] is not None or identity[4] is not None:
                scope["auth"], scope["user"] = _find_person(identity)
            # A state of its own: a server that shared one among requests would show each the other's certificate.
            state = scope["state"] if "state" in scope else None  # noqa: SIM401 - a call costs as much as all of this
            scope["state"] = state = {**state} if state else {}
            state["client_certificate"], state["renewal"] = certificate, renewal
            if opens_session:
                self.admit(decision, request)
            if kind == "websocket":
                as_it_came = {**scope, "headers": arrived}
                return attend(self.app, scope, receive, send, partial(self._find_refusal, as_it_came))
            return self.app(scope, receive, send)
        return self._answer(gate, decision, request, receive, send)

    async def _answer(
        self, gate: Gate, decision: Deny | Login | Preflight, request: Request, receive: Receive, send: Send
    ) -> None:
        """What keyfob itself says: a refusal, one step of a login, or what another page may do here."""
        if isinstance(decision, Login) and request.is_websocket:
            # Nobody can log in by a handshake, and its refusal is the word for it.
            decision = _refuse(decision)
        if isinstance(decision, Login):
            form = await _read_form(receive) if request.method == "POST" and decision.station else b""
            counter = self.open_counter(gate, decision, request, form)
            answer = await _carry(counter)
        else:
            answer = self.answer(gate, decision, request)
        await _send(answer, decision, request, receive, send)

    def _pass_on(self, kind: str, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What is no request: the lifespan, and what nobody can vouch for."""
        if kind == "lifespan":
            return self.live(scope, receive, send)
        raise UnknownScope(f"a scope of type {kind!r} cannot be checked, so it does not reach the app")

    def _find_refusal(self, arrived: Scope) -> Deny | None:
        """What the present gate has against a request that was let in some time ago, as it arrived then."""
        gate = self.gate
        request = gate.source.receive(arrived, time())
        decision = gate.check(request)
        if isinstance(decision, Allow):
            if decision.opens_session:
                self.admit(decision, request)
            return None
        refusal = decision if isinstance(decision, Deny) else _refuse(decision)
        self.recorder.refuse(refusal, request, gate.source.find_client(request))
        return refusal

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the lifespan on, unless nobody could ever be let in."""
        trouble = self._find_trouble(receive)
        if trouble is None:
            if isinstance(self.gate.source, HeaderSource) and _rewrites_addresses(receive):
                _LOGGER.warning("%s; %s", _REWRITTEN, START_OURS)
            await self.app(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.failed", "message": f"error: {trouble}"})

    def _find_trouble(self, receive: Receive) -> KeyfobError | None:
        if isinstance(self.gate, ClosedGate):
            return self.gate.error
        if isinstance(self.gate.source, TLSSource):
            what = _find_what_uvicorn_lacks(receive, with_roots=bool(self.gate.roots.anchors))
            return NotRequested(f"the certificate source is tls, but this server {what}", CURE) if what else None
        return None


def _refuse(decision: Login | Preflight) -> Deny:
    """The refusal of a WebSocket, in which nobody can log in or ask for anything else."""
    if isinstance(decision, Preflight):
        return Deny(Reason.LOGIN_REQUIRED, decision.application, "", decision.identity)
    return Deny(decision.reason, decision.application, "", decision.identity, decision.detail)


_CERTIFICATE = AuthCredentials(["authenticated", "certificate"])
_LOGIN = AuthCredentials(["authenticated", "login"])
_LOGIN_AND_CERTIFICATE = AuthCredentials(["authenticated", "certificate", "login"])
_TOKEN = AuthCredentials(["authenticated", "service_token"])
_TOKEN_AND_CERTIFICATE = AuthCredentials(["authenticated", "certificate", "service_token"])
_NOTHING = AuthCredentials()
_NOBODY = UnauthenticatedUser()


def _find_person(identity: Identity) -> tuple[AuthCredentials, object]:
    """Whom an app meets as `request.user` where more than a device is known: the person, or the service."""
    certificate, _, _, user, token = identity
    if user is not None:
        return (_LOGIN if certificate is None else _LOGIN_AND_CERTIFICATE), user
    if certificate is not None:
        return _TOKEN_AND_CERTIFICATE, certificate.device
    return _TOKEN, token


# How many logins may wait for a thread in which somebody else is asked; more are told to come back.
_WAITING = 64
_THREADS: RunVar[CapacityLimiter] = RunVar("keyfob-login-threads")


async def _carry(counter: "Counter") -> Answer:
    """Does what the steps of a login ask for in threads, a few at a time, and not in those that the app uses."""
    try:
        limiter = _THREADS.get()
    except LookupError:
        limiter = CapacityLimiter(16)
        _THREADS.set(limiter)
    ask = counter.begin()
    while ask is not None:
        if limiter.statistics().tasks_waiting >= _WAITING:
            ask = counter.fail(LoginUnavailable(f"{_WAITING} logins are waiting for a provider already"))
        else:
            ask = await to_thread.run_sync(counter.perform, ask, limiter=limiter)
    return counter.answer


async def _read_form(receive: Receive) -> bytes:
    """The body of a form of ours, which is small; what is larger, or breaks off, is none."""
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or len(body) > LARGEST_FORM:
            return b""
        if not message.get("more_body"):
            return body


async def _send(
    refusal: Answer, decision: Deny | Login | Preflight, request: Request, receive: Receive, send: Send
) -> None:
    event = "http.response"
    if request.is_websocket:
        await receive()
        if "websocket.http.response" not in (request.scope.get("extensions") or {}):
            # Closing before accepting makes the server answer the handshake with 403.
            reason = "" if isinstance(decision, Preflight) else str(decision.reason)
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return
        event = "websocket.http.response"
    await send({"type": f"{event}.start", "status": refusal.status, "headers": refusal.headers})
    await send({"type": f"{event}.body", "body": b"" if request.method == "HEAD" else refusal.body})


def find_prefix(app: object) -> str:
    """The prefix that FastAPI or Django puts in the place of the server's when it is called, too late for the gate."""
    for _ in range(_DEEPEST):
        prefix = _find_djangos_prefix() if type(app).__module__ == _DJANGO else getattr(app, "root_path", "")
        if isinstance(prefix, str) and prefix:
            return prefix
        # Most middlewares keep what they stand around under this name.
        app = getattr(app, "app", None)
    return ""


_DEEPEST = 64
_DJANGO = "django.core.handlers.asgi"


def _find_djangos_prefix() -> object:
    """FORCE_SCRIPT_NAME, which Django takes for the prefix whatever the server says."""
    return getattr(sys.modules["django.conf"].settings, "FORCE_SCRIPT_NAME", None)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_LOGGER = logging.getLogger("keyfob")
_REWRITTEN = "this uvicorn writes X-Forwarded-For over the proxy's address, and such requests are refused"


def _rewrites_addresses(receive: Receive) -> bool:
    """Whether this is a uvicorn that keeps the socket's other end to itself and takes addresses from a header.

    Worth a warning and no more: a proxy on a UNIX socket, or one that sends no such header, is known all the same.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    ours = getattr(getattr(config, "http_protocol_class", None), "hands_over_certificates", False)
    return bool(getattr(config, "proxy_headers", False)) and not ours


def _find_what_uvicorn_lacks(receive: Receive, *, with_roots: bool) -> str | None:
    """Why no certificate will ever come from this server; None if one may, or if it does not let itself be asked.

    uvicorn's lifespan `receive` is a method of an object that holds the server's configuration, which is the only
    moment at which an app can learn of it before the first request. Other servers are judged by their requests.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if config is None or not hasattr(config, "is_ssl"):
        return None
    context = getattr(config, "ssl", None)
    if context is None or not context.verify_mode:
        return "never asks for a client certificate"
    if with_roots and not context.cert_store_stats()["x509_ca"]:
        return "knows no CA to verify client certificates with"
    for name in ("http_protocol_class", "ws_protocol_class"):
        protocol = getattr(config, name, None)
        if protocol is not None and not getattr(protocol, "hands_over_certificates", False):
            return f"keeps client certificates to itself ({protocol.__name__})"
    return None
