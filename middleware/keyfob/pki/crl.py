"""Certificate revocation lists (RFC 5280 section 5) of up to millions of entries, written in one go.

The entries stream from the inventory into a file without a name, since their length stands before them; from there
they pass the hash on their way into the list. Memory does not grow with them.
"""

import base64
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.errors import PKIError
from keyfob.inventory import Inventory, Record, RevocationReason
from keyfob.inventory.records import to_der
from keyfob.pki.authority import BACKDATE, LONGEST_DAYS, Authority, identify_issuer
from keyfob.pki.keys import PrivateKey, choose_hash

CRL_DAYS = 7
_INTEGER, _BIT_STRING, _OCTET_STRING, _OID, _ENUMERATED = 0x02, 0x03, 0x04, 0x06, 0x0A
_UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _EXTENSIONS = 0x17, 0x18, 0x30, 0xA0
_UNFINISHED = ".crl."
_CHUNK = 48 * 1024


class Written(NamedTuple):
    """A list that is in its file. `issuer` is the name of whose certificates it withdraws."""

    issuer: str
    number: int
    entries: int
    next_update: datetime


def write_crls(
    path: Path, authorities: Sequence[Authority], inventory: Inventory, days: int = CRL_DAYS
) -> list[Written]:
    """Puts the present lists of these authorities, PEM, in the place of what was in `path`: in one step, or not at all.

    A list is good for `days`, and has the authority's next number. Raises PKIError.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    for authority in authorities:
        _require_lifetime(authority, now, days)
    staged = path.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
    try:
        # Lists are public: a web server may hand them out.
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            written = [_List(each, inventory, now, days).write(file, path.parent) for each in authorities]
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        raise PKIError(
            f"{path} cannot be written: {error.strerror}", "is the folder yours, and is there room on the disk?"
        ) from error
    finally:
        with suppress(OSError):
            staged.unlink()
    return written


def remove_unfinished(folder: Path) -> None:
    """Removes what an interrupted `write_crls` has left. To be called while nobody else writes there."""
    for each in folder.glob(f"{_UNFINISHED}{'[0-9a-f]' * 16}"):
        each.unlink()


def _require_lifetime(authority: Authority, now: datetime, days: int) -> None:
    if not 1 <= days <= LONGEST_DAYS:
        raise PKIError(f"{days} days are no lifetime of a list", f"choose 1 to {LONGEST_DAYS}")
    end = authority.certificate.not_valid_after_utc
    if end < now + timedelta(days=days):
        name, left = authority.certificate.subject.rfc4514_string(), (end - now).days
        hint = f"ask for --days {left} at most, or make a new authority" if left > 0 else "make a new authority"
        raise PKIError(f"{name} ends on {end:%Y-%m-%d}, before a list of {days} days would", hint)


class _List:
    """One list that is being written."""

    def __init__(self, authority: Authority, inventory: Inventory, now: datetime, days: int) -> None:
        self.authority = authority
        self.inventory = inventory
        self.now = now
        self.next_update = now + timedelta(days=days)
        self.issuer = authority.certificate.public_bytes(Encoding.DER)

    def write(self, out: BinaryIO, folder: Path) -> Written:
        """Appends the list to `out`. `folder` has room for its entries meanwhile. Raises PKIError and OSError."""
        number = self.inventory.number_crl(self.issuer)
        algorithm = _write_algorithm(self.authority.issued.key)
        with TemporaryFile(dir=folder) as entries:
            count = self._write_entries(entries)
            size = entries.tell()
            # RFC 5280 section 5.1.2.6: an empty list of entries is left out.
            before = self._write_head(algorithm) + (_write_header(_SEQUENCE, size) if size else b"")
            after = self._write_extensions(number)
            before = _write_header(_SEQUENCE, len(before) + size + len(after)) + before
            ending = algorithm + _wrap(_BIT_STRING, b"\0" + self._sign(before, entries, after))
            whole = _write_header(_SEQUENCE, len(before) + size + len(after) + len(ending))
            _write_pem(out, chain([whole, before], _read(entries), [after, ending]))
        return Written(self.authority.certificate.subject.rfc4514_string(), number, count, self.next_update)

    def _write_entries(self, out: BinaryIO) -> int:
        count = 0
        for record in self.inventory.iterate_revoked(self.issuer, self.now.timestamp()):
            count += 1
            out.write(_write_entry(record))
        return count

    def _write_head(self, algorithm: bytes) -> bytes:
        # Clocks differ, and a list from its reader's future withdraws everything, or nothing.
        begins, ends = (_write_time(int(each.timestamp())) for each in (self.now - BACKDATE, self.next_update))
        subject = self.authority.certificate.subject.public_bytes()
        return _wrap(_INTEGER, b"\x01") + algorithm + subject + begins + ends

    def _write_extensions(self, number: int) -> bytes:
        key = _write_extension(_AUTHORITY_KEY_IDENTIFIER, identify_issuer(self.authority.certificate).public_bytes())
        return _wrap(
            _EXTENSIONS,
            _wrap(_SEQUENCE, key + _write_extension(_CRL_NUMBER, x509.CRLNumber(number).public_bytes())),
        )

    def _sign(self, before: bytes, entries: BinaryIO, after: bytes) -> bytes:
        key = self.authority.issued.key
        algorithm = choose_hash(key)
        hashing = hashes.Hash(algorithm)
        for octets in chain([before], _read(entries), [after]):
            hashing.update(octets)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(hashing.finalize(), padding.PKCS1v15(), Prehashed(algorithm))
        return key.sign(hashing.finalize(), ec.ECDSA(Prehashed(algorithm)))


# RFC 8017 appendix C, RFC 5758 section 3.2. RSA's parameters are NULL, and ECDSA has none.
_ALGORITHMS = {
    (True, "sha256"): "300d06092a864886f70d01010b0500",
    (False, "sha256"): "300a06082a8648ce3d040302",
    (False, "sha384"): "300a06082a8648ce3d040303",
}


def _write_algorithm(key: PrivateKey) -> bytes:
    return bytes.fromhex(_ALGORITHMS[isinstance(key, rsa.RSAPrivateKey), choose_hash(key).name])


def _write_entry(record: Record) -> bytes:
    if record.revoked_at is not None:
        at, reason = record.revoked_at, record.reason
    else:
        # Renewed, and past its last day. (Whatever is neither is not asked for here.)
        at, reason = record.retires_at or 0, RevocationReason.SUPERSEDED.value
    return _wrap(_SEQUENCE, _wrap(_INTEGER, to_der(record.serial)) + _write_circumstances(at, reason))


# RFC 5280 section 5.3.1, where `unspecified` is to be left out.
_REASONS = {
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
}


@lru_cache(maxsize=4096)
def _write_circumstances(at: int, reason: str | None) -> bytes:
    """When, and why. A fleet that is withdrawn at once has this in common."""
    number = _REASONS.get(RevocationReason(reason)) if reason is not None else None
    if number is None:
        return _write_time(at)
    return _write_time(at) + _wrap(_SEQUENCE, _write_extension(_REASON, _wrap(_ENUMERATED, bytes((number,)))))


_CRL_NUMBER, _REASON, _AUTHORITY_KEY_IDENTIFIER = b"\x55\x1d\x14", b"\x55\x1d\x15", b"\x55\x1d\x23"


def _write_extension(oid: bytes, value: bytes) -> bytes:
    return _wrap(_SEQUENCE, _wrap(_OID, oid) + _wrap(_OCTET_STRING, value))


def _write_time(at: int) -> bytes:
    """RFC 5280 section 5.1.2.4: in UTCTime through 2049."""
    moment = datetime.fromtimestamp(at, UTC)
    if moment.year < 2050:
        return _wrap(_UTC_TIME, f"{moment:%y%m%d%H%M%S}Z".encode("ascii"))
    return _wrap(_GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%S}Z".encode("ascii"))


def _wrap(tag: int, content: bytes) -> bytes:
    return _write_header(tag, len(content)) + content


def _write_header(tag: int, size: int) -> bytes:
    if size < 0x80:
        return bytes((tag, size))
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length


def _read(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    return iter(partial(file.read, _CHUNK), b"")


def _write_pem(out: BinaryIO, parts: Iterable[bytes]) -> None:
    out.write(b"-----BEGIN X509 CRL-----\n")
    held = b""
    for part in parts:
        held += part
        cut = len(held) // 48 * 48
        out.write(_write_lines(held[:cut]))
        held = held[cut:]
    out.write(_write_lines(held) + b"-----END X509 CRL-----\n")


def _write_lines(octets: bytes) -> bytes:
    text = base64.b64encode(octets)
    return b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))
