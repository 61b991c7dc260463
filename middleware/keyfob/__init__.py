"""Your own devices are the key to your web apps: client certificates and Access-style rules for ASGI."""

from keyfob.asgi import AccessMiddleware, client_certificate, tls_client_auth
from keyfob.certificate import ClientCertificate, Device
from keyfob.config import load_gate
from keyfob.errors import CertificateError, ConfigError, KeyfobError, MiddlewareMissing, Reason
from keyfob.gate import Gate

__all__ = [
    "AccessMiddleware",
    "CertificateError",
    "ClientCertificate",
    "ConfigError",
    "Device",
    "Gate",
    "KeyfobError",
    "MiddlewareMissing",
    "Reason",
    "client_certificate",
    "load_gate",
    "tls_client_auth",
]

__version__ = "0.1.0"
