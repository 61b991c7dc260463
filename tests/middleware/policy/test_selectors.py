"""policy.selectors: every row of the table, with a situation in which it holds and one in which it does not."""

import tomllib
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certificates import CLIENT, DAY, make_authority, make_leaf, make_name
from keyfob.errors import KeyfobError
from keyfob.policy import SELECTORS, Identity, Names, Rule, Rules, ServiceToken, UnknownName, compile_rule
from keyfob.policy.selectors import ALIASES, UNSUPPORTED, DeviceList
from keyfob.request import Request
from situations import AT, NOBODY, REQUEST, ROOT, ask_with, judge, person, refuse, show

EMAIL = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4")
POLICY = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
ALTERNATIVES = x509.SubjectAlternativeName([x509.DNSName("phone.example.com")])
POLICIES = x509.CertificatePolicies([x509.PolicyInformation(POLICY, None)])
LEAF = make_leaf(
    ROOT,
    make_name("Rhea Group", organization_name="Rhea"),
    usages=[CLIENT, EMAIL],
    extensions=[(ALTERNATIVES, False), (POLICIES, False)],
    begins=0 * DAY,
    ends=4 * DAY,
)
OTHER_ROOT = make_authority("Other CA")
# Begins earlier, ends later, and has another key and other names.
OTHER_LEAF = make_leaf(OTHER_ROOT, "Other", key=ed25519.Ed25519PrivateKey.generate())
KNOWN, OTHER = show(LEAF), show(OTHER_LEAF, OTHER_ROOT)
SHA256 = sha256(LEAF.certificate.public_bytes(Encoding.DER))
KEY = LEAF.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SERIAL = f"{LEAF.certificate.serial_number:X}"

TOKEN = NOBODY._replace(service_token=ServiceToken("id-token", "import"))
ALICE = person(
    methods=frozenset({"mfa"}),
    groups=frozenset({"finance", "finance@example.com"}),
    organizations={"acme": frozenset({"team"})},
    claims={"group": frozenset({"finance"})},
    evaluated=frozenset({("https://example.com/evaluate", "https://example.com/keys")}),
)
BOB = person("bob@example.net", "id-2")
NEAR = REQUEST._replace(client=ip_address("192.0.2.7"))
FAR = REQUEST._replace(client=ip_address("198.51.100.7"))

NAMES = Names(
    groups={"g": Rules([compile_rule({"certificate": {}}, Names())])},
    ip_lists={"office": (ip_network("192.0.2.0/24"),)},
    root_certificates={"mine": frozenset({sha256(ROOT.certificate.public_bytes(Encoding.DER)).digest()})},
    email_lists={"us": ("me@example.com",)},
    providers={"idp": "id-1", "id-1": "id-1"},
    service_tokens=True,
    find_country={ip_address("192.0.2.7"): "PT", ip_address("198.51.100.7"): "ES"}.get,
    read_devices=lambda file: DeviceList({"Rhea Group"} if file == "devices.txt" else set(), set()),
)


class Case(NamedTuple):
    """An argument, who it holds for and who not, and an argument that is refused with words that help."""

    argument: Mapping[str, Any]
    yes: tuple[Identity, Request]
    no: tuple[Identity, Request]
    wrong: Mapping[str, Any]
    said: str


def about(identity: Identity, other: Identity) -> dict[str, tuple[Identity, Request]]:
    return {"yes": (identity, REQUEST), "no": (other, REQUEST)}


def asked(request: Request, other: Request) -> dict[str, tuple[Identity, Request]]:
    return {"yes": (NOBODY, request), "no": (NOBODY, other)}


