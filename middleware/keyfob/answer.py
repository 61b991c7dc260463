"""Answer: what keyfob itself says to a client, and the page that all of its own pages are made on."""

import html
import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """A finished HTTP answer. `headers` are lower case, as ASGI wants them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


# Nothing here is for a cache, loads anything from elsewhere, or may be shown inside another page.
HEADERS = [
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def compose(status: int, kind: str, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """An answer of a media type, with the headers that all of ours have."""
    own = [(b"content-type", kind.encode("ascii")), (b"content-length", str(len(body)).encode("ascii"))]
    return Answer(status, [*own, *HEADERS, *headers], body)


def compose_json(status: int, content: Any, headers: Sequence[tuple[bytes, bytes]] = (), kind: str = "") -> Answer:
    """An answer of one line of JSON."""
    return compose(status, kind or "application/json", f"{json.dumps(content)}\n".encode(), headers)


def compose_page(status: int, title: str, content: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """A page with a title (text) and its content (HTML)."""
    page = _PAGE.format(title=html.escape(title), content=content)
    return compose(status, "text/html; charset=utf-8", page.encode("utf-8"), headers)


def redirect(address: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Sends the browser on, whatever the method was (RFC 9110 section 15.4.4). The address is ASCII."""
    return Answer(303, [(b"location", address.encode("ascii")), (b"content-length", b"0"), *HEADERS, *headers], b"")


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
main {{ box-sizing: border-box; width: 100%; max-width: 29rem; padding: 2rem 1.5rem; overflow-wrap: anywhere; }}
svg {{ display: block; width: 3.5rem; height: 3.5rem; color: var(--accent); }}
h1 {{ margin: 1.25rem 0 .5rem; font-size: 1.5rem; line-height: 1.25; text-wrap: balance; }}
p {{ margin: 0 0 1.5rem; }}
small {{ display: block; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .875rem; }}
a {{ color: var(--accent); }}
form {{ margin: 0; }}
.button .mark {{ flex: none; display: grid; place-items: center; width: 1.75rem; height: 1.75rem; border-radius: 50%;
  background: var(--accent); color: var(--paper); font-weight: 600; }}
.button:has(.mark) {{ display: flex; align-items: center; gap: .75rem; text-align: start; }}
.button:hover, button:hover {{ background: color-mix(in srgb, var(--accent) 8%, transparent); }}
:focus-visible {{ outline: 3px solid var(--accent); outline-offset: 3px; }}
.button, button {{ display: block; box-sizing: border-box; width: 100%; min-height: 3rem; padding: .75rem 1rem;
  border: 1px solid var(--accent); border-radius: .5rem; background: none; color: var(--accent); font: inherit;
  text-align: center; text-decoration: none; cursor: pointer; }}
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
{content}
</main>
</body>
</html>
"""
