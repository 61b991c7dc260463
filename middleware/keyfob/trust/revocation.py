"""Has a certificate been withdrawn? Everything that one entry of root certificates says about it."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

from cryptography import x509

from keyfob.certificate import format_serial
from keyfob.errors import Revoked, StatusUnknown
from keyfob.trust.crl import RevocationList
from keyfob.trust.roots import Roots
from keyfob.trust.scope import EVERY_REASON, NO_REASON
from keyfob.trust.serials import OwnList
from keyfob.trust.withdrawals import ALWAYS, GRACE, Withdrawals

LOGGER = logging.getLogger("keyfob.trust")

# Seconds between two warnings about the same list or responder. What was accepted with one is asked about again then.
WARN_EVERY = 3600
# Seconds until a responder is asked again that had no answer yet: what it says counts as soon as it comes.
ASK_EVERY = 1

FOREVER = float("inf")


class Stale(StrEnum):
    """What to do where nothing current tells whether a certificate is withdrawn."""

    REFUSE = "refuse"
    WARN = "warn"


class Response(NamedTuple):
    """What an OCSP responder says; `until` is in seconds since the epoch, and after that it says nothing any more."""

    status: Literal["good", "revoked", "unknown"]
    until: float


class Responses(Protocol):
    """The answers of an OCSP responder, as far as they are known."""

    def find(self, certificate: x509.Certificate, issuer: x509.Certificate, at: float) -> Response | None:
        """None: not known yet; it is then asked for in the background."""
        ...

    def withdraws(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether it was said to be revoked, by a responder for this key. Asks nobody."""
        ...


