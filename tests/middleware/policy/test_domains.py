"""policy.domains: hosts and paths with Access's wildcards; its documented tables line by line."""

import tracemalloc

import pytest

from keyfob.policy.domains import REMEMBERED, Domains, SameDomain, covers, parse_domain, parse_host_pattern
from keyfob.policy.paths import WrongPattern
from keyfob.request import parse_host


def make_domains(*written: str) -> Domains[str]:
    """Each domain's value is its own text."""
    return Domains([(parse_domain(text), text) for text in written])


def find(domains: Domains[str], url: str) -> str | None:
    """What covers `host/path`."""
    host, slash, path = url.partition("/")
    paths = domains.at_host(parse_host(host.encode()) or "")
    return None if paths is None else paths.find(slash + path)


# What Access documents, application by application.
COVERED = [
    ("*.example.com", "alpha.example.com/"),
    ("*.example.com", "beta.example.com/"),
    ("example.com", "example.com/"),
    ("example.com", "example.com/alpha"),
    ("example.com", "example.com/beta"),
    ("example.com/*", "example.com/"),
    ("example.com/*", "example.com/alpha"),
    ("example.com/*", "example.com/beta"),
    ("*.test.example.com", "alpha.test.example.com/"),
    ("*.test.example.com", "beta.test.example.com/"),
    ("*test.example.com", "test.example.com/"),
    ("*test.example.com", "alphatest.example.com/"),
    ("*.*.example.com", "foo.bar.example.com/"),
    ("example.com/alpha/*", "example.com/alpha/one"),
    ("example.com/alpha/*", "example.com/alpha/two"),
    ("example.com/foo*/bar", "example.com/foo/bar"),
    ("example.com/foo*/bar", "example.com/food/bar"),
    ("example.com/foo*/bar", "example.com/food/stuff/bar"),
    ("example.com/eng", "example.com/eng"),
    ("example.com/eng", "example.com/eng/exec"),
    # What follows from them.
    ("example.com/alpha/*", "example.com/alpha/"),
    ("example.com/alpha/", "example.com/alpha/"),
    ("example.com/alpha/", "example.com/alpha/one/two"),
    ("example.com/eng", "example.com/eng/"),
    ("example.com/foo*/bar", "example.com/food/bar/"),
    ("example.com/foo*/bar", "example.com/food/bar/below"),
    ("example.com/foo*/bar", "example.com/food/barn/bar"),
    ("example.com/foo*", "example.com/foo"),
    ("example.com/foo*", "example.com/food/stuff"),
    ("example.com/*/settings", "example.com/rhea/settings"),
    ("example.com/a*/b*/c", "example.com/a1/x/b2/y/c"),
    ("*.*.example.com/admin", "a.b.example.com/admin/users"),
    ("EXAMPLE.com.", "example.com/"),
    ("2001:DB8::1", "[2001:db8:0::1]:8443/"),
    ("[2001:db8::1]/x", "[2001:db8::1]/x"),
    ("192.0.2.7/admin", "192.0.2.7:80/admin"),
]

NOT_COVERED = [
    ("*.example.com", "example.com/"),
    ("*.example.com", "foo.bar.example.com/"),
    ("example.com", "alpha.example.com/"),
    ("example.com/*", "alpha.example.com/"),
    ("*.test.example.com", "test.example.com/"),
    ("*.test.example.com", "example.com/"),
    ("*test.example.com", "beta.test.example.com/"),
    ("*test.example.com", "testing.example.com/"),
    ("*.*.example.com", "foo.example.com/"),
    ("*.*.example.com", "a.foo.bar.example.com/"),
    ("example.com/alpha/*", "example.com/alpha"),
    ("example.com/alpha/*", "example.com/"),
    # What follows from them.
    ("example.com/alpha/", "example.com/alpha"),
    ("example.com/eng", "example.com/engine"),
    ("example.com/eng", "example.com/"),
    ("example.com/foo*/bar", "example.com/foo"),
    ("example.com/foo*/bar", "example.com/food/barn"),
    ("example.com/foo*/bar", "example.com/x/foo/bar"),
    ("example.com/foo*/oo", "example.com/foo"),
    ("example.com/*/settings", "example.com/settings"),
    ("example.com/a*/b*/c", "example.com/a/c/b"),
    ("*.example.com", "example.com.evil.net/"),
    ("*.example.com", "notexample.com/"),
    ("a*b.example.com", "ab.example.org/"),
    ("aa*aa.example.com", "aaa.example.com/"),
    ("192.0.2.7", "192.0.2.70/"),
]


