"""certificate: the facts that an app reads."""

import base64
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import DAY, make_authority, make_certificate, make_leaf, make_name
from keyfob.certificate import ClientCertificate, describe_rejected, read_pem
from keyfob.errors import CertificateError, Expired, Malformed, Missing, NotYetValid, Revoked, Untrusted, WrongPurpose
from servers import find_program

ROOT = make_authority("Sam Money App")
NAME = make_name(
    "Rhea Group",
    country_name="PT",
    state_or_province_name="Lisboa",
    locality_name="Lisboa",
    organization_name="Money App Test",
    organizational_unit_name="Sam Projects",
)
LEAF = make_leaf(
    ROOT,
    NAME,
    extensions=[(x509.SubjectKeyIdentifier(bytes(range(20))), False)],
)
CERTIFICATE = ClientCertificate(LEAF.certificate, [ROOT.certificate])


def openssl(*arguments: str, text: str = LEAF.pem) -> str:
    """What Debian's and everybody's OpenSSL says of the certificate."""
    command = [find_program("openssl", "openssl"), "x509", "-noout", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.strip()


def test_names_and_numbers_are_those_of_the_certificate() -> None:
    """Every property, against what was put in."""
    assert CERTIFICATE.common_name == "Rhea Group"
    assert CERTIFICATE.common_names == ("Rhea Group",)
    assert CERTIFICATE.subject == "CN=Rhea Group,OU=Sam Projects,O=Money App Test,L=Lisboa,ST=Lisboa,C=PT"
    assert CERTIFICATE.issuer == "CN=Sam Money App"
    assert CERTIFICATE.serial_number == LEAF.certificate.serial_number
    assert CERTIFICATE.not_valid_before.tzinfo is UTC
    assert CERTIFICATE.not_valid_after == LEAF.certificate.not_valid_after_utc
    assert CERTIFICATE.pem == LEAF.pem
    assert CERTIFICATE.issuers == (ROOT.certificate,)
    assert CERTIFICATE.parsed is LEAF.certificate


def test_the_time_that_is_left_is_counted_from_now() -> None:
    """To the last moment of validity, and below nothing after it."""
    left, over = make_leaf(ROOT, ends=3 * DAY), make_leaf(ROOT, begins=-3 * DAY, ends=-DAY)
    for pair, least, most in ((left, 2 * DAY, 3 * DAY), (over, -2 * DAY, -DAY)):
        certificate = ClientCertificate(pair.certificate, [])
        earliest = datetime.now(UTC)
        found = certificate.expires_in
        assert certificate.not_valid_after - datetime.now(UTC) <= found <= certificate.not_valid_after - earliest
        assert least < found <= most


def test_several_common_names_are_no_common_name() -> None:
    """Programs differ in whether the first or the last one counts, so neither does."""
    several = make_leaf(ROOT, make_name("Rhea Group", "mallory"))
    certificate = ClientCertificate(several.certificate, [])
    assert certificate.common_name is None
    assert certificate.common_names == ("Rhea Group", "mallory")
    assert certificate.device.display_name == certificate.subject


def test_no_common_name_is_none() -> None:
    """A certificate may name its holder otherwise."""
    assert ClientCertificate(make_leaf(ROOT, make_name(organization_name="x")).certificate, []).common_name is None


def test_a_name_inside_another_attribute_is_not_the_common_name() -> None:
    """Names come from the parsed certificate: text that looks like a name elsewhere is only text."""
    sly = make_leaf(ROOT, make_name("mallory", organization_name="foo/CN=Rhea Group,CN=Rhea Group"))
    assert ClientCertificate(sly.certificate, []).common_name == "mallory"


def test_equal_certificates_are_equal() -> None:
    """By their bytes, so that two connections of one device compare."""
    assert ClientCertificate(read_pem(LEAF.pem), []) == CERTIFICATE
    assert hash(ClientCertificate(read_pem(LEAF.pem), [])) == hash(CERTIFICATE)
    assert ClientCertificate(ROOT.certificate, []) != CERTIFICATE
    assert "Rhea Group" in repr(CERTIFICATE)


def test_the_device_speaks_starlettes_words() -> None:
    """request.user: authenticated, shown by its name, identified by its fingerprint."""
    device = CERTIFICATE.device
    assert (device.is_authenticated, device.display_name) == (True, "Rhea Group")
    assert device.identity == CERTIFICATE.fingerprint_sha256
    assert "Rhea Group" in repr(device)


def test_tls_client_auth_agrees_with_openssl() -> None:
    """The formats that Workers document, judged by another program."""
    fields = CERTIFICATE.tls_client_auth
    assert fields["certPresented"] == "1"
    assert fields["certVerified"] == "SUCCESS"
    assert fields["certRevoked"] == "0"
    assert f"serial={str(fields['certSerial']).removeprefix('00')}" == openssl("-serial")
    assert f"notBefore={fields['certNotBefore']}" == openssl("-startdate")
    assert f"notAfter={fields['certNotAfter']}" == openssl("-enddate")
    assert f"subject={fields['certSubjectDNRFC2253']}" == openssl("-subject", "-nameopt", "RFC2253")
    assert f"issuer={fields['certIssuerDNRFC2253']}" == openssl("-issuer", "-nameopt", "RFC2253")
    for kind in ("sha1", "sha256"):
        said = openssl("-fingerprint", f"-{kind}").rpartition("=")[2].replace(":", "").lower()
        assert fields[f"certFingerprint{kind.upper()}"] == said


def test_tls_client_auth_has_the_other_formats() -> None:
    """Old one-line names, key identifiers, the issuer's serial, and RFC 9440."""
    fields = CERTIFICATE.tls_client_auth
    assert fields["certSubjectDNLegacy"] == ("/C=PT/ST=Lisboa/L=Lisboa/O=Money App Test/OU=Sam Projects/CN=Rhea Group")
    assert fields["certIssuerDNLegacy"] == "/CN=Sam Money App"
    assert fields["certSubjectDN"] == fields["certSubjectDNRFC2253"]
    assert fields["certSKI"] == bytes(range(20)).hex().upper()
    assert fields["certIssuerSKI"] == ""
    assert int(str(fields["certIssuerSerial"]), 16) == ROOT.certificate.serial_number
    der = base64.b64encode(LEAF.certificate.public_bytes(Encoding.DER)).decode()
    assert fields["certRFC9440"] == f":{der}:"
    root = base64.b64encode(ROOT.certificate.public_bytes(Encoding.DER)).decode()
    assert fields["certChainRFC9440"] == f":{root}:"
    assert (fields["certRFC9440TooLarge"], fields["certChainRFC9440TooLarge"]) == (False, False)


def test_too_large_certificates_are_left_out_and_say_so() -> None:
    """10 KiB for the leaf, 16 KiB for the chain."""
    names = x509.SubjectAlternativeName([x509.DNSName(f"host-{number}.example.com") for number in range(600)])
    large = make_leaf(ROOT, extensions=[(names, False)])
    fields = ClientCertificate(large.certificate, [large.certificate] * 2).tls_client_auth
    assert (fields["certRFC9440"], fields["certRFC9440TooLarge"]) == ("", True)
    assert (fields["certChainRFC9440"], fields["certChainRFC9440TooLarge"]) == ("", True)


def test_a_serial_keeps_the_octets_of_der() -> None:
    """A high first bit gets the leading 00 that DER gives it."""
    for serial, shown in ((0x80, "0080"), (0x7F, "7F"), (0x0123, "0123")):
        builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(LEAF.key.public_key())
        builder = builder.not_valid_before(LEAF.certificate.not_valid_before_utc).serial_number(serial)
        builder = builder.not_valid_after(LEAF.certificate.not_valid_after_utc)
        signed = builder.sign(LEAF.key, LEAF.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
        assert ClientCertificate(signed, []).tls_client_auth["certSerial"] == shown


def test_tls_client_auth_is_read_only() -> None:
    """It is shared by all requests of a device."""
    with pytest.raises(TypeError):
        CERTIFICATE.tls_client_auth["certVerified"] = "NONE"  # type: ignore[index]


@pytest.mark.parametrize(
    ("chain", "error", "presented", "verdict"),
    [
        ((), Missing("-"), "0", "NONE"),
        ((LEAF.pem,), Expired("-"), "1", "FAILED:certificate has expired"),
        ((LEAF.pem,), NotYetValid("-"), "1", "FAILED:certificate is not yet valid"),
        ((LEAF.pem,), Untrusted("-"), "1", "FAILED:unable to get local issuer certificate"),
        ((LEAF.pem,), WrongPurpose("-"), "1", "FAILED:unable to verify the first certificate"),
        ((LEAF.pem,), Revoked("-"), "1", "FAILED:certificate revoked"),
    ],
)
def test_placeholders_where_no_certificate_was_accepted(
    chain: tuple[str, ...], error: CertificateError, presented: str, verdict: str
) -> None:
    """The same keys as with a certificate, empty, with the words that Workers use."""
    fields = describe_rejected(chain, error)
    assert (fields["certPresented"], fields["certVerified"]) == (presented, verdict)
    assert fields["certRevoked"] == ("1" if isinstance(error, Revoked) else "0")
    assert set(fields) == set(CERTIFICATE.tls_client_auth)
    assert fields["certSerial"] == ""
    assert fields["certRFC9440TooLarge"] is False


@given(st.one_of(st.binary(max_size=400), st.text(max_size=200)))
def test_hostile_bytes_stay_inside_the_error_tree(data: bytes | str) -> None:
    """Malformed, and nothing else."""
    with pytest.raises(Malformed):
        read_pem(data)


@settings(max_examples=300)
@given(st.integers(0, len(LEAF.certificate.public_bytes(Encoding.DER)) - 1), st.integers(1, 255))
def test_a_changed_byte_is_malformed_or_a_readable_certificate(position: int, change: int) -> None:
    """Whatever a bit flip makes of a certificate, reading it ends in one of two ways, and all facts can be read."""
    der = bytearray(LEAF.certificate.public_bytes(Encoding.DER))
    der[position] ^= change
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    try:
        certificate = ClientCertificate(read_pem(pem), [])
    except Malformed:
        return
    assert certificate.tls_client_auth["certPresented"] == "1"
    assert certificate.common_names is not None


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (x509.SubjectAlternativeName.oid, b"\x30\x03\x02\x01"),
        (x509.TLSFeature.oid, b"\x30\x03\x02\x01\x63"),  # A feature that nobody knows is a KeyError.
    ],
)
def test_odd_extensions_are_malformed_not_a_crash(oid: x509.ObjectIdentifier, value: bytes) -> None:
    """An extension that cannot be parsed is found on reading, not in some handler later."""
    broken = make_certificate(make_name("x"), ROOT, [(x509.UnrecognizedExtension(oid, value), False)])
    with pytest.raises(Malformed, match="unreadable certificate"):
        read_pem(broken.pem)
