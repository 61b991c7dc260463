"""trust.ocsp: what is asked, which answers are believed, and how the book keeps them."""

import random
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import DAY, Pair, make_authority, make_certificate, make_leaf, make_name
from keyfob.errors import KeyfobError
from keyfob.trust.ocsp import (
    FIRST_PAUSE,
    IDLE,
    LARGEST_ANSWER,
    LEASE,
    LIFE_OF_UNKNOWN,
    LIFE_WITHOUT_END,
    LONGEST_PAUSE,
    LONGEST_WITHOUT_ASKING,
    SKEW,
    Question,
    ResponseBook,
    UnusableAnswer,
    UnusableResponder,
    judge,
    read_responder,
)
from keyfob.trust.revocation import Response
from responder import GOOD, HOUR, REVOKED, SIGNING, UNKNOWN, Index, make_answer, make_delegate
from servers import find_program

ROOT = make_authority("Root")
RSA_ROOT = make_certificate(
    make_name("RSA root"),
    None,
    [(x509.BasicConstraints(ca=True, path_length=None), True)],
    key=rsa.generate_private_key(65537, 2048),
)
ED_ROOT = make_certificate(
    make_name("Ed root"),
    None,
    [(x509.BasicConstraints(ca=True, path_length=None), True)],
    key=ed25519.Ed25519PrivateKey.generate(),
)
PHONE, LAPTOP = make_leaf(ROOT, "Phone"), make_leaf(ROOT, "Laptop")
NAMESAKE = make_authority("Root")  # Another authority of the very same name.
DELEGATE = make_delegate(ROOT)
NOW = datetime.now(UTC).replace(microsecond=0)
AT = NOW.timestamp()
OTHER_USAGE = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
SIGNING_USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def ask(pair: Pair = PHONE, issuer: Pair = ROOT) -> Question:
    return Question(pair.certificate, issuer.certificate)


def say(pair: Pair = PHONE, issuer: Pair = ROOT, **how: object) -> bytes:
    return make_answer(pair.certificate, issuer, now=NOW, **how)  # type: ignore[arg-type]


def delegate(*, usages: Sequence[x509.ObjectIdentifier] | None = (SIGNING,), issuer: Pair | None = ROOT) -> Pair:
    return make_leaf(issuer, "Responder", usages=usages)


def test_the_request_names_the_certificate_and_nothing_else() -> None:
    """One certID by SHA-1, as RFC 5019 has it, and no nonce: a signed answer may be older than the question."""
    der = ask().der
    request = ocsp.load_der_ocsp_request(der)
    assert request.serial_number == PHONE.certificate.serial_number
    assert isinstance(request.hash_algorithm, hashes.SHA1)
    assert list(request.extensions) == []
    assert len(der) < 255 - 20  # RFC 5019 section 5: small enough for a GET, if ever one is wanted.


@pytest.mark.parametrize(
    ("status", "word"), [(GOOD, "good"), (REVOKED, "revoked"), (UNKNOWN, "unknown")], ids=["good", "revoked", "unknown"]
)
def test_an_answer_says_its_status_and_how_long_it_holds(status: ocsp.OCSPCertStatus, word: str) -> None:
    """In seconds since the epoch; it is renewed at half of what is left."""
    answer = judge(say(status=status), ask(), AT)
    life = LIFE_OF_UNKNOWN if status is UNKNOWN else 3600
    assert answer == (word, AT, AT + life, AT + life / 2)


def rsa_case() -> tuple[bytes, Question]:
    device = make_leaf(RSA_ROOT)
    return say(device, RSA_ROOT), ask(device, RSA_ROOT)


def ed_case() -> tuple[bytes, Question]:
    device = make_leaf(ED_ROOT)
    return say(device, ED_ROOT), ask(device, ED_ROOT)


def intermediate_case() -> tuple[bytes, Question]:
    below = make_authority("Below", ROOT)
    return say(below), ask(below)


