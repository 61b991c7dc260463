"""cli.token and cli.sessions: a secret is shown once, what is withdrawn is listed so, and people are logged out."""

import json
import re
from pathlib import Path

import pytest

from commands import fail, run, succeed
from keyfob.inventory.logins import hash_secret
from keyfob.pki.registry import Registry
from registries import make_registry

NAME = "Nightly import"


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Where the commands find it by themselves."""
    monkeypatch.chdir(tmp_path)
    return make_registry(Path(".keyfob"))


def read(out: str) -> tuple[str, str]:
    """Id and secret, from what is printed as headers."""
    found = re.fullmatch(r"Keyfob-Client-Id: (\S+)\nKeyfob-Client-Secret: (\S+)\n", out)
    assert found is not None, out
    return found[1], found[2]


def list_states() -> dict[str, str]:
    return {said["name"]: said["state"] for said in map(json.loads, succeed("token", "list", "--json").lines)}


def test_a_token_is_shown_once_as_the_headers_that_it_is(registry: Registry) -> None:
    """On stdout, so that `> FILE` and curl's -H @FILE are all it takes; the inventory has its hash."""
    said = succeed("token", "create", NAME, "--days", "30")
    token_id, secret = read(said.out)
    assert secret not in said.err
    [token] = registry.inventory.logins.list_tokens()
    assert (token.token_id, token.digest) == (token_id, hash_secret(secret))
    assert token.expires_at - token.created_at == 30 * 86_400
    listed = succeed("token", "list")
    assert secret not in listed.out
    assert re.fullmatch(rf"{NAME}  active    \S+  \S+  {re.escape(token_id)}", listed.lines[1])


def test_a_program_reads_it_as_json() -> None:
    said = json.loads(succeed("token", "create", NAME, "--json").out)
    assert set(said) == {"name", "client_id", "client_secret", "expires_at"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["expires_at"])


def test_a_rotated_token_has_its_id_and_another_secret() -> None:
    """The old one goes on for a day, or for as long as is said, or not at all."""
    token_id, secret = read(succeed("token", "create", NAME).out)
    rotated = succeed("token", "rotate", NAME)
    assert "the old secret counts until" in rotated.err
    again, other = read(rotated.out)
    assert again == token_id
    assert other != secret
    [listed] = map(json.loads, succeed("token", "list", "--json").lines)
    assert listed["previous_until"] is not None
    assert "counts until" not in succeed("token", "rotate", NAME, "--grace", "0").err.partition(". ")[2]
    [listed] = map(json.loads, succeed("token", "list", "--json").lines)
    assert listed["previous_until"] is None
    assert "no duration" in fail(2, "token", "rotate", NAME, "--grace", "a while")[0]


def test_a_revoked_token_stays_in_the_list() -> None:
    """And its name is free for another one."""
    succeed("token", "create", NAME)
    assert NAME in fail(1, "token", "create", NAME)[0]
    succeed("token", "revoke", NAME)
    assert list_states() == {NAME: "revoked"}
    assert "keyfob token list" in fail(1, "token", "revoke", NAME)[1]
    succeed("token", "create", NAME)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65, "0" * 32 + ".keyfob"])
def test_a_name_says_what_it_is_for(name: str) -> None:
    assert "token" in fail(1, "token", "create", name)[0]


@pytest.mark.parametrize("days", ["0", "-1", "3651", "x"])
def test_days_are_a_number_that_makes_sense(days: str) -> None:
    fail(2, "token", "create", NAME, "--days", days)


def test_an_empty_list_is_empty() -> None:
    assert succeed("token", "list").out == succeed("token", "list", "--json").out == ""


@pytest.mark.parametrize(
    ("arguments", "ended"),
    [
        (["Rhea.Group@example.com"], ("address", "rhea.group@example.com")),
        (["google:117"], ("person", "google:117")),
        (["--everybody"], ("everybody", "")),
    ],
)
def test_people_are_logged_out(registry: Registry, arguments: list[str], ended: tuple[str, str]) -> None:
    """By their address, by what a record calls them, or all at once."""
    said = succeed("sessions", "end", *arguments)
    assert said.out == ""
    assert said.err.startswith("ended: ")
    assert [(each.kind, each.who) for each in registry.inventory.logins.read(0, None).endings] == [ended]


@pytest.mark.parametrize("arguments", [[], ["a@example.com", "--everybody"], ["nobody"]])
def test_who_is_meant_has_to_be_said(registry: Registry, arguments: list[str]) -> None:
    """Nobody is logged out by a slip."""
    fail(2, "sessions", "end", *arguments)
    assert registry.inventory.logins.read(0, None).endings == []


def test_without_an_inventory_there_is_nothing_to_keep_them_in(tmp_path: Path) -> None:
    said = run("token", "create", NAME, "--home", tmp_path / "elsewhere")
    assert said.status == 1
    assert "keyfob ca init" in said.err
