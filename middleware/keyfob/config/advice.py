"""What in a sound configuration is probably not meant: rules that never hold, and trust that is about to end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from keyfob.config.building import Assembly
from keyfob.config.contradictions import Logic, Written
from keyfob.config.document import DecisionWord, Document, PolicyTable, RulesTable
from keyfob.config.logins import list_tables
from keyfob.config.naming import find_provider_id
from keyfob.config.trusting import Trustee
from keyfob.errors import Problem
from keyfob.gate import Gate
from keyfob.policy import SELECTORS, Names
from keyfob.policy.domains import Domain, Domains, covers
from keyfob.policy.paths import AmbiguousPath
from keyfob.trust.crl import RevocationList
from keyfob.trust.names import spell

# A root has to be renewed on every device, which takes a while; a list renews itself, or it does not. What is made for
# a shorter time than that is worth a word in its last quarter.
ROOT_NOTICE = timedelta(days=60)
LIST_NOTICE = timedelta(days=1)
_LAST_PART = 4


def find_warnings(assembly: Assembly, at: datetime, is_imported: Callable[[str], bool]) -> Iterator[Problem]:
    """Everything worth a word at the moment `at` (aware), with places as in problems.

    `is_imported` tells whether a place stands in an export, of which not every part has to be of use here.
    """
    document = assembly.document
    logic = Logic(document.groups, assembly.gate.names)
    yield from _warn_of_groups(document, logic)
    for index in range(len(document.applications)):
        yield from _warn_of_policies(index, document, logic)
        yield from _warn_of_strangers(index, document, assembly.gate.names)
        yield from _warn_of_no_way_to_log_in(index, document)
    yield from _warn_of_tokens(document, assembly.gate)
    yield from _warn_of_untold_methods(document)
    yield from _warn_of_neighbours(document)
    yield from (each for each in _warn_of_unused(document) if not is_imported(each.place))
    yield from _warn_of_records(assembly.gate.records.file)
    for index, trustee in enumerate(assembly.trusted.trustees):
        place = f"root_certificates[{index}]"
        yield from _warn_of_ends(place, trustee, at)
        yield from _warn_of_lists(place, trustee, document.root_certificates[index].crl_expired == "warn", at)
        yield from _warn_of_idle_hosts(place, trustee, document)


# --- Rules ------------------------------------------------------------------------------------------------------------


def _warn_of_groups(document: Document, logic: Logic) -> Iterator[Problem]:
    for index, group in enumerate(document.groups):
        said = logic.find_contradiction(group)
        if said:
            yield Problem(f"groups[{index}]", f"{group.name!r} never holds: it {said}", _ANY_OF)


_ANY_OF = "everything in require has to hold at once; for any of several, write them into include"


def _warn_of_policies(index: int, document: Document, logic: Logic) -> Iterator[Problem]:
    """Policies in the order in which they are asked: those that never match, and those that come too late."""
    written = list(_find_policies(document, index))
    asked: list[tuple[int, PolicyTable]] = []
    for number, policy in sorted(written, key=lambda each: not _comes_first(each[1])):
        place = f"applications[{index}].policies[{number}]"
        said = logic.find_contradiction(policy)
        if said:
            yield Problem(place, f"{policy.name!r} can never match: it {said}", _ANY_OF)
            continue
        yield from _warn_of_late(place, number, policy, asked, logic)
        yield from _warn_of_idle_excludes(place, policy, logic)
        asked.append((number, policy))


def _find_policies(document: Document, index: int) -> Iterator[tuple[int, PolicyTable]]:
    reusable = {name: each for each in document.policies for name in (each.name, each.id or each.name)}
    for number, policy in enumerate(document.applications[index].policies):
        yield number, policy if isinstance(policy, PolicyTable) else reusable[policy.id]


def _comes_first(policy: PolicyTable) -> bool:
    return policy.decision in {DecisionWord.BYPASS, DecisionWord.NON_IDENTITY, DecisionWord.SERVICE_AUTH}


def _warn_of_late(
    place: str, number: int, policy: PolicyTable, asked: Sequence[tuple[int, PolicyTable]], logic: Logic
) -> Iterator[Problem]:
    """At most one word about a policy that those asked before it leave nothing, or not all that is meant."""
    is_deny = policy.decision is DecisionWord.DENY
    for _, earlier in asked:
        if logic.is_certain(earlier) or (not is_deny and logic.includes(earlier, policy)):
            often = "always matches" if logic.is_certain(earlier) else "matches whenever it would"
            message = f"{policy.name!r} is never asked: {earlier.name!r} comes first and {often}"
            yield Problem(place, message, _FIRST_ONES if _comes_first(earlier) and is_deny else "delete one of the two")
            return
    for before, earlier in asked if is_deny else ():
        # Who writes "and nobody else" behind the others means just that.
        is_last_word = logic.is_certain(policy) and before < number
        if _comes_first(earlier) and not is_last_word and logic.may_meet(earlier, policy):
            word = str(earlier.decision)
            message = f"{policy.name!r} does not keep out whom {earlier.name!r} lets in: a {word} policy is asked first"
            yield Problem(place, message, f"write its rules into the exclude of {earlier.name!r}")
            return


_FIRST_ONES = "bypass and non_identity policies are asked before allow and deny, wherever they stand"


def _warn_of_idle_excludes(place: str, policy: PolicyTable, logic: Logic) -> Iterator[Problem]:
    for index, rule in enumerate(policy.exclude):
        if logic.is_impossible(rule):
            message = f"{policy.name!r} keeps nobody out by {next(iter(rule))}, which never holds yet"
            yield Problem(f"{place}.exclude[{index}]", message, "there are no logins and no service tokens here")


def _warn_of_unused(document: Document) -> Iterator[Problem]:
    used = {
        policy.id for table in document.applications for policy in table.policies if not isinstance(policy, PolicyTable)
    }
    for index, policy in enumerate(document.policies):
        if not used & {policy.name, policy.id}:
            message = f"{policy.name!r} is used by no application"
            yield Problem(f"policies[{index}]", message, "name it in one, or delete it")
    rules = [rule for table in _find_tables(document) for _, _, rule in table.places()]
    for key, selector in _REFERENCES.items():
        named = {rule[selector]["id"] for rule in rules if selector in rule}
        for index, entry in enumerate(getattr(document, key)):
            if not named & {entry.name, entry.id}:
                message = f"{entry.name!r} is used by no rule of this file"
                yield Problem(f"{key}[{index}]", message, "name it in one, or delete it, unless a handler asks for it")


_REFERENCES = {"groups": "group", "ip_lists": "ip_list", "email_lists": "email_list"}


def _find_tables(document: Document) -> Iterator[RulesTable]:
    yield from document.groups
    yield from document.policies
    for application in document.applications:
        yield from (policy for policy in application.policies if isinstance(policy, PolicyTable))


def _warn_of_records(file: Path | None) -> Iterator[Problem]:
    if file is not None and not file.parent.is_dir():
        message = f"there is no folder {file.parent}, so no record can be written into it"
        yield Problem("audit.file", message, "make it, so that the app may write there")


# --- Logins -----------------------------------------------------------------------------------------------------------

# Where whoever likes gets an account, or has one: a mailbox is enough for a code.
_PUBLIC = frozenset({"facebook", "github", "google", "onetimepin"})
# They do not tell how somebody has logged in.
_MUTE = frozenset({"facebook", "github"})


def _warn_of_strangers(index: int, document: Document, names: Names) -> Iterator[Problem]:
    """Policies for which an account is enough, where everybody can have one."""
    allowed = {names.providers[name] for name in document.applications[index].allowed_idps}
    public = {
        find_provider_id(table): table.name
        for table in document.identity_providers
        if table.type in _PUBLIC and not table.apps_domain
    }
    for number, policy in _find_policies(document, index):
        if policy.decision is not DecisionWord.ALLOW:
            continue
        let_in = [
            name
            for provider, name in public.items()
            if (not allowed or provider in allowed)
            and any(_is_held_by_all(rule, provider, names) for rule in policy.include)
            and all(_is_held_by_all(rule, provider, names) for rule in policy.require)
            and not any(_is_held_by_all(rule, provider, names) for rule in policy.exclude)
        ]
        if let_in:
            message = f"{policy.name!r} lets in whoever has an account with {' or '.join(map(repr, let_in))}"
            hint = "name people by email, email_domain or a group, or require a certificate"
            yield Problem(f"applications[{index}].policies[{number}]", message, hint)


def _warn_of_no_way_to_log_in(index: int, document: Document) -> Iterator[Problem]:
    """Policies that ask who somebody is, in an application where nobody is ever asked."""
    policies = list(_find_policies(document, index))
    if not document.identity_providers or any(each.decision is DecisionWord.ALLOW for _, each in policies):
        return
    for number, policy in policies:
        asks = any(map(_is_about_people, policy.require)) or all(map(_is_about_people, policy.include))
        if asks and policy.decision is not DecisionWord.DENY:
            message = f"{policy.name!r} asks who somebody is, and no policy here has anybody log in"
            yield Problem(f"applications[{index}].policies[{number}].decision", message, 'write "allow"')


def _is_about_people(rule: Written) -> bool:
    [name] = rule
    return SELECTORS[name].is_identity


def _is_held_by_all(rule: Written, provider: str, names: Names) -> bool:
    """Whether a rule holds for whoever has logged in with a provider."""
    [(name, argument)] = rule.items()
    return name == "everyone" or (name == "login_method" and names.providers.get(argument["id"]) == provider)


def _warn_of_tokens(document: Document, gate: Gate) -> Iterator[Problem]:
    if gate.desk is None:
        return
    known = {word for each in gate.desk.book.tokens.values() if not each.revoked for word in (each.token_id, each.name)}
    for place, rule in _find_rules(document, "service_token"):
        wanted = rule["token_id"]
        if wanted not in known:
            hint = "keyfob token list shows them all, and keyfob token create makes one"
            yield Problem(place, f"there is no service token {wanted!r}, or it is revoked", hint)


def _warn_of_untold_methods(document: Document) -> Iterator[Problem]:
    types = {table.type for table in document.identity_providers}
    if not types or types - _MUTE:
        return
    for place, _ in _find_rules(document, "auth_method"):
        message = "no provider here tells how somebody has logged in, so this never holds"
        yield Problem(place, message, "leave it out, or define a provider that does, such as one of the type oidc")


def _find_rules(document: Document, selector: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everywhere that a selector stands: the place, and what is written there."""
    for place, table in list_tables(document):
        for key, index, rule in table.places():
            if selector in rule:
                yield f"{place}.{key}[{index}]", rule[selector]


