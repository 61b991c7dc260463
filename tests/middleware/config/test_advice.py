"""config.advice: what a sound configuration is warned of, and that no warning is wrong."""

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certificates import DAY, make_authority, make_leaf, make_name
from keyfob.config.advice import find_warnings
from keyfob.config.building import Assembly, assemble_document
from keyfob.config.files import Files
from keyfob.config.reading import Raw
from keyfob.errors import Problem
from keyfob.inventory import open_inventory
from keyfob.policy import Identity, PolicyDecision
from keyfob.request import Request
from revocations import make_list
from situations import NOBODY, ROOT, ask_with, device, show

CA = make_authority(ends=3650 * DAY)
NOW = datetime.now(UTC)
HOST = "money.example.com"
ANY: dict[str, Any] = {"certificate": {}}
EVERYONE: dict[str, Any] = {"everyone": {}}


def named(text: object) -> dict[str, Any]:
    return {"common_name": {"common_name": text}}


def policy(name: str, decision: str = "non_identity", **sides: Any) -> dict[str, Any]:
    return {"name": name, "decision": decision, "include": [ANY]} | sides


def application(*policies: Any, **more: Any) -> dict[str, Any]:
    return {"name": "Budget", "domain": HOST, "policies": list(policies)} | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documents name."""
    folder = tmp_path_factory.mktemp("advice")
    CA.write(folder, "ca")
    return folder


def build(folder: Path, *applications: Any, **more: Any) -> Assembly:
    root = {"name": "CA", "certificate": "ca.pem", "associated_hostnames": [HOST]}
    document = {"source": {"kind": "tls"}, "root_certificates": [root], "applications": list(applications)} | more
    return assemble_document("access.json", Raw(json.loads(json.dumps(document))), folder, Files())


def warn(folder: Path, *applications: Any, at: datetime = NOW, **more: Any) -> list[tuple[str, str]]:
    """Every warning, as its place and its words."""
    found = find_warnings(build(folder, *applications, **more), at, lambda _: False)
    return [(each.place, each.message) for each in found]


def warn_of(folder: Path, *policies: Any, **more: Any) -> list[tuple[str, str]]:
    """The warnings of one application, their places without it."""
    found = warn(folder, application(*policies), **more)
    return [(place.removeprefix("applications[0]."), said) for place, said in found]


# --- Rules that never hold --------------------------------------------------------------------------------------------

NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "what it includes": ({"exclude": [ANY]}, "it includes certificate, and excludes certificate"),
    "one of what it excludes": (
        {"include": [named("A")], "exclude": [ANY]},
        "it includes common_name 'A', and excludes certificate",
    ),
    "a network in an excluded one": (
        {"include": [{"ip": {"ip": "192.0.2.7"}}], "exclude": [{"ip": {"ip": "192.0.2.0/24"}}]},
        "it includes ip '192.0.2.7', and excludes ip '192.0.2.0/24'",
    ),
    "everyone excluded": ({"exclude": [EVERYONE]}, "it excludes everyone"),
    "required and excluded": (
        {"require": [named("A")], "exclude": [named("A")]},
        "it requires common_name 'A' and excludes it",
    ),
    "two names": (
        {"require": [named("A"), named("B")]},
        "it requires common_name 'A' and common_name 'B', and no request has both",
    ),
    "two methods": (
        {"require": [{"method": {"method": "GET"}}, {"method": {"method": "POST"}}]},
        "it requires method 'GET' and method 'POST', and no request has both",
    ),
    "two networks": (
        {"require": [{"ip": {"ip": "192.0.2.0/24"}}, {"ip": {"ip": "2001:db8::/32"}}]},
        "it requires ip '192.0.2.0/24' and ip '2001:db8::/32', and no request has both",
    ),
    "a name and another beginning": (
        {"require": [named("phone-1"), named({"starts_with": "kiosk-"})]},
        "it requires common_name 'phone-1' and common_name, and no request has both",
    ),
    "two organizations": (
        {"require": [{"subject": {"organization": "A"}}, {"subject": {"organization": "B"}}]},
        "it requires subject 'A' and subject 'B', and no request has both",
    ),
    "an include against a require": (
        {"include": [named("A"), named("B")], "require": [named("C")]},
        "it includes common_name 'A', and requires common_name 'C', and no request has both",
    ),
    "a person": (
        {"require": [{"email_domain": {"domain": "example.com"}}]},
        "it requires email_domain 'example.com', and nobody can log in",
    ),
    "a token": (
        {"include": [{"any_valid_service_token": {}}]},
        "it includes any_valid_service_token, and there are no",
    ),
}


@pytest.mark.parametrize(("sides", "said"), NEVER.values(), ids=NEVER)
def test_a_policy_that_can_never_match_says_why(folder: Path, sides: dict[str, Any], said: str) -> None:
    """In the words of its own rules."""
    [(place, message)] = warn_of(folder, policy("P", **sides))
    assert place == "policies[0]"
    assert message.startswith(f"'P' can never match: {said}")


MAY_MATCH: dict[str, dict[str, Any]] = {
    "a beginning and an end": {"require": [named({"starts_with": "a"}), named({"ends_with": "z"})]},
    "a beginning of a beginning": {"require": [named({"starts_with": "a"}), named({"starts_with": "ab"})]},
    "a name and its beginning": {"require": [named("abc"), named({"starts_with": "ab"})]},
    "networks one in the other": {"require": [{"ip": {"ip": "192.0.2.0/24"}}, {"ip": {"ip": "192.0.2.7"}}]},
    "two units": {"require": [{"subject": {"organizational_unit": each}} for each in "AB"]},
    "two alternative names": {"require": [{"san": {"dns": f"{each}.example"}} for each in "ab"]},
    "two usages": {
        "require": [{"extended_key_usage": {"extended_key_usage": each}} for each in ("clientAuth", "emailProtection")]
    },
    "one of two included": {"include": [named("A"), named("B")], "exclude": [named("A")]},
    "one of two required": {"include": [named("A"), named("B")], "require": [named("B")]},
    "a network around an excluded one": {
        "include": [{"ip": {"ip": "192.0.2.0/24"}}],
        "exclude": [{"ip": {"ip": "192.0.2.7"}}],
    },
    "texts that read alike": {
        "require": [{"subject": {"organization": "A, locality B"}}],
        "exclude": [{"subject": {"organization": "A", "locality": "B"}}],
    },
}


@pytest.mark.parametrize("sides", MAY_MATCH.values(), ids=MAY_MATCH)
def test_what_may_match_is_left_in_peace(folder: Path, sides: dict[str, Any]) -> None:
    """Whoever warns of what is right is not listened to."""
    assert warn_of(folder, policy("P", **sides)) == []


def test_a_deny_counts_where_nobody_can_tell(folder: Path) -> None:
    """A certificate with two names may be either, so a deny that asks for both can match."""
    both: dict[str, Any] = {"require": [named("A"), named("B")]}
    assert warn_of(folder, policy("P", "deny", **both)) == []
    assert warn_of(folder, policy("P", **both)) != []


def test_a_group_that_never_holds_is_named_and_so_is_who_needs_it(folder: Path) -> None:
    """Several names in require is what one reads out of Access's manual the first time."""
    group = {"name": "Both", "include": [ANY], "require": [named("A"), named("B")]}
    found = warn(folder, application(policy("P", include=[{"group": {"id": "Both"}}])), groups=[group])
    assert [place for place, _ in found] == ["groups[0]", "applications[0].policies[0]"]
    assert found[0][1].startswith("'Both' never holds: it requires common_name 'A' and common_name 'B'")
    assert "which never holds" in found[1][1]


