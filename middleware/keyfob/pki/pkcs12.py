"""PKCS#12: the one file in which every phone takes a certificate together with its key."""

import base64
import secrets

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import KeySerializationEncryption, PrivateFormat, pkcs12

from keyfob.errors import PKIError
from keyfob.pki.authority import Issued

# For the two encryptions; the MAC has the library's own number, so nothing but the password stands against guessing.
_ROUNDS = 50_000


def make_password() -> str:
    """A hundred random bits in letters and digits that can be told apart and typed on a phone: `xxxxx-xxxxx-…`."""
    text = base64.b32encode(secrets.token_bytes(13)).decode("ascii").lower()[:20]
    return "-".join(text[start : start + 5] for start in range(0, 20, 5))


def export_identity(issued: Issued, name: str, password: str, *, modern: bool = False) -> bytes:
    """One identity with the friendly name `name`, in the only format that all iOS and Android versions import.

    Triple DES and SHA-1 are what that takes. They carry no weight here: the file is as safe as its random password,
    so hand the two over by different ways and delete the file afterwards. `modern` is AES-256 and SHA-256 throughout,
    for iOS 18, Android 14 and Windows 10 on. The authority's certificate is left out, because iOS allows one
    certificate in such a file and Android would take it for a new authority. Raises PKIError.
    """
    try:
        protection = _protect(_require_password(password), modern=modern)
        named = name.encode("utf-8")
        return pkcs12.serialize_key_and_certificates(named, issued.key, issued.certificate, None, protection)
    except UnsupportedAlgorithm as error:
        message = f"this build of OpenSSL has no {'AES-256' if modern else 'triple DES'}: {error}"
        raise PKIError(message, "take the other format, p12 or p12-modern") from error


def _protect(password: bytes, *, modern: bool) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ROUNDS)
    if modern:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    else:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        builder = builder.hmac_hash(hashes.SHA1())  # noqa: S303 - the format's own, see above
    return builder.build(password)


def _require_password(password: str) -> bytes:
    """Readers disagree on how anything but ASCII is encoded, and on what an empty password is."""
    if not password or not password.isascii() or not password.isprintable():
        raise PKIError("a PKCS#12 file needs a password in ASCII", "use make_password")
    return password.encode("ascii")
