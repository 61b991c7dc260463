"""The budget app in tests: a client behind a handshake, words of pages, and waiting for the workbook."""

import re
import time
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_app.budget import Budget
from budget_app.workbooks.workbook import Row

HOST = "money.example.com"
OpenDoor = Callable[..., ASGIApp]
ReadRows = Callable[[], tuple[Row, ...]]


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


def settle(budget: Budget) -> None:
    """Wait until the workbook has everything, and the pages know."""
    end = time.monotonic() + 30
    while budget.ledger.count_waiting() or budget.workbook.stamp() != budget.view.stamp:
        assert time.monotonic() < end, budget.writer.progress
        time.sleep(0.01)


def words_of(text: str) -> str:
    """The words of a page, without its tags."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text)))
