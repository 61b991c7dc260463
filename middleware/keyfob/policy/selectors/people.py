"""Selectors that look at who the person or the service is, once a login or a token has told.

A login and a token come with the request and not with the certificate, so their answers are never remembered with it.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import PlainValidator

from keyfob.policy.decision import Identity
from keyfob.policy.people import PROSPECT, UNASKED, Fact, FactKind, User
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, Name, Nothing, read_text, read_word, wrong
from keyfob.policy.selectors.names import Names, look_up
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.texts import (
    EmailAddress,
    compile_addresses,
    find_domain,
    lower_ascii,
    match_any,
    read_domain,
)
from keyfob.request import Request


class Email(Argument):
    """One email address."""

    email: EmailAddress


class EmailDomain(Argument):
    """The domain of an email address, whole."""

    domain: Annotated[str, PlainValidator(read_domain)]


class EmailList(Argument):
    """A list of email addresses, by its id or its name."""

    id: Name


class GoogleGroup(Argument):
    """A group of Google Workspace, by its address."""

    email: EmailAddress
    identity_provider_id: Name


class AzureGroup(Argument):
    """A group of Microsoft Entra, by its id."""

    id: Name
    identity_provider_id: Name


class OktaGroup(Argument):
    """A group of Okta, by its name."""

    name: Name
    identity_provider_id: Name


class GitHubOrganization(Argument):
    """An organization of GitHub, or one team in it."""

    identity_provider_id: Name
    name: Name
    team: Annotated[str | None, PlainValidator(read_text)] = None


class SAML(Argument):
    """One attribute of a SAML assertion."""

    attribute_name: Name
    attribute_value: Name
    identity_provider_id: Name


class OIDC(Argument):
    """One claim of an OpenID Connect token."""

    claim_name: Name
    claim_value: Name
    identity_provider_id: Name


class LoginMethod(Argument):
    """A login provider, by its id or its name."""

    id: Name


# IANA's registry, which RFC 8176 section 2 began.
_METHODS = "face fpt geo hwk iris kba mca mfa otp pin pop pwd rba retina sc sms swk tel user vbm wia"


class AuthMethod(Argument):
    """A way of proving who one is, in the words of RFC 8176."""

    auth_method: Annotated[
        str, PlainValidator(read_word("method of RFC 8176", {each: each for each in _METHODS.split()}))
    ]


def _read_url(value: object) -> str:
    text = read_text(value)
    try:
        parts = urlsplit(text)
        sound = parts.scheme == "https" and parts.hostname and parts.username is None and parts.port != 0
    except ValueError:
        sound = False
    if not sound or " " in text:
        raise wrong(f"{text!r} is no https URL", 'write "https://example.com/evaluate"')
    return text


class ExternalEvaluation(Argument):
    """A service that is asked about the person, and where its keys are."""

    evaluate_url: Annotated[str, PlainValidator(_read_url)]
    keys_url: Annotated[str, PlainValidator(_read_url)]


class ServiceTokenId(Argument):
    """A service token, by its id or its name."""

    token_id: Name


Ask = Callable[[User], bool | None]


def _ask_user(ask: Ask) -> Test:
    def test(_: Request, identity: Identity) -> bool | None:
        user = identity.user
        if user is None:
            return False
        return None if user is PROSPECT else ask(user)

    return test


def _ask_user_of(provider: str, names: Names, ask: Ask) -> Test:
    """The person has to come from this very provider: another may give the same words to other people."""
    wanted = _find_id("login provider", provider, names.providers)
    return _ask_user(lambda user: user.provider == wanted and ask(user))


def _find_id(kind: str, name: str, known: Mapping[str, str]) -> str:
    """Where nobody can log in, or show a token, every name is as good as any other: the rule does not hold."""
    return look_up(kind, name, known) if known else name


def _email(argument: Email, _: Names) -> Test:
    match = compile_addresses([argument.email])
    return _ask_user(lambda user: match(user.email))


def _email_domain(argument: EmailDomain, _: Names) -> Test:
    wanted = argument.domain
    return _ask_user(lambda user: find_domain(user.email) == wanted)


def _email_list(argument: EmailList, names: Names) -> Test:
    match = compile_addresses(look_up("email list", argument.id, names.email_lists))
    return _ask_user(lambda user: match(user.email))


def _gsuite(argument: GoogleGroup, names: Names) -> Test:
    match = compile_addresses([argument.email])
    return _ask_user_of(argument.identity_provider_id, names, lambda user: match_any(match, user.groups))


def _azure_group(argument: AzureGroup, names: Names) -> Test:
    wanted = argument.id
    return _ask_user_of(argument.identity_provider_id, names, lambda user: wanted in user.groups)


def _okta(argument: OktaGroup, names: Names) -> Test:
    wanted = argument.name
    return _ask_user_of(argument.identity_provider_id, names, lambda user: wanted in user.groups)


def _github_organization(argument: GitHubOrganization, names: Names) -> Test:
    """GitHub tells no two organizations, and no two teams in one, apart by letter case."""
    organization, team = lower_ascii(argument.name), None if argument.team is None else lower_ascii(argument.team)

    def ask(user: User) -> bool:
        return any(
            lower_ascii(name) == organization and (team is None or team in map(lower_ascii, teams))
            for name, teams in user.organizations.items()
        )

    return _ask_user_of(argument.identity_provider_id, names, ask)


def _saml(argument: SAML, names: Names) -> Test:
    return _ask_claim(argument.attribute_name, argument.attribute_value, argument.identity_provider_id, names)


def _oidc(argument: OIDC, names: Names) -> Test:
    return _ask_claim(argument.claim_name, argument.claim_value, argument.identity_provider_id, names)


def _ask_claim(name: str, value: str, provider: str, names: Names) -> Test:
    return _ask_user_of(provider, names, lambda user: value in user.claims.get(name, ()))


def _login_method(argument: LoginMethod, names: Names) -> Test:
    return _ask_user_of(argument.id, names, lambda user: True)


def _auth_method(argument: AuthMethod, _: Names) -> Test:
    wanted = argument.auth_method
    return _ask_user(lambda user: wanted in user.methods)


def _external_evaluation(argument: ExternalEvaluation, _: Names) -> Test:
    wanted = argument.evaluate_url, argument.keys_url
    return _ask_user(lambda user: None if user.evaluated is UNASKED else wanted in user.evaluated)


def _service_token(argument: ServiceTokenId, names: Names) -> Test:
    # Tokens are made and withdrawn while the configuration stays, so nobody looks here for one.
    wanted = argument.token_id
    return lambda _, identity: identity.service_token is not None and wanted in identity.service_token


def _any_valid_service_token(_: Nothing, __: Names) -> Test:
    return lambda _, identity: identity.service_token is not None


def _make_row(
    argument: type[Argument],
    compile: Callable[..., Test],  # noqa: A002
    example: str,
    find_facts: Callable[[Any, Names], tuple[Fact, ...]] | None = None,
) -> Selector:
    return Selector(
        argument, compile, example, is_identity=True, looks_at_request=True, of_visitor=True, find_facts=find_facts
    )


def _find_group(provider: str, name: str, names: Names) -> tuple[Fact, ...]:
    return (Fact(FactKind.GROUP, _find_id("login provider", provider, names.providers), name),)


def _find_google_group(argument: GoogleGroup, names: Names) -> tuple[Fact, ...]:
    return _find_group(argument.identity_provider_id, argument.email, names)


def _find_azure_group(argument: AzureGroup, names: Names) -> tuple[Fact, ...]:
    return _find_group(argument.identity_provider_id, argument.id, names)


def _find_okta_group(argument: OktaGroup, names: Names) -> tuple[Fact, ...]:
    return _find_group(argument.identity_provider_id, argument.name, names)


def _find_organization(argument: GitHubOrganization, names: Names) -> tuple[Fact, ...]:
    provider = _find_id("login provider", argument.identity_provider_id, names.providers)
    if argument.team is None:
        return (Fact(FactKind.ORGANIZATION, provider, argument.name),)
    return (Fact(FactKind.TEAM, provider, argument.name, argument.team),)


def _find_attribute(argument: SAML, names: Names) -> tuple[Fact, ...]:
    provider = _find_id("login provider", argument.identity_provider_id, names.providers)
    return (Fact(FactKind.CLAIM, provider, argument.attribute_name, argument.attribute_value),)


def _find_claim(argument: OIDC, names: Names) -> tuple[Fact, ...]:
    provider = _find_id("login provider", argument.identity_provider_id, names.providers)
    return (Fact(FactKind.CLAIM, provider, argument.claim_name, argument.claim_value),)


def _find_evaluation(argument: ExternalEvaluation, _: Names) -> tuple[Fact, ...]:
    return (Fact(FactKind.EVALUATED, "", argument.evaluate_url, argument.keys_url),)


IDENTITY_SELECTORS = {
    "email": _make_row(Email, _email, '{ email = { email = "me@example.com" } }'),
    "email_domain": _make_row(EmailDomain, _email_domain, '{ email_domain = { domain = "example.com" } }'),
    "email_list": _make_row(EmailList, _email_list, '{ email_list = { id = "Accountants" } }'),
    "gsuite": _make_row(
        GoogleGroup,
        _gsuite,
        '{ gsuite = { email = "finance@example.com", identity_provider_id = "Google" } }',
        _find_google_group,
    ),
    "azureAD": _make_row(
        AzureGroup,
        _azure_group,
        '{ azureAD = { id = "aa0a4aab-672b-4bdb-bc33-a59f1130a11f", identity_provider_id = "Entra" } }',
        _find_azure_group,
    ),
    "okta": _make_row(
        OktaGroup, _okta, '{ okta = { name = "finance", identity_provider_id = "Okta" } }', _find_okta_group
    ),
    "github-organization": _make_row(
        GitHubOrganization,
        _github_organization,
        '{ github-organization = { name = "acme", team = "finance", identity_provider_id = "GitHub" } }',
        _find_organization,
    ),
    "saml": _make_row(
        SAML,
        _saml,
        '{ saml = { attribute_name = "group", attribute_value = "finance", identity_provider_id = "SAML" } }',
        _find_attribute,
    ),
    "oidc": _make_row(
        OIDC,
        _oidc,
        '{ oidc = { claim_name = "groups", claim_value = "finance", identity_provider_id = "OIDC" } }',
        _find_claim,
    ),
    "login_method": _make_row(LoginMethod, _login_method, '{ login_method = { id = "GitHub" } }'),
    "auth_method": _make_row(AuthMethod, _auth_method, '{ auth_method = { auth_method = "mfa" } }'),
    "external_evaluation": _make_row(
        ExternalEvaluation,
        _external_evaluation,
        '{ external_evaluation = { evaluate_url = "https://example.com/evaluate", '
        'keys_url = "https://example.com/keys" } }',
        _find_evaluation,
    ),
}

TOKEN_SELECTORS = {
    "service_token": Selector(
        ServiceTokenId,
        _service_token,
        '{ service_token = { token_id = "Nightly import" } }',
        looks_at_request=True,
        of_visitor=True,
    ),
    "any_valid_service_token": Selector(
        Nothing, _any_valid_service_token, "{ any_valid_service_token = {} }", looks_at_request=True, of_visitor=True
    ),
}

# Terraform's spelling of two of them.
ALIASES: Mapping[str, str] = {"azure_ad": "azureAD", "github_organization": "github-organization"}
