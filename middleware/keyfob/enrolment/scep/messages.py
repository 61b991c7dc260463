"""A request as it comes in: believed in nothing before its signature fits, opened only then (RFC 8894 section 3)."""

import re
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import AttributeOID

from keyfob.certificate import UNREADABLE
from keyfob.enrolment.requests import Refused, require_proof
from keyfob.enrolment.scep import names
from keyfob.enrolment.scep.ber import (
    BIT_STRING,
    FIRST,
    FIRST_STRING,
    INTEGER,
    OCTET_STRING,
    OID,
    PRINTABLE,
    SEQUENCE,
    SET,
    Element,
    Unreadable,
    build,
    join_strings,
    read,
)
from keyfob.pki.authority import Issued
from keyfob.pki.keys import SMALLEST_RSA

# RFC 8894 section 3.2.1.2: a first request. Renewals come with an invitation of their own.
_PKCS_REQ = b"19"
_NONCE_OCTETS = 16
_PRINTABLE = re.compile(rb"[A-Za-z0-9 '()+,./:=?-]{1,128}")
_LARGEST_RSA, _EXPONENTS = 8192, range(65537, 2**32)


class Message(NamedTuple):
    """A request whose signature fits its own certificate. `envelope` is still encrypted."""

    transaction_id: str
    nonce: bytes
    signer: x509.Certificate
    envelope: bytes


class Opened(NamedTuple):
    """What was in the envelope: a key whose owner has asked, and the one-time challenge."""

    key: rsa.RSAPublicKey
    challenge: str

    def __repr__(self) -> str:
        return "<Opened>"


class _Signed(NamedTuple):
    """The parts of SignedData (RFC 5652 section 5.1) that matter, with its one signer."""

    content: bytes
    certificates: tuple[Element, ...]
    signer: tuple[Element, ...]
    digest: tuple[Element, ...]
    attributes: Element
    algorithm: tuple[Element, ...]
    signature: bytes


def read_message(body: bytes) -> Message:
    """The message in these octets of BER. Raises Refused, whatever they are."""
    try:
        signed = _take_apart(read(body))
        signer = _find_signer(signed)
        hashing = _verify(signed, signer)
        found = _read_attributes(signed.attributes)
        _require_content(found, signed.content, hashing)
        return Message(
            _require_text(found, names.TRANSACTION_ID).decode("ascii"),
            _require_nonce(found),
            signer,
            signed.content,
        )
    except InvalidSignature as error:
        raise Refused("the message's signature does not fit its certificate") from error
    except UNREADABLE as error:
        raise Refused(f"the message cannot be read: {error}") from error


def open_message(message: Message, ra: Issued) -> Opened:
    """What was encrypted to the registration authority. Raises Refused, and it is not to be told why."""
    try:
        plain = pkcs7.pkcs7_decrypt_der(_unfold(read(message.envelope)), ra.certificate, _require_rsa(ra.key), [])
    except UNREADABLE as error:
        raise Refused(f"the envelope cannot be opened: {error}") from error
    try:
        request = x509.load_der_x509_csr(plain)
        key = require_proof(request)
        challenge = request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    except x509.AttributeNotFound as error:
        raise Refused("there is no challenge in the request") from error
    except UNREADABLE as error:
        # What the parser says may quote what it has read, the challenge for one.
        raise Refused("what was in the envelope is no request for a certificate") from error
    if key != message.signer.public_key():
        raise Refused("the request is for another key than the one that has signed the message")
    return Opened(_require_rsa_public(key), challenge.decode("utf-8", "replace"))


def _take_apart(message: Element) -> _Signed:
    _, _, content, certificates, signers = _require_kind(message, names.SIGNED_DATA).open(
        INTEGER, SET, SEQUENCE, FIRST, SET
    )
    kind, wrapped = content.open(OID, FIRST)
    if kind.content != names.DATA:
        raise Unreadable("something else than data was signed")
    (octets,) = wrapped.open(OCTET_STRING)
    # Exactly one, and with attributes that are signed.
    (info,) = signers.open(SEQUENCE)
    _, who, digest, attributes, algorithm, signature = info.open(
        INTEGER, SEQUENCE, SEQUENCE, FIRST, SEQUENCE, OCTET_STRING
    )
    return _Signed(
        octets.content,
        certificates.parts,
        who.open(SEQUENCE, INTEGER),
        digest.parts,
        attributes,
        algorithm.parts,
        signature.content,
    )


def _require_kind(message: Element, kind: bytes) -> Element:
    """The content of a ContentInfo, RFC 5652 section 3."""
    found, wrapped = message.open(OID, FIRST)
    if found.content != kind:
        raise Unreadable("another kind of message")
    (content,) = wrapped.open(SEQUENCE)
    return content


