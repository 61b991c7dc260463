"""enrolment.protocols: SCEP over HTTP, and what both protocols have in common."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from cryptography.hazmat.primitives.serialization import pkcs7
from starlette.requests import Request

from apple_ber import Phone, find_key, read_reply
from enrolling import Client
from invited import invite_to_est, invite_to_scep
from keyfob.enrolment import protocols
from keyfob.enrolment.protocols import LARGEST_BODY, make_protocol_routes
from keyfob.enrolment.scep import responder
from keyfob.pki.ra import RA, open_ra
from keyfob.pki.registry import Registry
from registries import make_registry

SCEP = "/scep?operation=PKIOperation"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


@pytest.fixture
def client(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(protocols, "PATIENCE", 0)
    return Client(make_protocol_routes(registry))


def test_the_capabilities_are_those_that_phones_need_and_no_more(client: Client) -> None:
    """One a line: AES and SHA-2, messages by POST; nothing that is weak, and nothing that is not there."""
    answer = client.get("/scep?operation=GetCACaps")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = answer.text.split("\n")
    assert {"AES", "SHA-256", "SHA-384", "SHA-512", "POSTPKIOperation", "SCEPStandard", ""} == set(found)


def test_the_authorities_are_a_message_of_certificates(client: Client, registry: Registry) -> None:
    """RFC 8894 section 4.2.1.2. The name that phones may send with it is passed over."""
    for path in ("/scep?operation=GetCACert", "/scep?operation=GetCACert&message=Money"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/x-x509-ca-ra-cert"
        found = pkcs7.load_der_pkcs7_certificates(answer.content)
        assert open_ra(registry).certificate in found
        assert registry.root in found


def test_a_phone_enrols_over_http(client: Client, registry: Registry) -> None:
    """The whole way: a message in, a message out."""
    phone, ra = Phone(), open_ra(registry)
    answer = client.post(SCEP, content=phone.ask(ra.certificate, invite_to_scep(registry, "My iPhone")))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-pki-message"
    assert answer.headers["cache-control"] == "no-store"
    (certificate,) = read_reply(answer.content, ra.certificate).open(phone)
    assert certificate.subject.rfc4514_string() == "CN=My iPhone,O=Money App"


@pytest.mark.parametrize("operation", ["", "GetCRL", "GetNextCACert", "getcacaps", "GetCACaps&operation=GetCACert"])
def test_other_operations_are_refused(operation: str, client: Client) -> None:
    """And none is guessed."""
    assert client.get(f"/scep?operation={operation}").status_code == 400
    assert client.post(f"/scep?operation={operation}", content=b"x").status_code == 400
    assert client.get("/scep").status_code == 400


def test_messages_are_posted(client: Client) -> None:
    """In an address they would stand in the logs of every proxy."""
    answer = client.get("/scep?operation=PKIOperation&message=MIIB")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("content", [b"", b"x", b"\x30\x80" * 1000])
def test_what_is_no_message_gets_a_400(content: bytes, client: Client) -> None:
    """With the same words, whatever it was."""
    answer = client.post(SCEP, content=content)
    assert (answer.status_code, answer.text) == (400, "this message is not answered\n")


@pytest.mark.parametrize("path", [SCEP, "/.well-known/est/simpleenroll"])
def test_a_body_beyond_64_kib_is_not_read(path: str, client: Client, registry: Registry) -> None:
    """Whether its length was announced or not."""
    token = invite_to_est(registry, "script")
    headers = {"content-type": "application/pkcs10"}
    for content in (b"x" * (LARGEST_BODY + 1), iter([b"x" * LARGEST_BODY, b"x"])):
        answer = client.post(path, content=content, headers=headers, token=token)
        assert answer.status_code == 413
    answer = client.post(path, content=b"x" * LARGEST_BODY, headers=headers, token=token)
    assert answer.status_code == 400


def test_a_body_is_not_kept_beyond_the_limit(client: Client) -> None:
    """What comes after is not even taken."""
    taken = 0

    def pour() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x" * 1024

    assert client.post(SCEP, content=pour()).status_code == 413


def test_strangers_do_not_fill_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither with messages that are none, nor with passwords."""
    for path in (SCEP, "/.well-known/est/simpleenroll"):
        caplog.clear()
        for _ in range(60):
            client.post(path, content=b"x")
        lines = [record for record in caplog.records if record.name.startswith("keyfob")]
        assert 20 <= len(lines) < 60


