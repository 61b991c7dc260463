"""live.inventories with books of logins: what is ended or withdrawn by another process is known here at once."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keyfob.live.inventories as room
from inventories import run_at_once
from keyfob.config.inventories import LoginReader, read_login_book
from keyfob.errors import PKIError
from keyfob.inventory import open_inventory
from keyfob.inventory.logins import ROTATION, Logins
from keyfob.live.inventories import Inventories
from keyfob.login.book import GRACE, Book
from postgresql import fresh_database

# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The place of an empty inventory."""
    if request.param == "sqlite":
        place = str(tmp_path / "inventory.db")
        open_inventory(place, create=True).close()
        yield place
    else:
        with fresh_database() as url:
            open_inventory(url, create=True).close()
            yield url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "inventory.db"
    open_inventory(place, create=True).close()
    return place


@pytest.fixture
def book(where: str) -> Iterator[Book]:
    """One that a thread follows."""
    book = read_login_book(where)
    inventories = Inventories({where: book})
    inventories.start()
    yield book
    inventories.stop()


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def change(where: str, change: Callable[[Logins], object]) -> None:
    """In a process of its own, as a command does it."""

    def work() -> None:
        with open_inventory(where) as inventory:
            change(inventory.logins)

    [said] = run_at_once([work])
    assert said is None, said


def test_a_book_has_a_key_from_the_beginning(where: str) -> None:
    """Every host and worker that reads the inventory has the same one."""
    first, second = read_login_book(where), read_login_book(where)
    assert list(first.keys) == list(second.keys)
    assert len(first.keys) == 1
    now = time.time()
    assert first.find_signing_key(now) == second.find_signing_key(now)
    assert first.measure_rest() > GRACE - 5


def test_an_old_key_gets_a_successor_while_it_runs(book: Book, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks makes it, and everybody has it before it signs."""
    [first] = book.keys.values()
    monkeypatch.setattr("keyfob.config.inventories.ROTATION", -1)
    monkeypatch.setattr("keyfob.inventory.logins.ROTATION", -1)
    wait(lambda: len(book.keys) > 1)
    now = time.time()
    found = book.find_signing_key(now)
    assert found is not None
    youngest = max(book.keys.values(), key=lambda key: key.begins_at)
    assert youngest != first
    assert youngest.begins_at > now


@pytest.mark.parametrize(
    "end",
    [
        lambda logins: logins.end_session("s1", time.time(), time.time() + 60),
        lambda logins: logins.end_person("google:117", time.time(), time.time() + 60),
        lambda logins: logins.end_address("rhea.group@example.com", time.time()),
        lambda logins: logins.end_everybody(time.time()),
    ],
    ids=["a session", "a person", "an address", "everybody"],
)
def test_what_another_process_ends_is_ended_here(book: Book, where: str, end: Callable[[Logins], object]) -> None:
    """And what begins afterwards is not."""

    def has_ended(begun_at: float) -> bool:
        return book.has_ended("s1", "google:117", "rhea.group@example.com", begun_at)

    before = time.time()
    assert not has_ended(before)
    change(where, end)
    wait(lambda: has_ended(before))
    assert not has_ended(time.time() + 1)
    assert not book.has_ended("s2", "google:118", "someone.else@example.com", time.time() + 1)


def test_a_service_token_comes_and_goes(book: Book, where: str) -> None:
    change(where, lambda logins: logins.create_token("Nightly import", time.time(), 1))
    wait(lambda: book.tokens)
    [token] = book.tokens.values()
    change(where, lambda logins: logins.rotate_token("Nightly import", time.time(), 60))
    wait(lambda: book.tokens[token.token_id].previous == token.digest)
    change(where, lambda logins: logins.revoke_token("Nightly import", time.time()))
    wait(lambda: book.tokens[token.token_id].revoked)


def test_every_change_has_sessions_looked_at_again(book: Book, where: str) -> None:
    """By its version, which is all that a request compares."""
    version = book.version
    change(where, lambda logins: logins.end_person("google:117", time.time(), time.time() + 60))
    wait(lambda: book.version > version)


def test_where_nobody_can_look_nobody_relies_on_the_book(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a minute; and it says why before that."""
    book = read_login_book(str(file))
    reader = LoginReader(str(file))
    reader.look(book)
    file.replace(file.with_suffix(".away"))
    with pytest.raises(PKIError, match="gone"):
        reader.look(book)
    reader.close()
    assert book.measure_rest() > 0
    later = book.clock() + GRACE
    monkeypatch.setattr(book, "clock", lambda: later)
    assert book.measure_rest() <= 0
    assert "more than 30 seconds" in book.find_trouble()


def test_a_backup_brings_nothing_back(file: Path) -> None:
    """What was ended and revoked since it was made stays so until a restart."""
    with open_inventory(file) as inventory:
        token, _ = inventory.logins.create_token("Nightly import", time.time(), 1)
    book = read_login_book(str(file))
    backup = file.read_bytes()
    begun = time.time()
    with open_inventory(file) as inventory:
        inventory.logins.end_everybody(begun)
        inventory.logins.revoke_token("Nightly import", begun)
    reader = LoginReader(str(file))
    reader.look(book)
    assert book.has_ended("", "", "", begun)
    restored = file.with_suffix(".backup")
    restored.write_bytes(backup)
    for each in file.parent.glob("inventory.db-*"):
        each.unlink()
    restored.replace(file)
    reader.close()
    reader.look(book)
    reader.close()
    assert book.has_ended("", "", "", begun)
    assert book.tokens[token.token_id].revoked


def test_a_child_follows_the_book_by_itself(file: Path) -> None:
    """gunicorn and uWSGI fork once the app is there; what is ended later is ended in every child."""
    book = read_login_book(str(file))
    inventories = Inventories({str(file): book})
    inventories.start()
    begun = time.time()

    def follow() -> bool:
        inventories.start()
        with open_inventory(file) as inventory:
            inventory.logins.end_everybody(time.time())
        wait(lambda: book.has_ended("", "", "", begun))
        inventories.stop()
        return True

    try:
        assert run_at_once([follow, follow]) == [True, True]
        wait(lambda: book.has_ended("", "", "", begun))
    finally:
        inventories.stop()


def test_a_thread_writes_nobody_down_here(file: Path) -> None:
    """Devices are noted where their certificates are."""
    book = read_login_book(str(file))
    inventories = Inventories({str(file): book})
    inventories.start()
    inventories.note(b"x" * 32, time.time(), "192.0.2.1")
    inventories.flush()
    inventories.stop()
    assert book.trouble == ""


def test_the_rhythm_of_keys_is_that_of_the_inventory() -> None:
    """One number for both."""
    assert ROTATION == 30 * 86_400
    assert room.PAUSE < 1
