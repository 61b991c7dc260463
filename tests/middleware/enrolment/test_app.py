"""enrolment.app: looking changes nothing, the button works once, and nothing else is there."""

import asyncio
import base64
import hashlib
import logging
import plistlib
import re
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from starlette.types import ASGIApp

from apple import find_faults
from keyfob.enrolment import answering
from keyfob.enrolment.app import make_enrolment_app
from keyfob.enrolment.inviting import P12, Invited, Wish, erase_lapsed, invite
from keyfob.enrolment.outlet import APP_NAME, APP_URL, ENROLMENT_URL, Outlet
from keyfob.enrolment.requests import EST, SCEP
from keyfob.inventory import Invitation
from keyfob.pki.authority import DeviceRequest
from keyfob.pki.exports import Signer
from keyfob.pki.registry import Registry
from registries import make_registry
from visits import ANDROID, HOST, IPAD, IPHONE, IPHONE_CHROME, LINUX, MAC, WINDOWS, Browser, read_title, read_words

BASE = f"https://{HOST}"
PROFILE_TYPE, FILE_TYPE = "application/x-apple-aspen-config", "application/x-pkcs12"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = make_registry(tmp_path / "home")
    for name, value in {ENROLMENT_URL: BASE, APP_URL: "https://keys.example.com:8443/", APP_NAME: "Budget"}.items():
        registry.inventory.write_setting(name, value)
    return registry


@pytest.fixture
def app(registry: Registry) -> ASGIApp:
    return make_enrolment_app(Outlet(registry))


@pytest.fixture
def phone(app: ASGIApp) -> Browser:
    return Browser(app)


def make_invitation(registry: Registry, name: str = "My iPhone", kind: str = P12) -> Invited:
    return invite(registry, Wish(DeviceRequest(name), kind), 15)


def link(invited: Invited) -> str:
    return f"/enrol/{invited.token}"


def read(registry: Registry, invited: Invited) -> Invitation:
    found = registry.inventory.invitations.read(invited.number)
    assert found is not None
    return found


