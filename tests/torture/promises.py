"""What a person was promised: every entry with all that the app has answered of it, and what it owes for that."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

CATEGORIES = ("Groceries", "Coffee", "Eating out", "Transport", "Other")
_NOTES = ("bread & cheese", "=1+1", "café, às 9", 'the "good" one', "<b>", "", "-5", "🍰")
_FIRST_DAY = date(2025, 1, 1)


@dataclass(frozen=True, slots=True)
class Content:
    """What a row shows, device and id aside."""

    amount: Decimal
    category: str
    date: date
    note: str

    def fields(self) -> dict[str, str]:
        """As a program sends it."""
        return {
            "amount": str(self.amount),
            "category": self.category,
            "date": self.date.isoformat(),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class State:
    """An entry at one of its versions, which count from 1."""

    version: int
    kind: str
    removed: bool
    content: Content


class Ask(NamedTuple):
    """A request, and the state that it leads to; `kind` is `add`, `again`, `change`, `remove` or `undo`."""

    kind: str
    path: str
    fields: dict[str, str]
    to: State


@dataclass(slots=True)
class Promise:
    """One entry: its states as they were acknowledged, and the one that was asked for without an answer."""

    entry_id: str
    states: list[State] = field(default_factory=list)
    doubt: State | None = None

    @property
    def now(self) -> State:
        return self.states[-1]

    def add(self, content: Content) -> Ask:
        """As a phone does; once more is no other entry."""
        fields = {"id": self.entry_id, **content.fields()}
        return Ask("again" if self.states else "add", "/", fields, State(1, "add", False, content))

    def change(self, content: Content) -> Ask:
        fields = {**content.fields(), "version": str(self.now.version)}
        return Ask("change", self._path(), fields, State(self.now.version + 1, "change", False, content))

    def remove(self) -> Ask:
        to = State(self.now.version + 1, "remove", True, self.now.content)
        return Ask("remove", f"{self._path()}/remove", {"version": str(self.now.version)}, to)

    def undo(self) -> Ask:
        now = replace(self.now, version=self.now.version + 1)
        if now.kind == "remove":
            to = replace(now, kind="restore", removed=False)
        elif now.kind == "change":
            to = replace(now, content=self.states[-2].content)
        else:
            to = replace(now, kind="remove", removed=True)
        return Ask("undo", f"{self._path()}/undo", {"version": str(self.now.version)}, to)

    def _path(self) -> str:
        return f"/entries/{self.entry_id}"


class Person:
    """Somebody with a phone, who does one thing after the other; the same seed does the same things."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  What happens is to happen again.
        self.promises: list[Promise] = []
        self._count = 0

    def next(self) -> tuple[Promise, Ask]:
        """What they do now. An add that was not answered is sent again first, as the outbox of a phone does."""
        for promise in self.promises:
            if not promise.states and promise.doubt is not None:
                return promise, promise.add(promise.doubt.content)
        known = [promise for promise in self.promises if promise.states]
        if not known or self._random.random() < 0.5:
            promise = Promise(str(uuid.UUID(int=self._random.getrandbits(128), version=4)))
            self.promises.append(promise)
            return promise, promise.add(self._think())
        promise = self._random.choice(known[-40:])
        return promise, self._choose(promise)

    def _choose(self, promise: Promise) -> Ask:
        dice = self._random.random()
        if dice < 0.2:
            return promise.add(promise.states[0].content)
        if dice < 0.5 or promise.now.removed:
            return promise.undo()
        return promise.change(self._think()) if dice < 0.8 else promise.remove()

    def _think(self) -> Content:
        self._count += 1
        cents = self._random.randint(1, 99_999) * self._random.choice((1, 1, 1, -1))
        day = _FIRST_DAY + timedelta(days=self._random.randrange(600))
        note = f"{self._random.choice(_NOTES)} {self._count}".strip()
        return Content(Decimal(cents).scaleb(-2), self._random.choice(CATEGORIES), day, note)


def list_live(promises: Iterator[Promise]) -> dict[str, Content]:
    """What the workbook has to have, by the entries' ids; nothing may be in doubt any more."""
    return {each.entry_id: each.now.content for each in promises if each.states and not each.now.removed}
