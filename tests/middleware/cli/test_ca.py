"""cli.ca: an authority and an intermediate are made, shown, and never written over."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from commands import fail, list_files, run, succeed
from interruptions import interrupt_everywhere
from keyfob.pki.registry import Registry
from keyfob.trust import Verifier, read_roots
from permissions import closed
from postgresql import fresh_database
from servers import environment
from servers import keyfob as command

FILES = ["bundle.pem", "ca-key.pem", "ca.pem", "inventory.db"]
SECRET = "correct horse battery staple"  # noqa: S105 - nobody else's


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of an authority on P-256, without a passphrase."""
    succeed("ca", "init", "--home", tmp_path / "home", "--name", "Money App Test")
    return tmp_path / "home"


def show(home: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(succeed("ca", "show", "--home", home, "--json").out)
    return described


# --- keyfob ca init -------------------------------------------------------------------------------------------------


def test_init_makes_the_files_and_says_where_the_key_is(tmp_path: Path) -> None:
    """The path of the certificate is data; the rest is talk."""
    home = tmp_path / "home"
    said = succeed("ca", "init", "--home", home)
    assert said.out == f"{home}/ca.pem\n"
    assert f"Its key is {home}/ca-key.pem" in said.err
    assert f"keyfob issue laptop --home {home}" in said.err
    assert list_files(home) == FILES


def test_init_obeys_name_key_and_days(tmp_path: Path) -> None:
    """And `show` says them."""
    succeed("ca", "init", "--home", tmp_path, "--name", "Rhea Group, Kitchen", "--key", "p384", "--days", "30")
    root = show(tmp_path)["root"]
    assert (root["name"], root["key"], root["path_length"]) == (r"CN=Rhea Group\, Kitchen", "p384", 1)
    certificate = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert root["not_after"] == certificate.not_valid_after_utc.isoformat()
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 30


def test_init_never_writes_over_anything(home: Path) -> None:
    """Whoever calls it twice has one authority."""
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    error, hint = fail(1, "ca", "init", "--home", home)
    assert "never written over" in error
    assert "--home" in hint
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_the_folder_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or `.keyfob` here."""
    monkeypatch.chdir(tmp_path)
    succeed("ca", "init")
    said = succeed("ca", "init", env={"KEYFOB_HOME": str(tmp_path / "other")})
    assert list_files(tmp_path) == [f".keyfob/{name}" for name in FILES] + [f"other/{name}" for name in FILES]
    assert "--home" not in said.err


def test_an_inventory_in_postgresql_is_found_by_every_later_command(tmp_path: Path) -> None:
    """Its URL stays in the folder."""
    with fresh_database() as url:
        succeed("ca", "init", "--home", tmp_path, "--inventory", url)
        succeed("issue", "Rhea Group", "--home", tmp_path)
        assert "inventory.db" not in list_files(tmp_path)
        assert succeed("list", "--home", tmp_path).lines[1].startswith("Rhea Group ")
        assert show(tmp_path)["certificates"] == 1
        succeed("revoke", "Rhea Group", "--home", tmp_path)
        succeed("crl", "--home", tmp_path)
        assert len(x509.load_pem_x509_crl((tmp_path / "ca.crl").read_bytes())) == 1


def test_a_password_in_an_argument_is_refused(tmp_path: Path) -> None:
    """Everybody on the machine can read it there; the environment is one's own."""
    for url in ("postgresql://me:s3cret@nowhere.invalid/x", "postgresql://nowhere.invalid/x?password=s3cret"):
        error, _ = fail(2, "ca", "init", "--home", tmp_path, "--inventory", url)
        assert "KEYFOB_INVENTORY" in error
        assert "s3cret" not in error
    error, _ = fail(1, "ca", "init", "--home", tmp_path, env={"KEYFOB_INVENTORY": "mysql://me:s3cret@nowhere.invalid"})
    assert "s3cret" not in error
    assert list_files(tmp_path) == []


# --- Passphrases ----------------------------------------------------------------------------------------------------


def test_a_passphrase_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """The key is encrypted with it, and no later command signs without it."""
    file = tmp_path / "passphrase"
    file.write_text(f"{SECRET}\n")
    cases: list[tuple[list[str | Path], dict[str, str]]] = [
        (["--passphrase-file", file], {}),
        ([], {"KEYFOB_PASSPHRASE": SECRET}),
    ]
    for number, (arguments, env) in enumerate(cases):
        home = tmp_path / str(number)
        said = succeed("ca", "init", "--home", home, *arguments, env=env)
        assert SECRET not in said.out + said.err
        assert show(home)["root"]["key_encrypted"] is True
        assert "encrypted" in succeed("ca", "show", "--home", home).out
        error, hint = fail(1, "issue", "Rhea Group", "--home", home)
        assert "nobody said its passphrase" in error
        assert "KEYFOB_PASSPHRASE" in hint
        assert "devices" not in {path.name for path in home.iterdir()}
        succeed("issue", "Rhea Group", "--home", home, *arguments, env=env)
        succeed("crl", "--home", home, *arguments, env=env)


def test_a_passphrase_is_asked_for_twice_at_a_terminal(tmp_path: Path) -> None:
    """And once by each command that signs; it is never shown."""
    home = tmp_path / "home"
    said = converse(["ca", "init", "--home", home, "--passphrase"], [SECRET, SECRET])
    assert "Once more" in said
    assert SECRET not in said
    assert show(home)["root"]["key_encrypted"] is True
    assert SECRET not in converse(["issue", "Rhea Group", "--home", home], [SECRET])
    assert Registry(home).inventory.count() == 1


def converse(arguments: list[str | Path], answers: list[str]) -> str:
    """What a command shows at a terminal where somebody types these answers."""
    script = (
        "import os, pty, sys\n"
        "answers = sys.stdin.read().split('\\n')\n"
        "child, terminal = pty.fork()\n"
        "if child == 0:\n    os.execvp(sys.argv[1], sys.argv[1:])\n"
        "shown = b''\n"
        "while True:\n"
        "    try:\n        data = os.read(terminal, 1024)\n"
        "    except OSError:\n        break\n"
        "    shown += data\n"
        "    if data.rstrip().endswith(b':') and answers:\n"
        "        os.write(terminal, answers.pop(0).encode() + b'\\n')\n"
        "sys.stdout.buffer.write(shown)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, command(*arguments))],
        input="\n".join(answers),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert ended.returncode == 0, ended
    return ended.stdout


@pytest.mark.parametrize(
    ("arguments", "env", "status"),
    [
        (["--passphrase-file", "missing"], {}, 1),
        (["--passphrase-file", "empty"], {}, 1),
        (["--passphrase-file", "two-lines"], {}, 1),
        (["--passphrase-file", "long"], {}, 1),
        (["--passphrase-file", "binary"], {}, 1),
        (["--passphrase-file", "."], {}, 1),
        ([], {"KEYFOB_PASSPHRASE": ""}, 1),
        ([], {"KEYFOB_PASSPHRASE": "x" * 1024}, 1),
        ([], {"KEYFOB_PASSPHRASE": "x\udcff"}, 1),
        (["--no-passphrase", "--passphrase-file", "empty"], {}, 2),
        (["--no-passphrase", "--passphrase"], {}, 2),
        (["--passphrase", "--passphrase-file", "empty"], {}, 2),
    ],
    ids=str,
)
def test_what_is_no_passphrase_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], env: dict[str, str], status: int
) -> None:
    """Above all not an unencrypted one."""
    monkeypatch.chdir(tmp_path)
    contents = {"empty": b"\n", "two-lines": b"a\nb\n", "long": b"x" * 2000, "binary": b"\xff\xfe"}
    for name, data in contents.items():
        Path(name).write_bytes(data)
    fail(status, "ca", "init", *arguments, env=env)
    assert not Path(".keyfob").exists()


