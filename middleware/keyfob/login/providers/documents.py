"""Documents of providers: JSON that says each thing once, kept for an hour, and longer while its owner is silent."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from keyfob.errors import LoginUnavailable
from keyfob.login.exchanges import Fetch, Fetched, Steps

T = TypeVar("T")

_LOGGER = logging.getLogger("keyfob.login")
# Seconds for which a document is taken as it is.
HOUR = 3600.0
# Seconds until a document is asked for again, where the last one did not help or the last answer was none.
PAUSE = 60.0
# Seconds after which a document is too old for anything, whoever does not answer.
DAY = 86_400.0


def parse(text: str | bytes) -> Any:
    """JSON in which no name comes twice, as nobody knows which of two is meant. Raises ValueError.

    Nor is there half a character in it (RFC 8259 section 8.2), which could be written nowhere else.
    """
    try:
        found = json.loads(text, object_pairs_hook=_make_object, parse_constant=_refuse)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested more deeply than anything that is meant") from None
    return found


def _make_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


class Copy(NamedTuple, Generic[T]):
    """What a document said, where it was, and when: seconds since the epoch."""

    content: T
    url: str
    at: float


class Kept(Generic[T]):
    """The last copy of one document, read by `read`. Shared by threads: what two of them fetch at once is the same.

    `name` is for messages. `read` raises LoginUnavailable for what makes no sense, as `find` does. A copy is taken as
    it is for `life` seconds, for `pause` where it did not help, and for `oldest` while its owner is silent: an hour, a
    minute and a day unless said.
    """

    def __init__(
        self,
        name: str,
        authority: str,
        read: Callable[[Fetched], T],
        *,
        life: float | None = None,
        pause: float | None = None,
        oldest: float | None = None,
    ) -> None:
        self._name, self._authority, self._read = name, authority, read
        self._life, self._pause, self._oldest = life, pause, oldest
        self._copy: Copy[T] | None = None
        self._failed_at = -DAY

    def find(self, url: str, at: float, *, again: bool = False) -> Steps[T]:
        """What stands there at `at`. With `again` the copy did not help: it is fetched, unless that was just now."""
        life = HOUR if self._life is None else self._life
        pause = PAUSE if self._pause is None else self._pause
        oldest = DAY if self._oldest is None else self._oldest
        copy = self._copy if self._copy is not None and self._copy.url == url else None
        if copy is not None and _is_within(pause if again else life, copy.at, at):
            return copy.content
        if copy is not None and _is_within(pause, self._failed_at, at) and _is_within(oldest, copy.at, at):
            return copy.content
        try:
            answer: Fetched = yield Fetch("GET", url, authority=self._authority)
            copy = Copy(self._read(answer), url, at)
        except LoginUnavailable as error:
            self._failed_at = at
            if copy is None or not _is_within(oldest, copy.at, at):
                raise
            _LOGGER.warning("%s is used as it was %.0f minutes ago: %s", self._name, (at - copy.at) / 60, error.message)
            return copy.content
        self._copy = copy
        return copy.content


def _is_within(seconds: float, since: float, at: float) -> bool:
    """A moment that is still to come says that a clock was put back, and nothing else."""
    return 0 <= at - since < seconds
