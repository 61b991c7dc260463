"""The same forgeries in every combination, without a server: what each server writes into a scope is known."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from deploy.forgeries import Headers
from exchanges import make_scope
from keyfob import AccessMiddleware
from servers_asgi.keys import Keys
from servers_asgi.rewriting import REWRITING
from servers_asgi.spellings import SPELLINGS, forge
from servers_asgi.starting import DOORS

# What the servers write into `client` and `server` for a stranger's connection to a port, and for a UNIX socket.
PORTS: dict[str, dict[str, Any]] = {
    "uvicorn": {"client": ("127.0.0.2", 50000), "server": ("127.0.0.1", 8000)},
    "granian": {"client": ("127.0.0.2", "50000"), "server": ("127.0.0.1", "8000")},
    "daphne": {"client": ["127.0.0.2", 50000], "server": ["127.0.0.1", 8000]},
    # The client was gone before the server asked for its address.
    "uvicorn, too late": {"client": None, "server": ("127.0.0.1", 8000)},
    "granian, too late": {"client": ("", "0"), "server": ("127.0.0.1", "8000")},
    "granian, on IPv6": {"client": ("2001:db8::2", "50000"), "server": ("::", "8000")},
}
SOCKETS: dict[str, dict[str, Any]] = {
    "uvicorn": {"client": None, "server": ("/run/app.sock", None)},
    "granian": {"client": ("", "0"), "server": ("/run/app.sock", "0")},
    "gunicorn": {"client": None, "server": ("/", "r")},
    "hypercorn": {"client": None, "server": None},
}
EVERY: Mapping[str, Callable[[Any], Any]] = {
    **REWRITING,
    "uvicorn, believing everybody": lambda app: ProxyHeadersMiddleware(app, trusted_hosts="*"),
    "uvicorn, believing the stranger": lambda app: ProxyHeadersMiddleware(app, trusted_hosts=["127.0.0.2"]),
}


async def find_let_in(app: ASGIApp, scopes: Iterable[Scope]) -> list[Scope]:
    """The scopes that were answered with 200."""
    return [scope for scope in scopes if await find_status(app, scope) == 200]


async def find_status(app: ASGIApp, scope: Scope) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({**scope}, receive, send)
    return int(sent[0]["status"])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def guard(keys: Keys, door: str) -> ASGIApp:
    return AccessMiddleware(hello, config=keys.folder / DOORS / f"{door}.toml")


def write(keys: Keys, forged: Headers, ends: Mapping[str, Any]) -> Scope:
    """A request that claims the device's certificate, and what else is forged."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in [*keys.claim, *forged]]
    return make_scope(headers=headers, extensions={}, **ends)


@pytest.mark.parametrize("ends", PORTS)
@pytest.mark.parametrize("door", ["address", "unix", "every"])
@pytest.mark.parametrize("rewriting", EVERY, ids=lambda name: name or "none")
def test_nobody_is_taken_for_the_proxy_on_a_port(keys: Keys, rewriting: str, door: str, ends: str) -> None:
    """By no spelling, in no header, behind no middleware."""
    scopes = [write(keys, forged, PORTS[ends]) for spelling in SPELLINGS for forged in forge(spelling)]
    scopes.append(write(keys, (), PORTS[ends]))
    assert asyncio.run(find_let_in(EVERY[rewriting](guard(keys, door)), scopes)) == []


@pytest.mark.parametrize("ends", SOCKETS)
@pytest.mark.parametrize("rewriting", EVERY, ids=lambda name: name or "none")
def test_nobody_on_a_unix_socket_is_taken_for_an_address(keys: Keys, rewriting: str, ends: str) -> None:
    """Where addresses alone are believed."""
    scopes = [write(keys, forged, SOCKETS[ends]) for spelling in SPELLINGS for forged in forge(spelling)]
    assert asyncio.run(find_let_in(EVERY[rewriting](guard(keys, "address")), scopes)) == []


@pytest.mark.parametrize("ends", SOCKETS)
def test_the_proxy_on_a_unix_socket_is_believed(keys: Keys, ends: str) -> None:
    """In whatever words the server says that there is no address."""
    assert asyncio.run(find_status(guard(keys, "unix"), write(keys, (), SOCKETS[ends]))) == 200


@pytest.mark.parametrize("client", ["127.0.0.10", "127.0.0.100", "27.0.0.1", "227.0.0.1", "2001:db8::127.0.0.1"])
def test_an_address_that_only_looks_like_the_proxy_s_is_another(keys: Keys, client: str) -> None:
    """Or some clients could never get in."""
    scope = write(keys, [("X-Forwarded-For", client)], {"client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8000)})
    assert asyncio.run(find_status(guard(keys, "address"), scope)) == 200
