"""Facebook on loopback: the login dialog and the Graph API, as Meta's documentation describes them.

with facebook() as server:
    server.people["me"] = {"id": "10158", "name": "Me", "email": "me@example.com"}
    server.here = "me"                                   # who is logged in at Facebook in the browser that comes
    … a browser that goes to what Facebook(dialog=server.url, graph=server.url, …) begins with, and comes back …
"""

import contextlib
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from providers.serving import Asked, Reply, Service, lead, say, serving

CLIENT_ID, CLIENT_SECRET = "1234567890", "a-secret-of-facebook"
# Seconds for which a proof counts.
PROOF = 300


class FacebookServer:
    """What the tests may look at and change. `replies` are answers given instead, by path without the version."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, str]] = {}
        self.here: str | None = None
        self.denies = False
        self.replies: dict[str, Reply | None] = {}
        self.service = Service("", [], threading.Event())
        self._codes: dict[str, tuple[str, str, set[str]]] = {}
        self._tokens: dict[str, tuple[str, set[str]]] = {}

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def asked(self) -> list[Asked]:
        return self.service.asked

    def answer(self, asked: Asked) -> Reply | None:
        version, _, path = asked.path.lstrip("/").partition("/")
        if version != "v26.0":
            return refuse(2635, "You are calling a deprecated version of the Ads API.")
        if path in self.replies:
            return self.replies[path]
        match asked.method, path:
            case "GET", "dialog/oauth":
                return self._show_dialog(asked.query)
            case _, "oauth/access_token":
                return self._give_token(asked.form if asked.method == "POST" else asked.query)
            case "GET", "me":
                return self._describe(asked)
        return refuse(2500, f"Unknown path components: /{path}", status=404)

    def _show_dialog(self, query: Mapping[str, str]) -> Reply:
        """The fragment is Facebook's own, and stays in the browser."""
        back = query["redirect_uri"]
        if self.denies or self.here is None:
            said = {
                "error": "access_denied",
                "error_code": "200",
                "error_description": "Permissions error",
                "error_reason": "user_denied",
                "state": query["state"],
            }
            return lead(f"{back}?{urlencode(said)}#_=_")
        code = f"AQ{secrets.token_hex(20)}"
        self._codes[code] = self.here, back, set(query.get("scope", "").split(","))
        return lead(f"{back}?{urlencode({'code': code, 'state': query['state']})}#_=_")

    def _give_token(self, said: Mapping[str, str]) -> Reply:
        if said.get("client_id") != CLIENT_ID or said.get("client_secret") != CLIENT_SECRET:
            return refuse(1, "Error validating client secret.")
        person, back, scopes = self._codes.pop(said.get("code", ""), ("", "", set()))
        if not person:
            return refuse(100, "This authorization code has been used.", subcode=36009)
        if said.get("redirect_uri") != back:
            return refuse(100, "Error validating verification code. Please make sure your redirect_uri is identical.")
        token = f"EAAB{secrets.token_hex(20)}"
        self._tokens[token] = person, scopes
        return say({"access_token": token, "token_type": "bearer", "expires_in": 5183944})

    def _describe(self, asked: Asked) -> Reply:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            return refuse(190, f"Malformed access token {token}")
        moment = asked.query.get("appsecret_time", "0")
        right = hmac.new(CLIENT_SECRET.encode(), f"{token}|{moment}".encode(), hashlib.sha256).hexdigest()
        if asked.query.get("appsecret_proof") != right or abs(time.time() - int(moment)) > PROOF:
            return refuse(100, "Invalid appsecret_proof provided in the API argument")
        person, scopes = self._tokens[token]
        said: dict[str, Any] = dict(self.people[person])
        if "email" not in scopes:
            said.pop("email", None)
        wanted = asked.query.get("fields", "id,name").split(",")
        return say({name: value for name, value in said.items() if name in wanted or name == "id"})


def refuse(code: int, message: str, *, subcode: int | None = None, status: int = 400, **more: Any) -> Reply:
    """An error as the Graph API writes it."""
    error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "AbCdEfGhIjK", **more}
    return say({"error": error | ({} if subcode is None else {"error_subcode": subcode})}, status)


@contextlib.contextmanager
def facebook() -> Iterator[FacebookServer]:
    """One that is up, with nobody in it."""
    server = FacebookServer()
    with serving(server.answer) as server.service:
        yield server