def test_an_exclude_that_never_holds_keeps_nobody_out(folder: Path) -> None:
    """The policy itself matches; but its author believes something else."""
    excluding = policy("P", exclude=[{"email": {"email": "alice@example.com"}}])
    [(place, said)] = warn_of(folder, excluding)
    assert (place, said) == ("policies[0].exclude[0]", "'P' keeps nobody out by email, which never holds yet")


# --- Policies in their order ------------------------------------------------------------------------------------------


def test_a_policy_behind_one_that_always_matches_is_never_asked(folder: Path) -> None:
    """Wherever it is written: a bypass comes first."""
    found = warn_of(folder, policy("Block", "deny"), policy("Open", "bypass", include=[EVERYONE]))
    assert found == [("policies[0]", "'Block' is never asked: 'Open' comes first and always matches")]


def test_a_policy_that_says_less_than_one_before_it_is_never_asked(folder: Path) -> None:
    """Whoever it is for has been let in already."""
    found = warn_of(folder, policy("Any"), policy("Phone", require=[named("Phone")]))
    assert found == [("policies[1]", "'Phone' is never asked: 'Any' comes first and matches whenever it would")]
    assert warn_of(folder, policy("Phone", require=[named("Phone")]), policy("Any")) == []


OVERRULED: dict[str, tuple[list[Any], bool]] = {
    "a device of many": ([policy("Any"), policy("Lost", "deny", include=[named("Lost")])], True),
    "whatever is written first": ([policy("Lost", "deny", include=[named("Lost")]), policy("Any")], True),
    "by a bypass": (
        [
            policy("Home", "bypass", include=[{"ip": {"ip": "192.0.2.0/24"}}]),
            policy("Lost", "deny", include=[named("L")]),
        ],
        True,
    ),
    "everybody, written first": ([policy("None", "deny", include=[EVERYONE]), policy("Any")], True),
    "excluded as it should be": (
        [policy("Any", exclude=[named("Lost")]), policy("Lost", "deny", include=[named("Lost")])],
        False,
    ),
    "excluded by its require": (
        [policy("Any", exclude=[named("Lost")]), policy("Lost", "deny", require=[named("Lost")])],
        False,
    ),
    "somebody else": ([policy("A", require=[named("A")]), policy("B", "deny", include=[named("B")])], False),
    "somebody else by what is included": (
        [policy("A", include=[named("A")]), policy("B", "deny", include=[named("B")])],
        False,
    ),
    "the last word": ([policy("A", include=[named("A")]), policy("Rest", "deny", include=[EVERYONE])], False),
}


