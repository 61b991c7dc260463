"""What an inventory knows of many names at once, and how many certificates are recorded at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import and_, select

from keyfob.inventory import Entry, Inventory, NameTaken
from keyfob.inventory.schema import CERTIFICATES


class Known(NamedTuple):
    """The fingerprints of all certificates that a name has ever had, and whether one of them counts."""

    fingerprints: frozenset[bytes]
    counts: bool


NOBODY = Known(frozenset(), counts=False)


def find_known(inventory: Inventory, names: Sequence[str]) -> Mapping[str, Known]:
    """What there is of each name; those that never had a certificate are left out. Raises PKIError."""
    columns = CERTIFICATES.c
    counts = and_(columns.revoked_at.is_(None), columns.retires_at.is_(None))
    query = select(columns.name, columns.fingerprint, counts).where(columns.name.in_(names))
    found: dict[str, list[tuple[bytes, bool]]] = defaultdict(list)
    with inventory._database.read() as connection:
        for name, fingerprint, counting in connection.execute(query):
            found[name].append((fingerprint, bool(counting)))
    return {
        name: Known(frozenset(mark for mark, _ in each), any(yes for _, yes in each)) for name, each in found.items()
    }


def record(inventory: Inventory, entries: Sequence[Entry]) -> list[Entry]:
    """Records certificates that were made a moment ago.

    Returns those that cannot be: while they were made, somebody else has given their names a certificate.
    """
    try:
        inventory.add(entries)
    except NameTaken:
        fresh, lost = _sort_out(inventory, entries)
        if len(fresh) == len(entries):
            raise
        return lost + record(inventory, fresh)
    return []


def record_missing(inventory: Inventory, entries: Sequence[Entry]) -> list[Entry]:
    """As `record`, for certificates of which some may be recorded already, and may have been withdrawn since."""
    fresh, lost = _sort_out(inventory, entries)
    return lost + record(inventory, fresh)


def _sort_out(inventory: Inventory, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """What is to be recorded, and what cannot be."""
    known = find_known(inventory, [each.name for each in entries])
    fresh: list[Entry] = []
    lost: list[Entry] = []
    for entry in entries:
        there = known.get(entry.name, NOBODY)
        if entry.fingerprint not in there.fingerprints:
            (lost if there.counts else fresh).append(entry)
    return fresh, lost
