"""trust.roots: what may be believed, read once."""

import pytest
from cryptography import x509

from certificates import SERVER, make_authority, make_certificate, make_leaf, make_name
from keyfob.trust.roots import UnusableRoots, join_roots, read_roots

NO_SIGNING = x509.KeyUsage(True, False, False, False, False, False, True, False, False)
UNREADABLE = x509.UnrecognizedExtension(x509.TLSFeature.oid, b"\x30\x03\x02\x01\x63")

ROOT = make_authority("Root")
INTERMEDIATE = make_authority("Intermediate", ROOT)


def test_self_issued_certificates_are_roots_and_the_others_intermediates() -> None:
    """In whatever order they stand in the file."""
    for text in (INTERMEDIATE.pem + ROOT.pem, ROOT.pem + INTERMEDIATE.pem):
        roots = read_roots(text.encode())
        assert roots.anchors == (ROOT.certificate,)
        assert roots.intermediates == (INTERMEDIATE.certificate,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a PEM file"),
        (b"\x00\xff garbage", "not a PEM file"),
        (ROOT.key_pem.encode(), "not a PEM file"),
        (INTERMEDIATE.pem.encode(), "no root"),
        (make_leaf(ROOT).pem.encode(), "not a certificate authority"),
        (make_leaf(None).pem.encode(), "not a certificate authority"),
        ((ROOT.pem + make_leaf(ROOT).pem).encode(), "not a certificate authority"),
        (make_certificate(make_name("plain"), None, []).pem.encode(), "not a certificate authority"),
        (make_authority(extensions=[(NO_SIGNING, True)]).pem.encode(), "does not allow signing"),
        (make_authority(extensions=[(x509.ExtendedKeyUsage([SERVER]), False)]).pem.encode(), "without clientAuth"),
        (make_authority(extensions=[(UNREADABLE, False)]).pem.encode(), "not a PEM file"),
    ],
    ids=[
        "empty",
        "garbage",
        "key",
        "intermediate-only",
        "leaf",
        "self-signed-leaf",
        "root-and-leaf",
        "no basic constraints",
        "may not sign",
        "for servers alone",
        "unreadable extension",
    ],
)
def test_what_could_not_sign_a_device_is_no_root(text: bytes, message: str) -> None:
    """A self-signed leaf among the roots would be trusted outright, so it is refused at start-up."""
    with pytest.raises(UnusableRoots, match=message) as raised:
        read_roots(text)
    assert raised.value.hint


def test_joined_roots_hold_each_certificate_once() -> None:
    """One root may belong to many hosts."""
    roots = read_roots((INTERMEDIATE.pem + ROOT.pem).encode())
    joined = join_roots([roots, roots])
    assert joined == roots
    assert joined.pem.count("BEGIN CERTIFICATE") == 2
