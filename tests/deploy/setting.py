"""What a proxy is given to start with, and the files of `deploy/` fitted to it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from servers import ROOT

# The protected host of every file in `deploy/`, and a second one, which each front serves to everybody beside it.
HOST = "money.example.com"
PUBLIC_HOST = "public.example.com"


@dataclass(frozen=True)
class Setting:
    """One proxy's place. The server's certificate is for HOST and for PUBLIC_HOST."""

    folder: Path  # an empty folder for the proxy's own files (pid, logs, temp)
    port: int  # where the proxy is to listen, TLS, 127.0.0.1
    app_port: int  # where the app listens, plain HTTP, 127.0.0.1
    server: Path  # the server's certificate, PEM
    server_key: Path
    ca: Path  # root and intermediates that clients are verified with


# How a front's module starts its proxy: ready when the context is entered, stopped when it is left. Beside HOST it
# serves PUBLIC_HOST, without asking for a certificate, from something else than the app.
Start = Callable[[Setting], AbstractContextManager[None]]


def adapt(file: str, replacements: Mapping[str, str]) -> str:
    """The text of `deploy/<file>` with each left side replaced by the right.

    Raises ValueError when a left side does not occur: then the test would run something else than it says.
    """
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    for old, new in replacements.items():
        if old not in text:
            raise ValueError(f"deploy/{file} has no {old!r}")
        text = text.replace(old, new)
    return text
