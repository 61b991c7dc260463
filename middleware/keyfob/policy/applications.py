"""One application: what its policies, in their documented order, make of a request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyfob.errors import Reason
from keyfob.policy.decision import Allow, Deny, Identity, Verdict
from keyfob.policy.people import PROSPECT, Fact, User
from keyfob.policy.policies import Policy, PolicyDecision
from keyfob.policy.rules import CERTAIN, Rule, Test
from keyfob.request import Request


@dataclass(frozen=True)
class Preflights:
    """What becomes of a browser's question whether another page may ask here (Fetch, section 4.8: CORS preflight).

    It carries neither cookies nor headers of one's own, so no policy that asks who is there could let it in.
    `pass_on` brings it to the app; otherwise the answer is made of the rest. `origins` holds "*" for any; `methods`
    and `headers` are None for any, and `max_age` is in seconds.
    """

    pass_on: bool = False
    origins: frozenset[str] = frozenset()
    methods: tuple[str, ...] | None = ()
    headers: tuple[str, ...] | None = ()
    with_credentials: bool = False
    max_age: int | None = None

    def answer(self, asked: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        """The headers of the answer to a preflight with these headers; Vary alone for an origin that is not named."""
        origin = asked.get(b"origin", b"")
        said = [(b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
        is_named = origin != b"*" and origin.decode("latin-1") in self.origins
        if not is_named and ("*" not in self.origins or self.with_credentials):
            # Any page on the web could otherwise act as whoever looks at it.
            return tuple(said)
        said.append((b"access-control-allow-origin", origin if is_named else b"*"))
        for field, known, question in (
            (b"access-control-allow-methods", self.methods, b"access-control-request-method"),
            (b"access-control-allow-headers", self.headers, b"access-control-request-headers"),
        ):
            value = asked.get(question, b"") if known is None else ", ".join(known).encode("latin-1")
            if value:
                said.append((field, value))
        if self.with_credentials:
            said.append((b"access-control-allow-credentials", b"true"))
        if self.max_age is not None:
            said.append((b"access-control-max-age", str(self.max_age).encode("ascii")))
        return tuple(said)


class Application:
    """Policies in the order in which they are asked; the first that matches ends it, and silence denies.

    As Access documents it: bypass and service auth policies first, from top to bottom, then allow and deny policies.
    So a deny cannot take back what a matching bypass or service auth gives. `written` keeps the written order.

    `tag` tells it from every other application, and is the audience of its sessions. `session` is for how many seconds
    a login counts where no policy says otherwise, `providers` are the ids of those at which one may log in, all of
    them where there are none.
    """

    def __init__(
        self,
        name: str,
        policies: Sequence[Policy],
        *,
        tag: str = "",
        session: float | None = None,
        providers: Sequence[str] = (),
        preflights: Preflights | None = None,
    ) -> None:
        self.name = name
        self.tag = tag
        self.session = session
        self.providers = tuple(providers)
        self.preflights = preflights
        self.written = tuple(policies)
        # sorted() is stable: within each half the written order stays.
        self.policies = tuple(sorted(policies, key=lambda policy: not policy.comes_first))
        self.looks_at_client = any(rule.looks_at_client for rule in self.rules())
        self.asks_who = any(policy.asks_who for policy in self.policies)
        # Nothing but who is there decides: no address, no moment, no path.
        self.is_regular = preflights is None and all(
            rule.of_visitor or not rule.looks_at_request for rule in self.rules()
        )

    def rules(self) -> Iterator[Rule]:
        """Every rule of every policy."""
        return (rule for policy in self.policies for rule in policy.rules.each())

    def facts(self) -> Iterator[tuple[Fact, Test]]:
        """What the rules name about a person, each with the test that tells whether it is so."""
        return (pair for rule in self.rules() for pair in rule.facts)

    def decide(self, request: Request, identity: Identity) -> Verdict:
        """Allow or Deny, with the policy that said so."""
        for policy in self.policies:
            if policy.matches(request, identity):
                return self._take(policy, identity)
        return self._be_silent(identity)

    def awaits_login(self, request: Request, identity: Identity, user: User = PROSPECT) -> bool:
        """Whether somebody could get in here by an allow policy, by logging in now: whoever it is, or `user`.

        Asked where nobody gets in without. Not where a deny is certain to come first, and not where a login could not
        make up for what else is missing, such as a certificate. Never False where somebody could. It may be True where
        nobody can: where rules about people contradict each other, and where one of them hangs on what nobody can tell,
        such as a hidden address.
        """
        prospect = identity._replace(user=user)
        for policy in self.policies:
            held = policy.rules.hold(request, prospect)
            if policy.asks_who and held is not False:
                return True
            if policy.decision is PolicyDecision.DENY and held:
                return False
        return False

    def narrow(self, request: Request, identity: Identity) -> "Application | Verdict":
        """What is left to ask about this identity, whatever it requests: an application of fewer rules, or the answer.

        Always comes to the same decision as `decide`. Who has logged in comes with the request, so it is left to ask.
        """
        left: list[Policy] = []
        for policy in self.policies:
            rules = policy.rules.narrow(request, identity)
            if rules is CERTAIN and not left and not policy.asks_who:
                return self._take(policy, identity)
            if rules is not None:
                left.append(policy._replace(rules=rules))
            if rules is CERTAIN and not policy.asks_who:
                break
        return self._leave(left) if left else self._be_silent(identity)

    def _leave(self, policies: Sequence[Policy]) -> "Application":
        return Application(
            self.name,
            policies,
            tag=self.tag,
            session=self.session,
            providers=self.providers,
            preflights=self.preflights,
        )

    def find_session(self, policy: str) -> float | None:
        """For how many seconds a login counts that `policy` has let in; None if neither it nor the application says."""
        said = next((each.session for each in self.policies if each.name == policy), None)
        return self.session if said is None else said

    def _take(self, policy: Policy, identity: Identity) -> Verdict:
        """The decision of a policy that matches."""
        if policy.decision is PolicyDecision.DENY:
            return Deny(Reason.BLOCKED_BY_POLICY, self.name, policy.name, identity)
        return Allow(self.name, policy.name, identity)

    def _be_silent(self, identity: Identity) -> Deny:
        """The decision where none does."""
        is_known = identity.user is not None or identity.service_token is not None
        reason = Reason.NO_MATCHING_POLICY if identity.error is None or is_known else identity.error.reason
        return Deny(reason, self.name, "", identity)
