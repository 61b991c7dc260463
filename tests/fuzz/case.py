"""One request on its way from what a proxy writes to something else."""

from dataclasses import dataclass, field
from random import Random

from fuzz.issued import DEVICES, write_der
from fuzz.proxies import EVERYBODY, PROXIES, Headers, Proxy

_DEVICES = [write_der(each) for each in DEVICES.values()]


@dataclass
class Case:
    """One request on its way through the mutations. `origins` are the certificates that have gone into it."""

    format: str
    number: int
    random: Random
    origins: list[bytes]
    ders: list[bytes]
    value: bytes = b""
    headers: Headers = field(default_factory=list)
    kinds: tuple[str, ...] = ()

    @property
    def proxy(self) -> Proxy:
        return PROXIES[self.format]

    def pick_other(self) -> bytes:
        """Another certificate, which from now on is one of those that went in."""
        other = self.random.choice(_DEVICES)
        self.origins.append(other)
        return other

    def write_other(self) -> bytes:
        """The value that the same proxy would write for another device."""
        return self.proxy.write(self.random, [self.pick_other()])

    def __str__(self) -> str:
        names = [EVERYBODY.get(each, "?") for each in self.origins]
        return f"make_case({self.format!r}, {self.number}): {self.kinds} of {names}: {self.headers!r}"


def flip_bit(text: bytes, random: Random, start: int = 0, end: int | None = None) -> bytes:
    """The same with one bit changed between the two places; with a byte more if there is nothing there."""
    if len(text) <= start:
        return text + b"\0"
    at = random.randrange(start, min(end or len(text), len(text)))
    return text[:at] + bytes([text[at] ^ 1 << random.randrange(8)]) + text[at + 1 :]
