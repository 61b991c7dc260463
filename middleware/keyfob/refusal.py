"""What the one who was refused gets to see: a page for people, problem details for programs. Little of either."""

import html
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from keyfob.errors import Reason
from keyfob.policy import Deny


class Refusal(NamedTuple):
    """A finished HTTP answer. `headers` are lower case, as ASGI wants them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Words(NamedTuple):
    """One row: the status for a program, a title, and what the person at the other end can do about it."""

    status: int
    title: str
    advice: str


_ANOTHER_KEY = "Choose the certificate that was made for this app, or ask the person who runs it."

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
    Reason.CERTIFICATE_MALFORMED: Words(403, "This certificate cannot be read", _ANOTHER_KEY),
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
    Reason.HOST_MALFORMED: Words(400, "This request names no host", "Ask for the app by its own name."),
    Reason.HOST_UNKNOWN: Words(403, "Nothing is here under this name", "Check the address."),
    Reason.BLOCKED_BY_POLICY: Words(403, "This door is closed to you", "Ask the person who runs this app."),
    Reason.NO_MATCHING_POLICY: Words(403, "This door is closed to you", _ANOTHER_KEY),
}

_HEADERS = [
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def compose_refusal(decision: Deny, request_id: str, accept: bytes) -> Refusal:
    """The answer to a refused request whose Accept field is `accept`."""
    words = WORDS[decision.reason]
    page = b"text/html" in accept
    # Safari takes a 403 on a connection with a client certificate for a wrong certificate and hides the page.
    status = 401 if page and words.status == 403 else words.status
    body = _page(words, request_id) if page else _problem(decision.reason, status, words, request_id)
    headers = [
        (b"content-type", b"text/html; charset=utf-8" if page else b"application/problem+json"),
        (b"content-length", str(len(body)).encode("ascii")),
        *_HEADERS,
    ]
    if status == 401:
        # RFC 9110 section 15.5.2 wants a challenge. No scheme is registered for certificates of the TLS layer, and
        # clients pass over schemes that they do not know.
        headers.append((b"www-authenticate", b'Certificate realm="keyfob"'))
    return Refusal(status, headers, body)


def find_accept(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Every Accept field of a request as one, lower case."""
    return b",".join(value for name, value in headers if name == b"accept").lower()


def _problem(reason: Reason, status: int, words: Words, request_id: str) -> bytes:
    """Problem details, RFC 9457. The type is a name and not an address: there is nothing to look up."""
    details = json.dumps(
        {
            "type": f"urn:keyfob:{reason}",
            "title": words.title,
            "status": status,
            "detail": words.advice,
            "request_id": request_id,
        }
    )
    return f"{details}\n".encode()


def _page(words: Words, request_id: str) -> bytes:
    return _PAGE.format(
        title=html.escape(words.title), advice=html.escape(words.advice), request_id=html.escape(request_id)
    ).encode("utf-8")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark;
  --paper: #f6f5f1; --ink: #20242b; --soft: #5b626d; --line: #d9d6cd; --accent: #7a4b12; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #16181c; --ink: #eceae4; --soft: #a3a8b1; --line: #34383f; --accent: #e0a95e; }}
}}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.5 system-ui, sans-serif; }}
main {{ max-width: 26rem; padding: 2rem 1.5rem; }}
svg {{ display: block; width: 3.5rem; height: 3.5rem; color: var(--accent); }}
h1 {{ margin: 1.25rem 0 .5rem; font-size: 1.5rem; line-height: 1.25; text-wrap: balance; }}
p {{ margin: 0 0 1.5rem; }}
small {{ display: block; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .875rem; }}
code {{ font: .875rem ui-monospace, monospace; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main>
<svg viewBox="0 0 48 48" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"
  stroke-linejoin="round" aria-hidden="true">
<rect x="9" y="21" width="30" height="21" rx="4"/><path d="M16 21v-6a8 8 0 0 1 16 0v6M24 29v5"/>
</svg>
<h1>{title}</h1>
<p>{advice}</p>
<small>If you ask for help, give this code: <code>{request_id}</code></small>
</main>
</body>
</html>
"""
