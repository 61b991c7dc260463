"""An expense as a person types it: text in, an `Entry` or a sentence for each field out. No I/O.

A field that cannot be read is never guessed at: the sentence says what to change.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

CENT = Decimal("0.01")
MAX_AMOUNT = Decimal("999999999.99")
MAX_CATEGORY = 50
MAX_NOTE = 500
MAX_DEVICE = 100
FIRST_DAY = date(2000, 1, 1)
DAYS_AHEAD = 366

STARTING_CATEGORIES = (
    "Groceries",
    "Eating out",
    "Transport",
    "Home",
    "Health",
    "Leisure",
    "Clothes",
    "Gifts",
    "Travel",
    "Other",
)

# Phones and spreadsheets group thousands with a space, a no-break space, a thin space or a narrow no-break space.
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f", " "))
_MINUS_SIGNS = ("-", "\u2212")

_WHOLE = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"(?P<whole>[0-9]*)[.,](?P<cents>[0-9]{1,2})")
_GROUPED = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?P<mark>[ .,])[0-9]{3}(?:(?P=mark)[0-9]{3})*)(?P<rest>[.,][0-9]{1,2})?"
)
_TOO_FINE = re.compile(r"[0-9]*[.,][0-9]{3,}")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

# XML 1.0 has no way to write these two (https://www.w3.org/TR/xml/#charsets), so a workbook cannot hold them.
_NOT_IN_XML = "\ufffe\uffff"
# Cc: control characters, Cs: surrogates, Zl and Zp: line and paragraph separators.
_REFUSED_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
# A workbook writes a character that XML cannot hold as _x0041_ (ECMA-376 part 1, 22.9.2.19, ST_Xstring), and programs
# disagree on how to write such a text itself. Nobody buys "_x0041_", so it is refused rather than turned into "A".
_ESCAPED = re.compile(r"_x[0-9A-Fa-f]{4}_|x005F_")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One expense: an amount in the currency of the budget, with at most two decimals, and what it was for."""

    amount: Decimal
    category: str
    date: date
    note: str = ""


class FieldError(ValueError):
    """One field cannot be read; `str()` is the sentence to show beside it."""


class EntryError(ValueError):
    """At least one field cannot be read; `messages` maps the name of each such field to its sentence."""

    def __init__(self, messages: dict[str, str]) -> None:
        super().__init__(" ".join(messages.values()))
        self.messages = messages