@pytest.mark.parametrize(("domain", "url"), COVERED)
def test_a_domain_covers_what_access_says_it_covers(domain: str, url: str) -> None:
    """Alone in the list, the domain is found at that URL."""
    assert find(make_domains(domain), url) == domain


@pytest.mark.parametrize(("domain", "url"), NOT_COVERED)
def test_a_domain_does_not_cover_what_access_says_it_does_not(domain: str, url: str) -> None:
    """Alone in the list, the domain leaves nothing at that URL."""
    assert find(make_domains(domain), url) is None


MOST_SPECIFIC = [
    # As documented: the more specific path takes it all, and what it does not name stays with the other.
    ("dashboard.com/eng/exec", "dashboard.com/eng/exec", "dashboard.com/eng"),
    ("dashboard.com/eng", "dashboard.com/eng/else", "dashboard.com/eng/exec"),
    ("example.com", "example.com/alpha", "example.com/alpha/*"),
    # An exact host before any wildcard, however long that one's path is.
    ("a.example.com", "a.example.com/admin/users", "*.example.com/admin/users"),
    ("atest.example.com", "atest.example.com/", "*test.example.com"),
    # More literal characters, then fewer wildcards.
    ("*test.example.com", "atest.example.com/", "*.example.com"),
    ("*.b.example.com", "a.b.example.com/", "*.*.example.com"),
    ("a*b.example.com", "ab.example.com/", "*b.example.com"),
    ("ab*.cd.example.com", "ab.cd.example.com/", "ab*.cd*.example.com"),
    # Where the best host has nothing for the path, the next one is asked.
    ("*.example.com", "a.example.com/else", "a.example.com/admin"),
    ("*.example.com", "atest.example.com/else", "*test.example.com/admin"),
    # Paths: more literal characters, then more of them before the first wildcard.
    ("example.com/food/stuff", "example.com/food/stuff/bar", "example.com/foo*/bar"),
    ("example.com/foo*/bar", "example.com/food/bar", "example.com/food"),
    ("example.com/alpha/*", "example.com/alpha/one", "example.com/alpha"),
    ("example.com/ab*/c", "example.com/ab/c", "example.com/a*b/c"),
    ("example.com/*/admin", "example.com/x/admin", "example.com/x"),
]


@pytest.mark.parametrize(("winner", "url", "loser"), MOST_SPECIFIC)
def test_the_most_specific_domain_wins_in_any_order(winner: str, url: str, loser: str) -> None:
    """The order of the list does not matter where one is more specific."""
    assert find(make_domains(winner, loser), url) == winner
    assert find(make_domains(loser, winner), url) == winner


@pytest.mark.parametrize(
    ("one", "other", "url"),
    [
        ("a*.example.com", "*b.example.com", "ab.example.com/"),
        ("example.com/*/a", "example.com/*/b", "example.com/x/b/a"),
    ],
)
def test_the_written_order_settles_a_tie(one: str, other: str, url: str) -> None:
    """Nothing else tells these two apart."""
    assert find(make_domains(one, other), url) == one
    assert find(make_domains(other, one), url) == other


def test_nothing_is_inherited_from_a_less_specific_domain() -> None:
    """One value is found, never two."""
    domains = make_domains("example.com", "*.example.com", "example.com/eng", "example.com/eng/exec")
    assert find(domains, "example.com/eng/exec/pay") == "example.com/eng/exec"


def test_a_host_that_no_domain_names_has_no_paths() -> None:
    """The gate refuses it as unknown."""
    assert make_domains("example.com", "*.example.com").at_host("example.org") is None
    assert make_domains("*.example.com").at_host("::1") is None


