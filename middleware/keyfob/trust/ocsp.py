"""OCSP (RFC 6960, in the profile of RFC 5019): questions about certificates, the judgement of answers, and their book.

Nothing here waits for anybody: a request looks into the book, and another room carries the questions noted there to
the responder.
"""

import heapq
import threading
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from keyfob.certificate import UNREADABLE, format_serial
from keyfob.errors import KeyfobError
from keyfob.trust.revocation import Response
from keyfob.trust.verification import SHORTEST_EC, SHORTEST_RSA

Status = Literal["good", "revoked", "unknown"]

# A real answer has one to three kilobytes.
LARGEST_ANSWER = 64 * 1024
# How many seconds the responder's clock may be ahead of ours.
SKEW = 300
# An answer without nextUpdate says that news may come at any time (RFC 6960 section 4.2.2.1). It holds for this many
# seconds after its thisUpdate, and not after its arrival: otherwise an old one could be played back for ever.
LIFE_WITHOUT_END = 600
# "Unknown" is often said of a certificate that the responder has not heard of yet, so it is soon asked about again.
LIFE_OF_UNKNOWN = 60
# An answer is asked for again at half of its life; a long-lived one after this many seconds, since responders that sign
# for a week still change their mind within the day.
LONGEST_WITHOUT_ASKING = 3600

# How many certificates a book holds answers for, how many wait to be asked about for the first time, and how many
# revoked ones it remembers. Only certificates that lead to a root are ever asked about.
LARGEST_BOOK, LONGEST_QUEUE, MOST_REVOKED = 8192, 1024, 65536
# A question that was taken and never reported back is asked again after this many seconds.
LEASE = 60
# After a failure a question waits for so many seconds, twice as long each time, at most for the second number.
FIRST_PAUSE, LONGEST_PAUSE = 1, 60
# A verdict rests on an answer for so many seconds at most, and then looks for it again: the book may have dropped it.
LONGEST_RELIANCE = 3600
# A certificate that nobody has shown for so long, or for two lives of its answer, is asked about no more.
IDLE = 24 * 3600


class UnusableAnswer(KeyfobError):
    """What came from a responder says nothing about the certificate: unreadable, unsigned, late, or not asked for."""


class UnusableResponder(KeyfobError):
    """The address of a responder cannot be asked. Start-up turns this into a ConfigError with its place."""


class Question(NamedTuple):
    """The certificate whose status is asked for, and the certificate of its issuer, from a verified path."""

    certificate: x509.Certificate
    issuer: x509.Certificate

    @property
    def der(self) -> bytes:
        """The request, DER, 70 to 120 bytes.

        SHA-1 names the certificate here and proves nothing; RFC 5019 section 2.1.1 requires it, and many responders
        know no other. There is no nonce, since a responder of that profile signs its answers beforehand: how old an
        answer may be is told by its times alone.
        """
        return self.identify(hashes.SHA1()).public_bytes(Encoding.DER)  # noqa: S303 - a name, not a proof

    def identify(self, algorithm: hashes.HashAlgorithm) -> ocsp.OCSPRequest:
        """The certID by that hash, computed from the certificates' own bytes."""
        return ocsp.OCSPRequestBuilder().add_certificate(self.certificate, self.issuer, algorithm).build()


class Answer(NamedTuple):
    """What a responder has signed, in seconds since the epoch: since when, until when, and when to ask again."""

    status: Status
    this_update: float
    until: float
    renew: float


def judge(der: bytes, question: Question, at: float) -> Answer:
    """The answer to `question` in an OCSP response that arrived at `at` (seconds since the epoch).

    All of RFC 6960 section 3.2 is required. Raises UnusableAnswer, whatever the bytes are. What is not promised: the
    certificate of a delegated responder is not itself asked about, as if it carried id-pkix-ocsp-nocheck; its issuer
    keeps it short-lived instead (RFC 6960 section 4.2.2.2.1).
    """
    if len(der) > LARGEST_ANSWER:
        raise UnusableAnswer(f"a response of {len(der)} bytes; {LARGEST_ANSWER} are read")
    try:
        return _judge(ocsp.load_der_ocsp_response(der), question, at)
    except UNREADABLE as error:
        raise UnusableAnswer(f"not an OCSP response: {error}", "is there an OCSP responder at this address?") from error


