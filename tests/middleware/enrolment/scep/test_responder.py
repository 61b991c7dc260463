"""scep.responder: one certificate for each challenge, to the one who asks first, and the same again if asked again."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apple_ber import TRANSACTION, Phone, Reply, attribute, find_key, make_csr, printable, read_reply, seal
from invited import invite_to_scep
from keyfob.enrolment.issuing import REPEATS, RETIRES_AFTER
from keyfob.enrolment.requests import EST, SCEP_RENEWAL, write_request
from keyfob.enrolment.scep.responder import Responder
from keyfob.errors import PKIError
from keyfob.inventory import RevocationReason
from keyfob.inventory.records import State
from keyfob.pki.authority import DeviceRequest, Issued
from keyfob.pki.registry import Registry

ADDRESS = "192.0.2.7"
REFUSED = "2/2"


@pytest.fixture
def phone() -> Phone:
    return Phone()


Ask = Callable[..., Reply]


@pytest.fixture
def ask(responder: Responder, ra: Issued) -> Ask:
    """Sends a message, at a moment if need be, and reads the answer as phones do."""

    def send(body: bytes, at: float | None = None) -> Reply:
        answer = responder.answer(body, ADDRESS, time.time() if at is None else at)
        assert answer.body is not None
        reply = read_reply(answer.body, ra.certificate)
        assert answer.succeeded == (reply.status == "0")
        return reply

    return send


def count_certificates(registry: Registry, name: str) -> int:
    return len(registry.inventory.find(name))


# --- A certificate ----------------------------------------------------------------------------------------------------


def test_a_phone_gets_the_certificate_that_its_invitation_promised(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """The words are the invitation's, the key is the phone's, and the inventory knows both."""
    reply = ask(phone.ask(ra.certificate, invite_to_scep(registry, name)))
    assert reply.status == "0"
    (certificate,) = reply.open(phone)
    assert certificate.subject.rfc4514_string() == f"CN={name},O=Money App"
    assert certificate.public_key() == phone.key.public_key()
    certificate.verify_directly_issued_by(registry.authority.certificate)
    stored = registry.inventory.find_present(name)
    assert stored is not None
    assert stored.parsed == certificate
    assert stored.record.find_state(time.time()) is State.ACTIVE


def test_the_answer_belongs_to_the_question(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """RFC 8894 section 3.2.1: the transaction and the nonce come back, in a failure as well."""
    challenge = invite_to_scep(registry, name)
    for each in (challenge, "wrong"):
        reply = ask(phone.ask(ra.certificate, each))
        assert reply.transaction == phone.transaction
        assert reply.recipient_nonce == phone.nonce
        assert (reply.content is None) == (each == "wrong")


def test_every_answer_has_a_nonce_of_its_own(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """Section 3.2.1.5."""
    body = phone.ask(ra.certificate, invite_to_scep(registry, name))
    nonces = {ask(body).attributes["6086480186f8450109" + "05"] for _ in range(3)}
    assert len(nonces) == 3


@pytest.mark.parametrize("subject", ["Somebody else", "Administrator"])
def test_what_the_request_asks_for_is_not_given(
    subject: str, registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """Neither its subject nor its extensions: an authority would be a door for everybody."""
    extensions = [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectAlternativeName([x509.DNSName("other.example.com")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    ]
    csr = make_csr(phone.key, invite_to_scep(registry, name), subject, extensions)
    (certificate,) = ask(phone.sign(seal(csr, ra.certificate))).open(phone)
    assert [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [name]
    found = {type(each.value): each.value for each in certificate.extensions}
    assert found[x509.BasicConstraints] == x509.BasicConstraints(ca=False, path_length=None)
    assert found[x509.ExtendedKeyUsage] == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    assert x509.SubjectAlternativeName not in found


def test_who_has_signed_is_logged_and_no_secret(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The address, the name and the serial number; never the challenge, right or wrong."""
    caplog.set_level(logging.DEBUG)
    challenge = invite_to_scep(registry, name)
    body = phone.ask(ra.certificate, challenge)
    assert ask(body).status == "0"
    assert ADDRESS in caplog.text
    assert name in caplog.text
    late = phone.ask(ra.certificate, challenge + "x")
    assert ask(late).status == REFUSED
    assert challenge not in caplog.text
    assert "no such" in caplog.text


# --- A challenge ------------------------------------------------------------------------------------------------------