def _find_signer(signed: _Signed) -> x509.Certificate:
    """The one certificate with the issuer and the serial number that the signer names."""
    found = [each for each in signed.certificates if _identify(each) == signed.signer]
    if len(found) != 1:
        raise Unreadable("the signer's certificate is not there, or twice")
    return x509.load_der_x509_certificate(found[0].der)


def _identify(certificate: Element) -> tuple[Element, ...]:
    body, _, _ = certificate.open(SEQUENCE, SEQUENCE, BIT_STRING)
    if len(body.parts) < 4 or body.parts[0].tag != FIRST:
        raise Unreadable("a certificate that is not of version 3")
    return body.parts[3], body.parts[1]


def _verify(signed: _Signed, signer: x509.Certificate) -> hashes.HashAlgorithm:
    """RFC 5652 section 5.4: the attributes are signed as a set, in DER. Raises InvalidSignature."""
    known = names.DIGESTS.get(_find_algorithm(signed.digest))
    if known is None:
        raise Unreadable("a digest other than SHA-256, SHA-384 and SHA-512")
    hashing, algorithm = known
    if _find_algorithm(signed.algorithm) not in {names.RSA_ENCRYPTION, algorithm}:
        raise Unreadable("a signature algorithm that is not RSA (PKCS #1 v1.5) with that digest")
    octets = build(SET, *signed.attributes.parts).der
    _require_rsa_public(signer.public_key()).verify(signed.signature, octets, padding.PKCS1v15(), hashing)
    return hashing


def _find_algorithm(parts: tuple[Element, ...]) -> bytes:
    return parts[0].content if parts and parts[0].tag == OID else b""


def _require_rsa_public(key: object) -> rsa.RSAPublicKey:
    if not isinstance(key, rsa.RSAPublicKey):
        raise Unreadable("a key that is not RSA")
    if not SMALLEST_RSA <= key.key_size <= _LARGEST_RSA or key.public_numbers().e not in _EXPONENTS:
        raise Unreadable(f"an RSA key of {key.key_size} bits, or with an unusual exponent")
    return key


def _require_rsa(key: object) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Unreadable("a registration authority that is not RSA")
    return key


def _read_attributes(attributes: Element) -> dict[bytes, Element]:
    found: dict[bytes, Element] = {}
    for attribute in attributes.parts:
        kind, values = attribute.open(OID, SET)
        if kind.content in found or len(values.parts) != 1:
            raise Unreadable("an attribute that is there twice")
        found[kind.content] = values.parts[0]
    return found


def _require_content(found: dict[bytes, Element], content: bytes, hashing: hashes.HashAlgorithm) -> None:
    digest = hashes.Hash(hashing)
    digest.update(content)
    if found.get(names.CONTENT_TYPE) != Element(OID, names.DATA):
        raise Unreadable("another type of content was signed")
    if found.get(names.MESSAGE_DIGEST) != Element(OCTET_STRING, digest.finalize()):
        raise Unreadable("another content was signed")
    if _require_text(found, names.MESSAGE_TYPE) != _PKCS_REQ:
        raise Unreadable("another type of message than a first request")


def _require_text(found: dict[bytes, Element], kind: bytes) -> bytes:
    value = found.get(kind)
    if value is None or value.tag != PRINTABLE or _PRINTABLE.fullmatch(value.content) is None:
        raise Unreadable("an attribute of SCEP that is missing or no printable string")
    return value.content


def _require_nonce(found: dict[bytes, Element]) -> bytes:
    value = found.get(names.SENDER_NONCE)
    if value is None or value.tag != OCTET_STRING or len(value.content) != _NONCE_OCTETS:
        raise Unreadable("no nonce of 16 octets")
    return value.content


def _unfold(envelope: Element) -> bytes:
    """The envelope (RFC 5652 section 6.1) in DER, with its one recipient, and the encrypted string in one piece."""
    version, recipients, content = _require_kind(envelope, names.ENVELOPED_DATA).open(INTEGER, SET, SEQUENCE)
    recipients.open(SEQUENCE)
    kind, algorithm, *rest = content.parts
    if len(rest) != 1 or rest[0].tag not in {FIRST, FIRST_STRING}:
        raise Unreadable("an envelope with nothing in it")
    if _find_algorithm(algorithm.parts) not in names.CIPHERS:
        raise Unreadable("a cipher other than AES-128 and AES-256 in CBC")
    string = rest[0] if rest[0].tag == FIRST_STRING else Element(FIRST_STRING, join_strings(rest[0].parts))
    unfolded = build(SEQUENCE, version, recipients, build(SEQUENCE, kind, algorithm, string))
    return build(SEQUENCE, Element(OID, names.ENVELOPED_DATA), build(FIRST, unfolded)).der
