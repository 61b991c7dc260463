"""From the tables of a configuration about logins to the desk where people log in."""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfob.config.document import (
    ApplicationTable,
    CorsTable,
    DecisionWord,
    Document,
    LoginTable,
    PolicyTable,
    ProviderTable,
    RulesTable,
)
from keyfob.config.files import Files
from keyfob.config.naming import RequiredFacts, find_provider_id
from keyfob.config.problems import suggest
from keyfob.errors import KeyfobError, PKIError, Problem
from keyfob.policy import Application, Names
from keyfob.policy.applications import Preflights

if TYPE_CHECKING:
    from keyfob.login.book import Book
    from keyfob.login.carrying import Carrier
    from keyfob.login.desk import Desk
    from keyfob.login.providers import Provider

_INSTALL = "pip install 'keyfob[sso]'"


def build_desk(
    document: Document,
    applications: Sequence[Application],
    names: Names,
    folder: Path,
    files: Files,
    problems: list[Problem],
) -> "Desk | None":
    """The desk of a configuration; None where nobody logs in and no service shows a token."""
    problems.extend(_find_problems(document))
    if document.login is None:
        return None
    try:
        return _build(document, document.login, applications, names, folder, files, problems)
    except ModuleNotFoundError as error:
        problems.append(Problem("login", f"logins need the package {error.name}", _INSTALL))
    except PKIError as error:
        # No stamp changes when the database comes back.
        files.hindered = True
        problems.append(Problem("login.inventory", error.message, error.hint))
    return None


def _build(
    document: Document,
    login: LoginTable,
    applications: Sequence[Application],
    names: Names,
    folder: Path,
    files: Files,
    problems: list[Problem],
) -> "Desk":
    from keyfob.login.desk import Desk  # noqa: PLC0415 - the middleware alone needs no library for logins

    # First, so that an inventory that is missing does not keep back what is wrong with them.
    providers = [
        provider
        for index, table in enumerate(document.identity_providers)
        if (provider := _build_provider(table, f"identity_providers[{index}]", folder, files, problems)) is not None
    ]
    where = login.inventory if "://" in login.inventory else str(files.locate(folder / login.inventory))
    book: Book = files.keep(("logins", where), partial(_read_book, where))
    carrier: Carrier = files.keep(("carrier", where), partial(_make_carrier, where))
    facts = RequiredFacts(names)
    return Desk(book, providers, applications, login.session_duration, facts, carrier=carrier, where=where)


def _read_book(where: str) -> "Book":
    from keyfob.config.inventories import read_login_book  # noqa: PLC0415 - it needs SQLAlchemy

    return read_login_book(where)


def _make_carrier(where: str) -> "Carrier":
    from keyfob.inventory.database import Database  # noqa: PLC0415 - as above
    from keyfob.inventory.logins import Logins  # noqa: PLC0415
    from keyfob.login.carrying import Carrier  # noqa: PLC0415

    return Carrier(Logins(Database(where)))


# --- Providers --------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """One row: the keys that a type of provider needs beside its name, those that it may have, and how it is made."""

    needs: frozenset[str]
    may: frozenset[str]
    make: Callable[[Mapping[str, Any]], "Provider"]


_CLIENT = frozenset({"client_id", "client_secret_file"})
_ANY = frozenset({"name", "type", "id", "certificate_authority"})


def _build_provider(
    table: ProviderTable, place: str, folder: Path, files: Files, problems: list[Problem]
) -> "Provider | None":
    kind = KINDS[table.type]
    given = table.model_fields_set
    before = len(problems)
    problems.extend(
        Problem(f"{place}.{key}", f'is missing, and type = "{table.type}" needs it', "see the README for an example")
        for key in sorted(kind.needs - given)
    )
    problems.extend(
        Problem(f"{place}.{key}", f'does not go with type = "{table.type}"', "leave it out")
        for key in sorted(given - kind.needs - kind.may - _ANY)
    )
    said = {key: value for key, value in table.model_dump(exclude_none=True).items() if key in kind.needs | kind.may}
    said |= {"id": find_provider_id(table), "name": table.name}
    for key in ("client_secret_file", "smtp_password_file"):
        if key in said:
            said[key.removesuffix("_file")] = _read_secret(folder / said.pop(key), f"{place}.{key}", files, problems)
    if table.certificate_authority is not None:
        said["authority"] = _find_authority(folder, table.certificate_authority, place, files, problems)
    if len(problems) > before:
        return None
    try:
        return kind.make(said)
    except KeyfobError as error:
        problems.append(Problem(place, error.message, error.hint))
    return None


