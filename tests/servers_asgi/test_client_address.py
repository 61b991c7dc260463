"""The client's own address, for `ip` rules: from the headers of trusted proxies, and of nobody else."""

import pytest

from deploy.forgeries import Headers
from deploy.wire import Answer
from servers_asgi.rewriting import REWRITING
from servers_asgi.spellings import forge_for
from servers_asgi.starting import EVERY, SERVERS, Fleet
from servers_asgi.wire import PROXY, STRANGER, ask, ask_websocket

# The proxies believed here are 127.0.0.1, 10.0.0.0/8 and 2001:db8:1::/48; the office is 203.0.113.0/24 and
# 2001:db8:0ff1:ce::/64, and needs no certificate.
OFFICE = [
    ["203.0.113.7"],
    ["203.0.113.7, 10.0.0.5"],
    ["198.51.100.1, 203.0.113.7, 10.0.0.5, 10.9.9.9"],
    ["198.51.100.1, 203.0.113.7", "10.0.0.5"],
    ["203.0.113.7:51234"],
    ["203.0.113.7, [2001:db8:1::5]:443"],
    ["2001:db8:ff1:ce::1"],
    ["2001:0DB8:0FF1:00CE:0:0:0:1, 10.0.0.5"],
    ["[2001:db8:ff1:ce::1]:51234"],
    ["::ffff:203.0.113.7"],
    ["[::ffff:203.0.113.7]:51234, ::ffff:10.0.0.5"],
    ["  203.0.113.7  ,\t10.0.0.5"],
]
# What stands to the left is nobody's business where the peer is known for certain. Elsewhere it may be what some other
# program took for the peer's address.
OFFICE_BESIDE_NONSENSE = [["garbage, 203.0.113.7"], ["203.0.113.7:port, 203.0.113.7"], [", 203.0.113.7"]]
ELSEWHERE = [
    ["198.51.100.1"],
    # The left of the nearest stranger is what that stranger wrote.
    ["203.0.113.7, 198.51.100.1"],
    ["203.0.113.7, 198.51.100.1, 10.0.0.5"],
    ["203.0.113.7", "198.51.100.1"],
    ["203.0.113.7, garbage"],
    ["203.0.113.7, garbage, 10.0.0.5"],
    ["203.0.113.7, unknown"],
    ["203.0.113.7,"],
    ["203.0.113.7, ,10.0.0.5"],
    [""],
    ["203.0.113.7, "],
    ["garbage"],
    ["203.0.113.7 10.0.0.5"],
    ["203.0.113.7%a"],
    ["::ffff:203.0.113.7%a=b"],
    ["203.0.113.7.1"],
    ["203.0.113.007"],
    ["0xcb.0.113.7"],
    ["2001:db8:ff1:cf::1"],
    ["::203.0.113.7"],
    ["10.0.0.5"],
    ["203.0.113.7:port"],
    ["[203.0.113.7"],
    ['"203.0.113.7"'],
]
FORGED = [["203.0.113.7:+80"], ["[203.0.113.7]:port"], ["::ffff:203.0.113.7%a b"]]
# RFC 7239: the same in its own words.
OFFICE_FORWARDED = [
    ["for=203.0.113.7"],
    ["For=203.0.113.7;proto=https, for=10.0.0.5"],
    ['for="203.0.113.7:51234"'],
    ['for="[2001:db8:ff1:ce::1]"'],
    ['for="[2001:db8:ff1:ce::1]:51234";by=10.0.0.5, for=10.0.0.5'],
    ['for=198.51.100.1, for="203.0.113.7"'],
    ["for=198.51.100.1", "for=203.0.113.7"],
    ['host="a, for=198.51.100.1"; for=203.0.113.7'],
    ['for="203.0.113.\\7"'],
    # RFC 9110 section 5.6.1: an empty element is none.
    ["for=203.0.113.7, "],
]
ELSEWHERE_FORWARDED = [
    ["for=203.0.113.7, for=198.51.100.1"],
    ["for=203.0.113.7", "for=198.51.100.1"],
    ["for=203.0.113.7, for=unknown"],
    ["for=203.0.113.7, for=_hidden"],
    ["for=203.0.113.7, proto=https"],
    ["for=203.0.113.7;for=203.0.113.8"],
    ['for="203.0.113.7'],
    ['for=198.51.100.1;host="a, for=203.0.113.7"'],
    ["203.0.113.7"],
    ["by=203.0.113.7"],
    ["for=203.0.113.7:51234"],
    [""],
]

# Servers on which a proxy may write what it likes about the client.
KEEPING = [name for name, server in SERVERS.items() if not server.rewrites]


def is_in_the_office(answer: Answer) -> bool:
    return answer.reached_the_app


def forwarded(lines: list[str], header: str = "X-Forwarded-For") -> Headers:
    return [(header, line) for line in lines]


