"""enrolment.renewal: a device gets its successor, once, by the key that it has, behind the real gate."""

import logging
import plistlib
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from apple import find_faults
from exchanges import make_tls
from keyfob import AccessMiddleware
from keyfob.enrolment import renewal
from keyfob.enrolment.issuing import REPEATS
from keyfob.enrolment.outlet import APP_NAME, APP_URL, Outlet
from keyfob.enrolment.renewal import RenewalCorner
from keyfob.inventory import RevocationReason, State
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.pkcs12 import make_password
from keyfob.pki.registry import ROOT_KEY, Registry
from registries import make_registry
from visits import ANDROID, HOST, IPHONE, LINUX, MAC, Browser, read_title, read_words

LINK = "/.keyfob/renew"
BASE = f"https://{HOST}"
RULES = """
[source]
kind = "tls"
[[root_certificates]]
name = "r"
certificate = "ca.pem"
associated_hostnames = ["keys.example.com"]
[renewal]
link = "/.keyfob/renew"
[[applications]]
name = "Budget"
domain = "keys.example.com"
[[applications.policies]]
name = "devices"
decision = "non_identity"
include = [{ everyone = {} }]
"""


class Handshake:
    """Tells the gate what a TLS server tells: the certificate that was shown."""

    def __init__(self, app: ASGIApp, *chain: x509.Certificate) -> None:
        self.app = app
        self._tls = make_tls([each.public_bytes(Encoding.PEM).decode() for each in chain])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "extensions": {"tls": self._tls}}, receive, send)


async def greet(_: Request) -> PlainTextResponse:
    return PlainTextResponse("the app")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = make_registry(tmp_path / "home")
    (registry.folder / "access.toml").write_text(RULES, encoding="utf-8")
    for name, value in {APP_URL: "https://keys.example.com:8443/", APP_NAME: "Budget"}.items():
        registry.inventory.write_setting(name, value)
    return registry


@pytest.fixture
def gate(registry: Registry) -> ASGIApp:
    app = Starlette(routes=[Route("/{path:path}", greet, methods=["GET", "POST"])])
    return AccessMiddleware(RenewalCorner(app, Outlet(registry), LINK), config=registry.folder / "access.toml")


def issue(registry: Registry, days: int = 20, kind: str = "p256", **more: Any) -> x509.Certificate:
    """A device whose certificate ends in so many days."""
    return registry.issue(DeviceRequest("My iPhone", days, **more), kind).certificate


def show(gate: ASGIApp, *chain: x509.Certificate, agent: str = IPHONE) -> Browser:
    """A device that shows this certificate."""
    return Browser(Handshake(gate, *chain), agent)


def open_identity(profile: bytes) -> x509.Certificate:
    """The certificate in a profile, which opens by itself."""
    [payload] = [each for each in plistlib.loads(profile)["PayloadContent"] if each["PayloadType"].endswith("pkcs12")]
    key, certificate, _ = pkcs12.load_key_and_certificates(payload["PayloadContent"], payload["Password"].encode())
    assert key is not None
    assert certificate is not None
    assert key.public_key() == certificate.public_key()
    return certificate


def find_states(registry: Registry) -> list[State]:
    return [stored.record.find_state(time.time()) for stored in registry.inventory.find("My iPhone")]


# --- One tap ----------------------------------------------------------------------------------------------------------


def test_an_iphone_gets_its_successor_with_one_tap(registry: Registry, gate: ASGIApp) -> None:
    """A profile of the same identifier, so that it takes the old one's place, with the password in it."""
    old = issue(registry, organization="Money App", emails=("me@example.com",))
    phone = show(gate, old)
    page = phone.get(LINK)
    assert (page.status_code, read_title(page)) == (200, "Renew the key of My iPhone")
    assert find_states(registry) == [State.ACTIVE]

    answer = phone.post(LINK, "profile", headers={"origin": BASE})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-apple-aspen-config")
    assert find_faults(answer.content) == []
    new = open_identity(answer.content)
    assert new.subject == old.subject
    assert (new.not_valid_after_utc - new.not_valid_before_utc).days == 20
    alternatives = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for each in (old, new)]
    assert alternatives[0] == alternatives[1]
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert present.parsed == new
    assert find_states(registry) == [State.ACTIVE, State.RETIRING]
    assert show(gate, new).get("/").text == "the app"


