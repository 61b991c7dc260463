"""A stand-in for Google: the Sheets v4 API and the OAuth 2 token endpoint, over HTTP on loopback, with faults to order.

with sheets_server() as google:
    key = google.credentials(tmp_path / "key.json")
    google.faults = FaultPlan(seed=6, share=1 / 3)
    … a client of google.endpoint that asks for google.spreadsheet …
    assert google.ids("Expenses") == […]
"""

import base64
import functools
import json
import random
import secrets
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sheets_grid import Json, Refusal, Sheet, Spreadsheet, name_range, value_range

SCOPE = "https://www.googleapis.com/auth/spreadsheets"
AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SERVER_ERROR = (500, "INTERNAL", "Internal error encountered.")
UNAVAILABLE = (503, "UNAVAILABLE", "The service is currently unavailable.")
NO_TOKEN = (
    401,
    "UNAUTHENTICATED",
    "Request had invalid authentication credentials. Expected OAuth 2 access token or other valid credential.",
)
BAD_GATEWAY = (
    "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>Error 502 (Server Error)!!1</title>"
    "<p><b>502.</b> <ins>That's an error.</ins><p>The server encountered a temporary error and could not complete "
    "your request.<p>Please try again in 30 seconds.</html>\n"
)


class Fault(Enum):
    """What goes wrong with one request; `_AFTER` is after the request was applied, the others before or instead."""

    RESET = "reset"
    RESET_AFTER = "reset, applied"
    ERROR = "500 in JSON"
    ERROR_AFTER = "500 in JSON, applied"
    UNAVAILABLE = "503 in JSON"
    HTML = "502 in HTML"
    HTML_AFTER = "502 in HTML, applied"
    TIMEOUT = "no answer"
    TIMEOUT_AFTER = "no answer, applied"
    TRUNCATED_AFTER = "half an answer, applied"
    TOO_MANY = "429"
    TOO_MANY_BARE = "429 without Retry-After"
    TOO_MANY_AFTER = "429, applied"
    UNAUTHORISED = "401"
    LATE = "reset, applied some time later"
    SLOW = "answered late"

    @property
    def applied(self) -> bool:
        return self.value.endswith(", applied")


@dataclass(frozen=True)
class Seen:
    """One request to the API: `kind` is `read` or `write`, `number` counts them from 1."""

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    kind: str


Faults = Callable[[Seen], Fault | None]


class FaultPlan:
    """Lets a share of all requests fail, each time in one of `kinds`; the same seed gives the same faults."""

    def __init__(self, seed: int, share: float, kinds: Sequence[Fault] = tuple(Fault)) -> None:
        self._random = random.Random(seed)  # noqa: S311  Faults are to be the same each time.
        self._lock = threading.Lock()
        self.share = share
        self.kinds = tuple(kinds)
        self.made: Counter[Fault] = Counter()

    def __call__(self, seen: Seen) -> Fault | None:
        with self._lock:
            if self._random.random() >= self.share:
                return None
            fault = self._random.choice(self.kinds)
            self.made[fault] += 1
            return fault


class FaultList:
    """The faults of the requests to come, one each, None for one that goes well; after the last all go well."""

    def __init__(self, *faults: Fault | None, kind: str | None = None) -> None:
        """`kind` is which requests count, `read` or `write`; without it, all do."""
        self._left = list(faults)
        self._kind = kind

    def __call__(self, seen: Seen) -> Fault | None:
        if self._left and self._kind in (None, seen.kind):
            return self._left.pop(0)
        return None


