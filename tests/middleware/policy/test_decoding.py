"""policy.paths on real servers: what they make of an ugly request target is what `find_path` takes them to make."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from starlette._utils import get_route_path

from keyfob.policy.domains import Domains, parse_domain
from keyfob.policy.paths import AmbiguousPath, find_path
from servers import Running, find_port, running

APP = """
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    raw = scope.get("raw_path")
    said = {"path": scope["path"], "root_path": scope["root_path"], "raw_path": raw and raw.decode("latin-1")}
    body = json.dumps(said).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""

# What a server is started with; {port} is where it listens.
SERVERS = {
    "uvicorn, httptools": "uvicorn scopes:app --port {port} --http httptools",
    "uvicorn, h11": "uvicorn scopes:app --port {port} --http h11",
    "uvicorn with a prefix": "uvicorn scopes:app --port {port} --http httptools --root-path /app",
    "hypercorn with a prefix": "hypercorn scopes:app --bind 127.0.0.1:{port} --workers 0 --root-path /app",
    "granian": "granian --interface asgi scopes:app --port {port}",
}

HOST = "money.example.com"
ADMIN, REST, REFUSED = "/admin", "/", "refused"

# What stands on the wire, and whose it is on a server without a prefix.
TARGETS = {
    b"/admin": ADMIN,
    b"/admin/": ADMIN,
    b"/admin?x=/y": ADMIN,
    b"/%61dmin": ADMIN,
    b"/%61%64%6D%69%6e": ADMIN,
    b"/ADMIN": REFUSED,
    b"/%2561dmin": REFUSED,
    b"//admin": REFUSED,
    b"/./admin": REFUSED,
    b"/x/../admin": REFUSED,
    b"/x/%2e%2E/admin": REFUSED,
    b"/x%2F..%2fadmin": REFUSED,
    b"/x%2Fadmin": REFUSED,
    b"/x%5c..%5Cadmin": REFUSED,
    b"/admin%00": REFUSED,
    b"/admin%0a": REFUSED,
    b"/admin;x=1": REFUSED,
    b"/admin%3Bx": REFUSED,
    b"/admin%3Fx": REFUSED,
    b"/admin%23x": REFUSED,
    b"/admin%20": REFUSED,
    b"/admin.": REFUSED,
    b"/%EF%BD%81dmin": REFUSED,
    b"/x%EF%BC%8Fadmin": REFUSED,
    b"/%E9": REFUSED,
    b"/%C0%AFadmin": REFUSED,
    b"/%C3%A9": REST,
    b"/100%25": REST,
    b"/100%": REST,
    b"/%zz": REST,
    b"/a+b": REST,
    b"/app/admin": REST,
    b"/appadmin": REST,
}
# RFC 9112 section 3.2.2. Some take the path out of it, and others leave it as it is.
ABSOLUTE = {b"http://money.example.com/admin": ADMIN, b"http://money.example.com//admin": REFUSED}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Running]]:
    folder, port = tmp_path_factory.mktemp("scopes"), find_port()
    (folder / "scopes.py").write_text(APP)
    program, *options = SERVERS[request.param].format(port=port).split()
    with running([Path(sys.executable).parent / program, *options], port, folder) as started:
        yield request.param, started


def ask(port: int, target: bytes) -> dict[str, Any] | None:
    """What arrives in the scope; None if the server itself refuses the target."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: money.example.com\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        return None
    scope: dict[str, Any] = json.loads(body)
    return {**scope, "raw_path": scope["raw_path"] and scope["raw_path"].encode("latin-1")}


def judge(scope: dict[str, Any]) -> str | None:
    """Whose the request is: the admin's, everybody's else, or refused."""
    written = [(parse_domain(HOST), REST), (parse_domain(f"{HOST}{scope['root_path']}/admin"), ADMIN)]
    paths = Domains(written).at_host(HOST)
    try:
        return None if paths is None else paths.find(find_path(scope))
    except AmbiguousPath:
        return REFUSED


def test_a_servers_scope_is_what_find_path_takes_it_for(server: tuple[str, Running]) -> None:
    """Percent-encodings are undone once, and nothing else is; so what is judged is what Starlette would route."""
    name, started = server
    for target, expected in (TARGETS | ABSOLUTE).items():
        scope = ask(started.port, target)
        if scope is None:
            continue
        verdict, decoded = judge(scope), unquote(scope["raw_path"].decode("ascii"))
        assert scope["path"] == decoded, target
        if target in TARGETS:
            assert target.partition(b"?")[0] == scope["raw_path"].removeprefix(_find_prefix(name)), target
        if not scope["root_path"]:
            assert verdict in ((expected,) if target in TARGETS else (expected, REFUSED)), target
        # The route /admin of an app answers these.
        if get_route_path(scope) in ("/admin", "/admin\n"):
            assert verdict in (ADMIN, REFUSED), target


def _find_prefix(name: str) -> bytes:
    return b"/app" if name == "uvicorn with a prefix" else b""


def test_the_plainest_targets_arrive(server: tuple[str, Running]) -> None:
    """Otherwise the test above would say nothing."""
    _, started = server
    for target in (b"/admin", b"/%61dmin", b"/x%2Fadmin", b"//admin", b"/ADMIN"):
        assert ask(started.port, target) is not None
