"""gate: the one path from what arrived to a verdict."""

import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest

import keyfob.gate
from certificates import DAY, Pair, make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob.addresses import Address
from keyfob.errors import ConfigError, HeaderMalformed, Problem, Reason
from keyfob.gate import ClosedGate, Gate, Renewal, Site
from keyfob.policy import Allow, Decision, Deny, Policy, PolicyDecision, Rule, Rules
from keyfob.request import Request
from keyfob.sources.tls import TLSSource
from keyfob.trust import Roots, Verifier
from revocations import make_list
from sites import (
    CERTIFICATE,
    EVERYONE,
    HOST,
    assemble,
    make_gate,
    make_site,
    write_application,
    write_document,
    write_policy,
)

ROOT, OTHER = make_authority("Root"), make_authority("Other")
LEAF, OTHERS_LEAF = make_leaf(ROOT), make_leaf(OTHER)


def trusting(*roots: object) -> Roots:
    return Roots(tuple(each.certificate for each in roots), ())  # type: ignore[attr-defined]


def site(roots: Roots, *, looks_at_request: bool = False, open_to_all: bool = False) -> Site:
    rule = EVERYONE if open_to_all else CERTIFICATE
    name, decision = ("open", PolicyDecision.BYPASS) if open_to_all else ("devices", PolicyDecision.NON_IDENTITY)
    return make_site(roots, Policy(name, decision, Rules((rule._replace(looks_at_request=looks_at_request),))))


def gate() -> Gate:
    sites = {"money.example.com": site(trusting(ROOT)), "other.example.com": site(trusting(OTHER))}
    return Gate(TLSSource(), sites, trusting(ROOT, OTHER))


def request(
    *chain: str, host: str | None = "money.example.com", at: float | None = None, glance: bool = True
) -> Request:
    """What the skins hand to a gate; the certificate is found at a `glance` where the server made the chain a tuple."""
    scope, moment = make_scope(chain, host=host), time.time() if at is None else at
    return TLSSource().receive(scope, moment) if glance else make_request(scope, moment)


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
    anywhere = make_gate(site(trusting(ROOT)))
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


@pytest.mark.parametrize("glance", [True, False])
def test_what_is_remembered_ends_with_the_certificate(glance: bool) -> None:
    """The time is looked at on every request: a remembered yes does not outlive the certificate, nor precede it."""
    door = gate()
    begins = LEAF.certificate.not_valid_before_utc.timestamp()
    ends = LEAF.certificate.not_valid_after_utc.timestamp()
    assert isinstance(door.check(request(LEAF.pem, glance=glance)), Allow)
    assert isinstance(door.check(request(LEAF.pem, at=ends, glance=glance)), Allow)
    late, early = (
        door.check(request(LEAF.pem, at=ends + 1, glance=glance)),
        door.check(request(LEAF.pem, at=begins - 1, glance=glance)),
    )
    assert isinstance(late, Deny)
    assert late.reason is Reason.CERTIFICATE_EXPIRED
    assert isinstance(early, Deny)
    assert early.reason is Reason.CERTIFICATE_NOT_YET_VALID


@pytest.mark.parametrize("glance", [True, False])
def test_a_remembered_verdict_changes_when_the_time_for_renewal_begins(
    glance: bool, verifications: list[object]
) -> None:
    """To the second, in either direction of the clock; until then, and from then on, it is remembered as ever."""
    place = site(trusting(ROOT))
    place.renewal = Renewal("/renew", DAY.total_seconds())
    door = make_gate(place)
    begin = (LEAF.certificate.not_valid_after_utc - DAY).timestamp()
    for at, link in (
        (begin - 5, None),
        (begin - 1, None),
        (begin + 1, "/renew"),
        (begin + 5, "/renew"),
        (begin - 1, None),
    ):
        decision = door.check(request(LEAF.pem, at=at, glance=glance))
        assert isinstance(decision, Allow)
        assert decision.identity.certificate is not None
        assert decision.identity.certificate.renewal == link
    assert len(verifications) == 3


