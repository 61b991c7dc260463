"""inventory.logins: what logins keep is kept as hashes, is claimed once, and ends at once; in either database."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from inventories import DAY, NOW, run_at_once
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, open_inventory
from keyfob.inventory.logins import (
    ANNOUNCED,
    LONGEST_SESSION,
    MOST_CODES,
    MOST_TRIES,
    ROTATION,
    Ended,
    Key,
    Logins,
    NoSuchToken,
    hash_secret,
)

MARK, ADDRESS, CODE = b"m" * 32, b"a" * 32, b"c" * 32


@pytest.fixture
def logins(inventory: Inventory) -> Logins:
    return inventory.logins


def read_keys(logins: Logins) -> list[Key]:
    return sorted(logins.read(0, None).keys, key=lambda key: key.begins_at)


def read_endings(logins: Logins) -> set[Ended]:
    return set(logins.read(0, None).endings)


# --- Keys -----------------------------------------------------------------------------------------------------------


def test_the_first_key_signs_at_once_and_the_next_one_is_announced(logins: Logins) -> None:
    """Every worker knows a key before anything comes that it has signed; a day before its time there is none."""
    logins.ensure_key(NOW)
    logins.ensure_key(NOW + ROTATION - DAY)
    [first] = read_keys(logins)
    assert first.begins_at == NOW
    logins.ensure_key(NOW + ROTATION)
    _, second = read_keys(logins)
    assert second.begins_at == NOW + ROTATION + ANNOUNCED
    assert second.kid != first.kid
    assert second.private != first.private
    assert len(second.seal) == 32
    assert second.seal != first.seal


def test_a_key_is_kept_until_nothing_counts_that_it_has_signed(logins: Logins) -> None:
    """The last moment at which it signs is when the next one begins."""
    logins.ensure_key(NOW)
    logins.ensure_key(NOW + ROTATION)
    first, second = read_keys(logins)
    assert first.retires_at > second.begins_at + LONGEST_SESSION
    logins.ensure_key(second.begins_at + ROTATION)
    assert first in read_keys(logins)
    logins.ensure_key(first.retires_at + ROTATION)
    assert first not in read_keys(logins)


def test_of_many_workers_one_makes_the_key(inventory: Inventory, where: str) -> None:
    """They all start at one moment, and agree."""
    made = run_at_once([lambda: _ensure(where) for _ in range(8)])
    assert [each for each in made if isinstance(each, BaseException)] == []
    assert len(read_keys(inventory.logins)) == 1


def _ensure(where: str | Path) -> None:
    with open_inventory(where) as inventory:
        inventory.logins.ensure_key(NOW)


# --- What is new ----------------------------------------------------------------------------------------------------


def test_whoever_follows_is_told_what_is_new_alone(logins: Logins) -> None:
    """Up to the revision that he has seen, there is nothing to be said again."""
    logins.ensure_key(NOW)
    seen = logins.read(0, None)
    assert logins.read(seen.revision, seen.nonce)[2:] == ([], [], [])
    logins.end_everybody(NOW)
    found = logins.read(seen.revision, seen.nonce)
    assert found.revision > seen.revision
    assert [each.kind for each in found.endings] == ["everybody"]
    assert (list(found.keys), list(found.tokens)) == ([], [])


def test_another_history_is_told_from_its_beginning(logins: Logins) -> None:
    """Such as that of a backup, whatever its numbers are."""
    logins.ensure_key(NOW)
    seen = logins.read(0, None)
    assert len(logins.read(seen.revision, b"x" * 16).keys) == 1
    assert len(logins.read(seen.revision + 5, seen.nonce).keys) == 1


# --- Endings --------------------------------------------------------------------------------------------------------


def test_sessions_end_by_session_person_address_and_altogether(logins: Logins) -> None:
    """An address in lower case, since a provider may write it in any."""
    logins.end_session("s1", NOW, NOW + 60)
    logins.end_person("google:1", NOW, NOW + DAY)
    logins.end_address("Rhea.Group@Example.com", NOW)
    logins.end_everybody(NOW)
    assert {(each.kind, each.who) for each in read_endings(logins)} == {
        ("session", "s1"),
        ("person", "google:1"),
        ("address", "rhea.group@example.com"),
        ("everybody", ""),
    }
    assert all(each.at == NOW and each.until > NOW for each in read_endings(logins))


def test_a_later_ending_takes_the_place_of_an_earlier_one(logins: Logins) -> None:
    logins.end_person("google:1", NOW + 0.25, NOW + DAY)
    logins.end_person("google:1", NOW + 9.5, NOW + 2 * DAY)
    [ended] = read_endings(logins)
    assert ended.at == NOW + 9.5


def test_an_earlier_ending_takes_nothing_back(logins: Logins) -> None:
    """Two servers write it, and the clock of one of them is behind."""
    logins.end_person("google:1", NOW + 9.5, NOW + 2 * DAY)
    [before] = read_endings(logins)
    logins.end_person("google:1", NOW - 30, NOW + DAY)
    assert read_endings(logins) == {before}


def test_what_has_no_effect_any_more_is_forgotten(logins: Logins) -> None:
    logins.end_session("s1", NOW, NOW + 60)
    logins.end_session("s2", NOW + DAY, NOW + 2 * DAY)
    assert {each.who for each in read_endings(logins)} == {"s2"}


@pytest.mark.parametrize("who", ["x" * 500, "google:\0"])
def test_nobody_has_such_a_name(logins: Logins, who: str) -> None:
    with pytest.raises(PKIError, match="nobody's name"):
        logins.end_person(who, NOW, NOW + DAY)


# --- Claims and codes -----------------------------------------------------------------------------------------------


def test_a_claim_is_made_once(logins: Logins) -> None:
    """And by its mark alone, until it is forgotten."""
    assert logins.claim(MARK, NOW + 60, NOW)
    assert not logins.claim(MARK, NOW + 60, NOW)
    assert logins.claim(b"n" * 32, NOW + 60, NOW)
    assert logins.claim(MARK, NOW + DAY, NOW + 120)


def test_of_many_claims_at_once_one_is_the_first(inventory: Inventory, where: str) -> None:
    """Two tabs, two workers, two hosts: a login comes back once."""
    found = run_at_once([lambda: _claim(where) for _ in range(8)])
    assert sorted(found) == [False] * 7 + [True]


def _claim(where: str | Path) -> bool:
    with open_inventory(where) as inventory:
        return inventory.logins.claim(MARK, NOW + 60, NOW)


def test_a_code_is_used_once(logins: Logins) -> None:
    assert logins.keep_code(MARK, ADDRESS, CODE, NOW, NOW + 600)
    assert not logins.try_code(MARK, b"x" * 32, NOW)
    assert not logins.try_code(b"n" * 32, CODE, NOW)
    assert logins.try_code(MARK, CODE, NOW)
    assert not logins.try_code(MARK, CODE, NOW)


def test_a_code_is_tried_a_few_times(logins: Logins) -> None:
    """Then the right one is as wrong as any: there is no guessing of eight digits."""
    logins.keep_code(MARK, ADDRESS, CODE, NOW, NOW + 600)
    for _ in range(MOST_TRIES):
        assert not logins.try_code(MARK, b"x" * 32, NOW)
    assert not logins.try_code(MARK, CODE, NOW)


def test_of_many_tries_at_once_each_counts(inventory: Inventory, where: str) -> None:
    """Nobody gets more of them by being quick."""
    inventory.logins.keep_code(MARK, ADDRESS, CODE, NOW, NOW + 600)
    found = run_at_once([lambda: _try(where, b"x" * 32) for _ in range(MOST_TRIES)])
    assert found == [False] * MOST_TRIES
    assert not _try(where, CODE)


def _try(where: str | Path, digest: bytes) -> bool:
    with open_inventory(where) as inventory:
        return inventory.logins.try_code(MARK, digest, NOW)


def test_a_code_lapses(logins: Logins) -> None:
    logins.keep_code(MARK, ADDRESS, CODE, NOW, NOW + 600)
    assert not logins.try_code(MARK, CODE, NOW + 600)


def test_an_address_is_sent_a_few_codes_an_hour(logins: Logins) -> None:
    """Whoever asks for them, and whatever became of them; another address has its own."""
    for number in range(MOST_CODES):
        assert logins.keep_code(bytes([number]) * 32, ADDRESS, CODE, NOW + number, NOW + 600)
        logins.try_code(bytes([number]) * 32, CODE, NOW + number)
    assert not logins.keep_code(MARK, ADDRESS, CODE, NOW + 60, NOW + 660)
    assert logins.keep_code(MARK, b"b" * 32, CODE, NOW + 60, NOW + 660)
    assert logins.keep_code(b"n" * 32, ADDRESS, CODE, NOW + 3700, NOW + 4300)


# --- Service tokens -------------------------------------------------------------------------------------------------


def test_a_secret_is_said_once_and_kept_by_nobody(tmp_path: Path) -> None:
    """Whoever reads the inventory's files cannot use a token."""
    path = tmp_path / "inventory.db"
    with open_inventory(path, create=True) as inventory:
        token, secret = inventory.logins.create_token("Nightly import", NOW, 365)
    assert secret.startswith("kfs_")
    assert len(secret) == 47
    assert token.digest == hashlib.sha256(secret.encode()).digest()
    for each in tmp_path.iterdir():
        assert secret.encode() not in each.read_bytes()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM service_tokens").fetchone() == (1,)
    connection.close()


