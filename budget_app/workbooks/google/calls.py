"""The calls to the Sheets API, each made once, and what it means when one fails."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import gspread
from google.auth.exceptions import GoogleAuthError, RefreshError
from gspread.exceptions import APIError
from requests import RequestException, Response
from requests.exceptions import ConnectTimeout, ContentDecodingError, InvalidJSONError, TooManyRedirects
from urllib3.exceptions import NewConnectionError

from budget_app.workbooks.google.account import Account, AccountSession, Endpoint
from budget_app.workbooks.workbook import WorkbookError

Json = dict[str, Any]
# Sheets asks for requests of at most 2 MB.
MOST_BYTES = 1_500_000
LONGEST_WAIT = 3600.0
QUOTA_WAIT = 60.0

_WAIT = "wait; it is tried again by itself"


class Fate(Enum):
    """What became of a request that failed."""

    UNSENT = "Google never got it"
    REFUSED = "Google refused it, and did nothing of it"
    EXPIRED = "Google refused its token, and did nothing of it"
    UNKNOWN = "it may have been done, and may still be"


class Failed(Exception):
    """A request has failed; `error` is what to tell of it."""

    def __init__(self, fate: Fate, error: WorkbookError) -> None:
        super().__init__(fate)
        self.fate = fate
        self.error = error


@dataclass(slots=True)
class Names:
    """How to call things to a person."""

    place: str
    sheet: str
    email: str


class Calls:
    """One spreadsheet, through gspread. Each method is one request, and raises Failed."""

    def __init__(self, spreadsheet: str, account: Account, endpoint: Endpoint, names: Names) -> None:
        self._id = spreadsheet
        self._names = names
        self._account = account
        self._session = AccountSession(account, endpoint)
        self._http = gspread.Client(account.credentials, session=self._session).http_client
        self._http.set_timeout(endpoint.timeout)

    def close(self) -> None:
        self._session.close()

    def forget_token(self) -> None:
        self._account.credentials.token = None

    def describe(self) -> Json:
        """The title, and the properties of each sheet."""
        fields = "properties.title,sheets.properties(sheetId,title,sheetType)"
        return self._make(lambda: self._http.fetch_sheet_metadata(self._id, {"fields": fields}))

    def read(self, reference: str) -> list[list[Any]]:
        """The cells as they are stored, dates as serial numbers; without empty ones at the end."""
        options: Any = {"valueRenderOption": "UNFORMATTED_VALUE", "dateTimeRenderOption": "SERIAL_NUMBER"}
        answer = self._make(lambda: self._http.values_get(self._id, reference, options))
        return read_values(answer)

    def append(self, reference: str, values: Sequence[Sequence[Any]]) -> Json:
        """New rows under the table at `reference`; the answer shows them as a person sees them."""
        options: Any = {
            "valueInputOption": "RAW",
            "insertDataOption": "INSERT_ROWS",
            "includeValuesInResponse": "true",
            "responseValueRenderOption": "FORMATTED_VALUE",
        }
        body = {"majorDimension": "ROWS", "values": values}
        return self._make(lambda: self._http.values_append(self._id, reference, options, body))

    def update(self, ranges: Mapping[str, Sequence[Any]]) -> Json:
        """One row of cells for each range; None leaves a cell as it is. The answer shows all cells of the ranges."""
        body = {
            "valueInputOption": "RAW",
            "includeValuesInResponse": True,
            "responseValueRenderOption": "UNFORMATTED_VALUE",
            "responseDateTimeRenderOption": "SERIAL_NUMBER",
            "data": [{"range": name, "majorDimension": "ROWS", "values": [cells]} for name, cells in ranges.items()],
        }
        return self._make(lambda: self._http.values_batch_update(self._id, body))

    def batch(self, requests: Sequence[Json]) -> Json:
        """All of them or none."""
        return self._make(lambda: self._http.batch_update(self._id, {"requests": requests}))

    def _make(self, request: Callable[[], Any]) -> Json:
        try:
            answer = request()
        except APIError as error:
            raise self._judge(error.response, error.error) from error
        except GoogleAuthError as error:
            raise Failed(Fate.UNSENT, self._explain_key(error)) from error
        except RequestException as error:
            raise _judge_connection(error) from error
        except (LookupError, TypeError, AttributeError) as error:
            # gspread expects every error to be of the shape that Google's own have.
            raise unreadable() from error
        if not isinstance(answer, dict):
            raise unreadable()
        return answer

    def _judge(self, response: Response, error: Mapping[str, Any]) -> Failed:
        status, said = response.status_code, str(error.get("message", ""))
        if status == 401:
            return Failed(Fate.EXPIRED, self._explain_key(None))
        if status == 429:
            wait = _read_wait(response)
            return Failed(
                Fate.REFUSED,
                WorkbookError(
                    "Google has had too many requests of this app for now",
                    _WAIT,
                    retry_after=QUOTA_WAIT if wait is None else wait,
                ),
            )
        if status >= 500 or status in (408, 409) or status < 400:
            # What the server has begun may still be going on behind the machine that gave up.
            return Failed(
                Fate.UNKNOWN,
                WorkbookError(
                    "Google Sheets is out of order for now (status {status})",
                    _WAIT,
                    retry_after=_read_wait(response),
                    status=status,
                ),
            )
        return Failed(Fate.REFUSED, self._explain_refusal(status, said))

    def _explain_refusal(self, status: int, said: str) -> WorkbookError:
        names = self._names
        if status == 404:
            return WorkbookError(
                "Google has no spreadsheet {id}, or it was deleted",
                "restore it from the bin of Google Drive, or set the address of another one in budget.toml",
                id=self._id,
            )
        if "protected" in said:
            return WorkbookError(
                "the sheet {sheet} of {place} is protected, and {email} may not change it",
                "open Data, Protect sheets and ranges there, and allow this address",
                sheet=names.sheet,
                place=names.place,
                email=names.email,
            )
        if status == 403:
            return self._explain_permission(said)
        if "Unable to parse range" in said or "No grid with id" in said:
            return no_sheet(names)
        if "number of cells" in said:
            return WorkbookError(
                "{place} is full; Google allows no more cells in one spreadsheet",
                "delete empty columns and rows of its sheets, or begin a new spreadsheet",
                place=names.place,
            )
        return WorkbookError(
            "Google refuses to read or change the sheet {sheet} of {place} (status {status}: {said})",
            "try the same by hand there, and look for what is in the way",
            sheet=names.sheet,
            place=names.place,
            status=status,
            said=" ".join(said.split())[:200],
        )

    def _explain_permission(self, said: str) -> WorkbookError:
        if "has not been used" in said or "is disabled" in said:
            return WorkbookError(
                "the Google Sheets API is not enabled in the project of {email}",
                "enable it in the Google Cloud console under APIs & Services, and wait a minute",
                email=self._names.email,
            )
        return WorkbookError(
            "{place} is not shared with {email}, or not as with an editor",
            "open it in Google Sheets, choose Share, and add {email} as Editor",
            place=self._names.place,
            email=self._names.email,
        )

    def _explain_key(self, error: GoogleAuthError | None) -> WorkbookError:
        if error is not None and (error.retryable or not isinstance(error, RefreshError)):
            return WorkbookError(
                "Google cannot be reached to sign in as {email}",
                "see that this machine is online; it is tried again by itself",
                email=self._names.email,
            )
        return WorkbookError(
            "Google does not accept the key of {email}",
            "see that the clock of this machine is right; otherwise make a new key for this account",
            email=self._names.email,
        )


def no_sheet(names: Names) -> WorkbookError:
    """There is no sheet of this name."""
    return WorkbookError(
        "{place} has no sheet named {sheet}",
        "rename the sheet that holds the expenses to {sheet}, or write its name into budget.toml",
        place=names.place,
        sheet=names.sheet,
    )


def read_values(answer: Mapping[str, Any]) -> list[list[Any]]:
    """The cells in an answer; none if it has none. Raises Failed."""
    values = answer.get("values", [])
    if not isinstance(values, list) or not all(isinstance(row, list) for row in values):
        raise unreadable()
    return values


def _judge_connection(error: RequestException) -> Failed:
    inner = error.args[0] if error.args else None
    if isinstance(error, ConnectTimeout) or isinstance(getattr(inner, "reason", None), NewConnectionError):
        return Failed(
            Fate.UNSENT,
            WorkbookError("Google cannot be reached", "see that this machine is online; it is tried again by itself"),
        )
    if isinstance(error, InvalidJSONError | ContentDecodingError | TooManyRedirects):
        return unreadable()
    return Failed(Fate.UNKNOWN, WorkbookError("Google did not answer", _WAIT))


def unreadable() -> Failed:
    """The answer is not of the shape that it should have."""
    return Failed(Fate.UNKNOWN, WorkbookError("Google answered something that cannot be read", _WAIT))


def _read_wait(response: Response) -> float | None:
    """`Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3); at most an hour."""
    text = response.headers.get("Retry-After", "")
    try:
        wait = (
            float(text) if text.isascii() and text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT) if math.isfinite(wait) else None
