"""One-time codes by mail, for those who have no account with a provider.

Whoever may not log in sees the same pages after the same work as somebody who may, so nobody learns who that is.
"""

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from keyfob.answer import Answer, redirect
from keyfob.errors import CodeWrong, KeyfobError, LoginFailed, LoginLapsed
from keyfob.login.exchanges import MailServer, Post, Steps, Work
from keyfob.login.journeys import LONGEST, Journey, pack
from keyfob.login.mail_pages import compose_address_form, compose_code_form
from keyfob.login.posting import check_server
from keyfob.policy import UNASKED, Fact, User
from keyfob.policy.selectors.texts import lower_ascii
from keyfob.request import Request

if TYPE_CHECKING:
    from keyfob.login.desk import Desk

# Seconds for which a code is good, and for which it has to be for a mail to be worth it.
LIFE, SHORTEST = 600.0, 60.0
DIGITS = 8
# How often somebody may type a code. The Store counts; this is for the page.
TRIES = 5
# Mails for one application: so many at once, and then one in so many seconds.
MOST_MAILS, PACE = 100, 2.0

_LOGGER = logging.getLogger("keyfob.login")


class Sent(NamedTuple):
    """What a journey notes of a code: whom it went to, what tells it from another one, until when, and tries left."""

    email: str
    nonce: str
    until: float
    left: int


