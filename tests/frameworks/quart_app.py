"""Quart, protected by one line."""

from quart import Quart, request, websocket

from frameworks.calls import CALLS
from keyfob import AccessMiddleware, client_certificate


def make() -> Quart:
    app = Quart(__name__)

    @app.before_serving
    async def start() -> None:
        CALLS.append("start")

    @app.after_serving
    async def stop() -> None:
        CALLS.append("stop")

    @app.before_request
    async def note() -> None:
        CALLS.append("middleware")

    @app.get("/")
    async def hello() -> str:
        CALLS.append("hello")
        certificate = client_certificate(request)
        return f"Hello, {certificate and certificate.common_name}!"

    @app.websocket("/talk")
    async def talk() -> None:
        CALLS.append("talk")
        certificate = client_certificate(websocket)
        await websocket.send(f"Hello, {certificate and certificate.common_name}!")

    app.asgi_app = AccessMiddleware(app.asgi_app, config="access.toml")  # type: ignore[assignment,arg-type,method-assign]
    return app