@pytest.mark.parametrize("glance", [True, False])
def test_what_is_remembered_ends_with_its_issuer(glance: bool) -> None:
    """Also when the leaf itself would last longer."""
    short = make_authority("Short", ROOT, ends=DAY)
    leaf = make_leaf(short, ends=30 * DAY)
    door = gate()
    assert isinstance(door.check(request(leaf.pem, short.pem, glance=glance)), Allow)
    after = short.certificate.not_valid_after_utc.timestamp() + 1
    assert isinstance(door.check(request(leaf.pem, short.pem, at=after, glance=glance)), Deny)


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

    rule = Rule("root only", test, looks_at_request=True)
    place = make_site(trusting(ROOT), Policy("root only", PolicyDecision.NON_IDENTITY, Rules((rule,))))
    door = Gate(TLSSource(), {"money.example.com": place}, trusting(ROOT))
    assert isinstance(door.check(request(LEAF.pem)), Allow)
    assert isinstance(door.check(TLSSource().receive(make_scope([LEAF.pem], path="/admin"), time.time())), Deny)
    assert asked == ["/", "/admin"]


def test_a_new_configuration_remembers_nothing() -> None:
    """What was let in by an old gate is looked at afresh by a new one."""
    old = gate()
    assert isinstance(old.check(request(LEAF.pem)), Allow)
    new = Gate(TLSSource(), {"money.example.com": site(trusting(OTHER))}, trusting(OTHER))
    assert isinstance(new.check(request(LEAF.pem)), Deny)


class _Unreadable(TLSSource):
    """A source whose header means two things at once."""

    def presented(self, request: Request) -> tuple[str, ...]:
        raise HeaderMalformed("twice")


@pytest.mark.parametrize("looks_at_request", [True, False])
def test_an_ambiguous_header_is_refused_whatever_the_policies_say(looks_at_request: bool) -> None:
    """Even where everybody may come in: nobody sends such a thing by mistake."""
    roots = trusting(ROOT)
    open_to_all = site(roots, looks_at_request=looks_at_request, open_to_all=True)
    decision = Gate(_Unreadable(), {}, roots, lambda _: open_to_all).check(request(LEAF.pem, glance=False))
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.HEADER_MALFORMED


class _Somewhere(TLSSource):
    """A source that finds the client at an address of its own."""

    def find_client(self, request: Request) -> Address | None:
        return ip_address("203.0.113.9")


def test_rules_that_look_at_the_request_see_the_client_that_the_source_finds() -> None:
    """With a certificate and without; nobody else is asked for an address."""
    seen: list[Address | None] = []

    def look(request: Request, _: object) -> bool:
        seen.append(request.client)
        return True

    for looks in (True, False):
        rule = Rule("look", look, looks_at_request=looks, looks_at_client=looks)
        watching = make_site(trusting(ROOT), Policy("look", PolicyDecision.BYPASS, Rules((rule,))))
        checked = make_gate(watching, _Somewhere())
        for chain in ((LEAF.pem,), ()):
            checked.check(request(*chain))
    assert seen == [ip_address("203.0.113.9")] * 2 + [None] * 2


def measure(place: Site) -> int:
    """What everything that a site remembers counts for."""
    return sum(keyfob.gate._measure(*each) for each in place.known.items())


def test_one_device_cannot_fill_the_memory_with_what_it_sends_beside_its_certificate() -> None:
    """What is remembered is bounded by its size as well, and nothing is kept twice."""
    guarded = site(trusting(ROOT))
    checked = make_gate(guarded)
    limit = 20 * (len(LEAF.pem) + keyfob.gate.VERDICT_SIZE)
    with patch.object(keyfob.gate, "REMEMBERED_SIZE", limit):
        for _ in range(30):
            decision = checked.check(request(LEAF.pem, make_leaf(OTHER).pem))
            assert isinstance(decision, Allow)
            assert decision.identity.presented == ()
            assert measure(guarded) == guarded._size <= limit
    assert guarded.known


# --- Several applications on one host ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    (tmp_path / "other.pem").write_text(OTHER.pem)
    return tmp_path


