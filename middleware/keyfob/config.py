"""access.toml, or the same model as JSON, turned into a Gate. Every problem is reported at once."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from keyfob.errors import ConfigError, Problem
from keyfob.gate import Gate, Site
from keyfob.policy import SELECTORS, Application, Policy, PolicyDecision, Test
from keyfob.request import LONGEST_HOST, parse_host
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots, Verifier, read_roots
from keyfob.trust.roots import UnusableRoots, join_roots


def load_gate(path: str | Path) -> Gate:
    """The gate that a configuration file describes. Files named in it are relative to its own folder.

    Raises ConfigError with everything that is wrong.
    """
    path = Path(path)
    return _build(str(path), _read_document(path), path.parent)


def gate_for_roots(roots: str | Path, common_names: Sequence[str] | None = None) -> Gate:
    """A gate for any host that lets in the certificates of one CA file, or only those with one of `common_names`.

    Raises ConfigError.
    """
    problems: list[Problem] = []
    trusted = _read_roots(Path(roots), "roots", problems)
    if common_names is None:
        rules: list[dict[str, Any]] = [{"certificate": {}}]
    elif not isinstance(common_names, list | tuple | set | frozenset) or not all(map(_is_name, common_names)):
        raise ConfigError("AccessMiddleware", [Problem("common_names", "not a list of names", 'write ["Rhea Group"]')])
    else:
        rules = [{"common_name": {"common_name": name}} for name in common_names]
    if not rules:
        problems.append(Problem("common_names", "an empty list lets nobody in", "leave it out to let in any device"))
    if problems:
        raise ConfigError("AccessMiddleware", problems)
    policy = _compile_policy(_Policy(name="any of these devices", decision=_Decision.NON_IDENTITY, include=rules))
    site = Site(Application("any host", [policy]), Verifier(trusted))
    return Gate(TLSSource(), {}, trusted, default=site)


def _is_name(value: object) -> bool:
    # What UTF-8 cannot write, a certificate cannot hold.
    return isinstance(value, str) and bool(value) and not any("\ud800" <= each <= "\udfff" for each in value)


# --- The model ------------------------------------------------------------------------------------------------------


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _one_rule(value: object) -> object:
    """`{"common_name": {"common_name": "x"}}`: exactly one selector, with the argument that its row asks for."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise _wrong("a rule names exactly one selector", "such as { certificate = {} }")
    [(name, argument)] = value.items()
    if name not in SELECTORS:
        raise _unknown("selector", name, SELECTORS)
    if not isinstance(argument, Mapping):
        raise _wrong(f"what stands behind {name} is not a table", f"write {SELECTORS[name].example}")
    try:
        SELECTORS[name].argument.model_validate(argument)
    except ValidationError as error:
        place, message, hint = _explain(error.errors(include_url=False)[-1], SELECTORS[name].argument)
        raise _wrong(f"{name}: {place} {message}", hint) from None
    return value


_Rule = Annotated[dict[str, Any], BeforeValidator(_one_rule)]


class _Decision(StrEnum):
    DENY = "deny"
    BYPASS = "bypass"
    NON_IDENTITY = "non_identity"
    SERVICE_AUTH = "service_auth"


def _known_decision(value: object) -> object:
    if value == "allow":
        raise _wrong('"allow" asks for a login, and there is no provider for one', 'write "non_identity"')
    if not isinstance(value, str) or value not in list(_Decision):
        raise _unknown("decision", value, map(str, _Decision))
    return _Decision(value)


class _Policy(_Table):
    name: _Name
    decision: Annotated[_Decision, BeforeValidator(_known_decision)]
    include: Annotated[list[_Rule], Field(min_length=1)]
    require: list[_Rule] = []
    exclude: list[_Rule] = []


