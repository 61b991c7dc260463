"""The model of access.toml: what may stand where, and what it is called."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    StringConstraints,
    Tag,
    ValidationError,
)

from keyfob.addresses import Network, parse_network
from keyfob.audit import Records
from keyfob.config.problems import explain
from keyfob.errors import KeyfobError
from keyfob.policy import SELECTORS
from keyfob.policy.domains import Domain, parse_domain
from keyfob.policy.selectors import UNSUPPORTED, parse_duration
from keyfob.policy.selectors.arguments import unknown, wrong
from keyfob.policy.selectors.requests import NETWORKS
from keyfob.sources.encodings import ENCODINGS
from keyfob.sources.formats import FORMATS
from keyfob.sources.peers import FORWARDING


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _one_rule(value: object) -> object:
    """`{"common_name": {"common_name": "x"}}`: exactly one selector, with the argument that its row asks for."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise wrong("a rule names exactly one selector", "such as { certificate = {} }")
    [(name, argument)] = value.items()
    if name in UNSUPPORTED:
        raise wrong(f"{name} is a selector that only the cloud can evaluate", UNSUPPORTED[name])
    if name not in SELECTORS:
        raise unknown("selector", str(name), SELECTORS)
    if not isinstance(argument, Mapping):
        raise wrong(f"what stands behind {name} is not a table", f"write {SELECTORS[name].example}")
    try:
        SELECTORS[name].argument.model_validate(argument)
    except ValidationError as error:
        found = error.errors(include_url=False)[-1]
        place, message, hint, _ = explain(found, SELECTORS[name].argument)
        if found["type"] not in {"wrong", "extra_forbidden"}:
            # What is missing, or of the wrong kind: the whole rule, as it has to be written, says more.
            hint = f"write {SELECTORS[name].example}"
        raise wrong(f"{name}: {place} {message}", hint) from None
    return value


_Rule = Annotated[dict[str, Any], BeforeValidator(_one_rule)]