def ask(gate: Gate, path: str = "/", *, leaf: Pair | None = LEAF, host: str = HOST, **more: Any) -> Decision:
    """What a request of this device to this path comes to, some time after all certificates have begun."""
    scope = make_scope([leaf.pem] if leaf else [], host=host, path=path, raw_path=quote(path).encode("ascii"), **more)
    return gate.check(gate.source.receive(scope, time.time()))


def find_reason(decision: Decision) -> Reason | None:
    return decision.reason if isinstance(decision, Deny) else None


OPEN = write_policy({"everyone": {}}, name="open", decision="bypass")
SECONDS = write_policy({"common_name": {"common_name": "Second device"}}, name="second")
SECOND = make_leaf(ROOT, "Second device")


def test_the_path_chooses_among_the_applications_of_a_host(folder: Path) -> None:
    """Each device is told apart for each of them, however often and in whichever order it asks."""
    applications = [
        write_application(OPEN, domain=f"{HOST}/public"),
        write_application(SECONDS, domain=f"{HOST}/admin"),
        write_application(),
    ]
    gate = assemble(folder, write_document(*applications)).gate
    for _ in range(2):
        for leaf, path, policy in [
            (LEAF, "/", "devices"),
            (LEAF, "/public/x", "open"),
            (LEAF, "/admin", ""),
            (SECOND, "/admin", "second"),
            (SECOND, "/", "devices"),
            (None, "/public", "open"),
            (None, "/", ""),
        ]:
            assert ask(gate, path, leaf=leaf).policy == policy


def test_a_path_that_no_application_covers_is_refused(folder: Path) -> None:
    """With a certificate and without, and before any policy is asked."""
    gate = assemble(folder, write_document(write_application(OPEN, domain=f"{HOST}/public"))).gate
    for leaf in (LEAF, None):
        assert find_reason(ask(gate, "/public", leaf=leaf)) is None
        assert find_reason(ask(gate, "/private", leaf=leaf)) is Reason.PATH_UNKNOWN


def test_a_path_that_could_mean_two_things_is_refused(folder: Path) -> None:
    """And the log is told what is unclear; where one application has every path, nothing hangs on it."""
    several = write_document(write_application(), write_application(OPEN, domain=f"{HOST}/public"))
    for leaf in (LEAF, None):
        decision = ask(assemble(folder, several).gate, "/public/../x", leaf=leaf)
        assert isinstance(decision, Deny)
        assert decision.reason is Reason.PATH_AMBIGUOUS
        assert "a segment of dots" in decision.detail
    assert isinstance(ask(assemble(folder, write_document()).gate, "/public/../x"), Allow)


# --- Hosts under wildcards --------------------------------------------------------------------------------------------


def test_an_application_and_a_root_may_each_have_a_wildcard(folder: Path) -> None:
    """One level of names, and neither the apex nor what lies deeper."""
    document = write_document(write_application(domain="*.example.com"), hosts=["*.example.com"])
    gate = assemble(folder, document).gate
    assert isinstance(ask(gate, host="a.example.com"), Allow)
    for host in ("example.com", "a.b.example.com", "a.example.com.evil.example"):
        assert find_reason(ask(gate, host=host)) is Reason.HOST_UNKNOWN


def test_a_root_counts_for_its_own_hosts_below_a_wildcard(folder: Path) -> None:
    """Two hosts of one application that believe different roots do not share what they remember."""
    roots = [
        {"name": name, "certificate": file, "associated_hostnames": hosts}
        for name, file, hosts in [("a", "ca.pem", ["*.example.com"]), ("b", "other.pem", ["b.example.com"])]
    ]
    document = write_document(write_application(domain="*.example.com"), root_certificates=roots)
    gate = assemble(folder, document).gate
    for _ in range(2):
        assert isinstance(ask(gate, host="b.example.com", leaf=OTHERS_LEAF), Allow)
        assert find_reason(ask(gate, host="a.example.com", leaf=OTHERS_LEAF)) is Reason.CERTIFICATE_UNTRUSTED
        assert isinstance(ask(gate, host="a.example.com"), Allow)
        assert isinstance(ask(gate, host="b.example.com"), Allow)


