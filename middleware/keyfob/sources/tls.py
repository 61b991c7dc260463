"""The TLS layer's own certificate, as the ASGI `tls` extension (version 0.2) hands it over."""

from keyfob.errors import Missing, NotRequested, Untrusted
from keyfob.request import Request
from keyfob.sources import Chain

CURE = (
    "start the app with `keyfob serve`, or give uvicorn `--http keyfob.server.uvicorn:HTTPProtocol "
    "--ws keyfob.server.uvicorn:WebSocketProtocol --ssl-cert-reqs 1 --ssl-ca-certs ca.pem`"
)


class TLSSource:
    """Reads `scope["extensions"]["tls"]`, which only the server can write, so nobody needs to be believed."""

    def chain(self, request: Request) -> Chain:
        """The client's chain. A chain is not a verdict: it still has to be verified."""
        extensions = request.scope.get("extensions")
        tls = extensions.get("tls") if extensions else None
        if tls is None:
            raise NotRequested("the server gave no TLS details with this request", CURE)
        if tls.get("client_cert_error"):
            raise Untrusted(f"the TLS layer refused the certificate: {tls['client_cert_error']}")
        # The specification says only "iterable", so a list, a tuple and a generator all have to do.
        chain: Chain = tuple(tls.get("client_cert_chain") or ())
        if not chain:
            raise Missing("no client certificate was presented")
        return chain
