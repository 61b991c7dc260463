"""What the check costs, as ratios to something that people know, measured in one run.

Run by `make bench`. Prints both sides of each comparison; ends with status 1 if a limit is missed. Names of
benchmarks as arguments run only those.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import check
import throughput

BENCHMARKS: Mapping[str, Callable[[], bool]] = {"check": check.measure, "throughput": throughput.measure}


def main() -> None:
    """Every benchmark, or the named ones."""
    chosen = sys.argv[1:] or list(BENCHMARKS)
    sys.exit(0 if all([BENCHMARKS[name]() for name in chosen]) else 1)


if __name__ == "__main__":
    main()
