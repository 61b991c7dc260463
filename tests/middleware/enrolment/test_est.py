"""enrolment.est: a certificate for a password, and the next one for a certificate."""

import base64
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from apple_ber import Key, find_key, make_csr, sign_with_sha1
from enrolling import Client
from invited import invite_to_est
from keyfob.certificate import ClientCertificate
from keyfob.enrolment import est
from keyfob.enrolment.issuing import RETIRES_AFTER
from keyfob.enrolment.protocols import make_protocol_routes, make_reenrolment_route
from keyfob.enrolment.requests import Refused
from keyfob.errors import PKIError
from keyfob.inventory import NameTaken, RevocationReason
from keyfob.inventory.records import State
from keyfob.pki.authority import Authority, DeviceRequest, Issued
from keyfob.pki.founding import found_intermediate
from keyfob.pki.keys import generate_key
from keyfob.pki.registry import Registry
from keyfob.policy import Identity
from keyfob.request import IDENTITY
from registries import make_registry

ENROL, AGAIN, CACERTS = (f"/.well-known/est/{each}" for each in ("simpleenroll", "simplereenroll", "cacerts"))
KIND = {"content-type": "application/pkcs10"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return make_registry(tmp_path / "home")


@pytest.fixture
def client(registry: Registry) -> Client:
    return Client(make_protocol_routes(registry))


@pytest.fixture
def key() -> Key:
    return find_key("script", "p256")


def encode(key: Key, subject: str = "x") -> bytes:
    return base64.encodebytes(make_csr(key, None, subject))


def read(body: bytes) -> list[x509.Certificate]:
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(body, validate=True))


# --- The authorities --------------------------------------------------------------------------------------------------


