"""Real servers for tests: started as processes of their own, on loopback and a free port, and stopped again."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS_TO_START = 30


@dataclass(frozen=True)
class Running:
    """A server that answers. `log` is the file that its stdout and stderr go to."""

    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def find_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the checkout importable, and without what would change a server's mind."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEYFOB", "BUDGET", "FORWARDED"))}
    path = os.pathsep.join([str(ROOT / "middleware"), str(ROOT), str(ROOT / "tests")])
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], port: int, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Starts `command`, waits until `port` accepts connections, and stops it at the end.

    Raises RuntimeError with everything it said if it ends, or does not answer in time.
    """
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=dict(env or environment()),
        )
    try:
        _wait(process, port, log)
        yield Running(port, process.pid, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer on port {port}:\n{log.read_text(errors='replace')}")


def keyfob(*arguments: str | Path) -> list[str]:
    """The command line of `keyfob`, run by this very interpreter."""
    # -P, because Python 3.13.0 cannot start in a folder that is gone; the command itself can.
    # Whoever runs these tests in the background has its children ignore Ctrl+C.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    return [sys.executable, "-P", "-c", f"{heeding}from keyfob.cli.entry import main; main()", *map(str, arguments)]


def make_client(
    authority: Path, *identity: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, ciphers: str | None = None
) -> ssl.SSLContext:
    """A TLS client that trusts `authority`, speaks exactly `version`, and shows the files of `identity`, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    if identity:
        certificate, key = identity
        context.load_cert_chain(certificate, key)
    return context


def find_program(name: str, package: str) -> str:
    """The path of a program that comes from a Debian package; where it is missing, the test is skipped, and says so."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}, from the Debian package {package}")
    return path


def wait_for_handshake(port: int) -> None:
    """Returns once a TLS handshake on `port` has been answered: by then the server has announced itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), SECONDS_TO_START) as plain, context.wrap_socket(plain):
        pass
