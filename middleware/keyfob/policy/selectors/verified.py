"""What the selectors that look at the verified certificate have in common."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from cryptography import x509

from keyfob.certificate import ClientCertificate
from keyfob.policy.decision import Identity
from keyfob.policy.rules import Test
from keyfob.request import Request

Extension = TypeVar("Extension", bound=x509.ExtensionType)


def ask_certificate(ask: Callable[[ClientCertificate], bool | None]) -> Test:
    """A test that asks the certificate alone; without one it does not hold."""

    def test(_: Request, identity: Identity) -> bool | None:
        return False if identity.certificate is None else ask(identity.certificate)

    return test


def find_extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """The one extension of this kind, or None; a certificate that has it twice was unreadable."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def all_hold(answers: Iterable[bool | None]) -> bool | None:
    """True if all do, False if one does not, and None where that hangs on what nobody can tell."""
    found = set(answers)
    return False if False in found else None if None in found else True
