"""cli.devices: issue, renew, revoke; what people type, what scripts read, and everything that is refused."""

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import make_name
from commands import fail, list_files, run, succeed
from interruptions import run_at_once
from keyfob.certificate import format_serial
from keyfob.inventory import Lapsed, State, open_inventory
from keyfob.pki.keys import read_key
from keyfob.pki.registry import Registry
from registries import make_registry

NAME = "Rhea Group"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an authority, in which the commands find it by themselves."""
    monkeypatch.chdir(tmp_path)
    make_registry(tmp_path / ".keyfob").inventory.close()
    return tmp_path / ".keyfob"


def read(home: Path, name: str = NAME) -> x509.Certificate:
    return x509.load_pem_x509_certificate((home / "devices" / f"{name}.pem").read_bytes())


def states(home: Path, name: str = NAME) -> list[State]:
    with Registry(home).inventory as inventory:
        return [each.record.find_state(time.time()) for each in inventory.find(name)]


# --- keyfob issue ---------------------------------------------------------------------------------------------------


def test_issue_makes_two_files_and_names_them(home: Path) -> None:
    """The paths are data, one a line; what to do next is talk."""
    said = succeed("issue", NAME)
    assert said.lines == [".keyfob/devices/Rhea Group.pem", ".keyfob/devices/Rhea Group-key.pem"]
    assert "has a certificate until" in said.err
    assert said.err.endswith("Onto a phone: keyfob export 'Rhea Group'\n")
    key = read_key((home / "devices" / f"{NAME}-key.pem").read_bytes(), "it")
    assert key.public_key() == read(home).public_key()
    assert states(home) == [State.ACTIVE]


def test_issue_obeys_every_option(home: Path) -> None:
    """As OpenSSL reads them in the certificate."""
    wish = ["--key", "rsa2048", "--days", "30", "--organization", "Rhea Group", "--unit", "Finance"]
    names = ["--email", "a@example.com", "--email", "b@example.com", "--dns", "phone.example.com", "--uri", "urn:x:1"]
    succeed("issue", "My iPhone", *wish, *names)
    path = home / "devices" / "My iPhone.pem"
    text = subprocess.run(
        ["openssl", "x509", "-in", path, "-noout", "-text", "-nameopt", "RFC2253"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for words in (
        "Subject: CN=My iPhone,OU=Finance,O=Rhea Group",
        "email:a@example.com, email:b@example.com, DNS:phone.example.com, URI:urn:x:1",
        "Public-Key: (2048 bit)",
        "TLS Web Client Authentication",
        "Signature Algorithm: ecdsa-with-SHA256",
    ):
        assert words in text
    certificate = read(home, "My iPhone")
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 30


def make_csr(key: Any, *extensions: x509.ExtensionType) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(make_name("Mallory", organization_name="Bank"))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_of_a_signing_request_only_the_key_counts(home: Path, encoding: Encoding) -> None:
    """What it asks for is named, and left out; there is no key to write."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("bank.example")])
    Path("it.csr").write_bytes(
        make_csr(key, names, x509.BasicConstraints(ca=True, path_length=None)).public_bytes(encoding)
    )
    said = succeed("issue", NAME, "--csr", "it.csr")
    assert said.lines == [".keyfob/devices/Rhea Group.pem"]
    [left_out] = [line for line in said.err.splitlines() if "left out" in line]
    for wish in ("CN=Mallory", "SubjectAlternativeName", "BasicConstraints"):
        assert wish in left_out
    assert "keyfob export" not in said.err
    certificate = read(home)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=Rhea Group"
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list_files(home / "devices") == [f"{NAME}.pem"]


def test_a_taken_name_is_refused_and_a_revoked_one_is_free(home: Path) -> None:
    """With what to do about it."""
    succeed("issue", NAME)
    before = read(home)
    error, hint = fail(1, "issue", NAME)
    assert error == "'Rhea Group' has a certificate already"
    assert "renew or revoke it" in hint
    assert read(home) == before
    succeed("revoke", NAME)
    succeed("issue", NAME)
    assert states(home) == [State.ACTIVE, State.REVOKED]


