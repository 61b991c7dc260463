"""External evaluation: a service elsewhere is asked about a person who has logged in.

As Access documents it: the service gets a signed token with what is known of the person, and answers with one of its
own, signed by a key at the address beside it. Whatever goes wrong is a no, and nothing more: a rule that names the
service does not hold.
"""

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from keyfob.errors import LoginError, LoginFailed, LoginUnavailable
from keyfob.login.desk import Desk
from keyfob.login.exchanges import Fetch, Fetched, Steps
from keyfob.login.journeys import Journey
from keyfob.login.patience import limit
from keyfob.login.providers.documents import Kept
from keyfob.login.providers.idtoken import read_claims, read_head
from keyfob.login.providers.keys import VerificationKey, choose_key, read_keys
from keyfob.login.providers.oauth import quote, read_object
from keyfob.policy import Fact, FactKind, User
from keyfob.request import Request

# Seconds that all the services have together.
PATIENCE = 15.0
# Seconds for which a question counts, from when the browser came back, and by which others' clocks may be off.
LIFE, SKEW = 120.0, 60.0
# Seconds for which the keys of a service are kept.
KEPT = 300.0
# What tells the question from every other token that is signed with our keys (RFC 8725 section 3.11).
KIND = "evaluation+jwt"

# No moment is later than this, in seconds since the epoch; what is larger may not even be a float.
_LATEST = 1e12

_LOGGER = logging.getLogger("keyfob.login")


def evaluate(user: User, named: frozenset[Fact], desk: Desk, journey: Journey, request: Request) -> Steps[User]:
    """The person, with the evaluations among `named` that said yes. Any failure is a no."""
    facts = sorted(fact for fact in named if fact.kind is FactKind.EVALUATED)
    steps = _ask_all(user, facts, desk, journey, request)
    return (yield from limit(steps, PATIENCE, "the external evaluations"))


def _ask_all(user: User, facts: Sequence[Fact], desk: Desk, journey: Journey, request: Request) -> Steps[User]:
    held = set()
    for fact in facts:
        try:
            if (yield from _ask(user, fact, desk, journey, request)):
                held.add((fact.name, fact.value))
        except LoginError as error:
            # Neither the question nor the answer: both say who somebody is. Nor a query, which may have a secret in it.
            _LOGGER.warning("the evaluation by %s counts as a no: %s", _hide_query(fact.name), error.message)
    return user._replace(evaluated=frozenset(held))


def _ask(user: User, fact: Fact, desk: Desk, journey: Journey, request: Request) -> Steps[bool]:
    """Whether one service says yes. Raises LoginError if it does not say so as it should."""
    nonce = secrets.token_urlsafe(24)
    question = desk.sessions.sign(KIND, _write(user, fact, desk, journey, request, nonce), request.at)
    headers = {"content-type": "application/json", "accept": "application/json"}
    answer: Fetched = yield Fetch("POST", fact.name, headers, json.dumps({"token": question}).encode())
    if answer.status != 200:
        raise LoginUnavailable(f"it answers {answer.status}")
    token = read_object(answer, "it").get("token")
    if not isinstance(token, str):
        raise LoginFailed("it answers without a token")
    return _read((yield from _verify(token, fact.value, request.at)), nonce, request.at)


def _write(user: User, fact: Fact, desk: Desk, journey: Journey, request: Request, nonce: str) -> Mapping[str, object]:
    """The question. It names the service as its audience, so that no service can ask another one with it."""
    application = desk.applications.get(journey.audience)
    identity: dict[str, object] = {
        "id": user.subject,
        "email": user.email,
        "name": user.name,
        "idp": {"id": user.provider},
        "amr": sorted(user.methods),
        "groups": sorted(user.groups),
        "organizations": {name: sorted(teams) for name, teams in sorted(user.organizations.items())},
    }
    if request.client is not None:
        identity["ip"] = str(request.client)
    return {
        "iss": f"{journey.origin}{journey.base}",
        "aud": [fact.name],
        "iat": int(request.at),
        "exp": int(request.at + LIFE),
        "nonce": nonce,
        "application": "" if application is None else application.name,
        "identity": identity,
    }


def _hide_query(url: str) -> str:
    return url.partition("?")[0]


# --- The answer -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _find_keys(url: str) -> "Kept[tuple[VerificationKey, ...]]":
    """The keys at an address, kept for the whole process; while nobody answers there, they end with their time."""
    who = f"the list of keys at {_hide_query(url)}"
    return Kept(who, "", lambda answer: read_keys(answer, who), life=KEPT, pause=1.0, oldest=KEPT)


def _verify(token: str, url: str, at: float) -> Steps[dict[str, Any]]:
    """What a token says, if a key at this address has signed it. Raises LoginError."""
    head, keys = read_head(token, "its answer"), _find_keys(url)
    key = choose_key((yield from keys.find(url, at)), head.kid, head.algorithm)
    if key is None:
        # It may have begun to sign with another one.
        key = choose_key((yield from keys.find(url, at, again=True)), head.kid, head.algorithm)
    if key is None:
        raise LoginFailed(f"its answer is signed by {quote(head.kid)}, which is none of its keys")
    return read_claims(token, key, "its answer")


def _read(said: Mapping[str, Any], nonce: str, at: float) -> bool:
    """What a service says, from a token that it has signed. Raises LoginFailed unless it is about this question."""
    if said.get("nonce") != nonce:
        raise LoginFailed("its answer is to another question")
    begun_at, expires_at = _read_moment(said.get("iat")), _read_moment(said.get("exp"))
    if expires_at + SKEW <= at:
        raise LoginFailed("its answer has expired")
    if not at - SKEW <= begun_at <= at + LIFE + SKEW:
        raise LoginFailed("its answer is from another time: do its clock and ours differ?")
    return said.get("success") is True


def _read_moment(value: object) -> float:
    if not isinstance(value, int | float) or not -_LATEST < value < _LATEST:
        raise LoginFailed("its answer does not say from when and until when it counts")
    return value
