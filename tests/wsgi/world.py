"""What the WSGI servers of these tests are given, and who knocks at them."""

import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from deploy.forgeries import Headers
from servers import make_client

# Formats whose proxy says nothing about its verification.
DECLARED = {"rfc9440", "envoy", "traefik", "caddy", "aws-alb", "cloudfront", "cloudflare", "kong"}
# For the second name, the intermediate stands beside the root; for the third, which is that of the files in `deploy/`,
# too.
HOST, BUNDLE_HOST, FRONT_HOST = "localhost", "bundle.example.com", "money.example.com"

_RULES = """
[source]
{source}

[[root_certificates]]
name = "Root"
certificate = "ca.pem"
associated_hostnames = ["localhost"]

[[root_certificates]]
name = "Root and intermediate"
certificate = "bundle.pem"
associated_hostnames = ["bundle.example.com", "money.example.com"]

[[applications]]
name = "App"
domain = "localhost"
self_hosted_domains = ["bundle.example.com", "money.example.com"]
policies = [{{ name = "Those", {policy} }}]
"""
# What `paths` protects: a part that is open to all, and one that is not; and the open part behind a prefix.
_PATHS = """
source = { kind = "tls" }

[[root_certificates]]
name = "Root"
certificate = "ca.pem"
associated_hostnames = ["localhost"]

[[applications]]
name = "Public"
domain = "localhost/paths/public/*"
policies = ["Everybody"]

[[applications]]
name = "Public, behind a prefix"
domain = "localhost/shop/paths/public/*"
policies = ["Everybody"]

[[applications]]
name = "Administration"
domain = "localhost/paths/admin"
policies = [{ name = "Devices", decision = "non_identity", include = [{ certificate = {} }] }]

[[policies]]
name = "Everybody"
decision = "bypass"
include = [{ everyone = {} }]
"""
_ANY_DEVICE = 'decision = "non_identity", include = [{ certificate = {} }]'
_EVERYBODY = 'decision = "bypass", include = [{ everyone = {} }]'


@dataclass(frozen=True)
class World:
    """`folder` has everybody's files; `claims` are the headers by which each format's proxy vouches for the victim."""

    folder: Path
    victim: x509.Certificate
    claims: dict[str, Headers]

    @property
    def doors(self) -> Path:
        return self.folder / "doors"

    @property
    def fingerprint(self) -> str:
        """The victim's."""
        return self.victim.fingerprint(hashes.SHA256()).hex()

    def client(self, name: str | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """A TLS client that shows this device's certificate, or none."""
        identity = [self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"] if name else []
        return make_client(self.folder / "server-ca.pem", *identity, version=version)


def write_doors(world: World) -> None:
    """One configuration for each way in, which is `tls`, every format from 127.0.0.1, and nginx's from elsewhere.

    And two that need no certificate: `open`, and `paths`, where the path decides.
    """
    world.doors.mkdir()
    for name in ("ca.pem", "bundle.pem"):
        shutil.copy(world.folder / name, world.doors)
    sources = {"tls": 'kind = "tls"'}
    for form in world.claims:
        verifies = "proxy_verifies = true" if form in DECLARED else ""
        sources[form] = f'kind = "header"\nformat = "{form}"\ntrusted_proxies = ["127.0.0.1"]\n{verifies}'
    sources["elsewhere"] = sources["nginx"].replace("127.0.0.1", "203.0.113.7")
    sources["unix"] = sources["nginx"].replace("127.0.0.1", "unix")
    for name, source in sources.items():
        (world.doors / f"{name}.toml").write_text(_RULES.format(source=source, policy=_ANY_DEVICE), encoding="utf-8")
    (world.doors / "open.toml").write_text(_RULES.format(source=sources["tls"], policy=_EVERYBODY), encoding="utf-8")
    (world.doors / "paths.toml").write_text(_PATHS, encoding="utf-8")
