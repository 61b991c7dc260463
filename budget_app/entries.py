"""An expense as a person types it: text in, an `Entry` or a sentence for each field out. No I/O.

A field that cannot be read is never guessed at: the sentence says what to change.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

from babel.numbers import get_currency_symbol

from budget_app.sentences import Sentence

CENT = Decimal("0.01")
MAX_AMOUNT = Decimal("999999999.99")
MAX_CATEGORY = 50
MAX_NOTE = 500
MAX_DEVICE = 100
FIRST_DAY = date(2000, 1, 1)
DAYS_AHEAD = 366

# Phones and spreadsheets group thousands with a space, a no-break space, a thin space or a narrow no-break space.
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f", " "))
_MINUS_SIGNS = ("-", "\u2212")

_WHOLE = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"(?P<whole>[0-9]*)[.,](?P<cents>[0-9]{1,2})")
_GROUPED = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?P<mark>[ .,])[0-9]{3}(?:(?P=mark)[0-9]{3})*)(?P<rest>[.,][0-9]{1,2})?"
)
_UNFINISHED = re.compile(r"[0-9]*[.,]")
_TOO_FINE = re.compile(r"[0-9]*[.,][0-9]{3,}")
# A browser takes “.” and “..” in an address for another place.
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}")
_ANSWERS: Mapping[str, bool] = {
    **dict.fromkeys(("", "no", "false", "off", "0", "null"), False),
    **dict.fromkeys(("yes", "true", "on", "1"), True),
}
_NAMED_DAYS = ("today", "yesterday")
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
    """One expense: an amount in the currency of the budget, with two decimals, and what it was for.

    A refund is an amount below zero.
    """

    amount: Decimal
    category: str
    date: date
    note: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an expense is read by: the budget's currency, its categories, and the day that is called today."""

    currency: str
    categories: Sequence[str]
    today: date


class FieldError(ValueError):
    """One field cannot be read; `sentence` is what to show beside it."""

    def __init__(self, text: str, **values: object) -> None:
        self.sentence = Sentence(text, values)
        super().__init__(text)

    def __str__(self) -> str:
        return str(self.sentence)


class EntryError(ValueError):
    """At least one field cannot be read; `messages` maps the name of each such field to its sentence."""

    def __init__(self, messages: dict[str, Sentence]) -> None:
        super().__init__(" ".join(map(str, messages.values())))
        self.messages = messages


