"""Certificates inside an app: handlers and routes that are for some devices alone."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import time
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketState

from keyfob.answer import Answer
from keyfob.certificate import ClientCertificate
from keyfob.config import compile_requirement
from keyfob.door import find_door
from keyfob.errors import ConfigError, Problem, Reason
from keyfob.gate import Gate
from keyfob.introduction import identity as find_identity
from keyfob.policy import Deny, Rules
from keyfob.refusal import compose_refusal, find_accept
from keyfob.request import HEADERS, Headers, Request, find_host

Handler = TypeVar("Handler", bound=Callable[..., Any])
Written = Mapping[str, Any]

# RFC 6455 section 7.4.1: a policy is violated.
_POLICY_VIOLATION = 1008


class requires:  # noqa: N801 - read as a word: @requires({"certificate": {}})
    """Rules that a request has to meet, in the selectors of a configuration: `require`, and any of `include`.

    As a decorator of a handler, or of a method that is one: whoever does not meet the rules is refused as at the gate,
    and recorded. In Starlette, FastAPI and Django the request or WebSocket has to be an argument of the handler; Flask
    and Quart know it without. As `.dependency` in FastAPI's Depends. As a question in any framework:
    `.holds(request)`, with what `client_certificate` takes. Groups and lists are those of the configuration that is in
    force. In WSGI apps rules cannot ask for addresses, since what proxies said about them has been removed: write those
    into the configuration.

    Raises ConfigError for rules that no configuration would take; a name that the configuration does not define raises
    it with each request.
    """

    def __init__(self, *require: Written, include: Sequence[Written] = (), exclude: Sequence[Written] = ()) -> None:
        if not (require or include or exclude):
            raise ConfigError("requires", [Problem("", "asks for nothing", 'write requires({"certificate": {}})')])
        self._compile = compile_requirement(
            {"include": [*include] or [{"everyone": {}}], "require": [*require], "exclude": [*exclude]}
        )
        self._compiled: WeakKeyDictionary[Gate, Rules] = WeakKeyDictionary()

    def holds(self, connection: object) -> bool:
        """Whether whoever sent this meets the rules. Raises MiddlewareMissing where no AccessMiddleware saw it."""
        return self._find_refusal(connection) is None

    def dependency(self, connection: HTTPConnection) -> ClientCertificate | None:
        """For FastAPI's Depends: the certificate of whoever meets the rules, None if they ask for none.

        Everybody else is refused as at the gate, unless the app has a handler of its own for the status 403 or 401.
        """
        deny = self._find_refusal(connection)
        if deny is None:
            return find_identity(connection).certificate
        refusal = _record(deny, connection)
        if connection.scope["type"] == "websocket":
            raise WebSocketException(_POLICY_VIOLATION, str(deny.reason))
        # Starlette and FastAPI look here for whoever answers an exception of this class.
        handlers, _ = connection.scope.get("starlette.exception_handlers", ({}, {}))
        handlers.setdefault(_NotMet, _answer_exception)
        raise _NotMet(refusal)

    def __call__(self, handler: Handler) -> Handler:
        """The handler, called for whoever meets the rules. Raises TypeError for a class: decorate its methods."""
        if inspect.isclass(handler):
            raise TypeError(f"{_name(handler)} is a class; decorate those of its methods that are handlers")
        if _is_async(handler):

            @functools.wraps(handler)
            async def answer_later(*args: Any, **kwargs: Any) -> Any:
                connection = _find_connection(handler, (*args, *kwargs.values()))
                deny = self._find_refusal(connection)
                if deny is None:
                    return await handler(*args, **kwargs)
                refusal = _record(deny, connection)
                if isinstance(connection, WebSocket):
                    return await _hang_up(connection, refusal)
                return _answer(connection, refusal)

            return answer_later  # type: ignore[return-value]

        @functools.wraps(handler)
        def answer(*args: Any, **kwargs: Any) -> Any:
            connection = _find_connection(handler, (*args, *kwargs.values()))
            deny = self._find_refusal(connection)
            return handler(*args, **kwargs) if deny is None else _answer(connection, _record(deny, connection))

        return answer  # type: ignore[return-value]

    def _find_refusal(self, connection: object) -> Deny | None:
        identity, known = find_identity(connection), _find_mapping(connection)
        gate = find_door(known).gate
        rules = self._compiled.get(gate)
        if rules is None:
            self._compiled[gate] = rules = self._compile(gate.names)
        request = _describe(known)
        if any(rule.looks_at_client for rule in rules.each()):
            if _is_environ(known):
                raise ConfigError("requires", [Problem("", "a WSGI handler cannot ask for addresses", _IN_THE_FILE)])
            request = request._replace(client=gate.source.find_client(request))
        if rules.hold(request, identity) is True:
            return None
        return Deny(Reason.REQUIREMENT_NOT_MET, "", "", identity, f"not met: {_spell(rules)}")


_IN_THE_FILE = "write this rule into a policy of the configuration"


def _spell(rules: Rules) -> str:
    """The rules in a line, for the log."""
    sides = (("include", rules.include), ("require", rules.require), ("exclude", rules.exclude))
    return "; ".join(f"{word} {', '.join(rule.text for rule in side)}" for word, side in sides if side)


class CertificateRoute(Route):
    """A Starlette route that is there for whoever meets the rules, and for nobody else: the router looks on."""

    def __init__(self, path: str, endpoint: Callable[..., Any], *, requires: requires, **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        self._requires = requires

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route's, but NONE where the rules do not hold."""
        match, inner = super().matches(scope)
        if match is Match.NONE or not self._requires.holds(scope):
            return Match.NONE, {}
        return match, inner