class Google:
    """What the tests may look at and change. Attributes can be set at any time, also while requests are under way."""

    def __init__(self, sheets: Sequence[str]) -> None:
        self.spreadsheet = secrets.token_urlsafe(33)
        self.book = Spreadsheet("Household", sheets)
        self.email = "budget@keyfob-test.iam.gserviceaccount.com"
        self.endpoint = ""
        self.faults: Faults | None = None
        self.token_faults: Faults | None = None
        self.seen: list[Seen] = []
        self.granted = 0
        self.may_read = self.may_write = self.enabled = self.exists = True
        self.token_seconds = 3600
        # How long a request without an answer is held open, and how late a late one is applied, in seconds.
        self.hang, self.late, self.slow = 5.0, 0.3, 0.05
        # How many reads and writes there may be in how many seconds.
        self.quota: tuple[int, int, float] | None = None
        self.retry_after = "30"
        # Where every request is sent on to, with 307.
        self.redirect: str | None = None
        # What a person does in the very moment before the next write; it is called once, and may not use HTTP.
        self.meddle: Callable[[], None] | None = None
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.late_threads: list[threading.Thread] = []
        self._tokens: dict[str, float] = {}
        self._times: dict[str, list[float]] = {"read": [], "write": []}

    def credentials(self, path: Path, **changes: Any) -> Path:
        """Write the service account's JSON file, with some members changed; returns its path."""
        path.write_text(self.credentials_json(**changes), encoding="utf-8")
        path.chmod(0o600)
        return path

    def credentials_json(self, **changes: Any) -> str:
        members = {
            "type": "service_account",
            "project_id": "keyfob-test",
            "private_key_id": "0123456789abcdef",
            "private_key": private_key_pem(),
            "client_email": self.email,
            "client_id": "1234567890",
            "token_uri": f"{self.endpoint}/token",
        }
        return json.dumps({**members, **changes})

    def rows(self, sheet: str) -> list[list[Any]]:
        """The rows of a sheet from the top, each without the empty cells at its end."""
        with self.lock:
            rows = [list(row) for row in self.book[sheet].rows]
        for row in rows:
            while row and row[-1] is None:
                row.pop()
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def ids(self, sheet: str, heading: str = "Entry ID") -> list[str]:
        """What is in the column of this heading of the first row, from the top, without the empty cells."""
        headings, *rows = self.rows(sheet)
        column = headings.index(heading)
        return [row[column] for row in rows if len(row) > column and row[column] is not None]

    def put(self, sheet: str, rows: Sequence[Sequence[Any]]) -> None:
        """Replace all cells of a sheet."""
        with self.lock:
            self.book[sheet].rows = [[None if cell == "" else cell for cell in row] for row in rows]

    def requests(self, kind: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.kind == kind]

    def forget_tokens(self) -> None:
        """As if every token had expired."""
        self._tokens.clear()

    def grant(self) -> Json:
        token = f"ya29.{secrets.token_urlsafe(40)}"
        self._tokens[token] = time.monotonic() + self.token_seconds
        self.granted += 1
        return {"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"}

    def knows(self, token: str) -> bool:
        return self._tokens.get(token, 0) > time.monotonic()

    def is_over_quota(self, kind: str) -> bool:
        if self.quota is None:
            return False
        reads, writes, seconds = self.quota
        now = time.monotonic()
        times = [each for each in self._times[kind] if each > now - seconds]
        self._times[kind] = [*times, now]
        return len(times) >= (reads if kind == "read" else writes)

    def apply(self, seen: Seen) -> Json:
        """What a request does, and its answer. Raises Refusal."""
        with self.lock:
            self._require_access(seen)
            if seen.kind == "write" and self.meddle is not None:
                meddle, self.meddle = self.meddle, None
                meddle()
            return _ROUTES[_route(seen)](self, seen)

    def _require_access(self, seen: Seen) -> None:
        if not self.enabled:
            message = (
                "Google Sheets API has not been used in project 1234567890 before or it is disabled. Enable it by "
                "visiting https://console.developers.google.com/apis/api/sheets.googleapis.com/overview"
                "?project=1234567890 then retry."
            )
            raise Refusal(message, 403, "PERMISSION_DENIED")
        if not self.exists or seen.path.split("/")[3].split(":")[0] != self.spreadsheet:
            raise Refusal("Requested entity was not found.", 404, "NOT_FOUND")
        if not self.may_read or (seen.kind == "write" and not self.may_write):
            raise Refusal("The caller does not have permission", 403, "PERMISSION_DENIED")


@contextmanager
def sheets_server(*sheets: str) -> Iterator[Google]:
    """The stand-in with one spreadsheet of these sheets, all empty; `Expenses` alone if none is named."""
    google = Google(sheets or ("Expenses",))
    server = _Server(google)
    google.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield google
    finally:
        google.stopping.set()
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()
        for late in google.late_threads:
            late.join()