SAME = [
    ("example.com", "example.com/*"),
    ("example.com", "example.com/"),
    ("example.com/alpha/", "example.com/alpha/*"),
    ("example.com/admin", "EXAMPLE.COM./admin"),
    ("::1/x", "[0::1]/x"),
    ("*.Example.com/x", "*.example.com/x"),
]
ALIKE = [
    ("example.com/admin", "example.com/Admin"),
    ("example.com/a/*", "example.com/A/"),
    ("example.com/straße", "example.com/STRASSE"),
    ("example.com/ﬁle", "example.com/file"),
    ("example.com/items/7", "example.com/items/07"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_two_domains_that_cover_the_same_are_refused(first: str, second: str) -> None:
    """Nobody could say which of them counts. The error names both."""
    with pytest.raises(SameDomain) as caught:
        make_domains("example.net", first, second)
    assert (caught.value.first, caught.value.second) == (1, 2)
    assert f"{first!r} and {second!r} cover the same" in caught.value.message


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_two_domains_that_differ_in_letter_case_are_refused(first: str, second: str) -> None:
    """What not every reader can tell apart must not have two sets of rules."""
    with pytest.raises(SameDomain) as caught:
        make_domains(first, "example.net", second)
    assert (caught.value.first, caught.value.second) == (0, 2)
    assert "differ in nothing but" in caught.value.message
    assert caught.value.hint


def test_the_same_path_on_two_hosts_is_fine() -> None:
    """Hosts are told apart before paths are."""
    domains = make_domains("example.com/admin", "example.net/admin", "*.example.com/admin")
    assert find(domains, "example.net/admin") == "example.net/admin"


# What is wrong, and a word that the message or its hint has to contain.
WRONG = [
    ("", "no host"),
    ("/admin", "no host"),
    ("https://example.com/x", 'write "example.com/x"'),
    ("example.com:8443", 'write "example.com"'),
    ("[::1]:8443/x", 'write "[::1]"'),
    ("example.com:", "not a host"),
    ("exa mple.com", "not a host"),
    (" example.com", "not a host"),
    ("user@example.com", "not a host"),
    ("[example.com]", "not a host"),
    ("example..com", "not a host"),
    (".example.com", "not a host"),
    ("::1::2", "not a host"),
    ("*.example.com:80", "not a host"),
    ("*..com", "not a host"),
    ("*." + "a" * 252, "not a host"),
    ("a" * 300, "not a host"),
    ("bücher.example", "punycode"),
    ("*", "where its hosts belong"),
    ("example.*", "where its hosts belong"),
    ("10.0.*.1", "where its hosts belong"),
    ("*.1", "where its hosts belong"),
    ("a*b*.example.com", "more than one *"),
    ("**.example.com", "more than one *"),
    ("example.com/a*b*c", "more than one *"),
    ("example.com/**", "more than one *"),
    ("example.com/x?y=1", "query"),
    ("example.com?y=1", "query"),
    ("example.com/x#y", "fragment"),
    ("example.com/caf%C3%A9", "percent-encoding"),
    ("example.com//x", "two slashes"),
    ("example.com/x//", "two slashes"),
    ("example.com/./x", "dots"),
    ("example.com/x/..", "dots"),
    ("example.com/x;y", "semicolon"),
    ("example.com/x\\y", "backslash"),
    ("example.com/x\ty", "control character"),
    ("example.com/x\N{REPLACEMENT CHARACTER}", "control character"),
    ("example.com/x\N{FULLWIDTH SOLIDUS}y", "becomes a slash"),
    ("example.com/\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/x", "dots"),
    ("example.com/cafe\N{COMBINING ACUTE ACCENT}", "NFC"),
    ("example.com/x.", "dot or a space"),
    ("example.com/x /y", "dot or a space"),
    ("example.com/" + "x" * 1024, "longer than 1024"),
]


@pytest.mark.parametrize(("text", "word"), WRONG)
def test_a_domain_that_cannot_be_obeyed_is_refused_with_a_hint(text: str, word: str) -> None:
    """Nothing is guessed: what is wrong is named, and what to write instead."""
    with pytest.raises(WrongPattern) as caught:
        parse_domain(text)
    assert word in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("example.com", "example.com", "/*"),
        ("Example.COM./Admin", "example.com", "/Admin"),
        ("*.Example.com./x/", "*.example.com", "/x/*"),
        ("2001:DB8:0::1/x", "2001:db8::1", "/x"),
        ("xn--bcher-kva.example/café/100%", "xn--bcher-kva.example", "/café/100%"),
        ("my_host-1/a*/b*", "my_host-1", "/a*/b*"),
    ],
)
def test_a_domain_has_one_form(text: str, host: str, path: str) -> None:
    """Hosts as requests have them, paths with their letter case; what was written is kept for messages."""
    domain = parse_domain(text)
    assert (domain.host, domain.path, str(domain)) == (host, path, text)


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("money.example.com", "money.example.com", True),
        ("money.example.com", "x.example.com", False),
        ("*.example.com", "money.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "a.example.com.evil.net", False),
        ("2001:db8::1", "2001:db8::1", True),
    ],
)
def test_roots_take_the_same_host_patterns(pattern: str, host: str, *, expected: bool) -> None:
    """A root's hosts and an application's mean the same."""
    assert covers(parse_host_pattern(pattern), host) is expected


