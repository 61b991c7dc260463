"""Policies and groups: their fields, their rules, and the order in which an application asks its policies."""

from collections.abc import Sequence
from typing import NamedTuple

from keyfob.config.exports.fields import SIDES, keep_fields
from keyfob.config.exports.findings import Findings, Item, Kind, Table, drop_nulls
from keyfob.config.exports.rules import read_rules


class Ranked(NamedTuple):
    """A policy, or the id of a reusable one, with its place in the order and the application it belongs to alone."""

    policy: Table | str
    place: str
    precedence: int | None = None
    application_id: str = ""


def read_policy(item: Item, findings: Findings) -> Ranked:
    """A policy that is written out."""
    table = read_table(item, findings)
    precedence = table.pop("precedence", None)
    if precedence is not None and (not isinstance(precedence, int) or isinstance(precedence, bool)):
        findings.refuse(f"{item.place}.precedence", "is no whole number", "export the policy again")
        precedence = None
    return Ranked(table, item.place, precedence, str(table.pop("application_id", "")))


def read_table(item: Item, findings: Findings) -> Table:
    """A policy or a group with its rules."""
    table, _ = keep_fields(item, findings)
    for side in SIDES:
        if side in table:
            table[side] = read_rules(table[side], f"{item.place}.{side}", findings)
    findings.origins.append((table, item.place))
    return table


def read_entry(written: object, place: str, findings: Findings) -> Ranked:
    """What an application has in its list: a policy that is written out, or the id of a reusable one."""
    if isinstance(written, str) and written:
        return Ranked(written, place)
    if not isinstance(written, dict):
        findings.refuse(place, "is neither a policy nor the id of one", "export the application again")
        return Ranked({}, place)
    ranked = read_policy(Item(Kind.POLICY, place, drop_nulls(written)), findings)
    table = ranked.policy
    is_reference = isinstance(table, dict) and not any(table.get(key) for key in ("decision", *SIDES))
    if is_reference and isinstance(written.get("id"), str):
        return ranked._replace(policy=written["id"])
    return ranked


def put_in_order(entries: Sequence[Ranked]) -> list[Table | str]:
    """By precedence, ascending. One without comes right behind the one before it, and equal ones stay as they are."""
    last, ranks = 0, []
    for entry in entries:
        last = last + 1 if entry.precedence is None else entry.precedence
        ranks.append(last)
    return [entry.policy for _, entry in sorted(zip(ranks, entries, strict=True), key=lambda each: each[0])]
