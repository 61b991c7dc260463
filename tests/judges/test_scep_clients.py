"""Real clients as judges of enrolment: strongSwan, scepclient, curl and OpenSSL, each with a protocol of its own."""

import logging
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from apple_ber import Phone, find_key
from enrolling import Identity, make_identity, put_behind_gate, serving
from invited import invite_to_est, invite_to_scep
from keyfob.enrolment.protocols import make_protocol_routes, make_reenrolment_route
from keyfob.enrolment.scep.responder import Responder
from keyfob.pki.founding import found_intermediate, found_registry
from keyfob.pki.ra import RA, RA_KEY, open_ra
from keyfob.pki.registry import BUNDLE, ROOT, Registry
from registries import make_registry
from servers import find_program

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

BAD_REQUEST = "failInfo:     badRequest"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program in the test's folder, to its end."""

    def start(*command: str | Path, fails: bool = False) -> Done:
        done = subprocess.run(
            [str(part) for part in command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode != 0) == fails, f"{done.stdout}\n{done.stderr}"
        return done

    return start


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """One whose root signs devices; where a test says so, one whose intermediate does."""
    registry = make_registry(tmp_path / "home")
    if getattr(request, "param", "root") == "root":
        return registry
    found_intermediate(registry.folder, "Money App Intermediate")
    return Registry(registry.folder)


on_both = pytest.mark.parametrize("registry", ["root", "intermediate"], indirect=True)


@pytest.fixture
def identity(registry: Registry, tmp_path: Path) -> Identity:
    return make_identity(registry, tmp_path)


@pytest.fixture(autouse=True)
def _loud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "keyfob")


