"""From access.toml, or the same model as JSON, to a Gate. Every problem is reported at once."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from pydantic import ValidationError

from keyfob.audit import Records
from keyfob.config.document import AuditTable, Document, PolicyTable, RenewalTable
from keyfob.config.files import Files
from keyfob.config.logins import build_desk, find_allowed, find_preflights, tag_application
from keyfob.config.naming import compile_policy, gather_names, index_names
from keyfob.config.problems import explain, suggest
from keyfob.config.reading import Raw, merge_exports, read_document
from keyfob.config.source import build_source
from keyfob.config.trusting import Trusted, read_roots_at, read_trusted
from keyfob.errors import ConfigError, Problem
from keyfob.gate import Gate, Renewal, Site
from keyfob.policy import Application, Names, Policy, PolicyDecision, Rules, compile_rule
from keyfob.policy.domains import Domains, SameDomain
from keyfob.policy.paths import EVERY_PATH, Paths, PathTable
from keyfob.sources.formats import is_certificate_header
from keyfob.sources.tls import TLSSource
from keyfob.trust import Verifier

if TYPE_CHECKING:
    from keyfob.login.desk import Desk


def load_gate(path: str | Path) -> Gate:
    """The gate that a configuration file describes. Files named in it are relative to its own folder.

    Raises ConfigError with everything that is wrong. What is not promised: that it follows the files when they change;
    an AccessMiddleware with `config` does. Nor does it look into an inventory again: one with `gate` does, too, and
    without any the devices below that root are refused half a minute later.
    """
    return build_gate(Path(path), Files())


def build_gate(path: Path, files: Files) -> Gate:
    """The same, with everything read through `files`, so that a change can be seen. Raises ConfigError."""
    return assemble(path, files).gate


class Assembly(NamedTuple):
    """A gate, with the parts that it was made of."""

    gate: Gate
    document: Document
    applications: tuple[Application, ...]
    trusted: Trusted
    warnings: tuple[Problem, ...] = ()


def assemble(path: Path, files: Files) -> Assembly:
    """The gate of a configuration file, and what it is made of. Raises ConfigError with everything that is wrong."""
    raw = merge_exports(read_document(path, files), path, files)
    return assemble_document(str(path), raw, path.parent, files)


def assemble_document(source: str, raw: Raw, folder: Path, files: Files) -> Assembly:
    """The same for a raw document from `source`, whose files are relative to `folder`. Raises ConfigError."""
    problems: list[Problem] = []
    try:
        document = Document.model_validate(raw.document)
    except ValidationError as error:
        problems = [explain(each, Document) for each in error.errors(include_url=False)]
    else:
        assembly = _assemble(document, folder, files, problems)
        if assembly is not None and not problems:
            return assembly._replace(warnings=raw.warnings)
    raise ConfigError(source, list(dict.fromkeys(map(raw.relocate, problems))))


def _assemble(document: Document, folder: Path, files: Files, problems: list[Problem]) -> Assembly | None:
    source = build_source(document.source, folder, files, problems)
    trusted = read_trusted(document.root_certificates, folder, files, problems)
    # Whatever the source, nobody's rules are to hang on headers that only a proxy should write.
    hides = (lambda name: source.hides(name) or is_certificate_header(name)) if source else None
    names = gather_names(document, trusted.fingerprints, hides, folder, files, problems)
    applications = _compile_applications(document, names, problems)
    domains = _place(document, applications, problems)
    desk = build_desk(document, applications, names, folder, files, problems)
    problems.extend(_find_rootless(document, applications, trusted))
    if source is None or domains is None:
        return None
    records = _describe_records(document.audit, folder)
    problems.extend(_find_audit_problems(records, files))
    session = 0.0 if records.admissions == "every" else records.session
    sites = _Sites(domains, trusted, session, _describe_renewal(document.renewal), desk)
    exact = {host: site for host in domains.hosts() if "*" not in host and (site := sites.find(host))}
    gate = Gate(
        source,
        exact,
        trusted.roots,
        sites.find,
        names,
        records,
        trusted.books,
        partial(_find_troubles, trusted, desk),
        trusted.withdrawals,
        desk,
    )
    return Assembly(gate, document, tuple(applications), trusted)


def _find_troubles(trusted: Trusted, desk: "Desk | None", at: float) -> list[str]:
    """Why people or devices are refused, or not yet, at `at`, although every file is as it should be."""
    said = "" if desk is None else desk.book.find_trouble()
    # Logins are mostly kept in the same inventory as devices, and whoever is asked says it once.
    return list(dict.fromkeys([*trusted.find_troubles(at), *([said] if said else [])]))


def _find_audit_problems(records: Records, files: Files) -> Iterator[Problem]:
    """A file of records that would be written over, or cannot be written."""
    if records.file is None:
        return
    if files.has_read(records.file):
        yield Problem("audit.file", f"{records.file} is read as a part of this configuration", "choose another name")
    elif records.file.exists() and not records.file.is_file():
        yield Problem("audit.file", f"{records.file} is no regular file", "name a file, such as audit.log")


def _describe_records(table: AuditTable, folder: Path) -> Records:
    file = folder / table.file if table.file else None
    return Records(file, table.largest, table.kept, table.session, table.admissions)


def _describe_renewal(table: RenewalTable | None) -> Renewal | None:
    return None if table is None else Renewal(table.link, table.days * 86_400.0)


class _Sites:
    """Finds what stands behind a host. Hosts with the same applications and the same roots are one site."""

    def __init__(
        self,
        domains: Domains[Application],
        trusted: Trusted,
        session: float,
        renewal: Renewal | None,
        desk: "Desk | None",
    ) -> None:
        self._domains, self._trusted, self._session, self._renewal = domains, trusted, session, renewal
        self._desk = desk
        # Only as long as a gate has them: what it has dropped it could not make forget.
        self._sites: WeakValueDictionary[tuple[Paths[Application], Verifier], Site] = WeakValueDictionary()

    def find(self, host: str) -> Site | None:
        paths = self._domains.at_host(host)
        if paths is None:
            return None
        verifier = self._trusted.at_host(host)
        return self._sites.setdefault(
            (paths, verifier), Site(paths, verifier, self._session, self._renewal, self._desk)
        )


def _compile_applications(document: Document, names: Names, problems: list[Problem]) -> list[Application]:
    reusable = index_names(document.policies, "policies", problems)
    shared = {
        index: compile_policy(table, f"policies[{index}]", names, problems)
        for index, table in enumerate(document.policies)
    }
    applications = []
    for index, table in enumerate(document.applications):
        policies: list[Policy] = []
        for number, policy in enumerate(table.policies):
            place = f"applications[{index}].policies[{number}]"
            if isinstance(policy, PolicyTable):
                policies.append(compile_policy(policy, place, names, problems))
            elif policy.id in reusable:
                policies.append(shared[reusable[policy.id][0]])
            else:
                hint = suggest(policy.id, reusable) or "define it under [[policies]]"
                problems.append(Problem(place, f"{policy.id!r} is no reusable policy", hint))
        applications.append(
            Application(
                table.name,
                policies,
                tag=tag_application(table),
                session=table.session_duration,
                providers=find_allowed(table, f"applications[{index}]", names, problems),
                preflights=find_preflights(table),
            )
        )
    return applications


def _place(
    document: Document, applications: Sequence[Application], problems: list[Problem]
) -> Domains[Application] | None:
    rows = [
        (index, domain, application)
        for index, (table, application) in enumerate(zip(document.applications, applications, strict=True))
        for domain in table.domains
    ]
    try:
        return Domains([(domain, application) for _, domain, application in rows])
    except SameDomain as error:
        place, other = rows[error.second][0], rows[error.first][2]
        message = f"{error.message}; the other one belongs to the application {other.name!r}"
        problems.append(Problem(f"applications[{place}].domain", message, error.hint))
        return None


def _find_rootless(document: Document, applications: Sequence[Application], trusted: Trusted) -> Iterator[Problem]:
    """Applications whose rules ask for a certificate that no root could vouch for."""
    for index, (table, application) in enumerate(zip(document.applications, applications, strict=True)):
        if any(rule.needs_certificate for rule in application.rules()):
            for host in sorted({domain.host for domain in table.domains}):
                if not trusted.knows(host):
                    hint = "add the host to a root certificate's associated_hostnames"
                    place = f"applications[{index}].domain"
                    yield Problem(place, f"no root certificate is associated with {host}", hint)


def gate_for_roots(roots: str | Path, common_names: Sequence[str] | None = None, files: Files | None = None) -> Gate:
    """A gate for any host that lets in the certificates of one CA file, or only those with one of `common_names`.

    Raises ConfigError.
    """
    problems: list[Problem] = []
    trusted = read_roots_at(Path(roots), "roots", files or Files(), problems)
    if common_names is None:
        written: list[dict[str, Any]] = [{"certificate": {}}]
    elif not isinstance(common_names, list | tuple | set | frozenset) or not all(map(_is_name, common_names)):
        raise ConfigError("AccessMiddleware", [Problem("common_names", "not a list of names", 'write ["Rhea Group"]')])
    else:
        written = [{"common_name": {"common_name": name}} for name in common_names]
    if not written:
        problems.append(Problem("common_names", "an empty list lets nobody in", "leave it out to let in any device"))
    if problems:
        raise ConfigError("AccessMiddleware", problems)
    rules = Rules(tuple(compile_rule(each, Names()) for each in written))
    application = Application("any host", [Policy("any of these devices", PolicyDecision.NON_IDENTITY, rules)])
    site = Site(Paths([PathTable([(EVERY_PATH, application)])]), Verifier(trusted))
    return Gate(TLSSource(), {}, trusted, lambda _: site)


def _is_name(value: object) -> bool:
    # What UTF-8 cannot write, a certificate cannot hold.
    return isinstance(value, str) and bool(value) and not any("\ud800" <= each <= "\udfff" for each in value)
