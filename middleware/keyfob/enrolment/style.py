"""How the pages look: one style for all of them, in the page itself, and the policy that lets nothing else in."""

import base64
from html import escape

from cryptography.hazmat.primitives import hashes

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f5f1; --card: #fffefb; --ink: #20242b; --soft: #5b626d; --line: #dedbd2; --words: #e4e1d8;
  --accent: #7a4b12; --on-accent: #fffaf2; --wash: #f6ead9; --bad: #9c2f22; --bad-wash: #fbe9e5; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --card: #1f2227; --ink: #eceae4; --soft: #a9aeb7; --line: #363a42; --words: #363a42;
    --accent: #e6b06a; --on-accent: #291a05; --wash: #362b1c; --bad: #ff9d8f; --bad-wash: #3a2220; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.0625rem/1.5 system-ui, -apple-system, sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1.125rem 3rem; }
main.alone { min-height: 100vh; min-height: 100dvh; display: grid; align-content: center; max-width: 28rem; }
.mark { display: block; width: 3rem; height: 3rem; margin: 0 0 1rem; fill: none; stroke: var(--accent); stroke-width: 3;
  stroke-linecap: round; stroke-linejoin: round; }
.bad .mark { stroke: var(--bad); }
h1 { margin: 0 0 .5rem; font-size: 1.625rem; line-height: 1.2; letter-spacing: -.015em; text-wrap: balance; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.1875rem; line-height: 1.3; letter-spacing: -.01em; }
h3 { margin: 0 0 .25rem; font-size: 1.0625rem; line-height: 1.35; }
p { margin: 0 0 1rem; }
a { color: var(--accent); text-underline-offset: .15em; }
.soft, small { color: var(--soft); }
small { display: block; font-size: .9375rem; line-height: 1.45; }
form { margin: 1.25rem 0 .75rem; }
.button { display: block; width: 100%; min-height: 3.5rem; margin: 0 0 .625rem; padding: .75rem 1rem; border: 0;
  border-radius: .9rem; background: var(--accent); color: var(--on-accent); font: inherit; font-size: 1.125rem;
  font-weight: 650; line-height: 1.25; text-align: center; text-decoration: none; cursor: pointer;
  touch-action: manipulation; }
.button:active { filter: brightness(.92); }
.second { background: var(--card); color: var(--accent); box-shadow: inset 0 0 0 1.5px var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
.note { margin: 1.25rem 0; padding: .9rem 1rem; border-radius: .9rem; background: var(--wash); }
.note p:last-child { margin: 0; }
.note.bad { background: var(--bad-wash); }
dl { margin: 1rem 0; padding: .25rem 1rem; border: 1px solid var(--line); border-radius: .9rem;
  background: var(--card); }
dl div { display: flex; flex-wrap: wrap; gap: 0 .75rem; padding: .6rem 0; }
dl div + div { border-top: 1px solid var(--line); }
dt { flex: 0 0 5.5rem; color: var(--soft); }
dd { flex: 1 1 9rem; margin: 0; font-weight: 550; }
code { font: .9375em ui-monospace, SFMono-Regular, Menlo, monospace; }
.password { display: block; font-size: 1.0625rem; font-weight: 600;
  -webkit-user-select: all; user-select: all; }
.steps { margin: 0; padding: 0; list-style: none; counter-reset: step; }
.steps > li { position: relative; margin: 0; padding: 0 0 1.5rem 2.75rem; counter-increment: step; }
.steps > li::before { content: counter(step); position: absolute; left: 0; top: -.1rem; width: 1.875rem;
  height: 1.875rem; border-radius: 50%; background: var(--wash); color: var(--accent); font-weight: 650;
  line-height: 1.875rem; text-align: center; }
.steps > li:not(:last-child)::after { content: ""; position: absolute; left: .875rem; top: 2.1rem; bottom: .25rem;
  width: 2px; background: var(--line); }
.steps p { margin: 0 0 .5rem; }
details { border-top: 1px solid var(--line); }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { padding: .9rem 0; font-weight: 600; cursor: pointer; }
details[open] > summary { margin-bottom: .5rem; }
details form { margin: 0 0 1.25rem; }
.drawing { display: block; width: 100%; max-width: 17.5rem; height: auto; margin: .75rem 0 .25rem; }
.drawing text { fill: var(--ink); font: 13px system-ui, -apple-system, sans-serif; }
.drawing .screen { fill: var(--card); stroke: var(--line); stroke-width: 1.5; }
.drawing .sheet { fill: var(--paper); stroke: var(--line); }
.drawing .field { fill: var(--paper); stroke: var(--accent); stroke-width: 1.5; }
.drawing .words { fill: var(--words); }
.drawing .chosen { fill: var(--wash); stroke: var(--accent); stroke-width: 1.5; }
.drawing .tile, .drawing .switch, .drawing .press, .drawing .tip { fill: var(--accent); }
.drawing .knob { fill: var(--on-accent); }
.drawing .glyph { fill: none; stroke: var(--on-accent); stroke-width: 2.4; stroke-linecap: round;
  stroke-linejoin: round; }
.drawing .ring { fill: var(--accent); opacity: .22; }
.drawing .dot { fill: var(--ink); }
.drawing .rule, .drawing .arrow { fill: none; stroke: var(--line); stroke-width: 1.5; }
.drawing .arrow { stroke: var(--soft); stroke-linecap: round; stroke-linejoin: round; }
.drawing .radio { fill: none; stroke: var(--soft); stroke-width: 1.8; }
.drawing .arrow.hot, .drawing .radio.hot { stroke: var(--accent); }
.drawing text.strong { font-weight: 650; }
.drawing text.title { font-size: 17px; font-weight: 700; }
.drawing text.tiny { fill: var(--soft); font-size: 9.5px; }
.drawing text.soft { fill: var(--soft); }
.drawing text.hot { fill: var(--accent); font-weight: 650; }
.drawing text.on { fill: var(--on-accent); font-weight: 650; }
@media (min-width: 40rem) { main { padding-top: 3rem; } }
@media (forced-colors: active) { .button { border: 1px solid; } }
"""


def _digest(text: str) -> str:
    hashing = hashes.Hash(hashes.SHA256())
    hashing.update(text.encode("utf-8"))
    return base64.b64encode(hashing.finalize()).decode("ascii")


# This style and no other; forms go to this server; nothing is loaded, run or framed.
CONTENT_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

_KEY = '<circle cx="17" cy="31" r="9"/><path d="M23.5 24.5 40 8m-7 7 6 6m-12 0 4 4"/>'
_LOCK = '<rect x="9" y="21" width="30" height="21" rx="4"/><path d="M16 21v-6a8 8 0 0 1 16 0v6M24 29v5"/>'


def compose(title: str, content: str, *, alone: bool = False, bad: bool = False) -> str:
    """A whole page under `title`, which is text; `content` is HTML. `alone` is for the few words of a message."""
    kinds = " ".join(kind for kind, chosen in (("alone", alone), ("bad", bad)) if chosen)
    return _PAGE.format(
        title=escape(title), style=STYLE, kinds=f' class="{kinds}"' if kinds else "", mark=_LOCK if bad else _KEY,
        content=content,
    )  # fmt: skip


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="format-detection" content="telephone=no">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main{kinds}>
<div><svg class="mark" viewBox="0 0 48 48" aria-hidden="true">{mark}</svg>
{content}</div>
</main>
</body>
</html>
"""
