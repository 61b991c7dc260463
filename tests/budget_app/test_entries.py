"""The rules by which typed text becomes an expense."""

import ast
import inspect
import string
from datetime import date, timedelta
from decimal import Decimal

import pytest
from babel.numbers import format_currency, format_decimal, list_currencies
from hypothesis import example, given
from hypothesis import strategies as st

from budget_app import entries
from budget_app.entries import (
    MAX_AMOUNT,
    Entry,
    EntryError,
    FieldError,
    Terms,
    choose_category,
    choose_day,
    clean_device,
    is_refused,
    parse_amount,
    parse_category,
    parse_date,
    parse_id,
    parse_note,
    read_entry,
)
from budget_app.sentences import Sentence

TODAY = date(2025, 11, 23)
TERMS = Terms("EUR", ("Eating out", "Home", "Café"), TODAY)
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("4.50", "4.50"),
        ("4,50", "4.50"),
        ("4.5", "4.50"),
        ("4", "4.00"),
        (" 4.50 ", "4.50"),
        (".50", "0.50"),
        (",5", "0.50"),
        ("007", "7.00"),
        ("€4.50", "4.50"),
        ("€ 4.50", "4.50"),
        ("4,50 €", "4.50"),
        ("4.50 EUR", "4.50"),
        ("eur 4.50", "4.50"),
        ("EUR4.50", "4.50"),
        ("1234", "1234.00"),
        ("1 234", "1234.00"),
        ("1 234,50", "1234.50"),
        ("1 234.50", "1234.50"),
        ("1\u00a0234,50", "1234.50"),
        ("1\u2009234,50", "1234.50"),
        ("1\u202f234\u202f567,5", "1234567.50"),
        ("1.234,50", "1234.50"),
        ("1,234.50", "1234.50"),
        ("1,234,567", "1234567.00"),
        ("1.234.567", "1234567.00"),
        ("1,234,567.89", "1234567.89"),
        ("0.01", "0.01"),
        ("999,999,999.99", "999999999.99"),
        ("0" * 300 + "4.50", "4.50"),
    ],
)
def test_an_amount_is_read_as_it_is_meant(text: str, meant: str) -> None:
    """Every way in which people and phones write an amount has the one reading that they mean."""
    amount = parse_amount(text, "EUR")
    assert amount == Decimal(meant)
    assert amount.as_tuple().exponent == -2


@pytest.mark.parametrize(
    "text",
    ["-4.50", "\u22124.50", "- 4,50", "-€4.50", "€-4.50", "€ -4.50", "-4.50 €", "EUR -4.50", "- 4.50 EUR", "\u2212.5€"],
)
def test_an_amount_below_zero_is_a_refund(text: str) -> None:
    """A minus sign stands before the number or before the currency."""
    assert parse_amount(text, "EUR") in (Decimal("-4.50"), Decimal("-0.50"))


@pytest.mark.parametrize(
    ("currency", "text"),
    [
        ("USD", "$4.50"),
        ("USD", "USD 4.50"),
        ("CAD", "$4.50"),
        ("CAD", "CA$4.50"),
        ("BRL", "R$ 4,50"),
        ("BRL", "r$4,50"),
        ("GBP", "£4.50"),
        ("CHF", "CHF 4.50"),
        ("CHF", "4.50 chf"),
        ("INR", "₹4.50"),
        ("XAF", "4,50 FCFA"),
    ],
)
def test_the_currency_of_the_budget_may_stand_on_either_side(currency: str, text: str) -> None:
    """Its code and its sign say nothing new."""
    assert parse_amount(text, currency) == Decimal("4.50")


@pytest.mark.parametrize(
    ("text", "currency", "sign"),
    [("$4.50", "EUR", "$"), ("4.50 £", "EUR", "£"), ("R$ 4,50", "EUR", "$"), ("€4.50", "USD", "€"), ("¥4", "CHF", "¥")],
)
def test_the_sign_of_another_currency_is_refused(text: str, currency: str, sign: str) -> None:
    """Ten dollars are not ten euros."""
    with pytest.raises(FieldError) as caught:
        parse_amount(text, currency)
    assert str(caught.value) == f"This budget is in {currency}; write the amount in it, without “{sign}”."


