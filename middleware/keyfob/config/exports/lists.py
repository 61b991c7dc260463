"""Lists of addresses and of people, which rules refer to by their ids."""

from collections.abc import Iterator

from keyfob.config.exports.fields import keep_fields
from keyfob.config.exports.findings import Findings, Item, Table


def read_list(item: Item, findings: Findings) -> Table:
    """A list with its items as plain texts. A list that does not hold what it counts is refused."""
    table, _ = keep_fields(item, findings)
    table.pop("type", None)
    counts = [table.pop(key, 0) for key in ("count", "list_count")]
    is_there = "items" in table or "items_with_description" in table
    items = list(_read_items(table.pop("items", []), f"{item.place}.items", findings))
    place = f"{item.place}.items_with_description"
    items += _read_items(table.pop("items_with_description", []), place, findings)
    if not is_there or any(isinstance(count, int) and count > len(items) for count in counts):
        hint = 'fetch them from /gateway/lists/<id>/items, and put them here as "items"'
        findings.refuse(item.place, "the export is incomplete: not all of the list's items are here", hint)
    table = {**table, "items": items}
    findings.origins.append((table, item.place))
    return table


def _read_items(written: object, place: str, findings: Findings) -> Iterator[str]:
    for index, each in enumerate(written if isinstance(written, list) else [written]):
        value = each.get("value") if isinstance(each, dict) else each
        if isinstance(value, str) and value:
            yield value
        else:
            findings.refuse(f"{place}[{index}]", "is no item of a list", 'write a text, or {"value": "192.0.2.0/24"}')