def test_no_passphrase_is_what_the_environment_cannot_change(tmp_path: Path) -> None:
    """For whoever has set it for another authority."""
    succeed("ca", "init", "--home", tmp_path, "--no-passphrase", env={"KEYFOB_PASSPHRASE": SECRET})
    assert show(tmp_path)["root"]["key_encrypted"] is False


# --- keyfob ca intermediate -----------------------------------------------------------------------------------------


def test_after_an_intermediate_the_root_s_key_is_not_needed(home: Path) -> None:
    """OpenSSL and the verifier at the door take the device's own certificate alone, with the bundle on the server."""
    said = succeed("ca", "intermediate", "--home", home)
    assert said.out == f"{home}/intermediate.pem\n"
    assert said.err.splitlines()[-1] == f"The root's key can leave this machine now: {home}/ca-key.pem"
    (home / "ca-key.pem").unlink()
    succeed("issue", "Rhea Group", "--home", home)
    leaf, bundle = home / "devices" / "Rhea Group.pem", home / "bundle.pem"
    verify: list[str | Path] = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", bundle, leaf]
    assert subprocess.run(verify, capture_output=True, text=True, check=True).stdout.strip() == f"{leaf}: OK"
    certificate = Verifier(read_roots(bundle.read_bytes())).verify([leaf.read_text()], time.time()).certificate
    assert certificate.common_name == "Rhea Group"
    assert [each.subject.rfc4514_string() for each in certificate.issuers] == [
        "CN=Money App Test devices",
        "CN=Money App Test",
    ]
    described = show(home)
    assert described["root"]["key_file"] is None
    assert described["intermediate"]["path_length"] == 0
    assert "not here" in succeed("ca", "show", "--home", home).out
    succeed("crl", "--home", home)
    assert "ca.crl" not in list_files(home)


