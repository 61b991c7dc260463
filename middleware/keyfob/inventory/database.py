"""The database behind an inventory: SQLite in a file, or PostgreSQL. One place for how each is spoken to."""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, Pool, QueuePool

from keyfob.errors import PKIError

# Seconds that a command waits for another one that is writing.
PATIENCE = 30
# Seconds after which PostgreSQL ends a transaction in which nothing happens: its locks keep others waiting.
_LONGEST_PAUSE = 300
# Any number will do, as long as every keyfob takes the same: the lock under which PostgreSQL's tables are made.
_MIGRATION = 0x6B65_7966_6F62


class Database:
    """Connections to one database. `name` may be shown: it has no password. Shared by threads."""

    def __init__(self, where: str | Path) -> None:
        """`where` is a path, or a `postgresql://` URL. Nothing is opened yet. Raises PKIError for another URL."""
        url = _read_url(where)
        self.is_file = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if self.is_file else _name_server(url)
        self._engine = _make_file_engine(self.name) if self.is_file else _make_server_engine(url)
        # A server's own defaults may be others. SQLite has one level for all.
        reading, writing = (None, None) if self.is_file else ("REPEATABLE READ", "READ COMMITTED")
        self._reader = _make_part(self._engine, reading, writes=False)
        self._writer = _make_part(self._engine, writing, writes=True)
        self._parents: list[Pool] = []

    def close(self) -> None:
        self._engine.dispose()

    def forget_connections(self) -> None:
        """In a forked child: the connections are the parent's."""
        # Kept, since a connection that is thrown away warns that nobody has closed it.
        self._parents.append(self._engine.pool)
        self._engine.dispose(close=False)

    def exists(self) -> bool:
        """Whether the file is there; a server's database always is, or is said not to be. Raises PKIError."""
        if not self.is_file:
            return True
        try:
            mode = os.stat(self.name).st_mode  # noqa: PTH116 - Path.exists keeps to itself why it cannot tell
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise PKIError(f"{self.name} cannot be reached: {error.strerror}", "is its folder yours?") from error
        if not stat.S_ISREG(mode):
            raise PKIError(f"{self.name} is no file", "an inventory is one SQLite file: name that")
        return True

    def make_file(self) -> None:
        """Makes the file for its owner alone, if there is none yet."""
        if not self.is_file or (self.exists() and Path(self.name).stat().st_size > 0):
            return
        try:
            descriptor = os.open(self.name, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                # An empty one may be what an interrupted command has left, or somebody's `touch`.
                os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PKIError(f"{self.name} cannot be made: {error.strerror}", "choose a folder that you own") from error

    def use_log(self) -> None:
        """Lets SQLite write ahead into a log (WAL), so that readers and the writer do not wait for each other.

        The file remembers it; it is not to be called before the file is known to be an inventory. Raises PKIError.
        """
        if not self.is_file:
            return
        deadline = time.monotonic() + PATIENCE
        with self._speak(self._engine) as connection:
            file = connection.connection.driver_connection
            while isinstance(file, sqlite3.Connection):
                try:
                    mode = file.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                except sqlite3.OperationalError as error:
                    # The change is refused at once, however patient one is, while somebody else is reading.
                    if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    if mode == "wal":
                        return
                    message = f"{self.name} lies on a disk where SQLite cannot keep a log beside it"
                    raise PKIError(message, "put it on a disk of this machine, or into PostgreSQL")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One view of everything, which nobody changes meanwhile. Raises PKIError."""
        with self._speak(self._reader) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: all of it, or nothing. In SQLite there is one at a time. Raises PKIError."""
        with self._speak(self._writer) as connection, connection.begin():
            yield connection

    @contextmanager
    def migrate(self) -> Iterator[Connection]:
        """As `write`, and nobody else migrates meanwhile."""
        with self.write() as connection:
            if not self.is_file:
                # However long it takes: whoever waits here waits for somebody who does the same work.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION})
            yield connection

    @contextmanager
    def _speak(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise self._explain(error.orig or error) from error
        except (sqlite3.Error, SQLAlchemyError, UnicodeError, OverflowError) as error:
            # Of use_log, of the pool, and of values that no column takes.
            raise self._explain(error) from error

    def _explain(self, error: BaseException) -> PKIError:
        said = " ".join(str(error).split()) or type(error).__name__
        return PKIError(f"the inventory {self.name} cannot be used: {said}", _advise(error, is_file=self.is_file))


# By the beginning of SQLite's name for an error, or of PostgreSQL's SQLSTATE. The first that fits counts.
_CURES = (
    ("SQLITE_BUSY", "another command is busy with it: try again"),
    ("SQLITE_FULL", "make room on the disk"),
    ("SQLITE_IOERR", "is there room on the disk, and is the disk well?"),
    ("SQLITE_READONLY", "is the file yours, and its folder, too?"),
    ("SQLITE_CANTOPEN", "is the file there, is it yours, and its folder, too?"),
    ("SQLITE_NOTADB", "name the inventory's file, or put it back from a backup"),
    ("SQLITE_CORRUPT", "put it back from a backup"),
    ("28", "check user and password, and what the server's pg_hba.conf says of them"),
    ("42501", "let this user write to the tables: GRANT, or ask the database's owner"),
    ("25006", "this server can only be read from: name the primary"),
    ("0A000", "is this server a replica? name the primary"),
    ("57014", "another command is busy with it: try again"),
    ("53", "give the server more room"),
    ("42P07", "another program's tables are in the way: give keyfob a database of its own"),
)
# For what libpq says of a connection there is no state, only words.
_WORDS = (
    ("password", "check user and password; the place for a password is ~/.pgpass"),
    ("does not exist", "make the user and the database first: createuser, createdb"),
)
_OTHERWISE = {
    True: "is the file yours, is there room on the disk, and is no other command busy with it?",
    False: "does the server run, and does the URL name its user and database?",
}


def _advise(error: BaseException, *, is_file: bool) -> str:
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    if code is not None:
        cures = (cure for sign, cure in _CURES if code.startswith(sign))
    else:
        cures = (cure for sign, cure in _WORDS if sign in str(error) and not is_file)
    return next(cures, _OTHERWISE[is_file])


_LIKE_THIS = "name a file, or postgresql://user@host/database"
# What a URL's query may say that can be shown; a password can stand there, too.
_SHOWN = ("host", "hostaddr", "port", "service", "sslmode")
_DRIVER = "postgresql+psycopg"


def _read_url(where: str | Path) -> URL:
    if "\0" in str(where):
        raise PKIError("a file's name has no NUL in it", _LIKE_THIS)
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).absolute()))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        # What could not be read may hold a password, so nobody is told what it was.
        raise PKIError("the inventory's URL cannot be read", _LIKE_THIS) from None
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise PKIError("the inventory's URL has more than one @", "write an @ in a password as %40")
    if url.drivername not in ("postgresql", _DRIVER):
        raise PKIError(f"{url.drivername}:// is no inventory", _LIKE_THIS)
    return url.set(drivername=_DRIVER)


