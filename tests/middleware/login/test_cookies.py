"""login.cookies: how ours are called, found, and made."""

from http.cookies import SimpleCookie

import pytest

from keyfob.login.cookies import BROWSER, find_cookie, name_session, set_cookie
from keyfob.request import hide_cookies
from logins import tag

NAME = name_session(tag("Budget"))


def find(*fields: str, name: str = NAME) -> str | None:
    headers = [(b"host", b"x"), *((b"cookie", field.encode("latin-1")) for field in fields)]
    return find_cookie(headers, name)


@pytest.mark.parametrize(
    "fields",
    [
        [f"{NAME}=a.b.c"],
        [f"x=1; {NAME}=a.b.c; y=2"],
        [f"x=1;{NAME}=a.b.c;y=2"],
        [f"x=1;  {NAME} = a.b.c  ;y=2"],
        ["x=1", f"{NAME}=a.b.c", "y=2"],
        [f"{NAME}=a.b.c", f"{NAME}=a.b.c"],
        [f"; ;{NAME}=a.b.c;"],
        [f"x={NAME}; {NAME}=a.b.c"],
        [f"x; {NAME}=a.b.c"],
    ],
)
def test_a_cookie_is_found_wherever_it_stands(fields: list[str]) -> None:
    """In one field among others, or in several, as HTTP/2 sends them; the same one twice is one."""
    assert find(*fields) == "a.b.c"


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [""],
        [NAME],
        [f"{NAME}=one; {NAME}=two"],
        [f"{NAME}=one", f"{NAME}=two"],
        [f"{NAME}=; {NAME}=two"],
        [f"x{NAME}=a"],
        [f"{NAME}x=a"],
        [f"{NAME.lower()}=a"],
        [f"x={NAME}=a"],
        [f'x="; y="{NAME}=a'],
        [f"x=1,{NAME}=a"],
        [f"__Host-keyfob-{tag('Other')}=a"],
        [f"{NAME.removeprefix('__Host-')}=a"],
        [f"__Secure-{NAME}=a"],
        [f"$Version=1, {NAME}=a"],
    ],
)
def test_what_is_not_exactly_one_is_none(fields: list[str]) -> None:
    """Of two that differ nobody knows whose each is, and no part of another cookie's value is ours."""
    assert find(*fields) is None


def test_a_value_may_hold_an_equals_sign() -> None:
    """The first one ends the name."""
    assert find(f"{NAME}=a=b=") == "a=b="


def test_what_is_set_comes_back_to_this_very_host_alone() -> None:
    """__Host- makes a browser insist on Secure, on all paths and on no domain; no script can read it."""
    name, field = set_cookie(NAME, "a.b-c_d", 3600)
    assert name == b"set-cookie"
    [(key, morsel)] = SimpleCookie(field.decode("ascii")).items()
    assert (key, morsel.value) == (NAME, "a.b-c_d")
    assert {each: value for each, value in morsel.items() if value} == {
        "path": "/",
        "max-age": "3600",
        "httponly": True,
        "secure": True,
        "samesite": "Lax",
    }
    assert b"domain" not in field.lower()


def test_a_cookie_is_taken_away_by_a_lifetime_of_nothing() -> None:
    """Under the same name and for the same path, or it would stay."""
    assert set_cookie(NAME, "", 0)[1].startswith(f"{NAME}=; Path=/; Max-Age=0;".encode())


def test_every_cookie_of_ours_is_hidden_from_the_app() -> None:
    """By its name alone, so that one that is made later is, too."""
    for name in (NAME, BROWSER, name_session("")):
        assert hide_cookies(f"{name}=secret".encode()) == b""
