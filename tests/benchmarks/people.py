"""A request with a session seen before, against AuthenticationMiddleware; a login's own work; and what sessions cost.

Both middlewares stand around the same empty app. The provider is one that answers at once, so that all the time that
is measured is ours: sealing and opening the state, the inventory's claim of it, and the signature of the session.
"""

import asyncio
import gc
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
from check import HEADERS, Trivial, empty, receive, send
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.types import ASGIApp, Message, Scope

from certificates import make_authority, make_leaf
from exchanges import make_scope
from keyfob import AccessMiddleware
from keyfob.inventory import open_inventory
from keyfob.login.desk import Desk
from keyfob.login.exchanges import Steps
from keyfob.login.journeys import Journey
from keyfob.login.sessions import Session
from keyfob.policy import Fact, User

ROUNDS, REQUESTS, LIMIT = 41, 2_000, 4.0
LOGINS, LONGEST = 200, 5.0
SESSIONS, LARGEST = 100_000, 32

CONFIG = """
source = { kind = "tls" }
root_certificates = [{ name = "r", certificate = "ca.pem", associated_hostnames = ["money.example.com"] }]
login = { inventory = "inventory.db" }
identity_providers = [
  { name = "Mail", id = "mail", type = "onetimepin", smtp_host = "localhost", sender = "keyfob@example.com" },
]
[[applications]]
name = "Budget"
domain = "money.example.com"
[[applications.policies]]
name = "Me, from anywhere"
decision = "allow"
include = [{ email = { email = "rhea.group@example.com" } }]
"""
ME = User("rhea.group@example.com", "mail", subject="117", name="Rhea Group", methods=frozenset({"mfa"}))


class Instant:
    """A provider that knows who it is before it is asked."""

    id, name, kind = "mail", "Instant", "oidc"

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        """Straight back."""
        yield from ()
        return f"{journey.callback}?state={state}&code=1"

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        """Always the same."""
        yield from ()
        return ME


def _make_token(desk: Desk, bound_to: str = "") -> bytes:
    [tag], now = desk.applications, time.time()
    session = Session(secrets.token_urlsafe(12), tag, now, now + 86_400, ME, bound_to)
    return f"theme=dark; __Host-keyfob-{tag}={desk.sessions.seal(session, [], now)}".encode()


async def _time(app: ASGIApp, scope: Scope) -> float:
    """Microseconds for one request, each with a scope of its own, as servers make them."""
    start = time.perf_counter()
    for _ in range(REQUESTS):
        await app({**scope}, receive, send)
    return (time.perf_counter() - start) / REQUESTS * 1e6


async def _rounds(access: ASGIApp, scope: Scope) -> list[tuple[float, float, float]]:
    authentication = AuthenticationMiddleware(empty, backend=Trivial())
    return [
        (await _time(empty, scope), await _time(authentication, scope), await _time(access, scope))
        for _ in range(ROUNDS)
    ]


def _measure_requests(access: AccessMiddleware, what: str, scope: Scope) -> bool:
    rounds = asyncio.run(_rounds(access, scope))
    theirs = statistics.median(known - bare for bare, known, _ in rounds)
    ours = statistics.median(checked - bare for bare, _, checked in rounds)
    ratio = statistics.median((checked - bare) / (known - bare) for bare, known, checked in rounds)
    print(f"logins: a session seen before, {what}, {ROUNDS} rounds of {REQUESTS} requests, medians")
    print(f"  AuthenticationMiddleware adds  {theirs:6.2f} µs")
    print(f"  AccessMiddleware adds          {ours:6.2f} µs")
    print(f"  ratio                          {ratio:6.2f}    (limit {LIMIT}: {'met' if ratio <= LIMIT else 'MISSED'})")
    return ratio <= LIMIT


# --- A login's own work -----------------------------------------------------------------------------------------------


