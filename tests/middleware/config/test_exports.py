"""Exports from Access's API and from Terraform, read as they are."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.config.exports import Export, read_export
from keyfob.config.exports.fields import FIELDS, Use
from keyfob.config.exports.findings import Kind
from keyfob.config.exports.rules import CLOUD_ONLY, SELECTORS
from keyfob.config.positions import find_line, find_lines

SAMPLES = Path(__file__).parent / "exports"
EMPTY = Export([], [], [], [], [], [], [], {})

GROUP = "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"
LIST = "8f2e6c1e-5a4b-4f0e-9d1c-3b7a6f5e4d2c"
HOME = "699d9864-2c56-4d2e-855e-9661899b7252"
BUDGET = "0f1c9d62-1d2f-4b0e-8f4d-1f4f8c9ed001"
PHONE = "5e0c7b1e-0000-4000-8000-000000000001"

# Section 2 of what is known about Access: every selector as its API writes it.
API_RULES: list[dict[str, Any]] = [
    {"everyone": {}},
    {"certificate": {}},
    {"common_name": {"common_name": "Rhea Group"}},
    {"ip": {"ip": "10.0.0.0/8"}},
    {"ip_list": {"id": LIST}},
    {"geo": {"country_code": "PT"}},
    {"service_token": {"token_id": "t"}},
    {"any_valid_service_token": {}},
    {"email": {"email": "a@example.com"}},
    {"email_domain": {"domain": "example.com"}},
    {"email_list": {"id": "e"}},
    {"group": {"id": GROUP}},
    {"login_method": {"id": "l"}},
    {"auth_method": {"auth_method": "mfa"}},
    {"gsuite": {"email": "g@example.com", "identity_provider_id": "i"}},
    {"azureAD": {"id": "a", "identity_provider_id": "i"}},
    {"okta": {"name": "o", "identity_provider_id": "i"}},
    {"github-organization": {"identity_provider_id": "i", "name": "example", "team": "red"}},
    {"github-organization": {"identity_provider_id": "i", "name": "example"}},
    {"saml": {"attribute_name": "n", "attribute_value": "v", "identity_provider_id": "i"}},
    {"oidc": {"claim_name": "n", "claim_value": "v", "identity_provider_id": "i"}},
    {"external_evaluation": {"evaluate_url": "https://example.com/e", "keys_url": "https://example.com/k"}},
]

POLICY = {"id": "p", "name": "Mine", "decision": "non_identity", "include": [{"certificate": {}}]}
APPLICATION = {
    "id": "a",
    "name": "Budget",
    "type": "self_hosted",
    "domain": "money.example.com",
    "policies": [{**POLICY, "precedence": 1}],
}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def application(**members: object) -> dict[str, Any]:
    return {**copy.deepcopy(APPLICATION), **members}


def policy(**members: object) -> dict[str, Any]:
    return {**copy.deepcopy(POLICY), **members}


def said(export: Export) -> list[tuple[str, str]]:
    """Where each problem is, and what it is."""
    return [(problem.place, problem.message) for problem in export.problems]


def changed(name: str, place: tuple[str | int, ...], value: object) -> Any:
    """A sample with another value at one place."""
    document = sample(name)
    at = document
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    return document


# --- Each form, whole ---

GROUP_HOME = {
    "id": GROUP,
    "name": "Home",
    "include": [{"ip_list": {"id": LIST}}, {"ip": {"ip": "2001:db8::/32"}}],
    "exclude": [{"geo": {"country_code": "PT"}}],
}
IP_LIST = {"id": LIST, "name": "Addresses at home", "items": ["192.0.2.0/24", "198.51.100.7"]}


def without_empty(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in table.items() if value != []} for table in tables]


@pytest.mark.parametrize("name", ["api-answers.json", "terraform-show.json"])
def test_answers_of_the_api_and_what_terraform_shows_load_as_they_are(name: str) -> None:
    """Applications with their policies in order, reusable policies, groups and lists; what is null is left out."""
    export = read_export(sample(name))
    assert export.problems == []
    [budget] = export.applications
    phone, home = budget.pop("policies")
    assert budget == {
        "id": BUDGET,
        "name": "Budget",
        "domain": "money.example.com",
        "self_hosted_domains": ["money.example.net/entries"],
        "session_duration": "24h",
    }
    assert without_empty([phone]) == [
        {
            "id": PHONE,
            "name": "My phone",
            "decision": "non_identity",
            "include": [{"certificate": {}}],
            "require": [{"common_name": {"common_name": "Rhea Group"}}],
        }
    ]
    assert home == HOME
    assert without_empty(export.policies) == [
        {
            "id": HOME,
            "name": "At home",
            "decision": "bypass",
            "include": [{"group": {"id": GROUP}}],
            "session_duration": "24h",
        }
    ]
    assert without_empty(export.groups) == [GROUP_HOME]
    assert export.ip_lists == [IP_LIST]


def test_blocks_of_an_older_provider_are_written_out() -> None:
    """Several values in one block are as many rules, and a policy that names its application goes there."""
    export = read_export(sample("terraform-show-v4.json"))
    assert export.problems == []
    [budget] = export.applications
    assert (budget["domain"], budget["self_hosted_domains"]) == ("money.example.com", ["money.example.net/entries"])
    assert without_empty(budget["policies"]) == [
        {
            "id": "p-phone",
            "name": "My phones",
            "decision": "non_identity",
            "include": [
                {"common_name": {"common_name": "Rhea Group"}},
                {"common_name": {"common_name": "Rhea Tablet"}},
            ],
            "require": [{"certificate": {}}, {"ip": {"ip": "192.0.2.0/24"}}, {"ip": {"ip": "192.0.2.0/25"}}],
            "exclude": [
                {"auth_method": {"auth_method": "mfa"}},
                {"azureAD": {"identity_provider_id": "idp", "id": "one"}},
                {"azureAD": {"identity_provider_id": "idp", "id": "two"}},
                {"github-organization": {"identity_provider_id": "idp", "name": "example", "team": "red"}},
                {"github-organization": {"identity_provider_id": "idp", "name": "example", "team": "blue"}},
            ],
        },
        {"id": "p-home", "name": "At home", "decision": "bypass", "include": [{"group": {"id": GROUP}}]},
    ]
    assert export.policies == []
    assert without_empty(export.groups)[0]["include"] == [{"ip": {"ip": "2001:db8::/32"}}, {"ip_list": {"id": LIST}}]
    assert export.ip_lists == [IP_LIST]


def test_configuration_in_json_refers_to_what_is_beside_it() -> None:
    """A reference to the id of a resource in the same file is resolved: its address stands for its id."""
    export = read_export(sample("terraform-configuration.json"))
    assert export.problems == []
    group, home = "cloudflare_zero_trust_access_group.home", "cloudflare_zero_trust_access_policy.home"
    assert export.groups == [{"id": group, "name": "Home", "include": [{"ip": {"ip": "2001:db8::/32"}}]}]
    assert export.policies == [
        {"id": home, "name": "At home", "decision": "bypass", "include": [{"group": {"id": group}}]}
    ]
    [budget] = export.applications
    assert budget["policies"][0] == home
    assert budget["policies"][1]["require"] == [{"common_name": {"common_name": "Rhea Group"}}]


def test_a_plan_that_leaves_nothing_open_loads() -> None:
    """What Terraform would make is as good as what it has made, if all of it is known."""
    export = read_export(sample("terraform-plan.json"))
    assert (export.problems, export.policies[0]["include"]) == ([], [{"certificate": {}}])


@pytest.mark.parametrize(
    "raw",
    [
        application(),
        [application()],
        {"result": application(), "success": True},
        {"result": [application()], "success": True, "errors": [], "messages": []},
        {"applications": [application()]},
        {"apps": {"result": [application()], "success": True}, "groups": [], "policies": {"result": []}},
        [{"result": [application()]}, {"result": [application()]}],
    ],
)
def test_an_application_is_found_in_any_wrapping(raw: object) -> None:
    """One table, a list, an answer, several answers, or sections; and the same one twice is one."""
    export = read_export(raw)
    assert export.problems == []
    assert export.applications == [{"id": "a", "name": "Budget", "domain": "money.example.com", "policies": [POLICY]}]


@pytest.mark.parametrize("raw", [[], {"result": []}, {"applications": []}])
def test_an_empty_export_is_empty(raw: object) -> None:
    """Nothing is found where nothing is, and nothing is wrong with that."""
    assert read_export(raw) == EMPTY


@pytest.mark.parametrize(
    "raw",
    [None, 1, "text", {}, [1], {"result": None}, {"result": ["text"]}, {"values": 1}, {"values": {"root_module": 1}}],
)
def test_what_is_no_export_is_said_to_be_none(raw: object) -> None:
    """A file of another kind is a problem, not an export of nothing."""
    assert read_export(raw).problems


# --- Rules ---


@pytest.mark.parametrize("side", ["include", "require", "exclude"])
def test_every_selector_of_access_comes_through_unchanged(side: str) -> None:
    """What the API writes is what our own document says."""
    export = read_export([policy(**{side: API_RULES})])
    assert export.problems == []
    assert export.policies[0][side] == API_RULES
    assert {name for rule in API_RULES for name in rule} == set(SELECTORS)


TERRAFORM_NAMES = {"azureAD": "azure_ad", "github-organization": "github_organization"}


@pytest.mark.parametrize("rule", API_RULES, ids=lambda rule: next(iter(rule)))
def test_terraform_spells_the_same_rules(rule: dict[str, Any]) -> None:
    """Its current provider names every selector in each rule, and leaves all but one of them null."""
    [(name, argument)] = rule.items()
    spelled = {**dict.fromkeys(SELECTORS), TERRAFORM_NAMES.get(name, name): {**argument, "other": None}}
    export = read_export([{"name": "g", "include": [spelled]}])
    assert (export.problems, export.groups[0]["include"]) == ([], [rule])


@pytest.mark.parametrize("selector", CLOUD_ONLY)
@pytest.mark.parametrize("side", ["include", "require", "exclude"])
def test_what_only_the_cloud_can_tell_is_named(selector: str, side: str) -> None:
    """A rule that nobody can evaluate here is a problem with its place, and does not vanish from its policy."""
    export = read_export({"result": [application(policies=[policy(**{side: [{selector: {"id": "x"}}]})])]})
    [(place, message)] = said(export)
    assert place == f"result[0].policies[0].{side}[0].{selector}"
    assert message.startswith(f"{selector} is not supported")
    assert export.applications[0]["policies"][0][side] == [{selector: {"id": "x"}}]


@pytest.mark.parametrize(
    ("rule", "place", "message"),
    [
        ({}, "", "names no selector"),
        ({"email": None, "ip": None}, "", "names no selector"),
        ({"everyone": False, "ip": [], "common_name": ""}, "", "names no selector"),
        ("everyone", "", "names no selector"),
        ({"ip": {"ip": "::/0"}, "geo": {"country_code": "PT"}}, "", "names 2 selectors: ip, geo"),
        ({"everybody": {}}, ".everybody", "everybody is no selector of Access"),
        ({"ip": 5}, ".ip", "5 is no argument of ip"),
        ({"ip": ["10.0.0.0/8", ""]}, ".ip[1]", "'' is no argument of ip"),
        ({"ip": ["10.0.0.0/8", None]}, ".ip[1]", "None is no argument of ip"),
        ({"ip": [["10.0.0.0/8"]]}, ".ip[0]", "['10.0.0.0/8'] is no argument of ip"),
        ({"ip": True}, ".ip", "True is no argument of ip"),
        ({"saml": True}, ".saml", "True is no argument of saml"),
        ({"saml": "x"}, ".saml", "'x' is no argument of saml"),
        ({"okta": ["staff"]}, ".okta[0]", "'staff' is no argument of okta"),
        ({"everyone": "yes"}, ".everyone", "'yes' is no argument of everyone"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_and_stays(rule: object, place: str, message: str) -> None:
    """One rule less in `require` or `exclude` would let in more people."""
    export = read_export([policy(require=[rule])])
    assert said(export) == [(f"[0].require[0]{place}", message)]
    assert export.policies[0]["require"]


def test_a_list_of_rules_that_is_none_stays() -> None:
    """It is not taken for an empty one."""
    export = read_export([policy(require="x")])
    assert (said(export), export.policies[0]["require"]) == ([("[0].require", "is not a list")], ["x"])


def test_an_organization_without_teams_stands_for_all_of_them() -> None:
    """The older provider leaves the list of teams empty."""
    block = {"github": [{"name": "example", "teams": [], "identity_provider_id": "i"}]}
    export = read_export([policy(include=[block])])
    assert export.policies[0]["include"] == [{"github-organization": {"name": "example", "identity_provider_id": "i"}}]


# --- Members ---


def test_every_member_that_is_documented_has_a_row() -> None:
    """The attributes that the current provider shows, and the names that only the API or an older provider knows."""
    for resource in sample("terraform-show.json")["values"]["root_module"]["resources"]:
        if resource["type"].endswith("_application"):
            assert resource["values"].keys() <= FIELDS[Kind.APPLICATION].keys()
    documented = """approval_groups approval_required connection_rules created_at decision exclude id include
        isolation_required mfa_config name precedence purpose_justification_prompt purpose_justification_required
        require reusable session_duration updated_at app_count account_id application_id approval_group zone_id"""
    assert set(documented.split()) <= FIELDS[Kind.POLICY].keys()


UNSUPPORTED = [
    (kind, name) for kind in FIELDS for name, row in FIELDS[kind].items() if row.use in (Use.UNSUPPORTED, Use.LOGIN)
]
TABLES = {
    Kind.APPLICATION: lambda **members: application(policies=[policy(decision="allow")], **members),
    Kind.POLICY: policy,
}


@pytest.mark.parametrize(("kind", "name"), UNSUPPORTED)
@pytest.mark.parametrize("value", [True, "x", ["x"], [{"x": "y"}], {"x": {"y": 1}}])
def test_a_member_that_decides_who_gets_in_is_named(kind: Kind, name: str, value: object) -> None:
    """What only Access can do is unsupported by its name and place, and stays in the table."""
    export = read_export([TABLES[kind](**{name: value})])
    [(place, message)] = said(export)
    assert place == f"[0].{name}"
    assert message.startswith("is not supported: ")
    assert (export.applications or export.policies)[0][name] == value
    assert export.problems[0].hint


@pytest.mark.parametrize(("kind", "name"), UNSUPPORTED)
@pytest.mark.parametrize("value", [None, False, "", [], {}, [{"x": None}], {"x": []}])
def test_a_member_that_says_nothing_is_no_problem(kind: Kind, name: str, value: object) -> None:
    """The API and Terraform write many that are switched off."""
    export = read_export([TABLES[kind](**{name: value})])
    assert export.problems == []
    assert name not in (export.applications or export.policies)[0]


def test_where_people_log_in_which_providers_count_is_read() -> None:
    """And where nobody does, it says nothing."""
    asking = read_export([application(policies=[policy(decision="allow")], allowed_idps=["8c9f"])])
    assert (asking.problems, asking.applications[0]["allowed_idps"]) == ([], ["8c9f"])
    others = read_export([application(policies=[policy()], allowed_idps=["8c9f"])])
    assert (others.problems, "allowed_idps" in others.applications[0]) == ([], False)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("session_duration", "30m", "30m"),
        ("options_preflight_bypass", True, True),
        ("cors_headers", {"allow_all_origins": True, "allowed_methods": []}, {"allow_all_origins": True}),
        ("cors_headers", [{"allowed_origins": ["https://a.example"], "max_age": 60, "allow_all_headers": False}], None),
    ],
)
def test_sessions_and_preflights_are_read(name: str, value: object, read: object) -> None:
    """A block of Terraform is a list of one table; what says nothing is left out."""
    export = read_export([application(policies=[policy()], **{name: value})])
    expected = {"allowed_origins": ["https://a.example"], "max_age": 60} if read is None else read
    assert (export.problems, export.applications[0][name]) == ([], expected)
    nothing: tuple[object, ...] = (None, "", [], {}, False)
    for empty in nothing:
        assert name not in read_export([application(policies=[policy()], **{name: empty})]).applications[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mfa_config", {"mfa_disabled": True, "allowed_authenticators": ["totp"]}),
        ("oauth_configuration", {"enabled": False, "grant": {"session_duration": "1h"}}),
    ],
)
def test_what_is_switched_off_has_no_effect(name: str, value: object) -> None:
    """Its other settings do not matter then."""
    assert read_export([application(policies=[policy(decision="allow")], **{name: value})]).problems == []


@pytest.mark.parametrize("name", ["allow_authenticate_via_warp", "mfa_config"])
@pytest.mark.parametrize(
    ("policies", "is_problem"),
    [
        ([policy()], False),
        ([policy(decision="deny"), policy(decision="bypass")], False),
        ([policy(), policy(decision="allow")], True),
        (["reusable"], False),
        (["reusable-login"], True),
        (["elsewhere"], True),
    ],
)
def test_what_is_about_logins_matters_where_there_is_one(name: str, policies: object, is_problem: bool) -> None:
    """A policy that is not in the export may ask for a login."""
    reusable = [policy(id="reusable"), policy(id="reusable-login", decision="allow")]
    export = read_export([application(policies=policies, **{name: ["x"]}), *reusable])
    assert [place for place, _ in said(export)] == ([f"[0].{name}"] if is_problem else [])


@pytest.mark.parametrize("table", [application(), policy(), {"include": []}, {"items": [], "type": "IP"}])
def test_a_member_that_nobody_knows_is_refused(table: dict[str, Any]) -> None:
    """It may decide who gets in; a slip of the pen is recognised."""
    export = read_export([{**table, "nmae": "x", "brandnew": False}])
    assert [(each.place, each.hint) for each in export.problems] == [
        ("[0].nmae", "did you mean 'name'?"),
        ("[0].brandnew", "it may decide who gets in, so it is not passed over"),
    ]


# --- Applications ---


@pytest.mark.parametrize(
    "told", ["ssh", "vnc", "rdp", "infrastructure", "mcp", "mcp_portal", "proxy_endpoint", "private_ip", "something"]
)
def test_applications_that_guard_hosts_in_other_ways_are_refused(told: str) -> None:
    """Left out, its host could fall to a wildcard of another application."""
    [(place, message)] = said(read_export({"applications": [application(type=told)]}))
    assert place == "applications[0].type"
    assert repr(told) in message


@pytest.mark.parametrize("told", ["app_launcher", "biso", "bookmark", "dash_sso", "saas", "warp"])
def test_applications_that_guard_nothing_here_are_left_out_by_name(told: str) -> None:
    """Every account has a launcher; it stays where it is, and is named."""
    export = read_export([application(type=told, saas_app={"x": 1}, allowed_idps=["x"])])
    assert (export.applications, export.problems) == ([], [])
    assert [(each.place, repr(told) in each.message) for each in export.warnings] == [("[0].type", True)]


@pytest.mark.parametrize(
    ("members", "hosts"),
    [
        ({}, ["money.example.com"]),
        ({"self_hosted_domains": ["money.example.com", "b.example.com/x"]}, ["money.example.com", "b.example.com/x"]),
        ({"domain": None, "self_hosted_domains": ["b.example.com"]}, ["b.example.com"]),
        ({"domain": None, "destinations": [{"type": "public", "uri": "c.example.com/*"}]}, ["c.example.com/*"]),
        ({"destinations": [{"uri": "c.example.com", "cidr": ""}]}, ["money.example.com", "c.example.com"]),
        ({"domain": None}, []),
    ],
)
def test_every_domain_of_an_application_is_guarded(members: dict[str, Any], hosts: list[str]) -> None:
    """The main one, the older list and the destinations all name domains."""
    export = read_export({"applications": [application(**members)]})
    assert export.problems == []
    [found] = export.applications
    assert [*([found["domain"]] if "domain" in found else []), *found.get("self_hosted_domains", [])] == hosts


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"destinations": [{"type": "private", "cidr": "10.0.0.0/8"}]}, "[0].destinations[0]"),
        ({"destinations": [{"type": "worker", "worker_id": "w"}]}, "[0].destinations[0]"),
        ({"destinations": [{"type": "all_workers", "uri": "a.example.com"}]}, "[0].destinations[0]"),
        ({"destinations": [{"type": "public", "uri": "a.example.com", "port_range": "80"}]}, "[0].destinations[0]"),
        ({"destinations": [{"type": "public"}]}, "[0].destinations[0]"),
        ({"destinations": [None]}, "[0].destinations[0]"),
        ({"destinations": "a.example.com"}, "[0].destinations[0]"),
        ({"self_hosted_domains": [1]}, "[0].self_hosted_domains"),
        ({"domain": ["a.example.com"]}, "[0].domain"),
        ({"domain_type": "private"}, "[0].domain_type"),
        (
            {"destinations": [{"uri": "a.example.com"}], "self_hosted_domains": ["b.example.com"]},
            "[0].self_hosted_domains",
        ),
        ({"policies": "p"}, "[0].policies"),
        ({"policies": [None]}, "[0].policies[0]"),
        ({"policies": [""]}, "[0].policies[0]"),
        ({"policies": [policy(precedence="1")]}, "[0].policies[0].precedence"),
        ({"policies": [policy(precedence=True)]}, "[0].policies[0].precedence"),
    ],
)
def test_what_an_application_guards_and_how_has_to_be_clear(members: dict[str, Any], place: str) -> None:
    """What cannot be guarded here, or is said in two ways, is refused."""
    assert [each for each, _ in said(read_export([application(**members)]))] == [place]


@pytest.mark.parametrize(
    ("precedences", "order"),
    [
        ([3, 1, 2], [1, 2, 0]),
        ([None, None, None], [0, 1, 2]),
        ([5, None, 1], [2, 0, 1]),
        ([1, 1, 1], [0, 1, 2]),
        ([10, 9, None], [1, 0, 2]),
    ],
)
def test_policies_come_in_the_order_of_their_precedence(precedences: list[int | None], order: list[int]) -> None:
    """Ascending; one without a number comes behind its neighbour, and equal numbers keep the order of the list."""
    written = [policy(id=str(index), precedence=each) for index, each in enumerate(precedences)]
    [found] = read_export([application(policies=written)]).applications
    assert [int(each["id"]) for each in found["policies"]] == order


@pytest.mark.parametrize(
    "written",
    ["p", {"id": "p"}, {"id": "p", "precedence": 1}, {"id": "p", "decision": None, "include": [], "name": "Mine"}],
)
def test_a_policy_by_its_id_stays_a_reference(written: object) -> None:
    """The reusable policy is looked up by whoever reads the whole configuration."""
    [found] = read_export([application(policies=[written])]).applications
    assert found["policies"] == ["p"]


@pytest.mark.parametrize(
    "half", [{"id": "p", "include": [{"everyone": {}}]}, {"id": "p", "require": [{}]}, {"name": "p"}]
)
def test_half_a_policy_is_no_reference(half: dict[str, Any]) -> None:
    """Rules without a decision are not given up for an id."""
    [found] = read_export([application(policies=[half])]).applications
    assert isinstance(found["policies"][0], dict)


def test_a_policy_of_an_application_has_to_find_it() -> None:
    """One whose application is not there would be lost."""
    assert said(read_export([policy(application_id="gone")])) == [
        ("[0].application_id", "names no application of this export")
    ]


def test_policies_that_come_in_two_ways_have_no_order() -> None:
    """In its list and by its id: nobody can tell which of them comes first."""
    [(place, message)] = said(read_export([application(), policy(id="q", application_id="a")]))
    assert (place, "order" in message) == ("[0].policies", True)


def test_a_table_that_comes_twice_has_to_be_the_same() -> None:
    """Two versions of one policy are not chosen between."""
    assert read_export([policy(), policy()]).problems == []
    [(place, message)] = said(read_export([policy(), policy(decision="bypass")]))
    assert (place, message) == ("[1]", "the policy 'p' comes twice, and not the same")


# --- Lists ---


def test_lists_of_addresses_and_of_people_are_kept_apart() -> None:
    """Lists that no rule can refer to are not kept at all."""
    export = read_export(
        {
            "lists": [
                {"id": "i", "name": "I", "type": "IP", "items": ["192.0.2.1"]},
                {"id": "e", "name": "E", "type": "EMAIL", "count": 1, "items": [{"value": "a@example.com"}]},
                {"id": "s", "name": "S", "type": "SERIAL", "items": ["1"]},
            ]
        }
    )
    assert export.problems == []
    assert export.ip_lists == [{"id": "i", "name": "I", "items": ["192.0.2.1"]}]
    assert export.email_lists == [{"id": "e", "name": "E", "items": ["a@example.com"]}]


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({}, ""),
        ({"items": [], "count": 2}, ""),
        ({"items": [5]}, ".items[0]"),
        ({"items": [{"value": ""}]}, ".items[0]"),
    ],
)
def test_a_list_that_lacks_items_is_incomplete(members: dict[str, Any], place: str) -> None:
    """The API counts the items of a list where it does not give them."""
    export = read_export({"ip_lists": [{"id": "i", "name": "I", "type": "IP", **members}]})
    assert [each for each, _ in said(export)] == [f"ip_lists[0]{place}"]


# --- Answers of the API ---


def answer(kind: str, page: int, total_pages: int, total_count: int, held: int = 1) -> dict[str, Any]:
    result = [policy(id=f"{kind}{page}.{index}") for index in range(held)]
    info = {"page": page, "per_page": held, "count": held, "total_count": total_count, "total_pages": total_pages}
    return {"result": result, "success": True, "errors": [], "messages": [], "result_info": info}


def test_every_page_together_is_a_whole_export() -> None:
    """As many answers as the API has pages, in any order."""
    export = read_export([answer("p", 2, 2, 3, held=1), answer("p", 1, 2, 3, held=2)])
    assert (export.problems, len(export.policies)) == ([], 3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (answer("p", 1, 2, 2), "the export is incomplete: page 2 of 2 is missing"),
        ([answer("p", 1, 3, 3), answer("p", 3, 3, 3)], "the export is incomplete: page 2 of 3 is missing"),
        ([answer("p", 1, 2, 2), answer("q", 1, 2, 2)], "the export is incomplete: page 2 of 2 is missing"),
        (answer("p", 1, 1, 5), "the export is incomplete: 1 of 5 are here"),
        ({"result": [policy()], "result_info": {"count": 2}}, "the export is incomplete: 1 of 2 are here"),
        ({"result": [policy()], "result_info": {"total_count": 2}}, "the export is incomplete: 1 of 2 are here"),
        ({"result": [], "result_info": {"total_count": 2}}, "the export is incomplete: 0 of 2 are here"),
    ],
)
def test_a_missing_page_is_missed(raw: object, message: str) -> None:
    """The policy that denies may stand on the next page."""
    assert [each for _, each in said(read_export(raw))] == [message]


@pytest.mark.parametrize(
    "raw",
    [
        {"result": None, "success": False, "errors": [{"code": 10000, "message": "Authentication error"}]},
        {"result": [], "success": True, "errors": [{"code": 1, "message": "Authentication error"}]},
        {"result": [], "success": "Authentication error"},
    ],
)
def test_a_refusal_of_the_api_is_no_empty_export(raw: object) -> None:
    """The API answers in the same form when it does not let somebody read."""
    [(place, message)] = said(read_export({"policies": raw}))
    assert place == "policies"
    assert message.startswith("the API has refused: ")


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ({"result": [], "sucess": True}, "sucess"),
        ({"applications": [], "polices": []}, "polices"),
        ({"applications": [], "source": {"kind": "tls"}}, "source"),
        ([{"name": "onetimepin", "type": "onetimepin"}], "[0]"),
    ],
)
def test_a_part_that_nobody_knows_is_refused(raw: object, place: str) -> None:
    """Nothing in an export is passed over."""
    assert [each for each, _ in said(read_export(raw))] == [place]


# --- Terraform ---

RESOURCE = ("values", "root_module", "resources", 0)


@pytest.mark.parametrize(
    ("name", "place", "value", "problem"),
    [
        ("terraform-show.json", (*RESOURCE, "values"), None, "values.root_module.resources[0].values"),
        (
            "terraform-show.json",
            (*RESOURCE, "type"),
            "cloudflare_zero_trust_access_aplication",
            "values.root_module.resources[0].type",
        ),
        ("terraform-show.json", ("errored",), True, ""),
        ("terraform-plan.json", ("complete",), False, ""),
        ("terraform-plan.json", ("resource_changes",), None, "resource_changes"),
        (
            "terraform-plan.json",
            ("resource_changes", 0, "change", "after_unknown"),
            {"require": True, "id": True, "updated_at": True, "exclude": []},
            "planned_values.root_module.resources[0].values.require",
        ),
        (
            "terraform-plan.json",
            ("resource_changes", 0, "change", "after_unknown"),
            {"include": [{"group": {"id": True}}]},
            "planned_values.root_module.resources[0].values.include",
        ),
        ("terraform-configuration.json", ("module",), {"more": {}}, "module"),
        ("terraform-configuration.json", ("resuorce",), {}, "resuorce"),
        (
            "terraform-configuration.json",
            ("resource", "cloudflare_access_group"),
            {"x": 1},
            "resource.cloudflare_access_group.x",
        ),
    ],
)
def test_what_terraform_leaves_open_is_refused(
    name: str, place: tuple[str | int, ...], value: object, problem: str
) -> None:
    """A plan shows no rule that is not known yet, and a module is in another file."""
    assert [each for each, _ in said(read_export(changed(name, place, value)))] == [problem]


@pytest.mark.parametrize("key", ["count", "for_each", "dynamic"])
def test_what_multiplies_a_resource_is_refused(key: str) -> None:
    """How many there are is known to Terraform alone."""
    place = ("resource", "cloudflare_zero_trust_access_group", "home", key)
    export = read_export(changed("terraform-configuration.json", place, 0))
    assert [(each.place, "terraform show -json" in each.hint) for each in export.problems] == [
        (f"resource.cloudflare_zero_trust_access_group.home.{key}", True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "${cloudflare_zero_trust_access_group.gone.id}",
        "${cloudflare_zero_trust_access_group.home.name}",
        "${cloudflare_zero_trust_access_group.home[0].id}",
        "x-${cloudflare_zero_trust_access_group.home.id}",
        "${var.group}",
        "$${literal}",
        "%{ if var.x }x%{ endif }",
    ],
)
def test_an_expression_is_not_taken_for_a_text(text: str) -> None:
    """Only a reference to what stands in the same file can be followed."""
    at = ("resource", "cloudflare_zero_trust_access_policy", "home", "include", 0, "group", "id")
    export = read_export(changed("terraform-configuration.json", at, text))
    assert [(each.place, "terraform show -json" in each.hint) for each in export.problems] == [
        ("resource.cloudflare_zero_trust_access_policy.home.include[0].group.id", True)
    ]


def test_an_expression_that_may_switch_something_on_is_refused() -> None:
    """A member that has to be empty is not empty when nobody knows."""
    at = ("resource", "cloudflare_zero_trust_access_policy", "home", "approval_required")
    [(place, _)] = said(read_export(changed("terraform-configuration.json", at, "${var.approval}")))
    assert place == "resource.cloudflare_zero_trust_access_policy.home.approval_required"


def test_configuration_may_be_written_in_lists() -> None:
    """Terraform takes a list of tables for a table, and one block for a list of them."""
    body = {"name": "G", "include": {"ip": ["192.0.2.0/24"]}}
    for raw in ({"x": body}, {"x": [body]}, [{"x": body}]):
        for resource in ({"cloudflare_access_group": raw}, [{"cloudflare_access_group": raw}]):
            export = read_export({"resource": resource})
            assert (export.problems, export.groups[0]["include"]) == ([], [{"ip": {"ip": "192.0.2.0/24"}}])


def test_terraforms_own_state_file_is_no_export() -> None:
    """Its hint names the command that makes one."""
    [problem] = read_export({"version": 4, "terraform_version": "1.9.0", "resources": []}).problems
    assert "terraform show -json" in problem.hint


def test_resources_that_are_not_about_who_gets_in_are_passed_by() -> None:
    """Data sources, decoration, and whatever else an infrastructure is made of."""
    kinds = ["aws_instance", "cloudflare_zero_trust_access_tag", "cloudflare_access_service_token", None]
    resources: list[dict[str, object]] = [{"mode": "managed", "type": kind, "values": {}} for kind in kinds]
    resources.append({"mode": "data", "type": "cloudflare_access_policy", "values": {}})
    assert read_export({"values": {"root_module": {"resources": resources}}}) == EMPTY
    assert read_export({"values": {"root_module": {}}}) == EMPTY


# --- Places ---


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_everything_that_is_read_has_a_line_in_the_export(path: Path) -> None:
    """A problem that is found later can still name the line of the file it came from."""
    text = path.read_text(encoding="utf-8")
    export, lines = read_export(json.loads(text)), find_lines(text, "json")
    assert export.places
    assert all(find_line(lines, place) for place in export.places.values())
    for name in ("applications", "policies", "groups", "ip_lists"):
        for index, table in enumerate(getattr(export, name)):
            assert (name, index) in export.places
            for side in ("include", "require", "exclude"):
                for number, rule in enumerate(table.get(side, [])):
                    line = find_line(lines, export.places[name, index, side, number])
                    assert line is not None
                    assert next(iter(rule)).partition("-")[0][:6] in "".join(text.splitlines()[line - 3 : line])


# --- Anything at all ---

FORMS = """result result_info total_pages total_count page resource values planned_values root_module child_modules
    resources resource_changes change after_unknown applications groups lists self_hosted IP uri
    cloudflare_access_policy cloudflare_zero_trust_access_application ${cloudflare_access_policy.uri.id}"""
MEMBERS = {name for rows in FIELDS.values() for name in rows}
WORDS = st.sampled_from(sorted({*MEMBERS, *SELECTORS, *CLOUD_ONLY, *FORMS.split()}))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.just(1.5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
)


@given(ANYTHING)
def test_no_document_breaks_the_reading(raw: object) -> None:
    """What is not understood is a problem with a place; the reading changes nothing of what it was given."""
    before = copy.deepcopy(raw)
    export = read_export(raw)
    assert raw == before
    assert all(problem.message and not problem.place.startswith(".") for problem in export.problems)


def test_a_document_without_end_is_refused() -> None:
    """Python counts how deep it may go."""
    raw: Any = {}
    for _ in range(100_000):
        raw = [raw]
    assert [each for _, each in said(read_export(raw))] == ["is nested too deeply"]
