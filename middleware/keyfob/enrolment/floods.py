"""Floods: how many lines of the log strangers can have written, and the count of those that are left out."""

import logging
import threading
import time

from keyfob.errors import PKIError
from keyfob.inventory.invitations import UsedBefore

# Lines of one kind: so many at once, and so many a second after that.
BURST, RATE = 20.0, 1.0
# How many kinds are known at a time. There is one for each invitation that is tried again, so they have to be bounded.
KINDS = 1024


class Restraint:
    """Writes to `log`, a bounded number of lines of each kind. May be called by several threads.

    What was left out is told by the next line of its kind, a second later at most while the flood goes on.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: dict[str, _Kind] = {}
        self._counting = threading.Lock()

    def warn(self, kind: str, words: str, *values: object) -> None:
        """A warning, unless there were too many like it."""
        self._write(logging.WARNING, kind, words, values)

    def fail(self, kind: str, words: str, *values: object) -> None:
        """An error, unless there were too many like it."""
        self._write(logging.ERROR, kind, words, values)

    def _write(self, level: int, kind: str, words: str, values: tuple[object, ...]) -> None:
        with self._counting:
            omitted = self._find(kind).take(time.monotonic())
        if omitted:
            self._log.log(level, words + " (%d more like this were left out)", *values, omitted, stacklevel=3)
        elif omitted is not None:
            self._log.log(level, words, *values, stacklevel=3)

    def _find(self, kind: str) -> "_Kind":
        # What was seen last stands last, so that a kind in full flood is not forgotten for newcomers.
        found = self._kinds.pop(kind) if kind in self._kinds else _Kind()
        self._kinds[kind] = found
        if len(self._kinds) > KINDS:
            del self._kinds[next(iter(self._kinds))]
        return found


class _Kind:
    """The lines of one kind that may still be written, and how many were not."""

    __slots__ = ("_at", "_left", "_omitted")

    def __init__(self) -> None:
        self._at, self._left, self._omitted = 0.0, BURST, 0

    def take(self, now: float) -> int | None:
        """How many were left out before this one; None if this one is, too."""
        self._left = min(BURST, self._left + (now - self._at) * RATE)
        self._at = now
        if self._left < 1:
            self._omitted += 1
            return None
        self._left -= 1
        omitted, self._omitted = self._omitted, 0
        return omitted


def find_kind(error: PKIError) -> str:
    """What a refusal is counted as. Each invitation that is tried again is a kind of its own, and stays loud."""
    for each in (error, error.__cause__):
        if isinstance(each, UsedBefore):
            return f"invitation {each.invitation.id}"
    return type(error).__name__