# --- Hosts and paths --------------------------------------------------------------------------------------------------


def _warn_of_neighbours(document: Document) -> Iterator[Problem]:
    """Access's `/alpha/*` does not cover `/alpha`, which then is another application's."""
    rows = [(domain, index) for index, table in enumerate(document.applications) for domain in table.domains]
    domains = Domains(rows)
    for domain, index in rows:
        bare = domain.path.removesuffix("/*")
        if bare == domain.path or not bare or "*" in bare:
            continue
        other = _find_owner(domains, domain, bare)
        if other is not None and other != index:
            name, neighbour = document.applications[index].name, document.applications[other].name
            message = f"{str(domain)!r} leaves {bare!r} itself to the application {neighbour!r}"
            hint = f"write {_write(domain, bare)!r} if {name!r} is to have both"
            yield Problem(_find_place(document, index, domain), message, hint)


def _find_owner(domains: Domains[int], domain: Domain, path: str) -> int | None:
    # Any host below the wildcard will do: which other patterns cover it does not hang on the part that varies.
    paths = domains.at_host(domain.host.replace("*", "x"))
    try:
        return None if paths is None else paths.find(path)
    except AmbiguousPath:
        return None


def _write(domain: Domain, path: str) -> str:
    return domain.written.partition("/")[0] + path


