"""What phones and browsers import, read back by others: OpenSSL, NSS, and a real Chromium with real mutual TLS."""

import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import Page, sync_playwright

from browser import FLAGS
from keyfob.pki.authority import Authority, DeviceRequest, Issued
from keyfob.pki.exports import FORMATS, Export
from keyfob.pki.founding import found_intermediate
from keyfob.pki.pkcs12 import make_password
from keyfob.pki.profiles import root_payload, sign_profile
from keyfob.pki.registry import Registry
from nss import Database, list_identity
from registries import make_registry
from rules import ANY_DEVICE
from servers import Running, find_port, find_program, keyfob, running

ROOT = Authority.create("Money App Test")
PASSWORD = make_password()
P12 = ("p12", "p12-modern")
NAMES = {
    "plain": "My iPhone",
    "other scripts": "Rhéa's 手机 📱",
    "beyond the BMP": "📱" * 16,
    "quoted": '"Rhea\'s" \\ phone',
    "longest": "x" * 64,
}

each_p12 = pytest.mark.parametrize("kind", P12)
each_key = pytest.mark.parametrize("key", ["p256", "p384", "rsa2048"])
each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def write(folder: Path, kind: str, name: str = "My iPhone", key: str = "p256", issued: Issued | None = None) -> Path:
    """An export for a device of this name."""
    export = Export(issued or ROOT.issue_device(name, key), name, ROOT.certificate)
    path = folder / f"device.{FORMATS[kind].ending}"
    path.write_bytes(FORMATS[kind].compose(export, PASSWORD))
    return path


