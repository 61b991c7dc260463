"""Where a certificate comes from. A source turns a request into the chain that was presented, and nothing more."""

from typing import Protocol

from keyfob.request import Request

# Certificates in PEM, the leaf first, exactly as they were received: these texts are what verdicts are cached by.
Chain = tuple[str, ...]


class Source(Protocol):
    """One way for a certificate to arrive."""

    def chain(self, request: Request) -> Chain:
        """The chain that the other end presented; never empty. Raises CertificateError when there is none."""
        ...
