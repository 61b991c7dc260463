"""What each proxy calls its headers and how it writes a certificate into them: one table row a format.

A new format is a row here, a sample in its test, and a line in the README.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from keyfob.sources.encodings import (
    Decoder,
    decode_byte_sequence,
    decode_byte_sequences,
    decode_der,
    decode_der_list,
    decode_pem,
    decode_pem_chain,
    decode_xfcc,
)


class Verdict(Enum):
    """Who says that the proxy verified the certificate. keyfob verifies it once more in any case."""

    HEADER = "a header of every request"
    DECLARED = "the configuration, by proxy_verifies = true"
    OURS = "nobody: the proxy hands over whatever it was shown"


class Format(NamedTuple):
    """One row. Names of headers are in lower case.

    `certificate` holds the leaf, or with some decoders the whole chain; `chain`, where there is one, the certificates
    above the leaf, on any number of lines. `proofs` are headers with the one value that each must have beside a
    certificate. What begins with one of `families` is written by the same proxy and read by nobody here.
    """

    certificate: str
    decode: Decoder
    verdict: Verdict
    proofs: Mapping[str, str] = {}
    chain: str = ""
    families: tuple[str, ...] = ()

    @property
    def headers(self) -> frozenset[str]:
        """The headers that are looked at."""
        return frozenset({self.certificate, *self.proofs} | ({self.chain} if self.chain else set()))


_XFCC = Format("x-forwarded-client-cert", decode_xfcc, Verdict.DECLARED)
_NGINX = Format(
    "x-ssl-client-cert",
    decode_pem,
    Verdict.HEADER,
    {"x-ssl-client-verify": "SUCCESS"},
    families=("x-ssl-client-",),
)

FORMATS: Mapping[str, Format] = {
    # RFC 9440 leaves open what a proxy writes for a certificate that it could not verify.
    "rfc9440": Format("client-cert", decode_byte_sequence, Verdict.DECLARED, chain="client-cert-chain"),
    "nginx": _NGINX,
    "ingress-nginx": Format(
        "ssl-client-cert",
        decode_pem,
        Verdict.HEADER,
        {"ssl-client-verify": "SUCCESS"},
        families=("ssl-client-",),
    ),
    "apache": _NGINX,
    # Without a certificate ssl_c_verify is 0 as well, so it proves something only beside ssl_c_used.
    "haproxy": Format(
        "x-ssl-client-der",
        decode_der,
        Verdict.HEADER,
        {"x-ssl-client-used": "1", "x-ssl-client-verify": "0"},
        families=("x-ssl-client-",),
    ),
    "envoy": _XFCC,
    "istio": _XFCC,
    "traefik": Format(
        "x-forwarded-tls-client-cert",
        decode_der_list,
        Verdict.DECLARED,
        families=("x-forwarded-tls-client-cert-",),
    ),
    "caddy": Format("x-ssl-client-der", decode_der, Verdict.DECLARED),
    "aws-alb": Format(
        "x-amzn-mtls-clientcert-leaf", decode_pem, Verdict.DECLARED, families=("x-amzn-mtls-clientcert-",)
    ),
    "aws-alb-passthrough": Format("x-amzn-mtls-clientcert", decode_pem_chain, Verdict.OURS),
    # This header comes in the modes alone in which CloudFront refuses what it cannot verify.
    "cloudfront": Format(
        "cloudfront-viewer-cert-pem", decode_pem, Verdict.DECLARED, families=("cloudfront-viewer-cert-",)
    ),
    "gcp": Format(
        "x-client-cert-leaf",
        decode_byte_sequence,
        Verdict.HEADER,
        {"x-client-cert-chain-verified": "true"},
        chain="x-client-cert-chain",
        families=("x-client-cert-",),
    ),
    "azure-app-service": Format("x-arr-clientcert", decode_der, Verdict.OURS),
    "azure-app-gateway": Format(
        "x-client-certificate",
        decode_pem,
        Verdict.HEADER,
        {"x-client-certificate-verification": "SUCCESS"},
        families=("x-client-certificate-",),
    ),
    # Only the first request of a connection may have it, so that alone it opens no door twice: see the README.
    "cloudflare": Format(
        "cf-client-cert-der-base64", decode_der, Verdict.DECLARED, families=("cf-client-cert-", "cf-cert-")
    ),
    "kong": Format("x-client-cert", decode_pem, Verdict.DECLARED, families=("x-client-cert-",)),
    # Its template writes no ssl_c_used. Without a certificate the verdict is 0 as well, and the certificate is empty.
    "openshift": Format(
        "x-ssl-client-der",
        decode_der,
        Verdict.HEADER,
        {"x-ssl-client-verify": "0"},
        families=("x-ssl-client-", "x-ssl-issuer"),
    ),
}

# How proxies spell that there is no certificate.
NO_CERTIFICATE = frozenset({b"", b"(null)", b"::", b"<nil>", b"NONE", b"[]"})

CHAIN_DECODER = decode_byte_sequences


def canonical(name: bytes) -> bytes:
    """A header's name in the spelling that every server and gateway would take it for: RFC 3875 section 4.1.18.

    Letter case says nothing in a header's name, and many programs take an underscore or a dot for a hyphen.
    """
    return name.lower().replace(b"_", b"-").replace(b".", b"-")


CERTIFICATES = frozenset(form.certificate.encode("ascii") for form in FORMATS.values())

# What an app behind a proxy must never see, whichever format is configured: somebody might believe it.
_NAMES = frozenset(name.encode("ascii") for form in FORMATS.values() for name in form.headers)
_FAMILIES = tuple({family.encode("ascii") for form in FORMATS.values() for family in form.families})


def is_certificate_header(name: bytes) -> bool:
    """Whether any format would write this header, or a gateway could take it for one of theirs."""
    plain = canonical(name)
    return plain in _NAMES or plain.startswith(_FAMILIES)
