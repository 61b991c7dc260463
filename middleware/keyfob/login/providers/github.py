"""GitHub: OAuth 2, and who it is from the REST API. Nothing in it is OpenID Connect.

From "Authorizing OAuth apps" and the reference of the REST API in GitHub's documentation, with PKCE since July 2025.
"""

import logging
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote as escape
from urllib.parse import urlencode, urlsplit

from keyfob.errors import LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched, Steps
from keyfob.login.journeys import Journey
from keyfob.login.providers.oauth import (
    ask_token,
    make_challenge,
    quote,
    read_code,
    read_json,
    read_object,
    read_token,
    require_private,
)
from keyfob.policy import Fact, FactKind, User
from keyfob.policy.selectors.texts import lower_ascii

# github.com has this one until March 2028 at least, and GitHub Enterprise Server from 3.9 on; a later one not yet.
VERSION = "2022-11-28"
# Each organization and each team is one question, so that the 500 organizations that somebody is in do not matter.
MOST_QUESTIONS = 50
# Pages of a hundred addresses.
MOST_PAGES = 3

_LOGGER = logging.getLogger("keyfob.login")
# The statuses of an answer about one organization or team: without this one, the others may still hold.
_ANSWERS = frozenset(range(200, 500)) - {401}
# Characters of a Link header; what is longer leads nowhere.
_LONGEST_LINKS = 8_192


def _find_next(links: str) -> str:
    """The target of the link with rel="next" (RFC 8288 section 3); empty if there is none."""
    for link in links.split("<")[1:] if len(links) <= _LONGEST_LINKS else ():
        url, _, parameters = link.partition(">")
        if any(each.strip(" \t,").lower() in {"rel=next", 'rel="next"'} for each in parameters.split(";")):
            return url
    return ""


