"""ID tokens: who has logged in, signed by the provider for this client and this login (OpenID Connect Core 1.0)."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hmac import compare_digest
from math import isfinite
from typing import Any, NamedTuple

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, deserialize_compact

from keyfob.errors import LoginFailed
from keyfob.login.providers.documents import parse
from keyfob.login.providers.keys import ALGORITHMS, Algorithm, PublicKey
from keyfob.login.providers.oauth import quote

# What it is called where it is wrong: tokens of others are read by the same rules.
ID_TOKEN = "the ID token"  # noqa: S105 - that is no password
# Octets of one that still is one.
LARGEST = 200_000
# Seconds by which the provider's clock and ours may differ.
SKEW = 60.0
# Seconds by which a token may say that it is older than it is: Entra ID dates its own back by five minutes.
BACKDATED = 300.0
# Section 2 of it.
_LONGEST_SUBJECT = 255
_MOST_METHODS = 32


class Head(NamedTuple):
    """What stands before the signature about it: the algorithm, and the id of the key, empty if there is none."""

    algorithm: Algorithm
    kid: str


class Expected(NamedTuple):
    """What has to be in it: `at` is now, in seconds since the epoch, and `access_token` is what came with it."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str
    at: float


def read_head(token: str, what: str = ID_TOKEN) -> Head:
    """What a token says about its signature. Nothing of it is proved by that. Raises LoginFailed."""
    if len(token) > LARGEST or token.count(".") != 2:
        raise LoginFailed(f"{what} is no JSON Web Signature")
    try:
        header = parse(_decode(token.partition(".")[0]))
    except (ValueError, binascii.Error) as error:
        raise LoginFailed(f"{what} cannot be read: {error}") from error
    if not isinstance(header, dict) or "crit" in header or "b64" in header:
        # RFC 7515 section 4.1.11: what is critical to others would have to be understood.
        raise LoginFailed(f"{what} wants something that is not done here")
    alg, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise LoginFailed(f"{what} is signed by {quote(alg)}, and only public keys count")
    if not isinstance(kid, str):
        raise LoginFailed(f"{what} names no key")
    return Head(ALGORITHMS[alg], kid)


def _decode(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


class _Registry(JWSRegistry):
    """Headers of some providers have a certificate in them, and members that nobody here knows (RFC 7515 section 4)."""

    max_header_length = 16_384
    max_payload_length = LARGEST

    def get_alg(self, name: str) -> Any:
        """Under the name that says which curve, so that the other one is not warned about."""
        return self.algorithms[ALGORITHMS[name].name]


def read_claims(token: str, key: PublicKey, what: str = ID_TOKEN) -> dict[str, Any]:
    """The claims of a token that was signed by this key, whatever they are. Raises LoginFailed."""
    try:
        signed = deserialize_compact(token, key, registry=_Registry(strict_check_header=False))
        claims = parse(signed.payload or b"")
    except (JoseError, ValueError) as error:
        raise LoginFailed(f"{what} was not signed by the key that it names: {error!r}") from error
    if not isinstance(claims, dict):
        raise LoginFailed(f"{what} holds no claims")
    return claims


def open_token(token: str, head: Head, key: PublicKey, expected: Expected) -> dict[str, Any]:
    """The claims of a token that was signed by this key, and says what is expected. Raises LoginFailed."""
    claims = read_claims(token, key)
    _check_parties(claims, expected)
    _check_times(claims, expected.at)
    _check_login(claims, head.algorithm, expected)
    return claims


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    """Section 3.1.3.7, 2 to 5, and section 2 on whom it is about."""
    issuer, audience, subject = claims.get("iss"), claims.get("aud"), claims.get("sub")
    if issuer != expected.issuer:
        raise LoginFailed(f"the ID token is another issuer's: {quote(issuer)}")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences or not all(isinstance(each, str) for each in audiences):
        raise LoginFailed(f"the ID token is for another client: {quote(audience)}")
    if claims.get("azp", None if len(audiences) > 1 else expected.client_id) != expected.client_id:
        raise LoginFailed(f"the ID token was given to another client: {quote(claims.get('azp'))}")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise LoginFailed("the ID token does not say whom it is about")


def _check_times(claims: Mapping[str, Any], at: float) -> None:
    """Section 3.1.3.7, 9 and 10. It has come from the provider just now, so it has to be as old as that."""
    issued, expires = _read_time(claims, "iat"), _read_time(claims, "exp")
    begins = _read_time(claims, "nbf") if "nbf" in claims else issued
    if max(issued, begins) > at + SKEW:
        raise _blame_clock(f"begins in {max(issued, begins) - at:.0f} seconds")
    if expires <= at - SKEW:
        raise _blame_clock(f"expired {at - expires:.0f} seconds ago")
    if issued < at - SKEW - BACKDATED:
        raise _blame_clock(f"was issued {at - issued:.0f} seconds ago")


def _blame_clock(said: str) -> LoginFailed:
    message = f"the ID token has only just come, and {said}: the provider's clock and ours differ"
    return LoginFailed(message, "set this machine's clock: is it kept by NTP?")


def _read_time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15 or not isfinite(value):
        raise LoginFailed(f"the ID token has no moment in {name!r}: {quote(value)}")
    return value


def _check_login(claims: Mapping[str, Any], algorithm: Algorithm, expected: Expected) -> None:
    """Section 3.1.3.7, 11: this very login. Section 3.1.3.8: and the access token that came with it."""
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not compare_digest(nonce.encode("utf-8", "replace"), expected.nonce.encode()):
        raise LoginFailed("the ID token is another login's: its nonce differs")
    if "at_hash" in claims:
        digest = algorithm.digest(expected.access_token.encode()).digest()
        half = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")
        if claims["at_hash"] != half:
            raise LoginFailed("the ID token goes with another access token")


def read_methods(claims: Mapping[str, Any]) -> frozenset[str]:
    """RFC 8176: how the person has proved who it is. Raises LoginFailed."""
    methods = claims.get("amr", [])
    if (
        not isinstance(methods, list)
        or len(methods) > _MOST_METHODS
        or not all(isinstance(each, str) for each in methods)
    ):
        raise LoginFailed(f"the ID token has no list of methods in 'amr': {quote(methods)}")
    return frozenset(methods)
