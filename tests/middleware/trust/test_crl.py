"""trust.crl: a list is obeyed exactly, or refused."""

import base64
import gc
import subprocess
import sys
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import revocations
from certificates import DAY, Key, Pair, make_authority, make_certificate, make_leaf, make_name
from keyfob.trust.crl import RevocationList, read_crls
from keyfob.trust.names import spell
from keyfob.trust.roots import Roots
from keyfob.trust.serials import UnusableList
from revocations import (
    ECDSA_SHA256,
    RSA_PSS,
    RSA_SHA256,
    make_crl,
    make_entry,
    make_extension,
    make_list,
    make_raw_extension,
    make_serial,
    make_tbs,
    make_time,
    sign_list,
    tlv,
    write_pem,
)
from servers import find_program

ROOT = make_authority("Root")
INTERMEDIATE = make_authority("Intermediate", ROOT)
OTHER = make_authority("Other")
SAME_NAME = make_authority("Root")
ROOTS = Roots((ROOT.certificate,), (INTERMEDIATE.certificate,))
LEAF, GOOD = make_leaf(ROOT), make_leaf(ROOT)
BELOW = make_leaf(INTERMEDIATE)

UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
INDIRECT = x509.IssuingDistributionPoint(None, None, False, False, None, True, False), True
SUPERSEDED = make_extension(x509.CRLReason(x509.ReasonFlags.superseded))


def read(data: bytes, folder: Path, *authorities: Pair) -> RevocationList:
    [found] = read_all(data, folder, *authorities)
    return found


def read_all(data: bytes, folder: Path, *authorities: Pair) -> tuple[RevocationList, ...]:
    path = folder / "ca.crl"
    path.write_bytes(data)
    certificates = [each.certificate for each in authorities]
    roots = Roots(
        tuple(each for each in certificates if each.subject == each.issuer),
        tuple(each for each in certificates if each.subject != each.issuer),
    )
    return read_crls(path, roots if authorities else ROOTS)


def refuse(data: bytes, folder: Path, message: str, *authorities: Pair) -> None:
    with pytest.raises(UnusableList, match=message) as raised:
        read_all(data, folder, *authorities)
    assert raised.value.hint
    assert "ca.crl" in raised.value.message


def issued_by(name: x509.Name) -> bytes:
    """The entry extension that says whose certificate is meant."""
    return make_extension(x509.CertificateIssuer([x509.DirectoryName(name)]), True)


