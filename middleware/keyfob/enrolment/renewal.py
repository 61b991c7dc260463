"""Renewal in the app: a device fetches the successor of its key, and the key that it has is the proof.

It stands inside the gate, in front of the app, so whoever gets here was let in. The key is made here, and kept in
memory alone, for as long as somebody may press the button twice: two taps give one successor.
"""

import logging
import threading
import time
import weakref
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from keyfob.certificate import ClientCertificate, format_serial
from keyfob.enrolment import pages
from keyfob.enrolment.answering import StrictHeaders, Threads, Unheard, find_agent, guard, read_choice, say, show
from keyfob.enrolment.issuing import REPEATS, issue_successor
from keyfob.enrolment.origin import is_own_page
from keyfob.enrolment.outlet import P12_TYPE, Outlet, answer_file, answer_profile
from keyfob.enrolment.pages import FILE, PROFILE, SAVE
from keyfob.enrolment.platforms import find_browser, find_platform
from keyfob.enrolment.protocols import make_reenrolment_route
from keyfob.enrolment.steps import Handover, name_file
from keyfob.errors import PKIError
from keyfob.introduction import client_certificate
from keyfob.inventory import Record, State
from keyfob.pki.authority import Issued
from keyfob.pki.keys import generate_key
from keyfob.pki.pkcs12 import export_identity, make_password
from keyfob.pki.profiles import identity_payload
from keyfob.pki.requests import choose_kind

_log = logging.getLogger(__name__)

# So many keys are made at once, and the app's own threads stay the app's.
_AT_ONCE = 4


class Successor(NamedTuple):
    """A key that is being handed out."""

    name: str
    p12: bytes
    password: str
    until: float

    def __repr__(self) -> str:
        return f"<Successor for {self.name!r}>"


