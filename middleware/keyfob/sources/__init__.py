"""Where a certificate comes from. A source turns a request into the chain that was presented, and nothing more."""

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

from keyfob.addresses import Address
from keyfob.request import Request

# Certificates in PEM, the leaf first.
Chain = tuple[str, ...]


class Source(Protocol):
    """One way for a certificate to arrive."""

    def receive(self, scope: Mapping[str, Any], at: float) -> Request:
        """The Request in `scope`, at `at` seconds since the epoch; with `presented` if that takes no thought.

        Every request runs through it, so it does what can be done quickly and leaves the rest to `presented`.
        """
        ...

    def presented(self, request: Request) -> Hashable:
        """Exactly what arrived, to remember verdicts by. Raises CertificateError when nothing did."""
        ...

    def presents_nothing(self, request: Request) -> bool:
        """Whether it can be told at a glance that no certificate came, and nothing that could be taken for one."""
        ...

    def read(self, presented: Any) -> Chain:
        """The chain in what `presented` returned; never empty. Raises CertificateError when it is unreadable."""
        ...

    def find_client(self, request: Request) -> Address | None:
        """The client's own address, beyond every trusted proxy; None where nobody can tell."""
        ...

    def hides(self, name: bytes) -> bool:
        """Whether the app must not see a header of this name, because it reads like this source's own."""
        ...
