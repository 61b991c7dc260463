"""Invitations: who may fetch a key, once, and until when."""

import secrets
from typing import Any, NamedTuple

from sqlalchemy import and_, insert, select, update

from keyfob.errors import PKIError
from keyfob.inventory.database import Database
from keyfob.inventory.records import RevocationReason, digest, fit, require_storable_name
from keyfob.inventory.schema import CERTIFICATES, INVITATIONS, advance

# 128 bits.
TOKEN_OCTETS = 16


class Invitation(NamedTuple):
    """One invitation. Moments are seconds since the epoch; None has not happened."""

    id: int
    name: str
    kind: str
    request: str | None
    certificate: int | None
    created_at: int
    expires_at: int
    used_at: int | None
    used_from: str | None
    used_with: str | None
    challenge_until: int | None
    transaction_id: str | None
    tries: int
    """How often somebody has tried to use it again."""
    tried_at: int | None
    tried_from: str | None
    cancelled_at: int | None
    predecessor: int | None

    def is_open(self, at: float) -> bool:
        """Whether it can still be used."""
        return self.used_at is None and self.cancelled_at is None and at < self.expires_at


class UsedBefore(PKIError):
    """The invitation, or its challenge, was used; `invitation` says when and by whom."""

    def __init__(self, invitation: Invitation) -> None:
        super().__init__(f"the invitation of {invitation.name!r} was used", "make a new one")
        self.invitation = invitation


class Lapsed(PKIError):
    """Nobody used it in time."""


class Unknown(PKIError):
    """There is no such invitation."""


_COLUMNS = [INVITATIONS.c[name] for name in Invitation._fields]


