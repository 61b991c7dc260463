"""gate: the one path from what arrived to a verdict."""

import time
from collections.abc import Iterator
from unittest.mock import patch

import pytest

import keyfob.gate
from certificates import DAY, make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob.errors import Reason
from keyfob.gate import Gate, Site
from keyfob.policy import SELECTORS, Allow, Application, Deny, Policy, PolicyDecision
from keyfob.policy.selectors import Nothing
from keyfob.request import Request
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots, Verifier

ROOT, OTHER = make_authority("Root"), make_authority("Other")
LEAF, OTHERS_LEAF = make_leaf(ROOT), make_leaf(OTHER)
CERTIFICATE = SELECTORS["certificate"].compile(Nothing())
EVERYONE = SELECTORS["everyone"].compile(Nothing())


def trusting(*roots: object) -> Roots:
    return Roots(tuple(each.certificate for each in roots), ())  # type: ignore[attr-defined]


def site(roots: Roots, *, looks_at_request: bool = False, open_to_all: bool = False) -> Site:
    policy = Policy(
        "open" if open_to_all else "devices",
        PolicyDecision.BYPASS if open_to_all else PolicyDecision.NON_IDENTITY,
        (EVERYONE if open_to_all else CERTIFICATE,),
        looks_at_request=looks_at_request,
    )
    return Site(Application("Budget", [policy]), Verifier(roots))


def gate(default: Site | None = None) -> Gate:
    sites = {"money.example.com": site(trusting(ROOT)), "other.example.com": site(trusting(OTHER))}
    return Gate(TLSSource(), sites, trusting(ROOT, OTHER), default)


def request(*chain: str, host: str | None = "money.example.com", at: float | None = None) -> Request:
    return make_request(make_scope(chain, host=host), time.time() if at is None else at)


@pytest.fixture
def verifications() -> Iterator[list[object]]:
    """Every full verification of a chain that happens during a test."""
    seen: list[object] = []
    verify = Verifier.verify

    def spy(self: Verifier, chain: tuple[str, ...], at: float) -> object:
        seen.append(chain)
        return verify(self, chain, at)

    with patch.object(Verifier, "verify", spy):
        yield seen


def test_the_right_certificate_for_the_right_host_gets_in() -> None:
    """And the decision carries the certificate."""
    decision = gate().check(request(LEAF.pem))
    assert isinstance(decision, Allow)
    assert (decision.application, decision.policy) == ("Budget", "devices")
    assert decision.identity.certificate is not None
    assert decision.identity.certificate.common_name == "Rhea Group"


@pytest.mark.parametrize(
    ("chain", "host", "reason"),
    [
        ((), "money.example.com", Reason.CERTIFICATE_MISSING),
        ((OTHERS_LEAF.pem,), "money.example.com", Reason.CERTIFICATE_UNTRUSTED),
        ((LEAF.pem,), "other.example.com", Reason.CERTIFICATE_UNTRUSTED),
        ((LEAF.pem,), "unknown.example.com", Reason.HOST_UNKNOWN),
        ((LEAF.pem,), "money.example.com.evil.example", Reason.HOST_UNKNOWN),
        ((LEAF.pem,), "a b", Reason.HOST_MALFORMED),
        ((LEAF.pem,), None, Reason.HOST_MALFORMED),
        (("garbage",), "money.example.com", Reason.CERTIFICATE_MALFORMED),
    ],
)
def test_everything_else_is_refused(chain: tuple[str, ...], host: str | None, reason: Reason) -> None:
    """A certificate counts for the hosts of its own root and for no other; an unknown host has no door at all."""
    decision = gate().check(request(*chain, host=host))
    assert isinstance(decision, Deny)
    assert decision.reason is reason


def test_a_default_site_answers_for_every_host() -> None:
    """But not for a request that names none."""
    anywhere = gate(default=site(trusting(ROOT)))
    assert isinstance(anywhere.check(request(LEAF.pem, host="whatever.example")), Allow)
    assert isinstance(anywhere.check(request(LEAF.pem, host=None)), Deny)


def test_a_bad_certificate_does_not_close_a_door_that_needs_none() -> None:
    """The policy may match without; the app then sees no certificate."""
    public = Gate(TLSSource(), {"money.example.com": site(trusting(ROOT), open_to_all=True)}, trusting(ROOT))
    for chain in ((), (OTHERS_LEAF.pem,), ("garbage",)):
        decision = public.check(request(*chain))
        assert isinstance(decision, Allow)
        assert decision.identity.certificate is None
        assert decision.identity.error is not None


