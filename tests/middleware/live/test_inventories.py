"""live.inventories: somebody looks, whatever the database does, and nobody waits for him."""

import contextlib
import gc
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import keyfob.live.inventories as room
from inventories import make_entries, run_at_once
from keyfob.config.inventories import Reader, read_book
from keyfob.errors import PKIError
from keyfob.inventory import RevocationReason, open_inventory
from keyfob.live.inventories import MOST_SEEN, Inventories
from keyfob.trust.withdrawals import Withdrawals
from postgresql import find_cluster, fresh_database

# Long enough for a busy machine; nothing waits for it on a quiet one.
SECONDS = 30
NAMES = ("phone", "laptop", "tablet")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PAUSE", 0.02)
    monkeypatch.setattr(room, "GATHERING", 0.05)


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def make(where: str) -> str:
    with open_inventory(where, create=True) as inventory:
        inventory.add(make_entries(NAMES))
    return where


@pytest.fixture
def where(tmp_path: Path) -> str:
    return make(str(tmp_path / "inventory.db"))


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same in each of the databases."""
    if request.param == "sqlite":
        yield make(str(tmp_path / "inventory.db"))
    else:
        with fresh_database() as url:
            yield make(url)


def revoke(where: str, name: str) -> None:
    with open_inventory(where) as inventory:
        inventory.revoke([each.record for each in inventory.find(name)], RevocationReason.UNSPECIFIED, time.time())


class Owner:
    """Whoever has verdicts: a book, and how often he was told to forget them."""

    def __init__(self, where: str, book: Withdrawals | None = None) -> None:
        self.book = book or read_book(where)
        self.changes = 0
        self.inventories = Inventories({where: self.book}, self._change)

    def _change(self) -> None:
        self.changes += 1

    @property
    def looks(self) -> int:
        return self.inventories.lines[0]._looks


@contextlib.contextmanager
def owning(where: str, book: Withdrawals | None = None) -> Iterator[Owner]:
    """Somebody for whom it is looked."""
    owner = Owner(where, book)
    owner.inventories.start()
    try:
        yield owner
    finally:
        owner.inventories.stop()


@pytest.fixture
def owner(where: str) -> Iterator[Owner]:
    with owning(where) as owner:
        yield owner


# --- Withdrawals ------------------------------------------------------------------------------------------------------


def test_what_is_withdrawn_is_entered_and_the_owner_told(either: str) -> None:
    """Once for all that one look has found, and never for nothing."""
    with owning(either) as owner:
        wait(lambda: owner.looks > 2)
        assert owner.changes == 0
        revoke(either, "phone")
        wait(lambda: owner.changes)
        assert len(owner.book) == 1
        seen = owner.looks
        wait(lambda: owner.looks > seen + 2)
        assert owner.changes == 1


def test_the_owner_is_told_after_the_book(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict made in between would be remembered."""
    known: list[int] = []
    owner = Owner(where)
    monkeypatch.setattr(owner, "_change", lambda: known.append(len(owner.book)))
    owner.inventories = Inventories({where: owner.book}, owner._change)
    revoke(where, "phone")
    owner.inventories.start()
    wait(lambda: known)
    owner.inventories.stop()
    assert known == [1]


def test_a_last_moment_that_comes_is_told(where: str, owner: Owner) -> None:
    """Without any news from the database."""
    owner.book.enter([(b"\x01" * 16, time.time() + 0.3)], time.time())
    wait(lambda: owner.changes >= 1)
    wait(lambda: len(owner.book))
    wait(lambda: owner.changes == 2)


def test_two_owners_of_one_book_are_both_told(where: str, owner: Owner) -> None:
    """An ASGI and a WSGI app may share a gate."""
    with owning(where, owner.book) as other:
        revoke(where, "phone")
        wait(lambda: owner.changes and other.changes)


def test_nobody_looks_before_the_start_or_after_the_end(where: str) -> None:
    """`keyfob check` reads a configuration, and ends."""
    owner = Owner(where)
    assert not owner.inventories.lines[0]._threads
    owner.inventories.start()
    threads = list(owner.inventories.lines[0]._threads)
    assert len(threads) == 2
    owner.inventories.start()
    assert owner.inventories.lines[0]._threads == threads
    owner.inventories.stop()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_the_first_look_is_waited_for(where: str) -> None:
    """A book that was kept since its configuration was mistaken may be old."""
    owner = Owner(where)
    revoke(where, "phone")
    owner.inventories.start()
    assert len(owner.book) == 1
    owner.inventories.stop()


