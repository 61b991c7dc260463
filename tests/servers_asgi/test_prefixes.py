"""A prefix that a server is told of: each hands it over in its own way, and the rules see the whole path."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import environment, find_port, keyfob, make_client, running
from servers_asgi.keys import Keys
from servers_asgi.starting import SERVE_TLS, SERVERS, Listening, start_on_port
from servers_asgi.wire import ask, ask_over_tls

# Everything is open, but for one page; by the path that clients ask for, or that a proxy takes the prefix off.
_RULES = """
[source]
{source}

[[root_certificates]]
name = "Test CA"
certificate = "ca.pem"
associated_hostnames = ["money.example.com", "localhost"]

[[applications]]
name = "Site"
domain = "money.example.com"
self_hosted_domains = ["localhost"]
policies = [{{ name = "Everybody", decision = "bypass", include = [{{ everyone = {{}} }}] }}]

[[applications]]
name = "Administration"
domain = "money.example.com/api/admin"
self_hosted_domains = ["localhost/api/admin"]
policies = [{{ name = "Devices", decision = "non_identity", include = [{{ certificate = {{}} }}] }}]
"""
_PROXY = 'kind = "header"\nformat = "rfc9440"\nproxy_verifies = true\ntrusted_proxies = ["127.0.0.1"]'
PREFIXES = {
    "uvicorn with keyfob's protocols": "--root-path /api",
    "uvicorn": "--root-path /api",
    "hypercorn": "--root-path /api",
    "anycorn": "--root-path /api",
    "granian": "--url-path-prefix /api",
    "gunicorn": "--root-path /api",
}
SPELLINGS = [
    "/admin",
    "/api/admin",
    "/api/api/admin",
    "/api//admin",
    "//admin",
    "/api/%61dmin",
    "/api%2Fadmin",
    "/api/../admin",
    "/%2e%2e/admin",
    "/apiadmin",
    "/api/admin/",
]


@contextlib.contextmanager
def prefixed(name: str, keys: Keys) -> Iterator[int]:
    rules = keys.folder / "prefixed.toml"
    rules.write_text(_RULES.format(source=_PROXY), encoding="utf-8")
    env = environment(RULES=str(rules))
    with start_on_port(SERVERS[name], "servers_asgi.prefixed:gated", keys.folder, PREFIXES[name], env) as server:
        assert isinstance(server.at, int)
        yield server.at


@pytest.mark.parametrize("name", PREFIXES)
def test_a_prefix_is_part_of_the_path(keys: Keys, name: str) -> None:
    """A stranger reaches the open page alone, a device also the other one: with the prefix, or where that was gone."""
    with prefixed(name, keys) as port:
        strangers = {spelling: ask(port, spelling) for spelling in SPELLINGS}
        devices = {spelling: ask(port, spelling, keys.rfc9440) for spelling in SPELLINGS}
        opened = [ask(port, path).told.get("page") for path in ("/page", "/api/page")]
    assert not [spelling for spelling, answer in strangers.items() if answer.told.get("page")]
    assert "admin" in {answer.told.get("page") for answer in devices.values()}
    assert "page" in opened


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Listening]:
    (folder / "prefixed-tls.toml").write_text(_RULES.format(source='kind = "tls"'), encoding="utf-8")
    port = find_port()
    words = ["serve", "servers_asgi.prefixed:bare", "--config", "prefixed-tls.toml", *shlex.split(SERVE_TLS)]
    with running(keyfob(*words, "--port", str(port)), port, folder, environment()) as started:
        yield Listening(port, started.log)


def test_keyfob_serve_knows_the_prefix_of_the_app(keys: Keys) -> None:
    """FastAPI writes it into the scope only behind the gate, and serves the page with the prefix and without."""
    nobody = make_client(keys.folder / "ca.pem")
    device = make_client(keys.folder / "ca.pem", *keys.identity("device"))
    with serving(keys.folder) as server:
        strangers = {spelling: ask_over_tls(server.at, spelling, nobody) for spelling in SPELLINGS}
        for path in ("/admin", "/api/admin"):
            assert strangers[path].refusal == "certificate-missing"
            assert ask_over_tls(server.at, path, device).told == {"page": "admin"}
        assert ask_over_tls(server.at, "/page", nobody).told == {"page": "page"}
    assert not [spelling for spelling, answer in strangers.items() if answer.told.get("page")]
