"""One-time codes by mail: the whole login, on either skin, with a real mail server and the real state database."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import KeyfobError, PKIError
from keyfob.inventory import open_inventory
from keyfob.inventory.logins import MOST_CODES, MOST_TRIES, Logins
from keyfob.login.carrying import Carrier
from keyfob.login.exchanges import MailServer
from keyfob.login.providers import mail
from keyfob.login.providers.mail import TRIES, Flood, Mail, read_address
from keyfob.policy import Application, Names
from logins import (
    ASGI,
    CERTIFICATE,
    EVERYONE,
    HOST,
    LAPTOP,
    PHONE,
    PHONE_ONLY,
    SKINS,
    Browser,
    House,
    Reply,
    Skin,
    build,
    make_application,
    make_policy,
)
from providers.mailbox import Mailbox, mailbox
from providers.serving import wait_until
from servers import find_port

ME, STRANGER = "me@example.com", "stranger@example.org"
MINE = {"email": {"email": ME}}
NAMES = Names(providers={"mail": "mail", "other": "other"}, service_tokens=True)
MINUTE = 60.0


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as running:
        yield running


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    inventory = open_inventory(tmp_path / "inventory.db", create=True)
    yield inventory.logins
    inventory.close()


@pytest.fixture(params=SKINS, ids=["asgi", "wsgi"])
def skin(request: pytest.FixtureRequest) -> type[Skin]:
    found: type[Skin] = request.param
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, for requests."""
    now = [1_700_000_000.0]
    for name in ("keyfob.asgi.time", "keyfob.wsgi.time"):
        monkeypatch.setattr(name, lambda: now[0])
    return now


def make_provider(box: Mailbox, **more: Any) -> Mail:
    server = MailServer("localhost", box.port, "none")
    return Mail(**({"id": "mail", "name": "Mail", "server": server, "sender": "keys@example.net"} | more))


def make_house(box: Mailbox, logins: Logins, *applications: Application, **more: Any) -> House:
    """For me alone, unless applications are given."""
    house = build(*(applications or [allow(MINE)]), providers=[make_provider(box)], **more)
    house.desk.carrier = Carrier(logins)
    return house


def allow(*include: Any, **more: Any) -> Application:
    return make_application(make_policy("allow", *include, names=NAMES, **more))


@dataclass
class Page:
    """One of the two pages: its text, the state in its form, and what its input is called."""

    reply: Reply

    @property
    def text(self) -> str:
        return self.reply.body.decode()

    @property
    def state(self) -> str:
        return self._find(r'name="state" value="([^"]*)"')

    @property
    def action(self) -> str:
        return self._find(r'<form method="post" action="([^"]*)"')

    @property
    def problem(self) -> str:
        match = re.search(r'role="alert">([^<]*)<', self.text)
        return unescape(match[1]) if match else ""

    @property
    def asks_for(self) -> str:
        return self._find(r'<input id="([a-z]+)"')

    def _find(self, pattern: str) -> str:
        match = re.search(pattern, self.text)
        assert match is not None, self.text
        return unescape(match[1])


def begin(browser: Browser, target: str = "/") -> Page:
    page = Page(browser.follow(browser.get(target)))
    assert (page.reply.status, page.asks_for) == (200, "email")
    return page


def send(browser: Browser, page: Page, email: str) -> Reply:
    return browser.post(page.action, {"state": page.state, "email": email})


def ask(browser: Browser, email: str = ME, target: str = "/") -> Page:
    """The page that asks for a code, once it has been sent."""
    reply = send(browser, begin(browser, target), email)
    assert reply.status == 303, reply.body
    page = Page(browser.follow(reply))
    assert (page.reply.status, page.asks_for) == (200, "code")
    return page


def give(browser: Browser, page: Page, code: str) -> Reply:
    return browser.post(page.action, {"state": page.state, "code": code})


def spoil(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 10**8:08}"


# --- The whole login --------------------------------------------------------------------------------------------------


