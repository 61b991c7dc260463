"""The login, step by step, from the request that met nobody to the session. Nothing here reads or writes anything."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import unquote

from keyfob.answer import Answer, compose_json, redirect
from keyfob.errors import CodeWrong, LoginError, LoginFailed, LoginLapsed, LoginUnavailable
from keyfob.login.book import PERSON, SESSION, Ending
from keyfob.login.cookies import BROWSER, find_cookie, name_session, set_cookie
from keyfob.login.desk import CALLBACK, CODE, IDENTITY, KEYS, LOGIN, LOGOUT, LONGEST_SESSION, NOBODY, Desk, Visitor
from keyfob.login.evaluation import evaluate
from keyfob.login.exchanges import Steps, Store, Work
from keyfob.login.journeys import LONGEST, Journey, begin_journey, pack, unpack
from keyfob.login.manners import describe_login, find_address, find_origin, find_prefix, is_navigation, is_own_page
from keyfob.login.pages import Choice, compose_choice, compose_leaving, compose_left
from keyfob.login.patience import limit
from keyfob.login.providers import Asking, Provider
from keyfob.login.returning import check_back, read_query
from keyfob.login.sessions import Session, find_held
from keyfob.policy import Allow, Application, Deny, Fact, Identity, Login, Test, User
from keyfob.request import Request

# Seconds that a provider has for all that it is asked in one login.
PATIENCE = 20.0

# What becomes of an identity at an address, and whose address it is: a Login where nobody has logged in, and somebody
# could get in who did.
Judge = Callable[[Request, Identity], tuple[Application | None, Allow | Deny | Login]]


class Admission(NamedTuple):
    """Somebody has logged in: the answer, and what is to be recorded of it."""

    answer: Answer
    decision: Allow
    request: Request


class Refused(NamedTuple):
    """Nobody has logged in, and what is to be recorded and shown of it; `login` is where to try again.

    `page` is shown instead of the usual one.
    """

    decision: Deny | Login
    login: str = ""
    page: Answer | None = None


# What a login comes to, one step of the browser at a time.
Outcome = Answer | Admission | Refused


class Visit(NamedTuple):
    """One request to the desk: what was decided about it, its form if there is one, and who judges."""

    desk: Desk
    decision: Login
    request: Request
    form: Mapping[str, str]
    judge: Judge

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the address."""
        return read_query(self.request.scope.get("query_string") or b"")

    @property
    def base(self) -> str:
        """The prefix under which the app is mounted, percent-encoded."""
        return find_prefix(self.request)

    @property
    def origin(self) -> str:
        """Scheme, host and port as the browser has them."""
        return find_origin(self.request)

    def at_path(self, back: str) -> Request:
        """The request that will come once the browser is sent to `back`."""
        path, _, query = back.partition("?")
        headers = [pair for pair in self.request.headers if not pair[0].startswith(b"content-")]
        scope = {**self.request.scope, "type": "http", "method": "GET", "path": unquote(path), "headers": headers}
        scope |= {"query_string": query.encode("ascii"), "raw_path": path.encode("ascii")}
        return self.request._replace(scope=scope)


def answer(visit: Visit) -> Steps[Outcome]:
    """What the desk has to say, whatever was asked for. LoginErrors become a Refused."""
    try:
        return (yield from _answer(visit))
    except LoginError as error:
        return _refuse(visit, error)


def _refuse(visit: Visit, error: LoginError, back: str = "") -> Refused:
    """What becomes of a login that did not work, on its way to `back`; another try may be another account's."""
    identity, back = visit.decision.identity, check_back(back, visit.base)
    application, _ = visit.judge(visit.at_path(back), identity)
    detail = error.message if not error.hint else f"{error.message}; hint: {error.hint}"
    again = describe_login(visit.origin, visit.base, back, afresh=isinstance(error, LoginFailed))
    return Refused(Deny(error.reason, application.name if application else "", "", identity, detail), again)


def _answer(visit: Visit) -> Steps[Outcome]:
    station, _, provider = visit.decision.station.partition("/")
    methods, serve = _STATIONS[station]
    if methods and visit.request.method not in methods:
        allowed = [(b"allow", ", ".join(sorted(methods)).encode("ascii"))]
        details = {"type": "about:blank", "title": "This address has no such method", "status": 405}
        return compose_json(405, details, allowed, "application/problem+json")
    return (yield from serve(visit, visit.desk.providers.get(provider)))


_READING = frozenset({"GET", "HEAD"})


# --- There ------------------------------------------------------------------------------------------------------------


