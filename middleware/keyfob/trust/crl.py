"""Certificate revocation lists (RFC 5280 section 5) of up to millions of entries, read while others go on working.

A file is read once, from front to back, a few kilobytes at a time: the entries by a loop in Python that any other
thread may interrupt, everything around them by `cryptography`, and the signature over the octets as they passed.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from keyfob.certificate import UNREADABLE
from keyfob.trust import der
from keyfob.trust.der import Octets, Unreadable
from keyfob.trust.names import Spelling, spell
from keyfob.trust.roots import SHORTEST_EC, SHORTEST_RSA, Roots
from keyfob.trust.scope import Scope
from keyfob.trust.serials import LONGEST_SERIAL, REST, Serials, UnusableList, encode_serial

# EdDSA signs the whole list, not its digest, so it has to be kept until then, and the interpreter stands still while it
# is verified: 5 ms for these octets with Ed25519, 14 ms with Ed448. That is about 100,000 entries.
LARGEST_EDDSA = 4 * 1024 * 1024


class RevocationList:
    """A list whose signature was verified. Immutable; times are seconds since the epoch.

    `name` is its file's, for people. `signer` is the certificate whose key has signed it, and `anchors` are the roots
    that `signer` leads to. What is not promised: that it is current, see `explain_lapse`.
    """

    def __init__(
        self,
        name: str,
        parsed: x509.CertificateRevocationList,
        scope: Scope,
        entries: Mapping[Spelling, Serials],
        signer: x509.Certificate,
        anchors: frozenset[x509.Certificate],
    ) -> None:
        self.name = name
        self.issuer = parsed.issuer
        self.this_update = parsed.last_update_utc.timestamp()
        self.next_update = parsed.next_update_utc.timestamp() if parsed.next_update_utc else None
        self.scope = scope
        self.signer = signer
        self.anchors = anchors
        self._entries = entries

    def __repr__(self) -> str:
        return f"<RevocationList {self.name!r} of {self.issuer.rfc4514_string()!r}, {len(self)} entries>"

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def withdraws(self, certificate: x509.Certificate) -> bool:
        """Whether it names this certificate: by issuer and serial number, since its signature can be made to vary."""
        serials = self._entries.get(spell(certificate.issuer))
        return serials is not None and encode_serial(certificate) in serials


def read_crls(path: Path, roots: Roots) -> tuple[RevocationList, ...]:
    """The lists in a file, DER or PEM, each signed by one of the certificates of `roots`.

    A pure function of both, and meant for a thread of its own: a million entries take some seconds, the memory of the
    table that they end in, and from other threads never more than a few milliseconds at once. Raises UnusableList.
    """
    try:
        with path.open("rb") as file:
            lists = tuple(_read(str(path), Octets(chunks), roots) for chunks in der.read_blocks(file, b"X509 CRL"))
    except UnusableList as error:
        raise UnusableList(f"{path}: {error.message}", error.hint) from error
    except UNREADABLE as error:
        raise UnusableList(f"{path} is not a revocation list: {error}", _LIKE_THIS) from error
    except OSError as error:
        raise UnusableList(f"{path} cannot be read: {error.strerror or error}", _LIKE_THIS) from error
    if not lists:
        raise UnusableList(f"{path} has no revocation list in it", _LIKE_THIS)
    return lists


_LIKE_THIS = "name the CA's CRL, DER or PEM; `openssl crl -in ca.crl -noout -text` shows what is in it"


class _Entries:
    """The entries of one list, by the issuers of the certificates that they name."""

    def __init__(self, issuer: x509.Name) -> None:
        self.by_issuer: dict[Spelling, Serials] = {spell(issuer): Serials()}
        self.has_other_issuers = False
        self.has_extensions = False

    def read(self, octets: Octets, size: int) -> None:
        """Reads `size` octets of entries. Raises Unreadable and UnusableList."""
        [serials] = self.by_issuer.values()
        for serial, extensions in _split_entries(octets, size):
            if extensions:
                self.has_extensions = True
                name = _read_extensions(extensions)
                if name is not None:
                    # RFC 5280 section 5.3.3: it goes for the entries after this one as well.
                    self.has_other_issuers = True
                    serials = self.by_issuer.setdefault(name, Serials())
            serials.add(serial)


def _split_entries(octets: Octets, left: int) -> Iterator[tuple[bytes, bytes]]:
    """The serial number of each entry, and its extensions with their headers. Raises Unreadable."""
    while left > 0:
        octets.fill()
        data, at = octets.data, octets.at
        stop = at + left
        # Every entry that begins before this is in `data` as a whole.
        safe = stop if stop <= len(data) else len(data) - der.LARGEST
        if at >= safe:
            raise Unreadable("it ends in the middle")
        while at < safe:
            common = _match_common(data[at : at + 4])
            found = common(data, at) if common else None
            if found is not None and found.end() <= stop:
                yield found[1], found[2]
                at = found.end()
            else:
                serial, extensions, at = _split_entry(data, at, stop)
                yield serial, extensions
        octets.at, left = at, stop - at
        if left > 0:
            time.sleep(REST)


@lru_cache(maxsize=4096)
def _match_common(first: bytes) -> Callable[[bytes, int], re.Match[bytes] | None] | None:
    """What matches the usual entry that begins with these four octets, in one step instead of twenty.

    That is one with short lengths, and a date before 2050 and before the 29th, which every month has. The rest, and
    whatever is wrong, is for `_split_entry`.
    """
    if len(first) < 4 or first[0] != der.SEQUENCE or first[2] != der.INTEGER or not 1 <= first[3] <= LONGEST_SERIAL:
        return None
    rest = first[1] - 2 - first[3] - 15
    if first[1] >= 0x80 or rest < 0:
        return None
    pattern = re.escape(first) + b"%s(.{%d})%s(.{%d})" % (_NOT_PADDED if first[3] > 1 else b"", first[3], _DATE, rest)
    return re.compile(pattern, re.DOTALL).match


_NOT_PADDED = rb"(?!\x00[\x00-\x7f]|\xff[\x80-\xff])"
_DATE = rb"\x17\x0d[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|1[0-9]|2[0-8])(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z"


def _split_entry(data: bytes, at: int, stop: int) -> tuple[bytes, bytes, int]:
    """The serial number of the entry at `at`, its extensions with their headers, and where it ends."""
    tag, begin, end = der.read_header(data, at)
    if tag != der.SEQUENCE or end > stop or end - at > der.LARGEST:
        raise Unreadable("an entry that is too large, or none")
    tag, begin, after = der.read_header(data, begin)
    serial = data[begin:after]
    if tag != der.INTEGER or len(serial) > LONGEST_SERIAL:
        raise Unreadable("an entry without a serial number of at most 20 octets")
    der.require_integer(serial)
    tag, begin, after = der.read_header(data, after)
    if after > end:
        raise Unreadable("an entry that is cut off")
    der.require_time(tag, data[begin:after])
    return serial, data[after:end], end


@lru_cache(maxsize=1024)
def _read_extensions(octets: bytes) -> Spelling | None:
    """The certificate issuer that an entry's extensions name, if any. Raises Unreadable and UnusableList."""
    ((tag, content),) = _exactly(1, octets)
    if tag != der.SEQUENCE or not content:
        raise Unreadable("an entry with something else in the place of extensions")
    issuer, seen = None, set[bytes]()
    for oid, critical, value in _split_extensions(content):
        if oid in seen:
            raise Unreadable("an entry with one extension twice")
        seen.add(oid)
        match oid:
            case b"\x55\x1d\x15":
                _require_reason(value)
            case b"\x55\x1d\x18":
                _require_date(value)
            case b"\x55\x1d\x1d":
                issuer = _read_certificate_issuer(value)
            case _ if critical:
                raise UnusableList(
                    f"an entry has a critical extension that nobody here understands ({oid.hex()})", _WITHOUT
                )
    return issuer


