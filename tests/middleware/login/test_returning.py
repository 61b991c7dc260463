"""login.returning: where a login leads in the end, and nowhere else."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyfob.login.returning import LONGEST, check_back, read_query
from keyfob.policy.paths import find_doubt

ORIGIN = "https://money.example.com"

# What has led from one site's login to another site, somewhere, some day.
ELSEWHERE = [
    "https://evil.example/",
    "http://evil.example/",
    "HTTPS://evil.example/",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "//evil.example",
    "//evil.example/%2f..",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/\0/evil.example",
    "\x01https://evil.example",
    "/x\r\nSet-Cookie: a=b",
    "/x\r\nLocation: https://evil.example",
    "/%0d%0aSet-Cookie:%20a=b",
    "/x%0aLocation:%20https://evil.example",
    "/%09/evil.example",
    "/%00/evil.example",
    "/%2fevil.example",
    "/%2Fevil.example",
    "/%5cevil.example",
    "/%5C%5Cevil.example",
    "/%252fevil.example",
    "/%25%32%66evil.example",
    "/%255cevil.example",
    "%2f%2fevil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/./evil.example",
    "/../evil.example",
    "/x/..//evil.example",
    "/x/%2e%2e//evil.example",
    "/x/%2e%2e/%2fevil.example",
    "/%2e/evil.example",
    "/;/evil.example",
    "/x;@evil.example",
    "/\uff0fevil.example",
    "/%ef%bc%8fevil.example",
    "/%EF%BC%8F%EF%BC%8Fevil.example",
    "/%ef%bc%bcevil.example",
    "/\u2215evil.example",
    "/%c0%af%c0%afevil.example",
    "/%ff",
    "/%e2%80%a8",
    "https://money.example.com@evil.example/",
    "https://money.example.com.evil.example/",
    "//money.example.com@evil.example",
    "@evil.example",
    ":@evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "evil.example/x",
    "?x=1",
    "#x",
    "/x#@evil.example",
    "/<script>",
    '/"onload="x',
    "",
    "*",
]


@pytest.mark.parametrize("text", ELSEWHERE)
@pytest.mark.parametrize("base", ["", "/budget"])
def test_what_could_lead_elsewhere_leads_to_the_first_page(text: str, base: str) -> None:
    """With a prefix before it and without, and however it is spelt."""
    assert check_back(text, base) == f"{base}/"
    if text.startswith("/"):
        assert check_back(base + text, base) == f"{base}/"


@pytest.mark.parametrize("text", ["/", "/budgets", "/budgets/", "/Budget/x", "/budget", "/budget?x", "/x/budget/"])
def test_what_is_not_below_the_prefix_is_not_the_apps(text: str) -> None:
    """Another app may be there."""
    assert check_back(text, "/budget") == "/budget/"


@pytest.mark.parametrize(
    "text",
    [
        "/",
        "/books",
        "/books/",
        "/books/2026/07",
        "/books?year=2026&month=07",
        "/books?",
        "/?x",
        "/?to=https://evil.example/&x=//y",
        "/?next=/a/../b",
        "/?a[]=1&b={2}|3^4`",
        "/search?q=a%20b%2Fc%26d+e",
        "/caf%C3%A9/%E5%90%8D?q=%C3%A9",
        "/a/b.c/-_~!$&'()*+,=:@x",
        "/a[1]/b|c",
        "/100%25",
        "/.well-known/thing",
        "/.keyfobs",
        "/..a/b..c",
        "/a:b@c",
        "/x?a=;b",
        "/x?%0d%0a",
    ],
)
def test_an_ordinary_page_is_come_back_to(text: str) -> None:
    """With its query, as it was asked for."""
    assert check_back(text) == text
    assert check_back(f"/caf%C3%A9{text}", "/caf%C3%A9") == f"/caf%C3%A9{text}"


@pytest.mark.parametrize(
    "text",
    ["/.keyfob/login", "/.keyfob/logout?x", "/.keyfob/", "/%2ekeyfob/logout", "/.keyf%6fb/callback/google?state=x"],
)
def test_a_login_does_not_lead_into_a_login(text: str) -> None:
    """Or round in a circle, or straight out again."""
    assert check_back(text) == "/"
    assert check_back(f"/app{text}", "/app") == "/app/"


def test_what_is_too_long_for_an_address_is_left_out() -> None:
    """It would have to travel to a provider and back."""
    assert check_back("/" + "x" * (LONGEST - 1)) != "/"
    assert check_back("/" + "x" * LONGEST) == "/"


@given(
    st.text(st.sampled_from("/\\.:@%?#;=&25cCfFeE0dDaA9\t\r\n xé\uff0f-_~![]|"), max_size=30) | st.text(max_size=30),
    st.sampled_from(["", "/a", "/caf%C3%A9"]),
)
@example("/.//x", "")
def test_whatever_was_asked_for_a_browser_stays_at_this_host_and_this_app(text: str, base: str) -> None:
    """As RFC 3986 resolves it, whether a redirect names the origin or not."""
    for asked in (text, f"/{text}", f"{base}/{text}"):
        back = check_back(asked, base)
        assert back.startswith(f"{base}/")
        assert find_doubt(back.partition("?")[0].replace("%", "")) is None
        back.encode("ascii")
        for address in (f"{ORIGIN}{back}", urljoin(f"{ORIGIN}/x/y", back)):
            parts = urlsplit(address)
            assert (parts.scheme, parts.netloc) == ("https", "money.example.com")
            assert parts.path.startswith(f"{base}/")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"state=a&code=b", {"state": "a", "code": "b"}),
        (b"state=a%20b+c", {"state": "a b c"}),
        (b"state=", {"state": ""}),
        (b"state", {"state": ""}),
        (b"state=a&state=b", {}),
        (b"state=a&code=b&state=a", {"code": "b"}),
        (b"state=a;code=b", {"state": "a;code=b"}),
        (b"to=%ff", {"to": "\ufffd"}),
        (b"state=\xc3\xa9", {}),
        (b"&".join(b"a%d=1" % number for number in range(51)), {}),
        (b"a=1&" * 100_000, {}),
    ],
)
def test_what_comes_twice_means_nothing(query: bytes, expected: dict[str, str]) -> None:
    """Nobody knows which one is meant; nor does what is no query, or one of far too much."""
    assert read_query(query) == expected
