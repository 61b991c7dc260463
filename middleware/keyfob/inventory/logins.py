"""What logins keep in the inventory: keys of sessions, what ended early, service tokens, claims, and one-time codes."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import Connection, Table, and_, delete, func, insert, or_, select, text, update

from keyfob.errors import PKIError
from keyfob.inventory.database import Database
from keyfob.inventory.history import History
from keyfob.inventory.records import NAME_LENGTH
from keyfob.inventory.schema import CLAIMS, CODES, ENDINGS, SERVICE_TOKENS, SESSION_KEYS, advance, lock

DAY = 86_400
# A key signs for so long, and what it has signed counts for as long again as the longest session, and a day.
ROTATION = 30 * DAY
LONGEST_SESSION = 31 * DAY
# Seconds between the making of a key and its first signature: by then every worker and host knows it.
ANNOUNCED = 60
# How many codes one address may be sent in an hour, and how often one may be tried.
MOST_CODES, MOST_TRIES = 5, 5

LONGEST_WHO = 400
SECRET_PREFIX = "kfs_"  # noqa: S105 - the beginning of every secret
_TOKEN_ID = re.compile(r"[0-9a-f]{32}\.keyfob")


class Key(NamedTuple):
    """One key of sessions: PKCS#8 in DER, 32 octets for what is sealed, and its moments in seconds since the epoch."""

    kid: str
    private: bytes
    seal: bytes
    begins_at: float
    retires_at: float


class Ended(NamedTuple):
    """Sessions that ended early: `kind` is session, person, address or everybody, `who` which of them."""

    kind: str
    who: str
    at: float
    until: float


class Token(NamedTuple):
    """One service token; its secrets are hashes. Moments are seconds since the epoch, None has not happened."""

    token_id: str
    name: str
    digest: bytes
    previous: bytes | None
    previous_until: int | None
    created_at: int
    expires_at: int
    revoked_at: int | None


class Changes(NamedTuple):
    """What is new beyond a revision, up to `revision`; `nonce` tells that one from another history's."""

    revision: int
    nonce: bytes | None
    keys: Sequence[Key]
    endings: Sequence[Ended]
    tokens: Sequence[Token]


class NoSuchToken(PKIError):
    """No service token of that name counts."""


