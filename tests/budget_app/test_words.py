"""Words: the language that is chosen, and money, days and months as that language writes them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from babel.localedata import locale_identifiers
from babel.messages.pofile import PoFileError
from hypothesis import given
from hypothesis import strategies as st

from budget_app.entries import FieldError, parse_amount
from budget_app.sentences import Sentence
from budget_app.settings import Settings
from budget_app.words import Words, choose_words, read_catalogues

TODAY = date(2026, 11, 23)
MOMENT = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)


def words(language: str = "auto", currency: str = "EUR") -> Words:
    return choose_words(Settings(language=language, currency=currency), None)


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        (None, "en-GB"),
        ("", "en-GB"),
        ("en", "en-GB"),
        ("en-US,en;q=0.9", "en-US"),
        ("pt", "pt-PT"),
        ("pt-PT,pt;q=0.9,en;q=0.5", "pt-PT"),
        ("pt-BR", "pt-BR"),
        ("pt-XX", "pt-PT"),
        ("de-DE,de;q=0.9,pt;q=0.7,en;q=0.5", "pt-PT"),
        ("en;q=0.5, pt;q=0.8", "pt-PT"),
        ("pt;q=0, en", "en-GB"),
        ("*", "en-GB"),
        ("ja", "en-GB"),
        ("\x00;;;,,q=pt", "en-GB"),
        ("x-" * 50_000, "en-GB"),
    ],
)
def test_the_language_is_the_best_of_the_request_that_there_is(header: str | None, lang: str) -> None:
    """A browser's list is followed in its order as far as there are catalogues, and otherwise it is English."""
    assert choose_words(Settings(), header).lang == lang


@given(st.text())
def test_no_header_is_a_reason_to_fail(header: str) -> None:
    """Whatever stands in Accept-Language, there are words."""
    assert choose_words(Settings(), header).lang


@pytest.mark.parametrize(
    ("language", "lang", "word"),
    [("en", "en-GB", "Today"), ("pt", "pt-PT", "Hoje"), ("pt-BR", "pt-BR", "Hoje"), ("de", "en-DE", "Today")],
)
def test_the_settings_come_before_the_request(language: str, lang: str, word: str) -> None:
    """A language in the settings holds; one without a catalogue is English with that country's formats."""
    chosen = choose_words(Settings(language=language), "pt-BR,en-US")
    assert (chosen.lang, chosen.day(TODAY, TODAY)) == (lang, word)


@pytest.mark.parametrize("language", sorted({name.replace("_", "-") for name in locale_identifiers()})[::7])
def test_every_locale_can_be_set(language: str) -> None:
    """Any language that the settings accept writes money, days and months."""
    chosen = words(language)
    assert chosen.money(Decimal("1234.5"))
    assert chosen.day(date(2026, 11, 3), TODAY)
    assert chosen.weekday(date(2026, 11, 3), TODAY)
    assert chosen.month(TODAY)
    assert chosen.moment(MOMENT, TODAY)
    assert chosen.direction in ("ltr", "rtl")


@pytest.mark.parametrize(
    ("language", "currency", "amount", "shown"),
    [
        ("en", "EUR", "4.5", "€4.50"),
        ("en", "EUR", "-1234", "-€1,234.00"),
        ("en", "EUR", "999999999.99", "€999,999,999.99"),
        ("en-US", "USD", "4.5", "$4.50"),
        ("pt", "EUR", "1234.5", "1\u00a0234,50\u00a0€"),
        ("pt-BR", "BRL", "1234.5", "R$\u00a01.234,50"),
        ("de", "EUR", "4.5", "4,50\u00a0€"),
        ("en", "JPY", "1234", "JP¥1,234"),
        ("en", "JPY", "4.5", "JP¥4.50"),
        ("en", "BHD", "4.5", "BHD4.500"),
        ("en", "EUR", "1.005", "€1.01"),
        ("en", "EUR", "-0.001", "€0.00"),
        ("en", "EUR", "1E+300", "1E300 €"),
    ],
)
def test_money_is_written_as_the_country_does(language: str, currency: str, amount: str, shown: str) -> None:
    """An amount has its currency's decimals and all its cents, half a cent goes up, and zero has no sign."""
    assert words(language, currency).money(Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("language", "currency", "amount", "shown"),
    [
        ("en", "EUR", "1234.5", "1,234.50"),
        ("pt", "EUR", "1234.5", "1\u00a0234,50"),
        ("en", "JPY", "1234", "1,234"),
        ("en", "EUR", "1E+300", "1E300"),
        ("en", "EUR", "NaN", "NaN"),
    ],
)
def test_an_amount_may_stand_without_its_currency(language: str, currency: str, amount: str, shown: str) -> None:
    """Where the currency is clear, the number alone is written by the same rules."""
    assert words(language, currency).amount(Decimal(amount)) == shown