def _meet_stranger(visit: Visit, _: Provider | None) -> Steps[Outcome]:
    """Somebody who is not logged in has asked for something of the app's."""
    back = check_back(find_address(visit.request), visit.base)
    if not is_navigation(visit.request):
        # A program would follow a redirect and take a provider's page for the answer; a form would lose what is in it.
        is_form = visit.request.method not in _READING
        return Refused(visit.decision, describe_login(visit.origin, visit.base, f"{visit.base}/" if is_form else back))
    return (yield from _offer(visit, back))


def _begin(visit: Visit, provider: Provider | None) -> Steps[Outcome]:
    """The address at which a login begins."""
    return (yield from _offer(visit, check_back(visit.query.get("to", ""), visit.base), provider))


def _offer(visit: Visit, back: str, wanted: Provider | None = None) -> Steps[Outcome]:
    """To the provider that is wanted, or to the only one; otherwise the page to choose from."""
    application, verdict = visit.judge(visit.at_path(back), visit.decision.identity)
    providers = [] if application is None else visit.desk.find_providers(application)
    if application is None or not providers or (wanted is not None and wanted not in providers):
        raise LoginFailed(f"nobody can log in {f'with {wanted.name} ' if wanted else ''}for this address")
    if isinstance(verdict, Deny):
        # Whatever a provider would say, the rules could not hold; most often a certificate is missing.
        return Refused(verdict)
    if wanted is None and len(providers) == 1:
        [wanted] = providers
    if wanted is not None:
        try:
            return (yield from _send_away(visit, application, wanted, back))
        except LoginError as error:
            return _refuse(visit, error, back)
    if not visit.decision.station:
        # At an address of the app's, a page of ours would be taken for one of the app's, such as by a service worker.
        return redirect(describe_login(visit.origin, visit.base, back))
    choices = [
        Choice(
            each.name, each.kind, describe_login(visit.origin, visit.base, back, each.id, afresh="again" in visit.query)
        )
        for each in providers
    ]
    return compose_choice(application.name, choices)


def _send_away(visit: Visit, application: Application, provider: Provider, back: str) -> Steps[Outcome]:
    """To the provider, with all that has to come back sealed in the state."""
    desk, request = visit.desk, visit.request
    known = find_cookie(request.headers, BROWSER)
    browser = known if known is not None and _is_mark(known) else secrets.token_urlsafe(16)
    journey = begin_journey(provider.id, application.tag, visit.origin, visit.base, back, _digest(browser), request.at)
    state = pack(journey, desk.sessions, request.at)
    named = _find_named(application, desk, provider)
    address = yield from provider.begin(journey, state, named, afresh="again" in visit.query)
    # Again each time, so that it lasts as long as the youngest login: there is one for all tabs.
    return redirect(address, [set_cookie(BROWSER, browser, int(LONGEST))])


def _find_named(application: Application, desk: Desk, provider: Provider) -> frozenset[Fact]:
    """The facts that rules name about people who log in with a provider."""
    facts = (*application.facts(), *desk.find_facts())
    return frozenset(fact for fact, _ in facts if fact.provider in ("", provider.id))


def _is_mark(value: str) -> bool:
    return len(value) == 22 and value.isascii() and value.replace("-", "").replace("_", "").isalnum()


def _digest(browser: str) -> str:
    return hashlib.sha256(browser.encode("utf-8")).hexdigest()[:32]


def _ask_address(visit: Visit, provider: Provider | None) -> Steps[Outcome]:
    """A provider of ours asks for an address, and sends a code there."""
    parameters = visit.form if visit.request.method == "POST" else visit.query
    journey = _find_journey(visit, provider, parameters)
    if not isinstance(provider, Asking):
        raise LoginFailed("no code is sent by this provider")
    application, verdict = _find_application(visit, provider, journey)
    if isinstance(verdict, Deny):
        return Refused(verdict)
    may_enter = partial(application.awaits_login, visit.at_path(journey.back), visit.decision.identity)
    return (yield from provider.ask(journey, parameters, visit.desk, visit.request, may_enter))


# --- And back ---------------------------------------------------------------------------------------------------------


def _find_journey(visit: Visit, provider: Provider | None, parameters: Mapping[str, str]) -> Journey:
    """The login to which this request belongs. Raises LoginLapsed."""
    desk, request = visit.desk, visit.request
    journey = unpack(parameters.get("state", ""), desk.sessions, request.at)
    if provider is None or journey.provider != provider.id:
        # RFC 9700 section 4.4: another provider may have mixed itself in.
        raise LoginLapsed(f"a login with {journey.provider} came back as another provider's")
    if (journey.origin, journey.base) != (visit.origin, visit.base):
        raise LoginLapsed(f"the login was begun at {journey.origin}{journey.base}")
    mark = find_cookie(request.headers, BROWSER)
    if mark is None or not compare_digest(_digest(mark), journey.browser):
        # RFC 9700 section 4.7: otherwise somebody could be logged in as somebody else by a link.
        raise LoginLapsed("the login was not begun in this browser")
    return journey