IDP = {"identity_provider_id": "idp"}
CERTIFICATES, PEOPLE = about(KNOWN, OTHER), about(ALICE, BOB)
PLACES = asked(NEAR, FAR)
CASES: Mapping[str, Case] = {
    # Everybody is in it, so there is nobody for whom it does not hold.
    "everyone": Case({}, **about(NOBODY, NOBODY), wrong={"x": 1}, said="Extra inputs"),
    "group": Case({"id": "g"}, **about(KNOWN, NOBODY), wrong={"id": ""}, said="is empty"),
    "certificate": Case({}, **about(OTHER, NOBODY), wrong={"certificate": {}}, said="Extra inputs"),
    "common_name": Case(
        {"common_name": "Rhea Group"}, **CERTIFICATES, wrong={"common_name": "Rhea*"}, said="starts_with"
    ),
    "subject": Case({"organization": "Rhea"}, **CERTIFICATES, wrong={}, said="names no attribute"),
    "san": Case(
        {"dns": "phone.example.com"}, **CERTIFICATES, wrong={"dns": {"ends_with": "example.com"}}, said="a dot before"
    ),
    "extended_key_usage": Case(
        {"extended_key_usage": "emailProtection"},
        **CERTIFICATES,
        wrong={"extended_key_usage": "clientauth"},
        said="did you mean 'clientAuth'?",
    ),
    "certificate_policy": Case(
        {"certificate_policy": POLICY.dotted_string},
        **CERTIFICATES,
        wrong={"certificate_policy": "gold"},
        said="dotted digits",
    ),
    "public_key": Case({"type": "ec"}, **CERTIFICATES, wrong={"type": "RSA"}, said="did you mean 'rsa'?"),
    "fingerprint": Case(
        {"fingerprint": SHA256.hexdigest()}, **CERTIFICATES, wrong={"fingerprint": "ab" * 20}, said="-sha256"
    ),
    "spki": Case(
        {"spki": sha256(KEY).hexdigest()}, **CERTIFICATES, wrong={"spki": "sha256/AAAA"}, said="44 characters"
    ),
    "device_list": Case({"file": "devices.txt"}, **CERTIFICATES, wrong={"file": 5}, said="is not a text"),
    "issuer": Case({"issuer": "CN=Test CA"}, **CERTIFICATES, wrong={"issuer": "CN = Test CA"}, said="-nameopt RFC2253"),
    "serial_number": Case(
        {"serial_number": SERIAL, "issuer": "CN=Test CA"},
        **CERTIFICATES,
        wrong={"serial_number": "0x12", "issuer": "CN=Test CA"},
        said="behind serial=",
    ),
    "root_certificate": Case({"name": "mine"}, **CERTIFICATES, wrong={"name": None}, said="is not a text"),
    "issued_within": Case(
        {"issued_within": "30h"},
        **CERTIFICATES,
        wrong={"issued_within": "1 month"},
        said='write "30m", "2h45m" or "30d"',
    ),
    "expires_within": Case(
        {"expires_within": "7d"}, **CERTIFICATES, wrong={"expires_within": "0d"}, said='write "30m", "2h45m" or "30d"'
    ),
    "ip": Case({"ip": "192.0.2.0/24"}, **PLACES, wrong={"ip": "192.0.2.7/24"}, said="without bits beyond"),
    "ip_list": Case({"id": "office"}, **PLACES, wrong={"id": ["office"]}, said="is not a text"),
    "geo": Case({"country_code": "PT"}, **PLACES, wrong={"country_code": "UK"}, said='did you mean "GB"?'),
    "method": Case(
        {"method": "GET"},
        **asked(REQUEST, ask_with(method="POST")),
        wrong={"method": "get"},
        said="did you mean 'GET'?",
    ),
    "header": Case(
        {"name": "X-Role", "value": "clerk"},
        **asked(ask_with(("x-role", "clerk")), ask_with(("x-role", "clerks"))),
        wrong={"name": "X-Forwarded-For", "value": "192.0.2.7"},
        said="ip rule",
    ),
    "time": Case(
        {"from": "08:00", "until": "18:00", "zone": "UTC"},
        **asked(REQUEST._replace(at=12 * 3600.0), REQUEST._replace(at=19 * 3600.0)),
        wrong={"from": "08:00", "until": "18:00", "zone": "Europe/Lisboa"},
        said="did you mean 'Europe/Lisbon'?",
    ),
    "email": Case({"email": "me@example.com"}, **PEOPLE, wrong={"email": "*@example.com"}, said="email_domain"),
    "email_domain": Case({"domain": "example.com"}, **PEOPLE, wrong={"domain": "@example.com"}, said="without @"),
    "email_list": Case({"id": "us"}, **PEOPLE, wrong={}, said="Field required"),
    "gsuite": Case({"email": "finance@example.com", **IDP}, **PEOPLE, wrong={"email": "finance", **IDP}, said="email"),
    "azureAD": Case({"id": "finance", **IDP}, **PEOPLE, wrong={"id": "finance"}, said="Field required"),
    "okta": Case({"name": "finance", **IDP}, **PEOPLE, wrong={"name": "", **IDP}, said="is empty"),
    "github-organization": Case(
        {"name": "acme", "team": "team", **IDP}, **PEOPLE, wrong={"name": "acme", "team": "", **IDP}, said="is empty"
    ),
    "saml": Case(
        {"attribute_name": "group", "attribute_value": "finance", **IDP},
        **PEOPLE,
        wrong={"attribute_name": "group", **IDP},
        said="Field required",
    ),
    "oidc": Case(
        {"claim_name": "group", "claim_value": "finance", **IDP},
        **PEOPLE,
        wrong={"claim_name": "group", "claim_value": True, **IDP},
        said="is not a text",
    ),
    "login_method": Case({"id": "idp"}, **PEOPLE, wrong={"id": 1}, said="is not a text"),
    "auth_method": Case({"auth_method": "mfa"}, **PEOPLE, wrong={"auth_method": "MFA"}, said="did you mean 'mfa'?"),
    "external_evaluation": Case(
        {"evaluate_url": "https://example.com/evaluate", "keys_url": "https://example.com/keys"},
        **PEOPLE,
        wrong={"evaluate_url": "http://example.com/evaluate", "keys_url": "https://example.com/keys"},
        said="no https URL",
    ),
    "service_token": Case({"token_id": "import"}, **about(TOKEN, ALICE), wrong={"token_id": None}, said="not a text"),
    "any_valid_service_token": Case({}, **about(TOKEN, ALICE), wrong={"token_id": "x"}, said="Extra inputs"),
}


