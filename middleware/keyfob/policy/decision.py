"""The verdict on one request. A denial is a value; only what cannot be read is an exception."""

from typing import NamedTuple

from keyfob.certificate import ClientCertificate
from keyfob.errors import CertificateError, Reason


class Identity(NamedTuple):
    """Who is at the door: a verified certificate, or the reason why there is none, and what was presented as PEM."""

    certificate: ClientCertificate | None
    error: CertificateError | None
    presented: tuple[str, ...]


class Allow(NamedTuple):
    """The app may be called, because `policy` of `application` matched."""

    application: str
    policy: str
    identity: Identity


class Deny(NamedTuple):
    """The app must not be called. `application` and `policy` are empty where no such thing was reached."""

    reason: Reason
    application: str
    policy: str
    identity: Identity


Decision = Allow | Deny
