"""pki.pkcs12: the file that a phone imports, as OpenSSL and `cryptography` read it."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from keyfob.errors import PKIError
from keyfob.pki.authority import Authority
from keyfob.pki.pkcs12 import export_identity, make_password
from servers import find_program

ISSUED = Authority.create("keyfob CA").issue_device("My iPhone")
PASSWORD = make_password()
IDENTITY = export_identity(ISSUED, "My iPhone", PASSWORD)
PASSWORDS = [make_password() for _ in range(1000)]


def openssl(folder: Path, password: str, *options: str) -> subprocess.CompletedProcess[str]:
    path = folder / "device.p12"
    path.write_bytes(IDENTITY)
    command = [find_program("openssl", "openssl"), "pkcs12", "-legacy", "-in", str(path), "-passin", "stdin", *options]
    return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=False)


def test_both_bags_are_encrypted_as_every_phone_understands_it(tmp_path: Path) -> None:
    """iOS before 18 and Android before 14 take triple DES with a SHA-1 MAC and nothing newer; no bag may be plain."""
    said = openssl(tmp_path, PASSWORD, "-info", "-noout")
    assert said.returncode == 0, said.stderr
    assert re.search(r"^MAC: sha1, Iteration \d+$", said.stderr, re.MULTILINE)
    encryption = r"pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 50000"
    assert re.findall(rf"^(PKCS7 Encrypted data|Shrouded Keybag): {encryption}$", said.stderr, re.MULTILINE) == [
        "PKCS7 Encrypted data",
        "Shrouded Keybag",
    ]


@pytest.mark.parametrize(
    "wrong",
    ["", "wrong", PASSWORD.upper(), PASSWORD[:-1], PASSWORD.replace("-", "")],
    ids=["empty", "another", "in-capitals", "cut-short", "without-dashes"],
)
def test_a_wrong_password_opens_nothing(tmp_path: Path, wrong: str) -> None:
    """The password is all that protects the key, so it counts to its last character, dashes included."""
    said = openssl(tmp_path, wrong, "-noenc")
    assert said.returncode != 0
    assert "PRIVATE KEY" not in said.stdout
    with pytest.raises(ValueError, match="Invalid password"):
        pkcs12.load_pkcs12(IDENTITY, wrong.encode())


def test_it_holds_one_certificate_and_one_key(tmp_path: Path) -> None:
    """iOS allows one certificate; Android would take the authority's for a new authority."""
    said = openssl(tmp_path, PASSWORD, "-noenc")
    assert said.stdout.count("BEGIN CERTIFICATE") == 1
    assert said.stdout.count("BEGIN PRIVATE KEY") == 1
    read = pkcs12.load_pkcs12(IDENTITY, PASSWORD.encode())
    assert read.additional_certs == []
    assert read.cert is not None
    assert read.cert.certificate == ISSUED.certificate
    assert isinstance(read.key, ec.EllipticCurvePrivateKey)
    assert read.key.private_numbers() == ISSUED.key.private_numbers()


def test_certificate_and_key_share_a_name_and_an_identifier(tmp_path: Path) -> None:
    """Apple pairs the two by localKeyID, else by friendlyName; phones show the name."""
    said = openssl(tmp_path, PASSWORD, "-noenc").stdout
    assert re.findall(r"friendlyName: (.+)", said) == ["My iPhone"] * 2
    identifiers = re.findall(r"localKeyID: (.+)", said)
    assert len(identifiers) == 2
    assert len(set(identifiers)) == 1


@pytest.mark.parametrize("name", ["Rhéa's 手机", "x" * 64, '"quoted" \\ name'])
def test_any_name_that_a_device_has_can_be_shown(name: str) -> None:
    """RFC 2985 section 5.5.1: a friendlyName is a BMPString, so no language is left out."""
    read = pkcs12.load_pkcs12(export_identity(ISSUED, name, PASSWORD), PASSWORD.encode())
    assert read.cert is not None
    assert read.cert.friendly_name == name.encode()


def test_two_exports_of_the_same_identity_differ() -> None:
    """Salts are random, so equal passwords do not show."""
    assert export_identity(ISSUED, "My iPhone", PASSWORD) != IDENTITY


def test_a_password_is_four_groups_of_letters_and_digits_that_a_phone_can_type() -> None:
    """ASCII, because the formats disagree on the encoding of anything else; 0, 1, 8 and 9 look like letters."""
    for password in PASSWORDS:
        assert re.fullmatch(r"[a-z2-7]{5}(-[a-z2-7]{5}){3}", password)


def test_no_password_comes_twice() -> None:
    """Each file has its own."""
    assert len(set(PASSWORDS)) == len(PASSWORDS)


def test_a_password_has_at_least_eighty_random_bits() -> None:
    """With 32 signs in every place, each of the 20 places is worth 5 bits; one sign is never seen once in 10**11."""
    places = zip(*(password.replace("-", "") for password in PASSWORDS), strict=True)
    kinds = [len(set(place)) for place in places]
    assert kinds == [32] * 20


def test_the_modern_one_has_nothing_old_in_it(tmp_path: Path) -> None:
    """AES-256 and SHA-256 for both bags and the MAC, on request alone; the same identity comes out of it."""
    path = tmp_path / "modern.p12"
    modern = export_identity(ISSUED, "My iPhone", PASSWORD, modern=True)
    path.write_bytes(modern)
    command = [find_program("openssl", "openssl"), "pkcs12", "-in", str(path), "-passin", "stdin", "-info", "-noout"]
    said = subprocess.run(command, input=f"{PASSWORD}\n", capture_output=True, text=True, check=True)
    assert re.search(r"^MAC: sha256, Iteration \d+$", said.stderr, re.MULTILINE)
    assert said.stderr.count("PBES2, PBKDF2, AES-256-CBC, Iteration 50000, PRF hmacWithSHA256") == 2
    assert not re.search(r"sha1|DES", said.stderr)
    read = pkcs12.load_pkcs12(modern, PASSWORD.encode())
    assert read.cert is not None
    assert (read.cert.certificate, read.cert.friendly_name) == (ISSUED.certificate, b"My iPhone")
    assert read.additional_certs == []


@pytest.mark.parametrize("password", ["", "pässword", "手机", "two\nlines"])
def test_a_password_that_readers_disagree_about_is_refused(password: str) -> None:
    """The MAC takes UTF-16 and PBKDF2 takes UTF-8; of no password there are two kinds."""
    for modern in (False, True):
        with pytest.raises(PKIError):
            export_identity(ISSUED, "My iPhone", password, modern=modern)


@pytest.mark.parametrize("modern", [False, True])
def test_a_build_without_the_algorithm_says_so(monkeypatch: pytest.MonkeyPatch, modern: bool) -> None:
    """OpenSSL in a strict mode knows no triple DES; that is an error with a way out, and no traceback."""

    def refuse(*_: object) -> bytes:
        raise UnsupportedAlgorithm("not here")

    monkeypatch.setattr(pkcs12, "serialize_key_and_certificates", refuse)
    with pytest.raises(PKIError, match="not here") as raised:
        export_identity(ISSUED, "My iPhone", PASSWORD, modern=modern)
    assert "p12-modern" in raised.value.hint
