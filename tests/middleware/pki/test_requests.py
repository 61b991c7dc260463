"""pki.requests: what a certificate says is what programs and people both read in it."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import make_authority, make_leaf, make_name
from keyfob.errors import PKIError
from keyfob.pki.authority import Authority, DeviceRequest
from keyfob.pki.requests import (
    LARGEST_CSR,
    choose_kind,
    describe_kind,
    parse_signing_request,
    read_signing_request,
    repeat_request,
    require_request,
    require_text,
)

KEY = ec.generate_private_key(ec.SECP256R1())


def make_csr(key: Any = KEY, *extensions: x509.ExtensionType, subject: x509.Name | None = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


# --- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"emails": ("rhea@example.com", "r.h-e+a@mail.example.com", "x@localhost")},
        {"dns": ("phone.example.com", "phone", "xn--kche-0ra.example", "_x.example.com")},
        {"uris": ("https://example.com/phone?x=1", "urn:uuid:1", "spiffe://example.org/phone", "https://[::1]:8443/")},
        {"organization": "Rhea Group", "unit": "Küche & Co."},
    ],
)
def test_what_names_something_is_taken(fields: Mapping[str, Any]) -> None:
    """As it was typed."""
    request = DeviceRequest("Rhea Group", **fields)
    assert require_request(request) is request


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        *(
            ({"emails": (each,)}, "is no e-mail address")
            for each in (
                "",
                "rhea",
                "@example.com",
                "rhea@",
                "a@b@c",
                "Rhea <rhea@example.com>",
                "rhea@exa mple.com",
                "rhéa@example.com",
                ".rhea@example.com",
                "rhea@-example.com",
                "rhea@example..com",
                "rhea\n@example.com",
                "x" * 65 + "@example.com",
                "x" * 10_000,
            )
        ),
        *(
            ({"dns": (each,)}, "is no DNS name")
            for each in ("", ".", "a..b", "-a.example", "a b", "küche.example", "*.example.com", "a/b", "x" * 64, "a\0")
        ),
        *(
            ({"uris": (each,)}, "is no URI")
            for each in (
                "",
                "phone",
                "//example.com",
                "http://",
                "http:///x",
                "http://[",
                "https://a:x/",
                "a b:c",
                "x:\n",
            )
        ),
        ({"uris": ("https://example.com/é",)}, "is no URI"),
        ({"uris": ("x:" + "y" * 10_000,)}, "is no URI"),
        ({"emails": ("rhea@example.com",) * 2}, "is there twice"),
        ({"organization": ""}, "cannot be an organization"),
        ({"unit": "x" * 65}, "cannot be a unit"),
        ({"unit": "a\u202eb"}, "cannot be seen"),
        ({"organization": "a\x1b[2J"}, "cannot be seen"),
        ({"organization": " Rhea"}, "cannot be seen"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_names_nothing_is_refused_with_an_example(fields: Mapping[str, Any], said: str) -> None:
    """Before anything is signed; the error can be printed, and is short."""
    with pytest.raises(PKIError) as raised:
        require_request(DeviceRequest("Rhea Group", **fields))
    assert said in raised.value.message
    assert raised.value.hint
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 200


def test_the_name_is_held_against_the_rules_of_names() -> None:
    """They are elsewhere."""
    with pytest.raises(PKIError, match="in it, and files"):
        require_request(DeviceRequest("a/b"))
    with pytest.raises(PKIError, match="cannot be an authority's name"):
        require_text(" ", "authority's name")


# --- What a certificate says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        DeviceRequest("Rhea Group"),
        DeviceRequest("Rhea Group", 1, "O", "U", ("a@b.example", "c@d.example"), ("e", "f"), ("urn:x:1",)),
    ],
)
def test_what_was_asked_for_can_be_asked_for_again(request_: DeviceRequest) -> None:
    """Word for word, and for as many days."""
    certificate = Authority.create("Test").issue_device(request_).certificate
    assert repeat_request("Rhea Group", certificate) == request_


def test_a_certificate_that_says_more_is_not_repeated_as_less() -> None:
    """A renewal would lose it without a word."""
    authority = make_authority()
    more = (
        make_leaf(authority, make_name("Rhea Group", country_name="PT")),
        make_leaf(authority, make_name("Rhea Group", "Second")),
        make_leaf(
            authority, extensions=[(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("192.0.2.1"))]), False)]
        ),
    )
    for leaf in more:
        with pytest.raises(PKIError, match="says more than can be said again"):
            repeat_request("Rhea Group", leaf.certificate)


def test_kinds_are_called_as_options_call_them() -> None:
    """A kind that is not made here is followed by one that is."""
    assert describe_kind(KEY.public_key()) == choose_kind(KEY.public_key()) == "p256"
    odd = rsa.generate_private_key(65537, 2056).public_key()
    assert (describe_kind(odd), choose_kind(odd)) == ("rsa2056", "p256")
    assert describe_kind(ed25519.Ed25519PrivateKey.generate().public_key()) == "ed25519"
    assert describe_kind(ec.generate_private_key(ec.SECP521R1()).public_key()) == "secp521r1"


# --- Signing requests -----------------------------------------------------------------------------------------------


def test_a_request_brings_its_key_and_its_wishes_are_words(tmp_path: Path) -> None:
    """In PEM as in DER."""
    names = x509.SubjectAlternativeName([x509.DNSName("bank.example")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    der = make_csr(KEY, names, usage, subject=make_name("Mallory"))
    path = tmp_path / "it.csr"
    for data in (der, x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)):
        path.write_bytes(data)
        found = read_signing_request(path)
        assert found.public == KEY.public_key()
        assert (
            found.wishes
            == "the subject 'CN=Mallory', the extension SubjectAlternativeName, the extension ExtendedKeyUsage"
        )
    assert parse_signing_request(make_csr(), "it").wishes == ""


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (rsa.generate_private_key(65537, 1024), "a key that is not used here"),  # noqa: S505 - the one that is refused
        (ed25519.Ed25519PrivateKey.generate(), "a key that is not used here"),
        (ec.generate_private_key(ec.SECP521R1()), "a key that is not used here"),
    ],
)
def test_keys_that_phones_do_not_take_are_refused(key: Any, said: str) -> None:
    """Whoever has signed."""
    with pytest.raises(PKIError, match=said):
        parse_signing_request(make_csr(key), "it")


def test_a_request_that_its_key_has_not_signed_is_refused() -> None:
    """Somebody else's key would be certified under this name."""
    der = bytearray(make_csr())
    der[-1] ^= 1
    with pytest.raises(PKIError, match="the signature of it is not by its own key"):
        parse_signing_request(bytes(der), "it")


@pytest.mark.parametrize(
    "data", [b"", b"junk", b"-----BEGIN CERTIFICATE REQUEST-----\njunk", b"\x30\x80", make_csr()[:-9]]
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """In one line."""
    with pytest.raises(PKIError, match="it cannot be read as a signing request") as raised:
        parse_signing_request(data, "it")
    assert "\n" not in raised.value.message


def test_a_file_that_is_no_request_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, or larger than any."""
    (tmp_path / "large").write_bytes(b"x" * (LARGEST_CSR + 1))
    for name, said in (("missing", "No such file"), (".", "Is a directory"), ("large", "larger than any")):
        with pytest.raises(PKIError, match=said):
            read_signing_request(tmp_path / name)
