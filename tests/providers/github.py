"""GitHub on loopback, as GitHub Enterprise Server lays it out: what its documentation says of logins and memberships.

with github() as server:
    server.people["7"] = Person(7, "octocat", …)
    server.here = "7"                                   # who is logged in at GitHub in the browser that comes
    … a browser that goes to what GitHub(url=server.url, …) begins with, and comes back …
"""

import base64
import contextlib
import hashlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from providers.serving import Asked, Reply, Service, lead, say, serving

CLIENT_ID, CLIENT_SECRET = "Iv1.8a61f9b3a7aba766", "a-secret-of-github"


@dataclass
class Person:
    """An account: its number stays, its login name may not. `memberships` has the state in each organization."""

    number: int
    login: str
    name: str | None = None
    emails: list[dict[str, Any]] = field(default_factory=list)
    memberships: dict[str, str] = field(default_factory=dict)
    teams: dict[tuple[str, str], str] = field(default_factory=dict)
    suspended: bool = False


def email(address: str, *, primary: bool = True, verified: bool = True) -> dict[str, Any]:
    return {"email": address, "primary": primary, "verified": verified, "visibility": "private" if primary else None}


@dataclass
class Grant:
    """What a code is good for, once."""

    person: str
    redirect_uri: str
    challenge: str
    scopes: list[str]


class GitHubServer:
    """What the tests may look at and change. `replies` are answers given instead, by path."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.here: str | None = None
        self.denies = False
        self.replies: dict[str, Reply | None] = {}
        self.scopes: list[str] = []
        self.restricted: set[str] = set()
        self.saml: set[str] = set()
        self.page = 100
        self.service: Service = Service("", [], threading.Event())
        self._grants: dict[str, Grant] = {}
        self._tokens: dict[str, tuple[str, list[str]]] = {}

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def asked(self) -> list[Asked]:
        return self.service.asked

    def answer(self, asked: Asked) -> Reply | None:
        if asked.path in self.replies:
            return self.replies[asked.path]
        if asked.path == "/login/oauth/authorize":
            return self._authorize(asked.query)
        if asked.path == "/login/oauth/access_token":
            return self._give_token(asked)
        if asked.path.startswith("/api/v3/"):
            return self._serve_api(asked)
        return say({"message": "Not Found"}, 404)

    # --- OAuth --------------------------------------------------------------------------------------------------------

    def _authorize(self, query: Any) -> Reply:
        back = query["redirect_uri"]
        if self.denies or self.here is None:
            said = {
                "error": "access_denied",
                "error_description": "The user has denied your application access.",
                "error_uri": "https://docs.github.com/apps/troubleshooting",
                "state": query["state"],
            }
            return lead(f"{back}?{urlencode(said)}")
        if query.get("client_id") != CLIENT_ID or query.get("code_challenge_method", "S256") != "S256":
            return say({"message": "Not Found"}, 404)
        code = secrets.token_hex(10)
        self.scopes = query.get("scope", "").split()
        self._grants[code] = Grant(self.here, back, query.get("code_challenge", ""), self.scopes)
        return lead(f"{back}?{urlencode({'code': code, 'state': query['state']})}")

    def _give_token(self, asked: Asked) -> Reply:
        """Errors come with status 200, and in JSON for those who ask for it alone."""
        form = asked.form
        if asked.headers.get("accept") != "application/json":
            return Reply(200, b"error=not_acceptable", {"content-type": "application/x-www-form-urlencoded"})
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CLIENT_SECRET:
            return _refuse("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None:
            return _refuse("bad_verification_code", "The code passed is incorrect or expired.")
        if form.get("redirect_uri") != grant.redirect_uri:
            return _refuse("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL.")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if grant.challenge and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.challenge:
            return _refuse("bad_verification_code", "The code passed is incorrect or expired.")
        token = f"gho_{secrets.token_hex(18)}"
        self._tokens[token] = grant.person, grant.scopes
        return say({"access_token": token, "scope": ",".join(grant.scopes), "token_type": "bearer"})

    # --- The API ------------------------------------------------------------------------------------------------------

    def _serve_api(self, asked: Asked) -> Reply:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            return say({"message": "Bad credentials"}, 401)
        if asked.headers.get("x-github-api-version") != "2022-11-28":
            return say({"message": "Unsupported version"}, 400)
        mark, scopes = self._tokens[token]
        person = self.people[mark]
        if person.suspended:
            return say({"message": "Sorry. Your account was suspended."}, 403)
        match [unquote(part) for part in asked.path.removeprefix("/api/v3/").split("/")]:
            case ["user"]:
                return say({"id": person.number, "login": person.login, "name": person.name, "type": "User"})
            case ["user", "emails"] if "user:email" in scopes:
                return self._list(person.emails, asked)
            case ["user", "memberships", "orgs", organization] if "read:org" in scopes:
                return self._tell(organization, person.memberships.get(organization.lower()))
            case ["orgs", organization, "teams", team, "memberships", login] if "read:org" in scopes:
                is_them = login.lower() == person.login.lower()
                return self._tell(
                    organization, person.teams.get((organization.lower(), team.lower())) if is_them else None
                )
        return say({"message": "Not Found"}, 404)

    def _list(self, found: list[dict[str, Any]], asked: Asked) -> Reply:
        number = int(asked.query.get("page", "1"))
        size = min(int(asked.query.get("per_page", "30")), self.page)
        part = found[(number - 1) * size : number * size]
        more = {"link": f'<{self.url}{asked.path}?per_page={size}&page={number + 1}>; rel="next", <x>; rel="last"'}
        return say(part, headers=more if number * size < len(found) else {})

    def _tell(self, organization: str, state: str | None) -> Reply:
        if organization.lower() in self.saml:
            sso = f"required; url=https://github.com/orgs/{organization}/sso?authorization_request=AbC"
            message = "Resource protected by organization SAML enforcement. You must grant your OAuth token access."
            return say({"message": message}, 403, {"x-github-sso": sso})
        if organization.lower() in self.restricted:
            message = (
                "Although you appear to have the correct authorization credentials, the "
                f"`{organization}` organization has enabled OAuth App access restrictions"
            )
            return say({"message": message}, 403)
        return say({"message": "Not Found"}, 404) if state is None else say({"state": state, "role": "member"})


def _refuse(error: str, description: str) -> Reply:
    return say({"error": error, "error_description": description, "error_uri": "/apps/troubleshooting"})


@contextlib.contextmanager
def github() -> Iterator[GitHubServer]:
    """One that is up, with nobody in it."""
    server = GitHubServer()
    with serving(server.answer) as server.service:
        yield server
