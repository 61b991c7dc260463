"""How a text is compared: whole, or by a beginning or an end that is written as such. Never by a pattern.

A text alone is meant whole: `"Rhea Group"`. `{ starts_with = "kiosk-" }` and `{ ends_with = ".example.com" }` say what
they do, and `{ equals = "*" }` is for a text with a star in it, which alone would look like a wildcard.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import PlainValidator

from keyfob.policy.selectors.arguments import read_text, unknown, wrong

# What one text of a certificate or a person answers; None where it only may be the one that is meant.
Match = Callable[[str], bool | None]


class Comparison(StrEnum):
    """The three words of a table that stands in a text's place."""

    EQUALS = "equals"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"


class Text(NamedTuple):
    """One text, and how it is compared."""

    comparison: Comparison
    value: str


def read_comparison(value: object) -> Text:
    """`"x"`, or a table of exactly one comparison. Raises PydanticCustomError."""
    if not isinstance(value, Mapping):
        text = read_text(value)
        if "*" in text:
            raise wrong(f"{text!r} has a star, and nothing here is a pattern", _STAR)
        return Text(Comparison.EQUALS, text)
    if len(value) != 1:
        raise wrong("says other than one thing about a text", _ONE)
    [(word, text)] = value.items()
    if word not in list(Comparison):
        raise unknown("comparison", str(word), Comparison)
    return Text(Comparison(word), read_text(text))


_STAR = 'write { starts_with = "…" } or { ends_with = "…" }, or { equals = "…" } if the star is part of the text'
_ONE = "write one of { equals = … }, { starts_with = … } and { ends_with = … }; for two of them, write two rules"


def compile_text(text: Text) -> Match:
    """Exact in every letter, and in its case."""
    wanted = text.value
    match text.comparison:
        case Comparison.EQUALS:
            return lambda found: found == wanted
        case Comparison.STARTS_WITH:
            return lambda found: found.startswith(wanted)
        case Comparison.ENDS_WITH:
            return lambda found: found.endswith(wanted)


_CAPITALS = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def lower_ascii(text: str) -> str:
    """`text` with A to Z in lower case and nothing else changed: str.lower makes a `k` of the Kelvin sign, too."""
    return text.translate(_CAPITALS)


# RFC 1034 section 3.5, with the underscore that service names have; a star is a certificate's own wildcard.
_DNS = re.compile(r"[A-Za-z0-9_*.-]{1,253}")


def _read_dns(value: object) -> Text:
    text = read_comparison(value)
    if _DNS.fullmatch(text.value) is None:
        raise wrong(f"{text.value!r} is no DNS name", "write it without scheme, port and spaces, in the xn-- form")
    if text.comparison is Comparison.ENDS_WITH and not text.value.startswith("."):
        said = f"{text.value!r} is the end of other domains' names as well"
        raise wrong(said, f'write {{ ends_with = ".{text.value}" }}, with a dot before it')
    return text


def compile_dns(text: Text) -> Match:
    """RFC 4343: the letter case of a DNS name says nothing."""
    test = compile_text(text._replace(value=lower_ascii(text.value)))

    def match(found: str) -> bool | None:
        held = test(lower_ascii(found))
        # A NUL or a blank in it: some programs stop there, and see another name.
        return held if not held or _DNS.fullmatch(found) else None

    return match


