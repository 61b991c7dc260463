"""GitHub: over a socket, against a server that speaks what GitHub's documentation describes."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from keyfob.errors import KeyfobError, LoginError, LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched
from keyfob.login.providers.github import MOST_QUESTIONS, GitHub
from keyfob.policy import Fact, FactKind
from providers.github import CLIENT_ID, CLIENT_SECRET, GitHubServer, Person, email, github
from providers.serving import Reply, say
from providers.trips import follow, leave, log_in, make_journey, run

ME = Person(583231, "octocat", "Mona", [email("me@example.com")])


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with github() as running:
        running.people["me"], running.here = replace(ME), "me"
        yield running


def make_provider(server: GitHubServer, **more: str) -> GitHub:
    return GitHub(
        **{"id": "gh", "name": "GitHub", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "url": server.url}
        | more
    )


def in_organization(name: str) -> Fact:
    return Fact(FactKind.ORGANIZATION, "gh", name)


def in_team(organization: str, team: str) -> Fact:
    return Fact(FactKind.TEAM, "gh", organization, team)


def make_anywhere(url: str = "") -> GitHub:
    return GitHub(id="gh", name="GitHub", client_id=CLIENT_ID, client_secret=CLIENT_SECRET, url=url)


# --- There ------------------------------------------------------------------------------------------------------------


def begin(provider: GitHub, *named: Fact, afresh: bool = False) -> tuple[str, dict[str, str]]:
    address = leave(provider, make_journey(provider), frozenset(named), afresh=afresh)
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query))


@pytest.mark.parametrize(
    ("url", "pages", "api"),
    [
        ("", "https://github.com", "https://api.github.com"),
        ("https://github.com/", "https://github.com", "https://api.github.com"),
        ("https://octocorp.ghe.com", "https://octocorp.ghe.com", "https://api.octocorp.ghe.com"),
        ("https://git.example.com:8443/", "https://git.example.com:8443", "https://git.example.com:8443/api/v3"),
        ("http://localhost:8080", "http://localhost:8080", "http://localhost:8080/api/v3"),
    ],
)
def test_each_kind_of_github_has_its_own_addresses(url: str, pages: str, api: str) -> None:
    """github.com, Enterprise Cloud with data residency, and Enterprise Server."""
    provider = make_anywhere(url)
    assert begin(provider)[0] == f"{pages}/login/oauth/authorize"
    journey = make_journey(provider)
    steps = provider.finish(journey, {"code": "c"}, frozenset(), 0.0)
    first = next(steps)
    second = steps.send(Fetched(200, {}, b'{"access_token": "t", "token_type": "bearer"}'))
    assert isinstance(first, Fetch)
    assert isinstance(second, Fetch)
    assert (first.url, second.url) == (f"{pages}/login/oauth/access_token", f"{api}/user")


@pytest.mark.parametrize(
    "url",
    [
        "http://github.example.com",
        "github.example.com",
        "https://",
        "ftp://localhost",
        "https://me:pw@git.example.com",
        "https://git.example.com?x",
        "http://[::1",
        "https://git.example.com:0",
    ],
)
def test_a_secret_goes_nowhere_in_the_clear(url: str) -> None:
    """The client's secret is sent to this address."""
    with pytest.raises(KeyfobError, match="no address for secrets"):
        make_anywhere(url)


def test_people_are_asked_for_what_rules_name_and_for_no_more() -> None:
    """`read:org` is asked for where a rule names an organization or a team."""
    provider = make_anywhere()
    assert begin(provider)[1]["scope"] == "read:user user:email"
    assert begin(provider, Fact(FactKind.EVALUATED, "", "https://a", "https://b"))[1]["scope"] == "read:user user:email"
    for fact in (in_organization("acme"), in_team("acme", "finance")):
        assert begin(provider, fact)[1]["scope"] == "read:user user:email read:org"


def test_whoever_wants_another_account_is_asked_which() -> None:
    provider = make_anywhere()
    assert "prompt" not in begin(provider)[1]
    assert begin(provider, afresh=True)[1]["prompt"] == "select_account"


def test_the_secret_is_in_no_text_of_the_provider() -> None:
    assert CLIENT_SECRET not in repr(make_anywhere())


# --- And back ---------------------------------------------------------------------------------------------------------


