"""Your own devices are the key to your web apps: client certificates and Access-style rules for ASGI and WSGI."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyfob.asgi import AccessMiddleware
    from keyfob.audit import AuditRecord
    from keyfob.certificate import ClientCertificate, Device
    from keyfob.config import load_gate
    from keyfob.errors import CertificateError, ConfigError, KeyfobError, MiddlewareMissing, Reason
    from keyfob.explanation import Trace, explain
    from keyfob.gate import Gate
    from keyfob.introduction import client_certificate, identity, tls_client_auth
    from keyfob.live import Health, health
    from keyfob.routing import CertificateRoute, requires

__all__ = [
    "AccessMiddleware",
    "AuditRecord",
    "CertificateError",
    "CertificateRoute",
    "ClientCertificate",
    "ConfigError",
    "Device",
    "Gate",
    "Health",
    "KeyfobError",
    "MiddlewareMissing",
    "Reason",
    "Trace",
    "client_certificate",
    "explain",
    "health",
    "identity",
    "load_gate",
    "requires",
    "tls_client_auth",
]

__version__ = "0.1.0"

# Each is imported when it is first asked for: the commands that make keys need no middleware, and start at once.
_ROOMS = {
    "AccessMiddleware": "asgi",
    "AuditRecord": "audit",
    "CertificateError": "errors",
    "CertificateRoute": "routing",
    "ClientCertificate": "certificate",
    "ConfigError": "errors",
    "Device": "certificate",
    "Gate": "gate",
    "Health": "live",
    "KeyfobError": "errors",
    "MiddlewareMissing": "errors",
    "Reason": "errors",
    "Trace": "explanation",
    "client_certificate": "introduction",
    "explain": "explanation",
    "health": "live",
    "identity": "introduction",
    "load_gate": "config",
    "requires": "routing",
    "tls_client_auth": "introduction",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
