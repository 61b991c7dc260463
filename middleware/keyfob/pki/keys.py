"""Private keys: which kinds there are, and how they are made, written and read."""

from collections.abc import Callable, Mapping
from functools import partial

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from keyfob.certificate import UNREADABLE
from keyfob.errors import PKIError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
# Asked for the passphrase of a key that is encrypted; None if nobody can say it.
Passphrase = Callable[[], str | None]

SMALLEST_RSA = 2048

# Phones import these and no others: not Ed25519, for one.
KEY_KINDS: Mapping[str, Callable[[], PrivateKey]] = {
    "p256": partial(ec.generate_private_key, ec.SECP256R1()),
    "p384": partial(ec.generate_private_key, ec.SECP384R1()),
    "rsa2048": partial(rsa.generate_private_key, 65537, 2048),
    "rsa3072": partial(rsa.generate_private_key, 65537, 3072),
    "rsa4096": partial(rsa.generate_private_key, 65537, 4096),
}


def generate_key(kind: str = "p256") -> PrivateKey:
    """A new key. Raises PKIError for a kind that is not in KEY_KINDS."""
    if kind not in KEY_KINDS:
        raise PKIError(f"{kind!r} is no kind of key", f"choose one of {', '.join(KEY_KINDS)}")
    return KEY_KINDS[kind]()


def write_key(key: PrivateKey, passphrase: str | None = None) -> bytes:
    """PKCS#8 in PEM; not encrypted without a passphrase, so it goes into a file for its owner alone."""
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode("utf-8"))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def read_key(pem: bytes, name: str, passphrase: Passphrase | None = None) -> PrivateKey:
    """The private key in a PEM text that errors call `name`. The passphrase is asked for if it is encrypted.

    Raises PKIError.
    """
    try:
        key = load_pem_private_key(pem, _ask(pem, name, passphrase))
    except UNREADABLE as error:
        raise PKIError(
            f"{name} cannot be read as a key: {error}", "is it a private key in PEM, and is the passphrase right?"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise PKIError(f"{name} is a key of a kind that is not used here", f"use one of {', '.join(KEY_KINDS)}")
    return key


def _ask(pem: bytes, name: str, passphrase: Passphrase | None) -> bytes | None:
    if not is_encrypted(pem):
        return None
    said = None if passphrase is None else passphrase()
    if said is None:
        raise PKIError(
            f"{name} is encrypted, and nobody said its passphrase",
            "set KEYFOB_PASSPHRASE, or name a file with --passphrase-file",
        )
    return said.encode("utf-8")


def is_encrypted(pem: bytes) -> bool:
    """Whether a passphrase is needed to read this key."""
    return b"ENCRYPTED" in pem


def choose_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """The hash with which a key signs: as strong as the key, and never below SHA-256."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def require_public_key(key: object, name: str) -> PublicKey:
    """The key, if a device may have it. Raises PKIError."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA <= key.key_size <= 8192:
        return key
    raise PKIError(f"{name} has a key that is not used here", f"use one of {', '.join(KEY_KINDS)}")
