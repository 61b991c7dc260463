"""The one path of a request, from what arrived to a verdict."""

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from keyfob.addresses import Address
from keyfob.audit import Records
from keyfob.errors import CertificateError, ConfigError, HeaderError, LoginError, Missing, Reason
from keyfob.policy import Allow, Application, Decision, Deny, Identity, Login, Names, Preflight, Preflights, Verdict
from keyfob.policy.paths import AmbiguousPath, Paths, find_other_reading, find_path
from keyfob.request import PLACE, SECRET_HEADERS, Request, hide_cookies, make_tuple
from keyfob.sources import Chain, Source
from keyfob.trust import Roots, Verifier, Withdrawals
from keyfob.trust.ocsp import ResponseBook

if TYPE_CHECKING:
    from keyfob.login.book import Book
    from keyfob.login.desk import Desk

# How many chains one host remembers. Only chains that lead to a root get in, so strangers cannot fill it.
REMEMBERED = 8192
# And how many characters of them: a device may send anything after its own certificate, another thing each time.
REMEMBERED_SIZE = 16 * 1024 * 1024
# How many of them a verdict on one application counts for, which is about what it takes.
VERDICT_SIZE = 2048
# How many people who have logged in one host remembers, with all of their cookies.
REMEMBERED_REGULARS = 2048
# Octets of cookies with which somebody is remembered: an app's own may be many, and other ones each time.
LONGEST_COOKIES = 4096
# How many hosts under wildcards are remembered: whoever asks may name any.
REMEMBERED_HOSTS = 4096
# Seconds by which a request may be older than one that was checked before it. A clock that was put back by more begins
# new sessions, or one of fifteen minutes would last for days.
DISORDER = 60.0


class Standing:
    """What is known of one verified chain at one host: who it is, until when that holds, and what it may do there.

    `verdicts` has, for each application it asked for, the decision, or what is left of the application to ask;
    `sessions` the moment at which its next admission there is worth a record again. `forgotten` is how often the site
    had forgotten everything when the chain was verified.
    """

    __slots__ = ("forgotten", "identity", "not_after", "not_before", "sessions", "verdicts")

    def __init__(self, identity: Identity, not_before: float, not_after: float, forgotten: int) -> None:
        self.forgotten = forgotten
        self.identity = identity
        self.not_before = not_before
        self.not_after = not_after
        self.verdicts: dict[Application, Application | Verdict] = {}
        self.sessions: dict[Application, float] = {}


# What a request with a chain that was seen before costs: one look at the time. From `not_before` until `until`, seconds
# since the epoch and the first two here, the decision holds, whatever is requested; None where the request has to be
# looked at. A plain tuple, because that is unpacked in one step and a named one is not.
Known = tuple[float, float, Decision | None, Standing]


# The same for somebody who has logged in, at a host with one application whose rules ask for nothing but who is there:
# from when until when the verdict holds, the state of the desk on which it rests, the verdict's fields, and the Cookie
# header that is left for the app. A plain tuple, too.
Regular = tuple[float, float, "Book", int, Callable[[], object], object, str, str, Identity, tuple[bytes, bytes] | None]


class Renewal(NamedTuple):
    """Where a device gets the successor of its certificate, and for how many seconds before the end it is told so."""

    link: str
    notice: float


