"""trust.revocation: who is withdrawn is out, and where nobody can tell, nobody gets in."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certificates import DAY, Pair, make_authority, make_leaf, make_name
from keyfob.certificate import format_serial
from keyfob.errors import Revoked, StatusUnknown
from keyfob.trust.crl import RevocationList, read_crls
from keyfob.trust.revocation import ASK_EVERY, WARN_EVERY, Response, Revocation, Stale
from keyfob.trust.roots import Roots
from keyfob.trust.serials import OwnList, encode_serial, read_own_list
from keyfob.trust.withdrawals import ALWAYS, GRACE, Withdrawals
from revocations import make_entry, make_extension, make_list

ROOT = make_authority("Root")
INTERMEDIATE = make_authority("Intermediate", ROOT)
LISTS = make_authority("Lists", ROOT)
OTHER = make_authority("Other")
ROOTS = Roots((ROOT.certificate, OTHER.certificate), (INTERMEDIATE.certificate, LISTS.certificate))
LEAF, GOOD = make_leaf(INTERMEDIATE), make_leaf(INTERMEDIATE)
PATH = [LEAF.certificate, INTERMEDIATE.certificate, ROOT.certificate]
NOW = time.time()
HOUR = timedelta(hours=1)

INDIRECT = x509.IssuingDistributionPoint(None, None, False, False, None, True, False), True


def only_for(
    *, user: bool = False, ca: bool = False, reasons: frozenset[x509.ReasonFlags] | None = None
) -> tuple[x509.IssuingDistributionPoint, bool]:
    return x509.IssuingDistributionPoint(None, None, user, ca, reasons, False, False), True


class Lists:
    """Makes lists of files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        issuer: Pair,
        *entries: Pair | int | bytes,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        begins: timedelta = -DAY,
        ends: timedelta | None = 7 * DAY,
        roots: Roots = ROOTS,
    ) -> RevocationList:
        path = self._folder / f"{len(list(self._folder.iterdir()))}.crl"
        path.write_bytes(make_list(issuer, entries, *extensions, begins=begins, ends=ends))
        [found] = read_crls(path, roots)
        return found

    def own(self, *pairs: Pair) -> OwnList:
        path = self._folder / "revoked.txt"
        path.write_text("".join(f"{each.certificate.serial_number:x}\n" for each in pairs))
        return read_own_list(path)


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    return Lists(tmp_path)


