"""The first page: the form, the latest entries, and what is left of the month."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from budget_app.entries import EntryError, read_entry
from budget_app.items import Item
from budget_app.ledger import Conflict, LedgerError
from budget_app.pages import FormPage, Notice, NoticeKind
from budget_app.routes.answers import (
    describe,
    find_budget,
    find_device,
    find_words,
    go_to,
    make_frame,
    show_json,
    show_messages,
    show_page,
    wants_json,
)
from budget_app.routes.posting import NOT_SAVED, accept, explain, receive
from budget_app.sentences import Sentence
from budget_app.view import show
from budget_app.words import Words

LATEST = 10
NOTICES: tuple[NoticeKind, ...] = ("added", "changed", "removed", "restored", "kept")
_PREFILLED = ("amount", "refund", "category", "day", "date", "note")
_TAKEN = Sentence("This id stands for another expense, which is in the list. Open the page again for a new id.")


async def show_or_add(request: Request) -> Response:
    """`GET` and `POST /`."""
    if request.method == "POST":
        return await receive(request, _add)
    if wants_json(request):
        return await run_in_threadpool(_list_latest, request)
    return await run_in_threadpool(_show, request)


async def show_shell(request: Request) -> Response:
    """`GET /shell`: the form without any entries, which a phone may keep for when it has no reception."""
    return await run_in_threadpool(lambda: show_page(_lay_out(request, bare=True)))


def find_notice(request: Request) -> Notice | None:
    """What was done last, as the address says: the kind, and the id of an entry that the ledger has."""
    for kind in NOTICES:
        record = find_budget(request).ledger.find(request.query_params.get(kind, ""))
        if record is not None:
            return Notice(kind, show(record), record.version)
    return None


def fill_in(item: Item, words: Words) -> dict[str, str]:
    """An item as a person would type it."""
    amount = words.typed_amount(abs(item.amount)) if isinstance(item.amount, Decimal) else item.amount
    refund = isinstance(item.amount, Decimal) and item.amount < 0
    typed = {"amount": amount, "category": item.category, "note": item.note}
    return typed | ({"refund": "yes"} if refund else {})


def _show(request: Request) -> Response:
    copied = find_budget(request).view.find(request.query_params.get("copy", ""))
    given = fill_in(copied, find_words(request)) if copied else {}
    typed = given | {name: request.query_params[name] for name in _PREFILLED if name in request.query_params}
    return show_page(_lay_out(request, typed))


def _list_latest(request: Request) -> Response:
    budget = find_budget(request)
    return show_json({"entries": [describe(item) for item in budget.view.latest(LATEST)]})


async def _add(request: Request, fields: dict[str, str]) -> Response:
    budget = find_budget(request)
    try:
        entry_id, entry = read_entry(fields, budget.terms)
        accepted = await accept(budget.ledger.add(entry_id, entry, find_device(request)))
    except EntryError as error:
        return await _refuse(request, fields, error.messages, HTTPStatus.UNPROCESSABLE_ENTITY)
    except Conflict:
        return await _refuse(request, fields, {"id": _TAKEN}, HTTPStatus.CONFLICT)
    except LedgerError as error:
        if wants_json(request):
            raise
        page = await run_in_threadpool(_lay_out, request, fields)
        return show_page(replace(page, failure=explain(error)), HTTPStatus.SERVICE_UNAVAILABLE)
    if wants_json(request):
        status = HTTPStatus.CREATED if accepted.new else HTTPStatus.OK
        return show_json({"entry": describe(show(accepted.record)), "new": accepted.new}, status)
    kind = "added" if accepted.new else "kept"
    return go_to("/", **{kind: entry_id}, **({"then": "another"} if fields.get("then") == "another" else {}))


async def _refuse(request: Request, fields: dict[str, str], messages: Mapping[str, Sentence], status: int) -> Response:
    if wants_json(request):
        return show_messages(request, messages, status, NOT_SAVED)
    page = await run_in_threadpool(_lay_out, request, fields)
    return show_page(replace(page, messages=messages), status)


def _lay_out(request: Request, typed: Mapping[str, str] | None = None, *, bare: bool = False) -> FormPage:
    budget, frame = find_budget(request), make_frame(request)
    view = budget.view
    return FormPage(
        frame=frame,
        entry_id=str(uuid.uuid4()),
        typed=typed or {},
        messages={},
        categories=view.recent_categories(),
        suggestions=view.suggestions(),
        latest=() if bare else view.latest(LATEST),
        spending=None if bare else view.spending(frame.today.replace(day=1), frame.today),
        notice=None if bare else find_notice(request),
        shell=bare,
        failure=None,
    )