# RFC 5321 section 2.4: a domain's letter case says nothing; a local part's might, and mail goes astray if it does.
_ADDRESS = re.compile(r"[^@\s<>,;:()\"]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def read_address(value: object) -> str:
    """One email address, whole. Raises PydanticCustomError."""
    text = read_text(value)
    if "*" in text:
        raise wrong(
            f"{text!r} has a star, and nothing here is a pattern",
            'for a whole domain, write { email_domain = { domain = "example.com" } }',
        )
    if _ADDRESS.fullmatch(text) is None:
        raise wrong(
            f"{text!r} is no email address", 'write "me@example.com", with an international domain in its xn-- form'
        )
    return text


def compile_email(text: Text) -> Match:
    """The domain in any letter case, the local part exactly.

    Two local parts that differ in letter case alone are one mailbox nearly everywhere, and two by the standard, so
    nobody can tell: None.
    """
    exact, vague = compile_text(_lower_known_domain(text)), compile_text(text._replace(value=lower_ascii(text.value)))

    def match(found: str) -> bool | None:
        if exact(_lower_domain(found)):
            return True
        return None if vague(lower_ascii(found)) else False

    return match


def compile_addresses(addresses: Iterable[str]) -> Match:
    """As `compile_email`, for any of many whole addresses."""
    exact = frozenset(map(_lower_domain, addresses))
    vague = frozenset(map(lower_ascii, exact))

    def match(found: str) -> bool | None:
        if _lower_domain(found) in exact:
            return True
        return None if lower_ascii(found) in vague else False

    return match


def _lower_known_domain(text: Text) -> Text:
    if "@" in text.value:
        return text._replace(value=_lower_domain(text.value))
    return text._replace(value=lower_ascii(text.value)) if text.comparison is Comparison.ENDS_WITH else text


def read_domain(value: object) -> str:
    """One domain of email addresses, in lower case. Raises PydanticCustomError."""
    text = read_text(value)
    if _DOMAIN.fullmatch(text) is None:
        hint = 'write "example.com", without @ and star, an international one in its xn-- form; name each subdomain'
        raise wrong(f"{text!r} is no domain", hint)
    return lower_ascii(text)


_DOMAIN = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def _lower_domain(address: str) -> str:
    """The last @ is the one: a local part may have others, in quotes."""
    local, at, domain = address.rpartition("@")
    return local + at + lower_ascii(domain) if at else address


def find_domain(address: str) -> str:
    """What stands behind the last @, in lower case; empty where there is none."""
    _, at, domain = address.rpartition("@")
    return lower_ascii(domain) if at else ""


def _read_email(value: object) -> Text:
    text = read_comparison(value)
    match text.comparison:
        case Comparison.EQUALS:
            read_address(text.value)
        case Comparison.STARTS_WITH if "@" in text.value[:-1]:
            said = f"{text.value!r} begins addresses in other domains as well"
            raise wrong(said, "write the whole address, or end before the domain")
        case Comparison.ENDS_WITH if "@" not in text.value and not text.value.startswith("."):
            said = f"{text.value!r} is the end of other domains' names as well"
            raise wrong(said, f'write {{ ends_with = "@{text.value}" }}')
    return text


_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+")


def _read_uri(value: object) -> Text:
    text = read_comparison(value)
    if text.comparison is Comparison.ENDS_WITH:
        return text
    if ":" not in text.value:
        raise wrong(f"{text.value!r} is no URI", 'write its scheme as well, such as "spiffe://example.org/phone"')
    if text.comparison is Comparison.STARTS_WITH and _AUTHORITY.fullmatch(text.value):
        said = f"{text.value!r} begins URIs of other hosts as well"
        raise wrong(said, f'write {{ starts_with = "{text.value}/" }}, with a slash behind the host')
    return text


PlainText = Annotated[Text, PlainValidator(read_comparison)]
OptionalText = Annotated[Text | None, PlainValidator(read_comparison)]
OptionalDNS = Annotated[Text | None, PlainValidator(_read_dns)]
OptionalEmail = Annotated[Text | None, PlainValidator(_read_email)]
OptionalURI = Annotated[Text | None, PlainValidator(_read_uri)]
EmailAddress = Annotated[str, PlainValidator(read_address)]


def match_any(match: Match, values: Iterable[str]) -> bool | None:
    """For values that are each a statement of their own: one that matches is enough."""
    answers = {match(value) for value in values}
    return True if True in answers else None if None in answers else False


def match_only(match: Match, values: Iterable[str]) -> bool | None:
    """For a value that should be there once: where one of several matches, nobody can tell which is meant."""
    values = tuple(values)
    held = match_any(match, values)
    return held if len(values) == 1 or held is False else None
