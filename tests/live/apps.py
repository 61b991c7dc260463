"""Apps for the servers of these tests: each answers with its process, and tells there how the configuration is."""

import asyncio
import os
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from keyfob import AccessMiddleware
from keyfob.live import health
from keyfob.wsgi import AccessMiddleware as WSGIMiddleware


def tell(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


def tell_health(request: Request) -> PlainTextResponse:
    state = health()
    return PlainTextResponse(f"{os.getpid()} {state.problem}", 200 if state.ok else 503)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(str(os.getpid()))
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def ignore(websocket: WebSocket) -> None:
    """Never looks at its WebSocket again."""
    await websocket.accept()
    await websocket.send_text(str(os.getpid()))
    await asyncio.Event().wait()


open_app = Starlette(
    routes=[
        Route("/", tell),
        Route("/health", tell_health),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/ignore", ignore),
    ]
)
# What `keyfob serve` is given is the app without a gate.
app = AccessMiddleware(open_app, config=os.environ["RULES"]) if "RULES" in os.environ else None


def _tell_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    state = health()
    asked = environ["PATH_INFO"] == "/health"
    body = f"{os.getpid()} {state.problem}" if asked else str(os.getpid())
    start_response(
        "503 Service Unavailable" if asked and not state.ok else "200 OK", [("Content-Length", str(len(body.encode())))]
    )
    return [body.encode()]


application = WSGIMiddleware(_tell_wsgi, config=os.environ["RULES"]) if "RULES" in os.environ else None
