"""login.tokens: the pair of headers with which a script says who it is."""

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

import keyfob.login.tokens
from keyfob.errors import LoginUnavailable, Reason, TokenInvalid, TokenMalformed
from keyfob.login.book import Book, TokenRecord
from keyfob.login.tokens import read_token
from keyfob.policy import ServiceToken
from keyfob.request import TOKEN_HEADERS, TOKEN_PAIRS
from logins import make_book

AT = 1_800_000_000.0
OURS, ACCESS = TOKEN_PAIRS


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


GOOD = TokenRecord("id-1", "Nightly import", digest("s3cret"), AT + 100)


def read(*headers: tuple[bytes, str], record: TokenRecord = GOOD, at: float = AT) -> ServiceToken:
    found = [(name, value.encode("latin-1")) for name, value in headers]
    return read_token(found, make_book(tokens=[record]), at)


def pair(token_id: str, secret: str, names: Sequence[bytes] = OURS) -> list[tuple[bytes, str]]:
    return [(names[0], token_id), (names[1], secret)]


@pytest.mark.parametrize("names", TOKEN_PAIRS)
def test_a_pair_is_the_service_whose_token_it_is(names: Sequence[bytes]) -> None:
    """Under our own names, and under Access's, in either order."""
    for headers in (pair("id-1", "s3cret", names), pair("id-1", "s3cret", names)[::-1]):
        assert read(*headers) == ServiceToken("id-1", "Nightly import")


@pytest.mark.parametrize(
    "headers",
    [
        pair("id-1", "s3cret")[:1],
        pair("id-1", "s3cret")[1:],
        pair("id-1", ""),
        pair("", "s3cret"),
        pair("", ""),
        [(OURS[0], "id-1"), (ACCESS[1], "s3cret")],
        [(ACCESS[0], "id-1"), (OURS[1], "s3cret")],
        [*pair("id-1", "s3cret"), *pair("id-1", "s3cret", ACCESS)],
        [*pair("id-1", "s3cret"), *pair("id-2", "other", ACCESS)],
        [*pair("id-1", "s3cret"), (ACCESS[0], "")],
        [*pair("id-1", "s3cret"), (OURS[0], "id-1")],
        [*pair("id-1", "s3cret"), (OURS[1], "s3cret")],
        [*pair("id-1", "s3cret"), (OURS[0], "id-2")],
        pair("id-1,id-1", "s3cret"),
        pair("id-1", "s3cret,s3cret"),
        pair("id-1", "s3cret, other"),
        pair("x" * 201, "s3cret"),
        pair("id-1", "x" * 201),
    ],
    ids=str,
)
def test_half_a_token_or_two_are_none(headers: list[tuple[bytes, str]]) -> None:
    """Also where a server has joined two with a comma, and where both are the same."""
    with pytest.raises(TokenMalformed) as raised:
        read(*headers)
    assert raised.value.reason is Reason.TOKEN_MALFORMED
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("token_id", "secret", "changes", "said"),
    [
        ("id-2", "s3cret", {}, "no service token has the id"),
        ("ID-1", "s3cret", {}, "no service token has the id"),
        ("Nightly import", "s3cret", {}, "no service token has the id"),
        ("id-1", "S3cret", {}, "the secret"),
        ("id-1", "s3cret ", {}, "the secret"),
        ("id-1", "é", {}, "the secret"),
        ("id-1", digest("s3cret").hex(), {}, "the secret"),
        ("id-1", digest("s3cret").decode("latin-1"), {}, "the secret"),
        ("id-1", "s3cret", {"expires_at": AT}, "has expired"),
        ("id-1", "s3cret", {"revoked": True}, "was revoked"),
        ("id-1", "s3cret", {"revoked": True, "expires_at": AT}, "was revoked"),
        ("id-1", "old", {}, "the secret"),
        ("id-1", "old", {"previous": digest("old"), "previous_until": AT}, "the secret"),
        ("id-1", "old", {"previous": digest("old"), "previous_until": AT + 1, "revoked": True}, "was revoked"),
        ("id-1", "old", {"previous": digest("old"), "previous_until": AT + 1, "expires_at": AT}, "has expired"),
        ("id-1", "none", {"previous": None, "previous_until": AT + 1}, "the secret"),
    ],
)
def test_a_token_that_does_not_count(token_id: str, secret: str, changes: dict[str, Any], said: str) -> None:
    """Unknown, wrong, expired, revoked, or with a secret whose time of grace is over; the log learns which."""
    with pytest.raises(TokenInvalid, match=said) as raised:
        read(*pair(token_id, secret), record=GOOD._replace(**changes))
    assert raised.value.reason is Reason.TOKEN_INVALID
    assert secret not in str(raised.value)


def test_after_a_rotation_both_secrets_count_for_a_while() -> None:
    """Until the very moment that was said."""
    rotated = GOOD._replace(digest=digest("new"), previous=digest("s3cret"), previous_until=AT + 50)
    for secret, at in (("new", AT), ("s3cret", AT), ("s3cret", AT + 49.9), ("new", AT + 99.9)):
        assert read(*pair("id-1", secret), record=rotated, at=at) == ServiceToken("id-1", "Nightly import")
    with pytest.raises(TokenInvalid):
        read(*pair("id-1", "s3cret"), record=rotated, at=AT + 50)


def test_where_nobody_can_tell_what_was_revoked_no_token_counts() -> None:
    """That is no fault of the script's, and another answer."""
    book = Book("nowhere", lambda: 0.0)
    book.enter(tokens=[GOOD])
    with pytest.raises(LoginUnavailable):
        read_token([(name, value.encode()) for name, value in pair("id-1", "s3cret")], book, AT)


def test_secrets_are_compared_in_constant_time_whether_there_is_such_a_token_or_not() -> None:
    """How long the answer takes tells nothing of how much of it was right."""
    compared: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        assert len(one) == len(other) == 32
        return one == other

    with patch.object(keyfob.login.tokens, "compare_digest", compare):
        for token_id, secret in (("id-1", "s3cret"), ("id-1", "x"), ("id-9", "s3cret")):
            before = len(compared)
            with contextlib.suppress(TokenInvalid):
                read(*pair(token_id, secret))
            assert len(compared) == before + 2


def test_every_header_of_a_pair_is_kept_from_apps() -> None:
    """There is one table of them."""
    assert {name for names in TOKEN_PAIRS for name in names} == TOKEN_HEADERS
