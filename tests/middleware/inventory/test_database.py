"""inventory.database: whatever is wrong with a database is one sentence with a hint, and never a password."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import stat
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from inventories import NOW, make_entries, make_entry, read_withdrawals, run_at_once
from keyfob.errors import PKIError
from keyfob.inventory import Inventory, RevocationReason, open_inventory
from keyfob.inventory import database as module
from keyfob.inventory.database import Database
from postgresql import Cluster, find_cluster, fresh_database, running_postgresql

SECRET = "tr0ub4dor"  # noqa: S105 - there to be looked for
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An inventory in a file, with one device."""
    with open_inventory(tmp_path / "inventory.db", create=True) as inventory:
        inventory.add([make_entry("one")])
    return tmp_path / "inventory.db"


@pytest.fixture
def cluster() -> Cluster:
    """The server that the tests share."""
    return find_cluster()


@pytest.fixture
def url() -> Iterator[str]:
    """An inventory in PostgreSQL, with one device."""
    with fresh_database() as place:
        with open_inventory(place, create=True) as inventory:
            inventory.add([make_entry("one")])
        yield place


def revoke(inventory: Inventory) -> None:
    found = inventory.find_present("one")
    assert found is not None
    inventory.revoke([found.record], RevocationReason.UNSPECIFIED, NOW)


def require_sound(refused: "pytest.ExceptionInfo[PKIError]") -> None:
    """One line, a hint, and nothing of the libraries."""
    said = f"{refused.value.message} {refused.value.hint}"
    assert refused.value.hint
    assert "\n" not in said
    assert not [word for word in ("Traceback", "sqlalche", "psycopg.", "sqlite3.", "SELECT", "INSERT") if word in said]


# --- SQLite: the file -------------------------------------------------------------------------------------------------


