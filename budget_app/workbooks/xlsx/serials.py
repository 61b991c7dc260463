"""Days as the numbers that a workbook keeps them as."""

from datetime import date, timedelta

EPOCH_1900 = date(1899, 12, 30)
"""The day 0 of most workbooks, right from March 1900 on: Excel knows a 29 February 1900 that was none."""
EPOCH_1904 = date(1904, 1, 1)
"""The day 0 of workbooks from old Macs."""

_LAST = date(9999, 12, 31)


def to_serial(day: date, epoch: date) -> int:
    """The number by which a workbook with that day 0 knows a day."""
    return (day - epoch).days


def from_serial(number: float, epoch: date) -> date | None:
    """The day of a number; None for one that is no day."""
    return epoch + timedelta(days=int(number)) if 1 <= number < to_serial(_LAST, epoch) + 1 else None