@dataclass(eq=False, kw_only=True)
class Mail:
    """Sends codes by `server` from the address `sender`.

    Raises KeyfobError for a sender that is no address, and for a server that would get a password in the clear.
    """

    id: str
    name: str
    server: MailServer
    sender: str
    kind: str = field(default="onetimepin", init=False)
    _flood: "Flood" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if read_address(self.sender) is None:
            raise KeyfobError(f"{self.sender!r} is no email address", 'write "keys@example.com"')
        check_server(self.server)
        self._flood = Flood()

    def begin(self, journey: Journey, state: str, named: frozenset[Fact], *, afresh: bool) -> Steps[str]:
        """The address of our own page that asks for an address."""
        yield from ()
        return f"{journey.origin}{self._find_place(journey, 'code')}?{urlencode({'state': state})}"

    def _find_place(self, journey: Journey, station: str) -> str:
        return f"{journey.base}/.keyfob/{station}/{self.id}"

    # --- The address --------------------------------------------------------------------------------------------------

    def ask(
        self,
        journey: Journey,
        said: Mapping[str, str],
        desk: "Desk",
        request: Request,
        may_enter: Callable[[User], bool],
    ) -> Steps[Answer]:
        """The page that asks for the address, or, once one is in `said`, sends a code and asks for that."""
        if request.method != "POST":
            sent = _read_note(journey)
            return (
                self._ask_address(journey, desk, request)
                if sent is None
                else self._ask_code(journey, desk, request, sent)
            )
        typed = said.get("email", "")
        address = read_address(typed.strip())
        if address is None:
            problem = "That is no email address."
            return self._ask_address(journey, desk, request, typed=typed, problem=problem)
        return (yield from self._send(journey, address, desk, request, may_enter))

    def _send(
        self, journey: Journey, address: str, desk: "Desk", request: Request, may_enter: Callable[[User], bool]
    ) -> Steps[Answer]:
        """Sends a code where it could be of use, and does the same work where not. Raises LoginError."""
        at = request.at
        sent = Sent(address, secrets.token_urlsafe(12), min(at + LIFE, journey.begun_at + LONGEST), TRIES)
        if sent.until - at < SHORTEST:
            raise LoginLapsed("the login would be over before the mail is read")
        code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
        mark, digest, mailbox = _mark(journey, sent), _digest(journey, sent, code), _mark_mailbox(address)
        may_be_sent = may_enter(self._describe(address)._replace(evaluated=UNASKED))
        is_sent = may_be_sent and self._flood.takes(journey.audience, at)
        # What went to nobody, nobody shall guess: this is the digest of no code.
        kept = digest if is_sent else secrets.token_bytes(len(digest))
        if not (yield Work(lambda store: store.keep_code(mark, mailbox, kept, at, sent.until))):
            if is_sent:
                self._flood.give_back(journey.audience)
            problem = "Too many codes were asked for this address. Use the last one, or try again in an hour."
            return self._ask_address(journey, desk, request, typed=address, problem=problem, status=429)
        message = self._write(journey, sent, code, desk, at)
        yield Post(self.server, self.sender, address, message if is_sent else None)
        state = pack(journey._replace(note=json.dumps(sent)), desk.sessions, at)
        # So that a reload of the page sends no other code.
        return redirect(f"{journey.origin}{self._find_place(journey, 'code')}?{urlencode({'state': state})}")

    def _write(self, journey: Journey, sent: Sent, code: str, desk: "Desk", at: float) -> EmailMessage:
        """The mail. The code comes first, since that is what a phone shows of it."""
        application = _write_line(_find_name(journey, desk))
        asked, until = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(sent.until, UTC)
        message = EmailMessage()
        message["Subject"] = f"Your code for {application}"
        message["From"] = Address(application, addr_spec=self.sender)
        message["To"] = Address(addr_spec=sent.email)
        message["Date"] = format_datetime(asked)
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        # RFC 3834 section 5: nobody who is away shall answer.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(
            f"{code} is your code for {application}.\n\n"
            f"Type it on the page of {journey.origin} that asks for it, until {until:%H:%M} UTC.\n\n"
            f"Somebody asked for it there on {asked:%Y-%m-%d} at {asked:%H:%M} UTC. If it was not you, do nothing,\n"
            "and give the code to nobody.\n"
        )
        return message

    # --- The code -----------------------------------------------------------------------------------------------------

    def finish(self, journey: Journey, said: Mapping[str, str], named: frozenset[Fact], at: float) -> Steps[User]:
        """Whose address it is, if the code is the one that was sent there. Raises CodeWrong."""
        sent = _read_note(journey)
        if sent is None:
            raise LoginFailed("no code was sent in this login")
        if at >= sent.until:
            raise LoginLapsed("the code has expired")
        code = said.get("code", "").replace(" ", "").replace("-", "")
        mark, digest = _mark(journey, sent), _digest(journey, sent, code)
        if not (yield Work(lambda store: store.try_code(mark, digest, at))):
            raise CodeWrong(f"the code for {sent.email} is wrong, or has been used")
        return self._describe(sent.email)

    def ask_again(self, journey: Journey, desk: "Desk", request: Request) -> Answer:
        """The page that asks for the code once more, after a wrong one, or for an address after the last try."""
        sent = _read_note(journey)
        if sent is None or sent.left <= 1:
            problem = "That was not the code, and it is worth nothing any more. Have another one sent."
            return self._ask_address(journey, desk, request, problem=problem)
        sent = sent._replace(left=sent.left - 1)
        left = "one try is" if sent.left == 1 else f"{sent.left} tries are"
        return self._ask_code(journey, desk, request, sent, f"That is not the code; {left} left.")

    def _describe(self, address: str) -> User:
        return User(email=address, provider=self.id, methods=frozenset({"otp"}), subject=address)

    # --- Pages --------------------------------------------------------------------------------------------------------

    def _ask_address(
        self, journey: Journey, desk: "Desk", request: Request, *, typed: str = "", problem: str = "", status: int = 422
    ) -> Answer:
        state = pack(journey._replace(note=""), desk.sessions, request.at)
        action = self._find_place(journey, "code")
        return compose_address_form(
            _find_name(journey, desk), action, state, typed=typed, problem=problem, status=status
        )

    def _ask_code(self, journey: Journey, desk: "Desk", request: Request, sent: Sent, problem: str = "") -> Answer:
        if request.at >= sent.until:
            raise LoginLapsed("the code has expired")
        another = urlencode({"state": pack(journey._replace(note=""), desk.sessions, request.at)})
        return compose_code_form(
            _find_name(journey, desk),
            self._find_place(journey, "callback"),
            pack(journey._replace(note=json.dumps(sent)), desk.sessions, request.at),
            email=sent.email,
            minutes=max(1, round((sent.until - request.at) / 60)),
            another=f"{self._find_place(journey, 'code')}?{another}",
            problem=problem,
        )


