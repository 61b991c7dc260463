"""audit.floods: who is limited by what, and that it needs little memory."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from keyfob.addresses import Address
from keyfob.audit import floods
from keyfob.audit.floods import Flood, find_sender

LOUD, QUIET = ip_address("203.0.113.7"), ip_address("192.0.2.1")


def count(flood: Flood, client: Address | None, attempts: int, now: float) -> int:
    """How many of so many refusals at one moment are kept."""
    return sum(flood.keeps_refusal(client, "host-unknown", now) for _ in range(attempts))


def test_one_address_has_its_share_and_no_more() -> None:
    """50 at once, 5 a second after that."""
    flood = Flood()
    assert count(flood, LOUD, 1000, 1e9) == 50
    assert count(flood, LOUD, 1000, 1e9 + 2) == 10


def test_one_address_cannot_silence_another() -> None:
    """However long and loud it is."""
    flood = Flood()
    for second in range(600):
        count(flood, LOUD, 200, 1e9 + second)
        assert flood.keeps_refusal(QUIET, "host-unknown", 1e9 + second)


def test_all_addresses_together_are_limited_too() -> None:
    """100 at once, 20 a second after that."""
    flood = Flood()
    many = [ip_address(0xC0000200 + n) for n in range(500)]
    assert sum(count(flood, each, 1, 1e9) for each in many) == 100
    assert sum(count(flood, each, 1, 1e9 + 3) for each in many) == 60


def test_rates_fill_up_to_the_burst_and_no_further() -> None:
    """A quiet night does not save up for a loud day."""
    flood = Flood()
    assert count(flood, LOUD, 1000, 1e9) == 50
    assert count(flood, LOUD, 1000, 1e9 + 86400) == 50


def test_a_clock_that_is_put_back_opens_nothing() -> None:
    """And stops nothing for long."""
    flood = Flood()
    count(flood, LOUD, 1000, 1e9)
    assert count(flood, LOUD, 1000, 1e9 - 3600) == 0
    assert count(flood, LOUD, 1000, 1e9 - 3598) == 10


def test_senders_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever is loudest is not forgotten for the newcomers."""
    monkeypatch.setattr(floods, "SENDERS", 10)
    monkeypatch.setattr(floods, "BURST", 1e6)
    flood = Flood()
    assert count(flood, LOUD, 1000, 1e9) == 50
    for n in range(1000):
        count(flood, ip_address(n), 1, 1e9)
        assert not flood.keeps_refusal(LOUD, "host-unknown", 1e9)
    assert len(flood._refusals._shares) == 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::", "0.0.0.0", False),  # noqa: S104 - nothing listens here
    ],
)
def test_a_sender_is_an_ipv4_address_or_a_slash_64(one: str, other: str, same: bool) -> None:
    """RFC 4291 section 2.5.1: what is behind the 64th bit is the client's to choose."""
    assert (find_sender(ip_address(one)) == find_sender(ip_address(other))) is same


def test_those_whom_nobody_can_tell_share_one_place() -> None:
    """They silence themselves alone."""
    flood = Flood()
    assert count(flood, None, 1000, 1e9) == 50
    assert flood.keeps_refusal(QUIET, "host-unknown", 1e9)
    assert find_sender(None) not in {find_sender(IPv4Address(0)), find_sender(IPv6Address(0))}
