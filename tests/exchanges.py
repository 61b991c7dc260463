"""ASGI without a server: one scope in, what the app sent out."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

from keyfob.request import Request, find_host


@dataclass(frozen=True)
class Answer:
    """Every message that an app sent, and an HTTP answer's parts."""

    messages: list[Message]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


def make_scope(
    chain: Iterable[str] | None = (),
    *,
    kind: str = "http",
    host: str | None = "money.example.com",
    headers: Sequence[tuple[bytes, bytes]] = (),
    **more: Any,
) -> dict[str, Any]:
    """A scope as uvicorn makes it. `chain` None means that the server gave no `tls` extension."""
    named = [] if host is None else [(b"host", host.encode("latin-1"))]
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "https",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [*named, *headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8443),
        "state": {},
        "extensions": {} if chain is None else {"tls": make_tls(chain)},
    }
    if kind == "http":
        scope["method"] = "GET"
    return scope | more


def make_tls(chain: Iterable[str]) -> dict[str, Any]:
    """The `tls` extension, version 0.2."""
    return {
        "server_cert": None,
        "client_cert_chain": tuple(chain),
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1301,
    }


def make_request(scope: Mapping[str, Any], at: float = 0) -> Request:
    """What the ASGI skin makes of a scope."""
    return Request(scope, find_host(scope["headers"]), at)


def ask(app: ASGIApp, scope: dict[str, Any], *, events: Sequence[Message] | None = None) -> Answer:
    """Calls the app once and returns what it sent. `events` is what it receives, an empty request by default."""
    opening: Message = {"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request"}
    waiting = list(events) if events is not None else [opening]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def call() -> None:
        await app(scope, receive, send)

    asyncio.run(call())
    return Answer(sent)
