"""`on_decision` in the one line that protects a framework's app: it is told, and nobody waits for it."""

import asyncio
import json
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

import pytest
from starlette.types import ASGIApp

from exchanges import make_scope
from frameworks.calls import CALLS
from frameworks.fastapi_app import make_open as make_fastapi
from frameworks.living import PATIENCE, live_and_ask
from keyfob import AccessMiddleware
from keyfob.audit import AuditRecord
from keyfob.callbacks import OnDecision
from keyfob.wsgi import AccessMiddleware as WSGIMiddleware

Told = queue.SimpleQueue[AuditRecord]


def make(on_decision: OnDecision) -> ASGIApp:
    app = make_fastapi()
    app.add_middleware(AccessMiddleware, config="access.toml", on_decision=on_decision)
    return app


def write_down(told: Told) -> Callable[[AuditRecord], None]:
    return told.put


def write_down_later(told: Told) -> OnDecision:
    async def write(record: AuditRecord) -> None:
        await asyncio.sleep(0)
        told.put(record)

    return write


both_kinds = pytest.mark.parametrize("kind", [write_down, write_down_later], ids=["sync", "async"])


@both_kinds
def test_it_is_told_who_was_refused_and_who_came_in(
    here: Path, chain: tuple[str, ...], kind: Callable[[Told], OnDecision]
) -> None:
    """Every refusal with the number that the visitor sees, and a device's first admission."""
    told: Told = queue.SimpleQueue()
    app = make(kind(told))
    refused = live_and_ask(app, make_scope())
    for _ in range(3):
        assert live_and_ask(app, make_scope(chain)).status == 200
    socket = live_and_ask(app, make_scope(kind="websocket", scheme="wss", path="/talk"))
    first, second, third = (told.get(timeout=PATIENCE) for _ in range(3))
    assert (first.decision, first.reason) == ("refused", "certificate-missing")
    assert first.request_id == json.loads(refused.body)["request_id"]
    assert (second.decision, second.common_name, second.host) == ("admitted", "Rhea Group", "money.example.com")
    assert [message["type"] for message in socket.messages] == ["websocket.close"]
    assert (third.decision, third.path) == ("refused", "/talk")


@both_kinds
def test_what_goes_wrong_in_it_changes_no_answer(
    here: Path, chain: tuple[str, ...], kind: Callable[[Told], OnDecision]
) -> None:
    """It raises for every record, also for those behind the first one."""

    class Broken(queue.SimpleQueue[AuditRecord]):
        def put(self, item: AuditRecord, block: bool = True, timeout: float | None = None) -> None:
            super().put(item)
            raise RuntimeError("no network")

    told = Broken()
    app = make(kind(told))
    assert [live_and_ask(app, make_scope()).status for _ in range(2)] == [401, 401]
    assert live_and_ask(app, make_scope(chain)).status == 200
    assert [told.get(timeout=PATIENCE).decision for _ in range(3)] == ["refused", "refused", "admitted"]


def test_one_that_never_returns_keeps_nobody_waiting(here: Path, chain: tuple[str, ...]) -> None:
    """It hangs in a thread of its own."""
    begun, released = threading.Event(), threading.Event()

    def hang(_: AuditRecord) -> None:
        begun.set()
        released.wait(PATIENCE)

    app = make(hang)
    try:
        assert live_and_ask(app, make_scope()).status == 401
        assert begun.wait(PATIENCE)
        assert live_and_ask(app, make_scope(chain)).status == 200
        assert not released.is_set()
    finally:
        released.set()
    assert "hello" in CALLS


@both_kinds
def test_a_wsgi_app_s_line_takes_it_too(here: Path, kind: Callable[[Told], OnDecision]) -> None:
    """Where no event loop runs, an async one gets its own."""
    told: Told = queue.SimpleQueue()

    def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        CALLS.append("hello")
        return []

    app = WSGIMiddleware(hello, config="access.toml", on_decision=kind(told))
    environ: WSGIEnvironment = {"HTTP_HOST": "money.example.com"}
    setup_testing_defaults(environ)
    list(app(environ, cast("StartResponse", lambda status, headers: None)))
    assert told.get(timeout=PATIENCE).reason == "certificate-not-requested"
    assert CALLS == []