class TestForwardedFor:
    @pytest.mark.parametrize("name", KEEPING)
    def test_names_the_first_address_from_the_right_that_is_no_proxy(self, fleet: Fleet, name: str) -> None:
        """Over several hops, in IPv4, IPv6 and in between, with a port and without."""
        at = fleet.on_port(name).at
        assert [lines for lines in OFFICE if not is_in_the_office(ask(at, "/office", forwarded(lines)))] == []

    @pytest.mark.parametrize("name", KEEPING)
    def test_may_begin_with_nonsense_where_the_peer_is_known(self, fleet: Fleet, name: str) -> None:
        """Elsewhere nothing in it counts, then."""
        at = fleet.on_port(name).at
        let_in = [is_in_the_office(ask(at, "/office", forwarded(lines))) for lines in OFFICE_BESIDE_NONSENSE]
        assert let_in == [SERVERS[name].knows_peer] * len(OFFICE_BESIDE_NONSENSE)

    @pytest.mark.parametrize("name", EVERY)
    def test_says_nothing_beyond_a_stranger_or_nonsense(self, fleet: Fleet, name: str) -> None:
        """What stands to the left of it is anybody's word."""
        at = fleet.on_port(name).at
        assert [lines for lines in ELSEWHERE if is_in_the_office(ask(at, "/office", forwarded(lines)))] == []

    @pytest.mark.parametrize("name", KEEPING)
    def test_counts_for_a_websocket(self, fleet: Fleet, name: str) -> None:
        """As for everything else."""
        at = fleet.on_port(name).at
        assert ask_websocket(at, "/office", forwarded(["203.0.113.7"])).status == 101
        assert ask_websocket(at, "/office", forwarded(["198.51.100.1"])).status in {401, 403}

    @pytest.mark.parametrize("name", EVERY)
    def test_of_a_stranger_counts_for_nothing(self, fleet: Fleet, name: str) -> None:
        """Whoever is no proxy is where it is."""
        at = fleet.on_port(name).at
        lines = [*OFFICE, *ELSEWHERE, *FORGED]
        asked = {str(each): ask(at, "/office", forwarded(each), source=STRANGER) for each in lines}
        assert [each for each, answer in asked.items() if is_in_the_office(answer)] == []

    @pytest.mark.parametrize("door", ["office-secret", "office-tls"])
    @pytest.mark.parametrize("name", EVERY)
    def test_counts_for_nothing_where_no_address_is_trusted(self, fleet: Fleet, name: str, door: str) -> None:
        """Without the secret, or where nobody stands between: not even what a middleware makes of it."""
        at = fleet.on_port(name).at
        let_in = {
            (rewriting, line)
            for rewriting in REWRITING
            for [line] in (["203.0.113.7"], *FORGED)
            if is_in_the_office(ask(at, f"/{door}/{rewriting}".rstrip("/"), forge_for(rewriting, line)))
        }
        assert let_in == set()

    @pytest.mark.parametrize("name", EVERY)
    def test_in_other_words_counts_for_nothing(self, fleet: Fleet, name: str) -> None:
        """One header is believed, and not whatever else may hold an address."""
        at = fleet.on_port(name).at
        for header in ("Forwarded", "X-Real-IP", "X_Forwarded_For", "X.Forwarded.For", "X-Client-IP", "Forwarded-For"):
            for value in ("203.0.113.7", "for=203.0.113.7"):
                assert not is_in_the_office(ask(at, "/office", [(header, value)]))


class TestForwarded:
    """With client_address = "Forwarded"."""

    @pytest.mark.parametrize("name", KEEPING)
    def test_names_the_first_address_from_the_right_that_is_no_proxy(self, fleet: Fleet, name: str) -> None:
        """RFC 7239 section 4, quoted strings included."""
        at = fleet.on_port(name).at
        asked = {str(lines): ask(at, "/office-forwarded", forwarded(lines, "Forwarded")) for lines in OFFICE_FORWARDED}
        assert [lines for lines, answer in asked.items() if not is_in_the_office(answer)] == []

    @pytest.mark.parametrize("name", EVERY)
    def test_says_nothing_beyond_a_stranger_or_nonsense(self, fleet: Fleet, name: str) -> None:
        """An element without an address, or one that nobody can read, ends it."""
        at = fleet.on_port(name).at
        for source in (PROXY, STRANGER):
            lines = ELSEWHERE_FORWARDED if source == PROXY else [*ELSEWHERE_FORWARDED, *OFFICE_FORWARDED]
            asked = {
                str(each): ask(at, "/office-forwarded", forwarded(each, "Forwarded"), source=source) for each in lines
            }
            assert [each for each, answer in asked.items() if is_in_the_office(answer)] == []

    @pytest.mark.parametrize("name", KEEPING)
    def test_is_not_x_forwarded_for(self, fleet: Fleet, name: str) -> None:
        """One of the two is believed."""
        assert not is_in_the_office(ask(fleet.on_port(name).at, "/office-forwarded", forwarded(["203.0.113.7"])))
