"""Keys of a provider: what it signs with, as it publishes them (RFC 7517), and which of them fits a signature."""

import hashlib
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from keyfob.errors import LoginUnavailable
from keyfob.login.exchanges import Fetched
from keyfob.login.providers.discovery import read_document

PublicKey = RSAKey | ECKey | OKPKey

# How many keys of one provider are looked at: those that have many have twenty.
MOST = 100
# Bits of an RSA modulus: fewer are no security, and more are a way to keep a processor busy.
_FEWEST_BITS, _MOST_BITS = 2048, 8192


class Algorithm(NamedTuple):
    """One row: the kind of key and the curve that it takes, what it hashes with, and how joserfc calls it."""

    kind: str
    curve: str
    digest: Callable[[bytes], Any]
    name: str


# RFC 7518 section 3.1, RFC 8037 and RFC 9864: those with a public key alone. With a shared key, which is what HMAC
# takes, a published one would do; and `none` is nobody's signature.
ALGORITHMS: Mapping[str, Algorithm] = {
    **{
        f"{kind}{bits}": Algorithm("RSA", "", digest, f"{kind}{bits}")
        for kind in ("RS", "PS")
        for bits, digest in ((256, hashlib.sha256), (384, hashlib.sha384), (512, hashlib.sha512))
    },
    "ES256": Algorithm("EC", "P-256", hashlib.sha256, "ES256"),
    "ES384": Algorithm("EC", "P-384", hashlib.sha384, "ES384"),
    "ES512": Algorithm("EC", "P-521", hashlib.sha512, "ES512"),
    "EdDSA": Algorithm("OKP", "Ed25519", hashlib.sha512, "Ed25519"),
    "Ed25519": Algorithm("OKP", "Ed25519", hashlib.sha512, "Ed25519"),
}

# What of a key is needed for a signature, for each kind: nothing else is taken over.
_MEMBERS: Mapping[str, tuple[type[PublicKey], tuple[str, ...]]] = {
    "RSA": (RSAKey, ("n", "e")),
    "EC": (ECKey, ("crv", "x", "y")),
    "OKP": (OKPKey, ("crv", "x")),
}


class VerificationKey(NamedTuple):
    """One key that signatures are verified with. `kid` and `alg` are empty where it says nothing about them."""

    kid: str
    kind: str
    curve: str
    alg: str
    key: PublicKey

    def fits(self, algorithm: Algorithm) -> bool:
        """Whether it is of this kind, on this curve, and meant for nothing else."""
        meant = ALGORITHMS.get(self.alg)
        return (self.kind, self.curve) == (algorithm.kind, algorithm.curve) and (not self.alg or meant == algorithm)


def read_keys(answer: Fetched, who: str) -> tuple[VerificationKey, ...]:
    """The keys that are for signatures. Section 5 of it: what is not understood is passed over.

    Raises LoginUnavailable.
    """
    listed = read_document(answer, who, "list of keys").get("keys")
    if not isinstance(listed, list) or len(listed) > MOST:
        raise LoginUnavailable(f"{who} has no list of keys, or one of more than {MOST}")
    return tuple(_read_all(listed))


def _read_all(listed: list[object]) -> Iterator[VerificationKey]:
    for each in listed:
        if isinstance(each, dict) and each.get("use", "sig") == "sig" and _may_verify(each.get("key_ops")):
            try:
                key = _read_key(each)
            except (JoseError, KeyError, TypeError, ValueError):
                continue
            if key is not None:
                yield key


def _may_verify(operations: object) -> bool:
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def _read_key(found: Mapping[str, Any]) -> VerificationKey | None:
    make, members = _MEMBERS[found["kty"]]
    said = {name: found[name] for name in members}
    if "n" in said and not _FEWEST_BITS <= _count_bits(said["n"]) <= _MOST_BITS:
        return None
    kid, alg = found.get("kid", ""), found.get("alg", "")
    if not isinstance(kid, str) or not isinstance(alg, str):
        return None
    return VerificationKey(kid, found["kty"], said.get("crv", ""), alg, make.import_key({"kty": found["kty"], **said}))


def _count_bits(number: str) -> int:
    if len(number) > _MOST_BITS:
        return _MOST_BITS + 1
    return int.from_bytes(urlsafe_b64decode(number + "=" * (-len(number) % 4)), "big").bit_length()


def choose_key(keys: tuple[VerificationKey, ...], kid: str, algorithm: Algorithm) -> PublicKey | None:
    """The one key that a signature names, or, where it names none, the only one there is for it."""
    found = [each for each in keys if each.fits(algorithm) and kid in {"", each.kid}]
    return found[0].key if len(found) == 1 else None