def _plain_host(value: str) -> str:
    # An IPv6 address may stand without its brackets here, but nothing may stand with a port.
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    host = parse_host(f"[{bare}]".encode() if ":" in bare else value.encode()) if len(value) <= LONGEST_HOST else None
    if "://" in value:
        raise _wrong("a scheme is no part of a host name", "name the host alone, without scheme, port and path")
    if "/" in value:
        raise _wrong("paths are not understood here yet", "name the host alone, without a path")
    if "*" in value:
        raise _wrong("wildcards are not understood here yet", "name each host")
    if host is None:
        raise _wrong("not a host name", "write it as browsers do, without scheme, port or spaces")
    return host


_Host = Annotated[
    str, Field(strict=True), BeforeValidator(lambda value: _plain_host(value) if isinstance(value, str) else value)
]


class _Application(_Table):
    name: _Name
    domain: _Host
    self_hosted_domains: list[_Host] = []
    policies: Annotated[list[_Policy], Field(min_length=1)]

    @property
    def hosts(self) -> set[str]:
        return {self.domain, *self.self_hosted_domains}


class _RootCertificate(_Table):
    name: _Name
    certificate: _Name
    associated_hostnames: Annotated[list[_Host], Field(min_length=1)]


class _Source(_Table):
    kind: Literal["tls"]


class _Document(_Table):
    source: _Source
    root_certificates: list[_RootCertificate] = []
    applications: Annotated[list[_Application], Field(min_length=1)]


# --- From the document to the gate ----------------------------------------------------------------------------------


