"""Certificates that are the same in every run, so that a value which a test has printed can be had again.

Keys and dates are fixed, and ECDSA signs deterministically (RFC 6979). Independent of `keyfob`.
"""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha512
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import CLIENT, SERVER, make_name

BEGINS, ENDS = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
# The moment of every request here.
NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def make_key(seed: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key that belongs to a word."""
    return ec.derive_private_key(int.from_bytes(sha512(seed.encode()).digest()[:31], "big"), ec.SECP256R1())


def make_long_key(seed: str, bits: int) -> rsa.RSAPublicKey:
    """A public key as long as an RSA key. Nobody has the other half, which nothing here needs."""
    digits = b"".join(sha512(f"{seed} {number}".encode()).digest() for number in range(bits // 512))
    return rsa.RSAPublicNumbers(65537, int.from_bytes(digits, "big") | 1 << (bits - 1) | 1).public_key()


def issue(
    subject: x509.Name,
    key: PublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    extensions: Extensions,
    *,
    begins: datetime = BEGINS,
    ends: datetime = ENDS,
) -> x509.Certificate:
    """One certificate; its serial number is made of its subject."""
    serial = int.from_bytes(sha512(subject.public_bytes()).digest()[:15], "big") | 1
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key)
    builder = builder.serial_number(serial).not_valid_before(begins).not_valid_after(ends)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)


def _authority(name: str, seed: str, issuer: str, signer: str) -> x509.Certificate:
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    return issue(make_name(name), make_key(seed).public_key(), make_name(issuer), make_key(signer), [basic])


def _leaf(
    subject: x509.Name | str,
    *,
    signer: str = "root",
    issuer: str = "Fuzz Root",
    usage: x509.ObjectIdentifier = CLIENT,
    names: Sequence[x509.GeneralName] = (),
    key: PublicKey | None = None,
    begins: datetime = BEGINS,
    ends: datetime = ENDS,
) -> x509.Certificate:
    name = make_name(subject) if isinstance(subject, str) else subject
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.ExtendedKeyUsage([usage]), False)]
    if names:
        extensions.append((x509.SubjectAlternativeName(names), False))
    public = key or make_key(f"leaf of {signer} {name.rfc4514_string()}").public_key()
    return issue(name, public, make_name(issuer), make_key(signer), extensions, begins=begins, ends=ends)


def write_der(certificate: x509.Certificate) -> bytes:
    """Its DER."""
    return certificate.public_bytes(Encoding.DER)


def escape_pem(der: bytes) -> str:
    """PEM in percent-encoding with every reserved character in it, as Envoy and nginx write it."""
    text = b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return quote(f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n", safe="")


ROOT = _authority("Fuzz Root", "root", "Fuzz Root", "root")
INTERMEDIATE = _authority("Fuzz Intermediate", "intermediate", "Fuzz Root", "root")
STRANGER = _authority("Fuzz Root", "stranger", "Fuzz Root", "stranger")

_PHONE, _WATCH = _leaf("phone"), _leaf("watch")
_WATCH_PEM, _WATCH_HASH = escape_pem(write_der(_WATCH)), _WATCH.fingerprint(hashes.SHA256()).hex()


def _injecting(subject: str, text: str) -> x509.Certificate:
    return _leaf(subject, names=[x509.UniformResourceIdentifier(text), x509.DNSName(f"{subject}.example")])


# Who gets in, by common name. Those that begin with "forger" try to be taken for the watch by whoever reads the names
# that Envoy writes down raw.
DEVICES = {
    "phone": _PHONE,
    "watch": _WATCH,
    "tablet": _leaf("tablet", signer="intermediate", issuer="Fuzz Intermediate"),
    "quotes": _leaf(make_name("quotes", organization_name='Acme, "Inc.";Hash=00=\\')),
    "several": _leaf(make_name("several", "phone", organization_name="CN=watch")),
    "names": _leaf("names", names=[x509.DNSName(f"host-{number}.example") for number in range(20)]),
    "rsa": _leaf("rsa", key=make_long_key("rsa", 4096)),
    "forger 1": _injecting("forger 1", f'spiffe://evil/a;Hash={_WATCH_HASH};Cert="{_WATCH_PEM}"'),
    "forger 2": _injecting("forger 2", f'spiffe://evil/a,Hash={_WATCH_HASH};Cert="{_WATCH_PEM}"'),
    "forger 3": _injecting("forger 3", f'spiffe://evil/a;Chain="{_WATCH_PEM}'),
    "forger 4": _injecting("forger 4", f'spiffe://evil/a";Cert="{_WATCH_PEM}";X="'),
    "forger 5": _injecting("forger 5", f"spiffe://evil/a;By=spiffe://trusted;URI=spiffe://admin;Subject={_WATCH_HASH}"),
}
# Who does not, by what is wrong.
STRANGERS = {
    "another authority": _leaf("phone", signer="stranger"),
    "self-signed": _leaf("phone", signer="itself", issuer="phone", key=make_key("itself").public_key()),
    "expired": _leaf("expired", ends=datetime(2026, 1, 1, tzinfo=UTC)),
    "not yet valid": _leaf("future", begins=datetime(2027, 1, 1, tzinfo=UTC)),
    "server": _leaf("server", usage=SERVER),
    "root": ROOT,
    "intermediate": INTERMEDIATE,
    "the other root": STRANGER,
}
