"""A proxy that stands in front of the real app: both are started, and stopped again."""

import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.forgeries import ADDRESS
from deploy.identities import World
from deploy.setting import HOST, Setting, Start
from deploy.wire import CLIENT, PATIENCE
from servers import environment, find_port, find_program, running

# Formats in which nothing says that the proxy has verified the certificate.
WITHOUT_VERDICT = {"rfc9440", "envoy", "istio", "traefik", "caddy", "aws-alb", "cloudfront", "cloudflare", "kong"}

# Who comes from ADDRESS, or from the proxy's own machine, gets in without a certificate: so the matrix shows a client
# who makes somebody believe that this is where it comes from.
_RULES = f"""
[[root_certificates]]
name = "Test CA"
certificate = "{{ca}}"
associated_hostnames = ["{HOST}"]

[[applications]]
name = "App"
domain = "{HOST}"

[[applications.policies]]
name = "The office"
decision = "bypass"
include = [{{{{ ip = {{{{ ip = "{ADDRESS}" }}}} }}}}, {{{{ ip = {{{{ ip = "127.0.0.1" }}}} }}}}]

[[applications.policies]]
name = "Any device"
decision = "non_identity"
include = [{{{{ certificate = {{{{}}}} }}}}]
"""


@dataclass(frozen=True)
class Front:
    """A proxy that answers, and the app behind it. `name` is the front's in the table of expected outcomes."""

    name: str
    format: str
    port: int
    app_port: int
    world: World


def write_rules(folder: Path, ca: Path, format_name: str) -> Path:
    """An access.toml that believes the proxy on this machine, and nobody else."""
    source = [
        "[source]",
        'kind = "header"',
        f'format = "{format_name}"',
        'trusted_proxies = ["127.0.0.1"]',
        'client_address = "X-Forwarded-For"',
    ]
    if format_name in WITHOUT_VERDICT:
        source.append("proxy_verifies = true")
    path = folder / "access.toml"
    path.write_text("\n".join(source) + _RULES.format(ca=ca), encoding="utf-8")
    return path


@contextlib.contextmanager
def standing(name: str, format_name: str, start: Start, world: World, folder: Path) -> Iterator[Front]:
    """The app on one port, and `start`'s proxy in front of it on another."""
    front = Front(name, format_name, find_port(), find_port(), world)
    own = folder / "proxy"
    own.mkdir()
    rules = write_rules(folder, world.ca, format_name)
    setting = Setting(own, front.port, front.app_port, world.server, world.server_key, world.ca)
    command = [sys.executable, "-m", "uvicorn", "deploy.fronted_app:app", "--port", str(front.app_port)]
    command += ["--http", "keyfob.server.uvicorn:HTTPProtocol", "--ws", "keyfob.server.uvicorn:WebSocketProtocol"]
    command += ["--log-level", "warning"]
    env = environment(FRONTED_CONFIG=str(rules))
    with running(command, front.app_port, folder, env), start(setting):
        yield front


def run_commands(front: Front, page: Path) -> list[Any]:
    """What the lines of a page that begin with `curl` print, read as JSON.

    They are run with this test's files, and with the port of this front in the place of 443.
    """
    certificate, key = front.world.identities["valid"].files
    files = {"--cacert": front.world.ca, "--cert": certificate, "--key": key}
    more = ["--silent", "--show-error", "--max-time", str(PATIENCE), "--interface", CLIENT]
    more += ["--connect-to", f"{HOST}:443:127.0.0.1:{front.port}"]
    printed = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("curl "):
            words = shlex.split(line)
            for option, path in files.items():
                if option in words:
                    words[words.index(option) + 1] = str(path)
            command = [find_program("curl", "curl"), *words[1:], *more]
            printed.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return printed