def rule_of(name: str) -> Rule:
    return compile_rule({name: CASES[ALIASES.get(name, name)].argument}, NAMES)


def test_every_selector_has_a_case() -> None:
    """A new row needs its own here."""
    assert set(CASES) | set(ALIASES) == set(SELECTORS)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_holds_and_does_not(name: str) -> None:
    """For those that it speaks of, and for nobody else."""
    case, test = CASES[ALIASES.get(name, name)], rule_of(name).test
    identity, request = case.yes
    assert test(request, identity) is True
    identity, request = case.no
    assert test(request, identity) is (name == "everyone")


@pytest.mark.parametrize("name", SELECTORS)
def test_a_wrong_argument_is_refused_with_words_that_help(name: str) -> None:
    """No type is guessed, no key ignored, and what is right stands beside what is wrong."""
    case = CASES[ALIASES.get(name, name)]
    assert case.said in refuse({name: dict(case.wrong)})


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("argument", [None, True, "x", 5, [], [{}], {"unheard-of": 1}])
def test_an_argument_is_a_table_of_its_own_keys(name: str, argument: object) -> None:
    """Whatever else somebody writes there."""
    assert refuse({name: argument})


@pytest.mark.parametrize("name", SELECTORS)
def test_a_row_says_truly_what_it_looks_at(name: str) -> None:
    """Configuration errors and what is remembered with a certificate rest on that."""
    row, (identity, request) = SELECTORS[name], CASES[ALIASES.get(name, name)].yes
    rule = rule_of(name)
    if rule.needs_certificate:
        assert rule.test(request, identity._replace(certificate=None)) is False
    if not rule.looks_at_request:
        elsewhere = ask_with(("x-role", "clerk"), method="POST", path="/elsewhere")._replace(
            at=AT + 40 * 86_400, client=ip_address("192.0.2.7")
        )
        assert rule.test(elsewhere, identity) is rule.test(request, identity)
    if rule.of_visitor:
        assert not rule.looks_at_client
        anywhere = ask_with(("x-role", "clerk"), method="POST", path="/elsewhere")._replace(at=AT + 40 * 86_400)
        assert rule.test(anywhere, identity) is rule.test(request, identity)
    assert rule.looks_at_client is (rule.test(request._replace(client=None), identity) is None)
    assert row.is_identity is (rule.test(request, identity._replace(user=None)) is False and identity.user is not None)