def test_somebody_logs_in(skin: type[Skin], box: Mailbox, logins: Logins) -> None:
    house = make_house(box, logins)
    browser = Browser(skin(house.gate))
    page = ask(browser, target="/expenses?month=3")
    assert ME in page.text
    reply = browser.follow(give(browser, page, box.wait().code))
    [seen] = reply.seen
    user = seen.identity.user
    assert user is not None
    assert (user.email, user.identity, user.methods) == (ME, f"mail:{ME}", frozenset({"otp"}))
    assert reply.status == 200


def test_the_browser_ends_where_it_wanted_to_go(box: Mailbox, logins: Logins) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser, target="/expenses?month=3")
    assert give(browser, page, box.wait().code).location == f"https://{HOST}/expenses?month=3"


def test_an_app_below_a_prefix_keeps_its_pages_there(skin: type[Skin], box: Mailbox, logins: Logins) -> None:
    browser = Browser(skin(make_house(box, logins).gate), base="/budget")
    page = ask(browser, target="/budget/")
    assert page.action == "/budget/.keyfob/callback/mail"
    assert give(browser, page, box.wait().code).location == f"https://{HOST}/budget/"


def test_the_pages_help_a_phone(box: Mailbox, logins: Logins) -> None:
    """Its keyboard has an @ or digits, and it offers the code that has just come."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    first, second = begin(browser).text, ask(browser).text
    assert 'type="email"' in first
    assert 'autocomplete="email"' in first
    assert 'autocapitalize="none"' in first
    assert 'inputmode="numeric"' in second
    assert 'autocomplete="one-time-code"' in second


def test_a_reload_of_the_page_sends_no_other_code(box: Mailbox, logins: Logins) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    reply = send(browser, begin(browser), ME)
    code = box.wait().code
    pages = [Page(browser.follow(reply)) for _ in range(3)]
    assert give(browser, pages[-1], code).status == 303
    assert len(box.mails) == 1


def test_spaces_and_hyphens_in_a_code_say_nothing(box: Mailbox, logins: Logins) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    code = box.wait().code
    assert give(browser, page, f" {code[:4]}-{code[4:]} ").status == 303


def test_another_code_can_be_sent_in_the_same_login(box: Mailbox, logins: Logins) -> None:
    """Each is good for itself: the one that comes late is no worse."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    first = ask(browser)
    box.wait()
    link = re.search(r'<a href="([^"]*)">Send another code', first.text)
    assert link is not None
    again = Page(browser.get(unescape(link[1])))
    assert again.asks_for == "email"
    second = Page(browser.follow(send(browser, again, ME)))
    box.wait(2)
    assert give(browser, second, spoil(box.mails[1].code)).status == 422
    assert give(browser, first, box.mails[0].code).status == 303


# --- The mail ---------------------------------------------------------------------------------------------------------


def test_the_mail_says_what_it_is_about(box: Mailbox, logins: Logins, clock: list[float]) -> None:
    """The code comes first, as a phone shows no more of it. It is short, and nobody who is away answers it."""
    ask(Browser(ASGI(make_house(box, logins).gate)))
    found = box.wait()
    message = found.message
    assert (found.sender, found.recipients) == ("keys@example.net", [ME])
    assert message["subject"] == "Your code for Budget"
    assert message["from"].addresses[0].addr_spec == "keys@example.net"
    assert message["from"].addresses[0].display_name == "Budget"
    assert message["to"] == ME
    assert message["auto-submitted"] == "auto-generated"
    assert message["date"].datetime.timestamp() == clock[0]
    assert message["message-id"].endswith("@example.net>")
    assert message.get_content_type() == "text/plain"
    assert not message.is_multipart()
    assert re.match(r"[0-9]{8} is your code for Budget\.\r?\n", found.text)
    assert f"https://{HOST}" in found.text
    assert "until 22:23 UTC" in found.text
    assert "on 2023-11-14 at 22:13 UTC" in found.text
    assert len(found.text.splitlines()) < 9


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Büro\r\nBcc: all@example.com", "Büro Bcc: all@example.com"),
        ("Budget\nX: y", "Budget X: y"),
        ("Bud\0get\x1b[31m\x85X: y\u2028z", "Bud get [31m X: y z"),
        ("日本", "日本"),
        ('A "quoted", <odd> name', 'A "quoted", <odd> name'),
        ("x" * 300, "x" * 300),
    ],
)
def test_the_name_of_an_application_is_a_name(box: Mailbox, logins: Logins, name: str, shown: str) -> None:
    """It ends no line of the head."""
    application = make_application(make_policy("allow", MINE, names=NAMES), name=name)
    ask(Browser(ASGI(make_house(box, logins, application).gate)))
    message = box.wait().message
    assert message["subject"] == f"Your code for {shown}"
    assert message["from"].addresses[0].display_name == shown
    assert (message["bcc"], message["x"]) == (None, None)


