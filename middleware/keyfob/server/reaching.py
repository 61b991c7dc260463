"""Under which address a phone can reach this server, and whether it has to be told to trust it."""

import contextlib
import socket
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from keyfob.certificate import UNREADABLE
from keyfob.errors import ServeError
from keyfob.server.addresses import EVERYWHERE, LOOPBACK

# TEST-NET-1 of RFC 5737: an address behind the usual way out of here, to which nothing is ever sent.
_OUTSIDE = ("192.0.2.1", 9)


def choose_host(listening: str, certificate: x509.Certificate) -> str:
    """The address for others of a server that listens on `listening` and presents this certificate.

    One that the certificate names, if there is any: this machine's own, the one that is listened on, or else the
    certificate's first host name.
    """
    wanted = find_own(listening)
    names, addresses = _read_names(certificate)
    if wanted in {*names, *addresses}:
        return wanted
    public = [name for name in names if not name.startswith("*") and name not in LOOPBACK]
    return public[0] if public and listening not in LOOPBACK else wanted


def is_of(certificate: x509.Certificate, authorities: list[x509.Certificate]) -> bool:
    """Whether one of these authorities has issued it."""
    for authority in authorities:
        with contextlib.suppress(InvalidSignature, *UNREADABLE):
            certificate.verify_directly_issued_by(authority)
            return True
    return False


def read_chain(path: Path) -> list[x509.Certificate]:
    """The server's certificate, and what follows it in its file. Raises ServeError."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, *UNREADABLE) as error:
        raise ServeError(f"{path} cannot be read as certificates: {error}", "name the server's PEM file") from error


def find_own(listening: str) -> str:
    """The address of this machine by which others find a server that listens there."""
    if listening in LOOPBACK:
        return "localhost"
    if listening not in EVERYWHERE:
        return listening
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing, and asks the system which of its addresses it would use.
        probe.connect(_OUTSIDE)
        own: str = probe.getsockname()[0]
        return own
    return "localhost"


def _read_names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return [], []
    return names.get_values_for_type(x509.DNSName), [str(each) for each in names.get_values_for_type(x509.IPAddress)]