def _find_application(visit: Visit, provider: Provider, journey: Journey) -> tuple[Application, Allow | Deny | Login]:
    """Where the login leads, and what becomes of somebody who has not logged in there. Raises LoginLapsed."""
    application, verdict = visit.judge(visit.at_path(journey.back), visit.decision.identity)
    if application is None or application.tag != journey.audience:
        raise LoginLapsed("the rules have changed since the login began")
    if not visit.desk.admits(application, provider.id):
        raise LoginLapsed(f"nobody logs in with {provider.name} any more")
    return application, verdict


def _come_back(visit: Visit, provider: Provider | None) -> Steps[Outcome]:
    request = visit.request
    parameters = visit.form if request.method == "POST" else visit.query
    journey = _find_journey(visit, provider, parameters)
    asks = isinstance(provider, Asking)
    if provider is None or asks != (request.method == "POST"):
        raise LoginFailed(f"a login with {journey.provider} does not come back by {request.method}")
    try:
        if not asks and not (yield from _claim(journey, request.at)):
            # The same callback twice, such as after a reload. What it was good for is done, or is being done: where it
            # leads, either a session is there or another login begins.
            return redirect(_find_end(visit, journey))
        return (yield from _log_in(visit, provider, journey, parameters))
    except CodeWrong as error:
        refused = _refuse(visit, error, journey.back)
        again = provider.ask_again(journey, visit.desk, request) if isinstance(provider, Asking) else None
        return refused._replace(page=again)
    except LoginError as error:
        return _refuse(visit, error, journey.back)


def _claim(journey: Journey, at: float) -> Steps[bool]:
    mark = hashlib.sha256(journey.id.encode("ascii")).digest()
    found: bool = yield Work(lambda store: store.claim(mark, journey.begun_at + 2 * LONGEST, at))
    return found


def _log_in(visit: Visit, provider: Provider, journey: Journey, parameters: Mapping[str, str]) -> Steps[Outcome]:
    desk, request = visit.desk, visit.request
    application, verdict = _find_application(visit, provider, journey)
    if isinstance(verdict, Deny):
        # Such as where the login began with a certificate, and comes back without.
        return Refused(verdict)
    facts = [*application.facts(), *desk.find_facts()]
    desk.sessions.know(fact for fact, _ in facts)
    named = _find_named(application, desk, provider)
    user = yield from limit(provider.finish(journey, parameters, named, request.at), PATIENCE, provider.name)
    if not user.subject or user.provider != provider.id:
        raise LoginFailed(f"{provider.name} did not say who it is")
    user = yield from evaluate(user, named, desk, journey, request)
    return _open_session(visit, application, user, facts, journey)


def _open_session(
    visit: Visit,
    application: Application,
    user: User,
    facts: Sequence[tuple[Fact, Test]],
    journey: Journey,
) -> Outcome:
    """The session of somebody whom the rules let in; nobody else gets one."""
    desk, at, wanted = visit.desk, visit.request.at, visit.at_path(journey.back)
    identity = visit.decision.identity._replace(user=user)
    _, decision = visit.judge(wanted, identity)
    if not isinstance(decision, Allow):
        return Refused(decision, describe_login(journey.origin, journey.base, journey.back, afresh=True))
    length = application.find_session(decision.policy)
    length = desk.session if length is None else length
    certificate = identity.certificate
    session = Session(
        secrets.token_urlsafe(12),
        application.tag,
        at,
        at + length,
        user,
        "" if certificate is None else certificate.fingerprint_sha256,
    )
    token = desk.sessions.seal(session, find_held(facts, wanted, identity), at)
    cookie = set_cookie(name_session(application.tag), token, int(length))
    return Admission(redirect(_find_end(visit, journey), [cookie]), decision, wanted)


def _find_end(visit: Visit, journey: Journey) -> str:
    """Where a login leads in the end.

    Facebook leaves `#_=_` behind its own redirect, and a browser carries that along to wherever it is sent without a
    fragment (Fetch, section 4.4), so that an app would take it for a place in the page.
    """
    is_spoilt = visit.desk.providers[journey.provider].kind == "facebook"
    return f"{journey.origin}{journey.back}{'#' if is_spoilt else ''}"