@pytest.mark.parametrize(("policies", "is_overruled"), OVERRULED.values(), ids=OVERRULED)
def test_a_deny_that_another_policy_overrules_is_told(folder: Path, policies: list[Any], is_overruled: bool) -> None:
    """Since it keeps out nobody who is let in before it is asked."""
    found = [said for _, said in warn_of(folder, *policies)]
    assert len(found) == is_overruled
    assert all("does not keep out whom" in said and "policy is asked first" in said for said in found)


# --- No warning is wrong ----------------------------------------------------------------------------------------------

RULES: list[dict[str, Any]] = [
    EVERYONE,
    ANY,
    named("ab"),
    named("b"),
    named({"starts_with": "a"}),
    named({"ends_with": "b"}),
    {"ip": {"ip": "192.0.2.0/24"}},
    {"ip": {"ip": "192.0.2.7"}},
    {"ip": {"ip": "198.51.100.7"}},
    {"method": {"method": "GET"}},
    {"method": {"method": "POST"}},
    {"subject": {"organization": "A"}},
    {"subject": {"organization": "B", "common_name": "ab"}},
    {"subject": {"organizational_unit": "A"}},
    {"any_valid_service_token": {}},
    {"group": {"id": "Inner"}},
    {"group": {"id": "Outer"}},
]
GROUPS = [
    {"name": "Inner", "include": [named("ab"), named("b")], "exclude": [{"ip": {"ip": "192.0.2.7"}}]},
    {"name": "Outer", "include": [{"group": {"id": "Inner"}}, EVERYONE], "require": [ANY]},
]
IDENTITIES: list[Identity] = [
    NOBODY,
    *(device(*names) for names in (["ab"], ["b"], ["xb"], ["ab", "b"], ["q"])),
    *(show(make_leaf(ROOT, make_name("ab", organization_name=each))) for each in "AB"),
    show(make_leaf(ROOT, make_name("ab", organizational_unit_name="A"))),
]
REQUESTS: list[Request] = [
    ask_with(method=method)._replace(client=None if client is None else ip_address(client))
    for method in ("GET", "POST", "get")
    for client in ("192.0.2.7", "192.0.2.8", "198.51.100.7", None)
]
SITUATIONS = list(itertools.product(REQUESTS, IDENTITIES))

