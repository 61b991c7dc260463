"""Trips to a provider and back, without an app: what a provider begins with, a browser follows, and it finishes."""

import time
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx

from keyfob.login.carrying import Carrier
from keyfob.login.exchanges import Steps
from keyfob.login.journeys import Journey, begin_journey
from keyfob.login.providers import Provider
from keyfob.policy import Fact, User
from logins import Memory, make_book

T = TypeVar("T")

CARRIER = Carrier(Memory(make_book()))


def run(steps: Steps[T]) -> T:
    """All the steps, over real sockets."""
    return CARRIER.run(steps)


def make_journey(provider: Provider) -> Journey:
    """A login that has just begun."""
    return begin_journey(provider.id, "tag", "https://money.example.com", "", "/", "browser", time.time())


def leave(provider: Provider, journey: Journey, named: frozenset[Fact] = frozenset(), *, afresh: bool = False) -> str:
    """The address to which the browser is sent."""
    return run(provider.begin(journey, "the-state", named, afresh=afresh))


def follow(address: str, journey: Journey) -> dict[str, str]:
    """What the browser comes back with to the journey's callback, once it has been there."""
    answer = httpx.get(address, trust_env=False)
    place, _, query = answer.headers["location"].partition("?")
    said = dict(parse_qsl(urlsplit(f"?{query}").query, keep_blank_values=True))
    assert place == journey.callback
    assert said.pop("state") == "the-state"
    return said


def log_in(provider: Provider, named: frozenset[Fact] = frozenset()) -> User:
    """There and back. Raises what the provider raises."""
    journey = make_journey(provider)
    said = follow(leave(provider, journey, named), journey)
    return run(provider.finish(journey, said, named, journey.begun_at))