# --- Who is there, and leaving ----------------------------------------------------------------------------------------


def _find_back(visit: Visit) -> str:
    return check_back(visit.query.get("to", visit.form.get("to", "")), visit.base)


def _find_here(visit: Visit) -> tuple[Application | None, Visitor]:
    """The application of the address in `to`, and who is there for it. Raises LoginUnavailable if nobody can tell."""
    request, identity = visit.at_path(_find_back(visit)), visit.decision.identity
    application, _ = visit.judge(request, identity)
    visitor = NOBODY if application is None else visit.desk.meet(application, request, identity)
    if isinstance(visitor.trouble, LoginUnavailable):
        raise visitor.trouble
    return application, visitor


def _publish(visit: Visit, _: Provider | None) -> Steps[Outcome]:
    yield from ()
    return compose_json(200, visit.desk.sessions.publish(), [], "application/jwk-set+json")


def _tell_identity(visit: Visit, _: Provider | None) -> Steps[Outcome]:
    """Who somebody is here, for whoever it is: a page of the app may ask for its own name."""
    yield from ()
    application, visitor = _find_here(visit)
    user, token, session, trouble = visitor
    if trouble is not None and not isinstance(trouble, LoginLapsed):
        raise trouble
    certificate = visit.decision.identity.certificate
    if user is None and token is None and certificate is None:
        return Refused(visit.decision, describe_login(visit.origin, visit.base, f"{visit.base}/"))
    return compose_json(
        200,
        {
            "application": application.name if application else None,
            "user": None if user is None else _describe_user(user),
            "service_token": None if token is None else token.name,
            "certificate": None
            if certificate is None
            else {"common_name": certificate.common_name, "fingerprint_sha256": certificate.fingerprint_sha256},
            "begun_at": None if session is None else session.begun_at,
            "expires_at": None if session is None else session.expires_at,
        },
    )


def _describe_user(user: User) -> dict[str, object]:
    return {
        "email": user.email,
        "name": user.name,
        "provider": user.provider,
        "subject": user.subject,
        "methods": sorted(user.methods),
        "groups": sorted(user.groups),
        "organizations": {name: sorted(teams) for name, teams in sorted(user.organizations.items())},
        "claims": {name: sorted(values) for name, values in sorted(user.claims.items())},
    }


def _leave(visit: Visit, _: Provider | None) -> Steps[Outcome]:
    """A page that asks, and then ends this session, or all of the person's."""
    application, visitor = _find_here(visit)
    session, back = visitor.session, _find_back(visit)
    again = describe_login(visit.origin, visit.base, back, afresh=True)
    if application is None:
        return compose_left(again)
    if visit.request.method in _READING:
        if session is None:
            return compose_left(again)
        return compose_leaving(application.name, session.user.display_name, back)
    if not is_own_page(visit.request):
        raise LoginFailed("somebody else's page asked to log out")
    if session is not None:
        everywhere = visit.form.get("where") == "everywhere"
        yield _end(session, visit.request.at, everywhere=everywhere)
        # Others learn it from the database within a second; here it is so when the page says it.
        visit.desk.book.enter(endings=[_describe_end(session, visit.request.at, everywhere=everywhere)])
    name = name_session(application.tag)
    # A page elsewhere sends no cookie along, and so takes none away.
    is_here = find_cookie(visit.request.headers, name) is not None
    return compose_left(again, [set_cookie(name, "", 0)] if is_here else [])


def _describe_end(session: Session, at: float, *, everywhere: bool) -> Ending:
    if everywhere:
        return Ending(PERSON, session.user.identity, at, at + LONGEST_SESSION)
    return Ending(SESSION, session.id, at, session.expires_at)


def _end(session: Session, at: float, *, everywhere: bool) -> Work:
    def end(store: Store) -> None:
        if everywhere:
            store.end_person(session.user.identity, at, at + LONGEST_SESSION)
        else:
            store.end_session(session.id, at, session.expires_at)

    return Work(end)


# One row for each of the login's own addresses: the methods that it has, any where there are none, and what it does.
_STATIONS: Mapping[str, tuple[frozenset[str], Callable[[Visit, Provider | None], Steps[Outcome]]]] = {
    "": (frozenset(), _meet_stranger),
    LOGIN: (_READING, _begin),
    CODE: (_READING | {"POST"}, _ask_address),
    CALLBACK: (frozenset({"GET", "POST"}), _come_back),
    IDENTITY: (_READING, _tell_identity),
    KEYS: (_READING, _publish),
    LOGOUT: (_READING | {"POST"}, _leave),
}