def require_signed(registry: Registry, name: str, pem: str) -> x509.Certificate:
    """The certificate that a client printed, which is the one that was recorded."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    present = registry.inventory.find_present(name)
    assert present is not None
    assert present.parsed == certificate
    return certificate


# --- strongSwan: SCEP -------------------------------------------------------------------------------------------------


@pytest.fixture
def pki() -> str:
    return find_program("pki", "strongswan-pki (with libstrongswan-{extra,standard}-plugins)")


@pytest.fixture
def scep(registry: Registry) -> Iterator[str]:
    with serving(make_protocol_routes(registry)) as url:
        yield f"{url}/scep"


Enrol = Callable[..., Done]


@pytest.fixture
def enrol(pki: str, run: Run, scep: str, tmp_path: Path) -> Enrol:
    """Asks for the authorities, and then for a certificate on a new key, with a challenge."""

    def ask(challenge: str, *options: str, key_name: str = "strongSwan", fails: bool = False) -> Done:
        key = find_key(key_name).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        (tmp_path / "own-key.pem").write_bytes(key)
        run(pki, "--scepca", "--url", scep, "--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem", "--force")
        authorities = [part for path in sorted(tmp_path.glob("ca*.pem")) for part in ("--cacert", str(path))]
        return run(
            *(pki, "--scep", "--url", scep, "--in", "own-key.pem", "--dn", "CN=Administrator"),
            *("--password", challenge, "--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem", *authorities),
            *("--outform", "pem", *options),
            fails=fails,
        )

    return ask


@pytest.mark.parametrize(
    ("registry", "digest"),
    [("root", "sha256"), ("root", "sha384"), ("intermediate", "sha512")],
    indirect=["registry"],
)
def test_strongswan_enrols_by_scep(digest: str, registry: Registry, enrol: Enrol) -> None:
    """It takes the RA for one, trusts it, gets the certificate on its own key, and trusts that."""
    challenge = invite_to_scep(registry, "strongSwan")
    done = enrol(challenge, "--cipher", "aes", "--digest", digest)
    certificate = require_signed(registry, "strongSwan", done.stdout)
    assert certificate.subject.rfc4514_string() == "CN=strongSwan,O=Money App"
    assert "Issued certificate is trusted" in done.stderr


@on_both
def test_strongswan_sees_authority_and_registration_authority(registry: Registry, enrol: Enrol, tmp_path: Path) -> None:
    """Each is written where it asked for it."""
    enrol(invite_to_scep(registry, "strongSwan"))
    assert x509.load_pem_x509_certificate((tmp_path / "ra.pem").read_bytes()) == open_ra(registry).certificate
    found = {x509.load_pem_x509_certificate(path.read_bytes()) for path in tmp_path.glob("ca*.pem")}
    assert found == {registry.root, registry.authority.certificate}


def test_strongswan_with_triple_des_is_refused(
    registry: Registry, enrol: Enrol, caplog: pytest.LogCaptureFixture
) -> None:
    """By name, cleanly, and without costing the challenge."""
    challenge = invite_to_scep(registry, "strongSwan")
    assert BAD_REQUEST in enrol(challenge, "--cipher", "des3", fails=True).stderr
    assert "a cipher other than AES" in caplog.text
    assert enrol(challenge, "--cipher", "aes").returncode == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--digest", "sha1"), "a digest other than"),
        (("--rsa-padding", "pss"), "a signature algorithm that is not RSA"),
    ],
    ids=["sha1", "pss"],
)
def test_strongswan_with_another_signature_is_refused(
    options: Sequence[str], reason: str, registry: Registry, enrol: Enrol, caplog: pytest.LogCaptureFixture
) -> None:
    """What was not announced is not taken."""
    done = enrol(invite_to_scep(registry, "strongSwan"), *options, fails=True)
    assert "HTTP 400" in done.stderr or "not supported by" in done.stderr
    assert reason in caplog.text or "not supported by" in done.stderr
    assert registry.inventory.find("strongSwan") == []


def test_strongswan_with_a_wrong_or_used_challenge_is_refused(
    registry: Registry, enrol: Enrol, caplog: pytest.LogCaptureFixture
) -> None:
    """With the same answer; the log tells them apart."""
    challenge = invite_to_scep(registry, "strongSwan")
    assert BAD_REQUEST in enrol(challenge + "x", fails=True).stderr
    assert "no such" in caplog.text
    done = enrol(challenge)
    assert BAD_REQUEST in enrol(challenge, key_name="another", fails=True).stderr
    assert "was used" in caplog.text
    # The same transaction with the same key, some seconds later: it may not have heard the answer.
    assert enrol(challenge).stdout == done.stdout
    assert len(registry.inventory.find("strongSwan")) == 1


# --- scepclient -------------------------------------------------------------------------------------------------------


def test_scepclient_is_refused_for_its_sha_1(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """It signs with SHA-1 and encrypts with DES, whatever it is told; the signature is what is looked at first."""
    client = find_program("scepclient", "scep")
    # It encrypts to every certificate that it is shown, and stumbles over one that is not RSA.
    registry = found_registry(tmp_path / "home", "Money App Test", "rsa2048")
    challenge = invite_to_scep(registry, "scepclient")
    with serving(make_protocol_routes(registry)) as url:
        done = run(
            *(client, "-server-url", f"{url}/scep", "-challenge", challenge, "-private-key", "own-key.pem"),
            *("-certificate", "own.pem"),
            fails=True,
        )
    assert "400" in done.stdout + done.stderr
    assert "a digest other than SHA-256, SHA-384 and SHA-512" in caplog.text
    assert registry.inventory.find("scepclient") == []


# --- OpenSSL ----------------------------------------------------------------------------------------------------------


def write_phone(phone: Phone, folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "phone.pem", folder / "phone-key.pem"
    certificate.write_bytes(phone.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(phone.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


@on_both
def test_openssl_verifies_and_decrypts_the_answer_to_an_iphone(registry: Registry, run: Run, tmp_path: Path) -> None:
    """The answer to a request as Apple writes it: a signature that chains to the root, and certificates inside."""
    phone, ra = Phone(), open_ra(registry)
    certificate, key = write_phone(phone, tmp_path)
    body = phone.ask(ra.certificate, invite_to_scep(registry, "My iPhone"))
    answer = Responder(registry).answer(body, "192.0.2.7", time.time()).body
    assert answer is not None
    (tmp_path / "answer.der").write_bytes(answer)
    bundle = registry.folder / BUNDLE
    run(
        *("openssl", "cms", "-verify", "-inform", "DER", "-in", "answer.der", "-binary", "-out", "envelope.der"),
        *("-CAfile", bundle, "-purpose", "any", "-signer", "signer.pem"),
    )
    assert x509.load_pem_x509_certificate((tmp_path / "signer.pem").read_bytes()) == ra.certificate
    run(
        *("openssl", "cms", "-decrypt", "-inform", "DER", "-in", "envelope.der", "-binary", "-out", "inside.der"),
        *("-recip", certificate, "-inkey", key),
    )
    pem = run("openssl", "pkcs7", "-inform", "DER", "-in", "inside.der", "-print_certs").stdout
    require_signed(registry, "My iPhone", pem[pem.index("-----BEGIN") :])


def test_openssl_reads_the_attributes_of_a_refusal(registry: Registry, run: Run, tmp_path: Path) -> None:
    """FAILURE and badRequest, as printable strings; no content."""
    body = Phone().ask(open_ra(registry).certificate, "wrong")
    answer = Responder(registry).answer(body, "192.0.2.7", time.time()).body
    assert answer is not None
    (tmp_path / "answer.der").write_bytes(answer)
    printed = run("openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", "answer.der").stdout
    found = dict(
        re.findall(r"object: undefined \(2\.16\.840\.1\.113733\.1\.9\.(\d)\)\s+set:\s+PRINTABLESTRING:(.*)", printed)
    )
    assert (found["2"], found["3"], found["4"]) == ("3", "2", "2")
    assert "eContent: <ABSENT>" in printed


def test_openssl_takes_the_requests_of_these_tests_for_what_they_are(
    registry: Registry, run: Run, tmp_path: Path
) -> None:
    """Otherwise they would show that two programs agree, and nothing about iPhones."""
    phone, ra = Phone(), open_ra(registry)
    (tmp_path / "request.der").write_bytes(phone.ask(ra.certificate, "x"))
    run(
        *("openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-in", "request.der", "-binary"),
        *("-out", "envelope.der"),
    )
    folder = registry.folder
    run(
        *("openssl", "cms", "-decrypt", "-inform", "DER", "-in", "envelope.der", "-binary", "-out", "csr.der"),
        *("-recip", folder / RA, "-inkey", folder / RA_KEY),
    )
    said = run("openssl", "req", "-inform", "DER", "-in", "csr.der", "-verify", "-noout", "-text")
    assert "challengePassword" in said.stdout


@on_both
def test_openssl_takes_the_registration_authority_for_no_client(registry: Registry, run: Run) -> None:
    """A server that asks OpenSSL, as nginx does, refuses it as well as keyfob's gate."""
    open_ra(registry)
    bundle, ra = registry.folder / BUNDLE, registry.folder / RA
    run("openssl", "verify", "-CAfile", bundle, ra)
    for purpose in ("sslclient", "sslserver"):
        done = run("openssl", "verify", "-CAfile", bundle, "-purpose", purpose, ra, fails=True)
        assert "purpose" in done.stderr


