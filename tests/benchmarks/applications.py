"""A thousand applications of twenty policies, on as many hosts or on one, against a single application of one policy.

The request is a known device's, to ever another application, through the whole middleware.
"""

import json
import tempfile
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from check import HEADERS, empty, receive, send
from timing import Call, find_medians, find_ratio, judge, run_through, show, time_in_turn

from certificates import Pair, make_authority, make_leaf
from exchanges import make_scope
from keyfob import AccessMiddleware
from keyfob.config import load_gate

ROUNDS, CALLS, MANY, POLICIES, ASKED, LIMIT = 61, 2_000, 1_000, 20, 50, 2.0


def _write_policies(count: int) -> list[dict[str, Any]]:
    """The last of them lets the device in."""
    names = [*(f"Somebody else {number}" for number in range(count - 1)), "Rhea Group"]
    return [
        {
            "name": f"Policy {number}",
            "decision": "non_identity",
            "include": [{"certificate": {}}],
            "require": [{"common_name": {"common_name": name}}],
        }
        for number, name in enumerate(names)
    ]


def _make_access(folder: Path, root: Pair, domains: Sequence[str], policies: int) -> AccessMiddleware:
    hosts = sorted({domain.partition("/")[0] for domain in domains})
    document = {
        "source": {"kind": "tls"},
        "root_certificates": [{"name": "r", "certificate": "ca.pem", "associated_hostnames": hosts}],
        "applications": [
            {"name": domain, "domain": domain, "policies": _write_policies(policies)} for domain in domains
        ],
    }
    (folder / "ca.pem").write_text(root.pem, encoding="ascii")
    (folder / "access.json").write_text(json.dumps(document), encoding="utf-8")
    return AccessMiddleware(empty, gate=load_gate(folder / "access.json"))


def _ask(access: AccessMiddleware, leaf: Pair, domains: Sequence[str]) -> Call:
    """A request to the next of some of the domains."""
    step = max(1, len(domains) // ASKED)
    split = [domain.partition("/") for domain in domains[::step]]
    scopes = [
        make_scope([leaf.pem], host=host, path=slash + path or "/", headers=HEADERS)
        for host, slash, path in (split * ASKED)[:ASKED]
    ]
    waiting = cycle(scopes)
    return lambda: run_through(access(next(waiting), receive, send))


def measure() -> bool:
    """Prints what a request costs in each of them, and the ratios."""
    root = make_authority()
    leaf = make_leaf(root)
    sides = {
        "one application, one policy": (["app.example.com"], 1),
        "one application on a path, one policy": (["app.example.com/app"], 1),
        f"{MANY} hosts": ([f"app{number}.example.com" for number in range(MANY)], POLICIES),
        f"{MANY} paths of one host": ([f"app.example.com/app{number}" for number in range(MANY)], POLICIES),
    }
    with tempfile.TemporaryDirectory() as folder:
        calls = [
            _ask(_make_access(Path(folder), root, domains, policies), leaf, domains)
            for domains, policies in sides.values()
        ]
    rounds = time_in_turn(calls, ROUNDS, CALLS)
    print(f"applications: {MANY} of {POLICIES} policies each, a known device, {ROUNDS} rounds of {CALLS}, medians")
    for name, value in zip(sides, find_medians(rounds), strict=True):
        show(name, value)
    hosts = judge("ratio on hosts", find_ratio(rounds, 2, 0), LIMIT)
    paths = judge("ratio on paths, to one path", find_ratio(rounds, 3, 1), LIMIT)
    show("ratio on paths, to one host whole", find_ratio(rounds, 3, 0), "")
    return hosts and paths
