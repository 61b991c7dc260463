"""Invitations: what is made when somebody is invited, and what is undone when nobody comes."""

import time
from dataclasses import dataclass, field

from keyfob.enrolment.issuing import RETIRES_AFTER
from keyfob.enrolment.requests import EST, SCEP, SCEP_RENEWAL, write_request
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, Invitation, RevocationReason
from keyfob.inventory.records import make_entry
from keyfob.pki.authority import DeviceRequest, Issued
from keyfob.pki.keys import generate_key
from keyfob.pki.pkcs12 import export_identity, make_password
from keyfob.pki.registry import Registry
from keyfob.pki.requests import require_request

# The kind whose key is made here, and waits in an encrypted PKCS#12 file for its owner.
P12 = "p12"
SHORTEST, LONGEST = 1, 24 * 60


@dataclass(frozen=True)
class Wish:
    """What somebody is invited to: a certificate for `request`, on a key of `key_kind` or on one of the device's own.

    `renew` gives a device that has a certificate its successor.
    """

    request: DeviceRequest
    kind: str = P12
    key_kind: str = "p256"
    renew: bool = False


@dataclass(frozen=True)
class Invited:
    """What is said once, to whoever invites. `number` is the invitation's; `password` opens the p12."""

    number: int
    name: str
    kind: str
    expires_at: int
    token: str = field(repr=False)
    password: str | None = field(repr=False)


def invite(registry: Registry, wish: Wish, minutes: int) -> Invited:
    """Makes an invitation that lasts so many minutes. Raises NameTaken, NotInInventory and PKIError.

    A p12 is made at once: its certificate counts from now on, and is withdrawn if the invitation lapses. Any other
    kind makes nothing but the invitation.
    """
    if not SHORTEST <= minutes <= LONGEST:
        raise PKIError(f"{minutes} minutes are no time for an invitation", f"choose {SHORTEST} to {LONGEST}")
    require_request(wish.request)
    _require_free(registry, wish)
    if wish.kind == P12:
        return _invite_with_key(registry, wish, minutes)
    kind = SCEP_RENEWAL if wish.kind == SCEP and wish.renew else wish.kind
    if kind not in {SCEP, SCEP_RENEWAL, EST} or (kind == EST and wish.renew):
        raise PKIError(f"{wish.kind!r} is no kind of invitation to this", "EST renews by itself, with simplereenroll")
    now, request = time.time(), write_request(wish.request)
    token, number = registry.inventory.invitations.invite(wish.request.name, kind, now, minutes * 60, request=request)
    return Invited(number, wish.request.name, kind, int(now) + minutes * 60, token, None)


def _require_free(registry: Registry, wish: Wish) -> None:
    """Before a key is made in vain."""
    present = registry.inventory.find_present(wish.request.name)
    if present is not None and not wish.renew:
        hint = "give it another one with --renew, withdraw it with `keyfob revoke`, or take another name"
        raise PKIError(f"{wish.request.name!r} has a certificate already", hint)
    if present is None and wish.renew:
        raise PKIError(f"there is no device {wish.request.name!r} to renew", "leave --renew out")


def _invite_with_key(registry: Registry, wish: Wish, minutes: int) -> Invited:
    """Certificate and invitation are recorded together: a name is never taken by a key that nobody can fetch."""
    request, now = wish.request, time.time()
    key, password = generate_key(wish.key_kind), make_password()
    certificate = registry.sign_unrecorded(request, key.public_key())
    payload = export_identity(Issued(certificate, key), request.name, password)
    entry = make_entry(request.name, certificate, registry.authority.certificate, now)
    retires_at = int(now + RETIRES_AFTER) if wish.renew else None
    token, number = registry.inventory.invite(entry, P12, now, minutes * 60, payload, retires_at)
    return Invited(number, request.name, P12, int(now) + minutes * 60, token, password)


def erase_lapsed(inventory: Inventory, at: float) -> list[Invitation]:
    """Erases what nobody has fetched in time, withdraws its certificates, and returns those invitations.

    Raises PKIError.
    """
    return inventory.invitations.erase_lapsed(at, RevocationReason.CESSATION_OF_OPERATION)