def _find_place(document: Document, index: int, domain: Domain) -> str:
    table, place = document.applications[index], f"applications[{index}]"
    if domain == table.domain:
        return f"{place}.domain"
    return f"{place}.self_hosted_domains[{table.self_hosted_domains.index(domain)}]"


def _warn_of_idle_hosts(place: str, trustee: Trustee, document: Document) -> Iterator[Problem]:
    hosts = {domain.host for table in document.applications for domain in table.domains}
    for index, host in enumerate(trustee.hosts):
        if not any(covers(host, each) or covers(each, host) for each in hosts):
            place_of_host = f"{place}.associated_hostnames[{index}]"
            yield Problem(place_of_host, f"no application has the host {host}", "is it spelt the same in domain?")


# --- Trust ------------------------------------------------------------------------------------------------------------


def _warn_of_ends(place: str, trustee: Trustee, at: datetime) -> Iterator[Problem]:
    for certificate in (*trustee.roots.anchors, *trustee.roots.intermediates):
        name = certificate.subject.rfc4514_string()
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if end < at:
            message = f"{name} ended on {end:%Y-%m-%d}, so nobody it vouches for gets in"
        elif at < begin:
            message = f"{name} begins on {begin:%Y-%m-%d}, so nobody it vouches for gets in yet"
        elif end - at < min(ROOT_NOTICE, (end - begin) / _LAST_PART):
            message = f"{name} ends on {end:%Y-%m-%d}, in {(end - at).days} days"
        else:
            continue
        hint = "is this machine's clock right?" if at < begin else "make a new one, and issue new certificates with it"
        yield Problem(f"{place}.certificate", message, hint)


