"""pki.authority: what it issues, judged by OpenSSL and by keyfob's own verifier."""

import base64
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import DAY, Pair, make_authority, make_leaf
from keyfob.certificate import ClientCertificate
from keyfob.errors import PKIError, Untrusted, WrongPurpose
from keyfob.pki.authority import Authority, DeviceRequest, Issued
from keyfob.pki.keys import KEY_KINDS
from keyfob.trust import Roots, Verifier
from servers import find_program

AUTHORITY = Authority.create("keyfob CA")
SERVER = AUTHORITY.issue_server(["localhost", "box.local", "127.0.0.1", "::1"])
DEVICE = AUTHORITY.issue_device("My iPhone")
BELOW = AUTHORITY.issue_intermediate("keyfob devices")
ALL = {"authority": AUTHORITY.issued, "server": SERVER, "device": DEVICE}
LEAVES = {"server": SERVER, "device": DEVICE}

each = pytest.mark.parametrize("issued", ALL.values(), ids=ALL)
each_leaf = pytest.mark.parametrize("issued", LEAVES.values(), ids=LEAVES)


T = TypeVar("T", bound=x509.ExtensionType)


def extension(issued: Issued, kind: type[T]) -> x509.Extension[T]:
    return issued.certificate.extensions.get_extension_for_class(kind)


def encoded(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def altered(pem: bytes, before: str, after: str) -> bytes:
    """The same certificate or key with some octets of its DER, in hex, replaced by as many others."""
    label = pem.split(b"-----")[1].removeprefix(b"BEGIN ")
    der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    assert bytes.fromhex(before) in der
    changed = base64.encodebytes(der.replace(bytes.fromhex(before), bytes.fromhex(after)))
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, changed, label)


# --- Keys, names, times ---------------------------------------------------------------------------------------------


@each
def test_every_certificate_is_p256_with_sha256(issued: Issued) -> None:
    """The curve that every phone and browser takes, and the hash that goes with it."""
    assert isinstance(issued.key, ec.EllipticCurvePrivateKey)
    assert isinstance(issued.key.curve, ec.SECP256R1)
    assert issued.certificate.public_key() == issued.key.public_key()
    assert isinstance(issued.certificate.signature_hash_algorithm, hashes.SHA256)
    assert issued.certificate.signature_algorithm_oid.dotted_string == "1.2.840.10045.4.3.2"


@each
def test_every_certificate_is_x509_version_3(issued: Issued) -> None:
    """RFC 5280 section 4.1.2.1: extensions need it."""
    assert issued.certificate.version is x509.Version.v3


@each
def test_a_certificate_begins_a_little_in_the_past(issued: Issued) -> None:
    """A phone whose clock is a minute behind must not find it not yet valid; an hour would be more than that needs."""
    assert timedelta(minutes=1) < datetime.now(UTC) - issued.certificate.not_valid_before_utc < timedelta(hours=1)


def test_a_server_certificate_lasts_at_most_825_days() -> None:
    """Apple devices refuse a private root's server certificate that lasts longer, its first day included."""
    lifetime = SERVER.certificate.not_valid_after_utc - SERVER.certificate.not_valid_before_utc
    assert 365 * DAY < lifetime <= 825 * DAY


def test_a_device_certificate_lasts_a_year_and_less_than_its_authority() -> None:
    """A certificate that outlives its authority would end before its own date says."""
    lifetime = DEVICE.certificate.not_valid_after_utc - DEVICE.certificate.not_valid_before_utc
    assert timedelta(days=365) <= lifetime < timedelta(days=366)
    for leaf in LEAVES.values():
        assert leaf.certificate.not_valid_after_utc < AUTHORITY.issued.certificate.not_valid_after_utc


@pytest.mark.parametrize("name", ["Rhea Group", "Rhéa's 📱", "a", "x" * 64, 'O="Money", CN=\\'])
def test_a_device_bears_the_very_name_it_was_issued_for(name: str) -> None:
    """The common name is what policies compare, so nothing in it is trimmed, escaped or interpreted."""
    attributes = list(AUTHORITY.issue_device(name).certificate.subject)
    assert [(attribute.rfc4514_attribute_name, attribute.value) for attribute in attributes] == [("CN", name)]


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_no_certificate_can_bear_is_said_with_a_hint(name: str) -> None:
    """RFC 5280 appendix A: a common name has 1 to 64 characters."""
    for refused in (AUTHORITY.issue_device, Authority.create):
        with pytest.raises(PKIError) as raised:
            refused(name)
        assert raised.value.hint


