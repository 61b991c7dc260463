"""An NSS database, as Firefox and Chromium keep one: made by Debian's certutil and pk12util in a temporary folder."""

import subprocess
from pathlib import Path

from servers import find_program

PACKAGE = "libnss3-tools"


class Database:
    """One database without a password. Where the tools are not installed, the test is skipped."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._run("certutil", "-N", "--empty-password").check_returncode()

    def trust(self, authority: Path) -> None:
        """For servers, as a person does who imports a CA."""
        self._run("certutil", "-A", "-n", "authority", "-t", "C,,", "-i", authority).check_returncode()

    def import_identity(self, file: Path, password: str) -> subprocess.CompletedProcess[str]:
        """What pk12util says of a PKCS#12 file; 0 if it has taken it."""
        return self._run("pk12util", "-i", file, "-w", _write(file, password))

    def list_keys(self) -> list[str]:
        """The names of the private keys."""
        said = self._run("certutil", "-K").stdout
        return [line.split(maxsplit=4)[4] for line in said.splitlines() if line.startswith("<")]

    def _run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return _call(program, "-d", f"sql:{self._folder}", *arguments)


def list_identity(file: Path, password: str) -> subprocess.CompletedProcess[str]:
    """What pk12util says is in a PKCS#12 file; 0 if it can read it."""
    return _call("pk12util", "-l", file, "-w", _write(file, password))


def _call(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [find_program(program, PACKAGE), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL, timeout=60
    )


def _write(file: Path, password: str) -> Path:
    path = file.with_name(f"{file.name}.password")
    path.write_text(f"{password}\n", encoding="ascii")
    return path
