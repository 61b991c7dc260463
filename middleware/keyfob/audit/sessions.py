"""Which device was admitted to which application not long ago, so that one record a session is enough."""

import threading

# How many are remembered; whoever is forgotten gets a record more.
REMEMBERED = 65_536
# Seconds by which a request may be older than one that was recorded before it: threads overtake each other.
DISORDER = 60.0


class Sessions:
    """The running sessions of one process, by the device's fingerprint and the application's name.

    They outlive a Gate: a new configuration is no new admission. May be called by several threads.
    """

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], float] = {}
        self._writing = threading.Lock()

    def begins(self, fingerprint: str, application: str, at: float, seconds: float) -> bool:
        """Whether an admission at `at` (seconds since the epoch) begins a session, which then lasts for `seconds`."""
        key = fingerprint, application
        with self._writing:
            # A clock that was put back must not make a session of fifteen minutes last for days.
            if seconds and at < self._ends.get(key, 0.0) <= at + seconds + DISORDER:
                return False
            # Put at the end, so that the oldest stands first.
            self._ends.pop(key, None)
            self._ends[key] = at + seconds
            if len(self._ends) > REMEMBERED:
                del self._ends[next(iter(self._ends))]
        return True