class DecisionWord(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    BYPASS = "bypass"
    NON_IDENTITY = "non_identity"
    SERVICE_AUTH = "service_auth"


def _known_decision(value: object) -> object:
    if not isinstance(value, str) or value not in list(DecisionWord):
        raise unknown("decision", str(value), DecisionWord)
    return DecisionWord(value)


class RulesTable(_Table):
    include: Annotated[list[_Rule], Field(min_length=1)]
    require: list[_Rule] = []
    exclude: list[_Rule] = []

    def places(self) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Every rule, with the key and the index at which it stands."""
        for key in ("include", "require", "exclude"):
            for index, rule in enumerate(getattr(self, key)):
                yield key, index, rule


def _duration(value: object) -> object:
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        raise wrong(f"{value!r} is no duration", 'write "15m", "2h45m" or "1d"')
    return seconds


def _session(value: object) -> object:
    """How long a login counts, in seconds."""
    seconds = _duration(value)
    if isinstance(seconds, float | int) and not SHORTEST_SESSION <= seconds <= LONGEST_SESSION:
        raise wrong(f"{value!r} is no length of a session", 'from "1m" to "31d"')
    return seconds


# Keys of sessions are kept for as long as the longest session could count.
SHORTEST_SESSION, LONGEST_SESSION = 60.0, 31 * 86_400.0
_Session = Annotated[Any, BeforeValidator(_session)]


class PolicyTable(RulesTable):
    name: _Name
    id: _Name | None = None
    decision: Annotated[DecisionWord, BeforeValidator(_known_decision)]
    session_duration: _Session = None


class GroupTable(RulesTable):
    name: _Name
    id: _Name | None = None


def _network(value: object) -> Network:
    network = parse_network(value) if isinstance(value, str) else None
    if network is None:
        raise wrong(f"{value!r} is neither an address nor a network", NETWORKS)
    return network


class AddressListTable(_Table):
    name: _Name
    id: _Name | None = None
    items: Annotated[list[Annotated[Any, BeforeValidator(_network)]], Field(min_length=1)]


class EmailListTable(_Table):
    name: _Name
    id: _Name | None = None
    items: Annotated[list[_Name], Field(min_length=1)]


def _domain(value: object) -> Domain:
    """A host with an optional path, either with wildcards."""
    if not isinstance(value, str):
        raise wrong("is not a text", 'write domain = "money.example.com"')
    return _read_domain(value)


def _host(value: object) -> object:
    """A host, or a wildcard for hosts, as the host of a domain."""
    if isinstance(value, str):
        if "/" in value and "://" not in value:
            raise wrong("a path is no part of a host name", "certificates are asked for by host: name the host alone")
        return _read_domain(value).host
    return value


def _read_domain(value: str) -> Domain:
    try:
        return parse_domain(value)
    except KeyfobError as error:
        raise wrong(error.message, error.hint) from None


_HostPattern = Annotated[str, Field(strict=True), BeforeValidator(_host)]
_DomainPattern = Annotated[InstanceOf[Domain], BeforeValidator(_domain)]


def _policy_or_name(value: object) -> object:
    """A policy written out, or the name or id of a reusable one, as Access's API gives it: a text or `{"id": …}`."""
    if isinstance(value, str):
        return {"id": value}
    return value


class PolicyReference(_Table):
    id: _Name


# pydantic writes these into the place of a problem; in angle brackets nobody takes them for a key.
_POLICY, _REFERENCE = "<policy>", "<reference>"


def _kind_of_policy(value: object) -> str:
    return (
        _REFERENCE
        if isinstance(value, PolicyReference) or (isinstance(value, Mapping) and set(value) == {"id"})
        else _POLICY
    )


_Policy = Annotated[
    Annotated[PolicyTable, Tag(_POLICY)] | Annotated[PolicyReference, Tag(_REFERENCE)],
    Discriminator(_kind_of_policy),
    BeforeValidator(_policy_or_name),
]


class CorsTable(_Table):
    """What a browser is told that asks whether another page may ask here; the names are Access's own."""

    allowed_origins: list[_Name] = []
    allowed_methods: list[_Name] = []
    allowed_headers: list[_Name] = []
    allow_all_origins: bool = False
    allow_all_methods: bool = False
    allow_all_headers: bool = False
    allow_credentials: bool = False
    max_age: Annotated[int, Field(ge=-1, le=86_400)] | None = None


class ApplicationTable(_Table):
    name: _Name
    id: _Name | None = None
    domain: _DomainPattern
    self_hosted_domains: list[_DomainPattern] = []
    session_duration: _Session = None
    allowed_idps: list[_Name] = []
    options_preflight_bypass: bool = False
    cors_headers: CorsTable | None = None
    policies: Annotated[list[_Policy], Field(min_length=1)]

    @property
    def domains(self) -> list[Domain]:
        """Every domain of the application, each once."""
        return list(dict.fromkeys((self.domain, *self.self_hosted_domains)))


class RootCertificateTable(_Table):
    name: _Name
    certificate: _Name
    associated_hostnames: Annotated[list[_HostPattern], Field(min_length=1)]
    crl: list[_Name] = []
    crl_expired: Literal["refuse", "warn"] | None = None
    ocsp: Annotated[str | None, StringConstraints(pattern=r"^https?://[!-~]+$")] = None
    ocsp_unavailable: Literal["refuse", "warn"] | None = None
    revoked: _Name | None = None
    inventory: Annotated[str | None, StringConstraints(min_length=1, max_length=1000)] = None
    inventory_unavailable: Literal["refuse", "warn"] | None = None


class AuditTable(_Table):
    file: _Name | None = None
    largest: Annotated[int, Field(ge=10_000, le=10_000_000_000)] = 10_000_000
    kept: Annotated[int, Field(ge=1, le=1000)] = 5
    session: Annotated[Any, BeforeValidator(_duration)] = Records().session
    admissions: Literal["first", "every"] = "first"


def _link(value: object) -> object:
    """A path of the app's own host, or a page elsewhere that nobody on the way can exchange."""
    if isinstance(value, str) and _LINK.fullmatch(value) is None:
        hint = 'write "/.keyfob/renew", or a URL that begins with https://'
        raise wrong(f"{value!r} is neither an absolute path nor an https URL", hint)
    return value


# RFC 3986 section 2. Browsers take // and /\\ at the beginning for another host, and nobody reads on behind an @.
_URL_END = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*"
_LINK = re.compile(rf"/(?!/){_URL_END}|https://[A-Za-z0-9.\-\[\]:]+(?:[/?#]{_URL_END})?")


class RenewalTable(_Table):
    link: Annotated[str, Field(strict=True), BeforeValidator(_link)]
    days: Annotated[int, Field(ge=1, le=3650)] = 30


def _trusted_proxy(value: object) -> str | Network:
    """An address, a network, or the word for a UNIX socket."""
    if value == UNIX:
        return UNIX
    network = parse_network(value) if isinstance(value, str) else None
    if network is None:
        hint = "have the proxy send a shared_secret instead" if value == "*" else NETWORKS + f', or "{UNIX}"'
        raise wrong(f"{value!r} is neither an address nor a network", hint)
    if network.prefixlen == 0:
        raise wrong(f"{value!r} would believe everybody", "name your proxies, or have them send a shared_secret")
    return network


# Servers and proxies drop or merge names with anything else in them, such as an underscore.
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*")
_NOT_OURS = FORWARDING | {b"host", b"connection", b"content-length", b"transfer-encoding", b"upgrade"}


def _header_name(value: object) -> object:
    if isinstance(value, str):
        if _HEADER_NAME.fullmatch(value) is None:
            raise wrong(f"{value!r} is no header name", "write letters and digits, with hyphens between them")
        if value.lower().encode("ascii") in _NOT_OURS:
            raise wrong(f"{value} has a meaning of its own", "choose a name that nothing else uses")
    return value


def _known_format(value: object) -> object:
    if isinstance(value, str) and value not in {*FORMATS, CUSTOM}:
        raise unknown("format", value, [*FORMATS, CUSTOM])
    return value


def _known_encoding(value: object) -> object:
    if isinstance(value, str) and value not in ENCODINGS:
        raise unknown("encoding", value, ENCODINGS)
    return value


UNIX, CUSTOM = "unix", "custom"
_HeaderName = Annotated[str, Field(strict=True), BeforeValidator(_header_name)]


class SharedSecretTable(_Table):
    header: _HeaderName
    file: _Name


class SourceTable(_Table):
    kind: Literal["tls", "header"]
    format: Annotated[str | None, BeforeValidator(_known_format)] = None
    trusted_proxies: Annotated[list[Annotated[Any, BeforeValidator(_trusted_proxy)]] | None, Field(min_length=1)] = None
    shared_secret: SharedSecretTable | None = None
    proxy_verifies: bool | None = None
    client_address: Literal["X-Forwarded-For", "Forwarded"] | None = None
    largest_certificate: Annotated[int | None, Field(ge=1024, le=1_000_000)] = None
    certificate_header: _HeaderName | None = None
    encoding: Annotated[str | None, BeforeValidator(_known_encoding)] = None
    verify_header: _HeaderName | None = None
    verified: Annotated[str | None, StringConstraints(pattern=r"^[!-~](?:[ -~]*[!-~])?$")] = None


class LoginTable(_Table):
    inventory: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    session_duration: _Session = 86_400.0


# It stands in addresses and in every session.
_PROVIDER_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")


def _provider_id(value: object) -> object:
    if isinstance(value, str) and _PROVIDER_ID.fullmatch(value) is None:
        raise wrong(f"{value!r} is no id of a provider", "write letters, digits and hyphens, 64 at most")
    return value


def _known_provider(value: object) -> object:
    if isinstance(value, str) and value not in PROVIDER_TYPES:
        raise unknown("type of provider", value, PROVIDER_TYPES)
    return value


PROVIDER_TYPES = ("oidc", "google", "azureAD", "okta", "github", "facebook", "onetimepin")
_Url = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=1000)]


