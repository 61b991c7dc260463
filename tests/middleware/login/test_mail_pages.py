"""The pages of a login by mail: what stands in them is text, whoever wrote it."""

import re

import pytest

from keyfob.answer import Answer
from keyfob.login.mail_pages import compose_address_form, compose_code_form

EVIL = '"><script>alert(1)</script>&amp;'


def ask_address(problem: str = "", status: int = 422) -> Answer:
    return compose_address_form("Budget", "/.keyfob/code/mail", "s", problem=problem, status=status)


def ask_code(problem: str = "", minutes: int = 10) -> Answer:
    return compose_code_form(
        "Budget", "/x", "s", email="me@example.com", minutes=minutes, another="/y", problem=problem
    )


PAGES = {
    "address": lambda: compose_address_form(EVIL, EVIL, EVIL, typed=EVIL, problem=EVIL),
    "code": lambda: compose_code_form(EVIL, EVIL, EVIL, email=EVIL, minutes=1, another=EVIL, problem=EVIL),
}


@pytest.mark.parametrize("page", PAGES)
def test_what_others_wrote_is_text(page: str) -> None:
    text = PAGES[page]().body.decode()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5


@pytest.mark.parametrize("ask", [ask_address, ask_code])
def test_a_problem_is_told_to_those_who_cannot_see_it(ask: object) -> None:
    """And belongs to the input that it is about."""
    assert callable(ask)
    text = ask(problem="That is not it.").body.decode()
    assert '<p id="problem" role="alert">That is not it.</p>' in text
    assert re.search(r'<input id="[a-z]+"[^>]* aria-invalid="true" aria-describedby="problem"', text)
    assert "problem" not in ask().body.decode()


@pytest.mark.parametrize("ask", [ask_address, ask_code])
def test_every_input_has_a_label(ask: object) -> None:
    assert callable(ask)
    text = ask().body.decode()
    [shown] = re.findall(r'<input id="([a-z]+)"', text)
    assert f'<label for="{shown}">' in text


def test_a_page_with_a_problem_is_not_a_success() -> None:
    assert [ask_address().status, ask_address("no").status, ask_address("no", 429).status] == [200, 422, 429]
    assert [ask_code().status, ask_code("no").status] == [200, 422]


def test_pages_load_and_send_nothing_elsewhere() -> None:
    for page in (ask_address(), ask_code()):
        policy = dict(page.headers)[b"content-security-policy"]
        assert b"default-src 'none'" in policy
        assert b"form-action 'self'" in policy
        assert dict(page.headers)[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(("minutes", "words"), [(10, "10 minutes"), (1, "1 minute.")])
def test_the_page_says_how_long_a_code_is_good(minutes: int, words: str) -> None:
    assert words in ask_code(minutes=minutes).body.decode()
