"""Addresses as servers and forwarding headers write them."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# RFC 7239 section 6: an address, with a port or without; an IPv6 address with a port has brackets.
_NODE = re.compile(r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<ipv4>[0-9.]+))(?::[0-9]{1,5})?|(?P<ipv6>[0-9A-Fa-f:.]+)")


def parse_address(text: str) -> Address | None:
    """The address that `text` is; an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4 address in it."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.scope_id is not None and not _is_zoned(address):
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_zoned(address: IPv6Address) -> bool:
    """Whether the zone behind a percent sign can be one: RFC 4007 section 11 gives them to link-local addresses.

    ip_address takes nearly any text there, behind nearly any address.
    """
    return address.is_link_local and _ZONE.fullmatch(address.scope_id or "") is not None


_ZONE = re.compile(r"[0-9A-Za-z._-]{1,32}")


# Without the zones, masks and leading zeros that ip_network would take as well.
_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(?:/(?:0|[1-9][0-9]{0,2}))?")


def parse_network(text: str) -> Network | None:
    """The network that `text` is in CIDR notation, or the one address; None if bits stand beyond its length.

    A network of IPv4-mapped IPv6 addresses is the IPv4 network in it, as with addresses.
    """
    if _NETWORK.fullmatch(text) is None:
        return None
    try:
        network = ip_network(text)
    except ValueError:
        return None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network


def parse_node(text: str) -> Address | None:
    """The address of one hop of a forwarding header, its port left out; None for `unknown`, a pseudonym or nonsense."""
    match = _NODE.fullmatch(text)
    return parse_address(match["bracketed"] or match["ipv4"] or match["ipv6"]) if match else None


def split_forwarded_for(value: str) -> Iterator[str]:
    """The hops of an X-Forwarded-For field, in the order of its text."""
    return (hop.strip(" \t") for hop in value.split(","))


# RFC 7239 section 4, with the tokens and quoted strings of RFC 9110 section 5.6.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar's own word for it
_PAIR = re.compile(rf'[ \t]*+(?:({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?[ \t]*+(?:([,;])|\Z)')


def split_forwarded(value: str) -> Iterator[str]:
    """The `for` of each element of a Forwarded field, in the order of its text, empty where an element has none.

    Raises ValueError for what is no such field, or names a parameter twice in one element.
    """
    at, mark = 0, ","
    element: dict[str, str] = {}
    while mark:
        match = _PAIR.match(value, at)
        if match is None:
            raise ValueError("not a Forwarded field")
        name, bare, quoted, mark = (match[1] or "").lower(), match[2], match[3], match[4]
        if name in element:
            raise ValueError(f"{name} stands twice in one element")
        if name:
            element[name] = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = match.end()
        if mark != ";":
            # RFC 9110 section 5.6.1: an empty element of a list is no element.
            if element:
                yield element.get("for", "")
            element = {}
