"""Inventory: every certificate that was issued, in a database that several commands and servers share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from keyfob.errors import PKIError
from keyfob.inventory.database import Database
from keyfob.inventory.history import History
from keyfob.inventory.invitations import Invitations, Lapsed, describe_invitation, make_token
from keyfob.inventory.logins import Logins
from keyfob.inventory.records import (
    SERIAL_LENGTH,
    Entry,
    NameTaken,
    NotInInventory,
    Record,
    RevocationReason,
    Stored,
    digest,
    encode_serial,
    fit,
    is_storable,
    require_storable_name,
)
from keyfob.inventory.schema import (
    AUTHORITIES,
    CERTIFICATES,
    INVITATIONS,
    SETTINGS,
    STEPS,
    advance,
    lock,
    migrate,
    read_version,
    require_vacant,
)

_RECORD = [CERTIFICATES.c[name] for name in Record._fields]
# Records that are read at once, and names that one query asks for; fewer at first, since the first line is waited for.
_FIRST, _PAGE = 50, 1000
# Sightings in one transaction: in PostgreSQL a revocation of one of these devices waits for its end.
_CHUNK = 500
_T = TypeVar("_T")


class Order(StrEnum):
    """What a list can be sorted by; each has an index, so that a million lines begin at once."""

    NAME = "name"
    ISSUED = "issued"
    EXPIRES = "expires"
    SEEN = "seen"


class _Walk(NamedTuple):
    """A way through the records along an index: sorted by these columns, the last of which tells all records apart."""

    columns: Sequence[Any]
    among: Any = None

    def run(self, ask: Callable[[Select[Any]], Sequence[Row[Any]]], *, descending: bool) -> Iterator[Record]:
        query = select(*_RECORD).order_by(*(each.desc() if descending else each for each in self.columns))
        query = query if self.among is None else query.where(self.among)
        page = query.limit(_FIRST)
        while rows := ask(page):
            yield from map(Record._make, rows)
            last = tuple(getattr(rows[-1], each.name) for each in self.columns)
            # As one row, not as a chain of ANDs and ORs: this is what both databases find in the index.
            place = tuple_(*self.columns)
            page = query.where(place < last if descending else place > last).limit(_PAGE)


_WALKS = {
    Order.NAME: _Walk((CERTIFICATES.c.name, CERTIFICATES.c.id)),
    Order.ISSUED: _Walk((CERTIFICATES.c.id,)),
    Order.EXPIRES: _Walk((CERTIFICATES.c.not_after, CERTIFICATES.c.id)),
}
_SEEN = _Walk((CERTIFICATES.c.seen_at, CERTIFICATES.c.id), CERTIFICATES.c.seen_at.is_not(None))
_NEVER_SEEN = _Walk((CERTIFICATES.c.id,), CERTIFICATES.c.seen_at.is_(None))


class Sighting(NamedTuple):
    """When a device was last let in, in seconds since the epoch, and from which address."""

    at: int
    address: str


class Inventory:
    """The inventory at one place. Shared by threads; a forked process calls `forget_connections` first.

    Every method is one transaction unless it says otherwise, and raises PKIError if the database cannot be used.
    PostgreSQL's answers are waited for: if whoever calls must not wait, a thread of its own should call.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.name = database.name
        self.invitations = Invitations(database)
        self.logins = Logins(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the next use opens new ones."""
        self._database.close()

    def forget_connections(self) -> None:
        """In a forked child: what is open belongs to the parent."""
        self._database.forget_connections()

    # --- What is recorded ---------------------------------------------------------------------------------------------

    def add(self, entries: Sequence[Entry]) -> None:
        """Records certificates, all of them or none. Raises NameTaken, naming the first.

        A thousand in one call cost a small part of what a thousand calls do.
        """
        with self._explaining(entries), self._database.write() as connection:
            _insert(connection, entries)

    def add_invited(self, entry: Entry, invitation: int, retires_at: int | None = None) -> None:
        """Records what has come of an invitation that was used up, unless it was cancelled meanwhile.

        With `retires_at` it is the successor of the device's present one, as in `renew`. Raises NameTaken,
        NotInInventory and Lapsed.
        """
        with self._explaining([entry]), self._database.write() as connection:
            # Whoever revokes the name now waits, or has cancelled the invitation.
            lock(connection)
            mine = and_(INVITATIONS.c.id == invitation, INVITATIONS.c.cancelled_at.is_(None))
            if connection.execute(select(INVITATIONS.c.id).where(mine)).scalar_one_or_none() is None:
                raise Lapsed(f"the invitation of {entry.name!r} was cancelled", "make a new one")
            if retires_at is not None:
                _retire(connection, entry.name, retires_at)
            certificate = _insert_one(connection, entry)
            connection.execute(update(INVITATIONS).where(mine).values(certificate=certificate))

    def renew(self, entry: Entry, retires_at: int, *, replaces: int | None = None) -> None:
        """Records the successor of the device's present certificate, which lives on until `retires_at`.

        Raises NotInInventory if there is none that counts, and NameTaken if that is another than the one with the id
        `replaces`: somebody else has renewed it meanwhile.
        """
        with self._explaining([entry]), self._database.write() as connection:
            _retire(connection, entry.name, retires_at, replaces)
            _insert(connection, [entry])

    def invite(
        self, entry: Entry, kind: str, at: float, lasts: int, payload: bytes, retires_at: int | None = None
    ) -> tuple[str, int]:
        """Records a certificate together with the invitation to fetch it, for `lasts` seconds: both or neither.

        With `retires_at` it is the successor of the device's present one, as in `renew`. Returns the token, which is
        said once, and the invitation's id. Raises NameTaken and NotInInventory.
        """
        token = make_token()
        with self._explaining([entry]), self._database.write() as connection:
            before = None if retires_at is None else _retire(connection, entry.name, retires_at)
            certificate = _insert_one(connection, entry)
            values = describe_invitation(
                token, entry.name, kind, at, lasts, payload=payload, certificate=certificate, predecessor=before
            )
            row = insert(INVITATIONS).values(values).returning(INVITATIONS.c.id)
            return token, int(connection.execute(row).scalar_one())

    def revoke(self, records: Sequence[Record], reason: RevocationReason, at: float) -> None:
        """Withdraws certificates, all of them or none. Those that are revoked already stay as they are."""
        still = and_(CERTIFICATES.c.id == bindparam("number"), CERTIFICATES.c.revoked_at.is_(None))
        # In the order in which `note_seen` takes them: so neither waits for the other in a circle.
        numbers = [{"number": record.id} for record in sorted(records, key=lambda record: record.fingerprint)]
        if numbers:
            with self._database.write() as connection:
                values = {"revoked_at": int(at), "reason": reason.value, "revision": advance(connection)}
                connection.execute(update(CERTIFICATES).where(still).values(values), numbers)

    def revoke_name(self, name: str, reason: RevocationReason, at: float) -> tuple[list[Record], int]:
        """Withdraws everything that a name has or could still get, in one step.

        Returns the certificates that counted until now, newest first, and how many invitations were cancelled.
        """
        if not is_storable(name):
            return [], 0
        columns = CERTIFICATES.c
        with self._database.write() as connection:
            # First of all: a renewal that is under way is either seen here, or finds nothing to renew.
            values = {"revoked_at": int(at), "reason": reason.value, "revision": advance(connection)}
            mine = and_(columns.name == name, columns.revoked_at.is_(None))
            # In the order in which `note_seen` takes them.
            query = select(*_RECORD).where(mine).order_by(columns.fingerprint).with_for_update()
            records = [Record._make(row) for row in connection.execute(query)]
            counting = [each for each in records if each.retires_at is None or each.retires_at > at]
            connection.execute(
                update(CERTIFICATES).where(columns.id.in_([each.id for each in counting])).values(values)
            )
            pending = and_(INVITATIONS.c.name == name, INVITATIONS.c.cancelled_at.is_(None), _can_come_of_it(at))
            cancelled = connection.execute(
                update(INVITATIONS).where(pending).values(cancelled_at=int(at), payload=None)
            )
        return sorted(counting, key=lambda each: each.id, reverse=True), cancelled.rowcount

    def note_seen(self, sightings: Mapping[bytes, Sighting]) -> None:
        """Writes down when devices were last let in, by their fingerprints. Strangers are passed over.

        A moment that is not later than the one that is known changes nothing. Some hundreds go into one transaction,
        so after an error some may be written down: the same call may then be made again.
        """
        seen = CERTIFICATES.c.seen_at
        later = or_(seen.is_(None), seen < bindparam("at"))
        changes: dict[str, Any] = {"seen_at": bindparam("at"), "seen_from": bindparam("address")}
        statement = update(CERTIFICATES).where(CERTIFICATES.c.fingerprint == bindparam("print"), later).values(changes)
        # In one order for all: two servers that note the same devices do not wait for each other in a circle.
        rows = [
            {"print": each, "at": seen.at, "address": fit(seen.address, 64)} for each, seen in sorted(sightings.items())
        ]
        for chunk in _split(rows, _CHUNK):
            with self._database.write() as connection:
                connection.execute(statement, chunk)

    @contextmanager
    def _explaining(self, entries: Sequence[Entry]) -> Iterator[None]:
        """Says what was in the way of `entries`, in a view of its own: the transaction has come to nothing by then."""
        try:
            yield
        except _Conflict as conflict:
            raise self._explain_conflict(entries, conflict) from conflict

    def _explain_conflict(self, entries: Sequence[Entry], conflict: "_Conflict") -> PKIError:
        taken = set(self.find_present_names([entry.name for entry in entries]))
        for entry in entries:
            if entry.name in taken:
                return NameTaken(
                    f"{entry.name!r} has a certificate already", "renew or revoke it, or take another name"
                )
            taken.add(entry.name)
        if conflict.is_of_names:
            return NameTaken("another command has taken one of the names for a moment", "run the command again")
        return PKIError("a serial number was used before, and nothing was recorded", "run the command again")

    # --- What is asked ------------------------------------------------------------------------------------------------

    def find_present(self, name: str) -> Stored | None:
        """The device's certificate that counts, expired or not: the one that is neither revoked nor renewed."""
        if not is_storable(name):
            return None
        with self._database.read() as connection:
            row = connection.execute(_select_stored().where(_counts(name))).one_or_none()
        return None if row is None else _to_stored(row)

    def find_present_names(self, names: Sequence[str]) -> dict[str, Record]:
        """For each of these names that is taken, the record of the certificate that counts."""
        present = and_(CERTIFICATES.c.revoked_at.is_(None), CERTIFICATES.c.retires_at.is_(None))
        found: dict[str, Record] = {}
        with self._database.read() as connection:
            for chunk in _split([name for name in dict.fromkeys(names) if is_storable(name)], _PAGE):
                rows = connection.execute(select(*_RECORD).where(CERTIFICATES.c.name.in_(chunk), present))
                found |= {row.name: Record._make(row) for row in rows}
        return found

    def find(self, words: str) -> list[Stored]:
        """Every certificate that is meant by a device's name, a serial number or a SHA-256 fingerprint, newest first.

        Serial numbers and fingerprints are hexadecimal, with or without colons. A name goes first.
        """
        with self._database.read() as connection:
            for condition in _interpret(words):
                query = _select_stored().where(condition).order_by(CERTIFICATES.c.id.desc())
                if found := [_to_stored(row) for row in connection.execute(query)]:
                    return found
        return []

    def iterate(self, order: Order = Order.NAME, *, descending: bool = False) -> Iterator[Record]:
        """Every record, read in pages, so that neither memory nor the first line depends on how many there are.

        What is added or revoked meanwhile may be in it or not; what was there before comes once. What was never seen
        stands before what was seen long ago. That order alone is read in one view, which PostgreSQL closes, with a
        PKIError, when nothing more is asked for five minutes.
        """
        if order is Order.SEEN:
            # A device that is seen meanwhile would change its place, and come twice or never.
            with self._database.read() as connection:
                for walk in (_SEEN, _NEVER_SEEN) if descending else (_NEVER_SEEN, _SEEN):
                    yield from walk.run(lambda query: connection.execute(query).all(), descending=descending)
        else:
            yield from _WALKS[order].run(self._read_all, descending=descending)

    def _read_all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._database.read() as connection:
            return connection.execute(query).all()

    def count(self) -> int:
        """How many certificates there are; of a million, within some milliseconds, or more if the disk is asked."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(CERTIFICATES)).scalar_one())

    # --- What is withdrawn --------------------------------------------------------------------------------------------

    @contextmanager
    def view_history(self) -> Iterator[History]:
        """What has been withdrawn so far, as one view."""
        with self._database.read() as connection:
            yield History(connection)

    def number_crl(self, issuer: bytes) -> int:
        """The next CRL number of an authority (DER); each is given out once."""
        with self._database.write() as connection:
            found = _ensure_authority(connection, issuer)
            number = update(AUTHORITIES).where(AUTHORITIES.c.id == found)
            number = number.values(crl_number=AUTHORITIES.c.crl_number + 1)
            return int(connection.execute(number.returning(AUTHORITIES.c.crl_number)).scalar_one())

    def read_crl_number(self, issuer: bytes) -> int:
        """The CRL number of an authority (DER) that was given out last; 0 if there was none."""
        query = select(AUTHORITIES.c.crl_number).where(AUTHORITIES.c.fingerprint == digest(issuer))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one_or_none() or 0)

    def iterate_revoked(self, issuer: bytes, at: float) -> Iterator[Record]:
        """The certificates of an authority (DER) that a CRL of `at` has to name: withdrawn, and not yet expired."""
        columns = CERTIFICATES.c
        out = or_(columns.revoked_at.is_not(None), columns.retires_at <= at)
        mine = select(AUTHORITIES.c.id).where(AUTHORITIES.c.fingerprint == digest(issuer)).scalar_subquery()
        query = select(*_RECORD).where(columns.revision.is_not(None), out, columns.not_after >= at)
        query = query.where(columns.issuer == mine).order_by(columns.id)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=_PAGE).execute(query):
                yield Record._make(row)

    # --- Settings -----------------------------------------------------------------------------------------------------

    def read_setting(self, name: str) -> str | None:
        """What a server has left here for the commands, such as the address of its enrolment pages."""
        with self._database.read() as connection:
            return connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == name)).scalar_one_or_none()

    def write_setting(self, name: str, value: str) -> None:
        """Replaces it."""
        with self._database.write() as connection:
            lock(connection)
            there = update(SETTINGS).where(SETTINGS.c.name == name).values(value=value)
            if connection.execute(there).rowcount == 0:
                connection.execute(insert(SETTINGS).values(name=name, value=value))


def open_inventory(where: str | Path, *, create: bool = False) -> Inventory:
    """The inventory in an SQLite file, or behind a `postgresql://` URL, with its tables brought up to date.

    Without `create`, a missing file or empty database is an error. Raises PKIError.
    """
    database = Database(where)
    try:
        _prepare(database, create=create)
    except BaseException:
        database.close()
        raise
    return Inventory(database)


def _prepare(database: Database, *, create: bool) -> None:
    if create:
        database.make_file()
    elif not database.exists():
        raise PKIError(f"{database.name} is missing", _CREATE)
    with database.read() as connection:
        version = read_version(connection)
        if version == 0 and not create:
            raise PKIError(f"{database.name} is no inventory", _CREATE)
        if version == 0 and database.is_file:
            require_vacant(connection)
    if version < len(STEPS):
        with database.migrate() as connection:
            migrate(connection)
    database.use_log()


_CREATE = "make an inventory with `keyfob ca init`, or name the right one"


class _Conflict(Exception):
    """A name that is taken, or a number that was used before: which of them, is asked when the transaction is over."""

    def __init__(self, *, is_of_names: bool) -> None:
        super().__init__()
        self.is_of_names = is_of_names


def _insert(connection: Connection, entries: Sequence[Entry]) -> None:
    issuers: dict[bytes, int] = {}
    rows = [_to_row(connection, entry, issuers) for entry in entries]
    if not rows:
        return
    try:
        _write_rows(connection, rows)
    except IntegrityError as error:
        # SQLite names the columns, PostgreSQL the constraint, which is called after them.
        said = str(error.orig)
        is_of_names = "one_a_name" in said or "certificates.name" in said
        if is_of_names or "serial" in said or "fingerprint" in said:
            raise _Conflict(is_of_names=is_of_names) from error
        raise


def _to_row(connection: Connection, entry: Entry, issuers: dict[bytes, int]) -> dict[str, Any]:
    if entry.issuer not in issuers:
        issuers[entry.issuer] = _ensure_authority(connection, entry.issuer)
    return {
        "name": require_storable_name(entry.name),
        "serial": encode_serial(entry.serial),
        "fingerprint": entry.fingerprint,
        "issuer": issuers[entry.issuer],
        "certificate": entry.certificate,
        "not_before": entry.not_before,
        "not_after": entry.not_after,
        "issued_at": entry.issued_at,
    }


def _write_rows(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(insert(CERTIFICATES), rows)
        return
    # As the driver takes them: what SQLAlchemy does for each row costs a fleet a third more.
    compiled = insert(CERTIFICATES).compile(dialect=connection.dialect, column_keys=list(rows[0]))
    names = compiled.positiontup or ()
    connection.exec_driver_sql(str(compiled), [tuple(row[name] for name in names) for row in rows])


def _ensure_authority(connection: Connection, certificate: bytes) -> int:
    mark = digest(certificate)
    query = select(AUTHORITIES.c.id).where(AUTHORITIES.c.fingerprint == mark)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        # In PostgreSQL two may do this at once; the row of the state lets one of them go first.
        lock(connection)
        found = connection.execute(query).scalar_one_or_none()
    if found is None:
        row = insert(AUTHORITIES).values(fingerprint=mark, certificate=certificate, crl_number=0)
        found = connection.execute(row.returning(AUTHORITIES.c.id)).scalar_one()
    return int(found)


def _can_come_of_it(at: float) -> Any:
    """Whether an invitation may still lead to a certificate, or to a key."""
    columns = INVITATIONS.c
    is_unused = and_(columns.used_at.is_(None), columns.expires_at > at)
    # Used by a device that is yet to come with its challenge, or is being served at this moment.
    is_under_way = and_(columns.used_at.is_not(None), columns.certificate.is_(None))
    return or_(is_unused, is_under_way)


def _insert_one(connection: Connection, entry: Entry) -> int:
    """Inserts it, and returns its id."""
    _insert(connection, [entry])
    mine = select(CERTIFICATES.c.id).where(CERTIFICATES.c.fingerprint == entry.fingerprint)
    return int(connection.execute(mine).scalar_one())


def _retire(connection: Connection, name: str, retires_at: int, replaces: int | None = None) -> int:
    # First of all: who renews at the same time waits here, and then sees what has become of it.
    values = {"retires_at": retires_at, "revision": advance(connection)}
    found = connection.execute(select(CERTIFICATES.c.id).where(_counts(name))).scalar_one_or_none()
    if found is None:
        raise NotInInventory(f"no device {name!r} has a certificate to renew", "issue one")
    if replaces not in (None, found):
        raise NameTaken(f"{name!r} was renewed meanwhile", "fetch the certificate that it has now")
    connection.execute(update(CERTIFICATES).where(CERTIFICATES.c.id == found).values(values))
    return int(found)


def _counts(name: str) -> Any:
    columns = CERTIFICATES.c
    return and_(columns.name == name, columns.revoked_at.is_(None), columns.retires_at.is_(None))


def _interpret(words: str) -> Iterator[Any]:
    if is_storable(words):
        yield CERTIFICATES.c.name == words
    digits = words.replace(":", "")
    try:
        number = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
    except ValueError:
        return
    if len(number.lstrip(b"\0")) <= SERIAL_LENGTH:
        yield CERTIFICATES.c.serial == number.lstrip(b"\0").rjust(SERIAL_LENGTH, b"\0")
    if len(number) == 32:
        yield CERTIFICATES.c.fingerprint == number


def _select_stored() -> Select[Any]:
    return select(*_RECORD, CERTIFICATES.c.certificate)


def _to_stored(row: Row[Any]) -> Stored:
    values = tuple(row)
    return Stored(Record(*values[:-1]), values[-1])


def _split(rows: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
