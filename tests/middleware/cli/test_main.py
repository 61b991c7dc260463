"""cli.main: help, versions, and how every command fails: a sentence, a hint, a status, never a traceback."""

import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import keyfob
from certificates import SERVER, make_authority, make_leaf
from keyfob.cli.main import SECTIONS, Place, load
from keyfob.inventory import Entry
from keyfob.pki.home import open_home
from registries import make_registry
from servers import ROOT, environment, find_port
from servers import keyfob as command

USED_WRONGLY, REFUSED = 2, 1


def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=60, cwd=cwd, env=environment()
    )


def fail(status: int, *arguments: str | Path, cwd: Path = ROOT) -> list[str]:
    """Runs a command that has to fail with `status`: what it said on stderr, its error and its hint last."""
    ended = run(*arguments, cwd=cwd)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines if re.match(r"(error|hint):", line)] == ["error", "hint"]
    assert re.fullmatch(r"hint: \S.*", lines[-1])
    return lines


# --- What is asked for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands_on_stdout(flag: str) -> None:
    """Asked-for help is data, so it can be piped into a pager."""
    ended = run(flag)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: keyfob [OPTIONS] COMMAND")
    listed = re.findall(r"^  ([a-z]+) +\S", ended.stdout, re.MULTILINE)
    assert listed == [name for section in SECTIONS.values() for name in section]


@pytest.mark.parametrize("place", [place for section in SECTIONS.values() for place in section.values()])
def test_the_help_says_of_each_command_what_its_own_help_says(place: Place) -> None:
    """It is written down twice, so that the list need not import them all."""
    assert load(place).get_short_help_str(limit=200) == place.help


def test_help_imports_no_command() -> None:
    """Together they take a second; nobody waits that long for a list of words."""
    heavy = {"cryptography", "sqlalchemy", "uvicorn", "pydantic", "starlette", "segno"}
    script = (
        "import sys; from keyfob.cli.main import commands; commands.main(['--help'], standalone_mode=False); "
        f"print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert said.stderr.strip() == ""


def test_an_unknown_command_is_answered_with_a_close_one() -> None:
    """As every typo is."""
    *_, error, hint = fail(USED_WRONGLY, "isue")
    assert error == "error: no such command 'isue'; did you mean 'issue'?"
    assert hint == "hint: see `keyfob --help`"
    *_, error, _ = fail(USED_WRONGLY, "x" * 10_000)
    assert len(error) < 100


def test_a_reader_that_has_seen_enough_ends_a_command_quietly(tmp_path: Path) -> None:
    """As `head` does. The status is the shell's for a broken pipe."""
    registry = make_registry(tmp_path)
    issuer, now = registry.root.public_bytes(Encoding.DER), int(time.time())
    registry.inventory.add([Entry(f"device {n}", b"%d" % n, issuer, n + 1, now, now, now) for n in range(3000)])
    registry.inventory.close()
    for arguments in (["list", "--home", str(tmp_path)], ["--help"]):
        with subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), "PYTHONUNBUFFERED": ""},
        ) as running:
            if running.stdout is not None and running.stderr is not None:
                running.stdout.close()
                assert running.stderr.read() == b""
        assert running.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_output_that_cannot_be_written_is_an_error() -> None:
    """It is not lost without a word."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command("--help"), stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment()
        )
    assert ended.returncode == REFUSED
    assert ended.stderr.splitlines() == [
        "error: No space left on device",
        "hint: is it yours, and is there room on the disk?",
    ]


def test_a_closed_output_is_no_error() -> None:
    """The shell's `>&-`."""
    line = f"exec {shlex.join(command('--version'))} >&-"
    ended = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False, env=environment())
    assert (ended.returncode, ended.stderr) == (0, "")


def test_help_of_serve_names_every_option_and_an_example() -> None:
    """What a person needs to start without the README."""
    ended = run("serve", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: keyfob serve [OPTIONS] MODULE:APP\n")
    for option in ("--home", "--config", "--certificate", "--key", "--host", "--port"):
        assert re.search(rf"^  {option}\b.* \S", ended.stdout, re.MULTILINE)
    assert "keyfob serve shop.web:app --home .keyfob" in ended.stdout
    assert "8443" in ended.stdout


def test_version_is_the_package_s() -> None:
    """One number, in one place."""
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"keyfob {keyfob.__version__}\n", "")


def test_no_command_at_all_is_answered_with_the_way_to_the_help() -> None:
    """A short error, as for every wrong use; not the whole help behind the word `error`."""
    lines = fail(USED_WRONGLY)
    assert not lines[0].startswith("error: Usage")


