"""What went wrong, counted and described."""

import threading
from collections import Counter
from typing import Literal

Kind = Literal["lost", "doubled", "damaged", "other"]
KINDS: tuple[Kind, ...] = ("lost", "doubled", "damaged", "other")
_DESCRIBED = 20


class Findings:
    """Faults by kind, and the figures to be told at the end. May be used by many threads."""

    def __init__(self) -> None:
        self.faults: Counter[Kind] = Counter()
        self.figures: Counter[str] = Counter()
        self.described: list[str] = []
        self._lock = threading.Lock()

    def add(self, kind: Kind, description: str) -> None:
        """Something that must not be; the first few are described."""
        with self._lock:
            self.faults[kind] += 1
            if len(self.described) < _DESCRIBED:
                self.described.append(f"{kind}: {description}")

    def count(self, name: str, number: int = 1) -> None:
        """Something that happened, and may."""
        with self._lock:
            self.figures[name] += number

    def __bool__(self) -> bool:
        return bool(self.faults)