def test_every_refusal_takes_the_same_time(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far a guess has come is not told by how long it took. A good answer does not wait."""
    waits: list[float] = []

    async def sleep_until(deadline: float) -> None:
        waits.append(deadline)

    monkeypatch.setattr(anyio, "sleep_until", sleep_until)
    monkeypatch.setattr(anyio, "current_time", lambda: 100.0)
    ra, phone, other = open_ra(registry), Phone(), Phone(find_key("other"))
    challenge = invite_to_scep(registry, "My iPhone")
    client = Client(make_protocol_routes(registry))
    client.post(SCEP, content=phone.ask(ra.certificate, challenge))
    assert waits == []
    for body in (b"x", phone.ask(ra.certificate, "wrong"), other.ask(ra.certificate, challenge)):
        client.post(SCEP, content=body)
    assert waits == [100.0 + protocols.PATIENCE] * 3
    assert protocols.PATIENCE >= 0.25


def test_the_address_can_be_found_otherwise(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Behind a proxy somebody else knows it."""

    def find_address(request: Request) -> str:
        return f"2001:db8::{len(request.headers.getlist('x-test'))}"

    caplog.set_level(logging.INFO)
    body = Phone().ask(open_ra(registry).certificate, invite_to_scep(registry, "My iPhone"))
    client = Client(make_protocol_routes(registry, find_address))
    client.post(SCEP, content=body, headers={"x-test": "1"})
    assert "2001:db8::1" in caplog.text


def test_what_goes_wrong_here_stays_here(client: Client, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what and where; whoever asks learns to come back later."""
    open_ra(registry)
    (registry.folder / RA).write_bytes(b"not a certificate")
    for answer in (client.get("/scep?operation=GetCACert"), client.post(SCEP, content=b"x")):
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert str(registry.folder) not in answer.text
    assert str(registry.folder / RA) in caplog.text


def test_nothing_secret_is_logged(client: Client, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Neither challenge nor token, used or not."""
    caplog.set_level(logging.DEBUG)
    challenge, token = invite_to_scep(registry, "My iPhone"), invite_to_est(registry, "script")
    ra, phone = open_ra(registry), Phone()
    for _ in range(2):
        client.post(SCEP, content=Phone(find_key("other")).ask(ra.certificate, challenge))
        client.post(SCEP, content=phone.ask(ra.certificate, challenge))
        client.post("/.well-known/est/simpleenroll", content=b"x", token=token)
    assert len(caplog.messages) > 3
    assert challenge not in caplog.text
    assert token not in caplog.text


def test_other_methods_are_refused(client: Client) -> None:
    """Nothing is changed by asking."""
    assert client.send("PUT", SCEP, b"x").status_code == 405
    assert client.get("/.well-known/est/simpleenroll").status_code == 405
    assert client.post("/.well-known/est/cacerts").status_code == 405


def test_renewal_is_not_served_without_the_gate(client: Client) -> None:
    """Here nobody has verified a certificate."""
    assert client.post("/.well-known/est/simplereenroll", content=b"x").status_code == 404


def test_the_registration_authority_is_opened_once(
    client: Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading an RSA key costs more than answering with it; it is opened again when it ends."""
    opened: list[float] = []

    def count(registry: Registry) -> object:
        opened.append(time.time())
        return open_ra(registry)

    monkeypatch.setattr(responder, "open_ra", count)
    for _ in range(3):
        assert client.get("/scep?operation=GetCACert").status_code == 200
    assert len(opened) == 1
    monkeypatch.setattr(responder, "ends_soon", lambda _: True)
    assert client.get("/scep?operation=GetCACert").status_code == 200
    assert len(opened) == 2