rules = st.lists(st.sampled_from(RULES), max_size=2)
policies = st.builds(
    policy,
    st.just("-"),
    st.sampled_from(["non_identity", "deny", "bypass"]),
    include=st.lists(st.sampled_from(RULES), min_size=1, max_size=2),
    require=rules,
    exclude=rules,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(policies, min_size=1, max_size=3))
@example([policy("-", "deny", include=[named("ab")], exclude=[named("ab")])])
@example([policy("-", include=[named({"starts_with": "a"})]), policy("-", include=[named("ab")])])
def test_no_warning_of_a_policy_is_wrong(folder: Path, written: Sequence[dict[str, Any]]) -> None:
    """Held against every device and request here: what never matches does not, and what is never asked is not."""
    numbered = [each | {"name": f"P{number}"} for number, each in enumerate(written)]
    assembly = build(folder, application(*numbered), groups=GROUPS)
    [app] = assembly.applications
    for place, said, _, _ in find_warnings(assembly, NOW, lambda _: False):
        if not place.startswith("applications[0].policies["):
            continue
        one = app.written[int(place.removeprefix("applications[0].policies[").partition("]")[0])]
        asked = [(request, identity) for request, identity in SITUATIONS if one.matches(request, identity)]
        if "can never match" in said:
            assert asked == []
        elif "is never asked" in said:
            assert one.name not in {app.decide(request, identity).policy for request, identity in asked}
        elif "does not keep out" in said:
            assert one.decision is PolicyDecision.DENY


# --- Logins -----------------------------------------------------------------------------------------------------------

CLIENT = {"client_id": "c", "client_secret_file": "secret"}
GOOGLE = {"name": "Google", "type": "google", **CLIENT}
OURS = {"name": "Our Google", "type": "google", "apps_domain": "example.com", **CLIENT}
GITHUB = {"name": "GitHub", "type": "github", **CLIENT}
MAIL = {"name": "Mail", "type": "onetimepin", "smtp_host": "localhost", "sender": "k@example.com"}
WORK = {"name": "Work", "type": "okta", "okta_account": "https://dev-1.okta.com", **CLIENT}


@pytest.fixture
def login(folder: Path) -> Iterator[dict[str, Any]]:
    """The table of logins, with an inventory."""
    (folder / "secret").write_text("s3cr3t")
    open_inventory(folder / "inventory.db", create=True).close()
    yield {"inventory": "inventory.db"}
    for each in folder.glob("inventory.db*"):
        each.unlink()


def through(name: str) -> dict[str, Any]:
    return {"login_method": {"id": name}}


WITH_AN_ACCOUNT: dict[str, tuple[dict[str, Any], str]] = {
    "everyone": ({"include": [EVERYONE]}, "'Google' or 'GitHub' or 'Mail'"),
    "one public provider": ({"include": [through("GitHub")]}, "'GitHub'"),
    "two of them": ({"include": [through("github"), through("Google")]}, "'Google' or 'GitHub'"),
    "required": ({"include": [EVERYONE], "require": [through("Google")]}, "'Google'"),
    "but for one": ({"include": [EVERYONE], "exclude": [through("Google"), through("Mail")]}, "'GitHub'"),
    "our own provider": ({"include": [through("Work"), through("Our Google")]}, ""),
    "our own is required": ({"include": [EVERYONE], "require": [through("Work")]}, ""),
    "a device is required": ({"include": [EVERYONE], "require": [ANY]}, ""),
    "somebody": ({"include": [{"email": {"email": "alice@example.com"}}]}, ""),
    "nobody logs in": ({"decision": "bypass", "include": [EVERYONE]}, ""),
}