async def _ask(access: ASGIApp, address: str, cookie: bytes = b"") -> Mapping[bytes, bytes]:
    """The headers of an answer."""
    parts, said = urlsplit(address), {}
    headers = [*HEADERS, (b"cookie", cookie)] if cookie else HEADERS

    async def note(message: Message) -> None:
        said.update(dict(message.get("headers", [])))

    scope = make_scope([], headers=headers)
    scope |= {"path": parts.path, "raw_path": parts.path.encode(), "query_string": parts.query.encode()}
    await access(scope, receive, note)
    return said


async def _log_in(access: ASGIApp) -> float:
    """Milliseconds from the page that somebody wanted to the session, the provider's none."""
    start = time.perf_counter()
    away = await _ask(access, "https://money.example.com/books")
    cookie = away[b"set-cookie"].partition(b";")[0]
    back = await _ask(access, away[b"location"].decode(), cookie)
    if not back[b"set-cookie"].startswith(b"__Host-keyfob-") or parse_qs(urlsplit(back[b"location"]).query):
        raise RuntimeError(f"no session: {back}")
    return (time.perf_counter() - start) * 1e3


async def _log_in_often(access: ASGIApp) -> list[float]:
    return [await _log_in(access) for _ in range(LOGINS)]


def _measure_logins(access: AccessMiddleware) -> bool:
    took = sorted(asyncio.run(_log_in_often(access)))
    median, worst = statistics.median(took), took[int(len(took) * 0.99)]
    print(
        f"logins: the own work of a login, both of its requests, {LOGINS} logins, the inventory in SQLite on this disk"
    )
    verdict = "met" if median <= LONGEST else "MISSED"
    print(f"  median {median:.2f} ms, 99th percentile {worst:.2f} ms    (limit {LONGEST} ms: {verdict})")
    return median <= LONGEST


# --- Memory -----------------------------------------------------------------------------------------------------------


async def _visit(access: ASGIApp, desk: Desk, count: int) -> None:
    for _ in range(count):
        await access(make_scope([], headers=[*HEADERS, (b"cookie", _make_token(desk))]), receive, send)


def _measure_memory(access: AccessMiddleware, desk: Desk) -> bool:
    process = psutil.Process(os.getpid())
    asyncio.run(_visit(access, desk, 5_000))
    gc.collect()
    before = process.memory_info().rss
    asyncio.run(_visit(access, desk, SESSIONS))
    gc.collect()
    grown = (process.memory_info().rss - before) / 1e6
    print(f"logins: {SESSIONS} sessions in use, each with its own cookie, beyond the first 5,000")
    print(
        f"  the server has grown by {grown:.1f} MB    (limit {LARGEST} MB: {'met' if grown <= LARGEST else 'MISSED'})"
    )
    return grown <= LARGEST


def measure() -> bool:
    """Prints what each adds, and the ratio; what a login takes; and what sessions cost."""
    root = make_authority()
    leaf = make_leaf(root)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ca.pem").write_text(root.pem, encoding="ascii")
        (folder / "access.toml").write_text(CONFIG, encoding="utf-8")
        open_inventory(folder / "inventory.db", create=True).close()
        access = AccessMiddleware(empty, config=folder / "access.toml")
        desk = access.gate.desk
        if desk is None:
            raise RuntimeError("nobody can log in")
        desk.providers = {"mail": Instant()}
        bare = make_scope([], headers=[*HEADERS, (b"cookie", _make_token(desk))])
        cookie = _make_token(desk, leaf.certificate.fingerprint(SHA256()).hex())
        bound = make_scope([leaf.pem], headers=[*HEADERS, (b"cookie", cookie)])
        measures: list[Callable[[], bool]] = [
            lambda: _measure_requests(access, "without a certificate", bare),
            lambda: _measure_requests(access, "bound to a certificate", bound),
            lambda: _measure_logins(access),
            lambda: _measure_memory(access, desk),
        ]
        met = [each() for each in measures]
        if access.watch:
            access.watch.close()
    return all(met)