def test_somebody_logs_in(server: GitHubServer) -> None:
    """The number of the account is who it is, and the login name is not."""
    user = log_in(make_provider(server))
    assert (user.identity, user.email, user.name) == ("gh:583231", "me@example.com", "Mona")
    assert user.organizations == {}
    assert server.scopes == ["read:user", "user:email"]


def test_who_takes_a_login_name_that_was_given_up_is_somebody_else(server: GitHubServer) -> None:
    before = log_in(make_provider(server))
    server.people["me"] = replace(ME, number=999)
    assert log_in(make_provider(server)).identity != before.identity


def test_an_account_without_a_name_is_called_by_its_login_name(server: GitHubServer) -> None:
    server.people["me"].name = None
    assert log_in(make_provider(server)).name == "octocat"


@pytest.mark.parametrize(
    ("emails", "found"),
    [
        ([email("me@example.com", verified=False)], ""),
        ([email("me@example.com", primary=False)], ""),
        ([], ""),
        ([email("other@example.com", primary=False), email("me@example.com")], "me@example.com"),
        ([{"email": "me@example.com", "primary": "true", "verified": True}], ""),
        ([{"email": "me@example.com", "primary": True, "verified": 1}], ""),
        ([{"email": None, "primary": True, "verified": True}], ""),
        (["me@example.com"], ""),
    ],
)
def test_only_the_primary_address_counts_and_only_a_confirmed_one(
    server: GitHubServer, emails: list[dict[str, object]], found: str
) -> None:
    """Whoever types somebody else's address at GitHub has not got it by that."""
    server.people["me"].emails = emails
    user = log_in(make_provider(server))
    assert (user.email, user.subject) == (found, "583231")


def test_an_address_is_found_on_a_later_page(server: GitHubServer) -> None:
    server.page = 2
    server.people["me"].emails = [
        *(email(f"{n}@example.com", primary=False) for n in range(4)),
        email("me@example.com"),
    ]
    assert log_in(make_provider(server)).email == "me@example.com"
    assert server.service.paths.count("GET /api/v3/user/emails") == 3


def test_pages_have_an_end(server: GitHubServer) -> None:
    server.page = 1
    server.people["me"].emails = [
        *(email(f"{n}@example.com", primary=False) for n in range(9)),
        email("me@example.com"),
    ]
    assert log_in(make_provider(server)).email == ""
    assert server.service.paths.count("GET /api/v3/user/emails") == 3


@pytest.mark.parametrize(
    "elsewhere", ["http://localhost:1/api/v3/user/emails?page=2", "{url}.evil.example/api/v3/x", "{url}/other"]
)
def test_the_token_goes_to_no_other_server(server: GitHubServer, elsewhere: str) -> None:
    """A next page anywhere else would get the token."""
    link = f'<{elsewhere.format(url=server.url)}>; rel="next"'
    server.replies["/api/v3/user/emails"] = say([], headers={"link": link})
    assert log_in(make_provider(server)).email == ""
    assert server.service.paths.count("GET /api/v3/user/emails") == 1
    assert "/other" not in [each.path for each in server.asked]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://api.github.com.evil.example/user/emails?page=2",
        "https://api.github.com@evil.example/user/emails?page=2",
        "https://evil.example/user/emails?page=2",
        "//evil.example/user/emails?page=2",
        "/user/emails?page=2",
    ],
)
def test_a_next_page_that_only_looks_like_ours_is_none(elsewhere: str) -> None:
    provider = make_anywhere()
    steps = provider.finish(make_journey(provider), {"code": "c"}, frozenset(), 0.0)
    next(steps)
    steps.send(Fetched(200, {}, b'{"access_token": "t", "token_type": "bearer"}'))
    steps.send(Fetched(200, {}, b'{"id": 7, "login": "octocat"}'))
    with pytest.raises(StopIteration) as end:
        steps.send(Fetched(200, {"link": f'<{elsewhere}>; rel="next"'}, b"[]"))
    assert end.value.value.email == ""


NEXT = "https://api.github.com/user/emails?page=2"
LINKS = {
    f'<{NEXT}>; rel="next"': True,
    f"<{NEXT}>;rel=next": True,
    f'<https://api.github.com/user/emails?page=9>; rel="last", <{NEXT}>; title="a"; REL="Next"': True,
    f'<{NEXT}>; rel="prev"': False,
    f'<{NEXT}>; rel="prev"; title="rel=next"': False,
    f'<{NEXT}\t>; rel="next"': False,
    # However long it is, it is looked through once, or not at all.
    f'<{NEXT}>; rel="next", ' + "<a>;" * 300_000: False,
    "<a>;" * 2_000 + f'<{NEXT}>; rel="next"': True,
    "": False,
    "<": False,
    ">": False,
}


