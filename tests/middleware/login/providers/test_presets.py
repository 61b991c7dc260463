"""Google, Entra ID and Okta, each a server on loopback that speaks what is documented, and what they are believed."""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keyfob.errors import KeyfobError, LoginFailed, LoginUnavailable
from keyfob.login.carrying import Carrier
from keyfob.login.journeys import begin_journey
from keyfob.login.providers.entra import EntraID
from keyfob.login.providers.google import Google
from keyfob.login.providers.oidc import OpenIDConnect
from keyfob.login.providers.okta import Okta
from keyfob.policy import Fact, FactKind, User
from logins import Memory, make_book
from providers.openid import ACCESS, CLIENT, CODE, SECRET, Issuer, issuing
from providers.serving import Asked, Reply, say

TENANT, ACCOUNT = "f4a0ba8a-6a53-4b7f-9d4a-3b1f2f0d7c11", "0b3f7c1e-0d64-4c0e-a6b6-5d1c5a0f8a55"
CARRIER = Carrier(Memory(make_book()))
SETTINGS: dict[str, Any] = {"id": "work", "name": "Work", "client_id": CLIENT, "client_secret": SECRET}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing(Issuer()) as issuer:
        yield issuer


@pytest.fixture
def tenant(issuer: Issuer) -> Issuer:
    """Entra's: its address has the tenant in it, and its tokens say whose account it is."""
    issuer.issuer_path = f"/{TENANT}/v2.0"
    issuer.claims = {"tid": TENANT, "oid": ACCOUNT, "preferred_username": "rhea@tenant.example", "email_verified": None}
    return issuer


def group(name: str) -> Fact:
    return Fact(FactKind.GROUP, "work", name)


def ask(provider: OpenIDConnect, issuer: Issuer, *named: Fact, afresh: bool = False) -> tuple[Any, dict[str, str]]:
    """A login that has come to the provider, and what it was told there."""
    journey = begin_journey("work", "tag", "https://money.example.com", "", "/", "mark", time.time())
    address = CARRIER.run(provider.begin(journey, "sealed", frozenset(named), afresh=afresh))
    told = {name: value for name, [value] in parse_qs(urlsplit(address).query).items()}
    issuer.nonce, issuer.challenge, issuer.redeemed = told["nonce"], told["code_challenge"], 0
    return journey, told


def log_in(provider: OpenIDConnect, issuer: Issuer, *named: Fact) -> User:
    journey, _ = ask(provider, issuer, *named)
    return CARRIER.run(provider.finish(journey, {"code": CODE}, frozenset(named), journey.begun_at))


# --- Google -----------------------------------------------------------------------------------------------------------


def make_google(issuer: Issuer, **more: Any) -> Google:
    return Google(**SETTINGS, issuer=issuer.url, directory=issuer.service.url, **more)


def test_google_tells_who_it_is(issuer: Issuer) -> None:
    """And asks which account it shall be, where another one is wanted."""
    google = make_google(issuer)
    issuer.claims = {"hd": "example.com"}
    assert log_in(google, issuer) == User("rhea.group@example.com", "work", subject="117", name="Rhea Group")
    assert ask(google, issuer, afresh=True)[1]["prompt"] == "select_account"
    assert Google(**SETTINGS).issuer == "https://accounts.google.com"


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "rhea@gmail.com"}, "rhea@gmail.com"),
        ({"email": "Rhea@GoogleMail.com"}, "Rhea@GoogleMail.com"),
        ({"email": "rhea@example.com", "hd": "example.com"}, "rhea@example.com"),
        ({"email": "rhea@example.com"}, ""),
        ({"email": "rhea@example.com", "hd": ""}, ""),
        ({"email": "rhea@gmail.com.example"}, ""),
        ({"email": "rhea@gmail.com", "email_verified": False}, ""),
    ],
)
def test_google_knows_the_addresses_that_it_keeps(issuer: Issuer, claims: dict[str, Any], email: str) -> None:
    """An account can have been made with the address of an employer who has never heard of it."""
    issuer.claims = claims
    assert make_google(issuer).find_email({"email_verified": True, **claims}) == email


def test_a_workspace_has_its_own_accounts_alone(issuer: Issuer) -> None:
    """What the browser is told is a wish; what the token says counts."""
    google = make_google(issuer, apps_domain="Example.com")
    assert ask(google, issuer)[1]["hd"] == "example.com"
    for domain in (None, "example.org", "", ["example.com"], "example.com.evil.example"):
        issuer.claims = {"hd": domain}
        with pytest.raises(LoginFailed, match="belongs to the domain"):
            log_in(google, issuer)
    issuer.claims = {"hd": "example.com"}
    assert log_in(google, issuer).subject == "117"