def test_every_host_pattern_is_listed_once() -> None:
    """In the order of the list, with and without wildcards."""
    domains = make_domains("b.example.com/x", "*.example.com", "b.example.com", "a.example.com")
    assert domains.hosts() == ("b.example.com", "*.example.com", "a.example.com")


def test_one_domain_for_a_whole_host_is_known_without_the_path() -> None:
    """Then no path has to be read, and none can be ambiguous."""
    domains = make_domains("example.com", "*.example.com", "*.example.com/admin", "example.com.au/x")
    exact, below = domains.at_host("example.com"), domains.at_host("a.example.com")
    assert exact is not None and below is not None
    assert exact.whole == exact.find("//any/../thing") == "example.com"
    assert below.whole is None


def test_a_host_that_is_split_has_no_domain_for_the_whole() -> None:
    """Not even when another pattern covers the rest."""
    paths = make_domains("*.example.com", "a.example.com/x").at_host("a.example.com")
    assert paths is not None and paths.whole is None
    assert (paths.find("/x"), paths.find("/y")) == ("a.example.com/x", "*.example.com")


def test_hosts_below_the_same_wildcards_share_their_paths() -> None:
    """A client can make up any number of hosts, and what is built for one is not built again."""
    domains = make_domains("*.example.com/x", "*test.example.com/x", "*.example.com")
    assert domains.at_host("a.example.com") is domains.at_host("b.example.com") is not None
    assert domains.at_host("atest.example.com") is domains.at_host("btest.example.com") is not None
    assert domains.at_host("a.example.com") is not domains.at_host("atest.example.com")
    # What is less specific than a whole host makes no difference.
    domains = make_domains("*test.example.com", "a*.example.com/x")
    assert domains.at_host("atest.example.com") is domains.at_host("btest.example.com") is not None


def test_hosts_are_remembered_up_to_a_limit() -> None:
    """Those below a wildcard, and those that nobody knows."""
    domains = make_domains("*.example.com")
    tracemalloc.start()
    try:
        for number in range(20 * REMEMBERED):
            domains.at_host(f"n{number}.example.com")
            domains.at_host(f"n{number}.example.org")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_what_comes_after_a_whole_host_is_not_asked() -> None:
    """The pattern that covers every path of a host stands for all that is less specific."""
    paths = make_domains("a.example.com", "a.example.com/x", "*.example.com/y").at_host("a.example.com")
    assert paths is not None
    assert paths.find("/y") == "a.example.com"


def test_a_thousand_host_patterns_are_told_apart() -> None:
    """With wildcards and without, among each other."""
    names = [f"{star}{number}.example.com" for number in range(500) for star in ("", "*.h")]
    domains = make_domains(*names)
    assert all(find(domains, name.replace("*", "a") + "/") == name for name in names)
