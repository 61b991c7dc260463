"""What is wrong with a configuration, in words: pydantic's findings become problems with a place and a hint."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from keyfob.errors import Problem
from keyfob.policy import SELECTORS


def explain(error: ErrorDetails, root: type[BaseModel]) -> Problem:
    """One finding of pydantic about a document of the model `root`."""
    # Without pydantic's own marks for which of several models it tried.
    loc = [part for part in error["loc"] if not str(part).startswith("<")]
    *path, last = loc or [""]
    place = _place(loc)
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(path, root)
            hint = suggest(str(last), known) or f"known: {', '.join(known) or 'none'}"
            return Problem(place, "is no key of this table", hint)
        case "literal_error":
            return Problem(place, f"{error['input']!r} is not one of its values", f"write {error['ctx']['expected']}")
        case "greater_than_equal":
            return Problem(place, "is too small", f"{error['ctx']['ge']} is the least")
        case "less_than_equal":
            return Problem(place, "is too large", f"{error['ctx']['le']} is the most")
        case kind if kind in _MISTAKES:
            message, hint = _MISTAKES[kind]
            return Problem(place, message, _EXAMPLES.get(str(last), hint))
        case _:
            return Problem(place, error["msg"], error.get("ctx", {}).get("hint", ""))


# pydantic's kinds of mistakes that people make by hand, in words, and with a hint where the key has no example.
_MISTAKES: Mapping[str, tuple[str, str]] = {
    "missing": ("is missing", "see the README for an example of every table"),
    "list_type": ("is not a list", 'write ["a", "b"]'),
    "model_type": ("is not a table", "write { … }"),
    "model_attributes_type": ("is not a table", "write { … }"),
    "dict_type": ("is not a table", "write { … }"),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "int_type": ("is not a whole number", "write digits, without quotes"),
    "string_type": ("is not a text", "put it in quotes"),
    "string_pattern_mismatch": ("is no word of printable ASCII", 'write it as the proxy does, such as "SUCCESS"'),
    "string_too_short": ("is empty", "write what it is, or leave the rule out"),
    "too_short": ("is empty", "it needs at least one"),
}

_EXAMPLES: Mapping[str, str] = {
    **{name: f"write {row.example}" for name, row in SELECTORS.items()},
    "source": 'write [source] with kind = "tls" in it',
    "kind": 'write kind = "tls", or kind = "header" behind a proxy',
    "trusted_proxies": 'write trusted_proxies = ["127.0.0.1"]',
    "shared_secret": 'write shared_secret = { header = "X-Proxy-Secret", file = "proxy-secret" }',
    "header": 'write header = "X-Proxy-Secret"',
    "file": 'write file = "proxy-secret"',
    "applications": "write [[applications]], with two brackets",
    "policies": "write [[applications.policies]], with two brackets",
    "root_certificates": "write [[root_certificates]], with two brackets",
    "include": "write include = [{ certificate = {} }]",
    "require": "write require = [{ certificate = {} }]",
    "exclude": 'write exclude = [{ common_name = { common_name = "Rhea Group" } }]',
    "associated_hostnames": 'write associated_hostnames = ["money.example.com"]',
    "self_hosted_domains": 'write self_hosted_domains = ["money.local"]',
    "ocsp": 'write ocsp = "http://ocsp.example.com"',
    "domain": 'write domain = "money.example.com"',
    "decision": 'write decision = "non_identity"',
    # Of a root, that is; a rule's argument is never wrong under this key.
    "certificate": 'write certificate = "ca.pem"',
}


def _place(loc: Iterable[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _keys_at(path: Iterable[int | str], root: type[BaseModel]) -> list[str]:
    """The keys that the table at `path` below `root` knows."""
    model: Any = root
    for part in path:
        if isinstance(part, str):
            model = _table_of(model.model_fields[part].annotation)
    return [field.alias or name for name, field in model.model_fields.items()]


def _table_of(annotation: Any) -> Any:
    """The model inside `list[Annotated[Model, …]]`."""
    inner = get_args(annotation)
    return _table_of(inner[0]) if inner else annotation


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the known name that is like it; nothing if none is."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
