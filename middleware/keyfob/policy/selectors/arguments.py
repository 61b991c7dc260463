"""What stands behind a selector's name: the parts that several selectors' arguments have in common."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, TypeVar

from cryptography import x509
from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError

T = TypeVar("T")


class Argument(BaseModel):
    """What stands behind a selector's name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Argument):
    """`{}`: the selector needs no words."""


def wrong(message: str, hint: str = "") -> PydanticCustomError:
    """What a validator raises: what is wrong, and the cure."""
    return PydanticCustomError("wrong", "{message}", {"message": message, "hint": hint})


def unknown(kind: str, name: str, known: Iterable[str]) -> PydanticCustomError:
    """What a validator raises for a word outside a closed set; suggests the one that was meant."""
    known = sorted(map(str, known))
    close = [each for each in known if each.lower() == name.lower()] or get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known[:_MANY])}"
    return wrong(
        f"{name!r} is no {kind}", hint if close or len(known) <= _MANY else f"{hint} and {len(known) - _MANY} more"
    )


# More words than this at once help nobody.
_MANY = 50


# A certificate or a header that holds one is nobody's wish: the rule would never hold, and so never shut anybody out.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def read_text(value: object) -> str:
    """A text with something in it. Raises PydanticCustomError."""
    if not isinstance(value, str):
        raise wrong("is not a text", "put it in quotes")
    if not value:
        raise wrong("is empty", "write what it is, or leave the rule out")
    if _UNPRINTABLE.search(value):
        raise wrong(f"{value!r} holds a control character", "write it without")
    return value


def read_word(kind: str, known: Mapping[str, T]) -> Callable[[object], T]:
    """A reader of one word of a closed set; it gives what the word stands for."""

    def read(value: object) -> T:
        word = read_text(value)
        if word not in known:
            raise unknown(kind, word, known)
        return known[word]

    return read


# The durations of Access's API (30m, 2h45m), and days, which it lacks.
_DURATION = re.compile(r"(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?", re.ASCII)
_SECONDS = (86_400, 3_600, 60, 1)


def parse_duration(text: str) -> int | None:
    """The seconds of `30m`, `2h45m` or `30d`; None for anything else, and for no time at all."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), _SECONDS, strict=True)) or None


def _read_duration(value: object) -> int:
    seconds = parse_duration(read_text(value))
    if seconds is None:
        raise wrong(f"{value!r} is no duration", 'write "30m", "2h45m" or "30d"')
    return seconds


_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")


def parse_sha256(text: str) -> bytes | None:
    """The 32 octets of a SHA-256 in hex, with a colon between any two octets or without; None for anything else."""
    return bytes.fromhex(text.replace(":", "")) if _SHA256_HEX.fullmatch(text) else None


_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,30}")


def parse_oid(text: str) -> x509.ObjectIdentifier | None:
    """The object identifier that dotted digits are; None for anything else."""
    try:
        return x509.ObjectIdentifier(text) if _OID.fullmatch(text) else None
    except ValueError:
        return None


# What several arguments are made of. A name of the configuration's own is compared exactly.
Name = Annotated[str, PlainValidator(read_text)]
Seconds = Annotated[int, PlainValidator(_read_duration)]