# --- Wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "nope"),
        (["--nope"], "--nope"),
        (["serve"], "MODULE:APP"),
        (["serve", "shop:app"], "--home"),
        (["serve", "shop:app", "--nope"], "--nope"),
        (["serve", "shop:app", "--home"], "--home"),
        (["serve", "shop:app", "--home", ""], "--home"),
        (["serve", "shop:app", "extra", "--home", "home"], "extra"),
        (["serve", "shop:app", "--home", "home", "--config", "access.toml"], "--home"),
        (["serve", "shop:app", "--home", "home", "--certificate", "server.pem"], "--home"),
        (["serve", "shop:app", "--home", "home", "--key", "server-key.pem"], "--home"),
        (["serve", "shop:app", "--home", "home", "--port", "https"], "https"),
        (["serve", "shop:app", "--home", "home", "--port", "65536"], "65536"),
        (["serve", "shop:app", "--home", "home", "--port", "-1"], "-1"),
        (["serve", "shop:app", "--home", "home", "--port", ""], "--port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_status_2_with_the_way_to_the_help(tmp_path: Path, arguments: list[str], said: str) -> None:
    """The error names the word that is wrong, the hint the help that explains it; nothing was made."""
    *_, error, hint = fail(USED_WRONGLY, *arguments, cwd=tmp_path)
    assert said in error
    assert re.fullmatch(r"hint: see `keyfob( serve)? --help`", hint)
    assert list(tmp_path.iterdir()) == []


# --- Refusals -------------------------------------------------------------------------------------------------------

APP = """\
async def app(scope, receive, send):
    raise RuntimeError("never called")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to start in, with an app in it."""
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    return tmp_path


def write_config(folder: Path, text: str) -> Path:
    path = folder / "access.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("home", ["shop.py", "shop.py/below", "x" * 300], ids=["file", "below-a-file", "too-long"])
def test_a_home_that_cannot_be_made_is_a_refusal(folder: Path, home: str) -> None:
    """Root cannot make those either."""
    lines = fail(REFUSED, "serve", "shop:app", "--home", home, cwd=folder)
    assert str(folder / home) in lines[0]


def test_a_missing_config_is_a_refusal(folder: Path) -> None:
    """It is named, and so is what belongs there."""
    lines = fail(REFUSED, "serve", "shop:app", "--config", "none.toml", cwd=folder)
    assert lines == ["error: none.toml: there is no such file", "hint: name an access.toml"]


def test_a_config_without_certificate_and_key_is_a_refusal(folder: Path) -> None:
    """Without TLS the server could not ask anybody for a certificate."""
    authority, _ = make_authority().write(folder, "ca")
    config = write_config(folder, CONFIG.format(authority=authority.name))
    halves: list[list[str | Path]] = [[], ["--certificate", authority], ["--key", authority]]
    for given in halves:
        lines = fail(REFUSED, "serve", "shop:app", "--config", config, *given, cwd=folder)
        assert "--certificate and --key" in lines[-1]


CONFIG = """\
[source]
kind = "tls"

[[root_certificates]]
name = "Test CA"
certificate = "{authority}"
associated_hostnames = ["localhost"]

[[applications]]
name = "Shop"
domain = "localhost"
policies = [{{ name = "any", decision = "non_identity", include = [{{ certificate = {{}} }}] }}]
"""


@pytest.mark.parametrize("text", ["x = [", "\x00", "[source]\n[source]\n"], ids=["cut-short", "nul", "twice"])
def test_a_config_that_is_no_toml_is_a_refusal(folder: Path, text: str) -> None:
    """The file is named, and the place in it."""
    lines = fail(REFUSED, "serve", "shop:app", "--config", write_config(folder, text), cwd=folder)
    assert "access.toml" in lines[0]
    assert "line" in lines[0] or "end of document" in lines[0]


def test_a_config_that_is_no_text_is_a_refusal(folder: Path) -> None:
    """Nor is a folder."""
    (folder / "access.toml").write_bytes(b"\xff\xfe")
    for path in (folder / "access.toml", folder):
        fail(REFUSED, "serve", "shop:app", "--config", path, cwd=folder)


def test_every_problem_of_a_config_is_said_at_once(folder: Path) -> None:
    """Each with its place, so that one look at the file is enough."""
    config = write_config(
        folder,
        """\
        [source]
        kind = "tsl"
        [[root_certificates]]
        name = "Test CA"
        certifcate = "ca.pem"
        associated_hostnames = []
        [[applications]]
        name = "Shop"
        domain = "https://localhost"
        policies = [{ name = "any", decision = "non-identity", include = [{ certificates = {} }] }]
        """,
    )
    ended = run("serve", "shop:app", "--config", config, cwd=folder)
    assert (ended.returncode, ended.stdout) == (REFUSED, "")
    assert "Traceback" not in ended.stderr
    first, *problems = ended.stderr.splitlines()
    assert first.startswith(f"error: {config}: 7 problems")
    places = [line.strip().partition(": ")[0] for line in problems]
    assert sorted(places[:7]) == [
        "applications[0].domain",
        "applications[0].policies[0].decision",
        "applications[0].policies[0].include[0]",
        "root_certificates[0].associated_hostnames",
        "root_certificates[0].certifcate",
        "root_certificates[0].certificate",
        "source.kind",
    ]
    assert "did you mean 'certificate'?" in ended.stderr


@pytest.mark.parametrize(
    ("app", "said", "cure"),
    [
        ("nothing:app", "nothing", "is nothing in this folder?"),
        ("shop:nothing", "nothing", "what is the app called in shop?"),
        ("shop:__name__", "cannot be called", "what is the app called in shop?"),
        ("shop", "shop", "module:attribute"),
        (":app", ":app", "module:attribute"),
        ("shop:", "shop:", "module:attribute"),
    ],
)
def test_an_app_that_cannot_be_found_is_a_refusal(folder: Path, app: str, said: str, cure: str) -> None:
    """The module, the attribute, or the form of the name: each with its own question."""
    *_, error, hint = fail(REFUSED, "serve", app, "--home", "home", cwd=folder)
    assert said in error
    assert cure in hint


def test_a_folder_to_start_in_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    """Somebody deleted it in another terminal; there is no path to it that could be told."""
    gone = tmp_path / "gone"
    gone.mkdir()
    line = shlex.join(["exec", *command("serve", "shop:app", "--home", "home")])
    ended = subprocess.run(
        ["sh", "-c", f"rmdir {shlex.quote(str(gone))} && {line}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=gone,
        env=environment(),
    )
    assert ended.returncode == REFUSED
    assert "Traceback" not in ended.stderr
    assert "error: " in ended.stderr


@pytest.mark.parametrize("host", ["192.0.2.250", "a..b", "x" * 64, "[::1]", ""])
def test_an_address_that_is_not_of_this_machine_is_a_refusal(folder: Path, host: str) -> None:
    """192.0.2.0/24 is kept for documentation, so no machine has that one; the others are no addresses at all."""
    *_, error, _ = fail(REFUSED, "serve", "shop:app", "--home", "home", "--host", host, "--port", "0", cwd=folder)
    assert host in error


def test_a_taken_port_is_a_refusal(folder: Path) -> None:
    """What a first start has made is there, and has been said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        *said, error, _ = fail(REFUSED, "serve", "shop:app", "--home", "home", "--port", str(port), cwd=folder)
    assert f"port {port}" in error
    assert any("device" in line for line in said)
    assert (folder / "home" / "ca-key.pem").exists()


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem", "access.toml"])
def test_a_damaged_file_of_a_home_is_a_refusal_that_names_it(folder: Path, name: str) -> None:
    """Each of those without which nobody could come in."""
    open_home(folder / "home", ["localhost"])
    (folder / "home" / name).write_bytes(b"junk")
    *_, error, _ = fail(REFUSED, "serve", "shop:app", "--home", "home", "--port", str(find_port()), cwd=folder)
    assert name in error


def test_a_missing_file_of_a_home_is_a_refusal_that_names_it(folder: Path) -> None:
    """Half a pair, as pki.home tells it."""
    open_home(folder / "home", ["localhost"])
    (folder / "home" / "server-key.pem").unlink()
    *_, error, _ = fail(REFUSED, "serve", "shop:app", "--home", "home", cwd=folder)
    assert "server-key.pem" in error


def test_a_server_certificate_without_alternative_names_does_not_end_in_a_traceback(folder: Path) -> None:
    """It may be served, with a note for each name that it lacks; here the port is taken, so that it ends."""
    home = open_home(folder / "home", ["localhost"])
    make_leaf(make_authority(), "localhost", usages=[SERVER]).write(home.folder, "server")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        lines = fail(REFUSED, "serve", "shop:app", "--home", "home", "--port", port, cwd=folder)
    assert any("does not name localhost" in line for line in lines)
