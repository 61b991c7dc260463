"""A real PostgreSQL server for tests, from Debian's package `postgresql`: on a UNIX socket in a temporary folder.

One server for each test process, started when the first test asks, and stopped when the process ends, however it ends.
Three ways to an empty database of one's own, as a URL for `open_inventory`:

* the fixture `postgresql_url`: `from postgresql import postgresql_url` in the conftest.py of the folder;
* `with fresh_database() as url:`, emptied at the end;
* `find_postgresql()`, where nothing can hold it: it lasts as long as the server.

Where the package is not installed, each of them skips the test, and says so.
"""

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

SECONDS_TO_START = 60
# Members of this role have to give a password; everybody else who can reach the socket is let in.
GUARDED = "guarded"
_ACCESS = f"local all +{GUARDED} scram-sha-256\nlocal all all trust\n"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cluster:
    """A running server. `folder` has its data and its socket."""

    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """For `open_inventory`, and for psycopg just the same."""
        who = user if password is None else f"{user}:{password}"
        return f"postgresql://{who}@/{database}?host={self.folder}"

    def run(self, statement: str, database: str = "postgres") -> None:
        """Runs one statement as the server's owner, outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> None:
        """Ends the server at once, with all connections to it."""
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the clients.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running_postgresql() -> Iterator[Cluster]:
    """A server of its own, for a test that stops it. It takes two seconds or so: others share one."""
    cluster = _start()
    try:
        yield cluster
    finally:
        _end(cluster, os.getpid())


@functools.cache
def find_cluster() -> Cluster:
    """The server that all tests of this process share."""
    cluster = _start()
    atexit.register(_end, cluster, os.getpid())
    return cluster


def find_postgresql() -> str:
    """The URL of a new, empty database."""
    name = f"test_{next(_numbers)}"
    find_cluster().run(f"CREATE DATABASE {name}")
    return find_cluster().url(name)


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of an empty database; at the end all connections to it are cut, and it is emptied for the next test."""
    url = _vacant.pop() if _vacant else find_postgresql()
    try:
        yield url
    finally:
        _empty(url)
        _vacant.append(url)


# Emptying a database takes a tenth of the time that a new one does.
_vacant: list[str] = []


def _empty(url: str) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(f"ALTER DATABASE {name} RESET ALL".encode())
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        # As PostgreSQL 15 makes it: everybody may look inside, and its owner alone may make tables.
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """The URL of a database that is empty when a test begins."""
    with fresh_database() as url:
        yield url


def _find_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found or shutil.which("setpriv") is None:
        pytest.skip("needs a server of PostgreSQL, from the Debian package postgresql")
    return found[-1]


def _start() -> Cluster:
    programs = _find_programs()
    # Not below tmp_path: PostgreSQL's own user has to get in, and a socket's path has room for 107 octets.
    folder = Path(tempfile.mkdtemp(prefix="keyfob-pg-"))
    # The server ends with this process even if that is killed.
    run_as: list[str | Path] = ["setpriv", "--pdeathsig=INT"]
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        run_as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=INT"]
    data = folder / "data"
    made = subprocess.run(
        [*run_as, programs / "initdb", "--pgdata", data, "--username=postgres", "--encoding=UTF8", "--no-sync"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(folder)
        raise RuntimeError(f"initdb has failed:\n{made.stdout.decode(errors='replace')}")
    (data / "pg_hba.conf").write_text(_ACCESS, encoding="ascii")
    settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "unix_socket_directories": str(folder)}.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*run_as, programs / "postgres", "-D", data, *settings],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl+C is for pytest; this ends when the fixtures are through.
            start_new_session=True,
        )
    cluster = Cluster(folder, process)
    try:
        _wait(cluster)
        cluster.run(f"CREATE ROLE {GUARDED}")
    except BaseException:
        _end(cluster, os.getpid())
        raise
    return cluster


def _wait(cluster: Cluster) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and cluster.process.poll() is None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(cluster.url()):
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL does not start:\n{(cluster.folder / 'log').read_text(errors='replace')}")


def _end(cluster: Cluster, starter: int) -> None:
    # A forked child that ends in its own way must not take the server with it.
    if os.getpid() == starter:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)
