"""Every bit of a certificate and of the values that carry it: none can be changed without being noticed."""

from base64 import b64encode
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from fuzz.gates import ask, make_gate
from fuzz.issued import DEVICES, write_der
from fuzz.proxies import PROXIES, find_device
from keyfob.gate import Gate
from keyfob.policy import Allow, Decision
from keyfob.sources.formats import FORMATS

# A negative serial number is only warned of.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

# One whose signature ends with a bit that is not set, which DER allows to be called unused.
LEAF = next(each for each in DEVICES.values() if each.signature[-1] % 2 == 0)
DER = write_der(LEAF)
# The order of P-256's group, SEC 2 section 2.4.2.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def show(gate: Gate, der: bytes) -> Decision:
    """What the gate says to base64 of these bytes."""
    return ask(gate, [(b"x-ssl-client-der", b64encode(der))])


def test_no_bit_of_a_certificate_can_be_changed() -> None:
    """Each in turn: what is signed, the signature, and the lengths, the algorithm and the unused bits around it."""
    gate = make_gate(FORMATS["caddy"])
    for at in range(len(DER)):
        for bit in range(8):
            changed = DER[:at] + bytes([DER[at] ^ 1 << bit]) + DER[at + 1 :]
            assert not isinstance(show(gate, changed), Allow), (at, bit)
    assert isinstance(show(gate, DER), Allow)


def test_no_certificate_can_be_cut_or_continued() -> None:
    """At any byte, from either end."""
    gate = make_gate(FORMATS["caddy"])
    for at in range(1, len(DER)):
        assert not isinstance(show(gate, DER[:at]), Allow), at
        assert not isinstance(show(gate, DER[at:]), Allow), at
    for more in (b"\0", b"\0\0", b"\x05\0", b"\n", DER):
        assert not isinstance(show(gate, DER + more), Allow), more


@pytest.mark.parametrize("row", FORMATS)
def test_every_character_of_a_value_counts(row: str) -> None:
    """Whichever is left out, doubled or replaced by its neighbour: the same certificate, or nobody."""
    gate, proxy = make_gate(FORMATS[row]), PROXIES[row]
    value = proxy.write(Random(row), [DER])  # noqa: S311 - picks among the proxy's spellings
    for at in range(len(value)):
        for piece in (b"", value[at : at + 1] * 2, bytes([value[at] ^ 1])):
            changed = value[:at] + piece + value[at + 1 :]
            decision = ask(gate, [(proxy.header, changed), *proxy.proofs])
            if isinstance(decision, Allow):
                assert decision.identity.certificate is not None
                assert decision.identity.certificate.der == DER == find_device(proxy.encoding, changed), (at, piece)


def test_an_ecdsa_signature_has_a_twin() -> None:
    """(r, s) and (r, -s) sign the same, so a device can give its certificate another fingerprint, and nothing else.

    Whoever keeps a device out has to name what is signed: its serial number, its name or its key.
    """
    certificate = LEAF
    r, s = decode_dss_signature(certificate.signature)
    signature = encode_dss_signature(r, ORDER - s)
    algorithm = DER[DER.index(certificate.tbs_certificate_bytes) + len(certificate.tbs_certificate_bytes) :][:12]
    body = certificate.tbs_certificate_bytes + algorithm + bytes([3, len(signature) + 1, 0]) + signature
    twin = x509.load_der_x509_certificate(b"\x30\x82" + len(body).to_bytes(2, "big") + body)
    decision = show(make_gate(FORMATS["caddy"]), write_der(twin))
    assert isinstance(decision, Allow)
    admitted = decision.identity.certificate
    assert admitted is not None
    assert admitted.parsed.tbs_certificate_bytes == certificate.tbs_certificate_bytes
    assert admitted.der != DER