def test_an_exact_host_goes_before_a_wildcard_and_inherits_nothing(folder: Path) -> None:
    """Also not the openness of the less specific one."""
    applications = [write_application(OPEN, domain="*.example.com"), write_application(domain="a.example.com")]
    gate = assemble(folder, write_document(*applications, hosts=["a.example.com"])).gate
    assert isinstance(ask(gate, host="b.example.com", leaf=None), Allow)
    assert isinstance(ask(gate, host="a.example.com", leaf=None), Deny)


def test_hosts_below_the_same_wildcard_share_what_they_remember(folder: Path, verifications: list[object]) -> None:
    """A device is verified once, whatever names it makes up."""
    document = write_document(write_application(domain="*.example.com"), hosts=["*.example.com"])
    gate = assemble(folder, document).gate
    for number in range(50):
        assert isinstance(ask(gate, host=f"a{number}.example.com"), Allow)
    assert len(verifications) == 1


def test_the_memory_for_hosts_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks may name any; those that the configuration names stay."""
    monkeypatch.setattr(keyfob.gate, "REMEMBERED_HOSTS", 10)
    applications = [write_application(OPEN, domain="*.example.com"), write_application(OPEN, domain="b.example.com")]
    gate = assemble(folder, write_document(*applications, root_certificates=[])).gate
    for number in range(100):
        assert isinstance(ask(gate, host=f"a{number}.example.com", leaf=None), Allow)
        assert find_reason(ask(gate, host=f"a{number}.example.org", leaf=None)) is Reason.HOST_UNKNOWN
        assert len(gate._sites) <= 11
    assert "b.example.com" in gate._sites


# --- Until when -------------------------------------------------------------------------------------------------------


def test_what_is_remembered_ends_with_what_vouches_for_it(folder: Path, verifications: list[object]) -> None:
    """The nextUpdate of a list is sooner than the certificate's end, and is looked at on every request."""
    (folder / "ca.crl").write_bytes(make_list(ROOT, ends=DAY))
    root = {"name": "r", "certificate": "ca.pem", "associated_hostnames": [HOST], "crl": ["ca.crl"]}
    gate = assemble(folder, write_document(root_certificates=[root])).gate
    now = time.time()
    for at in (now, now + 3600):
        assert isinstance(gate.check(request(LEAF.pem, at=at)), Allow)
    assert len(verifications) == 1
    decision = gate.check(request(LEAF.pem, at=now + DAY.total_seconds() + 1))
    assert find_reason(decision) is Reason.CERTIFICATE_STATUS_UNKNOWN


def test_a_withdrawn_device_is_refused_and_named(folder: Path) -> None:
    """Its certificate is good in every other way."""
    (folder / "ca.crl").write_bytes(make_list(ROOT, [LEAF]))
    root = {"name": "r", "certificate": "ca.pem", "associated_hostnames": [HOST], "crl": ["ca.crl"]}
    gate = assemble(folder, write_document(root_certificates=[root])).gate
    assert find_reason(ask(gate)) is Reason.CERTIFICATE_REVOKED
    assert isinstance(ask(gate, leaf=SECOND), Allow)


def test_forgetting_has_everybody_verified_again(verifications: list[object]) -> None:
    """On every host, those under wildcards included."""
    shared = site(trusting(ROOT))
    door = Gate(TLSSource(), {"money.example.com": site(trusting(ROOT))}, trusting(ROOT), lambda _: shared)
    for _ in range(2):
        for host in ("money.example.com", "other.example.com"):
            assert isinstance(door.check(request(LEAF.pem, host=host)), Allow)
    assert len(verifications) == 2
    door.forget()
    for host in ("money.example.com", "other.example.com"):
        assert isinstance(door.check(request(LEAF.pem, host=host)), Allow)
    assert len(verifications) == 4
    assert len(shared.known) == 1
    assert measure(shared) == shared._size


