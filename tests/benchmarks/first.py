"""A P-256 device at first sight: parse, verify and decide, against verifying it by `cryptography` and nothing else."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, time

from check import CONFIG
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from timing import Call, find_medians, find_ratio, judge, show

from certificates import DAY, Pair, make_certificate, make_leaf, make_name
from exchanges import make_scope
from keyfob.config import load_gate
from keyfob.gate import Gate
from keyfob.policy import Allow

ROUNDS, LIMIT = 5_000, 1.5


def make_device() -> tuple[Pair, Pair]:
    """A root and a device as the bare verifier wants them: it insists on key identifiers and an alternative name."""
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    basic = x509.BasicConstraints(ca=True, path_length=None)
    root = make_certificate(
        make_name("Test CA"), None, [(basic, True), (usage, True), (identifier, False)], key=key, begins=-2 * DAY
    )
    names = x509.SubjectAlternativeName([x509.DNSName("phone.example.com")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return root, make_leaf(root, extensions=[(names, False), (issuer, False)])


def _make_bare(root: Pair, leaf: Pair) -> Call:
    store = verification.Store([root.certificate])
    pem = leaf.pem.encode("ascii")

    def verify() -> None:
        certificate = x509.load_pem_x509_certificate(pem)
        moment = datetime.now(UTC).replace(tzinfo=None)
        verification.PolicyBuilder().store(store).time(moment).build_client_verifier().verify(certificate, [])

    return verify


def _make_gate(root: Pair) -> Gate:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ca.pem").write_text(root.pem, encoding="ascii")
        Path(folder, "access.toml").write_text(CONFIG, encoding="utf-8")
        return load_gate(Path(folder, "access.toml"))


def _make_ours(gate: Gate, leaf: Pair) -> Call:
    scope = make_scope([leaf.pem])

    def check() -> None:
        decision = gate.check(gate.source.receive(scope, time()))
        if type(decision) is not Allow:
            raise RuntimeError(f"refused: {decision}")

    return check


def _time(call: Call) -> float:
    start = perf_counter()
    call()
    return (perf_counter() - start) * 1e6


def measure() -> bool:
    """Prints both, and the ratio. What the gate remembers is forgotten before each call, and that is not timed."""
    root, leaf = make_device()
    gate = _make_gate(root)
    bare, ours = _make_bare(root, leaf), _make_ours(gate, leaf)
    rounds = []
    for _ in range(ROUNDS):
        gate.forget()
        rounds.append((_time(bare), _time(ours)))
    theirs, mine = find_medians(rounds)
    print(f"first: a P-256 device at first sight, {ROUNDS} rounds of one each, medians")
    show("cryptography parses and verifies", theirs)
    show("keyfob parses, verifies and decides", mine)
    return judge("ratio", find_ratio(rounds, 1, 0), LIMIT)
