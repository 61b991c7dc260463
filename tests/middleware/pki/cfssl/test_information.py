"""pki.cfssl.information: what cfssl has no words for, and what cannot be read."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_authority, make_certificate, make_leaf, make_name
from keyfob.errors import PKIError
from keyfob.pki.cfssl.information import describe, describe_csr


def test_a_certificate_without_identifiers_has_empty_ones() -> None:
    """The keys stand there all the same; alternative names only if there are any."""
    found = describe(make_leaf(make_authority("Root"), "x").pem.encode(), "x.pem")
    assert (found["authority_key_id"], found["subject_key_id"]) == ("", "")
    assert "sans" not in found
    assert found["subject"] == {"common_name": "x", "names": ["x"]}
    assert found["issuer"]["common_name"] == "Root"


def test_a_signature_of_another_kind_is_named_or_unknown() -> None:
    """Ed25519 has a name; what has none is not taken for another."""
    own = make_certificate(make_name("x"), None, [], key=ed25519.Ed25519PrivateKey.generate())
    assert describe(own.pem.encode(), "x.pem")["sigalg"] == "Ed25519"


@pytest.mark.parametrize(
    ("key", "number"),
    [(ed25519.Ed25519PrivateKey.generate(), 4), (dsa.generate_private_key(1024), 0)],  # noqa: S505 - only looked at
    ids=["Ed25519", "DSA"],
)
def test_a_csr_of_another_kind_of_key_is_described(
    key: ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey, number: int
) -> None:
    """Though no such key is used here."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(make_name("x"))
    csr = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    assert describe_csr(csr.public_bytes(Encoding.PEM), "x.csr")["PublicKeyAlgorithm"] == number


def test_moments_have_four_digits_of_a_year() -> None:
    """RFC 3339, in UTC."""
    old = make_certificate(make_name("x"), None, [], ends=timedelta(days=365 * 7000))
    assert len(describe(old.pem.encode(), "x.pem")["not_after"]) == len("2027-01-31T08:00:00Z")


@pytest.mark.parametrize("pem", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_read_is_refused(pem: bytes) -> None:
    """With a hint."""
    for read in (describe, describe_csr):
        with pytest.raises(PKIError, match="cannot be read") as caught:
            read(pem, "x.pem")
        assert caught.value.hint
