"""What the check costs, as ratios to something that people know, measured in one run.

Run by `make bench`. Prints both sides of each comparison; ends with status 1 if a limit is missed. Names of
benchmarks as arguments run only those.
"""

import sys
from collections.abc import Callable, Mapping

import accept
import applications
import check
import first
import header
import inventory
import issuing
import lists
import pages
import people
import throughput

BENCHMARKS: Mapping[str, Callable[[], bool]] = {
    "check": check.measure,
    "header": header.measure,
    "flood": header.measure_flood,
    "first": first.measure,
    "lists": lists.measure,
    "memory": lists.measure_memory,
    "reload": lists.measure_reload,
    "applications": applications.measure,
    "throughput": throughput.measure,
    "inventory": inventory.measure,
    "issuing": issuing.measure,
    "fleet": issuing.measure_memory,
    "logins": people.measure,
    "accept": accept.measure,
    "pages": pages.measure,
}


def main() -> None:
    """Every benchmark, or the named ones."""
    chosen = sys.argv[1:] or list(BENCHMARKS)
    met = [BENCHMARKS[name]() for name in chosen]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
