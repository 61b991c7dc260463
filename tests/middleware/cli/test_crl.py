"""cli.crl: a list for each authority whose key is here, numbered, in its place or where it is asked for."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from commands import fail, list_files, succeed
from keyfob.pki.registry import ROOT
from keyfob.trust import read_crls, read_roots


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the root has signed one device, and the intermediate another; both are revoked."""
    monkeypatch.chdir(tmp_path)
    succeed("ca", "init", "--name", "Root")
    succeed("issue", "old")
    succeed("ca", "intermediate", "--name", "Devices")
    succeed("issue", "new")
    succeed("revoke", "old")
    succeed("revoke", "new", "--reason", "keyCompromise")
    return tmp_path / ".keyfob"


def test_each_authority_withdraws_what_it_has_signed(home: Path) -> None:
    """OpenSSL refuses both devices by the two lists together."""
    said = succeed("crl")
    assert said.lines == [".keyfob/intermediate.crl", ".keyfob/ca.crl"]
    pattern = r"CN=(Devices|Root): number 1, 1 entry, good until \d{4}-\d\d-\d\d \d\d:\d\dZ\n"
    assert re.fullmatch(f"({pattern}){{2}}", said.err)
    lists = [option for name in said.lines for option in ("-CRLfile", name)]
    verify = ["openssl", "verify", "-crl_check_all", *lists, "-CAfile", ".keyfob/bundle.pem"]
    succeed("issue", "third")
    for name, revoked in (("old", True), ("new", True), ("third", False)):
        leaf = f".keyfob/devices/{name}.pem"
        ended = subprocess.run([*verify, leaf], capture_output=True, text=True, check=False)
        assert ("certificate revoked" in ended.stderr + ended.stdout) == revoked
        assert (ended.returncode != 0) == revoked
    assert home.is_dir()


def test_one_file_takes_all_lists(home: Path) -> None:
    """As our own reader has them."""
    succeed("crl", "--out", "all.crl", "--days", "30")
    found = read_crls(Path("all.crl"), read_roots((home / "bundle.pem").read_bytes()))
    assert sorted((each.issuer.rfc4514_string(), len(each)) for each in found) == [("CN=Devices", 1), ("CN=Root", 1)]
    assert "ca.crl" not in list_files(home)
    parsed = x509.load_pem_x509_crl(Path("all.crl").read_bytes())
    assert parsed.next_update_utc is not None
    assert (parsed.next_update_utc - parsed.last_update_utc).days == 30


def test_a_key_that_has_left_writes_no_list(home: Path) -> None:
    """The other one does; without any there is nothing to do."""
    (home / "ca-key.pem").unlink()
    assert succeed("crl").lines == [".keyfob/intermediate.crl"]
    (home / "intermediate-key.pem").unlink()
    error, hint = fail(1, "crl")
    assert error == "no authority's key is in .keyfob"
    assert hint


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--days", "0"], 2, "--days"),
        (["--days", "-1"], 2, "--days"),
        (["--days", "3000"], 1, "before a list of 3000 days would"),
        (["--out", "missing/x.crl"], 1, "missing/x.crl cannot be written"),
        (["--out", "."], 1, "cannot be written"),
        (["--home", "missing"], 1, "ca.pem is missing"),
        (["extra"], 2, "extra"),
    ],
    ids=str,
)
def test_wrong_input_is_an_error_a_hint_and_no_list(home: Path, arguments: list[str], status: int, said: str) -> None:
    """One line each."""
    before = list_files(Path())
    error, _ = fail(status, "crl", *arguments)
    assert said in error
    assert list_files(Path()) == before
    assert (home / ROOT).exists()
