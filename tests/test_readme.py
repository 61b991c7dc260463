"""README.md: its examples run, and its tables are complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from certificates import make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob import ClientCertificate, Reason, load_gate
from keyfob.cli.serve import serve_command
from keyfob.pki import open_home
from keyfob.policy import SELECTORS, Allow, PolicyDecision
from keyfob.refusal import WORDS
from servers import environment, find_port, find_program, running

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str, marker: str) -> str:
    """The one fenced block of `language` that holds `marker`."""
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if marker in text]
    return str(found)


def curl(folder: Path, *arguments: str) -> str:
    command = [
        find_program("curl", "curl"),
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--cacert",
        ".keyfob/ca.pem",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_example_of_one_line_runs_as_it_stands(tmp_path: Path) -> None:
    """The block and the command of the README, letter for letter but for the port."""
    open_home(tmp_path / ".keyfob", ["localhost"])
    (tmp_path / "hello.py").write_text(block("python", "add_middleware"), encoding="utf-8")
    port = find_port()
    command = shlex.split(block("sh", "uvicorn hello:app").replace("\\\n", " ").replace("8444", str(port)))
    with running([sys.executable, "-m", *command], port, tmp_path, environment()) as server:
        device = ["--cert", ".keyfob/device.pem", "--key", ".keyfob/device-key.pem"]
        assert curl(tmp_path, *device, f"{server.url}/") == "Hello, My iPhone!\n"
        assert "certificate-missing" in curl(tmp_path, f"{server.url}/")


def test_the_protected_app_has_five_lines_and_one_of_them_protects() -> None:
    """Imports aside: what the README promises is what it shows."""
    lines = [line for line in block("python", "add_middleware").splitlines() if line and "import" not in line]
    assert len(lines) <= 5
    assert [line for line in lines if "AccessMiddleware" in line] == [lines[-1]]


def test_the_shown_configuration_loads_and_works(tmp_path: Path) -> None:
    """As it stands, for the hosts it names."""
    root = make_authority()
    leaf = make_leaf(root)
    (tmp_path / "ca.pem").write_text(root.pem)
    (tmp_path / "access.toml").write_text(block("toml", "[source]"), encoding="utf-8")
    gate = load_gate(tmp_path / "access.toml")
    now = leaf.certificate.not_valid_before_utc.timestamp() + 1
    for host in ("money.example.com", "money.local", "192.0.2.7"):
        assert isinstance(gate.check(make_request(make_scope([leaf.pem], host=host), now)), Allow)


def test_every_reason_stands_in_the_table_with_its_status() -> None:
    """And no other does."""
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", README, re.MULTILINE))
    assert rows == {str(reason): str(words.status) for reason, words in WORDS.items()}
    assert set(rows) == set(Reason)


def test_every_selector_and_decision_stands_in_its_table() -> None:
    """A new row of code is a new line here."""
    assert set(re.findall(r"^\| `\{ (\w+) = ", README, re.MULTILINE)) == set(SELECTORS)
    assert {each for each in PolicyDecision if f"\n| `{each}`" in README} == set(PolicyDecision)


def test_every_public_property_of_a_certificate_is_named() -> None:
    """What an app can read is written down."""
    properties = {name for name in vars(ClientCertificate) if not name.startswith("_")} - {"tls_client_auth"}
    assert {name for name in properties if f"`{name}`" not in README} == set()


@pytest.mark.parametrize("option", [name for parameter in serve_command.params for name in parameter.opts])
def test_every_option_of_serve_is_named(option: str) -> None:
    """Options only: the app itself is an argument."""
    assert option == "app" or f"`{option}`" in README