def test_a_batch_is_handed_over_as_it_was_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options that go for every row."""
    calls: list[tuple[Any, ...]] = []

    def run_batch(registry: Registry, path: Path, out: Path, *, kind: str, days: int, processes: int | None) -> None:
        calls.append((registry.folder, path, out, kind, days, processes))

    monkeypatch.setattr("keyfob.cli.batch.run_batch", run_batch)
    succeed("issue", "--batch", "devices.csv", "--out", "keys")
    succeed("issue", "--batch", "a.csv", "--out", "b.zip", "--key", "p384", "--days", "9", "--processes", "2")
    assert calls == [
        (Path(".keyfob"), Path("devices.csv"), Path("keys"), "p256", 365, None),
        (Path(".keyfob"), Path("a.csv"), Path("b.zip"), "p384", 9, 2),
    ]
    assert home.is_dir()


# --- keyfob renew ---------------------------------------------------------------------------------------------------


def test_renew_replaces_the_pair_and_says_how_long_the_old_one_lives(home: Path) -> None:
    """A week, if nobody says otherwise."""
    succeed("issue", NAME, "--days", "30", "--email", "rhea@example.com", "--unit", "Finance")
    old = read(home)
    said = succeed("renew", NAME)
    assert said.lines == [".keyfob/devices/Rhea Group.pem", ".keyfob/devices/Rhea Group-key.pem"]
    assert f"The old one opens the door until {datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}" in said.err
    assert read(home).public_key() != old.public_key()
    assert read(home).subject == old.subject
    assert states(home) == [State.ACTIVE, State.RETIRING]


@pytest.mark.parametrize("until", ["0", "7", "400", "2999-12-31"])
def test_the_old_one_lives_until_a_number_of_days_or_the_end_of_a_date(home: Path, until: str) -> None:
    """In UTC; 0 ends it at once."""
    succeed("issue", NAME)
    before = int(time.time())
    said = succeed("renew", NAME, "--until", until)
    with Registry(home).inventory as inventory:
        end = inventory.find(NAME)[1].record.retires_at or 0
    if "-" in until:
        assert datetime.fromtimestamp(end, UTC) == datetime(3000, 1, 1, tzinfo=UTC)
    else:
        assert before <= end - int(until) * 86400 <= time.time()
    assert ("until now" in said.err) == (until == "0")
    assert states(home)[1] is (State.REVOKED if until == "0" else State.RETIRING)


def test_today_is_a_last_day(home: Path) -> None:
    """Until it is over."""
    succeed("issue", NAME)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert run("renew", NAME, "--until", today).status == 0
    assert states(home)[1] is State.RETIRING


@pytest.mark.parametrize("until", ["", "-1", "x", "2020-01-01", "9999-12-31", "2027-02-30", "1.5", "9" * 400, "٣"])
def test_what_is_no_day_is_wrong_use(home: Path, until: str) -> None:
    """With how to write one."""
    succeed("issue", NAME)
    fail(2, "renew", NAME, "--until", until)
    assert states(home) == [State.ACTIVE]


def test_renew_takes_a_signing_request_and_another_kind(home: Path) -> None:
    """But not both, since the request brings its kind."""
    succeed("issue", NAME)
    succeed("renew", NAME, "--key", "p384")
    key = ec.generate_private_key(ec.SECP256R1())
    Path("it.csr").write_bytes(make_csr(key).public_bytes(Encoding.PEM))
    fail(2, "renew", NAME, "--csr", "it.csr", "--key", "p256")
    succeed("renew", NAME, "--csr", "it.csr")
    assert read(home).public_key() == key.public_key()
    assert list_files(home / "devices") == [f"{NAME}.pem"]


def test_who_has_nothing_to_renew_is_told_so(home: Path) -> None:
    """A typo gets the name that was meant, a revoked device the command for a new one."""
    succeed("issue", NAME)
    _, hint = fail(1, "renew", "Rhea Grup")
    assert hint == "did you mean 'Rhea Group'?"
    succeed("revoke", NAME)
    error, hint = fail(1, "renew", NAME)
    assert error == "'Rhea Group' has no certificate that counts"
    assert hint == "keyfob issue 'Rhea Group'"
    assert home.is_dir()


# --- keyfob revoke --------------------------------------------------------------------------------------------------


def test_a_name_revokes_all_that_still_counts(home: Path) -> None:
    """The one that retires, too; what was revoked is data."""
    succeed("issue", NAME)
    old = read(home)
    succeed("renew", NAME)
    said = succeed("revoke", NAME, "--reason", "keyCompromise")
    serials = {line.partition(" ")[0] for line in said.lines}
    assert serials == {format_serial(each.serial_number) for each in (old, read(home))}
    assert all(line.endswith("  Rhea Group") for line in said.lines)
    assert "keyfob crl" in said.err
    assert states(home) == [State.REVOKED, State.REVOKED]


def test_a_number_or_fingerprint_revokes_one(home: Path) -> None:
    """In the spellings of OpenSSL and browsers."""
    for spell in (
        lambda it: f"{it.serial_number:X}",
        lambda it: it.fingerprint(hashes.SHA256()).hex(),
        lambda it: it.fingerprint(hashes.SHA256()).hex(":").upper(),
    ):
        succeed("issue", NAME)
        old = read(home)
        succeed("renew", NAME)
        assert len(succeed("revoke", spell(old)).lines) == 1
        assert states(home)[:2] == [State.ACTIVE, State.REVOKED]
        succeed("revoke", NAME)


def test_a_name_that_was_only_invited_can_be_revoked(home: Path) -> None:
    """Somebody else has fetched its profile, and has yet to come with the challenge."""
    with open_inventory(home / "inventory.db") as inventory:
        token, _ = inventory.invitations.invite("guest", "scep", time.time(), 900)
    said = succeed("revoke", "guest")
    assert said.lines == []
    with open_inventory(home / "inventory.db") as inventory, pytest.raises(Lapsed):
        inventory.invitations.use(token, time.time(), "192.0.2.1", "")
    fail(1, "revoke", "guest")


def test_what_is_revoked_already_is_said_with_status_1(home: Path) -> None:
    """Nothing was done; above all the reason is still the first one."""
    succeed("issue", NAME)
    succeed("revoke", NAME, "--reason", "superseded")
    error, hint = fail(1, "revoke", NAME, "--reason", "keyCompromise")
    assert error == f"'Rhea Group' is revoked already, since {datetime.now(UTC):%Y-%m-%d} (superseded)"
    assert hint
    succeed("issue", NAME)
    succeed("renew", NAME, "--until", "0")
    with Registry(home).inventory as inventory:
        retired = inventory.find(NAME)[1].record.serial_text
    error, _ = fail(1, "revoke", retired)
    assert "since it was renewed" in error


def test_the_beginning_of_a_number_revokes_nothing(home: Path) -> None:
    """It might be another one's."""
    succeed("issue", NAME)
    error, _ = fail(1, "revoke", f"{read(home).serial_number:X}"[:12])
    assert "is no device, serial number or fingerprint" in error
    assert states(home) == [State.ACTIVE]


