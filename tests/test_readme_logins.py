"""README.md on logins: both sentences of the walkthrough are complete configurations, and they do what they say."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from certificates import make_leaf
from commands import fail, run, succeed
from keyfob import load_gate
from keyfob.cli.sessions import sessions_command
from keyfob.cli.token import token_command
from keyfob.config.document import PROVIDER_TYPES
from keyfob.config.logins import KINDS
from keyfob.gate import Gate
from keyfob.inventory import open_inventory
from keyfob.inventory.logins import Logins
from keyfob.login.desk import CALLBACK, IDENTITY, KEYS, LOGIN, LOGOUT
from keyfob.policy import User
from logins import ASGI, LAPTOP, PHONE, ROOT, SKINS, WSGI, Browser, Reply, Stub, write_pair
from servers import ROOT as CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("## Logins: who, as well as what") : README.index("## Keys for devices")]
ALTERNATIVE, BOTH, PROVIDERS, IMPORT = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
GROUP = "aa0a4aab-672b-4bdb-bc33-a59f1130a11f"

RHEA = User("rhea.group@example.com", "google", subject="117")
STRANGER = User("somebody.else@example.com", "google", subject="118")
ACCOUNTANT = User("rhea.group@example.com", "entra", groups=frozenset({GROUP, "another"}), subject="oid-1")
COLLEAGUE = ACCOUNTANT._replace(groups=frozenset({"another"}))


def write(folder: Path, rules: str) -> Path:
    """The shown file, with the files that it names."""
    (folder / "ca.pem").write_text(ROOT.pem, encoding="ascii")
    for secret in re.findall(r'_file = "(.*?)"', rules):
        (folder / secret).write_text("s3cr3t\n", encoding="ascii")
    (folder / "access.toml").write_text(rules, encoding="utf-8")
    open_inventory(folder / "inventory.db", create=True).close()
    return folder / "access.toml"


def load(folder: Path, rules: str, user: User) -> Gate:
    """The gate of the shown file, at whose provider `user` logs in."""
    gate = load_gate(write(folder, rules))
    assert gate.desk is not None
    [provider] = gate.desk.providers.values()
    gate.desk.providers = {provider.id: Stub(provider.id, provider.name, user)}
    return gate


def log_in(browser: Browser, target: str) -> Reply:
    """The whole login with Google, up to the page that was wanted."""
    return browser.follow(browser.come_back(browser.begin(target), "google"))


@pytest.mark.parametrize(
    "rules", [ALTERNATIVE, BOTH, ALTERNATIVE + PROVIDERS], ids=["alternative", "both", "providers"]
)
def test_what_is_shown_is_right(tmp_path: Path, rules: str) -> None:
    """`keyfob check` finds nothing wrong with it, and nothing that is probably not meant."""
    said = succeed("check", write(tmp_path, rules))
    assert "warning" not in said.out + said.err


@pytest.mark.parametrize("skin", SKINS)
def test_the_phone_goes_in_and_the_laptop_logs_in(tmp_path: Path, skin: type[ASGI] | type[WSGI]) -> None:
    """The first sentence: a login is the alternative, for me alone."""
    door = skin(load(tmp_path, ALTERNATIVE, RHEA))
    phone = Browser(door, PHONE)
    assert phone.get("/").seen[0].identity.certificate is not None
    laptop = Browser(door)
    assert laptop.get("/books?month=11").location.startswith("https://google.example/authorize")
    [seen] = log_in(laptop, "/books?month=11").seen
    assert (seen.identity.user, seen.identity.certificate) == (RHEA, None)
    # Another device's certificate is none of those that are let in, and a login does for it, too.
    assert log_in(Browser(door, LAPTOP), "/").seen
    assert Browser(door, make_leaf(None)).get("/").seen == []


@pytest.mark.parametrize("skin", SKINS)
def test_somebody_else_logs_in_for_nothing(tmp_path: Path, skin: type[ASGI] | type[WSGI]) -> None:
    """He has an account with Google as well."""
    browser = Browser(skin(load(tmp_path, ALTERNATIVE, STRANGER)))
    reply = browser.come_back(browser.begin(), "google")
    assert (reply.status, reply.seen) == (401, [])
    assert not any("__Host-keyfob-browser" not in cookie for cookie in reply.cookies)


@pytest.mark.parametrize("skin", SKINS)
def test_a_certificate_and_a_login_are_both_asked_for(tmp_path: Path, skin: type[ASGI] | type[WSGI]) -> None:
    """The second sentence: without the certificate nobody is even asked who it is."""
    door = skin(load(tmp_path, BOTH, ACCOUNTANT))
    stranger = Browser(door, host="books.example.com").get("/")
    assert (stranger.status, stranger.location, stranger.seen) == (401, "", [])
    device = Browser(door, PHONE, host="books.example.com")
    reply = device.come_back(device.begin(), "entra")
    [seen] = device.follow(reply).seen
    assert seen.identity.certificate is not None
    assert seen.identity.user is not None
    assert seen.identity.user.groups == {GROUP}
    # The cookie alone, or with another certificate of the same CA, is worth nothing.
    for leaf in (None, LAPTOP):
        thief = Browser(door, leaf, host="books.example.com", jar=dict(device.jar))
        assert thief.fetch("/").seen == []


def test_a_colleague_in_another_group_is_not_let_in(tmp_path: Path) -> None:
    """With a device of the company, and an account of its tenant."""
    browser = Browser(ASGI(load(tmp_path, BOTH, COLLEAGUE)), PHONE, host="books.example.com")
    assert browser.come_back(browser.begin(), "entra").seen == []
    assert browser.fetch("/").seen == []


def test_a_script_shows_its_token(tmp_path: Path) -> None:
    """The rule of the section on tokens, behind those of the first sentence."""
    path = write(tmp_path, ALTERNATIVE + IMPORT)
    said = succeed(
        "token",
        "create",
        "Nightly import",
        "--days",
        "365",
        "--home",
        tmp_path,
        "--inventory",
        tmp_path / "inventory.db",
    )
    token_id, secret = re.findall(r": (\S+)", said.out)
    gate = load_gate(path)
    browser = Browser(ASGI(gate))
    [seen] = browser.fetch("/api/entries", write_pair(token_id, secret)).seen
    assert seen.identity.service_token is not None
    assert seen.identity.service_token.name == "Nightly import"
    assert browser.fetch("/api/entries", write_pair(token_id, secret, "CF-Access")).seen
    assert browser.fetch("/api/entries", write_pair(token_id, secret + "x")).status == 401


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_every_type_of_provider_has_a_row_with_what_it_needs() -> None:
    """And no other has one."""
    rows: Mapping[str, Sequence[str]] = {
        name: cells
        for name, *cells in re.findall(r"^\| `(\w+)` \|(.*?)\|(.*?)\|(.*?)\|$", SECTION, re.MULTILINE)
        if name in PROVIDER_TYPES
    }
    assert set(rows) == set(KINDS) == set(PROVIDER_TYPES)
    for name, (needs, may, _) in rows.items():
        client = set() if "no client" in needs else {"client_id", "client_secret_file"}
        assert {*re.findall(r"`(\w+)`", needs), *client} == KINDS[name].needs, name
        assert set(re.findall(r"`(\w+)`", may)) == KINDS[name].may, name


def test_every_address_of_the_login_s_own_is_listed() -> None:
    shown = re.findall(r"^\| `/\.keyfob/(\w+)", SECTION, re.MULTILINE)
    assert sorted(shown) == sorted([LOGIN, CALLBACK, IDENTITY, LOGOUT, KEYS])


def test_every_command_is_shown() -> None:
    for group in (token_command, sessions_command):
        for name in group.commands:
            assert re.search(rf"keyfob {group.name} {name}\b", SECTION), name


def test_sessions_end_by_the_shown_command(tmp_path: Path) -> None:
    write(tmp_path, ALTERNATIVE)
    [line] = re.findall(r"^keyfob (sessions end \S+@\S+)", SECTION, re.MULTILINE)
    succeed(*line.split(), "--home", tmp_path, "--inventory", tmp_path / "inventory.db")
    with open_inventory(tmp_path / "inventory.db") as inventory:
        assert isinstance(inventory.logins, Logins)
        assert [each.who for each in inventory.logins.read(0, None).endings] == ["rhea.group@example.com"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--email", "rhea.group@example.com"], None),
        (["--email", "somebody.else@example.com"], "no-matching-policy"),
        ([], "login-required"),
    ],
)
def test_who_would_get_in_is_explained(tmp_path: Path, words: list[str], reason: str | None) -> None:
    """Without any login; and whoever has not logged in is asked to."""
    path = write(tmp_path, ALTERNATIVE)
    said = run("explain", "--config", path, "--url", "https://money.example.com/", *words, "--json")
    assert json.loads(said.out)["reason"] == reason
    assert said.status == (0 if reason is None else 1)


def test_a_group_is_part_of_who_somebody_is(tmp_path: Path) -> None:
    """And the certificate that the second sentence asks for is not made up for by it."""
    path = write(tmp_path, BOTH)
    (tmp_path / "device.pem").write_text(PHONE.pem)
    asked: list[str | Path] = [
        "explain",
        "--config",
        path,
        "--url",
        "https://books.example.com/",
        "--email",
        "rhea.group@example.com",
    ]
    device: list[str | Path] = ["--certificate", tmp_path / "device.pem"]
    assert run(*asked, *device, "--group", GROUP).status == 0
    assert run(*asked, *device).status == 1
    assert run(*asked, "--group", GROUP).status == 1
    assert run(*asked, "--provider", "Nobody").status == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--email", "rhea"], "'rhea' is no address"),
        (["--email", "rhea.group@example.com", "--provider", "goog"], "'goog' is no provider; there are: google"),
        (["--group", "staff"], "say who it is, too"),
        (["--amr", "mfa"], "say who it is, too"),
        (["--provider", "google"], "say who it is, too"),
    ],
)
def test_explain_says_what_it_cannot_make_sense_of(tmp_path: Path, arguments: Sequence[str], said: str) -> None:
    """Nothing that was asked is left out without a word."""
    config = str(write(tmp_path, ALTERNATIVE))
    assert said in fail(2, "explain", "--config", config, "--url", "https://money.example.com/", *arguments)[0]
