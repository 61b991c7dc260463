"""sources.tls: the ASGI `tls` extension, taken at its word and no further."""

from collections.abc import Iterable
from typing import Any

import pytest

from exchanges import make_request
from keyfob.errors import CertificateError, Missing, NotRequested, Untrusted
from keyfob.request import Request
from keyfob.sources.tls import TLSSource


def request(extensions: dict[str, Any] | None) -> Request:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    return make_request(scope if extensions is None else {**scope, "extensions": extensions}, 0)


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda chain: (each for each in chain)])
def test_any_iterable_is_a_chain(kind: Any) -> None:
    """The specification says iterable, and servers take it at its word."""
    chain: Iterable[str] = kind(["leaf", "intermediate"])
    assert TLSSource().presented(request({"tls": {"client_cert_chain": chain}})) == ("leaf", "intermediate")


@pytest.mark.parametrize("extensions", [None, {}, {"websocket.http.response": {}}, {"tls": None}])
def test_no_extension_means_nobody_was_asked(extensions: dict[str, Any] | None) -> None:
    """Plain HTTP, or a server that keeps its certificates to itself: the hint says how to start one that does not."""
    with pytest.raises(NotRequested) as raised:
        TLSSource().presented(request(extensions))
    assert "keyfob serve" in raised.value.hint


@pytest.mark.parametrize(
    "tls", [{}, {"client_cert_chain": ()}, {"client_cert_chain": None}, {"client_cert_name": "CN=x"}]
)
def test_no_chain_is_a_missing_certificate(tls: dict[str, Any]) -> None:
    """A name without a certificate is only a name."""
    with pytest.raises(Missing):
        TLSSource().presented(request({"tls": tls}))


def test_a_chain_that_the_tls_layer_refused_is_refused() -> None:
    """A chain being there does not mean that it was verified."""
    with pytest.raises(Untrusted, match="self-signed"):
        TLSSource().presented(request({"tls": {"client_cert_chain": ("leaf",), "client_cert_error": "self-signed"}}))


@pytest.mark.parametrize("tls", [{"client_cert_error": "x"}, {}, {"client_cert_chain": []}])
def test_every_way_out_is_a_certificate_error(tls: dict[str, Any]) -> None:
    """Nothing else reaches the gate."""
    with pytest.raises(CertificateError):
        TLSSource().presented(request({"tls": tls}))