def _read_document(path: Path) -> object:
    try:
        # Some editors put a byte order mark before the text, where nobody can see it.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), [Problem("", "there is no such file", "name an access.toml")]) from None
    except (OSError, ValueError) as error:  # text that is not UTF-8, or a path with a NUL in it
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error}", "name a text file in UTF-8")]) from error
    try:
        return json.loads(text, object_pairs_hook=_once) if path.suffix == ".json" else tomllib.loads(text)
    except RecursionError:
        raise ConfigError(str(path), [Problem("", "is nested too deeply", "write it as the README shows")]) from None
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(str(path), [Problem("", f"is not {kind}: {error}", "mend it there")]) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no key stands twice: RFC 8259 leaves open which of them would count."""
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return table


def _build(source: str, raw: object, folder: Path) -> Gate:
    try:
        document = _Document.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(source, [_explain(each, _Document) for each in error.errors(include_url=False)]) from None
    problems: list[Problem] = []
    trusted = _roots_by_host(document, folder, problems)
    problems.extend(_contradictions(document, trusted))
    if problems:
        raise ConfigError(source, problems)
    sites = {
        host: Site(_compile_application(application), Verifier(trusted.get(host, Roots((), ()))))
        for application in document.applications
        for host in application.hosts
    }
    return Gate(TLSSource(), sites, join_roots(trusted.values()))


def _roots_by_host(document: _Document, folder: Path, problems: list[Problem]) -> dict[str, Roots]:
    hosts: dict[str, list[Roots]] = {}
    for index, entry in enumerate(document.root_certificates):
        roots = _read_roots(folder / entry.certificate, f"root_certificates[{index}].certificate", problems)
        for host in entry.associated_hostnames:
            hosts.setdefault(host, []).append(roots)
    return {host: join_roots(many) for host, many in hosts.items()}


def _read_roots(path: Path, place: str, problems: list[Problem]) -> Roots:
    try:
        return read_roots(path.read_bytes())
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        problems.append(Problem(place, f"{path!s} cannot be read: {said}", "name the CA's PEM file"))
    except UnusableRoots as error:
        problems.append(Problem(place, f"{path}: {error.message}", error.hint))
    return Roots((), ())


def _contradictions(document: _Document, trusted: Mapping[str, Roots]) -> Iterator[Problem]:
    """What each part allows and the whole does not."""
    owners: dict[str, int] = {}
    for index, application in enumerate(document.applications):
        place = f"applications[{index}]"
        for host in sorted(application.hosts):
            if owners.setdefault(host, index) != index:
                other = document.applications[owners[host]].name
                yield Problem(f"{place}.domain", f"{host} already belongs to the application {other!r}", _ONE_OWNER)
            if host not in trusted and any(map(_needs_certificate, application.policies)):
                hint = "add the host to a root certificate's associated_hostnames"
                yield Problem(f"{place}.domain", f"no root certificate is associated with {host}", hint)


_ONE_OWNER = "name the host in one application alone"


def _needs_certificate(policy: _Policy) -> bool:
    rules = (*policy.include, *policy.require, *policy.exclude)
    return any(SELECTORS[name].needs_certificate for rule in rules for name in rule)


def _compile_application(application: _Application) -> Application:
    return Application(application.name, [_compile_policy(policy) for policy in application.policies])


def _compile_policy(policy: _Policy) -> Policy:
    rules = (*policy.include, *policy.require, *policy.exclude)
    return Policy(
        policy.name,
        _OUTCOMES[policy.decision],
        include=[_compile(rule) for rule in policy.include],
        require=[_compile(rule) for rule in policy.require],
        exclude=[_compile(rule) for rule in policy.exclude],
        looks_at_request=any(SELECTORS[name].looks_at_request for rule in rules for name in rule),
    )


_OUTCOMES: Mapping[_Decision, PolicyDecision] = {
    _Decision.DENY: PolicyDecision.DENY,
    _Decision.BYPASS: PolicyDecision.BYPASS,
    _Decision.NON_IDENTITY: PolicyDecision.NON_IDENTITY,
    _Decision.SERVICE_AUTH: PolicyDecision.NON_IDENTITY,
}


def _compile(rule: Mapping[str, Any]) -> Test:
    [(name, argument)] = rule.items()
    selector = SELECTORS[name]
    return selector.compile(selector.argument.model_validate(argument))


# --- Problems in words ----------------------------------------------------------------------------------------------


def _explain(error: ErrorDetails, root: type[BaseModel]) -> Problem:
    *path, last = error["loc"] or ("",)
    place = _place(error["loc"])
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(path, root)
            hint = _did_you_mean(str(last), known) or f"known: {', '.join(known) or 'none'}"
            return Problem(place, "is no key of this table", hint)
        case "literal_error" if place == "source.kind":
            return Problem(place, f"{error['input']!r} is no kind of source", 'write "tls"')
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
    "string_type": ("is not a text", "put it in quotes"),
    "string_too_short": ("is empty", "write what it is, or leave the rule out"),
    "too_short": ("is empty", "it needs at least one"),
}

_EXAMPLES: Mapping[str, str] = {
    **{name: f"write {row.example}" for name, row in SELECTORS.items()},
    "source": 'write [source] with kind = "tls" in it',
    "kind": 'write kind = "tls"',
    "applications": "write [[applications]], with two brackets",
    "policies": "write [[applications.policies]], with two brackets",
    "root_certificates": "write [[root_certificates]], with two brackets",
    "include": "write include = [{ certificate = {} }]",
    "require": "write require = [{ certificate = {} }]",
    "exclude": 'write exclude = [{ common_name = { common_name = "Rhea Group" } }]',
    "associated_hostnames": 'write associated_hostnames = ["money.example.com"]',
    "self_hosted_domains": 'write self_hosted_domains = ["money.local"]',
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
    return list(model.model_fields)


def _table_of(annotation: Any) -> Any:
    """The model inside `list[Annotated[Model, …]]`."""
    inner = get_args(annotation)
    return _table_of(inner[0]) if inner else annotation


def _wrong(message: str, hint: str = "") -> PydanticCustomError:
    """What a validator raises; `_explain` takes it apart again."""
    return PydanticCustomError("wrong", "{message}", {"message": message, "hint": hint})


def _unknown(kind: str, name: object, known: Iterable[str]) -> PydanticCustomError:
    known = list(known)
    return _wrong(f"{name!r} is no {kind}", _did_you_mean(str(name), known) or f"known: {', '.join(known)}")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
