"""Answers for people and for programs: a page, or JSON with the same words, as the request asks for."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from budget_app.budget import Budget
from budget_app.items import Item
from budget_app.pages import Frame, NoticePage, Page, Renewal, render
from budget_app.sentences import Sentence
from budget_app.words import Words, choose_words
from keyfob import client_certificate

_PROBLEM = "application/problem+json"


def find_budget(request: Request) -> Budget:
    """The budget that this app serves."""
    budget: Budget = request.app.state.budget
    return budget


def find_device(request: Request) -> str:
    """Who asks, by the name that is written beside an entry."""
    device: str = request.state.device
    return device


def find_words(request: Request) -> Words:
    """The language that this page is in."""
    return choose_words(find_budget(request).settings, request.headers.get("accept-language"))


def make_frame(request: Request) -> Frame:
    """What every page shows."""
    budget = find_budget(request)
    certificate = client_certificate(request)
    # The door says when it is time to renew, and where.
    link = getattr(request.state, "renewal", None)
    renewal = Renewal(link, certificate.not_valid_after.astimezone().date()) if link and certificate else None
    budget.writer.want()
    person: str | None = request.state.person
    return Frame(
        find_device(request), person, budget.today, renewal, budget.examine(), budget.settings, find_words(request)
    )


def wants_json(request: Request) -> bool:
    """Whether a program asks. What takes a page gets a page, and so does who takes anything."""
    accepted = request.headers.get("accept", "").lower()
    return "json" in accepted and "text/html" not in accepted


def show_page(page: Page, status: int = HTTPStatus.OK) -> Response:
    """A page as it is."""
    return HTMLResponse(render(page), status)


def show_json(document: Mapping[str, object], status: int = HTTPStatus.OK, **headers: str) -> Response:
    """A document for a program."""
    return JSONResponse(document, status, headers)


def show_problem(
    request: Request, status: int, title: Sentence, sentence: Sentence, headers: Mapping[str, str] | None = None
) -> Response:
    """Something that went wrong: a page that says so, or problem details (RFC 9457)."""
    words = find_words(request)
    if not wants_json(request):
        return HTMLResponse(render(NoticePage(words, title, sentence)), status, headers)
    document = {"title": words.say_sentence(title), "status": status, "detail": words.say_sentence(sentence)}
    return JSONResponse(document, status, headers, _PROBLEM)


def show_messages(request: Request, messages: Mapping[str, Sentence], status: int, title: Sentence) -> Response:
    """What is wrong with which field, for programs (RFC 9457, section 3.2), in the words of the page."""
    words = find_words(request)
    errors = {name: words.say_sentence(sentence) for name, sentence in messages.items()}
    document = {"title": words.say_sentence(title), "status": status, "errors": errors}
    return JSONResponse(document, status, media_type=_PROBLEM)


def go_to(path: str, **query: str) -> Response:
    """After a POST: a page that may be loaded again without doing anything again."""
    mark = "&" if "?" in path else "?"
    return RedirectResponse(path + (mark + urlencode(query) if query else ""), HTTPStatus.SEE_OTHER)


def describe(item: Item) -> dict[str, object]:
    """One entry for programs. The amount is a text, since JSON's numbers are not decimal."""
    return {
        "id": item.entry_id,
        "version": item.version,
        "amount": str(item.amount),
        "category": item.category,
        "date": str(item.date),
        "note": item.note,
        "device": item.device,
        "waiting": item.waiting,
    }
