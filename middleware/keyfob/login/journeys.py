"""Journeys: logins under way. A browser carries each sealed in the `state` of its provider, so no server keeps any."""

import secrets
from typing import Any, NamedTuple

from keyfob.errors import LoginLapsed
from keyfob.login.sessions import Sessions

# Seconds that somebody may take at a provider.
LONGEST = 900.0
SKEW = 60.0


class Journey(NamedTuple):
    """One login under way. `back` is where it leads in the end: a path and query of `origin`.

    `origin` is such as `https://money.example.com`, `base` the prefix under which the app is mounted there, `browser`
    the mark of the browser in which it began. `nonce` and `verifier` are for OpenID Connect and PKCE. `note` is what a
    provider of ours wants to find again. `begun_at` is in seconds since the epoch.
    """

    id: str
    provider: str
    audience: str
    origin: str
    base: str
    back: str
    browser: str
    nonce: str
    verifier: str
    begun_at: float
    note: str = ""

    @property
    def callback(self) -> str:
        """The address to which the provider sends the browser back: one for each, so that none is taken for another."""
        return f"{self.origin}{self.base}/.keyfob/callback/{self.provider}"


def begin_journey(provider: str, audience: str, origin: str, base: str, back: str, browser: str, at: float) -> Journey:
    """A new one. RFC 7636 section 4.1: a verifier has 43 characters at least."""
    return Journey(
        secrets.token_urlsafe(12),
        provider,
        audience,
        origin,
        base,
        back,
        browser,
        secrets.token_urlsafe(16),
        secrets.token_urlsafe(32),
        at,
    )


def pack(journey: Journey, sessions: Sessions, at: float) -> str:
    """The journey as a text that a browser carries. Raises LoginUnavailable."""
    return sessions.hide({"for": "journey", **journey._asdict()}, at)


def unpack(text: str, sessions: Sessions, at: float) -> Journey:
    """The journey that was packed. Raises LoginLapsed if it was none, or took too long."""
    found: dict[str, Any] = sessions.reveal(text)
    if found.pop("for", None) != "journey" or set(found) != set(Journey._fields):
        raise LoginLapsed("what the browser brought back is no login")
    journey = Journey(**found)
    if not journey.begun_at - SKEW <= at <= journey.begun_at + LONGEST:
        raise LoginLapsed(f"the login took more than {LONGEST / 60:.0f} minutes")
    return journey
