"""Durations as Go writes them, and moments as RFC 3339 does."""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from keyfob.pki.cfssl.documents import Place

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"\+?(0|({_PART.pattern})+)", re.ASCII)
# A Go duration is a signed number of 64 bits.
_LONGEST = 2**63 - 1
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def read_duration(text: str, place: Place) -> timedelta:
    """A Go duration such as 8760h or 72h30m, in whole microseconds; nought for an empty text. Raises PKIError."""
    if not text:
        return timedelta()
    if len(text) > 100 or not _DURATION.fullmatch(text):
        place.fail(f"{text[:40]!r} is no duration", _hint(text))
    nanoseconds = sum(Fraction(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text))
    if nanoseconds > _LONGEST:
        place.fail(f"{text!r} is longer than 292 years", "write less")
    return timedelta(microseconds=int(nanoseconds) // 1000)


def _hint(text: str) -> str:
    if text.startswith("-"):
        return "it cannot run backwards: leave the minus sign out"
    return 'hours are the largest unit: write "8760h" for a year, or "72h30m"'


def read_moment(text: str, place: Place) -> datetime | None:
    """A moment such as 2027-01-31T08:00:00Z, in whole seconds of UTC; None for an empty text. Raises PKIError."""
    if not text:
        return None
    hint = 'write "2027-01-31T08:00:00Z"'
    if not _MOMENT.fullmatch(text):
        place.fail(f"{text[:40]!r} is no moment", hint)
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        place.fail(f"{text[:40]!r} is no moment", hint)
    # Go's zero, which stands for a moment that nobody gave.
    if moment == datetime(1, 1, 1, tzinfo=UTC):
        return None
    if moment < EARLIEST:
        place.fail(f"{text[:40]!r} is before any certificate's time", "1950 is the first year")
    return moment


# RFC 5280 section 4.1.2.5.
EARLIEST = datetime(1950, 1, 1, tzinfo=UTC)