class Flood:
    """How many mails an application may send.

    The Store counts for each address; but where a rule lets in a whole domain, or everybody who has logged in,
    strangers could have mails sent to any number of people who never asked for one. Only mails count, and what is too
    much is left out without a word to whoever asks: otherwise the limit would tell for which addresses there is one.
    Each process has its own.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._levels: dict[str, tuple[float, float]] = {}
        self._told_at = 0.0

    def takes(self, audience: str, at: float) -> bool:
        """Whether one more mail is within the limit."""
        with self._lock:
            level, since = self._levels.get(audience, (0.0, at))
            level = max(0.0, level - max(0.0, at - since) / PACE)
            is_taken = level + 1 <= MOST_MAILS
            self._levels[audience] = level + is_taken, max(at, since)
            is_told = is_taken or self._told_at <= at < self._told_at + 60.0
            self._told_at = self._told_at if is_told else at
        if not is_told:
            _LOGGER.warning("codes are asked for more often than every %g seconds, and some are not sent", PACE)
        return is_taken

    def give_back(self, audience: str) -> None:
        """One that was taken is not sent after all."""
        with self._lock:
            level, since = self._levels.get(audience, (0.0, 0.0))
            self._levels[audience] = max(0.0, level - 1), since


# RFC 5322 section 3.2.3, without the star, which no rule has, and RFC 1034 section 3.5.
_ATOM = r"[A-Za-z0-9!#$%&'+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")
# RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.3, the latter without its brackets.
_LONGEST_LOCAL, _LONGEST = 64, 254


def read_address(text: str) -> str | None:
    """The address, with its domain in lower case; None if it is none, or not one alone."""
    match = _ADDRESS.fullmatch(text)
    if match is None or len(text) > _LONGEST or len(match[1]) > _LONGEST_LOCAL:
        return None
    return f"{match[1]}@{lower_ascii(match[2])}"


def _read_note(journey: Journey) -> Sent | None:
    """What was noted of a code. Nobody but us can have written it, though perhaps another version of us."""
    if not journey.note:
        return None
    try:
        return Sent(*json.loads(journey.note))
    except (ValueError, TypeError) as error:
        raise LoginLapsed(f"the login was begun otherwise: {error!r}") from error


def _mark(journey: Journey, sent: Sent) -> bytes:
    """Under what a code is kept: no other login, and no other code of this one, has it."""
    return hashlib.sha256(json.dumps(["code", journey.id, sent.nonce]).encode()).digest()


def _digest(journey: Journey, sent: Sent, code: str) -> bytes:
    """What is kept of a code. Its key is in the browser, sealed: whoever reads the database cannot try all codes.

    It is good for this address alone: whoever asks for two codes in one login cannot use the one for the other.
    """
    said = json.dumps([sent.email, sent.nonce, code]).encode()
    return hmac.new(journey.verifier.encode(), said, hashlib.sha256).digest()


def _mark_mailbox(address: str) -> bytes:
    """Under what the codes for an address are counted: nearly everywhere, letter case makes no other mailbox."""
    return hashlib.sha256(f"mailbox {lower_ascii(address)}".encode()).digest()


def _write_line(text: str) -> str:
    """A text as one line: what ends a line, or cannot be seen, becomes a space."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _find_name(journey: Journey, desk: "Desk") -> str:
    application = desk.applications.get(journey.audience)
    return journey.origin if application is None else application.name