class Site:
    """What stands behind one host: its applications, a verifier for its roots, and the devices seen before.

    Parsing, signatures, revocation and rules about the certificate are remembered by exactly what was received. The
    time is looked at on every request, so what is remembered ends when the first certificate, list or answer that it
    rests on does; and it lives no longer than the configuration, because a new one is a new Gate with new sites.
    Failures are not remembered.
    """

    def __init__(
        self,
        paths: Paths[Application],
        verifier: Verifier,
        session: float = Records().session,
        renewal: Renewal | None = None,
        desk: "Desk | None" = None,
    ) -> None:
        self.desk = desk
        self.paths = paths
        self.verifier = verifier
        self.renewal = renewal
        self.known: dict[Hashable, Known] = {}
        # By certificate and cookies, where people log in: those whose session was looked at before.
        self.regulars: dict[tuple[Hashable, bytes], Regular] | None = None if desk is None else {}
        self.session = session
        self._writing = threading.Lock()
        self._size = 0
        # Counts what was forgotten: a verdict that was on its way meanwhile is not remembered.
        self.forgotten = 0

    def meet(self, request: Request, presented: Hashable, chain: Chain) -> Standing:
        """Verifies a chain in full and remembers it by what was presented. Raises CertificateError."""
        forgotten = self.forgotten
        certificate, not_before, not_after = self.verifier.verify(chain, request.at)
        if self.renewal is not None:
            # Decided here, so that no request has to look at the calendar: the other half is another verdict.
            begin = certificate.not_valid_after.timestamp() - self.renewal.notice
            if request.at < begin:
                not_after = min(not_after, begin)
            else:
                certificate.renewal, not_before = self.renewal.link, max(not_before, begin)
        standing = Standing(Identity(certificate, None, ()), not_before, not_after, forgotten)
        self.remember(presented, (not_before, not_after, None, standing))
        return standing

    def remember(self, presented: Hashable, known: Known) -> None:
        """Keeps it, unless everything was forgotten since it was verified; the oldest goes where it is too much."""
        with self._writing:
            if known[3].forgotten != self.forgotten:
                return
            before = self.known.pop(presented, None)
            self._size += _measure(presented, known) - (_measure(presented, before) if before else 0)
            self.known[presented] = known
            while len(self.known) > REMEMBERED or self._size > REMEMBERED_SIZE:
                oldest = next(iter(self.known))
                self._size -= _measure(oldest, self.known.pop(oldest))

    def keep_verdict(
        self, presented: Hashable, application: Application, verdict: Application | Verdict, standing: Standing
    ) -> None:
        """Keeps what an application comes to for a chain, as long as the chain is remembered."""
        with self._writing:
            known = self.known.get(presented)
            if known is not None and known[3] is standing and application not in standing.verdicts:
                standing.verdicts[application] = verdict
                self._size += VERDICT_SIZE

    def remember_regular(self, mark: tuple[Hashable, bytes], regular: Regular, standing: Standing | None) -> None:
        """Keeps the verdict on somebody who has logged in; the oldest goes where there are too many."""
        with self._writing:
            if self.regulars is None or (standing is not None and standing.forgotten != self.forgotten):
                return
            self.regulars[mark] = regular
            while len(self.regulars) > REMEMBERED_REGULARS:
                del self.regulars[next(iter(self.regulars))]

    def forget(self) -> None:
        """Forgets every verdict: something that they rest on has changed."""
        with self._writing:
            self.forgotten += 1
            self.known.clear()
            if self.regulars is not None:
                self.regulars.clear()
            self._size = 0

    def open_session(self, application: Application, request: Request, standing: Standing) -> bool:
        """Whether this admission is the first for a while; the session then begins with it."""
        if (
            self.session
            and request.at < standing.sessions.get(application, 0.0) <= request.at + self.session + DISORDER
        ):
            return False
        standing.sessions[application] = request.at + self.session
        return True

    def bound(self, application: Application, verdict: Decision, standing: Standing) -> Known:
        """A verdict on every path of the host, for as long as it opens no session."""
        end = standing.sessions.get(application)
        if end is None:
            return standing.not_before, standing.not_after, verdict, standing
        if not self.session:
            return standing.not_before, standing.not_after, None, standing
        begin = max(standing.not_before, end - self.session - DISORDER)
        return begin, min(standing.not_after, end), verdict, standing


def _measure(presented: Any, known: Known) -> int:
    length = sum(map(len, presented)) if isinstance(presented, tuple) else len(presented)
    return int(length) + VERDICT_SIZE * len(known[3].verdicts)


