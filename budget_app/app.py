"""The budget app: an expense goes into the ledger before the answer, and into the workbook right after it.

    keyfob serve budget_app.app:app

It knows the device by `keyfob.client_certificate`, and whoever comes without one by `keyfob.identity`, so keyfob's
AccessMiddleware has to stand in front of it.
"""

import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_app.budget import Budget, open_budget
from budget_app.entries import clean_device
from budget_app.routes import entries, files, form, reports
from budget_app.routes.answers import show_problem
from budget_app.routes.files import STATIC
from budget_app.sentences import Sentence
from budget_app.settings import find_place
from keyfob import client_certificate, identity

_STRICT_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; manifest-src 'self'; "
        "worker-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
# What may be kept, and is asked for again each time.
_KEPT = (f"{STATIC}/", "/service-worker.js", "/manifest.webmanifest")

_NOTICES: dict[int, tuple[Sentence, Sentence]] = {
    HTTPStatus.NOT_FOUND: (Sentence("Nothing here"), Sentence("There is no such page, or no such expense any more.")),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        Sentence("That does not work here"),
        Sentence("Pages can be opened, and their forms can be sent."),
    ),
}
_ROUTES = [
    Route("/", form.show_or_add, methods=["GET", "POST"]),
    Route("/shell", form.show_shell),
    Route("/entries", entries.list_entries),
    Route("/entries/{entry_id}", entries.show_or_change, methods=["GET", "POST"]),
    Route("/entries/{entry_id}/remove", entries.remove, methods=["POST"]),
    Route("/entries/{entry_id}/undo", entries.undo, methods=["POST"]),
    Route("/overview", reports.show_overview),
    Route("/devices", reports.show_devices),
    Route("/health", reports.show_health),
    Route("/health/write-again", reports.write_again, methods=["POST"]),
    Route("/manifest.webmanifest", files.show_manifest),
    Route("/service-worker.js", files.show_worker),
    Mount(STATIC, files.serve_static()),
]


def create_app(open_it: Callable[[], Budget]) -> Starlette:
    """An app for the budget that `open_it` opens when the app starts; nothing is touched before.

    Starting fails with what `open_it` raises.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Writing a workbook is work for Python, beside which an answer waits for its turn: five milliseconds each time
        # as Python comes, one here.
        sys.setswitchinterval(0.001)
        app.state.budget = budget = await run_in_threadpool(open_it)
        sys.stderr.write(f"  workbook   {budget.workbook.place}\n")
        if (problem := budget.writer.progress.problem) is not None:
            sys.stderr.write(
                f"warning: {problem[0]}; expenses wait in the ledger until it is put right\nhint: {problem[1]}\n"
            )
        # What is here now stays until the end. The collector would look through all of it again and again, a tenth of a
        # second each time at some ten thousand entries, in which nobody is answered.
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            gc.unfreeze()
            await run_in_threadpool(budget.close)

    app = Starlette(
        routes=_ROUTES,
        middleware=[Middleware(StrictHeaders), Middleware(NamedVisitor)],
        exception_handlers={HTTPException: _answer_http_error, Exception: _answer_failure},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class StrictHeaders:
    """Lets a page load nothing but the app's own files, be framed by nobody and be kept by no cache."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.setdefault("cache-control", "no-cache" if scope["path"].startswith(_KEPT) else "no-store")
                headers.update(_STRICT_HEADERS)
            await send(message)

        await self.app(scope, receive, send_strictly if scope["type"] == "http" else send)


class NamedVisitor:
    """Sets `request.state.device`, the name to write beside an entry, and `request.state.person`, who has logged in.

    The device is called by the name in its certificate. Where a rule lets somebody in without one, the entry is by the
    person's address, or by the name of the script's service token. Without a door in front, nothing is answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # It raises RuntimeError where no AccessMiddleware has looked at the request.
            certificate, who = client_certificate(scope), identity(scope)
            person = None if who.user is None else clean_device(who.user.email or who.user.display_name)
            if certificate is not None:
                device = clean_device(certificate.common_name)
            else:
                device = person or clean_device(None if who.service_token is None else who.service_token.display_name)
            scope.setdefault("state", {}).update(device=device, person=person)
        await self.app(scope, receive, send)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    otherwise = Sentence("That did not work"), Sentence("Go back to the budget and try again.")
    title, sentence = _NOTICES.get(error.status_code, otherwise)
    return show_problem(request, error.status_code, title, sentence, error.headers)


async def _answer_failure(request: Request, error: Exception) -> Response:
    title = Sentence("Something went wrong")
    sentence = Sentence("The budget app has a fault, which its log describes. What was typed can be sent once more.")
    response = show_problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, title, sentence)
    # Starlette sends this answer from outside all other middleware.
    response.headers.update(_STRICT_HEADERS | {"cache-control": "no-store"})
    return response


app = create_app(lambda: open_budget(find_place(os.environ)))
