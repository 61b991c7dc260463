"""Why a request is let in or refused: every step of the one path, with what was found there."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from cryptography import x509

from keyfob.addresses import Address
from keyfob.certificate import format_serial, read_pem
from keyfob.errors import CertificateError, HeaderError, KeyfobError, Malformed, Missing, Reason, Revoked, StatusUnknown
from keyfob.gate import ClosedGate, Gate, Site, find_application
from keyfob.policy import (
    Allow,
    Application,
    Decision,
    Deny,
    Identity,
    Login,
    Policy,
    PolicyDecision,
    Preflight,
    Rule,
    Rules,
    User,
)
from keyfob.request import LONGEST_HOST, Request, find_host, parse_host
from keyfob.sources import Chain, Source
from keyfob.trust.withdrawals import NEVER


class Kind(StrEnum):
    """What a step is about: the stations of the one path, in their order. Rules stand among the parts of policies."""

    HOST = "host"
    SOURCE = "source"
    CERTIFICATE = "certificate"
    CHAIN = "chain"
    REVOCATION = "revocation"
    APPLICATION = "application"
    POLICY = "policy"
    RULE = "rule"
    DECISION = "decision"


class Step(NamedTuple):
    """One step in words, and its parts.

    `held` is whether it speaks for what stands above it; of a policy, whether it matches; of the decision, whether it
    is an admission. None where nobody can tell. `place` is where in the configuration it is written, as in a Problem,
    and `hint` a cure; both may be empty.
    """

    kind: Kind
    said: str
    held: bool | None
    parts: tuple["Step", ...] = ()
    place: str = ""
    hint: str = ""


class Trace(NamedTuple):
    """The steps of one request, and the decision, which is the gate's own and not made of the steps."""

    steps: tuple[Step, ...]
    decision: Decision


# Where the rules of each policy and each group are written, by the identity of the Rules.
Places = Mapping[int, str]
_NOWHERE: Places = MappingProxyType({})


def explain(gate: Gate, request: Request, places: Places = _NOWHERE, user: User | None = None) -> Trace:
    """Walks the request through the gate once more, slowly, and says what was found at each step.

    With `user`, as if that person had logged in. `request` is what the gate would check, such as
    `gate.source.receive(scope, time())`. Nothing is recorded, and no session begins. Raises ConfigError for a gate that
    could not be built. What is not promised: the words.
    """
    if isinstance(gate, ClosedGate):
        raise gate.error
    request = request._replace(client=gate.source.find_client(request)) if request.client is None else request
    site = gate.find_site(request.host)
    steps = [_explain_host(request, site)]
    if site is not None:
        identity = _explain_certificate(gate, site, request, steps)
        if not isinstance(identity.error, HeaderError):
            # Whoever sends such a header is trying something, so no policy is asked.
            identity = identity._replace(user=user)
            steps.extend(_explain_application(site, request, identity, places))
        if user is not None and not isinstance(identity.error, HeaderError):
            _, verdict = gate.judge_login(request, identity)
            steps.append(_explain_decision(verdict))
            return Trace(tuple(steps), verdict)
    decision = _decide_afresh(gate, site, request)
    steps.append(_explain_decision(decision))
    return Trace(tuple(steps), decision)


def _decide_afresh(gate: Gate, site: Site | None, request: Request) -> Decision:
    """The gate's decision without its memory, so that explaining neither uses nor fills it."""
    desk = None if site is None or site.desk is None else site.desk.without_memory()
    fresh = None if site is None else Site(site.paths, site.verifier, desk=desk)
    decision = Gate(gate.source, {}, gate.roots, lambda _: fresh, gate.names).check(request)
    return decision._replace(opens_session=False) if isinstance(decision, Allow) else decision


def _explain_host(request: Request, site: Site | None) -> Step:
    if request.host is None:
        return Step(Kind.HOST, "none, or several, or one that is no host name", held=False)
    if site is None:
        return Step(Kind.HOST, f"no application has {request.host}", held=False)
    return Step(Kind.HOST, request.host, held=True)


# --- The certificate --------------------------------------------------------------------------------------------------