class ProviderTable(_Table):
    """One provider. Which keys go with which type is a table of `config.logins`."""

    name: _Name
    type: Annotated[str, BeforeValidator(_known_provider)]
    id: Annotated[str | None, BeforeValidator(_provider_id)] = None
    client_id: _Name | None = None
    client_secret_file: _Name | None = None
    certificate_authority: _Name | None = None
    issuer: _Url | None = None
    scopes: list[_Name] | None = None
    email_claim_name: _Name | None = None
    trust_email: bool | None = None
    apps_domain: _Name | None = None
    directory_id: _Name | None = None
    okta_account: _Url | None = None
    authorization_server_id: _Name | None = None
    url: _Url | None = None
    smtp_host: _Name | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    smtp_security: Literal["starttls", "tls", "none"] | None = None
    smtp_username: _Name | None = None
    smtp_password_file: _Name | None = None
    sender: _Name | None = None


class Document(_Table):
    source: SourceTable
    root_certificates: list[RootCertificateTable] = []
    applications: Annotated[list[ApplicationTable], Field(min_length=1)]
    policies: list[PolicyTable] = []
    groups: list[GroupTable] = []
    ip_lists: list[AddressListTable] = []
    email_lists: list[EmailListTable] = []
    geoip: _Name | None = None
    audit: AuditTable = AuditTable()
    renewal: RenewalTable | None = None
    login: LoginTable | None = None
    identity_providers: list[ProviderTable] = []
