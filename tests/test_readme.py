"""README.md: its examples run, and its tables are complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from certificates import make_authority
from keyfob import ClientCertificate, Reason, load_gate
from keyfob.cli.serve import serve_command
from keyfob.config.document import SourceTable
from keyfob.pki.home import open_home
from keyfob.refusal import WORDS
from keyfob.sources.encodings import ENCODINGS
from keyfob.sources.formats import FORMATS, Verdict
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
    (tmp_path / "hello.py").write_text(block("python", "async def hello(request)"), encoding="utf-8")
    port = find_port()
    command = shlex.split(block("sh", "uvicorn hello:app").replace("\\\n", " ").replace("8444", str(port)))
    with running([sys.executable, "-m", *command], port, tmp_path, environment()) as server:
        device = ["--cert", ".keyfob/devices/this-computer.pem", "--key", ".keyfob/devices/this-computer-key.pem"]
        assert curl(tmp_path, *device, f"{server.url}/") == "Hello, this-computer!\n"
        assert "certificate-missing" in curl(tmp_path, f"{server.url}/")


def test_the_protected_app_has_five_lines_and_one_of_them_protects() -> None:
    """Imports aside: what the README promises is what it shows."""
    lines = [line for line in block("python", "async def hello(request)").splitlines() if line and "import" not in line]
    assert len(lines) <= 5
    assert [line for line in lines if "AccessMiddleware" in line] == [lines[-1]]


def test_the_shown_source_behind_a_proxy_loads(tmp_path: Path) -> None:
    """In the place of the other one."""
    (tmp_path / "ca.pem").write_text(make_authority().pem)
    (tmp_path / "revoked.txt").write_text("")
    (tmp_path / "phones.txt").write_text("Guest tablet\n")
    whole = block("toml", "[[groups]]")
    rules = whole[whole.index("[[root_certificates]]") :]
    (tmp_path / "access.toml").write_text(block("toml", 'kind = "header"') + rules, encoding="utf-8")
    assert load_gate(tmp_path / "access.toml").source.hides(b"x-ssl-client-cert")


def test_every_format_stands_in_the_table_with_its_verdict() -> None:
    """And no other does; where a row says proxy_verifies or a header, so does the code."""
    row = r"^\| [^|]+ \| `([a-z0-9-]+)` \| `([^|`]+)` \| ([^|]+) \| [^|]+ \| [^|]+ \|$"
    rows = {name: (header, said) for name, header, said in re.findall(row, README, re.MULTILINE)}
    assert set(rows) == {*FORMATS, "custom"}
    for name, form in FORMATS.items():
        header, said = rows[name]
        assert header.lower() == form.certificate
        assert ("`proxy_verifies`" in said) is (form.verdict is Verdict.DECLARED), name
        assert said.startswith("nobody") is (form.verdict is Verdict.OURS), name
        for header, good in form.proofs.items():
            assert f"`{header}: {good}`".lower() in said.lower(), name


def test_every_key_of_a_source_is_explained() -> None:
    """And every encoding that one of them can name."""
    for key in {*SourceTable.model_fields, *ENCODINGS} - {"kind", "format"}:
        assert f"`{key}`" in README, key


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_page_that_is_linked_is_there(path: str) -> None:
    """Inside this checkout."""
    assert (Path(__file__).parent.parent / path).is_file()


def test_every_reason_stands_in_the_table_with_its_status() -> None:
    """And no other does."""
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", README, re.MULTILINE))
    assert rows == {str(reason): str(words.status) for reason, words in WORDS.items()}
    assert set(rows) == set(Reason)


def test_every_public_property_of_a_certificate_is_named() -> None:
    """What an app can read is written down."""
    properties = {name for name in vars(ClientCertificate) if not name.startswith("_")} - {"tls_client_auth"}
    assert {name for name in properties if f"`{name}`" not in README} == set()


@pytest.mark.parametrize("option", [name for parameter in serve_command.params for name in parameter.opts])
def test_every_option_of_serve_is_named(option: str) -> None:
    """Options only: the app itself is an argument."""
    assert option == "app" or f"`{option}`" in README
