"""Root certificates, read once at start-up and checked harder than anything that arrives later."""

from collections.abc import Iterable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.certificate import UNREADABLE
from keyfob.errors import KeyfobError


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
    """The certificates of one PEM text: self-issued ones are roots, the others intermediates.

    Raises UnusableRoots if there is no root, or if any of them could not sign a client's certificate.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            _require_authority(certificate)
    except UNREADABLE as error:
        raise UnusableRoots(
            f"not a PEM file of certificates: {error}", "give the CA's certificate, not its key"
        ) from error
    anchors = tuple(each for each in certificates if each.subject == each.issuer)
    if not anchors:
        raise UnusableRoots("holds intermediates but no root", "append the self-signed root as the last certificate")
    return Roots(anchors, tuple(each for each in certificates if each.subject != each.issuer))


def join_roots(many: Iterable[Roots]) -> Roots:
    """All of them as one, each certificate once."""
    everyone = tuple(many)
    return Roots(
        tuple(dict.fromkeys(anchor for roots in everyone for anchor in roots.anchors)),
        tuple(dict.fromkeys(intermediate for roots in everyone for intermediate in roots.intermediates)),
    )


def _require_authority(certificate: x509.Certificate) -> None:
    name = certificate.subject.rfc4514_string()
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise UnusableRoots(
            f"{name} is not a certificate authority", "give the CA that signs the devices' certificates"
        )