def certificate_of(issuer: str, serial: int) -> x509.Certificate:
    """A certificate that says so, and that nobody has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder(make_name(issuer), make_name("Leaf"), key.public_key(), serial, now, now + DAY)
    return builder.sign(key, hashes.SHA256())


def test_the_named_are_withdrawn_and_nobody_else(tmp_path: Path) -> None:
    """By issuer and serial number together."""
    found = read(make_list(ROOT, [1, LEAF, 2]), tmp_path)
    assert len(found) == 3
    assert found.withdraws(LEAF.certificate)
    assert not found.withdraws(GOOD.certificate)
    assert not found.withdraws(certificate_of("Intermediate", LEAF.certificate.serial_number))
    assert found.withdraws(certificate_of("Root", LEAF.certificate.serial_number))


def test_an_empty_list_withdraws_nobody(tmp_path: Path) -> None:
    """Whether its entries are left out, as RFC 5280 wants, or an empty sequence, as some write."""
    assert not read(make_list(ROOT), tmp_path).withdraws(LEAF.certificate)
    name, times = ROOT.certificate.subject.public_bytes(), make_time(datetime.now(UTC))
    tbs = make_tbs(name, ECDSA_SHA256, times, tlv(0x30), b"")
    assert len(read(sign_list(tbs, ROOT), tmp_path)) == 0


def test_a_name_in_another_spelling_is_the_same_name(tmp_path: Path) -> None:
    """RFC 5280 section 7.1: case, spaces and the kind of string do not tell authorities apart."""
    spelt = Pair(make_certificate(make_name("  ROOT "), None, [], key=ROOT.key).certificate, ROOT.key)
    assert read(make_list(spelt, [LEAF]), tmp_path).withdraws(LEAF.certificate)


def test_a_list_says_until_when_it_is_current(tmp_path: Path) -> None:
    """In seconds since the epoch; None where it does not say."""
    found = read(make_list(ROOT, ends=2 * DAY), tmp_path)
    assert found.next_update is not None
    assert found.next_update - found.this_update == 3 * 24 * 3600
    assert read(make_list(ROOT, ends=None), tmp_path).next_update is None
    far = read(make_list(ROOT, ends=365 * 50 * DAY), tmp_path)
    assert far.next_update is not None
    assert far.next_update > 2_900_000_000


def test_der_and_pem_are_the_same_list(tmp_path: Path) -> None:
    """And a file may hold several, in PEM."""
    one, two = make_list(ROOT, [LEAF]), make_list(INTERMEDIATE, [BELOW])
    assert read(write_pem(one), tmp_path).withdraws(LEAF.certificate)
    first, second = read_all(b"Certificate Revocation List (CRL):\n" + write_pem(one, two), tmp_path)
    assert (first.withdraws(LEAF.certificate), first.withdraws(BELOW.certificate)) == (True, False)
    assert (second.withdraws(LEAF.certificate), second.withdraws(BELOW.certificate)) == (False, True)
    refuse(one + two, tmp_path, "something after its end")
    refuse(write_pem(one + b"\0"), tmp_path, "something after its end")
    refuse(write_pem(one, two[:-1]), tmp_path, "not a revocation list")


KEYS: dict[str, tuple[Key, bytes | None]] = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()), None),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), None),
    "RSA": (rsa.generate_private_key(65537, 2048), RSA_SHA256),
    "RSA-PSS": (rsa.generate_private_key(65537, 2048), RSA_PSS),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), None),
}


@pytest.mark.parametrize("kind", KEYS)
def test_every_signature_is_verified(kind: str, tmp_path: Path) -> None:
    """Over all of it: with any one octet of the signed part changed, or by another key, it is refused."""
    key, algorithm = KEYS[kind]
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    authority = make_certificate(make_name("Signer"), None, [basic], key=key)
    data = make_list(authority, [LEAF], algorithm=algorithm)
    found = read(data, tmp_path, authority)
    assert found.withdraws(certificate_of("Signer", LEAF.certificate.serial_number))
    at = data.index(LEAF.certificate.serial_number.to_bytes(20))
    for place in (at + 5, at + 30, len(data) - 20):
        changed = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        refuse(changed, tmp_path, "signature is not by|not a revocation list", authority)
    refuse(data, tmp_path, "signature is not by", make_authority("Signer"))


def test_cryptographys_own_lists_are_read(tmp_path: Path) -> None:
    """SHA-512 among them."""
    now = datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder(LEAF.certificate.serial_number, now).build()
    builder = x509.CertificateRevocationListBuilder(ROOT.certificate.subject, now - DAY, now + DAY, [], [entry])
    data = builder.sign(ROOT.key, hashes.SHA512()).public_bytes(Encoding.DER)
    assert read(data, tmp_path).withdraws(LEAF.certificate)
    weak = builder.sign(KEYS["RSA"][0], hashes.SHA224()).public_bytes(Encoding.DER)
    refuse(weak, tmp_path, "sha224, which proves nothing")


def test_a_short_key_proves_nothing(tmp_path: Path) -> None:
    """The same limit as for everybody else's certificates."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    authority = make_certificate(
        make_name("Weak"), None, [(x509.BasicConstraints(ca=True, path_length=None), True)], key=key
    )
    refuse(make_list(authority), tmp_path, "signature is not by", authority)
    curve = ec.generate_private_key(ec.SECP224R1())
    authority = make_certificate(
        make_name("Weak"), None, [(x509.BasicConstraints(ca=True, path_length=None), True)], key=curve
    )
    refuse(make_list(authority), tmp_path, "signature is not by", authority)


def test_the_algorithm_stands_twice_and_is_the_same(tmp_path: Path) -> None:
    """RFC 5280 section 5.1.1.2; the outer one is not signed."""
    name, times = ROOT.certificate.subject.public_bytes(), make_time(datetime.now(UTC))
    sha384 = bytes.fromhex("300a06082a8648ce3d040303")
    tbs = make_tbs(name, sha384, times, b"", b"")
    assert isinstance(ROOT.key, ec.EllipticCurvePrivateKey)
    signature = tlv(0x03, b"\0", ROOT.key.sign(tbs, ec.ECDSA(hashes.SHA384())))
    assert len(read(tlv(0x30, tbs, sha384, signature), tmp_path)) == 0
    refuse(tlv(0x30, tbs, ECDSA_SHA256, signature), tmp_path, "two different signature algorithms")


