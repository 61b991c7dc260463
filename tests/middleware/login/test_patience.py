"""Patience: steps that ask once too often get no further answer."""

from collections.abc import Callable, Mapping

import pytest

from keyfob.errors import LoginUnavailable
from keyfob.login import steps
from keyfob.login.exchanges import Fetch, Steps, Work
from keyfob.login.journeys import Journey
from keyfob.login.patience import limit
from keyfob.policy import Fact, User
from logins import ASGI, Browser, Stub, build


def ask(number: int) -> Steps[list[object]]:
    """So many questions, whatever becomes of each."""
    found: list[object] = []
    for each in range(number):
        try:
            found.append((yield Fetch("GET", f"https://example.com/{each}")))
        except LoginUnavailable as error:
            found.append(error.message)
    return found


def drive(asking: Steps[list[object]], perform: Callable[[Fetch], object]) -> list[object]:
    try:
        asked = next(asking)
        while True:
            assert isinstance(asked, Fetch)
            try:
                found = perform(asked)
            except LoginUnavailable as error:
                asked = asking.throw(error)
            else:
                asked = asking.send(found)
    except StopIteration as end:
        done: list[object] = end.value
        return done


class Clock:
    """Goes on by a second whenever somebody is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def answer(self, asked: Fetch) -> str:
        self.now += 1.0
        return asked.url[-1]


OVER = "Work did not answer all questions within 2.5 seconds"


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, []), (2, ["0", "1"]), (3, ["0", "1", "2"]), (5, ["0", "1", "2", OVER, OVER])],
)
def test_what_is_asked_when_the_time_is_over_is_not_asked(number: int, expected: list[object]) -> None:
    clock = Clock()
    assert drive(limit(ask(number), 2.5, "Work", clock), clock.answer) == expected
    assert clock.now == min(number, 3)


def test_no_time_is_no_question() -> None:
    clock = Clock()
    assert drive(limit(ask(1), 0.0, "Work", clock), clock.answer) == [
        "Work did not answer all questions within 0 seconds"
    ]


def test_what_fails_is_told_to_the_steps() -> None:
    clock = Clock()

    def fail(asked: Fetch) -> str:
        if asked.url.endswith("1"):
            raise LoginUnavailable("down")
        return clock.answer(asked)

    assert drive(limit(ask(3), 9.0, "Work", clock), fail) == ["0", "down", "2"]


def test_a_provider_has_so_long_for_all_of_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them may be within its own limit, and somebody waits all the same."""

    class Slow(Stub):
        def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
            yield Work(lambda store: None)
            return self.user

    browser = Browser(ASGI(build(providers=[Slow()]).gate))
    assert browser.come_back(browser.begin()).status == 303
    monkeypatch.setattr(steps, "PATIENCE", 0.0)
    reply = browser.come_back(browser.begin("/.keyfob/login"))
    assert (reply.status, reply.cookies) == (503, [])


def test_steps_that_do_not_go_on_without_an_answer_end() -> None:
    def insist() -> Steps[list[object]]:
        yield Fetch("GET", "https://example.com/0")
        yield Fetch("GET", "https://example.com/1")
        return []

    clock = Clock()
    with pytest.raises(LoginUnavailable, match="within 0"):
        drive(limit(insist(), 0.5, "Work", clock), clock.answer)
