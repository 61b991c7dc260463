"""SCEP requests as iPhones write them, right and wrong in every way that a test asks for. Independent of `keyfob`.

Lengths that are not known yet, strings in pieces, AES-128 in CBC, a self-signed certificate whose common name is a
UUID, and as transaction the SHA-1 of the public key in upper-case hexadecimal digits.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from cryptography.x509.oid import AttributeOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

DATA, SIGNED, ENVELOPED = "2a864886f70d010701", "2a864886f70d010702", "2a864886f70d010703"
CONTENT_TYPE, MESSAGE_DIGEST = "2a864886f70d010903", "2a864886f70d010904"
SCEP = "6086480186f8450109"
MESSAGE_TYPE, STATUS, FAIL_INFO = SCEP + "02", SCEP + "03", SCEP + "04"
SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION = SCEP + "05", SCEP + "06", SCEP + "07"
RSA = "2a864886f70d010101"
DIGESTS: Mapping[str, tuple[str, hashes.HashAlgorithm]] = {
    "sha1": ("2b0e03021a", hashes.SHA1()),  # noqa: S303 - to be refused
    "sha256": ("608648016503040201", hashes.SHA256()),
    "sha384": ("608648016503040202", hashes.SHA384()),
    "sha512": ("608648016503040203", hashes.SHA512()),
}
# The identifier of each cipher, the length of its key, and of its block.
CIPHERS: Mapping[str, tuple[str, int, int]] = {
    "aes128": ("608648016503040102", 16, 16),
    "aes256": ("60864801650304012a", 32, 16),
    "des3": ("2a864886f70d0307", 24, 8),
}


# --- Encodings --------------------------------------------------------------------------------------------------------


def der(tag: int, *parts: bytes) -> bytes:
    """One element with a length."""
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def ber(tag: int, *parts: bytes) -> bytes:
    """One element whose length is not known yet."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def cut(content: bytes, size: int = 100) -> list[bytes]:
    """A string in pieces."""
    return [der(0x04, content[at : at + size]) for at in range(0, len(content), size)]


def oid(digits: str) -> bytes:
    return der(0x06, bytes.fromhex(digits))


def printable(text: str) -> bytes:
    return der(0x13, text.encode("ascii"))


def attribute(kind: str, *values: bytes) -> bytes:
    return der(0x30, oid(kind), der(0x31, *values))


def split(octets: bytes) -> list[tuple[int, bytes, bytes]]:
    """The elements of DER that follow one another: tag, content, and the whole of each."""
    found, at = [], 0
    while at < len(octets):
        size, begin = octets[at + 1], at + 2
        if size & 0x80:
            begin += size & 0x7F
            size = int.from_bytes(octets[at + 2 : begin])
        found.append((octets[at], octets[begin : begin + size], octets[at : begin + size]))
        at = begin + size
    return found


# --- The phone --------------------------------------------------------------------------------------------------------


