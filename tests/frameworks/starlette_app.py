"""Starlette, protected by one line."""

import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from frameworks.calls import CALLS
from keyfob import AccessMiddleware, client_certificate


async def hello(request: Request) -> PlainTextResponse:
    CALLS.append("hello")
    certificate = client_certificate(request)
    return PlainTextResponse(f"Hello, {certificate and certificate.common_name}!")


async def talk(websocket: WebSocket) -> None:
    CALLS.append("talk")
    certificate = client_certificate(websocket)
    await websocket.accept()
    await websocket.send_text(f"Hello, {certificate and certificate.common_name}!")
    await websocket.close()


@contextlib.asynccontextmanager
async def live(_: Starlette) -> AsyncIterator[None]:
    CALLS.append("start")
    yield
    CALLS.append("stop")


def make() -> Starlette:
    app = Starlette(routes=[Route("/", hello), WebSocketRoute("/talk", talk)], lifespan=live)
    app.add_middleware(AccessMiddleware, config="access.toml")
    return app