class RenewalCorner:
    """Stands in front of an app, behind the gate, and answers where keys are renewed: at `link`, and at EST's path.

    `link` is what the rules say when the server starts; None leaves every path to the app, and a link to elsewhere all
    but EST's. A link that is changed later is followed too, by those who are to renew.
    """

    def __init__(self, app: ASGIApp, outlet: Outlet, link: str | None) -> None:
        self.app = app
        self._link = link
        self._desk = StrictHeaders(_Desk(outlet), referrer="same-origin")
        self._est = make_reenrolment_route(outlet.registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._choose(scope)(scope, receive, send)

    def _choose(self, scope: Scope) -> ASGIApp:
        links = [link for link in (self._link, find_link(scope)) if link is not None]
        if scope["type"] != "http" or not links:
            return self.app
        if scope["path"] == self._est.path:
            return self._est.handle
        return self._desk if any(map(partial(_is_here, scope), links)) else self.app


def find_link(scope: Scope) -> str | None:
    """What the gate has told this request of renewal: a link, if it is time."""
    found = (scope.get("state") or {}).get("renewal")
    return found if isinstance(found, str) else None


def _is_here(scope: Scope, link: str) -> bool:
    return link.startswith("/") and urlsplit(link).path == scope["path"]


class _Desk:
    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._successors: dict[str, Successor] = {}
        self._threads = Threads(_AT_ONCE)
        # Two taps of one device wait for each other, and nobody waits for another device's.
        self._turns: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()
        self._looking = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD", "POST"}:
            return say(405, "That does not work here", "Open this page, and press its button.")
        certificate = client_certificate(request)
        if certificate is None:
            return say(404, "There is no key to renew", "This page renews the key of a device, and none was shown.")
        visitor = pages.Visitor(find_platform(find_agent(request)), find_browser(find_agent(request)))
        in_time = find_link(request.scope) is not None
        if request.method != "POST":
            return await guard(self._threads.run(partial(self._show, certificate, visitor, in_time=in_time)))
        # A browser adds the device's certificate to whatever another page makes it send.
        if not is_own_page(request.scope["headers"]):
            return say(
                400, "This was sent by another site", "Nothing was renewed. Open this page, and press its button."
            )
        try:
            chosen = await read_choice(request, FILE, {PROFILE, FILE, SAVE})
        except Unheard as error:
            return error.answer
        renew = partial(self._renew, certificate, chosen, visitor, in_time=in_time)
        return await guard(self._threads.run(renew))

    def _show(self, certificate: ClientCertificate, visitor: pages.Visitor, *, in_time: bool) -> Response:
        refusal = self._find_refusal(certificate, in_time=in_time)
        if refusal is not None:
            return refusal
        name = self._require_record(certificate).name
        return show(200, pages.render_renewal(name, certificate.not_valid_after, visitor, self._outlet.find_place()))

    def _renew(self, certificate: ClientCertificate, chosen: str, visitor: pages.Visitor, *, in_time: bool) -> Response:
        with self._find_turn(certificate.fingerprint_sha256):
            refusal = self._find_refusal(certificate, in_time=in_time)
            if refusal is not None:
                return refusal
            successor = self._successors.get(certificate.fingerprint_sha256) or self._make(certificate)
        return self._hand_out(successor, chosen, visitor)

    def _find_turn(self, fingerprint: str) -> threading.Lock:
        with self._looking:
            return self._turns.setdefault(fingerprint, threading.Lock())

    def _find_refusal(self, certificate: ClientCertificate, *, in_time: bool) -> Response | None:
        """Why this certificate gets no successor here and now; None if it does."""
        self._forget_old()
        record = self._find_record(certificate)
        if record is None:
            return show(404, pages.render_stranger())
        if certificate.fingerprint_sha256 in self._successors:
            return None
        if record.find_state(time.time()) is not State.ACTIVE:
            return show(409, pages.render_renewed(record.name, record.retires_at))
        if not in_time:
            return show(409, pages.render_early(certificate.not_valid_after))
        try:
            _ = self._outlet.registry.authority
        except PKIError as error:
            _log.warning("%r cannot be renewed here: %s", record.name, error.message)
            return show(503, pages.render_no_authority(record.name))
        return None

    def _find_record(self, certificate: ClientCertificate) -> Record | None:
        # With colons it is longer than any name: a device may be called like another one's fingerprint.
        found = self._outlet.registry.inventory.find(bytes.fromhex(certificate.fingerprint_sha256).hex(":"))
        return next((stored.record for stored in found if stored.certificate == certificate.der), None)

    def _require_record(self, certificate: ClientCertificate) -> Record:
        record = self._find_record(certificate)
        if record is None:
            raise PKIError("the certificate is not in the inventory any more")
        return record

    def _make(self, certificate: ClientCertificate) -> Successor:
        key, password = generate_key(choose_kind(certificate.parsed.public_key())), make_password()  # type: ignore[arg-type]
        now = time.time()
        name, issued = issue_successor(self._outlet.registry, certificate.parsed, key.public_key(), now)
        successor = Successor(name, export_identity(Issued(issued, key), name, password), password, now + REPEATS)
        with self._looking:
            self._successors[certificate.fingerprint_sha256] = successor
        _log.info("%r has renewed its key: %s", name, format_serial(issued.serial_number))
        return successor

    def _forget_old(self) -> None:
        now = time.time()
        with self._looking:
            self._successors = {mark: each for mark, each in self._successors.items() if now < each.until}

    def _hand_out(self, successor: Successor, chosen: str, visitor: pages.Visitor) -> Response:
        name, p12, password, until = successor
        if chosen == SAVE:
            return answer_file(p12, P12_TYPE, name_file(name))
        if chosen == FILE:
            # The device knows the authority already.
            place = self._outlet.find_place()._replace(authority=None)
            handover = Handover(name, where="above")
            return show(200, pages.render_password(handover, password, visitor.platform, place, until))
        make_key = partial(identity_payload, p12, name, password=password)
        return answer_profile(self._outlet.compose_profile(name, make_key), name)
