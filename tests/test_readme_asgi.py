"""README.md on ASGI: its table of servers and that of frameworks say what the tests start, and nothing else."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from certificates import make_authority, make_leaf
from exchanges import make_scope
from frameworks.living import live_and_ask
from frameworks.test_frameworks import FRAMEWORKS
from keyfob import AccessMiddleware, ClientCertificate, client_certificate
from servers import ROOT
from servers_asgi.starting import SERVE, SERVE_TLS, SERVERS, Server

README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under one heading, up to the next one of its level."""
    [found] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the one table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def describe_tls(server: Server) -> str:
    return f"yes, with `{server.tls}`" if server.speaks_tls else "no"


def describe_proxy(server: Server) -> str:
    if server.rewrites:
        return "on a UNIX socket, or with a shared secret; at a port, only if the proxy sends no `X-Forwarded-For`"
    return "yes" if server.knows_peer else "yes, with the limits below"


def test_the_table_of_servers_says_what_is_tested() -> None:
    """Every server that is started in tests/servers_asgi, with its very command, and what is found there."""
    expected = [["keyfob serve", f"`{SERVE}`", f"yes, with `{SERVE_TLS}`", "yes"]]
    expected += [
        [name, f"`{server.command}`", describe_tls(server), describe_proxy(server)] for name, server in SERVERS.items()
    ]
    assert rows(section("Servers")) == expected


@pytest.mark.parametrize("name", SERVERS)
def test_the_way_to_a_unix_socket_is_named(name: str) -> None:
    """With the option that the tests use."""
    option = SERVERS[name].unix.format(path="app.sock")
    program = SERVERS[name].command.partition(" ")[0]
    assert re.search(rf"`{re.escape(option)}` with [^`]*\b{program}\b", section("Servers").replace("\n", " "))


def test_the_table_of_frameworks_says_what_is_tested() -> None:
    """Every framework of tests/frameworks is protected by the very line, and there is no other."""
    named = {}
    for names, cell in rows(section("Frameworks")):
        for name in names.removesuffix(", in `asgi.py`").split(", "):
            named[name.lower()] = cell.strip("`")
    assert set(named) == set(FRAMEWORKS)
    for framework, line in named.items():
        source = inspect.getsource(import_module(f"frameworks.{framework}_app"))
        assert [each for each in source.splitlines() if each.strip().partition("  #")[0] == line]


def test_the_dependency_runs_as_it_stands(tmp_path: Path) -> None:
    """In an app that the middleware protects."""
    [text] = [
        each for each in re.findall(r"```python\n(.*?)```", section("Frameworks"), re.DOTALL) if "Depends" in each
    ]
    app, authority = FastAPI(), make_authority()
    known = {
        "app": app,
        "Annotated": Annotated,
        "ClientCertificate": ClientCertificate,
        "Depends": Depends,
        "client_certificate": client_certificate,
    }
    exec(text, known)  # noqa: S102 - the README's own words
    (tmp_path / "ca.pem").write_text(authority.pem, encoding="ascii")
    app.add_middleware(AccessMiddleware, roots=tmp_path / "ca.pem")
    assert live_and_ask(app, make_scope([make_leaf(authority).pem])).body == b'"Hello, Rhea Group!"'
    assert live_and_ask(app, make_scope()).status == 401