@pytest.mark.parametrize("language", ["en", "pt", "de", "pt-BR"])
@given(amount=st.decimals("0.01", "999999999.99", places=2))
def test_an_amount_in_the_form_is_read_as_what_it_is(language: str, amount: Decimal) -> None:
    """What the form shows of an entry is what it is read as, in every language."""
    assert parse_amount(words(language).typed_amount(amount), "EUR") == amount


def test_an_amount_in_the_form_keeps_all_its_digits() -> None:
    """More decimals than the form takes are shown, so that nobody rounds them away unseen."""
    typed = words().typed_amount(Decimal("4.567"))
    assert typed == "4.567"
    with pytest.raises(FieldError):
        parse_amount(typed, "EUR")
    assert words("en", "JPY").typed_amount(Decimal("1234.00")) == "1234"


@pytest.mark.parametrize(
    ("language", "day", "shown"),
    [
        ("en", date(2026, 11, 23), "Today"),
        ("en", date(2026, 11, 22), "Yesterday"),
        ("en", date(2026, 11, 9), "9 Nov"),
        ("en", date(2024, 12, 31), "31 Dec 2024"),
        ("en-US", date(2026, 11, 9), "Nov 9"),
        ("pt", date(2026, 11, 22), "Ontem"),
        ("pt", date(2026, 11, 9), "9/11"),
    ],
)
def test_a_day_is_said_as_a_person_says_it(language: str, day: date, shown: str) -> None:
    """Today and yesterday have names, and the year is said where it is another one."""
    assert words(language).day(day, TODAY) == shown


def test_a_heading_names_the_day_of_the_week() -> None:
    """Above the entries of a day stands which day of the week it was."""
    assert words().weekday(date(2026, 11, 21), TODAY) == "Sat 21 Nov"
    assert words().weekday(date(2024, 11, 21), TODAY) == "Thursday, 21 November 2024"
    assert words().weekday(TODAY, TODAY) == "Today"


def test_months_and_moments_are_in_the_language() -> None:
    """Months have their names, short ones without a full stop, and a moment has its time."""
    assert words("pt").month(TODAY) == "novembro de 2026"
    assert words("pt").short_month(TODAY) == "nov"
    assert words().short_month(TODAY) == "Nov"
    assert words().moment(MOMENT, TODAY) == "Today, 14:05"


def test_plurals_follow_the_language() -> None:
    """One thing has another form than many, and the number is grouped."""
    for language, shown in (("en", ["0 entries", "1 entry", "1,234 entries"]), ("pt", ["0 movimentos", "1 movimento"])):
        chosen = words(language)
        counted = [chosen.count("{n} entry", "{n} entries", n) for n in (0, 1, 1234)]
        assert counted[: len(shown)] == shown


def test_a_sentence_is_translated_with_its_values() -> None:
    """The values of a sentence stand in the translation, days as the reader writes them."""
    sentence = Sentence("Choose a day from {first} to {last}.", {"first": date(2000, 1, 1), "last": TODAY})
    assert words("pt").say_sentence(sentence) == "Escolha um dia de 01/01/2000 a 23/11/2026."
    assert words().say_sentence(sentence) == "Choose a day from 1 Jan 2000 to 23 Nov 2026."
    assert words().say_sentence(Sentence("{count} of {name}", {"count": 10_000, "name": "{x}"})) == "10,000 of {x}"


def test_a_language_is_one_file(tmp_path: Path) -> None:
    """A file that is put into the folder is a language, with the formats that its header names."""
    header = 'msgid ""\nmsgstr ""\n"Language: de_AT\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
    (tmp_path / "de.po").write_text(header + 'msgid "Today"\nmsgstr "Heute"\n', encoding="utf-8")
    catalogues = read_catalogues(tmp_path)
    assert sorted(catalogues) == ["de", "en"]
    assert str(catalogues["de"].locale) == "de_AT"
    assert catalogues["de"].translations.gettext("Today") == "Heute"


def test_a_broken_language_is_refused(tmp_path: Path) -> None:
    """A file that gettext would misread stops the app when it starts, not when somebody reads a page."""
    (tmp_path / "de.po").write_text('msgid "Today"\nHeute\n', encoding="utf-8")
    with pytest.raises(PoFileError):
        read_catalogues(tmp_path)
