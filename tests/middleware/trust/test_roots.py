"""trust.roots: what may be believed, read once."""

import pytest

from certificates import make_authority, make_leaf
from keyfob.trust.roots import UnusableRoots, join_roots, read_roots

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
    ],
    ids=["empty", "garbage", "key", "intermediate-only", "leaf", "self-signed-leaf", "root-and-leaf"],
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
