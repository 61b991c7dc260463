"""What each proxy sends for a chain of certificates, byte for byte as it was captured or is documented."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote

from cryptography.hazmat.primitives.serialization import Encoding

from certificates import Pair

HeaderList = list[tuple[bytes, bytes]]
Sample = Callable[[Sequence[Pair]], HeaderList]


def der(pair: Pair) -> bytes:
    return pair.certificate.public_bytes(Encoding.DER)


def base64(pair: Pair) -> bytes:
    return b64encode(der(pair))


def escaped(*chain: Pair, safe: str = "") -> bytes:
    """PEM in percent-encoding, with upper-case digits as nginx and Envoy write them."""
    return quote("".join(pair.pem for pair in chain), safe=safe).encode("ascii")


def spaced(pair: Pair) -> bytes:
    """PEM with a space for every line end, as Apache writes `%{SSL_CLIENT_CERT}s`."""
    return pair.pem.replace("\n", " ").encode("ascii")


def sequence(pair: Pair) -> bytes:
    """A structured field's byte sequence."""
    return b":" + base64(pair) + b":"


def xfcc(*chain: Pair) -> bytes:
    """One element as Envoy writes it with `cert` and `chain` asked for."""
    digest = sha256(der(chain[0])).hexdigest().encode("ascii")
    above = b';Chain="' + escaped(*chain) + b'"' if len(chain) > 1 else b""
    return b"Hash=" + digest + b';Cert="' + escaped(chain[0]) + b'"' + above


def _list(header: bytes) -> Sample:
    return lambda chain: [(header, b",".join(map(base64, chain)))]


def _nginx(chain: Sequence[Pair]) -> HeaderList:
    return [(b"x-ssl-client-verify", b"SUCCESS"), (b"x-ssl-client-cert", escaped(chain[0]))]


def _rfc9440(chain: Sequence[Pair], leaf: bytes = b"client-cert", above: bytes = b"client-cert-chain") -> HeaderList:
    rest = [(above, b", ".join(map(sequence, chain[1:])))] if len(chain) > 1 else []
    return [(leaf, sequence(chain[0])), *rest]


SAMPLES: Mapping[str, Sample] = {
    "rfc9440": _rfc9440,
    "nginx": _nginx,
    "ingress-nginx": lambda chain: [
        (b"ssl-client-cert", escaped(chain[0])),
        (b"ssl-client-verify", b"SUCCESS"),
        (b"ssl-client-subject-dn", b"CN=somebody else"),
        (b"ssl-client-issuer-dn", b"CN=somebody else"),
    ],
    "apache": lambda chain: [(b"x-ssl-client-verify", b"SUCCESS"), (b"x-ssl-client-cert", spaced(chain[0]))],
    "haproxy": lambda chain: [
        (b"x-ssl-client-used", b"1"),
        (b"x-ssl-client-verify", b"0"),
        (b"x-ssl-client-der", base64(chain[0])),
    ],
    "envoy": lambda chain: [(b"x-forwarded-client-cert", xfcc(*chain))],
    "istio": lambda chain: [
        (b"x-forwarded-client-cert", xfcc(*chain) + b';Subject="CN=somebody else";URI=spiffe://x/y;DNS=a.example')
    ],
    "traefik": _list(b"x-forwarded-tls-client-cert"),
    "caddy": lambda chain: [(b"x-ssl-client-der", base64(chain[0]))],
    "aws-alb": lambda chain: [
        (b"x-amzn-mtls-clientcert-leaf", escaped(chain[0], safe="+=/")),
        (b"x-amzn-mtls-clientcert-subject", b"CN=somebody else"),
    ],
    "aws-alb-passthrough": lambda chain: [(b"x-amzn-mtls-clientcert", escaped(*chain, safe="+=/"))],
    "cloudfront": lambda chain: [
        (b"cloudfront-viewer-cert-pem", escaped(chain[0])),
        (b"cloudfront-viewer-cert-present", b"1"),
    ],
    "gcp": lambda chain: [
        (b"x-client-cert-present", b"true"),
        (b"x-client-cert-chain-verified", b"true"),
        (b"x-client-cert-error", b""),
        *_rfc9440(chain, b"x-client-cert-leaf", b"x-client-cert-chain"),
    ],
    "azure-app-service": lambda chain: [(b"x-arr-clientcert", base64(chain[0]))],
    "azure-app-gateway": lambda chain: [
        (b"x-client-certificate", escaped(chain[0])),
        (b"x-client-certificate-verification", b"SUCCESS"),
    ],
    "cloudflare": lambda chain: [
        (b"cf-client-cert-der-base64", base64(chain[0])),
        (b"cf-client-cert-sha256", sha256(der(chain[0])).hexdigest().encode("ascii")),
    ],
    "kong": lambda chain: [(b"x-client-cert", escaped(chain[0])), (b"x-client-cert-fingerprint", b"00")],
    "openshift": lambda chain: [
        (b"x-ssl", b"1"),
        (b"x-ssl-client-verify", b"0"),
        (b"x-ssl-client-dn", b"/CN=somebody else"),
        (b"x-ssl-client-der", base64(chain[0])),
    ],
}

# The same for a client that showed no certificate.
NONE: Mapping[str, HeaderList] = {
    "rfc9440": [(b"client-cert", b"::")],
    "nginx": [(b"x-ssl-client-verify", b"NONE")],
    "ingress-nginx": [(b"ssl-client-verify", b"NONE")],
    "apache": [(b"x-ssl-client-verify", b"NONE"), (b"x-ssl-client-cert", b"(null)")],
    "haproxy": [(b"x-ssl-client-used", b"0"), (b"x-ssl-client-verify", b"0"), (b"x-ssl-client-der", b"")],
    "envoy": [],
    "istio": [],
    "traefik": [],
    "caddy": [(b"x-ssl-client-der", b"")],
    "aws-alb": [],
    "aws-alb-passthrough": [],
    "cloudfront": [(b"cloudfront-viewer-cert-present", b"0")],
    "gcp": [
        (b"x-client-cert-present", b"false"),
        (b"x-client-cert-chain-verified", b"false"),
        (b"x-client-cert-error", b"client_cert_not_provided"),
        (b"x-client-cert-leaf", b""),
        (b"x-client-cert-chain", b""),
    ],
    "azure-app-service": [],
    "azure-app-gateway": [(b"x-client-certificate", b""), (b"x-client-certificate-verification", b"NONE")],
    "cloudflare": [(b"cf-client-cert-der-base64", b"")],
    "kong": [],
    "openshift": [(b"x-ssl", b"1"), (b"x-ssl-client-verify", b"0"), (b"x-ssl-client-der", b"")],
}