def test_the_authorities_are_listed(client: Client, registry: Registry) -> None:
    """RFC 7030 section 4.1.3: certificates alone, in base64, which strongSwan reads in one line only."""
    answer = client.get(CACERTS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.headers["content-transfer-encoding"] == "base64"
    assert b"\n" not in answer.content
    assert read(answer.content) == [registry.root]


def test_an_intermediate_is_listed_with_its_root(registry: Registry) -> None:
    """Whoever gets a certificate needs all of what is above it."""
    found_intermediate(registry.folder, "Money App Intermediate")
    below = Registry(registry.folder)
    client = Client(make_protocol_routes(below))
    assert set(read(client.get(CACERTS).content)) == {below.root, below.authority.certificate}


# --- With a password --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["", "anybody", "Rhéa"])
def test_the_password_gets_the_certificate_that_was_promised(
    user: str, client: Client, registry: Registry, key: Key
) -> None:
    """The words are the invitation's, the key is the request's; the user may be anybody."""
    token = invite_to_est(registry, "script")
    header = base64.b64encode(f"{user}:{token}".encode()).decode()
    answer = client.post(ENROL, content=encode(key), headers=KIND | {"authorization": f"Basic {header}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.headers["cache-control"] == "no-store"
    (certificate,) = read(answer.content)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=script,O=Money App"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["script@example.com"]
    stored = registry.inventory.find_present("script")
    assert stored is not None
    assert stored.parsed == certificate


def test_where_it_was_used_is_noted(client: Client, registry: Registry, key: Key) -> None:
    """And which certificate has come of it."""
    token = invite_to_est(registry, "script")
    client.post(ENROL, content=encode(key), headers=KIND | {"user-agent": "curl/8"}, token=token)
    invitation, present = registry.inventory.invitations.find(token), registry.inventory.find_present("script")
    assert invitation is not None
    assert present is not None
    assert (invitation.used_from, invitation.used_with) == ("192.0.2.7", "curl/8")
    assert invitation.certificate == present.record.id


def test_a_password_is_used_once(client: Client, registry: Registry, key: Key) -> None:
    """And the second use is counted."""
    token = invite_to_est(registry, "script")
    assert client.post(ENROL, content=encode(key), headers=KIND, token=token).status_code == 200
    assert client.post(ENROL, content=encode(key), headers=KIND, token=token).status_code == 401
    invitation = registry.inventory.invitations.find(token)
    assert invitation is not None
    assert invitation.tries == 1
    assert len(registry.inventory.find("script")) == 1


def test_of_many_at_once_one_gets_a_certificate(registry: Registry) -> None:
    """However many threads answer."""
    token, keys = invite_to_est(registry, "script"), [ec.generate_private_key(ec.SECP256R1()) for _ in range(6)]
    together = threading.Barrier(len(keys))
    certificates: list[x509.Certificate] = []
    refused: list[est.NotInvited] = []

    def enrol(key: ec.EllipticCurvePrivateKey) -> None:
        together.wait(60)
        try:
            certificates.append(est.enrol(registry, token, key.public_key(), time.time(), "192.0.2.7", ""))
        except est.NotInvited as error:
            refused.append(error)
        except NameTaken:
            refused.append(est.NotInvited("taken"))

    threads = [threading.Thread(target=enrol, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(certificates), len(refused)) == (1, 5)
    assert len(registry.inventory.find("script")) == 1


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic =",
        basic("x"),
        basic("x:"),
        basic(":"),
        "Basic " + base64.b64encode(b"x:\xff").decode(),
        basic("x:" + "y" * 1000),
        basic("x:wrong"),
        "Bearer {token}",
        "Digest {token}",
        "{token}",
    ],
    ids=str,
)
def test_without_the_password_nobody_is_let_in(
    header: str | None, client: Client, registry: Registry, key: Key
) -> None:
    """401 asks for it, and its words are the same for whatever was wrong with it."""
    token = invite_to_est(registry, "script")
    headers = KIND if header is None else KIND | {"authorization": header.replace("{token}", token)}
    answer = client.post(ENROL, content=encode(key), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert registry.inventory.find("script") == []
    invitation = registry.inventory.invitations.find(token)
    assert invitation is not None
    assert invitation.used_at is None


def test_two_passwords_are_none(client: Client, registry: Registry, key: Key) -> None:
    """Which of them would count is for nobody to guess."""
    right = ("authorization", basic(f"x:{invite_to_est(registry, 'script')}"))
    headers = [right, ("authorization", basic("x:wrong")), *KIND.items()]
    assert client.post(ENROL, content=encode(key), headers=headers).status_code == 401


def test_a_password_that_has_lapsed_is_none(client: Client, registry: Registry, key: Key) -> None:
    """After 15 minutes."""
    token = invite_to_est(registry, "script", at=time.time() - 901)
    assert client.post(ENROL, content=encode(key), headers=KIND, token=token).status_code == 401
    assert registry.inventory.find("script") == []


@pytest.mark.parametrize("kind", ["p12", "scep"])
def test_a_token_of_another_kind_is_no_password_and_stays_unused(
    kind: str, client: Client, registry: Registry, key: Key
) -> None:
    """It belongs to a page, and what waits there would be erased."""
    token = invite_to_est(registry, "script", kind=kind)
    assert client.post(ENROL, content=encode(key), headers=KIND, token=token).status_code == 401
    invitation = registry.inventory.invitations.find(token)
    assert invitation is not None
    assert (invitation.used_at, invitation.tries) == (None, 0)


def test_whoever_is_not_invited_has_nothing_read(client: Client) -> None:
    """Not even whether it was a request."""
    for content in (b"x", b"x" * 100_000):
        assert client.post(ENROL, content=content, token="x" * 22).status_code == 401


def test_a_name_that_is_taken_costs_nobody_the_invitation(client: Client, registry: Registry, key: Key) -> None:
    """Revoke the other, and try again."""
    token = invite_to_est(registry, "script")
    registry.issue(DeviceRequest("script"))
    answer = client.post(ENROL, content=encode(key), headers=KIND, token=token)
    assert answer.status_code == 409
    assert "has a certificate already" in answer.text
    records = [each.record for each in registry.inventory.find("script")]
    registry.inventory.revoke(records, RevocationReason.SUPERSEDED, time.time())
    assert client.post(ENROL, content=encode(key), headers=KIND, token=token).status_code == 200


# --- The request ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encode_",
    [base64.b64encode, base64.encodebytes, lambda der: base64.encodebytes(der).replace(b"\n", b"\r\n")],
    ids=["one line", "lines", "CRLF"],
)
def test_line_breaks_mean_nothing(
    encode_: Callable[[bytes], bytes], client: Client, registry: Registry, key: Key
) -> None:
    """RFC 4648 section 3.1 would have none, MIME has them, and clients do either."""
    content = encode_(make_csr(key, None))
    answer = client.post(ENROL, content=content, headers=KIND, token=invite_to_est(registry, "script"))
    assert answer.status_code == 200


def wrong_requests() -> dict[str, bytes]:
    key, short = find_key("script", "p256"), find_key("short", "rsa1024")
    csr, rsa = make_csr(key, None), find_key("own rsa2048", "rsa2048")
    spoiled = csr[:-5] + bytes((csr[-5] ^ 1,)) + csr[-4:]
    return {
        "nothing": b"",
        "text": b"not base64!",
        "no padding": base64.b64encode(csr + b"x").rstrip(b"="),
        "stray characters": base64.b64encode(csr).replace(b"M", b"!M", 1),
        "DER": csr,
        "PEM": b"-----BEGIN CERTIFICATE REQUEST-----\n%s-----END CERTIFICATE REQUEST-----" % base64.encodebytes(csr),
        "other DER": base64.b64encode(b"\x30\x00"),
        "half": base64.b64encode(csr[:100]),
        "more": base64.b64encode(csr + b"\0"),
        "another signature": base64.b64encode(spoiled),
        "RSA of 1024 bits": base64.b64encode(make_csr(short, None)),
        "SHA-1": base64.b64encode(sign_with_sha1(make_csr(rsa, None), rsa)),
    }


@pytest.mark.parametrize("kind", wrong_requests())
def test_a_wrong_request_is_said_to_be_one_and_costs_nothing(
    kind: str, client: Client, registry: Registry, key: Key
) -> None:
    """A sentence in plain text (section 4.2.3); the next try is free."""
    token = invite_to_est(registry, "script")
    answer = client.post(ENROL, content=wrong_requests()[kind], headers=KIND, token=token)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert "request" in answer.text
    assert client.post(ENROL, content=encode(key), headers=KIND, token=token).status_code == 200


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/json", "application/pkcs7-mime"])
def test_another_type_is_refused(kind: str | None, client: Client, registry: Registry, key: Key) -> None:
    """Section 4.2.1. What a browser can send from another page, for one, is not of this type."""
    token = invite_to_est(registry, "script")
    headers = {} if kind is None else {"content-type": kind}
    assert client.post(ENROL, content=encode(key), headers=headers, token=token).status_code == 415
    parameters = {"content-type": "Application/PKCS10; charset=x"}
    assert client.post(ENROL, content=encode(key), headers=parameters, token=token).status_code == 200


def test_what_the_request_asks_for_is_not_given(client: Client, registry: Registry, key: Key) -> None:
    """Neither its subject nor its extensions."""
    csr = make_csr(key, None, "Administrator", [x509.BasicConstraints(ca=True, path_length=None)])
    answer = client.post(ENROL, content=base64.b64encode(csr), headers=KIND, token=invite_to_est(registry, "script"))
    (certificate,) = read(answer.content)
    assert certificate.subject.rfc4514_string() == "CN=script,O=Money App"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


# --- With a certificate -----------------------------------------------------------------------------------------------


class Presenting:
    """Stands where the gate would: it has verified `certificate`, or nothing."""

    def __init__(self, app: ASGIApp, certificate: x509.Certificate | None) -> None:
        self.app = app
        self.certificate = certificate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = None if self.certificate is None else ClientCertificate(self.certificate, ())
        await self.app({**scope, IDENTITY: Identity(known, None, ())}, receive, send)


@pytest.fixture
def renew(registry: Registry) -> Callable[..., tuple[int, bytes]]:
    """Presents a certificate, sends a request for a key, and returns status and body."""

    def post(presented: x509.Certificate | None, content: bytes) -> tuple[int, bytes]:
        app = Presenting(Starlette(routes=[make_reenrolment_route(registry)]), presented)
        answer = Client(app).post(AGAIN, content=content, headers=KIND)
        return answer.status_code, answer.content

    return post


Renew = Callable[..., tuple[int, bytes]]


@pytest.fixture
def device(registry: Registry) -> Issued:
    return registry.issue(
        DeviceRequest("My box", 100, "Money App", "Savings", ("a@example.com",), ("box.example.com",), ("urn:x:1",))
    )


def test_a_certificate_gets_its_successor(registry: Registry, renew: Renew, device: Issued, key: Key) -> None:
    """The same words for as many days, on the new key; the old one lives on for seven days."""
    begun = int(time.time())
    status, body = renew(device.certificate, encode(key))
    assert status == 200
    (certificate,) = read(body)
    assert certificate.subject == device.certificate.subject
    assert certificate.public_key() == key.public_key()
    kind = x509.SubjectAlternativeName
    assert [each.extensions.get_extension_for_class(kind).value for each in (certificate, device.certificate)] == [
        device.certificate.extensions.get_extension_for_class(kind).value
    ] * 2
    new, old = registry.inventory.find("My box")
    assert new.parsed == certificate
    assert old.record.retires_at is not None
    assert begun + RETIRES_AFTER <= old.record.retires_at <= time.time() + RETIRES_AFTER
    assert old.record.find_state(begun + RETIRES_AFTER - 60) is State.RETIRING
    assert old.record.find_state(begun + RETIRES_AFTER + 60) is State.REVOKED
    assert RETIRES_AFTER == 7 * 86400


def test_what_the_request_says_of_the_name_is_passed_over(renew: Renew, device: Issued, key: Key) -> None:
    """A device renews itself, and nobody else."""
    _, body = renew(device.certificate, encode(key, subject="Administrator"))
    (certificate,) = read(body)
    assert certificate.subject == device.certificate.subject


def test_a_device_that_did_not_hear_the_answer_gets_it_again(
    registry: Registry, renew: Renew, device: Issued, key: Key
) -> None:
    """With the same key; else it would have lost its place for good."""
    first, second = renew(device.certificate, encode(key)), renew(device.certificate, encode(key))
    assert first[0] == second[0] == 200
    assert read(first[1]) == read(second[1])
    assert len(registry.inventory.find("My box")) == 2


def test_a_certificate_is_renewed_once(registry: Registry, renew: Renew, device: Issued, key: Key) -> None:
    """One that was renewed cannot make its successor retire with another key: it may be the thief's by now."""
    (certificate,) = read(renew(device.certificate, encode(key))[1])
    status, body = renew(device.certificate, encode(find_key("thief", "p256")))
    assert status == 400
    assert b"renewed before" in body
    present = registry.inventory.find_present("My box")
    assert present is not None
    assert present.parsed == certificate
    assert present.record.retires_at is None


def test_of_many_renewals_at_once_one_counts(registry: Registry, device: Issued) -> None:
    """The others are told so, and nothing of theirs is recorded."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(5)]
    together = threading.Barrier(len(keys))
    certificates: list[x509.Certificate] = []
    refused: list[str] = []

    def enrol(key: ec.EllipticCurvePrivateKey) -> None:
        together.wait(60)
        try:
            certificates.append(
                est.enrol_again(registry, device.certificate, key.public_key(), time.time(), "192.0.2.8")
            )
        except Refused as error:
            refused.append(error.message)

    threads = [threading.Thread(target=enrol, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(certificates), len(refused)) == (1, 4)
    assert len(registry.inventory.find("My box")) == 2


def test_a_revoked_certificate_is_not_renewed(registry: Registry, renew: Renew, device: Issued, key: Key) -> None:
    """Also where the gate has not heard of it yet."""
    records = [each.record for each in registry.inventory.find("My box")]
    registry.inventory.revoke(records, RevocationReason.KEY_COMPROMISE, time.time())
    status, body = renew(device.certificate, encode(key))
    assert (status, len(registry.inventory.find("My box"))) == (400, 1)
    assert b"revoked" in body


def test_a_certificate_that_the_inventory_does_not_know_is_not_renewed(
    registry: Registry, renew: Renew, device: Issued, key: Key
) -> None:
    """Though its name is known, and though the gate lets it in: it may be of another root."""
    unrecorded = registry.sign_unrecorded(DeviceRequest("My box"), key.public_key())
    foreign = Authority.create("Somebody else").issue_device("My box").certificate
    for certificate in (unrecorded, foreign):
        status, body = renew(certificate, encode(key))
        assert status == 400
        assert b"not one of this inventory's" in body
    assert len(registry.inventory.find("My box")) == 1


def test_without_a_certificate_nothing_is_renewed(renew: Renew, device: Issued, key: Key) -> None:
    """A policy may let somebody through who has shown none."""
    assert device
    status, body = renew(None, encode(key))
    assert (status, body) == (400, b"no certificate was presented\n")


def test_a_wrong_request_changes_nothing(registry: Registry, renew: Renew, device: Issued) -> None:
    """The old certificate still counts."""
    for content in wrong_requests().values():
        assert renew(device.certificate, content)[0] == 400
    present = registry.inventory.find_present("My box")
    assert present is not None
    assert present.parsed == device.certificate


def test_renewals_are_logged(renew: Renew, device: Issued, key: Key, caplog: pytest.LogCaptureFixture) -> None:
    """Who, from where, and what they got."""
    caplog.set_level(logging.INFO)
    (certificate,) = read(renew(device.certificate, encode(key))[1])
    assert f"{certificate.serial_number:X}" in caplog.text
    assert "'My box'" in caplog.text
    assert "192.0.2.7" in caplog.text


def test_der_of_the_certificate_is_what_is_compared(registry: Registry, device: Issued) -> None:
    """A device whose name is the fingerprint of another is not the other, nor in its way; and none is called so now."""
    fingerprint = device.certificate.fingerprint(hashes.SHA256()).hex()
    with pytest.raises(PKIError, match="a serial number or a fingerprint"):
        registry.issue(DeviceRequest(fingerprint))
    namesake = registry.authority.issue_device(fingerprint)
    registry.record(fingerprint, namesake.certificate)
    key = generate_key("p256").public_key()
    est.enrol_again(registry, device.certificate, key, time.time(), "192.0.2.8")
    states = {each.fingerprint: each.find_state(time.time()) for each in registry.inventory.iterate()}
    assert states[device.certificate.fingerprint(hashes.SHA256())] is State.RETIRING
    assert states[namesake.certificate.fingerprint(hashes.SHA256())] is State.ACTIVE