def test_a_code_has_eight_digits_whatever_it_begins_with(
    box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.login.providers.mail.secrets.randbelow", lambda most: 42)
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    assert box.wait().code == "00000042"
    assert give(browser, page, "00000042").status == 303


def test_codes_are_drawn_from_all_there_are(box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def draw(most: int) -> int:
        drawn.append(most)
        return 7

    monkeypatch.setattr("keyfob.login.providers.mail.secrets.randbelow", draw)
    ask(Browser(ASGI(make_house(box, logins).gate)))
    assert drawn == [10**8]


def test_the_database_shows_neither_address_nor_code(box: Mailbox, logins: Logins, tmp_path: Path) -> None:
    """Nor anything from which one could be found by trying them all: the key of the hash is in the browser."""
    ask(Browser(ASGI(make_house(box, logins).gate)))
    code = box.wait().code
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("inventory.db*"))
    assert b"login_codes" in kept
    assert ME.encode() not in kept
    assert code.encode() not in kept


# --- Who gets one -----------------------------------------------------------------------------------------------------


def test_nobody_learns_who_is_let_in(box: Mailbox, logins: Logins) -> None:
    """Whoever is not gets the same pages after the same exchanges, and no mail."""
    house = make_house(box, logins)
    seen: dict[str, list[object]] = {}
    for email in (ME, STRANGER):
        box.said.clear()
        browser = Browser(ASGI(house.gate))
        page = ask(browser, email)
        wait_until(lambda: "QUIT" in box.said)
        wrong = Page(give(browser, page, "00000000"))
        seen[email] = [
            *(re.sub(r"ey[A-Za-z0-9_.-]+", "…", each.text).replace(email, "…") for each in (page, wrong)),
            *([name for name, _ in each.reply.headers] for each in (page, wrong)),
            wrong.reply.status,
            [each for each in box.said if each in {"MAIL", "QUIT"}],
        ]
    assert seen[ME] == seen[STRANGER]
    assert [each.recipients for each in box.mails] == [[ME]]


WHO: dict[str, tuple[Application, str, bool]] = {
    "named": (allow(MINE), ME, True),
    "not named": (allow(MINE), STRANGER, False),
    "in another letter case": (allow(MINE), "Me@EXAMPLE.com", True),
    "of a domain": (allow({"email_domain": {"domain": "example.org"}}), STRANGER, True),
    "of a domain below": (allow({"email_domain": {"domain": "example.org"}}), "x@a.example.org", False),
    "anybody": (allow(EVERYONE), STRANGER, True),
    "anybody by mail": (allow({"login_method": {"id": "mail"}}), STRANGER, True),
    "anybody elsewhere": (allow({"login_method": {"id": "other"}}), STRANGER, False),
    "a group elsewhere": (
        allow({"okta": {"name": "finance", "identity_provider_id": "other"}}),
        ME,
        False,
    ),
    "excluded": (allow(EVERYONE, exclude=[MINE]), ME, False),
    "not excluded": (allow(EVERYONE, exclude=[MINE]), STRANGER, True),
    "required": (allow(EVERYONE, require=[MINE]), STRANGER, False),
    "by a code": (allow({"auth_method": {"auth_method": "otp"}}), ME, True),
    "by more than a code": (allow({"auth_method": {"auth_method": "mfa"}}), ME, False),
    "denied first": (
        make_application(make_policy("deny", MINE, names=NAMES), make_policy("allow", EVERYONE, names=NAMES)),
        ME,
        False,
    ),
    "denied later": (
        make_application(make_policy("allow", EVERYONE, names=NAMES), make_policy("deny", MINE, names=NAMES)),
        ME,
        True,
    ),
    "somebody else is denied": (
        make_application(make_policy("deny", MINE, names=NAMES), make_policy("allow", EVERYONE, names=NAMES)),
        STRANGER,
        True,
    ),
    "asked elsewhere": (
        allow(
            MINE,
            require=[
                {"external_evaluation": {"evaluate_url": "https://e.example/", "keys_url": "https://e.example/keys"}}
            ],
        ),
        ME,
        True,
    ),
    "asked elsewhere in vain": (
        allow(
            MINE,
            require=[
                {"external_evaluation": {"evaluate_url": "https://e.example/", "keys_url": "https://e.example/keys"}}
            ],
        ),
        STRANGER,
        False,
    ),
    "let in without a login": (
        make_application(make_policy("non_identity", PHONE_ONLY), make_policy("allow", MINE, names=NAMES)),
        STRANGER,
        False,
    ),
}


@pytest.mark.parametrize("case", WHO)
def test_a_mail_goes_where_the_rules_could_let_somebody_in(case: str, box: Mailbox, logins: Logins) -> None:
    """A person has not logged in by then, so what nobody can tell yet is no reason to send none."""
    application, email, is_sent = WHO[case]
    ask(Browser(ASGI(make_house(box, logins, application).gate)), email)
    wait_until(lambda: "QUIT" in box.said)
    assert ("DATA" in box.said) is is_sent


@pytest.mark.parametrize("leaf", [PHONE, LAPTOP, None], ids=["phone", "laptop", "no device"])
def test_a_device_that_rules_want_is_wanted_before_a_mail(leaf: Any, box: Mailbox, logins: Logins) -> None:
    """Both a certificate and a login: without the certificate nobody is asked for an address."""
    application = allow(MINE, require=[CERTIFICATE, PHONE_ONLY])
    browser = Browser(ASGI(make_house(box, logins, application).gate), leaf=leaf)
    if leaf is not PHONE:
        assert browser.get("/").status in {401, 403}
        return
    first, page = begin(browser), ask(browser)
    code = box.wait().code
    browser.leaf = None
    assert send(browser, first, ME).status in {401, 403}
    assert give(browser, page, code).status in {401, 403}
    browser.leaf = PHONE
    assert give(browser, page, code).status == 303


# --- Codes that open nothing ------------------------------------------------------------------------------------------


def test_a_used_code_opens_nothing(skin: type[Skin], box: Mailbox, logins: Logins) -> None:
    browser = Browser(skin(make_house(box, logins).gate))
    page = ask(browser)
    code = box.wait().code
    assert give(browser, page, code).status == 303
    browser.jar = {name: value for name, value in browser.jar.items() if name.endswith("browser")}
    again = give(browser, page, code)
    assert (again.status, again.cookies) == (422, [])


def test_a_wrong_code_leads_to_the_page_again(box: Mailbox, logins: Logins) -> None:
    """It says how many tries are left, and the right one still opens."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    code = box.wait().code
    said = []
    for _ in range(TRIES - 1):
        page = Page(give(browser, page, spoil(code)))
        assert (page.reply.status, page.reply.cookies) == (422, [])
        said.append(page.problem)
    assert said == [f"That is not the code; {left} tries are left." for left in (4, 3, 2)] + [
        "That is not the code; one try is left."
    ]
    assert give(browser, page, code).status == 303


def test_after_so_many_wrong_ones_the_right_code_opens_nothing(box: Mailbox, logins: Logins) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    first = page = ask(browser)
    code = box.wait().code
    for _ in range(TRIES):
        page = Page(give(browser, page, spoil(code)))
    assert (page.asks_for, page.problem) == (
        "email",
        "That was not the code, and it is worth nothing any more. Have another one sent.",
    )
    # The state of the first page still says that there are tries.
    assert give(browser, first, code).status == 422


def test_the_page_counts_as_the_database_does() -> None:
    assert TRIES == MOST_TRIES


def test_tries_at_once_count_each(box: Mailbox, logins: Logins) -> None:
    """Old pages, in other tabs, give no further tries."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    code = box.wait().code
    for _ in range(TRIES):
        give(browser, page, spoil(code))
    assert give(browser, page, code).status == 422


@pytest.mark.parametrize(
    "typed", ["", "0", "x" * 5000, "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "12345678 12345678", "-", "\0"]
)
def test_what_is_no_code_is_a_wrong_one(box: Mailbox, logins: Logins, typed: str) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    assert give(browser, ask(browser), typed).status == 422


def test_a_code_without_a_page_that_asked_for_it_opens_nothing(box: Mailbox, logins: Logins) -> None:
    """The state of the first page: no code belongs to it."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = begin(browser)
    send(browser, page, ME)
    reply = browser.post("/.keyfob/callback/mail", {"state": page.state, "code": box.wait().code})
    assert (reply.status, reply.cookies) == (401, [])


def test_a_code_is_good_for_ten_minutes(box: Mailbox, logins: Logins, clock: list[float]) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    code = box.wait().code
    assert "good for 10 minutes" in page.text
    clock[0] += 10 * MINUTE
    late = give(browser, page, code)
    assert (late.status, late.cookies) == (400, [])
    assert b"This login is over" in late.body
    clock[0] -= 1
    assert give(browser, page, code).status == 303


def test_the_page_of_an_expired_code_begins_anew(box: Mailbox, logins: Logins, clock: list[float]) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    reply = send(browser, begin(browser), ME)
    clock[0] += 11 * MINUTE
    late = browser.follow(reply)
    assert late.status == 400
    assert b"Begin anew" in late.body


def test_a_code_lasts_no_longer_than_its_login(box: Mailbox, logins: Logins, clock: list[float]) -> None:
    """Somebody who takes eight minutes to find the address has seven for the code."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = begin(browser)
    clock[0] += 8 * MINUTE
    assert "good for 7 minutes" in Page(browser.follow(send(browser, page, ME))).text
    box.wait()
    clock[0] += 6.5 * MINUTE
    late = send(browser, page, ME)
    assert (late.status, len(box.mails)) == (400, 1)


def test_a_code_for_one_address_is_none_for_another(box: Mailbox, logins: Logins) -> None:
    """Somebody asks for two codes in one login, for an own address and for somebody else's, and has the one of them."""
    browser = Browser(ASGI(make_house(box, logins, allow(EVERYONE)).gate))
    page = begin(browser)
    theirs = Page(browser.follow(send(browser, page, ME)))
    own = Page(browser.follow(send(browser, page, STRANGER)))
    box.wait(2)
    [code] = [each.code for each in box.mails if each.recipients == [STRANGER]]
    assert give(browser, theirs, code).status == 422
    assert give(browser, own, code).status == 303


@pytest.mark.parametrize("member", ["email", "verifier"])
def test_what_is_kept_of_a_code_is_good_for_its_address_and_its_login_alone(
    box: Mailbox, logins: Logins, member: str
) -> None:
    """Whoever reads the database has neither; and it would not help to have a code noted for another address."""
    house = make_house(box, logins, allow(EVERYONE))
    browser = Browser(ASGI(house.gate))
    page = ask(browser)
    code = box.wait().code
    sessions = house.desk.sessions
    said = sessions.reveal(page.state)
    if member == "email":
        said["note"] = said["note"].replace(ME, STRANGER)
    else:
        said["verifier"] = "x" * 43
    changed = {"state": sessions.hide(said, said["begun_at"]), "code": code}
    assert browser.post(page.action, changed).status == 422
    assert give(browser, page, code).status == 303


def test_a_code_opens_nothing_in_another_browser(box: Mailbox, logins: Logins) -> None:
    """Nor does the page it was asked for on: somebody could be logged in as somebody else by that."""
    house = make_house(box, logins)
    browser, other = Browser(ASGI(house.gate)), Browser(ASGI(house.gate))
    page = ask(browser)
    begin(other)
    reply = give(other, page, box.wait().code)
    assert (reply.status, len(reply.cookies)) == (400, 0)
    assert other.post("/.keyfob/code/mail", {"state": page.state, "email": ME}).status == 400


def test_a_code_of_another_login_opens_nothing(box: Mailbox, logins: Logins) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    ask(browser)
    box.wait()
    other = ask(browser)
    assert give(browser, other, box.mails[0].code).status == 422


def test_a_code_does_not_come_by_a_link(box: Mailbox, logins: Logins) -> None:
    """An address with a code in it would stand in logs and in the history."""
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    reply = browser.come_back(page.state, "mail", code=box.wait().code)
    assert (reply.status, reply.cookies) == (401, [])


def test_nobody_is_let_in_by_a_code_alone(box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that was never sent is nobody's, and whoever guesses it has guessed nothing."""
    monkeypatch.setattr("keyfob.login.providers.mail.secrets.randbelow", lambda most: 42)
    browser = Browser(ASGI(make_house(box, logins).gate))
    reply = give(browser, ask(browser, STRANGER), "00000042")
    assert (reply.status, reply.cookies) == (422, [])
    assert box.mails == []


def test_a_code_that_no_mail_has_carried_opens_nothing(
    box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a whole domain is let in, there are as many addresses to guess for as somebody likes to make up."""
    monkeypatch.setattr("keyfob.login.providers.mail.secrets.randbelow", lambda most: 42)
    monkeypatch.setattr(mail, "MOST_MAILS", 1)
    house = make_house(box, logins, allow({"email_domain": {"domain": "example.com"}}))
    first, second = Browser(ASGI(house.gate)), Browser(ASGI(house.gate))
    sent, unsent = ask(first, "one@example.com"), ask(second, "made-up@example.com")
    assert box.wait().recipients == ["one@example.com"]
    assert give(second, unsent, "00000042").status == 422
    assert give(first, sent, "00000042").status == 303
    assert len(box.mails) == 1


def test_a_mail_that_an_address_is_not_sent_does_not_count_for_the_flood(
    box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one address, asked for again and again, would keep the others from theirs."""
    monkeypatch.setattr(mail, "MOST_MAILS", MOST_CODES + 1)
    house = make_house(box, logins, allow({"email_domain": {"domain": "example.com"}}))
    browsers = [Browser(ASGI(house.gate)) for _ in range(MOST_CODES + 5)]
    said = [send(each, begin(each), "one@example.com").status for each in browsers]
    assert said == [303] * MOST_CODES + [429] * 5
    ask(Browser(ASGI(house.gate)), "two@example.com")
    box.wait(MOST_CODES + 1)
    assert box.mails[-1].recipients == ["two@example.com"]


# --- Addresses --------------------------------------------------------------------------------------------------------

NO_ADDRESSES = [
    "",
    "me",
    "@example.com",
    "me@",
    "me@example.com, you@example.com",
    "me@example.com you@example.com",
    "me@example.com\r\nBcc: you@example.com",
    "me@example.com\nX: y",
    "me\0@example.com",
    "me@exa\x7fmple.com",
    "mé@example.com",
    "me@exämple.com",
    "me\u2028@example.com",
    "Me <me@example.com>",
    "<me@example.com>",
    "me@@example.com",
    '"me"@example.com',
    '"me@evil"@example.com',
    ".me@example.com",
    "me..you@example.com",
    "me@-example.com",
    "me@example..com",
    "me@[127.0.0.1]",
    "me@example.com.",
    "me(comment)@example.com",
    "m*@example.com",
    f"{'m' * 65}@example.com",
    f"me@{'e' * 64}.com",
    f"me@{'example.' * 32}com",
    "root@localhost;id",
    "--help",
]


@pytest.mark.parametrize("typed", NO_ADDRESSES)
def test_what_is_no_address_gets_no_mail(box: Mailbox, logins: Logins, typed: str) -> None:
    browser = Browser(ASGI(make_house(box, logins, allow(EVERYONE)).gate))
    page = Page(send(browser, begin(browser), typed))
    assert (page.reply.status, page.asks_for, page.problem) == (422, "email", "That is no email address.")
    assert box.said == []


def test_what_was_typed_is_shown_as_text(box: Mailbox, logins: Logins) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    text = Page(send(browser, begin(browser), '"><script>alert(1)</script>')).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("me@example.com", "me@example.com"),
        ("me@EXAMPLE.Com", "me@example.com"),
        ("Me.And+You@example.com", "Me.And+You@example.com"),
        ("o'neil@sub.example.co", "o'neil@sub.example.co"),
        ("me@xn--exmple-cua.com", "me@xn--exmple-cua.com"),
        ("root@localhost", "root@localhost"),
        ("-@example.com", "-@example.com"),
    ],
)
def test_an_address_keeps_its_local_part(typed: str, found: str) -> None:
    assert read_address(typed) == found


def test_spaces_around_an_address_say_nothing(box: Mailbox, logins: Logins) -> None:
    ask(Browser(ASGI(make_house(box, logins).gate)), f"  {ME} ")
    assert box.wait().recipients == [ME]


# --- Too many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", [ME, STRANGER])
def test_an_address_gets_so_many_codes_and_no_more(box: Mailbox, logins: Logins, email: str) -> None:
    """In any letter case, in any browser, and whether or not it would get a mail."""
    house = make_house(box, logins)
    for number in range(MOST_CODES):
        ask(Browser(ASGI(house.gate)), email.upper() if number % 2 else email)
    before = len([each for each in box.said if each == "MAIL"])
    browser = Browser(ASGI(house.gate))
    page = Page(send(browser, begin(browser), email))
    assert (page.reply.status, page.asks_for) == (429, "email")
    assert page.problem.startswith("Too many codes were asked for this address.")
    assert len([each for each in box.said if each == "MAIL"]) == before
    ask(Browser(ASGI(house.gate)), "another@example.com")


def test_an_application_sends_no_flood_of_mails(
    box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    """Where anybody may log in, anybody could have mails sent to everybody. Whoever asks is told nothing of it."""
    monkeypatch.setattr(mail, "MOST_MAILS", 2)
    house = make_house(box, logins, allow(EVERYONE))
    with caplog.at_level(logging.WARNING, "keyfob.login"):
        for number in range(4):
            ask(Browser(ASGI(house.gate)), f"{number}@example.com")
        wait_until(lambda: box.said.count("QUIT") == 4)
    assert len(box.mails) == 2
    assert caplog.text.count("some are not sent") == 1
    clock[0] += mail.PACE
    ask(Browser(ASGI(house.gate)), "5@example.com")
    box.wait(3)


def test_only_mails_count_for_the_flood(box: Mailbox, logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise strangers could keep those away who may log in."""
    monkeypatch.setattr(mail, "MOST_MAILS", 1)
    house = make_house(box, logins)
    for number in range(5):
        ask(Browser(ASGI(house.gate)), f"{number}@example.com")
    ask(Browser(ASGI(house.gate)), ME)
    assert box.wait().recipients == [ME]


def test_a_flood_lets_up_with_time_and_in_each_application_for_itself() -> None:
    flood = Flood()
    assert [flood.takes("a", 0.0) for _ in range(mail.MOST_MAILS)] == [True] * mail.MOST_MAILS
    assert not flood.takes("a", 0.0)
    assert flood.takes("b", 0.0)
    assert not flood.takes("a", mail.PACE / 2)
    assert flood.takes("a", mail.PACE)
    assert not flood.takes("a", mail.PACE)
    # A clock that is put back, and then right again, gives nothing away, and takes nothing.
    assert not flood.takes("a", 0.0)
    assert not flood.takes("a", mail.PACE)
    assert flood.takes("a", 2 * mail.PACE)
    assert all(flood.takes("a", 10_000.0) for _ in range(mail.MOST_MAILS))


# --- What does not answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", [ME, STRANGER])
def test_a_mail_server_that_is_down_is_told_to_everybody_alike(logins: Logins, email: str) -> None:
    house = make_house(Mailbox(port=find_port()), logins)
    browser = Browser(ASGI(house.gate))
    reply = send(browser, begin(browser), email)
    assert reply.status == 503
    assert b"Nobody can log in here now" in reply.body
    assert b"Connection refused" not in reply.body


@pytest.mark.parametrize("email", [ME, STRANGER])
@pytest.mark.parametrize("command", ["RCPT", "DATA"])
def test_a_mail_that_is_not_taken_is_told_to_nobody_there(
    box: Mailbox, logins: Logins, command: str, email: str
) -> None:
    box.answers[command] = "550 no"
    ask(Browser(ASGI(make_house(box, logins).gate)), email)
    wait_until(lambda: "QUIT" in box.said)


@pytest.mark.parametrize("method", ["keep_code", "try_code"])
def test_a_database_that_is_down_is_told(
    box: Mailbox, logins: Logins, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(ASGI(make_house(box, logins).gate))
    page = ask(browser)
    code = box.wait().code

    def fail(*_: object) -> bool:
        raise PKIError("the disk is full")

    monkeypatch.setattr(logins, method, fail)
    reply = send(browser, begin(browser), ME) if method == "keep_code" else give(browser, page, code)
    assert (reply.status, len(box.mails)) == (503, 1)


def test_a_wrong_code_is_recorded(box: Mailbox, logins: Logins) -> None:
    """Somebody who tries codes is seen, whatever page they see."""
    records: list[Any] = []
    browser = Browser(ASGI(make_house(box, logins).gate, on_decision=records.append))
    page = ask(browser)
    give(browser, page, spoil(box.wait().code))
    wait_until(lambda: records)
    assert records[-1].reason == "login-failed"
    assert ME in records[-1].detail


def test_a_login_that_another_version_began_is_over(box: Mailbox, logins: Logins) -> None:
    house = make_house(box, logins)
    browser = Browser(ASGI(house.gate))
    page = begin(browser)
    sessions = house.desk.sessions
    for note in ("{}", "[1]", "x", json.dumps([ME, "n", 1.0, 5, "more"])):
        said = sessions.reveal(page.state) | {"note": note}
        state = sessions.hide(said, said["begun_at"])
        assert browser.post("/.keyfob/callback/mail", {"state": state, "code": "1"}).status == 400


# --- The configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sender", ["", "keys", "keys@example.com\r\nBcc: a@b", "Keys <keys@example.com>", "kéys@example.com"]
)
def test_a_sender_is_an_address(box: Mailbox, sender: str) -> None:
    with pytest.raises(KeyfobError, match="no email address"):
        make_provider(box, sender=sender)


def test_a_mail_server_that_cannot_be_used_is_told_at_the_start(box: Mailbox) -> None:
    with pytest.raises(KeyfobError, match="in the clear"):
        make_provider(box, server=MailServer("mail.example.com", 25, "none", "me", "secret"))


def test_the_password_is_in_no_text_of_the_provider(box: Mailbox) -> None:
    assert "hush" not in repr(make_provider(box, server=MailServer("localhost", 25, "none", "me", "hush")))
