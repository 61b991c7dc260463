"""An app in one process with the test: started, asked once, and stopped, as a server does it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import ASGIApp, Message

from exchanges import Answer

# Long enough for a busy machine; nothing waits for it on a quiet one.
PATIENCE = 30


def live_and_ask(app: ASGIApp, scope: dict[str, Any]) -> Answer:
    """What the app sends in answer to one request or handshake, within its lifespan."""

    async def call() -> Answer:
        async with living(app), asyncio.timeout(PATIENCE):
            return await ask(app, scope)

    return asyncio.run(call())


async def ask(app: ASGIApp, scope: dict[str, Any]) -> Answer:
    """Other than `exchanges.ask`, keeps the client there until the answer is complete: frameworks listen for that."""
    opening: Message = {"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request"}
    leaving = {"websocket.connect": "websocket.disconnect", "http.request": "http.disconnect"}[opening["type"]]
    waiting, sent, complete = [opening], list[Message](), asyncio.Event()

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await complete.wait()
        return {"type": leaving, "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)
        ends = message["type"] in {"http.response.body", "websocket.http.response.body", "websocket.close"}
        if ends and not message.get("more_body"):
            complete.set()

    await app(scope, receive, send)
    return Answer(sent)


@contextlib.asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[None]:
    """Between start-up and shutdown. An app that knows no lifespan says so by an exception, and goes without."""
    events, said = asyncio.Queue[Message](), asyncio.Queue[str]()

    async def send(message: Message) -> None:
        said.put_nowait(message["type"])

    async def live() -> None:
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, events.get, send)
        except Exception:  # noqa: BLE001 - the specification leaves open which
            said.put_nowait("unsupported")

    task = asyncio.create_task(live())
    events.put_nowait({"type": "lifespan.startup"})
    started = await said.get()
    if started == "lifespan.startup.failed":
        raise RuntimeError("the app did not start")
    yield
    if started == "lifespan.startup.complete":
        events.put_nowait({"type": "lifespan.shutdown"})
    await task