def test_the_parts_are_as_long_as_the_whole(tmp_path: Path) -> None:
    """Nothing that is read lies outside what is signed, and nothing that is signed is left unread."""
    name, times = ROOT.certificate.subject.public_bytes(), make_time(datetime.now(UTC))
    number = tlv(0xA0, tlv(0x30, make_extension(x509.CRLNumber(7))))
    tbs = make_tbs(name, ECDSA_SHA256, times, b"", number)
    signed = tlv(0x30, tbs[2:-1])
    whole = sign_list(signed, ROOT)
    at = whole.index(signed) + len(signed)
    refuse(tlv(0x30, signed, tbs[-1:], whole[at:]), tmp_path, "longer or shorter than the whole")
    data = make_list(ROOT, [LEAF])
    assert data[1] == 0x81
    for size in (data[2] - 1, data[2] + 1):
        refuse(data[:2] + bytes((size,)) + data[3:], tmp_path, "not a revocation list")


def test_an_issuer_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    """The cure is in the hint."""
    refuse(make_list(OTHER, [LEAF]), tmp_path, "no certificate of its issuer CN=Other beside the root")
    refuse(make_list(SAME_NAME, [LEAF]), tmp_path, "signature is not by the CN=Root")
    refuse(make_list(ROOT, [LEAF], signer=INTERMEDIATE), tmp_path, "signature is not by the CN=Root")


def test_of_two_authorities_of_one_name_the_one_that_signed_is_found(tmp_path: Path) -> None:
    """As after a change of keys."""
    found = read(make_list(SAME_NAME, [LEAF]), tmp_path, ROOT, SAME_NAME)
    assert found.signer == SAME_NAME.certificate
    assert found.anchors == {SAME_NAME.certificate}
    assert found.withdraws(LEAF.certificate)


def test_the_signer_leads_to_a_root_of_the_same_file(tmp_path: Path) -> None:
    """RFC 5280 section 6.3.3 (f); through as many intermediates as it takes."""
    lower = make_authority("Lower", INTERMEDIATE)
    assert read(make_list(lower), tmp_path, ROOT, INTERMEDIATE, lower).anchors == {ROOT.certificate}
    refuse(make_list(lower), tmp_path, "leads to no root", ROOT, lower)
    refuse(make_list(lower), tmp_path, "leads to no root", SAME_NAME, INTERMEDIATE, lower)


def test_a_key_usage_has_to_allow_it(tmp_path: Path) -> None:
    """cRLSign, where there is a key usage at all."""
    for allowed in (True, False):
        usage = x509.KeyUsage(False, False, False, False, False, True, allowed, False, False), True
        authority = make_authority("Usage", extensions=[usage])
        data = make_list(authority, [LEAF])
        if allowed:
            assert len(read(data, tmp_path, authority)) == 1
        else:
            refuse(data, tmp_path, "does not allow signing lists", authority)


def test_a_delta_is_refused_with_a_clear_word(tmp_path: Path) -> None:
    """Read as a complete list it would take revocations back. Critical or not."""
    for critical in (True, False):
        refuse(make_list(ROOT, [LEAF], (x509.DeltaCRLIndicator(1), critical)), tmp_path, "a delta CRL")
    taken_back = make_extension(x509.CRLReason(x509.ReasonFlags.remove_from_crl))
    refuse(make_list(ROOT, [make_entry(1, taken_back)]), tmp_path, "delta CRL")


def test_what_nobody_understands_makes_it_unusable_when_critical(tmp_path: Path) -> None:
    """In the list and in an entry; otherwise it is passed over, as RFC 5280 section 5.2 asks."""
    for critical in (True, False):
        extension = make_raw_extension(UNKNOWN.oid, UNKNOWN.value, critical)
        for data in (
            make_list(ROOT, [LEAF], (UNKNOWN, critical)),
            make_list(ROOT, [1, make_entry(2, SUPERSEDED, extension), LEAF]),
        ):
            if critical:
                refuse(data, tmp_path, "critical extension that nobody here understands")
            else:
                assert read(data, tmp_path).withdraws(LEAF.certificate)
    number = (x509.CRLNumber(7), True)
    assert read(make_list(ROOT, [LEAF], number), tmp_path).withdraws(LEAF.certificate)


