"""A million allowed names and a million revoked serial numbers: what a request costs, what they weigh, how they reload.

Against the same configuration with one of each. The reload is the real one: the file is replaced under a running
AccessMiddleware, and an event loop that sleeps a millisecond at a time notes how late it wakes up.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from check import CONFIG, HEADERS, empty, receive, send
from timing import Call, find_medians, find_ratio, judge, run_through, show, time_in_turn

from certificates import Pair, make_authority, make_leaf
from exchanges import make_scope
from keyfob import AccessMiddleware
from keyfob.config import load_gate
from keyfob.gate import Gate
from keyfob.policy import Allow
from revocations import make_crl

ROUNDS, CALLS, FIRST_CALLS, MANY, LIMIT = 61, 2_000, 40, 1_000_000, 1.1
LISTS_LIMIT, NAMES_LIMIT = 64.0, 150.0
RELOADS, SECONDS, LONGEST, STALL_LIMIT, RELOAD_LIMIT = 5, 2.0, 60.0, 20.0, 10.0

_LISTED = CONFIG.replace('certificate = "ca.pem", ', 'certificate = "ca.pem", crl = ["ca.crl"], ').replace(
    'require = [{ common_name = { common_name = "Rhea Group" } }]',
    'require = [{ device_list = { file = "names.txt" } }]',
)


def write_crl(folder: Path, root: Pair, count: int) -> None:
    """Aside and renamed, as a list that is in force is to be replaced."""
    (folder / "new.crl").write_bytes(make_crl(count, root))
    (folder / "new.crl").rename(folder / "ca.crl")


def write_names(folder: Path, count: int) -> None:
    """As many as `count` names, with the device's own among them."""
    names = [f"Device {number} of department {number % 977}" for number in range(count - 1)]
    names.insert(len(names) // 2, "Rhea Group")
    (folder / "names.new").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "names.new").rename(folder / "names.txt")


def write_all(folder: Path, root: Pair, *, revoked: int = 1, named: int = 1) -> Path:
    """A whole configuration; its path."""
    folder.mkdir(exist_ok=True)
    (folder / "ca.pem").write_text(root.pem, encoding="ascii")
    (folder / "access.toml").write_text(_LISTED, encoding="utf-8")
    write_crl(folder, root, revoked)
    write_names(folder, named)
    return folder / "access.toml"


# --- A request --------------------------------------------------------------------------------------------------------


def _make_known(gate: Gate, leaf: Pair) -> Call:
    access = AccessMiddleware(empty, gate=gate)
    scope = make_scope([leaf.pem], headers=HEADERS)
    return lambda: run_through(access(scope, receive, send))


def _make_first(gate: Gate, leaf: Pair) -> Call:
    scope = make_scope([leaf.pem], headers=HEADERS)

    def check() -> None:
        gate.forget()
        decision = gate.check(gate.source.receive(scope, time.time()))
        if type(decision) is not Allow:
            raise RuntimeError(f"refused: {decision}")

    return check


def measure() -> bool:
    """Prints what a request of a known device costs with few and with many, and one of a device at first sight."""
    root = make_authority()
    leaf = make_leaf(root)
    with tempfile.TemporaryDirectory() as folder:
        few = load_gate(write_all(Path(folder, "few"), root))
        many = load_gate(write_all(Path(folder, "many"), root, revoked=MANY, named=MANY))
    known = time_in_turn([_make_known(gate, leaf) for gate in (few, many)], ROUNDS, CALLS)
    first = time_in_turn([_make_first(gate, leaf) for gate in (few, many)], ROUNDS, FIRST_CALLS)
    print(
        f"lists: {MANY} allowed names and {MANY} revoked serial numbers against one of each, {ROUNDS} rounds, medians"
    )
    for name, rounds in (("a known device", known), ("at first sight", first)):
        one, million = find_medians(rounds)
        show(f"{name}, one of each", one)
        show(f"{name}, a million of each", million)
    met = judge("ratio, a known device", find_ratio(known, 1, 0), LIMIT)
    return judge("ratio, at first sight", find_ratio(first, 1, 0), LIMIT) and met


# --- Memory -----------------------------------------------------------------------------------------------------------

_WEIGH = """
import sys
from pathlib import Path
from keyfob.config.building import build_gate
from keyfob.config.files import Files

def read(word):
    return int(Path("/proc/self/status").read_text().partition(word)[2].split()[0]) / 1024

folder = Path(sys.argv[1])
files = Files()
gate = build_gate(folder / "access.toml", files)
before = read("VmRSS:")
for name in ("ca.crl", "names.txt"):
    if (folder / ("big-" + name)).exists():
        (folder / ("big-" + name)).rename(folder / name)
files.begin()
gate = build_gate(folder / "access.toml", files)
files.finish()
print(read("VmRSS:") - before, read("VmHWM:") - before)
"""


