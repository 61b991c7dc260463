"""README.md on keys: every command, option and format is named, and every key of the configuration about them."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from keyfob.cli.main import SECTIONS, load
from keyfob.config.document import RenewalTable
from keyfob.inventory import State
from keyfob.pki.exports import FORMATS
from keyfob.pki.keys import KEY_KINDS
from servers import ROOT, environment, find_port, keyfob, running, wait_for_handshake

README = (ROOT / "README.md").read_text(encoding="utf-8")
KEYS = README[README.index("## Keys for devices") : README.index("## Behind a proxy")]


def find_commands() -> Iterator[tuple[str, click.Command]]:
    """Each command that makes keys, with the words that call it."""
    for name, place in SECTIONS["The keys"].items():
        command = load(place)
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", each) for below, each in command.commands.items())
        else:
            yield name, command


COMMANDS = dict(find_commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_row(name: str) -> None:
    """With its argument, where it has one."""
    assert f"| `{name}" in KEYS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_named(name: str) -> None:
    """Those that say the opposite included."""
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option)]
    words = {word for each in options for word in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if not re.search(rf"`[^`\n]*{word}\b(?!-)[^`\n]*`", KEYS)} == set()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_row_that_says_who_can_import_it(name: str) -> None:
    """In the words of its own help."""
    assert f"| `{name}` |" in KEYS


@pytest.mark.parametrize("word", [*KEY_KINDS, *State])
def test_every_word_of_a_closed_set_is_named(word: str) -> None:
    """Kinds of keys, and states of certificates."""
    assert f"`{word}`" in KEYS


@pytest.mark.parametrize("word", RenewalTable.model_fields)
def test_every_key_about_renewals_is_shown(word: str) -> None:
    """In the example of its table."""
    assert re.search(rf"^{word} = ", KEYS, re.MULTILINE)


def find_block(language: str, marker: str) -> str:
    """The one fenced block of the section that holds `marker`."""
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", KEYS, re.DOTALL) if marker in text]
    return str(found)


def type_block(folder: Path, block: str, **variables: str) -> str:
    """What the block says when it is pasted into a shell in `folder`, where `keyfob` is installed."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "keyfob").write_text(f'#!/bin/sh\nexec {shlex.join(map(str, keyfob()))} "$@"\n')
    (programs / "keyfob").chmod(0o700)
    env = environment(PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", **variables)
    command = ["bash", "-e", "-o", "pipefail", "-c", block]
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_first_block_runs_as_it_stands(tmp_path: Path) -> None:
    """From a new authority to a device that was withdrawn."""
    said = type_block(tmp_path, find_block("sh", "keyfob ca init"))
    for path in ("ca.pem", "ca-key.pem", "bundle.pem", "inventory.db", "devices/My iPhone.pem"):
        assert (tmp_path / ".keyfob" / path).exists()
    assert (tmp_path / "My iPhone.p12").exists()
    assert re.search(r"^My iPhone +active ", said, re.MULTILINE)
    assert re.search(r"^My iPhone +revoked ", type_block(tmp_path, "keyfob list"), re.MULTILINE)


def test_the_fleet_runs_as_it_stands(tmp_path: Path) -> None:
    """The file and the command, with a signing request for the row that names one."""
    (tmp_path / "devices.csv").write_text(find_block("csv", "name,email"), encoding="utf-8")
    request = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout till12-key.pem"
    type_block(tmp_path, f"keyfob ca init; {request} -subj /CN=x -out till12.csr")
    type_block(tmp_path, find_block("sh", "--batch"))
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "Rhea's laptop-key.pem",
        "Rhea's laptop.pem",
        "Till 12.pem",
    ]


def test_the_walkthroughs_words_run_as_they_stand(tmp_path: Path) -> None:
    """With the walkthrough's own files."""
    for path in (ROOT / "tests/journeys/walkthrough").glob("*.json"):
        shutil.copy(path, tmp_path)
    type_block(tmp_path, find_block("sh", "keyfob cfssl genkey"))
    verify = "openssl verify -purpose sslclient -CAfile ca.pem iphone-client.pem"
    assert "iphone-client.pem: OK" in type_block(tmp_path, verify)


def test_a_program_enrols_as_it_stands(tmp_path: Path) -> None:
    """The block about EST, letter for letter but for the port, against what `keyfob serve` has opened."""
    port, enrolment = find_port(), find_port()
    ports = ["--port", str(port), "--enrolment-port", str(enrolment)]
    with running(keyfob("serve", "echo_app:app", "--home", ".keyfob", *ports), port, tmp_path, environment()):
        wait_for_handshake(enrolment)
        type_block(tmp_path, find_block("sh", "--est").replace("8444", str(enrolment)))
    verify = "openssl verify -purpose sslclient -CAfile .keyfob/ca.pem box.pem"
    assert "box.pem: OK" in type_block(tmp_path, verify)