def test_root_and_intermediate_have_their_own_passphrases(tmp_path: Path) -> None:
    """The root's from its own file or variable, or else the same."""
    home, root = tmp_path / "home", tmp_path / "root"
    root.write_text("of the root")
    succeed("ca", "init", "--home", home, "--passphrase-file", root)
    shutil.copytree(home, tmp_path / "copy")
    error, _ = fail(1, "ca", "intermediate", "--home", home, env={"KEYFOB_PASSPHRASE": SECRET})
    assert "the authority's key cannot be read" in error
    assert "intermediate.pem" not in list_files(home)
    succeed("ca", "intermediate", "--home", home, "--root-passphrase-file", root, env={"KEYFOB_PASSPHRASE": SECRET})
    fail(1, "issue", "Rhea Group", "--home", home, "--passphrase-file", root)
    succeed("issue", "Rhea Group", "--home", home, env={"KEYFOB_PASSPHRASE": SECRET})
    both = {"KEYFOB_PASSPHRASE": SECRET, "KEYFOB_ROOT_PASSPHRASE": "of the root"}
    assert len(succeed("crl", "--home", home, env=both).lines) == 2
    succeed("ca", "intermediate", "--home", tmp_path / "copy", "--passphrase-file", root)
    succeed("issue", "Rhea Group", "--home", tmp_path / "copy", "--passphrase-file", root)


def test_an_intermediate_of_its_own_name_and_kind(home: Path) -> None:
    """But not of the root's name, which would make two authorities one."""
    error, hint = fail(1, "ca", "intermediate", "--home", home, "--name", "Money App Test")
    assert "is the name of the root" in error
    assert hint
    fail(1, "ca", "intermediate", "--home", home, "--days", "36500")
    succeed("ca", "intermediate", "--home", home, "--name", "Phones", "--key", "rsa2048", "--days", "90")
    described = show(home)["intermediate"]
    assert (described["name"], described["key"]) == ("CN=Phones", "rsa2048")
    error, _ = fail(1, "ca", "intermediate", "--home", home)
    assert "intermediate.pem exists and is never written over" in error


def test_a_bundle_of_one_s_own_is_left_to_its_owner(home: Path) -> None:
    """Who is told what it lacks."""
    (home / "bundle.pem").write_text("# mine\n")
    assert "put intermediate.pem into it" in succeed("ca", "intermediate", "--home", home).err
    assert (home / "bundle.pem").read_text() == "# mine\n"


# --- keyfob ca show -------------------------------------------------------------------------------------------------


