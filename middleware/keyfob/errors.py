"""Everything keyfob raises, and every reason it gives for a refusal.

KeyfobError
├── ConfigError             start-up: every problem of a configuration at once, each with its place and a hint
├── PKIError                keys and certificates could not be made, read or stored
├── ServeError              the server cannot start: its port, its files, or a source it cannot feed
├── MiddlewareMissing       the app asked for a certificate, but no AccessMiddleware looked for one
├── UnknownScope            an ASGI scope type that nobody can vouch for
├── LoginError              this request's login, session or service token, each with its own Reason
│   ├── LoginFailed         the provider, or what it said, names nobody who could be let in
│   │   └── CodeWrong       a one-time code that is not the one that was sent; there may be another try
│   ├── LoginLapsed         it took too long, or began in another browser or at another host
│   ├── LoginUnavailable    the provider, the mail server or our own database does not answer, or not sensibly
│   ├── SessionOfAnotherDevice  a session that was begun with a certificate, without that certificate
│   ├── TokenMalformed      half a service token, or more than one
│   └── TokenInvalid        a service token that does not count, or never did
└── CertificateError        this request's certificate, each with its own Reason
    ├── Missing             none was presented
    ├── NotRequested        the server cannot have asked for one
    ├── Malformed           what was presented cannot be read as certificates
    ├── Untrusted           no path to a root of this host
    ├── Expired             past notAfter, somewhere on the path
    ├── NotYetValid         before notBefore, somewhere on the path
    ├── WrongPurpose        readable, but not a TLS client's certificate
    ├── Revoked             withdrawn by its issuer
    ├── StatusUnknown       nobody can tell now whether it was withdrawn
    ├── PeerNotTrusted      it came in a header, but not from a trusted proxy
    ├── PeerUnclear         it came in a header, and nobody can tell from whom
    └── HeaderError         the header that should hold it is ambiguous: refused whatever the policies say
        ├── HeaderMalformed twice, under an alias, or undecodable
        └── HeaderTooLarge  longer than the configuration allows
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
    CERTIFICATE_STATUS_UNKNOWN = "certificate-status-unknown"
    PEER_NOT_TRUSTED = "peer-not-trusted"
    PEER_UNCLEAR = "peer-unclear"
    HEADER_MALFORMED = "header-malformed"
    HEADER_TOO_LARGE = "header-too-large"
    HOST_MALFORMED = "host-malformed"
    HOST_UNKNOWN = "host-unknown"
    PATH_AMBIGUOUS = "path-ambiguous"
    PATH_UNKNOWN = "path-unknown"
    BLOCKED_BY_POLICY = "blocked-by-policy"
    NO_MATCHING_POLICY = "no-matching-policy"
    REQUIREMENT_NOT_MET = "requirement-not-met"
    LOGIN_REQUIRED = "login-required"
    LOGIN_FAILED = "login-failed"
    LOGIN_LAPSED = "login-lapsed"
    LOGIN_UNAVAILABLE = "login-unavailable"
    SESSION_OF_ANOTHER_DEVICE = "session-of-another-device"
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105 - a reason, and no secret
    TOKEN_INVALID = "token-invalid"  # noqa: S105


class KeyfobError(Exception):
    """The root of the tree above; `message` says what and where, `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class Problem(NamedTuple):
    """One thing that is wrong with a configuration: `place` is a path such as `applications[0].domain`.

    `file` is there if it stands in another file than the configuration itself, such as one that it imports.
    """

    place: str
    message: str
    hint: str = ""
    file: str = ""

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.file, self.place, self.message) if part)
        return f"{said} (hint: {self.hint})" if self.hint else said


class ConfigError(KeyfobError):
    """A configuration that cannot be obeyed exactly; `problems` lists every reason why, `source` names the file."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            place, message, hint, file = self.problems[0]
            super().__init__(": ".join(part for part in (file or source, place, message) if part), hint)
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


class LoginError(KeyfobError):
    """Why this request has no person or service. Each class has one stable `reason`; `message` is for the log alone."""

    reason: Reason


class LoginFailed(LoginError):
    """The provider refused, or what it said is not so, or not enough."""

    reason = Reason.LOGIN_FAILED


class CodeWrong(LoginFailed):
    """What was typed is not the one-time code that was sent, or not any more."""


class LoginLapsed(LoginError):
    """This login took too long, or did not begin in this browser and at this host."""

    reason = Reason.LOGIN_LAPSED


class LoginUnavailable(LoginError):
    """Nobody can log in this way now: somebody who is needed for it does not answer, or not sensibly."""

    reason = Reason.LOGIN_UNAVAILABLE


class SessionOfAnotherDevice(LoginError):
    """The session was begun with a client certificate, and this request has not got it."""

    reason = Reason.SESSION_OF_ANOTHER_DEVICE


class TokenMalformed(LoginError):
    """Half a service token, or more than one: it says nothing, or more than one thing."""

    reason = Reason.TOKEN_MALFORMED


class TokenInvalid(LoginError):
    """A service token that does not count: unknown, ended, withdrawn, or its secret is wrong."""

    reason = Reason.TOKEN_INVALID


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


class StatusUnknown(CertificateError):
    """Whether the certificate was withdrawn cannot be told: no current list covers it, or no responder has answered."""

    reason = Reason.CERTIFICATE_STATUS_UNKNOWN


class PeerNotTrusted(CertificateError):
    """Certificates are read from headers, and whoever sent this request is no trusted proxy."""

    reason = Reason.PEER_NOT_TRUSTED


class PeerUnclear(CertificateError):
    """The server may have rewritten the peer's address, or merged headers, so nobody can tell who wrote them."""

    reason = Reason.PEER_UNCLEAR


class HeaderError(CertificateError):
    """The certificate's header means more than one thing, or none: no policy is asked about such a request."""


class HeaderMalformed(HeaderError):
    """A certificate header comes twice, under an alias, or cannot be decoded."""

    reason = Reason.HEADER_MALFORMED


class HeaderTooLarge(HeaderError):
    """A certificate header is longer than the configuration allows."""

    reason = Reason.HEADER_TOO_LARGE