@pytest.mark.parametrize("text", ["4.50 USD", "CHF 4.50", "kr 4.50", "£"])
def test_another_currency_by_its_letters_is_refused_too(text: str) -> None:
    """No letters but those of the budget's currency are taken for nothing."""
    with pytest.raises(FieldError):
        parse_amount(text, "EUR")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Enter an amount, such as 4.50."),
        ("€", "Enter an amount, such as 4.50."),
        ("-", "Enter an amount, such as 4.50."),
        ("-€", "Enter an amount, such as 4.50."),
        ("0", "other than zero"),
        ("0.00", "other than zero"),
        ("-0", "other than zero"),
        ("1,234", "“1,234” is ambiguous. Write 1234 for thousands, or two decimals such as 1.23."),
        ("-1,234", "“1,234” is ambiguous. Write 1234 for thousands, or two decimals such as 1.23."),
        ("12.345", "“12.345” is ambiguous. Write 12345 for thousands, or two decimals such as 12.34."),
        ("0.234", "at most two decimals"),
        ("1234,567", "at most two decimals"),
        ("4.505", "ambiguous"),
        ("1,234,56", "write 1234.56"),
        ("12 34", "without grouping"),
        ("1  234", "without grouping"),
        ("1,234 567", "without grouping"),
        ("1.234,567", "without grouping"),
        ("0,123,456", "without grouping"),
        ("4.", "what follows the decimal point"),
        (".", "what follows the decimal point"),
        ("4,50,", "without grouping"),
        ("+4.50", "only digits"),
        ("--4.50", "only digits"),
        ("-€-4.50", "only digits"),
        ("4.50-", "only digits"),
        ("(4.50)", "only digits"),
        ("1e3", "only digits"),
        ("1e999", "only digits"),
        ("1_000", "only digits"),
        ("NaN", "only digits"),
        ("Infinity", "only digits"),
        ("four", "only digits"),
        ("🍎", "only digits"),
        ("=4.50", "only digits"),
        ("€€4", "only digits"),
        ("4.50\n", "only digits"),
        ("1'234.50", "only digits"),
        ("\u0664.\u0665\u0660", "the digits 0 to 9"),
        ("4.5²", "the digits 0 to 9"),
        ("1000000000", "at most 999,999,999.99"),
        ("-1000000000", "at most 999,999,999.99"),
        ("9" * 200, "at most 999,999,999.99"),
        ("9" * 5000, "at most 999,999,999.99"),
        ("0." + "9" * 200, "at most two decimals"),
    ],
)
def test_a_bad_amount_is_refused_with_what_to_change(text: str, sentence: str) -> None:
    """What has no reading, or two, is never guessed at."""
    with pytest.raises(FieldError) as caught:
        parse_amount(text, "EUR")
    assert sentence in str(caught.value)


@given(
    st.text() | st.text("0123456789., €-\u00a0\u202f") | st.text("012.,- EURSTNﬁﬆß€$"), st.sampled_from(["EUR", "STN"])
)
@example("ﬆN45", "STN")
def test_any_text_is_an_amount_or_a_field_error(text: str, currency: str) -> None:
    """Nothing else ever comes out, and no digit that was typed is dropped."""
    try:
        amount = parse_amount(text, currency)
    except FieldError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < abs(amount) <= MAX_AMOUNT
        assert amount == amount.quantize(Decimal("0.01"))
        assert (amount < 0) == any(sign in text for sign in "-\u2212")
        typed = [character for character in text if character in string.digits]
        digits = "".join(typed).strip("0")
        assert str(abs(amount)).replace(".", "").strip("0") == digits


@given(
    cents=st.integers(1, int(MAX_AMOUNT * 100)),
    marks=st.sampled_from([("", "."), ("", ","), (" ", "."), (" ", ","), ("\u202f", ","), (".", ","), (",", ".")]),
    sign=st.sampled_from(["", "€", "€ ", "EUR ", "-", "-€", "€ -", "\u2212"]),
)
def test_an_amount_in_any_country_s_notation_is_the_amount_meant(cents: int, marks: tuple[str, str], sign: str) -> None:
    """What is written with any pair of marks is read back as it was."""
    group, decimal = marks
    whole = f"{cents // 100:,}".replace(",", group)
    meant = Decimal(cents) / 100
    text = f"{sign}{whole}{decimal}{cents % 100:02}"
    assert parse_amount(text, "EUR") == (-meant if sign.strip(" €EUR") else meant)


