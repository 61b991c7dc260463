"""EST (RFC 7030): a certificate by HTTP alone, for desktops and scripts."""

import base64
import binascii
import logging
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from keyfob.certificate import format_serial
from keyfob.enrolment.issuing import issue_invited, issue_successor
from keyfob.enrolment.requests import EST, Refused, read_signing_request
from keyfob.errors import PKIError
from keyfob.inventory import Invitation
from keyfob.inventory.invitations import Lapsed, Unknown, UsedBefore
from keyfob.pki.keys import PublicKey
from keyfob.pki.registry import Registry

_log = logging.getLogger(__name__)

# No name, a colon and a token are so long; a header that is longer is no password of ours.
_LONGEST_PASSWORD = 512


class NotInvited(PKIError):
    """The password is not the token of an invitation that is open."""


def read_password(header: str | None) -> str:
    """The password of HTTP Basic (RFC 7617) in an Authorization field; the user may be anybody. Raises NotInvited."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _LONGEST_PASSWORD:
        raise NotInvited("there is no password")
    try:
        _, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError as error:
        raise NotInvited("the password cannot be read") from error
    if not colon or not password:
        raise NotInvited("there is no password")
    return password


def read_body(body: bytes) -> PublicKey:
    """The key of a request (PKCS #10) in base64, with or without line breaks. Raises Refused."""
    try:
        der = binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error as error:
        raise Refused("the request is not written in base64") from error
    return read_signing_request(der)


def compose_certificates(certificates: Sequence[x509.Certificate]) -> bytes:
    """Certificates alone, in PKCS #7 and base64 (section 4.1.3), in one line: some clients read no second one."""
    return base64.b64encode(pkcs7.serialize_certificates(list(certificates), Encoding.DER))


def find_invited(registry: Registry, password: str, at: float, address: str) -> Invitation:
    """The open invitation whose token the password is. Raises NotInvited."""
    found = registry.inventory.invitations.find(password)
    # The token of another kind is not touched: whatever waits for its owner would be gone.
    if found is None or found.kind != EST:
        raise NotInvited("there is no such invitation")
    if not found.is_open(at):
        # It counts who has tried.
        _use(registry, password, at, address, "")
    return found


def enrol(registry: Registry, password: str, key: PublicKey, at: float, address: str, agent: str) -> x509.Certificate:
    """The certificate that was promised to whoever knows the password, which is then used up. Raises PKIError."""
    found = find_invited(registry, password, at, address)
    # A name that is taken costs nobody the invitation.
    registry.require_new(found.name)
    _use(registry, password, at, address, agent)
    certificate = issue_invited(registry, found, key, at)
    serial = format_serial(certificate.serial_number)
    _log.info("EST: signed %s for %r, whose key is at %s", serial, found.name, address)
    return certificate


def _use(registry: Registry, password: str, at: float, address: str, agent: str) -> None:
    """Of any number of callers at once, one goes on."""
    try:
        registry.inventory.invitations.use(password, at, address, agent)
    except (Lapsed, Unknown, UsedBefore) as error:
        raise NotInvited(error.message) from error


def enrol_again(
    registry: Registry, presented: x509.Certificate, key: PublicKey, at: float, address: str
) -> x509.Certificate:
    """The successor of the certificate that was presented. Raises PKIError."""
    name, certificate = issue_successor(registry, presented, key, at)
    serial = format_serial(certificate.serial_number)
    _log.info("EST: signed %s for %r, who is at %s and renews", serial, name, address)
    return certificate