def _read_secret(path: Path, place: str, files: Files, problems: list[Problem]) -> str:
    """The one line of a file."""
    try:
        text = files.read(path).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it is no text"
        problems.append(Problem(place, f"{path} cannot be read: {said}", "name a file with the secret in one line"))
        return ""
    if not text or "\n" in text:
        problems.append(Problem(place, f"{path} holds no secret, or more than one", "write it there in one line"))
    return text


def _find_authority(folder: Path, written: str, place: str, files: Files, problems: list[Problem]) -> str:
    path = files.locate(folder / written)
    try:
        said = "" if b"-----BEGIN CERTIFICATE-----" in files.read(path) else "there is no certificate in it"
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
    if said:
        key = f"{place}.certificate_authority"
        problems.append(Problem(key, f"{path} cannot be used: {said}", "name a PEM file of CAs"))
    return str(path)


def _make_kind(module: str, name: str) -> Callable[[Mapping[str, Any]], "Provider"]:
    """Each is imported where it is configured, and nowhere else."""

    def make(said: Mapping[str, Any]) -> "Provider":
        found: Provider = getattr(import_module(f"keyfob.login.providers.{module}"), name)(**said)
        return found

    return make


def _make_mail(said: Mapping[str, Any]) -> "Provider":
    from keyfob.login.exchanges import MailServer  # noqa: PLC0415 - as above
    from keyfob.login.providers.mail import Mail  # noqa: PLC0415

    security = said.get("smtp_security", "starttls")
    server = MailServer(
        said["smtp_host"],
        said.get("smtp_port", 465 if security == "tls" else 587),
        security,
        said.get("smtp_username", ""),
        said.get("smtp_password", ""),
        said.get("authority", ""),
    )
    return Mail(id=said["id"], name=said["name"], server=server, sender=said["sender"])


# One row for each type: the document's PROVIDER_TYPES are its keys.
KINDS: Mapping[str, Kind] = {
    "oidc": Kind(
        _CLIENT | {"issuer"},
        frozenset({"scopes", "email_claim_name", "trust_email"}),
        _make_kind("oidc", "OpenIDConnect"),
    ),
    "google": Kind(_CLIENT, frozenset({"apps_domain"}), _make_kind("google", "Google")),
    "azureAD": Kind(_CLIENT | {"directory_id"}, frozenset(), _make_kind("entra", "EntraID")),
    "okta": Kind(_CLIENT | {"okta_account"}, frozenset({"authorization_server_id"}), _make_kind("okta", "Okta")),
    "github": Kind(_CLIENT, frozenset({"url"}), _make_kind("github", "GitHub")),
    "facebook": Kind(_CLIENT, frozenset({"trust_email"}), _make_kind("facebook", "Facebook")),
    "onetimepin": Kind(
        frozenset({"smtp_host", "sender"}),
        frozenset({"smtp_port", "smtp_security", "smtp_username", "smtp_password_file"}),
        _make_mail,
    ),
}


# --- Applications -----------------------------------------------------------------------------------------------------


def tag_application(table: ApplicationTable) -> str:
    """What tells an application from every other one, wherever it is served: the audience of its sessions."""
    said = json.dumps([table.id or table.name, sorted(map(str, table.domains))])
    return urlsafe_b64encode(hashlib.sha256(said.encode("utf-8")).digest()[:12]).decode("ascii")


def find_preflights(table: ApplicationTable) -> Preflights | None:
    """What becomes of preflights to an application; None where they are requests like any other."""
    if table.options_preflight_bypass:
        return Preflights(pass_on=True)
    cors = table.cors_headers
    return None if cors is None else _describe_cors(cors)


