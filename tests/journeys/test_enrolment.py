"""A phone in one minute: invited by a code, handed its key once, let in, renewed, and put out again."""

import json
import plistlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from playwright.sync_api import Browser

from apple import find_faults
from apple_ber import Phone, find_key, read_reply
from browser import open_browser, take_picture
from keyfob.pki.home import open_home
from live.world import wait_for
from servers import Running, environment, find_port, find_program, keyfob, running, wait_for_handshake
from visits import ANDROID, IPHONE

# An app of one line, which says who has come, and whether it is time to renew.
APP = """\
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from keyfob import client_certificate

async def greet(request):
    return PlainTextResponse(f"Hello {client_certificate(request).common_name} {request.state.renewal}")

app = Starlette(routes=[Route("/", greet)])
"""


@dataclass(frozen=True)
class Place:
    """A server with its two ports, and the folder where commands are typed."""

    folder: Path
    server: Running
    enrolment: int

    @property
    def authority(self) -> Path:
        return self.folder / "home" / "ca.pem"

    def type(self, *arguments: str) -> str:
        """`keyfob …` in that folder; what it says on stdout."""
        ended = subprocess.run(
            keyfob(*arguments, "--home", "home"),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def curl(self, *arguments: str | Path) -> tuple[int, bytes]:
        """Status and body."""
        out = self.folder / "out"
        command = [find_program("curl", "curl"), "--silent", "--show-error", "--max-time", "20", "--output", out]
        ended = subprocess.run(
            [*map(str, command), "--cacert", str(self.authority), "--write-out", "%{http_code}", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return int(ended.stdout), out.read_bytes()

    def enter(self, key: Path) -> tuple[int, bytes]:
        """The app, with this certificate and key."""
        return self.curl("--cert", key, f"{self.server.url}/")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, port, enrolment = tmp_path_factory.mktemp("minute"), find_port(), find_port()
    (folder / "shop.py").write_text(APP, encoding="utf-8")
    ports = ("--port", str(port), "--enrolment-port", str(enrolment))
    with running(keyfob("serve", "shop:app", "--home", "home", *ports), port, folder, environment()) as server:
        wait_for_handshake(port)
        wait_for_handshake(enrolment)
        yield Place(folder, server, enrolment)


def open_p12(p12: Path, password: str) -> Path:
    """Certificate and key in one file, as curl takes them; opened by the real openssl."""
    opened = p12.with_suffix(".pem")
    command = [find_program("openssl", "openssl"), "pkcs12", "-legacy", "-in", p12, "-passin", "stdin", "-nodes"]
    subprocess.run([*map(str, command), "-out", str(opened)], input=f"{password}\n", text=True, check=True)
    return opened


def find_payload(profile: bytes, kind: str) -> dict[str, object]:
    [payload] = [each for each in plistlib.loads(profile)["PayloadContent"] if each["PayloadType"] == kind]
    return dict(payload)


def test_a_phone_in_one_minute(place: Place) -> None:
    """Invited, looked at, fetched, opened with the password of the terminal, let in; used again in vain; put out."""
    invited = place.type("enrol", "My iPhone", "--no-wait")
    [link] = re.findall(r"^  link       (\S+)$", invited, re.MULTILINE)
    [password] = re.findall(r"^  password   (\S+)", invited, re.MULTILINE)
    assert link.startswith(f"https://localhost:{place.enrolment}/enrol/")

    status, page = place.curl("--user-agent", IPHONE, link)
    assert (status, "A key for <bdi>My iPhone</bdi>" in page.decode()) == (200, True)

    status, profile = place.curl("--user-agent", IPHONE, "--data", "as=profile", link)
    assert status == 200
    p12 = place.folder / "phone.p12"
    content = find_payload(profile, "com.apple.security.pkcs12")["PayloadContent"]
    assert isinstance(content, bytes)
    p12.write_bytes(content)
    key = open_p12(p12, password)
    assert place.enter(key) == (200, b"Hello My iPhone None")
    assert find_payload(profile, "com.apple.webClip.managed")["URL"] == f"{place.server.url}/"

    status, page = place.curl("--user-agent", ANDROID, "--data", "as=p12", link)
    assert (status, "handed out already" in page.decode()) == (410, True)
    assert "was tried again from 127.0.0.1 (Android, Chrome)" in place.server.said()

    place.type("revoke", "My iPhone")
    wait_for(lambda: place.enter(key)[0] == 403)
    assert json.loads(place.enter(key)[1])["type"] == "urn:keyfob:certificate-revoked"

    said = place.server.said()
    for secret in (password, link.rpartition("/")[2]):
        assert secret not in said


def test_a_device_renews_in_the_app(place: Place) -> None:
    """In its last days the app hears of it; the page is inside the gate; the new key works, and the old one still."""
    made = json.loads(place.type("enrol", "My laptop", "--json", "--days", "20"))
    status, p12 = place.curl("--data", "as=p12", made["link"])
    assert status == 200
    (place.folder / "laptop.p12").write_bytes(p12)
    old = open_p12(place.folder / "laptop.p12", made["password"])
    assert place.enter(old) == (200, b"Hello My laptop /.keyfob/renew")

    url = f"{place.server.url}/.keyfob/renew"
    assert "Renew the key of" in place.curl("--cert", old, url)[1].decode()
    page = place.curl("--cert", old, "--data", "as=p12", url)[1].decode()
    [password] = re.findall(r'<code class="password">([^<]+)</code>', page)
    (place.folder / "next.p12").write_bytes(place.curl("--cert", old, "--data", "as=file", url)[1])
    new = open_p12(place.folder / "next.p12", password)

    assert place.enter(new) == (200, b"Hello My laptop /.keyfob/renew")
    assert place.enter(old)[0] == 200
    assert place.curl(url)[0] == 401
    assert password not in place.server.said()


def test_a_phone_makes_its_own_key(place: Place) -> None:
    """The profile says where and how, the phone asks as Apple's do, and what it gets opens the door."""
    invited = json.loads(place.type("enrol", "Own key", "--born-on-device", "--json"))
    assert invited["password"] is None
    status, profile = place.curl("--user-agent", IPHONE, "--data", "as=profile", invited["link"])
    assert (status, find_faults(profile)) == (200, [])
    scep = find_payload(profile, "com.apple.security.scep")["PayloadContent"]
    assert isinstance(scep, dict)

    listed = place.curl(f"{scep['URL']}?operation=GetCACert&message={scep['Name']}")[1]
    certificates = load_der_pkcs7_certificates(listed)
    assert scep["CAFingerprint"] in [each.fingerprint(SHA256()) for each in certificates]
    [ra] = [each for each in certificates if "registration" in each.subject.rfc4514_string()]
    phone = Phone(find_key("own"))
    request = place.folder / "request"
    request.write_bytes(phone.ask(ra, scep["Challenge"]))
    status, reply = place.curl("--data-binary", f"@{request}", f"{scep['URL']}?operation=PKIOperation")
    assert status == 200
    [issued, *_] = read_reply(reply, ra).open(phone)

    key = place.folder / "own.pem"
    private = phone.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(issued.public_bytes(Encoding.PEM) + private)
    assert place.enter(key) == (200, b"Hello Own key None")


def test_the_lines_for_a_program_work_when_pasted(place: Place) -> None:
    """Those that are shown for EST; curl asks for the password, which is given to it here."""
    said = place.type("enrol", "build-server", "--est", "--no-wait")
    [password] = re.findall(r"^  password   (\S+)", said, re.MULTILINE)
    lines = said.partition("ca.pem:\n")[2].replace("--user device", f"--user device:{password}")
    folder = place.folder / "program"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(place.authority.read_bytes())
    subprocess.run(["sh", "-ec", lines], cwd=folder, check=True, capture_output=True, timeout=60)
    found = place.curl("--cert", folder / "certificate.pem", "--key", folder / "key.pem", f"{place.server.url}/")
    assert found == (200, b"Hello build-server None")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def test_a_person_presses_the_button(browser: Browser, place: Place) -> None:
    """In a real browser, whose form says where it comes from, under the page's own policy, without a script."""
    made = json.loads(place.type("enrol", "My tablet", "--json"))
    context = browser.new_context(
        ignore_https_errors=True,
        user_agent=ANDROID,
        viewport={"width": 320, "height": 640},
        java_script_enabled=False,
        accept_downloads=True,
    )
    page = context.new_page()
    page.goto(made["link"])
    with page.expect_download() as waiting:
        page.get_by_role("button").first.click()
    assert waiting.value.suggested_filename == "My tablet.p12"
    fetched = place.folder / "tablet.p12"
    waiting.value.save_as(fetched)
    assert place.enter(open_p12(fetched, made["password"]))[0] == 200

    with page.expect_navigation():
        page.get_by_role("button").first.click()
    assert page.get_by_role("heading").inner_text() == "This key was handed out already"
    take_picture(page, "enrolment-second-use-320")
    context.close()


def test_the_budget_offers_a_new_key(browser: Browser, tmp_path: Path) -> None:
    """Where the device's own is about to end; the link leads to the page that renews it."""
    home = open_home(tmp_path / "home", ["localhost"])
    issue = keyfob("issue", "My phone", "--days", "20", "--home", str(home.folder))
    subprocess.run(issue, env=environment(), check=True, capture_output=True, timeout=60)
    port, device = find_port(), home.folder / "devices" / "My phone.pem"
    command = keyfob("serve", "budget_app.app:app", "--home", home.folder, "--port", str(port), "--no-enrolment")
    with running(command, port, tmp_path, environment()) as server:
        identity = {"origin": server.url, "certPath": device, "keyPath": device.with_name("My phone-key.pem")}
        for theme in ("light", "dark"):
            context = browser.new_context(
                client_certificates=[identity],  # type: ignore[list-item]
                ignore_https_errors=True,
                viewport={"width": 320, "height": 640},
                color_scheme=theme,
            )
            page = context.new_page()
            page.goto(f"{server.url}/")
            assert "This device's key ends on" in page.inner_text("body")
            take_picture(page, f"budget-renewal-320-{theme}")
            page.get_by_role("link", name="Renew it").click()
            assert page.get_by_role("heading").inner_text() == "Renew the key of My phone"
            page.get_by_role("button").first.click()
            assert page.get_by_role("heading").first.inner_text() == "The new key of My phone"
            context.close()


def test_the_line_for_a_phone_works_when_pasted(place: Place) -> None:
    """What the start says is true: the command finds folder and address by itself."""
    [line] = re.findall(r"^  (keyfob enrol .+)$", place.server.said(), re.MULTILINE)
    words = shlex.split(line)
    ended = subprocess.run(
        keyfob(*words[1:], "--json"),
        cwd="/",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert json.loads(ended.stdout)["link"].startswith(f"https://localhost:{place.enrolment}/enrol/")
