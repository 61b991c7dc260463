"""Who knocks, what the servers are given, and the rules of every door."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from certificates import DAY, Pair, make_authority, make_leaf, make_server
from deploy.forgeries import Headers, make_claims
from deploy.setting import HOST
from servers_asgi.starting import DOORS

# At least 32 characters, and not one that anybody would guess.
SECRET = "correct-horse-battery-staple-and-then-some"  # noqa: S105 - made up for these tests

_HOSTS = f"""
[[root_certificates]]
name = "Test CA"
certificate = "../ca.pem"
associated_hostnames = ["{HOST}", "localhost"]

[[applications]]
name = "App"
domain = "{HOST}"
self_hosted_domains = ["localhost"]
"""

_ANY_DEVICE = (
    _HOSTS
    + """
[[applications.policies]]
name = "Any device"
decision = "non_identity"
include = [{ certificate = {} }]
"""
)

# The office needs no certificate, wherever it is that requests come from.
_OFFICE = (
    _HOSTS
    + """
[[applications.policies]]
name = "The office"
decision = "bypass"
include = [{ ip = { ip = "203.0.113.0/24" } }, { ip = { ip = "2001:db8:0ff1:ce::/64" } }]
"""
)

_BY_SECRET = 'shared_secret = { header = "X-Proxy-Secret", file = "../proxy-secret" }\n'  # noqa: S105 - names a file
_NGINX = '[source]\nkind = "header"\nformat = "nginx"\n'

RULES = {
    "tls": '[source]\nkind = "tls"\n' + _ANY_DEVICE,
    "address": _NGINX + 'trusted_proxies = ["127.0.0.1"]\n' + _ANY_DEVICE,
    "unix": _NGINX + 'trusted_proxies = ["unix"]\n' + _ANY_DEVICE,
    "every": _NGINX + 'trusted_proxies = ["127.0.0.1", "::1", "10.0.0.0/8", "unix"]\n' + _ANY_DEVICE,
    "secret": _NGINX + _BY_SECRET + _ANY_DEVICE,
    "secret-and-address": _NGINX + _BY_SECRET + 'trusted_proxies = ["127.0.0.1"]\n' + _ANY_DEVICE,
    # A proxy that leaves the header out where there is no certificate.
    "rfc9440": (
        '[source]\nkind = "header"\nformat = "rfc9440"\nproxy_verifies = true\ntrusted_proxies = ["127.0.0.1"]\n'
        + _ANY_DEVICE
    ),
    "rfc9440-secret": (
        '[source]\nkind = "header"\nformat = "rfc9440"\nproxy_verifies = true\n' + _BY_SECRET + _ANY_DEVICE
    ),
    "office": _NGINX + 'trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"]\n' + _OFFICE,
    "office-secret": _NGINX + _BY_SECRET + _OFFICE,
    "office-tls": '[source]\nkind = "tls"\n' + _OFFICE,
    "office-forwarded": (
        _NGINX
        + 'client_address = "Forwarded"\ntrusted_proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"]\n'
        + _OFFICE
    ),
}


_KEY_ID = b"the CA's own key"
_KEY_USAGE = x509.KeyUsage(
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


@dataclass(frozen=True)
class Keys:
    """The folder that servers run in, and the device whose certificate is shown or claimed."""

    folder: Path
    device: Pair

    @property
    def claim(self) -> Headers:
        """What nginx writes after it has verified the device's certificate."""
        return make_claims(self.device.certificate)["nginx"]

    @property
    def rfc9440(self) -> Headers:
        return make_claims(self.device.certificate)["rfc9440"]

    def identity(self, name: str) -> tuple[Path, ...]:
        """The files of a TLS client: of the device, of one that is no good, or of `nobody`."""
        return () if name == "nobody" else (self.folder / f"{name}.pem", self.folder / f"{name}-key.pem")


def make_keys(folder: Path) -> Keys:
    """Fresh certificates, the secret, and the rules of every door, in `folder`."""
    # Python 3.13 makes some servers verify as strictly as RFC 5280 section 4.2 describes what CAs write.
    authority = make_authority(extensions=[(_KEY_USAGE, True), (x509.SubjectKeyIdentifier(_KEY_ID), False)])
    names_issuer = [(x509.AuthorityKeyIdentifier(_KEY_ID, None, None), False)]
    device = make_leaf(authority, extensions=names_issuer)
    authority.write(folder, "ca")
    make_server(authority).write(folder, "server")
    device.write(folder, "device")
    make_leaf(make_authority("Another CA")).write(folder, "stranger")
    make_leaf(authority, extensions=names_issuer, begins=-2 * DAY, ends=-DAY).write(folder, "expired")
    (folder / "proxy-secret").write_text(SECRET, encoding="ascii")
    (folder / DOORS).mkdir()
    for name, rules in RULES.items():
        (folder / DOORS / f"{name}.toml").write_text(rules, encoding="utf-8")
    return Keys(folder, device)