class Revocation:
    """What one entry says about withdrawal: lists, our own list, a responder, and an inventory. Shared by all threads.

    `expired` is for lists past their nextUpdate, `unavailable` for a responder that has not answered, `unreachable` for
    an inventory that nobody could look into for longer than GRACE.
    """

    def __init__(
        self,
        lists: Sequence[RevocationList] = (),
        expired: Stale = Stale.REFUSE,
        revoked: OwnList | None = None,
        responses: Responses | None = None,
        unavailable: Stale = Stale.REFUSE,
        inventory: Withdrawals | None = None,
        unreachable: Stale = Stale.REFUSE,
    ) -> None:
        # Of two lists for the same certificates, the one that lasts longer is asked first.
        self.lists = tuple(sorted(lists, key=_last, reverse=True))
        self._expired = expired
        self._own = revoked
        self._responses = responses
        self._unavailable = unavailable
        self._inventory = inventory
        self._unreachable = unreachable
        # Whoever is withdrawn vouches for nobody; what its list withdraws stays so. A root is the configuration's.
        self._vouching = tuple(
            each for each in self.lists if each.signer in each.anchors or self._find_list(each.signer) is None
        )
        self._warned: dict[RevocationList | Withdrawals | None, float] = {}

    def require_good(self, path: Sequence[x509.Certificate], at: float) -> float:
        """Until when, in seconds since the epoch, no certificate of a verified path is withdrawn.

        `path` has the leaf first and the anchor, which nobody else can withdraw, last. The moment is infinite where
        nothing ends it. Raises Revoked, and StatusUnknown if lists or a responder are configured and one of the
        certificates is covered by none of them, or if nobody can look into the inventory.
        """
        answers = [self._ask(each, issuer, at) for each, issuer in pairwise(path)]
        for certificate, answer in zip(path, answers, strict=False):
            self._require_not_withdrawn(certificate, answer, at)
        ends = [self._require_covered(each, path[-1], answer, at) for each, answer in zip(path, answers, strict=False)]
        return min([*ends, *self._require_known(path[:-1], at)], default=FOREVER)

    def require_unnamed(self, path: Sequence[x509.Certificate]) -> None:
        """The same for a path that ends in the root of another entry, when authorities have signed each other.

        Raises Revoked if a list of this entry names one of its certificates, and the key that has signed the list is
        the one that has signed the certificate: a way around a list is none.
        """
        for certificate, issuer in pairwise(path):
            if self._own is not None and self._own.withdraws(certificate):
                raise Revoked(f"{_describe(certificate)} is withdrawn by {self._own.name}")
            # A last moment that has passed is ALWAYS soon after, and verdicts made before are forgotten then.
            if self._inventory is not None and self._inventory.find_end(certificate) == ALWAYS:
                raise Revoked(f"{_describe(certificate)} is withdrawn by the inventory {self._inventory.name}")
            for each in self.lists:
                if each.withdraws(certificate) and each.signer.public_key() == issuer.public_key():
                    raise Revoked(f"{_describe(certificate)} is withdrawn by {each.name}")
            if self._responses is not None and self._responses.withdraws(certificate, issuer):
                raise Revoked(f"{_describe(certificate)} is withdrawn, says the OCSP responder")

    def find_uncovered(self, roots: Roots, at: float) -> tuple[x509.Certificate, ...]:
        """Those intermediates of the entry's own file that no list speaks about at `at`, for a warning at start-up.

        Every device below one of them would be refused, unless a responder answers for it.
        """
        return tuple(
            each
            for each in roots.intermediates
            if self.lists and not any(self._cover(each, anchor, at).is_whole for anchor in roots.anchors)
        )

    def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate, at: float) -> Response | None:
        answer = self._responses.find(certificate, issuer, at) if self._responses else None
        return answer if answer is not None and at <= answer.until else None

    def _find_list(self, certificate: x509.Certificate) -> RevocationList | OwnList | None:
        """The list that withdraws this certificate. A list that is not current does so too, and one of any scope."""
        own = (self._own,) if self._own else ()
        return next((each for each in (*own, *self.lists) if each.withdraws(certificate)), None)

    def _require_not_withdrawn(self, certificate: x509.Certificate, answer: Response | None, at: float) -> None:
        found = self._find_list(certificate)
        if found is not None:
            raise Revoked(f"{_describe(certificate)} is withdrawn by {found.name}")
        if self._inventory is not None and self._inventory.find_end(certificate) <= at:
            raise Revoked(f"{_describe(certificate)} is withdrawn by the inventory {self._inventory.name}")
        if answer is not None and answer.status == "revoked":
            raise Revoked(f"{_describe(certificate)} is withdrawn, says the OCSP responder")

    def _require_covered(
        self, certificate: x509.Certificate, anchor: x509.Certificate, answer: Response | None, at: float
    ) -> float:
        if not self.lists and self._responses is None:
            return FOREVER
        # A responder that has been asked may still withdraw what a list knows nothing of yet.
        asked = FOREVER if self._responses is None else answer.until if answer else at + ASK_EVERY
        if answer is not None and answer.status == "good":
            return asked
        cover = self._cover(certificate, anchor, at)
        if cover.is_whole:
            for each in cover.stale:
                self._warn(each, f"{_explain_lapse(each, at)}; it is used as crl_expired says", at)
            return min(asked, cover.until)
        if self._responses is not None and answer is None and self._unavailable is Stale.WARN:
            self._warn(None, f"nobody can tell whether {_describe(certificate)} is withdrawn: {_SILENT}", at)
            return asked
        reasons = "; ".join(self._explain(certificate, anchor, answer, at))
        raise StatusUnknown(f"nobody can tell whether {_describe(certificate)} is withdrawn: {reasons}", self._hint)

    def _require_known(self, path: Sequence[x509.Certificate], at: float) -> Iterator[float]:
        """The moments at which the inventory has to be asked again about a path without its anchor."""
        book = self._inventory
        if book is None:
            return
        yield from map(book.find_end, path)
        rest = book.measure_rest()
        if rest > 0:
            yield at + rest
            return
        said = f"nobody could look into the inventory {book.name} for {GRACE:.0f} seconds"
        if self._unreachable is Stale.REFUSE:
            about = ", ".join(map(_describe, path[:1]))
            raise StatusUnknown(f"nobody can tell whether {about} is withdrawn: {said}", _LOOK)
        self._warn(book, f"{said}; what it said before is used as inventory_unavailable says", at)
        yield at + WARN_EVERY

    def _cover(self, certificate: x509.Certificate, anchor: x509.Certificate, at: float) -> "_Cover":
        """The lists that together speak about this certificate, current ones first."""
        reasons, until, stale = NO_REASON, FOREVER, []
        for each in sorted(self._vouching, key=lambda each: _explain_lapse(each, at) != ""):
            more = each.scope.find_reasons(certificate) - reasons
            if not more or not self._is_usable(each, anchor, at):
                continue
            reasons |= more
            if _explain_lapse(each, at):
                stale.append(each)
                until = min(until, at + WARN_EVERY)
            else:
                until = min(until, _last(each))
        return _Cover(reasons == EVERY_REASON, until, stale)

    def _is_usable(self, each: RevocationList, anchor: x509.Certificate, at: float) -> bool:
        signer = each.signer
        in_time = signer.not_valid_before_utc.timestamp() <= at <= signer.not_valid_after_utc.timestamp()
        current = self._expired is Stale.WARN or not _explain_lapse(each, at)
        vouches = signer in each.anchors or self._inventory is None or self._inventory.find_end(signer) > at
        return current and in_time and at >= each.this_update and anchor in each.anchors and vouches

    def _explain(
        self, certificate: x509.Certificate, anchor: x509.Certificate, answer: Response | None, at: float
    ) -> Iterator[str]:
        about = [each for each in self._vouching if each.scope.find_reasons(certificate)]
        if self.lists and not about:
            yield f"no list covers certificates of {certificate.issuer.rfc4514_string()} like this one"
        for each in about:
            if not self._is_usable(each, anchor, at):
                yield _explain_lapse(each, at) or f"the signer of {each.name} is {_UNFIT}"
            elif each.scope.find_reasons(certificate) != EVERY_REASON:
                yield f"{each.name} is about some reasons only"
        if self._responses is not None:
            yield _SILENT if answer is None else "the OCSP responder does not know it"

    @property
    def _hint(self) -> str:
        if not self.lists:
            return "is the responder in ocsp reachable from here, and the one for this CA?"
        return "name a current list of that CA in crl; every certificate below the root has to be covered by one"

    def _warn(self, about: RevocationList | Withdrawals | None, message: str, at: float) -> None:
        if at - self._warned.get(about, -FOREVER) >= WARN_EVERY:
            self._warned[about] = at
            LOGGER.warning("%s", message)


class _Cover(NamedTuple):
    is_whole: bool
    until: float
    stale: list[RevocationList]


_UNFIT = "out of time, below another root, or withdrawn"
_LOOK = "the log says why; it is looked into by an AccessMiddleware, and not by a gate alone"
_SILENT = "the OCSP responder has not answered yet"


def _last(each: RevocationList) -> float:
    """The last moment at which a list can vouch for anybody: its own, or its signer's."""
    end = -FOREVER if each.next_update is None else each.next_update
    return min(end, each.signer.not_valid_after_utc.timestamp())


def _explain_lapse(each: RevocationList, at: float) -> str:
    """Why a list is not current at `at`; empty if it is."""
    if at < each.this_update:
        return f"{each.name} is from {_show(each.this_update)}, in the future"
    if each.next_update is None:
        return f"{each.name} does not say until when it is current"
    if at > each.next_update:
        return f"{each.name} was to be followed by another at {_show(each.next_update)}"
    return ""


def _show(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _describe(certificate: x509.Certificate) -> str:
    return f"{certificate.subject.rfc4514_string()}, serial number {format_serial(certificate.serial_number)},"
