"""pki.keys: the kinds that phones import, encrypted if somebody wants that, and nothing else."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keyfob.errors import PKIError
from keyfob.pki.keys import KEY_KINDS, choose_hash, generate_key, read_key, require_public_key, write_key
from keyfob.pki.requests import describe_kind


@pytest.mark.parametrize("kind", [kind for kind in KEY_KINDS if kind not in {"rsa3072", "rsa4096"}])
def test_every_kind_is_made_written_and_read(kind: str) -> None:
    """And is what it is called. (The larger ones of RSA take seconds.)"""
    key = generate_key(kind)
    assert describe_kind(key.public_key()) == kind
    assert read_key(write_key(key), "it").public_key() == key.public_key()


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """Ed25519 is one that no phone imports."""
    with pytest.raises(PKIError, match="'ed25519' is no kind of key") as raised:
        generate_key("ed25519")
    assert raised.value.hint == "choose one of p256, p384, rsa2048, rsa3072, rsa4096"


def test_a_key_with_a_passphrase_is_read_with_it_alone() -> None:
    """Not without one, nor with another one, and no error repeats what was said."""
    pem = write_key(generate_key(), "pässphrase")
    assert b"ENCRYPTED" in pem
    assert read_key(pem, "it", lambda: "pässphrase").key_size == 256
    with pytest.raises(PKIError, match="it is encrypted, and nobody said its passphrase"):
        read_key(pem, "it")
    with pytest.raises(PKIError, match="nobody said"):
        read_key(pem, "it", lambda: None)
    with pytest.raises(PKIError, match="it cannot be read as a key") as raised:
        read_key(pem, "it", lambda: "secret-and-wrong")
    assert "secret-and-wrong" not in repr(raised.value)


def test_nobody_is_asked_for_the_passphrase_of_a_key_that_has_none() -> None:
    """Who is asked without need learns to answer without thought."""

    def ask() -> str:
        raise AssertionError("asked")

    assert read_key(write_key(generate_key()), "it", ask).key_size == 256


@pytest.mark.parametrize("pem", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    """In one sentence, with the name that it was given."""
    with pytest.raises(PKIError, match="the file cannot be read as a key"):
        read_key(pem, "the file")


def test_keys_of_other_kinds_are_refused() -> None:
    """Private ones, and the public ones of devices: too short, too long, or on curves that few know."""
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(PKIError, match="a key of a kind that is not used here"):
        read_key(pem, "it")
    wrong = (
        ed25519.Ed25519PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        rsa.generate_private_key(65537, 1024).public_key(),  # noqa: S505 - the one that is refused
    )
    for key in wrong:
        with pytest.raises(PKIError, match="phone has a key that is not used here"):
            require_public_key(key, "phone")


def test_the_hash_is_as_strong_as_the_key() -> None:
    """And never SHA-1."""
    assert choose_hash(generate_key("p256")).name == "sha256"
    assert choose_hash(generate_key("p384")).name == "sha384"
    assert choose_hash(generate_key("rsa2048")).name == "sha256"
