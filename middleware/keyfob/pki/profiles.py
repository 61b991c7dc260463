"""Apple configuration profiles: identity, root, icon and SCEP in one file that an iPhone installs."""

import plistlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from keyfob.errors import PKIError
from keyfob.pki.keys import PrivateKey

MEDIA_TYPE = "application/x-apple-aspen-config"

# Apple's TargetDeviceType: iPhone and iPad. Without it, whoever has a watch is asked which of the two it is for.
_PHONE = 1
# Apple's Key Usage: 1 to sign, 4 to decrypt what SCEP sends back.
_SIGN_AND_DECRYPT = 5
_SHA256_OCTETS = 32
# What Apple takes for a web clip's icon.
LARGEST_ICON, WIDEST_ICON = 1_000_000, 400
_PNG = re.compile(rb"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR(?P<width>.{4})(?P<height>.{4})", re.DOTALL)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:keyfob:profile")


@dataclass(frozen=True)
class Payload:
    """One part of a profile, with Apple's names. What it holds may be secret, so its repr does not show it."""

    kind: str
    identifier: str
    name: str
    content: Mapping[str, object] = field(repr=False)


def make_identifier(root: x509.Certificate, name: str, app: str = "") -> str:
    """What a profile for this device, of this authority, for this app (its URL) is called, whenever it is made.

    A phone replaces the profile of the same identifier, so a renewed key takes the place of the old one.
    """
    return ".".join(("keyfob", root.fingerprint(hashes.SHA256()).hex()[:32], _digest(name, app)))


def identity_payload(p12: bytes, name: str, identifier: str, password: str | None = None) -> Payload:
    """A PKCS#12 file with one identity. `identifier` is the profile's, here and below.

    Without the password the phone asks for it; with it, it stands in the profile for everybody to read.
    """
    content: dict[str, object] = {"PayloadContent": p12, "PayloadCertificateFileName": f"{name}.p12"}
    if password is not None:
        content["Password"] = password
    return Payload("com.apple.security.pkcs12", f"{identifier}.identity", name, content)


def root_payload(certificate: x509.Certificate, identifier: str) -> Payload:
    """An authority for the phone to know. Its owner has to trust it in the settings all the same."""
    name = next((str(each.value) for each in certificate.subject if each.oid == x509.NameOID.COMMON_NAME), "CA")
    content = {"PayloadContent": certificate.public_bytes(Encoding.DER), "PayloadCertificateFileName": "ca.cer"}
    return Payload("com.apple.security.root", f"{identifier}.root", name, content)


def web_clip(url: str, label: str, icon: bytes | None, identifier: str, *, full_screen: bool = False) -> Payload:
    """An icon on the home screen that opens `url`. `icon` is a PNG of at most 400 x 400; None gives a white square.

    Whether a page that is opened in full screen presents a certificate has not been seen on a phone, so the default is
    Safari. Raises PKIError.
    """
    content: dict[str, object] = {
        "URL": _require_https(url, "the app's address"),
        "Label": _require_label(label),
        "FullScreen": full_screen,
        "IsRemovable": True,
        "Precomposed": True,
    }
    if icon is not None:
        content["Icon"] = require_icon(icon)
    return Payload("com.apple.webClip.managed", f"{identifier}.app", label, content)


def scep_payload(url: str, name: str, common_name: str, challenge: str, fingerprint: bytes, identifier: str) -> Payload:
    """Has the phone make a key of its own, and fetch a certificate for it from the SCEP responder at `url`.

    `name` is what it asks GetCACert for, and `fingerprint` the SHA-256 of the certificate that it has to get there.
    Raises PKIError.
    """
    if len(fingerprint) != _SHA256_OCTETS:
        raise PKIError(
            f"a fingerprint of {len(fingerprint)} octets is no SHA-256", "hash the certificate's DER with SHA-256"
        )
    content = {
        "URL": _require_https(url, "the SCEP responder's address"),
        "Name": name,
        "Subject": [[["CN", common_name]]],
        "Challenge": challenge,
        "Key Type": "RSA",
        # Apple's own default is 1024.
        "Keysize": 2048,
        "Key Usage": _SIGN_AND_DECRYPT,
        "CAFingerprint": fingerprint,
        "Retries": 3,
        "RetryDelay": 10,
    }
    return Payload("com.apple.security.scep", f"{identifier}.scep", common_name, {"PayloadContent": content})


