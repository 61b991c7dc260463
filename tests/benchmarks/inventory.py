"""An inventory of a million devices: how soon a list begins, how long a revocation takes, and what the commands cost.

The devices are recorded by the real `add`, in a registry as `keyfob ca init` makes one; the commands are the real
ones, each a process of its own. Their limits are moments that a person waits, so they are in milliseconds.
"""

import resource
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from timing import Call, find_medians, judge, show, time_in_turn

from inventories import read_withdrawals
from keyfob.inventory import Entry, Inventory, Order, Record, RevocationReason, Sighting
from registries import make_registry
from servers import environment, keyfob

DEVICES, CHUNK, ROUNDS, COMMANDS = 1_000_000, 10_000, 15, 9
HELP_LIMIT, LIST_LIMIT, REVOKE_LIMIT = 250.0, 1000.0, 100.0
FIRST_LIMIT, FIND_LIMIT, POLL_LIMIT, MEMORY_LIMIT = 50.0, 20.0, 20.0, 64.0
# About what a device's certificate on P-256 has.
_CERTIFICATE_OCTETS = 450
_NOW, _DAY = 1_800_000_000, 86400


def measure() -> bool:
    """Prints all of it, and whether the limits are met. Takes two minutes and a gigabyte of the disk."""
    print(f"inventory: {DEVICES} devices in SQLite, medians")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = make_registry(folder / "small"), make_registry(folder / "large")
        with small.inventory, large.inventory as inventory:
            _fill(inventory, small.inventory)
            met = _measure_calls(inventory)
            met = _measure_memory(inventory) and met
        return _measure_commands(folder / "small", folder / "large") and met


# --- The library ------------------------------------------------------------------------------------------------------


def _fill(inventory: Inventory, small: Inventory) -> None:
    small.add(list(_make_entries(range(1))))
    start = time.perf_counter()
    for first in range(0, DEVICES, CHUNK):
        inventory.add(list(_make_entries(range(first, first + CHUNK))))
    show("recorded, for each second", DEVICES / (time.perf_counter() - start), "")


def _make_entries(numbers: range) -> Iterator[Entry]:
    for number in numbers:
        certificate = secrets.token_bytes(_CERTIFICATE_OCTETS)
        # In an order of its own, so that no list is sorted by chance.
        end = _NOW + number * 7919 % 365 * _DAY
        serial = int.from_bytes(secrets.token_bytes(16))
        yield Entry(f"Device {number:07}", certificate, b"issuer", serial, _NOW, end, _NOW + number)


def _measure_calls(inventory: Inventory) -> bool:
    chosen = list(islice(inventory.iterate(Order.EXPIRES), 5000))
    moments, several = iter(range(_NOW, _NOW + ROUNDS)), iter(chosen)
    show(f"{len(chosen)} sightings written down", _time(lambda: _note(inventory, chosen, next(moments))), " ms")
    show("revoked", _time(lambda: inventory.revoke([next(several)], RevocationReason.SUPERSEDED, _NOW)), " ms")
    show("counted", _time(inventory.count), " ms")
    met = True
    for order in Order:
        for descending in (False, True):
            name = f"first of a list by {order}{', descending' * descending}"
            met = (
                judge(name, _time(partial(_begin, inventory, order, descending=descending)), FIRST_LIMIT, " ms") and met
            )
    record = inventory.find("Device 0777777")[0].record
    words = {"name": record.name, "serial number": record.serial_text, "fingerprint": record.fingerprint.hex()}
    for kind, word in words.items():
        met = judge(f"found by its {kind}", _time(partial(inventory.find, word)), FIND_LIMIT, " ms") and met
    ask = partial(read_withdrawals, inventory, read_withdrawals(inventory)[0])
    return judge("asked what is new, and nothing is", _time(ask), POLL_LIMIT, " ms") and met


def _begin(inventory: Inventory, order: Order, *, descending: bool) -> None:
    records = inventory.iterate(order, descending=descending)
    next(records)


def _note(inventory: Inventory, records: Sequence[Record], at: int) -> None:
    inventory.note_seen({record.fingerprint: Sighting(at, "192.0.2.7") for record in records})


def _time(call: Call) -> float:
    """Milliseconds."""
    return find_medians(time_in_turn([call], ROUNDS, 1))[0] / 1000


def _measure_memory(inventory: Inventory) -> bool:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    listed = sum(1 for _ in inventory.iterate())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return judge(f"grown by, while {listed} were listed", grown, MEMORY_LIMIT, " MiB")


# --- The commands -----------------------------------------------------------------------------------------------------


def _measure_commands(small: Path, large: Path) -> bool:
    """What `keyfob revoke --help` takes is the command's own start-up time: it is loaded, and does nothing."""
    numbers = iter(range(DEVICES - COMMANDS, DEVICES))
    rounds = time_in_turn(
        [
            lambda: _run("--help"),
            lambda: _run("list", "--home", small),
            lambda: _read_two_lines("list", "--home", large),
            lambda: _run("revoke", "--help"),
            lambda: _run("revoke", f"Device {next(numbers):07}", "--home", large),
        ],
        COMMANDS,
        1,
    )
    told, alone, begun, idle, _ = (each / 1000 for each in find_medians(rounds))
    show("keyfob list, of one device", alone, " ms")
    show("keyfob revoke --help", idle, " ms")
    met = judge("keyfob --help", told, HELP_LIMIT, " ms")
    met = judge("keyfob list, until its first device", begun, LIST_LIMIT, " ms") and met
    beyond = statistics.median(each[4] - each[3] for each in rounds) / 1000
    return judge("keyfob revoke, beyond its start-up", beyond, REVOKE_LIMIT, " ms") and met


def _run(*arguments: str | Path) -> None:
    subprocess.run(keyfob(*arguments), check=True, capture_output=True, env=environment())


def _read_two_lines(*arguments: str | Path) -> None:
    """The head and the first device; whoever reads them has seen enough."""
    with subprocess.Popen(
        keyfob(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        if process.stdout is None or not (process.stdout.readline() and process.stdout.readline()):
            raise RuntimeError("it lists nothing")
        process.kill()
