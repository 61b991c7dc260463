"""Doors for the fuzzed authority's devices, behind a proxy at 127.0.0.1."""

from collections.abc import Sequence
from ipaddress import IPv4Network

from exchanges import make_scope
from fuzz.issued import INTERMEDIATE, NOW, ROOT
from keyfob.gate import Gate
from keyfob.policy import Decision
from keyfob.request import SOCKET_PEER
from keyfob.sources.formats import Format
from keyfob.sources.headers import HeaderSource
from keyfob.sources.peers import Peers
from keyfob.trust import Roots
from sites import make_site

LOOPBACK = IPv4Network("127.0.0.0/8")
HOST = "money.example.com"
ROOTS = Roots((ROOT,), (INTERMEDIATE,))


def make_source(form: Format) -> HeaderSource:
    """The source of one format."""
    return HeaderSource(form, Peers([LOOPBACK]))


def make_gate(form: Format) -> Gate:
    """A gate that lets in every device, and nobody without a certificate."""
    return Gate(make_source(form), {HOST: make_site(ROOTS)}, ROOTS)


def ask(gate: Gate, headers: Sequence[tuple[bytes, bytes]], *, recorded: bool = True) -> Decision:
    """The verdict on a request with these headers, received as the ASGI skin receives it.

    It comes from the proxy; `recorded` says that a server of ours has seen that itself.
    """
    extensions = {SOCKET_PEER: {"client": ("127.0.0.1", 50000)}} if recorded else {}
    return gate.check(gate.source.receive(make_scope(None, host=HOST, headers=headers, extensions=extensions), NOW))
