"""What a phone keeps: the manifest for the home screen, the service worker, styles, scripts and icons."""

import hashlib
import json
from pathlib import Path

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from budget_app.manifest import make_manifest
from budget_app.routes.answers import find_budget, find_words

STATIC = "/static"
_APP = Path(__file__).parents[1]
_FOLDER = _APP / "static"
_WORKER = "service-worker.js"
# Not of the form, which is all that a phone keeps.
_NOT_KEPT = (_WORKER, "reports.css")


def serve_static() -> ASGIApp:
    """The files, compressed for who takes that; a browser asks again by their ETag.

    Pages are not compressed: they repeat what an address says, and other sites can make a browser ask with its
    certificate, so their length would tell of their content (BREACH).
    """
    return GZipMiddleware(StaticFiles(directory=_FOLDER), minimum_size=500)


async def show_manifest(request: Request) -> Response:
    """`GET /manifest.webmanifest`."""
    document = json.dumps(make_manifest(find_budget(request).settings, find_words(request)), ensure_ascii=False)
    return Response(document, media_type="application/manifest+json")


async def show_worker(request: Request) -> Response:
    """`GET /service-worker.js`, at the root because its place is what it may serve."""
    return Response(_WORKER_SCRIPT, media_type="text/javascript; charset=utf-8")


def _fill_in_worker() -> str:
    """The script with the files that it keeps, and a version that changes whenever one of them or a page does."""
    kept = [
        path
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in (".css", ".js", ".svg") and path.name not in _NOT_KEPT
    ]
    parts = [
        *sorted(_FOLDER.rglob("*.*")),
        *sorted((_APP / "templates").glob("*")),
        *sorted((_APP / "languages").glob("*")),
    ]
    version = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:16]
    files = json.dumps([f"{STATIC}/{path.relative_to(_FOLDER).as_posix()}" for path in kept])
    script = (_FOLDER / _WORKER).read_text(encoding="utf-8")
    return script.replace("__VERSION__", version).replace("__FILES__", files)


_WORKER_SCRIPT = _fill_in_worker()