FindSite = Callable[[str], Site | None]


class Gate:
    """Checks requests. Immutable once built: a new configuration is a new Gate.

    `sites` maps normalised host names to what they protect. `find_site` is asked for other hosts, such as those under
    a wildcard; where it knows none, they are refused. `roots` is everything that any of the hosts trusts, for a TLS
    layer that has to know it, `names` what the rules of handlers may refer to, `records` what is written down,
    `books` what OCSP responders have said, by their URLs, and `withdrawals` what inventories have withdrawn, by their
    places, and `desk` is where people log in, if anybody can. `find_troubles` says, for a moment, why nobody can get in
    although all is configured well.
    """

    def __init__(
        self,
        source: Source,
        sites: Mapping[str, Site],
        roots: Roots,
        find_site: FindSite | None = None,
        names: Names | None = None,
        records: Records | None = None,
        books: Mapping[str, ResponseBook] | None = None,
        find_troubles: Callable[[float], list[str]] | None = None,
        withdrawals: Mapping[str, Withdrawals] | None = None,
        desk: "Desk | None" = None,
    ) -> None:
        self.source = source
        self.desk = desk
        self.roots = roots
        self.names = names or Names()
        self.records = records or Records()
        self.books = books or {}
        self.withdrawals = withdrawals or {}
        self.find_troubles = find_troubles or _find_no_troubles
        self._sites = dict(sites)
        self._fixed = frozenset(sites)
        # Also those that were pushed out: whoever still has one, if only the traceback of a refusal, may bring it back.
        self._met: WeakSet[Site] = WeakSet(self._sites.values())
        self._find_site = find_site or _find_nothing
        # A site is found and entered in one step, so that `forget` misses none.
        self._entering = threading.Lock()

    def check(self, request: Request) -> Decision:
        """The only way to a verdict. Every call costs as much as the look-ups in it, so the usual case has none."""
        # By their places, which is sooner found than their names, or all of them at once.
        presented = request[3]
        site = self._sites.get(request[1])  # type: ignore[arg-type]
        if site is None:
            return self._check_elsewhere(request)
        if site.regulars is not None:
            regular = self._recognise(site, site.regulars, request)
            if regular is not None:
                return regular
        known = site.known.get(presented)
        if known is not None:
            not_before, until, decision, standing = known
            if not_before <= request[2] <= until:
                return decision or self._judge(site, request, presented, standing)
        return self._meet(site, request)

    def _recognise(
        self, site: Site, regulars: Mapping[tuple[Hashable, bytes], Regular], request: Request
    ) -> Allow | None:
        """The verdict on somebody who has logged in and was let in before, with the same certificate or none."""
        scope, _, at, presented, visible, _ = request
        headers = scope["headers"]
        secrets = [pair for pair in headers if pair[0] in SECRET_HEADERS]
        if len(secrets) != 1 or secrets[0][0] != b"cookie" or PLACE in scope["path"]:
            return None
        if presented is None and not self.source.presents_nothing(request):
            # What takes thought is not the same as nothing.
            return None
        [pair] = secrets
        known = regulars.get((presented, pair[1]))
        if known is None:
            return None
        not_before, until, book, version, find_facts, facts, application, policy, identity, left = known
        # The desk's state, as the desk itself would tell it in another call.
        if (
            not not_before <= at < until
            or version != book.version
            or book.clock() >= book.good_until
            or find_facts() is not facts
        ):
            return None
        shown = [*(headers if visible is None else visible)]
        place = shown.index(pair)
        if left is None:
            del shown[place]
        else:
            shown[place] = left
        return make_tuple(Allow, (application, policy, identity, False, shown))

    def find_site(self, host: str | None) -> Site | None:
        """What stands behind a host, if anything does. Of hosts that no configuration names, some are remembered."""
        if host is None:
            return None
        site = self._sites.get(host)
        if site is None:
            with self._entering:
                site = self._find_site(host)
                if site is not None:
                    if len(self._sites) - len(self._fixed) >= REMEMBERED_HOSTS:
                        self._sites = {each: self._sites[each] for each in self._fixed}
                    self._sites[host] = site
                    self._met.add(site)
        return site

    def forget(self) -> None:
        """Forgets every verdict, on every host: whoever comes next is verified again, in full."""
        with self._entering:
            for site in list(self._met):
                site.forget()

    def _check_elsewhere(self, request: Request) -> Decision:
        """The verdict at a host that was not asked for before."""
        if self.find_site(request.host) is not None:
            return self.check(request)
        reason = Reason.HOST_MALFORMED if request.host is None else Reason.HOST_UNKNOWN
        return Deny(reason, "", "", UNSEEN)

    def _meet(self, site: Site, request: Request) -> Decision:
        """The verdict on a request whose certificate is not known, or where none was found at a glance."""
        chain: Chain = ()
        try:
            presented = self.source.presented(request) if request.presented is None else request.presented
            known = site.known.get(presented)
            standing = None if known is None else known[3]
            if standing is None or not standing.not_before <= request.at <= standing.not_after:
                chain = self.source.read(presented)
                standing = site.meet(request, presented, chain)
        except HeaderError as error:
            # Whoever sends such a thing is trying something, so no policy is asked.
            return Deny(error.reason, _name(site.paths.whole), "", Identity(None, error, ()))
        except CertificateError as error:
            # A policy may still match without a certificate; if none does, the reason is what gets recorded.
            return self._judge_stranger(site, request, Identity(None, error, chain))
        return self._judge(site, request, presented, standing)

    def _judge_stranger(self, site: Site, request: Request, identity: Identity) -> Decision:
        application = _find_room(site, request, identity)
        if not isinstance(application, Application):
            return application
        if site.desk is not None:
            return self._judge_visitor(site, site.desk, request, application, identity)
        decision = application.decide(self._look_at_client(application, request), identity)
        # Without a certificate there is no device, and a session only where each request is one.
        return decision._replace(opens_session=True) if isinstance(decision, Allow) and not site.session else decision

    def _judge(self, site: Site, request: Request, presented: Hashable, standing: Standing) -> Decision:
        """The verdict on a verified certificate: what has been narrowed down for it before, or is now."""
        application = _find_room(site, request, standing.identity)
        if not isinstance(application, Application):
            return application
        verdict = standing.verdicts.get(application)
        if verdict is None:
            request = self._look_at_client(application, request)
            verdict = application.narrow(request, standing.identity)
            site.keep_verdict(presented, application, verdict, standing)
        decision = verdict
        if site.desk is not None:
            # Who has logged in comes with the request, and so do the addresses of the login's own.
            return self._judge_visitor(site, site.desk, request, application, standing.identity, verdict, standing)
        if isinstance(decision, Application):
            decision = decision.decide(self._look_at_client(decision, request), standing.identity)
        opens = isinstance(decision, Allow) and site.open_session(application, request, standing)
        if application is site.paths.whole and application.preflights is None and not isinstance(verdict, Application):
            site.remember(presented, site.bound(application, verdict, standing))
        return decision._replace(opens_session=True) if opens else decision  # type: ignore[call-arg]

    def _judge_visitor(
        self,
        site: Site,
        desk: "Desk",
        request: Request,
        application: Application,
        identity: Identity,
        verdict: Application | Verdict | None = None,
        standing: Standing | None = None,
    ) -> Decision:
        """The verdict where people can log in and services show tokens. `verdict` is what is known without either."""
        # Before the look at the session: what changes meanwhile has to be looked at again.
        state = desk.state
        visitor = desk.meet(application, request, identity)
        trouble = visitor.trouble
        if trouble is not None and trouble.reason in _TOKEN_REASONS:
            return Deny(trouble.reason, application.name, "", identity, trouble.message)
        is_known = visitor.user is not None or visitor.service_token is not None
        if is_known:
            identity = identity._replace(user=visitor.user, service_token=visitor.service_token)
        rest = application if verdict is None else verdict
        decision = rest.decide(self._look_at_client(rest, request), identity) if isinstance(rest, Application) else rest
        if isinstance(decision, Deny):
            decision = decision._replace(identity=identity)
            return decision if is_known else self._turn_away(request, application, decision, trouble)
        if is_known:
            opens = desk.opens_session(application, visitor, request.at, site.session)
        else:
            opens = site.open_session(application, request, standing) if standing else not site.session
        if visitor.session is not None and state is not None and application is site.paths.whole:
            not_before, until = desk.bound(application, visitor.session, site.session)
            regular = (not_before, until, state, application.name, decision.policy, identity)
            self._remember_regular(site, request, application, regular, standing)
        return Allow(application.name, decision.policy, identity, opens, desk.hide(request))

    def _turn_away(
        self, request: Request, application: Application, decision: Deny, trouble: LoginError | None
    ) -> Deny | Login:
        """What becomes of somebody who is not logged in, and whom no policy lets in so."""
        identity = decision.identity
        if trouble is not None and trouble.reason is Reason.LOGIN_UNAVAILABLE:
            return Deny(trouble.reason, application.name, "", identity, trouble.message)
        if application.awaits_login(self._look_at_client(application, request), identity):
            return _ask_to_log_in(application, identity, trouble)
        if trouble is not None and trouble.reason is Reason.SESSION_OF_ANOTHER_DEVICE:
            # Also where the certificate is what is missing: whose session it was is what the log has to tell.
            return Deny(trouble.reason, application.name, "", identity, trouble.message)
        return decision

    def _remember_regular(
        self,
        site: Site,
        request: Request,
        application: Application,
        verdict: tuple[float, float, tuple[int, object], str, str, Identity],
        standing: Standing | None,
    ) -> None:
        """Remembers somebody whose certificate, or lack of one, can be told at a glance."""
        secrets = [pair for pair in request.scope["headers"] if pair[0] in SECRET_HEADERS]
        if not application.is_regular or len(secrets) != 1 or len(secrets[0][1]) > LONGEST_COOKIES:
            return
        # A certificate that was refused is not the same as none.
        if request.presented is None if standing is not None else not self.source.presents_nothing(request):
            return
        [(name, cookies)] = secrets
        left = hide_cookies(cookies)
        not_before, until, state, whose, policy, identity = verdict
        if standing is not None:
            not_before, until = max(not_before, standing.not_before), min(until, standing.not_after)
        elif identity.error is not None:
            # Its traceback would keep this very request.
            identity.error.with_traceback(None)
        kept = (name, left) if left else None
        desk, (version, facts) = site.desk, state
        if desk is not None:
            regular = (not_before, until, desk.book, version, desk.find_facts, facts, whose, policy, identity, kept)
            site.remember_regular((request.presented, cookies), regular, standing)

    def judge_login(self, request: Request, identity: Identity) -> tuple[Application | None, Verdict | Login]:
        """What this identity, with whoever has just logged in, may do at the request's address, and whose that is.

        A Login where nobody has, and somebody could get in who did.
        """
        site = self.find_site(request.host)
        if site is None:
            return None, Deny(Reason.HOST_UNKNOWN, "", "", identity)
        application = find_application(site, request, identity)
        if isinstance(application, Deny):
            return None, application
        request = self._look_at_client(application, request)
        decision = application.decide(request, identity)
        if isinstance(decision, Deny) and identity.user is None and application.awaits_login(request, identity):
            return application, _ask_to_log_in(application, identity, None)
        return application, decision

    def _look_at_client(self, application: Application, request: Request) -> Request:
        if application.looks_at_client and request.client is None:
            return request._replace(client=self.source.find_client(request))
        return request


