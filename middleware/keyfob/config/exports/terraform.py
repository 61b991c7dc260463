"""Terraform's two forms of JSON: what `terraform show -json` prints, and configuration that is written in JSON."""

import re
from collections.abc import Container, Iterator, Mapping

from keyfob.config.exports.fields import SIDES, is_read
from keyfob.config.exports.findings import Findings, Kind, Table, did_you_mean, drop_nulls, only_tables, says_something

_RESOURCES: Mapping[str, Kind] = {
    **{f"cloudflare_zero_trust_access_{kind}": kind for kind in (Kind.APPLICATION, Kind.POLICY, Kind.GROUP)},
    **{f"cloudflare_access_{kind}": kind for kind in (Kind.APPLICATION, Kind.POLICY, Kind.GROUP)},
    "cloudflare_zero_trust_list": Kind.LIST,
    "cloudflare_teams_list": Kind.LIST,
}
_FAMILIES = ("cloudflare_zero_trust_access_", "cloudflare_access_")
# What else these families hold: logins, tokens and roots, which access.toml has words of its own for, and decoration.
_OTHERS = frozenset(
    [
        "identity_provider",
        "service_token",
        "organization",
        "tag",
        "custom_page",
        "ca_certificate",
        "short_lived_certificate",
        "key_configuration",
        "keys_configuration",
        "mtls_certificate",
        "mutual_tls_certificate",
        "mtls_hostname_settings",
        "mutual_tls_hostname_settings",
        "infrastructure_target",
        "ai_controls_mcp_portal",
        "ai_controls_mcp_server",
        "rule",
    ]
)
_SHOW = "export with: terraform show -json > access-export.json"


def find_in_state(raw: Table, place: str, findings: Findings) -> None:
    """What `terraform show -json` prints of a state, or of a plan."""
    key = "values" if "values" in raw else "planned_values"
    if raw.get("errored") is True or raw.get("complete") is False:
        findings.refuse(place, "Terraform did not finish this plan", _SHOW)
    opened = _find_unknown(raw, place, findings) if key == "planned_values" else {}
    root = raw[key].get("root_module") if isinstance(raw[key], dict) else None
    modules = [(f"{place}.{key}.root_module", root)]
    while modules:
        where, module = modules.pop()
        if not isinstance(module, dict):
            findings.refuse(where, "is not a table", _SHOW)
            continue
        for index, resource in enumerate(only_tables(module.get("resources"))):
            _add_resource(resource, f"{where}.resources[{index}]", opened, findings)
        children = enumerate(only_tables(module.get("child_modules")))
        modules.extend((f"{where}.child_modules[{index}]", each) for index, each in children)


def refuse_state_file(_: Table, place: str, findings: Findings) -> None:
    """The file that Terraform keeps its state in, whose form may change with every version."""
    findings.refuse(place, "is Terraform's own state file", _SHOW)


def find_in_configuration(raw: Table, place: str, findings: Findings) -> None:
    """Configuration in JSON: `{"resource": {type: {name: {…}}}}`."""
    for key in sorted(raw.keys() - {"resource", *_NOT_RESOURCES}):
        said = "may hold more of Access" if key == "module" else "is no known part of a configuration"
        findings.refuse(f"{place}.{key}", said, _SHOW)
    resources = list(_each_resource(raw["resource"], f"{place}.resource", findings))
    addresses = {f"{kind}.{name}" for kind, name, _, _ in resources}
    for word, name, body, where in resources:
        kind = _find_kind(word, where, findings)
        if kind is not None:
            table = {"id": f"{word}.{name}", **drop_nulls(body)}
            findings.add(kind, where, _evaluate(kind, table, where, addresses, findings))


_NOT_RESOURCES = frozenset(
    [
        "//",
        "terraform",
        "provider",
        "variable",
        "locals",
        "output",
        "data",
        "moved",
        "import",
        "removed",
        "check",
        "ephemeral",
    ]
)


def _find_kind(word: object, place: str, findings: Findings) -> Kind | None:
    kind = _RESOURCES.get(word) if isinstance(word, str) else None
    family = next((each for each in _FAMILIES if str(word).startswith(each)), None)
    if kind is None and family and str(word).removeprefix(family) not in _OTHERS:
        findings.refuse(place, f"{word!r} is no known resource of Access", did_you_mean(word, _RESOURCES))
    return kind