def _explain_certificate(gate: Gate, site: Site, request: Request, steps: list[Step]) -> Identity:
    """The steps from the source to revocation, as far as there are any, and who that makes the sender."""
    chain: Chain = ()
    station = Kind.SOURCE
    try:
        presented = gate.source.presented(request) if request.presented is None else request.presented
        steps.append(Step(Kind.SOURCE, "a certificate was presented", held=True))
        station = Kind.CERTIFICATE
        chain = gate.source.read(presented)
        sent = _read_chain(chain)
        if sent:
            steps.append(_describe_leaf(sent, request.at))
            station = Kind.CHAIN
        verified = site.verifier.verify(chain, request.at)
    except CertificateError as error:
        steps.extend(_explain_error(error, station, _climb(chain, gate, request.at)))
        return Identity(None, error, chain)
    path = (verified.certificate.parsed, *verified.certificate.issuers)
    parts = tuple(_describe_above(each, request.at) for each in path[1:])
    steps.append(Step(Kind.CHAIN, "leads to a root of this host", held=True, parts=parts))
    end = min(each.not_valid_after_utc.timestamp() for each in path)
    said = _find_last_moment(gate, path) or _describe_revocation(site, end, verified.not_after)
    steps.append(Step(Kind.REVOCATION, said, held=True))
    return Identity(verified.certificate, None, ())


def _read_chain(chain: Chain) -> list[x509.Certificate]:
    """The certificates of a chain; none if one of them is unreadable, which the verifier then says."""
    try:
        return [read_pem(each) for each in chain]
    except Malformed:
        return []


def _describe_leaf(sent: Sequence[x509.Certificate], at: float) -> Step:
    leaf = sent[0]
    said = [f"serial number {format_serial(leaf.serial_number)}", f"issued by {leaf.issuer.rfc4514_string()}"]
    if len(sent) > 1:
        said.append(f"sent with {len(sent) - 1} more above it")
    parts = [Step(Kind.CERTIFICATE, each, held=True) for each in said]
    parts.append(Step(Kind.CERTIFICATE, _say_when(leaf), held=_is_in_time(leaf, at)))
    return Step(Kind.CERTIFICATE, leaf.subject.rfc4514_string(), held=True, parts=tuple(parts))


def _describe_above(certificate: x509.Certificate, at: float) -> Step:
    said = f"{certificate.subject.rfc4514_string()}, {_say_when(certificate)}"
    return Step(Kind.CHAIN, said, held=_is_in_time(certificate, at))


def _is_in_time(certificate: x509.Certificate, at: float) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= at <= certificate.not_valid_after_utc.timestamp()


def _say_when(certificate: x509.Certificate) -> str:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"


def _explain_error(error: CertificateError, station: Kind, above: tuple[Step, ...]) -> Iterator[Step]:
    if isinstance(error, Revoked | StatusUnknown):
        yield Step(Kind.CHAIN, "leads to a root of this host", held=True)
        held = None if isinstance(error, StatusUnknown) else False
        yield Step(Kind.REVOCATION, error.message, held, hint=error.hint)
    else:
        parts = above if station is Kind.CHAIN else ()
        yield Step(station, error.message, held=False, parts=parts, hint=error.hint)


def _climb(chain: Chain, gate: Gate, at: float) -> tuple[Step, ...]:
    """From issuer to issuer, as far as names lead: where the way is broken, or out of time."""
    sent = _read_chain(chain)
    known = {each.subject: each for each in (*sent[1:], *gate.roots.intermediates, *gate.roots.anchors)}
    steps: list[Step] = []
    below = sent[0] if sent else None
    while below is not None and below.subject != below.issuer and len(steps) < len(known) + 1:
        above = known.get(below.issuer)
        if above is None:
            said = f"{below.issuer.rfc4514_string()} was not sent along, and is in no file of roots"
            steps.append(Step(Kind.CHAIN, said, held=False))
        else:
            steps.append(_describe_above(above, at))
        below = above
    return tuple(steps)


def _find_last_moment(gate: Gate, path: Sequence[x509.Certificate]) -> str:
    """What an inventory has announced for the future; empty where there is no such thing."""
    for book in gate.withdrawals.values():
        for each in path[:-1]:
            end = book.find_end(each)
            if end < NEVER:
                what, moment = each.subject.rfc4514_string(), datetime.fromtimestamp(end, UTC)
                return (
                    f"not withdrawn yet; the inventory {book.name} withdraws {what} at {moment:%Y-%m-%d %H:%M:%S} UTC"
                )
    return ""


