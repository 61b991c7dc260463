"""Certificates per second in a batch: against a running `cfssl serve`, and against cfssl's command line.

All three make a key on P-256 and sign a client's certificate for it. Ours also checks the rows, writes the files and
records every certificate durably, and its time is that of the whole command, from the shell and back. cfssl's server
is asked over several connections that stay open and are never idle; cfssl's command line is run once a certificate,
as there is no other way, with its output thrown away.
"""

import json
import re
import selectors
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from timing import judge

from keyfob.pki.registry import Registry
from registries import make_registry
from servers import environment, find_port, keyfob, running

ROUNDS, DEVICES, REQUESTS, CALLS, CONNECTIONS = 3, 100_000, 10_000, 200, 8
SERVER_LIMIT, COMMAND_LIMIT = 3, 100
FEW, MANY, GROWTH_LIMIT = 10_000, 200_000, 1.1

CONFIG = {"signing": {"default": {"expiry": "8760h", "usages": ["digital signature", "client auth"]}}}
DEVICE = {"CN": "device-0000001", "key": {"algo": "ecdsa", "size": 256}, "hosts": []}


# --- cfssl ----------------------------------------------------------------------------------------------------------


def write_cfssl(folder: Path, registry: Registry) -> list[str]:
    """cfssl's files, with the same authority as ours; the options that name them."""
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="ascii")
    (folder / "device.json").write_text(json.dumps(DEVICE), encoding="ascii")
    return [f"-ca={registry.folder / 'ca.pem'}", f"-ca-key={registry.folder / 'ca-key.pem'}", "-config=config.json"]


def call_cfssl(folder: Path, options: Sequence[str]) -> float:
    """Certificates per second of `cfssl gencert`, one call after another."""
    command = ["cfssl", "gencert", *options, "device.json"]
    start = time.perf_counter()
    for _ in range(CALLS):
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return CALLS / (time.perf_counter() - start)


@dataclass
class Asked:
    """How a server did: its certificates per second, and the part of one core that asking has taken."""

    rate: float
    share: float


_BODY = json.dumps({"request": DEVICE}).encode("ascii")
_REQUEST = (
    b"POST /api/v1/cfssl/newcert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def is_whole(answer: bytes) -> bool:
    """Whether nothing is missing of an answer. Raises RuntimeError if it is not a certificate."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head + b"\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {answer!r}")
    whole = len(body) >= int(length.group(1)) if length else body.endswith(b"0\r\n\r\n")
    if whole and b'"success":true' not in body:
        raise RuntimeError(f"refused: {answer!r}")
    return whole


def ask_server(port: int) -> Asked:
    """Asks for certificates over every connection at once; whichever answers is asked again."""
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, bytearray())
        begun, computed, sent, received = time.perf_counter(), time.process_time(), 0, 0
        for key in list(selector.get_map().values()):
            key.fileobj.sendall(_REQUEST)  # type: ignore[union-attr]
            sent += 1
        while received < REQUESTS:
            for key, _ in selector.select():
                answer: bytearray = key.data
                answer += key.fileobj.recv(65536)  # type: ignore[union-attr]
                if is_whole(bytes(answer)):
                    answer.clear()
                    received += 1
                    if sent < REQUESTS:
                        key.fileobj.sendall(_REQUEST)  # type: ignore[union-attr]
                        sent += 1
        taken, computed = time.perf_counter() - begun, time.process_time() - computed
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return Asked(REQUESTS / taken, computed / taken)


# --- keyfob ---------------------------------------------------------------------------------------------------------


def write_rows(folder: Path, count: int, mark: str) -> Path:
    """A CSV file with so many devices, whose names nobody has had."""
    path = folder / f"{mark}.csv"
    with path.open("w", encoding="ascii") as file:
        file.write("name\n")
        file.writelines(f"{mark}-{number:07}\n" for number in range(count))
    return path


def compose(registry: Registry, rows: Path, out: Path) -> list[str]:
    return keyfob("issue", "--batch", rows, "--out", out, "--home", registry.folder)


def issue(folder: Path, out: str, number: int) -> float:
    """Certificates per second of one batch, with an inventory of its own."""
    registry = make_registry(folder / f"home-{out}-{number}")
    rows = write_rows(folder, DEVICES, f"device-{number}")
    start = time.perf_counter()
    subprocess.run(
        compose(registry, rows, folder / f"{number}-{out}"), check=True, env=environment(), stderr=subprocess.DEVNULL
    )
    rate = DEVICES / (time.perf_counter() - start)
    if registry.inventory.count() != DEVICES:
        raise RuntimeError("not every device is recorded")
    registry.inventory.close()
    return rate


@dataclass
class Round:
    """Certificates per second of each side, one after the other."""

    called: float
    asked: Asked
    bundle: float
    folder: float


def measure() -> bool:
    """Prints all sides, and the medians of the ratios of neighbouring rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), find_port()
        options = write_cfssl(folder, make_registry(folder / "home"))
        serve = ["cfssl", "serve", "-address=127.0.0.1", f"-port={port}", "-loglevel=5", *options]
        rounds = [_measure_round(folder, serve, port, options, number) for number in range(ROUNDS)]
    print(f"issuing: P-256, {ROUNDS} rounds; a batch has {DEVICES:,} devices, on {psutil.cpu_count()} cores")
    _show("cfssl gencert, a call each", [each.called for each in rounds])
    _show("cfssl serve, newcert", [each.asked.rate for each in rounds])
    print(f"  (asking took {max(each.asked.share for each in rounds):.0%} of one core)")
    _show("keyfob issue --batch, into a bundle", [each.bundle for each in rounds])
    _show("keyfob issue --batch, into a folder", [each.folder for each in rounds])
    met = _judge("bundle: ratio to cfssl serve", [each.bundle / each.asked.rate for each in rounds], SERVER_LIMIT)
    met = (
        _judge("bundle: ratio to cfssl gencert", [each.bundle / each.called for each in rounds], COMMAND_LIMIT) and met
    )
    # Here the file system, which makes two files a device, has the greater share.
    _tell("folder: ratio to cfssl serve", [each.folder / each.asked.rate for each in rounds])
    _tell("folder: ratio to cfssl gencert", [each.folder / each.called for each in rounds])
    return met


