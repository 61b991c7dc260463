"""The app of the enrolment port. Nobody who asks here has a certificate yet, so it is small and strict.

Looking at a page changes nothing; its button uses the invitation, once. The token in the link has 128 random bits and
is found by its hash: guessing needs no limit, and how long a look takes tells nothing about the tokens that are there.
"""

import logging
import time
from functools import partial

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyfob.enrolment import pages
from keyfob.enrolment.answering import StrictHeaders, Threads, Unheard, find_agent, guard, read_choice, say, show
from keyfob.enrolment.floods import Restraint, find_kind
from keyfob.enrolment.inviting import P12
from keyfob.enrolment.origin import is_own_page
from keyfob.enrolment.outlet import P12_TYPE, Outlet, answer_file, answer_profile, name_authority
from keyfob.enrolment.pages import FILE, PROFILE
from keyfob.enrolment.platforms import describe_agent, find_browser, find_platform
from keyfob.enrolment.protocols import find_address, make_protocol_routes
from keyfob.enrolment.requests import SCEP, SCEP_RENEWAL
from keyfob.enrolment.steps import ROOT_FILE, ROOT_PROFILE, Handover, name_file
from keyfob.errors import PKIError
from keyfob.inventory import Invitation
from keyfob.inventory.invitations import Lapsed, Unknown, UsedBefore
from keyfob.pki.profiles import identity_payload

_log = logging.getLogger(__name__)

# An iPhone keeps a profile for eight minutes before it is installed, and asks for its certificate then.
CHALLENGE_LASTS = 600
# Strangers can have so many pages made at once, and the app's own threads are not theirs.
_AT_ONCE = 4
_ON_PHONES = {SCEP, SCEP_RENEWAL}


def make_enrolment_app(outlet: Outlet) -> Starlette:
    """The whole app: pages, SCEP and EST. It opens the inventory at the first request."""
    desk = _Desk(outlet)
    routes = [
        Route("/enrol/{token}", desk.show, methods=["GET"]),
        Route("/enrol/{token}", desk.use, methods=["POST"]),
        *make_protocol_routes(outlet.registry),
    ]
    if outlet.own_server:
        routes.append(Route(ROOT_PROFILE, desk.hand_out_root_profile, methods=["GET"]))
        routes.append(Route(ROOT_FILE, desk.hand_out_root, methods=["GET"]))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(StrictHeaders, referrer="no-referrer")],
        exception_handlers={HTTPException: _answer_elsewhere},
    )
    app.router.redirect_slashes = False
    return app


async def _answer_elsewhere(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code != 404:
        return say(error.status_code, "That does not work here", "Open your invitation's link, and press its button.")
    return show(404, pages.render_nowhere())


class _Desk:
    """Where invitations are shown and used."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._threads = Threads(_AT_ONCE)
        self._restraint = Restraint(_log)

    async def show(self, request: Request) -> Response:
        """What the link leads to. Nothing changes, however often it is looked at."""
        return await guard(self._threads.run(partial(self._show, request.path_params["token"], find_agent(request))))

    async def use(self, request: Request) -> Response:
        """The button."""
        if not is_own_page(request.scope["headers"], with_referrer=False):
            return say(400, "This was sent by another site", "Open the invitation's own page, and press its button.")
        agent = find_agent(request)
        try:
            chosen = await read_choice(request, PROFILE if find_platform(agent).takes_profiles else FILE)
        except Unheard as error:
            return error.answer
        use = partial(self._use, request.path_params["token"], chosen, find_address(request), agent)
        return await guard(self._threads.run(use))

    async def hand_out_root_profile(self, _: Request) -> Response:
        """The authority's certificate, for iPhones. It is no secret."""
        return await guard(self._threads.run(lambda: answer_profile(self._outlet.compose_root_profile(), "ca")))

    async def hand_out_root(self, _: Request) -> Response:
        """The authority's certificate, for everything else."""
        return await guard(self._threads.run(self._compose_root))

    def _compose_root(self) -> Response:
        root = self._outlet.registry.root
        return answer_file(root.public_bytes(Encoding.DER), "application/x-x509-ca-cert", f"{name_authority(root)}.crt")

    def _show(self, token: str, agent: str) -> Response:
        found = self._outlet.registry.inventory.invitations.find(token)
        if found is None:
            return show(404, pages.render_unknown())
        if found.used_at is not None:
            return _show_used(found, tried=False)
        if not found.is_open(time.time()):
            return show(410, pages.render_lapsed())
        if found.kind not in {P12, *_ON_PHONES}:
            return show(200, pages.render_program_invitation(found.name))
        visitor = pages.Visitor(find_platform(agent), find_browser(agent))
        handover = Handover(found.name, born_on_device=found.kind in _ON_PHONES)
        return show(200, pages.render_invitation(handover, found.expires_at, visitor, self._outlet.find_place()))

    def _use(self, token: str, chosen: str, address: str, agent: str) -> Response:
        invitations, now = self._outlet.registry.inventory.invitations, time.time()
        found = invitations.find(token)
        if found is not None and found.is_open(now):
            if found.kind in _ON_PHONES and chosen != PROFILE:
                return show(409, pages.render_wrong_device(found.name))
            if found.kind not in {P12, *_ON_PHONES}:
                return show(409, pages.render_program_invitation(found.name))
            # A rehearsal: what cannot be made must not cost the invitation.
            self._hand_out(found, chosen, b"", "")
        lasts = CHALLENGE_LASTS if found is not None and found.kind in _ON_PHONES else None
        by = describe_agent(agent)
        try:
            used, payload, challenge = invitations.use(token, now, address, by, challenge_lasts=lasts)
        except (UsedBefore, Lapsed, Unknown) as error:
            return self._answer_too_late(error, address, by)
        _log.info("the key of %r was handed out to %s (%s)", used.name, address, by)
        return self._hand_out(used, chosen, payload, challenge)

    def _hand_out(self, invitation: Invitation, chosen: str, payload: bytes | None, challenge: str | None) -> Response:
        name = invitation.name
        if invitation.kind in _ON_PHONES and challenge is not None:
            key = self._outlet.make_scep_key(name, challenge)
            return answer_profile(self._outlet.compose_profile(name, key), name)
        if invitation.kind != P12 or payload is None:
            raise PKIError(
                f"the invitation of {name!r} holds nothing to hand out", "revoke the device, and invite again"
            )
        if chosen == FILE:
            return answer_file(payload, P12_TYPE, name_file(name))
        profile = self._outlet.compose_profile(name, lambda identifier: identity_payload(payload, name, identifier))
        return answer_profile(profile, name)

    def _answer_too_late(self, error: UsedBefore | Lapsed | Unknown, address: str, by: str) -> Response:
        if isinstance(error, UsedBefore):
            used = error.invitation
            words = "the invitation of %r, used by %s, was tried again from %s (%s)"
            self._restraint.warn(find_kind(error), words, used.name, used.used_from, address, by)
            return _show_used(used, tried=True)
        if isinstance(error, Lapsed):
            return show(410, pages.render_lapsed())
        return show(404, pages.render_unknown())


def _show_used(invitation: Invitation, *, tried: bool) -> Response:
    return show(410, pages.render_used(invitation.used_at or 0, invitation.used_from or "", tried=tried))
