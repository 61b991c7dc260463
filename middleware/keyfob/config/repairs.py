"""A document whose form is wrong here and there, with harmless things in those places, so that the rest can be checked.

What comes out is for finding further problems alone; nobody is ever let in by it.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from keyfob.config.document import Document
from keyfob.errors import Problem

_Path = Sequence[str | int]

_EVERYONE: Mapping[str, Any] = {"everyone": {}}
_OPEN: Mapping[str, Any] = {"name": "-", "decision": "bypass", "include": [_EVERYONE]}

# What stands in for a value, whatever table it is in; for any other the whole table has a stand-in.
_VALUES: Mapping[str, object] = {
    "associated_hostnames": ["nobody.invalid"],
    "decision": "bypass",
    "exclude": [],
    "include": [_EVERYONE],
    "require": [],
    "self_hosted_domains": [],
}
# What stands in for an entry of a list. Roots have no such thing: there is no certificate to name.
_ENTRIES: Mapping[str, Mapping[str, Any]] = {
    "policies": {"decision": "bypass", "include": [_EVERYONE]},
    "groups": {"include": [_EVERYONE]},
    "ip_lists": {"items": ["192.0.2.1"]},
    "email_lists": {"items": ["somebody@example.com"]},
}
# What stands in for a whole section; an empty list for any other.
_SECTIONS: Mapping[str, object] = {"source": {"kind": "tls"}, "audit": {}, "geoip": None, "renewal": None}
# What a root can do without.
_OPTIONAL = {"crl", "crl_expired", "inventory", "inventory_unavailable", "ocsp", "ocsp_unavailable", "revoked"}


class Repaired(NamedTuple):
    """The repaired document. `dropped` are the root certificates that are missing from it, by their old places.

    `lacks_roots`: not all that the roots say is in it.
    """

    document: dict[str, Any]
    dropped: Sequence[int]
    lacks_roots: bool

    def keep(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Those of its problems that are the original's, too, at their places there."""
        for problem in problems:
            about_roots = problem.message.startswith(_ABOUT_ROOTS) or problem.message.endswith(_NO_ROOT)
            about_stand_ins = ".invalid" in problem.message
            if not (self.lacks_roots and about_roots) and not about_stand_ins:
                yield problem._replace(place=self._find_old_place(problem.place))

    def _find_old_place(self, place: str) -> str:
        key, bracket, rest = place.partition("[")
        if key != "root_certificates" or not bracket:
            return place
        number, _, rest = rest.partition("]")
        index = int(number)
        for each in self.dropped:
            index += each <= index
        return f"{key}[{index}]{rest}"


# Without every root, nobody can tell which hosts and names there would be.
_ABOUT_ROOTS, _NO_ROOT = "no root certificate is associated", "is no root certificate"


def repair(document: object) -> Repaired | None:
    """The document in a form that can be read; None if it is in one already, or cannot be brought into any."""
    if not isinstance(document, dict):
        return None
    repaired, broken = copy.deepcopy(document), list(_find_broken(document))
    if not broken:
        return None
    # The innermost first: what is around them may be replaced as a whole.
    for path, is_spare in sorted(broken, key=lambda each: -len(each[0])):
        _mend(repaired, path, is_spare=is_spare)
    if not repaired.get("applications"):
        repaired["applications"] = [_make_application(0)]
    roots = repaired.get("root_certificates") or []
    dropped = [index for index, each in enumerate(roots) if each is _DROPPED]
    repaired["root_certificates"] = [each for each in roots if each is not _DROPPED]
    return Repaired(repaired, dropped, any(path[0] == "root_certificates" for path, _ in broken))


_DROPPED = object()


def _find_broken(document: Mapping[str, Any]) -> Iterator[tuple[_Path, bool]]:
    """The path of each problem, and whether it is a key too many."""
    try:
        Document.model_validate(document)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            # Without pydantic's own marks for which of several models it tried.
            yield [part for part in each["loc"] if not str(part).startswith("<")], each["type"] == "extra_forbidden"


def _mend(document: dict[str, Any], path: _Path, *, is_spare: bool) -> None:
    """Puts something harmless where one problem is."""
    if is_spare:
        around = _find(document, path[:-1])
        if isinstance(around, dict):
            around.pop(path[-1], None)
        return
    where, spare = _find_spare_value(path) or _find_spare_entry(document, path)
    around = _find(document, where[:-1])
    if isinstance(around, dict) or (isinstance(around, list) and int(where[-1]) < len(around)):
        around[where[-1]] = spare if spare is _DROPPED else copy.deepcopy(spare)  # type: ignore[index]


def _find_spare_value(path: _Path) -> tuple[_Path, object] | None:
    """The key around a problem that has a stand-in, and that; of rules, one alone."""
    for at, part in enumerate(path):
        if part == "domain":
            return path[: at + 1], _make_application(int(path[1]))["domain"]
        if part in _VALUES:
            is_rule = part in {"include", "require", "exclude"} and len(path) > at + 1
            return (path[: at + 2], _EVERYONE) if is_rule else (path[: at + 1], _VALUES[str(part)])
    return None


def _find_spare_entry(document: Mapping[str, Any], path: _Path) -> tuple[_Path, object]:
    match path:
        case ["applications", int(), "policies", int(), *_]:
            return path[:4], _OPEN
        case ["applications", int(), "name" | "id" as key, *_]:
            return path[:3], f"application {path[1]}" if key == "name" else None
        case ["applications", int(index), *_]:
            return path[:2], _make_application(index)
        case ["root_certificates", int(), str(key), *_] if key in _OPTIONAL:
            return path[:3], [] if key == "crl" else None
        case ["root_certificates", int(), *_]:
            return path[:2], _DROPPED
        case [str(key), int(index), *_] if key in _ENTRIES:
            return path[:2], {**_keep_names(_find(document, path[:2]), index), **_ENTRIES[key]}
    return path[:1], _SECTIONS.get(str(path[0]), [])


def _make_application(index: int) -> dict[str, Any]:
    return {"name": "-", "domain": f"application-{index}.invalid", "policies": [_OPEN]}


def _keep_names(entry: object, index: int) -> dict[str, Any]:
    """By these other rules refer to it."""
    known = entry if isinstance(entry, dict) else {}
    return {"name": f"entry {index}"} | {key: known[key] for key in ("name", "id") if isinstance(known.get(key), str)}


def _find(document: Any, path: _Path) -> Any:
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document
