"""pki.cfssl.times: Go's durations, and moments."""

from datetime import UTC, datetime, timedelta

import pytest

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place
from keyfob.pki.cfssl.times import read_duration, read_moment

PLACE = Place("x.json", "expiry")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("0", 0),
        ("+0", 0),
        ("8760h", 8760 * 3600),
        ("72h30m", 72 * 3600 + 1800),
        ("1.5h", 5400),
        (".5m", 30),
        ("1.m", 60),
        ("1h1h", 7200),
        ("90s", 90),
        ("1500ms", 1.5),
        ("2000us", 0.002),
        ("2000µs", 0.002),
        ("2000μs", 0.002),
        ("999ns", 0),
        ("2562047h", 2562047 * 3600),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    """Every unit, fractions, and several in a row."""
    assert read_duration(text, PLACE) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8760", "hours are the largest unit"),
        ("1y", "hours are the largest unit"),
        ("365d", "hours are the largest unit"),
        ("1 h", "hours are the largest unit"),
        ("h", "hours are the largest unit"),
        (".h", "hours are the largest unit"),
        ("1H", "hours are the largest unit"),
        ("1e3h", "hours are the largest unit"),
        ("\u0661h", "hours are the largest unit"),
        ("-1h", "leave the minus sign out"),
        ("2562048h", "write less"),
        ("9" * 99 + "h", "write less"),
        ("1h" * 100, "hours are the largest unit"),
    ],
)
def test_what_is_no_duration_is_refused(text: str, hint: str) -> None:
    """With its place, and the way to write one."""
    with pytest.raises(PKIError, match=r"^x\.json: expiry: ") as caught:
        read_duration(text, PLACE)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("2027-01-31T08:00:00Z", datetime(2027, 1, 31, 8, tzinfo=UTC)),
        ("2027-01-31T08:00:00.999999999Z", datetime(2027, 1, 31, 8, tzinfo=UTC)),
        ("2027-01-31T08:00:00+02:00", datetime(2027, 1, 31, 6, tzinfo=UTC)),
    ],
)
def test_moments_are_rfc_3339s(text: str, moment: datetime | None) -> None:
    """In whole seconds of UTC; Go's zero is nothing."""
    assert read_moment(text, PLACE) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("2027-01-31", "2027-01-31T08:00:00", "2027-01-31 08:00:00Z", "2027-02-30T08:00:00Z", "tomorrow"),
        *("1949-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00", "2027-01-31T08:00:00+25:00", "20270131T080000Z"),
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """A date alone, a moment without a zone, and what no certificate can say."""
    with pytest.raises(PKIError, match=r"^x\.json: expiry: "):
        read_moment(text, PLACE)
