"""server.reaching: under which name others find a server, as its certificate has it."""

import ipaddress

import pytest
from cryptography import x509

from certificates import SERVER, Pair, make_authority, make_leaf
from keyfob.server import reaching
from keyfob.server.reaching import choose_host, is_of


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority()


def make(authority: Pair, *names: str) -> x509.Certificate:
    """A server's certificate for host names and addresses."""
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    extension = x509.SubjectAlternativeName(alternatives)
    return make_leaf(authority, "server", usages=[SERVER], extensions=[(extension, False)]).certificate


@pytest.mark.parametrize(
    ("listening", "names", "chosen"),
    [
        ("127.0.0.1", ["localhost", "127.0.0.1"], "localhost"),
        ("192.0.2.20", ["localhost", "192.0.2.20"], "192.0.2.20"),
        ("0.0.0.0", ["localhost", "192.0.2.20"], "192.0.2.20"),  # noqa: S104
        ("::", ["localhost", "192.0.2.20"], "192.0.2.20"),
        # A public certificate names no address: then its own name is what people type.
        ("0.0.0.0", ["*.example.com", "money.example.com"], "money.example.com"),  # noqa: S104
        ("192.0.2.20", ["money.example.com"], "money.example.com"),
        # Nobody is sent to this machine's own address under another name.
        ("127.0.0.1", ["money.example.com"], "localhost"),
        ("192.0.2.99", ["localhost"], "192.0.2.99"),
    ],
)
def test_the_host_is_one_that_the_certificate_names(
    authority: Pair, monkeypatch: pytest.MonkeyPatch, listening: str, names: list[str], chosen: str
) -> None:
    """Where it names one; any other would make browsers warn."""
    find = reaching.find_own
    everywhere = ("0.0.0.0", "::")  # noqa: S104
    monkeypatch.setattr(reaching, "find_own", lambda host: "192.0.2.20" if host in everywhere else find(host))
    assert choose_host(listening, make(authority, *names)) == chosen


def test_an_address_of_this_machine_is_found_without_sending_anything() -> None:
    """By asking the system which it would use."""
    found = reaching.find_own("0.0.0.0")  # noqa: S104
    assert found == "localhost" or not ipaddress.ip_address(found).is_unspecified


def test_a_certificate_is_of_who_has_signed_it(authority: Pair) -> None:
    """And not of who has the same name."""
    certificate = make(authority, "localhost")
    assert is_of(certificate, [authority.certificate])
    assert not is_of(certificate, [make_authority().certificate])
    assert not is_of(certificate, [])