def _find_room(site: Site, request: Request, identity: Identity) -> Application | Decision:
    """The application that covers the request's path, or what is to be said without asking its policies."""
    if site.desk is not None:
        station = site.desk.find_station(request.scope)
        if station:
            return Login(Reason.LOGIN_REQUIRED, _name(site.paths.whole), identity, station)
    application = site.paths.whole or find_application(site, request, identity)
    if isinstance(application, Application) and application.preflights is not None and _is_preflight(request):
        return _answer_preflight(site, application, application.preflights, request, identity)
    return application


_TOKEN_REASONS = frozenset({Reason.TOKEN_MALFORMED, Reason.TOKEN_INVALID})


def _ask_to_log_in(application: Application, identity: Identity, trouble: LoginError | None) -> Login:
    if trouble is not None and trouble.reason is Reason.SESSION_OF_ANOTHER_DEVICE:
        return Login(trouble.reason, application.name, identity, "", trouble.message)
    return Login(Reason.LOGIN_REQUIRED, application.name, identity, "", "" if trouble is None else trouble.message)


def _is_preflight(request: Request) -> bool:
    """Fetch, section 4.8: an OPTIONS request that names an origin and a method."""
    if request.method != "OPTIONS" or request.is_websocket:
        return False
    names = {name for name, _ in request.headers}
    return {b"origin", b"access-control-request-method"} <= names