@given(
    cents=st.integers(1, int(MAX_AMOUNT * 100)).flatmap(lambda cents: st.sampled_from([cents, -cents])),
    locale=st.sampled_from(["en", "pt", "pt_BR", "de", "fr", "pl", "sv", "da", "es", "it", "nl", "cs", "fi"]),
)
def test_an_amount_as_the_pages_format_it_is_read_as_that_amount(cents: int, locale: str) -> None:
    """What a person copies from the list, with and without the currency, goes in as it came out."""
    meant = Decimal(cents) / 100
    assert parse_amount(format_decimal(meant, format="#,##0.00", locale=locale), "EUR") == meant
    assert parse_amount(format_currency(meant, "EUR", locale=locale), "EUR") == meant


@pytest.mark.parametrize("currency", sorted(list_currencies()))
def test_every_currency_may_stand_before_its_amounts(currency: str) -> None:
    """A budget is in any currency there is."""
    assert parse_amount(f"{currency} 4.50", currency) == Decimal("4.50")
    assert parse_amount(f"4.50 {currency.lower()}", currency) == Decimal("4.50")


@pytest.mark.parametrize("text", [ID, "a", "A" * 64, "2025-11-23T10.00_1", ID.upper()])
def test_an_id_is_kept_as_it_came(text: str) -> None:
    """A UUID, or what else a program numbers its expenses by."""
    assert parse_id(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", " a", "a ", "a\n", "a b", "ä", "a/b", "a'b", "A" * 65, "\x00", "🍎", "a%20", ".", ".."]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """An id stands in addresses and in cells, so that nothing else may be in it."""
    with pytest.raises(FieldError) as caught:
        parse_id(text)
    assert ("of your own" in str(caught.value)) == (text == "")


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\tb", "\x00", "a\x1f", "\x7f", "a\x85", "\ud800", "a\u2028b", "a\u2029b", "\ufffe", "\uffff", "x\n"],
    ids=ascii,
)
def test_control_characters_and_surrogates_are_refused(text: str) -> None:
    """A workbook cannot hold them, or not on one line."""
    with pytest.raises(FieldError, match="one line of plain text"):
        parse_note(text)
    with pytest.raises(FieldError, match="one line of plain text"):
        parse_category(text)


@pytest.mark.parametrize("text", ["_x0041_", "a _xD83D_ b", "__x0041_x0042_", "x005F_"])
def test_text_that_a_workbook_would_take_for_an_escape_is_refused(text: str) -> None:
    """Nobody's note becomes another one in the workbook."""
    with pytest.raises(FieldError, match="another character"):
        parse_note(text)


@pytest.mark.parametrize("text", ["", "   ", "\u00a0", "\u3000", "\u200b", "\u200b\u2060"], ids=ascii)
def test_a_category_has_to_be_seen(text: str) -> None:
    """A name of spaces and invisible characters is none."""
    with pytest.raises(FieldError, match="Choose a category"):
        parse_category(text)


@pytest.mark.parametrize(
    ("text", "chosen"), [("Home", "Home"), ("home", "Home"), (" EATING OUT ", "Eating out"), ("CAFÉ", "Café")]
)
def test_a_category_is_one_of_the_settings(text: str, chosen: str) -> None:
    """Upper and lower case are one, as they are to SUMIFS, and the settings' spelling is what is kept."""
    assert choose_category(text, TERMS.categories) == chosen


@pytest.mark.parametrize("text", ["Rockets", "Hom", "Home2", "*", "Eating  out"])
def test_another_category_is_refused_by_its_name(text: str) -> None:
    """The list is closed, so that a slip of the thumb makes no new category."""
    with pytest.raises(FieldError) as caught:
        choose_category(text, TERMS.categories)
    assert str(caught.value) == f"Choose one of the categories; “{text}” is not in the settings."


def test_texts_are_as_long_as_they_may_be_and_no_longer() -> None:
    """Lengths are in characters as people count them, not in bytes."""
    assert parse_category("é" * 50) == "é" * 50
    assert parse_note("🍎" * 500) == "🍎" * 500
    assert parse_note("  ") == ""
    with pytest.raises(FieldError, match="to 50 characters; it has 51"):
        parse_category("é" * 51)
    with pytest.raises(FieldError, match="to 500 characters; it has 501"):
        parse_note("🍎" * 501)
    with pytest.raises(FieldError, match="to 500 characters; it has 10000"):
        parse_note("n" * 10_000)


@given(st.text())
@example("=1+1")
@example("{amount}")
def test_a_note_is_kept_as_typed_without_the_space_around_it(text: str) -> None:
    """A note is text, whatever a spreadsheet would make of it."""
    try:
        note = parse_note(text)
    except FieldError:
        return
    assert note == text.strip()
    assert not any(map(is_refused, note))