def read_entry(fields: Mapping[str, str], today: date) -> Entry:
    """Read an expense from its four texts: `amount`, `category`, `date` (today if absent) and `note`.

    Raises EntryError, which names every field that is wrong and not only the first.
    """
    messages: dict[str, str] = {}

    def read(name: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(fields.get(name, ""))
        except FieldError as error:
            messages[name] = str(error)
            return None

    amount = read("amount", parse_amount)
    category = read("category", parse_category)
    day = read("date", lambda text: parse_date(text, today)) if "date" in fields else today
    note = read("note", parse_note)
    if amount is None or category is None or day is None or note is None:
        raise EntryError(messages)
    return Entry(amount, category, day, note)


def parse_amount(text: str) -> Decimal:
    """Read an amount such as `4.50`, `4,50`, `1 234,50`, `1.234,50`, `1,234.50` or `€4.50`.

    The result is more than zero, at most MAX_AMOUNT and has at most two decimals. A text with two readings, such as
    `1,234`, is refused. Raises FieldError.
    """
    number = _without_currency_sign(text.translate(_SPACES).strip(" "))
    if not number:
        raise FieldError("Enter an amount, such as 4.50.")
    if number.startswith(_MINUS_SIGNS):
        raise FieldError("Enter an amount above zero, without a minus sign.")
    amount = _parse_number(number)
    if amount == 0:
        raise FieldError("Enter an amount above zero.")
    if amount > MAX_AMOUNT:
        raise FieldError(f"Enter an amount of at most {MAX_AMOUNT:,}.")
    return amount.quantize(CENT)


def _without_currency_sign(number: str) -> str:
    """Take one currency sign off the front or the end; a second one stays, and is refused as no digit."""
    if number and unicodedata.category(number[0]) == "Sc":
        return number[1:].lstrip(" ")
    if number and unicodedata.category(number[-1]) == "Sc":
        return number[:-1].rstrip(" ")
    return number


def _parse_number(number: str) -> Decimal:
    if _WHOLE.fullmatch(number):
        return Decimal(number)
    if match := _DECIMAL.fullmatch(number):
        return Decimal(f"{match['whole'] or '0'}.{match['cents']}")
    if match := _GROUPED.fullmatch(number):
        return _parse_grouped(match)
    raise FieldError(_explain_bad_number(number))


def _parse_grouped(match: re.Match[str]) -> Decimal:
    mark, rest = match["mark"], match["rest"] or ""
    digits = match["whole"].replace(mark, "")
    if rest.startswith(mark):
        raise FieldError(
            f"Use “{mark}” either for thousands or for decimals, or write {digits}.{rest[1:]} if you mean that."
        )
    if not rest and mark != " " and match["whole"].count(mark) == 1:
        small = match["whole"][:-1].replace(mark, ".")
        raise FieldError(f"“{match[0]}” is ambiguous. Write {digits} for thousands, or two decimals such as {small}.")
    return Decimal(digits + rest.replace(",", "."))


def _explain_bad_number(number: str) -> str:
    if _TOO_FINE.fullmatch(number):
        return "Use at most two decimals, such as 4.50."
    if any(character.isdigit() and not character.isascii() for character in number):
        return "Use the digits 0 to 9, such as 4.50."
    if any(character not in "0123456789., " for character in number):
        return "Use only digits and a decimal point or comma, such as 4.50."
    return "Write the amount without grouping, such as 1234.50."


def parse_category(text: str) -> str:
    """Read a category: one line of 1 to 50 characters, without the spaces around it. Raises FieldError."""
    category = _parse_line(text, MAX_CATEGORY)
    # A name of nothing but invisible characters is no name either.
    if not any(map(str.isprintable, category)):
        raise FieldError("Enter a category, such as Groceries.")
    return category


def parse_note(text: str) -> str:
    """Read a note: one line of 0 to 500 characters, without the spaces around it. Raises FieldError."""
    return _parse_line(text, MAX_NOTE)


def _parse_line(text: str, longest: int) -> str:
    # Checked before stripping, because str.strip() takes control characters off as well.
    if any(map(is_refused, text)):
        raise FieldError("Remove the line breaks and control characters; this is one line of plain text.")
    if match := _ESCAPED.search(text):
        raise FieldError(f"Remove “{match[0]}”; a workbook would read it as another character.")
    line = text.strip()
    if len(line) > longest:
        raise FieldError(f"Shorten this to {longest} characters; it has {len(line)}.")
    return line


def is_refused(character: str) -> bool:
    """Whether one line of text in a workbook has no place for this character."""
    return unicodedata.category(character) in _REFUSED_CATEGORIES or character in _NOT_IN_XML


def parse_date(text: str, today: date) -> date:
    """Read a day as `<input type=date>` sends it (`2025-11-23`), from FIRST_DAY to a year ahead. Raises FieldError."""
    text = text.strip(" ")
    if not text:
        raise FieldError("Choose the day of the expense.")
    # date.fromisoformat alone would accept 20251123 and week dates as well.
    if not _ISO_DATE.fullmatch(text):
        raise FieldError("Write the date as year-month-day, such as 2025-11-23.")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise FieldError("Choose a day that exists in the calendar.") from None
    last_day = today + timedelta(days=DAYS_AHEAD)
    if not FIRST_DAY <= day <= last_day:
        raise FieldError(f"Choose a day from {FIRST_DAY} to {last_day}.")
    return day


def clean_device(name: str | None) -> str:
    """A device's name as the workbook can hold it. A certificate may carry any character; none is a reason to fail."""
    line = "".join("\ufffd" if is_refused(character) else character for character in name or "").strip()
    line = _ESCAPED.sub("\ufffd", line)
    return line[:MAX_DEVICE] or "unnamed device"
