"""One record for each decision worth keeping: today, every refusal."""

import json
import logging
import secrets
from datetime import UTC, datetime

from keyfob.errors import Reason
from keyfob.policy import Deny
from keyfob.request import Request

LOGGER = logging.getLogger("keyfob.audit")

# What arrives from outside is cut here, so that one request cannot fill a disk.
LONGEST = 512


def record_refusal(decision: Deny, request: Request) -> str:
    """Logs the refusal as one line of JSON at WARNING and returns its request id, which the client is shown too.

    JSON escapes every control character, and `ensure_ascii` the invisible rest, so nothing sent can forge a line.
    """
    request_id = secrets.token_hex(8)
    certificate, error = decision.identity.certificate, decision.identity.error
    if decision.reason in {Reason.HOST_MALFORMED, Reason.HOST_UNKNOWN}:
        error = None  # Nobody has looked for a certificate.
    LOGGER.warning(
        "%s",
        json.dumps(
            {
                "time": datetime.fromtimestamp(request.at, UTC).isoformat(timespec="milliseconds"),
                "decision": "refused",
                "reason": decision.reason,
                "request_id": request_id,
                "application": decision.application,
                "policy": decision.policy,
                "detail": _cut(str(error).replace("\n", "; ")) if error else None,
                "common_name": _cut(certificate.common_name) if certificate else None,
                "serial_number": f"{certificate.serial_number:x}" if certificate else None,
                "fingerprint_sha256": certificate.fingerprint_sha256 if certificate else None,
                "certificate_reason": error.reason if error else None,
                "address": request.peer,
                "host": _cut(request.host),
                "method": _cut(request.method),
                "path": _cut(request.path),
            },
            ensure_ascii=True,
        ),
    )
    return request_id


def record_handshake(error: str) -> None:
    """Logs a connection that the TLS layer ended because of its certificate; no request ever came of it."""
    said = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "decision": "refused",
        "reason": "handshake-refused",
        "detail": _cut(error),
    }
    LOGGER.warning("%s", json.dumps(said, ensure_ascii=True))


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST else text[:LONGEST] + "…"