def make_profile(name: str, organization: str, identifier: str, payloads: Sequence[Payload]) -> bytes:
    """The profile as a property list in XML, not signed. The same arguments give the same octets. Raises PKIError."""
    identifiers = [each.identifier for each in payloads]
    if not payloads or len(set(identifiers)) < len(identifiers):
        raise PKIError("a profile needs payloads, each with an identifier of its own", "add each kind at most once")
    profile = {
        **_describe("Configuration", identifier, name),
        "PayloadOrganization": organization,
        "PayloadDescription": "A key to an app, for this device alone. Whoever removes the profile removes the key.",
        "TargetDeviceType": _PHONE,
        "PayloadContent": [{**_describe(each.kind, each.identifier, each.name), **each.content} for each in payloads],
    }
    try:
        return plistlib.dumps(profile)
    except ValueError as error:
        # XML 1.0 has no way to write control characters and lone surrogates.
        raise PKIError("a name or an address has a character in it that no profile can hold", "leave it out") from error


def sign_profile(
    profile: bytes, certificate: x509.Certificate, key: PrivateKey, chain: Sequence[x509.Certificate]
) -> bytes:
    """The profile inside a CMS SignedData (RFC 5652), DER. `chain` are the intermediates above `certificate`.

    A phone shows it as verified if that leads to an authority it trusts. Raises PKIError.
    """
    if certificate.public_key() != key.public_key():
        raise PKIError("the signing certificate and its key do not belong together", "name a pair")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        message = f"the signing certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}"
        raise PKIError(message, "renew it, or leave the profile unsigned")
    builder = PKCS7SignatureBuilder().set_data(profile).add_signer(certificate, key, hashes.SHA256())
    # Last, because the methods above forget what was added before them.
    for each in dict.fromkeys(chain):
        if each != certificate:
            builder = builder.add_certificate(each)
    return builder.sign(Encoding.DER, [PKCS7Options.Binary])


def read_icon() -> bytes:
    """A key, 180 x 180: for an app that brings no icon of its own."""
    return files("keyfob.pki").joinpath("icon.png").read_bytes()


def require_icon(icon: bytes) -> bytes:
    """The image, if a phone takes it for an icon. Raises PKIError."""
    found = _PNG.match(icon)
    if found is None:
        raise PKIError("the icon is no PNG", "convert it, for instance to 180 x 180 pixels")
    width, height = (int.from_bytes(found[side]) for side in ("width", "height"))
    if not (0 < width <= WIDEST_ICON and 0 < height <= WIDEST_ICON) or len(icon) >= LARGEST_ICON:
        message = f"the icon has {width} x {height} pixels and {len(icon)} octets"
        raise PKIError(message, f"{WIDEST_ICON} x {WIDEST_ICON} and a megabyte are the most that a phone takes")
    return icon


def _describe(kind: str, identifier: str, name: str) -> dict[str, object]:
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid.uuid5(_NAMESPACE, identifier)).upper(),
        "PayloadDisplayName": name,
    }


def _digest(*parts: str) -> str:
    hashing = hashes.Hash(hashes.SHA256())
    for each in parts:
        data = each.encode("utf-8")
        hashing.update(len(data).to_bytes(8) + data)
    return hashing.finalize().hex()[:32]


def _require_label(label: str) -> str:
    if not label.strip() or not label.isprintable():
        raise PKIError(f"{label[:80]!a} cannot stand under an icon", "name the app in letters")
    return label


def _require_https(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme != "https" or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise PKIError(f"{url[:200]!r} is not {what}", "such as https://money.example.com/")
    return url