class Invitations:
    """The invitations of an inventory. Tokens and challenges are kept as hashes alone, and found by them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def invite(
        self,
        name: str,
        kind: str,
        at: float,
        lasts: int,
        *,
        request: str | None = None,
        payload: bytes | None = None,
        certificate: int | None = None,
    ) -> tuple[str, int]:
        """Makes an invitation for `lasts` seconds; returns its token, which is said once, and its id."""
        token = make_token()
        values = describe_invitation(
            token, name, kind, at, lasts, request=request, payload=payload, certificate=certificate
        )
        with self._database.write() as connection:
            row = insert(INVITATIONS).values(values).returning(INVITATIONS.c.id)
            return token, int(connection.execute(row).scalar_one())

    def find(self, token: str) -> Invitation | None:
        """The invitation of a token, open or not."""
        return self._find(INVITATIONS.c.token == digest(token.encode("utf-8", "replace")))

    def read(self, number: int) -> Invitation | None:
        """The invitation with this id."""
        return self._find(INVITATIONS.c.id == number)

    def use(
        self, token: str, at: float, address: str, agent: str, *, challenge_lasts: int | None = None
    ) -> tuple[Invitation, bytes | None, str | None]:
        """Uses the invitation: of any number of callers at once, one gets its payload, which is then erased.

        With `challenge_lasts`, a one-time challenge for so many seconds is made and returned, too. Raises UsedBefore,
        which is counted, Lapsed and Unknown.
        """
        mark = digest(token.encode("utf-8", "replace"))
        self._require_known(INVITATIONS.c.token == mark)
        challenge = None if challenge_lasts is None else make_token()
        with self._database.write() as connection:
            query = select(*_COLUMNS, INVITATIONS.c.payload).where(INVITATIONS.c.token == mark).with_for_update()
            row = connection.execute(query).one_or_none()
            found = None if row is None else Invitation(*row[:-1])
            # A key that was erased meanwhile cannot be handed out, whatever the caller's clock says.
            is_there = row is not None and (row.payload is not None or row.certificate is None)
            if row is not None and found is not None and is_there and found.is_open(at):
                values: dict[str, Any] = {
                    "used_at": int(at),
                    "used_from": fit(address, 64),
                    "used_with": fit(agent, 200),
                    "payload": None,
                }
                if challenge is not None and challenge_lasts is not None:
                    values |= {"challenge": digest(challenge.encode()), "challenge_until": int(at) + challenge_lasts}
                connection.execute(update(INVITATIONS).where(INVITATIONS.c.id == found.id).values(values))
                return found, row[-1], challenge
            if found is not None:
                tries = {"tries": INVITATIONS.c.tries + 1, "tried_at": int(at), "tried_from": fit(address, 64)}
                connection.execute(update(INVITATIONS).where(INVITATIONS.c.id == found.id).values(tries))
        raise _explain(found)

    def redeem(self, challenge: str, transaction_id: str, at: float) -> Invitation:
        """Uses a challenge up, for this transaction alone. Called before anything is signed.

        Raises UsedBefore, with the invitation, for any second call, also of the same transaction; Lapsed; Unknown.
        """
        mark = digest(challenge.encode("utf-8", "replace"))
        self._require_known(INVITATIONS.c.challenge == mark)
        with self._database.write() as connection:
            query = select(*_COLUMNS).where(INVITATIONS.c.challenge == mark).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                raise _explain(None)
            found = Invitation(*row)
            if found.transaction_id is not None:
                raise UsedBefore(found)
            if found.challenge_until is None or at >= found.challenge_until or found.cancelled_at is not None:
                raise _explain(found._replace(used_at=None))
            values = {"transaction_id": fit(transaction_id, 128)}
            connection.execute(update(INVITATIONS).where(INVITATIONS.c.id == found.id).values(values))
            return found

    def erase_lapsed(self, at: float, reason: RevocationReason) -> list[Invitation]:
        """Erases the keys that nobody has fetched in time, withdraws their certificates, and returns the invitations.

        All of it or nothing: a certificate whose key is gone would keep its name taken.
        """
        over = and_(INVITATIONS.c.used_at.is_(None), INVITATIONS.c.expires_at <= at, INVITATIONS.c.payload.is_not(None))
        with self._database.write() as connection:
            found = [Invitation(*row) for row in connection.execute(select(*_COLUMNS).where(over).with_for_update())]
            if not found:
                return []
            values = {"revoked_at": int(at), "reason": reason.value, "revision": advance(connection)}
            for each in found:
                connection.execute(update(INVITATIONS).where(INVITATIONS.c.id == each.id).values(payload=None))
                still = and_(CERTIFICATES.c.id == each.certificate, CERTIFICATES.c.revoked_at.is_(None))
                connection.execute(update(CERTIFICATES).where(still).values(values))
                # Whoever did not fetch the new key goes on with the old one.
                before = and_(CERTIFICATES.c.id == each.predecessor, CERTIFICATES.c.revoked_at.is_(None))
                before = and_(before, CERTIFICATES.c.retires_at > int(at))
                kept = {"retires_at": None, "revision": values["revision"]}
                connection.execute(update(CERTIFICATES).where(before).values(kept))
        return found

    def _require_known(self, condition: Any) -> None:
        # Before the one place of a writer is taken: strangers may guess as often as they like.
        if self._find(condition) is None:
            raise _explain(None)

    def _find(self, condition: Any) -> Invitation | None:
        with self._database.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(condition)).one_or_none()
        return None if row is None else Invitation(*row)


def describe_invitation(
    token: str,
    name: str,
    kind: str,
    at: float,
    lasts: int,
    *,
    request: str | None = None,
    payload: bytes | None = None,
    certificate: int | None = None,
    predecessor: int | None = None,
) -> dict[str, Any]:
    """The row of a new invitation."""
    return {
        "token": digest(token.encode()),
        "name": require_storable_name(name),
        "kind": kind,
        "request": request,
        "payload": payload,
        "certificate": certificate,
        "created_at": int(at),
        "expires_at": int(at) + lasts,
        "predecessor": predecessor,
    }


def make_token() -> str:
    """128 random bits, in letters that a link carries as they are."""
    return secrets.token_urlsafe(TOKEN_OCTETS)


def _explain(found: Invitation | None) -> PKIError:
    if found is None:
        return Unknown("there is no such invitation", "make a new one")
    if found.used_at is not None:
        return UsedBefore(found)
    return Lapsed(f"the invitation of {found.name!r} has lapsed", "make a new one")