# --- What a handler was given -----------------------------------------------------------------------------------------


def _name(handler: object) -> str:
    return str(getattr(handler, "__qualname__", repr(handler)))


def _is_async(handler: Callable[..., Any]) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _find_connection(handler: object, given: Iterable[object]) -> Any:
    """The request or WebSocket among a handler's arguments, or that of the framework's own context."""
    for each in given:
        if isinstance(each, HTTPConnection) or _is_django_request(each):
            return each
    for name in ("flask", "quart"):
        framework: Any = sys.modules.get(name)
        if framework is not None and framework.has_request_context():
            return framework.request
    raise TypeError(
        f"{_name(handler)} was called without its request, so nobody can tell who asks; give it a parameter for that"
    )


def _is_django_request(value: object) -> bool:
    django: Any = sys.modules.get("django.http")
    return django is not None and isinstance(value, django.HttpRequest)


def _find_mapping(connection: object) -> Mapping[str, Any]:
    """The ASGI scope or WSGI environ behind it, where `find_identity` has found an identity before."""
    for candidate in (getattr(connection, "scope", None), getattr(connection, "environ", None)):
        if isinstance(candidate, Mapping):
            return candidate
    return connection  # type: ignore[return-value]


def _is_environ(known: Mapping[str, Any]) -> bool:
    return "REQUEST_METHOD" in known


def _describe(known: Mapping[str, Any]) -> Request:
    """The request as it arrived: without the headers that were kept from the app, a proxy's word would be nobody's."""
    if _is_environ(known):
        scope = _describe_environ(known)
    else:
        scope = {**known, "headers": known.get(HEADERS, known["headers"])}
    return Request(scope, find_host(scope["headers"]), time())


def _describe_environ(environ: Mapping[str, Any]) -> dict[str, Any]:
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": path.encode("latin-1", "backslashreplace").decode("utf-8", "replace"),
        "headers": list(_read_headers(environ)),
        "client": (environ.get("REMOTE_ADDR", ""), None),
    }


def _read_headers(environ: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for key, value in environ.items():
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-").lower().encode("ascii"), str(value).encode("latin-1", "backslashreplace")
        elif key.startswith("HTTP_"):
            name = key.removeprefix("HTTP_").replace("_", "-").lower()
            yield name.encode("latin-1", "backslashreplace"), str(value).encode("latin-1", "backslashreplace")


# --- What whoever is refused gets to see ------------------------------------------------------------------------------


def _record(deny: Deny, connection: object) -> Answer:
    """The answer to a refusal, which is recorded."""
    known = _find_mapping(connection)
    door, request = find_door(known), _describe(known)
    # The environ's own word for the address may be a proxy's.
    client = None if _is_environ(known) else door.gate.source.find_client(request)
    request_id = door.recorder.refuse(deny, request, client)
    return compose_refusal(deny, request_id, find_accept(request.headers))


def _answer(connection: object, refusal: Answer) -> Any:
    """The refusal in the words of the handler's own framework."""
    if isinstance(connection, HTTPConnection):
        return _respond(refusal)
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in refusal.headers}
    if _is_django_request(connection):
        return sys.modules["django.http"].HttpResponse(refusal.body, status=refusal.status, headers=headers)
    return refusal.body, refusal.status, headers


def _respond(refusal: Answer) -> Response:
    response = Response(refusal.body, refusal.status)
    response.raw_headers = refusal.headers
    return response


async def _hang_up(websocket: WebSocket, refusal: Answer) -> None:
    """Refuses a WebSocket before it is accepted, and closes one that already was."""
    if websocket.application_state is WebSocketState.CONNECTING:
        if websocket.client_state is WebSocketState.CONNECTING:
            await websocket.receive()
        if "websocket.http.response" in (websocket.scope.get("extensions") or {}):
            await websocket.send_denial_response(_respond(refusal))
            return
    await websocket.close(_POLICY_VIOLATION, str(Reason.REQUIREMENT_NOT_MET))


class _NotMet(HTTPException):
    """Raised by a dependency. An app that has its own answer for the status gives that one."""

    def __init__(self, refusal: Answer) -> None:
        headers = {name.decode("ascii"): value.decode("ascii") for name, value in _without_body(refusal.headers)}
        super().__init__(refusal.status, "requirement-not-met", headers)
        self.refusal = refusal


def _without_body(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    return ((name, value) for name, value in headers if not name.startswith(b"content-"))


async def _answer_exception(_: HTTPConnection, error: _NotMet) -> Response:
    return _respond(error.refusal)
