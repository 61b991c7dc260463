"""attendance: an open WebSocket ends when its device is not welcome any more, and is left alone until then."""

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

import keyfob.attendance
from keyfob.attendance import attend
from keyfob.errors import Missing, Reason
from keyfob.policy import Deny, Identity

pytestmark = pytest.mark.anyio

DENIED = Deny(Reason.CERTIFICATE_REVOKED, "Budget", "", Identity(None, Missing("gone"), ()))
SCOPE: Scope = {"type": "websocket", "headers": []}
OFTEN = 0.01
# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfob.attendance, "FAREWELL", 0.05)
    monkeypatch.setattr(keyfob.attendance, "GRACE", 0.05)


class Client:
    """The server's side of one WebSocket: what it gives the app, what it was sent, and how that may go wrong."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.blocks = False
        self.fails: Exception | None = None
        self._put, self._get = anyio.create_memory_object_stream[Message](100)
        self.say({"type": "websocket.connect"})

    def say(self, message: Message) -> None:
        self._put.send_nowait(message)

    async def receive(self) -> Message:
        return await self._get.receive()

    async def send(self, message: Message) -> None:
        if self.blocks:
            await anyio.sleep_forever()
        if self.fails is not None:
            raise self.fails
        self.sent.append(message)

    def close(self) -> None:
        self._put.close()
        self._get.close()

    @property
    def kinds(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.sent]


class Verdict:
    """Lets the WebSocket stay until `denied` is set."""

    def __init__(self) -> None:
        self.denied = False
        self.asked = 0

    def is_past(self, asked: int) -> bool:
        return self.asked > asked

    def __call__(self) -> Deny | None:
        self.asked += 1
        return DENIED if self.denied else None


async def run(app: ASGIApp, client: Client, verdict: Callable[[], Deny | None]) -> None:
    try:
        with anyio.fail_after(SECONDS):
            await attend(app, SCOPE, client.receive, client.send, verdict, OFTEN)
    finally:
        client.close()


async def accept(receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - the client and the verdict know nothing of events
        await anyio.sleep(OFTEN)


async def test_an_open_websocket_is_closed_when_its_device_is_refused() -> None:
    """With the code for a policy violation and the reason; the app learns it as if the client had gone away."""
    client, verdict, heard = Client(), Verdict(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        verdict.denied = True
        heard.append(await receive())
        heard.append(await receive())

    await run(app, client, verdict)
    assert client.sent[-1] == {"type": "websocket.close", "code": 1008, "reason": "certificate-revoked"}
    assert heard == [{"type": "websocket.disconnect", "code": 1008, "reason": "certificate-revoked"}] * 2


async def test_nothing_passes_once_it_is_refused() -> None:
    """What the app still sends raises OSError, which is ASGI's word for a client that is gone."""
    client, verdict = Client(), Verdict()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        verdict.denied = True
        await until(lambda: "close" in client.kinds)
        client.say({"type": "websocket.receive", "text": "let me in"})
        assert (await receive())["type"] == "websocket.disconnect"
        for kind in ("websocket.send", "websocket.close"):
            with pytest.raises(OSError, match="not welcome"):
                await send({"type": kind})

    await run(app, client, verdict)
    assert client.kinds == ["accept", "close"]


async def test_starlette_takes_it_for_a_disconnect() -> None:
    """Its handlers end with WebSocketDisconnect, whether they were receiving or sending."""
    client, verdict = Client(), Verdict()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        verdict.denied = True
        with pytest.raises(WebSocketDisconnect) as caught:
            await websocket.receive_text()
        assert (caught.value.code, caught.value.reason) == (1008, "certificate-revoked")
        with pytest.raises(WebSocketDisconnect):
            await websocket.send_text("late")

    await run(app, client, verdict)


