"""What the pages say, in the language of whoever reads: gettext catalogues for sentences, CLDR for numbers and days.

A language is one file, `languages/pt.po`; English is the key of every sentence and needs none. The header `Language`
of a file says whose numbers and days go with it where a reader names no country.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.dates import format_date, format_skeleton, format_time, get_month_names
from babel.localedata import exists
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    format_currency,
    format_decimal,
    format_scientific,
    get_currency_precision,
    get_currency_symbol,
)

from budget_app.sentences import Sentence
from budget_app.settings import Settings

LANGUAGES = Path(__file__).parent / "languages"

# Beyond this a number is shown as 1E+300: a workbook may hold it, and no page has room for its digits.
_MOST_DIGITS = 15
_EXACT = Context(prec=64, rounding=ROUND_HALF_UP)
_MONEY_DIGITS = 2
# More than any browser sends, and little enough to read on every request.
_MOST_LANGUAGES = 20
_PREFERENCE = re.compile(r"\s*([A-Za-z0-9-]{1,35})\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")
_A_SATURDAY = 5
_NOVEMBER = 11


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The sentences of one language, and the locale of its numbers and days if the reader names no other."""

    locale: Locale
    translations: NullTranslations


def read_catalogues(folder: Path = LANGUAGES) -> Mapping[str, Catalogue]:
    """Every `.po` file by its name without ending, and English. A file that cannot be read raises PoFileError."""
    catalogues = {path.stem: _read_catalogue(path) for path in sorted(folder.glob("*.po"))}
    # Day before month, as most of those do who read English and name no country.
    return {"en": Catalogue(Locale("en", "GB"), NullTranslations()), **catalogues}


