"""pki.cfssl.hosts: which kind of alternative name a text is."""

from ipaddress import ip_address

import pytest
from cryptography import x509

from keyfob.errors import PKIError
from keyfob.pki.cfssl.documents import Place
from keyfob.pki.cfssl.hosts import Hosts, parse_hosts, read_hosts

PLACE = Place("x.json", "hosts")


def read(*texts: str) -> Hosts:
    return read_hosts(texts, PLACE, pytest.fail)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.example", Hosts(dns=("a.example",))),
        ("localhost", Hosts(dns=("localhost",))),
        ("*.a.example", Hosts(dns=("*.a.example",))),
        ("_acme.a_b.example.", Hosts(dns=("_acme.a_b.example.",))),
        ("XN--BCHER-KVA.example", Hosts(dns=("XN--BCHER-KVA.example",))),
        ("1.2.3", Hosts(dns=("1.2.3",))),
        ("10.0.0.1", Hosts(addresses=(ip_address("10.0.0.1"),))),
        ("2001:DB8::1", Hosts(addresses=(ip_address("2001:db8::1"),))),
        ("::ffff:10.0.0.1", Hosts(addresses=(ip_address("10.0.0.1"),))),
        ("a+b@example.com", Hosts(emails=("a+b@example.com",))),
        ("Ann <ann@example.com>", Hosts(emails=("ann@example.com",))),
        ("https://a.example/b?c", Hosts(uris=("https://a.example/b?c",))),
        ("spiffe://example/app", Hosts(uris=("spiffe://example/app",))),
        (
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            Hosts(uris=("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",)),
        ),
        ("https://a@b.example/", Hosts(uris=("https://a@b.example/",))),
    ],
)
def test_each_kind_is_told_by_its_form(text: str, hosts: Hosts) -> None:
    """As newer ones of cfssl tell it."""
    assert read(text) == hosts


@pytest.mark.parametrize(
    "text",
    [
        *("a b", " a", "a\n", "bücher.example", "a..b", "-a.example", "a-.example", "a.*.example", "*", "*.", "."),
        *(
            "a.example:443",
            "fe80::1%eth0",
            "fe80::1::2",
            "2001:db8::10000",
            "a:%zz",
            "/a/b",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a@é.example",
            "a" * 64 + ".example",
        ),
        *("a." * 127, "a\0b", "http://a b/", "ht_tp://a", "a\u202eb", "10.0.0.0/8"),
    ],
)
def test_what_no_program_would_ask_for_is_refused(text: str) -> None:
    """With its place in the list."""
    with pytest.raises(PKIError, match=r"^x\.json: hosts\[1\]: ") as caught:
        read("a.example", text)
    assert caught.value.hint


def test_an_empty_host_is_left_out_aloud() -> None:
    """cfssl makes an empty name of it, which some verifiers refuse the whole certificate for."""
    said: list[str] = []
    assert read_hosts(["", "a", ""], PLACE, said.append) == Hosts(dns=("a",))
    assert [line.partition(": is empty")[0] for line in said] == ["x.json: hosts[0]", "x.json: hosts[2]"]


def test_names_stand_in_gos_order() -> None:
    """Host names, mail addresses, addresses, URIs; each kind in its own order."""
    hosts = read("https://a/", "10.0.0.1", "a@b.example", "z.example", "a.example")
    assert [each.value for each in hosts.names] == [
        *("z.example", "a.example", "a@b.example", ip_address("10.0.0.1"), "https://a/"),
    ]
    assert parse_hosts(hosts.names, PLACE, pytest.fail) == hosts


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("a b"),
        x509.RFC822Name("a"),
        x509.UniformResourceIdentifier("a b"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.DirectoryName(x509.Name([])),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    ],
    ids=lambda name: type(name).__name__,
)
def test_what_a_request_has_and_cfssl_would_drop_is_refused(name: x509.GeneralName) -> None:
    """A certificate for less than was asked for is a surprise."""
    with pytest.raises(PKIError, match="is not taken over"):
        parse_hosts([name], PLACE, pytest.fail)
