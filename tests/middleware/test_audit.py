"""audit: one record for each refusal, and nothing in it that was not meant."""

import json
import logging

import pytest

from certificates import make_authority, make_leaf, make_name
from exchanges import make_request, make_scope
from keyfob.audit import record_handshake, record_refusal
from keyfob.certificate import ClientCertificate
from keyfob.errors import Missing, Reason, Untrusted
from keyfob.policy import Deny, Identity
from keyfob.request import Request

CERTIFICATE = ClientCertificate(make_leaf(make_authority()).certificate, [])


def record(decision: Deny, request: Request, caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    with caplog.at_level(logging.WARNING, logger="keyfob.audit"):
        request_id = record_refusal(decision, request)
    [line] = [each.getMessage() for each in caplog.records]
    said: dict[str, object] = json.loads(line)
    assert said["request_id"] == request_id
    return said


def test_a_refusal_tells_everything_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """Who, where, when, what was asked, and why not."""
    decision = Deny(Reason.NO_MATCHING_POLICY, "Budget", "", Identity(CERTIFICATE, None, (CERTIFICATE.pem,)))
    said = record(decision, make_request(make_scope(path="/admin"), 1_800_000_000.25), caplog)
    said.pop("request_id")
    assert said == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "decision": "refused",
        "reason": "no-matching-policy",
        "application": "Budget",
        "policy": "",
        "detail": None,
        "common_name": "Rhea Group",
        "serial_number": f"{CERTIFICATE.serial_number:x}",
        "fingerprint_sha256": CERTIFICATE.fingerprint_sha256,
        "certificate_reason": None,
        "address": "127.0.0.1",
        "host": "money.example.com",
        "method": "GET",
        "path": "/admin",
    }


def test_the_certificates_own_trouble_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The detail is for the log alone."""
    identity = Identity(None, Untrusted("CN=x: no path", "ask"), ("pem",))
    said = record(Deny(Reason.CERTIFICATE_UNTRUSTED, "Budget", "", identity), make_request(make_scope(), 0), caplog)
    assert (said["certificate_reason"], said["detail"]) == ("certificate-untrusted", "CN=x: no path; hint: ask")


def test_nothing_sent_can_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Line ends, terminal escapes and direction marks stay inside their string, and long texts are cut."""
    hostile = 'x"\n\r\x1b[2J\u202e\u2028 {"decision": "allowed"}'
    named = ClientCertificate(make_leaf(make_authority(), make_name("evil\n\x1b[31m\u202e")).certificate, [])
    scope = make_scope(path=hostile + "y" * 5000, method="GET\n" + "x" * 5000)
    decision = Deny(Reason.NO_MATCHING_POLICY, "Budget", "", Identity(named, None, ()))
    said = record(decision, make_request(scope, 0), caplog)
    [line] = [each.getMessage() for each in caplog.records]
    assert line.isascii()
    assert line.isprintable()
    assert str(said["path"]).startswith(hostile)
    assert len(str(said["path"])) == 513
    assert len(str(said["method"])) == 513
    assert said["common_name"] == "evil\n\x1b[31m\u202e"


def test_each_refusal_has_its_own_id(caplog: pytest.LogCaptureFixture) -> None:
    """So that the number on somebody's screen finds one line."""
    decision = Deny(Reason.HOST_UNKNOWN, "", "", Identity(None, Missing("-"), ()))
    assert len({record_refusal(decision, make_request(make_scope(), 0)) for _ in range(100)}) == 100


def test_a_handshake_that_openssl_ended_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """No request ever came of it, but somebody will ask."""
    record_handshake("certificate has expired")
    said = json.loads(caplog.records[0].getMessage())
    assert (said["reason"], said["detail"]) == ("handshake-refused", "certificate has expired")
