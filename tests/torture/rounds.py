"""Rounds of a server that dies under load at some moment, and is started again: what was promised has to be there."""

import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from servers import SECONDS_TO_START, environment, find_port, keyfob, make_client
from torture.books import require_agreement, require_whole, settle_doubts
from torture.findings import Findings
from torture.load import Load, Visitor
from torture.nursery import Order
from torture.plug import Plug
from torture.promises import CATEGORIES, Person, Promise

PEOPLE = 4
# A budget lasts so many rounds; then another one begins, with an empty workbook.
ROUNDS_OF_A_BUDGET = 10
_SECONDS_TO_CATCH_UP = 120
_SECONDS_TO_DIE = 10.0
_LONGEST = 1.5
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs: where it answers, and which process is to be killed."""

    port: int
    pid: int
    client: ssl.SSLContext | None


class Start(Protocol):
    """How a server is started for the budget in a folder; with a plug, it will lose its power."""

    def __call__(self, folder: Path, plug: Plug | None = None) -> Server: ...


@contextmanager
def nursing(log: Path) -> Iterator[Start]:
    """Servers forked from one process, each from its start until it is killed; all end with this."""
    command = [sys.executable, "-m", "torture.nursery"]
    pipe, started = subprocess.PIPE, []
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, env=environment(), text=True) as nursery,
    ):

        def start(folder: Path, plug: Plug | None = None) -> Server:
            if nursery.stdin is None or nursery.stdout is None:
                raise RuntimeError("the nursery has no pipes")
            port = find_port()
            order = Order(port, str(folder / "budget.toml"), str(log), plug)
            nursery.stdin.write(f"{order.write()}\n")
            nursery.stdin.flush()
            started.append(int(nursery.stdout.readline()))
            return Server(port, started[-1], None)

        try:
            yield start
        finally:
            for pid in started:
                end(pid)


@contextmanager
def serving(log: Path) -> Iterator[Start]:
    """The real command, TLS and the gate included; it takes seconds to start."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, plug: Plug | None = None) -> Server:
        if plug is not None:
            raise ValueError("the real command has no plug")
        port = find_port()
        command = keyfob("serve", "budget_app.app:app", "--home", folder, "--port", str(port), "--no-enrolment")
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment(KEYFOB_HOME=str(folder)), cwd=folder
            )
        started.append(process)
        _wait_for(port, process.pid)
        devices = folder / "devices"
        client = make_client(folder / "ca.pem", devices / "this-computer.pem", devices / "this-computer-key.pem")
        return Server(port, process.pid, client)

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


def end(pid: int) -> None:
    """Kill -9, and wait until it is gone; one that is gone already is."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + _SECONDS_TO_DIE
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def _wait_for(port: int, pid: int) -> bool:
    """Whether it answers before it ends."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    raise RuntimeError(f"nothing answers on port {port}")