def test_the_file_and_what_sqlite_puts_beside_it_are_for_the_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask; the log has the same rows as the file."""
    before = os.umask(0)
    try:
        with open_inventory(tmp_path / "inventory.db", create=True) as inventory, inventory._database.read() as reader:
            reader.execute(text("SELECT 1 FROM settings")).all()
            inventory.add([make_entry("one")])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"inventory.db": 0o600, "inventory.db-wal": 0o600, "inventory.db-shm": 0o600}


def test_an_empty_file_is_adopted_and_closed_to_others(tmp_path: Path) -> None:
    """It is what an interrupted command leaves; a `touch` would have left it readable."""
    path = tmp_path / "inventory.db"
    path.touch()
    path.chmod(0o644)
    with open_inventory(path, create=True) as inventory:
        inventory.add([make_entry("one")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_inventory_that_others_may_read_stays_so(path: Path) -> None:
    """Its owner has let a server's group in; opening it with `create` takes nothing back."""
    path.chmod(0o640)
    open_inventory(path, create=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_readers_and_the_writer_do_not_wait_for_each_other(path: Path) -> None:
    """The file is in WAL mode, also after it was restored from a backup that is not."""
    for _ in range(2):
        with open_inventory(path) as inventory, inventory._database.read() as reader:
            assert reader.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert reader.execute(text("SELECT count(*) FROM certificates WHERE revoked_at IS NULL")).scalar_one() >= 0
            inventory.add([make_entry(f"device {time.monotonic_ns()}")])
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")


def test_a_connection_is_careful(path: Path) -> None:
    """Foreign keys hold, a commit is on disk when it is reported, and what is erased is overwritten."""
    with open_inventory(path) as inventory:
        with inventory._database.read() as reader:
            settings = {
                name: reader.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("foreign_keys", "synchronous", "secure_delete", "trusted_schema", "busy_timeout")
            }
        assert settings == {
            "foreign_keys": 1,
            "synchronous": 2,
            "secure_delete": 1,
            "trusted_schema": 0,
            "busy_timeout": 30_000,
        }
        with pytest.raises(PKIError):
            inventory.invitations.invite("one", "p12", NOW, 900, certificate=999)


@pytest.mark.parametrize("name", ["a?mode=memory", "a#b", "100%", "a b", "a%20b", "\udcff"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Nothing in it is taken for an option of SQLite."""
    with open_inventory(tmp_path / name, create=True) as inventory:
        inventory.add([make_entry("one")])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with open_inventory(str(tmp_path / name)) as inventory:
        assert inventory.count() == 1


def test_a_file_that_is_gone_is_not_made_anew(path: Path) -> None:
    """A server that goes on with an empty inventory would know of no revocation."""
    with open_inventory(path) as inventory:
        path.unlink()
        with pytest.raises(PKIError, match="unable to open") as refused:
            read_withdrawals(inventory)
        require_sound(refused)
    assert not path.exists()


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "text", "truncated", "in no folder", "below a file", "with a NUL", "not reachable"]
)
def test_what_is_no_inventory_is_refused(path: Path, kind: str, create: bool) -> None:
    """Also where the kind of thing would make a program wait for ever, or raise what nobody expects."""
    wrong = path.with_name("wrong")
    if kind == "folder":
        wrong.mkdir()
    elif kind == "pipe":
        os.mkfifo(wrong)
    elif kind == "text":
        wrong.write_text("device,mail\none,one@example.com\n" * 500, encoding="ascii")
    elif kind == "truncated":
        wrong.write_bytes(path.read_bytes()[:6000])
    else:
        places = {"in no folder": wrong / "x", "below a file": path / "x", "with a NUL": Path(f"{path}\0")}
        wrong = places.get(kind, path.with_name("x" * 300))
    with pytest.raises(PKIError) as refused:
        open_inventory(wrong, create=create)
    require_sound(refused)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """And is not made by a command that only wanted to read it."""
    with pytest.raises(PKIError, match=r"inventory\.db is missing") as refused:
        open_inventory(tmp_path / "inventory.db")
    assert "keyfob ca init" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may write everywhere; who is somebody else already stays so."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_a_file_that_cannot_be_written_is_said_to_be_so(path: Path, locked: str) -> None:
    """By another user's command: what is read still works where it can, and nothing is written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = Path(shutil.copy(path, folder / "inventory.db"))
        folder.chmod(0o777 if locked == "file" else 0o555)
        copy.chmod(0o444 if locked == "file" else 0o666)
        with _as_nobody(), pytest.raises(PKIError) as refused, open_inventory(copy) as inventory:
            revoke(inventory)
        folder.chmod(0o700)
        require_sound(refused)
        assert "yours" in refused.value.hint
        with open_inventory(copy) as inventory:
            assert inventory.find_present("one") is not None


def test_a_folder_that_is_closed_to_the_user_is_said_to_be_so(path: Path) -> None:
    """It is not said that the inventory is missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o000)
        with _as_nobody(), pytest.raises(PKIError, match="Permission denied") as refused:
            open_inventory(folder / "inventory.db", create=True)
        folder.chmod(0o700)
    require_sound(refused)


def test_a_full_disk_changes_nothing(path: Path) -> None:
    """All of a call or none of it, and the inventory is sound afterwards."""
    entries = make_entries(f"device {number}" for number in range(2000))

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        with open_inventory(path) as inventory:
            inventory.add(entries)

    (outcome,) = run_at_once([fill])
    assert type(outcome) is PKIError
    assert "room on the disk" in outcome.hint
    with open_inventory(path) as inventory:
        assert [record.name for record in inventory.iterate()] == ["one"]
        inventory.add(entries)


def test_a_writer_that_does_not_end_is_not_waited_for_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers go on meanwhile; the second writer gives up and says why."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with open_inventory(path) as first, open_inventory(path) as second, first._database.write():
        assert second.count() == 1
        with pytest.raises(PKIError, match="locked") as refused:
            revoke(second)
        require_sound(refused)
        assert refused.value.hint == "another command is busy with it: try again"


def test_what_was_erased_is_not_in_the_file(path: Path) -> None:
    """A payload that was handed out must not be found by whoever gets the file later."""
    payload = b"the encrypted key of a phone" * 40
    with open_inventory(path) as inventory:
        token, _ = inventory.invitations.invite("one", "p12", NOW, 900, payload=payload)
        assert payload[:20] in path.read_bytes()
        assert inventory.invitations.use(token, NOW, "192.0.2.1", "Safari")[1] == payload
    assert not [each for each in path.parent.iterdir() if b"encrypted key" in each.read_bytes()]


# --- URLs and passwords -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("mysql://u@h/d", "mysql:// is no inventory"),
        ("sqlite:///inventory.db", "sqlite:// is no inventory"),
        ("postgresql+asyncpg://u@h/d", "asyncpg:// is no inventory"),
        ("postgres://u@h/d", "postgres:// is no inventory"),
        ("://", "cannot be read"),
        ("postgresql://h:port/d", "cannot be read"),
        ("postgresql://h/d\0", "NUL"),
    ],
)
def test_another_url_is_refused(place: str, reason: str) -> None:
    """Before anybody is asked to connect to it."""
    with pytest.raises(PKIError, match=reason) as refused:
        open_inventory(place, create=True)
    require_sound(refused)


@pytest.mark.parametrize(
    "place",
    [
        f"postgresql://user:{SECRET}@localhost:1/d",
        f"postgresql+psycopg://user:{SECRET}@localhost:1/d",
        f"postgresql://localhost:1/d?user=u&password={SECRET}",
        f"postgresql://localhost:1/d?sslpassword={SECRET}",
        f"postgresql://user:x@{SECRET}@localhost:1/d",
        f"postgresql://user:x@{SECRET}/y@localhost:1/d",
        f"postgresql://user:{SECRET}@localhost:port/d",
        f"postgresql://user:x@localhost:{SECRET}/d",
        f"postgresql://user:{SECRET}@/d?host=/nowhere",
        f"mysql://user:{SECRET}@localhost:1/d",
        f"postgresql//user:{SECRET}@://",
    ],
)
def test_a_password_is_never_shown(place: str) -> None:
    """Neither in the error nor in what has caused it, which a log may print; nor by the object itself."""
    with pytest.raises(PKIError) as refused:
        open_inventory(place)
    require_sound(refused)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    with contextlib.suppress(PKIError):
        database = Database(place)
        assert SECRET not in f"{database.name} {database!r} {vars(database)!r}"


def test_a_server_is_called_by_what_tells_it_apart() -> None:
    """User, host and database stay, and the socket's folder."""
    assert Database(f"postgresql://u:{SECRET}@h:5/d?host=%2Frun&password={SECRET}").name == (
        "postgresql://u@h:5/d?host=%2Frun"
    )


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_down_is_said_to_be_down(tmp_path: Path) -> None:
    """From the first connection on."""
    with pytest.raises(PKIError, match="connection") as refused:
        open_inventory(f"postgresql://postgres@/keyfob?host={tmp_path}", create=True)
    require_sound(refused)
    assert "does the server run" in refused.value.hint


def test_a_server_that_stops_and_starts_is_used_again() -> None:
    """While it is gone every call fails with a hint; none of them waits for ever."""
    with running_postgresql() as server:
        inventory = open_inventory(server.url(), create=True)
        inventory.add([make_entry("one")])
        server.stop()
        for _ in range(2):
            with pytest.raises(PKIError) as refused:
                inventory.count()
            require_sound(refused)
        inventory.close()


def test_a_wrong_password_is_said_to_be_wrong(cluster: Cluster, url: str) -> None:
    """Without saying which one was tried."""
    database = url.partition("@/")[2].partition("?")[0]
    cluster.run("CREATE ROLE wrong LOGIN PASSWORD 'another' IN ROLE guarded")
    try:
        for password in (SECRET, None):
            with pytest.raises(PKIError, match="password") as refused:
                open_inventory(cluster.url(database, "wrong", password))
            require_sound(refused)
            assert "check user and password" in refused.value.hint
            assert SECRET not in "".join(traceback.format_exception(refused.value))
    finally:
        cluster.run("DROP ROLE wrong")


@pytest.mark.parametrize(("database", "user"), [("nothing", "postgres"), ("postgres", "nobody_at_all")])
def test_a_database_or_user_that_is_not_there_has_its_own_hint(cluster: Cluster, database: str, user: str) -> None:
    """Making them is the cure."""
    with pytest.raises(PKIError, match="does not exist") as refused:
        open_inventory(cluster.url(database, user), create=True)
    require_sound(refused)
    assert "createdb" in refused.value.hint


def test_a_connection_that_is_cut_in_the_middle_leaves_nothing_half_done(url: str) -> None:
    """The command fails, the transaction is undone, and the next call opens a new connection."""
    with open_inventory(url) as inventory:
        with pytest.raises(PKIError) as refused, inventory._database.write() as connection:
            connection.execute(text("UPDATE certificates SET name = 'two'"))
            number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [number])
            connection.execute(text("UPDATE certificates SET name = 'three'"))
        require_sound(refused)
        assert [record.name for record in inventory.iterate()] == ["one"]


def test_idle_connections_that_were_cut_are_not_noticed(url: str) -> None:
    """A server that was restarted over night is asked again in the morning."""
    with open_inventory(url) as inventory:
        assert inventory.count() == 1
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert inventory.count() == 1


def test_a_role_that_may_only_read_can_list_and_not_revoke(cluster: Cluster, url: str) -> None:
    """It is told what it lacks."""
    database = url.partition("@/")[2].partition("?")[0]
    cluster.run("CREATE ROLE reader LOGIN")
    try:
        cluster.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database)
        with open_inventory(cluster.url(database, "reader")) as inventory:
            assert [record.name for record in inventory.iterate()] == ["one"]
            with pytest.raises(PKIError, match="permission denied") as refused:
                revoke(inventory)
        require_sound(refused)
        assert "GRANT" in refused.value.hint
    finally:
        cluster.run("DROP OWNED BY reader", database)
        cluster.run("DROP ROLE reader")


def test_a_role_that_may_make_no_tables_is_told_so(cluster: Cluster) -> None:
    """As PostgreSQL 15 has it for everybody but the database's owner."""
    cluster.run("CREATE ROLE visitor LOGIN")
    try:
        with fresh_database() as empty, pytest.raises(PKIError, match="permission denied") as refused:
            open_inventory(empty.replace("postgres@", "visitor@"), create=True)
        require_sound(refused)
    finally:
        cluster.run("DROP ROLE visitor")


def test_a_replica_is_told_from_the_primary(url: str) -> None:
    """A server that takes no writes has a hint of its own."""
    with psycopg.connect(url, autocommit=True) as other:
        name = url.partition("@/")[2].partition("?")[0]
        other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    with open_inventory(url) as inventory, pytest.raises(PKIError) as refused:
        revoke(inventory)
    require_sound(refused)
    assert "primary" in refused.value.hint


def test_a_lock_that_another_holds_is_not_waited_for_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement has an end; whoever reads goes on meanwhile."""
    limits = module._LIMITS.replace(f"'{module.PATIENCE}s'", "'200ms'")
    with open_inventory(url) as first, open_inventory(url) as second, first._database.write() as holder:
        holder.execute(text("UPDATE keyfob_state SET revision = revision + 1"))
        monkeypatch.setattr(module, "_LIMITS", limits)
        assert second.count() == 1
        with pytest.raises(PKIError, match="timeout") as refused:
            revoke(second)
        require_sound(refused)
        assert refused.value.hint == "another command is busy with it: try again"


def test_limits_hold_for_each_transaction_and_no_longer(url: str) -> None:
    """Nobody who shares the server's connections through a pool inherits them."""
    with open_inventory(url) as inventory:
        for open_one in (inventory._database.read, inventory._database.write):
            with open_one() as connection:
                assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "30s"
                assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "5min"
                connection.commit()
                plain: Any = connection.connection.driver_connection
                assert plain.execute("SHOW statement_timeout").fetchone() == ("0",)
                plain.rollback()


def test_reading_is_one_view_and_changes_nothing(url: str) -> None:
    """Two questions in one call cannot contradict each other, whatever the server's defaults are."""
    with open_inventory(url) as inventory, inventory._database.read() as reader:
        assert reader.execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
        assert reader.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
        with inventory._database.write() as writer:
            assert writer.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"


def test_without_its_driver_postgresql_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an extra."""

    def fail(*_: object, **__: object) -> None:
        raise ImportError("no pq wrapper available")

    monkeypatch.setattr(module, "create_engine", fail)
    with pytest.raises(PKIError, match="needs the package psycopg") as refused:
        open_inventory("postgresql://u@h/d")
    assert refused.value.hint == "pip install 'keyfob[postgresql]'"