def test_names_of_authority_and_server_differ() -> None:
    """Android is said to refuse a chain in which both have the same common name."""
    assert AUTHORITY.issued.certificate.subject != SERVER.certificate.subject


def test_serial_numbers_are_random_positive_and_never_repeated() -> None:
    """RFC 5280 section 4.1.2.2: positive, at most 20 octets; the CA/Browser Forum asks for 64 random bits."""
    serials = [AUTHORITY.issue_device("x").certificate.serial_number for _ in range(300)]
    assert len(set(serials)) == len(serials)
    assert all(0 < serial < 1 << 159 for serial in serials)
    # A bit that is random stays the same in 300 numbers once in 2**299.
    ever, always = 0, -1
    for serial in serials:
        ever, always = ever | serial, always & serial
    assert (ever & ~always).bit_count() >= 64


def test_no_two_certificates_share_a_key() -> None:
    """A key that were shared could not be withdrawn for one device alone."""
    keys = [AUTHORITY.issue_device("x").certificate.public_key() for _ in range(20)]
    numbers = {key.public_numbers() for key in keys if isinstance(key, ec.EllipticCurvePublicKey)}
    assert len(numbers) == len(keys)


# --- Extensions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("authority", "length"), [(AUTHORITY, 1), (BELOW, 0)], ids=["root", "intermediate"])
def test_an_authority_may_sign_certificates_and_lists_and_nothing_else(authority: Authority, length: int) -> None:
    """RFC 5280 section 4.2.1.3 and 4.2.1.9: critical, keyCertSign and cRLSign, and one intermediate at most."""
    basic, usage = extension(authority.issued, x509.BasicConstraints), extension(authority.issued, x509.KeyUsage)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=length)
    assert usage.critical
    assert granted(usage.value) == {"key_cert_sign", "crl_sign"}


@each_leaf
def test_a_leaf_may_sign_handshakes_and_nothing_else(issued: Issued) -> None:
    """RFC 8446 section 4.4.2.2: an elliptic curve key in TLS signs, so digitalSignature is what it needs."""
    basic, usage = extension(issued, x509.BasicConstraints), extension(issued, x509.KeyUsage)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=False, path_length=None)
    assert usage.critical
    assert granted(usage.value) == {"digital_signature"}


