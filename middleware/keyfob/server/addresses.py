"""Under which names and addresses this machine can be reached."""

import ipaddress
import socket

import psutil

from keyfob.request import parse_host

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - names it, does not listen
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def find_hosts(listening: str = "") -> list[str]:
    """`localhost`, the host name (with `.local`, by which phones find it), and the machine's own addresses.

    And `listening`, the address that the server listens on, unless that is all of them. In the form that `parse_host`
    gives, each once. Link-local IPv6 addresses are left out: browsers cannot ask for them, because a URL has no place
    for the interface.
    """
    name = socket.gethostname().lower()
    names = [name] if "." in name else [name, f"{name}.local"]
    candidates = [*LOOPBACK, *names, *_interface_addresses()]
    if listening not in EVERYWHERE:
        candidates.append(listening)
    return list(dict.fromkeys(host for each in candidates if (host := _normalise(each)) is not None))


def _interface_addresses() -> list[str]:
    found = []
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            if entry.family in {socket.AF_INET, socket.AF_INET6}:
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                if not address.is_link_local:
                    found.append(str(address))
    return sorted(found)


def _normalise(host: str) -> str | None:
    return parse_host((f"[{host}]" if ":" in host else host).encode("utf-8"))
