"""The app that stands behind the proxies: keyfob's one line around an app that tells what reached it.

The configuration is the file that the environment variable FRONTED_CONFIG names.
"""

import json
import os

from starlette.types import Receive, Scope, Send

from keyfob import AccessMiddleware, client_certificate


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """The headers of the scope, and whose certificate it was, as JSON: an HTTP answer, or a WebSocket's first frame."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    certificate = client_certificate(scope)
    told = {
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "fingerprint": certificate and certificate.fingerprint_sha256,
        "common_name": certificate and certificate.common_name,
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


app = AccessMiddleware(tell, config=os.environ["FRONTED_CONFIG"])
