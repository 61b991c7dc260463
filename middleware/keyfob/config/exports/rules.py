"""The rules of an export in the form of the API, which is ours: each of them one selector with its argument."""

from collections.abc import Iterator, Mapping

from keyfob.config.exports.findings import Findings, Table, did_you_mean, drop_nulls

# Each selector of Access, with the member that its value goes to where a value stands alone, as in Terraform's blocks.
SELECTORS: Mapping[str, str | None] = {
    "everyone": None,
    "certificate": None,
    "common_name": "common_name",
    "ip": "ip",
    "ip_list": "id",
    "geo": "country_code",
    "service_token": "token_id",
    "any_valid_service_token": None,
    "email": "email",
    "email_domain": "domain",
    "email_list": "id",
    "group": "id",
    "login_method": "id",
    "auth_method": "auth_method",
    "gsuite": "email",
    "azureAD": "id",
    "okta": "name",
    "github-organization": "team",
    "saml": None,
    "oidc": None,
    "external_evaluation": None,
}

CLOUD_ONLY: Mapping[str, str] = {
    "device_posture": "the state of a device",
    "linked_app_token": "a token of another application",
    "user_risk_score": "the risk of a person",
    "auth_context": "a context of Entra ID",
    "cloudflare_account_member": "who belongs to an account",
    "access_metadata": "what Access knows of a session",
}

_TERRAFORM: Mapping[str, str] = {
    "azure": "azureAD",
    "azure_ad": "azureAD",
    "github": "github-organization",
    "github_organization": "github-organization",
    "common_names": "common_name",
}


def read_rules(written: object, place: str, findings: Findings) -> list[object]:
    """The rules of one list, in its order. A rule that is refused stays in, so that it is not forgotten."""
    if not isinstance(written, list):
        findings.refuse(place, "is not a list", "write it as the API does")
        return [written]
    rules: list[object] = []
    for index, each in enumerate(written):
        for rule, where in _read_rule(each, f"{place}[{index}]", findings):
            rules.append(rule)
            findings.origins.append((rule, where))
    return rules


def _read_rule(written: object, place: str, findings: Findings) -> Iterator[tuple[object, str]]:
    """The rule that a table of the API is, or the rules that a block of Terraform stands for."""
    selectors = {name: each for name, each in written.items() if _is_set(each)} if isinstance(written, dict) else {}
    if not selectors:
        findings.refuse(place, "names no selector", "a rule that asks for nothing is taken out, or written out")
        yield written, place
    elif len(selectors) > 1 and all(isinstance(each, dict) for each in selectors.values()):
        findings.refuse(place, f"names {len(selectors)} selectors: {', '.join(selectors)}", "write a rule for each")
        yield written, place
    else:
        for name, value in selectors.items():
            yield from _read_selector(name, value, f"{place}.{name}", findings)


def _is_set(value: object) -> bool:
    # An older provider writes these for what was left out; `{}` is an argument.
    return value is not None and value is not False and value not in ("", [])


def _read_selector(name: str, value: object, place: str, findings: Findings) -> Iterator[tuple[object, str]]:
    selector = _TERRAFORM.get(name, name)
    if selector in SELECTORS:
        for argument, where in _read_arguments(selector, value, place, findings):
            yield {selector: argument}, where
        return
    if selector in CLOUD_ONLY:
        said, hint = (
            f"is not supported: only Access can tell {CLOUD_ONLY[selector]}",
            "guard that application in Access",
        )
    else:
        said, hint = "is no selector of Access", did_you_mean(name, SELECTORS)
    findings.refuse(place, f"{name} {said}", hint)
    yield {name: value}, place


def _read_arguments(selector: str, value: object, place: str, findings: Findings) -> Iterator[tuple[object, str]]:
    """One argument, or one for each of several values: alternatives in `include`, and all asked for in `require`."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _read_argument(selector, each, f"{place}[{index}]", findings)
    else:
        yield from _read_argument(selector, value, place, findings)


def _read_argument(selector: str, value: object, place: str, findings: Findings) -> Iterator[tuple[object, str]]:
    member = SELECTORS[selector]
    if isinstance(value, dict):
        yield from ((argument, place) for argument in _write_out(value, member))
    elif value is True and selector in _FLAGS:
        yield {}, place
    elif isinstance(value, str) and value and member is not None and selector not in _ONLY_TABLES:
        yield {member: value}, place
    else:
        findings.refuse(place, f"{value!r} is no argument of {selector}", "write it as the API does")
        yield value, place


_FLAGS = frozenset({"everyone", "certificate", "any_valid_service_token"})
# Their arguments have members beside the one that may stand several times.
_ONLY_TABLES = frozenset({"gsuite", "azureAD", "okta", "github-organization"})


def _write_out(table: Table, member: str | None) -> list[Table]:
    """`{"id": ["a", "b"], …}` is two arguments. An organization without teams is one, and stands for all of them."""
    argument = drop_nulls(table)
    if member == "team" and isinstance(argument.get("teams"), list):
        teams = argument.pop("teams")
        return [{**argument, "team": team} for team in teams] or [argument]
    several = argument.get(member) if member is not None else None
    if isinstance(several, list) and several:
        return [{**argument, str(member): each} for each in several]
    return [argument]