def test_an_expired_device_can_be_revoked_to_free_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the error of `issue` advises."""
    succeed("issue", NAME, "--days", "1")
    later = time.time() + 3 * 86400
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: later)
        assert "expired" in succeed("list").out
        assert len(succeed("revoke", NAME).lines) == 1
    assert states(home) == [State.REVOKED]


# --- Several at once ------------------------------------------------------------------------------------------------


def test_commands_at_once_lose_nothing(home: Path) -> None:
    """Ten names, and one of them three times: ten certificates, and two errors."""
    names = [f"device {number}" for number in range(10)] + ["device 0", "device 0"]
    ended = run_at_once(home, [["issue", name] for name in names])
    refused = [said for status, said in ended if status == 1]
    assert len(refused) == 2, ended
    assert all("has a certificate already" in said and "Traceback" not in said for said in refused)
    with Registry(home).inventory as inventory:
        records = list(inventory.iterate())
    assert sorted(record.name for record in records) == sorted(set(names))
    assert len({record.serial for record in records}) == 10
    assert len(list_files(home / "devices")) == 20


def test_renewals_and_revocations_at_once_lose_nothing(home: Path) -> None:
    """However they fall, at most one certificate counts, and the files are of the newest one."""
    succeed("issue", NAME)
    ended = run_at_once(home, [["renew", NAME]] * 3 + [["crl"]] * 3 + [["list"]] * 2)
    assert [status for status, _ in ended] == [0] * 8, ended
    assert states(home) == [State.ACTIVE, State.RETIRING, State.RETIRING, State.RETIRING]
    with Registry(home).inventory as inventory:
        assert inventory.find(NAME)[0].parsed == read(home)
    assert x509.load_pem_x509_crl((home / "ca.crl").read_bytes()).extensions


# --- Wrong input ----------------------------------------------------------------------------------------------------

CSRS: dict[str, bytes] = {
    "weak.csr": make_csr(rsa.generate_private_key(65537, 1024)).public_bytes(Encoding.PEM),  # noqa: S505 - refused
    "ed25519.csr": make_csr(ed25519.Ed25519PrivateKey.generate()).public_bytes(Encoding.PEM),
    "forged.csr": make_csr(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.DER)[:-1] + b"\0",
    "junk.csr": b"junk",
    "huge.csr": b"x" * 10_000_000,
    "empty.csr": b"",
}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        *(
            (["issue", name], 1, said)
            for name, said in (
                ("", "needs a name"),
                ("a/b", "in it, and files are called after it"),
                ("../x", "in it, and files are called after it"),
                ("a\x1b[2Jb", "cannot be seen"),
                ("a\nb", "cannot be seen"),
                ("a\u202eb", "cannot be seen"),
                ("a\udcffb", "cannot be seen"),
                ("Cafe\u0301", "not what it looks like"),
                ("x" * 10_000, "longer than 64"),
                (".x", "begins with"),
            )
        ),
        (["issue", "-x"], 2, "No such option"),
        (["issue", "--", "-x"], 1, "begins with '-'"),
        (["issue"], 2, "name the device"),
        (["issue", "a", "b"], 2, "unexpected extra argument"),
        *((["issue", "x", "--days", days], 2, "--days") for days in ("0", "-1", "36501", "1.5", "x", "9" * 5000)),
        (["issue", "x", "--days", "3651"], 1, "before a certificate of 3651 days would"),
        (["issue", "x", "--key", "p521"], 2, "--key"),
        (["issue", "x", "--email", "rhea"], 1, "is no e-mail address"),
        (["issue", "x", "--email", "a@b.example", "--email", "a@b.example"], 1, "is there twice"),
        (["issue", "x", "--dns", "a..b"], 1, "is no DNS name"),
        (["issue", "x", "--uri", "nope"], 1, "is no URI"),
        (["issue", "x", "--organization", ""], 1, "cannot be an organization"),
        (["issue", "x", "--unit", "a\u200bb"], 1, "cannot be seen"),
        *(
            (["issue", "x", "--csr", name], 1, said)
            for name, said in (
                ("missing.csr", "cannot be read"),
                ("weak.csr", "a key that is not used here"),
                ("ed25519.csr", "a key that is not used here"),
                ("forged.csr", "signature"),
                ("junk.csr", "cannot be read as a signing request"),
                ("huge.csr", "larger than any signing request"),
                ("empty.csr", "cannot be read as a signing request"),
                (".", "cannot be read"),
            )
        ),
        (["issue", "x", "--csr", "junk.csr", "--key", "p256"], 2, "--csr"),
        (["issue", "x", "--batch", "x.csv", "--out", "y"], 2, "leave NAME out"),
        (["issue", "--batch", "x.csv"], 2, "--out"),
        (["issue", "--batch", "x.csv", "--out", "y", "--email", "a@b.example", "--csr", "z"], 2, "--email and --csr"),
        (["issue", "x", "--out", "y"], 2, "--batch"),
        (["issue", "x", "--processes", "2"], 2, "--batch"),
        (["issue", "x", "--home", "missing"], 1, "ca.pem is missing"),
        (["issue", "x", "--home", "junk.csr"], 1, "junk.csr"),
        (["issue", "x", "--home", ""], 2, "--home"),
        (["issue", "x", "--inventory", "missing.db"], 1, "missing.db is missing"),
        (["issue", "x", "--inventory", "junk.csr"], 1, "junk.csr"),
        (["issue", "x", "--inventory", "."], 1, "is no file"),
        (["issue", "x", "--inventory", "postgresql://nobody@127.0.0.1:1/x"], 1, "cannot be used"),
        (["renew", "nobody"], 1, "is no device"),
        (["renew", "a/b"], 1, "in it, and files are called after it"),
        (["renew", "nobody", "--days", "0"], 2, "--days"),
        (["renew"], 2, "Missing argument"),
        (["revoke", "nobody"], 1, "is no device"),
        (["revoke", ""], 1, "is no device"),
        (["revoke", "a\udcffb"], 1, "is no device"),
        (["revoke", "a\x1b[2Jb"], 1, "is no device"),
        (["revoke", "x" * 10_000], 1, "is no device"),
        (["revoke", "f" * 10_000], 1, "is no device"),
        (["revoke", "nobody", "--reason", "dunno"], 2, "--reason"),
        (["revoke", "nobody", "--reason", "certificateHold"], 2, "--reason"),
        (["revoke"], 2, "Missing argument"),
        (["revoke", "nobody", "--home", "missing"], 1, "is missing"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_wrong_input_is_an_error_a_hint_and_nothing_else(
    home: Path, arguments: list[str], status: int, said: str
) -> None:
    """One line each, that can be printed; no file and no record is left."""
    for name, data in CSRS.items():
        Path(name).write_bytes(data)
    before = list_files(Path())
    error, hint = fail(status, *arguments)
    assert said.casefold() in error.casefold()
    for line in (error, hint):
        assert line.isprintable()
        assert len(line) < 1000
    assert list_files(Path()) == before
    with Registry(home).inventory as inventory:
        assert inventory.count() == 0


def test_a_wrong_passphrase_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not repeated."""
    monkeypatch.chdir(tmp_path)
    succeed("ca", "init", env={"KEYFOB_PASSPHRASE": "right"})
    error, hint = fail(1, "issue", NAME, env={"KEYFOB_PASSPHRASE": "wr0ng"})
    assert "wr0ng" not in error + hint
    assert "passphrase" in hint
    assert "devices" not in {path.parent.name for path in tmp_path.rglob("*")}


def test_a_damaged_inventory_leaves_no_file(home: Path) -> None:
    """And is named."""
    (home / "inventory.db").write_bytes(b"SQLite format 3\0" + b"junk" * 2000)
    error, _ = fail(1, "issue", NAME)
    assert "inventory.db" in error
    assert not list((home / "devices").glob("*"))
