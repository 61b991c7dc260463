"""Servers on call: one process that has imported the app, and forks itself for each server that is asked for.

    python -m torture.nursery < orders > pids

An order is a line of JSON, a server's `Order`; the answer is its process id. Forking needs a process without threads,
and starting takes a moment instead of seconds. A server speaks plain HTTP, and in front of the app is the real door,
which is told that the device's certificate came with the connection.
"""

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from budget_app.app import create_app
from budget_app.budget import open_budget
from budget_app.settings import Place
from certificates import make_authority, make_leaf
from keyfob import AccessMiddleware
from torture.plug import Plug, pull_at


@dataclass(frozen=True)
class Order:
    """A server: its port, the settings of its budget, the file for what it says, and whether it loses power."""

    port: int
    settings: str
    log: str
    plug: Plug | None = None

    def write(self) -> str:
        return json.dumps(asdict(self))


def read_order(line: str) -> Order:
    """As `Order.write` has written it."""
    members = json.loads(line)
    plug = members.pop("plug")
    return Order(plug=None if plug is None else Plug(**plug), **members)


class _Handshake:
    """Tells the app what a TLS server would."""

    def __init__(self, app: ASGIApp, chain: list[str]) -> None:
        self.app = app
        self.tls: dict[str, Any] = {"client_cert_chain": chain, "client_cert_name": None, "client_cert_error": None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_as_before() -> Message:
            # The door looks for the server behind `receive`, and this one knows nothing of certificates.
            return await receive()

        await self.app({**scope, "scheme": "https", "extensions": {"tls": self.tls}}, receive_as_before, send)


def main() -> None:
    """Fork until nobody orders any more; the servers are ended by who ordered them."""
    # The kernel forgets servers as they end.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    authority = make_authority()
    chain = [make_leaf(authority).pem]
    for line in sys.stdin:
        order = read_order(line)
        pid = os.fork()
        if pid == 0:
            try:
                _serve(order, authority.pem, chain)
            finally:
                os._exit(70)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _serve(order: Order, roots: str, chain: list[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    place = Place(Path(order.settings))
    if order.plug is not None:
        pull_at(order.plug, place.folder)
    path = place.folder.with_name(f"{place.folder.name}-ca.pem")
    path.write_text(roots, encoding="ascii")
    app = AccessMiddleware(create_app(lambda: open_budget(place)), roots=path)
    uvicorn.run(
        _Handshake(app, chain),
        port=order.port,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_keep_alive=60,
    )


if __name__ == "__main__":
    main()
