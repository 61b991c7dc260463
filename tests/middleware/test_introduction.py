"""introduction: what an app asks about whoever was let in, on both skins and in FastAPI."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

import keyfob
import keyfob.wsgi
from exchanges import ask, make_scope
from keyfob import AccessMiddleware, MiddlewareMissing, client_certificate, identity, tls_client_auth
from keyfob.login.book import TokenRecord
from keyfob.policy import Identity
from keyfob.request import IDENTITY
from logins import (
    CERTIFICATE,
    EVERYONE,
    FOREVER,
    ME,
    PHONE,
    SKINS,
    Browser,
    House,
    Skin,
    build,
    make_application,
    make_book,
    make_policy,
    write_pair,
)
from servers import environment

SECRET = "s" * 43
SCRIPT = TokenRecord("id-1", "Nightly import", hashlib.sha256(SECRET.encode("ascii")).digest(), FOREVER)


def build_house() -> House:
    """One application that takes a login, a certificate and a service token, each by a policy of its own."""
    policies = (
        make_policy("non_identity", {"any_valid_service_token": {}}),
        make_policy("non_identity", CERTIFICATE),
        make_policy("allow", EVERYONE),
    )
    return build(make_application(*policies), book=make_book(tokens=[SCRIPT]))


@pytest.mark.parametrize("make_skin", SKINS)
def test_a_person_is_the_user(make_skin: Callable[..., Skin]) -> None:
    """With the address and the name that the provider told, and without a certificate."""
    reply = Browser(make_skin(build_house().gate)).log_in()
    found = identity(reply.seen[0].whole)
    assert found.user is not None
    assert (found.user.email, found.user.name, found.certificate, found.service_token) == (
        ME.email,
        ME.name,
        None,
        None,
    )
    assert client_certificate(reply.seen[0].whole) is None


@pytest.mark.parametrize("make_skin", SKINS)
def test_a_device_is_the_certificate(make_skin: Callable[..., Skin]) -> None:
    """And nobody has logged in."""
    whole = Browser(make_skin(build_house().gate), PHONE).get().seen[0].whole
    found = identity(whole)
    assert found.certificate is not None
    assert found.certificate is client_certificate(whole)
    assert (found.certificate.common_name, found.user, found.service_token) == ("Rhea Group", None, None)


@pytest.mark.parametrize("make_skin", SKINS)
def test_a_script_is_the_service_token(make_skin: Callable[..., Skin]) -> None:
    """By the name that it was made with."""
    whole = Browser(make_skin(build_house().gate)).fetch(headers=write_pair("id-1", SECRET)).seen[0].whole
    found = identity(whole)
    assert found.service_token is not None
    assert (found.service_token.name, found.user, found.certificate) == ("Nightly import", None, None)


@pytest.mark.parametrize("make_skin", SKINS)
def test_where_anybody_is_let_in_nobody_is_somebody(make_skin: Callable[..., Skin]) -> None:
    """All three are None, and nothing is raised: somebody did look."""
    house = build(make_application(make_policy("bypass", EVERYONE)))
    found = identity(Browser(make_skin(house.gate)).get().seen[0].whole)
    assert (found.user, found.certificate, found.service_token) == (None, None, None)


def test_fastapi_hands_it_over_as_a_dependency() -> None:
    """Its signature names the connection as FastAPI looks for it."""
    app = FastAPI()

    @app.get("/")
    async def page(found: Annotated[Any, Depends(identity)]) -> str:
        assert isinstance(found, Identity)
        return found.certificate.common_name if found.certificate and found.certificate.common_name else ""

    door = AccessMiddleware(app, gate=build_house().gate)
    assert json.loads(ask(door, make_scope([PHONE.pem])).body) == "Rhea Group"


def test_requests_and_websockets_are_taken_as_they_are() -> None:
    """What frameworks hand to a handler, and the scope behind it."""
    found: list[Identity] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = StarletteRequest(scope) if scope["type"] == "http" else WebSocket(scope, receive, send)
        found.extend([identity(connection), identity(scope)])
        if scope["type"] == "http":
            await JSONResponse({})(scope, receive, send)

    door = AccessMiddleware(app, gate=build_house().gate)
    for kind in ("http", "websocket"):
        ask(door, make_scope([PHONE.pem], kind=kind))
    assert len(found) == 4
    assert {each.certificate.common_name for each in found if each.certificate} == {"Rhea Group"}


@pytest.mark.parametrize("ask_for", [identity, client_certificate, tls_client_auth])
def test_without_the_middleware_nobody_is_vouched_for(ask_for: Callable[[object], object]) -> None:
    """An error that names the cure; and what somebody else put under the key is as if nothing were there."""
    for scope in (make_scope([PHONE.pem]), {**make_scope([PHONE.pem]), IDENTITY: (None, None, (), ME, None)}):
        with pytest.raises(MiddlewareMissing, match="AccessMiddleware"):
            ask_for(scope)
    with pytest.raises(TypeError):
        ask_for("request")


def test_it_is_the_same_function_wherever_it_is_imported_from() -> None:
    """`keyfob.identity` must be the function, and stay it after every module of keyfob has been imported."""
    assert keyfob.identity is keyfob.wsgi.identity is identity
    program = "import keyfob.wsgi, keyfob.asgi, keyfob.routing\nfrom keyfob import identity\nprint(callable(identity))"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert said.stdout == "True\n"