async def test_an_app_that_neither_sends_nor_receives_is_cancelled() -> None:
    """It is told, given time, and then ended; that is no error."""
    client, verdict, ended = Client(), Verdict(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        verdict.denied = True
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    await run(app, client, verdict)
    assert ended
    assert client.kinds == ["accept", "close"]


async def test_an_app_that_returns_in_time_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has to do after a disconnect, it may finish."""
    monkeypatch.setattr(keyfob.attendance, "GRACE", SECONDS)
    client, verdict, ended = Client(), Verdict(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        verdict.denied = True
        await receive()
        await anyio.sleep(OFTEN)
        ended.append(True)

    await run(app, client, verdict)
    assert ended


async def test_a_client_that_reads_nothing_keeps_nobody_waiting() -> None:
    """The app hangs in `send`, and the closing frame does not get through either: both are given up."""
    client, verdict, ended = Client(), Verdict(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        client.blocks = True
        verdict.denied = True
        try:
            await send({"type": "websocket.send", "text": "hello"})
        finally:
            ended.append(True)

    await run(app, client, verdict)
    assert ended


async def test_two_that_wait_at_once_are_both_told() -> None:
    """An app may receive in one task and send in another."""
    client, verdict, heard = Client(), Verdict(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        verdict.denied = True

        async def listen() -> None:
            heard.append((await receive())["type"])

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            group.start_soon(listen)

    await run(app, client, verdict)
    assert heard == ["websocket.disconnect"] * 2


async def test_nobody_stays_if_nobody_can_tell(caplog: pytest.LogCaptureFixture) -> None:
    """A question that fails is answered with no, and the log has the error."""
    client = Client()

    def fail() -> Deny | None:
        raise ZeroDivisionError

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()

    await run(app, client, fail)
    assert (client.sent[-1]["type"], client.sent[-1]["code"]) == ("websocket.close", 1011)
    assert "ZeroDivisionError" in caplog.text


async def test_a_client_that_is_gone_already_is_no_error() -> None:
    """Servers have different words for a frame that comes too late."""
    client, verdict = Client(), Verdict()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        client.fails = RuntimeError("Unexpected ASGI message")
        verdict.denied = True
        assert (await receive())["type"] == "websocket.disconnect"

    await run(app, client, verdict)


async def test_while_it_is_welcome_everything_passes_as_it_is() -> None:
    """Every message of both sides, the very same objects, however often it is asked."""
    client, verdict = Client(), Verdict()
    said: list[Message] = [{"type": "websocket.receive", "text": str(number)} for number in range(5)]
    answers: list[Message] = [{"type": "websocket.send", "text": str(number)} for number in range(5)]
    gone: Message = {"type": "websocket.disconnect", "code": 1001}
    for message in [*said, gone]:
        client.say(message)
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope is SCOPE
        await accept(receive, send)
        for answer in answers:
            heard.append(await receive())
            await send(answer)
            asked = verdict.asked
            await until(partial(verdict.is_past, asked))
        heard.append(await receive())

    await run(app, client, verdict)
    assert all(one is other for one, other in zip(heard, [*said, gone], strict=True))
    assert all(one is other for one, other in zip(client.sent[1:], answers, strict=True))


@pytest.mark.parametrize("end", ["websocket.close", "websocket.http.response.start", "client"])
async def test_what_has_ended_by_itself_is_not_closed_again(end: str) -> None:
    """An app that has closed, refused the handshake, or lost its client, may take its time to clean up."""
    client, verdict = Client(), Verdict()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if end == "client":
            client.say({"type": "websocket.disconnect", "code": 1001})
            await receive()
        else:
            await send({"type": end})
        verdict.denied = True
        await anyio.sleep(10 * OFTEN)

    await run(app, client, verdict)
    assert client.kinds == ([] if end == "client" else [end.removeprefix("websocket.")])


async def test_a_handshake_that_takes_long_is_refused_in_time() -> None:
    """An app that has not accepted yet is asked about, too: closing before that is a 403."""
    client, verdict = Client(), Verdict()
    verdict.denied = True

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.sleep_forever()

    await run(app, client, verdict)
    assert client.kinds == ["close"]


class Failure(Exception):
    """The app's own."""


@pytest.mark.parametrize("kind", [Failure, OSError, KeyboardInterrupt, SystemExit, WebSocketDisconnect])
async def test_what_the_app_raises_comes_out_as_it_is(kind: type[BaseException]) -> None:
    """The very same object, and no group around it."""
    client, failure = Client(), kind()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        raise failure

    with pytest.raises(kind) as caught:
        await run(app, client, Verdict())
    assert caught.value is failure


async def test_what_the_app_raises_on_its_way_out_comes_out_too() -> None:
    """A refusal hides no bug of the app."""
    client, verdict = Client(), Verdict()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        verdict.denied = True
        await receive()
        raise Failure

    with pytest.raises(Failure):
        await run(app, client, verdict)


async def test_a_group_of_the_apps_own_stays_one() -> None:
    """What the app grouped is not taken apart."""
    client, group = Client(), ExceptionGroup("mine", [Failure()])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise group

    with pytest.raises(ExceptionGroup) as caught:
        await run(app, client, Verdict())
    assert caught.value is group


async def test_whoever_cancels_the_request_cancels_the_app() -> None:
    """A server that stops, or a timeout around the app, works as without us."""
    client, ended = Client(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            ended.append(True)
            raise

    with anyio.move_on_after(5 * OFTEN) as scope:
        await run(app, client, Verdict())
    assert scope.cancelled_caught
    assert ended


async def test_an_app_that_fails_while_it_is_cancelled_is_heard() -> None:
    """Its error does not get lost behind the cancellation."""
    client = Client()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            await anyio.sleep_forever()
        finally:
            raise Failure

    with pytest.raises(Failure):
        with anyio.move_on_after(5 * OFTEN):
            await run(app, client, Verdict())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_by_asyncio_itself_ends_as_one() -> None:
    """uvicorn and others know nothing of anyio's scopes."""
    client = Client()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(attend(app, SCOPE, client.receive, client.send, Verdict(), OFTEN))
    await asyncio.sleep(5 * OFTEN)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    client.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("denied", [False, True])
async def test_no_task_is_left_behind(denied: bool) -> None:
    """However it ends."""
    client, verdict = Client(), Verdict()
    verdict.denied = denied

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if denied:
            await receive()

    before = asyncio.all_tasks()
    await run(app, client, verdict)
    assert asyncio.all_tasks() == before


async def test_an_error_leaves_no_cycle_behind() -> None:
    """A WebSocket that fails frees what it held at once."""
    client = Client()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Failure

    gc.collect()
    gc.disable()
    try:
        try:
            await run(app, client, Verdict())
        except Failure as error:
            held: Any = error.__traceback__
            frames = []
            while held is not None:
                frames.append(held.tb_frame.f_locals.get("failure"))
                held = held.tb_next
            assert frames == [None] * len(frames)
    finally:
        gc.enable()