class Budget:
    """One budget on the disk, the people who use it, and what they were promised."""

    def __init__(self, folder: Path, kind: str, seed: str, findings: Findings) -> None:
        self.folder, self.findings, self.seed = folder, findings, seed
        self.workbook = folder / f"budget.{kind}"
        self.people = [Person(f"{seed}, person {number}") for number in range(PEOPLE)]
        self._random = random.Random(seed)  # noqa: S311  What happens is to happen again.
        folder.mkdir()
        categories = "".join(f'[[categories]]\nname = "{name}"\n' for name in CATEGORIES)
        (folder / "budget.toml").write_text(f'[workbook]\nkind = "{kind}"\n{categories}', encoding="utf-8")

    @property
    def promises(self) -> Iterator[Promise]:
        return (promise for person in self.people for promise in person.promises)

    def kill(self, start: Start, when: str) -> None:
        """Kill -9 at some moment under load, and sometimes once more while the next one starts."""
        server = start(self.folder)
        _wait_for(server.port, server.pid)
        self._load(server, lambda: self._kill_later(server))
        require_whole(self.workbook, when, self.findings)
        if self._random.random() < 0.25:
            again = start(self.folder)
            time.sleep(self._random.uniform(0, 0.4))
            end(again.pid)
            self.findings.count("killed while starting")
            require_whole(self.workbook, when, self.findings)
        self._recover(start, when)

    def fail(self, start: Start, when: str) -> None:
        """The power fails under load, at some step of SQLite's or of the workbook's."""
        steps, chance = self._random.choice((("sqlite", 0.02), ("workbook", 0.2), ("workbook", 0.2)))
        plug = Plug(self._random.getrandbits(32), self._random.uniform(0, _LONGEST), steps, chance)
        server = start(self.folder, plug)
        if _wait_for(server.port, server.pid):
            self._load(server, lambda: self._wait_for_failure(server, when))
        self._count_lost()
        require_whole(self.workbook, when, self.findings)
        self._recover(start, when)

    def _load(self, server: Server, die: Callable[[], None]) -> None:
        load = Load(self.people, self.findings)
        load.start(server.port, server.client)
        try:
            die()
        finally:
            end(server.pid)
            load.stop()
        self.findings.count("servers killed")

    def _kill_later(self, server: Server) -> None:
        time.sleep(self._random.uniform(0.02, _LONGEST))
        end(server.pid)

    def _wait_for_failure(self, server: Server, when: str) -> None:
        if not _wait_until_gone(server.pid):
            self.findings.add("other", f"{when}: the power did not fail")

    def _count_lost(self) -> None:
        told = Path(f"{self.folder}-lost")
        if told.exists():
            for each in told.read_text(encoding="ascii").split():
                name, _, count = each.partition("=")
                if name == "at":
                    self.findings.count(f"power failures at a step of the {count}")
                else:
                    self.findings.count(f"unsynced {name} lost", int(count))
            told.unlink()
        for kept in self.folder.parent.glob(f"{self.folder.name}-kept-*"):
            kept.unlink()

    def _recover(self, start: Start, when: str) -> None:
        """Start again, wait for the workbook, and hold everything against the promises."""
        server = start(self.folder)
        if not _wait_for(server.port, server.pid):
            self.findings.add("damaged", f"{when}: it does not start again")
            return
        try:
            if self._catch_up(server, when):
                settle_doubts(self.folder / "ledger.db", self.promises, when, self.findings)
                require_agreement(self.workbook, self.promises, when, self.findings)
        finally:
            end(server.pid)

    def _catch_up(self, server: Server, when: str) -> bool:
        visitor, document = Visitor(server.port, server.client), None
        deadline = time.monotonic() + _SECONDS_TO_CATCH_UP
        try:
            while time.monotonic() < deadline:
                answer = visitor.ask("/health")
                document = answer[1] if answer else None
                if document is not None and document["waiting"] == 0 and document["read_at"]:
                    if document["missing"]:
                        self.findings.add("lost", f"{when}: {document['missing']} are missing from the workbook")
                    return True
                time.sleep(0.05)
        finally:
            visitor.close()
        self.findings.add("lost", f"{when}: the workbook does not catch up: {document}")
        return False


def torture(
    name: str, kinds: Sequence[str], rounds: int, seed: int, start: Start, folder: Path, tell: Tell
) -> Findings:
    """Rounds of `kill` or `power` (`name`), each budget of the next of the kinds in turn."""
    findings = Findings()
    budget = None
    for number in range(rounds):
        if budget is None or number % ROUNDS_OF_A_BUDGET == 0:
            place = folder / f"{name}-{number}"
            budget = Budget(
                place, kinds[number // ROUNDS_OF_A_BUDGET % len(kinds)], f"{seed} {name} {number}", findings
            )
        tell(f"{name}: round {number + 1} of {rounds}, {findings.faults.total()} faults")
        (budget.fail if name == "power" else budget.kill)(start, f"{name}, round {number + 1}")
        findings.count("rounds")
        if findings and not list(folder.glob("faulty-*")):
            # What the first fault has left, to be looked at.
            shutil.copytree(budget.folder, folder / f"faulty-{budget.folder.name}-{number}")
    return findings
