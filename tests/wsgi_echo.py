"""A WSGI app that tells what reached it, behind doors of one line each, for every server to serve.

The environment variable ECHO_DOORS names a folder of configurations; the first segment of a request's path says which
of them is asked, so that one server can show them all.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from keyfob.wsgi import AccessMiddleware, client_certificate


def tell(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers with whose certificate it was, which path was asked for, and every key that a header has become."""
    certificate = client_certificate(environ)
    told = {
        "common_name": certificate and certificate.common_name,
        "fingerprint": certificate and certificate.fingerprint_sha256,
        "keys": sorted(key for key in environ if key.startswith("HTTP_")),
        "address": environ.get("REMOTE_ADDR"),
        "prefix": environ.get("SCRIPT_NAME", ""),
        "path": environ.get("PATH_INFO", ""),
    }
    body = json.dumps(told).encode("ascii")
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


DOORS = {path.stem: AccessMiddleware(tell, config=path) for path in Path(os.environ["ECHO_DOORS"]).glob("*.toml")}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Passes everything on as it is, `start_response` too."""
    return DOORS[environ["PATH_INFO"].split("/")[1]](environ, start_response)


# What mod_wsgi looks for.
application = app
