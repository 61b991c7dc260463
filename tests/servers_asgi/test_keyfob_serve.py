"""keyfob serve behind a proxy, and with TLS of its own, as the README's table says it."""

import contextlib
import shlex
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from servers import environment, find_port, keyfob, make_client, running
from servers_asgi.keys import Keys
from servers_asgi.starting import DOORS, SERVE, SERVE_TLS, Listening
from servers_asgi.wire import STRANGER, ask, ask_over_tls, ask_websocket, send, write_chunked


@contextlib.contextmanager
def serving(keys: Keys, door: str, options: str = "") -> Iterator[Listening]:
    """The README's command, in front of an app without a gate of its own."""
    command = SERVE.replace("shop:app", "servers_asgi.doors:tell").replace("access.toml", f"{DOORS}/{door}.toml")
    port = find_port()
    words = shlex.split(f"{command} {options} --port {port}")
    with running(keyfob(*words[1:]), port, keys.folder, environment(DOORS=str(keys.folder / DOORS))) as started:
        yield Listening(port, started.log)


@pytest.fixture(scope="module")
def at(keys: Keys) -> Iterator[int]:
    with ExitStack() as stack:
        server = stack.enter_context(serving(keys, "rfc9440"))
        assert isinstance(server.at, int)
        yield server.at


@pytest.mark.parametrize("forwarded", ["203.0.113.9", "127.0.0.1", "garbage, 203.0.113.9"])
def test_a_proxy_is_believed_whatever_it_forwards(keys: Keys, at: int, forwarded: str) -> None:
    """Its address is the socket's."""
    headers = [*keys.rfc9440, ("X-Forwarded-For", forwarded)]
    assert ask(at, "/", headers).told["common_name"] == "Rhea Group"
    assert ask_websocket(at, "/", headers).told["common_name"] == "Rhea Group"


def test_a_stranger_is_not(keys: Keys, at: int) -> None:
    """Nor is what a client sends after a body."""
    forged = [*keys.rfc9440, ("X-Forwarded-For", "127.0.0.1")]
    assert ask(at, "/", forged, source=STRANGER).refusal == "peer-not-trusted"
    assert send(at, write_chunked("/", (), keys.rfc9440)).refusal == "certificate-missing"


def test_its_own_tls_brings_the_device(keys: Keys) -> None:
    """And nobody else."""
    with serving(keys, "tls", SERVE_TLS) as server:
        device = make_client(keys.folder / "ca.pem", *keys.identity("device"))
        assert ask_over_tls(server.at, "/", device).told["common_name"] == "Rhea Group"
        nobody = make_client(keys.folder / "ca.pem")
        assert ask_over_tls(server.at, "/", nobody).refusal == "certificate-missing"
