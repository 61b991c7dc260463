"""scep.messages: what is believed of a request, and what is refused before and after it is opened."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from apple_ber import (
    DATA,
    MESSAGE_TYPE,
    RSA,
    SCEP,
    TRANSACTION,
    Phone,
    attribute,
    ber,
    der,
    find_key,
    find_transaction,
    make_csr,
    make_temporary,
    oid,
    printable,
    seal,
    sign_with_sha1,
)
from keyfob.enrolment.requests import Refused
from keyfob.enrolment.scep.messages import Message, open_message, read_message
from keyfob.pki.authority import Authority, Issued

CHALLENGE = "J5w1nq0kVd3r_9-xYzAbCd"


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
def sealed(phone: Phone, ra: Issued) -> bytes:
    return seal(make_csr(phone.key, CHALLENGE), ra.certificate)


def refuse(body: bytes, reason: str) -> None:
    """The message is refused before it is opened, and for this reason."""
    with pytest.raises(Refused, match=reason) as raised:
        read_message(body)
    assert CHALLENGE not in str(raised.value)


def refuse_opened(phone: Phone, sealed: bytes, ra: Issued, reason: str) -> None:
    """The message is well signed, and refused for what is in it."""
    message = read_message(phone.sign(sealed))
    with pytest.raises(Refused, match=reason) as raised:
        open_message(message, ra)
    assert CHALLENGE not in str(raised.value)


# --- What is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("long", [ber, der], ids=["as Apple writes it", "in DER"])
@pytest.mark.parametrize("cipher", ["aes128", "aes256"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_a_good_request_is_read(long: Callable[..., bytes], cipher: str, digest: str, phone: Phone, ra: Issued) -> None:
    """The transaction, the nonce, the signer, the key and the challenge come out of it as they went in."""
    sealed = seal(make_csr(phone.key, CHALLENGE), ra.certificate, cipher, long)
    message = read_message(phone.sign(sealed, digest=digest, long=long))
    assert message == Message(phone.transaction, phone.nonce, phone.certificate, sealed)
    opened = open_message(message, ra)
    assert (opened.key, opened.challenge) == (phone.key.public_key(), CHALLENGE)


def test_the_challenge_is_not_in_the_representation(phone: Phone, sealed: bytes, ra: Issued) -> None:
    """What is logged by mistake has no secret in it."""
    assert CHALLENGE not in repr(open_message(read_message(phone.sign(sealed)), ra))


def test_other_certificates_and_attributes_may_come_along(phone: Phone, sealed: bytes) -> None:
    """Clients send chains, and times of signing."""
    other = make_temporary(find_key("other")).public_bytes(Encoding.DER)
    own = phone.certificate.public_bytes(Encoding.DER)
    time = attribute("2a864886f70d010905", der(0x17, b"260101000000Z"))
    signer = phone.make_signer(sealed, attributes=phone.list_attributes(sealed) | {"time": time})
    message = read_message(phone.sign(sealed, signer, certificates=[other, own]))
    assert message.signer == phone.certificate


# --- The signature ----------------------------------------------------------------------------------------------------


def test_another_content_than_the_signed_one_is_refused(phone: Phone, sealed: bytes) -> None:
    """RFC 5652 section 5.4: the digest of the content is among what is signed."""
    refuse(phone.sign(sealed[:-3] + b"\1\0\0", phone.make_signer(sealed)), "another content was signed")


def test_attributes_that_were_changed_are_refused(phone: Phone, sealed: bytes) -> None:
    """The signature is over them."""
    other = replace(phone, nonce=b"n" * 16)
    signer = phone.make_signer(sealed)
    assert phone.nonce in signer
    refuse(phone.sign(sealed, signer.replace(phone.nonce, other.nonce)), "signature does not fit")


def test_a_signature_by_another_key_is_refused(phone: Phone, sealed: bytes) -> None:
    """Whoever names a certificate has to have its key."""
    thief = Phone(find_key("other"))
    thief.certificate = phone.certificate
    refuse(thief.sign(sealed), "signature does not fit")


def test_without_signed_attributes_a_message_is_refused(phone: Phone, sealed: bytes) -> None:
    """Else what says SCEP could be put beside anything that was ever signed; RFC 8894 section 3.2 wants them signed."""
    refuse(phone.sign(sealed, phone.make_signer(sealed, tag=0xA1)), "other parts than expected")


def test_attributes_beside_the_signed_ones_are_refused(phone: Phone, sealed: bytes) -> None:
    """Nobody sends any, and nobody has signed them."""
    signer = phone.make_signer(sealed)
    with_more = der(0x30, signer[4:], der(0xA1, attribute(TRANSACTION, printable("1"))))
    assert signer[:2] == b"\x30\x82"
    refuse(phone.sign(sealed, with_more), "other parts than expected")


def test_two_signers_are_refused(phone: Phone, sealed: bytes) -> None:
    """Two could say two different things."""
    refuse(phone.sign(sealed, *[phone.make_signer(sealed)] * 2), "other parts than expected")
    other = Phone(find_key("other"))
    certificates = [each.certificate.public_bytes(Encoding.DER) for each in (phone, other)]
    both = [each.make_signer(sealed) for each in (phone, other)]
    refuse(phone.sign(sealed, *both, certificates=certificates), "other parts than expected")


def test_no_signer_is_refused(phone: Phone, sealed: bytes) -> None:
    """A message of certificates alone has none."""
    refuse(phone.sign(sealed, b"", digest="sha256"), "other parts than expected")


def test_sha_1_is_refused(phone: Phone, sealed: bytes) -> None:
    """Two messages with the same SHA-1 can be made."""
    refuse(phone.sign(sealed, digest="sha1"), "a digest other than")


def test_a_signature_algorithm_of_another_digest_is_refused(phone: Phone, sealed: bytes) -> None:
    """SHA-1 must not come in by a second name."""
    signer = phone.make_signer(sealed)
    sha1_with_rsa = bytes.fromhex("2a864886f70d010105")
    assert signer.count(bytes.fromhex(RSA)) == 1
    changed = signer.replace(bytes.fromhex(RSA), sha1_with_rsa)
    refuse(phone.sign(sealed, changed), "a signature algorithm that is not")


def test_the_signature_algorithm_may_name_the_same_digest_again(phone: Phone, sealed: bytes) -> None:
    """OpenSSL writes it like this."""
    sha256_with_rsa = bytes.fromhex("2a864886f70d01010b")
    changed = phone.make_signer(sealed).replace(bytes.fromhex(RSA), sha256_with_rsa)
    assert read_message(phone.sign(sealed, changed)).signer == phone.certificate


@pytest.mark.parametrize("certificates", [[], ["other"], ["own", "own"]], ids=str)
def test_the_signers_certificate_is_there_exactly_once(certificates: list[str], phone: Phone, sealed: bytes) -> None:
    """Nobody is looked up, and nobody is chosen among several."""
    known = {"own": phone.certificate, "other": make_temporary(find_key("other"))}
    listed = [known[each].public_bytes(Encoding.DER) for each in certificates]
    refuse(phone.sign(sealed, certificates=listed), "the signer's certificate is not there, or twice")


@pytest.mark.parametrize("kind", ["rsa1024", "rsa1536", "p256"])
def test_a_key_that_is_too_short_or_not_rsa_is_refused(kind: str, ra: Issued) -> None:
    """The answer could not be encrypted to it, or by everybody be read."""
    phone = Phone(find_key(kind, kind))
    refuse(phone.sign(seal(make_csr(phone.key, CHALLENGE), ra.certificate)), "not RSA|an RSA key of")


# --- The attributes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"message_type": attribute(MESSAGE_TYPE, printable("17"))}, "another type of message"),
        ({"message_type": attribute(MESSAGE_TYPE, printable("3"))}, "another type of message"),
        ({"message_type": attribute(MESSAGE_TYPE, der(0x0C, b"19"))}, "no printable string"),
        ({"message_type": attribute(MESSAGE_TYPE, printable("19"), printable("19"))}, "there twice"),
        ({"message_type": attribute(MESSAGE_TYPE)}, "there twice"),
        ({"message_type": b""}, "missing or no printable string"),
        ({"transaction": b""}, "missing or no printable string"),
        ({"transaction": attribute(TRANSACTION, printable(""))}, "missing or no printable string"),
        ({"transaction": attribute(TRANSACTION, printable("A" * 129))}, "missing or no printable string"),
        ({"transaction": attribute(TRANSACTION, der(0x13, b"A\nB"))}, "missing or no printable string"),
        ({"transaction": attribute(TRANSACTION, der(0x13, b"A\n"))}, "missing or no printable string"),
        ({"transaction": attribute(TRANSACTION, der(0x13, "é".encode()))}, "missing or no printable string"),
        ({"more": attribute(TRANSACTION, printable("1"))}, "there twice"),
        ({"nonce": b""}, "no nonce"),
        ({"nonce": attribute(SCEP + "05", der(0x04, b"n" * 15))}, "no nonce"),
        ({"nonce": attribute(SCEP + "05", der(0x04, b"n" * 17))}, "no nonce"),
        ({"content_type": b""}, "another type of content"),
        ({"content_type": attribute("2a864886f70d010903", oid("2a864886f70d010702"))}, "another type of content"),
        ({"message_digest": b""}, "another content"),
        ({"message_digest": attribute("2a864886f70d010904", der(0x04, b""))}, "another content"),
    ],
)
def test_an_attribute_that_is_wrong_is_refused(
    changed: dict[str, bytes], reason: str, phone: Phone, sealed: bytes
) -> None:
    """Missing, doubled, of another type, too long, or with what no log should show."""
    attributes = {name: value for name, value in (phone.list_attributes(sealed) | changed).items() if value}
    refuse(phone.sign(sealed, phone.make_signer(sealed, attributes=attributes)), reason)


def test_a_log_line_cannot_be_forged(phone: Phone, sealed: bytes, ra: Issued) -> None:
    """A refusal says nothing of what was sent, but for a transaction of printable characters."""
    evil = der(0x13, b"1\r\nWARNING forged")
    signer = phone.make_signer(
        sealed, attributes=phone.list_attributes(sealed) | {"transaction": attribute(TRANSACTION, evil)}
    )
    with pytest.raises(Refused) as raised:
        read_message(phone.sign(sealed, signer))
    assert "forged" not in str(raised.value)


# --- The shape --------------------------------------------------------------------------------------------------------


def test_other_messages_of_cms_are_refused(phone: Phone, sealed: bytes) -> None:
    """An envelope is not a message, and what was signed has to be data."""
    refuse(sealed, "another kind of message")
    refuse(phone.sign(sealed).replace(bytes.fromhex(DATA), bytes.fromhex("2a864886f70d010704"), 1), "than data")


def test_lists_of_withdrawn_certificates_have_no_place_here(phone: Phone, sealed: bytes) -> None:
    """What nobody sends is not looked at."""
    signed = phone.sign(sealed, long=der)
    certificates = der(0xA0, phone.certificate.public_bytes(Encoding.DER))
    assert certificates in signed
    body = der(
        0x30,
        der(0x02, b"\1"),
        der(0x31, der(0x30, oid("608648016503040201"))),
        der(0x30, oid(DATA), der(0xA0, der(0x04, sealed))),
        certificates,
        der(0xA1, der(0x30)),
        der(0x31, phone.make_signer(sealed)),
    )
    refuse(der(0x30, oid("2a864886f70d010702"), der(0xA0, body)), "other parts than expected")


# --- The envelope -----------------------------------------------------------------------------------------------------


def test_triple_des_is_refused(phone: Phone, ra: Issued) -> None:
    """It is not among the capabilities, and `cryptography` does not open it."""
    sealed = seal(make_csr(phone.key, CHALLENGE), ra.certificate, "des3")
    refuse_opened(phone, sealed, ra, "a cipher other than AES")


def test_an_envelope_for_somebody_else_is_refused(phone: Phone, ra: Issued) -> None:
    """The responder has one key, and nobody else's."""
    other = Authority.create("Somebody else", kind="rsa2048").certificate
    refuse_opened(phone, seal(make_csr(phone.key, CHALLENGE), other), ra, "cannot be opened")