class Told:
    """A responder whose answers are written down; it remembers who was asked about."""

    def __init__(self, answers: Mapping[Pair, Response] | None = None) -> None:
        self._answers = {pair.certificate: answer for pair, answer in (answers or {}).items()}
        self.asked: list[tuple[x509.Certificate, x509.Certificate]] = []

    def find(self, certificate: x509.Certificate, issuer: x509.Certificate, at: float) -> Response | None:
        self.asked.append((certificate, issuer))
        return self._answers.get(certificate)

    def withdraws(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        answer = self._answers.get(certificate)
        return answer is not None and answer.status == "revoked"


def good(until: float = NOW + 500) -> Response:
    return Response("good", until)


def refuse(revocation: Revocation, message: str, path: Sequence[x509.Certificate] = PATH, at: float = NOW) -> None:
    with pytest.raises(StatusUnknown, match=message) as raised:
        revocation.require_good(path, at)
    assert raised.value.hint


def withdraw(revocation: Revocation, message: str, path: Sequence[x509.Certificate] = PATH) -> None:
    with pytest.raises(Revoked, match=message):
        revocation.require_good(path, NOW)


def test_where_nothing_is_configured_nothing_is_asked() -> None:
    """And nothing ends the answer."""
    assert Revocation().require_good(PATH, NOW) == math.inf


def test_covered_and_not_withdrawn_is_good_until_the_first_list_ends(lists: Lists) -> None:
    """Of all the lists that were needed."""
    first, second = lists(ROOT, ends=2 * DAY), lists(INTERMEDIATE, GOOD, ends=DAY)
    assert Revocation([first, second]).require_good(PATH, NOW) == second.next_update
    third = lists(INTERMEDIATE, ends=3 * DAY)
    assert Revocation([first, second, third]).require_good(PATH, NOW) == first.next_update
    assert Revocation([third, second, first]).require_good(PATH, NOW) == first.next_update


def test_a_list_vouches_no_longer_than_its_signer(lists: Lists) -> None:
    """A signature is worth what its certificate is."""
    short = make_authority("Short", ends=2 * DAY)
    leaf = make_leaf(short)
    path = [leaf.certificate, short.certificate]
    revocation = Revocation([lists(short, roots=Roots((short.certificate,), ()))])
    end = short.certificate.not_valid_after_utc.timestamp()
    assert revocation.require_good(path, NOW) == end
    refuse(revocation, "out of time", path, end + 1)


def test_the_withdrawn_are_out_wherever_they_stand_on_the_path(lists: Lists) -> None:
    """The device, or an authority above it; the anchor is for whoever wrote the configuration."""
    assert Revocation([lists(ROOT, ROOT), lists(INTERMEDIATE, ROOT)]).require_good(PATH, NOW) > NOW
    withdraw(Revocation([lists(ROOT), lists(INTERMEDIATE, LEAF)]), "CN=Rhea Group.* is withdrawn by .*crl")
    withdraw(Revocation([lists(ROOT, INTERMEDIATE), lists(INTERMEDIATE)]), "CN=Intermediate.* is withdrawn by")


def test_an_entry_withdraws_whatever_else_is_wrong_with_its_list(lists: Lists) -> None:
    """Past its end, before its beginning, about others, for some reasons: it still knows this one."""
    for each in (
        lists(INTERMEDIATE, LEAF, begins=-2 * DAY, ends=-DAY),
        lists(INTERMEDIATE, LEAF, begins=DAY),
        lists(INTERMEDIATE, LEAF, ends=None),
        lists(INTERMEDIATE, LEAF, extensions=[only_for(ca=True)]),
        lists(INTERMEDIATE, LEAF, extensions=[only_for(reasons=frozenset({x509.ReasonFlags.key_compromise}))]),
        lists(LISTS, make_entry(LEAF.certificate.serial_number, issued_by(INTERMEDIATE)), extensions=[INDIRECT]),
    ):
        withdraw(Revocation([each]), "is withdrawn by")


def issued_by(issuer: Pair) -> bytes:
    return make_extension(x509.CertificateIssuer([x509.DirectoryName(issuer.certificate.subject)]), True)


def test_a_serial_number_of_another_issuer_is_another_certificate(lists: Lists) -> None:
    """The root's list has this number, for a certificate of its own."""
    assert Revocation([lists(ROOT, LEAF), lists(INTERMEDIATE)]).require_good(PATH, NOW) > NOW


def test_every_certificate_below_the_root_has_to_be_covered(lists: Lists) -> None:
    """Like `-crl_check_all` of OpenSSL; the message names who is not, and the hint the cure."""
    refuse(Revocation([lists(ROOT)]), "CN=Rhea Group.*: no list covers certificates of CN=Intermediate")
    refuse(Revocation([lists(INTERMEDIATE)]), "CN=Intermediate.*: no list covers certificates of CN=Root")
    refuse(Revocation([lists(INTERMEDIATE, extensions=[only_for(ca=True)]), lists(ROOT)]), "no list covers")
    assert Revocation([lists(ROOT), lists(INTERMEDIATE)]).require_good(PATH, NOW) > NOW


def test_a_list_covers_while_it_is_current(lists: Lists) -> None:
    """To the second, on either side; and never if it does not say how long."""
    root = lists(ROOT)
    each = lists(INTERMEDIATE, begins=-HOUR, ends=HOUR)
    assert each.next_update is not None
    revocation = Revocation([root, each])
    for at in (each.this_update, each.next_update):
        assert revocation.require_good(PATH, at) == each.next_update
    refuse(revocation, "in the future", at=each.this_update - 1)
    refuse(revocation, "was to be followed by another", at=each.next_update + 1)
    refuse(Revocation([root, lists(INTERMEDIATE, ends=None)]), "does not say until when")


def test_a_list_past_its_end_counts_with_a_warning_where_that_is_asked_for(
    lists: Lists, caplog: pytest.LogCaptureFixture
) -> None:
    """Once an hour for each list, and until then the answer holds; one from the future never counts."""
    root, ended = lists(ROOT), lists(INTERMEDIATE, begins=-2 * DAY, ends=-DAY)
    refuse(Revocation([root, ended]), "was to be followed")
    revocation = Revocation([root, ended], Stale.WARN)
    for _ in range(3):
        assert revocation.require_good(PATH, NOW) == NOW + WARN_EVERY
    [record] = caplog.records
    assert (record.name, record.levelno) == ("keyfob.trust", logging.WARNING)
    assert ended.name in record.getMessage()
    revocation.require_good(PATH, NOW + WARN_EVERY - 1)
    assert len(caplog.records) == 1
    revocation.require_good(PATH, NOW + WARN_EVERY)
    assert len(caplog.records) == 2
    endless = lists(INTERMEDIATE, ends=None)
    assert Revocation([root, endless], Stale.WARN).require_good(PATH, NOW) == NOW + WARN_EVERY
    refuse(Revocation([root, lists(INTERMEDIATE, begins=DAY)], Stale.WARN), "in the future")
    withdraw(Revocation([root, lists(INTERMEDIATE, LEAF, ends=-DAY / 2)], Stale.WARN), "is withdrawn")


def test_a_current_list_is_asked_before_one_that_has_ended(lists: Lists, caplog: pytest.LogCaptureFixture) -> None:
    """Then there is nothing to warn of."""
    root, ended, current = lists(ROOT, ends=8 * DAY), lists(INTERMEDIATE, ends=-DAY / 2), lists(INTERMEDIATE)
    assert Revocation([root, ended, current], Stale.WARN).require_good(PATH, NOW) == current.next_update
    assert not caplog.records


def test_lists_for_some_reasons_cover_together(lists: Lists) -> None:
    """RFC 5280 section 6.3.3: when all reasons are spoken for."""
    reasons = frozenset(x509.ReasonFlags) - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}
    some = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded})
    root = lists(ROOT)
    one = lists(INTERMEDIATE, ends=DAY, extensions=[only_for(reasons=some)])
    rest = lists(INTERMEDIATE, extensions=[only_for(reasons=reasons - some)])
    refuse(Revocation([root, one]), "about some reasons only")
    refuse(Revocation([root, rest]), "about some reasons only")
    assert Revocation([root, one, rest]).require_good(PATH, NOW) == one.next_update