def _describe_revocation(site: Site, end: float, until: float) -> str:
    if not site.verifier.asks_for_withdrawals:
        return "nothing is configured that could withdraw it"
    if until < end:
        moment = datetime.fromtimestamp(until, UTC)
        return f"not withdrawn, as far as is known until {moment:%Y-%m-%d %H:%M:%S} UTC"
    return "not withdrawn"


# --- The rules --------------------------------------------------------------------------------------------------------


def _explain_application(site: Site, request: Request, identity: Identity, places: Places) -> Iterator[Step]:
    application = find_application(site, request, identity)
    if isinstance(application, Deny):
        yield Step(Kind.APPLICATION, application.detail or f"none covers {request.path}", held=False)
        return
    yield Step(Kind.APPLICATION, application.name, held=True)
    yield from _explain_policies(application, request, identity, places)


def _explain_policies(application: Application, request: Request, identity: Identity, places: Places) -> Iterator[Step]:
    for policy in application.policies:
        matches = policy.matches(request, identity)
        parts = tuple(_explain_rules(policy.rules, request, identity, places))
        said = f"{policy.name} ({policy.decision}) {_say_whether(policy, request, identity)}"
        yield Step(Kind.POLICY, said, matches, parts, places.get(id(policy.rules), ""))
        if matches:
            return


def _say_whether(policy: Policy, request: Request, identity: Identity) -> str:
    held = policy.rules.hold(request, identity)
    if held is None:
        outcome = "which is enough to deny" if policy.decision is PolicyDecision.DENY else "so it lets nobody in"
        return f"may or may not match, {outcome}"
    return "matches" if held else "does not match"


def _explain_rules(rules: Rules, request: Request, identity: Identity, places: Places) -> Iterator[Step]:
    around = places.get(id(rules), "")
    for word, some in (("include", rules.include), ("require", rules.require), ("exclude", rules.exclude)):
        for index, rule in enumerate(some):
            place = around and f"{around}.{word}[{index}]"
            yield _explain_rule(word, rule, request, identity, places)._replace(place=place)


def _explain_rule(word: str, rule: Rule, request: Request, identity: Identity, places: Places) -> Step:
    parts = tuple(_explain_rules(rule.members, request, identity, places)) if rule.members else ()
    held = rule.test(request, identity)
    return Step(Kind.RULE, f"{word} {rule.text}", held if word != "exclude" or held is None else not held, parts)


def _explain_decision(decision: Decision) -> Step:
    if isinstance(decision, Allow):
        return Step(Kind.DECISION, f"let in by {decision.policy} of {decision.application}", held=True)
    if isinstance(decision, Preflight):
        return Step(Kind.DECISION, f"answered for {decision.application}, as its cors_headers say", held=True)
    if isinstance(decision, Login) and decision.reason is Reason.LOGIN_REQUIRED:
        return Step(Kind.DECISION, f"asked to log in to {decision.application}", held=None)
    by = f" by {decision.policy}" if decision.policy else ""
    return Step(Kind.DECISION, f"refused{by}: {decision.reason}", held=False)


# --- A certificate in the hand ----------------------------------------------------------------------------------------


class _Shown:
    """Stands in for a configured source: the certificate, and whose it is, are given."""

    def __init__(self, source: Source, chain: Chain, client: Address | None) -> None:
        self._source, self._chain, self._client = source, chain, client

    def receive(self, scope: Mapping[str, Any], at: float) -> Request:
        return Request(scope, find_host(scope["headers"]), at, client=self._client)

    def presented(self, request: Request) -> Chain:
        if not self._chain:
            raise Missing("no certificate is shown")
        return self._chain

    def presents_nothing(self, request: Request) -> bool:
        """It is there."""
        return False

    def read(self, presented: Chain) -> Chain:
        return presented

    def find_client(self, request: Request) -> Address | None:
        return self._client

    def hides(self, name: bytes) -> bool:
        return self._source.hides(name)


