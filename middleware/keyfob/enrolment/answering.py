"""What the two apps, for enrolment and for renewal, have in common in how they listen and answer."""

import logging
from collections.abc import Awaitable, Callable, Container
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyfob.enrolment.floods import Restraint
from keyfob.enrolment.pages import FILE, PROFILE, render_message
from keyfob.enrolment.requests import Refused
from keyfob.enrolment.style import CONTENT_POLICY
from keyfob.errors import PKIError

_log = Restraint(logging.getLogger(__name__))
_T = TypeVar("_T")

# Seconds for a whole body, however slowly it comes: whoever never ends it would keep a connection for good.
BODY_TAKES = 15.0
LARGEST_BODY = 1024
_FORM = "application/x-www-form-urlencoded"
_PRESS = "Open the page itself, and press its button."

STRICT_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}


class StrictHeaders:
    """Lets a page load nothing, be framed by nobody and be kept by no cache; `referrer` is who learns where it was."""

    def __init__(self, app: ASGIApp, referrer: str) -> None:
        self.app = app
        self._headers = STRICT_HEADERS | {"referrer-policy": referrer}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).update(self._headers)
            await send(message)

        await self.app(scope, receive, send_strictly if scope["type"] == "http" else send)


class Threads:
    """Threads of one's own for what blocks, `at_once` of them in each event loop: the app's are not for strangers."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar("keyfob's own threads")

    async def run(self, function: Callable[[], _T]) -> _T:
        return await anyio.to_thread.run_sync(function, limiter=self._find_limiter())

    def _find_limiter(self) -> anyio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._at_once)
            self._limiter.set(limiter)
            return limiter


class TooLarge(Refused):
    """More than a request can be."""


class TooSlow(Refused):
    """The body did not come to its end in time. The connection is of no more use: close it."""


async def take_body(request: Request, largest: int) -> bytes:
    """The body. Raises TooLarge as soon as it is, TooSlow after BODY_TAKES seconds, and ClientDisconnect."""
    chunks, size = [], 0
    with anyio.move_on_after(BODY_TAKES):
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > largest:
                raise TooLarge(f"the request is larger than {largest} octets")
        return b"".join(chunks)
    raise TooSlow(f"the request was not complete within {BODY_TAKES:g} s")


class Unheard(Exception):
    """A button was pressed, and what it said is none of ours; the answer says so."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.answer = say(status, title, _PRESS)
        if status == 408:
            # RFC 9110 section 15.5.9. What is still to come of the body would be waited for otherwise.
            self.answer.headers["connection"] = "close"


async def read_choice(request: Request, usual: str, buttons: Container[str] = frozenset({PROFILE, FILE})) -> str:
    """Which of the buttons was pressed; `usual` where none is named, as by a program. Raises Unheard."""
    try:
        body = await take_body(request, LARGEST_BODY)
    except TooLarge as error:
        raise Unheard(413, "This is more than a button says") from error
    except TooSlow as error:
        raise Unheard(408, "This took too long") from error
    except ClientDisconnect as error:
        raise Unheard(400, "This was not all") from error
    if not body:
        return usual
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Unheard(415, "This is not what a button says")
    pairs = parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True)
    if len(pairs) != 1 or pairs[0][0] != "as" or pairs[0][1] not in buttons:
        raise Unheard(400, "This is not what a button says")
    return pairs[0][1]


async def guard(answer: Awaitable[Response]) -> Response:
    """The answer; a page and a line for the log where keys or inventory cannot be used."""
    try:
        return await answer
    except PKIError as error:
        _log.fail(type(error).__name__, "%s (hint: %s)", error.message, error.hint)
        return say(503, "This does not work right now", "Nothing was used up. The server's log says what is wrong.")


def show(status: int, page: str) -> Response:
    """A page."""
    return HTMLResponse(page, status)


def say(status: int, title: str, words: str) -> Response:
    """A page that says why something was not done. Never 403, which Safari hides behind an error of its own."""
    return show(status, render_message(title, words, bad=True))


def find_agent(request: Request) -> str:
    """What the browser says of itself."""
    return request.headers.get("user-agent", "")
