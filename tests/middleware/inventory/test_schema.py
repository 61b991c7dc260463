"""inventory.schema: an old inventory is brought up to date once and whole, and a newer one is left alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text, update

from inventories import NOW, read_withdrawals, run_at_once
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, open_inventory
from keyfob.inventory import schema as module
from keyfob.inventory.database import Database
from keyfob.inventory.schema import INVITATIONS, METADATA, STATE, STEPS, read_version
from servers import environment

_DEVICES = 20


def make_first_version(where: str) -> Database:
    """An inventory as version 1 has left it, with devices in it, every second of them withdrawn."""
    database = Database(where)
    database.make_file()
    with database.migrate() as connection:
        STEPS[0](connection)
        connection.execute(update(STATE).values(version=1, revision=_DEVICES // 2))
        connection.execute(text("INSERT INTO settings VALUES ('app.name', 'Budget')"))
        issuer = {"mark": b"i" * 32, "issuer": b"issuer"}
        connection.execute(
            text("INSERT INTO authorities (id, fingerprint, certificate, crl_number) VALUES (1, :mark, :issuer, 7)"),
            issuer,
        )
        insert = text(
            "INSERT INTO certificates"
            " (name, serial, fingerprint, issuer, certificate, not_before, not_after, issued_at, revoked_at, revision)"
            " VALUES (:name, :serial, :print, 1, :der, 0, :end, :now, :revoked, :revision)"
        )
        connection.execute(insert, [_make_row(number) for number in range(_DEVICES)])
    return database


def _make_row(number: int) -> dict[str, object]:
    withdrawn = number % 2 == 0
    return {
        "name": f"device {number:02}",
        "serial": number.to_bytes(20),
        "print": number.to_bytes(32),
        "der": b"certificate %d" % number,
        "end": NOW,
        "now": number,
        "revoked": NOW if withdrawn else None,
        "revision": number // 2 + 1 if withdrawn else None,
    }


def require_all(inventory: Inventory) -> None:
    records = list(inventory.iterate())
    assert [(record.name, record.issued_at) for record in records] == [
        (f"device {number:02}", number) for number in range(_DEVICES)
    ]
    assert [record.revoked_at for record in records] == [NOW, None] * (_DEVICES // 2)
    present = inventory.find_present("device 03")
    assert present is not None
    assert present.certificate == b"certificate 3"
    assert len(read_withdrawals(inventory, 3)[1]) == _DEVICES // 2 - 3
    assert inventory.read_setting("app.name") == "Budget"


def version_of(database: Database) -> int:
    with database.read() as connection:
        return read_version(connection)


def test_an_inventory_of_version_1_is_brought_up_to_date_and_loses_nothing(where: str) -> None:
    """Opened by any command, without being asked; what came with version 2 works then."""
    database = make_first_version(where)
    with open_inventory(where) as inventory:
        require_all(inventory)
        token, number = inventory.invitations.invite("device 01", "p12", NOW, 900)
        assert inventory.invitations.find(token) == inventory.invitations.read(number)
    assert version_of(database) == len(STEPS)
    database.close()


def test_commands_that_migrate_at_once_do_it_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait, and find the work done."""
    database = make_first_version(where)
    monkeypatch.setattr(module, "STEPS", (STEPS[0], _count_step))

    def migrate() -> None:
        open_inventory(where).close()

    assert run_at_once([migrate] * 3) == [None] * 3
    with database.read() as connection:
        counted = connection.execute(text("SELECT value FROM settings WHERE name = 'count'")).scalar_one()
    assert counted == "1"
    with open_inventory(where) as inventory:
        require_all(inventory)
    database.close()


def _count_step(connection: Connection) -> None:
    STEPS[1](connection)
    connection.execute(text("INSERT INTO settings VALUES ('count', '0')"))
    connection.execute(
        text("UPDATE settings SET value = CAST(CAST(value AS INTEGER) + 1 AS VARCHAR(9)) WHERE name = 'count'")
    )


