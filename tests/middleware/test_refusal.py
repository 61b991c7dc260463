"""refusal: what the one who was refused gets to see."""

import html
import json
import re
from html.parser import HTMLParser

import pytest

from keyfob.errors import Missing, Reason, Untrusted
from keyfob.policy import Deny, Identity
from keyfob.refusal import WORDS, compose_refusal, find_accept

PAGE, PROGRAM = b"text/html,application/xhtml+xml,*/*;q=0.8", b"*/*"


def deny(reason: Reason) -> Deny:
    return Deny(reason, "Secret application", "Secret policy", Identity(None, Untrusted("secret detail"), ()))


@pytest.mark.parametrize("reason", list(Reason))
def test_programs_get_problem_details(reason: Reason) -> None:
    """RFC 9457: type, title, status, detail, and the request id."""
    refusal = compose_refusal(deny(reason), "abc123", PROGRAM)
    headers = dict(refusal.headers)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"cache-control"] == b"no-store"
    assert int(headers[b"content-length"]) == len(refusal.body)
    problem = json.loads(refusal.body)
    assert problem["type"] == f"urn:keyfob:{reason}"
    assert problem["status"] == refusal.status
    assert problem["request_id"] == "abc123"
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize("reason", list(Reason))
def test_people_get_a_page_without_anything_from_outside(reason: Reason) -> None:
    """One file, no script, no request to anywhere; and never 403, which Safari would hide."""
    refusal = compose_refusal(deny(reason), "abc123", PAGE)
    page = refusal.body.decode()
    HTMLParser().feed(page)
    assert refusal.status in {400, 401}
    assert WORDS[reason].title in html.unescape(page)
    assert "abc123" in page
    assert not re.search(r"<script|src=|href=|url\(|@import", page)
    headers = dict(refusal.headers)
    assert headers[b"content-type"] == b"text/html; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("accept", [PAGE, PROGRAM])
@pytest.mark.parametrize("reason", list(Reason))
def test_the_client_learns_little(reason: Reason, accept: bytes) -> None:
    """No name of an application or policy, no detail of a certificate."""
    assert b"ecret" not in compose_refusal(deny(reason), "abc123", accept).body


def test_a_program_is_told_missing_from_forbidden() -> None:
    """401 when nothing was presented, 403 when what was presented is not enough, each with what the RFC wants."""
    missing = compose_refusal(Deny(Reason.CERTIFICATE_MISSING, "", "", Identity(None, Missing("-"), ())), "x", PROGRAM)
    assert missing.status == 401
    assert b"www-authenticate" in dict(missing.headers)
    forbidden = compose_refusal(deny(Reason.CERTIFICATE_UNTRUSTED), "x", PROGRAM)
    assert forbidden.status == 403
    assert b"www-authenticate" not in dict(forbidden.headers)


def test_a_request_id_is_escaped() -> None:
    """It is ours, but a page escapes whatever it shows."""
    assert b"<b>" not in compose_refusal(deny(Reason.HOST_UNKNOWN), "<b>", PAGE).body


def test_accept_is_read_whole_and_in_any_case() -> None:
    """Several fields are one list."""
    assert find_accept([(b"accept", b"*/*"), (b"x", b"y"), (b"accept", b"Text/HTML")]) == b"*/*,text/html"
    assert find_accept([]) == b""
