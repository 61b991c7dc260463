"""pki.cfssl.requests: every field of a CSR's JSON is obeyed, or refused by name."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_authority
from keyfob.errors import PKIError
from keyfob.pki.cfssl.requests import (
    KEYS,
    AuthorityWish,
    choose_hash,
    describe_certificate,
    make_csr,
    read_csr,
    read_request,
    read_subject_document,
    require_key,
)

EXTENSION = {"Id": [1, 2, 3, 4], "Critical": True, "Value": base64.b64encode(b"\x05\x00").decode()}


def read(**more: Any) -> Any:
    return read_request(json.dumps({"CN": "x", **more}).encode(), "x.json", pytest.fail)


def test_every_field_reaches_the_csr() -> None:
    """One value of each."""
    request = read(
        names=[{"O": "o"}],
        hosts=["a.example"],
        key={"algo": "ecdsa", "size": 384},
        ca={"pathlen": 1, "expiry": "2h", "backdate": "1h"},
        serialnumber="7",
        extensions=[EXTENSION],
        crl_url="http://a/",
        delegation_enabled=False,
    )
    assert request.authority == AuthorityWish(1, timedelta(hours=2), timedelta(hours=1))
    assert request.crl_url == "http://a/"
    key = request.generate()
    csr = make_csr(request, key)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP384R1)
    assert csr.public_key() == key.public_key()
    assert csr.subject.rfc4514_string() == "2.5.4.5=7,CN=x,O=o"
    assert [(each.oid.dotted_string, each.critical) for each in csr.extensions] == [
        *(("2.5.29.17", False), ("2.5.29.19", True), ("1.2.3.4", True)),
    ]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [7, ["seven", 7], [["seven"]], {"seven": 7}, True], ids=str)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key: str, value: object) -> None:
    """Whatever it is, the message has the place of it."""
    with pytest.raises(PKIError) as caught:
        read(**{key: value})
    assert caught.value.message.startswith(f"x.json: {key}")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"ca": {"pathlength": 1}}, "x.json: ca.pathlength: nothing is known of this key"),
        ({"ca": {"pathlen": 256}}, "x.json: ca.pathlen: 256 is no path length"),
        ({"ca": {"expiry": "1y"}}, "x.json: ca.expiry: '1y' is no duration"),
        ({"ca": {"backdate": "-1h"}}, "x.json: ca.backdate: '-1h' is no duration"),
        ({"key": {"algo": "rsa", "bits": 2048}}, "x.json: key.bits: nothing is known of this key"),
        ({"key": {"algo": "rsa", "size": 8193}}, "x.json: key.size: 8193 bits are no RSA key"),
        ({"key": {"algo": "dsa"}}, "x.json: key.algo: 'dsa' is no algorithm"),
        ({"extensions": [{**EXTENSION, "Value": "%"}]}, "x.json: extensions[0].Value: is no base64"),
        ({"extensions": [{**EXTENSION, "Value": "é"}]}, "x.json: extensions[0].Value: is no base64"),
        ({"extensions": [{**EXTENSION, "Id": [9, 9]}]}, "x.json: extensions[0].Id: '9.9' is no object identifier"),
        ({"extensions": [{**EXTENSION, "Id": [2, 5, 29, 17]}]}, "x.json: extensions[0].Id: has a key of its own"),
        ({"extensions": [{**EXTENSION, "Id": [2, 5, 29, 19]}]}, "x.json: extensions[0].Id: has a key of its own"),
        ({"extensions": [{**EXTENSION, "oid": "1.2"}]}, "x.json: extensions[0].oid: nothing is known of this key"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(more: dict[str, Any], message: str) -> None:
    """By name."""
    with pytest.raises(PKIError) as caught:
        read(**more)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_an_extension_twice_is_refused() -> None:
    """A CSR has each once."""
    request = read(extensions=[EXTENSION, EXTENSION])
    with pytest.raises(PKIError, match="twice"):
        make_csr(request, request.generate())


def test_keys_are_of_the_kind_that_is_asked_for() -> None:
    """P-256 if nothing is said."""
    assert read().generate().key_size == 256
    assert read(key={"algo": "ecdsa", "size": 521}).generate().key_size == 521
    made = read(key={"algo": "rsa", "size": 2056}).generate()
    assert isinstance(made, rsa.RSAPrivateKey)
    assert made.key_size == 2056


def test_no_hash_is_weaker_than_sha_256() -> None:
    """As strong as the key."""
    curves = ((ec.SECP256R1(), hashes.SHA256), (ec.SECP384R1(), hashes.SHA384), (ec.SECP521R1(), hashes.SHA512))
    for curve, kind in curves:
        assert isinstance(choose_hash(ec.generate_private_key(curve).public_key()), kind)
    for size, kind in ((2048, hashes.SHA256), (3072, hashes.SHA384)):
        numbers = rsa.RSAPublicNumbers(65537, (1 << size) - 1)
        assert isinstance(choose_hash(numbers.public_key()), kind)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        rsa.RSAPublicNumbers(65537, (1 << 2047) - 1).public_key(),
        rsa.RSAPublicNumbers(65537, (1 << 8193) - 1).public_key(),
    ],
    ids=["P-224", "secp256k1", "Ed25519", "RSA 2047", "RSA 8193"],
)
def test_other_keys_are_refused(key: object) -> None:
    """Weak ones, slow ones, and those that no phone imports."""
    with pytest.raises(PKIError, match=r"x\.csr has a key that is not used here"):
        require_key(key, "x.csr")


def test_a_csr_that_its_key_has_not_signed_is_refused() -> None:
    """Whoever sends it may not have the key."""
    request = read()
    csr = make_csr(request, request.generate())
    der = bytearray(csr.public_bytes(Encoding.DER))
    der[-1] ^= 1
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n" % base64.b64encode(bytes(der))
    assert read_csr(csr.public_bytes(Encoding.PEM), "x.csr") == csr
    with pytest.raises(PKIError, match=r"x\.csr is not signed by its own key"):
        read_csr(pem, "x.csr")
    with pytest.raises(PKIError, match=r"x\.csr cannot be read as a CSR"):
        read_csr(b"nothing", "x.csr")


def test_a_certificate_says_what_to_ask_for_again() -> None:
    """Subject, hosts and, of an authority, how long it was to live."""
    root = make_authority("Root", path_length=1).certificate
    request = describe_certificate(root, "ca.pem", pytest.fail)
    assert request.subject.common_name == "Root"
    assert request.authority == AuthorityWish(1, root.not_valid_after_utc - root.not_valid_before_utc)
    with pytest.raises(PKIError, match="says nothing about a new key"):
        request.generate()


def test_a_subject_has_its_own_document() -> None:
    """That of `cfssl sign`, with a serial number in other letters."""
    found = read_subject_document(b'{"CN": "x", "SerialNumber": "7", "names": [{"O": "o"}]}', "s.json")
    assert isinstance(found.as_name(), x509.Name)
    assert found.as_name().rfc4514_string() == "2.5.4.5=7,CN=x,O=o"
    with pytest.raises(PKIError, match=r"s\.json: hosts: nothing is known of this key"):
        read_subject_document(b'{"CN": "x", "hosts": []}', "s.json")
