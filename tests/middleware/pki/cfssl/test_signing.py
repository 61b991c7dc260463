"""pki.cfssl.signing: what newer ones of cfssl do, and what an authority does not let itself be told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from certificates import make_authority, make_name
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, Issued, make_key_usage
from keyfob.pki.cfssl.hosts import Hosts
from keyfob.pki.cfssl.profiles import Profile, make_default, read_config
from keyfob.pki.cfssl.requests import make_csr, read_request
from keyfob.pki.cfssl.signing import Order, sign, sign_root

ROOT = make_authority("Root")
KEY = ec.generate_private_key(ec.SECP256R1())
CUSTOM = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
FEATURE = x509.TLSFeature([x509.TLSFeatureType.status_request])


def authority() -> Authority:
    return Authority(Issued(ROOT.certificate, ROOT.key))  # type: ignore[arg-type]


def profile(**more: Any) -> Profile:
    document = {"signing": {"profiles": {"p": {"usages": ["client auth"], "expiry": "1h", **more}}}}
    return read_config(json.dumps(document).encode(), "x.json", pytest.fail).select("p", pytest.fail)


def order(*extensions: x509.ExtensionType, **more: Any) -> Order:
    builder = x509.CertificateSigningRequestBuilder().subject_name(make_name("device"))
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return Order(builder.sign(KEY, hashes.SHA256()), "x.csr", **more)


def ignore(text: str) -> None:
    """For warnings that a test is not about."""


def oids(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return [each.oid for each in certificate.extensions]


def test_a_request_decides_nothing_by_itself() -> None:
    """Its extensions are left out unless the profile has them copied."""
    made = sign(order(CUSTOM, FEATURE), authority(), profile(), pytest.fail)
    assert oids(made) == [
        *(ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.SUBJECT_KEY_IDENTIFIER),
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ]


def test_a_profile_may_have_extensions_copied() -> None:
    """All of them, or those that it allows."""
    copied = sign(order(CUSTOM, FEATURE), authority(), profile(copy_extensions=True), pytest.fail)
    assert oids(copied)[-2:] == [CUSTOM.oid, ExtensionOID.TLS_FEATURE]
    allowing = profile(copy_extensions=True, allowed_extensions=["1.2.3.4"])
    assert oids(sign(order(CUSTOM), authority(), allowing, pytest.fail))[-1] == CUSTOM.oid
    with pytest.raises(PKIError, match=r"asks for 1\.3\.6\.1\.5\.5\.7\.1\.24, which is not in x\.json"):
        sign(order(CUSTOM, FEATURE), authority(), allowing, pytest.fail)


@pytest.mark.parametrize(
    "extension",
    [
        make_key_usage("key_cert_sign"),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        x509.SubjectKeyIdentifier(b"x"),
        x509.AuthorityKeyIdentifier(b"x", None, None),
        x509.CRLDistributionPoints(
            [x509.DistributionPoint([x509.UniformResourceIdentifier("http://a/")], None, None, None)]
        ),
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]),
        x509.NameConstraints([x509.DNSName("a.example")], None),
        x509.OCSPNoCheck(),
    ],
    ids=lambda extension: type(extension).__name__,
)
def test_what_the_authority_decides_is_not_copied(extension: x509.ExtensionType) -> None:
    """With cfssl's own copying, whoever sends a CSR chooses what the key may do."""
    with pytest.raises(PKIError, match=r"x\.csr: it asks for .*, which the profile decides"):
        sign(order(extension), authority(), profile(copy_extensions=True), pytest.fail)


def test_alternative_names_are_copied_once_and_those_of_the_order_count() -> None:
    """`-hostname` is stronger than the request, also where extensions are copied."""
    asking = x509.SubjectAlternativeName([x509.DNSName("theirs.example")])
    for hosts, name in ((None, "theirs.example"), (Hosts(dns=("ours.example",)), "ours.example")):
        made = sign(order(asking, hosts=hosts), authority(), profile(copy_extensions=True), pytest.fail)
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.DNSName(name)]


