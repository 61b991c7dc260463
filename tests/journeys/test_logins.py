"""The whole of a login with real providers of OpenID Connect: from the page that was wanted to that page."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keyfob import load_gate
from keyfob.gate import Gate
from keyfob.inventory import open_inventory
from logins import ASGI, HOST, LAPTOP, PHONE, ROOT, SKINS, WSGI, Browser, Reply
from providers.certified import Running, describe, log_in_at, running_certified, running_mock

CALLBACK = f"https://{HOST}/.keyfob/callback/work"
PROVIDERS: dict[str, Callable[[], AbstractContextManager[Running]]] = {
    "oidc-provider": lambda: running_certified(CALLBACK),
    "oidc-provider-mock": running_mock,
}

RULES = """
source = {{ kind = "tls" }}
root_certificates = [{{ name = "r", certificate = "ca.pem", associated_hostnames = ["{host}"] }}]
login = {{ inventory = "inventory.db" }}

{provider}
[[applications]]
name = "Budget"
domain = "{host}"

[[applications.policies]]
name = "Me, from anywhere"
decision = "allow"
include = [{include}]
require = [{require}]
"""


@pytest.fixture(scope="module", params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Iterator[Running]:
    with PROVIDERS[request.param]() as running:
        yield running


@pytest.fixture(scope="module")
def certified() -> Iterator[Running]:
    with running_certified(CALLBACK) as running:
        yield running


def load(folder: Path, provider: str, include: str = "{ everyone = {} }", require: str = "") -> Gate:
    (folder / "ca.pem").write_text(ROOT.pem, encoding="ascii")
    (folder / "access.toml").write_text(
        RULES.format(host=HOST, provider=provider, include=include, require=require), encoding="utf-8"
    )
    if not (folder / "inventory.db").exists():
        open_inventory(folder / "inventory.db", create=True).close()
    return load_gate(folder / "access.toml")


def write_provider(folder: Path, running: Running, *scopes: str) -> str:
    (folder / "work.secret").write_text(running.client_secret, encoding="ascii")
    return describe(running, scopes=scopes)


def go_and_come_back(browser: Browser, name: str, target: str = "/") -> Reply:
    """Logs in at the provider as a person does, up to the answer to the callback."""
    away = browser.get(target)
    assert away.status == 303, away.body
    back = urlsplit(log_in_at(away.location, name, CALLBACK))
    return browser.get(f"{back.path}?{back.query}")


@pytest.mark.parametrize("skin", SKINS)
def test_somebody_logs_in_and_comes_back_to_what_was_wanted(
    tmp_path: Path, provider: Running, skin: type[ASGI] | type[WSGI]
) -> None:
    """And needs no login for the next page."""
    browser = Browser(skin(load(tmp_path, write_provider(tmp_path, provider))))
    reply = go_and_come_back(browser, "rhea", "/books?month=11")
    assert reply.location == f"https://{HOST}/books?month=11"
    [seen] = browser.follow(reply).seen
    assert seen.identity.user is not None
    assert (seen.identity.user.provider, seen.identity.user.subject) == ("work", "rhea")
    assert browser.get("/other").seen


@pytest.mark.parametrize("skin", SKINS)
def test_a_used_code_and_state_log_nobody_in(tmp_path: Path, provider: Running, skin: type[ASGI] | type[WSGI]) -> None:
    """Not in the same browser once it is logged out, and not in another one."""
    browser = Browser(skin(load(tmp_path, write_provider(tmp_path, provider))))
    away = browser.get("/")
    back = urlsplit(log_in_at(away.location, "rhea", CALLBACK))
    replay = f"{back.path}?{back.query}"
    browser.get(replay)
    session = {name: value for name, value in browser.jar.items() if name.endswith("browser")}
    assert len(browser.jar) == 2
    again = Browser(browser.skin, jar=dict(session))
    assert again.get(replay).cookies == []
    stranger = Browser(browser.skin).get(replay)
    assert (stranger.status, stranger.cookies, stranger.seen) == (400, [], [])


@pytest.mark.parametrize("name", ["rhea", "admin-rhea"])
def test_a_custom_claim_decides(tmp_path: Path, certified: Running, name: str) -> None:
    """Told by userinfo, since the certified provider keeps it out of the ID token."""
    rule = '{ oidc = { claim_name = "role", claim_value = "admin", identity_provider_id = "Work" } }'
    gate = load(tmp_path, write_provider(tmp_path, certified, "email", "work"), rule)
    browser = Browser(ASGI(gate))
    reply = go_and_come_back(browser, name)
    is_admin = name.startswith("admin")
    assert reply.status == (303 if is_admin else 401)
    assert bool(browser.get("/").seen) == is_admin


@pytest.mark.parametrize("name", ["rhea", "unverified"])
def test_an_address_counts_once_it_is_verified(tmp_path: Path, certified: Running, name: str) -> None:
    rule = '{ email_domain = { domain = "example.com" } }'
    browser = Browser(ASGI(load(tmp_path, write_provider(tmp_path, certified), rule)))
    reply = go_and_come_back(browser, name)
    assert reply.status == (303 if name == "rhea" else 401)


@pytest.mark.parametrize("skin", SKINS)
def test_certificate_and_login_together_are_bound(
    tmp_path: Path, certified: Running, skin: type[ASGI] | type[WSGI]
) -> None:
    """The cookie is worth nothing without the certificate, and without the certificate nobody is sent to a login."""
    door = skin(load(tmp_path, write_provider(tmp_path, certified), require="{ certificate = {} }"))
    assert Browser(door).get("/").status == 401
    device = Browser(door, PHONE)
    assert device.follow(go_and_come_back(device, "rhea")).seen
    for leaf in (None, LAPTOP):
        assert Browser(door, leaf, jar=dict(device.jar)).fetch("/").seen == []


def test_a_wrong_secret_is_told_to_the_log_alone(
    tmp_path: Path, certified: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """To the person it is a login that did not work, with a request id."""
    wrong = write_provider(tmp_path, certified._replace(client_secret="another"))  # noqa: S106 - it is wrong
    browser = Browser(ASGI(load(tmp_path, wrong)))
    with caplog.at_level("WARNING", "keyfob.audit"):
        reply = go_and_come_back(browser, "rhea")
    assert reply.status == 401
    assert b"invalid_client" not in reply.body
    assert "invalid_client" in caplog.text
    assert "login-failed" in caplog.text