FINANCE = group("finance@example.com")


def make_directory(issuer: Issuer, pages: Mapping[str, Any], through: int = 200) -> list[tuple[str, str]]:
    """Cloud Identity, with these pages of memberships, and what it was asked: the way and the query.

    `through` is the status of the way through groups that are in groups.
    """
    queries: list[tuple[str, str]] = []

    def answer(asked: Asked) -> Reply | None:
        place, _, way = asked.path.partition(":")
        assert place == "/v1/groups/-/memberships"
        assert asked.headers["authorization"] == f"Bearer {ACCESS}"
        queries.append((way, asked.query["query"]))
        if way == "searchTransitiveGroups" and through != 200:
            return say({"error": {"code": through, "status": "PERMISSION_DENIED"}}, through)
        return say(pages[asked.query.get("pageToken", "")])

    issuer.more = answer
    issuer.claims = {"hd": "example.com"}
    return queries


PAGES = {
    "": {"memberships": [{"groupKey": {"id": "finance@example.com"}}, {"groupKey": {}}, 7], "nextPageToken": "2"},
    "2": {"memberships": [{"groupKey": {"id": "staff@example.com"}}]},
}
QUERY = "member_key_id == 'rhea.group@example.com' && 'cloudidentity.googleapis.com/groups.discussion_forum' in labels"


def test_groups_of_a_workspace_are_looked_up_where_rules_name_one(issuer: Issuer) -> None:
    """On every page of the answer; nobody is asked for that right otherwise."""
    queries = make_directory(issuer, PAGES)
    google = make_google(issuer)
    assert log_in(google, issuer, FINANCE).groups == {"finance@example.com", "staff@example.com"}
    assert queries == [("searchTransitiveGroups", QUERY)] * 2
    assert "cloud-identity.groups.readonly" in ask(google, issuer, FINANCE)[1]["scope"]
    assert "cloud-identity" not in ask(google, issuer)[1]["scope"]
    assert log_in(google, issuer).groups == frozenset()
    assert len(queries) == 2


def test_an_edition_that_looks_through_no_groups_tells_the_nearest(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """And whoever runs the app hears of it."""
    queries = make_directory(issuer, PAGES, through=403)
    assert log_in(make_google(issuer), issuer, FINANCE).groups == {"finance@example.com", "staff@example.com"}
    assert [way for way, _ in queries] == ["searchTransitiveGroups", "searchDirectGroups", "searchDirectGroups"]
    assert "edition" in caplog.text


def test_an_account_outside_of_workspace_is_in_no_group(issuer: Issuer) -> None:
    """Whatever its address: nobody is asked."""
    queries = make_directory(issuer, PAGES)
    issuer.claims = {}
    assert log_in(make_google(issuer), issuer, FINANCE).groups == frozenset()
    assert queries == []


def test_a_list_without_an_end_is_not_read(issuer: Issuer) -> None:
    queries = make_directory(issuer, {"": {"nextPageToken": "2"}, "2": {"nextPageToken": "2"}})
    with pytest.raises(LoginUnavailable, match="more than 2000 groups"):
        log_in(make_google(issuer), issuer, FINANCE)
    assert len(queries) == 10


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (say({"error": {"code": 403}}, 403), LoginFailed),
        (say({"error": {"code": 401}}, 401), LoginFailed),
        (Reply(500), LoginUnavailable),
        (say([]), LoginUnavailable),
        (say({"memberships": "all"}), LoginUnavailable),
    ],
)
def test_groups_that_nobody_tells_let_nobody_in(issuer: Issuer, reply: Reply, error: type[Exception]) -> None:
    """Nor out: a rule may refuse whoever is in one."""
    issuer.more = lambda _: reply
    issuer.claims = {"hd": "example.com"}
    with pytest.raises(error):
        log_in(make_google(issuer), issuer, FINANCE)


@pytest.mark.parametrize(
    ("email", "query"),
    [("o'brien@example.com", '"o\'brien@example.com"'), ("x'||true||'@example.com", "\"x'||true||'@example.com\"")],
)
def test_an_address_is_a_text_in_a_query(issuer: Issuer, email: str, query: str) -> None:
    """It stands between quotation marks, which no address has: nobody asks for the groups of somebody else."""
    queries = make_directory(issuer, PAGES)
    issuer.claims |= {"email": email}
    log_in(make_google(issuer), issuer, FINANCE)
    assert queries[0][1].startswith(f"member_key_id == {query} && ")
    issuer.claims |= {"email": "x\\@example.com"}
    with pytest.raises(LoginFailed, match="nobody can ask"):
        log_in(make_google(issuer), issuer, FINANCE)
    assert len(queries) == 2


