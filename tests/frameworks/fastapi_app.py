"""FastAPI, protected by one line; the certificate is read from the request, and as a dependency."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse

from frameworks.calls import CALLS
from keyfob import AccessMiddleware, ClientCertificate, client_certificate

Certificate = Annotated[ClientCertificate | None, Depends(client_certificate)]

# Whoever depends on the certificate can do so for a whole router.
router = APIRouter(prefix="/router", dependencies=[Depends(client_certificate)])


def note() -> None:
    """Every request's first dependency."""
    CALLS.append("dependency")


@contextlib.asynccontextmanager
async def live(_: FastAPI) -> AsyncIterator[None]:
    CALLS.append("start")
    yield
    CALLS.append("stop")


@router.get("/")
async def greet(request: Request) -> PlainTextResponse:
    CALLS.append("hello")
    return PlainTextResponse(write(client_certificate(request)))


def write(certificate: ClientCertificate | None) -> str:
    return f"Hello, {certificate and certificate.common_name}!"


def make() -> FastAPI:
    app = make_open()
    app.add_middleware(AccessMiddleware, config="access.toml")
    return app


def make_open() -> FastAPI:
    """Without the line that protects it."""
    app = FastAPI(lifespan=live, dependencies=[Depends(note)])
    app.include_router(router)

    @app.get("/")
    async def hello(request: Request) -> PlainTextResponse:
        CALLS.append("hello")
        return PlainTextResponse(write(client_certificate(request)))

    @app.get("/depends")
    async def depends(certificate: Certificate) -> PlainTextResponse:
        CALLS.append("hello")
        return PlainTextResponse(write(certificate))

    @app.get("/plain-depends")
    def plain(certificate: Certificate) -> PlainTextResponse:
        CALLS.append("hello")
        return PlainTextResponse(write(certificate))

    @app.websocket("/talk")
    async def talk(websocket: WebSocket, certificate: Certificate) -> None:
        CALLS.append("talk")
        await websocket.accept()
        await websocket.send_text(write(certificate))
        await websocket.close()

    return app
