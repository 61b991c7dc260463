"""A request whose certificate comes in a header (nginx's format), against Starlette's own AuthenticationMiddleware.

Both stand around the same empty app. Every request brings its own copies of all names and values, as a server's parser
makes them, so that nothing about them has been computed before: not even their hashes.
"""

import asyncio
import gc
import logging
import ssl
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from urllib.parse import quote

from check import CONFIG, HEADERS, Trivial, empty, receive, send
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Scope

from certificates import Pair, make_authority, make_leaf
from exchanges import make_scope
from keyfob import AccessMiddleware
from keyfob.config import load_gate
from keyfob.request import SOCKET_PEER

ROUNDS, REQUESTS, AT_ONCE, LIMIT = 31, 1_600, 32, 3.0
FORGED, LATENCY_LIMIT, MEMORY_LIMIT = 100_000, 1.2, 8.0

NGINX = 'source = { kind = "header", format = "nginx", trusted_proxies = ["127.0.0.1"] }'


def make_access(root: Pair) -> AccessMiddleware:
    """The middleware behind nginx, for the devices of `root`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ca.pem").write_text(root.pem, encoding="ascii")
        rules = CONFIG.replace('source = { kind = "tls" }', NGINX)
        Path(folder, "access.toml").write_text(rules, encoding="utf-8")
        return AccessMiddleware(empty, gate=load_gate(Path(folder, "access.toml")))


def escape(pem: str) -> bytes:
    """As nginx writes $ssl_client_escaped_cert."""
    return quote(pem, safe="").encode("ascii")


def make_request(certificate: bytes) -> Scope:
    """One request through nginx, in bytes that no other request shares."""
    proxied = [
        (b"x-real-ip", b"203.0.113.9"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"x-ssl-client-verify", b"SUCCESS"),
        (b"x-ssl-client-cert", certificate),
    ]
    fresh = [(bytes(bytearray(name)), bytes(bytearray(value))) for name, value in [*proxied, *HEADERS]]
    return make_scope(None, headers=fresh, extensions={SOCKET_PEER: {"client": ("127.0.0.1", 50000)}})


async def time_requests(app: ASGIApp, certificate: bytes) -> float:
    """Microseconds for one request, on average. As few are made at a time as a processor's cache holds."""
    taken = 0.0
    for _ in range(REQUESTS // AT_ONCE):
        scopes = [make_request(certificate) for _ in range(AT_ONCE)]
        start = time.perf_counter()
        for scope in scopes:
            await app(scope, receive, send)
        taken += time.perf_counter() - start
    return taken / (REQUESTS // AT_ONCE * AT_ONCE) * 1e6


class Reading(AuthenticationBackend):
    """What people write by hand: believe the two headers, whoever sent them, and verify nothing."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        if conn.headers.get("x-ssl-client-verify") != "SUCCESS":
            return None
        return AuthCredentials(["authenticated"]), SimpleUser(conn.headers["x-ssl-client-cert"])


async def _rounds(access: ASGIApp, certificate: bytes) -> list[tuple[float, float, float]]:
    """What each adds to the empty app: the trivial backend, the one that reads the headers, and ours."""
    trivial = AuthenticationMiddleware(empty, backend=Trivial())
    reading = AuthenticationMiddleware(empty, backend=Reading())
    rounds = []
    for _ in range(ROUNDS):
        # In turn, so that a slow moment of the machine meets all of them.
        bare, *added = [await time_requests(app, certificate) for app in (empty, trivial, reading, access)]
        least, read, ours = [each - bare for each in added]
        rounds.append((least, read, ours))
    return rounds


def measure() -> bool:
    """Prints what each adds to the empty app, and the ratios. The limit is held against the one that reads headers."""
    root = make_authority()
    rounds = asyncio.run(_rounds(make_access(root), escape(make_leaf(root).pem)))
    least, read, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(ours / read for _, read, ours in rounds)
    bare = statistics.median(ours / least for least, _, ours in rounds)
    print(f"header: nginx's header, a certificate seen before, {ROUNDS} rounds of {REQUESTS} requests, medians")
    print(f"  AuthenticationMiddleware adds  {read:6.2f} µs   (its backend reads the same two headers)")
    print(f"  AuthenticationMiddleware adds  {least:6.2f} µs   (its backend looks at nothing)")
    print(f"  AccessMiddleware adds          {ours:6.2f} µs")
    print(f"  ratio                          {ratio:6.2f}    (limit {LIMIT}: {'met' if ratio <= LIMIT else 'MISSED'})")
    print(f"  ratio to looking at nothing    {bare:6.2f}")
    return ratio <= LIMIT


async def _ignore(message: Message) -> None:
    """Refusals are what a flood is for."""


def forge(leaf: Pair, number: int) -> bytes:
    """A certificate that nobody has issued: the leaf with other bytes at the end of its signature."""
    der = leaf.certificate.public_bytes(Encoding.DER)
    return escape(ssl.DER_cert_to_PEM_cert(der[:-4] + number.to_bytes(4, "big")))


async def _latency(access: ASGIApp, certificate: bytes) -> tuple[float, float]:
    """Medians for a known device, and for Starlette's middleware in the same minutes."""
    authentication = AuthenticationMiddleware(empty, backend=Trivial())
    rounds = [
        (await time_requests(access, certificate), await time_requests(authentication, certificate))
        for _ in range(ROUNDS)
    ]
    return statistics.median(ours for ours, _ in rounds), statistics.median(theirs for _, theirs in rounds)


async def _flood(access: ASGIApp, leaf: Pair) -> tuple[tuple[float, float], tuple[float, float], float]:
    certificate = escape(leaf.pem)
    before = await _latency(access, certificate)
    tracemalloc.start()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    for number in range(FORGED):
        await access(make_request(forge(leaf, number)), receive, _ignore)
    gc.collect()
    grown = (tracemalloc.get_traced_memory()[0] - size) / 2**20
    tracemalloc.stop()
    return before, await _latency(access, certificate), grown


def measure_flood() -> bool:
    """Prints a known device's latency before and after a flood of forged certificates, and what the flood left."""
    root = make_authority()
    logger = logging.getLogger("keyfob.audit")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    before, after, grown = asyncio.run(_flood(make_access(root), make_leaf(root)))
    # A machine that got slower meanwhile made Starlette's middleware slower, too.
    ratio = (after[0] / before[0]) / (after[1] / before[1])
    met = ratio <= LATENCY_LIMIT and grown <= MEMORY_LIMIT
    print(f"flood: {FORGED} different forged certificates through a trusted proxy, medians of {ROUNDS} rounds")
    print(f"  a known device before          {before[0]:6.2f} µs   (AuthenticationMiddleware {before[1]:.2f} µs)")
    print(f"  a known device after           {after[0]:6.2f} µs   (AuthenticationMiddleware {after[1]:.2f} µs)")
    print(f"  memory left behind             {grown:6.2f} MiB   (limit {MEMORY_LIMIT})")
    print(f"  ratio                          {ratio:6.2f}    (limit {LATENCY_LIMIT}: {'met' if met else 'MISSED'})")
    return met
