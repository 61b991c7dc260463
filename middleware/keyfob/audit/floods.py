"""Floods: how many records are kept of a stranger's many, and the count of those that are not."""

import os
import threading
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from keyfob.addresses import Address

# Records of one process: so many at once, and so many a second after that.
BURST, RATE = 100.0, 20.0
# What one sender may have of it, so that three quarters are left for all others.
SHARE_BURST, SHARE_RATE = 50.0, 5.0
# How many senders are known at a time. Whoever has more addresses than this is held by the rate of all together.
SENDERS = 1024
# What was left out is told after so many seconds.
EVERY = 5.0


class Bucket:
    """Tokens: `burst` of them at first, and `rate` a second to fill it up again."""

    __slots__ = ("_at", "_burst", "_rate", "level")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._at, self.level = 0.0, burst

    def fill(self, now: float) -> float:
        """How many tokens there are at `now`. A clock that was put back fills nothing."""
        if now > self._at:
            self.level = min(self._burst, self.level + (now - self._at) * self._rate)
        self._at = now
        return self.level


class Limit:
    """A bucket for each sender, and one for all of them together where there is one. Bounded in memory."""

    def __init__(self, together: Bucket | None) -> None:
        self._together = together
        self._shares: dict[Hashable, Bucket] = {}

    def takes(self, sender: Hashable, now: float) -> bool:
        """Whether a record of this sender may be kept now; it is counted if so."""
        share, together = self._find_share(sender), self._together
        if share.fill(now) < 1 or (together is not None and together.fill(now) < 1):
            return False
        share.level -= 1
        if together is not None:
            together.level -= 1
        return True

    def _find_share(self, sender: Hashable) -> Bucket:
        # Whoever was seen last stands last, so that a sender in full flood is not forgotten for newcomers.
        share = self._shares.pop(sender, None) or Bucket(SHARE_BURST, SHARE_RATE)
        self._shares[sender] = share
        if len(self._shares) > SENDERS:
            del self._shares[next(iter(self._shares))]
        return share


class Omitted(NamedTuple):
    """How many records were left out for which reason, and the seconds since the epoch of the first and the last."""

    reasons: dict[str, int]
    since: float
    until: float


class Flood:
    """What one process keeps of refusals and admissions, and what it leaves out. May be called by several threads.

    Refusals are limited by sender and together. A device that shows its certificate is limited by itself alone: after
    a restart all of them come at once, and each is to have its record. Those let in without one are limited as
    refusals are, but apart from them: a public page's visitors are not to silence the refusals.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._counting = threading.Lock()
        self._refusals = Limit(Bucket(BURST, RATE))
        self._visitors = Limit(Bucket(BURST, RATE))
        self._devices = Limit(None)
        self._omitted: Counter[str] = Counter()
        self._since = self._until = 0.0

    def keeps_refusal(self, client: Address | None, reason: str, now: float) -> bool:
        """Whether this refusal gets a record; if not, it is counted."""
        return self._keeps(self._refusals, find_sender(client), reason, now)

    def keeps_admission(self, fingerprint: str | None, client: Address | None, now: float) -> bool:
        """Whether this admission gets a record; if not, it is counted."""
        if fingerprint is not None:
            return self._keeps(self._devices, fingerprint, ADMITTED, now)
        return self._keeps(self._visitors, find_sender(client), ADMITTED, now)

    def _keeps(self, limit: Limit, sender: Hashable, reason: str, now: float) -> bool:
        with self._counting:
            if limit.takes(sender, now):
                return True
            if not self._omitted:
                self._since = now
            self._omitted[reason] += 1
            self._until = now
            return False

    def is_due(self, now: float) -> bool:
        """Whether something was left out that should be told by now, also if the clock was put back meanwhile."""
        return bool(self._omitted) and not 0 <= now - self._since < EVERY

    def take_omitted(self) -> Omitted | None:
        """What was left out since the last call; None if nothing was."""
        with self._counting:
            if not self._omitted:
                return None
            omitted = Omitted(dict(self._omitted), self._since, self._until)
            self._omitted.clear()
            return omitted


ADMITTED = "admitted"


def find_sender(client: Address | None) -> Hashable:
    """Who is taken for one sender: an IPv4 address, the /64 of an IPv6 address, and all that nobody can tell."""
    if client is None:
        return None
    # RFC 4291 section 2.5.1: the last 64 bits are the interface's, to be chosen as it likes. ~ keeps the two apart.
    return int(client) if client.version == 4 else ~(int(client) >> 64)