@pytest.mark.parametrize("agent", [ANDROID, MAC, LINUX])
def test_everybody_else_gets_a_password_and_a_file(registry: Registry, gate: ASGIApp, agent: str) -> None:
    """Over the connection that the old key has opened; the file opens with the password that the page says."""
    device = show(gate, issue(registry), agent=agent)
    page = device.post(LINK, "p12")
    assert read_title(page) == "The new key of My iPhone"
    [password] = [word for word in read_words(page).split() if len(word) == 23 and word.count("-") == 3]
    # What the page's own button sends.
    [value] = re.findall(r'name="as" value="([^"]+)"', page.text)
    file = device.post(LINK, value)
    assert file.headers["content-type"] == "application/x-pkcs12"
    _, certificate, _ = pkcs12.load_key_and_certificates(file.content, password.encode())
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert certificate == present.parsed


def test_the_new_key_is_of_the_old_ones_kind(registry: Registry, gate: ASGIApp) -> None:
    """What had to be RSA has to stay so."""
    answer = show(gate, issue(registry, kind="rsa2048")).post(LINK, "profile")
    assert type(open_identity(answer.content).public_key()).__name__ == "RSAPublicKey"


def test_two_taps_give_one_successor(registry: Registry, gate: ASGIApp) -> None:
    """The second gets the same one again: phones ask twice, and thumbs do."""
    phone = show(gate, issue(registry))
    first, second = (open_identity(phone.post(LINK, "profile").content) for _ in range(2))
    assert first == second
    assert registry.inventory.count() == 2


def test_many_taps_at_once_give_one_successor(registry: Registry, gate: ASGIApp) -> None:
    """They wait for each other."""
    phone = show(gate, issue(registry))
    found: list[x509.Certificate] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_identity(phone.post(LINK, "profile").content)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 5
    assert registry.inventory.count() == 2


