"""refusal: what the one who was refused gets to see."""

import html
import json
import re
from html.parser import HTMLParser

import pytest

from keyfob.errors import Missing, Reason, Untrusted
from keyfob.policy import Deny, Identity, Login, ServiceToken
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
    assert refusal.status in {400, 401, 431, 503}
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


@pytest.mark.parametrize("accept", [PAGE, PROGRAM])
def test_a_service_that_may_not_is_told_so_and_no_more(accept: bytes) -> None:
    """It is no browser that hides a page: 403 means that it is known, and 401 that it is not."""
    identity = Identity(None, Missing("-"), (), service_token=ServiceToken("id-1", "Import"))
    refusal = compose_refusal(Deny(Reason.NO_MATCHING_POLICY, "", "", identity), "x", accept)
    assert refusal.status == 403
    assert b"certificate" not in refusal.body
    assert b"Ask the person who runs this app." in refusal.body
    assert compose_refusal(deny(Reason.TOKEN_INVALID), "x", accept).status == 401


@pytest.mark.parametrize("reason", [Reason.LOGIN_REQUIRED, Reason.SESSION_OF_ANOTHER_DEVICE, Reason.LOGIN_LAPSED])
def test_where_somebody_could_log_in_is_told(reason: Reason) -> None:
    """To a program in a field, to a person as a link, escaped in either."""
    login = "https://money.example.com/.keyfob/login?to=%2F&again=1"
    decision = Login(reason, "Secret application", Identity(None, Missing("-"), ()), "", "secret detail")
    assert json.loads(compose_refusal(decision, "x", PROGRAM, login).body)["login"] == login
    page = compose_refusal(decision, "x", PAGE, login).body.decode()
    assert f'href="{html.escape(login)}"' in page
    assert "&again" not in page
    assert "ecret" not in page
    assert "login" not in json.loads(compose_refusal(decision, "x", PROGRAM).body)
