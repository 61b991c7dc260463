"""Hosts, which is what cfssl calls alternative names: each is an address, a mail address, a URI or a host name."""

import ipaddress
import re
from collections.abc import Callable, Iterable
from email.utils import parseaddr
from typing import NamedTuple

from cryptography import x509

from keyfob.pki.cfssl.documents import Place

Warn = Callable[[str], None]

# With an underscore, which RFC 1123 does not know, but Active Directory and DNS do.
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\.?")
_MAIL = re.compile(r"[!#$%&'*+/=?^_`{|}~A-Za-z0-9.-]+@([A-Za-z0-9-]+)(\.[A-Za-z0-9-]+)*")
# RFC 3986, appendix A, but for where which character may stand.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
# What would be a URI, and was meant for an IPv6 address.
_NEARLY_ADDRESS = re.compile(r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]+")
_HOST_AND_PORT = re.compile(rf"{_HOST.pattern}:\d+")
LONGEST_HOST = 253


class Hosts(NamedTuple):
    """The alternative names of a certificate."""

    dns: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    addresses: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...] = ()
    uris: tuple[str, ...] = ()

    @property
    def names(self) -> list[x509.GeneralName]:
        """In the order of Go's library."""
        return [
            *map(x509.DNSName, self.dns),
            *map(x509.RFC822Name, self.emails),
            *map(x509.IPAddress, self.addresses),
            *map(x509.UniformResourceIdentifier, self.uris),
        ]

    def for_authority(self) -> "Hosts":
        """What of them cfssl leaves in an authority's certificate: its addresses."""
        return Hosts(addresses=self.addresses)


def read_hosts(texts: Iterable[str], place: Place, warn: Warn) -> Hosts:
    """The hosts that these texts name. An empty one, as in `"hosts": [""]`, names none. Raises PKIError."""
    found: dict[str, list[str]] = {"dns": [], "emails": [], "uris": []}
    addresses = []
    for index, text in enumerate(texts):
        if not text:
            warn(f"{place.at(index)}: is empty, and left out: cfssl would make an empty host name of it")
        elif (address := _read_address(text)) is not None:
            addresses.append(address)
        else:
            kind, value = _read_name(text, place.at(index))
            found[kind].append(value)
    return Hosts(tuple(found["dns"]), tuple(found["emails"]), tuple(addresses), tuple(found["uris"]))


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # A zone means something on one machine alone; a mapped address is the IPv4 address in it.
        return None if address.scope_id else address.ipv4_mapped or address
    return address


def _read_name(text: str, place: Place) -> tuple[str, str]:
    if _HOST.fullmatch(text) and len(text) <= LONGEST_HOST:
        return "dns", text
    mail = parseaddr(text)[1] if "@" in text and "/" not in text else ""
    if _MAIL.fullmatch(mail):
        return "emails", mail
    if _HOST_AND_PORT.fullmatch(text):
        place.fail(f"{text[:80]!r} is a host with a port", "leave the port out: certificates know none")
    if _URI.fullmatch(text) and not _NEARLY_ADDRESS.fullmatch(text):
        return "uris", text
    hint = "leave the spaces out" if " " in text else "write it in ASCII, as programs send it; IDNA has a form for that"
    return place.fail(f"{text[:80]!a} is no host name, address, mail address or URI", hint)


def parse_hosts(names: Iterable[x509.GeneralName], place: Place, warn: Warn) -> Hosts:
    """The alternative names that a request or a certificate has. Raises PKIError for what cfssl would drop."""
    found: dict[str, list[str]] = {"dns": [], "emails": [], "uris": []}
    addresses = []
    for each in names:
        match each:
            case x509.DNSName(value=""):
                warn(f"{place}: an empty host name is left out")
            case x509.DNSName(value=text) if _HOST.fullmatch(text):
                found["dns"].append(text)
            case x509.RFC822Name(value=text) if _MAIL.fullmatch(text):
                found["emails"].append(text)
            case x509.UniformResourceIdentifier(value=text) if _URI.fullmatch(text):
                found["uris"].append(text)
            case x509.IPAddress(value=ipaddress.IPv4Address() | ipaddress.IPv6Address() as address):
                addresses.append(address)
            case _:
                shown = str(each.value)[:80]
                place.fail(f"the alternative name {shown!a} ({type(each).__name__}) is not taken over", "leave it out")
    return Hosts(tuple(found["dns"]), tuple(found["emails"]), tuple(addresses), tuple(found["uris"]))