def explain_certificate(
    gate: Gate,
    chain: Chain,
    scope: Mapping[str, Any],
    at: float,
    client: Address | None = None,
    places: Places = _NOWHERE,
    user: User | None = None,
) -> Trace:
    """What would become of a request with this certificate (PEM, leaf first), however it would have come to the gate.

    `at` is in seconds since the epoch; `client` None leaves rules about addresses open. Which proxy is believed is not
    asked. Raises KeyfobError for a header that only the configured source could write.
    """
    for name, _ in scope["headers"]:
        if gate.source.hides(name):
            said = f"{name.decode('latin-1')} is a header that certificates arrive in, and rules never see it"
            raise KeyfobError(said, "leave it out; the certificate is given as a file")
    shown = _Shown(gate.source, chain, client)
    stand_in = copy.copy(gate)
    stand_in.source = shown
    return explain(stand_in, shown.receive(scope, at), places, user)


_URL = "write it as https://money.example.com/admin"
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 sections 5.1 and 5.5: what a name is made of, and what a value cannot hold.
_FIELD_NAME, _NO_VALUE = _METHOD, re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def describe_request(url: str, method: str = "GET", headers: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The ASGI scope of a request for `url`, its path decoded as servers do it.

    Raises KeyfobError for what no client could ask for.
    """
    scheme, host, path, query = _split_url(url)
    kind = "websocket" if scheme in {"ws", "wss"} else "http"
    if _METHOD.fullmatch(method) is None or method == "CONNECT":
        raise KeyfobError(f"{method!r} is no method that reaches an app", "write GET or POST")
    if kind == "websocket" and method != "GET":
        raise KeyfobError(f"a WebSocket is never opened with {method}", "RFC 6455 knows GET alone; leave --method out")
    scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", host), *(_encode_field(name, value) for name, value in headers)],
        "client": None,
        "extensions": {},
    }
    return scope | ({"method": method} if kind == "http" else {})


def _split_url(url: str) -> tuple[str, bytes, bytes, bytes]:
    """Scheme, Host field, and the path and query as they go over the wire."""
    if not url.isprintable():
        raise KeyfobError(f"{url!r} has a character in it that no URL has", _URL)
    try:
        parts = urlsplit(url)
        _ = parts.port
        authority = parts.netloc.rpartition("@")[2]
        path, query = _encode_path(parts.path or "/"), _encode_path(parts.query)
    except ValueError as error:
        raise KeyfobError(f"{url!r} is no URL: {error}", _URL) from error
    if parts.scheme not in {"http", "https", "ws", "wss"}:
        raise KeyfobError(f"{url!r} is no URL of a web app", _URL)
    if not authority.isascii():
        raise KeyfobError(f"the host {authority!r} is not ASCII", "write it as browsers send it, with xn-- (punycode)")
    host = authority.encode("ascii")
    if len(host) > LONGEST_HOST or parse_host(host) is None:
        raise KeyfobError(f"{authority[:64]!r} is no host", _URL)
    return parts.scheme, host, path, query


def _encode_path(text: str) -> bytes:
    # What stands there already is not touched: whoever wrote %2e meant %2e.
    return quote(text, safe="/%:@!$&'()*+,;=~-._?\\").encode("ascii")


def _encode_field(name: str, value: str) -> tuple[bytes, bytes]:
    if _FIELD_NAME.fullmatch(name) is None or _NO_VALUE.search(value):
        raise KeyfobError(f"{name!r} with {value!r} is no header", "write 'Name: value'")
    return name.lower().encode("ascii"), value.strip(" \t").encode("utf-8")


_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def read_chain(path: Path) -> Chain:
    """The certificates in a PEM file, in its order, the leaf first. Raises KeyfobError if there are none."""
    try:
        found = tuple(_BLOCK.findall(path.read_text(encoding="latin-1")))
    except (OSError, ValueError) as error:  # A path with a NUL in it is a ValueError.
        said = getattr(error, "strerror", None) or str(error)
        raise KeyfobError(f"{path} cannot be read: {said}", "name a certificate in PEM") from error
    if not found:
        turn = "pkcs12 -clcerts -nokeys" if path.suffix.lower() in {".p12", ".pfx"} else "x509 -inform der"
        hint = f"openssl {turn} -in {path} -out device.pem makes PEM of it"
        raise KeyfobError(f"{path} has no certificate in PEM in it", hint)
    return found
