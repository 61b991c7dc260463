"""Root certificates, read once at start-up and checked harder than anything that arrives later."""

from collections.abc import Iterable
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from keyfob.certificate import UNREADABLE, require_readable
from keyfob.errors import KeyfobError

# NIST SP 800-131A: shorter keys no longer prove who signed.
SHORTEST_RSA, SHORTEST_EC = 2048, 256


class UnusableRoots(KeyfobError):
    """A file of roots that cannot be trusted as it is. Start-up turns this into a ConfigError with its place."""


class Roots(NamedTuple):
    """What one host trusts: its roots, and the intermediates that were written down beside them."""

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]

    @property
    def pem(self) -> str:
        """Every certificate here, for a TLS layer that wants to know them."""
        return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in (*self.intermediates, *self.anchors))


def read_roots(pem: bytes) -> Roots:
    """The certificates of one PEM text: those that have signed themselves are roots, the others intermediates.

    Raises UnusableRoots if there is no root, or if any of them never could sign a client's certificate. What is not
    looked at is time: a root that has ended refuses its own devices, and those of the others stay.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            require_readable(certificate)
    except UNREADABLE as error:
        raise UnusableRoots(
            f"not a PEM file of certificates: {str(error).partition('. See ')[0]}",
            "give the CA's certificate, not its key",
        ) from error
    for certificate in certificates:
        _require_authority(certificate)
    anchors = tuple(each for each in certificates if _is_root(each))
    if not anchors:
        raise UnusableRoots("holds intermediates but no root", "append the self-signed root as the last certificate")
    return Roots(anchors, tuple(each for each in certificates if each not in anchors))


def _is_root(certificate: x509.Certificate) -> bool:
    """A self-issued one that another key has signed, as when an authority changes its key, is an intermediate."""
    if certificate.subject != certificate.issuer:
        return False
    if certificate.signature_algorithm_oid in _NOT_VERIFIED:
        return True
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


# Old roots have signed themselves like this, and nobody needs to verify that: they are trusted because they stand here.
_NOT_VERIFIED = {
    SignatureAlgorithmOID.RSA_WITH_MD5,
    SignatureAlgorithmOID.RSA_WITH_SHA1,
    SignatureAlgorithmOID.ECDSA_WITH_SHA1,
}


def join_roots(many: Iterable[Roots]) -> Roots:
    """All of them as one, each certificate once."""
    everyone = tuple(many)
    return Roots(
        tuple(dict.fromkeys(anchor for roots in everyone for anchor in roots.anchors)),
        tuple(dict.fromkeys(intermediate for roots in everyone for intermediate in roots.intermediates)),
    )


def _require_authority(certificate: x509.Certificate) -> None:
    name, is_authority = certificate.subject.rfc4514_string(), False
    for extension in certificate.extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                is_authority = True
            case x509.KeyUsage(key_cert_sign=False):
                raise UnusableRoots(f"{name} has a key usage that does not allow signing certificates", _ANOTHER)
            case x509.ExtendedKeyUsage() as usages if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
                raise UnusableRoots(f"{name} has an extended key usage without clientAuth", _ANOTHER)
    if not is_authority:
        raise UnusableRoots(f"{name} is not a certificate authority", _ANOTHER)


_ANOTHER = "give the CA that signs the devices' certificates"