def test_devices_do_not_wait_for_each_other(registry: Registry, gate: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two different ones are in the middle of it at the same time."""
    both = threading.Barrier(2, timeout=30)

    def wait() -> str:
        both.wait()
        return make_password()

    monkeypatch.setattr(renewal, "make_password", wait)
    phones = [show(gate, registry.issue(DeviceRequest(name, 20), "p256").certificate) for name in ("one", "two")]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda phone=phone: found.append(phone.post(LINK, "profile").status_code))
        for phone in phones
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200, 200]


def test_after_a_while_the_key_is_forgotten(registry: Registry, gate: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in memory alone, and no longer than somebody may tap again; the page says whom to ask."""
    phone = show(gate, issue(registry))
    phone.post(LINK, "profile")
    later = time.time() + REPEATS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    for answer in (phone.get(LINK), phone.post(LINK, "profile")):
        assert (answer.status_code, read_title(answer)) == (409, "The new key was handed out already")
    assert registry.inventory.count() == 2


# --- Who may ----------------------------------------------------------------------------------------------------------


def test_without_a_certificate_there_is_nothing_to_renew(registry: Registry, gate: ASGIApp) -> None:
    """The rules may let others in, too."""
    for answer in (show(gate).get(LINK), show(gate).post(LINK, "p12")):
        assert (answer.status_code, read_title(answer)) == (404, "There is no key to renew")


def test_a_key_with_time_left_is_not_renewed(registry: Registry, gate: ASGIApp) -> None:
    """Whoever borrows a phone for a moment shall not have a key for another year."""
    phone = show(gate, issue(registry, days=40))
    for answer in (phone.get(LINK), phone.post(LINK, "profile")):
        assert (answer.status_code, read_title(answer)) == (409, "There is nothing to renew yet")
    assert registry.inventory.count() == 1


def test_a_key_that_is_not_in_the_inventory_is_not_renewed(registry: Registry, gate: ASGIApp) -> None:
    """Also where it is of the very authority, and has a name that is known."""
    issue(registry)
    stranger = registry.authority.issue_device(DeviceRequest("My iPhone", 20)).certificate
    for answer in (show(gate, stranger).get(LINK), show(gate, stranger).post(LINK, "profile")):
        assert (answer.status_code, read_title(answer)) == (404, "This key cannot be renewed here")
    assert registry.inventory.count() == 1


def test_a_device_that_is_called_like_a_fingerprint_is_nobody_else(registry: Registry, gate: ASGIApp) -> None:
    """No device is given such a name here, but an inventory may have one."""
    old = issue(registry)
    name = old.fingerprint(hashes.SHA256()).hex()
    registry.record(name, registry.authority.issue_device(DeviceRequest(name, 20)).certificate)
    assert read_title(show(gate, old).get(LINK)) == "Renew the key of My iPhone"


def test_a_key_that_was_withdrawn_is_not_renewed(registry: Registry, gate: ASGIApp) -> None:
    """Also in the moment before the gate knows of it."""
    old = issue(registry)
    [stored] = registry.inventory.find("My iPhone")
    registry.inventory.revoke([stored.record], RevocationReason.KEY_COMPROMISE, time.time())
    assert show(gate, old).post(LINK, "profile").status_code == 409
    assert registry.inventory.count() == 1


def test_a_key_that_has_a_successor_from_elsewhere_gets_no_second_one(registry: Registry, gate: ASGIApp) -> None:
    """Whoever runs the app has renewed it."""
    old = issue(registry)
    key = registry.authority.issue_device("x").key
    registry.renew(DeviceRequest("My iPhone", 365), key.public_key(), time.time() + 86400)
    assert show(gate, old).post(LINK, "profile").status_code == 409
    assert registry.inventory.count() == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"origin": f"http://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_form_renews_nothing(registry: Registry, gate: ASGIApp, headers: dict[str, str]) -> None:
    """A browser adds the certificate to whatever another page makes it send."""
    phone = show(gate, issue(registry))
    assert phone.post(LINK, "profile", headers=headers).status_code == 400
    assert registry.inventory.count() == 1


def test_without_the_authoritys_key_somebody_has_to_be_asked(
    registry: Registry, gate: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be kept elsewhere; the page says what to do, and the log why."""
    old = issue(registry)
    del registry.authority
    (registry.folder / ROOT_KEY).unlink()
    with caplog.at_level(logging.WARNING, "keyfob.enrolment"):
        for answer in (show(gate, old).get(LINK), show(gate, old).post(LINK, "profile")):
            assert (answer.status_code, read_title(answer)) == (503, "Ask the person who runs this app")
    assert ROOT_KEY in caplog.text
    assert ROOT_KEY not in answer.text


# --- Where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/.keyfob", "/.keyfob/renew/", "/.keyfob/renewal", "/x/.keyfob/renew"])
def test_every_other_path_is_the_apps(registry: Registry, gate: ASGIApp, path: str) -> None:
    """Nothing is taken from it but the one that the rules name."""
    assert show(gate, issue(registry)).get(path).text == "the app"


@pytest.mark.parametrize("link", [None, "https://elsewhere.example/.keyfob/renew"])
def test_without_a_link_to_here_the_app_has_every_path(registry: Registry, link: str | None) -> None:
    """Whoever renews elsewhere, or not at all."""

    async def mark(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("the app")(scope, receive, send)

    assert Browser(RenewalCorner(mark, Outlet(registry), link)).get(LINK).text == "the app"


def test_est_renews_here_too(registry: Registry, gate: ASGIApp) -> None:
    """Behind the gate, as it has to be."""
    assert show(gate, issue(registry)).get("/.well-known/est/simplereenroll").status_code == 405


def test_its_pages_are_strict_and_tell_their_own_forms_apart(registry: Registry, gate: ASGIApp) -> None:
    """Without a referrer, browsers would not say where the form came from."""
    headers = show(gate, issue(registry)).get(LINK).headers
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "form-action 'self'" in headers["content-security-policy"]


def test_other_methods_are_refused(registry: Registry, gate: ASGIApp) -> None:
    """A page can be looked at, and its button pressed."""
    phone = show(gate, issue(registry))
    assert phone.request("DELETE", LINK).status_code == 405
    assert phone.request("HEAD", LINK).status_code == 200
    assert phone.post(LINK, "nothing").status_code == 400
    assert registry.inventory.count() == 1


def test_no_password_is_logged(registry: Registry, gate: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """The name and the serial number are."""
    with caplog.at_level(logging.DEBUG):
        device = show(gate, issue(registry), agent=ANDROID)
        [password] = [word for word in read_words(device.post(LINK, "p12")).split() if word.count("-") == 3]
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert present.record.serial_text in caplog.text
    assert password not in caplog.text
    assert present.parsed.fingerprint(hashes.SHA256()) == present.record.fingerprint