def test_a_request_for_an_authority_needs_a_profile_for_one() -> None:
    """And then has the profile's path length."""
    asking = x509.BasicConstraints(ca=True, path_length=5)
    with pytest.raises(PKIError, match="the profile allows none"):
        sign(order(asking), authority(), profile(copy_extensions=True), pytest.fail)
    constraint = {"is_ca": True, "max_path_len": 1}
    made = sign(order(asking), authority(), profile(usages=["cert sign"], ca_constraint=constraint), pytest.fail)
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 1)


def test_an_allowed_name_may_come_from_anywhere() -> None:
    """A whitelist is about what will stand in the certificate: the names of the order, not those of the request."""
    asking = x509.SubjectAlternativeName([x509.DNSName("theirs.example")])
    guarded = profile(name_whitelist=r"^(device|ours\.example)$")
    sign(order(asking, hosts=Hosts(dns=("ours.example",))), authority(), guarded, pytest.fail)
    with pytest.raises(PKIError, match=r"'theirs\.example' is not allowed"):
        sign(order(asking), authority(), guarded, pytest.fail)


def test_what_will_not_be_believed_is_said_aloud() -> None:
    """The certificate is made, as cfssl makes it."""
    said: list[str] = []
    sign(order(), authority(), make_default(timedelta(days=3650)), said.append)
    sign(order(), authority(), profile(ca_constraint={"is_ca": True}), said.append)
    ends = f"{ROOT.certificate.not_valid_after_utc:%Y-%m-%d}"
    assert [line.split(":", 1)[0] for line in said] == [
        f"it outlives its authority, which ends on {ends}, and then it is void",
        "it names no host, so no browser takes it for a server's",
        "x.json",
    ]


def test_a_lifetime_that_no_certificate_can_have_is_refused() -> None:
    """Before 1950, after 9999, or none at all."""
    for more in (
        {"backdate": "2562047h", "expiry": "1h"},
        {"not_before": "9999-12-31T00:00:00Z", "expiry": "48h"},
        {"not_before": "2030-01-01T00:00:00Z", "not_after": "2030-01-01T00:00:00Z"},
    ):
        with pytest.raises(PKIError, match="a certificate cannot live from"):
            sign(order(), authority(), profile(**more), pytest.fail)


def test_a_root_is_as_its_request_says() -> None:
    """What newer ones of cfssl read as well: its beginning, and where its lists are."""
    wish = {"CN": "Root", "ca": {"expiry": "10h", "backdate": "2h", "pathlenzero": True}, "crl_url": "http://a/crl"}
    request = read_request(json.dumps(wish).encode(), "x.json", pytest.fail)
    certificate, csr = sign_root(request, KEY, pytest.fail)
    assert certificate.public_key() == csr.public_key() == KEY.public_key()
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=10)
    assert timedelta(hours=1) < datetime.now(UTC) - certificate.not_valid_before_utc < timedelta(hours=3)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert ExtensionOID.CRL_DISTRIBUTION_POINTS in oids(certificate)
    certificate.verify_directly_issued_by(certificate)


def test_serial_numbers_are_random_and_long() -> None:
    """Never the same, and 64 bits at least."""
    numbers = {sign(order(), authority(), profile(), ignore).serial_number for _ in range(8)}
    assert len(numbers) == 8
    assert max(number.bit_length() for number in numbers) > 140
    assert max(number.bit_length() for number in numbers) <= 159


def test_a_csr_of_ours_is_signed_as_it_is() -> None:
    """The extensions of a request's JSON reach the certificate by the same way."""
    extension = {"Id": [1, 2, 3, 4], "Value": "BQA="}
    request = read_request(json.dumps({"CN": "x", "extensions": [extension]}).encode(), "x.json", pytest.fail)
    made = sign(Order(make_csr(request, KEY), "x.json"), authority(), profile(copy_extensions=True), pytest.fail)
    assert made.extensions.get_extension_for_oid(CUSTOM.oid).value == CUSTOM
