"""Entries for an inventory's tests, made without signing anything, and processes that work on one inventory at once."""

import contextlib
import os
import pickle
import secrets
import signal
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from keyfob.inventory import Entry, Inventory, Withdrawal

NOW = 1_800_000_000
DAY = 86400
ISSUER = b"the certificate of an issuer"


def make_entry(name: str, *, issuer: bytes = ISSUER, not_after: int = NOW + 365 * DAY, issued_at: int = NOW) -> Entry:
    """An entry whose certificate is nothing but random octets."""
    serial = int.from_bytes(secrets.token_bytes(16)) | 1 << 120
    return Entry(name, secrets.token_bytes(400), issuer, serial, issued_at - 300, not_after, issued_at)


def make_entries(names: Iterable[str]) -> list[Entry]:
    return [make_entry(name) for name in names]


def run_at_once(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs each task in a process of its own, all released at one moment; returns what they return, or have raised.

    The processes are forked, so a task may use what the test has; connections it opens itself.
    """
    gate_out, gate_in = os.pipe()
    children = [_fork(task, gate_out, gate_in) for task in tasks]
    os.close(gate_out)
    os.close(gate_in)
    try:
        return [_receive(answer) for _, answer in children]
    finally:
        for number, _ in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)


def _fork(task: Callable[[], Any], gate_out: int, gate_in: int) -> tuple[int, int]:
    answer_out, answer_in = os.pipe()
    with warnings.catch_warnings():
        # Python warns of threads that other tests may have left; these children touch nothing of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        number = os.fork()
    if number:
        os.close(answer_in)
        return number, answer_out
    try:
        os.close(gate_in)
        os.read(gate_out, 1)
        with os.fdopen(answer_in, "wb") as answer:
            answer.write(_run(task))
    finally:
        os._exit(0)


def _run(task: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(task())
    except Exception as error:  # noqa: BLE001 - the test judges it
        try:
            pickle.loads(data := pickle.dumps(error))  # noqa: S301 - written a line before
        except Exception:  # noqa: BLE001 - not every exception can be sent
            return pickle.dumps(RuntimeError(repr(error)))
        return data


def _receive(answer: int) -> Any:
    with os.fdopen(answer, "rb") as sent:
        data = sent.read()
    if not data:
        raise RuntimeError("a process has ended without an answer")
    return pickle.loads(data)  # noqa: S301 - from the process forked above


def read_withdrawals(inventory: Inventory, after: int = 0) -> tuple[int, list[Withdrawal]]:
    """What was withdrawn beyond the revision `after`, and the revision that this leads to."""
    with inventory.view_history() as history:
        return history.revision, [each for page in history.read(after) for each in page]
