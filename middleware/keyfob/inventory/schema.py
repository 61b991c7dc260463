"""The inventory's tables, and the steps from each version of them to the next."""

import secrets
from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
    update,
)

from keyfob.errors import PKIError

METADATA = MetaData()

# SQLite counts by itself only in columns that are called INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")
# Sorted by their octets, as SQLite does: the order is the same in both, and stays so when the system's rules change.
_Name = String(64).with_variant(String(64, collation="C"), "postgresql")

STATE = Table(
    "keyfob_state",
    METADATA,
    # There is one row, 1.
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    # Counts what has been withdrawn: whoever has seen it all up to one number asks for what is beyond.
    Column("revision", BigInteger, nullable=False),
)

# What was withdrawn in which order can be told from another history with the same numbers, such as that of a backup.
REVISIONS = Table(
    "revisions",
    METADATA,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("nonce", LargeBinary(16), nullable=False),
)

SETTINGS = Table(
    "settings",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

AUTHORITIES = Table(
    "authorities",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("fingerprint", LargeBinary(32), nullable=False, unique=True),
    Column("certificate", LargeBinary, nullable=False),
    Column("crl_number", BigInteger, nullable=False, server_default="0"),
)

CERTIFICATES = Table(
    "certificates",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("serial", LargeBinary(20), nullable=False, unique=True),
    Column("fingerprint", LargeBinary(32), nullable=False, unique=True),
    Column("issuer", ForeignKey(AUTHORITIES.c.id), nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("retires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("reason", String(32)),
    Column("seen_at", BigInteger),
    Column("seen_from", String(64)),
    # The revision with which it was last withdrawn, or given a last day.
    Column("revision", BigInteger),
)

Index("by_name", CERTIFICATES.c.name, CERTIFICATES.c.id)
Index("by_end", CERTIFICATES.c.not_after, CERTIFICATES.c.id)
Index("by_sight", CERTIFICATES.c.seen_at, CERTIFICATES.c.id)
# Both databases understand these words. As objects they would load all of SQLAlchemy's PostgreSQL into every command.
_PARTS_OF_CERTIFICATES = (
    # One certificate that counts for each name: of two commands at once, one is refused.
    "CREATE UNIQUE INDEX one_a_name ON certificates (name) WHERE revoked_at IS NULL AND retires_at IS NULL",
    "CREATE INDEX by_revision ON certificates (revision) WHERE revision IS NOT NULL",
)

INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("id", _Id, primary_key=True),
    # SHA-256 of the token: whoever reads the inventory cannot use it.
    Column("token", LargeBinary(32), nullable=False, unique=True),
    Column("name", _Name, nullable=False),
    Column("kind", String(16), nullable=False),
    # What the certificate shall say, JSON, where it is yet to be made.
    Column("request", Text),
    # The encrypted PKCS#12 that waits for its owner, and the certificate in it; erased once it was handed out.
    Column("payload", LargeBinary),
    Column("certificate", ForeignKey(CERTIFICATES.c.id)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("used_from", String(64)),
    Column("used_with", String(200)),
    # For a key that is born on the device: SHA-256 of its one-time challenge, and until when it counts.
    Column("challenge", LargeBinary(32), unique=True),
    Column("challenge_until", BigInteger),
    # The transaction that has used the challenge: a phone that asks again gets the same answer.
    Column("transaction_id", String(128)),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("tried_at", BigInteger),
    Column("tried_from", String(64)),
    # Its name was revoked: whatever is still open of it is not any more.
    Column("cancelled_at", BigInteger),
    # The certificate that was given a last day for it, which is taken back if nobody fetches the new one.
    Column("predecessor", ForeignKey(CERTIFICATES.c.id)),
)
# What lapses is looked for again and again, and there is little that can.
_PARTS_OF_INVITATIONS = ("CREATE INDEX by_lapse ON invitations (expires_at) WHERE payload IS NOT NULL",)


SESSION_KEYS = Table(
    "session_keys",
    METADATA,
    Column("kid", String(16), primary_key=True),
    # PKCS#8 in DER: whoever reads the inventory can sign sessions.
    Column("private", LargeBinary, nullable=False),
    Column("seal", LargeBinary(32), nullable=False),
    Column("begins_at", BigInteger, nullable=False),
    Column("retires_at", BigInteger, nullable=False),
    # The revision with which a row was last changed, here and below: servers ask for what is beyond theirs.
    Column("revision", BigInteger, nullable=False, index=True),
)

# Sessions that ended before their time: those that were begun at `at` or before.
ENDINGS = Table(
    "session_endings",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("who", String(400), primary_key=True),
    # To the millisecond: whoever logs in again within the same second is let in.
    Column("at", Double, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
)

SERVICE_TOKENS = Table(
    "service_tokens",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("token_id", String(64), nullable=False, unique=True),
    Column("name", _Name, nullable=False),
    # SHA-256 of the secrets: whoever reads the inventory cannot use them.
    Column("digest", LargeBinary(32), nullable=False),
    Column("previous", LargeBinary(32)),
    Column("previous_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),
)
_PARTS_OF_TOKENS = ("CREATE UNIQUE INDEX one_token_a_name ON service_tokens (name) WHERE revoked_at IS NULL",)

# The `state` of logins that came back from a provider, so that none comes back twice.
CLAIMS = Table(
    "login_claims",
    METADATA,
    Column("mark", LargeBinary(32), primary_key=True),
    Column("until", BigInteger, nullable=False, index=True),
)

# One-time codes on their way by mail, as hashes.
CODES = Table(
    "login_codes",
    METADATA,
    Column("mark", LargeBinary(32), primary_key=True),
    Column("address", LargeBinary(32), nullable=False, index=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)


def _make_certificates(connection: Connection) -> None:
    _make_tables(connection, [STATE, REVISIONS, SETTINGS, AUTHORITIES, CERTIFICATES], _PARTS_OF_CERTIFICATES)
    connection.execute(insert(STATE).values(id=1, version=0, revision=0))


def _make_invitations(connection: Connection) -> None:
    _make_tables(connection, [INVITATIONS], _PARTS_OF_INVITATIONS)


def _make_logins(connection: Connection) -> None:
    _make_tables(connection, [SESSION_KEYS, ENDINGS, SERVICE_TOKENS, CLAIMS, CODES], _PARTS_OF_TOKENS)


def _make_tables(connection: Connection, tables: Sequence[Table], indexes: Sequence[str]) -> None:
    # A table of that name that is there already is somebody else's, and an error.
    METADATA.create_all(connection, tables, checkfirst=False)
    for each in indexes:
        connection.execute(text(each))


# Step n leads from version n to version n + 1. A step that was released is never changed, only followed by another;
# so before a table above changes, the step that makes it is to be given a copy of what it was.
STEPS: tuple[Callable[[Connection], None], ...] = (_make_certificates, _make_invitations, _make_logins)


def read_version(connection: Connection) -> int:
    """0 where there are no tables yet. Raises PKIError if the tables are newer than this keyfob, or damaged."""
    if not inspect(connection).has_table(STATE.name):
        return 0
    version = connection.execute(select(STATE.c.version)).scalar_one_or_none()
    if version is None:
        raise PKIError("the inventory does not say of which version it is", "put it back from a backup")
    if version > len(STEPS):
        message = f"the inventory has version {version}, and this keyfob knows {len(STEPS)}"
        raise PKIError(message, "install the newer keyfob that has written it")
    return int(version)


def migrate(connection: Connection) -> None:
    """Brings the tables to the present version, in the caller's transaction. Raises PKIError if they are newer."""
    version = read_version(connection)
    for step in STEPS[version:]:
        step(connection)
    connection.execute(update(STATE).values(version=len(STEPS)))


def require_vacant(connection: Connection) -> None:
    """Raises PKIError if another program keeps something in this file."""
    if tables := inspect(connection).get_table_names():
        message = f"this SQLite file has other tables in it, such as {tables[0]}"
        raise PKIError(message, "it is another program's: name a new file")


def advance(connection: Connection) -> int:
    """The next revision. Whoever takes it holds the row until the end, so revisions are seen in their order."""
    following = update(STATE).values(revision=STATE.c.revision + 1).returning(STATE.c.revision)
    revision = int(connection.execute(following).scalar_one())
    connection.execute(insert(REVISIONS).values(revision=revision, nonce=secrets.token_bytes(16)))
    return revision


def lock(connection: Connection) -> None:
    """Holds the row of the state until the end: whoever advances waits, and is waited for."""
    connection.execute(select(STATE.c.id).with_for_update()).scalar_one()
