"""login.pages and the pages of refusals: what others have written is text there, and everybody can read them."""

import re

import pytest

from keyfob.answer import Answer
from keyfob.errors import Missing, Reason
from keyfob.login.pages import Choice, compose_choice, compose_leaving, compose_left
from keyfob.policy import Deny, Identity, Login, User
from keyfob.refusal import compose_refusal

EVIL = '"><script>alert(1)</script>&amp;'
ADDRESS = "https://money.example.com/.keyfob/login?to=%2F"
EVIL_USER = User(EVIL, "work", subject="1", name=EVIL)


def refuse(reason: Reason, user: User | None = None, login: str = ADDRESS) -> Answer:
    identity = Identity(None, Missing("none"), (), user)
    decision = Login(reason, EVIL, identity) if reason is Reason.LOGIN_REQUIRED else Deny(reason, EVIL, EVIL, identity)
    return compose_refusal(decision, EVIL, b"text/html", login)


PAGES = {
    "the choice": compose_choice(EVIL, [Choice(EVIL, "oidc", EVIL), Choice("Google", "google", ADDRESS)]),
    "leaving": compose_leaving(EVIL, EVIL, EVIL),
    "left": compose_left(EVIL),
    "not let in": refuse(Reason.NO_MATCHING_POLICY, EVIL_USER, EVIL),
    "log in first": refuse(Reason.LOGIN_REQUIRED, login=EVIL),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_what_others_have_written_is_text(page: Answer) -> None:
    """A provider's name, an application's, a person's: none of them becomes a tag or leaves an attribute."""
    assert b"<script" not in page.body
    assert b"alert(1)" in page.body or b"Google" in page.body


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_everybody_can_read_it(page: Answer) -> None:
    """It has a language, a title, a heading and one main part, fits a phone, and runs and loads nothing."""
    text = page.body.decode("utf-8")
    for part in ('<html lang="en">', "<title>", "<main>", "<h1>", 'name="viewport"', 'name="color-scheme"'):
        assert text.count(part) == 1, part
    assert re.findall(r"""(?:src|href)=["'](?!https://money|&quot;)""", text) == []
    headers = dict(page.headers)
    assert headers[b"cache-control"] == b"no-store"
    assert b"default-src 'none'" in headers[b"content-security-policy"]


def test_somebody_who_is_not_let_in_reads_as_whom() -> None:
    """It may be another account than was meant; nobody else is ever shown an address."""
    me = User("me@example.com", "work", subject="1")
    page = refuse(Reason.NO_MATCHING_POLICY, me).body
    assert b"me@example.com" in page
    assert b"Use another account" in page
    assert b"me@example.com" not in refuse(Reason.NO_MATCHING_POLICY).body
    program = compose_refusal(Deny(Reason.NO_MATCHING_POLICY, "", "", Identity(None, None, (), me)), "x", b"")
    assert b"me@example.com" not in program.body


def test_a_form_that_was_not_taken_stays_where_it_is() -> None:
    """The login opens beside it, and a reload sends it again."""
    page = refuse(Reason.LOGIN_REQUIRED).body
    assert b'target="_blank" rel="noopener"' in page
    assert b"reload this page" in page
    assert b"target=" not in refuse(Reason.LOGIN_FAILED).body
