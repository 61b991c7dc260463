"""Signs what an invitation has promised, or what a certificate proves, on a key that was born on the device."""

from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.enrolment.requests import SCEP_RENEWAL, Refused, read_request
from keyfob.inventory import Invitation, NameTaken
from keyfob.inventory.records import State, Stored, digest, make_entry
from keyfob.pki.keys import PublicKey
from keyfob.pki.registry import DAY, Registry
from keyfob.pki.requests import repeat_request

# How long a device that was renewed can use what it had: if the successor was lost, it can ask again.
RETIRES_AFTER = 7 * DAY
# How long a device that did not hear the answer gets the same one again.
REPEATS = 600


def issue_invited(registry: Registry, invitation: Invitation, key: PublicKey, at: float) -> x509.Certificate:
    """The certificate that an invitation promises. It has been used up before. Raises PKIError."""
    request = read_request(invitation.request)
    if request.name != invitation.name:
        raise Refused(f"the invitation of {invitation.name!r} promises a certificate to somebody else")
    retires_at = at + RETIRES_AFTER if invitation.kind == SCEP_RENEWAL else None
    return registry.sign_invited(request, key, invitation.id, retires_at)


def find_repeated(registry: Registry, invitation: Invitation, key: PublicKey, at: float) -> x509.Certificate | None:
    """What was signed for this invitation and key a few minutes ago, if it still counts."""
    found = registry.inventory.find_present(invitation.name)
    if found is None or at >= found.record.issued_at + REPEATS or found.parsed.public_key() != key:
        return None
    # An invitation is settled last; whoever was interrupted there has recorded the certificate all the same.
    return found.parsed if invitation.certificate in {None, found.record.id} else None


def issue_successor(
    registry: Registry, presented: x509.Certificate, key: PublicKey, at: float
) -> tuple[str, x509.Certificate]:
    """The device's name, and its next certificate, with the words of the one presented. Raises PKIError.

    A device that presents one that was renewed already gets that successor again, if it has its key.
    """
    record = _find(registry, presented).record
    state = record.find_state(at)
    if state not in {State.ACTIVE, State.RETIRING}:
        raise Refused(f"the certificate of {record.name!r} is {state}")
    if state is State.ACTIVE:
        certificate = registry.sign_unrecorded(repeat_request(record.name, presented), key)
        entry = make_entry(record.name, certificate, registry.authority.certificate, at)
        # Two renewals of one certificate would each take themselves for the first.
        with suppress(NameTaken):
            registry.inventory.renew(entry, int(at + RETIRES_AFTER), replaces=record.id)
            return record.name, certificate
    present = registry.inventory.find_present(record.name)
    if present is None or present.record.id == record.id or present.parsed.public_key() != key:
        raise Refused(f"the certificate of {record.name!r} was renewed before, with another key")
    return record.name, present.parsed


def _find(registry: Registry, presented: x509.Certificate) -> Stored:
    der = presented.public_bytes(Encoding.DER)
    # With colons it is longer than any name: no device can be called like another one's fingerprint.
    for stored in registry.inventory.find(digest(der).hex(":")):
        if stored.certificate == der:
            return stored
    raise Refused("the certificate is not one of this inventory's")


def find_chain(registry: Registry) -> list[x509.Certificate]:
    """The authority that signs, and those above it; the root is the last."""
    authority, root = registry.authority.certificate, registry.root
    return [authority] if authority == root else [authority, root]