def test_a_list_counts_below_the_root_that_its_signer_leads_to(lists: Lists) -> None:
    """RFC 5280 section 6.3.3 (f): an authority of the same name under another root is another authority."""
    namesake = make_authority("Intermediate", OTHER)
    roots = Roots((ROOT.certificate, OTHER.certificate), (namesake.certificate,))
    below_other = lists(namesake, roots=roots)
    assert below_other.anchors == {OTHER.certificate}
    refuse(Revocation([lists(ROOT), below_other]), "below another root")
    leaf = make_leaf(namesake)
    path = [leaf.certificate, namesake.certificate, OTHER.certificate]
    assert Revocation([lists(OTHER), below_other]).require_good(path, NOW) > NOW


def test_who_is_withdrawn_vouches_for_nobody(lists: Lists) -> None:
    """The list of a withdrawn authority still withdraws, and covers nothing."""
    points = x509.CRLDistributionPoints(
        [x509.DistributionPoint(None, None, None, [x509.DirectoryName(LISTS.certificate.subject)])]
    )
    leaf = make_leaf(ROOT, extensions=[(points, False)])
    path = [leaf.certificate, ROOT.certificate]
    indirect = lists(LISTS, extensions=[INDIRECT])
    assert Revocation([indirect]).require_good(path, NOW) == indirect.next_update
    refuse(Revocation([indirect, lists(ROOT, LISTS, extensions=[only_for(ca=True)])]), "no list covers", path)


