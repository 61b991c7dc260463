"""PKCS#12: the one file in which every phone takes a certificate together with its key."""

import base64
import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from keyfob.pki.authority import Issued


def make_password() -> str:
    """A hundred random bits in letters and digits that can be told apart and typed on a phone: `xxxxx-xxxxx-…`."""
    text = base64.b32encode(secrets.token_bytes(13)).decode("ascii").lower()[:20]
    return "-".join(text[start : start + 5] for start in range(0, 20, 5))


def export_identity(issued: Issued, name: str, password: str) -> bytes:
    """One identity with the friendly name `name`, in the only format that all iOS and Android versions import.

    Triple DES and SHA-1 are what that takes. They carry no weight here: the file is as safe as its random password,
    so hand the two over by different ways and delete the file afterwards. The authority's certificate is left out,
    because iOS allows one certificate in such a file and Android would take it for a new authority.
    """
    protection = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(50_000)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())  # noqa: S303 - the format's own, see above
        .build(password.encode("ascii"))
    )
    return pkcs12.serialize_key_and_certificates(name.encode("utf-8"), issued.key, issued.certificate, None, protection)