def test_an_indirect_list_names_others_certificates_until_it_names_another_issuer(tmp_path: Path) -> None:
    """RFC 5280 section 5.3.3: an entry without an issuer has that of the entry before."""
    a, b = make_name("A"), make_name("B")
    data = make_list(ROOT, [1, make_entry(2, issued_by(a)), 3, make_entry(4, SUPERSEDED, issued_by(b)), 5], INDIRECT)
    found = read(data, tmp_path)
    named = [(name, serial) for name in ("Root", "A", "B") for serial in range(7)]
    withdrawn = [(name, serial) for name, serial in named if serial and found.withdraws(certificate_of(name, serial))]
    assert withdrawn == [("Root", 1), ("A", 2), ("A", 3), ("B", 4), ("B", 5)]


def test_only_a_list_that_says_it_is_indirect_may_name_another_issuer(tmp_path: Path) -> None:
    """Whoever reads the entries without their issuers would withdraw the wrong certificates."""
    entries = [make_entry(2, issued_by(make_name("A")))]
    refuse(make_list(ROOT, entries), tmp_path, "does not say that it is an indirect one")
    many = make_extension(x509.CertificateIssuer([x509.DirectoryName(make_name("A")), x509.DNSName("a")]), True)
    refuse(make_list(ROOT, [make_entry(2, many)], INDIRECT), tmp_path, "elements|directory name")
    by_host = make_extension(x509.CertificateIssuer([x509.DNSName("a")]), True)
    refuse(make_list(ROOT, [make_entry(2, by_host)], INDIRECT), tmp_path, "directory name")


REASON, INVALID_SINCE = x509.CRLReason.oid, x509.InvalidityDate.oid
# The last two octets of this date, `0Z`, are as well the header of an entry of 90 octets, and so belong to two of them.
SHARED = (
    b"\x30\x10\x02\x01\x01"
    + revocations.REVOKED_AT
    + b"\x02\x01\x02"
    + revocations.REVOKED_AT
    + tlv(0x30, make_raw_extension(UNKNOWN.oid, bytes(55)))
)
BROKEN_ENTRIES = {
    "no serial": tlv(0x30, revocations.REVOKED_AT),
    "no date": tlv(0x30, b"\x02\x01\x01"),
    "another thing than a serial": tlv(0x30, b"\x04\x01\x01", revocations.REVOKED_AT),
    "another thing than an entry": tlv(0x31, b"\x02\x01\x01", revocations.REVOKED_AT),
    "long serial": make_entry(1 << 168),
    "padded serial": tlv(0x30, b"\x02\x02\x00\x01", revocations.REVOKED_AT),
    "padded long serial": tlv(0x30, b"\x02\x11\x00\x01", bytes(15), revocations.REVOKED_AT),
    "empty serial": tlv(0x30, b"\x02\x00", revocations.REVOKED_AT),
    "no day": make_entry(1, date=tlv(0x17, b"250230000000Z")),
    "no hour": make_entry(1, date=tlv(0x17, b"250201240000Z")),
    "not UTC": make_entry(1, date=tlv(0x17, b"250201000000+")),
    "extensions of another kind": tlv(0x30, b"\x02\x01\x01", revocations.REVOKED_AT, b"\x31\x00"),
    "empty extensions": tlv(0x30, b"\x02\x01\x01", revocations.REVOKED_AT, b"\x30\x00"),
    "something behind": tlv(0x30, b"\x02\x01\x01", revocations.REVOKED_AT, tlv(0x30, SUPERSEDED), b"\x05\x00"),
    "reason 7": make_entry(1, make_raw_extension(REASON, b"\x0a\x01\x07")),
    "reason 11": make_entry(1, make_raw_extension(REASON, b"\x0a\x01\x0b")),
    "reason of two octets": make_entry(1, make_raw_extension(REASON, b"\x0a\x02\x00\x01")),
    "reason twice": make_entry(1, SUPERSEDED, SUPERSEDED),
    "invalid since no day": make_entry(1, make_raw_extension(INVALID_SINCE, tlv(0x18, b"20250230000000Z"))),
    "invalid since, the other way": make_entry(1, make_raw_extension(INVALID_SINCE, tlv(0x17, b"250201000000Z"))),
    "critical: false": make_entry(1, tlv(0x30, revocations.make_oid(REASON), b"\x01\x01\x00", b"\x04\x03\x0a\x01\x01")),
    "extension of two parts too many": make_entry(
        1, SUPERSEDED[:1] + bytes((SUPERSEDED[1] + 2,)) + SUPERSEDED[2:] + b"\x05\x00"
    ),
    "beyond its list": b"\x30\x7f" + make_entry(1)[2:],
    "shares its date with the next": SHARED,
    "huge": make_entry(1, make_raw_extension(UNKNOWN.oid, bytes(70_000))),
}


