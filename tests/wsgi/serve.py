"""The servers that are started from Python, as the README shows it: NAME PORT [KEYS], for the app in `wsgi_echo`."""

import ssl
import sys
from pathlib import Path

from wsgi_echo import app


def serve_cheroot(port: int, keys: Path | None) -> None:
    """cheroot, with its built-in TLS adapter if there are keys."""
    from cheroot.ssl.builtin import BuiltinSSLAdapter
    from cheroot.wsgi import Server

    server = Server(("127.0.0.1", port), app)
    if keys:
        certificate, key, authority = (str(keys / name) for name in ("server.pem", "server-key.pem", "ca.pem"))
        server.ssl_adapter = BuiltinSSLAdapter(certificate, key, authority)
        server.ssl_adapter.context.verify_mode = ssl.CERT_OPTIONAL
    server.start()


def serve_werkzeug(port: int, keys: Path | None) -> None:
    """The server that Flask's and werkzeug's own is; port 0 is the UNIX socket `werkzeug.sock` of this folder."""
    from werkzeug.serving import run_simple

    context = None
    if keys:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys / "ca.pem")
        context.load_cert_chain(keys / "server.pem", keys / "server-key.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
    run_simple("127.0.0.1" if port else "unix://werkzeug.sock", port, app, ssl_context=context)


def main(name: str, port: str, keys: str = "") -> None:
    {"cheroot": serve_cheroot, "werkzeug": serve_werkzeug}[name](int(port), Path(keys) if keys else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
