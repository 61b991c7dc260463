"""SCEP and EST over HTTP: how a device, or a script on it, has a key signed that was born there."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import anyio
from cryptography import x509
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from keyfob.enrolment import est
from keyfob.enrolment.answering import Threads, TooLarge, TooSlow, take_body
from keyfob.enrolment.floods import Restraint, find_kind
from keyfob.enrolment.issuing import find_chain
from keyfob.enrolment.requests import Refused
from keyfob.enrolment.scep.answers import CAPABILITIES
from keyfob.enrolment.scep.responder import Responder
from keyfob.errors import PKIError
from keyfob.introduction import client_certificate
from keyfob.inventory import NameTaken, NotInInventory
from keyfob.pki.registry import Registry

_log = logging.getLogger(__name__)

FindAddress = Callable[[Request], str]
_Endpoint = Callable[[Request], Awaitable[Response]]
_T = TypeVar("_T")

LARGEST_BODY = 64 * 1024
# Every refusal of SCEP takes this many seconds, so that nobody can tell by the time it takes how far a guess has come.
PATIENCE = 0.5
# Strangers can have so much computed at once, and the app's own threads are not theirs.
_AT_ONCE = 4

_PKI_MESSAGE, _RA_CERTIFICATES = "application/x-pki-message", "application/x-x509-ca-ra-cert"
_CERTIFICATES, _SIGNING_REQUEST = "application/pkcs7-mime; smime-type=certs-only", "application/pkcs10"
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_MORE: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": 'Basic realm="keyfob", charset="UTF-8"'},
    # RFC 9110 section 15.5.9. What is still to come of the body would be waited for otherwise.
    408: {"Connection": "close"},
    503: {"Retry-After": "60"},
}
_BASE64 = {"Content-Transfer-Encoding": "base64"}


class WrongType(Refused):
    """Not declared as what it has to be."""


# The first that fits counts; whatever is not here is this side's own trouble.
_STATUSES: Mapping[type[PKIError], int] = {
    est.NotInvited: 401,
    TooSlow: 408,
    TooLarge: 413,
    WrongType: 415,
    Refused: 400,
    NameTaken: 409,
    NotInInventory: 409,
}


def find_address(request: Request) -> str:
    """The socket's other end."""
    return request.client.host if request.client else "an unknown address"


def make_protocol_routes(registry: Registry, find_address: FindAddress = find_address) -> list[Route]:
    """`/scep` and `/.well-known/est/{cacerts,simpleenroll}`, for a port that asks for no client certificate.

    `find_address` says for the log and the inventory where a request came from.
    """
    scep, by_password = _Scep(registry, find_address), _Est(registry, find_address)
    return [
        Route("/scep", scep.guard(scep.ask), methods=["GET"]),
        Route("/scep", scep.guard(scep.operate), methods=["POST"]),
        Route("/.well-known/est/cacerts", by_password.guard(by_password.list_authorities), methods=["GET"]),
        Route("/.well-known/est/simpleenroll", by_password.guard(by_password.enrol), methods=["POST"]),
    ]


def make_reenrolment_route(registry: Registry, find_address: FindAddress = find_address) -> Route:
    """`/.well-known/est/simplereenroll`, for behind the gate: the present certificate is the proof."""
    by_certificate = _Est(registry, find_address)
    return Route("/.well-known/est/simplereenroll", by_certificate.guard(by_certificate.enrol_again), methods=["POST"])


class _Desk:
    """What both protocols have: a registry, and threads of their own to use it in."""

    def __init__(self, registry: Registry, find_address: FindAddress) -> None:
        self.registry = registry
        self.find_address = find_address
        self._threads = Threads(_AT_ONCE)
        self._restraint = Restraint(_log)

    async def run(self, function: Callable[[], _T]) -> _T:
        return await self._threads.run(function)

    def guard(self, endpoint: _Endpoint) -> _Endpoint:
        """Every refusal becomes a status and a sentence; what went wrong on this side stays here."""

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except PKIError as error:
                return self._explain(request.url.path, self.find_address(request), error)
            except ClientDisconnect:
                return _say(400, "the request did not end\n")

        return answer

    def _explain(self, path: str, address: str, error: PKIError) -> Response:
        status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 503)
        if status == 503:
            self._restraint.fail(type(error).__name__, "%s: %s cannot be answered: %s", path, address, error)
            return _say(status, "this server cannot sign anything now; its log says more\n", _MORE[503])
        self._restraint.warn(find_kind(error), "%s: refused %s: %s", path, address, error.message)
        return _say(status, f"{error.message}\n", _MORE.get(status))


