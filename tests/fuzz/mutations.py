"""Wrong requests made of right ones: in the certificate, in the header's value, and in the headers around it.

Every case has its own seed, `(format, number)`, and comes out the same on every machine: `make_case("nginx", 17)`.
"""

from random import Random

from fuzz.case import Case
from fuzz.issued import DEVICES, STRANGERS, write_der
from fuzz.proxies import INTERMEDIATE_DER, PROXIES, ROOT_DER, Proxy
from fuzz.wrong_certificates import CERTIFICATES
from fuzz.wrong_headers import HEADERS
from fuzz.wrong_values import VALUES

_DEVICES = [write_der(each) for each in DEVICES.values()]
_STRANGERS = [write_der(each) for each in STRANGERS.values()]
_INJECTING = {write_der(each) for name, each in DEVICES.items() if name.startswith("forger")}
_WATCH = write_der(DEVICES["watch"])

_ORDER: tuple[str, ...] = (*CERTIFICATES, *VALUES, *HEADERS)


def _applies(kind: str, proxy: Proxy) -> bool:
    """Whether there is anything for this mutation to change in what this proxy writes."""
    match kind.partition(":")[0]:
        case "xfcc":
            return proxy.encoding == "xfcc"
        case "percent" | "pem":
            return proxy.encoding in ("pem", "pem-chain", "xfcc")
        case "sequence":
            return proxy.encoding == "byte-sequence"
        case "verdict":
            return bool(proxy.proofs)
        case "chain header":
            return bool(proxy.chain)
    return True


# The mutations of each format.
KINDS = {name: tuple(kind for kind in _ORDER if _applies(kind, proxy)) for name, proxy in PROXIES.items()}


def make_case(name: str, number: int) -> Case:
    """The case of this seed."""
    random = Random(f"{name} {number}")  # noqa: S311 - a seed that can be had again is the point
    leaf = random.choice(_STRANGERS if random.random() < 0.15 else _DEVICES)
    above = [INTERMEDIATE_DER, ROOT_DER][random.randrange(2) :] if random.random() < 0.3 else []
    case = Case(name, number, random, [leaf], [leaf, *above])
    chosen = {random.choice(KINDS[name]) for _ in range(random.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 3)))}
    kinds = case.kinds = tuple(sorted(chosen, key=_ORDER.index))
    for kind in kinds:
        if kind in CERTIFICATES:
            CERTIFICATES[kind](case)
    case.value = case.proxy.write(random, case.ders or [b""])
    for kind in kinds:
        if kind in VALUES:
            case.value = VALUES[kind](case, case.value)
    case.headers = case.proxy.write_headers(random, case.ders, case.value)
    for kind in kinds:
        if kind in HEADERS:
            HEADERS[kind](case)
    if not _INJECTING.isdisjoint(case.origins) and not VALUES.keys().isdisjoint(kinds):
        # With the front of it cut off, such a value can be exactly what the proxy writes for the device in its names.
        case.origins.append(_WATCH)
    return case