def _split_extensions(content: bytes) -> Iterator[tuple[bytes, bool, bytes]]:
    for tag, extension in der.split(content):
        parts = list(der.split(extension))
        critical = len(parts) == 3 and parts[1] == _TRUE
        if critical:
            del parts[1]
        if tag != der.SEQUENCE or [each for each, _ in parts] != [der.OID, der.OCTET_STRING]:
            raise Unreadable("an entry with an extension that is none")
        der.require_oid(parts[0][1])
        yield parts[0][1], critical, parts[1][1]


_TRUE = (0x01, b"\xff")


def _exactly(count: int, octets: bytes) -> Sequence[tuple[int, bytes]]:
    elements = list(der.split(octets))
    if len(elements) != count:
        raise Unreadable(f"{len(elements)} elements in the place of {count}")
    return elements


def _require_reason(value: bytes) -> None:
    """RFC 5280 section 5.3.1."""
    if len(value) != 3 or value[:2] != b"\x0a\x01" or value[2] not in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10):
        raise Unreadable("an entry with a reason that is none")
    if value[2] == 8:
        raise UnusableList("an entry takes a revocation back, as in a delta CRL alone", _NO_DELTA)


def _require_date(value: bytes) -> None:
    ((tag, content),) = _exactly(1, value)
    if tag != der.GENERALIZED_TIME:
        raise Unreadable("an entry with an invalidity date that is none")
    der.require_time(tag, content)