def test_a_certificate_seen_before_is_not_verified_again(verifications: list[object]) -> None:
    """By its exact bytes, for its own host."""
    door = gate()
    for _ in range(3):
        assert isinstance(door.check(request(LEAF.pem)), Allow)
    assert len(verifications) == 1
    assert isinstance(door.check(request(LEAF.pem, host="other.example.com")), Deny)
    assert len(verifications) == 2


def test_what_is_remembered_is_the_whole_chain() -> None:
    """A leaf that came with its intermediate once is not good without it."""
    between = make_authority("Between", ROOT)
    leaf, door = make_leaf(between), gate()
    assert isinstance(door.check(request(leaf.pem, between.pem)), Allow)
    assert isinstance(door.check(request(leaf.pem)), Deny)


def test_what_is_remembered_ends_with_the_certificate() -> None:
    """The time is looked at on every request: a remembered yes does not outlive the certificate, nor precede it."""
    door = gate()
    begins = LEAF.certificate.not_valid_before_utc.timestamp()
    ends = LEAF.certificate.not_valid_after_utc.timestamp()
    assert isinstance(door.check(request(LEAF.pem)), Allow)
    assert isinstance(door.check(request(LEAF.pem, at=ends)), Allow)
    late, early = door.check(request(LEAF.pem, at=ends + 1)), door.check(request(LEAF.pem, at=begins - 1))
    assert isinstance(late, Deny)
    assert late.reason is Reason.CERTIFICATE_EXPIRED
    assert isinstance(early, Deny)
    assert early.reason is Reason.CERTIFICATE_NOT_YET_VALID


def test_what_is_remembered_ends_with_its_issuer() -> None:
    """Also when the leaf itself would last longer."""
    short = make_authority("Short", ROOT, ends=DAY)
    leaf = make_leaf(short, ends=30 * DAY)
    door = gate()
    assert isinstance(door.check(request(leaf.pem, short.pem)), Allow)
    after = short.certificate.not_valid_after_utc.timestamp() + 1
    assert isinstance(door.check(request(leaf.pem, short.pem, at=after)), Deny)


def test_failures_are_not_remembered(verifications: list[object]) -> None:
    """A stranger cannot fill the memory, and a certificate that becomes valid gets in at once."""
    door = gate()
    begins = LEAF.certificate.not_valid_before_utc.timestamp()
    assert isinstance(door.check(request(LEAF.pem, at=begins - 1)), Deny)
    assert isinstance(door.check(request(LEAF.pem, at=begins)), Allow)
    assert len(verifications) == 2


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first, and who was forgotten is verified again."""
    monkeypatch.setattr(keyfob.gate, "REMEMBERED", 2)
    place = site(trusting(ROOT))
    door = Gate(TLSSource(), {"money.example.com": place}, trusting(ROOT))
    leaves = [make_leaf(ROOT, f"device {number}") for number in range(4)]
    for leaf in [*leaves, *leaves]:
        assert isinstance(door.check(request(leaf.pem)), Allow)
        assert len(place.known) <= 2


def test_rules_about_the_request_are_asked_every_time() -> None:
    """Only what follows from the certificate alone may be remembered with it."""
    asked: list[str] = []

    def test(request: Request, _: object) -> bool:
        asked.append(request.path)
        return request.path == "/"

    policy = Policy("root only", PolicyDecision.NON_IDENTITY, (test,), looks_at_request=True)
    place = Site(Application("Budget", [policy]), Verifier(trusting(ROOT)))
    door = Gate(TLSSource(), {"money.example.com": place}, trusting(ROOT))
    assert isinstance(door.check(make_request(make_scope([LEAF.pem]), time.time())), Allow)
    assert isinstance(door.check(make_request(make_scope([LEAF.pem], path="/admin"), time.time())), Deny)
    assert asked == ["/", "/admin"]


def test_a_new_configuration_remembers_nothing() -> None:
    """What was let in by an old gate is looked at afresh by a new one."""
    old = gate()
    assert isinstance(old.check(request(LEAF.pem)), Allow)
    new = Gate(TLSSource(), {"money.example.com": site(trusting(OTHER))}, trusting(OTHER))
    assert isinstance(new.check(request(LEAF.pem)), Deny)
