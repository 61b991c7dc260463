"""What a configuration defines by name, and its rules refer to."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from keyfob.addresses import Address, Network
from keyfob.errors import KeyfobError
from keyfob.policy.rules import Rules

T = TypeVar("T")
Item_contra = TypeVar("Item_contra", contravariant=True)


class UnknownName(KeyfobError):
    """A rule speaks of what the configuration does not define. `kind` and `name` say what; `known` is there."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"{name!r} is no {kind}")
        self.kind, self.name, self.known = kind, name, tuple(known)


class Holding(Protocol[Item_contra]):
    """Something that can tell whether it holds an item, however many it has."""

    def __contains__(self, item: Item_contra, /) -> bool: ...


class DeviceList(NamedTuple):
    """A file of devices: `names` holds common names, `fingerprints` SHA-256 fingerprints (32 octets each)."""

    names: Holding[str]
    fingerprints: Holding[bytes]


class Names(NamedTuple):
    """Everything that rules may refer to. What has a name and an id is here under both.

    `root_certificates` maps a name to the SHA-256 fingerprints of its roots; `email_lists` holds whole addresses.
    `providers` map to the id by which `User.provider` knows them; where there are none nobody can log in, so a rule may
    speak of any, and does not hold. `service_tokens` says whether anybody can show one. `find_country`
    gives the upper-case ISO 3166-1 code of an address, or None where nobody can tell, and is None itself without a
    database. `read_devices` takes the path as it is written and raises KeyfobError if the file cannot be used.
    `hides_header` says of a lower-case name whether the certificate source keeps such a header to itself.
    """

    groups: Mapping[str, Rules] = {}
    ip_lists: Mapping[str, tuple[Network, ...]] = {}
    root_certificates: Mapping[str, frozenset[bytes]] = {}
    email_lists: Mapping[str, Collection[str]] = {}
    providers: Mapping[str, str] = {}
    service_tokens: bool = False
    find_country: Callable[[Address], str | None] | None = None
    read_devices: Callable[[str], DeviceList] | None = None
    hides_header: Callable[[bytes], bool] | None = None


def look_up(kind: str, name: str, known: Mapping[str, T]) -> T:
    """What the configuration means by `name`. Raises UnknownName."""
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]
