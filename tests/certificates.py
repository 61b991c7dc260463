"""Certificates for tests, right and wrong in every way that a test asks for. Independent of `keyfob.pki`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")

    def write(self, folder: Path, name: str, *, above: Sequence["Pair"] = ()) -> tuple[Path, Path]:
        """Writes `name.pem` (followed by the certificates `above`) and `name-key.pem`; returns both paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        certificate.write_text("".join(each.pem for each in (self, *above)), encoding="ascii")
        key.write_text(self.key_pem, encoding="ascii")
        key.chmod(0o600)
        return certificate, key


Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def make_name(*common_names: str, **others: str) -> x509.Name:
    """A name of common names, and of other attributes by their `NameOID` spelling in lower case."""
    attributes = [x509.NameAttribute(getattr(NameOID, oid.upper()), value) for oid, value in others.items()]
    return x509.Name([*attributes, *(x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names)])


def make_certificate(
    subject: x509.Name,
    issuer: Pair | None,
    extensions: Extensions,
    *,
    key: Key | None = None,
    begins: timedelta = -DAY,
    ends: timedelta = 30 * DAY,
) -> Pair:
    """A certificate signed by `issuer`, or by itself; `begins` and `ends` are relative to now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signer = issuer.key if issuer else key
    return Pair(builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()), key)


def make_authority(
    name: str = "Test CA",
    issuer: Pair | None = None,
    *,
    path_length: int | None = None,
    extensions: Extensions = (),
    begins: timedelta = -2 * DAY,
    ends: timedelta = 60 * DAY,
) -> Pair:
    """A root, or an intermediate under `issuer`."""
    basic = (x509.BasicConstraints(ca=True, path_length=path_length), True)
    return make_certificate(make_name(name), issuer, [basic, *extensions], begins=begins, ends=ends)


def make_leaf(
    issuer: Pair | None,
    name: str | x509.Name = "Rhea Group",
    *,
    usages: Sequence[x509.ObjectIdentifier] | None = (CLIENT,),
    extensions: Extensions = (),
    key: Key | None = None,
    begins: timedelta = -DAY,
    ends: timedelta = 30 * DAY,
) -> Pair:
    """A device's certificate by default; `usages` None leaves the extended key usage out."""
    subject = name if isinstance(name, x509.Name) else make_name(name)
    usage: Extensions = [] if usages is None else [(x509.ExtendedKeyUsage(usages), False)]
    basic = (x509.BasicConstraints(ca=False, path_length=None), True)
    return make_certificate(subject, issuer, [basic, *usage, *extensions], key=key, begins=begins, ends=ends)


def make_server(issuer: Pair, *hosts: str) -> Pair:
    """A server's certificate for host names, `localhost` if none is given."""
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts or ("localhost",)])
    return make_leaf(issuer, (hosts or ("localhost",))[0], usages=[SERVER], extensions=[(names, False)])