@pytest.mark.parametrize(("sides", "said"), WITH_AN_ACCOUNT.values(), ids=WITH_AN_ACCOUNT)
def test_who_lets_in_everybody_with_an_account_is_told(
    folder: Path, login: dict[str, Any], sides: dict[str, Any], said: str
) -> None:
    """Anybody can have one with most providers, and a login looks like a lock."""
    providers = [GOOGLE, OURS, GITHUB, MAIL, WORK]
    found = warn_of(folder, policy("P", **{"decision": "allow", **sides}), login=login, identity_providers=providers)
    assert found == ([("policies[0]", f"'P' lets in whoever has an account with {said}")] if said else [])


def test_only_the_providers_of_an_application_count(folder: Path, login: dict[str, Any]) -> None:
    """The others lead nowhere."""
    mine = application(policy("P", "allow", include=[EVERYONE]), allowed_idps=["Work"])
    assert warn(folder, mine, login=login, identity_providers=[GOOGLE, WORK]) == []


ME: dict[str, Any] = {"email": {"email": "alice@example.com"}}
NO_WAY_IN: dict[str, tuple[list[Any], bool]] = {
    "a person": ([policy("P", include=[ME])], True),
    "a device of a person": ([policy("P", require=[ME])], True),
    "a person or a device": ([policy("P", include=[ME, ANY])], False),
    "who can log in elsewhere": ([policy("P", include=[ME]), policy("Q", "allow", include=[ANY])], False),
    "a person who is kept out": ([policy("P", "deny", include=[ME])], False),
    "a device": ([policy("P")], False),
}


@pytest.mark.parametrize(("policies", "is_told"), NO_WAY_IN.values(), ids=NO_WAY_IN)
def test_who_asks_for_people_and_has_nobody_log_in_is_told(
    folder: Path, login: dict[str, Any], policies: list[Any], is_told: bool
) -> None:
    """Only "allow" leads to a login."""
    found = warn_of(folder, *policies, login=login, identity_providers=[WORK])
    said = "'P' asks who somebody is, and no policy here has anybody log in"
    assert found == ([("policies[0].decision", said)] if is_told else [])


def test_a_token_that_is_not_there_is_told(folder: Path, login: dict[str, Any]) -> None:
    """A token is made by a command, so a misspelt one is no mistake of the file alone."""
    with open_inventory(folder / "inventory.db") as inventory:
        for name in ("kept", "gone"):
            inventory.logins.create_token(name, 0, 30_000)
        inventory.logins.revoke_token("gone", 0)
        by_id = {each.name: each.token_id for each in inventory.logins.list_tokens()}["kept"]
    rules = [{"service_token": {"token_id": each}} for each in ("kept", by_id, "gone", "kpet")]
    found = warn_of(folder, policy("P", include=rules), login=login)
    assert found == [
        (f"policies[0].include[{index}]", f"there is no service token {name!r}, or it is revoked")
        for index, name in ((2, "gone"), (3, "kpet"))
    ]


@pytest.mark.parametrize(("providers", "is_told"), [([GITHUB], True), ([GITHUB, MAIL], False), ([WORK], False)])
def test_a_method_that_no_provider_tells_is_told(
    folder: Path, login: dict[str, Any], providers: list[Any], is_told: bool
) -> None:
    """A code by mail is a method, too."""
    rules = {
        "include": [{"email_domain": {"domain": "example.com"}}],
        "require": [{"auth_method": {"auth_method": "mfa"}}],
    }
    found = warn_of(folder, policy("P", "allow", **rules), login=login, identity_providers=providers)
    said = "no provider here tells how somebody has logged in, so this never holds"
    assert found == ([("policies[0].require[0]", said)] if is_told else [])


# --- What nothing uses ------------------------------------------------------------------------------------------------


def test_what_is_defined_and_used_by_nothing_is_told(folder: Path) -> None:
    """By id it is used as well as by name."""
    found = warn(
        folder,
        application("one", policy("P", require=[{"group": {"id": "g-1"}}])),
        policies=[policy("First", id="one"), policy("Second")],
        groups=[
            {"name": "G", "id": "g-1", "include": [{"ip_list": {"id": "Home"}}]},
            {"name": "Spare", "include": [ANY]},
        ],
        ip_lists=[{"name": "Home", "items": ["192.0.2.7"]}, {"name": "Away", "items": ["192.0.2.8"]}],
    )
    assert [place for place, said in found if "is used by no" in said] == ["policies[1]", "groups[1]", "ip_lists[1]"]