@pytest.mark.parametrize("recipients", [0, 2])
def test_other_than_one_recipient_is_refused(recipients: int, phone: Phone, ra: Issued) -> None:
    """A request is for the registration authority alone."""
    sealed = seal(make_csr(phone.key, CHALLENGE), ra.certificate, recipients=recipients)
    refuse_opened(phone, sealed, ra, "other parts than expected")


@pytest.mark.parametrize(
    "spoil",
    [lambda octets: octets[:-16], lambda octets: octets[:-1], lambda _: b"", lambda octets: b"\0" * len(octets)],
    ids=["no last block", "half a block", "nothing", "zeros"],
)
def test_ciphertext_that_was_changed_is_refused(spoil: Callable[[bytes], bytes], phone: Phone, ra: Issued) -> None:
    """Whether the padding was wrong or what was in it stays here."""
    sealed = seal(make_csr(phone.key, CHALLENGE), ra.certificate, spoil=spoil)
    refuse_opened(phone, sealed, ra, "cannot be opened|no request for a certificate")


@pytest.mark.parametrize("plain", [b"", b"x", b"\x30\x00", der(0x30, der(0x04, CHALLENGE.encode()))])
def test_what_is_no_signing_request_is_refused(plain: bytes, phone: Phone, ra: Issued) -> None:
    """And what it was is not said."""
    refuse_opened(phone, seal(plain, ra.certificate), ra, "no request for a certificate")


