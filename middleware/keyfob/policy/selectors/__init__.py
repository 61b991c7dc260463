"""What a rule can ask, one table row each, in the JSON that Access's API uses."""

from collections.abc import Mapping
from typing import Any

from keyfob.policy.rules import Rule
from keyfob.policy.selectors import selector
from keyfob.policy.selectors.arguments import parse_duration
from keyfob.policy.selectors.certificates import CERTIFICATE_SELECTORS
from keyfob.policy.selectors.everybody import GENERAL_SELECTORS
from keyfob.policy.selectors.issuers import ISSUER_SELECTORS
from keyfob.policy.selectors.moments import MOMENT_SELECTORS
from keyfob.policy.selectors.names import DeviceList, Names, UnknownName
from keyfob.policy.selectors.people import ALIASES, IDENTITY_SELECTORS, TOKEN_SELECTORS
from keyfob.policy.selectors.pins import PIN_SELECTORS
from keyfob.policy.selectors.requests import NETWORKS, REQUEST_SELECTORS
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.subjects import SUBJECT_SELECTORS
from keyfob.policy.selectors.unsupported import UNSUPPORTED

__all__ = [
    "ALIASES",
    "NETWORKS",
    "SELECTORS",
    "UNSUPPORTED",
    "DeviceList",
    "Names",
    "Selector",
    "UnknownName",
    "compile_rule",
    "parse_duration",
]

_ROWS: Mapping[str, Selector] = {
    **GENERAL_SELECTORS,
    **CERTIFICATE_SELECTORS,
    **SUBJECT_SELECTORS,
    **PIN_SELECTORS,
    **ISSUER_SELECTORS,
    **REQUEST_SELECTORS,
    **MOMENT_SELECTORS,
    **IDENTITY_SELECTORS,
    **TOKEN_SELECTORS,
}

# An alias is a row like any other, written in its own spelling.
SELECTORS: Mapping[str, Selector] = {
    **_ROWS,
    **{
        alias: _ROWS[name]._replace(example=_ROWS[name].example.replace(name, alias, 1))
        for alias, name in ALIASES.items()
    },
}


def compile_rule(written: Mapping[str, Any], names: Names) -> Rule:
    """The rule that `{selector: argument}` is, of a document that was validated. Raises KeyfobError."""
    return selector.compile_rule(SELECTORS, written, names)
