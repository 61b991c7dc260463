"""AuditRecord: what one decision leaves behind, and the line that it becomes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from keyfob.addresses import Address
from keyfob.certificate import ClientCertificate, format_serial, read_pem
from keyfob.errors import Malformed, Reason, Revoked, StatusUnknown
from keyfob.policy import Allow, Deny, Identity, Login
from keyfob.request import Request

# What arrives from outside is cut here, so that one request cannot fill a disk.
LONGEST = 512


class AuditRecord(NamedTuple):
    """One refusal, or one admission that opened a session: the fields of a line of the audit log, in its order.

    `time` is aware, UTC. `reason` is a Reason's text or "handshake-refused", and None for an admission. `address` is
    the client's own, `peer` the socket's other end. `user` is the address of who has logged in, or what the provider
    calls them, `service_token` the name of the token that was shown. What nobody knows is None; a handshake that was
    refused has no request, so most of it is. Texts are as they came, cut to LONGEST characters and an ellipsis: whoever
    shows them has to escape them.
    """

    time: datetime
    decision: Literal["refused", "admitted"]
    reason: str | None
    request_id: str | None = None
    application: str | None = None
    policy: str | None = None
    detail: str | None = None
    common_name: str | None = None
    serial_number: str | None = None
    fingerprint_sha256: str | None = None
    certificate_reason: str | None = None
    address: str | None = None
    peer: str | None = None
    host: str | None = None
    method: str | None = None
    path: str | None = None
    user: str | None = None
    provider: str | None = None
    service_token: str | None = None


def describe_refusal(decision: Deny | Login, request: Request, client: Address | None, request_id: str) -> AuditRecord:
    """The record of a refused request."""
    identity, detail = decision.identity, decision.detail or _DETAILS.get(decision.reason, "")
    if decision.reason in _BEFORE_CERTIFICATES:
        # Nobody has looked for a certificate, so nothing is to be said about one.
        identity = identity._replace(error=None)
    return AuditRecord(
        moment(request.at),
        "refused",
        decision.reason,
        request_id,
        decision.application,
        decision.policy,
        *_tell(identity, request, client, detail),
    )


def describe_admission(decision: Allow, request: Request, client: Address | None, request_id: str) -> AuditRecord:
    """The record of an admitted request. Where a policy asks for no certificate, it may say why there is none."""
    return AuditRecord(
        moment(request.at),
        "admitted",
        None,
        request_id,
        decision.application,
        decision.policy,
        *_tell(decision.identity, request, client, ""),
    )


def describe_handshake(error: str, address: Address | None, at: float) -> AuditRecord:
    """The record of a connection that the TLS layer ended because of its certificate; no request ever came of it."""
    told = None if address is None else str(address)
    return AuditRecord(moment(at), "refused", HANDSHAKE_REFUSED, detail=cut(error), address=told)


HANDSHAKE_REFUSED = "handshake-refused"

_BEFORE_CERTIFICATES = {Reason.HOST_MALFORMED, Reason.HOST_UNKNOWN}

_DETAILS: Mapping[Reason, str] = {
    Reason.HOST_MALFORMED: "the Host field is missing, there twice, or no host",
    Reason.HOST_UNKNOWN: "no application has this host; hint: name it in domain or self_hosted_domains, or have the "
    "proxy pass Host on as the client wrote it",
    Reason.PATH_UNKNOWN: "no application of this host has this path",
}


def _tell(identity: Identity, request: Request, client: Address | None, detail: str) -> tuple[str | None, ...]:
    """The fields from `detail` on, in their order."""
    error, certificate = identity.error, _find_certificate(identity)
    user, token = identity.user, identity.service_token
    # Who nobody has vouched for has no name here, but bytes that can be told again.
    is_known = certificate is not None and (error is None or isinstance(error, Revoked | StatusUnknown))
    return (
        cut(detail or (str(error).replace("\n", "; ") if error else None)),
        cut(certificate.common_name) if certificate and is_known else None,
        format_serial(certificate.serial_number) if certificate and is_known else None,
        certificate.fingerprint_sha256 if certificate else None,
        error.reason if error else None,
        None if client is None else str(client),
        cut(request.peer),
        cut(request.host),
        cut(request.method),
        cut(request.path),
        cut(user.email or user.identity) if user else None,
        user.provider if user else None,
        token.name if token else None,
    )


def _find_certificate(identity: Identity) -> ClientCertificate | None:
    """The certificate that was accepted or refused; None if none was shown, or it cannot be read."""
    if identity.certificate is not None or not identity.presented:
        return identity.certificate
    try:
        return ClientCertificate(read_pem(identity.presented[0]), ())
    except Malformed:
        return None


def format_record(record: AuditRecord) -> str:
    """The record as one line of JSON, without the line's end."""
    said: dict[str, Any] = dict(zip(AuditRecord._fields, record, strict=True))
    said["time"] = format_time(record.time)
    return format_line(said)


def format_line(said: Mapping[str, Any]) -> str:
    """One line of JSON, all of it printable ASCII, so that nothing sent can forge a line or move a cursor."""
    # ensure_ascii escapes all but the printable of ASCII: JSON itself would let DEL and direction marks pass.
    return json.dumps(said, ensure_ascii=True)


def format_omitted(reasons: Mapping[str, int], since: float, until: float) -> str:
    """The line that stands for records which were left out, with how many of them for which reason."""
    first, last = format_time(moment(since)), format_time(moment(until))
    count = sum(reasons.values())
    return format_line(
        {"time": last, "decision": "omitted", "count": count, "since": first, "until": last, "reasons": dict(reasons)}
    )


def moment(at: float) -> datetime:
    """Seconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(at, UTC)


def format_time(time: datetime) -> str:
    """RFC 3339, to the millisecond."""
    return time.isoformat(timespec="milliseconds")


def cut(text: str | None) -> str | None:
    """The text, or its beginning and an ellipsis."""
    return text if text is None or len(text) <= LONGEST else text[:LONGEST] + "…"