BELIEVED: dict[str, Callable[[], tuple[bytes, Question]]] = {
    "by the issuer": lambda: (say(), ask()),
    "by its key": lambda: (say(by_key=True), ask()),
    "SHA-256 in the certID": lambda: (say(named=hashes.SHA256()), ask()),
    "SHA-384 under it": lambda: (say(signed=hashes.SHA384()), ask()),
    "issuer sent along": lambda: (say(sent=[ROOT]), ask()),
    "by a delegate": lambda: (say(signer=DELEGATE), ask()),
    "by a delegate's key": lambda: (say(signer=DELEGATE, by_key=True), ask()),
    "by a delegate, others sent as well": lambda: (say(signer=DELEGATE, sent=[LAPTOP, ROOT, DELEGATE]), ask()),
    "by a delegate who may sign": lambda: (
        say(signer=make_delegate(ROOT, extensions=[(SIGNING_USAGE, True)])),
        ask(),
    ),
    "by an RSA root": rsa_case,
    "by an Ed25519 root": ed_case,
    "nonce of its own": lambda: (say(extensions=[(x509.OCSPNonce(b"12345678"), False)]), ask()),
    "a little ahead": lambda: (say(begins=timedelta(seconds=SKEW)), ask()),
    "without an end": lambda: (say(ends=None), ask()),
    "about an intermediate": intermediate_case,
}


def weak_delegate() -> Pair:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    return make_leaf(ROOT, "Responder", usages=[SIGNING], key=key)


def authority_that_may_answer() -> Pair:
    return make_authority("Below", ROOT, extensions=[(x509.ExtendedKeyUsage([SIGNING]), False)])


