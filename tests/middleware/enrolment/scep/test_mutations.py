"""SCEP under fire: thousands of requests that are right but for something, and not one of them raises or is signed."""

import base64
import random
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from apple_ber import Phone, der, make_csr, read_reply, seal
from invited import invite_to_scep
from keyfob.enrolment import floods
from keyfob.enrolment.requests import Refused
from keyfob.enrolment.scep.answers import compose_success
from keyfob.enrolment.scep.ber import LARGEST
from keyfob.enrolment.scep.messages import read_message
from keyfob.enrolment.scep.responder import Responder
from keyfob.pki.authority import Issued
from keyfob.pki.registry import Registry

Draw = random.Random
Change = Callable[[bytes, Draw], bytes]

# The same on every machine: `8894` and the number of the case.
SEED = 8894


def flip(octets: bytes, draw: Draw) -> bytes:
    at = draw.randrange(len(octets))
    return octets[:at] + bytes((octets[at] ^ 1 << draw.randrange(8),)) + octets[at + 1 :]


def put(octets: bytes, draw: Draw) -> bytes:
    at = draw.randrange(len(octets))
    odd = draw.choice((b"\x80", b"\0\0", b"\x30\x80", b"\x24\x80", b"\x84\xff\xff\xff\xff", b"\x31\0", b"\xff"))
    return octets[:at] + odd + octets[at + draw.randrange(3) :]


def cut_out(octets: bytes, draw: Draw) -> bytes:
    at = draw.randrange(len(octets))
    return octets[:at] + octets[at + draw.randrange(1, 40) :]


def double(octets: bytes, draw: Draw) -> bytes:
    at, size = draw.randrange(len(octets)), draw.randrange(1, 200)
    return octets[: at + size] + octets[at:]


def end(octets: bytes, draw: Draw) -> bytes:
    return octets[: draw.randrange(len(octets))]


CHANGES: tuple[Change, ...] = (flip, flip, put, cut_out, double, end)


def change(octets: bytes, number: int) -> bytes:
    draw = random.Random(f"{SEED} {number}")  # noqa: S311 - a seed that can be had again is the point
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        octets = draw.choice(CHANGES)(octets, draw)[:LARGEST] or b"\0"
    return octets


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
def challenge(registry: Registry, name: str) -> Iterator[str]:
    """One that nobody could use up to the end."""
    yield invite_to_scep(registry, name)
    assert registry.inventory.find(name) == []


@pytest.fixture
def send(
    responder: Responder, ra: Issued, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], str]:
    """Sends it, and returns what a phone would see; what is in the log is printable."""
    # Nothing is left out, so that every line is looked at.
    monkeypatch.setattr(floods, "BURST", 1e9)

    def answer(body: bytes) -> str:
        caplog.clear()
        said = responder.answer(body, "192.0.2.7", time.time()).body
        assert len(caplog.messages) == 1
        assert caplog.messages[0].isprintable()
        return "400" if said is None else read_reply(said, ra.certificate).status

    return answer


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_messages_that_were_changed_anywhere_are_refused(
    ra: Issued, phone: Phone, challenge: str, send: Callable[[bytes], str]
) -> None:
    """The signature holds it all together, but for a few octets that it does not cover and that say nothing."""
    body = phone.ask(ra.certificate, "not " + challenge)
    seen = [send(change(body, number)) for number in range(1500)]
    assert seen.count("400") > 1300
    assert set(seen) <= {"400", "2/2"}


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_envelopes_that_were_changed_and_then_signed_are_refused(
    ra: Issued, phone: Phone, challenge: str, send: Callable[[bytes], str]
) -> None:
    """Whoever signs may send what they like: into the decryption and the parser behind it."""
    sealed = seal(make_csr(phone.key, "not " + challenge), ra.certificate)
    assert {send(phone.sign(change(sealed, number))) for number in range(700)} == {"2/2"}


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_signing_requests_that_were_changed_and_then_encrypted_are_refused(
    ra: Issued, phone: Phone, challenge: str, send: Callable[[bytes], str]
) -> None:
    """The right challenge is in most of them, and is not used up by any."""
    csr = make_csr(phone.key, challenge)
    assert {send(phone.sign(seal(change(csr, number), ra.certificate))) for number in range(500)} == {"2/2"}


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_certificates_that_were_changed_are_refused_or_do_no_harm(
    ra: Issued, phone: Phone, challenge: str, send: Callable[[bytes], str]
) -> None:
    """Nobody has signed them but the phone itself; what counts is the key."""
    sealed = seal(make_csr(phone.key, "not " + challenge), ra.certificate)
    signer, own = phone.make_signer(sealed), phone.certificate.public_bytes(Encoding.DER)
    bodies = [phone.sign(sealed, signer, certificates=[change(own, number)]) for number in range(500)]
    assert {send(body) for body in bodies} <= {"400", "2/2"}


def test_a_message_that_ends_anywhere_is_refused(
    ra: Issued, phone: Phone, challenge: str, send: Callable[[bytes], str]
) -> None:
    """As a connection that breaks off leaves it."""
    for long_form in (phone.ask(ra.certificate, challenge), phone.sign(b"x", long=der)):
        assert {send(long_form[:size]) for size in range(0, len(long_form), 7)} == {"400"}


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x30\x80" * 32_000,
        b"\x30\x84\x7f\xff\xff\xff",
        der(0x30, b"\x05\0" * 32_000),
        der(0x30, b"\x24\x80" * 30_000),
        b"\x30" * LARGEST,
        b"\0" * LARGEST,
        b"\x30\x80" + der(0x04, b"x" * LARGEST) + b"\0\0",
        base64.b64encode(b"\x30\x80" * 1000),
        b"",
    ],
    ids=["depth", "length", "elements", "strings", "tags", "zeros", "64 KiB", "text", "nothing"],
)
def test_bombs_are_refused(bomb: bytes, send: Callable[[bytes], str]) -> None:
    """In depth, length or number, before anything is computed."""
    assert send(bomb) == "400"


@pytest.mark.parametrize("bomb", [b"\x30\x80" * 15_000, der(0x30, b"\x05\0" * 15_000)], ids=["depth", "elements"])
def test_bombs_in_an_envelope_are_refused(bomb: bytes, ra: Issued, phone: Phone, send: Callable[[bytes], str]) -> None:
    """A good signature around it helps nothing, and encryption neither."""
    assert send(phone.sign(bomb)) == "2/2"
    assert send(phone.sign(seal(bomb, ra.certificate))) == "2/2"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_whatever_certificate_was_accepted_can_be_answered(ra: Issued, phone: Phone) -> None:
    """When the answer is encrypted, the challenge is used up already: nothing may go wrong there any more."""
    sealed = seal(make_csr(phone.key, "x"), ra.certificate)
    signer, own = phone.make_signer(sealed), phone.certificate.public_bytes(Encoding.DER)
    answered = 0
    for number in range(200):
        try:
            message = read_message(phone.sign(sealed, signer, certificates=[change(own, number)]))
        except Refused:
            continue
        answer = compose_success(message, ra, ra.certificate)
        assert read_reply(answer, ra.certificate).open(phone) == [ra.certificate]
        answered += 1
    assert answered > 20