def test_not_all_of_an_export_has_to_be_of_use(folder: Path) -> None:
    """It is the whole of an account, as a rule."""
    assembly = build(folder, application(policy("P")), groups=[{"name": "Spare", "include": [ANY]}])
    assert [each.place for each in find_warnings(assembly, NOW, lambda _: False)] == ["groups[0]"]
    assert list(find_warnings(assembly, NOW, lambda place: place == "groups[0]")) == []


def test_records_need_a_folder(folder: Path) -> None:
    """Else they are lost, with a word in the log after the start."""
    assert warn(folder, application(policy("P")), audit={"file": "audit.log"}) == []
    [(place, said)] = warn(folder, application(policy("P")), audit={"file": "logs/audit.log"})
    assert (place, said) == ("audit.file", f"there is no folder {folder}/logs, so no record can be written into it")


# --- Hosts and paths --------------------------------------------------------------------------------------------------


def beside(*domains: str) -> list[dict[str, Any]]:
    return [application(policy("P"), name=f"App {number}", domain=each) for number, each in enumerate(domains)]


NEIGHBOURS: dict[str, tuple[list[str], list[str]]] = {
    "to the whole host": ([f"{HOST}/alpha/*", HOST], ["'/alpha' itself to the application 'App 1'"]),
    "with a slash alone": ([f"{HOST}/alpha/", HOST], ["'/alpha' itself to the application 'App 1'"]),
    "below another": ([f"{HOST}/a/b/*", f"{HOST}/a"], ["'/a/b' itself to the application 'App 1'"]),
    "to a wildcard host": ([f"{HOST}/alpha/*", "*.example.com"], ["'/alpha' itself to the application 'App 1'"]),
    "to one that is there for it": (
        [f"{HOST}/alpha/*", f"{HOST}/alpha"],
        ["'/alpha' itself to the application 'App 1'"],
    ),
    "to nobody": ([f"{HOST}/alpha/*"], []),
    "covering both": ([f"{HOST}/alpha", HOST], []),
    "with another wildcard": ([f"{HOST}/al*/*", HOST], []),
}


