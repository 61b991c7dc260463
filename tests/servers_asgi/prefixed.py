"""An app with a page that needs a device, for servers that put a prefix before it: behind its gate, and without one.

The environment variable RULES names the gate's configuration.
"""

import os
import warnings

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from keyfob import AccessMiddleware


async def tell(request: Request) -> JSONResponse:
    return JSONResponse({"page": request.url.path.rpartition("/")[2]})


ROUTES: list[BaseRoute] = [Route("/admin", tell), Route("/page", tell)]


def make() -> AccessMiddleware:
    """The app behind its gate; the server has the prefix."""
    return AccessMiddleware(Starlette(routes=ROUTES), config=os.environ["RULES"])


with warnings.catch_warnings():
    # FastAPI would rather have the server say it, but takes it all the same.
    warnings.simplefilter("ignore")
    # Without a gate, and with the prefix.
    bare = FastAPI(root_path="/api", routes=ROUTES)
gated = make() if "RULES" in os.environ else None
