"""One app behind many gates, for real servers to run: the path names the gate, and what rewrites addresses before it.

The folder that the environment variable DOORS names holds one access.toml for each gate.
"""

import json
import os
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from keyfob import AccessMiddleware, client_certificate
from servers_asgi.rewriting import REWRITING


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Who got in, and what the app sees of the request: an HTTP answer, or a WebSocket's first frame."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    certificate = client_certificate(scope)
    told = {
        "fingerprint": certificate and certificate.fingerprint_sha256,
        "common_name": certificate and certificate.common_name,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "client": scope["client"],
        "server": scope["server"],
    }
    body = json.dumps(told).encode("ascii")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode("ascii")})
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# By path: `/address`, or `/address/granian`.
_DOORS: dict[str, ASGIApp] = {
    f"/{path.stem}/{around}".rstrip("/"): rewriting(AccessMiddleware(tell, config=path))
    for path in Path(os.environ["DOORS"]).glob("*.toml")
    for around, rewriting in REWRITING.items()
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Passes each request to the door that its path names, and the lifespan to the one that trailers are sent to."""
    await _DOORS[scope.get("path", "/rfc9440")](scope, receive, send)
