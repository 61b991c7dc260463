"""What an attacker writes: the headers by which a proxy would vouch for a certificate, and the ways to send them.

Written from what the proxies send, not from `keyfob.sources`, so that a mistake there is not made here as well.
"""

import base64
from collections.abc import Callable, Sequence
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.setting import HOST

Header = tuple[str, str]
Headers = Sequence[Header]


def make_claims(certificate: x509.Certificate) -> dict[str, Headers]:
    """For each format, the headers of a proxy that has verified `certificate`."""
    pem = certificate.public_bytes(Encoding.PEM).decode("ascii")
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")
    escaped = quote(pem, safe="")
    subject = certificate.subject.rfc4514_string()
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return {
        "rfc9440": [("Client-Cert", f":{der}:")],
        "nginx": [("X-SSL-Client-Cert", escaped), ("X-SSL-Client-Verify", "SUCCESS")],
        "ingress-nginx": [("ssl-client-cert", escaped), ("ssl-client-verify", "SUCCESS")],
        "apache": [("X-SSL-Client-Cert", pem.replace("\n", " ")), ("X-SSL-Client-Verify", "SUCCESS")],
        "haproxy": [("X-SSL-Client-DER", der), ("X-SSL-Client-Used", "1"), ("X-SSL-Client-Verify", "0")],
        "envoy": [("x-forwarded-client-cert", f'Hash={fingerprint};Cert="{escaped}";Subject="{subject}"')],
        "traefik": [("X-Forwarded-Tls-Client-Cert", der)],
        "caddy": [("X-SSL-Client-DER", der)],
        "aws-alb": [("X-Amzn-Mtls-Clientcert-Leaf", escaped)],
        "aws-alb-passthrough": [("X-Amzn-Mtls-Clientcert", escaped)],
        "cloudfront": [("CloudFront-Viewer-Cert-Pem", escaped), ("CloudFront-Viewer-Cert-Present", "1")],
        "gcp": [("X-Client-Cert-Leaf", f":{der}:"), ("X-Client-Cert-Chain-Verified", "true")],
        "azure-app-service": [("X-ARR-ClientCert", der)],
        "azure-app-gateway": [("X-Client-Certificate", escaped), ("X-Client-Certificate-Verification", "SUCCESS")],
        "cloudflare": [("Cf-Client-Cert-Der-Base64", der)],
        "kong": [("X-Client-Cert", escaped)],
        "openshift": [("X-SSL-Client-DER", der), ("X-SSL-Client-Verify", "0")],
    }


# Every name under which a certificate, or a word about one, reaches some app.
CERTIFICATE_HEADERS = {
    "client-cert",
    "client-cert-chain",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "ssl-client-cert",
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "ssl-client-issuer-dn",
    "x-ssl-client-der",
    "x-ssl-client-used",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert",
    "cloudfront-viewer-cert-pem",
    "cloudfront-viewer-cert-present",
    "x-client-cert-leaf",
    "x-client-cert-chain-verified",
    "x-arr-clientcert",
    "x-client-certificate",
    "x-client-certificate-verification",
    "cf-client-cert-der-base64",
    "x-client-cert",
}


def plain_name(name: str) -> str:
    """The header that `name` is a spelling of."""
    return name.lower().replace("_", "-").replace(".", "-")


def write_request(headers: Headers, *, host: str = HOST, target: str = "/") -> bytes:
    """A request as a well-behaved client writes it."""
    return _write([f"{name}: {value}" for name, value in headers], host=host, target=target)


def _write(lines: Sequence[str], *, method: str = "GET", host: str = HOST, target: str = "/", body: str = "") -> bytes:
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept: application/json", *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("latin-1")


def _renamed(rename: Callable[[str], str]) -> "Forgery":
    return lambda claim, _: write_request([(rename(name), value) for name, value in claim])


def _half_renamed(name: str) -> str:
    """`X-SSL_Client-Cert`: the second hyphen, or the only one, is another character."""
    words = name.split("-")
    at = min(2, len(words) - 1)
    return "-".join(words[:at]) + "_" + "-".join(words[at:])


def _alternate(name: str) -> str:
    return "".join(letter.upper() if at % 2 else letter.lower() for at, letter in enumerate(name))


def _removal(claim: Headers) -> list[str]:
    return ["Connection: keep-alive, " + ", ".join(name for name, _ in claim)]


def _decoy(claim: Headers) -> bytes:
    """An alias with the claim, and further names with an underscore or a dot that say nothing."""
    return write_request([("A_A", ""), *((name.replace("-", "_"), value) for name, value in claim), ("Z.Z", "")])


def _lines(claim: Headers) -> list[str]:
    return [f"{name}: {value}" for name, value in claim]


def _chunked(claim: Headers) -> bytes:
    trailer = "0\r\n" + "".join(f"{line}\r\n" for line in _lines(claim)) + "\r\n"
    names = ", ".join(name for name, _ in claim)
    return _write(["Transfer-Encoding: chunked", f"Trailer: {names}"], method="POST", body="1\r\na\r\n" + trailer)


# A way to lie: the claim in the words of the front's own format, and in those of all others, make a request.
Forgery = Callable[[Headers, Headers], bytes]
ADDRESS = "203.0.113.66"
_ADDRESSES = [("X-Forwarded-For", ADDRESS), ("Forwarded", f"for={ADDRESS}"), ("X-Real-IP", ADDRESS)]

REQUESTS: dict[str, Forgery] = {
    "plain": lambda _, __: write_request([]),
    "forged": lambda claim, _: write_request(claim),
    "twice": lambda claim, _: write_request([each for each in claim for _ in range(2)]),
    "underscore": _renamed(lambda name: name.replace("-", "_")),
    "dot": _renamed(lambda name: name.replace("-", ".")),
    "half-alias": _renamed(_half_renamed),
    "alias-and-decoys": lambda claim, _: _decoy(claim),
    "mixed-case": _renamed(_alternate),
    "removal": lambda claim, _: _write(_removal(claim)),
    "removal-and-forged": lambda claim, _: _write([*_lines(claim), *_removal(claim)]),
    "folded": lambda claim, _: _write([f"{name}:\r\n {value}" for name, value in claim]),
    "folded-into-another": lambda claim, _: _write(["X-Harmless: a", *(f" {line}" for line in _lines(claim))]),
    "bare-line-feed": lambda claim, _: _write(["X-Harmless: a" + "".join(f"\n{line}" for line in _lines(claim))]),
    "bare-carriage-return": lambda claim, _: _write(["X-Harmless: a" + "".join(f"\r{line}" for line in _lines(claim))]),
    "null": lambda claim, _: write_request([(name, f"\0{value}\0") for name, value in claim]),
    "space-before-colon": lambda claim, _: _write([f"{name} : {value}" for name, value in claim]),
    "trailer": lambda claim, _: _chunked(claim),
    "other-formats": lambda _, others: write_request(others),
    "address": lambda _, __: write_request(_ADDRESSES),
    "address-twice": lambda _, __: write_request([*_ADDRESSES, *_ADDRESSES]),
    "address-alias": lambda _, __: write_request([("X_Forwarded_For", ADDRESS), ("X.Forwarded.For", ADDRESS)]),
    "own-address": lambda _, __: write_request([("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")]),
}