@pytest.mark.parametrize(("domains", "expected"), NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_a_path_that_an_application_leaves_to_another_is_told(
    folder: Path, domains: list[str], expected: list[str]
) -> None:
    """Access's own trap: /alpha/* is not /alpha."""
    root = {"name": "CA", "certificate": "ca.pem", "associated_hostnames": ["*.example.com"]}
    found = [said for _, said in warn(folder, *beside(*domains), root_certificates=[root])]
    assert [said.partition(" leaves ")[2] for said in found] == expected


def test_an_application_may_cover_both_by_two_domains(folder: Path) -> None:
    """Then nothing is left to anybody."""
    both = application(policy("P"), domain=f"{HOST}/alpha/*", self_hosted_domains=[f"{HOST}/alpha"])
    assert warn(folder, both, application(policy("P"), name="Rest")) == []


def test_a_host_that_no_application_has_is_told(folder: Path) -> None:
    """At its own place in the list; a wildcard on either side is enough."""
    root = {"name": "CA", "certificate": "ca.pem", "associated_hostnames": [HOST, "mony.example.com", "*.example.com"]}
    found = warn(folder, application(policy("P")), root_certificates=[root])
    place = "root_certificates[0].associated_hostnames[1]"
    assert found == [(place, "no application has the host mony.example.com")]


# --- Trust that ends --------------------------------------------------------------------------------------------------


def warn_of_trust(folder: Path, at: datetime = NOW, **root: Any) -> list[Problem]:
    table = {"name": "CA", "certificate": "ca.pem", "associated_hostnames": [HOST]} | root
    assembly = build(folder, application(policy("P")), root_certificates=[table])
    return list(find_warnings(assembly, at, lambda _: False))


def test_a_root_is_told_of_before_it_ends_and_after(folder: Path) -> None:
    """Sixty days are needed to bring a new one to every device."""
    end = CA.certificate.not_valid_after_utc
    assert warn_of_trust(folder, end - timedelta(days=61)) == []
    [soon] = warn_of_trust(folder, end - timedelta(days=59, hours=1))
    assert (soon.place, soon.message) == (
        "root_certificates[0].certificate",
        f"CN=Test CA ends on {end:%Y-%m-%d}, in 59 days",
    )
    [over] = warn_of_trust(folder, end + timedelta(days=1))
    assert over.message == f"CN=Test CA ended on {end:%Y-%m-%d}, so nobody it vouches for gets in"
    [early] = warn_of_trust(folder, CA.certificate.not_valid_before_utc - timedelta(days=1))
    assert early.message.endswith("so nobody it vouches for gets in yet")


def test_what_lives_for_weeks_is_told_of_in_its_last_quarter(tmp_path: Path) -> None:
    """Else a short-lived intermediate would be warned of all its life."""
    short = make_authority("Short", begins=timedelta(0), ends=40 * DAY)
    short.write(tmp_path, "ca")
    begin = short.certificate.not_valid_before_utc
    assert warn_of_trust(tmp_path, begin + 29 * DAY) == []
    assert len(warn_of_trust(tmp_path, begin + 31 * DAY)) == 1


LISTS: dict[str, tuple[dict[str, Any], str]] = {
    "lasting": ({"ends": 7 * DAY}, ""),
    "short, and half of it left": ({"begins": -timedelta(hours=6), "ends": timedelta(hours=6)}, ""),
    "short, and nearly over": ({"begins": -timedelta(hours=11), "ends": timedelta(hours=1)}, "lapses at"),
    "about to lapse": ({"begins": -9 * DAY, "ends": timedelta(hours=23)}, "lapses at"),
    "lapsed": ({"begins": -9 * DAY, "ends": -DAY}, "lapsed at"),
    "without an end": ({"ends": None}, "does not say until when"),
    "of tomorrow": ({"begins": DAY}, "in the future"),
}


@pytest.mark.parametrize(("times", "said"), LISTS.values(), ids=LISTS)
def test_a_list_is_told_of_before_it_lapses(folder: Path, times: dict[str, Any], said: str) -> None:
    """Because then nobody gets in, unless it is only to be warned of."""
    (folder / "ca.crl").write_bytes(make_list(CA, **times))
    found = warn_of_trust(folder, crl=["ca.crl"])
    assert len(found) == bool(said)
    for problem in found:
        assert problem.place == "root_certificates[0].crl"
        assert said in problem.message
        assert problem.message.endswith("and then nobody below it gets in")
    lenient = warn_of_trust(folder, crl=["ca.crl"], crl_expired="warn")
    assert [each.message.endswith("gets in") for each in lenient] == [False] * len(found)


def test_an_intermediate_without_a_list_is_told(tmp_path: Path) -> None:
    """Both: that nobody says whether it is withdrawn itself, and that nobody says so of its devices."""
    middle = make_authority("Middle", CA, ends=3650 * DAY)
    (tmp_path / "ca.pem").write_text(middle.pem + CA.pem)
    (tmp_path / "ca.crl").write_bytes(make_list(CA))
    (tmp_path / "middle.crl").write_bytes(make_list(middle))
    [devices] = warn_of_trust(tmp_path, crl=["ca.crl"])
    assert devices.message == "none of the lists is from CN=Middle, so every device that it has issued is refused"
    [itself] = warn_of_trust(tmp_path, crl=["middle.crl"])
    assert itself.message.startswith("no list says whether the intermediate CN=Middle is withdrawn, so every device")
    assert warn_of_trust(tmp_path, crl=["ca.crl", "middle.crl"]) == []
    softened = warn_of_trust(tmp_path, crl=["ca.crl"], ocsp="http://ocsp.example.com")
    assert [each.message for each in softened] == ["none of the lists is from CN=Middle"]
