"""cli.serve: what a start says, first and second, and that what it says is true."""

import base64
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509

from certificates import make_authority, make_leaf, make_server
from keyfob.pki import open_home
from keyfob.server.addresses import find_hosts
from rules import ANY_DEVICE
from servers import Running, environment, find_port, find_program, keyfob, running, wait_for_handshake

# An app of one line behind the door: it says who came in, and where its own files may lie.
APP = """\
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from keyfob import client_certificate

async def greet(request):
    return PlainTextResponse(f"Hello {client_certificate(request).common_name}, {os.environ.get('KEYFOB_HOME')}")

app = Starlette(routes=[Route("/", greet)])
"""
FOLDER = "Rhea's keys & co"


class Start(NamedTuple):
    """One start of a home: everything it said, and what the curl line in that was answered."""

    said: str
    home: Path
    port: int
    answer: subprocess.CompletedProcess[str]


@contextmanager
def serving(folder: Path, port: int, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    (folder / "shop.py").write_text(APP, encoding="utf-8")
    with running(keyfob("serve", "shop:app", *arguments, "--port", str(port)), port, folder, env) as server:
        wait_for_handshake(port)
        yield server


def find_curl(said: str) -> str:
    """The line to be copied, without the blanks that nobody selects."""
    [line] = re.findall(r"^ +(curl .+)$", said, re.MULTILINE)
    return str(line)


def paste(line: str) -> subprocess.CompletedProcess[str]:
    """What another terminal, which stands elsewhere, makes of a line."""
    find_program("curl", "curl")
    find_program("curl", "curl")
    command = ["sh", "-c", f"{line} --silent --show-error --max-time 20"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def start(folder: Path, port: int) -> Start:
    with serving(folder, port, "--home", FOLDER) as server:
        said = server.said()
        return Start(said, folder / FOLDER, port, paste(find_curl(said)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def port() -> int:
    return find_port()


@pytest.fixture(scope="module")
def first(folder: Path, port: int) -> Start:
    return start(folder, port)


@pytest.fixture(scope="module")
def second(first: Start, folder: Path, port: int) -> Start:
    return start(folder, port)


def read_password(said: str) -> str:
    [password] = re.findall(r"password +(\S+)", said)
    return str(password)


# --- The first start ------------------------------------------------------------------------------------------------


def test_the_curl_line_works_when_pasted(first: Start) -> None:
    """Also where the folder's name has a space, a quote and an ampersand in it."""
    assert first.answer.returncode == 0, first.answer.stderr
    assert first.answer.stdout == f"Hello My iPhone, {first.home}"


@pytest.mark.parametrize("name", ["2025-11-23T10:30", "C:\\keys", '$HOME `id` "x" *', "-k"])
def test_the_curl_line_works_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    """curl reads a colon in --cert as the start of a password, and a shell reads almost everything else."""
    port = find_port()
    with serving(tmp_path, port, f"--home={name}") as server:
        answer = paste(find_curl(server.said()))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Hello My iPhone, ")


def test_the_folder_the_rules_and_the_address_are_said(first: Start) -> None:
    """The address is one that the certificate names."""
    assert re.search(rf"^  folder +{re.escape(str(first.home))}$", first.said, re.MULTILINE)
    assert re.search(rf"^  rules +{re.escape(str(first.home / 'access.toml'))}$", first.said, re.MULTILINE)
    assert re.search(rf"^  address +https://localhost:{first.port}$", first.said, re.MULTILINE)


def test_the_phone_key_opens_with_the_password_that_is_said(first: Start) -> None:
    """By the real openssl, and it is the device that curl was."""
    p12, password = first.home / "device.p12", read_password(first.said)
    assert re.search(rf"^  phone key +{re.escape(str(p12))}$", first.said, re.MULTILINE)
    openssl = find_program("openssl", "openssl")
    command = [openssl, "pkcs12", "-legacy", "-in", str(p12), "-passin", "stdin", "-nokeys"]
    opened = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=True)
    device = x509.load_pem_x509_certificate((first.home / "device.pem").read_bytes())
    assert x509.load_pem_x509_certificate(opened.stdout.encode()) == device


def test_how_the_phone_key_gets_onto_a_phone_is_said(first: Start) -> None:
    """Both files by name, the trust switch that iOS hides, and an address that is not this machine's own localhost."""
    steps = first.said.partition("Onto an iPhone:")[2]
    assert str(first.home / "ca.pem") in steps
    assert str(first.home / "device.p12") in steps
    assert "Certificate Trust Settings" in steps
    [(host, port)] = re.findall(r"In Safari open https://(\S+):(\d+) ", steps)
    assert host in find_hosts()
    assert int(port) == first.port


def test_a_server_on_loopback_says_that_phones_cannot_reach_it_yet(first: Start) -> None:
    """The steps would all succeed, and the page would not open."""
    assert "HOST=0.0.0.0" in first.said


def test_a_server_on_all_addresses_does_not(tmp_path: Path) -> None:
    """Then phones can reach it, and the name for this machine stays localhost."""
    port = find_port()
    with serving(tmp_path, port, "--home", "home", "--host", "0.0.0.0") as server:  # noqa: S104
        said = server.said()
        assert paste(find_curl(said)).returncode == 0
    assert "HOST=0.0.0.0" not in said
    assert f"address    https://localhost:{port}\n" in said


def test_nothing_secret_is_said_but_the_password(first: Start, second: Start) -> None:
    """No key, in no form: what is said ends up in logs and screenshots."""
    for said in (first.said, second.said):
        assert "PRIVATE KEY" not in said
        squeezed = re.sub(r"\s", "", said)
        for name in ("ca-key.pem", "server-key.pem", "device-key.pem"):
            body = "".join((first.home / name).read_text(encoding="ascii").splitlines()[1:-1])
            assert not any(body[at : at + 20] in squeezed for at in range(0, len(body) - 20, 20))
        p12 = (first.home / "device.p12").read_bytes()
        assert base64.b64encode(p12)[:40].decode() not in squeezed
        assert p12.hex()[:40] not in squeezed


# --- The second start -----------------------------------------------------------------------------------------------


def test_the_second_start_says_no_password(first: Start, second: Start) -> None:
    """It is nowhere kept, so it cannot be said again."""
    assert read_password(first.said) not in second.said
    assert "password   " not in second.said


def test_the_second_start_is_the_same_door(first: Start, second: Start) -> None:
    """The line that was copied yesterday works today."""
    assert find_curl(second.said) == find_curl(first.said)
    assert second.answer.stdout == first.answer.stdout == f"Hello My iPhone, {first.home}"


def test_a_phone_key_that_was_deleted_is_not_spoken_of(tmp_path: Path) -> None:
    """It is on the phone by now."""
    open_home(tmp_path / "home", find_hosts()).device_p12.unlink()
    with serving(tmp_path, find_port(), "--home", "home") as server:
        said = server.said()
    assert "device.p12" not in said
    assert "Onto an iPhone" not in said
    assert "Ctrl+C stops." in said


def test_a_name_that_came_later_is_noted_with_what_to_do(tmp_path: Path) -> None:
    """A machine in another network has another address, which browsers would warn about."""
    home = open_home(tmp_path / "home", ["localhost"])
    with serving(tmp_path, find_port(), "--home", home.folder) as server:
        said = server.said()
    [note] = re.findall(r"^  note .* does not name 127\.0\.0\.1.*?access\.toml$", said, re.MULTILINE | re.DOTALL)
    assert "server.pem and server-key.pem" in note


# --- Talk and data --------------------------------------------------------------------------------------------------


def test_everything_is_said_on_stderr_and_a_stop_is_no_error(tmp_path: Path) -> None:
    """stdout is for data, of which a server has none; Ctrl+C ends it without a traceback."""
    port = find_port()
    (tmp_path / "shop.py").write_text(APP, encoding="utf-8")
    command = keyfob("serve", "shop:app", "--home", "home", "--port", str(port))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if "Ctrl+C stops." in line:
                    break
            server.send_signal(signal.SIGINT)
            said, talk = server.communicate(timeout=20)
        finally:
            server.kill()
    assert said == ""
    assert "Traceback" not in talk
    assert server.returncode in {0, 130}


def test_a_refusal_is_one_line_on_stderr(tmp_path: Path) -> None:
    """Who was turned away is what an owner wants to see in the terminal."""
    port = find_port()
    with serving(tmp_path, port, "--home", "home") as server:
        before = server.said()
        line = f"curl --cacert {shlex.quote(str(tmp_path / 'home' / 'ca.pem'))} https://localhost:{port}/"
        assert "Hello" not in paste(line).stdout
        added = server.said().removeprefix(before)
    assert added.count("\n") == 1
    assert '"reason": "certificate-missing"' in added


# --- Without a home -------------------------------------------------------------------------------------------------


def test_a_config_with_certificate_and_key_is_served_and_makes_no_home(tmp_path: Path) -> None:
    """For those who have an authority already; the address is all there is to say."""
    authority = make_authority()
    authority.write(tmp_path, "ca")
    certificate, key = make_server(authority, "localhost").write(tmp_path, "server")
    device = make_leaf(authority, "Rhea Group").write(tmp_path, "device")
    config = tmp_path / "access.toml"
    config.write_text(ANY_DEVICE, encoding="utf-8")
    port, before = find_port(), set(tmp_path.iterdir())
    options: list[str | Path] = ["--config", config, "--certificate", certificate, "--key", key]
    with serving(tmp_path, port, *options) as server:
        assert server.said() == f"Serving https://localhost:{port}\n"
        curl = [
            find_program("curl", "curl"),
            "--cacert",
            "ca.pem",
            "--cert",
            device[0],
            "--key",
            device[1],
            f"https://localhost:{port}/",
        ]
        answer = paste(f"cd {shlex.quote(str(tmp_path))} && {shlex.join(map(str, curl))}")
    assert answer.stdout == "Hello Rhea Group, None"
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"shop.py", "__pycache__", server.log.name}
