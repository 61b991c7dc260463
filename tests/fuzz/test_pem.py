"""PEM in percent-encoding: what is accepted is what `urllib` and `cryptography` read from it."""

import re
from random import Random
from urllib.parse import unquote

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from fuzz.issued import DEVICES, STRANGERS, write_der
from fuzz.mutations import make_case
from fuzz.patience import examples
from fuzz.proxies import PROXIES
from keyfob.certificate import UNREADABLE
from keyfob.sources.encodings import decode_pem, decode_pem_chain

# A negative serial number is only warned of.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

CASES = 1000
ROWS = [name for name, proxy in PROXIES.items() if proxy.encoding in ("pem", "pem-chain")]
_DERS = [write_der(each) for each in (*DEVICES.values(), *STRANGERS.values())]
_PIECES = st.sampled_from(
    [b"%", b"%0A", b"%0d%0a", b"%20", b" ", b"+", b"%2B", b"=", b"%3d", b"A", b"-", b"\t", b"%09"]
)


def read_otherwise(value: bytes) -> tuple[bytes, ...] | None:
    """What the two libraries make of it; None if it is no PEM, or holds something else than certificates.

    OpenSSL's kind of PEM ends its headers with an empty line, so that each run of blanks becomes one.
    """
    text = re.sub(r"[ \r\n]+", " ", unquote(value.decode("latin-1"), "latin-1"))
    try:
        return tuple(write_der(each) for each in x509.load_pem_x509_certificates(text.encode("latin-1")))
    except UNREADABLE:
        return None


def is_certificate(der: bytes) -> bool:
    """Whether `cryptography` can parse it."""
    try:
        x509.load_der_x509_certificate(der)
    except UNREADABLE:
        return False
    return True


def check(value: bytes) -> bool:
    """Whether it is accepted; fails if the libraries read something else from it."""
    try:
        chain = decode_pem_chain(value)
    except ValueError:
        with pytest.raises(ValueError):
            decode_pem(value)
        return False
    assert chain
    if len(chain) == 1:
        assert decode_pem(value) == chain
    if all(map(is_certificate, chain)):
        assert read_otherwise(value) == chain
    else:
        assert read_otherwise(value) is None
    return True


@pytest.mark.parametrize("row", ROWS)
def test_mutations_of_real_values_are_read_alike(row: str) -> None:
    """What is accepted gives the same certificates there, and enough is accepted to make that worth something."""
    accepted = sum(check(make_case(row, number).value) for number in range(CASES))
    assert accepted > CASES / 10


@examples(500)
@given(st.data())
def test_edited_values_are_read_alike(data: st.DataObject) -> None:
    """Blanks anywhere, escaped or not, digits changed, padding moved."""
    proxy = PROXIES[data.draw(st.sampled_from(ROWS))]
    ders = data.draw(st.lists(st.sampled_from(_DERS), min_size=1, max_size=3))
    value = proxy.write(Random(data.draw(st.integers(0, 9))), ders)  # noqa: S311 - picks among a proxy's spellings
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(value)))
        value = value[:at] + data.draw(_PIECES) + value[at + data.draw(st.integers(0, 1)) :]
    check(value)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("blank", [b"%20", b"%0A", b"%0D%0A", b" ", b"%0A%0A", b" %0d"])
def test_blanks_between_the_digits_change_nothing(row: str, blank: bytes) -> None:
    """RFC 7468 section 3: blanks in the base64 say nothing, however its lines are broken."""
    der = _DERS[0]
    value = PROXIES[row].write(Random(row), [der])  # noqa: S311
    text = value.replace(b"%0A", blank).replace(b"%0a", blank)
    assert decode_pem(text) == (der,)
    assert check(text)
