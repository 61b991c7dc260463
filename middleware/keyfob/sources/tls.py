"""The TLS layer's own certificate, as the ASGI `tls` extension (version 0.2) hands it over."""

from keyfob.errors import Missing, NotRequested, Untrusted
from keyfob.request import Request
from keyfob.sources import Chain

CURE = (
    "start it with `keyfob serve MODULE:APP --home .keyfob`, or give uvicorn all of `--http "
    "keyfob.server.uvicorn:HTTPProtocol --ws keyfob.server.uvicorn:WebSocketProtocol --ssl-certfile server.pem "
    "--ssl-keyfile server-key.pem --ssl-ca-certs ca.pem --ssl-cert-reqs 1`"
)


class TLSSource:
    """Reads `scope["extensions"]["tls"]`, which only the server can write, so nobody needs to be believed."""

    def chain(self, request: Request) -> Chain:
        """The client's chain. A chain is not a verdict: it still has to be verified."""
        try:
            tls = request.scope["extensions"]["tls"]
        except (KeyError, TypeError):
            tls = None
        if tls is None:
            raise NotRequested("the server gave no TLS details with this request", CURE)
        if tls.get("client_cert_error"):
            raise Untrusted(f"the TLS layer refused the certificate: {tls['client_cert_error']}")
        chain = tls.get("client_cert_chain")
        if type(chain) is not tuple:
            # The specification says only "iterable", so a list and a generator have to do as well.
            chain = tuple(chain or ())
        if not chain:
            raise Missing("no client certificate was presented")
        return chain
