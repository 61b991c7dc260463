"""Where the money goes, who entered what, and how the ledger and the workbook are."""

import asyncio
from datetime import date, timedelta
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from budget_app.entries import FIRST_DAY
from budget_app.items import Health, Waiting
from budget_app.pages import DevicesPage, HealthPage, OverviewPage
from budget_app.routes.answers import find_budget, find_words, go_to, make_frame, show_json, show_page, wants_json
from budget_app.routes.entries import read_month
from budget_app.routes.posting import receive

# How many of the waiting entries the page names.
_SHOWN = 100


async def show_overview(request: Request) -> Response:
    """`GET /overview`, of this month or of the one in `month`."""
    return await run_in_threadpool(_show_overview, request)


async def show_devices(request: Request) -> Response:
    """`GET /devices`."""
    return await run_in_threadpool(_show_devices, request)


async def write_again(request: Request) -> Response:
    """`POST /health/write-again`: the entries that the workbook has lost, once more."""
    return await receive(request, _write_again)


async def show_health(request: Request) -> Response:
    """`GET /health`: 503 for programs while the workbook cannot be written, unless it is only open elsewhere."""
    return await run_in_threadpool(_show_health, request)


async def _write_again(request: Request, _: dict[str, str]) -> Response:
    budget = find_budget(request)
    missing = sorted(await run_in_threadpool(lambda: budget.view.missing))
    await asyncio.shield(asyncio.wrap_future(budget.ledger.write_again(missing)))
    return show_json({"written_again": len(missing)}) if wants_json(request) else go_to("/health")


def _show_overview(request: Request) -> Response:
    budget, today = find_budget(request), find_budget(request).today
    month = read_month(request.query_params.get("month", "")) or today.replace(day=1)
    spending = budget.view.spending(month, today)
    if wants_json(request):
        categories = [
            {"name": each.name, "spent": str(each.spent), "budget": None if each.budget is None else str(each.budget)}
            for each in spending.categories
        ]
        months = {f"{each:%Y-%m}": str(total) for each, total in spending.months}
        others, total = str(spending.others), str(spending.total)
        return show_json(
            {"month": f"{month:%Y-%m}", "categories": categories, "others": others, "total": total, "months": months}
        )
    earlier, later = (month - timedelta(days=1)).replace(day=1), (month + timedelta(days=31)).replace(day=1)
    last = max([today.replace(day=1), *budget.view.months()[:1]])
    return show_page(
        OverviewPage(
            make_frame(request),
            spending,
            earlier if earlier >= FIRST_DAY else None,
            later if later <= last else None,
        )
    )


def _show_devices(request: Request) -> Response:
    devices = find_budget(request).view.devices()
    if wants_json(request):
        return show_json(
            {
                "devices": [
                    {"name": each.name, "count": each.count, "total": str(each.total), "last": _write(each.last)}
                    for each in devices
                ]
            }
        )
    return show_page(DevicesPage(make_frame(request), devices))


def _show_health(request: Request) -> Response:
    frame, ledger = make_frame(request), find_budget(request).ledger
    if wants_json(request):
        sick = frame.health.problem is not None and not frame.health.busy
        return show_json(_describe(request, frame.health), HTTPStatus.SERVICE_UNAVAILABLE if sick else HTTPStatus.OK)
    waiting = tuple(
        Waiting(record.entry_id, None if record.removed else record.entry, record.at)
        for record in ledger.list_waiting(_SHOWN)
    )
    return show_page(HealthPage(frame, waiting))


def _describe(request: Request, health: Health) -> dict[str, object]:
    words = find_words(request)
    problem, hint = map(words.say_sentence, health.problem) if health.problem else (None, None)
    return {
        "workbook": health.place,
        "rows": health.rows,
        "waiting": health.waiting,
        "missing": health.missing,
        "busy": health.busy,
        "problem": problem,
        "hint": hint,
        "written_at": _write(health.written_at),
        "read_at": _write(health.read_at),
        "next_try": _write(health.next_try),
    }


def _write(moment: date | None) -> str | None:
    return None if moment is None else moment.isoformat()
