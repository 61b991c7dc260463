"""What tests of a whole login ask for: each skin, a clock for both, and what was recorded."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from logins import SKINS, Clock, House, Skin


@pytest.fixture(params=SKINS, ids=lambda each: each.__name__)
def skin(request: pytest.FixtureRequest) -> Callable[[House], Skin]:
    """One of the two skins, to be put around a gate."""
    make: type[Skin] = request.param
    return lambda house: make(house.gate)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("keyfob.asgi.time", clock)
    monkeypatch.setattr("keyfob.wsgi.time", clock)
    return clock


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """What was recorded since one asked last."""
    caplog.set_level(logging.INFO, "keyfob.audit")

    def take() -> list[dict[str, Any]]:
        found = [json.loads(each.getMessage()) for each in caplog.records if each.name == "keyfob.audit"]
        caplog.clear()
        return found

    return take