def _weigh(folder: Path) -> tuple[float, float]:
    """What a process has grown by in MiB once the big files in `folder` are in force, and at most before that."""
    written = subprocess.run(
        [sys.executable, "-c", _WEIGH, str(folder)], check=True, stdout=subprocess.PIPE, text=True, env=os.environ
    ).stdout
    kept, most = map(float, written.split())
    return kept, most


def measure_memory() -> bool:
    """Prints by how much a process of its own grows when a million of each replace the one. Asks Linux."""
    root = make_authority()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_all(folder, root, revoked=MANY)
        (folder / "ca.crl").rename(folder / "big-ca.crl")
        write_crl(folder, root, 1)
        lists, lists_most = _weigh(folder)
        write_crl(folder, root, 1)
        write_names(folder, MANY)
        (folder / "names.txt").rename(folder / "big-names.txt")
        write_names(folder, 1)
        names, names_most = _weigh(folder)
    print(f"memory: resident (VmRSS), {MANY} of each in place of one, each in a process of its own")
    met = judge("revoked serial numbers", lists, LISTS_LIMIT, " MiB")
    show("the most, while they were read", lists_most, " MiB")
    met = judge("allowed names", names, NAMES_LIMIT, " MiB") and met
    show("the most, while they were read", names_most, " MiB")
    return met


# --- Reloading --------------------------------------------------------------------------------------------------------


class Lateness(NamedTuple):
    """By how many milliseconds a sleep of one was too long, and for how many of those the process was computing.

    On a busy machine the process itself has to wait, which no code of ours can help; `computing` leaves that out.
    """

    all: float
    computing: float


async def _sleep_on(until: Callable[[], bool]) -> list[Lateness]:
    """Sleeps a millisecond at a time, and notes how late it woke up."""
    late = []
    while not until():
        begun, computed = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.001)
        waited = (time.perf_counter() - begun - 0.001) * 1000
        late.append(Lateness(waited, min(waited, (time.process_time() - computed - 0.001) * 1000)))
    return late


def _find_latest(late: Sequence[Lateness]) -> Lateness:
    return Lateness(max(each.all for each in late), max(each.computing for each in late))


def _be_late_alone() -> Lateness:
    end = time.monotonic() + SECONDS
    return _find_latest(asyncio.run(_sleep_on(lambda: time.monotonic() > end)))


def _be_late_beside_a_counter() -> Lateness:
    """Beside a thread that does nothing but count: what the interpreter makes of any two threads."""
    end = time.monotonic() + SECONDS

    def count() -> None:
        while time.monotonic() < end:
            pass

    thread = threading.Thread(target=count)
    thread.start()
    late = asyncio.run(_sleep_on(lambda: time.monotonic() > end))
    thread.join()
    return _find_latest(late)


class Reload(NamedTuple):
    """Seconds from the change of a file until it was in force, how many of those were computed, and the lateness."""

    taken: float
    computed: float
    late: Lateness


def _reload(access: AccessMiddleware, change: Callable[[], object]) -> Reload:
    before = access.gate
    change()
    begun, computed = time.monotonic(), time.process_time()
    late = asyncio.run(_sleep_on(lambda: access.gate is not before or time.monotonic() > begun + LONGEST))
    if access.gate is before:
        raise RuntimeError("the change is not in force")
    return Reload(time.monotonic() - begun, time.process_time() - computed, _find_latest(late))


def _find_middle(late: Sequence[Lateness]) -> Lateness:
    return Lateness(statistics.median(each.all for each in late), statistics.median(each.computing for each in late))


def measure_reload() -> bool:
    """Prints how late a loop wakes up while a million of each are read anew, and how long that takes."""
    root = make_authority()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        access = AccessMiddleware(empty, config=write_all(folder, root, revoked=MANY, named=MANY))
        changes = {
            "revoked": lambda: write_crl(folder, root, MANY),
            "allowed": lambda: write_names(folder, MANY),
        }
        alone = _find_middle([_be_late_alone() for _ in range(RELOADS)])
        beside = _find_middle([_be_late_beside_a_counter() for _ in range(RELOADS)])
        found = {each: [_reload(access, change) for _ in range(RELOADS)] for each, change in changes.items()}
        if access.watch:
            access.watch.close()
    print(f"reload: {MANY} of each replaced under a running event loop, {RELOADS} times, medians of the worst")
    show("the loop alone wakes up late by", alone.all, " ms")
    show("beside a thread that counts", beside.all, " ms")
    met = True
    for what, reloads in found.items():
        late = _find_middle([each.late for each in reloads])
        show(f"{what}: late by", late.all, " ms")
        met = judge("of that, computing", late.computing, STALL_LIMIT, " ms") and met
        show(f"{what}: in force after", statistics.median(each.taken for each in reloads), " s")
        met = judge("of that, computing", max(each.computed for each in reloads), RELOAD_LIMIT, " s") and met
    return met