def read_entry(fields: Mapping[str, str], terms: Terms) -> tuple[str, Entry]:
    """Read the id and the expense from their texts: `id`, `amount`, `refund`, `category`, `day`, `date` and `note`.

    The page sends a `day` (`today`, `yesterday`, or `other` for the one in `date`), programs a `date` or none for
    today's; a `refund` of `yes` says that the money came back. Raises EntryError, which names every field that is wrong
    and not only the first.
    """
    messages: dict[str, Sentence] = {}

    def read(name: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(fields.get(name, ""))
        except FieldError as error:
            messages[name] = error.sentence
            return None

    identifier = read("id", parse_id)
    amount = read("amount", lambda text: parse_amount(text, terms.currency))
    category = read("category", lambda text: choose_category(text, terms.categories))
    day = read("date", lambda text: choose_day(fields.get("day", ""), text, terms.today))
    note = read("note", parse_note)
    refund = read("refund", parse_answer)
    if identifier is None or amount is None or category is None or day is None or note is None or refund is None:
        raise EntryError(messages)
    return identifier, Entry(-abs(amount) if refund else amount, category, day, note)


def parse_id(text: str) -> str:
    """Read an entry's id: 1 to 64 ASCII letters, digits, dots, dashes and underscores. Raises FieldError."""
    if not text:
        raise FieldError("Send an id of your own with each expense, so that sending it twice does not add it twice.")
    if not _ID.fullmatch(text):
        raise FieldError("An id has 1 to 64 letters, digits, dots, dashes and underscores, such as a UUID.")
    return text


def parse_answer(text: str) -> bool:
    """Read yes or no, as forms and programs write them; nothing is no. Raises FieldError."""
    answer = text.strip().lower()
    if answer not in _ANSWERS:
        raise FieldError("Write yes or no.")
    return _ANSWERS[answer]


def parse_amount(text: str, currency: str) -> Decimal:
    """Read an amount such as `4.50`, `4,50`, `1 234,50`, `1.234,50`, `1,234.50`, `€4.50` or `-4.50`, a refund.

    The result is not zero, at most MAX_AMOUNT either way, and has two decimals. A text with two readings, such as
    `1,234`, is refused, and so is the sign of another currency than `currency`, an ISO 4217 code. Raises FieldError.
    """
    number, negative = _without_sign(text.translate(_SPACES).strip(" "))
    number = _without_currency(number, currency)
    if not negative:
        number, negative = _without_sign(number)
    if not number:
        raise FieldError("Enter an amount, such as 4.50.")
    amount = _parse_number(number)
    if amount == 0:
        raise FieldError("Enter an amount other than zero.")
    if amount > MAX_AMOUNT:
        raise FieldError("Enter an amount of at most {most}.", most=f"{MAX_AMOUNT:,}")
    return amount.quantize(CENT).copy_negate() if negative else amount.quantize(CENT)


def _without_sign(number: str) -> tuple[str, bool]:
    return (number[1:].lstrip(" "), True) if number.startswith(_MINUS_SIGNS) else (number, False)


def _without_currency(number: str, currency: str) -> str:
    """Take the budget's currency off the front or the end, once; a second one stays, and is refused as no digit."""
    for mark in _list_marks(currency):
        if number[: len(mark)].upper() == mark:
            return number[len(mark) :].lstrip(" ")
        if number[-len(mark) :].upper() == mark:
            return number[: -len(mark)].rstrip(" ")
    foreign = next((character for character in number if unicodedata.category(character) == "Sc"), None)
    if foreign is not None:
        raise FieldError(
            "This budget is in {currency}; write the amount in it, without “{sign}”.", currency=currency, sign=foreign
        )
    return number


@lru_cache(maxsize=8)
def _list_marks(currency: str) -> tuple[str, ...]:
    """What stands for a currency: its code, its symbol, and the sign in that, such as `$` in `CA$`."""
    symbol = get_currency_symbol(currency, "en").translate(_SPACES)
    return (currency, symbol, *(character for character in symbol if unicodedata.category(character) == "Sc"))


def _parse_number(number: str) -> Decimal:
    if _WHOLE.fullmatch(number):
        return Decimal(number)
    if match := _DECIMAL.fullmatch(number):
        return Decimal(f"{match['whole'] or '0'}.{match['cents']}")
    if match := _GROUPED.fullmatch(number):
        return _parse_grouped(match)
    raise _explain_bad_number(number)


def _parse_grouped(match: re.Match[str]) -> Decimal:
    mark, rest = match["mark"], match["rest"] or ""
    digits = match["whole"].replace(mark, "")
    if rest.startswith(mark):
        raise FieldError(
            "Use “{mark}” either for thousands or for decimals, or write {plain} if you mean that.",
            mark=mark,
            plain=f"{digits}.{rest[1:]}",
        )
    if not rest and mark != " " and match["whole"].count(mark) == 1:
        small = match["whole"][:-1].replace(mark, ".")
        raise FieldError(
            "“{typed}” is ambiguous. Write {digits} for thousands, or two decimals such as {small}.",
            typed=match[0],
            digits=digits,
            small=small,
        )
    return Decimal(digits + rest.replace(",", "."))


def _explain_bad_number(number: str) -> FieldError:
    if _UNFINISHED.fullmatch(number):
        return FieldError("Write what follows the decimal point or comma, such as 4.50.")
    if _TOO_FINE.fullmatch(number):
        return FieldError("Use at most two decimals, such as 4.50.")
    if any(character.isdigit() and not character.isascii() for character in number):
        return FieldError("Use the digits 0 to 9, such as 4.50.")
    if any(character not in "0123456789., " for character in number):
        return FieldError("Use only digits and a decimal point or comma, such as 4.50.")
    return FieldError("Write the amount without grouping, such as 1234.50.")


def choose_category(text: str, categories: Sequence[str]) -> str:
    """Which of `categories` is meant; upper and lower case are one, as they are to SUMIFS. Raises FieldError."""
    typed = parse_category(text).lower()
    for category in categories:
        if category.lower() == typed:
            return category
    raise FieldError("Choose one of the categories; “{typed}” is not in the settings.", typed=text.strip())


def parse_category(text: str) -> str:
    """Read a category: one line of 1 to 50 characters, without the spaces around it. Raises FieldError."""
    category = _parse_line(text, MAX_CATEGORY)
    # A name of nothing but invisible characters is no name either.
    if not any(map(str.isprintable, category)):
        raise FieldError("Choose a category.")
    return category


def parse_note(text: str) -> str:
    """Read a note: one line of 0 to 500 characters, without the spaces around it. Raises FieldError."""
    return _parse_line(text, MAX_NOTE)


def _parse_line(text: str, longest: int) -> str:
    # Checked before stripping, because str.strip() takes control characters off as well.
    if any(map(is_refused, text)):
        raise FieldError("Remove the line breaks and control characters; this is one line of plain text.")
    if match := _ESCAPED.search(text):
        raise FieldError("Remove “{escaped}”; a workbook would read it as another character.", escaped=match[0])
    line = text.strip()
    if len(line) > longest:
        raise FieldError("Shorten this to {most} characters; it has {count}.", most=longest, count=len(line))
    return line


def is_refused(character: str) -> bool:
    """Whether one line of text in a workbook has no place for this character."""
    return unicodedata.category(character) in _REFUSED_CATEGORIES or character in _NOT_IN_XML


def choose_day(day: str, text: str, today: date) -> date:
    """The day that the page's two fields mean; without either it is today. Raises FieldError."""
    if day not in ("", "other"):
        text = day
    return parse_date(text, today) if text or day else today


def parse_date(text: str, today: date) -> date:
    """Read a day as `<input type=date>` sends it (`2025-11-23`), or the word `today` or `yesterday`. Raises FieldError.

    It lies between FIRST_DAY and a year ahead.
    """
    text = text.strip(" ")
    if text in _NAMED_DAYS:
        return today - timedelta(days=_NAMED_DAYS.index(text))
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
        raise FieldError("Choose a day from {first} to {last}.", first=FIRST_DAY, last=last_day)
    return day


def clean_device(name: str | None) -> str:
    """A device's name as the workbook can hold it. A certificate may carry any character; none is a reason to fail."""
    line = "".join("\ufffd" if is_refused(character) else character for character in name or "").strip()
    line = _ESCAPED.sub("\ufffd", line)
    return line[:MAX_DEVICE] or "unnamed device"