def test_what_was_on_its_way_while_everything_was_forgotten_is_not_remembered() -> None:
    """Another thread may withdraw a device between its verification and the note that is made of it."""
    place = site(trusting(ROOT))
    door, verify = make_gate(place), Verifier.verify

    def verify_slowly(self: Verifier, chain: tuple[str, ...], at: float) -> object:
        verified = verify(self, chain, at)
        door.forget()
        return verified

    with patch.object(Verifier, "verify", verify_slowly):
        assert isinstance(door.check(request(LEAF.pem)), Allow)
    assert place.known == {}
    assert isinstance(door.check(request(LEAF.pem)), Allow)
    assert len(place.known) == 1


# --- Sessions ---------------------------------------------------------------------------------------------------------


def opens(decision: Decision) -> bool:
    assert isinstance(decision, Allow)
    return decision.opens_session


def test_a_device_opens_a_session_with_each_application_once(folder: Path) -> None:
    """And again when the session is over; another device has its own."""
    applications = [write_application(), write_application(domain=f"{HOST}/admin")]
    gate = assemble(folder, write_document(*applications, audit={"session": "15m"})).gate
    now = time.time()
    seen = [
        opens(gate.check(gate.source.receive(make_scope([leaf.pem], path=path), now + minutes * 60)))
        for leaf, path, minutes in [
            (LEAF, "/", 0),
            (LEAF, "/", 1),
            (LEAF, "/admin", 2),
            (LEAF, "/admin", 14),
            (LEAF, "/", 14.9),
            (SECOND, "/", 14.9),
            (LEAF, "/", 15.1),
            (LEAF, "/", 16),
            (LEAF, "/admin", 17.1),
        ]
    ]
    assert seen == [True, False, True, False, False, True, True, False, True]


def test_a_session_ends_for_an_application_that_has_the_whole_host_as_well() -> None:
    """There, a device that is known costs one look at the time, and the session's end is in it."""
    door, now = gate(), time.time()
    seen = [opens(door.check(request(LEAF.pem, at=now + seconds))) for seconds in (0, 1, 899, 900.5, 901, 1800, 1801)]
    assert seen == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("paths", [[""], ["", "/admin"]])
def test_a_clock_that_is_put_back_makes_no_session_longer(folder: Path, paths: list[str]) -> None:
    """But a request that another thread overtook begins none."""
    gate = assemble(folder, write_document(*(write_application(domain=HOST + path) for path in paths))).gate
    now = time.time()
    seen = [
        opens(gate.check(gate.source.receive(make_scope([LEAF.pem]), now + seconds)))
        for seconds in (0, 0, -0.001, -1, 899, -3600, -3599, 0)
    ]
    assert seen == [True, False, False, False, False, True, False, True]


@pytest.mark.parametrize("paths", [[""], ["", "/admin"]])
def test_every_admission_opens_one_if_every_one_is_asked_for(folder: Path, paths: list[str]) -> None:
    """Also those without a certificate."""
    applications = [write_application(OPEN, domain=HOST + path) for path in paths]
    gate = assemble(folder, write_document(*applications, audit={"admissions": "every"})).gate
    now = time.time()
    for chain in ([LEAF.pem], []):
        # Two at the very same moment, and two after the clock was put back.
        for at in (now, now, now + 1, now - 3600, now - 3600):
            assert opens(gate.check(gate.source.receive(make_scope(chain), at)))


def test_nobody_in_particular_has_no_session(folder: Path) -> None:
    """Without a certificate there is no device that could be told from another."""
    gate = assemble(folder, write_document(write_application(OPEN))).gate
    assert not opens(ask(gate, leaf=None))


# --- A gate that could not be built -----------------------------------------------------------------------------------


def test_a_closed_gate_has_no_verdict_for_anybody() -> None:
    """But the reason why it could not be built."""
    closed = ClosedGate(ConfigError("access.toml", [Problem("source", "is missing", "write it")]))
    for chain in ((), (LEAF.pem,)):
        with pytest.raises(ConfigError, match="is missing"):
            closed.check(closed.source.receive(make_scope(chain), time.time()))
    assert closed.find_site("money.example.com") is None
    assert closed.source.hides(b"anything")
