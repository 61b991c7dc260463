"""Service tokens: the pair of headers with which a script says who it is."""

import hashlib
from collections.abc import Mapping, Sequence
from hmac import compare_digest

from keyfob.errors import LoginUnavailable, TokenInvalid, TokenMalformed
from keyfob.login.book import Book, TokenRecord
from keyfob.policy import ServiceToken
from keyfob.request import TOKEN_PAIRS

# No token of ours is as long as this.
_LONGEST = 200


def read_token(found: Sequence[tuple[bytes, bytes]], book: Book, at: float) -> ServiceToken:
    """The service whose token these headers, all of them TOKEN_HEADERS, show. Raises LoginError."""
    token_id, secret = _read_pair(found)
    if book.measure_rest() <= 0:
        raise LoginUnavailable(book.find_trouble())
    record = book.tokens.get(token_id)
    # Compared all the same where there is no such token, so that the answer takes as long.
    is_right = _compare(hashlib.sha256(secret.encode("latin-1")).digest(), record or _NOBODY, at)
    if record is None:
        raise TokenInvalid(f"no service token has the id {token_id!r}")
    if not is_right:
        raise TokenInvalid(f"the secret of the service token {record.name!r} is wrong")
    if record.revoked:
        raise TokenInvalid(f"the service token {record.name!r} was revoked")
    if at >= record.expires_at:
        raise TokenInvalid(f"the service token {record.name!r} has expired")
    return ServiceToken(record.token_id, record.name)


_NOBODY = TokenRecord("", "", bytes(32), 0.0)


def _compare(digest: bytes, record: TokenRecord, at: float) -> bool:
    is_right = compare_digest(digest, record.digest)
    was_right = compare_digest(digest, record.previous or bytes(32)) and at < record.previous_until
    return is_right or was_right


def _read_pair(found: Sequence[tuple[bytes, bytes]]) -> tuple[str, str]:
    values: Mapping[bytes, bytes] = dict(found)
    if len(values) != len(found) or any(b"," in value for value in values.values()):
        # No token of ours has a comma in it: a WSGI server has joined two headers with one.
        raise TokenMalformed("a header of a service token comes twice")
    pairs = [pair for pair in TOKEN_PAIRS if pair[0] in values or pair[1] in values]
    if len(pairs) != 1:
        raise TokenMalformed("there are two service tokens, under two names")
    token_id, secret = (values.get(name, b"") for name in pairs[0])
    if not token_id or not secret:
        raise TokenMalformed("a service token is an id and a secret, and one of them is missing")
    if len(token_id) > _LONGEST or len(secret) > _LONGEST:
        raise TokenMalformed("a service token is shorter than that")
    return token_id.decode("latin-1"), secret.decode("latin-1")
