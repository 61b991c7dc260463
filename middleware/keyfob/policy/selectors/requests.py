"""Selectors that look at the request: where it comes from, and what it asks for.

They are asked with every request, so whatever can be prepared is.
"""

import re
from collections.abc import Callable, Iterable
from hmac import compare_digest
from typing import Annotated

from pydantic import PlainValidator

from keyfob.addresses import Address, Network, parse_network
from keyfob.errors import KeyfobError
from keyfob.policy.decision import Identity
from keyfob.policy.rules import Test
from keyfob.policy.selectors.arguments import Argument, Name, read_text, read_word, wrong
from keyfob.policy.selectors.countries import COUNTRIES
from keyfob.policy.selectors.names import Names, look_up
from keyfob.policy.selectors.selector import Selector
from keyfob.policy.selectors.texts import Comparison, read_comparison
from keyfob.request import Request

NETWORKS = 'write "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32", without a port, and without bits beyond the length'


def read_network(value: object) -> Network:
    """One address or network in CIDR notation. Raises PydanticCustomError."""
    network = parse_network(value) if isinstance(value, str) else None
    if network is None:
        raise wrong(f"{value!r} is neither an address nor a network", NETWORKS)
    return network


class IP(Argument):
    """One address or network in CIDR notation, IPv4 or IPv6."""

    ip: Annotated[Network, PlainValidator(read_network)]


class IPList(Argument):
    """A list of networks, by its id or its name."""

    id: Name


def _ip(argument: IP, _: Names) -> Test:
    return _ask_address(_within([argument.ip]))


def _ip_list(argument: IPList, names: Names) -> Test:
    return _ask_address(_within(look_up("IP list", argument.id, names.ip_lists)))


def _ask_address(holds: Callable[[Address], bool | None]) -> Test:
    def test(request: Request, _: Identity) -> bool | None:
        client = request.client
        return None if client is None else holds(client)

    return test


def _within(networks: Iterable[Network]) -> Callable[[Address], bool]:
    """Whether an address is in one of many networks, in one look-up for each of the prefix lengths that they have."""
    prefixes: dict[tuple[int, int], set[int]] = {}
    for network in networks:
        beyond = network.max_prefixlen - network.prefixlen
        prefixes.setdefault((network.version, beyond), set()).add(int(network.network_address) >> beyond)
    by_version = {
        version: [(beyond, frozenset(found)) for (which, beyond), found in prefixes.items() if which == version]
        for version in (4, 6)
    }

    def contains(address: Address) -> bool:
        number = int(address)
        # any() with a generator takes five times as long.
        for beyond, found in by_version[address.version]:  # noqa: SIM110
            if number >> beyond in found:
                return True
        return False

    return contains


def _read_country(value: object) -> str:
    text = read_text(value)
    if text in _NO_COUNTRIES:
        raise wrong(f"{text!r} is no country of ISO 3166-1", _NO_COUNTRIES[text])
    return read_word("country of ISO 3166-1", {each: each for each in COUNTRIES})(text)


_NO_COUNTRIES = {"UK": 'did you mean "GB"?', "EL": 'did you mean "GR"?', "T1": "Tor is no country; use an ip_list"}


class Geo(Argument):
    """A country, by its two letters."""

    country_code: Annotated[str, PlainValidator(_read_country)]


def _geo(argument: Geo, names: Names) -> Test:
    wanted, find_country = argument.country_code, names.find_country
    if find_country is None:
        raise KeyfobError("there is no database of countries", 'write geoip = "GeoLite2-Country.mmdb" at the top')

    def holds(address: Address) -> bool | None:
        found = find_country(address)
        return None if found is None else found == wanted

    return _ask_address(holds)


# RFC 9110 section 9.3 and RFC 5789, WebDAV and its relatives as IANA lists them, and what caches call PURGE. CONNECT
# never gets as far as a rule.
_METHODS = """
GET HEAD POST PUT PATCH DELETE OPTIONS TRACE QUERY PURGE
ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF
MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE
UPDATEREDIRECTREF VERSION-CONTROL
"""


class Method(Argument):
    """One method, in capitals."""

    method: Annotated[str, PlainValidator(read_word("method", {each: each for each in _METHODS.split()}))]