def failing(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not an OCSP response"),
    "a page": (lambda: b"<!doctype html>", "not an OCSP response"),
    "cut": (lambda: say()[:-1], "not an OCSP response"),
    "more behind it": (lambda: say() + b"\0", "not an OCSP response"),
    "a certificate": (lambda: PHONE.certificate.public_bytes(Encoding.DER), "not an OCSP response"),
    "large": (lambda: say() + b"\0" * LARGEST_ANSWER, "bytes; 65536 are read"),
    "try later": (lambda: failing(ocsp.OCSPResponseStatus.TRY_LATER), "said TRY_LATER"),
    "unauthorized": (lambda: failing(ocsp.OCSPResponseStatus.UNAUTHORIZED), "said UNAUTHORIZED"),
    "another certificate": (lambda: say(LAPTOP), "about another certificate"),
    "another issuer of that name": (lambda: say(PHONE, NAMESAKE, signer=ROOT), "about another certificate"),
    "SHA-512 in the certID": (lambda: say(named=hashes.SHA512()), "named by sha512"),
    "signed by somebody else": (lambda: say(signer=LAPTOP, sent=[]), "neither the issuer nor"),
    "signed by a namesake": (lambda: say(signer=NAMESAKE, sent=[]), "the signature is not"),
    "signed by a namesake who says so": (lambda: say(signer=NAMESAKE), "is not by the issuer"),
    "signed by the device itself": (lambda: say(signer=PHONE), "lacks the extended key usage"),
    "delegate that was not sent": (lambda: say(signer=DELEGATE, sent=[]), "neither the issuer nor"),
    "delegate without usages": (lambda: say(signer=delegate(usages=None)), "lacks the extended key usage"),
    "delegate for anything": (
        lambda: say(signer=delegate(usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
        "lacks the extended key usage",
    ),
    "delegate of somebody else": (lambda: say(signer=delegate(issuer=RSA_ROOT)), "is not by the issuer"),
    "delegate of a namesake": (lambda: say(signer=delegate(issuer=NAMESAKE)), "is not by the issuer"),
    "delegate of itself": (lambda: say(signer=delegate(issuer=None)), "is not by the issuer"),
    "delegate of an authority below": (
        lambda: say(signer=delegate(issuer=make_authority("Below", ROOT))),
        "is not by the issuer",
    ),
    "delegate who may not sign": (
        lambda: say(signer=make_delegate(ROOT, extensions=[(OTHER_USAGE, True)])),
        "does not allow signing",
    ),
    "delegate that has ended": (
        lambda: say(signer=make_leaf(ROOT, "Responder", usages=[SIGNING], begins=-2 * DAY, ends=-DAY)),
        "out of its time",
    ),
    "delegate that has not begun": (
        lambda: say(signer=make_leaf(ROOT, "Responder", usages=[SIGNING], begins=DAY)),
        "out of its time",
    ),
    "delegate that is an authority": (lambda: say(signer=authority_that_may_answer()), "certificate authority's own"),
    "delegate with a strange critical extension": (
        lambda: say(signer=make_delegate(ROOT, extensions=[(STRANGE, True)])),
        "a critical extension 1.3.6.1.4.1.99999.1",
    ),
    "delegate with a weak key": (lambda: say(signer=weak_delegate()), "proves nothing"),
    "strange critical extension": (lambda: say(extensions=[(STRANGE, True)]), "a critical extension 1.3.6"),
    "from the future": (lambda: say(begins=HOUR, ends=DAY), "in the future"),
    "from the future, just": (lambda: say(begins=timedelta(seconds=SKEW + 1), ends=DAY), "in the future"),
    "over": (lambda: say(begins=-DAY, ends=-HOUR), "is over"),
    "over, just": (lambda: say(begins=-DAY, ends=timedelta()), "is over"),
    "without an end, but old": (lambda: say(begins=-timedelta(seconds=LIFE_WITHOUT_END), ends=None), "is over"),
}


@pytest.mark.parametrize("case", BELIEVED)
def test_what_a_real_responder_sends_is_believed(case: str) -> None:
    """By the issuer or somebody it appointed."""
    der, question = BELIEVED[case]()
    assert judge(der, question, AT).status == "good"


@pytest.mark.parametrize("case", REFUSED)
def test_everything_else_says_nothing(case: str) -> None:
    """Each wrong answer is refused for what is wrong with it."""
    make, message = REFUSED[case]
    with pytest.raises(UnusableAnswer, match=message):
        judge(make(), ask(), AT)


# Where OpenSSL is more lenient, and why we are not.
DIFFERS_FROM_OPENSSL = {
    "large": "it reads as much as comes; everything behind the response it leaves alone",
    "more behind it": "the same",
    "from the future, just": "a moment has passed until it looks",
    "over, just": "it allows for a difference of the clocks here too",
    "strange critical extension": "it does not look at the extensions of a response",
    "delegate that is an authority": "it does not look at basic constraints",
    "delegate with a weak key": "its default level accepts RSA 1024",
    "delegate who may not sign": "it does not look at a delegate's key usage",
    "without an end, but old": "it does not limit the age of an answer without nextUpdate, unless told",
}


@pytest.mark.parametrize("case", [*BELIEVED, *REFUSED])
def test_openssl_judges_the_same(case: str, tmp_path: Path) -> None:
    """`openssl ocsp` on the same bytes agrees, but for the listed differences."""
    der, question = BELIEVED[case]() if case in BELIEVED else (REFUSED[case][0](), ask())
    (tmp_path / "answer.der").write_bytes(der)
    for name, certificate in (("device", question.certificate), ("issuer", question.issuer)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    command = [find_program("openssl", "openssl"), "ocsp", "-respin", "answer.der", "-issuer", "issuer.pem"]
    command += ["-sha256"] if "SHA-256" in case else []
    command += ["-cert", "device.pem", "-CAfile", "issuer.pem", "-partial_chain", "-no-CApath", "-no-CAstore"]
    command += ["-no_nonce"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    words = said.stdout + said.stderr
    believed = "Response verify OK" in words and "device.pem: good" in words and "WARNING" not in words
    assert believed == (case in BELIEVED) or DIFFERS_FROM_OPENSSL.get(case), words


def test_an_answer_ends_with_the_delegate_who_signed_it() -> None:
    """Nobody may answer beyond the time given."""
    short = make_leaf(ROOT, "Responder", usages=[SIGNING], ends=timedelta(minutes=10))
    assert judge(say(signer=short), ask(), AT).until == short.certificate.not_valid_after_utc.timestamp()


def test_an_answer_without_an_end_counts_from_when_it_was_true() -> None:
    """Counted from its arrival, an old one could be played back for ever."""
    der = say(begins=-timedelta(seconds=100), ends=None)
    assert judge(der, ask(), AT).until == AT - 100 + LIFE_WITHOUT_END


def test_a_long_lived_answer_is_asked_for_again_within_the_hour() -> None:
    """A responder that signs for a week still hears of a lost phone today."""
    answer = judge(say(ends=7 * DAY), ask(), AT)
    assert answer.until == AT + 7 * 86400
    assert answer.renew == AT + LONGEST_WITHOUT_ASKING


def mutate(der: bytes, seed: random.Random) -> bytes:
    mutated = bytearray(der)
    for _ in range(seed.choice((1, 1, 1, 2, 5))):
        place = seed.randrange(len(mutated))
        match seed.randrange(4):
            case 0:
                mutated[place] ^= 1 << seed.randrange(8)
            case 1:
                mutated[place] = seed.randrange(256)
            case 2:
                del mutated[place : place + seed.randrange(1, 9)]
            case _:
                mutated[place:place] = seed.randbytes(seed.randrange(1, 9))
    return bytes(mutated)


@pytest.mark.parametrize("signer", [ROOT, DELEGATE], ids=["issuer", "delegate"])
def test_no_mutation_says_anything_else(signer: Pair) -> None:
    """Hostile bytes raise UnusableAnswer and nothing besides; whatever is still believed is what was signed."""
    der, question, seed = say(status=REVOKED, signer=signer), ask(), random.Random(4)  # noqa: S311 - the same each time
    true = judge(der, question, AT)
    refused = 0
    with warnings.catch_warnings():
        # Also where a parser's warnings are no errors.
        warnings.simplefilter("ignore")
        for _ in range(3000):
            try:
                assert judge(mutate(der, seed), question, AT) == true
            except UnusableAnswer:
                refused += 1
    assert refused > 2900


def test_bytes_that_were_no_answer_ever_are_refused() -> None:
    """Noise of every length, and noise inside the outermost shells."""
    seed = random.Random(5)  # noqa: S311 - the same each time
    shell = bytes.fromhex("30820100 0a0100 a08200f9 308200f5 06092b0601050507300101 048200e6".replace(" ", ""))
    for length in range(300):
        for der in (seed.randbytes(length), shell + seed.randbytes(0xE6)):
            with pytest.raises(UnusableAnswer):
                judge(der, ask(), AT)


@dataclass
class Reader:
    """Whoever asks, with a clock of its own."""

    book: ResponseBook = field(default_factory=ResponseBook)
    at: float = AT

    def find(self, pair: Pair = PHONE) -> Response | None:
        return self.book.find(pair.certificate, ROOT.certificate, self.at)

    def status(self, pair: Pair = PHONE) -> str | None:
        found = self.find(pair)
        return found.status if found else None

    def take(self) -> Question | None:
        return self.book.take_question(self.at)

    def answer(self, pair: Pair = PHONE, **how: object) -> bool:
        """Enters an answer that is of now."""
        now = datetime.fromtimestamp(self.at, UTC)
        der = make_answer(pair.certificate, ROOT, **{"now": now, **how})  # type: ignore[arg-type]
        return self.book.answer(ask(pair), der, self.at)

    def learn(self, pair: Pair = PHONE, **how: object) -> bool:
        """Finds, takes and answers."""
        assert self.find(pair) is None
        assert self.take() == ask(pair)
        return self.answer(pair, **how)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_a_question_is_noted_once(reader: Reader) -> None:
    """However many requests of one device arrive before the answer does, and while it is asked."""
    noted = []
    reader.book.on_question = lambda: noted.append(1)
    for _ in range(3):
        assert reader.find() is None
    assert reader.take() == ask()
    assert reader.take() is None
    assert reader.find() is None
    assert reader.take() is None
    assert len(noted) == 1


def test_an_answer_is_found_while_it_holds(reader: Reader) -> None:
    """Its end is the first moment at which it is over, and its beginning the first at which it counts."""
    assert reader.learn() is False
    assert reader.find() == ("good", AT + 3600)
    reader.at = AT + 3599
    assert reader.status() == "good"
    reader.at = AT + 3600
    assert reader.find() is None
    reader.at = AT - SKEW - 1
    assert reader.find() is None


def test_an_answer_is_renewed_at_half_of_its_life(reader: Reader) -> None:
    """Although nobody has looked since; whoever is admitted is then never without one."""
    reader.learn()
    assert reader.book.measure_pause(AT) == 1800
    reader.at = AT + 1799
    assert reader.take() is None
    reader.at = AT + 1800
    assert reader.take() == ask()
    reader.answer()
    assert reader.find() == ("good", AT + 1800 + 3600)


def test_whoever_stands_at_the_door_goes_before_renewals(reader: Reader) -> None:
    """All answers of a responder may end together, and a new device must not wait for all of them."""
    reader.learn()
    reader.at = AT + 1800
    assert reader.find(LAPTOP) is None
    assert reader.take() == ask(LAPTOP)
    assert reader.take() == ask(PHONE)


def test_what_is_seen_no_more_is_asked_about_no_more(reader: Reader) -> None:
    """A day later, or two lives of the answer."""
    reader.learn(ends=timedelta(minutes=2))
    asked = 0
    while reader.book.measure_pause(reader.at) is not None:
        reader.at += reader.book.measure_pause(reader.at) or 0
        if reader.take() is not None:
            asked += 1
            reader.answer(ends=timedelta(hours=2))
        assert reader.at < AT + 3 * IDLE
    assert IDLE / 3600 - 2 < asked < IDLE / 3600 + 2
    reader.learn(ends=7 * DAY)
    reader.at += IDLE + 10
    assert reader.take() == ask()


def test_a_revoked_answer_tells_whoever_has_to_forget(reader: Reader) -> None:
    """Once, when the status changes."""
    versions = [reader.book.version]
    for status, tells in ((GOOD, False), (REVOKED, True), (REVOKED, False)):
        reader.find()
        assert reader.answer(status=status) is tells
        reader.at += 10
        versions.append(reader.book.version)
    assert versions == [0, 0, 1, 1]
    assert reader.status() == "revoked"


def test_unknown_after_good_tells_too(reader: Reader) -> None:
    """It is no longer a reason to let anybody in."""
    reader.learn()
    reader.at += 1800
    assert reader.answer(status=UNKNOWN) is True
    assert reader.status() == "unknown"


def test_a_revoked_answer_counts_beyond_its_end(reader: Reader) -> None:
    """Until there is a newer one: a silent responder lets nobody in again."""
    reader.learn(status=REVOKED)
    reader.at = AT + 100 * 86400
    assert reader.find() == ("revoked", reader.at)
    assert reader.take() == ask()
    reader.book.fail(ask(), "no answer", reader.at)
    assert reader.status() == "revoked"
    assert reader.answer(status=GOOD) is False
    assert reader.status() == "good"


def test_an_older_answer_takes_nothing_back(reader: Reader) -> None:
    """Somebody on the way could play back the answer of yesterday, which still holds by its own times."""
    old = make_answer(PHONE.certificate, ROOT, now=NOW, begins=-HOUR, ends=DAY)
    reader.learn(status=REVOKED)
    with pytest.raises(UnusableAnswer, match="older than the one before, which says revoked"):
        reader.book.answer(ask(), old, AT)
    with pytest.raises(UnusableAnswer, match="older"):
        reader.answer(status=GOOD)  # Of the same second.
    assert reader.status() == "revoked"


def test_an_answer_of_the_same_second_may_revoke_or_repeat(reader: Reader) -> None:
    """Responders count in whole seconds, and a signed answer is sent many times."""
    reader.learn()
    assert reader.answer() is False
    assert reader.answer(status=REVOKED) is True
    assert reader.answer(status=REVOKED) is False
    assert reader.status() == "revoked"


def test_who_knows_nothing_takes_no_revocation_back(reader: Reader) -> None:
    """A responder that has lost its records says unknown of everything."""
    reader.learn(status=REVOKED)
    reader.at += 10
    assert reader.answer(status=UNKNOWN) is False
    assert reader.status() == "revoked"


def test_what_failed_comes_again_later_and_later(reader: Reader) -> None:
    """The first time soon; in between, finding it notes nothing."""
    reader.find()
    pauses = []
    for _ in range(10):
        assert reader.take() == ask()
        reader.book.fail(ask(), "no answer", reader.at)
        assert reader.find() is None
        assert reader.take() is None
        pauses.append(reader.book.measure_pause(reader.at) or 0)
        reader.at += pauses[-1]
    assert pauses[:4] == [FIRST_PAUSE, 2, 4, 8]
    assert pauses[-1] == LONGEST_PAUSE
    assert reader.status() is None
    reader.take()
    reader.answer()
    assert reader.status() == "good"


def test_the_book_says_what_the_trouble_is(reader: Reader) -> None:
    """For whoever asks how the responder is; None after an answer."""
    reader.find()
    reader.book.fail(ask(), "no answer", AT)
    troubles = [reader.book.trouble]
    reader.answer()
    assert [*troubles, reader.book.trouble] == ["no answer", None]


def test_a_failed_renewal_leaves_the_answer(reader: Reader) -> None:
    """It holds for as long as was signed."""
    reader.learn()
    reader.at = AT + 1800
    reader.take()
    reader.book.fail(ask(), "no answer", reader.at)
    reader.at = AT + 3599
    assert reader.status() == "good"
    assert reader.take() == ask()


def test_a_question_that_nobody_reports_back_is_not_lost(reader: Reader) -> None:
    """Whoever took it may have died; or says so with recall."""
    reader.find()
    reader.take()
    reader.at += LEASE
    assert reader.take() == ask()
    assert reader.take() is None
    reader.book.recall(reader.at)
    assert reader.take() == ask()


def test_a_full_queue_notes_no_newcomers() -> None:
    """They are noted when they come again; those who wait keep their place."""
    reader = Reader(ResponseBook(longest_queue=2))
    devices = [make_leaf(ROOT) for _ in range(3)]
    for device in devices:
        assert reader.find(device) is None
    assert [reader.take(), reader.take(), reader.take()] == [ask(devices[0]), ask(devices[1]), None]
    assert reader.find(devices[2]) is None
    assert reader.take() == ask(devices[2])


def test_a_flood_pushes_out_its_own_questions_first() -> None:
    """Whoever has an answer keeps it, as long as there is a question without one."""
    reader = Reader(ResponseBook(largest=4, longest_queue=2))
    reader.learn()
    for _ in range(20):
        flooding = make_leaf(ROOT)
        assert reader.find(flooding) is None
        assert reader.take() == ask(flooding)
        reader.book.fail(ask(flooding), "no answer", reader.at)
    assert reader.status() == "good"


def test_the_answer_sought_least_recently_goes_first() -> None:
    """A full book forgets whoever has not come for the longest time."""
    reader = Reader(ResponseBook(largest=2))
    watch = make_leaf(ROOT)
    reader.learn(PHONE)
    reader.learn(LAPTOP)
    assert reader.status(PHONE) == "good"
    reader.learn(watch)
    assert [reader.status(each) for each in (PHONE, watch, LAPTOP)] == ["good", "good", None]


def test_no_flood_pushes_out_what_is_revoked() -> None:
    """With `ocsp_unavailable = "warn"` it would be let in."""
    reader = Reader(ResponseBook(largest=2))
    reader.learn(status=REVOKED)
    for _ in range(10):
        reader.learn(make_leaf(ROOT))
    assert reader.status() == "revoked"


def test_even_the_revoked_ones_are_bounded() -> None:
    """Nobody can fill the memory, also not the authority."""
    reader = Reader(ResponseBook(most_revoked=2))
    devices = [make_leaf(ROOT) for _ in range(4)]
    for device in devices:
        reader.learn(device, status=REVOKED)
    assert [reader.status(each) for each in devices] == [None, None, "revoked", "revoked"]


def test_the_same_certificate_under_another_issuer_is_another_question(reader: Reader) -> None:
    """An answer is about both, as its certID is."""
    reader.learn()
    assert reader.book.find(PHONE.certificate, NAMESAKE.certificate, AT) is None


def test_the_agenda_does_not_grow_with_every_answer(reader: Reader) -> None:
    """A year of renewals takes no more memory than one."""
    reader.learn()
    for _ in range(500):
        reader.at += 10
        reader.answer()
    assert len(reader.book._agenda) < 100


def test_many_threads_read_one_book() -> None:
    """Every question is taken once, and every answer found."""
    book = ResponseBook()
    devices = [make_leaf(ROOT) for _ in range(50)]
    taken: list[Question] = []

    def read() -> None:
        for device in devices * 5:
            book.find(device.certificate, ROOT.certificate, AT)

    def reply() -> None:
        while len(taken) < len(devices):
            question = book.take_question(AT)
            if question is not None:
                taken.append(question)
                book.answer(question, make_answer(question.certificate, ROOT, now=NOW), AT)

    threads = [threading.Thread(target=each, daemon=True) for each in (read, read, read, reply, reply)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(taken) == {ask(device) for device in devices}
    assert len(taken) == len(devices)
    assert all(book.find(device.certificate, ROOT.certificate, AT) for device in devices)


def sign_with_openssl(folder: Path, signer: Pair, asked_about: Sequence[Pair], *options: str) -> bytes:
    """An answer by `openssl ocsp` without any network. The laptop is revoked."""
    index = Index(folder / "index.txt", ROOT)
    index.write(PHONE, revoked=[LAPTOP])
    ROOT.write(folder, "issuer")
    signer.write(folder, "signer")
    program = find_program("openssl", "openssl")
    command = [program, "ocsp", "-issuer", "issuer.pem", "-no_nonce", "-reqout", "request.der"]
    for number, each in enumerate(asked_about):
        command += ["-cert", str(each.write(folder, f"device-{number}")[0])]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    command = [program, "ocsp", "-index", "index.txt", "-CA", "issuer.pem", "-rsigner", "signer.pem"]
    command += ["-rkey", "signer-key.pem", "-reqin", "request.der", "-respout", "answer.der", *options]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    assert len(asked_about) > 1 or (folder / "request.der").read_bytes() == ask(asked_about[0]).der
    return (folder / "answer.der").read_bytes()


@pytest.mark.parametrize("signer", [ROOT, DELEGATE], ids=["issuer", "delegate"])
@pytest.mark.parametrize(("pair", "status"), [(PHONE, "good"), (LAPTOP, "revoked")], ids=["good", "revoked"])
def test_openssl_signs_what_is_believed(tmp_path: Path, signer: Pair, pair: Pair, status: str) -> None:
    """The other way round: it asks with the very same bytes, and its answer is read."""
    answer = judge(sign_with_openssl(tmp_path, signer, [pair], "-nmin", "5"), ask(pair), time.time())
    assert answer.status == status
    assert answer.until - answer.this_update == 300


def test_several_answers_in_one_response_are_none(tmp_path: Path) -> None:
    """One was asked for; the extensions of several could not be told apart."""
    der = sign_with_openssl(tmp_path, ROOT, [PHONE, LAPTOP])
    for pair in (PHONE, LAPTOP):
        with pytest.raises(UnusableAnswer, match="2 answers in one response"):
            judge(der, ask(pair), time.time())


def test_a_signature_by_sha1_is_none(tmp_path: Path) -> None:
    """Somebody else could have made the same."""
    with pytest.raises(UnusableAnswer, match="proves nothing"):
        judge(sign_with_openssl(tmp_path, ROOT, [PHONE], "-rmd", "sha1"), ask(), time.time())


def test_a_delegate_appointed_by_sha1_is_none(tmp_path: Path) -> None:
    """Somebody else could have made a certificate of the same signature."""
    ROOT.write(tmp_path, "issuer")
    request = x509.CertificateSigningRequestBuilder().subject_name(make_name("Responder"))
    signed = request.sign(DELEGATE.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (tmp_path / "request.pem").write_bytes(signed)
    (tmp_path / "extensions").write_text("extendedKeyUsage=OCSPSigning")
    command = [find_program("openssl", "openssl"), "x509", "-req", "-sha1", "-in", "request.pem", "-set_serial", "7"]
    command += ["-CA", "issuer.pem", "-CAkey", "issuer-key.pem", "-extfile", "extensions", "-out", "delegate.pem"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    appointed = x509.load_pem_x509_certificate((tmp_path / "delegate.pem").read_bytes())
    assert isinstance(appointed.signature_hash_algorithm, hashes.SHA1)
    with pytest.raises(UnusableAnswer, match="is signed in a way that proves nothing"):
        judge(say(signer=Pair(appointed, DELEGATE.key)), ask(), time.time())


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://ocsp.example.com", (False, "ocsp.example.com", 80, "/")),
        ("https://ocsp.example.com/", (True, "ocsp.example.com", 443, "/")),
        ("http://127.0.0.1:8080/ocsp?ca=1", (False, "127.0.0.1", 8080, "/ocsp?ca=1")),
        ("http://[::1]:8080", (False, "::1", 8080, "/")),
        ("HTTP://OCSP.example.com/A", (False, "ocsp.example.com", 80, "/A")),
    ],
)
def test_a_responders_address_is_read(url: str, read: tuple[bool, str, int, str]) -> None:
    """Host, port and path are what is connected to and asked for."""
    assert read_responder(url) == read


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ocsp.example.com",
        "ftp://ocsp.example.com",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://a b",
        "http://a\r\nX: y",
        "http://ä.example",
        "http://host:99999",
        "http://host:x",
        "http://host:0",
        "http://user:secret@host",
        "http://host/#here",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """At start-up, with a hint."""
    with pytest.raises(UnusableResponder) as raised:
        read_responder(url)
    assert isinstance(raised.value, KeyfobError)
    assert raised.value.hint


def test_a_curve_that_is_too_short_signs_nothing() -> None:
    """The same least key as for everybody on a path."""
    short = make_leaf(ROOT, "Responder", usages=[SIGNING], key=ec.generate_private_key(ec.SECP224R1()))
    with pytest.raises(UnusableAnswer, match="proves nothing"):
        judge(say(signer=short), ask(), AT)