@pytest.mark.parametrize("case", BROKEN_ENTRIES)
@pytest.mark.parametrize("place", ["first", "last", "alone"])
def test_one_broken_entry_makes_the_whole_list_unusable(case: str, place: str, tmp_path: Path) -> None:
    """It is signed, so it is no accident of the wire, and what it meant to withdraw would go on."""
    good = [make_entry(number + 1000) for number in range(50)]
    entries = {"first": [BROKEN_ENTRIES[case], *good], "last": [*good, BROKEN_ENTRIES[case]], "alone": []}
    refuse(make_list(ROOT, entries[place] or [BROKEN_ENTRIES[case]]), tmp_path, "not a revocation list")


@pytest.mark.parametrize(
    ("version", "extensions", "entry", "accepted"),
    [
        (b"", b"", make_entry(1), True),
        (b"\x02\x01\x01", b"", make_entry(1), True),
        (b"\x02\x01\x00", b"", make_entry(1), False),
        (b"\x02\x01\x02", b"", make_entry(1), False),
        (b"", tlv(0xA0, tlv(0x30, make_extension(x509.CRLNumber(1)))), make_entry(1), False),
        (b"", b"", make_entry(1, SUPERSEDED), False),
        (b"\x02\x01\x01", tlv(0xA0, tlv(0x30, *[make_extension(x509.CRLNumber(1))] * 2)), make_entry(1), False),
        (b"\x02\x01\x01", tlv(0xA1, tlv(0x30, make_extension(x509.CRLNumber(1)))), make_entry(1), False),
    ],
)
def test_the_version_says_what_may_be_in_it(
    version: bytes, extensions: bytes, entry: bytes, accepted: bool, tmp_path: Path
) -> None:
    """RFC 5280 section 5.1.2.1: extensions are for version 2, and there is no other beside 1."""
    name, time_ = ROOT.certificate.subject.public_bytes(), make_time(datetime.now(UTC))
    data = sign_list(tlv(0x30, version, ECDSA_SHA256, name, time_, tlv(0x30, entry), extensions), ROOT)
    if accepted:
        assert len(read(data, tmp_path)) == 1
    else:
        refuse(data, tmp_path, "not a revocation list")


