"""addresses: what servers, configurations and forwarding headers write, and nothing that two programs read two ways."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.addresses import parse_address, parse_network, parse_node, split_forwarded, split_forwarded_for

# What some programs read as an address, and others as another one or as none.
NO_ADDRESS = [
    "",
    " ",
    "localhost",
    "127.1",
    "127.0.0.1.",
    "127.0.0.01",
    "0127.0.0.1",
    "0x7f.0.0.1",
    "2130706433",
    "127.0.0.1 ",
    " 127.0.0.1",
    "127.0.0.1\n",
    "127.0.0.1\x00",
    "127.0.0.256",
    "127.0.0.-1",
    "127.0.0.1/32",
    "١٢٧.0.0.1",
    "::1::",
    ":::1",
    "1:2:3:4:5:6:7",
    "::fffff",
    "::ffff:127.0.0.256",
    "::1/128",
]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.43", "192.0.2.43"),
        ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - read, not bound
        ("2001:DB8:CAFE::17", "2001:db8:cafe::17"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::ffff:192.0.2.43", "192.0.2.43"),
        ("::FFFF:c000:022b", "192.0.2.43"),
        ("0:0:0:0:0:ffff:192.0.2.43", "192.0.2.43"),
        ("::192.0.2.43", "::c000:22b"),
        ("64:ff9b::192.0.2.43", "64:ff9b::c000:22b"),
    ],
)
def test_an_address_is_what_it_means(text: str, address: str) -> None:
    """Every spelling of IPv6 is one address; an IPv4-mapped one is the IPv4 address; no other embedding is."""
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize("text", [*NO_ADDRESS, "127.0.0.1:80", "[::1]"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Octal, hexadecimal, short forms, ports, blanks: whoever reads them otherwise must not be followed."""
    assert parse_address(text) is None


def test_the_zone_of_a_link_local_address_is_part_of_it() -> None:
    """RFC 4007 section 6: the same digits on another interface are another machine."""
    assert parse_address("fe80::1%eth0") != parse_address("fe80::1%eth1")
    assert parse_address("fe80::1%eth0") != parse_address("fe80::1")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)
def test_a_network_is_what_it_means(text: str, network: str) -> None:
    """A network of IPv4-mapped addresses is one of IPv4, since its addresses are."""
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix",
        "localhost/8",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0.0/8/8",
        "10.0.0.0 /8",
        "10.0.0.0/8 ",
        "10.0.0/8",
        "10.*",
        "10.0.0.0-10.0.0.255",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.255.255.255",
        "10.0.0.0/08",
        "10.0.0.0/٨",
        "fe80::1%eth0",
        "fe80::%eth0/64",
        "2001:db8::1/32",
        "::/129",
        "::ffff:10.0.0.1/104",
        "[::1]",
    ],
)
def test_what_is_no_network_is_none(text: str) -> None:
    """Bits beyond the length, masks, and zones, which the look-up of an address in a network does not compare."""
    assert parse_network(text) is None


def test_a_network_wider_than_the_mapped_addresses_has_none_of_them() -> None:
    """IPv4-mapped addresses are IPv4 addresses here, so that trusting all of IPv6 trusts none of IPv4."""
    everywhere, loopback = parse_network("::/0"), parse_address("::ffff:127.0.0.1")
    assert everywhere is not None
    assert loopback not in everywhere


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.43", "192.0.2.43"),
        ("192.0.2.43:47011", "192.0.2.43"),
        ("[2001:db8:cafe::17]", "2001:db8:cafe::17"),
        ("[2001:db8:cafe::17]:4711", "2001:db8:cafe::17"),
        ("2001:db8:cafe::17", "2001:db8:cafe::17"),
        ("[::ffff:192.0.2.43]:80", "192.0.2.43"),
        ("::ffff:192.0.2.43", "192.0.2.43"),
    ],
)
def test_a_node_is_its_address(text: str, address: str) -> None:
    """RFC 7239 section 6: with a port or without; X-Forwarded-For has IPv6 without brackets, too."""
    assert parse_node(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        *NO_ADDRESS,
        "unknown",
        "_gazonk",
        "_SEVKISEK",
        "_hidden:80",
        "unknown:80",
        "[]",
        "[]:80",
        "[::1",
        "::1]",
        "[[::1]]",
        "[::1]80",
        "[::1]:",
        "[::1]:123456",
        "[::1]:eighty",
        "192.0.2.43:",
        "192.0.2.43:123456",
        "192.0.2.43:-1",
        "192.0.2.43:+80",
        "192.0.2.43:80:80",
        "192.0.2.43,192.0.2.44",
        '"192.0.2.43"',
        "for=192.0.2.43",
    ],
)
def test_a_node_without_an_address_is_none(text: str) -> None:
    """Unknown, a pseudonym, or nonsense: nobody to count as trusted, and nobody to compare a rule with."""
    assert parse_node(text) is None


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        ("", [""]),
        ("192.0.2.43", ["192.0.2.43"]),
        ("192.0.2.43, 198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        ("192.0.2.43,\t198.51.100.17 ,[::1]:80", ["192.0.2.43", "198.51.100.17", "[::1]:80"]),
        ("192.0.2.43,", ["192.0.2.43", ""]),
        (",,", ["", "", ""]),
        ("\xa0192.0.2.43", ["\xa0192.0.2.43"]),
    ],
)
def test_x_forwarded_for_is_a_list_of_hops(value: str, hops: list[str]) -> None:
    """An empty hop stays one: it stands for somebody, and whoever is nobody is not trusted."""
    assert list(split_forwarded_for(value)) == hops


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        # RFC 7239 sections 4 and 6: what its grammar and its prose show.
        ('for="_gazonk"', ["_gazonk"]),
        ('For="[2001:db8:cafe::17]:4711"', ["[2001:db8:cafe::17]:4711"]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        ("for=192.0.2.43, for=198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        ('for=192.0.2.43, for="[2001:db8:cafe::17]"', ["192.0.2.43", "[2001:db8:cafe::17]"]),
        ("for=unknown", ["unknown"]),
        ("for=_hidden, for=_SEVKISEK", ["_hidden", "_SEVKISEK"]),
        ('for="192.0.2.43:47011"', ["192.0.2.43:47011"]),
        ('for="192.0.2.43:_port"', ["192.0.2.43:_port"]),
        # Quoted pairs, and what only looks like the next pair or element.
        (r'for="192.0.2.\43"', ["192.0.2.43"]),
        (r'for="a\"b\\c"', [r'a"b\c']),
        ('for="192.0.2.43, for=192.0.2.44"', ["192.0.2.43, for=192.0.2.44"]),
        ('host="a;for=b,c";for=d', ["d"]),
        ('for=""', [""]),
        # An element without `for` is a hop that nobody knows; one without anything is none.
        ("proto=https", [""]),
        ("for=a, proto=https, for=b", ["a", "", "b"]),
        ("", []),
        (",", []),
        (" , ,for=a,, ", ["a"]),
        (";for=a;", ["a"]),
        (";;", []),
        # Blanks around separators, letter case, and parameters that nobody has registered.
        ("for=a ; proto=http ,\tfor=b", ["a", "b"]),
        ("FOR=a;By=b;hOsT=c;secret=d", ["a"]),
        ("x-for=a;for=b", ["b"]),
    ],
)
def test_forwarded_is_read_by_its_grammar(value: str, nodes: list[str]) -> None:
    """One node an element, in the order of the text."""
    assert list(split_forwarded(value)) == nodes


