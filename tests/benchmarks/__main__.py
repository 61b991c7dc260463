"""What the check costs, as ratios to something that people know, measured in one run.

Run by `make bench`. Prints both sides of each comparison; ends with status 1 if a limit is missed. Names of
benchmarks as arguments run only those.
"""

import sys
from collections.abc import Callable, Mapping

import check
import throughput

BENCHMARKS: Mapping[str, Callable[[], bool]] = {"check": check.measure, "throughput": throughput.measure}


def main() -> None:
    """Every benchmark, or the named ones."""
    chosen = sys.argv[1:] or list(BENCHMARKS)
    met = [BENCHMARKS[name]() for name in chosen]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
