"""A throwaway certificate authority, the real door in front of the app, and a workbook in a folder of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from python_calamine import CalamineWorkbook
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_app.app import create_app
from certificates import Pair, make_authority, make_leaf, make_name
from keyfob import AccessMiddleware

HOST = "money.example.com"
OpenDoor = Callable[..., ASGIApp]
ReadSheet = Callable[[], list[list[Any]]]


class Handshake:
    """Tells the app what a TLS server tells: the chain that the client presented, as the ASGI TLS extension."""

    def __init__(self, app: ASGIApp, chain: list[str]) -> None:
        self.app = app
        self.tls: Mapping[str, Any] = {"client_cert_chain": chain, "client_cert_name": None, "client_cert_error": None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_as_before() -> Message:
            # A server without TLS may run the app in tests, and must not be asked whether it wants certificates.
            return await receive()

        scope = {**scope, "extensions": {**(scope.get("extensions") or {}), "tls": self.tls}}
        await self.app(scope, receive_as_before, send)


class Client:
    """Sends one request at a time over https to an ASGI app, and follows no redirects. It runs no lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def get(self, path: str = "/", **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str = "/", **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with self.connect() as connection:
                return await connection.request(method, path, **options)

        return anyio.run(send)

    def connect(self) -> httpx.AsyncClient:
        """A client for tests that send many requests at once. A fault in the app is answered, as a server would."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=f"https://{HOST}")


@pytest.fixture(scope="session")
def authority() -> Pair:
    return make_authority("Money App Test")


@pytest.fixture(scope="session")
def open_door(authority: Pair, tmp_path_factory: pytest.TempPathFactory) -> OpenDoor:
    """Puts the real AccessMiddleware before an app, and in front of it the handshake of the named device."""
    roots, _ = authority.write(tmp_path_factory.mktemp("authority"), "ca")

    def build(app: ASGIApp, device: str | None = "Rhea Group") -> ASGIApp:
        name = make_name(organization_name="Nobody") if device is None else make_name(device)
        return Handshake(AccessMiddleware(app, roots=roots), [make_leaf(authority, name).pem])

    return build


@pytest.fixture
def workbook_path(tmp_path: Path) -> Path:
    return tmp_path / "budget.xlsx"


@pytest.fixture
def door(open_door: OpenDoor, workbook_path: Path) -> ASGIApp:
    """The budget app behind its door, for the device “Rhea Group”; its lifespan has not run."""
    return open_door(create_app(workbook_path))


@pytest.fixture
def client(door: ASGIApp) -> Client:
    return Client(door)


@pytest.fixture
def read_sheet(workbook_path: Path) -> ReadSheet:
    """Reads the rows of the sheet Expenses, without the headings, with a reader that the app does not use."""

    def read() -> list[list[Any]]:
        with CalamineWorkbook.from_path(workbook_path) as book:
            return [list(row) for row in book.get_sheet_by_name("Expenses").to_python()][1:]

    return read