@dataclass(eq=False, kw_only=True)
class GitHub:
    """github.com, or a GitHub Enterprise Server at `url`, such as `https://github.example.com`.

    `authority` is the path of a PEM file of CAs to trust instead of the system's. Raises KeyfobError for a `url` that
    is not https (http counts on this very machine).
    """

    id: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    url: str = ""
    authority: str = ""
    kind: str = field(default="github", init=False)

    def __post_init__(self) -> None:
        if self.url:
            self.url = require_private(self.url)

    @property
    def _pages(self) -> str:
        return self.url or "https://github.com"

    @property
    def _api(self) -> str:
        host = urlsplit(self._pages).hostname or ""
        # A server of one's own has it below its pages; GitHub's own have a name for it, also `octocorp.ghe.com`.
        is_theirs = host == "github.com" or host.endswith(".ghe.com")
        return f"https://api.{host}" if is_theirs else f"{self._pages}/api/v3"

    # --- There --------------------------------------------------------------------------------------------------------

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        """The address of GitHub's own page."""
        yield from ()
        said = {
            "client_id": self.client_id,
            "redirect_uri": journey.callback,
            "scope": " ".join(_find_scopes(named)),
            "state": state,
            "code_challenge": make_challenge(journey.verifier),
            "code_challenge_method": "S256",
        }
        if afresh:
            said["prompt"] = "select_account"
        return f"{self._pages}/login/oauth/authorize?{urlencode(said)}"

    # --- And back -----------------------------------------------------------------------------------------------------

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        """Who it is, by the number that an account keeps for good: a login name can be given up, and taken."""
        token = yield from self._ask_token(journey, read_code(said, self.name))
        person = read_object((yield from self._ask(token, "/user", {200})), self.name)
        number, login, name = person.get("id"), person.get("login"), person.get("name")
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(login, str) or not login:
            raise LoginUnavailable(f"{self.name} does not say whose token it gave")
        if person.get("suspended_at") is not None:
            raise LoginFailed(f"{self.name} has suspended {quote(login)}")
        return User(
            email=(yield from self._find_address(token)),
            provider=self.id,
            organizations=(yield from self._find_organizations(token, login, named)),
            subject=str(number),
            name=name if isinstance(name, str) and name else login,
        )

    def _ask_token(self, journey: Journey, code: str) -> Steps[str]:
        form = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "code": code,
            "redirect_uri": journey.callback,
            "code_verifier": journey.verifier,
        }
        answer = yield from ask_token(f"{self._pages}/login/oauth/access_token", form, self.authority)
        if answer.status != 200:
            raise self._explain(answer)
        found = read_object(answer, self.name)
        if "error" in found:
            # It comes with status 200: RFC 6749 section 5.2 has 400 for it.
            said = f"{quote(found['error'])}: {quote(found.get('error_description', ''))}"
            raise LoginFailed(f"{self.name} gives no token: {said}")
        return read_token(found, self.name)

    def _find_address(self, token: str) -> Steps[str]:
        """The primary address, if its owner has confirmed it to GitHub; empty if not."""
        path = "/user/emails?per_page=100"
        for _ in range(MOST_PAGES):
            # 403 and 404: the person has taken back the permission, or the app never had it.
            answer = yield from self._ask(token, path, {200, 403, 404})
            if answer.status != 200:
                return ""
            found = read_json(answer, self.name)
            for each in found if isinstance(found, list) else []:
                if isinstance(each, dict) and each.get("primary") is True and each.get("verified") is True:
                    email = each.get("email")
                    return email if isinstance(email, str) else ""
            path = self._find_next(answer)
            if not path:
                return ""
        return ""

    def _find_next(self, answer: Fetched) -> str:
        """The next page; empty if there is none, or it is elsewhere: the token is for this API alone."""
        url = _find_next(answer.headers.get("link", ""))
        return url.removeprefix(self._api) if url.startswith(f"{self._api}/") and url.isprintable() else ""

    # --- Organizations and teams --------------------------------------------------------------------------------------

    def _find_organizations(self, token: str, login: str, named: Iterable[Fact]) -> Steps[Mapping[str, frozenset[str]]]:
        """Which of the organizations that rules name the person is in, and of which of the teams in each."""
        found: dict[str, frozenset[str]] = {}
        questions = 0
        for organization, teams in sorted(_gather(named).items()):
            # GitHub takes these names in any letter case, as the rules do.
            questions += 1 + len(teams)
            if questions > MOST_QUESTIONS:
                _LOGGER.warning(
                    "rules name more than %d organizations and teams of %s: nobody is asked about %r, and it counts as "
                    "one that the person is not in; hint: name fewer in one application",
                    MOST_QUESTIONS,
                    self.name,
                    organization,
                )
                continue
            if (yield from self._is_in(token, organization, f"/user/memberships/orgs/{_escape(organization)}")):
                held = []
                for team in sorted(teams):
                    path = f"/orgs/{_escape(organization)}/teams/{_escape(team)}/memberships/{_escape(login)}"
                    if (yield from self._is_in(token, f"{organization}/{team}", path)):
                        held.append(team)
                found[organization] = frozenset(held)
        return found

    def _is_in(self, token: str, what: str, path: str) -> Steps[bool]:
        """Whether the person is an active member: somebody who was only invited is not."""
        answer = yield from self._ask(token, path, _ANSWERS)
        if answer.status == 200:
            return bool(read_object(answer, self.name).get("state") == "active")
        if answer.status != 404:
            # An organization with SAML wants a session there first, one that restricts OAuth apps an approval, and
            # one that has another name now is not followed there: who has its old one is anybody's guess. Where to go
            # for that session is in a header, and is nothing for a log.
            wants_session = "required" in answer.headers.get("x-github-sso", "")
            said = "a session at its SAML provider is missing" if wants_session else _read_message(answer)
            _LOGGER.warning("%s does not say who is in %r: %s", self.name, what, quote(said))
        return False

    # --- The API ------------------------------------------------------------------------------------------------------

    def _ask(self, token: str, path: str, fine: Container[int]) -> Steps[Fetched]:
        """One answer of the API with one of the statuses that are `fine`. Raises LoginError for the others."""
        headers = {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {token}",
            "x-github-api-version": VERSION,
        }
        answer: Fetched = yield Fetch("GET", f"{self._api}{path}", headers, b"", self.authority)
        if answer.status not in fine or _is_limited(answer) or _is_suspended(answer):
            raise self._explain(answer)
        return answer

    def _explain(self, answer: Fetched) -> LoginFailed | LoginUnavailable:
        said = quote(_read_message(answer))
        if _is_limited(answer):
            when = answer.headers.get("retry-after", "")
            hint = f"ask again in {when} seconds" if when.isdecimal() else "ask again in an hour"
            return LoginUnavailable(f"{self.name} has been asked too often: {said}", hint)
        if _is_suspended(answer):
            return LoginFailed(f"{self.name} has suspended the account: {said}")
        if answer.status in {401, 403}:
            return LoginFailed(f"{self.name} refuses with {answer.status}: {said}")
        return LoginUnavailable(f"{self.name} answers {answer.status}: {said}")


def _find_scopes(named: Iterable[Fact]) -> list[str]:
    scopes = ["read:user", "user:email"]
    return [*scopes, "read:org"] if _gather(named) else scopes


def _gather(named: Iterable[Fact]) -> dict[str, set[str]]:
    """The organizations that rules name, each with the teams in it, in lower case."""
    found: dict[str, set[str]] = {}
    for fact in named:
        if fact.kind in {FactKind.ORGANIZATION, FactKind.TEAM}:
            teams = found.setdefault(lower_ascii(fact.name), set())
            if fact.kind is FactKind.TEAM:
                teams.add(lower_ascii(fact.value))
    return found


def _escape(name: str) -> str:
    """One part of a path, and no more than that: neither a slash nor two dots lead elsewhere."""
    return escape(name, safe="").replace(".", "%2E")


def _is_limited(answer: Fetched) -> bool:
    """Whether it is one request too many. A secondary limit says so in words, and not always in a header."""
    if answer.status not in {403, 429}:
        return False
    headers = answer.headers
    counted = headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers
    return answer.status == 429 or counted or "rate limit" in _read_message(answer).lower()


def _is_suspended(answer: Fetched) -> bool:
    return answer.status == 403 and "account was suspended" in _read_message(answer).lower()


def _read_message(answer: Fetched) -> str:
    """What the API says of an error."""
    try:
        found: Any = read_json(answer, "")
    except LoginUnavailable:
        return ""
    message = found.get("message") if isinstance(found, dict) else None
    return message if isinstance(message, str) else ""