# --- The request in it ------------------------------------------------------------------------------------------------


def test_a_request_for_another_key_than_the_signers_is_refused(phone: Phone, ra: Issued) -> None:
    """Else the answer, and with it the certificate, would go to one who only has seen the request."""
    csr = make_csr(find_key("other"), CHALLENGE)
    refuse_opened(phone, seal(csr, ra.certificate), ra, "for another key than the one that has signed")


def test_a_request_that_its_key_has_not_signed_is_refused(phone: Phone, ra: Issued) -> None:
    """RFC 2986 section 3: that is how somebody shows to have the key."""
    csr = bytearray(make_csr(phone.key, CHALLENGE))
    csr[-5] ^= 1
    refuse_opened(phone, seal(bytes(csr), ra.certificate), ra, "not signed with its own key")


def test_a_request_signed_with_sha_1_is_refused(phone: Phone, ra: Issued) -> None:
    """As everywhere."""
    csr = sign_with_sha1(make_csr(phone.key, CHALLENGE), phone.key)
    refuse_opened(phone, seal(csr, ra.certificate), ra, "another digest than")


def test_a_request_without_a_challenge_is_refused(phone: Phone, ra: Issued) -> None:
    """Nobody gets a certificate for nothing."""
    refuse_opened(phone, seal(make_csr(phone.key, None), ra.certificate), ra, "no challenge")


def test_what_a_request_asks_for_is_read_and_left(phone: Phone, ra: Issued) -> None:
    """A subject and extensions change nothing: what is opened is a key and a challenge."""
    csr = make_csr(phone.key, CHALLENGE, "Somebody else", [x509.BasicConstraints(ca=True, path_length=None)])
    opened = open_message(read_message(phone.sign(seal(csr, ra.certificate))), ra)
    assert opened == (phone.key.public_key(), CHALLENGE)


def test_apples_transaction_is_the_digest_of_the_key(phone: Phone, sealed: bytes) -> None:
    """The builder of these tests writes it as phones do."""
    assert read_message(phone.sign(sealed)).transaction_id == find_transaction(phone.key)
    assert len(find_transaction(phone.key)) == 40
    assert find_transaction(phone.key).isupper()
