"""Reads inventories: what is withdrawn goes into books, and who was seen goes back.

Imported where an inventory is configured, and nowhere else: it needs SQLAlchemy.
"""

import logging
import time
from collections.abc import Hashable, Mapping
from pathlib import Path

from keyfob.errors import PKIError
from keyfob.inventory import Inventory, open_inventory
from keyfob.inventory.database import Database
from keyfob.inventory.inventory import Sighting
from keyfob.inventory.logins import ROTATION, Logins, Token
from keyfob.login.book import Book, Ending, SessionKey, TokenRecord
from keyfob.trust.serials import REST
from keyfob.trust.withdrawals import Withdrawals

LOGGER = logging.getLogger("keyfob.live")


class Reader:
    """One inventory, opened for looking. A thread's own; a forked process opens it anew.

    Raises PKIError if there is no inventory, or one that is newer than this keyfob.
    """

    def __init__(self, where: str) -> None:
        """`where` is an absolute path, or a `postgresql://` URL."""
        with open_inventory(where) as inventory:
            self.name = inventory.name
        self._database = Database(where)
        self._inventory = Inventory(self._database)

    def close(self) -> None:
        """Closes the connections; the next use opens new ones."""
        self._database.close()

    def count(self) -> int:
        """How many certificates there are, withdrawn or not."""
        return self._inventory.count()

    def look(self, book: Withdrawals) -> None:
        """Enters what is new. Raises PKIError; what was entered by then stays.

        A database that was put in the place of another one, or has gone back to an earlier state, is read from its
        beginning. What it does not withdraw any more stays withdrawn until the process ends: the backup that somebody
        has restored may be older than the theft. What is not promised: that the tables are those which this keyfob
        knows. A newer one may have added to them since the start, and as long as they answer, it is the answer.
        """
        since, place = book.clock(), take_mark(self._database, self.name)
        with self._inventory.view_history() as history:
            is_same = book.mark in (None, (place, history.find_nonce(book.revision)))
            if not is_same:
                LOGGER.warning("the inventory %s is another one than before: %s", self.name, _AFRESH)
            if not is_same or history.revision > book.revision:
                for page in history.read(book.revision if is_same else 0):
                    book.enter(page, time.time())
                    time.sleep(REST)
            revision, mark = history.revision, (place, history.find_nonce(history.revision))
        book.confirm(revision, mark, since)

    def note_seen(self, sightings: Mapping[bytes, tuple[float, str]]) -> None:
        """Writes down when devices were let in last, and from where, by their fingerprints. Raises PKIError."""
        take_mark(self._database, self.name)
        self._inventory.note_seen({each: Sighting(int(at), address) for each, (at, address) in sightings.items()})


def take_mark(database: Database, name: str) -> Hashable:
    """What tells one file from another. Raises PKIError if there is none: to connect would make an empty one."""
    if not database.is_file:
        return name
    try:
        found = Path(database.name).stat()
    except OSError as error:
        raise PKIError(f"the inventory {name} is gone: {error.strerror}", "put it back") from error
    return found.st_dev, found.st_ino


_AFRESH = "it is read from its beginning, and what was withdrawn stays so until a restart"


def read_book(where: str) -> Withdrawals:
    """The book of an inventory, read as a whole; no connection stays open. Raises PKIError."""
    reader = Reader(where)
    try:
        book = Withdrawals(reader.name)
        reader.look(book)
    finally:
        reader.close()
    return book


class LoginReader:
    """What an inventory keeps of logins, opened for looking. As Reader is, and raises as it does."""

    def __init__(self, where: str) -> None:
        """`where` is an absolute path, or a `postgresql://` URL."""
        with open_inventory(where) as inventory:
            self.name = inventory.name
        self._database = Database(where)
        self._logins = Logins(self._database)

    def close(self) -> None:
        """Closes the connections; the next use opens new ones."""
        self._database.close()

    def look(self, book: Book) -> None:
        """Enters what is new, and makes the next key where it is time. Raises PKIError; what was entered by then stays.

        A database that was put in the place of another one, or has gone back to an earlier state, is read from its
        beginning; what was ended or revoked before stays so until the process ends.
        """
        self._read(book)
        now = time.time()
        if all(each.begins_at + ROTATION <= now for each in book.keys.values()):
            self._logins.ensure_key(now)
            self._read(book)

    def _read(self, book: Book) -> None:
        since, place = book.clock(), take_mark(self._database, self.name)
        is_same = book.mark is not None and book.mark[0] == place
        found = self._logins.read(book.revision, book.mark[1] if book.mark and is_same else None)
        book.enter(
            keys=[SessionKey(*each) for each in found.keys],
            endings=[Ending(*each) for each in found.endings],
            tokens=[_describe_token(each) for each in found.tokens],
        )
        book.confirm(found.revision, (place, found.nonce), since)

    def note_seen(self, sightings: Mapping[bytes, tuple[float, str]]) -> None:
        """Nobody is seen here: devices are noted where their certificates are."""


def _describe_token(token: Token) -> TokenRecord:
    return TokenRecord(
        token.token_id,
        token.name,
        token.digest,
        token.expires_at,
        token.previous,
        token.previous_until or 0.0,
        revoked=token.revoked_at is not None,
    )


def read_login_book(where: str) -> Book:
    """The book of logins of an inventory, with a key in it; no connection stays open. Raises PKIError."""
    reader = LoginReader(where)
    try:
        book = Book(reader.name)
        reader.look(book)
    finally:
        reader.close()
    return book


def count_certificates(where: str) -> int:
    """How many certificates an inventory knows. Raises PKIError."""
    reader = Reader(where)
    try:
        return reader.count()
    finally:
        reader.close()
