"""config.inventories: what a database says goes into the book, whatever happens to the database."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, update

import keyfob.inventory.history as history
from inventories import make_entries, make_entry, read_withdrawals
from keyfob.config.inventories import Reader, count_certificates, read_book
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, RevocationReason, open_inventory
from keyfob.inventory.database import Database
from keyfob.inventory.records import encode_serial, to_der
from keyfob.inventory.schema import CERTIFICATES, REVISIONS, STATE
from keyfob.trust.withdrawals import ALWAYS, NEVER, Withdrawals
from postgresql import find_cluster, fresh_database
from servers import environment

NAMES = ("phone", "laptop", "tablet")
SOON = 3600


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The place of an inventory with three devices."""
    if request.param == "sqlite":
        yield make(str(tmp_path / "inventory.db"))
    else:
        with fresh_database() as url:
            yield make(url)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return make(str(tmp_path / "inventory.db"))


def make(where: str) -> str:
    with open_inventory(where, create=True) as inventory:
        inventory.add(make_entries(NAMES))
    return where


@pytest.fixture
def inventory(where: str) -> Iterator[Inventory]:
    with open_inventory(where) as inventory:
        yield inventory


@pytest.fixture
def reader(where: str) -> Iterator[Reader]:
    reader = Reader(where)
    yield reader
    reader.close()


def revoke(inventory: Inventory, *names: str, at: float | None = None) -> None:
    records = [each.record for name in names for each in inventory.find(name)]
    inventory.revoke(records, RevocationReason.KEY_COMPROMISE, time.time() if at is None else at)


def find_ends(book: Withdrawals, inventory: Inventory, *names: str) -> list[float]:
    """From when on the devices' first certificates count no longer, as the book has it."""
    serials = [to_der(inventory.find(name)[-1].record.serial) for name in names or NAMES]
    return [ALWAYS if each in book._serials else book._ends.get(each, NEVER) for each in serials]


def look(reader: Reader, book: Withdrawals) -> list[bool]:
    """Whether a look brought news, and whether the book can be relied on after it."""
    before = book.version
    reader.look(book)
    return [book.version != before, book.measure_rest() > 0]


def test_a_whole_inventory_is_read_at_first(inventory: Inventory, where: str) -> None:
    """Those that are revoked, those that were renewed, and none of the others."""
    revoke(inventory, "phone")
    end = int(time.time()) + SOON
    inventory.renew(make_entry("tablet"), end)
    book = read_book(where)
    assert find_ends(book, inventory) == [ALWAYS, NEVER, end]
    assert (len(book), book.count_ends(), book.revision) == (1, 1, 2)
    assert book.measure_rest() > 0
    assert count_certificates(where) == 4


def test_later_looks_find_what_is_new(inventory: Inventory, reader: Reader) -> None:
    """And nothing where nothing is."""
    book = Withdrawals("inventory")
    assert look(reader, book) == [False, True]
    revoke(inventory, "phone")
    assert look(reader, book) == [True, True]
    assert look(reader, book) == [False, True]
    revoke(inventory, "laptop", "tablet")
    assert look(reader, book) == [True, True]
    assert find_ends(book, inventory) == [ALWAYS] * 3


def test_a_renewed_certificate_can_still_be_revoked(inventory: Inventory, reader: Reader) -> None:
    """Before its last day."""
    book = Withdrawals("inventory")
    inventory.renew(make_entry("phone"), int(time.time()) + SOON)
    reader.look(book)
    revoke(inventory, "phone")
    reader.look(book)
    assert find_ends(book, inventory, "phone") == [ALWAYS]
    assert (len(book), book.count_ends()) == (2, 0)


def test_revoked_is_revoked_whatever_the_clocks_say(inventory: Inventory, where: str) -> None:
    """The clock of the machine that has revoked it may be ahead of ours."""
    revoke(inventory, "phone", at=time.time() + SOON)
    assert find_ends(read_book(where), inventory, "phone") == [ALWAYS]


def test_a_last_day_that_is_past_is_a_withdrawal(inventory: Inventory, where: str) -> None:
    """It takes no more room than one."""
    inventory.renew(make_entry("phone"), int(time.time()))
    book = read_book(where)
    assert (len(book), book.count_ends()) == (1, 0)


