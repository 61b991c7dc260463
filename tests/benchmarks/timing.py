"""Several sides of a comparison, timed in turn."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

Call = Callable[[], object]


def time_in_turn(sides: Sequence[Call], rounds: int, calls: int) -> list[list[float]]:
    """Microseconds for one call: a row a round, a column a side. So a slow moment of the machine meets all of them."""
    return [[_time(side, calls) for side in sides] for _ in range(rounds)]


def _time(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


def run_through(waiting: Awaitable[None]) -> None:
    """What an app returns, run to its end without an event loop: it has nothing to wait for."""
    steps = waiting.__await__()
    for _ in steps:
        raise RuntimeError("it waits for something")


def find_medians(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The middle of each side."""
    return [statistics.median(side) for side in zip(*rounds, strict=True)]


def find_ratio(rounds: Sequence[Sequence[float]], side: int, to: int) -> float:
    """The middle of the ratios of each round."""
    return statistics.median(each[side] / each[to] for each in rounds)


def judge(name: str, value: float, limit: float, unit: str = "") -> bool:
    """Prints a value and whether its limit is met."""
    met = value <= limit
    print(f"  {name:<46} {value:8.2f}{unit}   (limit {limit}: {'met' if met else 'MISSED'})")
    return met


def show(name: str, value: float, unit: str = " µs") -> None:
    print(f"  {name:<46} {value:8.2f}{unit}")