def _describe_cors(cors: CorsTable) -> Preflights:
    origins = {*cors.allowed_origins, *({"*"} if cors.allow_all_origins else ())}
    return Preflights(
        origins=frozenset(origins),
        methods=None if cors.allow_all_methods else tuple(cors.allowed_methods),
        headers=None if cors.allow_all_headers else tuple(cors.allowed_headers),
        with_credentials=cors.allow_credentials,
        max_age=cors.max_age,
    )


def find_allowed(table: ApplicationTable, place: str, names: Names, problems: list[Problem]) -> list[str]:
    """The ids of the providers at which one may log in to an application; none for all of them."""
    found = []
    for index, name in enumerate(table.allowed_idps):
        if name in names.providers:
            found.append(names.providers[name])
        else:
            hint = suggest(name, names.providers) or "define it under [[identity_providers]]"
            problems.append(Problem(f"{place}.allowed_idps[{index}]", f"{name!r} is no login provider", hint))
    return found


# Which types of providers can tell what a rule asks. There is no SAML here, whatever a provider is called.
_TELLING: Mapping[str, frozenset[str]] = {
    "gsuite": frozenset({"google"}),
    "azureAD": frozenset({"azureAD"}),
    "azure_ad": frozenset({"azureAD"}),
    "okta": frozenset({"okta"}),
    "github-organization": frozenset({"github"}),
    "github_organization": frozenset({"github"}),
    "oidc": frozenset({"oidc", "google", "azureAD", "okta"}),
    "saml": frozenset(),
}


def _find_mute(document: Document) -> Iterator[Problem]:
    """Rules that ask a provider for what none of its type can tell, so that they could never hold."""
    types = {
        name: table.type for table in document.identity_providers for name in (table.name, find_provider_id(table))
    }
    for place, table in list_tables(document):
        for key, index, rule in table.places():
            [(name, argument)] = rule.items()
            kind = types.get(argument.get("identity_provider_id", ""))
            if name in _TELLING and kind is not None and kind not in _TELLING[name]:
                hint = "write an oidc rule, for a claim" if name == "saml" else "name a provider of the right type"
                said = f"{name} asks what a provider of the type {kind} cannot tell"
                yield Problem(f"{place}.{key}[{index}]", said, hint)


def _find_problems(document: Document) -> Iterator[Problem]:
    """What is said about logins, and cannot be obeyed."""
    yield from _find_mute(document)
    if document.identity_providers and document.login is None:
        hint = 'write [login] with inventory = "inventory.db": sessions have their keys there'
        yield Problem("identity_providers", "people log in here, and nobody keeps their sessions", hint)
    for place, table in list_tables(document):
        if isinstance(table, PolicyTable) and table.decision is DecisionWord.ALLOW and not document.identity_providers:
            hint = 'write "non_identity", or define a provider under [[identity_providers]]'
            yield Problem(f"{place}.decision", '"allow" asks for a login, and there is no provider for one', hint)
    for index, application in enumerate(document.applications):
        place = f"applications[{index}]"
        cors = application.cors_headers
        if cors is not None and application.options_preflight_bypass:
            hint = "leave one of them out"
            yield Problem(f"{place}.cors_headers", "goes without options_preflight_bypass alone", hint)
        if cors is not None and cors.allow_credentials and (cors.allow_all_origins or "*" in cors.allowed_origins):
            # Any page on the web could then act as whoever looks at it.
            yield Problem(
                f"{place}.cors_headers", "credentials for every origin", "name the origins that may have them"
            )


def list_tables(document: Document) -> Iterator[tuple[str, RulesTable]]:
    """Every group, and every policy that is written out, with its place."""
    for index, group in enumerate(document.groups):
        yield f"groups[{index}]", group
    for index, table in enumerate(document.policies):
        yield f"policies[{index}]", table
    for index, application in enumerate(document.applications):
        for number, policy in enumerate(application.policies):
            if isinstance(policy, PolicyTable):
                yield f"applications[{index}].policies[{number}]", policy