_DIRECTORY_NAME = 0xA4


def _read_certificate_issuer(value: bytes) -> Spelling:
    """RFC 5280 section 5.3.3: the issuer's name, as the certificate has it."""
    ((tag, names),) = _exactly(1, value)
    if tag != der.SEQUENCE:
        raise Unreadable("an entry with a certificate issuer that is none")
    ((tag, name),) = _exactly(1, names)
    if tag != _DIRECTORY_NAME:
        raise UnusableList(
            "an entry names the issuer of its certificate otherwise than by one directory name", _WITHOUT
        )
    return _read_name(name)


@lru_cache(maxsize=1024)
def _read_name(name: bytes) -> Spelling:
    # `cryptography` reads names within something else alone.
    return spell(_assemble(_SHA256_WITH_RSA + name + _ANY_DAY, b"", _SHA256_WITH_RSA, _NO_SIGNATURE).issuer)


_SHA256_WITH_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
_NO_SIGNATURE = der.wrap(der.BIT_STRING, bytes(2))
_ANY_DAY = der.wrap(der.UTC_TIME, b"250101000000Z")


def _assemble(head: bytes, extensions: bytes, algorithm: bytes, signature: bytes) -> x509.CertificateRevocationList:
    """A list without its entries, parsed."""
    tbs = der.wrap(der.SEQUENCE, head + extensions)
    return x509.load_der_x509_crl(der.wrap(der.SEQUENCE, tbs + algorithm + signature))


def _read(name: str, octets: Octets, roots: Roots) -> RevocationList:
    _, end = octets.open(der.SEQUENCE)
    header, end_signed = octets.open(der.SEQUENCE)
    head = _read_head(octets)
    signed = _Signed(head.parsed.signature_hash_algorithm)
    signed.update(header + head.octets)
    octets.watch(end_signed - octets.position, signed.update)
    entries = _Entries(head.parsed.issuer)
    if octets.position < end_signed and octets.tag == der.SEQUENCE:
        _, end_entries = octets.open(der.SEQUENCE)
        entries.read(octets, end_entries - octets.position)
    extensions = octets.take(_EXTENSIONS) if octets.position < end_signed else b""
    _require(octets.position == end_signed, "parts that are longer or shorter than the whole")
    algorithm, signature = octets.take(der.SEQUENCE), octets.take(der.BIT_STRING)
    _require(octets.position == end and octets.tag == -1, "something after its end")
    _require(algorithm == head.algorithm, "two different signature algorithms")
    parsed = _assemble(head.octets, extensions, algorithm, signature)
    _require(head.has_version or not (entries.has_extensions or extensions), "extensions in a list of version 1")
    scope = Scope(parsed.issuer, _read_point(parsed.extensions))
    if entries.has_other_issuers and not scope.is_indirect:
        raise UnusableList(
            "an entry names another issuer, but the list does not say that it is an indirect one",
            "have the CA issue it with indirectCRL in its issuing distribution point",
        )
    signer = _find_signer(parsed, signed, roots)
    return RevocationList(name, parsed, scope, entries.by_issuer, signer, _find_anchors(signer, roots))


_EXTENSIONS = 0xA0


