"""What an invitation promises: the words that a certificate will say, kept as JSON until somebody brings the key."""

import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError
from keyfob.pki.authority import DeviceRequest, require_days
from keyfob.pki.keys import PublicKey, require_public_key
from keyfob.pki.requests import require_request

# The kinds of invitations whose key is born on the device.
SCEP, EST = "scep", "est"
# As `scep`, for a device that has a certificate already: it gets a successor.
SCEP_RENEWAL = "scep-renewal"

_TEXTS = ("organization", "unit")
_LISTS = ("emails", "dns", "uris")


class Refused(PKIError):
    """Somebody has asked wrongly. Says why, and never what they have sent."""


def require_proof(request: x509.CertificateSigningRequest) -> PublicKey:
    """The key of a request that its owner has signed; what else the request says counts for nothing.

    Raises Refused, and one of UNREADABLE for what cannot be parsed.
    """
    if not isinstance(request.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise Refused("the request is signed with another digest than SHA-256, SHA-384 or SHA-512")
    if not request.is_signature_valid:
        raise Refused("the request is not signed with its own key")
    try:
        return require_public_key(request.public_key(), "the request")
    except PKIError as error:
        raise Refused(error.message, error.hint) from error


def read_signing_request(der: bytes) -> PublicKey:
    """The key of a request (PKCS #10) in DER, as `require_proof`. Raises Refused, whatever the octets are."""
    try:
        return require_proof(x509.load_der_x509_csr(der))
    except UNREADABLE as error:
        raise Refused("this is no request for a certificate (PKCS #10)") from error


def write_request(request: DeviceRequest) -> str:
    """The request as JSON, for the inventory."""
    return json.dumps(request._asdict(), ensure_ascii=False, separators=(",", ":"))


def read_request(text: str | None) -> DeviceRequest:
    """What `write_request` has written, and nothing else. Raises PKIError."""
    try:
        fields = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise _unreadable("no JSON") from error
    if not isinstance(fields, dict) or set(fields) != set(DeviceRequest._fields):
        raise _unreadable("other fields than those of a device")
    name, days = fields["name"], fields["days"]
    if not isinstance(name, str) or type(days) is not int:
        raise _unreadable("a name that is no text, or days that are no number")
    if not all(fields[each] is None or isinstance(fields[each], str) for each in _TEXTS):
        raise _unreadable("an organization or unit that is no text")
    lists = {each: _read_list(fields[each]) for each in _LISTS}
    request = DeviceRequest(name, require_days(days), fields["organization"], fields["unit"], **lists)
    return require_request(request)


def _read_list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _unreadable("alternative names that are no texts")
    return tuple(value)


def _unreadable(what: str) -> PKIError:
    return PKIError(f"the invitation cannot be read: {what}", "make a new one")
