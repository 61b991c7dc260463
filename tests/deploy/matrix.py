"""The matrix: every kind of certificate, every way to lie, on every front, and what each cell has to come to."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain

from deploy.forgeries import CERTIFICATE_HEADERS, REQUESTS, Header, Headers, make_claims, plain_name
from deploy.identities import BAD, Identity
from deploy.standing import Front
from deploy.wire import CLIENT, Answer, ask
from servers import make_client

# The device gets in, as itself.
OWN = "own"
MISSING = "certificate-missing"
MALFORMED = "header-malformed"
HUNG_UP = "hung up"

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = (TLS_1_2, TLS_1_3)


@dataclass(frozen=True)
class Row:
    """What a front does. A request that is not named goes through.

    `bad` is how the front itself ends what comes with a bad certificate, whatever the request; `requests` are those
    that somebody refuses although the certificate is good; `resumes` the versions of TLS that resume sessions;
    `passes_forwarded` that the client's own Forwarded header, which keyfob was not told to read, reaches the app.
    """

    bad: str
    requests: Mapping[str, str] = field(default_factory=dict)
    resumes: Sequence[ssl.TLSVersion] = VERSIONS
    passes_forwarded: bool = False


def _refused(how: str, *requests: str) -> dict[str, str]:
    return dict.fromkeys(requests, how)


# What no HTTP proxy takes for a header.
_BROKEN = _refused("proxy 400", "space-before-colon", "null", "bare-carriage-return")

_NGINX = Row(bad="proxy 400", requests=_BROKEN | _refused("proxy 400", "folded", "folded-into-another"))
_HAPROXY = Row(bad=HUNG_UP, requests=_BROKEN)
# Names with an underscore are refused.
_TRAEFIK = Row(
    bad=HUNG_UP,
    requests=_BROKEN | _refused("proxy 400", "underscore", "half-alias", "alias-and-decoys", "address-alias"),
    resumes=(),
)

ROWS: Mapping[str, Row] = {
    "nginx": _NGINX,
    "nginx-debian": _NGINX,
    "ingress-nginx": replace(_NGINX, passes_forwarded=True),
    "haproxy": replace(_HAPROXY, resumes=()),
    "haproxy-resuming": _HAPROXY,
    "apache": Row(
        bad=HUNG_UP,
        requests={
            **_BROKEN,
            **_refused("proxy 403", "underscore", "dot", "half-alias", "address-alias"),
            **_refused("proxy 400", "bare-line-feed"),
            # Apache's pattern looks at the last such name alone.
            "alias-and-decoys": MALFORMED,
        },
    ),
    "caddy": Row(bad=HUNG_UP, requests=_BROKEN, resumes=()),
    "traefik": _TRAEFIK,
    # To Envoy a carriage return is a character of the value.
    "envoy": replace(_TRAEFIK, requests={**_TRAEFIK.requests, "bare-carriage-return": OWN}),
}


def expect(front: str, certificate: str, request: str) -> str:
    """The cell of the table."""
    row = ROWS[front]
    if certificate in BAD and certificate != "none":
        return row.bad
    outcome = row.requests.get(request, OWN)
    return MISSING if outcome == OWN and certificate == "none" else outcome


@dataclass(frozen=True)
class Cell:
    """One request of the matrix, and what it came to."""

    request: str
    version: ssl.TLSVersion
    resuming: bool
    answer: Answer

    def __str__(self) -> str:
        return f"{self.request} over {'a resumed' if self.resuming else 'a fresh'} {self.version.name}"


def run_cells(front: Front, identity: Identity, requests: Sequence[str] = tuple(REQUESTS)) -> list[Cell]:
    """Every request over both versions of TLS, each over a new session and over the one before it."""
    # Both at once: most of the time goes in waiting for the proxy.
    with ThreadPoolExecutor() as pool:
        cells = pool.map(lambda version: list(_run_version(front, identity, requests, version)), VERSIONS)
        return list(chain(*cells))


def _run_version(front: Front, identity: Identity, requests: Sequence[str], version: ssl.TLSVersion) -> Iterator[Cell]:
    """Where a front does not continue the first session that it is shown, there are no cells of resumed ones."""
    own, others = split_claims(front)
    context = make_client(front.world.ca, *identity.files, version=version)
    session = None
    resumes = True
    for request in requests:
        text = REQUESTS[request](own, others)
        answer = ask(context, front.port, text)
        yield Cell(request, version, resuming=False, answer=answer)
        session = answer.session or session
        if session is not None and resumes:
            answer = ask(context, front.port, text, session=session)
            yield Cell(request, version, resuming=True, answer=answer)
            resumes = answer.resumed


def split_claims(front: Front) -> tuple[Headers, Headers]:
    """What claims to be the victim in the front's own format, and in all others."""
    claims = dict(make_claims(front.world.victim))
    own = claims.pop(front.format)
    names = {name.lower() for name, _ in own}
    return own, [each for each in chain(*claims.values()) if each[0].lower() not in names]


def find_faults(front: Front, identity: Identity, cell: Cell) -> Iterator[str]:
    """What must not be, in whatever cell."""
    answer = cell.answer
    if not answer.reached_the_app:
        if cell.request == "plain" and identity.name not in BAD:
            yield f"{cell}: a good certificate is refused: {answer.refusal}"
        return
    fingerprint = answer.told["fingerprint"]
    if identity.name in BAD:
        yield f"{cell}: a bad certificate got in"
    if fingerprint == front.world.victim_fingerprint:
        yield f"{cell}: FORGED, the app takes the client for the victim"
    elif fingerprint != identity.fingerprint or fingerprint is None:
        yield f"{cell}: the app was told of {fingerprint}"
    yield from (f"{cell}: {fault}" for fault in _find_leaks(front, answer.told["headers"]))


def _find_leaks(front: Front, headers: Sequence[Header]) -> Iterator[str]:
    shown = CERTIFICATE_HEADERS & {plain_name(name) for name, _ in headers}
    if shown:
        yield f"the app was shown {sorted(shown)}"
    # A server that follows RFC 3875 takes an underscore for a hyphen, and so one header for the other.
    named = [(name.lower().replace("_", "-"), value) for name, value in headers]
    addresses = [value for name, value in named if name == "x-forwarded-for"]
    if not ROWS[front.name].passes_forwarded:
        addresses += [value for name, value in named if name == "forwarded"]
    if addresses != [CLIENT]:
        yield f"the app was told of the addresses {addresses}"


def find_outcome(identity: Identity, answer: Answer) -> str:
    """The answer in the words of the table."""
    if not answer.reached_the_app:
        return answer.refusal
    return OWN if answer.told["fingerprint"] == identity.fingerprint else "SOMEBODY ELSE"