def _warn_of_lists(place: str, trustee: Trustee, is_lenient: bool, at: datetime) -> Iterator[Problem]:  # noqa: FBT001
    if not trustee.lists:
        return
    outcome = "" if is_lenient or trustee.books else ", and then nobody below it gets in"
    for listed in trustee.lists:
        said = _describe_lapse(listed, at)
        if said:
            yield Problem(f"{place}.crl", f"{listed.name} {said}{outcome}", "have a new one fetched in time")
    # Without intermediates nobody can tell whose devices there are but the roots'.
    for certificate in _find_unlisted(trustee, at):
        name = certificate.subject.rfc4514_string()
        message = f"no list says whether the intermediate {name} is withdrawn"
        also = "" if trustee.books else ", so every device below it is refused"
        yield Problem(f"{place}.crl", message + also, "add the list that its issuer publishes")
    issuers = {spell(each.issuer) for each in trustee.lists}
    for certificate in trustee.roots.intermediates:
        if spell(certificate.subject) not in issuers:
            name = certificate.subject.rfc4514_string()
            message = f"none of the lists is from {name}"
            also = "" if trustee.books else ", so every device that it has issued is refused"
            yield Problem(f"{place}.crl", message + also, "add the list that it publishes")


def _find_unlisted(trustee: Trustee, at: datetime) -> tuple[x509.Certificate, ...]:
    return trustee.revocation.find_uncovered(trustee.roots, at.timestamp()) if trustee.revocation else ()


def _describe_lapse(listed: RevocationList, at: datetime) -> str:
    if listed.next_update is None:
        return "does not say until when it is current"
    begin, lapse = (datetime.fromtimestamp(each, UTC) for each in (listed.this_update, listed.next_update))
    if lapse < at:
        return f"lapsed at {lapse:%Y-%m-%d %H:%M} UTC"
    if at < begin:
        return f"is from {begin:%Y-%m-%d %H:%M} UTC, in the future"
    if lapse - at < min(LIST_NOTICE, (lapse - begin) / _LAST_PART):
        return f"lapses at {lapse:%Y-%m-%d %H:%M} UTC"
    return ""