@pytest.mark.parametrize(
    "data", [b"", b"0", b"\x30\x80", b"\x30\x82\x00\x00", b"garbage\n", b"\xef\xbb\xbf", bytes(10)]
)
def test_what_is_no_list_is_refused(data: bytes, tmp_path: Path) -> None:
    """With the file's name and what to give instead."""
    refuse(data, tmp_path, "no revocation list|not a revocation list")
    refuse(ROOT.pem.encode(), tmp_path, "X509 CRL")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Not an empty list."""
    for path in (tmp_path / "missing.crl", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UnusableList) as raised:
            read_crls(path, ROOTS)
        assert raised.value.hint


def test_a_list_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """Also between two entries, where what is left could be taken for a list."""
    data = make_list(ROOT, [make_entry(1, SUPERSEDED), 2, LEAF])
    for size in range(len(data)):
        with pytest.raises(UnusableList):
            read(data[:size], tmp_path)


def model(data: bytes) -> set[tuple[x509.Name, int]] | None:
    """Whom a list withdraws, as `cryptography` reads it; None if it does not. Separately written."""
    try:
        parsed = x509.load_der_x509_crl(data)
        issuer, found = parsed.issuer, set[tuple[x509.Name, int]]()
        _ = (parsed.extensions, parsed.last_update_utc, parsed.next_update_utc, parsed.signature)
        for entry in parsed:
            _ = entry.revocation_date_utc
            for extension in entry.extensions:
                if isinstance(extension.value, x509.CertificateIssuer):
                    [issuer] = extension.value.get_values_for_type(x509.DirectoryName)
            found.add((issuer, entry.serial_number))
    except (ValueError, TypeError, KeyError, x509.InvalidVersion, x509.DuplicateExtension):
        return None
    return found


def make_random(random: Random) -> tuple[bytes, bool]:
    """The entries of a small list, and whether they name other issuers."""
    entries = list[bytes]()
    indirect = random.random() < 0.3
    for _ in range(random.randrange(12)):
        extensions = []
        if random.random() < 0.5:
            reasons = [each for each in x509.ReasonFlags if each is not x509.ReasonFlags.remove_from_crl]
            extensions.append(make_extension(x509.CRLReason(random.choice(reasons)), random.random() < 0.1))
        if random.random() < 0.3:
            day = datetime(random.randrange(1990, 2060), random.randrange(1, 13), random.randrange(1, 29), tzinfo=UTC)
            extensions.append(make_extension(x509.InvalidityDate(day)))
        if indirect and random.random() < 0.4:
            extensions.append(issued_by(make_name(random.choice("ABC"))))
        day = datetime(random.randrange(1990, 2060), random.randrange(1, 13), random.randrange(1, 29), tzinfo=UTC)
        serial = random.getrandbits(random.choice((1, 7, 8, 16, 64, 127, 128, 159))) * random.choice((1, 1, 1, 1, -1))
        entries.append(make_entry(serial, *extensions, date=make_time(day)))
    return b"".join(entries), indirect


@pytest.mark.parametrize("seed", range(150))
def test_cryptography_reads_the_same(seed: int, tmp_path: Path) -> None:
    """Two independent readers agree on whom a list withdraws, in all its forms."""
    entries, indirect = make_random(Random(seed))  # noqa: S311 - a seed that can be had again is the point
    data = make_list(ROOT, [entries], *([INDIRECT] if indirect else []))
    expected, found = model(data), read(data, tmp_path)
    assert expected is not None
    assert agree(found, expected)


def octets(serial: int) -> bytes:
    return make_serial(serial)[2:]


def agree(found: RevocationList, expected: set[tuple[x509.Name, int]]) -> bool:
    """Whether the list has these entries, and no others."""
    named = {(spell(name), octets(serial)) for name, serial in expected}
    return len(found) == len(named) and all(serial in found._entries[name] for name, serial in named)


@pytest.mark.parametrize("seed", range(60))
def test_what_cryptography_cannot_read_is_refused(seed: int, tmp_path: Path) -> None:
    """Octets changed, taken out and put in, and signed again: read alike, or refused, and never another exception."""
    random = Random(seed)  # noqa: S311
    entries, indirect = make_random(random)
    good = make_list(ROOT, [entries], *([INDIRECT] if indirect else []))
    tbs = good[4 if good[1] == 0x82 else 3 if good[1] == 0x81 else 2 :]
    size = tbs[1] if tbs[1] < 128 else int.from_bytes(tbs[2 : 2 + (tbs[1] & 127)])
    tbs = tbs[: size + (2 if tbs[1] < 128 else 2 + (tbs[1] & 127))]
    for _ in range(25):
        changed = bytearray(tbs)
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            at = random.randrange(len(changed))
            match random.randrange(4):
                case 0:
                    changed[at] ^= 1 << random.randrange(8)
                case 1:
                    changed[at] = random.choice((0, 1, 2, 0x30, 0x7F, 0x80, 0x81, 0xFF))
                case 2:
                    del changed[at]
                case 3:
                    changed.insert(at, random.randrange(256))
        data = sign_list(bytes(changed), ROOT)
        try:
            found = read(data, tmp_path)
        except UnusableList:
            continue
        expected = model(data)
        assert expected is not None, data.hex()
        assert agree(found, expected), data.hex()


def test_openssls_list_is_read(tmp_path: Path) -> None:
    """As `openssl ca -gencrl` makes it, PEM and DER, with a reason and an invalidity date."""
    ROOT.write(tmp_path, "ca")
    LEAF.write(tmp_path, "leaf")
    (tmp_path / "index.txt").touch()
    (tmp_path / "number").write_text("01")
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=this\n[this]\ndatabase=index.txt\ncertificate=ca.pem\nprivate_key=ca-key.pem\n"
        "crlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\ncrl_extensions=ext\n[ext]\n"
        "authorityKeyIdentifier=issuer:always\n"
    )
    ca = [find_program("openssl", "openssl"), "ca", "-config", "ca.cnf"]
    since = ["-crl_CA_compromise", "20250101000000Z"]
    subprocess.run([*ca, "-revoke", "leaf.pem", *since], cwd=tmp_path, capture_output=True, check=True)
    subprocess.run([*ca, "-gencrl", "-out", "ca.crl"], cwd=tmp_path, capture_output=True, check=True)
    [found] = read_crls(tmp_path / "ca.crl", ROOTS)
    assert (found.withdraws(LEAF.certificate), found.withdraws(GOOD.certificate)) == (True, False)
    der = x509.load_pem_x509_crl((tmp_path / "ca.crl").read_bytes()).public_bytes(Encoding.DER)
    assert len(read(der, tmp_path)) == 1


def test_cfssls_list_is_read(tmp_path: Path) -> None:
    """As `cfssl gencrl` prints it: base64 on one line, to be decoded by `base64 -d`."""
    ROOT.write(tmp_path, "ca")
    (tmp_path / "serials").write_text(f"{LEAF.certificate.serial_number}\n")
    command = [find_program("cfssl", "golang-cfssl"), "gencrl", "serials", "ca.pem", "ca-key.pem"]
    # cfssl reads no other form.
    traditional = ROOT.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "ca-key.pem").write_bytes(traditional)
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    found = read(base64.b64decode(said), tmp_path)
    assert (found.withdraws(LEAF.certificate), found.withdraws(GOOD.certificate)) == (True, False)
    refuse(said, tmp_path, "no revocation list")


def test_a_long_list_is_read_whole_from_either_form(tmp_path: Path) -> None:
    """Longer than what is read at once, with the one that counts at the very end."""
    data = make_crl(20_000, ROOT, [LEAF])
    for form in (data, write_pem(data)):
        found = read(form, tmp_path)
        assert len(found) == 20_001
        assert found.withdraws(LEAF.certificate)
        assert not found.withdraws(GOOD.certificate)


def test_every_entry_of_a_long_mixed_list_is_found(tmp_path: Path) -> None:
    """Of all lengths, so that no place where one piece of the file ends and the next begins is special."""
    random = Random(4)  # noqa: S311
    serials = [random.getrandbits(random.randrange(8, 160)) for _ in range(8000)]
    found = read(make_list(ROOT, [make_entry(each, *([SUPERSEDED] * (each % 2))) for each in serials]), tmp_path)
    kept = found._entries[spell(ROOT.certificate.subject)]
    assert all(octets(serial) in kept for serial in serials)
    assert len(found) == len(set(serials))


def test_reading_takes_the_memory_of_the_table_alone(tmp_path: Path) -> None:
    """Neither the file nor its entries are ever held as a whole."""
    data = write_pem(make_crl(20_000, ROOT))
    (tmp_path / "ca.crl").write_bytes(data)
    read_crls(tmp_path / "ca.crl", ROOTS)
    gc.collect()
    tracemalloc.start()
    try:
        found = read_crls(tmp_path / "ca.crl", ROOTS)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found[0]) == 20_000
    assert held < 20_000 * 16 * 1.7 + 100_000
    assert peak < held + 700_000 < len(data)


def test_other_threads_go_on_meanwhile(tmp_path: Path) -> None:
    """Counted in turns of another thread instead of seconds, which a busy machine has no say in."""
    (tmp_path / "ca.crl").write_bytes(make_crl(40_000, ROOT))
    turns, done = 0, threading.Event()

    def work() -> None:
        read_crls(tmp_path / "ca.crl", ROOTS)
        done.set()

    thread = threading.Thread(target=work)
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        thread.start()
        while not done.is_set():
            time.sleep(0)
            turns += 1
    finally:
        sys.setswitchinterval(before)
        thread.join()
    # One turn for each piece of the file is the least; a reader that held on to the interpreter would give a handful.
    assert turns > 40


def test_a_list_that_eddsa_has_signed_is_not_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be verified in one step, during which everything else would wait."""
    monkeypatch.setattr("keyfob.trust.crl.LARGEST_EDDSA", 50_000)
    key = ed25519.Ed25519PrivateKey.generate()
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    authority = make_certificate(make_name("Ed"), None, [basic], key=key)
    assert len(read(make_crl(500, authority), tmp_path, authority)) == 500
    refuse(make_crl(2000, authority), tmp_path, "EdDSA", authority)


def test_a_list_shows_itself_by_its_file_its_issuer_and_its_size(tmp_path: Path) -> None:
    """For a log; never by its entries."""
    assert "ca.crl' of 'CN=Root', 1 entries" in repr(read(make_list(ROOT, [LEAF]), tmp_path))
