"""Does a presented chain lead to a root of this host, now, for a TLS client?"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfob.certificate import UNREADABLE, ClientCertificate, read_pem
from keyfob.errors import Expired, Malformed, NotYetValid, StatusUnknown, Untrusted, WrongPurpose
from keyfob.trust.revocation import Revocation
from keyfob.trust.roots import SHORTEST_EC, SHORTEST_RSA, Roots

__all__ = ["LONGEST_CHAIN", "SHORTEST_EC", "SHORTEST_RSA", "Verified", "Verifier"]

Criticality = verification.Criticality

# A real chain has two to four certificates; more than this is somebody playing with the verifier.
LONGEST_CHAIN = 10
# Real keys have 65537; NIST SP 800-56B ends at 2**256, and TLS stacks before that.
LARGEST_RSA, LARGEST_EXPONENT = 8192, 2**32


class Verified(NamedTuple):
    """A chain that was found good, and the seconds since the epoch between which all of it is.

    `not_after` is the end of the first certificate, or of what tells that none of them is withdrawn, if that is sooner.
    """

    certificate: ClientCertificate
    not_before: float
    not_after: float


class Verifier:
    """Verifies chains against one host's roots.

    `revocations` has, by the DER of a root, what the entries with that root say about withdrawal; every one of them
    counts for the paths that end in it.
    """

    def __init__(self, roots: Roots, revocations: Mapping[bytes, Sequence[Revocation]] = MappingProxyType({})) -> None:
        # Looked at once, here; what a device sends along is looked at with every chain.
        anchors = [each for each in roots.anchors if _is_fit(each)]
        self._store = verification.Store(anchors) if anchors else None
        self._intermediates = [each for each in roots.intermediates if _is_fit(each)]
        # What is in the configuration may cost what it likes, and is usually sent along.
        self._own = frozenset((*roots.anchors, *roots.intermediates))
        self._revocations = {
            anchor: tuple(revocations.get(anchor.public_bytes(Encoding.DER), ())) for anchor in roots.anchors
        }
        self._constrains_mail = any(_constrains_mail(each) for each in (*roots.anchors, *roots.intermediates))

    @property
    def asks_for_withdrawals(self) -> bool:
        """Whether anything is configured that could withdraw a certificate."""
        return any(self._revocations.values())

    def verify(self, chain: Sequence[str], at: float) -> Verified:
        """The leaf of `chain` (PEM, leaf first), good and not withdrawn at `at` (seconds since the epoch).

        Raises CertificateError. What is not promised: that a withdrawn certificate is noticed where no revocations
        were given.
        """
        if not 1 <= len(chain) <= LONGEST_CHAIN:
            raise Malformed(f"{len(chain)} certificates in one chain; 1 to {LONGEST_CHAIN} are read")
        leaf, *sent = [read_pem(pem) for pem in chain]
        sent = [each for each in sent if each not in self._own]
        for each in sent:
            _require_cheap(each)
        _require_moment(leaf, datetime.fromtimestamp(at, UTC))
        _require_client(leaf)
        _require_strength(leaf)
        path = self._find_path(leaf, sent, at)
        until = self._require_good(path, at)
        return Verified(
            ClientCertificate(leaf, path[1:]),
            max([each.not_valid_before_utc for each in path]).timestamp(),
            min(until, min([each.not_valid_after_utc for each in path]).timestamp()),
        )

    def _require_good(self, path: Sequence[x509.Certificate], at: float) -> float:
        """Until when no certificate of the path is withdrawn; that one is, is worth more than that nobody can tell."""
        until, unknown = float("inf"), None
        for anchor, others in self._revocations.items():
            for other in others if anchor != path[-1] else ():
                other.require_unnamed(path)
        for revocation in self._revocations[path[-1]]:
            try:
                until = min(until, revocation.require_good(path, at))
            except StatusUnknown as error:
                unknown = error
        if unknown is not None:
            raise unknown
        return until

    def _find_path(self, leaf: x509.Certificate, sent: list[x509.Certificate], at: float) -> list[x509.Certificate]:
        if self._store is None:
            raise Untrusted("no root is associated with this host")
        moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        verifier = (
            verification.PolicyBuilder()
            .store(self._store)
            .time(moment)
            .extension_policies(ca_policy=_STRANGER if sent else _AUTHORITY, ee_policy=_LEAF)
            .build_client_verifier()
        )
        try:
            path = verifier.verify(leaf, sent + self._intermediates).chain
        except (verification.VerificationError, *UNREADABLE) as error:
            said = f"no path from {leaf.subject.rfc4514_string()}, issued by {leaf.issuer.rfc4514_string()}, to a root"
            raise Untrusted(f"{said} of this host: {error}", _COMPLETE) from error
        if sent or self._constrains_mail:
            _require_mail_outside_subjects(path)
        return path


_COMPLETE = (
    "if that issuer is an intermediate, add its certificate to the root's file; `openssl verify -CAfile ca.pem "
    "device.pem` tells the same"
)


def _require_moment(leaf: x509.Certificate, moment: datetime) -> None:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if moment < begin:
        raise NotYetValid(f"{_name(leaf)} begins at {begin:%Y-%m-%d %H:%M:%S} UTC")
    if moment > end:
        raise Expired(f"{_name(leaf)} ended at {end:%Y-%m-%d %H:%M:%S} UTC")


def _name(leaf: x509.Certificate) -> str:
    return leaf.subject.rfc4514_string()


def _require_client(leaf: x509.Certificate) -> None:
    """RFC 5280 section 4.2.1: an absent extension restricts nothing, a present one means what it says."""
    for extension in leaf.extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                raise WrongPurpose(f"{_name(leaf)} is a certificate authority's own certificate")
            case x509.KeyUsage(digital_signature=False, key_agreement=False):
                raise WrongPurpose(f"{_name(leaf)} has a key usage that does not allow signing a handshake")
            case x509.ExtendedKeyUsage() as usages if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
                raise WrongPurpose(f"{_name(leaf)} has an extended key usage without clientAuth")


def _require_strength(leaf: x509.Certificate) -> None:
    """The verifier looks at authorities' keys alone."""
    key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < SHORTEST_EC:
        raise Untrusted(f"{leaf.subject.rfc4514_string()} has a key on {key.curve.name}; P-256 is the least")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SHORTEST_RSA:
        raise Untrusted(
            f"{leaf.subject.rfc4514_string()} has an RSA key of {key.key_size} bits; {SHORTEST_RSA} are the least"
        )


