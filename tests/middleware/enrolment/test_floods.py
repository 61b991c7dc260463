"""enrolment.floods: strangers do not fill the log, and what was left out is told."""

import logging
import time

import pytest

from keyfob.enrolment.floods import BURST, KINDS, Restraint


def test_a_flood_is_cut_and_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many lines at once, one a second after that, and the next one says how many are missing."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    restraint = Restraint(logging.getLogger("flooded"))
    for number in range(50):
        restraint.warn("a", "said %d", number)
    assert len(caplog.messages) == BURST
    clock[0] += 1
    restraint.warn("a", "said %s", "again")
    restraint.warn("a", "said %s", "again")
    assert caplog.messages[int(BURST) :] == ["said again (30 more like this were left out)"]


def test_one_kind_does_not_silence_another(caplog: pytest.LogCaptureFixture) -> None:
    """However loud it is."""
    restraint = Restraint(logging.getLogger("flooded"))
    for _ in range(100):
        restraint.warn("a", "much")
    restraint.fail("b", "little")
    assert caplog.messages[-1] == "little"


def test_memory_is_bounded() -> None:
    """Whatever kinds there are."""
    restraint = Restraint(logging.getLogger("flooded"))
    for number in range(KINDS + 10):
        restraint.warn(str(number), "x")
    assert len(restraint._kinds) == KINDS
