"""The one path of a request, from what arrived to a verdict."""

import threading
from collections.abc import Mapping
from typing import NamedTuple

from keyfob.errors import CertificateError, ConfigError, Missing, Reason
from keyfob.policy import Application, Decision, Deny, Identity
from keyfob.request import Request
from keyfob.sources import Chain, Source
from keyfob.trust import Roots, Verifier

# How many chains one host remembers. Only chains that lead to a root get in, so strangers cannot fill it.
REMEMBERED = 8192


class Known(NamedTuple):
    """A chain that was verified before: who it is, and the seconds since the epoch between which that holds.

    `decision` is there when the application's rules look at nothing but the certificate.
    """

    identity: Identity
    not_before: float
    not_after: float
    decision: Decision | None


class Site:
    """What stands behind one host: its application, a verifier for its roots, and the devices seen before.

    Parsing, signatures and rules about the certificate are remembered by the exact text received. The time is looked
    at on every request, so what is remembered ends when the first certificate on the path does; and it lives no
    longer than the configuration, because a new one is a new Gate with new sites. Failures are not remembered.
    """

    def __init__(self, application: Application, verifier: Verifier) -> None:
        self.application = application
        self.known: dict[Chain, Known] = {}
        self._verifier = verifier
        self._writing = threading.Lock()

    def meet(self, request: Request, presented: Chain) -> Known:
        """Verifies a chain in full and remembers it. Raises CertificateError."""
        certificate, not_before, not_after = self._verifier.verify(presented, request.at)
        identity = Identity(certificate, None, presented)
        decision = None if self.application.looks_at_request else self.application.decide(request, identity)
        known = Known(identity, not_before, not_after, decision)
        with self._writing:
            if len(self.known) >= REMEMBERED:
                del self.known[next(iter(self.known))]
            self.known[presented] = known
        return known


class Gate:
    """Checks requests. Immutable once built: a new configuration is a new Gate.

    `sites` maps normalised host names to what they protect; `default` answers for every other host, and without it
    they are refused. `roots` is everything that any of the hosts trusts, for a TLS layer that has to know it.
    """

    def __init__(self, source: Source, sites: Mapping[str, Site], roots: Roots, default: Site | None = None) -> None:
        self.source = source
        self.roots = roots
        self._chain = source.chain
        self._sites = dict(sites)
        self._default = default

    def check(self, request: Request) -> Decision:
        """The only way to a verdict. One function, because every call costs as much as the look-ups in it."""
        host = request.host
        if host is None:
            return Deny(Reason.HOST_MALFORMED, "", "", UNSEEN)
        site = self._sites.get(host, self._default)
        if site is None:
            return Deny(Reason.HOST_UNKNOWN, "", "", UNSEEN)
        presented: Chain = ()
        try:
            presented = self._chain(request)
            known = site.known.get(presented)
            if known is None or not known.not_before <= request.at <= known.not_after:
                known = site.meet(request, presented)
        except CertificateError as error:
            # A policy may still match without a certificate; if none does, the reason is what gets recorded.
            return site.application.decide(request, Identity(None, error, presented))
        return known.decision or site.application.decide(request, known.identity)


class ClosedGate(Gate):
    """Stands where a gate could not be built: whoever comes, nobody gets a verdict, but the ConfigError."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(_NoSource(), {}, Roots((), ()))
        self.error = error

    def check(self, request: Request) -> Decision:
        """Raises the ConfigError."""
        raise self.error


class _NoSource:
    def chain(self, request: Request) -> Chain:
        """Nothing was configured to be read."""
        raise Missing("the configuration could not be read")


# Where the host alone is enough for a refusal, nobody has looked at a certificate.
UNSEEN = Identity(None, Missing("the request was refused before a certificate was looked for"), ())
