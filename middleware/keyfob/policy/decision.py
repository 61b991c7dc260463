"""The verdict on one request. A denial is a value; only what cannot be read is an exception."""

from typing import NamedTuple, final

from keyfob.certificate import ClientCertificate
from keyfob.errors import CertificateError, Reason
from keyfob.policy.people import ServiceToken, User
from keyfob.request import Headers


class Identity(NamedTuple):
    """Who is at the door: a verified certificate, or the reason why there is none, and the PEM that was refused.

    `user` is who has logged in, `service_token` which service has shown its token; None where nobody has.
    """

    certificate: ClientCertificate | None
    error: CertificateError | None
    presented: tuple[str, ...]
    user: User | None = None
    service_token: ServiceToken | None = None


@final
class Allow(NamedTuple):
    """The app may be called, because `policy` of `application` matched.

    `opens_session`: it is this device's first admission to this application for a while, and worth a record. `visible`
    are the headers that the app may see, where keyfob keeps more of them to itself than the source does.
    """

    application: str
    policy: str
    identity: Identity
    opens_session: bool = False
    visible: Headers | None = None


@final
class Deny(NamedTuple):
    """The app must not be called. `application` and `policy` are empty where no such thing was reached.

    `detail` is for the log alone, and empty where `identity.error` says it already.
    """

    reason: Reason
    application: str
    policy: str
    identity: Identity
    detail: str = ""


@final
class Login(NamedTuple):
    """The app must not be called: keyfob itself answers, for a login that is wanted or under way.

    `station` says which of its own addresses was asked for; empty where any other was, and the person has to log in
    first. `reason` and `detail` say why, as in Deny: `detail` is for the log alone.
    """

    reason: Reason
    application: str
    identity: Identity
    station: str = ""
    detail: str = ""

    @property
    def policy(self) -> str:
        """None has matched so far."""
        return ""


@final
class Preflight(NamedTuple):
    """The app must not be called: a browser asks what another page may do here, and `headers` is the answer to that."""

    application: str
    identity: Identity
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def policy(self) -> str:
        """None was asked."""
        return ""

    @property
    def reason(self) -> str:
        """Why the app is not called, for those who read a trace; nothing is refused."""
        return "preflight"


# What policies come to; and what a gate does.
Verdict = Allow | Deny
Decision = Verdict | Login | Preflight
