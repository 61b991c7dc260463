"""What was withdrawn, in its order: for whoever follows an inventory and asks for what is new."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from keyfob.inventory.records import Withdrawal, to_der
from keyfob.inventory.schema import CERTIFICATES, REVISIONS, STATE

# How many withdrawals are read at once; whoever waits for the interpreter gets it in between.
_PAGE = 500


class History:
    """One view of the withdrawals; `revision` is the number of the last one, 0 before the first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.revision = int(connection.execute(select(STATE.c.revision)).scalar_one())

    def find_nonce(self, revision: int) -> bytes | None:
        """What tells a revision from one of the same number in another history; None if there is no such revision."""
        query = select(REVISIONS.c.nonce).where(REVISIONS.c.revision == revision)
        return self._connection.execute(query).scalar_one_or_none()

    def read(self, after: int = 0) -> Iterator[list[Withdrawal]]:
        """What has been withdrawn beyond the revision `after`, in pages."""
        columns = CERTIFICATES.c
        query = select(columns.serial, columns.revoked_at, columns.retires_at).where(columns.revision > after)
        rows = self._connection.execution_options(yield_per=_PAGE).execute(query.order_by(columns.revision))
        for page in rows.partitions():
            # Revoked is revoked, also where the clock of whoever did it is ahead of the reader's.
            yield [Withdrawal(to_der(serial), end if revoked is None else 0) for serial, revoked, end in page]