# --- EST --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def est(registry: Registry, identity: Identity) -> Iterator[str]:
    with serving(make_protocol_routes(registry), identity) as url:
        yield url


@pytest.fixture
def gate(registry: Registry, identity: Identity) -> Iterator[str]:
    with serving(
        put_behind_gate(registry, [make_reenrolment_route(registry)]), identity, registry.folder / ROOT
    ) as url:
        yield url


def make_request(run: Run, name: str) -> None:
    """A new P-256 key, and a request with it, in DER and in base64 with line breaks."""
    run(
        *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", f"{name}-key.pem", "-subj", "/CN=Administrator", "-outform", "DER", "-out", f"{name}.der"),
    )
    run("openssl", "base64", "-in", f"{name}.der", "-out", f"{name}.b64")


def write_device(registry: Registry, folder: Path, pem: str) -> None:
    """What the device shows: its certificate, and the intermediate above it."""
    above = (
        registry.authority.issued.certificate_pem.decode() if registry.authority.certificate != registry.root else ""
    )
    (folder / "device.pem").write_text(pem[pem.index("-----BEGIN") :] + above)


@on_both
def test_strongswan_asks_for_the_authorities_by_est(
    registry: Registry, pki: str, est: str, run: Run, tmp_path: Path
) -> None:
    """And finds the root that it trusts already."""
    done = run(
        *(pki, "--estca", "--url", est, "--cacert", registry.folder / ROOT, "--caout", "ca.pem", "--outform", "pem")
    )
    assert "Root CA cert is trusted" in done.stderr
    found = {x509.load_pem_x509_certificate(path.read_bytes()) for path in tmp_path.glob("ca*.pem")}
    assert found == {registry.root, registry.authority.certificate}


