"""What somebody writes into a header in order to be taken for a trusted proxy."""

from deploy.forgeries import Headers

# Each of these was, or might be, read in one way by a server and in another by whoever checks what the server read.
TELLING = [
    "127.0.0.1",
    "127.0.0.1:+80",
    "127.0.0.1:123456",
    "[127.0.0.1]:http",
    "::ffff:127.0.0.1",
    "::FFFF:127.0.0.1%a=b",
    "::ffff:127.0.0.1%a b",
    "::1%a=b",
    "",
]
SPELLINGS = [
    *TELLING,
    "127.0.0.1, 203.0.113.9",
    "203.0.113.9, 127.0.0.1",
    "127.0.0.1,127.0.0.1",
    " 127.0.0.1 ",
    "127.0.0.1:80",
    "127.0.0.1: 80",
    "127.0.0.1:8_0",
    "127.0.0.1:http",
    "127.0.0.1:",
    "127.0.0.1.",
    "x127.0.0.1",
    "[127.0.0.1]",
    "[127.0.0.1]:80",
    "[127.0.0.1]:123456",
    "[127.0.0.1",
    '"127.0.0.1"',
    '"127.0.0.1:80"',
    "[::ffff:127.0.0.1]:+80",
    "::ffff:7f00:1",
    "0:0:0:0:0:FFFF:7F00:0001",
    '::ffff:127.0.0.1%"a',
    "::ffff:127.0.0.1%a;b",
    "::ffff:127.0.0.1%\xa0",
    "[::ffff:127.0.0.1%a=b]:80",
    "::1",
    "[::1]:+1",
    "0:0:0:0:0:0:0:1",
    "10.1.2.3:+80",
    "[10.1.2.3]:1234567",
    "::ffff:10.1.2.3%a b",
    "unix",
    "unix:",
    ",",
    '""',
    "[]",
    "[]:80",
    "unknown",
    "_hidden",
    "None",
]
_FORMS = {"X-Forwarded-For": "{}", "Forwarded": "for={}", "X-Real-IP": "{}"}


def forge(spelling: str) -> list[Headers]:
    """The spelling in one header, in each, and on several lines of the same one."""
    each = [(name, form.format(spelling)) for name, form in _FORMS.items()]
    return [*([header] for header in each), each, *([header, header] for header in each)]


def forge_for(rewriting: str, spelling: str) -> Headers:
    """The spelling where this middleware looks for an address."""
    return [("Forwarded", f"for={spelling}")] if rewriting.endswith("modern") else [("X-Forwarded-For", spelling)]
