"""The rules and the certificates of every framework's app."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import make_authority, make_leaf, make_server
from frameworks.calls import CALLS

RULES = """\
[source]
kind = "tls"

[[root_certificates]]
name = "Test CA"
certificate = "ca.pem"
associated_hostnames = ["money.example.com", "localhost"]

[[applications]]
name = "App"
domain = "money.example.com"
self_hosted_domains = ["localhost"]

[[applications.policies]]
name = "Any device"
decision = "non_identity"
include = [{ certificate = {} }]
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rules, and the keys of the CA, the server and a device."""
    folder = tmp_path_factory.mktemp("frameworks")
    authority = make_authority()
    authority.write(folder, "ca")
    make_server(authority).write(folder, "server")
    make_leaf(authority).write(folder, "device")
    (folder / "access.toml").write_text(RULES, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Litestar sets the root logger up when an app of it starts, and tests that come later read what was logged."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as the one that the apps are made in. Nothing has been called yet."""
    monkeypatch.chdir(home)
    CALLS.clear()
    return home


@pytest.fixture
def chain(home: Path) -> tuple[str, ...]:
    return ((home / "device.pem").read_text(encoding="ascii"),)