def test_a_wrong_challenge_gets_nothing(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """And costs the right one nothing."""
    challenge = invite_to_scep(registry, name)
    for wrong in ("", "x", challenge[:-1], challenge + "A", challenge.swapcase(), "é"):
        assert ask(phone.ask(ra.certificate, wrong)).status == REFUSED
    assert count_certificates(registry, name) == 0
    assert ask(phone.ask(ra.certificate, challenge)).status == "0"


def test_a_challenge_that_has_lapsed_gets_nothing(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """It counts for as long as it takes to install a profile."""
    begun = 1_900_000_000
    challenge = invite_to_scep(registry, name, lasts=900, at=begun)
    body = phone.ask(ra.certificate, challenge)
    assert ask(body, begun + 900).status == REFUSED
    assert count_certificates(registry, name) == 0
    assert ask(body, begun + 899).status == "0"


def test_a_challenge_is_used_once(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """Whoever finds it later, with whatever key, gets nothing."""
    challenge = invite_to_scep(registry, name)
    assert ask(phone.ask(ra.certificate, challenge)).status == "0"
    other = Phone(find_key("other"))
    assert ask(other.ask(ra.certificate, challenge)).status == REFUSED
    assert count_certificates(registry, name) == 1


def test_a_challenge_is_used_up_before_anything_is_signed(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """An answer that fails afterwards leaves no challenge that could be tried again."""
    challenge = invite_to_scep(registry, name)
    registry.issue(DeviceRequest(name))
    assert ask(phone.ask(ra.certificate, challenge)).status == REFUSED
    (taken,) = registry.inventory.find(name)
    registry.inventory.revoke([taken.record], RevocationReason.SUPERSEDED, time.time())
    assert ask(phone.ask(ra.certificate, challenge)).status == REFUSED
    assert count_certificates(registry, name) == 1


@pytest.mark.parametrize("same_key", [True, False])
def test_of_many_requests_at_once_one_gets_a_certificate(
    same_key: bool, registry: Registry, responder: Responder, ra: Issued, name: str
) -> None:
    """However many threads answer."""
    challenge = invite_to_scep(registry, name)
    phones = [Phone() if same_key else Phone(find_key(f"phone {number % 3}")) for number in range(6)]
    bodies = [phone.ask(ra.certificate, challenge) for phone in phones]
    together = threading.Barrier(len(bodies))
    answers: list[bytes] = []

    def send(body: bytes) -> None:
        together.wait(60)
        answers.append(responder.answer(body, ADDRESS, time.time()).body or b"")

    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    replies = [read_reply(answer, ra.certificate) for answer in answers]
    assert len(replies) == len(bodies)
    assert {reply.status for reply in replies} <= {"0", REFUSED}
    assert count_certificates(registry, name) == 1
    transactions = {reply.transaction for reply in replies if reply.status == "0"}
    assert len(transactions) == 1


@pytest.mark.parametrize("kind", [EST, "p12"])
def test_a_challenge_of_another_kind_of_invitation_gets_nothing(
    kind: str, registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """What was meant for another way in does not open this one."""
    assert ask(phone.ask(ra.certificate, invite_to_scep(registry, name, kind=kind))).status == REFUSED
    assert count_certificates(registry, name) == 0


def test_a_token_is_no_challenge(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """The link alone signs nothing: the page behind it has to be used."""
    token, _ = registry.inventory.invitations.invite(name, "scep", time.time(), 900, request="{}")
    assert ask(phone.ask(ra.certificate, token)).status == REFUSED


def test_an_invitation_for_somebody_else_gets_nothing(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """The name that was shown to the person is the one that is signed."""
    invitations = registry.inventory.invitations
    token, _ = invitations.invite(name, "scep", time.time(), 900, request=write_request(DeviceRequest("Another")))
    _, _, challenge = invitations.use(token, time.time(), ADDRESS, "", challenge_lasts=900)
    assert challenge is not None
    assert ask(phone.ask(ra.certificate, challenge)).status == REFUSED
    assert count_certificates(registry, "Another") == 0


# --- The same again ---------------------------------------------------------------------------------------------------


def test_a_phone_that_asks_again_gets_the_same_certificate(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """It did not hear the answer. The same octets or a new message, as long as transaction and key are the same."""
    challenge = invite_to_scep(registry, name)
    body = phone.ask(ra.certificate, challenge)
    first = ask(body).open(phone)
    assert ask(body).open(phone) == first
    again = Phone()
    assert again.nonce != phone.nonce
    assert ask(again.ask(ra.certificate, challenge)).open(again) == first
    assert count_certificates(registry, name) == 1


def test_it_does_so_for_some_minutes(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """Later, whoever asks is not a phone that is waiting."""
    body = phone.ask(ra.certificate, invite_to_scep(registry, name))
    begun = time.time()
    assert ask(body, begun).status == "0"
    assert ask(body, begun + REPEATS - 5).status == "0"
    assert ask(body, begun + REPEATS + 5).status == REFUSED


def test_another_transaction_gets_nothing(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """Not with the same key either."""
    challenge = invite_to_scep(registry, name)
    sealed = seal(make_csr(phone.key, challenge), ra.certificate)
    assert ask(phone.sign(sealed)).status == "0"
    changed = phone.list_attributes(sealed) | {"transaction": attribute(TRANSACTION, printable("ANOTHER"))}
    assert ask(phone.sign(sealed, phone.make_signer(sealed, attributes=changed))).status == REFUSED


def test_the_same_transaction_with_another_key_gets_nothing(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """A transaction is no secret: it is on the way in clear."""
    challenge = invite_to_scep(registry, name)
    assert ask(phone.ask(ra.certificate, challenge)).status == "0"
    thief = Phone(find_key("other"))
    thief.transaction = phone.transaction
    assert ask(thief.ask(ra.certificate, challenge)).status == REFUSED
    assert count_certificates(registry, name) == 1


def test_a_certificate_that_was_revoked_is_not_handed_out_again(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """Nor is another made."""
    body = phone.ask(ra.certificate, invite_to_scep(registry, name))
    assert ask(body).status == "0"
    registry.inventory.revoke(
        [each.record for each in registry.inventory.find(name)], RevocationReason.KEY_COMPROMISE, time.time()
    )
    assert ask(body).status == REFUSED
    assert count_certificates(registry, name) == 1


def test_an_answer_that_was_interrupted_is_finished(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate was recorded, and the phone did not hear of it: it gets what is recorded."""
    body = phone.ask(ra.certificate, invite_to_scep(registry, name))
    record = registry.inventory.add_invited

    def record_and_fail(*arguments: Any) -> None:
        record(*arguments)
        raise PKIError("the disk is full", "make room")

    with monkeypatch.context() as patch:
        patch.setattr(registry.inventory, "add_invited", record_and_fail)
        assert ask(body).status == REFUSED
    assert ask(body).status == "0"
    assert count_certificates(registry, name) == 1


def test_an_older_certificate_of_the_name_is_not_handed_out(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """What was made for another invitation stays there, also for the same key and in the same minute."""
    first = invite_to_scep(registry, name)
    assert ask(phone.ask(ra.certificate, first)).status == "0"
    second = invite_to_scep(registry, name, kind=SCEP_RENEWAL)
    assert ask(phone.ask(ra.certificate, second)).status == "0"
    assert ask(phone.ask(ra.certificate, first)).status == REFUSED


# --- A successor ------------------------------------------------------------------------------------------------------


def test_a_device_that_renews_gets_a_successor(
    registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str
) -> None:
    """By an invitation that says so; what it had lives on for some days, should the new one get lost."""
    old = registry.issue(DeviceRequest(name))
    begun = time.time()
    reply = ask(phone.ask(ra.certificate, invite_to_scep(registry, name, kind=SCEP_RENEWAL)), begun)
    (certificate,) = reply.open(phone)
    present = registry.inventory.find_present(name)
    assert present is not None
    assert present.parsed == certificate
    (before,) = [each for each in registry.inventory.find(name) if each.parsed == old.certificate]
    assert before.record.retires_at == int(begun + RETIRES_AFTER)


# --- What is not answered ---------------------------------------------------------------------------------------------


def test_what_is_not_well_signed_is_not_answered_at_all(responder: Responder, caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody to encrypt to, and no transaction that could be believed."""
    answer = responder.answer(b"\x30\x00", ADDRESS, time.time())
    assert (answer.body, answer.succeeded) == (None, False)
    assert f"refused a message from {ADDRESS}" in caplog.text


def test_every_refusal_looks_the_same(registry: Registry, ra: Issued, ask: Ask, phone: Phone, name: str) -> None:
    """A wrong challenge, a lapsed one, a used one, a broken envelope, another key: badRequest, and not a word more."""
    used, lapsed = invite_to_scep(registry, name), invite_to_scep(registry, name, lasts=0)
    assert ask(phone.ask(ra.certificate, used)).status == "0"
    other = Phone(find_key("other"))
    broken = seal(make_csr(other.key, used), ra.certificate, spoil=lambda octets: b"\0" * len(octets))
    foreign = seal(make_csr(phone.key, used), ra.certificate)
    bodies = [
        other.ask(ra.certificate, "wrong"),
        other.ask(ra.certificate, lapsed),
        other.ask(ra.certificate, used),
        other.sign(broken),
        other.sign(foreign),
    ]
    replies = [ask(body) for body in bodies]
    assert {reply.status for reply in replies} == {REFUSED}
    assert {frozenset(reply.attributes) for reply in replies} == {frozenset(replies[0].attributes)}
    assert {reply.content for reply in replies} == {None}


# --- GetCACert --------------------------------------------------------------------------------------------------------


def test_authorities_are_listed_with_the_registration_authority_and_the_root(
    registry: Registry, responder: Responder, ra: Issued
) -> None:
    """iPhones look for a chain that begins with a certificate for both uses, and ends with the one they know."""
    listed = pkcs7.load_der_pkcs7_certificates(responder.list_authorities())
    assert {each.public_bytes(Encoding.DER) for each in listed} == {
        each.public_bytes(Encoding.DER) for each in (ra.certificate, registry.root)
    }
