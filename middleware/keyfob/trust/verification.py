"""Does a presented chain lead to a root of this host, now, for a TLS client?"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from keyfob.certificate import UNREADABLE, ClientCertificate, read_pem
from keyfob.errors import Expired, Malformed, NotYetValid, Untrusted, WrongPurpose
from keyfob.trust.roots import Roots

Criticality = verification.Criticality

# A real chain has two to four certificates; more than this is somebody playing with the verifier.
LONGEST_CHAIN = 10
SHORTEST_RSA, SHORTEST_EC = 2048, 256


class Verified(NamedTuple):
    """A chain that was found good, and the seconds since the epoch between which all of it is."""

    certificate: ClientCertificate
    not_before: float
    not_after: float


class Verifier:
    """Verifies chains against one host's roots."""

    def __init__(self, roots: Roots) -> None:
        self._store = verification.Store(list(roots.anchors)) if roots.anchors else None
        self._intermediates = list(roots.intermediates)

    def verify(self, chain: Sequence[str], at: float) -> Verified:
        """The leaf of `chain` (PEM, leaf first), good at `at` (seconds since the epoch).

        Raises CertificateError. What is not promised: revocation is not looked at here.
        """
        if not 1 <= len(chain) <= LONGEST_CHAIN:
            raise Malformed(f"{len(chain)} certificates in one chain; 1 to {LONGEST_CHAIN} are read")
        leaf, *sent = [read_pem(pem) for pem in chain]
        _require_moment(leaf, at)
        _require_client(leaf)
        _require_strength(leaf)
        path = self._find_path(leaf, sent, at)
        return Verified(
            ClientCertificate(leaf, path[1:]),
            max(each.not_valid_before_utc.timestamp() for each in path),
            min(each.not_valid_after_utc.timestamp() for each in path),
        )

    def _find_path(self, leaf: x509.Certificate, sent: list[x509.Certificate], at: float) -> list[x509.Certificate]:
        if self._store is None:
            raise Untrusted("no root is associated with this host")
        moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        verifier = (
            verification.PolicyBuilder()
            .store(self._store)
            .time(moment)
            .extension_policies(ca_policy=_AUTHORITY, ee_policy=_LEAF)
            .build_client_verifier()
        )
        try:
            return verifier.verify(leaf, sent + self._intermediates).chain
        except (verification.VerificationError, *UNREADABLE) as error:
            raise Untrusted(f"{leaf.subject.rfc4514_string()}: {error}") from error


def _require_moment(leaf: x509.Certificate, at: float) -> None:
    name = leaf.subject.rfc4514_string()
    if at < leaf.not_valid_before_utc.timestamp():
        raise NotYetValid(f"{name} begins at {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")
    if at > leaf.not_valid_after_utc.timestamp():
        raise Expired(f"{name} ended at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")


def _require_client(leaf: x509.Certificate) -> None:
    """RFC 5280 section 4.2.1: an absent extension restricts nothing, a present one means what it says."""
    name, extensions = leaf.subject.rfc4514_string(), leaf.extensions
    for extension in extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                raise WrongPurpose(f"{name} is a certificate authority's own certificate")
            case x509.KeyUsage(digital_signature=False, key_agreement=False):
                raise WrongPurpose(f"{name} has a key usage that does not allow signing a handshake")
            case x509.ExtendedKeyUsage() as usages if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
                raise WrongPurpose(f"{name} has an extended key usage without clientAuth")


def _require_strength(leaf: x509.Certificate) -> None:
    """NIST SP 800-131A: shorter keys no longer prove who signed. The verifier looks at authorities' keys alone."""
    key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < SHORTEST_EC:
        raise Untrusted(f"{leaf.subject.rfc4514_string()} has a key on {key.curve.name}; P-256 is the least")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SHORTEST_RSA:
        raise Untrusted(
            f"{leaf.subject.rfc4514_string()} has an RSA key of {key.key_size} bits; {SHORTEST_RSA} are the least"
        )


def _authority_is_one(_: verification.Policy, __: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("not a certificate authority")


def _authority_may_sign(_: verification.Policy, __: x509.Certificate, extension: x509.KeyUsage | None) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("key usage does not allow signing certificates")


def _authority_serves_clients(
    _: verification.Policy, __: x509.Certificate, extension: x509.ExtendedKeyUsage | None
) -> None:
    if extension is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extension:
        raise ValueError("extended key usage without clientAuth")


# The web's rules would refuse what private authorities really issue (no subject alternative name, a critical one, an
# empty dNSName, an authority without key identifiers). Everything that carries trust is still required: signatures,
# time, path length, name constraints, critical extensions that nobody understands, and the three rules above.
# A leaf's own extensions are judged by `_require_client`, which can tell a wrong purpose from a broken path.
_LEAF = verification.ExtensionPolicy.permit_all()
_AUTHORITY = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _authority_is_one)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _authority_may_sign)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _authority_serves_clients)
)