def run(*command: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    words = [find_program(str(command[0]), str(command[0])), *map(str, command[1:])]
    return subprocess.run(
        words, input=given, capture_output=True, text=True, encoding="latin-1", check=False, timeout=60
    )


def open_p12(path: Path, kind: str, password: str, *options: str) -> subprocess.CompletedProcess[str]:
    """By `openssl pkcs12`, with its old algorithms for the old format. It writes names in Latin-1."""
    legacy = ["-legacy"] if kind == "p12" else []
    return run("openssl", "pkcs12", *legacy, "-in", path, "-passin", "stdin", *options, given=f"{password}\n")


# --- OpenSSL --------------------------------------------------------------------------------------------------------

ALGORITHMS = {
    "p12": ("sha1", "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 50000"),
    "p12-modern": ("sha256", "PBES2, PBKDF2, AES-256-CBC, Iteration 50000, PRF hmacWithSHA256"),
}


@each_p12
def test_openssl_names_the_algorithms_that_were_meant(tmp_path: Path, kind: str) -> None:
    """Nothing newer in the one, nothing older in the other, and no bag is plain."""
    said = open_p12(write(tmp_path, kind), kind, PASSWORD, "-info", "-noout")
    assert said.returncode == 0, said.stderr
    mac, encryption = ALGORITHMS[kind]
    assert re.findall(r"^MAC: (\w+), Iteration \d+$", said.stderr, re.MULTILINE) == [mac]
    assert (
        re.findall(r"^(?:PKCS7 Encrypted data|Shrouded Keybag): (.+)$", said.stderr, re.MULTILINE) == [encryption] * 2
    )
    assert "PKCS7 Data\nShrouded" in said.stderr


@each_p12
@each_key
def test_openssl_finds_the_device_s_key_and_certificate(tmp_path: Path, kind: str, key: str) -> None:
    """One of each, and those that were put in."""
    issued = ROOT.issue_device("My iPhone", key)
    said = open_p12(write(tmp_path, kind, issued=issued), kind, PASSWORD, "-noenc")
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("BEGIN CERTIFICATE") == said.stdout.count("BEGIN PRIVATE KEY") == 1
    assert x509.load_pem_x509_certificate(said.stdout.encode()) == issued.certificate
    assert (
        run("openssl", "pkey", "-pubout", given=said.stdout).stdout
        == run("openssl", "x509", "-noout", "-pubkey", given=said.stdout).stdout
    )


@each_p12
@each_name
def test_openssl_shows_the_device_s_name_twice(tmp_path: Path, kind: str, name: str) -> None:
    """For the key and for the certificate; of each UTF-16 unit of a BMPString it prints the lower octet alone."""
    said = open_p12(write(tmp_path, kind, name), kind, PASSWORD, "-noenc")
    shown = name.encode("utf-16-be")[1::2].decode("latin-1")
    assert re.findall(r"friendlyName: (.+)", said.stdout) == [shown] * 2


@each_p12
def test_openssl_opens_nothing_with_another_password(tmp_path: Path, kind: str) -> None:
    """Nor with none."""
    path = write(tmp_path, kind)
    for wrong in ("", PASSWORD[:-1], make_password()):
        said = open_p12(path, kind, wrong, "-noenc")
        assert said.returncode != 0
        assert said.stdout == ""


@each_p12
def test_openssl_opens_both_without_its_legacy_provider(tmp_path: Path, kind: str) -> None:
    """RC2 of 40 bits is what that is for, and neither has it; so programs that never heard of it read both."""
    said = run("openssl", "pkcs12", "-in", write(tmp_path, kind), "-passin", "stdin", "-noenc", given=f"{PASSWORD}\n")
    assert said.returncode == 0, said.stderr
    assert "BEGIN PRIVATE KEY" in said.stdout


# --- NSS ------------------------------------------------------------------------------------------------------------


@each_p12
@each_key
def test_nss_imports_the_identity_under_the_device_s_name(tmp_path: Path, kind: str, key: str) -> None:
    """Firefox, and Chromium on Linux."""
    path, database = write(tmp_path, kind, key=key), Database(tmp_path / "db")
    said = database.import_identity(path, PASSWORD)
    assert said.returncode == 0, said.stderr
    assert database.list_keys() == ["My iPhone"]


@each_p12
@each_name
def test_nss_shows_the_device_s_name(tmp_path: Path, kind: str, name: str) -> None:
    """For the certificate, which has its private key, and for the key."""
    said = list_identity(write(tmp_path, kind, name), PASSWORD)
    assert said.returncode == 0, said.stderr
    assert re.findall(r"^ *Friendly Name: (.+)$", said.stdout, re.MULTILINE) == [name] * 2
    assert said.stdout.count("Certificate(has private key)") == 1


@each_p12
def test_nss_takes_nothing_with_another_password(tmp_path: Path, kind: str) -> None:
    """It says so, and no key has come in."""
    path, database = write(tmp_path, kind), Database(tmp_path / "db")
    for wrong in (PASSWORD[:-1], make_password()):
        assert "SEC_ERROR_BAD_PASSWORD" in list_identity(path, wrong).stderr
        assert database.import_identity(path, wrong).returncode != 0
    assert database.list_keys() == []


# --- Signed profiles ------------------------------------------------------------------------------------------------


def make_signer(kind: str) -> tuple[Issued, Authority]:
    """A certificate such as a TLS server has, and the intermediate above it."""
    intermediate = ROOT.issue_intermediate("Intermediate", kind=kind)
    return intermediate.issue_device("signer", kind), intermediate


PROFILE = FORMATS["mobileconfig"].compose(Export(ROOT.issue_device("x"), "x", ROOT.certificate), PASSWORD)


def verify(folder: Path, program: str, signed: bytes) -> bytes | None:
    """What `openssl cms` or `smime` takes the content for; None if it does not verify."""
    (folder / "root.pem").write_bytes(ROOT.issued.certificate_pem)
    (folder / "signed").write_bytes(signed)
    out = folder / "content"
    out.unlink(missing_ok=True)
    done = run(
        *("openssl", program, "-verify", "-binary", "-inform", "DER", "-in", folder / "signed", "-purpose", "any"),
        *("-CAfile", folder / "root.pem", "-no-CApath", "-no-CAstore", "-out", out),
    )
    return out.read_bytes() if done.returncode == 0 else None


@pytest.mark.parametrize("program", ["cms", "smime"])
@each_key
def test_openssl_verifies_a_signed_profile_with_nothing_but_the_root(tmp_path: Path, program: str, key: str) -> None:
    """Attached, to the octet, and with the intermediate in it, which a phone does not have."""
    signer, above = make_signer(key)
    signed = sign_profile(PROFILE, signer.certificate, signer.key, [above.certificate])
    assert verify(tmp_path, program, signed) == PROFILE
    assert verify(tmp_path, program, sign_profile(PROFILE, signer.certificate, signer.key, [])) is None


def test_a_signature_is_over_sha256_in_der(tmp_path: Path) -> None:
    """With the signer once, also where a chain of certificates names it again."""
    signer, above = make_signer("p256")
    chain = [signer.certificate, above.certificate, above.certificate]
    (tmp_path / "signed").write_bytes(sign_profile(PROFILE, signer.certificate, signer.key, chain))
    said = run("openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", tmp_path / "signed")
    assert said.returncode == 0, said.stderr
    assert set(re.findall(r"algorithm: (sha\w+)", said.stdout)) == {"sha256"}
    assert len(re.findall(r"serialNumber: (\d+)", said.stdout)) >= 2
    pem = run("openssl", "pkcs7", "-print_certs", "-inform", "DER", "-in", tmp_path / "signed").stdout
    assert pem.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("part", ["content", "signature"])
def test_a_profile_that_was_tampered_with_does_not_verify(tmp_path: Path, part: str) -> None:
    """One octet, wherever it is."""
    signer, above = make_signer("p256")
    signed = bytearray(sign_profile(PROFILE, signer.certificate, signer.key, [above.certificate]))
    at = signed.index(b"PayloadContent") if part == "content" else len(signed) - 4
    signed[at] ^= 1
    assert verify(tmp_path, "cms", bytes(signed)) is None


def test_a_profile_of_another_authority_does_not_verify(tmp_path: Path) -> None:
    """Of the same name, as it happens."""
    other = Authority.create("Money App Test")
    signer = other.issue_device("signer")
    assert verify(tmp_path, "cms", sign_profile(PROFILE, signer.certificate, signer.key, [other.certificate])) is None


def test_the_root_in_a_profile_is_one_that_openssl_reads(tmp_path: Path) -> None:
    """DER, as Apple takes it."""
    content = root_payload(ROOT.certificate, "keyfob.x").content["PayloadContent"]
    assert isinstance(content, bytes)
    (tmp_path / "ca.cer").write_bytes(content)
    said = run("openssl", "x509", "-inform", "DER", "-in", tmp_path / "ca.cer", "-noout", "-subject")
    assert said.stdout == "subject=CN = Money App Test\n"


# --- A server that asks for certificates ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """With an intermediate, which the server has and a device has not."""
    registry = make_registry(tmp_path_factory.mktemp("phones") / "home")
    found_intermediate(registry.folder, "Money App Test below")
    return Registry(registry.folder)


@pytest.fixture(scope="module")
def server(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("server"), find_port()
    issued = registry.authority.issue_server(["localhost"])
    files = {
        "ca.pem": (registry.folder / "bundle.pem").read_bytes(),
        "server.pem": issued.certificate_pem + registry.authority.issued.certificate_pem,
        "server-key.pem": issued.key_pem,
        "access.toml": ANY_DEVICE.encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    command = keyfob("serve", "echo_app:app", "--config", "access.toml", "--port", str(port))
    with running([*command, "--certificate", "server.pem", "--key", "server-key.pem"], port, folder) as server:
        yield server


def export(registry: Registry, kind: str, name: str, path: Path) -> Path:
    issued = registry.issue(DeviceRequest(name))
    chain = (registry.authority.certificate,)
    path.write_bytes(FORMATS[kind].compose(Export(issued, name, registry.root, chain), PASSWORD))
    return path


@contextmanager
def open_page(folder: Path, server: Running) -> Iterator[Page]:
    """Chromium as the person whose home `folder` is; it shows the server whatever certificate there is.

    That is a site's setting in its profile, which is written down here before it starts; otherwise it would ask.
    """
    settings = {f"{server.url},*": {"last_modified": "13300000000000000", "setting": {"filters": [{}]}}}
    preferences = {"profile": {"content_settings": {"exceptions": {"auto_select_certificate": settings}}}}
    (folder / "profile" / "Default").mkdir(parents=True)
    (folder / "profile" / "Default" / "Preferences").write_text(json.dumps(preferences))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder / "profile",
            executable_path=find_program("chromium", "chromium"),
            args=FLAGS,
            env={**environ, "HOME": str(folder)},
        )
        try:
            yield context.new_page()
        finally:
            context.close()


def make_user(folder: Path, registry: Registry) -> Database:
    """A home in which the CA is known, and no identity."""
    database = Database(folder / ".pki" / "nssdb")
    database.trust(registry.folder / "ca.pem")
    return database


@each_p12
def test_chromium_gets_in_with_the_file(tmp_path: Path, registry: Registry, server: Running, kind: str) -> None:
    """Imported with its password alone; the app sees the device's name, and no warning was clicked away."""
    name = f"Rhéa's 📱 ({kind})"
    database = make_user(tmp_path, registry)
    said = database.import_identity(export(registry, kind, name, tmp_path / "device.p12"), PASSWORD)
    assert said.returncode == 0, said.stderr
    with open_page(tmp_path, server) as page:
        answer = page.goto(f"{server.url}/")
        assert answer is not None
        assert answer.status == 200
        assert f"CN={name}" in json.loads(page.inner_text("body"))["state"]["client_certificate"]


def test_chromium_is_refused_without_the_file(tmp_path: Path, registry: Registry, server: Running) -> None:
    """The same person on the same machine, before the import."""
    make_user(tmp_path, registry)
    with open_page(tmp_path, server) as page:
        answer = page.goto(f"{server.url}/")
        assert answer is not None
        assert answer.status == 401
        assert "known devices" in page.inner_text("h1")


def test_curl_gets_in_with_the_pem_file(tmp_path: Path, registry: Registry, server: Running) -> None:
    """One file for certificate, intermediate and key; the password comes by stdin, where nobody else can read it."""
    path = export(registry, "pem", "A script", tmp_path / "device.pem")
    command = ("curl", "--silent", "--show-error", "--config", "-", "--cacert", registry.folder / "ca.pem")
    said = run(*command, "--cert", path, f"{server.url}/", given=f'pass = "{PASSWORD}"\n')
    assert said.returncode == 0, said.stderr
    assert "CN=A script" in json.loads(said.stdout)["state"]["client_certificate"]
    assert run(*command, "--cert", path, f"{server.url}/", given='pass = "wrong"\n').returncode != 0


@each_key
def test_python_loads_the_pem_file(tmp_path: Path, key: str) -> None:
    """With its password, and not without."""
    path, context = write(tmp_path, "pem", key=key), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(path, password=PASSWORD)
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(path, password="wrong")  # noqa: S106 - it is


def test_the_pem_file_begins_with_the_device_and_ends_with_its_encrypted_key(tmp_path: Path) -> None:
    """As OpenSSL reads a chain: the leaf first, then who has issued it; the root stays where it is trusted."""
    below = ROOT.issue_intermediate("Intermediate")
    issued = below.issue_device("x")
    data = FORMATS["pem"].compose(Export(issued, "x", ROOT.certificate, (below.certificate,)), PASSWORD)
    assert x509.load_pem_x509_certificates(data) == [issued.certificate, below.certificate]
    assert re.findall(rb"-----BEGIN (.+)-----", data) == [b"CERTIFICATE", b"CERTIFICATE", b"ENCRYPTED PRIVATE KEY"]
    (tmp_path / "x.pem").write_bytes(data)
    said = run("openssl", "pkey", "-in", tmp_path / "x.pem", "-passin", "stdin", "-pubout", given=f"{PASSWORD}\n")
    assert isinstance(issued.key, ec.EllipticCurvePrivateKey)
    assert said.stdout == run("openssl", "x509", "-noout", "-pubkey", given=issued.certificate_pem.decode()).stdout
    assert issued.certificate.public_bytes(Encoding.PEM) in data
