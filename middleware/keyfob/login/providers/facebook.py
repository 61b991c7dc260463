"""Facebook: OAuth 2, and who it is from the Graph API.

From "Manually Build a Login Flow", "Secure Graph API Calls" and the reference of the Graph API in Meta's documentation.
There, PKCE belongs to a flow of OpenID Connect for apps without a secret, which is "still in testing"; for one with a
secret, which this is, it is not described, so it is not used. A code is worth nothing without the secret, and comes
back to the browser that holds the journey alone.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from keyfob.errors import LoginFailed, LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched, Steps
from keyfob.login.journeys import Journey
from keyfob.login.providers.oauth import ask_token, quote, read_code, read_object, read_token, require_private
from keyfob.policy import Fact, User

# Each version lasts two years and a little; this one came out in July 2026.
VERSION = "v26.0"

# Codes of errors that pass: "Handle Errors" in the documentation of the Graph API, and "Rate Limits".
_PASSING = frozenset({1, 2, 4, 17, 32, 341, 613})


@dataclass(eq=False, kw_only=True)
class Facebook:
    """Facebook. `dialog` and `graph` are the servers of its pages and of its API: others are for tests.

    Facebook calls an address "valid", and promises nowhere that whoever has the account has confirmed it. So nobody
    has an address by it, and the rules can know people by `login_method` alone, unless `trust_email` says that it is to
    be believed all the same. `authority` is the path of a PEM file of CAs to trust instead of the system's.
    """

    id: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    trust_email: bool = False
    authority: str = ""
    dialog: str = "https://www.facebook.com"
    graph: str = "https://graph.facebook.com"
    kind: str = field(default="facebook", init=False)

    def __post_init__(self) -> None:
        self.dialog, self.graph = require_private(self.dialog), require_private(self.graph)

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        """The address of Facebook's own page."""
        yield from ()
        said = {
            "client_id": self.client_id,
            "redirect_uri": journey.callback,
            "response_type": "code",
            "scope": "public_profile,email" if self.trust_email else "public_profile",
            "state": state,
        }
        if afresh:
            said["auth_type"] = "reauthenticate"
        elif self.trust_email:
            # Who has once kept the address back is asked again; otherwise there would be no way to change one's mind.
            said["auth_type"] = "rerequest"
        return f"{self.dialog}/{VERSION}/dialog/oauth?{urlencode(said)}"

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        """Who it is, by the number that Facebook has for the person in this app alone."""
        token = yield from self._ask_token(journey, read_code(said, self.name))
        person = yield from self._ask_person(token, at)
        number, name, email = person.get("id"), person.get("name"), person.get("email")
        if not isinstance(number, str) or not number.isascii() or not number.isdecimal():
            raise LoginUnavailable(f"{self.name} does not say whose token it gave")
        return User(
            email=email if self.trust_email and isinstance(email, str) else "",
            provider=self.id,
            subject=number,
            name=name if isinstance(name, str) else "",
        )

    def _ask_token(self, journey: Journey, code: str) -> Steps[str]:
        form = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "code": code,
            "redirect_uri": journey.callback,
        }
        # Facebook takes it by POST as well as by GET, which its examples show: a secret has no place in an address.
        answer = yield from ask_token(f"{self.graph}/{VERSION}/oauth/access_token", form, self.authority)
        return read_token(self._read(answer), self.name)

    def _ask_person(self, token: str, at: float) -> Steps[dict[str, Any]]:
        """The proof shows that whoever uses the token has the app's secret as well. It is good for five minutes."""
        moment = str(int(at))
        proof = hmac.new(self.client_secret.encode(), f"{token}|{moment}".encode("ascii"), hashlib.sha256)
        said = {
            "fields": "id,name,email" if self.trust_email else "id,name",
            "appsecret_proof": proof.hexdigest(),
            "appsecret_time": moment,
        }
        headers = {"authorization": f"Bearer {token}"}
        url = f"{self.graph}/{VERSION}/me?{urlencode(said)}"
        return self._read((yield Fetch("GET", url, headers, b"", self.authority)), token)

    def _read(self, answer: Fetched, token: str = "") -> dict[str, Any]:
        """What an answer says. Raises LoginError for an error, whatever its status is, without the token."""
        found = read_object(answer, self.name)
        error = found.get("error")
        if error is None and answer.status == 200:
            return found
        error = error if isinstance(error, dict) else {}
        code, message = error.get("code"), str(error.get("message", ""))
        # Facebook repeats a token that it finds malformed.
        said = quote(message.replace(token, "…") if token else message)
        is_passing = isinstance(code, int) and code in _PASSING
        passes = answer.status >= 500 or answer.status == 429 or error.get("is_transient") is True or is_passing
        if passes or not error:
            raise LoginUnavailable(f"{self.name} answers {answer.status}, error {quote(code)}: {said}")
        raise LoginFailed(f"{self.name} refuses with {answer.status}, error {quote(code)}: {said}")