def test_our_own_list_withdraws_and_covers_nothing(lists: Lists) -> None:
    """Where it is alone, nothing needs covering; beside lists and a responder it takes that away from nobody."""
    assert Revocation(revoked=lists.own(GOOD, ROOT)).require_good(PATH, NOW) == math.inf
    withdraw(Revocation(revoked=lists.own(GOOD, LEAF)), r"is withdrawn by .*revoked\.txt")
    withdraw(Revocation(revoked=lists.own(INTERMEDIATE)), "CN=Intermediate")
    withdraw(Revocation([lists(ROOT), lists(INTERMEDIATE)], revoked=lists.own(LEAF)), "revoked")
    refuse(Revocation([lists(ROOT)], revoked=lists.own()), "no list covers")
    refuse(Revocation(revoked=lists.own(), responses=Told()), "has not answered")


def test_a_responder_is_asked_about_every_certificate_below_the_root() -> None:
    """With the certificate of its issuer, and its answers hold together as long as the first of them."""
    told = Told({LEAF: good(NOW + 500), INTERMEDIATE: good(NOW + 300)})
    assert Revocation(responses=told).require_good(PATH, NOW) == NOW + 300
    assert told.asked == [(PATH[0], PATH[1]), (PATH[1], PATH[2])]


def test_a_responder_withdraws() -> None:
    """Whatever the lists say."""
    for pair in (LEAF, INTERMEDIATE):
        told = Told({LEAF: good(), INTERMEDIATE: good()} | {pair: Response("revoked", NOW + 500)})
        withdraw(Revocation(responses=told), "says the OCSP responder")


def test_a_responder_withdraws_what_a_list_covers(lists: Lists) -> None:
    """It may know more; and as long as it has not answered, it is asked again soon."""
    both = [lists(ROOT), lists(INTERMEDIATE)]
    withdraw(Revocation(both, responses=Told({LEAF: Response("revoked", NOW + 5)})), "OCSP")
    assert Revocation(both, responses=Told()).require_good(PATH, NOW) == NOW + ASK_EVERY
    unknown = Told({LEAF: Response("unknown", NOW + 60), INTERMEDIATE: good(NOW + 90)})
    assert Revocation(both, responses=unknown).require_good(PATH, NOW) == NOW + 60


def test_what_a_list_does_not_cover_a_responder_may(lists: Lists) -> None:
    """One of them is enough for each certificate."""
    told = Told({LEAF: good()})
    assert Revocation([lists(ROOT)], responses=told).require_good(PATH, NOW) == NOW + ASK_EVERY


@pytest.mark.parametrize("answer", [None, Response("unknown", NOW + 500), good(NOW - 1)])
def test_without_a_good_answer_that_holds_nobody_gets_in(answer: Response | None) -> None:
    """None yet, one that is over, or that the responder does not know the certificate."""
    told = Told({INTERMEDIATE: good()} | ({LEAF: answer} if answer else {}))
    refuse(Revocation(responses=told), "has not answered yet|does not know it")


