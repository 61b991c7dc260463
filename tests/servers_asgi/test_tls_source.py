"""The certificate of a server's own TLS connection: who hands it over, and what everybody else is told."""

import pytest

from deploy.wire import Answer
from servers import make_client
from servers_asgi.keys import Keys
from servers_asgi.records import find_record
from servers_asgi.starting import SERVERS, Fleet
from servers_asgi.wire import ask_over_tls

SPEAKING = [name for name, server in SERVERS.items() if server.speaks_tls]
SILENT = [name for name, server in SERVERS.items() if not server.speaks_tls]


def ask(fleet: Fleet, keys: Keys, name: str, identity: str) -> Answer:
    context = make_client(keys.folder / "ca.pem", *keys.identity(identity))
    return ask_over_tls(fleet.with_tls(name).at, "/tls", context)


@pytest.mark.parametrize("name", SPEAKING)
def test_a_device_gets_in(fleet: Fleet, keys: Keys, name: str) -> None:
    """With its certificate, to the app."""
    answer = ask(fleet, keys, name, "device")
    assert (answer.status, answer.told["common_name"]) == (200, "Rhea Group")


@pytest.mark.parametrize("name", SPEAKING)
def test_nobody_without_a_certificate_gets_in(fleet: Fleet, keys: Keys, name: str) -> None:
    """uvicorn lets the gate say why; anycorn ends the handshake."""
    answer = ask(fleet, keys, name, "nobody")
    assert answer.refusal == ("hung up" if name == "anycorn" else "certificate-missing")


@pytest.mark.parametrize("identity", ["stranger", "expired"])
@pytest.mark.parametrize("name", SPEAKING)
def test_a_certificate_that_is_no_good_gets_nobody_in(fleet: Fleet, keys: Keys, name: str, identity: str) -> None:
    """These servers end the handshake, before there is a request."""
    assert ask(fleet, keys, name, identity).refusal == "hung up"


@pytest.mark.parametrize("name", SPEAKING)
def test_whoever_was_refused_leaves_the_door_open_for_the_device(fleet: Fleet, keys: Keys, name: str) -> None:
    """One after the other, on the same server."""
    for identity in ("nobody", "stranger", "expired"):
        ask(fleet, keys, name, identity)
        assert ask(fleet, keys, name, "device").status == 200


@pytest.mark.parametrize("name", SILENT)
def test_a_server_that_keeps_certificates_to_itself_lets_nobody_in(fleet: Fleet, keys: Keys, name: str) -> None:
    """Although it asks for them, and verifies them. The log says what to start in its place."""
    answer = ask(fleet, keys, name, "device")
    assert (answer.status, answer.refusal) == (401, "certificate-not-requested")
    record = find_record(fleet.with_tls(name), answer)
    assert record["reason"] == "certificate-not-requested"
    assert "hint: start it with `keyfob serve" in record["detail"]
    assert "--http keyfob.server.uvicorn:HTTPProtocol" in record["detail"]
