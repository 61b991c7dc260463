"""All entries: looking for them, and changing, removing and taking back what the app wrote."""

import re
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import date
from decimal import Decimal
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from budget_app.entries import CENT, MAX_AMOUNT, Entry, EntryError, read_entry
from budget_app.items import Item, Query
from budget_app.ledger import Accepted, Conflict, NotInLedger
from budget_app.pages import EditPage, EntriesPage
from budget_app.routes.answers import (
    describe,
    find_budget,
    find_device,
    go_to,
    make_frame,
    show_json,
    show_messages,
    show_page,
    show_problem,
    wants_json,
)
from budget_app.routes.form import find_notice
from budget_app.routes.posting import NOT_SAVED, accept, read_version, receive
from budget_app.sentences import Sentence
from budget_app.view import show

SIZE = 50
_MONTH = re.compile(r"(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])")
# Where a form may lead back to: the first page, or the list with what was looked for.
_BACK = re.compile(r"/(entries)?(\?[!-~]*)?")
_MEANWHILE = Sentence("This expense was changed in the meantime. Look at it as it is now, and change it again.")


async def list_entries(request: Request) -> Response:
    """`GET /entries`."""
    return await run_in_threadpool(_list_entries, request)


async def show_or_change(request: Request) -> Response:
    """`GET` and `POST /entries/{id}`."""
    if request.method == "POST":
        return await receive(request, _change)
    return await run_in_threadpool(_show, request)


async def remove(request: Request) -> Response:
    """`POST /entries/{id}/remove`."""
    return await receive(request, _remove)


async def undo(request: Request) -> Response:
    """`POST /entries/{id}/undo`."""
    return await receive(request, _undo)


def read_month(text: str) -> date | None:
    """The first day of a month such as `2026-11`, of the years 1900 to 2999; None for anything else."""
    if not _MONTH.fullmatch(text):
        return None
    return date.fromisoformat(f"{text}-01")


def _list_entries(request: Request) -> Response:
    view, asked = find_budget(request).view, request.query_params
    query = Query(
        asked.get("q", "").strip(),
        read_month(asked.get("month", "")),
        asked.get("device", ""),
        asked.get("category", ""),
    )
    number = asked.get("page", "1")
    page = int(number) if re.fullmatch(r"[1-9][0-9]{0,5}", number) else 1
    found = view.search(query, page, SIZE)
    pages = max(1, -(-found.count // SIZE))
    if page > pages:
        page, found = pages, view.search(query, pages, SIZE)
    if wants_json(request):
        entries = [describe(item) for item in found.items]
        return show_json({"entries": entries, "count": found.count, "total": str(found.total), "pages": pages})
    devices = tuple(device.name for device in view.devices() if device.name)
    frame, notice = make_frame(request), find_notice(request)
    return show_page(
        EntriesPage(frame, query, found, page, pages, view.months(), devices, view.all_categories(), notice)
    )


def _show(request: Request) -> Response:
    item = _find(request)
    if wants_json(request):
        return show_json({"entry": describe(item)})
    return show_page(EditPage(make_frame(request), item))


def _find(request: Request) -> Item:
    """The item as the workbook has it. An id that is nobody's, or that was removed, is not found."""
    item = find_budget(request).view.find(request.path_params["entry_id"])
    if item is None or not item.entry_id:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return item


async def _change(request: Request, fields: dict[str, str]) -> Response:
    budget, entry_id = find_budget(request), request.path_params["entry_id"]
    item = await run_in_threadpool(_find, request)
    try:
        _, entry = read_entry(fields | {"id": entry_id}, budget.terms)
    except EntryError as error:
        return await _refuse(request, item, fields, error.messages)
    asked = budget.ledger.change(entry_id, read_version(fields), entry, find_device(request), _read_seen(item))
    return await _finish(request, fields, "changed", await _settle(request, asked))


async def _refuse(
    request: Request, item: Item, fields: Mapping[str, str], messages: Mapping[str, Sentence]
) -> Response:
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if wants_json(request):
        return show_messages(request, messages, status, NOT_SAVED)
    frame = await run_in_threadpool(make_frame, request)
    # The version that was seen, so that what others did in the meantime is still noticed.
    seen = replace(item, version=read_version(fields))
    return show_page(EditPage(frame, seen, fields, messages), status)


async def _remove(request: Request, fields: dict[str, str]) -> Response:
    ledger, entry_id = find_budget(request).ledger, request.path_params["entry_id"]
    seen = await run_in_threadpool(_find_seen, request)
    asked = ledger.remove(entry_id, read_version(fields), find_device(request), seen)
    return await _finish(request, fields, "removed", await _settle(request, asked))


async def _undo(request: Request, fields: dict[str, str]) -> Response:
    ledger, entry_id = find_budget(request).ledger, request.path_params["entry_id"]
    seen = await run_in_threadpool(_find_seen, request)
    accepted = await _settle(request, ledger.undo(entry_id, read_version(fields), find_device(request), seen))
    kinds = {"remove": "removed", "restore": "restored", "change": "changed"}
    kind = kinds.get(accepted.record.kind, "changed") if isinstance(accepted, Accepted) else ""
    return await _finish(request, fields, kind, accepted)


async def _settle(request: Request, asked: "Future[Accepted]") -> Accepted | Response:
    try:
        return await accept(asked)
    except NotInLedger as error:
        raise HTTPException(HTTPStatus.NOT_FOUND) from error
    except Conflict:
        return show_problem(request, HTTPStatus.CONFLICT, NOT_SAVED, _MEANWHILE)


async def _finish(request: Request, fields: dict[str, str], kind: str, accepted: Accepted | Response) -> Response:
    if isinstance(accepted, Response):
        return accepted
    if wants_json(request):
        return show_json({"entry": describe(show(accepted.record)), "removed": accepted.record.removed})
    back = fields.get("back", "")
    path = back if _BACK.fullmatch(back) else "/"
    return go_to(path, **{kind: accepted.record.entry_id})


def _find_seen(request: Request) -> Entry | None:
    item = find_budget(request).view.find(request.path_params["entry_id"])
    return None if item is None else _read_seen(item)


def _read_seen(item: Item) -> Entry | None:
    """What the workbook has, if it is an expense; odd cells are nothing that could be put back."""
    if item.waiting or not isinstance(item.amount, Decimal) or not isinstance(item.date, date):
        return None
    if abs(item.amount) > MAX_AMOUNT:
        return None
    return Entry(item.amount.quantize(CENT), item.category, item.date, item.note)
