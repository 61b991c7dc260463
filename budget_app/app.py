"""The budget app: one page, whose form puts an expense into the workbook before it answers.

    keyfob serve budget_app.app:app

It knows the device by `keyfob.client_certificate` alone, so keyfob's AccessMiddleware has to stand in front of it.
"""

import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_app.entries import EntryError, clean_device, read_entry
from budget_app.forms import FormError, read_form
from budget_app.ledger import Ledger
from budget_app.origin import CrossOriginError, require_same_origin
from budget_app.pages import FormPage, render_form, render_notice
from budget_app.rows import Row
from budget_app.workbook import ExpenseWorkbook, WorkbookError
from keyfob import client_certificate

_STRICT_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; img-src 'self' data:; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_STATIC = "/static"

_NOTICES: dict[int, tuple[str, str]] = {
    HTTPStatus.NOT_FOUND: ("Nothing here", "The budget has one page, and this is not it."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("That does not work here", "The budget can be opened, and its form can be sent."),
}


def create_app(workbook_path: Path) -> Starlette:
    """An app that keeps its expenses in the workbook at `workbook_path`; nothing is touched before it starts.

    Starting fails with WorkbookError if the workbook is missing and cannot be made, or is there and cannot be used.
    """
    ledger = Ledger(ExpenseWorkbook(workbook_path))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(ledger.workbook.prepare)
        sys.stderr.write(f"  workbook   {ledger.workbook.path}\n")
        yield

    async def show_or_add(request: Request) -> Response:
        return await (_add if request.method == "POST" else _show)(request, ledger)

    styles = StaticFiles(directory=Path(__file__).parent / "static", check_dir=False)
    app = Starlette(
        routes=[Route("/", show_or_add, methods=["GET", "POST"]), Mount(_STATIC, styles)],
        middleware=[Middleware(StrictHeaders)],
        exception_handlers={HTTPException: _answer_http_error, Exception: _answer_failure},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class StrictHeaders:
    """Lets a page load nothing but its own style, be framed by nobody and be kept by no cache."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                # The style may be kept, and is asked for again by its ETag.
                headers.setdefault(
                    "cache-control", "no-cache" if scope["path"].startswith(_STATIC + "/") else "no-store"
                )
                headers.update(_STRICT_HEADERS)
            await send(message)

        await self.app(scope, receive, send_strictly if scope["type"] == "http" else send)


async def _show(request: Request, ledger: Ledger) -> Response:
    page = _blank_page(request)
    try:
        rows = await run_in_threadpool(ledger.rows)
    except WorkbookError as error:
        return _answer(replace(page, problem=error), HTTPStatus.SERVICE_UNAVAILABLE)
    return _answer(replace(page, rows=rows, added=_find_row(rows, request.query_params.get("added", ""))))


async def _add(request: Request, ledger: Ledger) -> Response:
    page = _blank_page(request)
    try:
        require_same_origin(request.scope["headers"], request.scope["scheme"])
        typed = await read_form(request)
    except CrossOriginError:
        # Not 403: Safari hides such a page where a client certificate was asked for, and shows an error of its own.
        return _notice(
            HTTPStatus.BAD_REQUEST, "Not saved", "This form was sent from another site; nothing was written."
        )
    except FormError as error:
        return _notice(error.status, "Not saved", f"{error} Nothing was written.")
    page = replace(page, typed=typed)
    try:
        entry = read_entry(typed, page.today)
        number = await run_in_threadpool(ledger.add, entry, page.device, typed.get("submission", ""))
    except EntryError as error:
        return await _answer_with_rows(replace(page, messages=error.messages), ledger)
    except WorkbookError as error:
        return _answer(replace(page, problem=error), HTTPStatus.SERVICE_UNAVAILABLE)
    return RedirectResponse("/?" + urlencode({"added": number}), HTTPStatus.SEE_OTHER)


async def _answer_with_rows(page: FormPage, ledger: Ledger) -> Response:
    """Answer bad input; a workbook that cannot be read is told first, because it has to be mended first."""
    try:
        rows = await run_in_threadpool(ledger.rows)
    except WorkbookError as error:
        return _answer(replace(page, problem=error), HTTPStatus.SERVICE_UNAVAILABLE)
    return _answer(replace(page, rows=rows), HTTPStatus.UNPROCESSABLE_ENTITY)


def _blank_page(request: Request) -> FormPage:
    certificate = client_certificate(request)
    device = clean_device(None if certificate is None else certificate.common_name)
    return FormPage(device=device, submission=secrets.token_urlsafe(12), today=_today())


def _today() -> date:
    """The day where this machine is."""
    return datetime.now(UTC).astimezone().date()


def _find_row(rows: tuple[Row, ...], number: str) -> Row | None:
    return next((row for row in reversed(rows) if str(row.number) == number), None)


def _answer(page: FormPage, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return HTMLResponse(render_form(page), status)


def _notice(status: int, title: str, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(render_notice(title, sentence), status, headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    title, sentence = _NOTICES.get(error.status_code, ("That did not work", "Go back to the budget and try again."))
    return _notice(error.status_code, title, sentence, error.headers)


async def _answer_failure(request: Request, error: Exception) -> Response:
    response = _notice(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong",
        "The budget app has a fault, which its log describes. Look at the list before you send an expense again.",
    )
    # Starlette sends this answer from outside all other middleware.
    response.headers.update(_STRICT_HEADERS | {"cache-control": "no-store"})
    return response


def _workbook_path(environ: Mapping[str, str]) -> Path:
    if path := environ.get("BUDGET_WORKBOOK"):
        return Path(path)
    return Path(environ.get("KEYFOB_HOME") or ".keyfob") / "budget.xlsx"


app = create_app(_workbook_path(os.environ))
