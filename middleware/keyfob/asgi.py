"""The ASGI skin: a scope becomes a Request, a Decision becomes a call of the app or a refusal."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import time
from typing import TypeVar

from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.types import ASGIApp, Receive, Scope, Send

from keyfob.audit import record_refusal
from keyfob.certificate import ClientCertificate, describe_rejected
from keyfob.config import gate_for_roots, load_gate
from keyfob.errors import ConfigError, KeyfobError, MiddlewareMissing, Missing, NotRequested, Problem, UnknownScope
from keyfob.gate import ClosedGate, Gate
from keyfob.policy import Allow, Deny, Identity
from keyfob.refusal import compose_refusal, find_accept
from keyfob.request import Request, find_host
from keyfob.sources.tls import CURE, TLSSource

# Where the identity of an admitted request stands in its scope. Only this module writes and reads it.
KEY = "keyfob.identity"

# What a NamedTuple's own __new__ calls, without the call in between.
_make_request = tuple.__new__

Call = TypeVar("Call", bound=Callable[..., Awaitable[None]])


def _as_coroutine_function(function: Call) -> Call:
    """Marks a plain function that returns an awaitable, so that servers do not take it for an ASGI 2 application."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    # What inspect.markcoroutinefunction became of; asyncio.iscoroutinefunction looks for it.
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return function


class AccessMiddleware:
    """Lets the requests through that the configuration allows, and nobody else.

    `config` is the path of an access.toml (or the same model as JSON). Or, for one app with one CA: `roots` is the
    path of its certificate in PEM, and `common_names` narrows it to those names. `gate` takes a Gate built by hand.
    Exactly one of `config`, `roots` and `gate` is given. Raises ConfigError with everything that is wrong; inside a
    running event loop it is kept instead, keeps the server from starting, and is raised for any request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        config: str | Path | None = None,
        roots: str | Path | None = None,
        common_names: Sequence[str] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.app = app
        try:
            self.gate = _build_gate(config, roots, common_names, gate)
        except ConfigError as error:
            if not _in_event_loop():
                raise
            # Starlette builds its middleware in the lifespan's call. uvicorn takes whatever is raised there for an app
            # without a lifespan, and would start.
            self.gate = ClosedGate(error)

    @_as_coroutine_function
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One request, WebSocket or lifespan.

        Returns the app's own awaitable: checking waits for nothing, and a coroutine around every request would cost
        as much again as the check.
        """
        kind = scope["type"]
        if kind == "lifespan":
            return self.live(scope, receive, send)
        if kind != "http" and kind != "websocket":
            raise UnknownScope(f"a scope of type {kind!r} cannot be checked, so it does not reach the app")
        request = _make_request(Request, (scope, find_host(scope["headers"]), time()))
        decision = self.gate.check(request)
        if isinstance(decision, Allow):
            # Who it is goes into the scope, as Starlette's own AuthenticationMiddleware does it. Written out here, like
            # all that every request runs through: a call costs as much as what it would do.
            scope[KEY] = identity = decision.identity
            certificate = identity.certificate
            if certificate is None:
                scope["auth"], scope["user"] = _NOTHING, _NOBODY
            else:
                scope["auth"], scope["user"] = _CERTIFICATE, certificate.device
            # A state of its own: a server that shared one among requests would show each the other's certificate.
            state = scope.get("state")
            mine = {"client_certificate": certificate}
            scope["state"] = {**state, **mine} if state else mine
            return self.app(scope, receive, send)
        return _refuse(decision, request, receive, send)

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the lifespan on, unless nobody could ever be let in."""
        trouble = self._find_trouble(receive)
        if trouble is None:
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


def client_certificate(connection: object) -> ClientCertificate | None:
    """The verified certificate behind a Starlette request or WebSocket, or an ASGI scope.

    None when the request was let in without one, by a policy whose rules ask for none. Raises MiddlewareMissing when
    no AccessMiddleware saw the request: then nobody has checked anything.
    """
    return _identity(connection).certificate


def tls_client_auth(connection: object) -> Mapping[str, str | bool]:
    """What Workers call `request.cf.tlsClientAuth`, with their placeholders where there is no verified certificate."""
    identity = _identity(connection)
    if identity.certificate is not None:
        return identity.certificate.tls_client_auth
    return describe_rejected(identity.presented, identity.error or Missing("no certificate"))


def _identity(connection: object) -> Identity:
    scope = connection if isinstance(connection, Mapping) else getattr(connection, "scope", None)
    if not isinstance(scope, Mapping):
        raise TypeError(f"not a request, a WebSocket or an ASGI scope: {connection!r}")
    identity = scope.get(KEY)
    if not isinstance(identity, Identity):
        raise MiddlewareMissing(
            "no AccessMiddleware has checked this request, so it has no certificate to read",
            'add app.add_middleware(AccessMiddleware, config="access.toml"), or start the app with `keyfob serve`',
        )
    return identity


def _build_gate(
    config: str | Path | None, roots: str | Path | None, common_names: Sequence[str] | None, gate: Gate | None
) -> Gate:
    if sum(each is not None for each in (config, roots, gate)) != 1:
        hint = 'config="access.toml", or roots="ca.pem" for any device of one CA'
        raise ConfigError("AccessMiddleware", [Problem("", "give exactly one of config, roots and gate", hint)])
    if common_names is not None and roots is None:
        hint = "write the names as a common_name rule into the configuration"
        raise ConfigError("AccessMiddleware", [Problem("common_names", "goes with roots alone", hint)])
    if roots is not None:
        return gate_for_roots(roots, common_names)
    return gate if gate is not None else load_gate(config or "")


_CERTIFICATE = AuthCredentials(["authenticated", "certificate"])
_NOTHING = AuthCredentials()
_NOBODY = UnauthenticatedUser()


async def _refuse(decision: Deny, request: Request, receive: Receive, send: Send) -> None:
    refusal = compose_refusal(decision, record_refusal(decision, request), find_accept(request.headers))
    event = "http.response"
    if request.is_websocket:
        await receive()
        if "websocket.http.response" not in (request.scope.get("extensions") or {}):
            # Closing before accepting makes the server answer the handshake with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": str(decision.reason)})
            return
        event = "websocket.http.response"
    await send({"type": f"{event}.start", "status": refusal.status, "headers": refusal.headers})
    await send({"type": f"{event}.body", "body": refusal.body})


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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
