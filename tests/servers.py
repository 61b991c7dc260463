"""Real servers for tests: started as processes of their own, on loopback and a free port, and stopped again."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    return [sys.executable, "-c", "from keyfob.cli.main import main; main()", *map(str, arguments)]