def _require(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - it reads as what it is
    if not condition:
        raise Unreadable(otherwise)


class _Head(NamedTuple):
    """What stands before the entries, and how the list says in there that it is signed."""

    octets: bytes
    has_version: bool
    algorithm: bytes
    parsed: x509.CertificateRevocationList


def _read_head(octets: Octets) -> _Head:
    version = octets.take(der.INTEGER) if octets.tag == der.INTEGER else b""
    algorithm = octets.take(der.SEQUENCE)
    rest = octets.take(der.SEQUENCE) + octets.take(*_TIMES)
    if octets.tag in _TIMES:
        rest += octets.take(*_TIMES)
    head = version + algorithm + rest
    return _Head(head, bool(version), algorithm, _assemble(head, b"", algorithm, _NO_SIGNATURE))


_TIMES = (der.UTC_TIME, der.GENERALIZED_TIME)


def _read_point(extensions: x509.Extensions) -> x509.IssuingDistributionPoint | None:
    """What the list says that it is about. Raises UnusableList if it cannot be obeyed."""
    point = None
    for extension in extensions:
        match extension.value:
            case x509.DeltaCRLIndicator():
                raise UnusableList("a delta CRL: changes to another list, which is not read", _NO_DELTA)
            case x509.IssuingDistributionPoint() as found:
                point = found
            case x509.CRLNumber() | x509.AuthorityKeyIdentifier():
                pass
            case _ if extension.critical:
                oid = extension.oid.dotted_string
                raise UnusableList(f"it has a critical extension that nobody here understands ({oid})", _WITHOUT)
    return point


_WITHOUT = "what is critical may change the meaning of the rest; have the CA issue a list without it"
_NO_DELTA = "name the complete CRL of the same CA instead"


class _Signed:
    """What a signature is over: its digest, or itself where the algorithm wants it whole."""

    def __init__(self, algorithm: hashes.HashAlgorithm | None) -> None:
        if algorithm is not None and algorithm.name not in _DIGESTS:
            raise UnusableList(f"its signature is over {algorithm.name}, which proves nothing", _SIGN_ANEW)
        self.algorithm = algorithm
        self._whole = bytearray()
        self._digest = hashlib.new(_DIGESTS[algorithm.name]) if algorithm else None

    def update(self, octets: bytes) -> None:
        # hashlib lets other threads run meanwhile, which the hashes of `cryptography` do not.
        if self._digest is not None:
            self._digest.update(octets)
            return
        self._whole += octets
        if len(self._whole) > LARGEST_EDDSA:
            raise UnusableList(f"an EdDSA signature over more than {LARGEST_EDDSA} octets", _SIGN_ANEW)

    def require_by(self, signer: x509.Certificate, parsed: x509.CertificateRevocationList) -> None:
        """Raises InvalidSignature, TypeError or ValueError unless the key of `signer` has signed it."""
        how, signature, key = parsed.signature_algorithm_parameters, parsed.signature, signer.public_key()
        if self._digest is None or self.algorithm is None:
            if not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
                raise TypeError("another kind of key")
            key.verify(signature, bytes(self._whole))
            return
        digest, algorithm = self._digest.digest(), Prehashed(self.algorithm)
        match key, how:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() if key.key_size >= SHORTEST_RSA:
                key.verify(signature, digest, how, algorithm)
            case ec.EllipticCurvePublicKey(), ec.ECDSA() if key.curve.key_size >= SHORTEST_EC:
                key.verify(signature, digest, ec.ECDSA(algorithm))
            case _:
                raise TypeError("another kind of key, or one that is too short")


# SHA-1 is not among them: somebody else can make the same (RFC 9155).
_DIGESTS = {
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}
_SIGN_ANEW = "have the CA sign it with ECDSA or RSA, and SHA-256"


def _find_signer(parsed: x509.CertificateRevocationList, signed: _Signed, roots: Roots) -> x509.Certificate:
    """The certificate of `roots` with the issuer's name whose key has signed the list. Raises UnusableList."""
    name, spelling = parsed.issuer.rfc4514_string(), spell(parsed.issuer)
    named = [each for each in (*roots.anchors, *roots.intermediates) if spell(each.subject) == spelling]
    if not named:
        hint = (
            f"name the list of this root's own CA; only if {name} is an intermediate below it, append its certificate"
        )
        raise UnusableList(f"there is no certificate of its issuer {name} beside the root", hint)
    allowed = [each for each in named if _may_sign(each)]
    if not allowed:
        raise UnusableList(f"{name} has a key usage that does not allow signing lists", "give it cRLSign")
    for each in allowed:
        try:
            signed.require_by(each, parsed)
        except (InvalidSignature, TypeError, ValueError):
            continue
        return each
    raise UnusableList(
        f"the signature is not by the {name} that stands beside the root", "fetch the list again, from its CA"
    )


def _may_sign(certificate: x509.Certificate) -> bool:
    """RFC 5280 section 6.3.3 (f): a key usage, if there is one, has to say so."""
    return not any(isinstance(each.value, x509.KeyUsage) and not each.value.crl_sign for each in certificate.extensions)


def _find_anchors(signer: x509.Certificate, roots: Roots) -> frozenset[x509.Certificate]:
    """RFC 5280 section 6.3.3 (f) asks that list and certificate lead to the same root. Raises UnusableList."""
    reached, todo = frozenset({signer}), [signer]
    while todo:
        lower = todo.pop()
        others = {*roots.anchors, *roots.intermediates} - reached
        above = [each for each in others if _is_issued(lower, each)]
        reached = reached.union(above)
        todo.extend(above)
    if reached.isdisjoint(roots.anchors):
        name = signer.subject.rfc4514_string()
        raise UnusableList(
            f"{name} has signed it, and leads to no root of the same file", "name the list of this root's own CA"
        )
    return reached.intersection(roots.anchors)


def _is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True
