"""What goes back: signed by the registration authority, and readable for who has asked (RFC 8894 section 3.3)."""

import secrets
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from keyfob.enrolment.scep import names
from keyfob.enrolment.scep.ber import (
    FIRST,
    INTEGER,
    NULL,
    OCTET_STRING,
    OID,
    PRINTABLE,
    SEQUENCE,
    SET,
    Element,
    build,
    read,
)
from keyfob.enrolment.scep.messages import Message
from keyfob.errors import PKIError
from keyfob.pki.authority import Issued

# RFC 8894 section 3.5.2. SHA-384 is no keyword of it, but strongSwan before 5.9.11 looks for it in place of SHA-256.
CAPABILITIES = "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\nSHA-384\nSHA-512\n"

_CERT_REP, _SUCCESS, _FAILURE, _BAD_REQUEST = b"3", b"0", b"2", b"2"


def compose_authorities(ra: x509.Certificate, chain: Sequence[x509.Certificate]) -> bytes:
    """The answer to GetCACert (section 4.2.1.2).

    iPhones hold the fingerprint of their profile against the end of this chain, so the root belongs into it.
    """
    return pkcs7.serialize_certificates([ra, *chain], Encoding.DER)


def compose_success(message: Message, ra: Issued, certificate: x509.Certificate) -> bytes:
    """The certificate, encrypted to the one who has signed the message."""
    # AES-128 is what every client of SCEP has to know (section 2.9).
    envelope = (
        pkcs7.PKCS7EnvelopeBuilder()
        .set_data(pkcs7.serialize_certificates([certificate], Encoding.DER))
        .add_recipient(message.signer)
        .set_content_encryption_algorithm(AES128)
        .encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    )
    return _sign(message, ra, envelope, [(names.PKI_STATUS, Element(PRINTABLE, _SUCCESS))])


def compose_failure(message: Message, ra: Issued) -> bytes:
    """badRequest, whatever it was: the one who has asked wrongly learns no more."""
    said = [
        (names.PKI_STATUS, Element(PRINTABLE, _FAILURE)),
        (names.FAIL_INFO, Element(PRINTABLE, _BAD_REQUEST)),
    ]
    return _sign(message, ra, None, said)


def _sign(message: Message, ra: Issued, content: bytes | None, said: list[tuple[bytes, Element]]) -> bytes:
    attributes = _compose_attributes(message, content or b"", said)
    if not isinstance(ra.key, rsa.RSAPrivateKey):
        raise PKIError("the registration authority's key is not RSA", "move ra.pem and ra-key.pem away")
    signature = ra.key.sign(build(SET, *attributes).der, padding.PKCS1v15(), hashes.SHA256())
    signer = build(
        SEQUENCE,
        _ONE,
        _identify(ra.certificate),
        _SHA256,
        build(FIRST, *attributes),
        build(SEQUENCE, Element(OID, names.RSA_ENCRYPTION), Element(NULL, b"")),
        Element(OCTET_STRING, signature),
    )
    wrapped = () if content is None else (build(FIRST, Element(OCTET_STRING, content)),)
    signed = build(
        SEQUENCE,
        _ONE,
        build(SET, _SHA256),
        build(SEQUENCE, Element(OID, names.DATA), *wrapped),
        build(FIRST, read(ra.certificate.public_bytes(Encoding.DER))),
        build(SET, signer),
    )
    return build(SEQUENCE, Element(OID, names.SIGNED_DATA), build(FIRST, signed)).der


_ONE = Element(INTEGER, b"\1")
_SHA256 = build(SEQUENCE, Element(OID, names.SHA256))


def _compose_attributes(message: Message, content: bytes, said: list[tuple[bytes, Element]]) -> list[Element]:
    """In the order that DER asks of a set."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content)
    wanted = [
        (names.CONTENT_TYPE, Element(OID, names.DATA)),
        (names.MESSAGE_DIGEST, Element(OCTET_STRING, digest.finalize())),
        (names.MESSAGE_TYPE, Element(PRINTABLE, _CERT_REP)),
        (names.TRANSACTION_ID, Element(PRINTABLE, message.transaction_id.encode("ascii"))),
        (names.RECIPIENT_NONCE, Element(OCTET_STRING, message.nonce)),
        (names.SENDER_NONCE, Element(OCTET_STRING, secrets.token_bytes(16))),
        *said,
    ]
    attributes = [build(SEQUENCE, Element(OID, kind), build(SET, value)) for kind, value in wanted]
    return sorted(attributes, key=lambda each: each.der)


def _identify(certificate: x509.Certificate) -> Element:
    body = read(certificate.tbs_certificate_bytes)
    return build(SEQUENCE, body.parts[3], body.parts[1])
