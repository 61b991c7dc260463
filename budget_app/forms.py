"""The body of a form: bytes from a browser in, the text of each field out, or a refusal with status and sentence."""

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from budget_app.sentences import Sentence

FIELDS = frozenset(
    {"id", "version", "amount", "refund", "category", "day", "date", "note", "then", "back"},
)
# A note far too long still comes in, so that the page can say so beside it: 10,000 emoji are 120 kB in a form.
MAX_BODY = 256 * 1024
# A browser shows our answer only if it could finish sending, so a body that is a little too long is read to its end.
_MAX_DRAINED = 1024 * 1024
_MAX_PARTS = 20
_EXAMPLE = '{"id": "…", "amount": "4.50", "category": "Coffee"}'
_DAMAGED = "The form arrived damaged. Open the page again and send it once more."
_CUT_SHORT = "The form arrived cut short. Open the page again and send it once more."


_JSON_WORDS: Mapping[bool | None, str] = {True: "true", False: "", None: ""}


class FormError(Exception):
    """The body is no form of ours; `status` is the HTTP status to answer with and `sentence` what to show."""

    def __init__(self, status: int, text: str, **values: object) -> None:
        super().__init__(text)
        self.status = status
        self.sentence = Sentence(text, values)

    def __str__(self) -> str:
        return str(self.sentence)


async def read_form(request: Request) -> dict[str, str]:
    """Read the body of `request`, at most MAX_BODY bytes, into the text of each field by name.

    A field that was not sent is not in the result. Raises FormError.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if len(request.headers.getlist("content-type")) > 1 or options.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise FormError(415, "The form has to be sent once, as UTF-8 text.")
    if media_type == b"application/x-www-form-urlencoded":
        return _named_once(_parse_urlencoded(await _read_body(request)))
    if media_type == b"multipart/form-data":
        return _named_once(await _parse_multipart(request.headers, await _read_body(request)))
    if media_type == b"application/json":
        return _named_once(_parse_json(await _read_body(request)))
    raise FormError(415, "Only the form of this page can be sent here.")


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    length = 0
    try:
        async for chunk in request.stream():
            length += len(chunk)
            body += chunk[: MAX_BODY + 1 - len(body)]
            if length > _MAX_DRAINED:
                break
    except ClientDisconnect as error:
        raise FormError(400, _CUT_SHORT) from error
    if length > MAX_BODY:
        limit = MAX_BODY // 1024
        raise FormError(413, "The form may hold at most {limit} KiB. Shorten the note and send it again.", limit=limit)
    return bytes(body)


def _parse_urlencoded(body: bytes) -> list[tuple[str, str]]:
    text = _decode(body)
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=_MAX_PARTS
        )
    except ValueError as error:
        raise FormError(400, _DAMAGED) from error


def _parse_json(body: bytes) -> list[tuple[str, str]]:
    """One object of texts and numbers, as they were written; `true` is a text, `false` and `null` are empty ones."""
    try:
        pairs = json.loads(_decode(body), object_pairs_hook=_Pairs, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise FormError(400, _DAMAGED) from error
    if not isinstance(pairs, _Pairs):
        raise FormError(400, "Send one JSON object, such as {example}.", example=_EXAMPLE)
    fields = [(name, _JSON_WORDS.get(value, value) if value in (True, False, None) else value) for name, value in pairs]
    if not all(isinstance(value, str) for _, value in fields):
        raise FormError(400, "Send one JSON object, such as {example}.", example=_EXAMPLE)
    # Half of a surrogate pair is a text to JSON, and nothing that could be written down.
    if not _is_unicode("".join(value for _, value in fields)):
        raise FormError(400, _DAMAGED)
    return fields


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, with names that come twice."""


def _decode(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise FormError(400, _DAMAGED) from error


class _FormParser(MultiPartParser):
    """Knows whether the closing boundary came, so that a body cut short does not pass for a short form."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _parse_multipart(headers: Headers, body: bytes) -> list[tuple[str, str]]:
    parser = _FormParser(headers, _as_stream(body), max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=MAX_BODY)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise FormError(400, _DAMAGED) from error
    await form.close()
    if not parser.ended:
        raise FormError(400, _CUT_SHORT)
    fields = [(name, value) for name, value in form.multi_items() if not isinstance(value, UploadFile)]
    if len(fields) != len(form.multi_items()):
        raise FormError(400, "The form came with a file, and this page takes none.")
    # Starlette reads a part that is not UTF-8 as Latin-1, and would keep other words than were typed.
    _decode(body)
    return fields


async def _as_stream(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def _named_once(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in fields:
        if name not in FIELDS:
            raise FormError(400, "The form has a field that this page does not know.")
        if name in named:
            raise FormError(400, "The form names “{name}” twice.", name=name)
        named[name] = value
    return named
