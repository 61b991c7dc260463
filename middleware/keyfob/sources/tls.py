"""The TLS layer's own certificate, as the ASGI `tls` extension (version 0.2) hands it over."""

from collections.abc import Mapping
from typing import Any

from keyfob.addresses import Address
from keyfob.errors import Missing, NotRequested, Untrusted
from keyfob.request import REMEDY, Request, find_host, make_tuple
from keyfob.sources import Chain
from keyfob.sources.peers import find_forwarding, find_peer

CURE = (
    "start it with `keyfob serve MODULE:APP --home .keyfob`, or give uvicorn all of `--http "
    "keyfob.server.uvicorn:HTTPProtocol --ws keyfob.server.uvicorn:WebSocketProtocol --ssl-certfile server.pem "
    '--ssl-keyfile server-key.pem --ssl-ca-certs ca.pem --ssl-cert-reqs 1`; behind a proxy, write kind = "header" into '
    "the [source] of a configuration"
)


class TLSSource:
    """Reads `scope["extensions"]["tls"]`, which only the server can write, so nobody needs to be believed."""

    def receive(self, scope: Mapping[str, Any], at: float) -> Request:
        """The request, with its chain if the server made it a tuple and had nothing to say against it.

        No header means anything here, so none has to be kept from the app.
        """
        presented = None
        try:
            tls = scope["extensions"]["tls"]
            chain = tls["client_cert_chain"]
            if type(chain) is tuple and chain and not tls["client_cert_error"]:
                presented = chain
        except (KeyError, TypeError):
            pass
        return make_tuple(Request, (scope, find_host(scope["headers"]), at, presented, None, None))

    def presented(self, request: Request) -> Chain:
        """The client's chain. A chain is not a verdict: it still has to be verified."""
        try:
            tls = request.scope["extensions"]["tls"]
        except (KeyError, TypeError):
            tls = None
        if tls is None:
            remedy = (request.scope.get("extensions") or {}).get(REMEDY, CURE)
            raise NotRequested("the server gave no TLS details with this request", remedy)
        if tls.get("client_cert_error"):
            raise Untrusted(f"the TLS layer refused the certificate: {tls['client_cert_error']}")
        chain = tls.get("client_cert_chain")
        if type(chain) is not tuple:
            # The specification says only "iterable", so a list and a generator have to do as well.
            chain = tuple(chain or ())
        if not chain:
            raise Missing("no client certificate was presented")
        return chain

    def presents_nothing(self, request: Request) -> bool:
        """Whether the client was asked for a certificate and had none."""
        try:
            tls = request[0]["extensions"]["tls"]
            return bool(tls["client_cert_chain"] == () and not tls["client_cert_error"])
        except (KeyError, TypeError):
            return False

    def read(self, presented: Chain) -> Chain:
        """What was presented is the chain already."""
        return presented

    def find_client(self, request: Request) -> Address | None:
        """The socket's other end: with TLS up to here, nobody stands in between."""
        return find_peer(request, find_forwarding(request.headers))

    def hides(self, name: bytes) -> bool:
        """Never: whatever a header says, this source does not listen to it."""
        return False
