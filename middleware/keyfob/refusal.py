"""What the one who was refused gets to see: a page for people, problem details for programs. Little of either."""

import html
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from keyfob.answer import Answer, compose_json, compose_page
from keyfob.errors import Reason
from keyfob.policy import Deny, Login


class Words(NamedTuple):
    """One row: the status for a program, a title, what the person at the other end can do, and a link's name for it."""

    status: int
    title: str
    advice: str
    link: str = "Log in"


_ANOTHER_KEY = "Choose the certificate that was made for this app, or ask the person who runs it."
# For whoever is known by something else than a certificate.
_ASK = "Ask the person who runs this app."

WORDS: Mapping[Reason, Words] = {
    Reason.CERTIFICATE_MISSING: Words(
        401,
        "This door opens to known devices",
        "No certificate was shown. Install one on this device, then try again.",
    ),
    Reason.CERTIFICATE_NOT_REQUESTED: Words(
        401,
        "This door cannot see your certificate",
        "The server is not set up to ask for certificates; its log says more.",
    ),
    Reason.CERTIFICATE_MALFORMED: Words(400, "This certificate cannot be read", _ANOTHER_KEY),
    Reason.CERTIFICATE_UNTRUSTED: Words(403, "This certificate does not fit this door", _ANOTHER_KEY),
    Reason.CERTIFICATE_EXPIRED: Words(
        403, "This certificate has expired", "Ask the person who runs this app for a new one."
    ),
    Reason.CERTIFICATE_NOT_YET_VALID: Words(
        403, "This certificate is not valid yet", "Try again later, and check this device's clock."
    ),
    Reason.CERTIFICATE_WRONG_PURPOSE: Words(403, "This certificate is not a device's", _ANOTHER_KEY),
    Reason.CERTIFICATE_REVOKED: Words(
        403, "This certificate was withdrawn", "Ask the person who runs this app for a new one."
    ),
    Reason.CERTIFICATE_STATUS_UNKNOWN: Words(
        503,
        "This door cannot check your certificate now",
        "Try again in a moment. If it stays, ask the person who runs it.",
    ),
    Reason.PEER_NOT_TRUSTED: Words(
        403, "This is not the way in", "Ask for the app by its own name, as the person who runs it gave it to you."
    ),
    Reason.PEER_UNCLEAR: Words(
        403, "This door cannot see who is there", "The server is not set up to tell; its log says more."
    ),
    Reason.HEADER_MALFORMED: Words(
        400, "This request contradicts itself", "It came with headers that only the proxy may write."
    ),
    Reason.HEADER_TOO_LARGE: Words(
        431, "This certificate is too large", "Ask the person who runs this app for a shorter one."
    ),
    Reason.HOST_MALFORMED: Words(400, "This request names no host", "Ask for the app by its own name."),
    Reason.HOST_UNKNOWN: Words(403, "Nothing is here under this name", "Check the address."),
    Reason.PATH_AMBIGUOUS: Words(
        400, "This address can be read in two ways", "Check the address, or open the app from its start page."
    ),
    Reason.PATH_UNKNOWN: Words(403, "Nothing is here under this address", "Check the address."),
    Reason.BLOCKED_BY_POLICY: Words(403, "This door is closed to you", "Ask the person who runs this app."),
    Reason.NO_MATCHING_POLICY: Words(403, "This door is closed to you", _ANOTHER_KEY),
    Reason.REQUIREMENT_NOT_MET: Words(403, "This room is closed to you", _ANOTHER_KEY),
    Reason.LOGIN_REQUIRED: Words(
        401,
        "Log in first",
        "You are not logged in, or not any more. If you were sending something, it was not taken: log in in another "
        "tab, then reload this page, and your browser sends it again.",
    ),
    Reason.LOGIN_FAILED: Words(
        403, "This login did not work", "Try again, or ask the person who runs this app.", "Try again"
    ),
    Reason.LOGIN_LAPSED: Words(
        400,
        "This login is over",
        "It took too long, or began in another browser or window. Begin anew.",
        "Begin anew",
    ),
    Reason.LOGIN_UNAVAILABLE: Words(
        503,
        "Nobody can log in here now",
        "Whoever has to be asked does not answer. Try again in a moment. If it stays, ask who runs this app.",
        "Try again",
    ),
    Reason.SESSION_OF_ANOTHER_DEVICE: Words(
        401, "This session belongs to another device", "Log in on this device, with its own certificate."
    ),
    Reason.TOKEN_MALFORMED: Words(
        401, "This service token is incomplete", "Send one pair of headers, both of them, and each once."
    ),
    Reason.TOKEN_INVALID: Words(
        401, "This service token does not count", "Ask the person who runs this app for a new one."
    ),
}


def compose_refusal(decision: Deny | Login, request_id: str, accept: bytes, login: str = "") -> Answer:
    """The answer to a refused request whose Accept field is `accept`; `login` is where a person could log in."""
    words = WORDS[decision.reason]
    is_known = decision.identity.user is not None or decision.identity.service_token is not None
    if is_known and words.advice is _ANOTHER_KEY:
        words = words._replace(advice=_ASK)
    is_page = b"text/html" in accept
    # Safari takes a 403 on a connection with a client certificate for a wrong certificate and hides the page.
    # A service is no Safari: 401 says that nobody knows it, and 403 that it may not.
    is_service = decision.identity.service_token is not None
    status = 401 if is_page and words.status == 403 and not is_service else words.status
    headers = []
    if status == 401:
        # RFC 9110 section 15.5.2 wants a challenge. No scheme is registered for certificates of the TLS layer, nor for
        # logins, and clients pass over schemes that they do not know.
        headers.append((b"www-authenticate", b'Certificate realm="keyfob"'))
    if is_page:
        return compose_page(status, words.title, _describe(decision, words, request_id, login), headers)
    return compose_json(
        status, _list_details(decision.reason, status, words, request_id, login), headers, "application/problem+json"
    )


def find_accept(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Every Accept field of a request as one, lower case."""
    return b",".join(value for name, value in headers if name == b"accept").lower()


def _list_details(reason: Reason, status: int, words: Words, request_id: str, login: str) -> dict[str, object]:
    """Problem details, RFC 9457. The type is a name and not an address: there is nothing to look up."""
    details: dict[str, object] = {
        "type": f"urn:keyfob:{reason}",
        "title": words.title,
        "status": status,
        "detail": words.advice,
        "request_id": request_id,
    }
    return details | {"login": login} if login else details


def _describe(decision: Deny | Login, words: Words, request_id: str, login: str) -> str:
    user = decision.identity.user
    # Their own address, which they know: it may be one that they did not mean.
    who = f"<p>You are logged in as <strong>{html.escape(user.display_name)}</strong>.</p>" if user else ""
    name = "Use another account" if user else words.link
    # What was sent is sent again by a reload of this very page, so the login has to leave it where it is.
    aside = ' target="_blank" rel="noopener"' if decision.reason is Reason.LOGIN_REQUIRED else ""
    link = f'<p><a class="button" href="{html.escape(login)}"{aside}>{html.escape(name)}</a></p>' if login else ""
    code = f"If you ask for help, give this code: <code>{html.escape(request_id)}</code>"
    advice = "Ask the person who runs this app, or log in as somebody else." if user and login else words.advice
    return f"{who}<p>{html.escape(advice)}</p>{link}<small>{code}</small>"