def test_show_says_what_there_is(home: Path) -> None:
    """Each certificate with its key, its list and its end; and how many have been signed."""
    succeed("issue", "Rhea Group", "--home", home)
    succeed("crl", "--home", home)
    said = succeed("ca", "show", "--home", home).out
    for words in (
        "root          CN=Money App Test",
        "path length 1",
        "CRL number  1",
        f"key         p256, in {home}/ca-key.pem",
        "intermediate  none",
        "certificates  1",
        f"inventory     {home}/inventory.db",
    ):
        assert words in said
    described = show(home)
    assert described["intermediate"] is None
    assert described["root"]["crl_number"] == 1
    fingerprint = subprocess.run(
        ["openssl", "x509", "-in", home / "ca.pem", "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert described["root"]["fingerprint"] == fingerprint.strip().partition("=")[2].replace(":", "").lower()


# --- Interruptions and wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["init", "intermediate", "crl"])
def test_a_command_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path, step: str) -> None:
    """Whatever it had come to: afterwards the folder is as if nothing had happened, and devices can be issued."""
    home = tmp_path / "home"
    if step != "init":
        succeed("ca", "init", "--home", home)
    runs = list(interrupt_everywhere(home, *(["crl"] if step == "crl" else ["ca", step])))
    assert len(runs) > 3
    for ended in runs:
        again = Path(ended["home"])
        assert ended["status"] == 0 or "never written over" in ended["said"], ended
        assert list_files(again) == list_files(Path(runs[-1]["home"]))
        succeed("issue", "Rhea Group", "--home", again)
        bundle, leaf = again / "bundle.pem", again / "devices" / "Rhea Group.pem"
        assert Verifier(read_roots(bundle.read_bytes())).verify([leaf.read_text()], time.time())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["init", "--name", ""], 1, "cannot be an authority's name"),
        (["init", "--name", "x" * 10_000], 1, "cannot be an authority's name"),
        (["init", "--name", "a\u202eb"], 1, "cannot be seen"),
        (["init", "--name", "a\nb"], 1, "cannot be seen"),
        (["init", "--name", "a\udcff"], 1, "cannot be seen"),
        (["init", "--key", "ed25519"], 2, "--key"),
        (["init", "--days", "0"], 2, "--days"),
        (["init", "--days", "36501"], 2, "--days"),
        (["init", "--days", "9" * 5000], 2, "--days"),
        (["init", "--home", ""], 2, "--home"),
        (["init", "--home", "file"], 1, "file"),
        (["init", "--home", "file/below"], 1, "file"),
        (["init", "--home", "x" * 300], 1, "name too long"),
        (["init", "--inventory", ""], 2, "--inventory"),
        (["init", "--inventory", "mysql://x/y"], 1, "mysql:// is no inventory"),
        (["init", "--inventory", "missing/x.db"], 1, "missing/x.db"),
        (["intermediate"], 1, "ca.pem is missing"),
        (["intermediate", "--home", "file"], 1, "file"),
        (["show"], 1, "is missing"),
        (["show", "--home", "file"], 1, "file"),
        (["nope"], 2, "nope"),
        ([], 2, "Missing command"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_wrong_input_is_an_error_a_hint_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, said: str
) -> None:
    """One line each, that can be printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    error, hint = fail(status, "ca", *arguments)
    assert said.casefold() in error.casefold()
    assert error.isprintable()
    assert hint.isprintable()
    assert list_files(tmp_path) == ["file"]


def test_a_folder_of_somebody_else_is_an_error(home: Path) -> None:
    """With the reason."""
    with closed(home):
        error, _ = fail(1, "ca", "show", "--home", home)
    assert "Permission denied" in error


def test_a_damaged_certificate_is_named(home: Path) -> None:
    """Instead of a traceback."""
    (home / "ca.pem").write_text("junk")
    for arguments in (["show"], ["intermediate"]):
        assert run("ca", *arguments, "--home", home).status == 1
        error, _ = fail(1, "ca", *arguments, "--home", home)
        assert "ca.pem cannot be read as a certificate" in error
