"""pki.batch.template: what it fills in is what the authority itself would have signed."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, DeviceRequest
from keyfob.pki.batch.template import Template, make_key, split
from keyfob.pki.keys import KEY_KINDS, require_public_key
from servers import find_program

KINDS = ["p256", "p384", "rsa2048"]
AUTHORITIES = {kind: Authority.create("keyfob CA", kind=kind) for kind in KINDS}
BELOW = AUTHORITIES["p256"].issue_intermediate("Devices")
KEYS = {kind: make_key(kind)[1] for kind in KINDS}

# RFC 5280 appendix A.1: up to 64 characters; what else a name may have, `require_device_name` says before.
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=16)
requests = st.builds(
    DeviceRequest,
    name=texts,
    days=st.integers(1, 1000),
    organization=st.none() | texts,
    unit=st.none() | texts,
    emails=st.lists(st.sampled_from(["a@example.com", "b@example.com"]), max_size=2).map(tuple),
    dns=st.lists(st.sampled_from(["a.example.com", "x" * 63 + ".example"]), max_size=2).map(tuple),
    uris=st.lists(st.sampled_from(["urn:a", "https://example.com/" + "x" * 300]), max_size=2).map(tuple),
)


def fill(authority: Authority, request: DeviceRequest, public: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(Template(authority, request.days).fill(request, public).certificate)


def parts_of(certificate: x509.Certificate) -> list[bytes]:
    """RFC 5280 section 4.1: version, serial number, algorithm, issuer, validity, subject, key, extensions."""
    tbs = certificate.tbs_certificate_bytes
    return split(tbs[2 + (tbs[1] & 0x7F if tbs[1] & 0x80 else 0) :])


SERIAL, VALIDITY = 1, 4


@settings(max_examples=150)
@given(requests, st.sampled_from([*AUTHORITIES.values(), BELOW]), st.sampled_from(list(KEYS.values())))
def test_every_field_is_as_the_authority_writes_it(request: DeviceRequest, authority: Authority, public: bytes) -> None:
    """Octet by octet, but for the serial number, which is random, and the moment at which the year begins."""
    ours = fill(authority, request, public)
    key = require_public_key(load_der_public_key(public), "the key")
    theirs = authority.sign_device(request, key)
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    pairs = list(enumerate(zip(parts_of(ours), parts_of(theirs), strict=True)))
    assert len(pairs) == 8
    assert all(mine == other for number, (mine, other) in pairs if number not in {SERIAL, VALIDITY})
    lifetime = theirs.not_valid_after_utc - theirs.not_valid_before_utc
    assert ours.not_valid_after_utc - ours.not_valid_before_utc == lifetime
    ours.verify_directly_issued_by(authority.certificate)


def test_serial_numbers_are_random_positive_and_short() -> None:
    """RFC 5280 section 4.1.2.2: at most 20 octets. Two templates of the same moment share none."""
    templates = [Template(AUTHORITIES["p256"], 30) for _ in range(2)]
    filled = [each.fill(DeviceRequest("x"), KEYS["p256"]) for each in templates for _ in range(300)]
    serials = [x509.load_der_x509_certificate(each.certificate).serial_number for each in filled]
    assert serials == [each.serial for each in filled]
    assert len(set(serials)) == 600
    assert all(0 < serial < 1 << 159 for serial in serials)
    assert max(serials).bit_length() > 150


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_both_halves_of_a_key_belong_together(kind: str) -> None:
    """Also where the public half is cut out of the private one."""
    private, public = make_key(kind)
    key = load_der_private_key(private, None)
    assert key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public


def test_a_template_that_would_outlive_its_authority_is_refused() -> None:
    """As the authority refuses to sign such a certificate itself."""
    with pytest.raises(PKIError, match="before a certificate of 400 days would"):
        Template(Authority.create("Short", days=365), 400)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_reads_and_verifies_it(tmp_path: Path, kind: str) -> None:
    """Every authority's signature, by a program that shares nothing with the one that has put it together."""
    openssl = find_program("openssl", "openssl")
    authority = AUTHORITIES[kind]
    request = DeviceRequest("Rhéa's 📱", 30, "Money", "App", ("a@example.com",), ("a.example",), ("urn:a",))
    (tmp_path / "ca.pem").write_bytes(authority.issued.certificate_pem)
    (tmp_path / "device.pem").write_bytes(fill(authority, request, KEYS["p256"]).public_bytes(Encoding.PEM))
    verify = [openssl, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "device.pem"]
    said = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.stdout == "device.pem: OK\n", said.stderr
    show = [openssl, "x509", "-in", "device.pem", "-noout", "-subject", "-nameopt", "utf8", "-ext", "subjectAltName"]
    shown = subprocess.run(show, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "O=Money, OU=App, CN=Rhéa's 📱" in shown.replace(" = ", "=")
    assert "email:a@example.com, DNS:a.example, URI:urn:a" in shown