def test_commands_that_make_one_inventory_at_once_make_it_once(where: str) -> None:
    """Two `keyfob ca init` against one database: both find it usable."""

    def make() -> int:
        with open_inventory(where, create=True) as inventory:
            return inventory.number_crl(b"issuer")

    assert sorted(run_at_once([make] * 3)) == [1, 2, 3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_migration_leaves_the_old_version(
    where: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Neither a table nor a number of the new one; the next command does it all."""
    database = make_first_version(where)

    def interrupt(connection: Connection) -> None:
        STEPS[1](connection)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, "STEPS", (STEPS[0], interrupt))
        with pytest.raises(error):
            open_inventory(where)
    assert version_of(database) == 1
    with database.read() as connection:
        assert not inspect(connection).has_table(INVITATIONS.name)
    with open_inventory(where) as inventory:
        require_all(inventory)
    database.close()


def test_a_killed_migration_leaves_the_old_version(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a rollback runs then: the database itself puts it right."""
    make_first_version(where).close()

    def die(connection: Connection) -> None:
        STEPS[1](connection)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(module, "STEPS", (STEPS[0], die))
        with pytest.raises(RuntimeError, match="without an answer"):
            run_at_once([lambda: open_inventory(where)])
    database = Database(where)
    assert version_of(database) == 1
    database.close()
    with open_inventory(where) as inventory:
        require_all(inventory)


@pytest.mark.parametrize("create", [False, True])
def test_a_newer_inventory_is_refused_and_not_touched(where: str, create: bool) -> None:
    """What an older keyfob would write there might be wrong in the newer one's eyes."""
    open_inventory(where, create=True).close()
    database = Database(where)
    with database.write() as connection:
        connection.execute(update(STATE).values(version=len(STEPS) + 1))
    with pytest.raises(PKIError, match="version 4, and this keyfob knows 3") as refused:
        open_inventory(where, create=create)
    assert refused.value.hint == "install the newer keyfob that has written it"
    with database.write() as connection:
        connection.execute(update(STATE).values(version=len(STEPS)))
    database.close()


def test_an_inventory_without_a_version_is_refused(where: str) -> None:
    """It was damaged; nobody guesses what it is."""
    open_inventory(where, create=True).close()
    database = Database(where)
    with database.write() as connection:
        connection.execute(text("DELETE FROM keyfob_state"))
    with pytest.raises(PKIError, match="does not say of which version"):
        open_inventory(where)
    database.close()


@pytest.mark.parametrize("table", ["certificates", "settings", "invitations"])
def test_another_programs_tables_are_never_taken_for_ours(where: str, table: str) -> None:
    """A database that has a table of that name is refused as a whole, and stays as it was."""
    database = Database(where)
    database.make_file()
    with database.write() as connection:
        connection.execute(text(f"CREATE TABLE {table} (what INTEGER)"))
    with pytest.raises(PKIError) as refused:
        open_inventory(where, create=True)
    assert "another program's" in refused.value.hint
    with database.read() as connection:
        assert inspect(connection).get_table_names() == [table]
    database.close()


def test_another_programs_file_is_left_as_it_is(tmp_path: Path) -> None:
    """An SQLite file without a table of ours gets none, and keeps its own way of writing."""
    database = Database(tmp_path / "theirs.db")
    database.make_file()
    with database.write() as connection:
        connection.execute(text("CREATE TABLE bookmarks (what INTEGER)"))
    before = (tmp_path / "theirs.db").read_bytes()
    for create in (False, True):
        with pytest.raises(PKIError):
            open_inventory(tmp_path / "theirs.db", create=create)
    assert (tmp_path / "theirs.db").read_bytes() == before


def test_without_create_an_empty_database_is_no_inventory(where: str) -> None:
    """A command that was given the wrong place says so instead of beginning a new inventory there."""
    Database(where).make_file()
    with pytest.raises(PKIError, match="is no inventory") as refused:
        open_inventory(where)
    assert "keyfob ca init" in refused.value.hint
    with open_inventory(where, create=True) as inventory:
        assert inventory.count() == 0


def test_the_steps_make_the_tables_that_are_described(where: str) -> None:
    """Columns and indexes: a step that was forgotten would show here."""
    open_inventory(where, create=True).close()
    database = Database(where)
    with database.read() as connection:
        there = inspect(connection)
        for table in METADATA.sorted_tables:
            assert [column["name"] for column in there.get_columns(table.name)] == [each.name for each in table.columns]
        indexes = {each["name"] for table in METADATA.tables for each in there.get_indexes(table)}
        assert indexes >= {"one_a_name", "by_name", "by_end", "by_sight", "by_revision", "by_lapse"}
    database.close()


def test_a_command_on_a_file_loads_nothing_of_postgresql(tmp_path: Path) -> None:
    """It is a tenth of a second that every command would take longer."""
    script = (
        "import sys; from keyfob.inventory import open_inventory; open_inventory(sys.argv[1], create=True).close();"
        "print(*(name for name in sys.modules if name.startswith(('psycopg', 'sqlalchemy.dialects.postgresql'))))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "inventory.db")]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