def test_no_two_tokens_that_count_have_a_name(logins: Logins) -> None:
    """By it rules refer to them; once revoked, the name is free."""
    logins.create_token("Nightly import", NOW, 365)
    with pytest.raises(PKIError, match="already"):
        logins.create_token("Nightly import", NOW, 365)
    logins.revoke_token("Nightly import", NOW + 1)
    again, _ = logins.create_token("Nightly import", NOW + 2, 365)
    assert [each.revoked_at for each in logins.list_tokens()] == [NOW + 1, None]
    assert again.token_id != logins.list_tokens()[0].token_id


def test_a_name_cannot_read_like_an_id(logins: Logins) -> None:
    """Rules take either, and one would be taken for the other."""
    token, _ = logins.create_token("one", NOW, 1)
    for name in (token.token_id, "", "a\nb", "x" * 65):
        with pytest.raises(PKIError):
            logins.create_token(name, NOW, 1)


def test_a_rotated_token_has_two_secrets_for_a_while(logins: Logins) -> None:
    """Its id stays; without grace the old one is gone."""
    token, old = logins.create_token("one", NOW, 1)
    rotated, new = logins.rotate_token("one", NOW + 10, 3600)
    assert rotated.token_id == token.token_id
    assert (rotated.digest, rotated.previous, rotated.previous_until) == (
        hash_secret(new),
        hash_secret(old),
        NOW + 3610,
    )
    rotated, newest = logins.rotate_token(token.token_id, NOW + 20, 0)
    assert (rotated.digest, rotated.previous, rotated.previous_until) == (hash_secret(newest), None, None)


def test_what_was_revoked_is_not_rotated(logins: Logins) -> None:
    logins.create_token("one", NOW, 1)
    logins.revoke_token("one", NOW)
    for change in (lambda: logins.rotate_token("one", NOW, 0), lambda: logins.revoke_token("one", NOW)):
        with pytest.raises(NoSuchToken, match="'one'"):
            change()


def test_every_change_is_news(logins: Logins) -> None:
    """So that each server hears of it."""
    seen = logins.read(0, None)
    for change in (
        lambda: logins.create_token("one", NOW, 1),
        lambda: logins.rotate_token("one", NOW, 60),
        lambda: logins.revoke_token("one", NOW),
    ):
        change()
        found = logins.read(seen.revision, seen.nonce)
        assert [each.name for each in found.tokens] == ["one"]
        seen = found
