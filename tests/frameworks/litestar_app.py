"""Litestar, protected by one line around it. Paths without a route never reach its own list of middlewares."""

from typing import Any

from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.enums import MediaType

from frameworks.calls import CALLS
from keyfob import AccessMiddleware, client_certificate


@get("/", media_type=MediaType.TEXT)
async def hello(request: Request[Any, Any, Any]) -> str:
    CALLS.append("hello")
    certificate = client_certificate(request)
    return f"Hello, {certificate and certificate.common_name}!"


@websocket("/talk")
async def talk(socket: WebSocket[Any, Any, Any]) -> None:
    CALLS.append("talk")
    certificate = client_certificate(socket)
    await socket.accept()
    await socket.send_text(f"Hello, {certificate and certificate.common_name}!")
    await socket.close()


def make() -> Any:
    app: Any = Litestar(
        [hello, talk],
        on_startup=[lambda: CALLS.append("start")],
        on_shutdown=[lambda: CALLS.append("stop")],
        openapi_config=None,
    )
    app = AccessMiddleware(app, config="access.toml")
    return app  # noqa: RET504 - the line above is the README's, as it stands there