@pytest.mark.parametrize("text", ["2025-11-23", "2000-01-01", "2026-11-24", " 2024-02-29 "])
def test_a_day_is_read_in_iso_form(text: str) -> None:
    """As `<input type=date>` sends it, wherever the phone is from."""
    assert parse_date(text, TODAY) == date.fromisoformat(text.strip())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Choose the day"),
        ("2025-02-30", "exists in the calendar"),
        ("0000-01-01", "exists in the calendar"),
        ("1826-11-23", "from 2000-01-01 to 2026-11-24"),
        ("2226-11-23", "from 2000-01-01 to 2026-11-24"),
        ("1999-12-31", "from 2000-01-01 to 2026-11-24"),
        ("2026-11-25", "from 2000-01-01 to 2026-11-24"),
        ("20251123", "year-month-day"),
        ("2025-W47-7", "year-month-day"),
        ("23.11.2025", "year-month-day"),
        ("\u0662\u0660\u0662\u0665-11-23", "year-month-day"),
        ("2025-11-23\n", "year-month-day"),
        ("2025-11-23T00:00", "year-month-day"),
        ("Today", "year-month-day"),
        ("tomorrow", "year-month-day"),
    ],
)
def test_a_bad_day_is_refused_with_what_to_change(text: str, sentence: str) -> None:
    """A day that nobody meant is not moved to one that exists."""
    with pytest.raises(FieldError) as caught:
        parse_date(text, TODAY)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("day", "text", "meant"),
    [
        ("", "", TODAY),
        ("today", "", TODAY),
        ("yesterday", "", date(2025, 11, 22)),
        ("today", "2025-11-01", TODAY),
        ("other", "2025-11-01", date(2025, 11, 1)),
        ("", "2025-11-01", date(2025, 11, 1)),
        ("", "today", TODAY),
        ("", "yesterday", date(2025, 11, 22)),
        ("other", "yesterday", date(2025, 11, 22)),
    ],
)
def test_the_day_is_the_one_that_was_tapped(day: str, text: str, meant: date) -> None:
    """The date field is still filled in when somebody goes back to today, and counts for `other` alone."""
    assert choose_day(day, text, TODAY) == meant


@pytest.mark.parametrize(("day", "text"), [("other", ""), ("other", "soon"), ("tomorrow", ""), ("TODAY", "2025-11-01")])
def test_a_day_that_was_chosen_and_is_none_is_refused(day: str, text: str) -> None:
    """Another day without a date is not today."""
    with pytest.raises(FieldError):
        choose_day(day, text, TODAY)


@pytest.mark.parametrize("today", [date(2024, 3, 1), date(2025, 1, 1), date(2024, 12, 31)])
def test_yesterday_is_the_day_before_also_in_another_month_or_year(today: date) -> None:
    """The first of a month comes after the last of the one before."""
    assert parse_date("yesterday", today) == today - timedelta(days=1)


def test_an_entry_is_read_from_its_texts() -> None:
    """What a browser sends, and what a program sends, is one expense with the settings' spelling of the category."""
    fields = {"id": ID, "amount": "€4,50", "category": " eating out ", "date": "2025-11-20", "note": "Coffee"}
    meant = Entry(Decimal("4.50"), "Eating out", date(2025, 11, 20), "Coffee")
    assert read_entry(fields, TERMS) == (ID, meant)
    assert read_entry(fields | {"day": "other", "then": "another", "version": "3"}, TERMS) == (ID, meant)


@pytest.mark.parametrize("amount", ["4.50", "-4.50", "\u22124.50"])
def test_a_refund_by_its_box_or_by_its_sign_is_the_same(amount: str) -> None:
    """Both together do not cancel out: money that came back is below zero."""
    _, entry = read_entry({"id": ID, "amount": amount, "category": "Home", "refund": "yes"}, TERMS)
    assert entry.amount == Decimal("-4.50")
    _, other = read_entry({"id": ID, "amount": amount, "category": "Home", "refund": ""}, TERMS)
    assert other.amount == Decimal("-4.50" if amount != "4.50" else "4.50")


