"""Who asks Google, and where: the service account's key, the place of the API, and a session that carries the tokens.

Nothing that is read here reaches a message or a log but the account's address.
"""

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from budget_app.workbooks.workbook import WorkbookError

GOOGLE = "https://sheets.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/spreadsheets"
# A request that Sheets has not finished by then is answered with an error
# (https://developers.google.com/workspace/sheets/api/limits).
REQUEST_LIMIT = 180.0
# A write is at most three requests to write and three to read, and 60 of either are allowed in a minute.
PACE = 3.0
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API is, how long it may work on one request, and the pace it allows; both in seconds."""

    origin: str = GOOGLE
    request_limit: float = REQUEST_LIMIT
    pace: float = PACE

    @property
    def timeout(self) -> tuple[float, float]:
        """To connect, and to wait for more of an answer."""
        return CONNECT_TIMEOUT, min(READ_TIMEOUT, self.request_limit)


def choose_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """Google's own, unless `BUDGET_GOOGLE_ENDPOINT` names another one. Raises WorkbookError.

    That is for tests and emulators, and so are `BUDGET_GOOGLE_REQUEST_LIMIT` and `BUDGET_GOOGLE_PACE`, which say how
    long such an endpoint may work on a request and how seldom it wants to be asked: they count for it alone.
    """
    origin = environ.get("BUDGET_GOOGLE_ENDPOINT", "").removesuffix("/")
    if not origin:
        return Endpoint()
    _require_safe("BUDGET_GOOGLE_ENDPOINT", origin)
    if urlsplit(origin).path or urlsplit(origin).query:
        raise WorkbookError(
            "BUDGET_GOOGLE_ENDPOINT has more than a scheme, a host and a port",
            "write it as https://host:port",
        )
    limit = _read_seconds(environ, "BUDGET_GOOGLE_REQUEST_LIMIT", REQUEST_LIMIT)
    return Endpoint(origin, limit, _read_seconds(environ, "BUDGET_GOOGLE_PACE", PACE))


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """A service account; `email` is the address to share a spreadsheet with."""

    credentials: Credentials
    email: str
    token_uri: str


def read_account(path: Path | None, environ: Mapping[str, str]) -> Account:
    """The account of the JSON file at `path`, else as the environment has it. Raises WorkbookError.

    There, `BUDGET_GOOGLE_CREDENTIALS` is the JSON itself, and `GOOGLE_APPLICATION_CREDENTIALS` a path to it.
    """
    if path is not None:
        return _make_account(_read_file(path), str(path))
    if text := environ.get("BUDGET_GOOGLE_CREDENTIALS"):
        return _make_account(text, "BUDGET_GOOGLE_CREDENTIALS")
    if name := environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return _make_account(_read_file(Path(name).expanduser()), name)
    raise WorkbookError(
        "there is no key of a service account to ask Google with",
        "name its JSON file as credentials under [workbook] in budget.toml, or in GOOGLE_APPLICATION_CREDENTIALS",
    )


class AccountSession(Session):
    """Carries the account's tokens to one endpoint, whatever address of Google's it is asked for; tries once."""

    def __init__(self, account: Account, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint
        _restrict(self, endpoint.origin)
        self.auth = _Bearer(account, endpoint)

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> Response:
        if not isinstance(url, str) or not url.startswith(f"{GOOGLE}/"):
            raise ValueError("this session asks for spreadsheets alone")
        return super().request(method, self._endpoint.origin + url.removeprefix(GOOGLE), *args, **kwargs)


class _Bearer(AuthBase):
    """Puts a token on each request, a new one when the old one has expired.

    google-auth's own session would send a refused request again by itself, which no write may ever be.
    """

    def __init__(self, account: Account, endpoint: Endpoint) -> None:
        self._credentials = account.credentials
        session = Session()
        _restrict(session, account.token_uri)
        self._ask = functools.partial(Request(session), timeout=endpoint.timeout)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if not self._credentials.valid:
            self._credentials.refresh(self._ask)  # type: ignore[no-untyped-call]
        request.headers["Authorization"] = f"Bearer {self._credentials.token}"
        return request


def _restrict(session: Session, origin: str) -> None:
    """One try, no redirects; and no proxy or .netrc for what is on this machine."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=0))
    session.max_redirects = 0
    session.trust_env = urlsplit(origin).hostname not in _LOOPBACK


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WorkbookError(
            "the key of the service account at {path} cannot be read ({reason})",
            "put the JSON file there that Google Cloud gave you, and let this program's user read it",
            path=path,
            reason=error.strerror,
        ) from error
    except UnicodeDecodeError:
        return ""


def _make_account(text: str, source: str) -> Account:
    members = _parse(text)
    if members.get("type") != "service_account":
        raise WorkbookError(
            "{source} is not the key of a service account",
            "make a key of the kind JSON for the service account in the Google Cloud console, and use that file",
            source=source,
        )
    _require_safe("token_uri", str(members.get("token_uri")))
    credentials = _sign_with(members)
    if credentials is None:
        raise WorkbookError(
            "the key in {source} is damaged",
            "download a new one from the Google Cloud console, and use the file as it is",
            source=source,
        )
    return Account(credentials, members["client_email"], members["token_uri"])


def _parse(text: str) -> dict[str, Any]:
    # The error of the parser holds the whole text, so nothing may be raised from it.
    try:
        members = json.loads(text)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _sign_with(members: dict[str, Any]) -> Credentials | None:
    if not isinstance(members.get("client_email"), str) or not _ADDRESS.fullmatch(members["client_email"]):
        return None
    try:
        credentials = Credentials.from_service_account_info(members, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return None
    return credentials if isinstance(credentials, Credentials) else None


def _require_safe(name: str, address: str) -> None:
    """Tokens go over https, or stay on this machine."""
    try:
        parts = urlsplit(address)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        safe = safe and bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        safe = False
    if not safe:
        raise WorkbookError(
            "{name} is no https:// address, and not one of this machine",
            "use https://, or http://127.0.0.1 for an emulator on this machine",
            name=name,
        )


def _read_seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        seconds = float(environ.get(name) or default)
    except ValueError:
        seconds = -1.0
    if not (math.isfinite(seconds) and seconds >= 0):
        raise WorkbookError("{name} is no number of seconds", "write a number such as 1.5", name=name)
    return seconds