def _name_server(url: URL) -> str:
    query = {name: value for name, value in url.query.items() if name in _SHOWN}
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return shown.render_as_string()


# A revocation that was reported survives a power cut, and what is erased is overwritten.
# The cache holds what a large inventory's indexes touch while a fleet is recorded (in KiB).
_PRAGMAS = (
    "synchronous = FULL",
    "secure_delete = ON",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "cache_size = -65536",
)


def _make_part(engine: Engine, isolation: str | None, *, writes: bool) -> Engine:
    options: dict[str, Any] = {} if isolation is None else {"isolation_level": isolation}
    return engine.execution_options(keyfob_writes=writes, **options)


def _make_file_engine(name: str) -> Engine:
    # An URI, since by its mere name a file that is gone would be made anew, readable by everybody.
    place = f"file:{quote(os.fsencode(name))}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(place, uri=True, timeout=PATIENCE, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # Python's own handling of transactions would begin them too late; `begin` below does it.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("keyfob_writes")
        # A transaction that reads first and writes then would be refused as soon as two do it at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


# A server that does not answer must not hold up whoever asks. (Milliseconds where libpq has no unit.)
_PATIENT: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    # A host that dies after it has taken a question would be waited for otherwise, for hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "keyfob",
}
# For this transaction alone: between keyfob and the server may stand a pool that others use, too.
_LIMITS = (
    f"SELECT set_config('statement_timeout', '{PATIENCE}s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{_LONGEST_PAUSE}s', true)"
)
_READ_ONLY = ", set_config('transaction_read_only', 'on', true)"


def _make_server_engine(url: URL) -> Engine:
    # The engine shows its URL's query to whoever prints it, but not what it is given besides.
    shown = {name: value for name, value in url.query.items() if name in _SHOWN}
    besides = {name: value for name, value in url.query.items() if name not in _SHOWN}
    try:
        engine = create_engine(
            url.set(query=shown),
            poolclass=QueuePool,
            pool_size=2,
            pool_pre_ping=True,
            connect_args=_PATIENT | besides,
            hide_parameters=True,
        )
    except ImportError as error:
        message = f"PostgreSQL needs the package psycopg: {error}"
        raise PKIError(message, "pip install 'keyfob[postgresql]'") from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("keyfob_writes")
        connection.execute(text(_LIMITS if writes else _LIMITS + _READ_ONLY))

    return engine
