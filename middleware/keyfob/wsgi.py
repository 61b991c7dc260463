"""The WSGI skin: an environ becomes a Request, a Decision becomes a call of the app or a refusal."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from keyfob.answer import Answer
from keyfob.carriers import Hides, find_server
from keyfob.door import LARGEST_FORM, Door
from keyfob.gate import Gate
from keyfob.introduction import client_certificate, identity, tls_client_auth
from keyfob.policy import Allow, Deny, Login, Preflight
from keyfob.policy.paths import UNCLEAR_PATH
from keyfob.request import (
    DOOR,
    IDENTITY,
    REMEDY,
    SOCKET_PEER,
    TOKEN_HEADERS,
    UNCLEAR,
    Headers,
    Request,
    hide_cookies,
)

if TYPE_CHECKING:
    from keyfob.callbacks import OnDecision

__all__ = ["AccessMiddleware", "client_certificate", "identity", "tls_client_auth"]

# Where the app finds the link to the successor of a certificate that ends soon; None for any other.
RENEWAL = "keyfob.renewal"

# PEP 3333: the two headers whose keys have no HTTP_ before them.
_BARE = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}

# A value in which every comma stands between quotation marks: Envoy's names have some, and a merged header's has not.
_ONE_VALUE = re.compile(rb'(?:[^",]++|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)


class AccessMiddleware(Door):
    """Lets the requests through that the configuration allows, and nobody else.

    `config` is the path of an access.toml (or the same model as JSON). Or, for one app with one CA: `roots` is the
    path of its certificate in PEM, and `common_names` narrows it to those names. `gate` takes a Gate built by hand.
    Exactly one of `config`, `roots` and `gate` is given. The files of the first two are watched: what they say is in
    force within a second. `on_decision` is called with an AuditRecord for every refusal, and every admission that is
    recorded, in a thread of its own. Raises ConfigError with everything that is wrong.

    It has to stand around the app, and around every other middleware that looks at the app's requests.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        config: str | Path | None = None,
        roots: str | Path | None = None,
        common_names: Sequence[str] | None = None,
        gate: Gate | None = None,
        on_decision: "OnDecision | None" = None,
    ) -> None:
        self.app = app
        super().__init__(config, roots, common_names, gate, on_decision)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        # Only what is written below counts as an identity, whatever a server or a middleware left there.
        environ.pop(IDENTITY, None)
        at = time()
        if self.watch is not None:
            # Some servers let no thread run between two requests.
            self.watch.ensure(at)
        gate = self.gate
        source = gate.source
        named = [(key, name, source.hides(name)) for key, name in _name_headers(environ)]
        headers = [pair for key, name, hidden in named for pair in _split(name, environ[key], hidden=hidden)]
        request = source.receive(_describe(environ, headers, _extend(environ, start_response, source.hides)), at)
        decision = gate.check(request)
        if isinstance(decision, Allow):
            if decision.opens_session:
                self.admit(decision, request)
            for key, _, hidden in named:
                if hidden:
                    del environ[key]
            if decision.visible is not None:
                _hide_secrets(environ, named)
            environ[IDENTITY], environ[DOOR] = decision.identity, self
            certificate = decision.identity.certificate
            environ[RENEWAL] = None if certificate is None else certificate.renewal
            return self.app(environ, start_response)
        return self._answer(gate, decision, request, environ, start_response)

    def _answer(
        self,
        gate: Gate,
        decision: Deny | Login | Preflight,
        request: Request,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """What keyfob itself says: a refusal, one step of a login, or what another page may do here."""
        if isinstance(decision, Login):
            form = _read_form(environ) if request.method == "POST" and decision.station else b""
            counter = self.open_counter(gate, decision, request, form)
            ask = counter.begin()
            while ask is not None:
                ask = counter.perform(ask)
            return _send(counter.answer, request, start_response)
        return _send(self.answer(gate, decision, request), request, start_response)


def _hide_secrets(environ: WSGIEnvironment, named: Iterable[tuple[str, bytes, bool]]) -> None:
    """Takes sessions and service tokens out of the environ."""
    for key, name, _ in named:
        if name in TOKEN_HEADERS:
            environ.pop(key, None)
        elif name == b"cookie" and key in environ:
            environ[key] = hide_cookies(_encode(environ[key])).decode("latin-1")
            if not environ[key]:
                del environ[key]


def _read_form(environ: WSGIEnvironment) -> bytes:
    """The body of a form of ours, which is small and says how long it is; anything else is none."""
    length = _read_port(environ.get("CONTENT_LENGTH")) or 0
    return bytes(environ["wsgi.input"].read(length)) if length <= LARGEST_FORM else b""


def _name_headers(environ: WSGIEnvironment) -> Iterator[tuple[str, bytes]]:
    """Each header's key, with the name that it stands for: in lower case, and with a hyphen for every underscore."""
    for key in environ:
        if key.startswith("HTTP_"):
            yield key, _encode(key[5:].replace("_", "-").lower())
        elif key in _BARE and environ[key]:
            yield key, _BARE[key]


def _split(name: bytes, value: str, *, hidden: bool) -> Iterator[tuple[bytes, bytes]]:
    """The header, or the headers that it was before the server merged them with commas.

    Told apart where the source will look: which comma a client wrote and which the server, nobody can know, so that a
    list is several headers there, too.
    """
    encoded = _encode(value)
    if hidden and _ONE_VALUE.fullmatch(encoded) is None:
        for each in encoded.split(b","):
            yield name, each.strip(b" ")
    else:
        yield name, encoded


def _extend(environ: WSGIEnvironment, start_response: StartResponse, hides: Hides) -> dict[str, Any]:
    """The extensions of the scope: what the server itself has to say, and no client or proxy through it."""
    server = find_server(environ)
    extensions: dict[str, Any] = {REMEDY: server.cure}
    tls = server.read_tls(environ)
    if tls is not None:
        extensions["tls"] = {"client_cert_chain": tls.chain, "client_cert_error": tls.error}
    peer = server.find_peer(environ)
    if peer is not None:
        extensions[SOCKET_PEER] = {"client": peer.address}
    doubt = server.find_doubt(environ, start_response, hides)
    if doubt:
        extensions[UNCLEAR] = doubt
    if "HTTP_SCRIPT_NAME" in environ or "HTTP_PATH_INFO" in environ:
        # gunicorn believes such a header from its own machine, and moves the app's prefix as it says.
        extensions[UNCLEAR_PATH] = "a header named SCRIPT_NAME or PATH_INFO may have moved the app's prefix"
    return extensions


def _describe(environ: WSGIEnvironment, headers: Headers, extensions: Mapping[str, Any]) -> dict[str, Any]:
    """What the ASGI specification would call this request."""
    # Some servers take a port out of the Host field where they listen on a UNIX socket.
    has_port = SOCKET_PEER not in extensions or extensions[SOCKET_PEER]["client"] is not None
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        # PEP 3333 keeps bytes as latin-1 text; the server has undone the percent-encoding before.
        "path": _decode(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
        "root_path": _decode(environ.get("SCRIPT_NAME", "")),
        # What some servers keep of the request line, so that what was percent-encoded there can be seen.
        "raw_path": _encode(str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "")).partition(b"?")[0],
        "query_string": _encode(str(environ.get("QUERY_STRING", ""))),
        "headers": headers,
        "client": (environ.get("REMOTE_ADDR", ""), _read_port(environ.get("REMOTE_PORT"))),
        "server": (environ.get("SERVER_NAME", ""), _read_port(environ.get("SERVER_PORT")) if has_port else None),
        "extensions": extensions,
    }


def _send(answer: Answer, request: Request, start_response: StartResponse) -> Iterable[bytes]:
    status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    start_response(status, [(name.decode("ascii"), value.decode("latin-1")) for name, value in answer.headers])
    return [] if request.method == "HEAD" else [answer.body]


def _encode(text: str) -> bytes:
    # What PEP 3333 does not allow in such a text becomes something that is no certificate, no host and no path of ours.
    return text.encode("latin-1", "backslashreplace")


def _decode(text: str) -> str:
    return _encode(text).decode("utf-8", "replace")


def _read_port(text: object) -> int | None:
    # Python reads no number of some thousand digits, and no port or length has so many.
    return int(str(text)) if str(text).isascii() and str(text).isdigit() and len(str(text)) < 20 else None
