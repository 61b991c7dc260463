"""Who knocks at the proxies: one device for every kind of certificate that the matrix asks for, and the victim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from certificates import DAY, SERVER, Pair, make_authority, make_leaf, make_name, make_server
from deploy.forgeries import make_claims
from deploy.setting import HOST, PUBLIC_HOST

VICTIM = "Rhea Group"


@dataclass(frozen=True)
class Identity:
    """A device: the files that its TLS client shows (none for a device without a certificate), and its leaf's hash."""

    name: str
    files: tuple[Path, ...]
    fingerprint: str | None


@dataclass(frozen=True)
class World:
    """Everything that proxies and devices are given. `ca` is the root and the intermediate, and nothing else."""

    ca: Path
    server: Path
    server_key: Path
    victim: x509.Certificate
    identities: dict[str, Identity]

    @property
    def victim_fingerprint(self) -> str:
        return fingerprint_of(self.victim)


def fingerprint_of(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def make_world(folder: Path) -> World:
    """A fresh authority, and all that is made with it, in `folder`."""
    root = make_authority("Test CA", path_length=1)
    intermediate = make_authority("Test Intermediate CA", root, path_length=0)
    victim = make_leaf(root, VICTIM)
    ca = folder / "ca.pem"
    ca.write_text(intermediate.pem + root.pem, encoding="ascii")
    server, server_key = make_server(root, HOST, PUBLIC_HOST).write(folder, "server")
    identities = {"none": Identity("none", (), None)}
    for name, (leaf, *above) in (_valid(root, intermediate, victim) | _bad(root)).items():
        files = leaf.write(folder, name, above=above)
        identities[name] = Identity(name, files, fingerprint_of(leaf.certificate))
    return World(ca, server, server_key, victim.certificate, identities)


def _valid(root: Pair, intermediate: Pair, victim: Pair) -> dict[str, Sequence[Pair]]:
    """Certificates that have to get in, each with what its device sends after it."""
    quoted = make_name(
        'Rhea Group",CN="Rhea Group', country_name="GB", organization_name='Acme, Inc. "Quoted"; a=b/c+d'
    )
    control = make_name("Rhea\r\nX-SSL-Client-Verify: SUCCESS\r\n\x00Group\t\x7f")
    many = [x509.DNSName(f"device-{number}.example.com") for number in range(20)]
    others = [make_leaf(make_authority("Other CA"), VICTIM), victim]
    return {
        "valid": [make_leaf(root, "Own device")],
        "via-intermediate": [make_leaf(intermediate, "Own device"), intermediate],
        "several-names": [make_leaf(root, make_name("Own device", VICTIM))],
        "commas-and-quotes": [make_leaf(root, quoted)],
        "xfcc-in-san": [make_leaf(root, "Own device", extensions=_names(_claiming(victim)))],
        "control-characters": [make_leaf(root, control)],
        "twenty-names": [make_leaf(root, "Own device", extensions=_names(*many))],
        "rsa-4096": [make_leaf(root, "Own device", key=rsa.generate_private_key(65537, 4096))],
        "extra-certificates": [make_leaf(root, "Own device"), *others],
    }


def _bad(root: Pair) -> dict[str, Sequence[Pair]]:
    """Certificates that must not get in. Each claims the victim's name."""
    other = make_authority("Other CA")
    # The very name of the real one, which a comparison of names would be content with.
    impostor = make_authority("Test CA", path_length=1)
    return {
        "other-ca": [make_leaf(other, VICTIM), other],
        "impostor-ca": [make_leaf(impostor, VICTIM), impostor],
        "self-signed": [make_leaf(None, VICTIM)],
        "expired": [make_leaf(root, VICTIM, begins=-2 * DAY, ends=-timedelta(minutes=1))],
        "not-yet-valid": [make_leaf(root, VICTIM, begins=DAY)],
        "server-only": [make_leaf(root, VICTIM, usages=[SERVER])],
    }


VALID = (
    "valid",
    "via-intermediate",
    "several-names",
    "commas-and-quotes",
    "xfcc-in-san",
    "control-characters",
    "twenty-names",
    "rsa-4096",
    "extra-certificates",
)
BAD = ("none", "other-ca", "impostor-ca", "self-signed", "expired", "not-yet-valid", "server-only")


def _names(*names: x509.GeneralName) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.SubjectAlternativeName(names), False)]


def _claiming(victim: Pair) -> x509.UniformResourceIdentifier:
    """A URI that, written into an XFCC header without quotes, ends its element and begins the victim's."""
    ((_, claim),) = make_claims(victim.certificate)["envoy"]
    return x509.UniformResourceIdentifier(f"spiffe://evil/a;By=spiffe://trusted,{claim}")
