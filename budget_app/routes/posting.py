"""What every POST has in common: it comes from our own page, its body is a form of ours, and the ledger answers."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from budget_app.forms import FormError, read_form
from budget_app.ledger import Accepted, LedgerError
from budget_app.origin import CrossOriginError, require_same_origin
from budget_app.routes.answers import show_problem
from budget_app.sentences import Sentence

NOT_SAVED = Sentence("Not saved")

_VERSION = re.compile("[1-9][0-9]{0,8}")


class NoVersion(Exception):
    """A form does not say which version of an entry it is about."""


Handle = Callable[[Request, dict[str, str]], Awaitable[Response]]


async def receive(request: Request, handle: Handle) -> Response:
    """Call `handle` with the fields of the form; otherwise say why nothing was written."""
    try:
        require_same_origin(request.scope["headers"], request.scope["scheme"])
        fields = await read_form(request)
    except CrossOriginError:
        # Not 403: Safari hides such a page where a client certificate was asked for, and shows an error of its own.
        sentence = Sentence("This form was sent from another site; nothing was written.")
        return show_problem(request, HTTPStatus.BAD_REQUEST, NOT_SAVED, sentence)
    except FormError as error:
        return show_problem(request, error.status, NOT_SAVED, error.sentence)
    try:
        return await handle(request, fields)
    except NoVersion:
        sentence = Sentence("Send the version that you have seen, such as 1.")
        return show_problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, NOT_SAVED, sentence)
    except LedgerError as error:
        return show_problem(request, HTTPStatus.SERVICE_UNAVAILABLE, NOT_SAVED, explain(error))


async def accept(asked: "Future[Accepted]") -> Accepted:
    """What the ledger says, once it is on disk. Raises what the ledger raises."""
    # Shielded: the ledger goes on if the visitor goes away.
    return await asyncio.shield(asyncio.wrap_future(asked))


def explain(error: LedgerError) -> Sentence:
    """Why the ledger did not take it."""
    return Sentence(
        "The ledger did not take it: {problem}. Nothing was written; see that its disk has room, then send it again.",
        {"problem": error.message},
    )


def read_version(fields: Mapping[str, str]) -> int:
    """The version that the page showed. Raises NoVersion for anything else; our own pages always send one."""
    text = fields.get("version", "")
    if not _VERSION.fullmatch(text):
        raise NoVersion
    return int(text)