# --- Entra ID ---------------------------------------------------------------------------------------------------------


def make_entra(issuer: Issuer, **more: Any) -> EntraID:
    server = issuer.service.url
    return EntraID(**({"directory_id": TENANT, "login": server, "graph": server} | SETTINGS | more))


def test_entra_tells_who_it_is_by_the_accounts_own_id(tenant: Issuer) -> None:
    """`sub` is another one for each client, and a name may go to another person."""
    user = log_in(make_entra(tenant), tenant)
    assert (user.subject, user.email) == (ACCOUNT, "rhea@tenant.example")


EVERYBODY = "9188040d-6c67-4c5b-b112-36a304b66dad"


@pytest.mark.parametrize(
    "directory", ["common", "organizations", "consumers", EVERYBODY.upper(), "tenant.example", "", TENANT + "0"]
)
def test_a_tenant_is_one_tenant(directory: str) -> None:
    """Any other word stands for everybody's."""
    with pytest.raises(KeyfobError, match="tenant's GUID"):
        EntraID(**SETTINGS, directory_id=directory)


@pytest.mark.parametrize(
    "claims",
    [{"tid": EVERYBODY}, {"tid": None}, {"oid": None}, {"oid": "x"}, {"oid": [ACCOUNT]}],
)
def test_another_tenants_account_is_nobodys_here(tenant: Issuer, claims: dict[str, Any]) -> None:
    tenant.claims |= claims
    with pytest.raises(LoginFailed):
        log_in(make_entra(tenant), tenant)


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "boss@tenant.example"}, "rhea@tenant.example"),
        ({"email": "rhea@tenant.example", "xms_edov": True}, "rhea@tenant.example"),
        ({"email": "r@tenant.example", "xms_edov": "1"}, "r@tenant.example"),
        ({"email": "boss@tenant.example", "xms_edov": False}, "rhea@tenant.example"),
        ({"preferred_username": "boss@tenant.example", "idp": "https://sts.windows.net/another/"}, ""),
        ({"preferred_username": "x_evil.example#EXT#@tenant.example"}, ""),
        ({"preferred_username": "+351 900 000 000"}, ""),
        ({"idp": f"https://sts.windows.net/{TENANT}/"}, "rhea@tenant.example"),
        ({"idp": f"https://sts.windows.net/{TENANT}/", "acct": 0}, "rhea@tenant.example"),
        ({"idp": f"https://evil.example/{TENANT}/"}, ""),
        ({"idp": ["https://sts.windows.net/another/"]}, ""),
        ({"idp": "live.com"}, ""),
        ({"acct": 1}, ""),
        ({"acct": "1"}, ""),
        ({"idp": "live.com", "acct": 0}, ""),
        ({"email": "me@example.com", "xms_edov": True, "acct": 1, "idp": "live.com"}, "me@example.com"),
        ({"email": "me@example.com", "xms_edov": ["1"], "email_verified": True}, "rhea@tenant.example"),
    ],
)
def test_an_address_is_what_the_tenant_vouches_for(tenant: Issuer, claims: dict[str, Any], email: str) -> None:
    """Anybody can write anybody's address into an account of a tenant of his own, and be a guest with it elsewhere."""
    tenant.claims |= claims
    assert log_in(make_entra(tenant), tenant).email == email


def test_groups_come_with_the_token(tenant: Issuer) -> None:
    """Those that rules name, in whatever letter case, and nobody is asked for more."""
    tenant.claims |= {"groups": [ACCOUNT.upper(), "another", 7]}
    entra, other = make_entra(tenant), group("99999999-0000-0000-0000-000000000000")
    assert log_in(entra, tenant, group(ACCOUNT), other).groups == {ACCOUNT}
    assert log_in(entra, tenant).groups == frozenset()
    assert [path for path in tenant.service.paths if "/v1.0/" in path] == []
    assert "User.Read" in ask(entra, tenant, other)[1]["scope"]
    assert "User.Read" not in ask(entra, tenant)[1]["scope"]