@pytest.mark.parametrize(("link", "leads_on"), LINKS.items())
def test_a_next_page_is_what_says_that_it_is(link: str, leads_on: bool) -> None:
    assert bool(make_anywhere()._find_next(Fetched(200, {"link": link}, b""))) is leads_on


@pytest.mark.parametrize("status", [403, 404])
def test_somebody_who_keeps_the_address_back_has_none(server: GitHubServer, status: int) -> None:
    server.replies["/api/v3/user/emails"] = say({"message": "Not Found"}, status)
    assert log_in(make_provider(server)).email == ""


def test_the_code_is_worth_nothing_without_the_verifier(server: GitHubServer) -> None:
    """PKCE: who has seen the address with the code on its way cannot use it in a login of their own."""
    provider = make_provider(server)
    journey = make_journey(provider)
    said = follow(leave(provider, journey), journey)
    with pytest.raises(LoginFailed, match="bad_verification_code"):
        run(provider.finish(make_journey(provider), said, frozenset(), 0.0))


def test_a_code_is_worth_nothing_twice(server: GitHubServer) -> None:
    provider = make_provider(server)
    journey = make_journey(provider)
    said = follow(leave(provider, journey), journey)
    run(provider.finish(journey, said, frozenset(), 0.0))
    with pytest.raises(LoginFailed, match="bad_verification_code"):
        run(provider.finish(journey, said, frozenset(), 0.0))


def test_somebody_says_no(server: GitHubServer) -> None:
    server.denies = True
    with pytest.raises(LoginFailed, match=r"'access_denied': 'The user has denied your application access\.'"):
        log_in(make_provider(server))


@pytest.mark.parametrize("said", [{}, {"code": ""}])
def test_a_browser_that_comes_back_with_nothing_has_not_logged_in(server: GitHubServer, said: dict[str, str]) -> None:
    provider = make_provider(server)
    with pytest.raises(LoginFailed, match="neither a code nor an error"):
        run(provider.finish(make_journey(provider), said, frozenset(), 0.0))
    assert server.asked == []


def test_an_error_with_status_200_is_an_error(server: GitHubServer) -> None:
    with pytest.raises(LoginFailed, match="incorrect_client_credentials") as caught:
        log_in(make_provider(server, client_secret=f"not {CLIENT_SECRET}"))
    assert CLIENT_SECRET not in str(caught.value)


LIES = {
    "no JSON": (Reply(200, b"<html>"), LoginUnavailable),
    "no text": (Reply(200, b"\xff\xfe"), LoginUnavailable),
    "nested": (Reply(200, b"[" * 100_000), LoginUnavailable),
    "a list": (say([]), LoginUnavailable),
    "huge": (Reply(200, b" " * 1_100_000), LoginUnavailable),
    "a server error": (say({}, 502), LoginUnavailable),
    "a redirect": (Reply(302, b"", {"location": "https://example.org/"}), LoginUnavailable),
    "hung up": (None, LoginUnavailable),
}
NO_TOKENS = LIES | {
    "empty": (say({}), LoginUnavailable),
    "no token": (say({"token_type": "bearer"}), LoginUnavailable),
    "a number": (say({"access_token": 7, "token_type": "bearer"}), LoginUnavailable),
    "a line": (say({"access_token": "a\r\nx-evil: 1", "token_type": "bearer"}), LoginUnavailable),
    "two words": (say({"access_token": "a b", "token_type": "bearer"}), LoginUnavailable),
    "another kind": (say({"access_token": "a", "token_type": "mac"}), LoginUnavailable),
    "no kind": (say({"access_token": "a"}), LoginUnavailable),
    "an error": (say({"access_token": "a", "token_type": "bearer", "error": "slow_down"}), LoginFailed),
}
NOBODY = LIES | {
    "empty": (say({}), LoginUnavailable),
    "no number": (say({"login": "octocat"}), LoginUnavailable),
    "a text": (say({"id": "583231", "login": "octocat"}), LoginUnavailable),
    "a truth": (say({"id": True, "login": "octocat"}), LoginUnavailable),
    "no login": (say({"id": 583231}), LoginUnavailable),
    "refused": (say({"message": "Bad credentials"}, 401), LoginFailed),
    "forbidden": (say({"message": "Forbidden"}, 403), LoginFailed),
    "suspended": (say({"message": "Sorry. Your account was suspended."}, 403), LoginFailed),
    "suspended there": (say({"id": 7, "login": "octocat", "suspended_at": "2026-01-01T00:00:00Z"}), LoginFailed),
}
TOO_OFTEN = {
    "counted": say({"message": "API rate limit exceeded for user ID 7."}, 403, {"x-ratelimit-remaining": "0"}),
    "for a while": say({"message": "Slow down"}, 403, {"retry-after": "30"}),
    "429": say({"message": ""}, 429),
    "in words": say({"message": "You have exceeded a secondary rate limit."}, 403),
}