@pytest.mark.parametrize("name", SELECTORS)
def test_every_example_is_a_rule_that_can_be_written(name: str) -> None:
    """It is the hint for whoever wrote it wrongly."""
    [(selector, argument)] = tomllib.loads(f"rule = {SELECTORS[name].example}")["rule"].items()
    assert selector == name
    SELECTORS[name].argument.model_validate(argument)


ANYTHING = Names(
    groups={"Finance phones": Rules([])},
    ip_lists={"Office": ()},
    root_certificates={"Money App Test": frozenset()},
    email_lists={"Accountants": ()},
    find_country=lambda _: None,
    read_devices=lambda _: DeviceList((), ()),
)


@pytest.mark.parametrize("name", SELECTORS)
def test_every_example_compiles_and_can_be_read_in_a_line(name: str) -> None:
    """Where the names that it speaks of are there."""
    written = tomllib.loads(f"rule = {SELECTORS[name].example}")["rule"]
    text = compile_rule(written, ANYTHING).text
    assert text.startswith(name)
    assert not set("{}[]'") & set(text)


ACCESS = [
    {"everyone": {}},
    {"certificate": {}},
    {"common_name": {"common_name": "x"}},
    {"ip": {"ip": "10.0.0.0/8"}},
    {"ip_list": {"id": "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"}},
    {"geo": {"country_code": "PT"}},
    {"service_token": {"token_id": "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"}},
    {"any_valid_service_token": {}},
    {"email": {"email": "a@b"}},
    {"email_domain": {"domain": "b.com"}},
    {"email_list": {"id": "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"}},
    {"group": {"id": "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"}},
    {"login_method": {"id": "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"}},
    {"auth_method": {"auth_method": "mfa"}},
    {"gsuite": {"email": "a@b", "identity_provider_id": "i"}},
    {"azureAD": {"id": "g", "identity_provider_id": "i"}},
    {"azure_ad": {"id": "g", "identity_provider_id": "i"}},
    {"okta": {"name": "g", "identity_provider_id": "i"}},
    {"github-organization": {"identity_provider_id": "i", "name": "o"}},
    {"github_organization": {"identity_provider_id": "i", "name": "o", "team": "t"}},
    {"saml": {"attribute_name": "a", "attribute_value": "b", "identity_provider_id": "i"}},
    {"oidc": {"claim_name": "a", "claim_value": "b", "identity_provider_id": "i"}},
    {"external_evaluation": {"evaluate_url": "https://a.example/e", "keys_url": "https://a.example/k"}},
]


@pytest.mark.parametrize("rule", ACCESS, ids=lambda rule: next(iter(rule)))
def test_access_writes_it_exactly_so(rule: dict[str, Any]) -> None:
    """The JSON of its API, and Terraform's two other spellings, are taken as they are."""
    [(name, argument)] = rule.items()
    SELECTORS[name].argument.model_validate(argument)


def test_what_only_the_cloud_can_evaluate_is_known_by_name() -> None:
    """To be refused with a word about what does the same here."""
    cloud_only = {"device_posture", "linked_app_token", "user_risk_score", "auth_context", "cloudflare_account_member"}
    assert set(UNSUPPORTED) == cloud_only
    assert not cloud_only & set(SELECTORS)
    assert all(UNSUPPORTED.values())


