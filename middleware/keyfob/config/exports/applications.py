"""Applications: what they guard, and by which policies."""

from collections.abc import Iterator, Mapping, Sequence

from keyfob.config.exports.fields import is_asked, keep_fields, refuse_field
from keyfob.config.exports.findings import Findings, Item, Table, did_you_mean, says_something
from keyfob.config.exports.kinds import APPLICATION_TYPES, SELF_HOSTED, STAYING, UNSUPPORTED
from keyfob.config.exports.policies import Ranked, put_in_order, read_entry


def is_ours(item: Item, findings: Findings) -> bool:
    """Whether the application guards what a request here could reach."""
    told, place = item.table.get("type", SELF_HOSTED), f"{item.place}.type"
    if told == SELF_HOSTED:
        return True
    if isinstance(told, str) and told in STAYING:
        findings.warn(place, f"an application of the type {told!r} stays in Access: it guards {STAYING[told]}")
    elif isinstance(told, str) and told in UNSUPPORTED:
        said = f"an application of the type {told!r} is not supported: it guards {UNSUPPORTED[told]}"
        findings.refuse(place, said, "take it out of the export, and guard it in Access")
    else:
        findings.refuse(place, f"{told!r} is no type of application", did_you_mean(told, APPLICATION_TYPES))
    return False


def read_application(
    item: Item, scoped: Sequence[Ranked], decisions: Mapping[str, object], findings: Findings
) -> Table:
    """An application as our own document has it.

    `scoped` are the policies that name it by its id, `decisions` those of the reusable policies by their ids.
    """
    fields, for_login = keep_fields(item, findings)
    entries = list(_read_entries(fields.pop("policies", []), f"{item.place}.policies", findings))
    if entries and scoped:
        said = "come beside others that name this application by its id, and nobody can tell their order"
        findings.refuse(f"{item.place}.policies", said, "give the application all of its policies in one way")
    domains = _read_domains(fields, item, findings)
    policies = put_in_order([*entries, *scoped])
    if any(_may_ask_for_login(policy, decisions) for policy in policies):
        for key in for_login:
            if not is_asked(item.kind, key):
                refuse_field(item, key, findings)
            fields[key] = item.table[key]
    table = {
        **{key: value for key, value in fields.items() if key not in _ABOUT_DOMAINS},
        **({"domain": domains[0]} if domains else {}),
        **({"self_hosted_domains": domains[1:]} if domains[1:] else {}),
        "policies": policies,
    }
    findings.origins.append((table, item.place))
    return table


def _read_entries(written: object, place: str, findings: Findings) -> Iterator[Ranked]:
    if not isinstance(written, list):
        findings.refuse(place, "is not a list", "export the application again")
        return
    for index, each in enumerate(written):
        yield read_entry(each, f"{place}[{index}]", findings)


def _may_ask_for_login(policy: Table | str, decisions: Mapping[str, object]) -> bool:
    decision = policy.get("decision") if isinstance(policy, dict) else decisions.get(policy, "allow")
    return decision == "allow"


_ABOUT_DOMAINS = frozenset({"type", "domain", "domain_type", "self_hosted_domains", "destinations"})


def _read_domains(fields: Table, item: Item, findings: Findings) -> list[str]:
    """Every host, with its path if it has one. Access goes by `destinations`, and by the older list without them."""
    if fields.get("domain_type", "public") not in ("", "public"):
        findings.refuse(f"{item.place}.domain_type", "is not supported: only WARP reaches it", "guard it in Access")
    place = f"{item.place}.destinations"
    uris = [each for each in _read_destinations(fields.get("destinations", []), place, findings) if each]
    listed = list(_read_texts(fields.get("self_hosted_domains", []), f"{item.place}.self_hosted_domains", findings))
    first = list(_read_texts([fields["domain"]] if "domain" in fields else [], f"{item.place}.domain", findings))
    for each in listed:
        if uris and each not in (*uris, *first):
            hint = "Access goes by the destinations: add it there, or take it out here"
            findings.refuse(f"{item.place}.self_hosted_domains", f"{each!r} is none of the destinations", hint)
    return list(dict.fromkeys([*first, *uris, *listed]))


def _read_destinations(written: object, place: str, findings: Findings) -> Iterator[str]:
    for index, each in enumerate(written if isinstance(written, list) else [written]):
        where = f"{place}[{index}]"
        set_members = {key: value for key, value in each.items() if says_something(value)} if _is_table(each) else {}
        told = set_members.pop("type", "public")
        uri = set_members.pop("uri", None)
        if told != "public":
            hint = "only hosts that browsers reach can be guarded here"
            findings.refuse(where, f"a destination of the type {told!r} is not supported", hint)
        elif not isinstance(uri, str) or set_members:
            findings.refuse(where, "is no public destination", 'write {"type": "public", "uri": "host/path"}')
        else:
            yield uri


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _read_texts(written: object, place: str, findings: Findings) -> Iterator[str]:
    for each in written if isinstance(written, list) else [written]:
        if isinstance(each, str):
            yield each
        else:
            findings.refuse(place, f"{each!r} is no host", "write it as the API does")