def test_a_large_inventory_is_read_in_pages(inventory: Inventory, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In between, others get on: nothing waits for all of it."""
    monkeypatch.setattr(history, "_PAGE", 100)
    entries = make_entries(map(str, range(1050)))
    inventory.add(entries)
    inventory.revoke([each for each in inventory.iterate() if each.name.isdigit()], RevocationReason.UNSPECIFIED, 1)
    pages: list[int] = []
    rests: list[float] = []
    monkeypatch.setattr("keyfob.config.inventories.time.sleep", rests.append)
    monkeypatch.setattr(Withdrawals, "enter", lambda book, found, now: pages.append(len(found)))
    read_book(where)
    assert (sum(pages), max(pages)) == (1050, 100)
    assert len(rests) == len(pages)


# --- What happens to databases ----------------------------------------------------------------------------------------


def test_a_backup_that_is_put_back_takes_no_withdrawal_back(file: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it withdraws beyond is read from its beginning, and the log says so once."""
    shutil.copy(file, f"{file}.backup")
    reader, book = Reader(file), Withdrawals("inventory")
    with open_inventory(file) as inventory:
        revoke(inventory, "phone")
        revoke(inventory, "laptop")
        reader.look(book)
        with closing(sqlite3.connect(f"{file}.backup")) as backup, closing(sqlite3.connect(file)) as present:
            backup.backup(present)
        revoke(inventory, "tablet")
        assert (read_withdrawals(inventory)[0], book.revision) == (1, 2)
        assert look(reader, book) == [True, True]
        assert look(reader, book) == [False, True]
        assert find_ends(book, inventory) == [ALWAYS] * 3
    assert [record.message.partition(" is another one")[1] != "" for record in caplog.records] == [True]


def test_a_backup_that_has_reached_the_old_number_is_noticed(inventory: Inventory, where: str, reader: Reader) -> None:
    """Its withdrawals are others, whatever their count; and those of before are not taken back."""
    book = read_book(where)
    revoke(inventory, NAMES[0])
    look(reader, book)
    # As a backup leaves it, to which somebody has then written another withdrawal.
    with inventory._database.write() as connection:
        connection.execute(update(CERTIFICATES).values(revoked_at=None, revision=None))
        connection.execute(delete(REVISIONS))
        connection.execute(update(STATE).values(revision=0))
    revoke(inventory, NAMES[1])
    assert read_withdrawals(inventory)[0] == book.revision
    look(reader, book)
    assert find_ends(book, inventory, NAMES[0], NAMES[1]) == [ALWAYS, ALWAYS]


def test_another_database_in_the_same_place_is_read_from_its_beginning(file: str) -> None:
    """However far it has come by itself."""
    reader, book = Reader(file), Withdrawals("inventory")
    with open_inventory(file) as first:
        revoke(first, "phone")
        reader.look(book)
        phone = to_der(first.find("phone")[0].record.serial)
    other = make(f"{file}.other")
    with open_inventory(other) as second:
        for name in NAMES:
            revoke(second, name)
    Path(other).replace(file)
    assert look(reader, book) == [True, True]
    assert len(book) == 4
    assert phone in book._serials


def test_a_file_that_is_gone_is_not_made_anew(file: str, tmp_path: Path) -> None:
    """Neither by looking nor by writing, and it is found again when it is put back."""
    reader, book = Reader(file), Withdrawals("inventory")
    reader.look(book)
    Path(file).rename(tmp_path / "aside")
    with pytest.raises(PKIError, match="is gone") as raised:
        reader.look(book)
    assert raised.value.hint
    with pytest.raises(PKIError, match="is gone"):
        reader.note_seen({b"": (0.0, "")})
    assert not Path(file).exists()
    (tmp_path / "aside").rename(file)
    assert look(reader, book) == [False, True]


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be one" * 100])
def test_a_file_that_is_no_inventory_any_more_says_nothing(file: str, content: bytes) -> None:
    """And the book goes on as it was."""
    reader, book = Reader(file), Withdrawals("inventory")
    with open_inventory(file) as inventory:
        revoke(inventory, "phone")
    reader.look(book)
    Path(file).write_bytes(content)
    with pytest.raises(PKIError, match="cannot be used"):
        reader.look(book)
    assert len(book) == 1


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough to be one" * 100])
def test_what_is_no_inventory_cannot_be_opened(tmp_path: Path, content: bytes | None) -> None:
    """With a cure."""
    if content is not None:
        (tmp_path / "inventory.db").write_bytes(content)
    with pytest.raises(PKIError) as raised:
        Reader(str(tmp_path / "inventory.db"))
    assert raised.value.hint
    assert (tmp_path / "inventory.db").exists() is (content is not None)


def test_a_newer_inventory_cannot_be_opened_but_goes_on_being_read(inventory: Inventory, where: str) -> None:
    """A command of a newer keyfob adds to the tables; that takes no server down which runs."""
    reader, book = Reader(where), Withdrawals("inventory")
    database = Database(where)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE keyfob_state SET version = 99")
    database.close()
    revoke(inventory, "phone")
    assert look(reader, book) == [True, True]
    reader.close()
    with pytest.raises(PKIError, match="version 99"):
        Reader(where)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """Nor does the name of a book tell it."""
    cluster = find_cluster()
    url = f"postgresql://postgres:sesame@/missing?host={cluster.folder}"
    with pytest.raises(PKIError) as raised:
        Reader(url)
    assert "sesame" not in f"{raised.value!r}"
    with fresh_database() as there:
        book = read_book(make(there.replace("postgres@", "postgres:sesame@")))
        assert "sesame" not in book.name


def test_nothing_stays_open_after_a_book_was_read(where: str) -> None:
    """A master process may fork next."""
    script = (
        "import gc, sys, warnings; warnings.simplefilter('error'); from keyfob.config.inventories import read_book\n"
        "book = read_book(sys.argv[1]); gc.collect(); print(len(book))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, where], env=environment(), capture_output=True, text=True, check=False
    )
    assert (said.stdout, said.stderr) == ("0\n", "")


# --- Who was seen -----------------------------------------------------------------------------------------------------


def test_who_was_seen_is_written_down(inventory: Inventory, reader: Reader) -> None:
    """Strangers are passed over."""
    phone = inventory.find("phone")[0].record
    reader.note_seen({phone.fingerprint: (1_800_000_000.9, "192.0.2.7"), b"a stranger": (1.0, "192.0.2.8")})
    found = inventory.find("phone")[0].record
    assert (found.seen_at, found.seen_from) == (1_800_000_000, "192.0.2.7")
    assert inventory.find("laptop")[0].record.seen_at is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_only_be_read_is_read() -> None:
    """To note who was seen is refused then. SQLite keeps a log beside the file, so the folder is to be writable."""
    script = (
        "import os, sys; import keyfob.config.inventories as room\n"
        "room.Reader(sys.argv[2]).close(); os.setgid(65534); os.setuid(65534)\n"
        "reader, book = room.Reader(sys.argv[1]), room.Withdrawals('x'); reader.look(book); print(len(book))\n"
        "try: reader.note_seen({b'': (0, '')})\nexcept room.PKIError as error: print(error.message)"
    )
    # Below tmp_path nobody else gets in.
    with tempfile.TemporaryDirectory() as folder:
        place = make(f"{folder}/inventory.db")
        with open_inventory(place) as inventory:
            revoke(inventory, "phone")
        Path(folder).chmod(0o777)
        Path(place).chmod(0o644)
        # What Python loads late is loaded before: the packages, too, may lie where nobody else gets in.
        other = make(f"{folder}/other.db")
        said = subprocess.run(
            [sys.executable, "-c", script, place, other], env=environment(), capture_output=True, text=True, check=False
        )
    assert (said.stdout[:2], "readonly database" in said.stdout, said.stderr) == ("1\n", True, "")


def test_a_role_that_may_only_read_is_enough(tmp_path: Path) -> None:
    """PostgreSQL knows whose tables they are."""
    with fresh_database() as url:
        make(url)
        cluster, name = find_cluster(), url.partition("@/")[2].partition("?")[0]
        cluster.run("DROP ROLE IF EXISTS onlooker")
        cluster.run("CREATE ROLE onlooker LOGIN")
        try:
            cluster.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker", name)
            reader, book = Reader(cluster.url(name, "onlooker")), Withdrawals("inventory")
            with open_inventory(url) as inventory:
                revoke(inventory, "phone")
                assert look(reader, book) == [True, True]
                with pytest.raises(PKIError, match="permission denied"):
                    reader.note_seen({inventory.find("phone")[0].record.fingerprint: (1.0, "")})
            reader.close()
        finally:
            cluster.run("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM onlooker", name)
            cluster.run("DROP ROLE onlooker")


def test_serial_numbers_are_written_as_in_certificates() -> None:
    """The book is asked by what stands in a certificate."""
    for number in (1, 127, 128, 255, 256, 1 << 127, (1 << 159) - 1):
        der = to_der(encode_serial(number))
        assert int.from_bytes(der, signed=True) == number
        assert len(der) == 1 or der[0] or der[1] >= 128