@pytest.mark.parametrize(
    ("rule", "kind", "known"),
    [
        ({"group": {"id": "Phones"}}, "group", ["g"]),
        ({"ip_list": {"id": "Phones"}}, "IP list", ["office"]),
        ({"email_list": {"id": "Phones"}}, "email list", ["us"]),
        ({"root_certificate": {"name": "Phones"}}, "root certificate", ["mine"]),
        ({"login_method": {"id": "Phones"}}, "login provider", ["idp", "id-1"]),
        ({"okta": {"name": "g", "identity_provider_id": "Phones"}}, "login provider", ["idp", "id-1"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_name_that_nothing_has_is_an_error(rule: dict[str, Any], kind: str, known: list[str]) -> None:
    """With the names that there are, for a suggestion."""
    with pytest.raises(UnknownName) as caught:
        compile_rule(rule, NAMES)
    assert (caught.value.kind, caught.value.name, list(caught.value.known)) == (kind, "Phones", known)


@pytest.mark.parametrize(
    ("rule", "hint"),
    [({"geo": {"country_code": "PT"}}, "geoip = "), ({"device_list": {"file": "devices.txt"}}, "configuration file")],
    ids=["geo", "device_list"],
)
def test_what_a_rule_needs_from_the_configuration_has_to_be_there(rule: dict[str, Any], hint: str) -> None:
    """A rule without it would never hold, and nobody would know why."""
    with pytest.raises(KeyfobError) as caught:
        compile_rule(rule, Names())
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", [name for name, row in SELECTORS.items() if row.is_identity or "token" in name])
def test_until_there_are_logins_rules_about_people_are_false(name: str) -> None:
    """Of any provider and any token that they speak of: there is nobody whom they could mean."""
    case = CASES[ALIASES.get(name, name)]
    assert judge({name: dict(case.argument)}, KNOWN, email_lists=NAMES.email_lists) is False


def test_a_group_is_what_its_members_are() -> None:
    """It looks at what they look at, and needs a certificate if one of them does."""
    rules = {
        "plain": Rules([compile_rule({"everyone": {}}, Names())]),
        "device": Rules([compile_rule({"everyone": {}}, Names())], [compile_rule({"certificate": {}}, Names())]),
        "place": Rules([compile_rule({"everyone": {}}, Names())], (), [compile_rule({"ip": {"ip": "::/0"}}, Names())]),
    }
    plain, phones, place = (compile_rule({"group": {"id": name}}, Names(groups=rules)) for name in rules)
    assert (plain.needs_certificate, plain.looks_at_request, plain.looks_at_client) == (False, False, False)
    assert (phones.needs_certificate, phones.looks_at_request, phones.looks_at_client) == (True, False, False)
    assert (place.needs_certificate, place.looks_at_request, place.looks_at_client) == (False, True, True)
    assert place.test(REQUEST, NOBODY) is None
    assert place.members is rules["place"]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"everyone": {}}, "everyone"),
        ({"common_name": {"common_name": "Rhea Group"}}, "common_name: Rhea Group"),
        ({"common_name": {"common_name": {"starts_with": "kiosk-"}}}, "common_name: starts_with kiosk-"),
        ({"san": {"dns": {"ends_with": ".example.com"}}}, "san: dns ends_with .example.com"),
        ({"public_key": {"type": "ec", "curve": "P-256"}}, "public_key: type ec, curve P-256"),
        (
            {"time": {"from": "22:00", "until": "06:00", "zone": "UTC", "weekdays": ["friday", "saturday"]}},
            "time: from 22:00, until 06:00, zone UTC, weekdays friday saturday",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_is_a_line_for_people(rule: dict[str, Any], text: str) -> None:
    """As it is written, without the brackets."""
    assert compile_rule(rule, Names()).text == text