def _require_mail_outside_subjects(path: Sequence[x509.Certificate]) -> None:
    """RFC 5280 section 4.2.1.10: constraints on mail addresses are about the subject's as well, unlike the verifier."""
    if not any(_constrains_mail(each) for each in path[1:]):
        return
    for each in path[:-1]:
        if each.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            raise Untrusted(
                f"{each.subject.rfc4514_string()} has a mail address in its subject, below a constraint on them",
                "have it issued with the address in a subject alternative name",
            )


def _constrains_mail(authority: x509.Certificate) -> bool:
    for extension in authority.extensions:
        if isinstance(extension.value, x509.NameConstraints):
            names = (*(extension.value.permitted_subtrees or ()), *(extension.value.excluded_subtrees or ()))
            return any(isinstance(name, x509.RFC822Name) for name in names)
    return False


def _require_cheap(certificate: x509.Certificate) -> None:
    """A stranger's authorities are tried a hundred times over, so none may have a key that takes so much longer."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and (key.key_size > LARGEST_RSA or key.public_numbers().e > LARGEST_EXPONENT):
        raise Untrusted(f"{certificate.subject.rfc4514_string()} has an RSA key that is too costly to look at")


def _authority_is_one(
    _: verification.Policy | None, __: x509.Certificate, extension: x509.BasicConstraints | None
) -> None:
    if extension is None or not extension.ca:
        raise ValueError("not a certificate authority")


def _authority_may_sign(_: verification.Policy, __: x509.Certificate, extension: x509.KeyUsage | None) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("key usage does not allow signing certificates")


def _authority_serves_clients(
    _: verification.Policy, __: x509.Certificate, extension: x509.ExtendedKeyUsage | None
) -> None:
    if extension is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extension:
        raise ValueError("extended key usage without clientAuth")


def _authority_constrains_what_is_compared(
    _: verification.Policy, __: x509.Certificate, extension: x509.NameConstraints | None
) -> None:
    """The verifier passes over constraints on directory names that are not critical."""
    names = () if extension is None else (*(extension.permitted_subtrees or ()), *(extension.excluded_subtrees or ()))
    if any(isinstance(name, x509.DirectoryName) for name in names):
        raise ValueError("name constraints on directory names, which are not compared here")


def _is_fit(authority: x509.Certificate) -> bool:
    """Whether an authority of the configuration meets the same rules, so that no chain has to ask again."""
    found = {type(each.value): each.value for each in authority.extensions}
    try:
        for kind, require in _RULES.items():
            require(None, authority, found.get(kind))
    except ValueError:
        return False
    return True


_RULES: Mapping[type[x509.ExtensionType], Callable[..., None]] = {
    x509.BasicConstraints: _authority_is_one,
    x509.KeyUsage: _authority_may_sign,
    x509.ExtendedKeyUsage: _authority_serves_clients,
    x509.NameConstraints: _authority_constrains_what_is_compared,
}


# The web's rules would refuse what private authorities really issue (no subject alternative name, a critical one, an
# empty dNSName, an authority without key identifiers). Everything that carries trust is still required: signatures,
# time, path length, name constraints, critical extensions that nobody understands, and the four rules above.
# A leaf's own extensions are judged by `_require_client`, which can tell a wrong purpose from a broken path.
_LEAF = verification.ExtensionPolicy.permit_all()
# Those of the configuration have met the rules already; the verifier insists on this one all the same.
_AUTHORITY = verification.ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, None
)
_STRANGER = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _authority_is_one)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _authority_may_sign)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _authority_serves_clients)
    .may_be_present(x509.NameConstraints, Criticality.AGNOSTIC, _authority_constrains_what_is_compared)
)