def _answer_preflight(
    site: Site, application: Application, preflights: Preflights, request: Request, identity: Identity
) -> Allow | Preflight:
    if preflights.pass_on:
        # Nobody has been asked who it is, and the app is told of nobody.
        visible = site.desk.hide(request) if site.desk else None
        return Allow(application.name, "", Identity(None, identity.error, ()), visible=visible)
    return Preflight(application.name, identity, preflights.answer(dict(request.headers)))


def find_application(site: Site, request: Request, identity: Identity) -> Application | Deny:
    """The application that covers the request's path, the most specific of the host's."""
    if site.paths.whole is not None:
        return site.paths.whole
    try:
        application = site.paths.find(find_path(request.scope))
        other = find_other_reading(request.scope)
        if other is not None and site.paths.find(other) is not application:
            said = f"to whoever looks for the prefix anywhere, the path is {other[:64]!r}"
            return Deny(Reason.PATH_AMBIGUOUS, "", "", identity, said)
    except AmbiguousPath as error:
        return Deny(
            Reason.PATH_AMBIGUOUS, "", "", identity, f"{error.message}; {error.hint}" if error.hint else error.message
        )
    return Deny(Reason.PATH_UNKNOWN, "", "", identity) if application is None else application


def _name(application: Application | None) -> str:
    return application.name if application else ""


def _find_no_troubles(_: float) -> list[str]:
    return []


def _find_nothing(_: str) -> Site | None:
    return None


class ClosedGate(Gate):
    """Stands where a gate could not be built: whoever comes, nobody gets a verdict, but the ConfigError."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(_NoSource(), {}, Roots((), ()))
        self.error = error

    def check(self, request: Request) -> Decision:
        """Raises the ConfigError."""
        raise self.error


class _NoSource:
    def receive(self, scope: Mapping[str, Any], at: float) -> Request:
        return Request(scope, None, at)

    def presented(self, request: Request) -> Hashable:
        """Nothing was configured to be read."""
        raise Missing("the configuration could not be read")

    def read(self, presented: Hashable) -> Chain:
        raise Missing("the configuration could not be read")

    def presents_nothing(self, request: Request) -> bool:
        return False

    def find_client(self, request: Request) -> Address | None:
        return None

    def hides(self, name: bytes) -> bool:
        return True


# Where the host alone is enough for a refusal, nobody has looked at a certificate.
UNSEEN = Identity(None, Missing("the request was refused before a certificate was looked for"), ())