@cache
def find_key(name: str, kind: str = "rsa2048") -> Key:
    """A key of this kind, the same for the same name: making one takes a while."""
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def make_temporary(key: Key, name: str | None = None) -> x509.Certificate:
    """The self-signed certificate with which a phone signs its request."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or str(uuid.uuid4()).upper())])
    now = datetime.now(UTC).replace(microsecond=0)
    usages = ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(usages, False),
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=365))
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def make_csr(
    key: Key,
    challenge: str | None,
    subject: str = "what the profile says",
    extensions: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """The request that goes into the envelope."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def sign_with_sha1(csr: bytes, key: Key) -> bytes:
    """The same request, signed with what is to be refused; `cryptography` does not write it."""
    assert isinstance(key, rsa.RSAPrivateKey)
    body = split(split(csr)[0][1])[0][2]
    signature = key.sign(body, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    return der(0x30, body, der(0x30, oid("2a864886f70d010105"), der(0x05)), der(0x03, b"\0", signature))


def find_transaction(key: Key) -> str:
    """SHA-1 of the public key (PKCS #1), as Apple writes it."""
    form = PublicFormat.PKCS1 if isinstance(key, rsa.RSAPrivateKey) else PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha1(key.public_key().public_bytes(Encoding.DER, form)).hexdigest().upper()  # noqa: S324


@dataclass
class Phone:
    """One that asks with `key`. What it sends can be changed in every part by the methods' arguments."""

    key: Key = field(default_factory=lambda: find_key("phone"))
    nonce: bytes = field(default_factory=lambda: os.urandom(16))

    def __post_init__(self) -> None:
        self.certificate = make_temporary(self.key)
        self.transaction = find_transaction(self.key)

    def ask(self, ra: x509.Certificate, challenge: str) -> bytes:
        """The whole request."""
        return self.sign(seal(make_csr(self.key, challenge), ra))

    def list_attributes(self, content: bytes, digest: str = "sha256") -> dict[str, bytes]:
        """What is signed, by its names here: each is one attribute in DER."""
        hashed = hashes.Hash(DIGESTS[digest][1])
        hashed.update(content)
        return {
            "content_type": attribute(CONTENT_TYPE, oid(DATA)),
            "message_digest": attribute(MESSAGE_DIGEST, der(0x04, hashed.finalize())),
            "message_type": attribute(MESSAGE_TYPE, printable("19")),
            "nonce": attribute(SENDER_NONCE, der(0x04, self.nonce)),
            "transaction": attribute(TRANSACTION, printable(self.transaction)),
        }

    def make_signer(
        self, content: bytes, digest: str = "sha256", attributes: Mapping[str, bytes] | None = None, tag: int = 0xA0
    ) -> bytes:
        """SignerInfo. With another `tag` the attributes are there and not signed."""
        listed = sorted((attributes or self.list_attributes(content, digest)).values())
        algorithm, hashed = DIGESTS[digest]
        signed = der(0x31, *listed) if tag == 0xA0 else content
        signature = (
            self.key.sign(signed, padding.PKCS1v15(), hashed)
            if isinstance(self.key, rsa.RSAPrivateKey)
            else self.key.sign(signed, ec.ECDSA(hashed))
        )
        parts = [
            der(0x02, b"\1"),
            identify(self.certificate),
            der(0x30, oid(algorithm), der(0x05)),
            der(0x30, oid(RSA), der(0x05)),
            der(0x04, signature),
        ]
        parts.insert(3 if tag == 0xA0 else 5, der(tag, *listed))
        return der(0x30, *parts)

    def sign(
        self,
        content: bytes,
        *signers: bytes,
        digest: str = "sha256",
        certificates: Sequence[bytes] | None = None,
        long: Callable[..., bytes] = ber,
    ) -> bytes:
        """SignedData around `content`; `long` encodes what Apple gives no length."""
        certificates = [self.certificate.public_bytes(Encoding.DER)] if certificates is None else certificates
        octets = long(0x24, *cut(content)) if long is ber else der(0x04, content)
        signed = long(
            0x30,
            der(0x02, b"\1"),
            der(0x31, der(0x30, oid(DIGESTS[digest][0]), der(0x05))),
            long(0x30, oid(DATA), long(0xA0, octets)),
            der(0xA0, *certificates),
            der(0x31, *(signers or (self.make_signer(content, digest),))),
        )
        return long(0x30, oid(SIGNED), long(0xA0, signed))


def identify(certificate: x509.Certificate) -> bytes:
    """IssuerAndSerialNumber."""
    parts = split(split(certificate.tbs_certificate_bytes)[0][1])
    return der(0x30, parts[3][2], parts[1][2])


def seal(
    plain: bytes,
    ra: x509.Certificate,
    cipher: str = "aes128",
    long: Callable[..., bytes] = ber,
    spoil: Callable[[bytes], bytes] = bytes,
    recipients: int = 1,
) -> bytes:
    """EnvelopedData for the registration authority, so many times. `spoil` changes what was encrypted."""
    algorithm, size, block = CIPHERS[cipher]
    secret, start = os.urandom(size), os.urandom(block)
    padder = PKCS7(block * 8).padder()
    encrypted = spoil(_encrypt(cipher, secret, start, padder.update(plain) + padder.finalize()))
    public = ra.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    recipient = der(
        0x30,
        der(0x02, b"\0"),
        identify(ra),
        der(0x30, oid(RSA), der(0x05)),
        der(0x04, public.encrypt(secret, padding.PKCS1v15())),
    )
    string = long(0xA0, *cut(encrypted)) if long is ber else der(0x80, encrypted)
    content = long(0x30, oid(DATA), der(0x30, oid(algorithm), der(0x04, start)), string)
    readers = der(0x31, *[recipient] * recipients)
    return long(0x30, oid(ENVELOPED), long(0xA0, long(0x30, der(0x02, b"\0"), readers, content)))


def _encrypt(cipher: str, secret: bytes, start: bytes, padded: bytes) -> bytes:
    if cipher == "des3":
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

        encryptor = Cipher(TripleDES(secret), modes.CBC(start)).encryptor()
    else:
        encryptor = Cipher(algorithms.AES(secret), modes.CBC(start)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


# --- The answer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """What a phone reads in an answer, after it has verified the signature with the RA's key."""

    attributes: Mapping[str, bytes]
    content: bytes | None

    @property
    def status(self) -> str:
        """`0`, or `2/2`: the second is what failed."""
        failed = self.attributes.get(FAIL_INFO)
        return self._text(STATUS) + (f"/{self._text(FAIL_INFO)}" if failed else "")

    @property
    def transaction(self) -> str:
        return self._text(TRANSACTION)

    @property
    def recipient_nonce(self) -> bytes:
        return split(self.attributes[RECIPIENT_NONCE])[0][1]

    def open(self, phone: Phone) -> list[x509.Certificate]:
        """The certificates that were encrypted to the phone."""
        assert self.content is not None
        assert isinstance(phone.key, rsa.RSAPrivateKey)
        return pkcs7.load_der_pkcs7_certificates(
            pkcs7.pkcs7_decrypt_der(self.content, phone.certificate, phone.key, [])
        )

    def _text(self, kind: str) -> str:
        tag, content, _ = split(self.attributes[kind])[0]
        assert tag == 0x13
        return content.decode("ascii")


def read_reply(reply: bytes, ra: x509.Certificate) -> Reply:
    """The reply, verified: its signer is the RA, and its signature fits. Raises for anything else."""
    signed = split(split(split(split(reply)[0][1])[1][1])[0][1])
    content = split(signed[2][1])
    (info,) = split(signed[4][1])
    _, who, _, attributes, _, signature = split(info[1])
    assert who[2] == identify(ra)
    assert attributes[0] == 0xA0
    public = ra.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature[1], der(0x31, attributes[1]), padding.PKCS1v15(), hashes.SHA256())
    listed = [each[2] for each in split(attributes[1])]
    assert listed == sorted(listed)
    found = {split(each[1])[0][1].hex(): split(each[1])[1][1] for each in split(attributes[1])}
    octets = split(split(content[1][1])[0][2])[0][1] if len(content) > 1 else None
    hashed = hashlib.sha256(octets or b"").digest()
    assert split(found[MESSAGE_DIGEST])[0][1] == hashed
    assert found[MESSAGE_TYPE] == printable("3")
    return Reply(found, octets)
