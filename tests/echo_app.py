"""An ASGI app that answers every request with its own scope, and says which machinery brought it: for real servers."""

import asyncio
import json
from typing import Any

from starlette.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope as JSON: the body of an HTTP answer, or a WebSocket's first text frame."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    text = json.dumps({**scope, "machinery": _machinery(receive)}, default=_show)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode("ascii"))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode("ascii")})


def _machinery(receive: Receive) -> dict[str, str]:
    """The modules of the event loop, and of the server's object behind `receive`, with those that it inherits from."""
    owner = getattr(receive, "__self__", None)
    if type(owner).__module__ == "keyfob.attendance":
        # The gate stands between the server and an open WebSocket.
        owner = getattr(getattr(owner, "_receive", None), "__self__", None)
    modules = [kind.__module__ for kind in type(owner).__mro__]
    return {"loop": type(asyncio.get_running_loop()).__module__, "protocol": " ".join(modules)}


def _show(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