@pytest.mark.parametrize(
    "value",
    [
        "for",
        "for=",
        "=a",
        "for =a",
        "for= a",
        "for==a",
        "192.0.2.43",
        "for=[2001:db8::1]",
        "for=192.0.2.43:80",
        "for=2001:db8::1",
        'for="a',
        'for=a"',
        'for="a"b',
        'for="a\\"',
        'for="a" "b"',
        "for=a for=b",
        "for=a;for=b",
        "for=a;FOR=a",
        "by=a;by=b;for=c",
        "for=a;=b",
        "for=a,b",
        "for=\xe4",
        "for=a\x00",
        "for=a\n",
        "for='a b'",
        "(for=a)",
        "for=a, for=b@c",
    ],
)
def test_what_is_no_forwarded_field_raises(value: str) -> None:
    """A parameter twice in one element as well (RFC 7239 section 4): half a field names nobody."""
    with pytest.raises(ValueError, match=r"not a Forwarded field|stands twice"):
        list(split_forwarded(value))


def test_several_lines_are_read_one_after_the_other() -> None:
    """RFC 9110 section 5.3: lines of one name are one list, and a quoted string does not reach over a line's end."""
    lines = ["for=192.0.2.43", 'for="[2001:db8::1]", for=198.51.100.17']
    assert [node for line in lines for node in split_forwarded(line)] == list(split_forwarded(", ".join(lines)))
    with pytest.raises(ValueError, match="not a Forwarded field"):
        [node for line in ['for="a', 'b"'] for node in split_forwarded(line)]


HOSTILE = st.text(st.sampled_from('0123456789abcdefABCDEFg.:[]%/-_ \t"\\,;=for\x00\n\xa0\xff')) | st.text()


@settings(deadline=None)
@given(HOSTILE)
def test_any_text_is_an_address_or_none(text: str) -> None:
    """Nothing is raised, and what comes out means itself: written down and read again it is the same."""
    for address in (parse_address(text), parse_node(text)):
        assert address is None or parse_address(str(address)) == address
    network = parse_network(text)
    assert network is None or parse_network(str(network)) == network


@settings(deadline=None)
@given(HOSTILE)
def test_any_text_is_a_forwarding_header_or_a_value_error(text: str) -> None:
    """And no hop of X-Forwarded-For is lost."""
    assert len(list(split_forwarded_for(text))) == text.count(",") + 1
    try:
        nodes = list(split_forwarded(text))
    except ValueError:
        return
    assert len(nodes) <= text.count(",") + 1


@settings(deadline=None)
@given(st.ip_addresses(), st.none() | st.integers(0, 65535), st.booleans())
def test_every_address_comes_back(address: object, port: int | None, upper: bool) -> None:
    """Alone, as a node, and as the node of a Forwarded element."""
    text = str(address).upper() if upper else str(address)
    expected = parse_address(str(address))
    assert expected is not None
    node = text if port is None else f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
    assert parse_address(text) == parse_node(node) == expected
    [read] = split_forwarded(f'proto=https;for="{node}";by=_x')
    assert parse_node(read) == expected