@functools.cache
def private_key() -> rsa.RSAPrivateKey:
    """The service account's key, one for each process of tests."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def private_key_pem() -> str:
    return private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, google: Google) -> None:
        self.google = google
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that a client keeps open."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no fault of the server; anything else is told on stderr, as before."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  The name is the base class's.
        """Say nothing."""

    def _take(self) -> None:
        google = self.server.google
        address = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, query = urllib.parse.unquote(address.path), dict(urllib.parse.parse_qsl(address.query))
        if google.redirect is not None:
            self._send(307, "text/html", b"", {"Location": google.redirect + self.path})
            return
        if path == "/token":
            seen = Seen(0, self.command, path, query, None, "token")
            fault = google.token_faults(seen) if google.token_faults else None
            self._meet(seen, fault, lambda: _grant(google, body))
            return
        kind = "read" if self.command == "GET" else "write"
        with google.lock:
            seen = Seen(len(google.seen) + 1, self.command, path, query, json.loads(body or b"null"), kind)
            google.seen.append(seen)
            over = google.is_over_quota(kind)
        if not google.knows((self.headers.get("Authorization") or "").removeprefix("Bearer ")):
            self._refuse(*NO_TOKEN)
        elif over:
            self._refuse_too_many(google.retry_after)
        else:
            self._meet(seen, google.faults(seen) if google.faults else None, lambda: google.apply(seen))

    def _meet(self, seen: Seen, fault: Fault | None, apply: Callable[[], Json]) -> None:
        """Apply the request or not, and answer it or not, as the fault would have it."""
        if fault is None or fault is Fault.SLOW:
            if fault:
                self.server.google.stopping.wait(self.server.google.slow)
            self._answer(apply)
            return
        if fault.applied:
            with suppress(Refusal):
                apply()
        if fault is Fault.LATE:
            self._apply_late(apply)
        self._fail(fault)

    def _answer(self, apply: Callable[[], Json]) -> None:
        try:
            answer = apply()
        except Refusal as refusal:
            if refusal.status == "invalid_grant":
                self._send_json(refusal.code, {"error": "invalid_grant", "error_description": str(refusal)})
            else:
                self._refuse(refusal.code, refusal.status, str(refusal))
            return
        self._send_json(200, answer)

    def _apply_late(self, apply: Callable[[], Json]) -> None:
        google = self.server.google

        def wait() -> None:
            google.stopping.wait(google.late)
            with suppress(Refusal):
                apply()

        thread = threading.Thread(target=wait)
        google.late_threads.append(thread)
        thread.start()

    def _fail(self, fault: Fault) -> None:
        google = self.server.google
        if fault in (Fault.TIMEOUT, Fault.TIMEOUT_AFTER):
            google.stopping.wait(google.hang)
            self._reset()
        elif fault in (Fault.RESET, Fault.RESET_AFTER, Fault.LATE):
            self._reset()
        elif fault is Fault.TRUNCATED_AFTER:
            self._send(200, "application/json; charset=UTF-8", b'{"spreadsheetId": "', length=400)
            self.close_connection = True
        elif fault in (Fault.HTML, Fault.HTML_AFTER):
            self._send(502, "text/html; charset=UTF-8", BAD_GATEWAY.encode())
        elif fault in (Fault.TOO_MANY, Fault.TOO_MANY_AFTER, Fault.TOO_MANY_BARE):
            self._refuse_too_many(None if fault is Fault.TOO_MANY_BARE else google.retry_after)
        else:
            self._refuse(*_ERRORS.get(fault, SERVER_ERROR))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _refuse_too_many(self, retry_after: str | None) -> None:
        message = (
            "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute per user' of "
            "service 'sheets.googleapis.com' for consumer 'project_number:1234567890'."
        )
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        self._refuse(429, "RESOURCE_EXHAUSTED", message, headers)

    def _refuse(self, code: int, status: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send_json(code, {"error": {"code": code, "message": message, "status": status}}, headers)

    def _send_json(self, code: int, answer: Json, headers: Mapping[str, str] | None = None) -> None:
        self._send(code, "application/json; charset=UTF-8", json.dumps(answer).encode(), headers)

    def _send(
        self, code: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(length or len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _grant(google: Google, body: bytes) -> Json:
    """RFC 7523: an access token for a signed statement of who asks."""
    form = dict(urllib.parse.parse_qsl(body.decode("ascii")))
    if form.get("grant_type") != GRANT:
        raise Refusal("Invalid grant_type", 400, "invalid_grant")
    try:
        signed, _, signature = form["assertion"].rpartition(".")
        private_key().public_key().verify(_unpack(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, KeyError, ValueError):
        raise Refusal("Invalid JWT Signature.", 400, "invalid_grant") from None
    claims = json.loads(_unpack(signed.partition(".")[2]))
    now = time.time()
    if not now - 3700 < claims["iat"] <= now + 60 or not now < claims["exp"] <= claims["iat"] + 3600:
        raise Refusal("Invalid JWT: Token must be a short-lived token.", 400, "invalid_grant")
    if claims["iss"] != google.email:
        raise Refusal("Invalid grant: account not found", 400, "invalid_grant")
    if claims["aud"] != AUDIENCE or SCOPE not in claims["scope"].split():
        raise Refusal("Invalid JWT: audience or scope", 400, "invalid_grant")
    return google.grant()


def _unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _route(seen: Seen) -> str:
    rest = seen.path.split("/", 4)[4] if seen.path.count("/") > 3 else ""
    action = rest.rpartition(":")[2] if ":" in rest and rest.rpartition(":")[2] in _VERBS else ""
    if not rest:
        action = seen.path.rpartition(":")[2] if ":" in seen.path else ""
        return f"{seen.method} {action}".strip()
    return f"{seen.method} values {action}".strip()


def _reference(seen: Seen) -> str:
    reference = seen.path.split("/", 5)[5]
    verb = reference.rpartition(":")[2]
    return reference.rpartition(":")[0] if verb in _VERBS else reference


_ERRORS = {Fault.UNAUTHORISED: NO_TOKEN, Fault.UNAVAILABLE: UNAVAILABLE}
_VERBS = ("append", "clear", "batchUpdate", "batchGet", "batchClear")


def _get(google: Google, seen: Seen) -> Json:
    sheets = [{"properties": sheet.properties} for sheet in google.book.sheets]
    properties = {"title": google.book.title, "locale": "en_GB", "timeZone": "Europe/Lisbon"}
    return {"spreadsheetId": google.spreadsheet, "properties": properties, "sheets": sheets}


def _read(google: Google, seen: Seen) -> Json:
    render = seen.query.get("valueRenderOption", "FORMATTED_VALUE")
    return google.book.read(_reference(seen), render, seen.query.get("dateTimeRenderOption", "SERIAL_NUMBER"))


def _batch_read(google: Google, seen: Seen) -> Json:
    render = seen.query.get("valueRenderOption", "FORMATTED_VALUE")
    dates = seen.query.get("dateTimeRenderOption", "SERIAL_NUMBER")
    read = google.book.read(seen.query["ranges"], render, dates)
    return {"spreadsheetId": google.spreadsheet, "valueRanges": [read]}


def _update(google: Google, seen: Seen) -> Json:
    sheet, box = google.book.update(
        _reference(seen), seen.body["values"], seen.query.get("valueInputOption", "INPUT_VALUE_OPTION_UNSPECIFIED")
    )
    return _updated(google, sheet, box, seen.body["values"], seen.query)


def _append(google: Google, seen: Seen) -> Json:
    option, insert = seen.query.get("valueInputOption", ""), seen.query.get("insertDataOption", "OVERWRITE")
    sheet, table, box = google.book.append(_reference(seen), seen.body["values"], option, insert)
    answer: Json = {"spreadsheetId": google.spreadsheet}
    if table is not None:
        answer["tableRange"] = name_range(sheet, table)
    answer["updates"] = _updated(google, sheet, box, seen.body["values"], seen.query)
    return answer


def _batch_values(google: Google, seen: Seen) -> Json:
    body = seen.body
    before = [[row[:] for row in sheet.rows] for sheet in google.book.sheets]
    options = {name: str(value) for name, value in body.items() if name != "data"}
    try:
        places = [google.book.update(each["range"], each["values"], body["valueInputOption"]) for each in body["data"]]
    except Refusal:
        for sheet, rows in zip(google.book.sheets, before, strict=True):
            sheet.rows = rows
        raise
    responses = [
        _updated(google, sheet, box, each["values"], options)
        for (sheet, box), each in zip(places, body["data"], strict=True)
    ]
    totals = {"totalUpdatedRows": sum(each["updatedRows"] for each in responses)}
    return {"spreadsheetId": google.spreadsheet, **totals, "responses": responses}


def _clear(google: Google, seen: Seen) -> Json:
    sheet, box = google.book.clear(_reference(seen))
    return {"spreadsheetId": google.spreadsheet, "clearedRange": name_range(sheet, box)}


def _batch(google: Google, seen: Seen) -> Json:
    return {"spreadsheetId": google.spreadsheet, "replies": google.book.batch(seen.body["requests"])}


def _updated(
    google: Google, sheet: Sheet, box: Any, values: Sequence[Sequence[Any]], options: Mapping[str, str]
) -> Json:
    answer = {
        "spreadsheetId": google.spreadsheet,
        "updatedRange": name_range(sheet, box),
        "updatedRows": len(values),
        "updatedColumns": max(map(len, values), default=0),
        "updatedCells": sum(value is not None for row in values for value in row),
    }
    if options.get("includeValuesInResponse", "").lower() == "true":
        render = options.get("responseValueRenderOption", "FORMATTED_VALUE")
        dates = options.get("responseDateTimeRenderOption", "SERIAL_NUMBER")
        answer["updatedData"] = value_range(sheet, box, render, dates)
    return answer


_ROUTES: Mapping[str, Callable[[Google, Seen], Json]] = {
    "GET": _get,
    "GET values": _read,
    "GET values batchGet": _batch_read,
    "PUT values": _update,
    "POST values append": _append,
    "POST values clear": _clear,
    "POST values batchUpdate": _batch_values,
    "POST batchUpdate": _batch,
}
