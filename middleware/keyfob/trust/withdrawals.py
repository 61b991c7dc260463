"""What an inventory has withdrawn, and whether anybody has looked lately: a book that knows nothing of databases."""

import heapq
import threading
import time
from collections.abc import Callable, Hashable, Iterable

from cryptography import x509

from keyfob.trust.serials import Serials, encode_serial

# For so many seconds after a look the book is relied on; then nobody can tell what has been withdrawn since.
GRACE = 30.0

NEVER, ALWAYS = float("inf"), float("-inf")


class Withdrawals:
    """The serial numbers that an inventory has withdrawn, and those that it gives a last moment. Shared by all threads.

    A serial number stands for itself, whoever has issued the certificate: an inventory has each once, and ours are
    random. Whoever else's certificate had the same would be refused, which is the safe side; a comparison of issuers
    could be led around by an authority that was renewed or cross-signed. The roots are never looked for here, so that
    none of them can be withdrawn, whatever numbers there are.

    What is not promised: that a certificate which the inventory does not know is refused. It is a list of withdrawals
    and none of admissions: who may come is the roots' and the rules' to say.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`name` is for people, and has no password in it; `clock` gives seconds that only go forward."""
        self.name = name
        self.clock = clock
        self.lock = threading.Lock()
        """Held while anything changes. Whoever forks holds it, so that the child gets the book in one piece."""
        self.version = 0
        """Counts the changes after which verdicts made before have to be forgotten."""
        self.revision = 0
        """Up to which of its changes the inventory was read."""
        self.mark: Hashable = None
        """What tells the database that was read from another one at the same place."""
        self.trouble = ""
        """Why the last look failed; empty after one that did not."""
        self._looked_at: float | None = None
        self._serials = Serials()
        # Where there is a last moment, and not for long after it. The heap says which comes first; it also has places
        # that do not count any more.
        self._ends: dict[bytes, float] = {}
        self._agenda: list[tuple[float, bytes]] = []

    def __repr__(self) -> str:
        return f"<Withdrawals of {self.name!r}, {len(self)}>"

    def __len__(self) -> int:
        """How many are withdrawn for good."""
        return len(self._serials)

    def count_ends(self) -> int:
        """How many have a last moment that has not come yet."""
        with self.lock:
            return len(self._ends)

    def enter(self, found: Iterable[tuple[bytes, float | None]], now: float) -> None:
        """Enters serial numbers (the content of their DER) with the moment from which each counts no longer.

        Moments are seconds since the epoch, as `now` is. None takes back what was said about the future. What is
        withdrawn stays so, whatever comes later.
        """
        with self.lock:
            changed = sum([self._enter(serial, at, now) for serial, at in found])
            self.version += bool(changed)

    def settle(self, now: float) -> None:
        """Withdraws for good what has come to its last moment."""
        with self.lock:
            while self._agenda and self._agenda[0][0] <= now:
                at, serial = heapq.heappop(self._agenda)
                if self._ends.get(serial) == at:
                    self._enter(serial, at, now)
                    self.version += 1

    def confirm(self, revision: int, mark: Hashable, since: float) -> None:
        """Notes that everything up to `revision` has been entered, as it was at `since` by the book's clock."""
        with self.lock:
            self.revision, self.mark, self._looked_at, self.trouble = revision, mark, since, ""

    def find_end(self, certificate: x509.Certificate) -> float:
        """From when on a certificate counts no longer, in seconds since the epoch; ALWAYS or NEVER are infinite."""
        serial = encode_serial(certificate)
        with self.lock:
            return ALWAYS if serial in self._serials else self._ends.get(serial, NEVER)

    def measure_rest(self) -> float:
        """For how many seconds it may still be relied on if nobody looks again; not more than 0 if nobody can tell."""
        return 0.0 if self._looked_at is None else self._looked_at + GRACE - self.clock()

    def find_trouble(self) -> str:
        """Why it may not be what the inventory says now; empty if all is well."""
        if self.trouble or self.measure_rest() > 0:
            return self.trouble
        return f"nobody has looked into the inventory {self.name} for more than {GRACE:.0f} seconds"

    def _enter(self, serial: bytes, at: float | None, now: float) -> bool:
        """Whether that is news."""
        if serial in self._serials:
            return False
        before = self._ends.pop(serial, None)
        if at is not None and at <= now:
            self._serials.add(serial)
            return True
        if at is not None:
            self._ends[serial] = at
            if before != at:
                heapq.heappush(self._agenda, (at, serial))
        return before != at
