"""Invitations for tests, as the enrolment pages and `keyfob enrol` make them."""

import time

from keyfob.enrolment.requests import EST, SCEP, write_request
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.registry import Registry


def invite_to_scep(
    registry: Registry, name: str, *, kind: str = SCEP, lasts: int = 900, at: float | None = None
) -> str:
    """The challenge that a phone finds in its profile; it begins now, or `at`."""
    begun = time.time() if at is None else at
    request = write_request(DeviceRequest(name, organization="Money App"))
    invitations = registry.inventory.invitations
    token, _ = invitations.invite(name, kind, begun, 900, request=request)
    _, _, challenge = invitations.use(token, begun, "192.0.2.7", "iPhone", challenge_lasts=lasts)
    assert challenge is not None
    return challenge


def invite_to_est(registry: Registry, name: str, *, kind: str = EST, at: float | None = None) -> str:
    """The token, which is the password; its 15 minutes begin now, or `at`."""
    request = write_request(DeviceRequest(name, organization="Money App", emails=("script@example.com",)))
    token, _ = registry.inventory.invitations.invite(name, kind, at or time.time(), 900, request=request)
    return token