def _judge(response: ocsp.OCSPResponse, question: Question, at: float) -> Answer:
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise UnusableAnswer(f"the responder did not answer, but said {response.response_status.name}")
    _require_one(response)
    _require_same(response, question)
    signer = _find_signer(response, question.issuer)
    ends = float("inf")
    if signer != question.issuer:
        _require_delegate(signer, question.issuer, at)
        ends = signer.not_valid_after_utc.timestamp()
    return _read_times(response, at, ends)


def _require_one(response: ocsp.OCSPResponse) -> None:
    """One certificate was asked about. Where there is more than one answer, their extensions cannot be told apart."""
    count = sum(1 for _ in response.responses)
    if count != 1:
        raise UnusableAnswer(f"{count} answers in one response")
    for extension in (*response.extensions, *response.single_extensions):
        # RFC 6960 section 4.4 knows no extension that has to be critical.
        if extension.critical:
            raise UnusableAnswer(f"a critical extension {extension.oid.dotted_string}")


def _require_same(response: ocsp.OCSPResponse, question: Question) -> None:
    algorithm = response.hash_algorithm
    if not isinstance(algorithm, hashes.SHA1 | hashes.SHA256):
        raise UnusableAnswer(f"the certificate is named by {algorithm.name}; sha1 and sha256 are read")
    asked = question.identify(algorithm)
    if (response.issuer_name_hash, response.issuer_key_hash, response.serial_number) != (
        asked.issuer_name_hash,
        asked.issuer_key_hash,
        asked.serial_number,
    ):
        raise UnusableAnswer(
            f"an answer about another certificate, serial number {format_serial(response.serial_number)}"
        )


