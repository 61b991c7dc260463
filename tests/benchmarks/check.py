"""A request with a certificate seen before, against Starlette's own AuthenticationMiddleware.

Both stand around the same empty app. The request is a phone's: the headers that Safari sends with a page.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from certificates import make_authority, make_leaf
from exchanges import make_scope
from keyfob import AccessMiddleware

ROUNDS, REQUESTS, LIMIT = 41, 4_000, 2.0

HEADERS = [
    (b"sec-fetch-dest", b"document"),
    (b"user-agent", b"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"sec-fetch-site", b"none"),
    (b"sec-fetch-mode", b"navigate"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"priority", b"u=0, i"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
]

CONFIG = """
source = { kind = "tls" }
root_certificates = [{ name = "r", certificate = "ca.pem", associated_hostnames = ["money.example.com"] }]
[[applications]]
name = "Budget"
domain = "money.example.com"
[[applications.policies]]
name = "My iPhone"
decision = "non_identity"
include = [{ certificate = {} }]
require = [{ common_name = { common_name = "Rhea Group" } }]
"""


class Trivial(AuthenticationBackend):
    """The least that a backend can do: one credential, one user."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        return AuthCredentials(["authenticated"]), SimpleUser("Rhea Group")


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that does nothing, so that what stands around it is all there is."""


async def receive() -> Message:
    return {"type": "http.request"}


async def send(message: Message) -> None:
    raise RuntimeError(f"refused: {message}")


async def time_requests(app: ASGIApp, scope: Scope) -> float:
    """Microseconds for one request, on average."""
    start = time.perf_counter()
    for _ in range(REQUESTS):
        await app(scope, receive, send)
    return (time.perf_counter() - start) / REQUESTS * 1e6


async def _rounds(access: ASGIApp, chain: list[str]) -> list[tuple[float, float, float]]:
    authentication = AuthenticationMiddleware(empty, backend=Trivial())
    rounds = []
    for _ in range(ROUNDS):
        # In turn, so that a slow moment of the machine meets all three.
        bare, known, checked = [
            await time_requests(app, make_scope(chain, headers=HEADERS)) for app in (empty, authentication, access)
        ]
        rounds.append((bare, known, checked))
    return rounds


def measure() -> bool:
    """Prints what each adds to the empty app, and the ratio."""
    root = make_authority()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ca.pem").write_text(root.pem, encoding="ascii")
        Path(folder, "access.toml").write_text(CONFIG, encoding="utf-8")
        access = AccessMiddleware(empty, config=Path(folder, "access.toml"))
        rounds = asyncio.run(_rounds(access, [make_leaf(root).pem]))
        if access.watch:
            access.watch.close()
    theirs = statistics.median(known - bare for bare, known, _ in rounds)
    ours = statistics.median(checked - bare for bare, _, checked in rounds)
    ratio = statistics.median((checked - bare) / (known - bare) for bare, known, checked in rounds)
    print(f"check: a certificate seen before, {ROUNDS} rounds of {REQUESTS} requests, medians")
    print(f"  AuthenticationMiddleware adds  {theirs:6.2f} µs")
    print(f"  AccessMiddleware adds          {ours:6.2f} µs")
    print(f"  ratio                          {ratio:6.2f}    (limit {LIMIT}: {'met' if ratio <= LIMIT else 'MISSED'})")
    return ratio <= LIMIT
