"""Carrying: what the steps of a login ask for is done here, and nowhere else. It waits, so ASGI gives it a thread."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

import httpx

from keyfob.errors import KeyfobError, LoginUnavailable
from keyfob.login.authorities import make_context
from keyfob.login.exchanges import Ask, Fetch, Fetched, Post, Steps, Store, Work
from keyfob.login.posting import post

T = TypeVar("T")

# Seconds that a provider has for one answer, all of it.
PATIENCE = 5.0
# Octets of an answer: the largest are key sets and lists of groups.
LARGEST = 1_000_000


class Carrier:
    """Does what steps ask for, with one state database. Shared by threads; a forked child begins anew by itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fetcher = _Fetcher()

    def run(self, steps: Steps[T]) -> T:
        """All the steps, one after the other."""
        return drive(steps, self.perform)

    def perform(self, ask: Ask) -> Any:
        """One exchange. Raises LoginUnavailable for everything that cannot be had."""
        match ask:
            case Fetch():
                return self._find_fetcher().fetch(ask)
            case Post():
                return post(ask)
            case Work():
                try:
                    return ask.do(self._store)
                except KeyfobError as error:
                    raise LoginUnavailable(error.message, error.hint) from error

    def _find_fetcher(self) -> "_Fetcher":
        if self._fetcher.process != os.getpid():
            self._fetcher = _Fetcher()
        return self._fetcher


def drive(steps: Steps[T], perform: Callable[[Ask], Any]) -> T:
    """Runs steps to their end."""
    try:
        ask = next(steps)
        while True:
            try:
                answer = perform(ask)
            except LoginUnavailable as error:
                ask = steps.throw(error)
            else:
                ask = steps.send(answer)
    except StopIteration as end:
        found: T = end.value
        return found


# --- HTTP -------------------------------------------------------------------------------------------------------------


class _Fetcher:
    """One thread with an event loop of its own, where a limit is a limit: a slow answer cannot stretch it.

    The thread ends with whoever has it.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # For each authority, with what its file was like when it was read.
        self._clients: dict[str, tuple[object, httpx.AsyncClient]] = {}

    def fetch(self, ask: Fetch) -> Fetched:
        future: Future[Fetched] = asyncio.run_coroutine_threadsafe(self._limit(ask), self._find_loop())
        try:
            return future.result(PATIENCE + 1.0)
        except TimeoutError:
            future.cancel()
            raise LoginUnavailable(f"{_name(ask.url)} did not answer within {PATIENCE:g} seconds") from None
        except (CancelledError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise LoginUnavailable(f"{_name(ask.url)} cannot be asked: {type(error).__name__}: {error}") from error

    def _find_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="keyfob-logins", daemon=True).start()
                weakref.finalize(self, _end, self._loop, self.process)
            return self._loop

    async def _limit(self, ask: Fetch) -> Fetched:
        async with asyncio.timeout(PATIENCE):
            return await self._fetch(ask)

    async def _fetch(self, ask: Fetch) -> Fetched:
        client = self._find_client(ask.authority)
        async with client.stream(ask.method, ask.url, headers=dict(ask.headers), content=ask.body or None) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                # A thousand octets can stand for a million.
                raise LoginUnavailable(f"{_name(ask.url)} answers in an encoding that nobody has asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST:
                    raise LoginUnavailable(f"{_name(ask.url)} answers with more than {LARGEST} octets")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Fetched(response.status_code, headers, bytes(body))

    def _find_client(self, authority: str) -> httpx.AsyncClient:
        stamp = _stamp(authority)
        known = self._clients.get(authority)
        if known is None or known[0] != stamp:
            # Whoever has one of before keeps it until the answer has come; there is nothing in it that stays open.
            self._clients[authority] = known = stamp, _make_client(authority)
        return known[1]


def _stamp(authority: str) -> object:
    """What changes with the file: a CA that was replaced is believed, and the one before no more. Raises OSError."""
    if not authority:
        return None
    found = Path(authority).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _make_client(authority: str) -> httpx.AsyncClient:
    """It asks the addresses that it was given alone: no redirects, no proxies of the environment.

    No connection is kept: people seldom log in, and one that the other end has closed meanwhile would be a failed
    login. And no cookie, which would tell a provider of one person what belongs to another.
    """
    return httpx.AsyncClient(
        verify=make_context(authority),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
        timeout=PATIENCE,
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=0),
        headers={"user-agent": "keyfob", "accept": "application/json", "accept-encoding": "identity"},
    )


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, process: int) -> None:
    # In a forked child the thread is not there, and the loop is the parent's.
    if process == os.getpid() and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)


def _name(url: str) -> str:
    """Whom a message is about: the host, where that can be told."""
    try:
        return httpx.URL(url).host or url[:100]
    except (httpx.InvalidURL, ValueError):
        return repr(url[:100])