def _measure_round(folder: Path, serve: Sequence[str], port: int, options: Sequence[str], number: int) -> Round:
    called = call_cfssl(folder, options)
    with running(serve, port, folder):
        asked = ask_server(port)
    return Round(called, asked, issue(folder, "fleet.zip", number), issue(folder, "fleet", number))


def _show(name: str, rates: Sequence[float]) -> None:
    print(f"  {name:<46} {statistics.median(rates):8.0f} certificates/s")


def _tell(name: str, ratios: Sequence[float]) -> None:
    print(f"  {name:<46} {statistics.median(ratios):8.2f}")


def _judge(name: str, ratios: Sequence[float], limit: float) -> bool:
    ratio = statistics.median(ratios)
    met = ratio >= limit
    print(f"  {name:<46} {ratio:8.2f}   (limit {limit}: {'met' if met else 'MISSED'})")
    return met


# --- Memory ---------------------------------------------------------------------------------------------------------


@dataclass
class Peak:
    """The most that a command has held at any moment, in MB: its first process, and all of them together."""

    first: float
    all: float


def watch(command: Sequence[str]) -> Peak:
    """Runs it, and looks at its processes twenty times a second. What they share is counted for each."""
    peak = Peak(0, 0)
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as started:
        process = psutil.Process(started.pid)
        while started.poll() is None:
            sizes = [_find_size(each) for each in (process, *_find_children(process))]
            peak = Peak(max(peak.first, sizes[0]), max(peak.all, sum(sizes)))
            time.sleep(0.05)
    if started.returncode != 0:
        raise RuntimeError(f"{command!r} ended with {started.returncode}")
    return peak


def _find_children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _find_size(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def measure_memory() -> bool:
    """Prints the peaks of a small batch and of a large one, and what that adds up to for a device."""
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        for count in (FEW, MANY):
            registry = make_registry(Path(name) / f"home-{count}")
            rows = write_rows(Path(name), count, f"device-{count}")
            peaks[count] = watch(compose(registry, rows, Path(name) / f"{count}.zip"))
    print(f"memory of a batch: peak resident size with {FEW:,} and with {MANY:,} devices")
    for count, peak in peaks.items():
        print(f"  {count:>9,} devices: {peak.first:8.1f} MB in the first process, {peak.all:8.1f} MB in all of them")
    few, many = peaks[FEW], peaks[MANY]
    print(f"  the first process grows by {(many.first - few.first) * 1e6 / (MANY - FEW):.0f} octets a device")
    met = judge("ratio of the first process", many.first / few.first, GROWTH_LIMIT)
    return judge("ratio of all processes", many.all / few.all, GROWTH_LIMIT) and met