@pytest.mark.parametrize("lie", NO_TOKENS)
def test_what_is_no_token_logs_nobody_in(server: GitHubServer, lie: str) -> None:
    server.replies["/login/oauth/access_token"], expected = NO_TOKENS[lie]
    with pytest.raises(expected):
        log_in(make_provider(server))


@pytest.mark.parametrize("lie", NOBODY)
def test_what_names_nobody_logs_nobody_in(server: GitHubServer, lie: str) -> None:
    server.replies["/api/v3/user"], expected = NOBODY[lie]
    with pytest.raises(expected):
        log_in(make_provider(server))


@pytest.mark.parametrize("lie", sorted(LIES.keys() - {"a list"}))
def test_addresses_that_cannot_be_read_log_nobody_in(server: GitHubServer, lie: str) -> None:
    """Somebody whom a rule knows by the address would be told to be nobody, and that is not so."""
    server.replies["/api/v3/user/emails"], _ = LIES[lie]
    with pytest.raises(LoginUnavailable):
        log_in(make_provider(server))


@pytest.mark.parametrize("how", TOO_OFTEN)
@pytest.mark.parametrize(
    "path", ["/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails", "/api/v3/user/memberships/orgs/acme"]
)
def test_one_question_too_many_is_a_reason_to_come_back_later(server: GitHubServer, how: str, path: str) -> None:
    """Not one to take for an answer: the person may well be let in."""
    server.replies[path] = TOO_OFTEN[how]
    with pytest.raises(LoginUnavailable, match="too often") as caught:
        log_in(make_provider(server), frozenset({in_organization("acme")}))
    assert caught.value.hint == ("ask again in 30 seconds" if how == "for a while" else "ask again in an hour")


# --- Organizations ----------------------------------------------------------------------------------------------------


@pytest.fixture
def members(server: GitHubServer) -> GitHubServer:
    server.people["me"].memberships = {"acme": "active", "invited": "pending", "hidden": "active"}
    server.people["me"].teams = {("acme", "finance"): "active", ("acme", "board"): "pending"}
    return server


def test_members_are_known_by_the_organizations_that_rules_name(members: GitHubServer) -> None:
    """Nothing is asked about the others: somebody in 500 of them logs in as fast as anybody."""
    user = log_in(make_provider(members), frozenset({in_organization("acme"), in_organization("rival")}))
    assert user.organizations == {"acme": frozenset()}
    assert [path for path in members.service.paths if "memberships" in path] == [
        "GET /api/v3/user/memberships/orgs/acme",
        "GET /api/v3/user/memberships/orgs/rival",
    ]


def test_who_was_only_invited_is_no_member(members: GitHubServer) -> None:
    named = frozenset({in_organization("invited"), in_team("acme", "board")})
    assert log_in(make_provider(members), named).organizations == {"acme": frozenset()}


def test_teams_are_asked_for_where_the_person_is_a_member(members: GitHubServer) -> None:
    named = frozenset({in_team("acme", "finance"), in_team("acme", "sales"), in_team("rival", "finance")})
    assert log_in(make_provider(members), named).organizations == {"acme": frozenset({"finance"})}
    assert not [path for path in members.service.paths if "rival/teams" in path]


def test_letter_case_makes_no_other_organization(members: GitHubServer) -> None:
    """Rules compare these names without letter case, and so does GitHub: each is asked for once."""
    named = frozenset({in_team("ACME", "Finance"), in_organization("Acme"), in_organization("acme")})
    assert log_in(make_provider(members), named).organizations == {"acme": frozenset({"finance"})}
    assert members.service.paths.count("GET /api/v3/user/memberships/orgs/acme") == 1