def test_a_leaf_has_the_one_purpose_it_was_issued_for() -> None:
    """A server's certificate must not open the door, and a device's must not stand for the server."""
    assert list(extension(SERVER, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert list(extension(DEVICE, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@each
def test_key_identifiers_lead_from_each_certificate_to_its_issuer(issued: Issued) -> None:
    """RFC 5280 section 4.2.1.1 and 4.2.1.2: of the keys themselves, and never critical."""
    own = extension(issued, x509.SubjectKeyIdentifier)
    assert own.value == x509.SubjectKeyIdentifier.from_public_key(issued.key.public_key())
    assert not own.critical
    if issued is not AUTHORITY.issued:
        above = extension(issued, x509.AuthorityKeyIdentifier)
        assert above.value.key_identifier == extension(AUTHORITY.issued, x509.SubjectKeyIdentifier).value.digest
        assert not above.critical


def test_a_server_bears_every_name_and_address_as_what_it_is() -> None:
    """RFC 6125: clients look at the alternative names alone, and for an address at iPAddress alone."""
    names = extension(SERVER, x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost", "box.local"]
    assert list(map(str, names.value.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "::1"]
    assert not names.critical


def test_a_device_bears_no_alternative_name() -> None:
    """It is nobody's host; an empty alternative name would be malformed (RFC 5280 section 4.2.1.6)."""
    with pytest.raises(x509.ExtensionNotFound):
        extension(DEVICE, x509.SubjectAlternativeName)


@pytest.mark.parametrize("name", ["bücher.example", "\N{MOBILE PHONE}.local"])
def test_a_host_name_that_no_certificate_can_bear_is_a_pki_error(name: str) -> None:
    """RFC 5280 section 4.2.1.6: dNSName is ASCII. What cannot be issued is said in a sentence."""
    with pytest.raises(PKIError) as raised:
        AUTHORITY.issue_server(["localhost", name])
    assert name in raised.value.message


def granted(usage: x509.KeyUsage) -> set[str]:
    # The last two may only be asked for where the key agrees on keys.
    bits = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    return {bit for bit in [*bits, "key_cert_sign", "crl_sign"] if getattr(usage, bit)}


# --- Judged by others -----------------------------------------------------------------------------------------------


def openssl_verify(folder: Path, chain: bytes, *options: str) -> subprocess.CompletedProcess[str]:
    openssl = find_program("openssl", "openssl")
    roots, leaf = folder / "ca.pem", folder / "leaf.pem"
    roots.write_bytes(AUTHORITY.issued.certificate_pem)
    leaf.write_bytes(chain)
    command = [openssl, "verify", "-x509_strict", "-CAfile", str(roots), "-untrusted", str(leaf), *options, str(leaf)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("issued", "options"),
    [
        (DEVICE, ["-purpose", "sslclient"]),
        (SERVER, ["-purpose", "sslserver"]),
        (SERVER, ["-purpose", "sslserver", "-verify_hostname", "box.local"]),
        (SERVER, ["-purpose", "sslserver", "-verify_ip", "127.0.0.1"]),
        (SERVER, ["-purpose", "sslserver", "-verify_ip", "::1"]),
    ],
    ids=["device", "server", "host", "ipv4", "ipv6"],
)
def test_openssl_accepts_what_was_issued_for_its_purpose(tmp_path: Path, issued: Issued, options: list[str]) -> None:
    """`openssl verify -x509_strict`, which looks for everything that RFC 5280 asks of a certificate."""
    verdict = openssl_verify(tmp_path, issued.certificate_pem, *options)
    assert verdict.returncode == 0, verdict.stderr
    assert verdict.stdout.endswith("leaf.pem: OK\n")


@pytest.mark.parametrize(
    ("issued", "options"),
    [
        (DEVICE, ["-purpose", "sslserver"]),
        (SERVER, ["-purpose", "sslclient"]),
        (AUTHORITY.issued, ["-purpose", "sslserver"]),
        (SERVER, ["-purpose", "sslserver", "-verify_hostname", "elsewhere.local"]),
        (SERVER, ["-purpose", "sslserver", "-verify_ip", "127.0.0.2"]),
    ],
    ids=["device-as-server", "server-as-device", "authority-as-server", "other-host", "other-address"],
)
def test_openssl_refuses_it_for_any_other(tmp_path: Path, issued: Issued, options: list[str]) -> None:
    """A leaf is good for one purpose and its own names."""
    assert openssl_verify(tmp_path, issued.certificate_pem, *options).returncode != 0


def test_keyfob_accepts_the_device() -> None:
    """Our own verifier, with the path that it found up to the authority."""
    verified = verify(DEVICE.certificate_pem)
    assert verified.common_name == "My iPhone"
    assert verified.issuers == (AUTHORITY.issued.certificate,)


@pytest.mark.parametrize("issued", [SERVER, AUTHORITY.issued], ids=["server", "authority"])
def test_keyfob_refuses_server_and_authority_as_devices(issued: Issued) -> None:
    """Both come from the right authority, and neither is a device."""
    with pytest.raises(WrongPurpose):
        verify(issued.certificate_pem)


def test_an_authority_of_the_same_name_is_another_authority() -> None:
    """Names prove nothing; signatures do."""
    with pytest.raises(Untrusted):
        verify(Authority.create("keyfob CA").issue_device("My iPhone").certificate_pem)


def test_an_authority_below_an_intermediate_counts_for_nothing(tmp_path: Path) -> None:
    """Path length 0: even with the intermediate's own signature, nobody below it may issue."""
    assert isinstance(BELOW.issued.key, ec.EllipticCurvePrivateKey)
    third = make_authority("Third", Pair(BELOW.certificate, BELOW.issued.key))
    leaf = make_leaf(third)
    chain = (leaf.pem + third.pem).encode() + BELOW.issued.certificate_pem
    verdict = openssl_verify(tmp_path, chain, "-purpose", "sslclient")
    assert "path length constraint exceeded" in verdict.stderr
    with pytest.raises(Untrusted):
        verify(leaf.pem.encode(), third.pem.encode(), BELOW.issued.certificate_pem)


def test_an_intermediate_makes_no_intermediates() -> None:
    """It says so itself, instead of signing what nobody accepts."""
    with pytest.raises(PKIError, match="path length 0"):
        BELOW.issue_intermediate("Third")


def test_an_intermediate_has_another_name_than_its_root() -> None:
    """A path is found by names."""
    with pytest.raises(PKIError, match="the name of the root"):
        AUTHORITY.issue_intermediate("keyfob CA")


def test_a_device_of_the_intermediate_needs_its_leaf_alone_where_the_bundle_is_known(tmp_path: Path) -> None:
    """OpenSSL and keyfob, with the intermediate on the server's side."""
    leaf = BELOW.issue_device("My iPhone")
    (tmp_path / "bundle.pem").write_bytes(BELOW.issued.certificate_pem + AUTHORITY.issued.certificate_pem)
    (tmp_path / "leaf.pem").write_bytes(leaf.certificate_pem)
    command = [find_program("openssl", "openssl"), "verify", "-x509_strict", "-purpose", "sslclient"]
    subprocess.run([*command, "-CAfile", tmp_path / "bundle.pem", tmp_path / "leaf.pem"], check=True)
    roots = Roots((AUTHORITY.certificate,), (BELOW.certificate,))
    assert Verifier(roots).verify([leaf.certificate_pem.decode()], time.time())


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_every_kind_of_key_makes_an_authority_that_openssl_accepts(tmp_path: Path, kind: str) -> None:
    """P-384 signs with SHA-384, all others with SHA-256."""
    authority = Authority.create("keyfob CA", kind=kind)
    leaf = authority.issue_device("My iPhone")
    (tmp_path / "ca.pem").write_bytes(authority.issued.certificate_pem)
    (tmp_path / "leaf.pem").write_bytes(leaf.certificate_pem)
    command = [find_program("openssl", "openssl"), "verify", "-x509_strict", "-CAfile", str(tmp_path / "ca.pem")]
    subprocess.run([*command, str(tmp_path / "leaf.pem")], check=True)
    assert isinstance(leaf.certificate.signature_hash_algorithm, hashes.SHA384 if kind == "p384" else hashes.SHA256)


def test_nothing_outlives_its_authority() -> None:
    """A certificate that is still in time below one that is not would be refused without a word."""
    short = Authority.create("keyfob CA", days=30)
    with pytest.raises(PKIError, match="before a certificate of 365 days would") as raised:
        short.issue_device("My iPhone")
    assert "--days 2" in raised.value.hint
    assert short.issue_device(DeviceRequest("My iPhone", days=29))


@pytest.mark.parametrize("days", [0, -1, 36501, 10**12])
def test_a_lifetime_that_is_none_is_refused(days: int) -> None:
    """Before any key is made."""
    with pytest.raises(PKIError, match="no lifetime"):
        Authority.create("keyfob CA", days=days)
    with pytest.raises(PKIError, match="no lifetime"):
        AUTHORITY.issue_device(DeviceRequest("My iPhone", days=days))


def test_a_device_says_what_was_asked_for_and_no_more() -> None:
    """Organization, unit, and alternative names of three kinds."""
    request = DeviceRequest(
        "My iPhone",
        organization="Money",
        unit="Home",
        emails=("me@example.com",),
        dns=("phone.example.com",),
        uris=("urn:uuid:1",),
    )
    certificate = AUTHORITY.issue_device(request).certificate
    assert certificate.subject.rfc4514_string() == "CN=My iPhone,OU=Home,O=Money"
    assert list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [
        x509.RFC822Name("me@example.com"),
        x509.DNSName("phone.example.com"),
        x509.UniformResourceIdentifier("urn:uuid:1"),
    ]


@pytest.mark.parametrize("value", ["", "a b", "me@exämple.com", "a\0b", "\u202e"])
def test_an_alternative_name_that_cannot_be_is_a_pki_error(value: str) -> None:
    """With a hint."""
    for request in (
        DeviceRequest("x", emails=(value,)),
        DeviceRequest("x", dns=(value,)),
        DeviceRequest("x", uris=(value,)),
    ):
        with pytest.raises(PKIError, match="cannot be an alternative name"):
            AUTHORITY.issue_device(request)


def test_openssl_finds_the_key_sound(tmp_path: Path) -> None:
    """PKCS#8 in PEM, not encrypted, as curl and uvicorn read it."""
    path = tmp_path / "key.pem"
    path.write_bytes(DEVICE.key_pem)
    command = [find_program("openssl", "openssl"), "pkey", "-in", str(path), "-check", "-noout"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "Key is valid"
    assert isinstance(load_pem_private_key(DEVICE.key_pem, None), ec.EllipticCurvePrivateKey)


def verify(*chain: bytes) -> ClientCertificate:
    verifier = Verifier(Roots((AUTHORITY.issued.certificate,), ()))
    return verifier.verify([pem.decode("ascii") for pem in chain], time.time()).certificate


# --- Read back ------------------------------------------------------------------------------------------------------


def test_an_authority_that_was_read_back_issues_as_before() -> None:
    """The second start goes on with the first one's authority."""
    again = Authority.load(AUTHORITY.issued.certificate_pem, AUTHORITY.issued.key_pem)
    verify(again.issue_device("another").certificate_pem)


CERTIFICATE, KEY = AUTHORITY.issued.certificate_pem, AUTHORITY.issued.key_pem
OTHER = Authority.create("other").issued
BARE = make_authority("no key identifier")
UNREADABLE_CERTIFICATES = {
    "empty": b"",
    "junk": b"\x00\xff junk",
    "a-key": KEY,
    "cut-short": CERTIFICATE[: len(CERTIFICATE) // 2],
    "no-der": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "unknown-version": altered(CERTIFICATE, "a003020102", "a003020105"),
    "unknown-kind-of-key": altered(CERTIFICATE, "2a8648ce3d0201", "2a8648ce3d0209"),
    "another-key's": OTHER.certificate_pem,
}
UNREADABLE_KEYS = {
    "empty": b"",
    "junk": b"\x00\xff junk",
    "a-certificate": CERTIFICATE,
    "cut-short": KEY[: len(KEY) // 2],
    "encrypted": encoded(AUTHORITY.issued.key, b"secret"),
    "rsa": encoded(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "another-curve": encoded(ec.generate_private_key(ec.SECP384R1())),
    "unknown-curve": altered(KEY, "2a8648ce3d030107", "2a8648ce3d030109"),
    "another-certificate's": OTHER.key_pem,
}


@pytest.mark.parametrize("pem", UNREADABLE_CERTIFICATES.values(), ids=UNREADABLE_CERTIFICATES)
def test_an_authority_without_a_usable_certificate_is_a_pki_error(pem: bytes) -> None:
    """Whatever the bytes are, nothing but PKIError comes out, be it when they are read or when they are used."""
    with pytest.raises(PKIError):
        Authority.load(pem, KEY)


def test_an_authority_made_elsewhere_issues_too_or_is_refused_in_a_sentence() -> None:
    """RFC 5280 section 4.2.1.2 asks every CA for a subject key identifier; old private ones have none."""
    try:
        issued = Authority.load(BARE.pem.encode(), BARE.key_pem.encode()).issue_device("x")
    except PKIError as error:
        assert error.hint
    else:
        assert issued.certificate.issuer == BARE.certificate.subject


@pytest.mark.parametrize("pem", UNREADABLE_KEYS.values(), ids=UNREADABLE_KEYS)
def test_an_authority_without_its_own_key_is_a_pki_error(pem: bytes) -> None:
    """The same for the key; a key that does not fit would sign what nobody can verify."""
    with pytest.raises(PKIError):
        Authority.load(CERTIFICATE, pem)


def test_a_pair_that_does_not_belong_together_is_said_with_a_hint() -> None:
    """Two folders mixed up is the likeliest way to get there."""
    with pytest.raises(PKIError, match="do not belong together") as raised:
        Authority.load(CERTIFICATE, OTHER.key_pem)
    assert raised.value.hint
