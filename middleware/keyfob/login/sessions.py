"""Sessions: a signed token in a cookie, which says who has logged in where, until when, and from which device."""

import hashlib
import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey

from keyfob.errors import LoginFailed, LoginLapsed, LoginUnavailable
from keyfob.login.book import Book, SessionKey
from keyfob.login.cookies import name_session
from keyfob.policy import Fact, Identity, Test, User, give_facts
from keyfob.request import Request

# Octets of a cookie's name and value that browsers and proxies take without a word, with room for others' cookies.
LARGEST = 1000
# And of what a browser brings back in an address or a form.
LARGEST_SEALED = 8192
# Seconds by which the clocks of two hosts of ours may differ.
SKEW = 60.0
_ISSUER = "keyfob"
# RFC 8725 section 3.11: other things that are signed with the same keys are no sessions.
_TYPE = "session+jwt"
# Octets by which a fact stands in a token: so many that no two facts that rules name are ever alike in them.
_TAG = 6


class Session(NamedTuple):
    """One session. `audience` is the application's tag, `bound_to` the SHA-256 fingerprint of a certificate, or empty.

    Moments are seconds since the epoch.
    """

    id: str
    audience: str
    begun_at: float
    expires_at: float
    user: User
    bound_to: str = ""


class Sessions:
    """Makes tokens of sessions, and sessions of tokens.

    `asked` is everything about people that the rules of each application name, by the application's tag.
    """

    def __init__(self, book: Book, asked: Mapping[str, Iterable[Fact]] | None = None) -> None:
        self.book = book
        self._asked = {audience: frozenset(facts) for audience, facts in (asked or {}).items()}
        self._facts = {tag_fact(each): each for facts in self._asked.values() for each in facts}
        # Of what was asked about the people of a provider, for an application.
        self._digests: dict[tuple[str, str], str] = {}

    def know(self, facts: Iterable[Fact]) -> None:
        """Adds what rules outside the configuration name, such as a handler's.

        A session that began before they were known goes on, and none of them holds for it: which worker knows them
        when is chance, and a session that one worker takes and another does not would begin again and again.
        """
        self._facts |= {tag_fact(each): each for each in facts}

    def seal(self, session: Session, held: Iterable[Fact], at: float) -> str:
        """The token of a session. Raises LoginUnavailable without a key, and LoginFailed for one that is too large."""
        claims = _write_claims(session, held, self._digest(session.audience, session.user.provider))
        room = LARGEST - len(name_session(session.audience)) - 1
        token = self.sign(_TYPE, claims, at)
        if len(token) > room:
            # A name is for show alone.
            claims.pop("name", None)
            token = self.sign(_TYPE, claims, at)
        if len(token) > room:
            message = f"a session of {len(token)} octets is larger than the {room} that a cookie has room for"
            raise LoginFailed(message, "let the rules name fewer of the groups that this person is in")
        return token

    def sign(self, kind: str, claims: Mapping[str, object], at: float) -> str:
        """A signed token of a kind, such as `evaluation+jwt`; another one opens no session. Raises LoginUnavailable."""
        key = self._find_key(at)
        header = {"alg": "ES256", "kid": key.kid, "typ": kind}
        return jwt.encode(header, dict(claims), _load_key(key.private), algorithms=["ES256"])

    def open(self, token: str, audience: str, at: float) -> Session:
        """The session of a token, signed, begun, not ended, and for this audience. Raises LoginError otherwise.

        Whose device it is on is not looked at here.
        """
        key, claims = self._read(token, at)
        if claims.get("aud") != audience or claims.get("iss") != _ISSUER:
            raise LoginLapsed("the session is another application's")
        try:
            session = self._describe(claims, key)
        except (KeyError, TypeError, ValueError) as error:
            raise LoginFailed(f"the session lacks something: {error!r}") from error
        if claims.get("asked", "") != self._digest(audience, session.user.provider):
            # What nobody asked about then, a rule that excludes it would take for a no.
            raise LoginLapsed("the rules ask for other things about people than when the session began")
        if not session.begun_at - SKEW <= at < session.expires_at:
            raise LoginLapsed("the session is over, or has not begun")
        if self.book.has_ended(session.id, session.user.identity, session.user.email.lower(), session.begun_at):
            raise LoginLapsed("the session was ended")
        return session

    def hide(self, content: Mapping[str, object], at: float) -> str:
        """A text that only we can read, and nobody can change, for a browser to bring back. Raises LoginUnavailable."""
        key = self._find_key(at)
        header = {"alg": "dir", "enc": "A256GCM", "kid": key.kid}
        return jwe.encrypt_compact(header, json.dumps(content).encode(), _load_seal(key.seal), algorithms=_SEALED)

    def reveal(self, text: str) -> dict[str, Any]:
        """What `hide` was given. Raises LoginLapsed for anything else."""
        if len(text) > LARGEST_SEALED:
            raise LoginLapsed("what the browser brought back is longer than anything that was given out here")
        try:
            key = self.book.keys[_read_kid(text)]
            found = json.loads(jwe.decrypt_compact(text, _load_seal(key.seal), algorithms=_SEALED).plaintext or b"")
        except (JoseError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise LoginLapsed(f"what the browser brought back was not given out here: {error!r}") from error
        if not isinstance(found, dict):
            raise LoginLapsed("what the browser brought back was not given out here")
        return found

    def publish(self) -> dict[str, object]:
        """The public keys, as RFC 7517 wants them: whoever else has to believe a session can verify it."""
        keys = [
            {**_load_key(each.private).as_dict(private=False), "kid": each.kid, "use": "sig", "alg": "ES256"}
            for each in sorted(self.book.keys.values(), key=lambda each: each.begins_at, reverse=True)
        ]
        return {"keys": keys}

    def _find_key(self, at: float) -> SessionKey:
        key = self.book.find_signing_key(at)
        if key is None or self.book.measure_rest() <= 0:
            trouble = self.book.find_trouble() or "there is no key to sign sessions with"
            raise LoginUnavailable(trouble, "is the inventory that [login] names there, and writable?")
        return key

    def _digest(self, audience: str, provider: str) -> str:
        """What tells whether a session knows of everything that the rules name now; empty if they name nothing."""
        mark = audience, provider
        if mark not in self._digests:
            facts = [each for each in self._asked.get(audience, ()) if each.provider in ("", provider)]
            whole = hashlib.sha256(b"".join(sorted(map(tag_fact, facts)))).digest()
            self._digests[mark] = _encode(whole[:_TAG]) if facts else ""
        return self._digests[mark]

    def _read(self, token: str, at: float) -> tuple[SessionKey, dict[str, Any]]:
        if len(token) > LARGEST:
            raise LoginFailed("the session is longer than any")
        try:
            key = self.book.keys[_read_kid(token)]
            found = jwt.decode(token, _load_key(key.private), algorithms=["ES256"])
        except (JoseError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise LoginFailed(f"the session was not signed here: {error!r}") from error
        if found.header.get("typ") != _TYPE:
            raise LoginFailed("what was signed here is no session")
        if key.retires_at <= at:
            raise LoginLapsed("the key of the session has been retired")
        return key, dict(found.claims)

    def _describe(self, claims: Mapping[str, Any], key: SessionKey) -> Session:
        provider = str(claims["idp"])
        named = _split(_decode(str(claims.get("facts", ""))))
        facts = [fact for tag in named if (fact := self._facts.get(tag)) and fact.provider in ("", provider)]
        methods = claims.get("amr", [])
        user = User(
            email=str(claims.get("email", "")),
            provider=provider,
            methods=frozenset(map(str, methods)),
            subject=str(claims["sub"]),
            name=str(claims.get("name", "")),
        )
        bound = claims.get("cnf")
        return Session(
            str(claims["jti"]),
            str(claims["aud"]),
            float(claims["iat"]),
            min(float(claims["exp"]), key.retires_at),
            give_facts(user, facts),
            "" if bound is None else _decode(str(bound["x5t#S256"])).hex(),
        )


_SEALED = ["dir", "A256GCM"]


def _write_claims(session: Session, held: Iterable[Fact], asked: str) -> dict[str, Any]:
    user = session.user
    claims: dict[str, Any] = {
        "iss": _ISSUER,
        "aud": session.audience,
        "jti": session.id,
        # Not a moment later than it was, or it could be later than what has ended it.
        "iat": math.floor(session.begun_at * 1000) / 1000,
        "exp": int(session.expires_at),
        "idp": user.provider,
        "sub": user.subject,
        "email": user.email,
        "name": user.name[:60],
        "amr": sorted(user.methods),
        "facts": _encode(b"".join(sorted({tag_fact(each) for each in held}))),
        "asked": asked,
    }
    claims = {name: value for name, value in claims.items() if value not in ("", [])}
    if session.bound_to:
        # RFC 8705 section 3.1.
        claims["cnf"] = {"x5t#S256": _encode(bytes.fromhex(session.bound_to))}
    return claims


def find_held(facts: Iterable[tuple[Fact, Test]], request: Request, identity: Identity) -> list[Fact]:
    """Which of the facts, each with the test of its rule, hold for this person."""
    provider = "" if identity.user is None else identity.user.provider
    return [fact for fact, test in facts if fact.provider in ("", provider) and test(request, identity) is True]


@lru_cache(maxsize=4096)
def tag_fact(fact: Fact) -> bytes:
    """What stands for a fact in a token."""
    return hashlib.sha256(json.dumps(fact).encode()).digest()[:_TAG]


def _split(tags: bytes) -> list[bytes]:
    return [tags[start : start + _TAG] for start in range(0, len(tags), _TAG)]


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _read_kid(token: str) -> str:
    header = json.loads(_decode(token.partition(".")[0]))
    return str(header["kid"])


@lru_cache(maxsize=64)
def _load_key(private: bytes) -> ECKey:
    return ECKey.import_key(private)


@lru_cache(maxsize=64)
def _load_seal(seal: bytes) -> OctKey:
    return OctKey.import_key(seal)
