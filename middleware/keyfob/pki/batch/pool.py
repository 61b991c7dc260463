"""Worker processes, and the orders that they get. Each has something to do next before it has done the last."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority

# Orders that a worker has got and not answered yet.
_AHEAD = 2
_SECONDS_TO_STOP = 30

# Where modules are found is told, not guessed: neither the current folder nor the environment has a say in it.
_START = """
import json, sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = json.loads(connection.recv_bytes())
from keyfob.pki.batch.worker import work
work(connection, *json.loads(connection.recv_bytes()))
"""


class Chunk(NamedTuple):
    """Rows that become one part: where they are in the file of rows, and how many."""

    offset: int
    length: int
    rows: int


class Placed(NamedTuple):
    """A part that is committed, with its files where they belong."""

    number: int
    rows: int


def count_cores() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Workers that sign with the key of an authority. Ends them at the end of its block."""

    def __init__(self, authority: Authority, processes: int, workshop: Path, rows: Path, target: Path | None) -> None:
        told = [str(workshop), str(rows), None if target is None else str(target)]
        issued = authority.issued
        self._setting = json.dumps([issued.certificate_pem.decode("ascii"), issued.key_pem.decode("ascii"), *told])
        self._count = processes
        self._workers: dict[Connection, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def run(self, chunks: Iterable[Chunk], first: int, commit: Callable[[int, str], None]) -> Iterator[Placed]:
        """Has every chunk made, as parts that are numbered from `first` on. `commit` is called with each that is.

        Raises PKIError if a worker cannot go on.
        """
        waiting = iter(enumerate(chunks, first))
        rows: dict[int, int] = {}
        for connection in list(self._workers) * _AHEAD:
            self._hand_out(connection, waiting, rows)
        while rows:
            for connection in self._wait():
                verb, number, *said = self._receive(connection)
                if verb == "made":
                    commit(number, *said)
                    self._send(connection, ["place", number])
                    self._hand_out(connection, waiting, rows)
                else:
                    yield Placed(number, rows.pop(number))

    def _wait(self) -> list[Connection]:
        ready = wait(list(self._workers))
        return [each for each in self._workers if each in ready]

    def _hand_out(self, connection: Connection, waiting: Iterator[tuple[int, Chunk]], rows: dict[int, int]) -> None:
        number, chunk = next(waiting, (0, None))
        if chunk is not None:
            rows[number] = chunk.rows
            self._send(connection, ["make", number, chunk.offset, chunk.length])

    def _start(self) -> None:
        ours, theirs = Pipe()
        # Ctrl+C reaches every process of a terminal; what becomes of the workers is for this one to say.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._workers[ours] = subprocess.Popen(  # noqa: S603 - this interpreter, and a number
                [sys.executable, "-I", "-c", _START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            ours.close()
            raise PKIError(f"no worker process can be started: {error.strerror}", "ask for fewer processes") from error
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._send(ours, sys.path)
        ours.send_bytes(self._setting.encode("ascii"))

    def _send(self, connection: Connection, order: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # Why it has gone is found out when its answer is read.
            connection.send_bytes(json.dumps(order).encode("ascii"))

    def _receive(self, connection: Connection) -> list[Any]:
        try:
            verb, *said = json.loads(connection.recv_bytes())
        except (EOFError, ConnectionResetError) as error:
            status = self._workers.pop(connection).wait()
            message = f"a worker process ended with status {status}"
            raise PKIError(message, "run the same command again: it goes on where it has stopped") from error
        if verb == "failed":
            raise PKIError(*said)
        return [verb, *said]

    def _stop(self) -> None:
        """Lets every worker finish what it is at."""
        for connection in self._workers:
            connection.close()
        for process in self._workers.values():
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
