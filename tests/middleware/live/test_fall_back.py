"""live.watch: a file that is broken holds up no withdrawal."""

import time
from pathlib import Path

import pytest

from certificates import DAY, Pair, make_authority, make_leaf
from exchanges import make_request, make_scope
from keyfob.config import build_gate
from keyfob.errors import Reason
from keyfob.live import Watch
from keyfob.live.watch import SETTLING
from keyfob.policy import Allow, Decision
from revocations import make_list, write_pem

ROOT, OTHER = make_authority("Root"), make_authority("Other")
PHONE, GUEST = make_leaf(ROOT), make_leaf(ROOT, "Guest tablet")
CONFIG = """
[source]
kind = "tls"
[[root_certificates]]
name = "Ours"
certificate = "ca.pem"
associated_hostnames = ["money.example.com"]
revoked = "revoked.txt"
[[root_certificates]]
name = "Theirs"
certificate = "other.pem"
associated_hostnames = ["other.example.com"]
crl = ["other.crl"]
[[applications]]
name = "Budget"
domain = "money.example.com"
[[applications.policies]]
name = "Devices"
decision = "non_identity"
include = [{ certificate = {} }]
[[applications]]
name = "Other"
domain = "other.example.com"
[[applications.policies]]
name = "Devices"
decision = "non_identity"
include = [{ certificate = {} }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    (tmp_path / "other.pem").write_text(OTHER.pem)
    (tmp_path / "other.crl").write_bytes(write_pem(make_list(OTHER)))
    (tmp_path / "revoked.txt").write_text("")
    (tmp_path / "access.toml").write_text(CONFIG)
    return tmp_path


def watch(folder: Path) -> Watch:
    return Watch(lambda files: build_gate(folder / "access.toml", files))


def look(watch: Watch) -> None:
    """Until nothing is left to be seen: a change has to stand still first."""
    for _ in range(4):
        watch.look()
        time.sleep(SETTLING)


def ask(watch: Watch, device: Pair) -> Decision:
    moment = device.certificate.not_valid_before_utc.timestamp() + 86_400
    return watch.gate.check(make_request(make_scope([device.pem]), moment))


def withdraw(folder: Path, device: Pair) -> None:
    with (folder / "revoked.txt").open("a") as file:
        file.write(f"serial={device.certificate.serial_number:X}\n")


@pytest.mark.parametrize("name", ["other.crl", "access.toml", "other.pem", "ca.pem"])
@pytest.mark.parametrize("content", [b"<html>Not here</html>", None], ids=["rubbish", "gone"])
def test_a_device_is_withdrawn_while_another_file_is_broken(folder: Path, name: str, content: bytes | None) -> None:
    """The problem is told, the old rules stay, and what is withdrawn meanwhile counts."""
    watching = watch(folder)
    assert isinstance(ask(watching, PHONE), Allow)
    good = (folder / name).read_bytes()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    look(watching)
    assert watching.problem
    assert isinstance(ask(watching, PHONE), Allow)
    withdraw(folder, PHONE)
    look(watching)
    refused = ask(watching, PHONE)
    assert not isinstance(refused, Allow)
    assert refused.reason is Reason.CERTIFICATE_REVOKED
    assert isinstance(ask(watching, GUEST), Allow)
    assert watching.problem
    (folder / name).write_bytes(good)
    look(watching)
    assert not watching.problem
    assert not isinstance(ask(watching, PHONE), Allow)


def test_a_list_that_breaks_goes_on_withdrawing(folder: Path) -> None:
    """What it said before stays, whatever it has become."""
    withdraw(folder, PHONE)
    watching = watch(folder)
    (folder / "revoked.txt").write_text("not a number\n")
    look(watching)
    assert "revoked.txt" in watching.problem
    assert not isinstance(ask(watching, PHONE), Allow)
    assert isinstance(ask(watching, GUEST), Allow)


def test_an_older_list_is_not_taken_for_a_newer_one(folder: Path) -> None:
    """Whoever it is fetched through could play back one that has not lapsed yet."""
    stolen = make_leaf(OTHER)
    (folder / "other.crl").write_bytes(make_list(OTHER, [stolen], begins=-DAY / 2))
    watching = watch(folder)
    (folder / "other.crl").write_bytes(make_list(OTHER, begins=-DAY))
    look(watching)
    assert "older than the list that is in force" in watching.problem
    moment = stolen.certificate.not_valid_before_utc.timestamp() + 86_400
    refused = watching.gate.check(make_request(make_scope([stolen.pem], host="other.example.com"), moment))
    assert not isinstance(refused, Allow)
    assert refused.reason is Reason.CERTIFICATE_REVOKED


def test_neither_an_older_list_nor_a_roots_own_number_holds_up_other_withdrawals(folder: Path) -> None:
    """Both are refused when they are read, as what cannot be read is."""
    (folder / "other.crl").write_bytes(make_list(OTHER, begins=-DAY / 2))
    watching = watch(folder)
    (folder / "other.crl").write_bytes(make_list(OTHER, begins=-DAY))
    withdraw(folder, PHONE)
    look(watching)
    assert "older than the list that is in force" in watching.problem
    assert not isinstance(ask(watching, PHONE), Allow)

    withdraw(folder, ROOT)
    stolen = make_leaf(OTHER)
    (folder / "other.crl").write_bytes(make_list(OTHER, [stolen], begins=-DAY / 4))
    look(watching)
    assert "which nobody can withdraw" in watching.problem
    moment = stolen.certificate.not_valid_before_utc.timestamp() + 86_400
    refused = watching.gate.check(make_request(make_scope([stolen.pem], host="other.example.com"), moment))
    assert not isinstance(refused, Allow)
    assert not isinstance(ask(watching, PHONE), Allow)