@pytest.mark.parametrize("refund", ["false", "no", "0", "off", "null"])
def test_a_refund_that_is_denied_is_none(refund: str) -> None:
    """A program that writes `false`, `0` or `no` does not mean yes: it is an expense, or refused."""
    try:
        _, entry = read_entry({"id": ID, "amount": "4.50", "category": "Home", "refund": refund}, TERMS)
    except EntryError as error:
        assert list(error.messages) == ["refund"]
    else:
        assert entry.amount > 0


def test_a_day_that_was_not_sent_is_today_and_a_note_that_was_not_sent_is_empty() -> None:
    """The least that is an expense."""
    assert read_entry({"id": ID, "amount": "1", "category": "Home"}, TERMS)[1] == Entry(Decimal(1), "Home", TODAY, "")


def test_every_field_that_is_wrong_has_its_message() -> None:
    """One answer tells all there is to mend."""
    with pytest.raises(EntryError) as caught:
        read_entry({"id": "a b", "amount": "x", "category": "", "day": "other", "note": "\x00"}, TERMS)
    assert list(caught.value.messages) == ["id", "amount", "category", "date", "note"]
    assert all(str(sentence) in str(caught.value) for sentence in caught.value.messages.values())


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("amount", "0", "Enter an amount other than zero."),
        ("amount", "1e999", "Use only digits and a decimal point or comma, such as 4.50."),
        ("amount", "four", "Use only digits and a decimal point or comma, such as 4.50."),
        ("amount", "7" * 200, "Enter an amount of at most 999,999,999.99."),
        ("amount", "🍎", "Use only digits and a decimal point or comma, such as 4.50."),
        ("note", "🍎" * 10_000, "Shorten this to 500 characters; it has 10000."),
        ("date", "1826-11-23", "Choose a day from 2000-01-01 to 2026-11-24."),
        ("date", "2226-11-23", "Choose a day from 2000-01-01 to 2026-11-24."),
        ("category", "Rockets", "Choose one of the categories; “Rockets” is not in the settings."),
        ("category", "{0}{typed}", "Choose one of the categories; “{0}{typed}” is not in the settings."),
        ("id", "", "Send an id of your own with each expense, so that sending it twice does not add it twice."),
    ],
)
def test_bad_input_has_its_message_beside_its_field(field: str, text: str, sentence: str) -> None:
    """Nothing of it is an entry, and no other field is blamed."""
    fields = {"id": ID, "amount": "4.50", "category": "Home", "date": "2025-11-20", "note": "Paint"} | {field: text}
    with pytest.raises(EntryError) as caught:
        read_entry(fields, TERMS)
    assert {name: str(said) for name, said in caught.value.messages.items()} == {field: sentence}


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("id", "amount", "refund", "category", "day", "date", "note"), st.text())
    )
)
def test_any_texts_are_an_entry_or_sentences_without_leftovers(fields: dict[str, str]) -> None:
    """Every sentence can be said: each place in it has its value."""
    try:
        entry_id, _ = read_entry(fields, TERMS)
    except EntryError as error:
        for sentence in error.messages.values():
            assert places(sentence.text) == set(sentence.values)
            assert str(sentence).endswith(".")
    else:
        assert entry_id == fields["id"]


def test_every_sentence_of_the_module_is_given_what_it_has_places_for() -> None:
    """Also those that no other test brings about."""
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(entries)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FieldError"
    ]
    assert len(calls) > 15
    for call in calls:
        assert isinstance(call.args[0], ast.Constant)
        assert places(str(call.args[0].value)) == {keyword.arg for keyword in call.keywords}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Rhea Group", "Rhea Group"),
        (None, "unnamed device"),
        ("", "unnamed device"),
        (" \u00a0", "unnamed device"),
        ("a\x00b\n", "a\ufffdb\ufffd"),
        ("a\ud800", "a\ufffd"),
        ("_x0041_", "\ufffd"),
        ("n" * 200, "n" * 100),
    ],
)
def test_a_device_s_name_always_fits_the_workbook(name: str | None, kept: str) -> None:
    """A certificate may carry any name, and an expense is never refused for it."""
    assert clean_device(name) == kept


@given(st.text())
def test_a_cleaned_name_stays_as_it_is(name: str) -> None:
    """What the workbook was given once is what it is given again."""
    assert clean_device(clean_device(name)) == clean_device(name)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_a_sentence_is_said_with_its_values_and_nothing_in_these_is_a_place() -> None:
    """What a person typed is no format string."""
    assert str(Sentence("“{typed}” is not there.", {"typed": "{typed.__class__} {}"})) == (
        "“{typed.__class__} {}” is not there."
    )
