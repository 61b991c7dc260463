"""What an app asks about whoever was let in: one place in the scope or environ, written by a skin alone."""

import inspect
from collections.abc import Mapping

from starlette.requests import HTTPConnection

from keyfob.certificate import ClientCertificate, describe_rejected
from keyfob.errors import MiddlewareMissing, Missing
from keyfob.policy import Identity
from keyfob.request import IDENTITY


def client_certificate(connection: object) -> ClientCertificate | None:
    """The verified certificate behind a request, a WebSocket, an ASGI scope or a WSGI environ.

    Takes what Starlette, FastAPI, Litestar, Quart, Flask and Django hand to a handler, and in FastAPI works as
    `Depends(client_certificate)`. None when the request was let in without a certificate, by a policy whose rules ask
    for none. Raises MiddlewareMissing when no AccessMiddleware saw the request: then nobody has checked anything.
    """
    return identity(connection).certificate


def tls_client_auth(connection: object) -> Mapping[str, str | bool]:
    """What Workers call `request.cf.tlsClientAuth`, with their placeholders where there is no verified certificate."""
    found = identity(connection)
    if found.certificate is not None:
        return found.certificate.tls_client_auth
    return describe_rejected(found.presented, found.error or Missing("no certificate"))


def identity(connection: object) -> Identity:
    """Who was let in: `user`, the person who has logged in, `certificate`, the device, and `service_token`, a script.

    Each is None where there is none; all three are where a policy lets in anybody. Takes what `client_certificate`
    takes, works as `Depends(identity)` as well, and raises MiddlewareMissing and TypeError as it does.
    """
    known = _find_mapping(connection)
    if known is None:
        raise TypeError(f"not a request, a WebSocket, an ASGI scope or a WSGI environ: {connection!r}")
    found = known.get(IDENTITY)
    if not isinstance(found, Identity):
        raise MiddlewareMissing(
            "no AccessMiddleware has checked this request, so nobody knows who sent it",
            'add app.add_middleware(AccessMiddleware, config="access.toml"), start the app with `keyfob serve`, or '
            'write app = AccessMiddleware(app, config="access.toml") around a WSGI app',
        )
    return found


def _find_mapping(connection: object) -> Mapping[str, object] | None:
    # A Starlette request is itself a mapping, of its scope. Quart's has a scope; Flask's and Django's an environ.
    for candidate in (getattr(connection, "scope", None), getattr(connection, "environ", None), connection):
        if isinstance(candidate, Mapping):
            return candidate
    return None


# FastAPI hands a dependency the connection if its annotation is this very class; a handler may pass anything above.
_SIGNATURE = inspect.Signature(
    [inspect.Parameter("connection", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)]
)
identity.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
client_certificate.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
tls_client_auth.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