def _method(argument: Method, _: Names) -> Test:
    wanted = argument.method

    def test(request: Request, _: Identity) -> bool | None:
        method = request.method
        if method == wanted:
            return True
        # RFC 9110 section 9.1: methods are case-sensitive. Some frameworks capitalise them all the same.
        return None if method.upper() == wanted else False

    return test


_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*")
# RFC 9110 section 5.5, without what is outside ASCII and without blanks at the ends, which servers take off.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")

# Names that say where a request comes from, which anybody can write; and what a server uses up for itself.
_CLIENTS = """
cf-connecting-ip fastly-client-ip fly-client-ip forwarded forwarded-for true-client-ip via x-appengine-user-ip
x-azure-clientip x-client-ip x-cluster-client-ip x-envoy-external-address x-forwarded x-original-forwarded-for
x-real-ip x-remote-ip
"""
_SERVERS = "connection content-length expect host keep-alive te trailer transfer-encoding upgrade"
FORWARDING, RESERVED = frozenset(_CLIENTS.split()), frozenset(_SERVERS.split())


def _read_header_name(value: object) -> bytes:
    text = read_text(value)
    name = text.lower()
    if _HEADER_NAME.fullmatch(text) is None:
        raise wrong(f"{text!r} is no header name", "write letters and digits, with hyphens between them")
    if name in FORWARDING or name.startswith("x-forwarded-"):
        raise wrong(f"anybody can write {text}", "ask for the client's address with an ip rule")
    if name in RESERVED:
        raise wrong(f"{text} is the server's own business", "name a header of the app's")
    return name.encode("ascii")


def _read_header_value(value: object) -> bytes:
    comparison, text = read_comparison(value)
    if comparison is not Comparison.EQUALS:
        raise wrong("a header is compared whole", 'write value = "…"')
    if _HEADER_VALUE.fullmatch(text) is None:
        raise wrong(f"{text!r} is no header's value", "write printable ASCII, without blanks at the ends")
    return text.encode("ascii")


class Header(Argument):
    """One header, and its whole value."""

    name: Annotated[bytes, PlainValidator(_read_header_name)]
    value: Annotated[bytes, PlainValidator(_read_header_value)]


def _header(argument: Header, names: Names) -> Test:
    wanted, value = argument.name, argument.value
    if names.hides_header is not None and names.hides_header(wanted):
        said = f"{wanted.decode('ascii')} belongs to the source of certificates"
        raise KeyfobError(said, "use the certificate's own selectors")
    length = len(wanted)

    def test(request: Request, _: Identity) -> bool | None:
        found: bytes | None = None
        for name, text in request.headers:
            if len(name) == length and name.translate(_HYPHENS) == wanted:
                # Who reads which of two is anybody's guess, and so is who takes an underscore for a hyphen.
                if found is not None or name != wanted:
                    return None
                found = text
        return False if found is None else _compare_field(found, value)

    return test


# RFC 3875 section 4.1.18: in an environment, `X_Role` and `X-Role` are one. Some gateways merge dots as well.
_HYPHENS = bytes.maketrans(b"_.", b"--")


def _compare_field(found: bytes, wanted: bytes) -> bool | None:
    """RFC 9110 section 5.2: servers may join a header that came twice with commas, and then it came twice.

    In constant time, because such a value may be a secret.
    """
    if compare_digest(found, wanted):
        return True
    return None if b"," in found and wanted in map(bytes.strip, found.split(b",")) else False


REQUEST_SELECTORS = {
    "ip": Selector(IP, _ip, '{ ip = { ip = "192.0.2.0/24" } }', looks_at_request=True, looks_at_client=True),
    "ip_list": Selector(
        IPList, _ip_list, '{ ip_list = { id = "Office" } }', looks_at_request=True, looks_at_client=True
    ),
    "geo": Selector(Geo, _geo, '{ geo = { country_code = "PT" } }', looks_at_request=True, looks_at_client=True),
    "method": Selector(Method, _method, '{ method = { method = "GET" } }', looks_at_request=True),
    "header": Selector(
        Header, _header, '{ header = { name = "X-Requested-With", value = "XMLHttpRequest" } }', looks_at_request=True
    ),
}