def test_a_silent_responder_is_accepted_with_a_warning_where_that_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once an hour; asked again soon; and one that answers, but does not know the certificate, is not silent."""
    revocation = Revocation(responses=Told(), unavailable=Stale.WARN)
    for _ in range(3):
        assert revocation.require_good(PATH, NOW) == NOW + ASK_EVERY
    assert len(caplog.records) == 1
    revocation.require_good(PATH, NOW + WARN_EVERY)
    assert len(caplog.records) == 2
    unknown = Told({LEAF: Response("unknown", NOW + 500)})
    refuse(Revocation(responses=unknown, unavailable=Stale.WARN), "does not know it")
    refuse(Revocation(responses=Told(), expired=Stale.WARN), "has not answered")


def test_that_one_is_withdrawn_is_said_before_that_another_is_not_covered(lists: Lists) -> None:
    """It is the better reason to be told."""
    withdraw(Revocation([lists(ROOT, INTERMEDIATE)]), "CN=Intermediate")


def test_intermediates_that_no_list_covers_are_told(lists: Lists) -> None:
    """At start-up, before a device below one of them is refused."""
    roots = Roots((ROOT.certificate,), (INTERMEDIATE.certificate, LISTS.certificate))
    both = (INTERMEDIATE.certificate, LISTS.certificate)
    assert Revocation([lists(ROOT)]).find_uncovered(roots, NOW) == ()
    assert Revocation([lists(INTERMEDIATE)]).find_uncovered(roots, NOW) == both
    assert Revocation([lists(ROOT, ends=-DAY / 2)]).find_uncovered(roots, NOW) == both
    assert Revocation([lists(ROOT, extensions=[only_for(user=True)])]).find_uncovered(roots, NOW) == both
    assert Revocation().find_uncovered(roots, NOW) == ()


def test_a_name_is_described_without_its_key(lists: Lists) -> None:
    """By subject and serial number, as the audit record has it."""
    leaf = make_leaf(INTERMEDIATE, make_name("Rhea", organization_name="Test"))
    withdraw(
        Revocation([lists(INTERMEDIATE, leaf)]),
        f"O=Test.*serial number {format_serial(leaf.certificate.serial_number)}",
        [leaf.certificate, *PATH[1:]],
    )


# --- Inventories ------------------------------------------------------------------------------------------------------


class Clock:
    """Goes forward when it is told to."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def make_book(*withdrawn: Pair, clock: Clock | None = None, ends: Mapping[Pair, float] | None = None) -> Withdrawals:
    """A book that was read a moment ago, with those whom it withdraws at once, and the last moments of others."""
    book = Withdrawals("inventory.db", clock or Clock())
    moments = {**dict.fromkeys(withdrawn, ALWAYS), **(ends or {})}
    book.enter([(encode_serial(pair.certificate), end) for pair, end in moments.items()], NOW)
    book.confirm(1, None, book.clock())
    return book


@pytest.mark.parametrize("withdrawn", [LEAF, INTERMEDIATE], ids=["the device", "the authority above it"])
def test_an_inventory_withdraws_the_device_or_an_authority_above_it(withdrawn: Pair) -> None:
    """The reason names it."""
    withdraw(Revocation(inventory=make_book(withdrawn)), "is withdrawn by the inventory inventory.db")
    assert Revocation(inventory=make_book(GOOD)).require_good(PATH, NOW) > NOW


def test_no_number_in_an_inventory_withdraws_the_root() -> None:
    """Whoever wrote the configuration takes it out instead."""
    assert Revocation(inventory=make_book(ROOT)).require_good(PATH, NOW) > NOW
    assert Revocation(inventory=make_book(ends={ROOT: NOW + 1})).require_good(PATH, NOW) == NOW + GRACE


@pytest.mark.parametrize("pair", [LEAF, INTERMEDIATE], ids=["the device", "the authority above it"])
def test_a_verdict_ends_at_the_last_moment_that_an_inventory_gives(pair: Pair) -> None:
    """And from then on it is another one, whether or not anybody has looked again."""
    revocation = Revocation(inventory=make_book(ends={pair: NOW + 5}))
    assert revocation.require_good(PATH, NOW) == NOW + 5
    assert revocation.require_good(PATH, NOW + 4) == NOW + 5
    with pytest.raises(Revoked, match="is withdrawn by the inventory"):
        revocation.require_good(PATH, NOW + 5)