def _escape(name: str) -> str:
    return quote(name, safe="").replace(".", "%2E")


@pytest.mark.parametrize("name", ["..", "a/b", "acme?x=1", "acme#", "%2e%2e"])
def test_a_name_leads_to_no_other_question(members: GitHubServer, name: str) -> None:
    """A path in which a name could end would be answered for something else."""
    user = log_in(make_provider(members), frozenset({in_organization(name), in_team("acme", name)}))
    assert user.organizations == {"acme": frozenset()}
    shapes = {"/api/v3/user/memberships/orgs/*", "/api/v3/orgs/acme/teams/*/memberships/octocat"}
    for asked in members.asked:
        parts = asked.path.replace("orgs/acme/", "orgs/ACME/").split("/")
        parts = ["*" if part == _escape(name) else part.lower() for part in parts]
        assert "memberships" not in parts or "/".join(parts) in {*shapes, "/api/v3/user/memberships/orgs/acme"}


@pytest.mark.parametrize("how", ["saml", "restricted"])
def test_an_organization_that_keeps_apps_out_does_not_hold(
    members: GitHubServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The others still do, and the log says why, without where to begin a session with that SAML provider."""
    getattr(members, how).add("hidden")
    with caplog.at_level(logging.WARNING, "keyfob.login"):
        user = log_in(make_provider(members), frozenset({in_organization("hidden"), in_organization("acme")}))
    assert user.organizations == {"acme": frozenset()}
    assert "'hidden'" in caplog.text
    assert ("SAML" if how == "saml" else "access restrictions") in caplog.text
    assert "authorization_request" not in caplog.text


@pytest.mark.parametrize("status", [301, 307, 410, 422])
def test_an_organization_with_another_name_now_does_not_hold(members: GitHubServer, status: int) -> None:
    members.replies["/api/v3/user/memberships/orgs/renamed"] = say(
        {"message": "Moved"}, status, {"location": f"{members.url}/api/v3/user/memberships/orgs/acme"}
    )
    user = log_in(make_provider(members), frozenset({in_organization("renamed"), in_organization("acme")}))
    assert user.organizations == {"acme": frozenset()}


@pytest.mark.parametrize("state", ["pending", "Active", True, None, ["active"]])
def test_only_an_active_membership_is_one(members: GitHubServer, state: object) -> None:
    members.replies["/api/v3/user/memberships/orgs/acme"] = say({"state": state})
    assert log_in(make_provider(members), frozenset({in_organization("acme")})).organizations == {}


@pytest.mark.parametrize("lie", sorted(LIES.keys() - {"a redirect"}))
def test_a_membership_that_cannot_be_read_logs_nobody_in(members: GitHubServer, lie: str) -> None:
    members.replies["/api/v3/user/memberships/orgs/acme"], _ = LIES[lie]
    with pytest.raises(LoginError):
        log_in(make_provider(members), frozenset({in_organization("acme")}))


def test_a_token_that_ends_on_the_way_logs_nobody_in(members: GitHubServer) -> None:
    """What the token cannot ask for any more is not what the person is not in."""
    members.replies["/api/v3/user/memberships/orgs/acme"] = say({"message": "Bad credentials"}, 401)
    with pytest.raises(LoginFailed, match="Bad credentials"):
        log_in(make_provider(members), frozenset({in_organization("acme")}))


def test_questions_have_an_end(members: GitHubServer, caplog: pytest.LogCaptureFixture) -> None:
    """What is not asked does not hold, and the log says so."""
    named = frozenset({in_organization(f"o{number:03}") for number in range(MOST_QUESTIONS + 5)})
    members.people["me"].memberships = {fact.name: "active" for fact in named}
    with caplog.at_level(logging.WARNING, "keyfob.login"):
        assert len(log_in(make_provider(members), named).organizations) == MOST_QUESTIONS
    assert "name fewer" in caplog.text


def test_facts_of_another_kind_are_not_asked_of_github(members: GitHubServer) -> None:
    named = frozenset({Fact(FactKind.GROUP, "gh", "acme"), Fact(FactKind.CLAIM, "gh", "acme", "x")})
    assert log_in(make_provider(members), named).organizations == {}
    assert not [path for path in members.service.paths if "memberships" in path]