class _Scep(_Desk):
    def __init__(self, registry: Registry, find_address: FindAddress) -> None:
        super().__init__(registry, find_address)
        self._responder = Responder(registry)

    async def ask(self, request: Request) -> Response:
        """What the responder can do, and its certificates. Messages are posted: RFC 8894 section 4.1."""
        match _find_operation(request):
            case "GetCACaps":
                return _say(200, CAPABILITIES)
            case "GetCACert":
                return _reply(await self.run(self._responder.list_authorities), _RA_CERTIFICATES)
            case "PKIOperation":
                return _say(405, "post the message\n", {"Allow": "POST"})
        return _say(400, "no such operation\n")

    async def operate(self, request: Request) -> Response:
        """One message."""
        if _find_operation(request) != "PKIOperation":
            return _say(400, "no such operation\n")
        body, until = await take_body(request, LARGEST_BODY), anyio.current_time() + PATIENCE
        answer = await self.run(partial(self._responder.answer, body, self.find_address(request), time.time()))
        if not answer.succeeded:
            await anyio.sleep_until(until)
        return _say(400, "this message is not answered\n") if answer.body is None else _reply(answer.body, _PKI_MESSAGE)


class _Est(_Desk):
    async def list_authorities(self, _: Request) -> Response:
        """RFC 7030 section 4.1."""
        return await self._compose(lambda: find_chain(self.registry))

    async def enrol(self, request: Request) -> Response:
        """Section 4.2.1, with a password."""
        password, address = est.read_password(_find_one(request, "authorization")), self.find_address(request)
        # Whoever is not invited has nothing read.
        await self.run(partial(est.find_invited, self.registry, password, time.time(), address))
        body, agent = await _read_request(request), request.headers.get("user-agent", "")
        return await self._compose(
            lambda: [est.enrol(self.registry, password, est.read_body(body), time.time(), address, agent)]
        )

    async def enrol_again(self, request: Request) -> Response:
        """Section 4.2.2, with the certificate that the gate has verified."""
        presented, address = client_certificate(request), self.find_address(request)
        if presented is None:
            raise Refused("no certificate was presented")
        body = await _read_request(request)
        return await self._compose(
            lambda: [est.enrol_again(self.registry, presented.parsed, est.read_body(body), time.time(), address)]
        )

    async def _compose(self, find: Callable[[], Sequence[x509.Certificate]]) -> Response:
        return _reply(await self.run(lambda: est.compose_certificates(find())), _CERTIFICATES, _BASE64)


async def _read_request(request: Request) -> bytes:
    kind = (_find_one(request, "content-type") or "").partition(";")[0].strip().lower()
    if kind != _SIGNING_REQUEST:
        raise WrongType(f"the request is not declared as {_SIGNING_REQUEST}")
    return await take_body(request, LARGEST_BODY)


def _find_one(request: Request, name: str) -> str | None:
    """The field with this name; None if it is not there, or twice."""
    found = request.headers.getlist(name)
    return found[0] if len(found) == 1 else None


def _find_operation(request: Request) -> str | None:
    found = request.query_params.getlist("operation")
    return found[0] if len(found) == 1 else None


def _reply(body: bytes, kind: str, more: Mapping[str, str] | None = None) -> Response:
    return Response(body, headers={"Content-Type": kind, **_NO_STORE, **(more or {})})


def _say(status: int, words: str, more: Mapping[str, str] | None = None) -> Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", **_NO_STORE, **(more or {})}
    return Response(words.encode("utf-8"), status, headers)
