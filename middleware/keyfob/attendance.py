"""Keeps an eye on open WebSockets: who is refused by now is shown out, however long ago he was let in."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyfob.policy import Deny

LOGGER = logging.getLogger("keyfob")

# Seconds from one question whether the device is still welcome to the next.
INTERVAL = 2.0
# Seconds that the server has for saying so to the client.
FAREWELL = 1.0
# Seconds that the app has for returning, once it was told that the client is gone.
GRACE = 2.0

# RFC 6455 section 7.4.1: a policy violation, and an unexpected condition.
REFUSED, FAILED = 1008, 1011


async def attend(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    is_allowed: Callable[[], Deny | None],
    seconds: float = INTERVAL,
) -> None:
    """Runs an app for one WebSocket and asks every `seconds` whether it may go on: `is_allowed` says why not.

    If not, the WebSocket is closed with code 1008 and the reason. To the app it looks like a client that went away:
    `receive` gives `websocket.disconnect`, and `send` raises OSError. If it has not returned a few seconds later, it is
    cancelled. If asking fails, nobody is let stay: the code is 1011, and the log says what it was.

    On asyncio and trio. Whatever the app raises is raised as it is. What is not promised: that a client answers the
    closing frame; the server decides how long it waits for that, and nothing passes meanwhile.
    """
    await _Attendance(receive, send, is_allowed, seconds).run(app, scope)


class _Farewell(NamedTuple):
    code: int
    reason: str

    def write(self, kind: str) -> Message:
        return {"type": kind, "code": self.code, "reason": self.reason}


class _Attendance:
    def __init__(self, receive: Receive, send: Send, is_allowed: Callable[[], Deny | None], seconds: float) -> None:
        self._receive, self._send = receive, send
        self._is_allowed, self._seconds = is_allowed, seconds
        self._app = anyio.CancelScope()
        # What the app listens with at this moment. Where it hangs in sending, it is cancelled with the rest of the app:
        # a scope for every message would cost as much as the message.
        self._waiting: set[anyio.CancelScope] = set()
        self._farewell: _Farewell | None = None
        self._is_over = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Returns, or raises, as the app does."""
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch)
                try:
                    with self._app:
                        await app(scope, self.receive, self.send)
                except BaseException as error:
                    failure = error
                    raise
                group.cancel_scope.cancel()
        except BaseException:
            if failure is None:
                raise
        if failure is not None:
            # What the task group made of it, a group of its own or nothing but a cancellation, is left behind.
            try:
                raise failure
            finally:
                # Its traceback holds this frame, and this frame would hold it.
                del failure

    async def receive(self) -> Message:
        """What the app receives with."""
        message = None if self._farewell else await self._wait()
        if self._farewell is not None or message is None:
            # Whatever else has come in meanwhile comes too late.
            return (self._farewell or _Farewell(FAILED, "")).write("websocket.disconnect")
        if message["type"] == "websocket.disconnect":
            self._is_over = True
        return message

    async def _wait(self) -> Message | None:
        with anyio.CancelScope() as waiting:
            self._waiting.add(waiting)
            try:
                return await self._receive()
            finally:
                self._waiting.discard(waiting)
        return None

    async def send(self, message: Message) -> None:
        """What the app sends with."""
        if self._farewell is None:
            await self._send(message)
            # Only once the server has taken it: an app may go on after one that was refused.
            if message["type"] not in _GOING_ON:
                self._is_over = True
        if self._farewell is not None:
            raise OSError("the client is not welcome any more")

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(self._seconds)
            if self._is_over:
                return
            farewell = self._find_farewell()
            if farewell is not None:
                break
        self._farewell = farewell
        with anyio.move_on_after(FAREWELL):
            await self._show_out(farewell)
        for waiting in tuple(self._waiting):
            waiting.cancel()
        await anyio.sleep(GRACE)
        self._app.cancel()

    def _find_farewell(self) -> _Farewell | None:
        try:
            decision = self._is_allowed()
        except Exception:
            LOGGER.exception("nobody can tell whether an open WebSocket is still allowed, so it is closed")
            return _Farewell(FAILED, "")
        if decision is None:
            return None
        return _Farewell(REFUSED, str(decision.reason))

    async def _show_out(self, farewell: _Farewell) -> None:
        try:
            await self._send(farewell.write("websocket.close"))
        except Exception as error:  # noqa: BLE001 - gone before it could be told, in whatever words the server has
            LOGGER.debug("a WebSocket that was to be closed is gone: %r", error)


# What the app sends while the WebSocket is, or will be, open.
_GOING_ON = {"websocket.accept", "websocket.send"}