@on_both
def test_strongswan_enrols_and_renews_by_est(
    registry: Registry, pki: str, est: str, gate: str, run: Run, tmp_path: Path
) -> None:
    """With the password first, and with the certificate that it got then."""
    make_request(run, "first")
    make_request(run, "second")
    token, trust = invite_to_est(registry, "strongSwan"), ("--cacert", registry.folder / ROOT, "--outform", "pem")
    command = (pki, "--est", "--url", est, "--in", "first.der", "--userpass", f"anybody:{token}", *trust)
    done = run(*command)
    require_signed(registry, "strongSwan", done.stdout)
    assert "HTTP 401" in run(*command, fails=True).stderr
    write_device(registry, tmp_path, done.stdout)
    known = ("--cert", "device.pem", "--key", "first-key.pem")
    done = run(pki, "--est", "--url", gate, "--in", "second.der", *known, *trust)
    certificate = require_signed(registry, "strongSwan", done.stdout)
    assert certificate.subject.rfc4514_string() == "CN=strongSwan,O=Money App"
    assert len(registry.inventory.find("strongSwan")) == 2


def ask_with_curl(run: Run, url: str, registry: Registry, *options: str, request: str) -> tuple[str, str]:
    """The status, and the certificates that curl got, as OpenSSL reads them."""
    status = run(
        *("curl", "--silent", "--show-error", "--cacert", registry.folder / ROOT, "--output", "answer.b64"),
        *("--write-out", "%{http_code}", "--header", "Content-Type: application/pkcs10"),
        *("--data-binary", f"@{request}.b64", *options, url),
    ).stdout
    if status != "200":
        return status, ""
    run("openssl", "base64", "-d", "-A", "-in", "answer.b64", "-out", "answer.der")
    return status, run("openssl", "pkcs7", "-inform", "DER", "-in", "answer.der", "-print_certs").stdout


@on_both
def test_curl_enrols_and_renews_by_est(registry: Registry, est: str, gate: str, run: Run, tmp_path: Path) -> None:
    """In two lines of shell each, with line breaks in the base64."""
    make_request(run, "first")
    make_request(run, "second")
    token, url = invite_to_est(registry, "script"), f"{est}/.well-known/est/simpleenroll"
    assert ask_with_curl(run, url, registry, request="first") == ("401", "")
    assert ask_with_curl(run, url, registry, "--user", "x:wrong", request="first") == ("401", "")
    status, pem = ask_with_curl(run, url, registry, "--user", f"x:{token}", request="first")
    assert status == "200"
    write_device(registry, tmp_path, pem)
    first = require_signed(registry, "script", pem[pem.index("-----BEGIN") :])
    assert ask_with_curl(run, url, registry, "--user", f"x:{token}", request="first") == ("401", "")
    url, known = f"{gate}/.well-known/est/simplereenroll", ("--cert", "device.pem", "--key", "first-key.pem")
    assert ask_with_curl(run, url, registry, request="second") == ("401", "")
    status, pem = ask_with_curl(run, url, registry, *known, request="second")
    assert status == "200"
    second = require_signed(registry, "script", pem[pem.index("-----BEGIN") :])
    assert second.subject == first.subject
    assert second.public_key() != first.public_key()