def _find_signer(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> x509.Certificate:
    """The certificate that the responder id names and whose key has signed the response: the issuer's or one sent."""
    named = [each for each in (issuer, *response.certificates) if _is_named(response, each)]
    if not named:
        raise UnusableAnswer("the responder is neither the issuer nor anybody whose certificate it sent")
    for each in named:
        if _is_signed(response, each.public_key()):
            return each
    raise UnusableAnswer("the signature is not the responder's, or made in a way that proves nothing")


def _is_named(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == certificate.subject
    # RFC 6960 section 4.2.1: the SHA-1 of the key, the same as a subject key identifier of the usual kind.
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return response.responder_key_hash == key.digest


_RSA, _EC = rsa.RSAPublicKey, ec.EllipticCurvePublicKey
# The signatures that are believed. SHA-1 is not among them: somebody else can make the same (RFC 9155, SHAttered).
_SIGNATURES: Mapping[x509.ObjectIdentifier, tuple[type, hashes.HashAlgorithm]] = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: (_RSA, hashes.SHA256()),
    SignatureAlgorithmOID.RSA_WITH_SHA384: (_RSA, hashes.SHA384()),
    SignatureAlgorithmOID.RSA_WITH_SHA512: (_RSA, hashes.SHA512()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: (_EC, hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: (_EC, hashes.SHA384()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: (_EC, hashes.SHA512()),
    SignatureAlgorithmOID.ED25519: (ed25519.Ed25519PublicKey, hashes.SHA512()),
    SignatureAlgorithmOID.ED448: (ed448.Ed448PublicKey, hashes.SHA512()),
}


def _is_signed(response: ocsp.OCSPResponse, key: CertificatePublicKeyTypes) -> bool:
    kind, algorithm = _SIGNATURES.get(response.signature_algorithm_oid, (None, None))
    if kind is None or algorithm is None or not isinstance(key, kind) or not _is_strong(key):
        return False
    signature, signed = response.signature, response.tbs_response_bytes
    try:
        match key:
            case rsa.RSAPublicKey():
                key.verify(signature, signed, padding.PKCS1v15(), algorithm)
            case ec.EllipticCurvePublicKey():
                key.verify(signature, signed, ec.ECDSA(algorithm))
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(signature, signed)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _is_strong(key: CertificatePublicKeyTypes) -> bool:
    match key:
        case rsa.RSAPublicKey():
            return key.key_size >= SHORTEST_RSA
        case ec.EllipticCurvePublicKey():
            return key.curve.key_size >= SHORTEST_EC
    return True


def _require_delegate(certificate: x509.Certificate, issuer: x509.Certificate, at: float) -> None:
    """RFC 6960 section 4.2.2.2: issued by this very issuer, for this very purpose, and in its time."""
    name = certificate.subject.rfc4514_string()
    if certificate.signature_algorithm_oid not in _SIGNATURES:
        raise UnusableAnswer(f"the responder's certificate {name} is signed in a way that proves nothing")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError) as error:
        raise UnusableAnswer(f"the responder's certificate {name} is not by the issuer of the one asked about") from (
            error
        )
    if not certificate.not_valid_before_utc.timestamp() <= at <= certificate.not_valid_after_utc.timestamp():
        raise UnusableAnswer(f"the responder's certificate {name} is out of its time")
    _require_purpose(certificate, name)


def _require_purpose(certificate: x509.Certificate, name: str) -> None:
    may_answer = False
    for extension in certificate.extensions:
        match extension.value:
            case x509.ExtendedKeyUsage() as usages:
                may_answer = ExtendedKeyUsageOID.OCSP_SIGNING in usages
            case x509.KeyUsage(digital_signature=False):
                raise UnusableAnswer(f"the responder's certificate {name} has a key usage that does not allow signing")
            case x509.BasicConstraints(ca=True):
                # Authorities carry the usage to hand it down; one of them could answer for the others beside it.
                raise UnusableAnswer(f"the responder's certificate {name} is a certificate authority's own")
            case value if extension.critical and not isinstance(value, _UNDERSTOOD):
                raise UnusableAnswer(
                    f"the responder's certificate {name} has a critical extension {extension.oid.dotted_string}"
                )
    if not may_answer:
        raise UnusableAnswer(f"the responder's certificate {name} lacks the extended key usage OCSPSigning")


# What may be critical in a responder's certificate; none of the last three says anything about answering.
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.OCSPNoCheck,
    x509.SubjectAlternativeName,
    x509.CertificatePolicies,
)

_STATUSES: Mapping[ocsp.OCSPCertStatus, Status] = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}


def _read_times(response: ocsp.OCSPResponse, at: float, ends: float) -> Answer:
    status, this_update = _STATUSES[response.certificate_status], response.this_update_utc.timestamp()
    if this_update > at + SKEW:
        raise UnusableAnswer(
            f"thisUpdate is {response.this_update_utc:%Y-%m-%d %H:%M:%S} UTC, in the future", "compare the clocks"
        )
    next_update = response.next_update_utc
    until = this_update + LIFE_WITHOUT_END if next_update is None else next_update.timestamp()
    if until <= at:
        raise UnusableAnswer(f"the answer of {response.this_update_utc:%Y-%m-%d %H:%M:%S} UTC is over")
    until = min(until, ends, at + LIFE_OF_UNKNOWN) if status == "unknown" else min(until, ends)
    return Answer(status, this_update, until, at + min(max((until - at) / 2, 1), LONGEST_WITHOUT_ASKING))


class _Page:
    """What a book knows of one certificate. `taken` while somebody asks; `due` is when it is to be asked next."""

    __slots__ = ("due", "failures", "held", "question", "sought", "taken")

    def __init__(self, question: Question, at: float) -> None:
        self.question = question
        self.sought = at
        self.held: Answer | None = None
        self.taken = False
        self.failures = 0
        self.due = at

    def is_idle(self, at: float) -> bool:
        life = self.held.until - self.held.this_update if self.held else 0
        return at - self.sought > max(IDLE, 2 * life)


class ResponseBook:
    """The answers of one responder, each for as long as it holds, and the questions that are still open.

    Safe to use from several threads, and `find` never waits. A revoked answer counts until a newer one says good, also
    after its own end; no answer ever gives way to an older one. Memory is bounded: when the book is full, questions
    without any answer go first, then the answers that were looked for least recently, and neither can push out what is
    revoked. While the queue is full, newcomers are not noted; they are when they come again.
    """

    def __init__(
        self, *, largest: int = LARGEST_BOOK, longest_queue: int = LONGEST_QUEUE, most_revoked: int = MOST_REVOKED
    ) -> None:
        self.lock = threading.Lock()
        """Held while anything changes. Whoever forks holds it, so that the child gets the book in one piece."""
        self.on_question: Callable[[], None] | None = None
        """Called when a question was noted, from whatever thread asked; it must not wait."""
        self.version = 0
        """Counts the answers after which verdicts made before have to be forgotten."""
        self.trouble: str | None = None
        """Why the last question got no answer; None after one did."""
        self._largest, self._longest_queue, self._most_revoked = largest, longest_queue, most_revoked
        # Least recently sought first.
        self._pages: dict[bytes, _Page] = {}
        self._revoked: dict[bytes, Answer] = {}
        # Somebody stands at the door for these: they go before every renewal.
        self._queue: dict[bytes, None] = {}
        self._fruitless: dict[bytes, None] = {}
        # A page's place in this heap is the one that says its `due`; others are left over.
        self._agenda: list[tuple[float, bytes]] = []

    def find(self, certificate: x509.Certificate, issuer: x509.Certificate, at: float) -> Response | None:
        """The answer that holds at `at` (seconds since the epoch); None notes the question, if it is not yet.

        `issuer` is the certificate above it on a verified path.
        """
        question = Question(certificate, issuer)
        key = _name(question)
        with self.lock:
            page = self._seek(key, at)
            revoked = self._revoked.get(key)
            answer = revoked or (page.held if page else None)
            holds = answer is not None and answer.this_update - SKEW <= at < answer.until
            asks = at >= revoked.renew if revoked else not holds
            noted = asks and self._note(key, page, question, at)
        if noted and self.on_question is not None:
            self.on_question()
        if revoked:
            return Response("revoked", max(revoked.until, at))
        # Whoever rests on it comes back in time, so that what is still shown is never taken for idle.
        return Response(answer.status, min(answer.until, at + LONGEST_RELIANCE)) if answer and holds else None

    def withdraws(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether a responder has said so, about the same serial number under the same key. Asks nobody."""
        key = _name(Question(certificate, issuer))
        with self.lock:
            return key in self._revoked

    def take_question(self, at: float) -> Question | None:
        """The next question to ask, None if there is none now. `answer` or `fail` has to follow."""
        with self.lock:
            key = self._next(at)
            if key is None:
                return None
            page = self._pages[key]
            page.taken = True
            self._schedule(key, page, at + LEASE)
            return page.question

    def measure_pause(self, at: float) -> float | None:
        """How many seconds there is nothing to take; None: until somebody asks."""
        with self.lock:
            if self._queue:
                return 0
            while self._agenda and not self._is_meant(*self._agenda[0]):
                heapq.heappop(self._agenda)
            return max(0, self._agenda[0][0] - at) if self._agenda else None

    def answer(self, question: Question, der: bytes, at: float) -> bool:
        """Enters a response, and says whether verdicts made before have to be forgotten.

        Raises UnusableAnswer, also for an answer older than the one held; then `fail` has to follow.
        """
        answer = judge(der, question, at)
        key = _name(question)
        with self.lock:
            page, revoked = self._pages.get(key), self._revoked.get(key)
            held = revoked or (page.held if page else None)
            if held is not None:
                _require_newer(answer, held)
            self.trouble = None
            if answer.status == "revoked":
                self._enter_revoked(key, answer)
            elif revoked and answer.status == "unknown":
                # Who knows nothing of a certificate does not take back what was said about it.
                self._enter_revoked(key, revoked._replace(renew=answer.renew))
            else:
                self._revoked.pop(key, None)
                self._enter(key, page, answer)
            changed = answer.status != "good" and not revoked and (held is None or held.status != answer.status)
            self.version += changed
            return changed

    def fail(self, question: Question, reason: str, at: float) -> None:
        """Notes that there was no usable answer; the question comes again after a while."""
        key = _name(question)
        with self.lock:
            self.trouble = reason
            page = self._pages.get(key)
            if page is None:
                return
            page.taken = False
            page.failures += 1
            if page.held is None:
                self._fruitless[key] = None
            self._schedule(key, page, at + min(FIRST_PAUSE * 2 ** min(page.failures - 1, 16), LONGEST_PAUSE))

    def recall(self, at: float) -> None:
        """Whoever has taken questions will not report back: they come again at once."""
        with self.lock:
            for key, page in self._pages.items():
                if page.taken:
                    page.taken = False
                    self._schedule(key, page, at)

    def _seek(self, key: bytes, at: float) -> _Page | None:
        page = self._pages.pop(key, None)
        if page is not None:
            page.sought = at
            self._pages[key] = page
        return page

    def _note(self, key: bytes, page: _Page | None, question: Question, at: float) -> bool:
        # What is being asked, or failed and comes round again, needs no second note.
        known = page is not None and (page.taken or page.failures or key in self._queue)
        if known or len(self._queue) >= self._longest_queue:
            return False
        if page is None:
            self._make_room()
            self._pages[key] = _Page(question, at)
        self._queue[key] = None
        return True

    def _make_room(self) -> None:
        while len(self._pages) >= self._largest:
            spare = (key for key, page in self._pages.items() if page.held)
            key = next(iter(self._fruitless), None) or next(spare, None) or next(iter(self._pages))
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        self._pages.pop(key, None)
        self._queue.pop(key, None)
        self._fruitless.pop(key, None)

    def _next(self, at: float) -> bytes | None:
        for key in self._queue:
            del self._queue[key]
            return key
        while self._agenda and self._agenda[0][0] <= at:
            due, key = heapq.heappop(self._agenda)
            if self._is_meant(due, key):
                if not self._pages[key].is_idle(at):
                    return key
                self._forget(key)
        return None

    def _is_meant(self, due: float, key: bytes) -> bool:
        page = self._pages.get(key)
        return page is not None and page.due == due

    def _schedule(self, key: bytes, page: _Page, due: float) -> None:
        page.due = due
        heapq.heappush(self._agenda, (due, key))
        if len(self._agenda) > 2 * len(self._pages) + 64:
            self._agenda = [each for each in self._agenda if self._is_meant(*each)]
            heapq.heapify(self._agenda)

    def _enter(self, key: bytes, page: _Page | None, answer: Answer) -> None:
        if page is not None:
            page.held, page.taken, page.failures = answer, False, 0
            self._fruitless.pop(key, None)
            self._schedule(key, page, answer.renew)

    def _enter_revoked(self, key: bytes, answer: Answer) -> None:
        # Nobody has to hurry to let a device in again: it is asked about when it comes.
        self._forget(key)
        self._revoked.pop(key, None)
        self._revoked[key] = answer
        while len(self._revoked) > self._most_revoked:
            del self._revoked[next(iter(self._revoked))]


def _name(question: Question) -> bytes:
    """What a certID names: the issuer by its name and key, and the serial number; a cross-signed issuer is the same."""
    return question.identify(hashes.SHA256()).public_bytes(Encoding.DER)


def _require_newer(answer: Answer, held: Answer) -> None:
    """An answer of the same second may repeat what is held or revoke it, but not take a revocation back."""
    takes_back = held.status == "revoked" and answer.status != "revoked"
    if answer.this_update < held.this_update or (takes_back and answer.this_update == held.this_update):
        raise UnusableAnswer(f"an answer older than the one before, which says {held.status}", "is it played back?")


class Responder(NamedTuple):
    """Where a responder is asked: over TLS or not, the host without brackets, the port, and the path with its query."""

    tls: bool
    host: str
    port: int
    path: str


def read_responder(url: str) -> Responder:
    """The address in an `http://` or `https://` URL of the configuration. Raises UnusableResponder."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UnusableResponder(f"{url!r} is no URL", _LIKE_THIS)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UnusableResponder(f"{url!r} is no URL: {error}", _LIKE_THIS) from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise UnusableResponder(f"{url!r} is no http:// or https:// URL of a responder", _LIKE_THIS)
    if "@" in parts.netloc or "#" in url:
        raise UnusableResponder(f"{url!r} has a user or a fragment, which nobody would be told", _LIKE_THIS)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Responder(parts.scheme == "https", parts.hostname, port or _PORTS[parts.scheme], path)


_PORTS = {"http": 80, "https": 443}
_LIKE_THIS = 'write it as "http://ocsp.example.com"'
