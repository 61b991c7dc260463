"""Everything keyfob raises, and every reason it gives for a refusal.

KeyfobError
├── ConfigError             start-up: every problem of a configuration at once, each with its place and a hint
├── PKIError                keys and certificates could not be made, read or stored
├── ServeError              the server cannot start: its port, its files, or a source it cannot feed
├── MiddlewareMissing       the app asked for a certificate, but no AccessMiddleware looked for one
├── UnknownScope            an ASGI scope type that nobody can vouch for
└── CertificateError        this request's certificate, each with its own Reason
    ├── Missing             none was presented
    ├── NotRequested        the server cannot have asked for one
    ├── Malformed           what was presented cannot be read as certificates
    ├── Untrusted           no path to a root of this host
    ├── Expired             past notAfter, somewhere on the path
    ├── NotYetValid         before notBefore, somewhere on the path
    ├── WrongPurpose        readable, but not a TLS client's certificate
    └── Revoked             withdrawn by its issuer
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a request was refused: the closed set that audit records, problem details and tests speak of."""

    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_NOT_REQUESTED = "certificate-not-requested"
    CERTIFICATE_MALFORMED = "certificate-malformed"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_WRONG_PURPOSE = "certificate-wrong-purpose"
    CERTIFICATE_REVOKED = "certificate-revoked"
    HOST_MALFORMED = "host-malformed"
    HOST_UNKNOWN = "host-unknown"
    BLOCKED_BY_POLICY = "blocked-by-policy"
    NO_MATCHING_POLICY = "no-matching-policy"


class KeyfobError(Exception):
    """The root of the tree above; `message` says what and where, `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class Problem(NamedTuple):
    """One thing that is wrong with a configuration: `place` is a path such as `applications[0].domain`."""

    place: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        said = f"{self.place}: {self.message}" if self.place else self.message
        return f"{said} (hint: {self.hint})" if self.hint else said


class ConfigError(KeyfobError):
    """A configuration that cannot be obeyed exactly; `problems` lists every reason why, `source` names the file."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            place, message, hint = self.problems[0]
            super().__init__(": ".join(part for part in (source, place, message) if part), hint)
        else:
            lines = "".join(f"\n  {problem}" for problem in self.problems)
            super().__init__(f"{source}: {len(self.problems)} problems{lines}")


class PKIError(KeyfobError):
    """Keys or certificates could not be made, read or stored."""


class ServeError(KeyfobError):
    """The server cannot start as asked."""


class MiddlewareMissing(KeyfobError):
    """The app asked for a certificate, but the request never passed an AccessMiddleware."""


class UnknownScope(KeyfobError):
    """An ASGI scope type other than http, websocket and lifespan: it never reaches the app."""


class CertificateError(KeyfobError):
    """Why this request has no certificate. Each class has one stable `reason`; `message` is for the log alone."""

    reason: Reason


class Missing(CertificateError):
    """No certificate was presented."""

    reason = Reason.CERTIFICATE_MISSING


class NotRequested(CertificateError):
    """The server handed over nothing about TLS, so it cannot have asked for a certificate."""

    reason = Reason.CERTIFICATE_NOT_REQUESTED


class Malformed(CertificateError):
    """What was presented cannot be read as a chain of X.509 certificates."""

    reason = Reason.CERTIFICATE_MALFORMED


class Untrusted(CertificateError):
    """No path leads from the certificate to a root of this host."""

    reason = Reason.CERTIFICATE_UNTRUSTED


class Expired(CertificateError):
    """The certificate, or one above it, has ended."""

    reason = Reason.CERTIFICATE_EXPIRED


class NotYetValid(CertificateError):
    """The certificate, or one above it, has not begun."""

    reason = Reason.CERTIFICATE_NOT_YET_VALID


class WrongPurpose(CertificateError):
    """The certificate is real, but it is not a TLS client's: a server's, a CA's, or one that may not sign."""

    reason = Reason.CERTIFICATE_WRONG_PURPOSE


class Revoked(CertificateError):
    """The certificate was withdrawn by its issuer."""

    reason = Reason.CERTIFICATE_REVOKED