@pytest.mark.parametrize(
    "told",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://evil.example/"}}},
        {"hasgroups": True},
        {"groups": None},
    ],
)
def test_groups_that_are_not_in_the_token_are_asked_for(tenant: Issuer, told: dict[str, Any]) -> None:
    """Of Microsoft Graph, those that rules name, twenty at a time; what the token claims beside that does not count."""
    named = [group(f"{number:08}-000A-0000-0000-000000000000") for number in range(25)]
    held = {named[3].name, named[24].name}
    asked_for: list[int] = []

    def answer(asked: Asked) -> Reply | None:
        assert (asked.method, asked.path) == ("POST", "/v1.0/me/checkMemberGroups")
        assert asked.headers["authorization"] == f"Bearer {ACCESS}"
        ids = asked.json["groupIds"]
        asked_for.append(len(ids))
        return say({"value": [each for each in ids if each.upper() in held]})

    tenant.more = answer
    tenant.change_claims = lambda claims: {
        name: value for name, value in ({"groups": [named[0].name]} | claims | told).items() if value is not None
    }
    assert log_in(make_entra(tenant), tenant, *named, group("no-guid")).groups == held
    assert asked_for == [20, 5]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (say({"error": {"code": "Authorization_RequestDenied"}}, 403), LoginFailed),
        (say({"error": {"code": "InvalidAuthenticationToken"}}, 401), LoginFailed),
        (Reply(429), LoginUnavailable),
        (say({"value": "all"}), LoginUnavailable),
        (say({}), LoginUnavailable),
    ],
)
def test_groups_that_graph_does_not_tell_let_nobody_in(tenant: Issuer, reply: Reply, error: type[Exception]) -> None:
    """Nor out."""
    tenant.more = lambda _: reply
    with pytest.raises(error):
        log_in(make_entra(tenant), tenant, group(ACCOUNT))


# --- Okta -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["", "default"])
def test_okta_tells_groups_by_name(issuer: Issuer, server: str) -> None:
    """In the token or by userinfo, from the organization's authorization server or one of its own."""
    issuer.issuer_path = f"/oauth2/{server}" if server else ""
    okta = Okta(**SETTINGS, okta_account=issuer.service.url + "/", authorization_server_id=server)
    issuer.claims = {"groups": ["finance", "Everyone"], "amr": ["pwd", "mfa"]}
    user = log_in(okta, issuer, group("finance"))
    assert user.groups == {"finance", "Everyone"}
    assert user.methods == {"pwd", "mfa"}
    issuer.claims, issuer.account = {}, {"sub": "117", "groups": ["finance"]}
    assert log_in(okta, issuer, group("finance")).groups == {"finance"}
    assert "groups" in ask(okta, issuer, group("finance"))[1]["scope"].split()
    assert "groups" not in ask(okta, issuer)[1]["scope"].split()
    assert ask(okta, issuer, afresh=True)[1]["prompt"] == "login"


@pytest.mark.parametrize(("known", "is_asked"), [(["openid", "groups"], True), (["openid", "email"], False)])
def test_okta_is_asked_for_no_scope_that_it_does_not_know(issuer: Issuer, known: list[str], is_asked: bool) -> None:
    """It would be an error, and a server of one's own has the scope only once somebody has made it."""
    issuer.change_metadata = lambda found: found | {"scopes_supported": known}
    told = ask(Okta(**SETTINGS, okta_account=issuer.url), issuer, group("finance"))[1]
    assert ("groups" in told["scope"].split()) == is_asked


def test_okta_that_tells_no_groups_is_told_of(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    okta = Okta(**SETTINGS, okta_account=issuer.url)
    assert log_in(okta, issuer).groups == frozenset()
    assert caplog.text == ""
    assert log_in(okta, issuer, group("finance")).groups == frozenset()
    assert "needs a claim 'groups'" in caplog.text


def test_a_list_that_was_cut_says_nothing_of_the_rest(issuer: Issuer) -> None:
    """Okta ends it at a hundred without a word: somebody may be in a group that a rule refuses."""
    okta = Okta(**SETTINGS, okta_account=issuer.url)
    issuer.claims = {"groups": [f"group-{number}" for number in range(100)]}
    assert len(log_in(okta, issuer, group("group-7")).groups) == 100
    with pytest.raises(LoginFailed, match="there may be more"):
        log_in(okta, issuer, group("group-7"), group("finance"))
    issuer.claims = {"groups": [f"group-{number}" for number in range(99)]}
    assert len(log_in(okta, issuer, group("finance")).groups) == 99


def test_an_account_is_an_address() -> None:
    for account in ("dev-1.okta.com", "http://dev-1.okta.com", "https://dev-1.okta.com?x=1"):
        with pytest.raises(KeyfobError):
            Okta(**SETTINGS, okta_account=account)
