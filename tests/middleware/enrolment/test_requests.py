"""enrolment.requests: what an invitation promises survives the database, and nothing else does."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from apple_ber import find_key, make_csr, sign_with_sha1
from keyfob.enrolment.requests import Refused, read_request, read_signing_request, write_request
from keyfob.errors import PKIError
from keyfob.pki.authority import DeviceRequest

FULL = DeviceRequest(
    "Rhéa's 📱", 90, "Money App", "Savings", ("a@example.com", "b@example.com"), ("x.example.com",), ("urn:x:1",)
)


@pytest.mark.parametrize("request_", [DeviceRequest("My iPhone"), FULL], ids=["short", "full"])
def test_a_request_comes_back_as_it_was(request_: DeviceRequest) -> None:
    """Tuples are tuples again, and what was not said is not said."""
    assert read_request(write_request(request_)) == request_


@pytest.mark.parametrize(
    "changed",
    [
        {"name": 7},
        {"name": ""},
        {"name": "a/b"},
        {"name": None},
        {"days": "365"},
        {"days": 1.5},
        {"days": True},
        {"days": 0},
        {"days": 10**9},
        {"organization": 7},
        {"unit": []},
        {"emails": "a@example.com"},
        {"emails": [7]},
        {"emails": ["not an address"]},
        {"dns": None},
        {"uris": {"a": "b"}},
        {"more": "x"},
    ],
    ids=str,
)
def test_what_was_not_written_here_is_refused(changed: dict[str, object]) -> None:
    """Whoever can write to the database still gets no certificate that could not be asked for."""
    with pytest.raises(PKIError):
        read_request(json.dumps({**json.loads(write_request(FULL)), **changed}))


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "7", "null", '{"name": "x"}', "[" * 5000],
    ids=["none", "empty", "open", "list", "number", "null", "half", "deep"],
)
def test_what_is_no_request_at_all_is_refused(text: str | None) -> None:
    """Nothing is made up for what is missing."""
    with pytest.raises(PKIError):
        read_request(text)


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_the_key_of_a_signing_request_is_read(kind: str) -> None:
    """Its owner has signed it."""
    key = find_key(f"own {kind}", kind)
    assert read_signing_request(make_csr(key, None)) == key.public_key()


def test_a_signing_request_of_a_key_that_is_not_used_here_is_refused() -> None:
    """Too short, or of a kind that phones do not take."""
    with pytest.raises(Refused, match="a key that is not used here"):
        read_signing_request(make_csr(find_key("short", "rsa1024"), None))
    key = ed25519.Ed25519PrivateKey.generate()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    with pytest.raises(Refused):
        read_signing_request(csr.public_bytes(Encoding.DER))


def test_a_signing_request_with_a_wrong_signature_is_refused() -> None:
    """Nobody gets a certificate for a key that they do not have."""
    csr = bytearray(make_csr(find_key("own p256", "p256"), None))
    csr[-5] ^= 1
    with pytest.raises(Refused):
        read_signing_request(bytes(csr))


def test_a_signing_request_with_sha_1_is_refused() -> None:
    """As everywhere."""
    key = find_key("own rsa2048", "rsa2048")
    with pytest.raises(Refused, match="another digest"):
        read_signing_request(sign_with_sha1(make_csr(key, None), key))


def test_a_signing_request_with_pss_is_read() -> None:
    """RFC 4055: another padding, and a good one."""
    key = find_key("own rsa2048", "rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(key, hashes.SHA256(), rsa_padding=pss)
    assert read_signing_request(csr.public_bytes(Encoding.DER)) == key.public_key()


@pytest.mark.parametrize("octets", [b"", b"x", b"\x30\x00", b"\x30\x80" * 100])
def test_what_is_no_signing_request_is_refused(octets: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(Refused, match="no request for a certificate"):
        read_signing_request(octets)
