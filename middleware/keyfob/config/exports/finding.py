"""Finds the tables of an export, in whichever of its forms it comes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from keyfob.config.exports.findings import Findings, Kind, Table, did_you_mean, only_tables
from keyfob.config.exports.kinds import APPLICATION_TYPES, LIST_TYPES
from keyfob.config.exports.terraform import find_in_configuration, find_in_state, refuse_state_file


def find_tables(raw: object, findings: Findings) -> None:
    """Every table of the export, and what shows that some are missing."""
    pages: list[_Page] = []
    _find(raw, "", None, findings, pages)
    _miss_pages(pages, findings)


class _Page(NamedTuple):
    """One answer of the API, which may be a part of a longer list."""

    place: str
    kind: str
    held: int
    number: int
    total_pages: int
    total_count: int


# What gives each of Terraform's forms away, the most telling first.
_TERRAFORM: Mapping[str, Callable[[Table, str, Findings], None]] = {
    "values": find_in_state,
    "planned_values": find_in_state,
    "terraform_version": refuse_state_file,
    "resource": find_in_configuration,
}

_SECTIONS: Mapping[str, Kind] = {
    "applications": Kind.APPLICATION,
    "apps": Kind.APPLICATION,
    "policies": Kind.POLICY,
    "groups": Kind.GROUP,
    "lists": Kind.LIST,
    "ip_lists": Kind.LIST,
}

# A member that only this kind of table has, the most telling first: an application may hold what a group is known by.
_TOKENS: Mapping[str, Kind] = {
    "decision": Kind.POLICY,
    "aud": Kind.APPLICATION,
    "domain": Kind.APPLICATION,
    "destinations": Kind.APPLICATION,
    "self_hosted_domains": Kind.APPLICATION,
    "include": Kind.GROUP,
    "items": Kind.LIST,
}


def _find(raw: object, place: str, kind: Kind | None, findings: Findings, pages: list[_Page]) -> None:
    """Everything below `place`, of a kind that what is around it may tell."""
    if isinstance(raw, list):
        for index, each in enumerate(raw):
            _find(each, f"{place}[{index}]", kind, findings, pages)
    elif not isinstance(raw, dict):
        findings.refuse(place, "is not a table", _COMMANDS)
    elif "result" in raw:
        _find_in_answer(raw, place, kind, findings, pages)
    elif known := kind or _classify(raw):
        findings.add(known, place, raw)
    elif form := next((each for each in _TERRAFORM if each in raw), None):
        _TERRAFORM[form](raw, place, findings)
    elif _SECTIONS.keys() & raw.keys():
        _find_in_sections(raw, place, findings, pages)
    else:
        findings.refuse(place, "is nothing that Access or Terraform exports", _COMMANDS)


_COMMANDS = "export it with one of the commands in the README"


def _classify(raw: Table) -> Kind | None:
    told = raw.get("type")
    if isinstance(told, str) and told in APPLICATION_TYPES:
        return Kind.APPLICATION
    if isinstance(told, str) and told in LIST_TYPES:
        return Kind.LIST
    return next((kind for key, kind in _TOKENS.items() if raw.get(key) is not None), None)


def _find_in_sections(raw: Table, place: str, findings: Findings, pages: list[_Page]) -> None:
    for key, value in raw.items():
        if key in _SECTIONS:
            _find(value, f"{place}.{key}", _SECTIONS[key], findings, pages)
        else:
            findings.refuse(f"{place}.{key}", "is no part of an export", did_you_mean(key, _SECTIONS))


def _find_in_answer(raw: Table, place: str, kind: Kind | None, findings: Findings, pages: list[_Page]) -> None:
    """A whole answer of the API: `{"result": …, "success": true, "errors": [], "messages": [], "result_info": …}`."""
    for key in sorted(raw.keys() - _ENVELOPE):
        findings.refuse(f"{place}.{key}", "is no part of an answer of the API", did_you_mean(key, _ENVELOPE))
    if raw.get("success", True) is not True or raw.get("errors"):
        said = "; ".join(str(each.get("message")) for each in only_tables(raw.get("errors"))) or "no reason given"
        findings.refuse(place, f"the API has refused: {said}", "ask again, with a token that may read Access")
        return
    before = len(findings.items)
    _find(raw["result"], f"{place}.result", kind, findings, pages)
    found = str(findings.items[before].kind) if len(findings.items) > before else str(kind)
    if isinstance(raw.get("result_info"), dict):
        _note_page(raw, place, found, findings, pages)


_ENVELOPE = frozenset({"result", "success", "errors", "messages", "result_info"})


def _note_page(raw: Table, place: str, kind: str, findings: Findings, pages: list[_Page]) -> None:
    held = len(raw["result"]) if isinstance(raw["result"], list) else 1
    number, total_pages, total_count, count = (
        value if isinstance(value := raw["result_info"].get(key), int) else 0
        for key in ("page", "total_pages", "total_count", "count")
    )
    if count > held:
        findings.refuse(f"{place}.result", f"the export is incomplete: {held} of {count} are here", _ALL_PAGES)
    pages.append(_Page(place, kind, held, number, total_pages, total_count))


_ALL_PAGES = "export every page, with ?per_page=1000&page=1 and so on, and put the answers into one list with jq -s ."


def _miss_pages(pages: list[_Page], findings: Findings) -> None:
    """What the API has said is there, and is not in this export."""
    lists: dict[tuple[str, int, int], list[_Page]] = {}
    for page in pages:
        lists.setdefault((page.kind, page.total_pages, page.total_count), []).append(page)
    for (_, total_pages, total_count), parts in lists.items():
        numbers = {page.number for page in parts}
        missing = next((each for each in range(1, total_pages + 1) if each not in numbers), 0) if total_pages > 1 else 0
        held = sum(page.held for page in parts)
        if missing:
            said = f"page {missing} of {total_pages} is missing"
            findings.refuse(parts[0].place, f"the export is incomplete: {said}", _ALL_PAGES)
        elif held < total_count:
            said = f"{held} of {total_count} are here"
            findings.refuse(parts[0].place, f"the export is incomplete: {said}", _ALL_PAGES)