def test_a_verdict_rests_on_a_look_no_longer_than_the_grace() -> None:
    """So that no thread has to be alive to end it."""
    clock = Clock()
    revocation = Revocation(inventory=make_book(clock=clock))
    assert revocation.require_good(PATH, NOW) == NOW + GRACE
    clock.at = 20
    assert revocation.require_good(PATH, NOW) == NOW + GRACE - 20


def test_nobody_gets_in_when_nobody_could_look_for_long() -> None:
    """The trouble may be somebody who keeps a withdrawal from being seen."""
    clock = Clock()
    revocation = Revocation(inventory=make_book(clock=clock))
    clock.at = GRACE
    refuse(revocation, "nobody could look into the inventory inventory.db")
    refuse(Revocation(inventory=Withdrawals("inventory.db")), "nobody could look")


def test_what_was_withdrawn_stays_so_when_nobody_can_look(caplog: pytest.LogCaptureFixture) -> None:
    """However lenient the configuration is; and to be withdrawn is worth more than that nobody can tell."""
    for stale in Stale:
        clock = Clock()
        revocation = Revocation(inventory=make_book(LEAF, clock=clock), unreachable=stale)
        clock.at = 10 * GRACE
        withdraw(revocation, "is withdrawn by the inventory")
    assert not caplog.records


def test_an_inventory_out_of_reach_is_made_do_without_if_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """With a warning, once an hour."""
    clock = Clock()
    revocation = Revocation(
        inventory=make_book(clock=clock, ends={LEAF: NOW + 1.5 * WARN_EVERY}), unreachable=Stale.WARN
    )
    assert revocation.require_good(PATH, NOW) == NOW + GRACE
    assert not caplog.records
    clock.at = GRACE
    for at in (NOW, NOW + 1, NOW + WARN_EVERY - 1):
        assert revocation.require_good(PATH, at) == min(at + WARN_EVERY, NOW + 1.5 * WARN_EVERY)
    assert ["as inventory_unavailable says" in record.message for record in caplog.records] == [True]
    revocation.require_good(PATH, NOW + WARN_EVERY)
    assert len(caplog.records) == 2


def test_an_inventory_vouches_for_nobody(lists: Lists) -> None:
    """Where there are lists as well, they have to cover everybody as ever."""
    refuse(Revocation([lists(ROOT)], inventory=make_book()), "no list covers")
    both = Revocation([lists(ROOT), lists(INTERMEDIATE)], inventory=make_book())
    assert both.require_good(PATH, NOW) == NOW + GRACE


def test_whom_an_inventory_withdraws_vouches_for_nobody(lists: Lists) -> None:
    """As with any other list: nobody is good because a withdrawn authority's list does not name him."""
    about_all = lists(LISTS, make_entry(GOOD.certificate.serial_number, issued_by(INTERMEDIATE)), extensions=[INDIRECT])
    book = make_book()
    revocation = Revocation([lists(ROOT), about_all, lists(INTERMEDIATE)], inventory=book)
    assert revocation._is_usable(about_all, ROOT.certificate, NOW)
    book.enter([(encode_serial(LISTS.certificate), ALWAYS)], NOW)
    assert not revocation._is_usable(about_all, ROOT.certificate, NOW)
    assert revocation.require_good(PATH, NOW) > NOW
    withdraw(revocation, "is withdrawn by .*crl", [GOOD.certificate, *PATH[1:]])


def test_an_inventory_counts_for_paths_to_another_entrys_root() -> None:
    """A way around it is none."""
    for withdrawn in (LEAF, INTERMEDIATE):
        with pytest.raises(Revoked, match="is withdrawn by the inventory"):
            Revocation(inventory=make_book(withdrawn)).require_unnamed(PATH)
    Revocation(inventory=make_book(ROOT, ends={LEAF: NOW + 1})).require_unnamed(PATH)