def test_a_request_lets_a_thread_run_that_nothing_else_does(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On such servers each request says that it is time, once a second."""
    for name, seconds in (("PAUSE", 10 * SECONDS), ("LATE", 10 * SECONDS), ("COURTESY", SECONDS)):
        monkeypatch.setattr(room, name, seconds)
    with owning(where) as owner:
        [line] = owner.inventories.lines
        revoke(where, "phone")
        owner.inventories.start()
        assert owner.changes == 0
        monkeypatch.setattr(room, "LATE", 0.0)
        owner.inventories.start()
        assert len(owner.book) == 1
        assert line._looks == 2


def test_a_thread_that_has_died_is_replaced(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library's own machine code raises when it panics is no Exception."""

    class Panic(BaseException):
        pass

    def panic(*_: object) -> None:
        raise Panic

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    [thread, _] = owner.inventories.lines[0]._threads
    with monkeypatch.context() as patched:
        patched.setattr(Reader, "look", panic)
        thread.join(SECONDS)
    assert not thread.is_alive()
    before = owner.looks
    owner.inventories.start()
    wait(lambda: owner.looks > before)


# --- What happens to databases ----------------------------------------------------------------------------------------


def test_a_database_that_hangs_holds_nobody_up(where: str, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither who starts anew every fifth of a second, nor who asks the book, nor who ends it all."""
    hold, held, waited_for = threading.Event(), threading.Event(), []

    def hang(*_: object) -> None:
        held.set()
        if not hold.wait(SECONDS):
            waited_for.append(True)

    monkeypatch.setattr(Reader, "look", hang)
    monkeypatch.setattr(room, "LONGEST_FAREWELL", 0.05)
    assert held.wait(SECONDS)
    try:
        for _ in range(3):
            owner.inventories.start()
        owner.inventories.note(b"phone", 0, "")
        owner.book.settle(0)
        assert owner.book.measure_rest() > 0
        run_at_once([lambda: len(owner.book)])
        owner.inventories.stop()
    finally:
        hold.set()
    assert waited_for == []


def test_a_server_that_ends_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """One line when it goes and one when it is back, and what was withdrawn meanwhile is seen."""
    cluster = find_cluster()
    with fresh_database() as url, owning(make(url)) as owner:
        name = url.partition("@/")[2].partition("?")[0]
        cluster.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cluster.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
        wait(lambda: owner.book.trouble)
        seen = owner.looks
        wait(lambda: owner.looks > seen + 3)
        assert "cannot be used" in owner.book.find_trouble()
        cluster.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        revoke(url, "phone")
        wait(lambda: owner.changes)
        wait(lambda: len(caplog.records) == 2)
        assert owner.book.find_trouble() == ""
    said = [record.message for record in caplog.records]
    assert "goes on counting" in said[0]
    assert "is looked into again" in said[1]


def test_a_file_that_goes_and_comes_back(where: str, owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody makes an empty one in its place."""
    Path(where).rename(f"{where}.aside")
    wait(lambda: owner.book.trouble)
    seen = owner.looks
    wait(lambda: owner.looks > seen + 3)
    assert not Path(where).exists()
    Path(f"{where}.aside").rename(where)
    wait(lambda: not owner.book.trouble)
    wait(lambda: len(caplog.records) == 2)
    assert owner.changes == 0


def test_a_fault_of_ours_ends_no_looking(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is written down once, with where it came from."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "look", fail)
        wait(lambda: owner.book.trouble)
        seen = owner.looks
        wait(lambda: owner.looks > seen + 3)
    wait(lambda: not owner.book.trouble)
    assert sum("an unexpected ZeroDivisionError" in record.message for record in caplog.records) == 1
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


def test_a_trouble_that_comes_and_goes_fills_no_log(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the database says is one line, and its end is a line only where its beginning was."""
    message = "line\nbreak \x1b[31m" + "x" * 2000
    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(Reader, "look", lambda *_: (_ for _ in ()).throw(PKIError(message)))
            wait(lambda: owner.book.trouble)
        wait(lambda: not owner.book.trouble)
    seen = owner.looks
    wait(lambda: owner.looks > seen + 1)
    assert len(caplog.records) == 2
    assert all(record.message.isprintable() and len(record.message) < 700 for record in caplog.records)


# --- Configurations that change ---------------------------------------------------------------------------------------


def test_an_inventory_that_stays_does_not_notice(where: str, tmp_path: Path, owner: Owner) -> None:
    """One that goes is left, one that comes is looked into, and the same place with another book is another one."""
    [line] = owner.inventories.lines
    other = make(str(tmp_path / "other.db"))
    owner.inventories.replace({where: owner.book, other: read_book(other)})
    assert owner.inventories.lines[0] is line
    revoke(other, "phone")
    wait(lambda: owner.changes == 1)
    owner.inventories.replace({where: read_book(where)})
    [again] = owner.inventories.lines
    assert again is not line
    assert line._run is None
    revoke(where, "phone")
    wait(lambda: owner.changes == 2)


def test_nobody_is_kept_by_the_threads_of_his_inventories(where: str) -> None:
    """Whoever goes without a word ends them, if he has seen to it, and nothing of theirs holds him."""

    class Keeper:
        def __init__(self) -> None:
            self.inventories = Inventories({where: read_book(where)})
            weakref.finalize(self, self.inventories.stop)
            self.inventories.start()

    keeper = Keeper()
    threads, gone = list(keeper.inventories.lines[0]._threads), weakref.ref(keeper)
    del keeper
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_a_password_is_not_shown(where: str) -> None:
    """The place of an inventory may have one in it."""
    place = "postgresql://postgres:sesame@localhost/inventory"
    inventories = Inventories({place: Withdrawals("postgresql://postgres@localhost/inventory")})
    assert "sesame" not in f"{inventories} {vars(inventories.lines[0])['_threads']}"


# --- Forks ------------------------------------------------------------------------------------------------------------


def test_a_forked_process_looks_for_itself(either: str) -> None:
    """With threads and connections of its own; the parent's go on."""
    with owning(either) as owner:

        def look() -> int:
            owner.inventories.start()
            revoke(either, "phone")
            wait(lambda: len(owner.book))
            owner.inventories.note(bytes(32), time.time(), "")
            owner.inventories.flush()
            owner.inventories.stop()
            return len(owner.book)

        assert run_at_once([look]) == [1]
        wait(lambda: owner.changes)
        revoke(either, "laptop")
        wait(lambda: len(owner.book) == 2)
        assert not owner.book.trouble


@pytest.mark.parametrize("what", ["a look", "a sighting", "the book"])
def test_a_fork_finds_nobody_in_the_middle_of_anything(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A lock that a thread held, here or in SQLite, would never open in the child."""
    busy, begun = threading.Event(), threading.Event()

    def work(*_: object) -> None:
        busy.set()
        begun.set()
        time.sleep(0.3)
        busy.clear()

    def work_on_the_book() -> None:
        with owner.book.lock:
            work()

    thread = threading.Thread(target=work_on_the_book)
    if what == "the book":
        thread.start()
    else:
        monkeypatch.setattr(Reader, "look" if what == "a look" else "note_seen", work)
        owner.inventories.note(b"phone", 0, "")
    assert begun.wait(SECONDS)
    assert run_at_once([busy.is_set]) == [False]
    if what == "the book":
        thread.join()


def test_a_fork_without_a_word_is_noticed_too(where: str, owner: Owner) -> None:
    """As uWSGI's: whoever held a lock is not there to let go of it."""
    [line] = owner.inventories.lines
    owner.inventories.stop()
    owner.inventories._process = 0
    owner.book.lock.acquire()
    line.resting[0].acquire()
    owner.inventories.start()
    revoke(where, "phone")
    wait(lambda: owner.changes)


# --- Sightings --------------------------------------------------------------------------------------------------------


def find_seen(where: str, name: str = "phone") -> tuple[int | None, str | None]:
    with open_inventory(where) as inventory:
        record = inventory.find(name)[0].record
        return record.seen_at, record.seen_from


def find_print(where: str, name: str = "phone") -> bytes:
    with open_inventory(where) as inventory:
        return inventory.find(name)[0].record.fingerprint


def test_who_was_seen_is_written_down_in_a_while(either: str) -> None:
    """The last of his visits."""
    with owning(either) as owner:
        device = find_print(either)
        owner.inventories.note(device, 1_800_000_000.5, "192.0.2.7")
        owner.inventories.note(device, 1_800_000_009.5, "192.0.2.8")
        wait(lambda: find_seen(either) == (1_800_000_009, "192.0.2.8"))
        assert find_seen(either, "laptop") == (None, None)


def test_sightings_are_gathered(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write makes a command wait its turn, so many of them are one."""
    monkeypatch.setattr(room, "GATHERING", SECONDS)
    written: list[int] = []
    monkeypatch.setattr(Reader, "note_seen", lambda reader, seen: written.append(len(seen)))
    with owning(where) as owner:
        for name in NAMES:
            owner.inventories.note(name.encode(), 0, "")
            seen = owner.looks
            wait(lambda seen=seen: owner.looks > seen)  # type: ignore[misc]
        assert written == []
        owner.inventories.flush()
        assert written == [3]


@pytest.mark.parametrize("way", ["flush", "stop"])
def test_what_is_left_is_written_down_at_the_end(where: str, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Whichever of the two comes first when a process ends."""
    monkeypatch.setattr(room, "GATHERING", SECONDS)
    with owning(where) as owner:
        owner.inventories.note(find_print(where), 1_800_000_000, "192.0.2.7")
        getattr(owner.inventories, way)()
        assert find_seen(where) == (1_800_000_000, "192.0.2.7")
        owner.inventories.flush()


def test_waiting_to_write_delays_no_withdrawal(where: str, owner: Owner) -> None:
    """In SQLite one program writes at a time, and may take long."""
    [line] = owner.inventories.lines
    with contextlib.closing(sqlite3.connect(where, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        owner.inventories.note(find_print(where), 1_800_000_000, "192.0.2.7")
        wait(lambda: line._is_writing)
        seen = owner.looks
        wait(lambda: owner.looks > seen + 3)
        assert line._is_writing
        assert not owner.book.trouble
        busy.execute("UPDATE certificates SET revoked_at = 1, revision = 1 WHERE name = 'laptop'")
        busy.execute("UPDATE keyfob_state SET revision = 1")
        busy.execute("COMMIT")
        wait(lambda: owner.changes)
    wait(lambda: find_seen(where) == (1_800_000_000, "192.0.2.7"))


def test_what_cannot_be_written_down_is_dropped_and_said_once(
    where: str, owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server may only read, for instance; nobody is refused for that, and health has nothing to say."""
    tried: list[int] = []

    def refuse(_: Reader, seen: dict[bytes, object]) -> None:
        tried.append(len(seen))
        raise PKIError("the inventory cannot be used: readonly database")

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "note_seen", refuse)
        for number in range(3):
            owner.inventories.note(bytes([number]), 0, "")
            wait(lambda number=number: len(tried) == number + 1)  # type: ignore[misc]
    assert tried == [1, 1, 1]
    assert owner.book.find_trouble() == ""
    assert ["readonly database; when devices were last seen" in record.message for record in caplog.records] == [True]
    owner.inventories.note(find_print(where), 1_800_000_000, "192.0.2.7")
    wait(lambda: find_seen(where)[0])
    wait(lambda: len(caplog.records) == 2)


def test_sightings_take_a_bounded_room(where: str) -> None:
    """However long nobody writes; of those who are noted, the last visit is."""
    owner = Owner(where)
    [line] = owner.inventories.lines
    for number in range(MOST_SEEN + 10):
        owner.inventories.note(number.to_bytes(32), number, "")
    owner.inventories.note(bytes(32), 77.0, "")
    assert len(line._seen) == MOST_SEEN
    assert line._seen[bytes(32)] == (77.0, "")


def test_connections_end_with_their_threads() -> None:
    """Others would find the server full one day."""
    with fresh_database() as url:
        with owning(make(url)) as owner:
            owner.inventories.note(bytes(32), 0, "")
            owner.inventories.flush()
            assert count_connections(url) == 2
        wait(lambda: count_connections(url) == 0)


def count_connections(url: str) -> int:
    """Those of others to this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url) as connection:
        [count] = connection.execute(query).fetchone() or (0,)
        return int(count)
