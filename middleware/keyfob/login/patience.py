"""Patience: how long a sequence of steps may take, with all that it asks for."""

import time
from collections.abc import Callable
from typing import TypeVar

from keyfob.errors import LoginUnavailable
from keyfob.login.exchanges import Steps

T = TypeVar("T")


def limit(steps: Steps[T], seconds: float, who: str, clock: Callable[[], float] = time.monotonic) -> Steps[T]:
    """The same steps, which get LoginUnavailable for whatever they ask once the time is over.

    Each exchange has a limit of its own, but steps that ask thirty times could still keep somebody for minutes. `who`
    is the one who is asked.
    """
    until = clock() + seconds
    over = LoginUnavailable(f"{who} did not answer all questions within {seconds:g} seconds")
    try:
        ask = next(steps)
        while True:
            if clock() >= until:
                ask = steps.throw(over)
                continue
            try:
                answer = yield ask
            except LoginUnavailable as error:
                ask = steps.throw(error)
            else:
                ask = steps.send(answer)
    except StopIteration as end:
        found: T = end.value
        return found