def _read_catalogue(path: Path) -> Catalogue:
    with path.open("rb") as file:
        catalog = read_po(file, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Catalogue(catalog.locale or Locale.parse(path.stem), GNUTranslations(compiled))


_CATALOGUES = read_catalogues()


@dataclass(frozen=True, slots=True)
class Words:
    """One language with one country's formats and one currency. Everything here is plain text, nothing is escaped."""

    locale: Locale
    translations: NullTranslations
    currency: str

    @property
    def lang(self) -> str:
        """As BCP 47 writes it, for `lang` attributes and for scripts."""
        return str(self.locale).replace("_", "-")

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return str(self.locale.text_direction)

    @property
    def symbol(self) -> str:
        """The sign of the currency, or its three letters."""
        return get_currency_symbol(self.currency, self.locale)

    @property
    def decimal_mark(self) -> str:
        """What people write before the cents: a comma or a point, the two that the amount field reads."""
        return "," if self.locale.number_symbols["latn"]["decimal"] == "," else "."

    def say(self, text: str, /, **values: object) -> str:
        """The translation of an English sentence, with `values` in their places."""
        translated: str = self.translations.gettext(text)
        return translated.format_map(values) if values else translated

    def say_sentence(self, sentence: Sentence) -> str:
        """The same for a sentence made elsewhere; days and whole numbers in it are written as the reader does."""
        return self.say(sentence.text, **{name: self._write(value) for name, value in sentence.values.items()})

    def count(self, one: str, many: str, n: int) -> str:
        """A sentence about `n` things, with `{n}` in it, in the plural form that the language has for that number."""
        return self.translations.ngettext(one, many, n).format(n=self.number(n))

    def number(self, number: int) -> str:
        """A whole number with its thousands grouped."""
        text: str = format_decimal(number, locale=self.locale)
        return text

    def money(self, amount: Decimal) -> str:
        """An amount with its currency; at least as many decimals as the currency has, and all cents there are."""
        if not _is_writable(amount):
            return f"{self.amount(amount)} {self.symbol}"
        rounded, digits = self._round(amount)
        text: str = format_currency(rounded, self.currency, locale=self.locale, currency_digits=digits != _MONEY_DIGITS)
        return text

    def amount(self, amount: Decimal) -> str:
        """The same without the currency."""
        if not _is_writable(amount):
            return format_scientific(amount, locale=self.locale) if amount.is_finite() else str(amount)
        rounded, digits = self._round(amount)
        # This is no pattern of a locale: it says how many decimals there are, which CLDR leaves to the currency.
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        text: str = format_decimal(rounded, format=pattern, locale=self.locale)
        return text

    def typed_amount(self, amount: Decimal) -> str:
        """An amount as a person would type it: without currency or grouping, and with all the digits it has."""
        whole, _, rest = f"{amount.normalize():f}".partition(".")
        if rest or get_currency_precision(self.currency):
            rest = rest.ljust(_MONEY_DIGITS, "0")
        return whole + self.decimal_mark + rest if rest else whole

    def _round(self, amount: Decimal) -> tuple[Decimal, int]:
        """To the currency's decimals, or to cents where the amount has some, half a cent up as spreadsheets do."""
        cents = amount.quantize(Decimal("0.01"), context=_EXACT)
        digits = get_currency_precision(self.currency)
        if digits < _MONEY_DIGITS and cents != cents.to_integral_value():
            digits = _MONEY_DIGITS
        rounded = amount.quantize(Decimal(1).scaleb(-digits), context=_EXACT)
        # A zero has no sign.
        return (rounded or abs(rounded)), digits

    def day(self, day: date, today: date) -> str:
        """`Today`, `Yesterday`, `23 Nov`, and with its year if that is another one."""
        if day == today:
            return self.say("Today")
        if day == today - timedelta(days=1):
            return self.say("Yesterday")
        if not _has_short_names(self.locale):
            return format_date(day, "medium", locale=self.locale)
        return format_skeleton("MMMd" if day.year == today.year else "yMMMd", day, locale=self.locale)

    def weekday(self, day: date, today: date) -> str:
        """The same for a heading, with the day of the week: `Sat 21 Nov`."""
        if day in (today, today - timedelta(days=1)):
            return self.day(day, today)
        if day.year != today.year or not _has_short_names(self.locale):
            return format_date(day, "full", locale=self.locale)
        return format_skeleton("MMMEd", day, locale=self.locale)

    def moment(self, moment: datetime, today: date) -> str:
        """A day and the time on it, such as `Today, 15:04`; `moment` is in the zone of the reader."""
        return f"{self.day(moment.date(), today)}, {format_time(moment, 'short', locale=self.locale)}"

    def month(self, month: date) -> str:
        """`November 2026`, as it stands within a sentence; some languages write it with a small letter."""
        return format_skeleton("yMMMM", month, locale=self.locale)

    def short_month(self, month: date) -> str:
        """`Nov`, for where there is little room."""
        names = get_month_names("abbreviated" if _has_short_names(self.locale) else "wide", "format", self.locale)
        name: str = names[month.month]
        return name.rstrip(".")

    def _write(self, value: object) -> str:
        if isinstance(value, date):
            return format_date(value, "medium", locale=self.locale)
        return self.number(value) if isinstance(value, int) else str(value)


def choose_words(settings: Settings, accept_language: str | None) -> Words:
    """The language of the settings, or with `auto` the first of the request's `Accept-Language` that has a catalogue.

    English where there is none; whatever a header says, it raises nothing.
    """
    if settings.language == "auto":
        locale = _find_preferred(_read_preferences(accept_language or ""))
    else:
        locale = Locale.parse(settings.language, sep="-")
    return _make_words(None if locale is None else str(locale), settings.currency)


@lru_cache(maxsize=64)
def _make_words(identifier: str | None, currency: str) -> Words:
    locale = None if identifier is None else Locale.parse(identifier)
    name = None if locale is None else _find_catalogue(locale)
    if locale is None or name is None:
        return Words(_find_english(locale), _CATALOGUES["en"].translations, currency)
    catalogue = _CATALOGUES[name]
    return Words(locale if locale.territory else catalogue.locale, catalogue.translations, currency)


def _find_catalogue(locale: Locale) -> str | None:
    return next((name for name in (str(locale), locale.language) if name in _CATALOGUES), None)


def _find_english(locale: Locale | None) -> Locale:
    """English as it is written in the country of a language without a catalogue: `4,50 €` for German, in English."""
    likely = get_global("likely_subtags").get(str(locale), str(locale)) if locale else ""
    territory = locale.territory if locale and locale.territory else likely.rpartition("_")[2]
    return Locale("en", territory) if exists(f"en_{territory}") else _CATALOGUES["en"].locale


def _find_preferred(tags: Iterable[str]) -> Locale | None:
    for tag in tags:
        # A tag with a country that CLDR does not know is still one of its language.
        for each in (tag, tag.partition("-")[0]):
            try:
                locale = Locale.parse(each, sep="-")
            except (UnknownLocaleError, ValueError):
                continue
            if _find_catalogue(locale):
                return locale
    return None


def _read_preferences(header: str) -> Iterator[str]:
    """The tags of an `Accept-Language` header, the best first (RFC 9110, 12.5.4); what cannot be read is left out."""
    matches = map(_PREFERENCE.fullmatch, header[:1000].split(",")[:_MOST_LANGUAGES])
    found = [(float(match[2] or 1), match[1]) for match in matches if match]
    return (tag for quality, tag in sorted(found, key=lambda each: -each[0]) if quality > 0)


def _is_writable(amount: Decimal) -> bool:
    return amount.is_finite() and amount.adjusted() < _MOST_DIGITS


@lru_cache(maxsize=64)
def _has_short_names(locale: Locale) -> bool:
    """Whether Babel has this locale's short names of months and days; for some it gives those of no language."""
    month: str = get_month_names("abbreviated", "format", locale)[_NOVEMBER]
    day: str = locale.days["format"]["abbreviated"][_A_SATURDAY]
    return month != "M11" and (day != "Sat" or locale.language == "en")
