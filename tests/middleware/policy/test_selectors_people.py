"""policy.selectors: who the person or the service is, once a login or a token has told."""

from typing import Any

import pytest

from keyfob.policy import Identity, ServiceToken
from situations import NOBODY, device, judge, person, refuse

PROVIDERS = {"Login": "id-1", "id-1": "id-1", "Other": "id-2", "id-2": "id-2"}


def ask_provider(selector: str, identity: Identity, provider: str = "Login", **words: str) -> bool | None:
    return judge({selector: {**words, "identity_provider_id": provider}}, identity, providers=PROVIDERS)


MEMBER: dict[str, Any] = {
    "groups": frozenset({"finance", "team@example.com"}),
    "organizations": {"Acme": frozenset({"Ops"}), "Elsewhere": frozenset({"Admins"})},
    "claims": {"role": frozenset({"clerk", "guest"})},
}
ROWS: list[tuple[str, dict[str, str]]] = [
    ("gsuite", {"email": "team@example.com"}),
    ("azureAD", {"id": "finance"}),
    ("azure_ad", {"id": "finance"}),
    ("okta", {"name": "finance"}),
    ("github-organization", {"name": "Acme"}),
    ("github_organization", {"name": "Acme", "team": "Ops"}),
    ("saml", {"attribute_name": "role", "attribute_value": "clerk"}),
    ("oidc", {"claim_name": "role", "claim_value": "clerk"}),
]


@pytest.mark.parametrize(("selector", "words"), ROWS)
def test_another_providers_word_is_not_this_ones(selector: str, words: dict[str, str]) -> None:
    """Whoever runs their own login can call a group whatever they like."""
    assert ask_provider(selector, person(provider="id-1", **MEMBER), **words) is True
    assert ask_provider(selector, person(provider="id-1", **MEMBER), "id-1", **words) is True
    assert ask_provider(selector, person(provider="id-2", **MEMBER), **words) is False
    assert ask_provider(selector, person(provider="Login", **MEMBER), **words) is False
    assert ask_provider(selector, NOBODY, **words) is False


@pytest.mark.parametrize(("selector", "words"), ROWS)
@pytest.mark.parametrize("nearly", ["{}x", "x{}", "{} "])
def test_what_is_nearly_a_group_is_none(selector: str, words: dict[str, str], nearly: str) -> None:
    """Every word is compared whole."""
    for key, word in words.items():
        if selector != "gsuite" or nearly != "{} ":
            changed = {**words, key: nearly.format(word)}
            assert ask_provider(selector, person(**MEMBER), **changed) is False


def test_a_team_is_one_of_its_own_organization() -> None:
    """Not of another that the person is in; letter case tells neither apart, as with GitHub."""
    assert ask_provider("github-organization", person(**MEMBER), name="acme", team="ops") is True
    assert ask_provider("github-organization", person(**MEMBER), name="acme", team="admins") is False


@pytest.mark.parametrize("key", ["name", "team", "identity_provider_id"])
def test_a_null_is_not_a_missing_word(key: str) -> None:
    """Whoever writes one down meant something."""
    words = {"name": "acme", "team": "ops", "identity_provider_id": "Login", key: None}
    assert refuse({"github-organization": words})


@pytest.mark.parametrize(("written", "expected"), [("mfa", True), ("hwk", True), ("pop", False)])
def test_a_method_is_one_of_those_used(written: str, expected: bool) -> None:
    """In the login's own words."""
    somebody = person(methods=frozenset({"mfa", "hwk"}))
    assert judge({"auth_method": {"auth_method": written}}, somebody) is expected


def test_a_login_method_is_a_provider() -> None:
    """By name or id."""
    for written in ("Login", "id-1"):
        assert judge({"login_method": {"id": written}}, person(provider="id-1"), providers=PROVIDERS) is True
        assert judge({"login_method": {"id": written}}, person(provider="id-2"), providers=PROVIDERS) is False


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "http://example.com/",
        "https://",
        "https:///x",
        "https://a b/",
        "https://u:p@example.com/",
        "https://example.com:99999/",
        "https://[::1/",
        5,
    ],
)
def test_an_evaluation_is_asked_over_https(url: object) -> None:
    """Its keys decide who gets in."""
    good = "https://example.com/"
    assert refuse({"external_evaluation": {"evaluate_url": url, "keys_url": good}})
    assert refuse({"external_evaluation": {"evaluate_url": good, "keys_url": url}})


def test_an_evaluation_is_the_one_that_was_asked() -> None:
    """Another service's yes is not this one's, and neither is a yes that other keys have signed."""
    somebody = person(evaluated=frozenset({("https://example.com/a", "https://example.com/keys")}))
    for path, keys, expected in [("a", "keys", True), ("b", "keys", False), ("", "keys", False), ("a", "k", False)]:
        urls = {"evaluate_url": f"https://example.com/{path}", "keys_url": f"https://example.com/{keys}"}
        assert judge({"external_evaluation": urls}, somebody) is expected


def test_a_token_is_a_service_and_not_a_person() -> None:
    """By name or id; a certificate or a login is none."""
    service = NOBODY._replace(service_token=ServiceToken("id-t", "Nightly"))
    asked: list[tuple[dict[str, Any], bool]] = [
        ({"service_token": {"token_id": "Nightly"}}, True),
        ({"service_token": {"token_id": "id-t"}}, True),
        ({"service_token": {"token_id": "Other"}}, False),
        ({"service_token": {"token_id": "Nightl"}}, False),
        ({"any_valid_service_token": {}}, True),
    ]
    for rule, expected in asked:
        assert judge(rule, service, service_tokens=True) is expected
        assert judge(rule, person(), service_tokens=True) is False
        assert judge(rule, device("x"), service_tokens=True) is False


def test_a_token_that_nobody_has_made_lets_nobody_in() -> None:
    """Tokens come and go while a configuration stays, so a rule may name any; a nameless one is meant by none."""
    for known in (True, False):
        rule = {"service_token": {"token_id": "Phones"}}
        assert judge(rule, NOBODY._replace(service_token=ServiceToken("id-t")), service_tokens=known) is False
        assert judge(rule, NOBODY, service_tokens=known) is False
