"""What the inventory keeps of a certificate, and what it says of it."""

import hashlib
from enum import StrEnum
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.certificate import format_serial
from keyfob.errors import PKIError

# RFC 5280 section 4.1.2.2: at most 20 octets. The inventory keeps them all at this length.
SERIAL_LENGTH = 20
NAME_LENGTH = 64


class State(StrEnum):
    """What a certificate is worth at a moment."""

    ACTIVE = "active"
    RETIRING = "retiring"
    """Renewed: it has a successor, and lives until its last day."""
    EXPIRED = "expired"
    REVOKED = "revoked"


class RevocationReason(StrEnum):
    """The reasons of RFC 5280 section 5.3.1 that a device can have; none can be taken back."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


class Entry(NamedTuple):
    """A certificate that is about to be recorded under a device's name. DER both; `issuer` is who has signed it."""

    name: str
    certificate: bytes
    issuer: bytes
    serial: int
    not_before: int
    """Seconds since the epoch, as all moments here."""
    not_after: int
    issued_at: int

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the DER."""
        return digest(self.certificate)


def make_entry(name: str, certificate: x509.Certificate, issuer: x509.Certificate, issued_at: float) -> Entry:
    """The entry for a certificate that is there already parsed."""
    return Entry(
        name,
        certificate.public_bytes(Encoding.DER),
        issuer.public_bytes(Encoding.DER),
        certificate.serial_number,
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
        int(issued_at),
    )


class Record(NamedTuple):
    """One certificate of the inventory. Moments are seconds since the epoch; None has not happened."""

    id: int
    name: str
    serial: bytes
    fingerprint: bytes
    issuer: int
    not_before: int
    not_after: int
    issued_at: int
    retires_at: int | None
    revoked_at: int | None
    reason: str | None
    seen_at: int | None
    seen_from: str | None

    @property
    def serial_text(self) -> str:
        """As `openssl x509 -serial` prints it."""
        return format_serial(int.from_bytes(self.serial))

    def find_state(self, at: float) -> State:
        """What it is worth at `at`. A certificate that is both revoked and expired is revoked."""
        if self.revoked_at is not None or (self.retires_at is not None and self.retires_at <= at):
            return State.REVOKED
        if self.not_after < at:
            return State.EXPIRED
        return State.ACTIVE if self.retires_at is None else State.RETIRING


class Withdrawal(NamedTuple):
    """A serial number that counts no longer from `at` on: 0 if it is revoked.

    None takes back what was said about its future.
    """

    serial: bytes
    """The content of its DER encoding: a leading 00 where the first bit would be a sign."""
    at: int | None


class NameTaken(PKIError):
    """A device of that name has a certificate that counts."""


class NotInInventory(PKIError):
    """No certificate of the inventory is meant."""


class Stored(NamedTuple):
    """A record together with its certificate."""

    record: Record
    certificate: bytes

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)


def digest(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def encode_serial(serial: int) -> bytes:
    """The serial number as the inventory keeps it. Raises PKIError if it is negative or longer than RFC 5280 allows."""
    try:
        return serial.to_bytes(SERIAL_LENGTH)
    except OverflowError as error:
        message = f"a serial number has {SERIAL_LENGTH} octets at most, and no sign"
        raise PKIError(message, "leave the certificate out") from error


def is_storable(text: str) -> bool:
    """Whether a database takes it: in PostgreSQL no NUL, in none half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def require_storable_name(name: str) -> str:
    """The name, if a device can be recorded under it. What makes a good one is for others to say. Raises PKIError."""
    if not 1 <= len(name) <= NAME_LENGTH or not is_storable(name):
        raise PKIError(f"no device can be recorded as {name[:NAME_LENGTH]!a}", f"use 1 to {NAME_LENGTH} characters")
    return name


def fit(text: str, length: int) -> str:
    """What a stranger has sent, made to fit: what no database takes is replaced, and the end is cut off."""
    return text[:length].encode("utf-8", "replace").decode().replace("\0", "?")


def to_der(serial: bytes) -> bytes:
    """A kept serial number as the content of its DER encoding."""
    number = int.from_bytes(serial)
    return number.to_bytes(number.bit_length() // 8 + 1)
