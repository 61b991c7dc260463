"""A provider of OpenID Connect on loopback that answers as its specification says, or lies as a test tells it to."""

import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from providers.serving import Asked, Reply, Service, say, serving

CLIENT, SECRET = "client:1", "s3 cret/+%"
CODE, ACCESS = "the-code", "the-access-token"

Change = Callable[[dict[str, Any]], Mapping[str, Any]]


@cache
def make_key(kid: str = "key-1", number: int = 0) -> RSAKey:
    """An RSA key. There is one for each number, as it takes longer to make one than anything else here."""
    return RSAKey.generate_key(2048, {"kid": kid}, private=True)


def _nothing(found: dict[str, Any]) -> Mapping[str, Any]:
    return found


@dataclass
class Issuer:
    """What it says; each of the changes is given what it would say, and returns what it says instead.

    `claims` are added to the ID token, `account` is what userinfo tells. `replies` are whole answers by their paths.
    """

    key: RSAKey | ECKey | OKPKey = field(default_factory=make_key)
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=lambda: {"sub": "117"})
    change_metadata: Change = _nothing
    change_token: Change = _nothing
    change_claims: Change = _nothing
    change_header: Change = _nothing
    make_token: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    published: list[dict[str, Any]] | None = None
    replies: dict[str, Reply] = field(default_factory=dict)
    issuer_path: str = ""
    service: Service = field(init=False)
    nonce: str = ""
    challenge: str = ""
    redeemed: int = 0
    more: Callable[[Asked], Reply | None] = lambda _: None

    @property
    def url(self) -> str:
        return self.service.url + self.issuer_path

    def answer(self, asked: Asked) -> Reply | None:
        path = asked.path.removeprefix(self.issuer_path)
        if path in self.replies:
            return self.replies[path]
        match path:
            case "/.well-known/openid-configuration":
                return say(self.change_metadata(self.describe()))
            case "/keys":
                return say({"keys": self.publish()})
            case "/token":
                return self._redeem(asked)
            case "/userinfo":
                is_known = asked.headers.get("authorization") == f"Bearer {ACCESS}"
                return say(self.account) if is_known else say({"error": "invalid_token"}, 401)
        return self.more(asked) or Reply(404)

    def describe(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def publish(self) -> list[dict[str, Any]]:
        if self.published is not None:
            return self.published
        return [{**self.key.as_dict(private=False), "use": "sig"}]

    def _redeem(self, asked: Asked) -> Reply:
        form = asked.form
        scheme, _, pair = asked.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            shown = tuple(map(unquote_plus, base64.b64decode(pair).decode().split(":")))
        else:
            shown = form.get("client_id", ""), form.get("client_secret", "")
        if shown != (CLIENT, SECRET):
            return say({"error": "invalid_client"}, 401)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        self.redeemed += 1
        is_right = form.get("code") == CODE and form.get("grant_type") == "authorization_code" and self.redeemed == 1
        if not is_right or challenge != self.challenge:
            return say({"error": "invalid_grant", "error_description": "the code is used up"}, 400)
        return say(
            self.change_token(
                {"access_token": ACCESS, "token_type": "Bearer", "id_token": self.sign(), "expires_in": 60}
            )
        )

    def sign(self) -> str:
        now = int(time.time())
        digest = hashlib.sha256(ACCESS.encode()).digest()[:16]
        claims = {
            "iss": self.url,
            "sub": "117",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "at_hash": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "email": "rhea.group@example.com",
            "email_verified": True,
            "name": "Rhea Group",
            **self.claims,
        }
        header = {"alg": self.algorithm, "kid": self.key.kid}
        said, claims = dict(self.change_header(header)), dict(self.change_claims(claims))
        if self.make_token is not None:
            return self.make_token(said, claims)
        return sign(said, claims, self.key)


def sign(header: dict[str, Any], claims: dict[str, Any], key: Key) -> str:
    """A token, by whatever algorithm the header names."""
    registry = jws.JWSRegistry(algorithms=[str(header["alg"])], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(claims), key, registry=registry)


def encode(content: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def sign_by_nobody(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """alg: none."""
    return f"{encode({**header, 'alg': 'none'})}.{encode(claims)}."


def sign_with_what_is_public(key: RSAKey) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    """HMAC with the public key for a secret."""

    def make(header: dict[str, Any], claims: dict[str, Any]) -> str:
        # By hand: a library that is worth its name does not do that.
        signed = f"{encode({**header, 'alg': 'HS256'})}.{encode(claims)}"
        mark = hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"

    return make


def make_other_key(kid: str = "key-1") -> RSAKey:
    return make_key(kid, 1)


def make_curve_key(kid: str = "key-1", curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid}, private=True)


@contextlib.contextmanager
def issuing(issuer: Issuer, tls: ssl.SSLContext | None = None) -> Iterator[Issuer]:
    """The issuer, up on a free port of localhost."""
    with serving(issuer.answer, tls) as service:
        issuer.service = service
        yield issuer
