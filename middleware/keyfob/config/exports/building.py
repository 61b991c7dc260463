"""From an export to the tables of our own document."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from keyfob.config.exports.applications import is_ours, read_application
from keyfob.config.exports.fields import SIDES
from keyfob.config.exports.finding import find_tables
from keyfob.config.exports.findings import Findings, Item, Kind, Table
from keyfob.config.exports.kinds import EMAIL, IP
from keyfob.config.exports.lists import read_list
from keyfob.config.exports.policies import Ranked, read_policy, read_table
from keyfob.errors import Problem

Path = tuple[str | int, ...]


class Export(NamedTuple):
    """What an export says, as the lists of tables that access.toml would hold.

    With any problem the lists are not to be obeyed. A rule or a member that is refused stays in them all the same, so
    that our own document refuses it as well. `warnings` name what stays in Access, because it guards nothing here.
    `places` say where in the export each table and each rule stands, by its path in here, such as ("applications", 0,
    "policies", 1). Whether names, addresses, hosts and arguments are good ones is not looked at: that is the document's
    business.
    """

    applications: list[Table]
    policies: list[Table]
    groups: list[Table]
    ip_lists: list[Table]
    email_lists: list[Table]
    problems: list[Problem]
    warnings: list[Problem]
    places: Mapping[Path, str]


def read_export(raw: object) -> Export:
    """What a JSON document exports: an answer of Access's API, several of them, or one of Terraform's two forms.

    Never raises: what is wrong is in `problems`, each with its place in `raw`.
    """
    findings = Findings()
    try:
        find_tables(raw, findings)
        return _build(_drop_doubles(findings), findings)
    except RecursionError:
        problem = Problem("", "is nested too deeply", "export it with one of the commands in the README")
        return Export([], [], [], [], [], [problem], [], {})


def _drop_doubles(findings: Findings) -> list[Item]:
    """The tables, each once: two answers of the API may well hold the same one."""
    seen: dict[tuple[Kind, str], Item] = {}
    kept: list[Item] = []
    for item in findings.items:
        name = item.table.get("id")
        if not isinstance(name, str) or seen.setdefault((item.kind, name), item) is item:
            kept.append(item)
        elif seen[item.kind, name].table != item.table:
            hint = f"keep the newer one; the other is {seen[item.kind, name].place}"
            findings.refuse(item.place, f"the {item.kind} {name!r} comes twice, and not the same", hint)
    return kept


def _build(items: list[Item], findings: Findings) -> Export:
    def of(kind: Kind) -> list[Item]:
        return [item for item in items if item.kind is kind]

    policies = [read_policy(item, findings) for item in of(Kind.POLICY)]
    reusable = [each.policy for each in policies if not each.application_id and isinstance(each.policy, dict)]
    applications = list(_build_applications(of(Kind.APPLICATION), policies, reusable, findings))
    lists = [(item.table.get("type", IP), item) for item in of(Kind.LIST)]
    export = Export(
        applications,
        reusable,
        [read_table(item, findings) for item in of(Kind.GROUP)],
        [read_list(item, findings) for told, item in lists if told == IP],
        [read_list(item, findings) for told, item in lists if told == EMAIL],
        findings.problems,
        findings.warnings,
        {},
    )
    return export._replace(places=dict(_trace(export, findings)))


def _build_applications(
    items: Iterable[Item], policies: Iterable[Ranked], reusable: Iterable[Table], findings: Findings
) -> Iterator[Table]:
    scoped: dict[str, list[Ranked]] = {}
    for each in policies:
        if each.application_id:
            scoped.setdefault(each.application_id, []).append(each)
    decisions = {str(each["id"]): each.get("decision") for each in reusable if "id" in each}
    for item in items:
        own = scoped.pop(str(item.table.get("id")), [])
        if is_ours(item, findings):
            yield read_application(item, own, decisions, findings)
    for each in (each for several in scoped.values() for each in several):
        hint = "export the application together with its policies"
        findings.refuse(f"{each.place}.application_id", "names no application of this export", hint)


def _trace(export: Export, findings: Findings) -> Iterator[tuple[Path, str]]:
    # Equal rules are made anew each time, so that each has an identity of its own.
    places = {id(made): place.removeprefix(".") for made, place in findings.origins}
    for name in ("applications", "policies", "groups", "ip_lists", "email_lists"):
        for index, table in enumerate(getattr(export, name)):
            yield from _trace_below((name, index), table, places)


def _trace_below(path: Path, made: object, places: Mapping[int, str]) -> Iterator[tuple[Path, str]]:
    if id(made) in places:
        yield path, places[id(made)]
    for key in ("policies", *SIDES) if isinstance(made, dict) else ():
        below = made.get(key) if isinstance(made, dict) else None
        for index, each in enumerate(below if isinstance(below, list) else []):
            if isinstance(each, dict):
                yield from _trace_below((*path, key, index), each, places)