def let_lapse(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this process, an hour on."""
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)


def open_profile(profile: bytes) -> dict[str, dict[str, Any]]:
    """Its payloads, by their types."""
    return {each["PayloadType"]: each for each in plistlib.loads(profile)["PayloadContent"]}


def open_p12(p12: bytes, invited: Invited) -> x509.Certificate:
    """The certificate in a file that opens with the password that was said."""
    assert invited.password is not None
    key, certificate, others = pkcs12.load_key_and_certificates(p12, invited.password.encode())
    assert key is not None
    assert certificate is not None
    assert others == []
    return certificate


# --- Looking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [IPHONE, IPAD, ANDROID, MAC, WINDOWS, LINUX, "", "WhatsApp/2.23.20.0"])
def test_looking_changes_nothing_however_often(registry: Registry, phone: Browser, agent: str) -> None:
    """Previews in messengers fetch every link that is sent."""
    invited = make_invitation(registry)
    before = read(registry, invited)
    for method in ("GET", "HEAD", "GET"):
        assert phone.as_(agent).request(method, link(invited)).status_code == 200
    assert read(registry, invited) == before


def test_the_page_names_the_device_the_app_and_the_end(registry: Registry, phone: Browser) -> None:
    """Whoever scans a code sees what it is for before anything happens."""
    invited = make_invitation(registry)
    words = read_words(phone.get(link(invited)))
    assert "A key for My iPhone" in words
    assert "This key opens Budget" in words
    assert time.strftime("Open until %H:%M", time.localtime(invited.expires_at)) in words


@pytest.mark.parametrize(
    ("agent", "buttons"),
    [
        (IPHONE, ["profile"]),
        (IPAD, ["profile"]),
        (ANDROID, ["p12"]),
        (WINDOWS, ["p12"]),
        (LINUX, ["p12"]),
        # An iPad says that it is a Mac, until it is asked not to.
        (MAC, ["p12", "profile"]),
    ],
)
def test_the_first_button_is_for_the_device_that_looks(
    registry: Registry, phone: Browser, agent: str, buttons: list[str]
) -> None:
    """The others have theirs further down."""
    page = phone.as_(agent).get(link(make_invitation(registry))).text
    first = page[: page.index("Step by step")]
    assert re.findall(r'name="as" value="(\w+)"', first) == buttons
    assert {"profile", "p12"} == set(re.findall(r'name="as" value="(\w+)"', page))


def test_another_browser_on_an_iphone_is_sent_to_safari(registry: Registry, phone: Browser) -> None:
    """It would fetch the profile, and could not install it."""
    invited = make_invitation(registry)
    assert "This is Chrome." in read_words(phone.as_(IPHONE_CHROME).get(link(invited)))
    assert "Safari alone" not in read_words(phone.get(link(invited)))


def test_a_name_is_shown_as_text(registry: Registry, phone: Browser) -> None:
    """It may have every character of HTML in it."""
    invited = make_invitation(registry, "<i>&\"'x")
    page = phone.get(link(invited)).text
    assert "<i>" not in page
    assert read_title(phone.get(link(invited))) == "A key for <i>&\"'x"


def test_every_answer_is_strict(registry: Registry, phone: Browser) -> None:
    """No cache keeps it, no page frames it, no other page learns the link, and nothing is loaded or run."""
    invited = make_invitation(registry)
    answers = [
        phone.get(link(invited)),
        phone.get("/"),
        phone.get("/ca.crt"),
        phone.post(link(invited), headers={"origin": "https://evil.example"}),
        phone.post(link(invited)),
        phone.post(link(invited)),
        phone.request("DELETE", link(invited)),
        phone.get("/enrol/x"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 400, 200, 410, 405, 404]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_the_policy_allows_the_pages_own_style_and_no_other(registry: Registry, phone: Browser) -> None:
    """By its hash, so that not even a style can be slipped in."""
    answer = phone.get(link(make_invitation(registry)))
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    mark = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{mark}'" in answer.headers["content-security-policy"]
    assert " style=" not in answer.text
    assert "<script" not in answer.text
    assert not re.search(r'(?:src|href)="(?:https?:)?//(?!keys\.example\.com)', answer.text)


# --- The button -------------------------------------------------------------------------------------------------------


def test_an_iphone_gets_a_profile_whose_key_opens_with_the_password(registry: Registry, phone: Browser) -> None:
    """The password is not in it: it stands in the terminal alone."""
    invited = make_invitation(registry)
    answer = phone.post(link(invited), "profile")
    assert (answer.status_code, answer.headers["content-type"]) == (200, PROFILE_TYPE)
    assert find_faults(answer.content) == []
    payloads = open_profile(answer.content)
    assert set(payloads) == {"com.apple.security.root", "com.apple.security.pkcs12", "com.apple.webClip.managed"}
    identity = payloads["com.apple.security.pkcs12"]
    assert "Password" not in identity
    present = registry.inventory.find_present("My iPhone")
    assert present is not None
    assert open_p12(identity["PayloadContent"], invited) == present.parsed
    root = payloads["com.apple.security.root"]["PayloadContent"]
    assert root == registry.root.public_bytes(Encoding.DER)
    clip = payloads["com.apple.webClip.managed"]
    assert (clip["URL"], clip["Label"]) == ("https://keys.example.com:8443/", "Budget")


@pytest.mark.parametrize(("agent", "button"), [(ANDROID, "p12"), (WINDOWS, None), ("curl/8.5.0", None), (MAC, "p12")])
def test_everybody_else_gets_a_file(registry: Registry, phone: Browser, agent: str, button: str | None) -> None:
    """A PKCS#12 to be saved."""
    invited = make_invitation(registry)
    answer = phone.as_(agent).post(link(invited), button)
    assert (answer.status_code, answer.headers["content-type"]) == (200, FILE_TYPE)
    assert open_p12(answer.content, invited).subject.rfc4514_string() == "CN=My iPhone"
    assert answer.headers["content-disposition"].startswith('attachment; filename="My iPhone.p12"')


def test_a_file_has_the_devices_name_in_every_alphabet(registry: Registry, phone: Browser) -> None:
    """RFC 6266: in ASCII for old programs, and as it is for all others."""
    invited = make_invitation(registry, 'Žofie "1"')
    said = phone.post(link(invited), "p12").headers["content-disposition"]
    assert said == "attachment; filename=\"_ofie _1_.p12\"; filename*=UTF-8''%C5%BDofie%20%221%22.p12"


def test_whoever_uses_it_is_written_down(registry: Registry, phone: Browser) -> None:
    """The socket's other end, and what the browser is in words of our own."""
    invited = make_invitation(registry)
    phone.post(link(invited), "profile", headers={"x-forwarded-for": "203.0.113.9"})
    used = read(registry, invited)
    assert (used.used_from, used.used_with) == ("192.0.2.7", "iPhone, Safari")


def test_a_second_use_fails_loudly(registry: Registry, phone: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """The page says when and from where it was used; the log warns; the attempt is counted."""
    invited = make_invitation(registry)
    assert phone.post(link(invited), "profile").status_code == 200
    with caplog.at_level(logging.WARNING, "keyfob.enrolment"):
        again = phone.at("198.51.100.9").post(link(invited), "profile")
    assert again.status_code == 410
    assert read_title(again) == "This key was handed out already"
    assert "192.0.2.7" in read_words(again)
    assert "Your attempt was written down" in read_words(again)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "was tried again from 198.51.100.9" in record.getMessage()
    used = read(registry, invited)
    assert (used.tries, used.tried_from) == (1, "198.51.100.9")


def test_a_flood_for_one_invitation_does_not_hide_another(
    registry: Registry, phone: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines are limited for each invitation by itself: every second use stays loud."""
    first, second = make_invitation(registry, "first"), make_invitation(registry, "second")
    for invited in (first, second):
        phone.post(link(invited), "p12")
    with caplog.at_level(logging.WARNING, "keyfob.enrolment"):
        for invited in [first] * 40 + [second]:
            assert phone.post(link(invited), "p12").status_code == 410
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("'first'" in said for said in warned) < 40
    assert sum("'second'" in said for said in warned) == 1


def test_blocking_work_is_done_in_few_threads(
    registry: Registry, app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's own threads are left to the app."""
    now, most, counting = 0, 0, threading.Lock()

    def find(_: str) -> None:
        nonlocal now, most
        with counting:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with counting:
            now -= 1

    monkeypatch.setattr(registry.inventory.invitations, "find", find)

    async def look() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
            answers = await asyncio.gather(*(client.get("/enrol/x") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {404}

    asyncio.run(look())
    assert 1 <= most <= 4


def test_a_button_that_never_ends_is_given_up(
    registry: Registry, app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And uses nothing up."""
    monkeypatch.setattr(answering, "BODY_TAKES", 0.05)
    invited = make_invitation(registry)

    async def drip() -> AsyncIterator[bytes]:
        yield b"as"
        await asyncio.sleep(600)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
            return await client.post(link(invited), content=drip())

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    assert read(registry, invited).used_at is None


def test_a_look_after_the_use_says_so_and_is_no_attempt(registry: Registry, phone: Browser) -> None:
    """Whoever goes back to the page is nobody to be warned of."""
    invited = make_invitation(registry)
    phone.post(link(invited), "profile")
    looked = phone.get(link(invited))
    assert (looked.status_code, read_title(looked)) == (410, "This key was handed out already")
    assert "attempt" not in read_words(looked)
    assert read(registry, invited).tries == 0


def test_of_many_at_once_one_gets_the_key(registry: Registry, phone: Browser) -> None:
    """Everybody else gets the page that says so."""
    invited = make_invitation(registry)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(phone.post(link(invited), "p12").status_code)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 410, 410, 410, 410, 410]
    assert read(registry, invited).tries == 5


def test_a_lapsed_invitation_hands_out_nothing(
    registry: Registry, phone: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither before nor after its key was erased."""
    invited = make_invitation(registry)
    let_lapse(registry, monkeypatch)
    for _ in range(2):
        for answer in (phone.get(link(invited)), phone.post(link(invited), "p12")):
            assert (answer.status_code, read_title(answer)) == (410, "This invitation has lapsed")
        erase_lapsed(registry.inventory, time.time())


@pytest.mark.parametrize("token", ["AAAAAAAAAAAAAAAAAAAAAA", "x", "%00", "%F0%9F%94%91", "a" * 5000])
def test_an_unknown_token_is_a_page(phone: Browser, token: str) -> None:
    """Whatever it looks like."""
    for answer in (phone.get(f"/enrol/{token}"), phone.post(f"/enrol/{token}", "p12")):
        assert (answer.status_code, read_title(answer)) == (404, "There is no such invitation")


# --- What is no button ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://keys.example.com:8444"},
        {"origin": "https://keys.example.com"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": BASE},
        {"sec-fetch-site": "cross-site", "origin": "null"},
    ],
)
def test_another_sites_form_uses_nothing_up(registry: Registry, phone: Browser, headers: dict[str, str]) -> None:
    """Not even one that knows the link."""
    invited = make_invitation(registry)
    assert phone.post(link(invited), "p12", headers=headers).status_code == 400
    assert read(registry, invited).used_at is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": BASE, "sec-fetch-site": "same-origin"},
        # A page without a referrer keeps its origin back, too.
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"origin": "null"},
    ],
)
def test_the_pages_own_form_is_taken(registry: Registry, phone: Browser, headers: dict[str, str]) -> None:
    """As browsers old and new send it."""
    assert phone.post(link(make_invitation(registry)), "p12", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": {"as": "pem"}}, 400),
        ({"data": {"other": "p12"}}, 400),
        ({"content": b"as=p12&as=profile", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400),
        ({"content": b"as=p12"}, 415),
        ({"json": {"as": "p12"}}, 415),
        ({"data": {"as": "p12" * 1000}}, 413),
    ],
)
def test_a_body_that_no_button_sends_uses_nothing_up(
    registry: Registry, phone: Browser, options: dict[str, Any], status: int
) -> None:
    """It is a page that says so."""
    invited = make_invitation(registry)
    assert phone.post(link(invited), **options).status_code == status
    assert read(registry, invited).used_at is None


@pytest.mark.parametrize("path", ["/", "/enrol", "/enrol/", "/enrol/x/y", "/favicon.ico", "/../etc/passwd", "/docs"])
def test_every_other_address_says_what_this_one_is_for(phone: Browser, path: str) -> None:
    """And nothing more."""
    answer = phone.get(path)
    assert (answer.status_code, read_title(answer)) == (404, "Keys are handed out here")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(registry: Registry, phone: Browser, method: str) -> None:
    """A page can be looked at, and its button pressed."""
    invited = make_invitation(registry)
    assert phone.request(method, link(invited)).status_code == 405
    assert read(registry, invited).used_at is None


def test_no_answer_is_403(registry: Registry, phone: Browser) -> None:
    """Safari hides a 403 behind an error of its own."""
    invited = make_invitation(registry)
    answers = [
        phone.post(link(invited), headers={"origin": "https://evil.example"}),
        phone.post(link(invited), "p12"),
        phone.post(link(invited), "p12"),
        phone.get("/"),
    ]
    assert {answer.status_code for answer in answers} == {400, 200, 410, 404}


# --- Keys that are born elsewhere -------------------------------------------------------------------------------------


def test_an_iphone_that_makes_its_own_key_gets_a_challenge(registry: Registry, phone: Browser) -> None:
    """A fresh one, of which the inventory keeps the hash; no key and no certificate is made here."""
    invited = make_invitation(registry, kind=SCEP)
    answer = phone.post(link(invited), "profile")
    payloads = open_profile(answer.content)
    assert "com.apple.security.pkcs12" not in payloads
    content = payloads["com.apple.security.scep"]["PayloadContent"]
    assert content["URL"] == f"{BASE}/scep"
    assert content["Subject"] == [[["CN", "My iPhone"]]]
    assert content["CAFingerprint"] == registry.authority.certificate.fingerprint(hashes.SHA256())
    assert registry.inventory.count() == 0
    redeemed = registry.inventory.invitations.redeem(content["Challenge"], "t", time.time())
    assert redeemed.id == invited.number


@pytest.mark.parametrize("agent", [ANDROID, WINDOWS, LINUX, MAC])
def test_a_device_that_cannot_make_its_own_key_uses_nothing_up(registry: Registry, phone: Browser, agent: str) -> None:
    """The page says that the invitation is for iPhones, and the phone can still come."""
    invited = make_invitation(registry, kind=SCEP)
    assert "The invitation is for an iPhone or iPad" in read_words(phone.as_(agent).get(link(invited)))
    answer = phone.as_(agent).post(link(invited), "p12")
    assert (answer.status_code, read_title(answer)) == (409, "This key is for an iPhone or iPad")
    assert read(registry, invited).used_at is None
    assert phone.post(link(invited), "profile").status_code == 200


def test_a_programs_invitation_has_no_button(registry: Registry, phone: Browser) -> None:
    """Its token is a password for EST, and a visit costs it nothing."""
    invited = make_invitation(registry, kind=EST)
    for answer in (phone.get(link(invited)), phone.post(link(invited), "p12")):
        assert read_title(answer) == "This invitation is for a program"
        assert "<button" not in answer.text
    assert read(registry, invited).used_at is None


def test_the_protocols_answer_here(phone: Browser) -> None:
    """SCEP and EST, on the same port."""
    assert b"SCEPStandard" in phone.get("/scep?operation=GetCACaps").content
    assert phone.get("/.well-known/est/cacerts").status_code == 200


# --- Trust ------------------------------------------------------------------------------------------------------------


def test_the_authority_can_be_fetched(registry: Registry, phone: Browser) -> None:
    """It is no secret, and devices have to be told to trust it."""
    fetched = phone.get("/ca.crt")
    assert fetched.headers["content-type"] == "application/x-x509-ca-cert"
    assert x509.load_der_x509_certificate(fetched.content) == registry.root
    profile = open_profile(phone.get("/ca.mobileconfig").content)
    assert set(profile) == {"com.apple.security.root"}


def test_a_server_that_phones_trust_says_nothing_of_an_authority(registry: Registry) -> None:
    """No root in the profile, no step for it, no address for it, and the profile is signed with its certificate."""
    signing = registry.authority.issue_server(["keys.example.com"])
    browser = Browser(make_enrolment_app(Outlet(registry, False, Signer(signing.certificate, signing.key))))
    invited = make_invitation(registry)
    assert "Trust the authority" not in read_words(browser.get(link(invited)))
    assert browser.get("/ca.crt").status_code == 404
    profile = browser.post(link(invited), "profile").content
    inside = profile[profile.index(b"<?xml") : profile.index(b"</plist>") + 8]
    assert b"keys.example.com" in profile.replace(inside, b"")
    assert "com.apple.security.root" not in open_profile(inside)


# --- Trouble ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_made_costs_no_invitation(
    registry: Registry, phone: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything that may fail is tried before the invitation is used up."""
    invited = make_invitation(registry)
    registry.inventory.write_setting(APP_URL, "http://not.https")
    with caplog.at_level(logging.ERROR, "keyfob.enrolment"):
        answer = phone.post(link(invited), "profile")
    assert (answer.status_code, read_title(answer)) == (503, "This does not work right now")
    assert "http://not.https" in caplog.text
    assert "http://not.https" not in answer.text
    assert read(registry, invited).used_at is None


def test_an_inventory_that_is_gone_is_a_page(tmp_path: Path) -> None:
    """And a sentence in the log."""
    registry = make_registry(tmp_path / "home")
    (tmp_path / "home" / "inventory.db").unlink()
    assert Browser(make_enrolment_app(Outlet(registry))).get("/enrol/x").status_code == 503


def test_nothing_secret_is_logged(registry: Registry, phone: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the password nor the challenge, whatever happens."""
    invited, phones = make_invitation(registry), make_invitation(registry, "Other", SCEP)
    with caplog.at_level(logging.DEBUG):
        answers = [phone.get(link(each)) for each in (invited, phones)]
        answers += [phone.post(link(each), headers={"origin": "https://evil.example"}) for each in (invited, phones)]
        answers += [phone.post(link(each), "profile") for each in (invited, invited, phones, phones)]
    challenge = open_profile(answers[-2].content)["com.apple.security.scep"]["PayloadContent"]["Challenge"]
    said = "".join(record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "asyncio")))
    assert "My iPhone" in said
    for secret in (invited.token, phones.token, invited.password, challenge):
        assert secret
        assert secret not in said
    assert invited.token not in repr(invited)
    assert str(invited.password) not in repr(invited)