def _add_resource(resource: Table, place: str, opened: Mapping[str, Table], findings: Findings) -> None:
    kind = _find_kind(resource.get("type"), f"{place}.type", findings)
    if kind is None or resource.get("mode") == "data":
        return
    values = resource.get("values")
    if not isinstance(values, dict):
        findings.refuse(f"{place}.values", "is not a table", _SHOW)
        return
    for key, is_unknown in opened.get(str(resource.get("address")), {}).items():
        if key != "id" and is_read(kind, key) and says_something(is_unknown):
            findings.refuse(f"{place}.values.{key}", "is not known before terraform apply", _SHOW)
    findings.add(kind, f"{place}.values", values)


def _find_unknown(raw: Table, place: str, findings: Findings) -> Mapping[str, Table]:
    """What a plan leaves open, by the address of the resource: the planned values do not show that it is there."""
    if not isinstance(raw.get("resource_changes"), list):
        findings.refuse(f"{place}.resource_changes", "is missing, and it says what is not known yet", _SHOW)
    opened = {}
    for each in only_tables(raw.get("resource_changes")):
        change = each.get("change")
        unknown = change.get("after_unknown") if isinstance(change, dict) else None
        if isinstance(unknown, dict):
            opened[str(each.get("address"))] = unknown
    return opened


def _each_resource(raw: object, place: str, findings: Findings) -> Iterator[tuple[str, str, Table, str]]:
    """Type, name, body and place of each. Terraform takes a list of tables for a table, at every level."""
    for by_type, at_type in _each_block(raw, place, findings):
        for word, named in by_type.items():
            for by_name, at_name in _each_block(named, f"{at_type}.{word}", findings):
                for name, body in by_name.items():
                    for each, where in _each_block(body, f"{at_name}.{name}", findings):
                        yield word, name, each, where


def _each_block(raw: object, place: str, findings: Findings) -> Iterator[tuple[Table, str]]:
    blocks = (
        [(each, f"{place}[{index}]") for index, each in enumerate(raw)] if isinstance(raw, list) else [(raw, place)]
    )
    for each, where in blocks:
        if isinstance(each, dict):
            yield {key: value for key, value in each.items() if key != "//"}, where
        else:
            findings.refuse(where, "is not a table", _SHOW)


# Terraform's own words, beside those of a resource: how it works, and what multiplies or hides what it makes.
_WORKING = frozenset(["depends_on", "lifecycle", "provider", "provisioner", "connection", "timeouts"])
_MULTIPLYING = frozenset(["count", "for_each", "dynamic"])


def _evaluate(kind: Kind, body: Table, place: str, addresses: Container[str], findings: Findings) -> Table:
    """A resource as Terraform would make it, as far as this file alone can tell."""
    table: Table = {}
    for key, value in body.items():
        if key in _MULTIPLYING:
            findings.refuse(f"{place}.{key}", "makes what is known to Terraform alone", _SHOW)
        elif is_read(kind, key):
            resolved = _resolve(value, f"{place}.{key}", addresses, findings)
            is_block = key in (*SIDES, "destinations") and isinstance(resolved, dict)
            table[key] = [resolved] if is_block else resolved
        elif key not in _WORKING:
            table[key] = value
    return table


_REFERENCE = re.compile(r"\$\{\s*([a-z_]+\.[A-Za-z_][\w-]*)\.id\s*\}")


def _resolve(value: object, place: str, addresses: Container[str], findings: Findings) -> object:
    """A value in which each reference to the id of a resource in this file is that resource's address."""
    if isinstance(value, list):
        return [_resolve(each, f"{place}[{index}]", addresses, findings) for index, each in enumerate(value)]
    if isinstance(value, dict):
        return {
            key: _resolve(each, f"{place}.{key}", addresses, findings) for key, each in value.items() if key != "//"
        }
    if isinstance(value, str) and ("${" in value or "%{" in value):
        found = _REFERENCE.fullmatch(value)
        if found is not None and found[1] in addresses:
            return found[1]
        findings.refuse(place, f"{value!r} is known to Terraform alone", _SHOW)
    return value