class Logins:
    """Shared by threads; a forked process makes its own. Its methods raise PKIError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.name = database.name

    def close(self) -> None:
        """Closes the connections; the next use opens new ones."""
        self._database.close()

    # --- For servers --------------------------------------------------------------------------------------------------

    def read(self, since: int, nonce: bytes | None) -> Changes:
        """What is new since a revision with this nonce: everything, if there is no such revision in this history."""
        with self._database.read() as connection:
            history = History(connection)
            is_same = nonce is not None and history.find_nonce(since) == nonce
            after = since if is_same else -1
            return Changes(
                history.revision,
                history.find_nonce(history.revision),
                [Key(*row) for row in _read_rows(connection, SESSION_KEYS, Key, after)],
                [Ended(*row) for row in _read_rows(connection, ENDINGS, Ended, after)],
                [Token(*row) for row in _read_rows(connection, SERVICE_TOKENS, Token, after)],
            )

    def ensure_key(self, at: float) -> None:
        """Makes a key where there is none, or the youngest is old; of several who do it at once, one does."""
        if not self._needs_key(at):
            return
        with self._database.write() as connection:
            lock(connection)
            youngest = connection.execute(select(func.max(SESSION_KEYS.c.begins_at))).scalar_one()
            if youngest is not None and youngest + ROTATION > at:
                return
            living = select(func.count()).where(SESSION_KEYS.c.retires_at > int(at))
            has_one = bool(connection.execute(living).scalar_one())
            begins = int(at) + ANNOUNCED if has_one else int(at)
            connection.execute(insert(SESSION_KEYS).values({**_make_key(begins), "revision": advance(connection)}))
            connection.execute(delete(SESSION_KEYS).where(SESSION_KEYS.c.retires_at <= int(at)))

    def _needs_key(self, at: float) -> bool:
        with self._database.read() as connection:
            youngest = connection.execute(select(func.max(SESSION_KEYS.c.begins_at))).scalar_one()
        return youngest is None or youngest + ROTATION <= at

    # --- Endings ------------------------------------------------------------------------------------------------------

    def end_session(self, session: str, at: float, until: float) -> None:
        """Ends one session, which would count until a moment."""
        self._end("session", session, at, until)

    def end_person(self, person: str, at: float, until: float) -> None:
        """Ends every session that this person (`provider:subject`) has begun by now."""
        self._end("person", person, at, until)

    def end_address(self, address: str, at: float) -> None:
        """Ends every session that somebody with this address has begun by now, wherever they logged in."""
        self._end("address", address.lower(), at, at + LONGEST_SESSION + DAY)

    def end_everybody(self, at: float) -> None:
        """Ends every session that has begun by now."""
        self._end("everybody", "", at, at + LONGEST_SESSION + DAY)

    def _end(self, kind: str, who: str, at: float, until: float) -> None:
        if len(who) > LONGEST_WHO or "\0" in who:
            raise PKIError(f"{who[:40]!r}… is nobody's name", "write an address, or provider:subject")
        with self._database.write() as connection:
            lock(connection)
            mine = and_(ENDINGS.c.kind == kind, ENDINGS.c.who == who)
            before = connection.execute(select(ENDINGS.c.at, ENDINGS.c.until).where(mine)).one_or_none()
            # What has ended stays so, whichever of two clocks is behind.
            values = {
                "at": at if before is None else max(at, before.at),
                "until": max(int(until) + 1, 0 if before is None else before.until),
                "revision": advance(connection),
            }
            if before is None:
                connection.execute(insert(ENDINGS).values({**values, "kind": kind, "who": who}))
            else:
                connection.execute(update(ENDINGS).where(mine).values(values))
            connection.execute(delete(ENDINGS).where(ENDINGS.c.until < int(at)))

    # --- Logins under way ---------------------------------------------------------------------------------------------

    def claim(self, mark: bytes, until: float, at: float) -> bool:
        """Whether this is the first claim of a mark. It is remembered until a moment."""
        with self._database.write() as connection:
            connection.execute(delete(CLAIMS).where(CLAIMS.c.until < int(at)))
            found = connection.execute(_CLAIM, {"mark": mark, "until": int(until) + 1})
            return found.rowcount == 1

    def keep_code(self, mark: bytes, address: bytes, digest: bytes, at: float, until: float) -> bool:
        """Keeps a one-time code under a mark, until a moment; False if this address has had too many lately."""
        with self._database.write() as connection:
            lock(connection)
            hour_ago = int(at) - 3600
            old = and_(CODES.c.until < int(at), CODES.c.created_at < hour_ago)
            connection.execute(delete(CODES).where(old))
            lately = and_(CODES.c.address == address, CODES.c.created_at >= hour_ago)
            if connection.execute(select(func.count()).where(lately)).scalar_one() >= MOST_CODES:
                return False
            values = {"address": address, "digest": digest, "tries": 0, "created_at": int(at), "until": int(until)}
            connection.execute(delete(CODES).where(CODES.c.mark == mark))
            connection.execute(insert(CODES).values({**values, "mark": mark}))
            return True

    def try_code(self, mark: bytes, digest: bytes, at: float) -> bool:
        """Whether this is the code, which is then used up. Each try counts, and after some of them none is right."""
        with self._database.write() as connection:
            query = select(CODES.c.digest, CODES.c.tries, CODES.c.until).where(CODES.c.mark == mark).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None or row.tries >= MOST_TRIES or row.until <= at:
                return False
            is_right = compare_digest(row.digest, digest)
            # Kept, since it counts among those that the address was sent; but nobody can use it again.
            tries = MOST_TRIES if is_right else row.tries + 1
            connection.execute(update(CODES).where(CODES.c.mark == mark).values(tries=tries))
            return is_right

    # --- Service tokens -----------------------------------------------------------------------------------------------

    def create_token(self, name: str, at: float, days: int) -> tuple[Token, str]:
        """A new token, and its secret, which is said once. Raises PKIError for a name that another one has."""
        require_token_name(name)
        secret = make_secret()
        token = Token(
            f"{secrets.token_hex(16)}.keyfob",
            name,
            hash_secret(secret),
            None,
            None,
            int(at),
            int(at) + days * DAY,
            None,
        )
        with self._database.write() as connection:
            lock(connection)
            if self._find(connection, name) is not None:
                raise PKIError(f"there is a service token {name!r} already", "rotate it, or revoke it first")
            connection.execute(insert(SERVICE_TOKENS).values({**token._asdict(), "revision": advance(connection)}))
        return token, secret

    def list_tokens(self) -> list[Token]:
        """Every token that was ever made, in the order of their names."""
        columns = [SERVICE_TOKENS.c[name] for name in Token._fields]
        with self._database.read() as connection:
            order = (SERVICE_TOKENS.c.name, SERVICE_TOKENS.c.created_at)
            return [Token(*row) for row in connection.execute(select(*columns).order_by(*order))]

    def rotate_token(self, name: str, at: float, grace: float) -> tuple[Token, str]:
        """Gives a token another secret; the one before counts for so many seconds more. Raises NoSuchToken."""
        secret = make_secret()
        with self._database.write() as connection:
            found = self._require(connection, name)
            values = {
                "digest": hash_secret(secret),
                "previous": found.digest if grace > 0 else None,
                "previous_until": int(at + grace) if grace > 0 else None,
                "revision": advance(connection),
            }
            connection.execute(update(SERVICE_TOKENS).where(SERVICE_TOKENS.c.token_id == found.token_id).values(values))
            return self._require(connection, name), secret

    def revoke_token(self, name: str, at: float) -> Token:
        """Withdraws a token for good. Raises NoSuchToken."""
        with self._database.write() as connection:
            found = self._require(connection, name)
            values = {"revoked_at": int(at), "revision": advance(connection)}
            connection.execute(update(SERVICE_TOKENS).where(SERVICE_TOKENS.c.token_id == found.token_id).values(values))
            return found._replace(revoked_at=int(at))

    def _require(self, connection: Connection, name: str) -> Token:
        lock(connection)
        found = self._find(connection, name)
        if found is None:
            raise NoSuchToken(f"no service token {name!r} counts", "see `keyfob token list`")
        return found

    def _find(self, connection: Connection, name: str) -> Token | None:
        columns = [SERVICE_TOKENS.c[field] for field in Token._fields]
        wanted = or_(SERVICE_TOKENS.c.name == name, SERVICE_TOKENS.c.token_id == name)
        row = connection.execute(
            select(*columns).where(and_(wanted, SERVICE_TOKENS.c.revoked_at.is_(None)))
        ).one_or_none()
        return None if row is None else Token(*row)


# Both databases have these words; as objects they would be two.
_CLAIM = text("INSERT INTO login_claims (mark, until) VALUES (:mark, :until) ON CONFLICT DO NOTHING")


def require_token_name(name: str) -> str:
    """The name, if a token may have it. Raises PKIError."""
    if not name.strip() or not name.isprintable() or len(name) > NAME_LENGTH:
        hint = f"say what it is for, in 1 to {NAME_LENGTH} characters"
        raise PKIError(f"{name[:40]!a} is no name for a service token", hint)
    if _TOKEN_ID.fullmatch(name):
        raise PKIError(f"{name!r} reads like a token's id", "choose a name that says what it is for")
    return name


def make_secret() -> str:
    """256 random bits, in letters that a header carries as they are, with a beginning that scanners can look for."""
    return f"{SECRET_PREFIX}{secrets.token_urlsafe(32)}"


def hash_secret(secret: str) -> bytes:
    """What is kept of a secret: with 256 random bits there is nothing that a slower hash would protect."""
    return hashlib.sha256(secret.encode("ascii")).digest()


def _make_key(begins_at: int) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    return {
        "kid": secrets.token_urlsafe(6),
        "private": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "seal": secrets.token_bytes(32),
        "begins_at": begins_at,
        "retires_at": begins_at + ROTATION + LONGEST_SESSION + 2 * DAY,
    }


def _read_rows(connection: Connection, table: Table, row: type[NamedTuple], after: int) -> list[Any]:
    columns = [table.c[name] for name in row._fields]
    return list(connection.execute(select(*columns).where(table.c.revision > after)))
