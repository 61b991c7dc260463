"""config.logins: what a configuration says about logins is obeyed, or refused with its place and its cure."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from certificates import make_authority
from keyfob import ConfigError, load_gate
from keyfob.config.document import PROVIDER_TYPES
from keyfob.config.logins import KINDS
from keyfob.gate import Gate
from keyfob.inventory import open_inventory
from servers import environment

ROOT = make_authority()
TENANT = "f4a0ba8a-6a53-4b7f-9d4a-3b1f2f0d7c11"
CLIENT = {"client_id": "c", "client_secret_file": "secret"}
SAMPLES: dict[str, dict[str, Any]] = {
    "oidc": {**CLIENT, "issuer": "https://id.example.com"},
    "google": {**CLIENT},
    "azureAD": {**CLIENT, "directory_id": TENANT},
    "okta": {**CLIENT, "okta_account": "https://dev-1.okta.com"},
    "github": {**CLIENT},
    "facebook": {**CLIENT},
    "onetimepin": {"smtp_host": "localhost", "sender": "keyfob@example.com"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    (tmp_path / "secret").write_text("s3cr3t\n")
    open_inventory(tmp_path / "inventory.db", create=True).close()
    return tmp_path


def provide(kind: str = "oidc", **more: Any) -> dict[str, Any]:
    """A provider of this type, as a table."""
    return {"name": "Work", "type": kind, **SAMPLES[kind], **more}


def write(folder: Path, *providers: dict[str, Any], application: dict[str, Any] | None = None, **more: Any) -> Path:
    """A configuration with these providers, and one policy that asks who somebody is. None leaves a table out."""
    document = {
        "source": {"kind": "tls"},
        "root_certificates": [{"name": "r", "certificate": "ca.pem", "associated_hostnames": ["money.example.com"]}],
        "login": {"inventory": "inventory.db"},
        "identity_providers": [*providers],
        "applications": [
            {
                "name": "Budget",
                "domain": "money.example.com",
                "policies": [{"name": "p", "decision": "allow", "include": [{"everyone": {}}]}],
                **(application or {}),
            }
        ],
        **more,
    }
    path = folder / "access.json"
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
    return path


def load(folder: Path, *providers: dict[str, Any], **more: Any) -> Gate:
    """The gate of such a configuration."""
    return load_gate(write(folder, *providers, **more))


def refuse(folder: Path, *providers: dict[str, Any], **more: Any) -> list[tuple[str, str, str]]:
    """The problems: where, what, and what to do."""
    with pytest.raises(ConfigError) as refused:
        load(folder, *providers, **more)
    assert all(problem.hint for problem in refused.value.problems)
    return [(problem.place, problem.message, problem.hint) for problem in refused.value.problems]


@pytest.mark.parametrize("kind", PROVIDER_TYPES)
def test_every_type_of_provider_is_made(folder: Path, kind: str) -> None:
    """With what it needs; its id is made of its name."""
    desk = load(folder, provide(kind, name="Our Work!")).desk
    assert desk is not None
    [provider] = desk.providers.values()
    assert (provider.id, provider.name, provider.kind) == ("our-work", "Our Work!", kind)


def test_the_tables_of_types_agree() -> None:
    assert set(KINDS) == set(PROVIDER_TYPES) == set(SAMPLES)


@pytest.mark.parametrize("kind", PROVIDER_TYPES)
def test_what_is_missing_or_does_not_belong_is_named(folder: Path, kind: str) -> None:
    """Each key that a type needs, and one that it does not know."""
    for key in KINDS[kind].needs:
        table = {name: value for name, value in provide(kind).items() if name != key}
        [(place, message, _)] = refuse(folder, table)
        assert (place, kind in message) == (f"identity_providers[0].{key}", True)
    stray = "sender" if kind != "onetimepin" else "issuer"
    [(place, message, _)] = refuse(folder, provide(kind, **{stray: "https://id.example.com"}))
    assert (place, "does not go with" in message) == (f"identity_providers[0].{stray}", True)


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (provide(client_secret_file="nowhere"), "identity_providers[0].client_secret_file"),  # noqa: S106
        (provide(client_secret_file="ca.pem"), "identity_providers[0].client_secret_file"),  # noqa: S106
        (provide(id="a/b"), "identity_providers[0].id"),
        (provide(id=""), "identity_providers[0].id"),
        (provide(type="saml"), "identity_providers[0].type"),
        (provide(issuer="http://id.example.com"), "identity_providers[0]"),
        (provide(issuer="https://id.example.com/?x"), "identity_providers[0]"),
        (provide(certificate_authority="secret"), "identity_providers[0].certificate_authority"),
        (provide("azureAD", directory_id="common"), "identity_providers[0]"),
        (provide("azureAD", directory_id="organizations"), "identity_providers[0]"),
        (provide("github", url="http://github.example.com"), "identity_providers[0]"),
        (provide("onetimepin", sender="nobody"), "identity_providers[0]"),
        (
            provide(
                "onetimepin",
                smtp_host="mail.example.com",
                smtp_security="none",
                smtp_username="me",
                smtp_password_file="secret",  # noqa: S106 - the name of a file
            ),
            "identity_providers[0]",
        ),
    ],
)
def test_a_provider_that_cannot_be_asked_is_refused_at_the_start(
    folder: Path, table: dict[str, Any], place: str
) -> None:
    assert [where for where, _, _ in refuse(folder, table)] == [place]


def test_no_two_providers_have_a_name(folder: Path) -> None:
    [(place, _, _)] = refuse(folder, provide(), provide("google", id="other"))
    assert place == "identity_providers[1].name"


def test_allow_needs_somebody_who_can_tell(folder: Path) -> None:
    """And logins need a place for their sessions."""
    [(place, message, hint)] = refuse(folder)
    assert (place, "no provider" in message) == ("applications[0].policies[0].decision", True)
    assert "non_identity" in hint
    places = [where for where, _, _ in refuse(folder, provide(), login=None)]
    assert places == ["identity_providers"]


def test_an_inventory_has_to_be_there(folder: Path) -> None:
    [(place, _, hint)] = refuse(folder, provide(), login={"inventory": "elsewhere.db"})
    assert (place, "keyfob ca init" in hint) == ("login.inventory", True)


@pytest.mark.parametrize("length", ["30s", "32d", "soon", "", 60])
def test_a_session_has_a_length_that_makes_sense(folder: Path, length: object) -> None:
    """Everywhere that one is said."""
    policy = {"name": "p", "decision": "allow", "include": [{"everyone": {}}], "session_duration": length}
    assert refuse(folder, provide(), login={"inventory": "inventory.db", "session_duration": length})
    assert refuse(folder, provide(), application={"session_duration": length})
    assert refuse(folder, provide(), application={"policies": [policy]})


def test_the_nearest_length_of_a_session_counts(folder: Path) -> None:
    """That of the policy, of the application, of all."""
    policy = {"name": "p", "decision": "allow", "include": [{"everyone": {}}]}
    for told, expected in (
        ({}, None),
        ({"session_duration": "2h"}, 7200),
        ({"session_duration": "2h", "policies": [{**policy, "session_duration": "5m"}]}, 300),
    ):
        desk = load(
            folder, provide(), application=told, login={"inventory": "inventory.db", "session_duration": "1d"}
        ).desk
        assert desk is not None
        [application] = desk.applications.values()
        assert (application.find_session("p"), desk.session) == (expected, 86_400)


def test_the_providers_of_an_application_are_those_that_it_names(folder: Path) -> None:
    desk = load(folder, provide(), provide("google", name="G", id="g"), application={"allowed_idps": ["G"]}).desk
    assert desk is not None
    [application] = desk.applications.values()
    assert [each.id for each in desk.find_providers(application)] == ["g"]
    [(place, _, _)] = refuse(folder, provide(), application={"allowed_idps": ["Wrok"]})
    assert place == "applications[0].allowed_idps[0]"


@pytest.mark.parametrize(
    "told",
    [
        {"options_preflight_bypass": True, "cors_headers": {"allow_all_origins": True}},
        {"cors_headers": {"allow_all_origins": True, "allow_credentials": True}},
        {"cors_headers": {"allowed_origins": ["*"], "allow_credentials": True}},
    ],
)
def test_preflights_that_would_open_the_app_are_refused(folder: Path, told: dict[str, Any]) -> None:
    [(place, _, _)] = refuse(folder, provide(), application=told)
    assert place == "applications[0].cors_headers"


RULES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "gsuite": ({"email": "g@example.com"}, {"google"}),
    "azureAD": ({"id": TENANT}, {"azureAD"}),
    "okta": ({"name": "finance"}, {"okta"}),
    "github-organization": ({"name": "acme"}, {"github"}),
    "oidc": ({"claim_name": "a", "claim_value": "b"}, {"oidc", "google", "azureAD", "okta"}),
    "saml": ({"attribute_name": "a", "attribute_value": "b"}, set()),
}


@pytest.mark.parametrize("kind", PROVIDER_TYPES)
@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_a_provider_that_can_tell(folder: Path, name: str, kind: str) -> None:
    """Otherwise it could never hold, in a policy or in a group, and somebody would wonder for long."""
    argument, telling = RULES[name]
    rule = {name: {**argument, "identity_provider_id": "Work"}}
    policy = {"name": "p", "decision": "allow", "include": [rule]}
    if kind in telling:
        load(folder, provide(kind), application={"policies": [policy]})
    else:
        [(place, message, _)] = refuse(folder, provide(kind), application={"policies": [policy]})
        assert (place, kind in message) == ("applications[0].policies[0].include[0]", True)
        [(place, _, _)] = refuse(folder, provide(kind), groups=[{"name": "g", "include": [rule]}])
        assert place == "groups[0].include[0]"


def test_without_logins_none_of_their_libraries_is_needed(folder: Path) -> None:
    """A phone with a certificate needs no provider."""
    policy = {"name": "p", "decision": "non_identity", "include": [{"certificate": {}}]}
    assert load(folder, login=None, application={"policies": [policy]}).desk is None


def test_health_tells_of_an_inventory_that_cannot_be_read(folder: Path) -> None:
    """Sessions and tokens that were withdrawn since are not seen, and in a while nobody is let in by them."""
    gate = load(folder, provide())
    assert gate.desk is not None
    assert gate.find_troubles(time.time()) == []
    gate.desk.book.trouble = "the disk is gone"
    assert gate.find_troubles(time.time()) == ["the disk is gone"]


def test_what_two_books_of_one_inventory_say_is_told_once(folder: Path) -> None:
    """Mostly devices and logins are kept in the same one."""
    root = {"name": "r", "certificate": "ca.pem", "associated_hostnames": ["money.example.com"]}
    gate = load(folder, provide(), root_certificates=[root | {"inventory": "inventory.db"}])
    assert gate.desk is not None
    [book] = gate.withdrawals.values()
    gate.desk.book.trouble = book.trouble = "the disk is gone"
    assert gate.find_troubles(time.time()) == ["the disk is gone"]


def test_what_is_wrong_with_a_provider_is_said_with_what_is_wrong_with_the_inventory(folder: Path) -> None:
    """Everything at once."""
    found = refuse(folder, provide() | {"client_secret_file": "gone"}, login={"inventory": "gone.db"})
    assert [place for place, _, _ in found] == ["identity_providers[0].client_secret_file", "login.inventory"]


# --- What logins need -------------------------------------------------------------------------------------------------


def run_without(packages: set[str], config: Path) -> subprocess.CompletedProcess[str]:
    """Makes a middleware where these packages are not installed. In a process of its own: they are imported here."""
    missing = f"sys.modules |= dict.fromkeys({sorted(packages)!r})"
    script = f"import sys; {missing}; import keyfob; keyfob.AccessMiddleware(None, config={str(config)!r})"
    return subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False
    )


def test_who_has_no_logins_needs_none_of_their_packages(folder: Path) -> None:
    """Nor the database."""
    devices = {"policies": [{"name": "p", "decision": "non_identity", "include": [{"certificate": {}}]}]}
    said = run_without({"joserfc", "httpx", "authlib", "sqlalchemy"}, write(folder, application=devices, login=None))
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("package", ["joserfc", "httpx", "authlib", "sqlalchemy"])
def test_what_a_login_needs_is_named(folder: Path, package: str) -> None:
    """At the start, with the command that installs it, and not when the first person comes."""
    said = run_without({package}, write(folder, provide()))
    assert said.returncode != 0
    assert f"logins need the package {package}" in said.stderr
    assert "pip install 'keyfob[sso]'" in said.stderr
