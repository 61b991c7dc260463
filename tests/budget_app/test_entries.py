"""The rules by which typed text becomes an expense."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_app.entries import (
    MAX_AMOUNT,
    Entry,
    EntryError,
    FieldError,
    clean_device,
    is_refused,
    parse_amount,
    parse_category,
    parse_date,
    parse_note,
    read_entry,
)

TODAY = date(2025, 11, 23)


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
        ("$4.50", "4.50"),
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
    ],
)
def test_an_amount_is_read_as_it_is_meant(text: str, meant: str) -> None:
    assert parse_amount(text) == Decimal(meant)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Enter an amount, such as 4.50."),
        ("€", "Enter an amount, such as 4.50."),
        ("0", "above zero"),
        ("0.00", "above zero"),
        ("-4.50", "without a minus sign"),
        ("\u22124.50", "without a minus sign"),
        ("€-4.50", "without a minus sign"),
        ("1,234", "“1,234” is ambiguous. Write 1234 for thousands, or two decimals such as 1.23."),
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
        ("4.", "without grouping"),
        (".", "without grouping"),
        ("4,50,", "without grouping"),
        ("+4.50", "only digits"),
        ("1e3", "only digits"),
        ("1_000", "only digits"),
        ("NaN", "only digits"),
        ("=4.50", "only digits"),
        ("4.50 EUR", "only digits"),
        ("€€4", "only digits"),
        ("4.50\n", "only digits"),
        ("1'234.50", "only digits"),
        ("\u0664.\u0665\u0660", "the digits 0 to 9"),
        ("4.5²", "the digits 0 to 9"),
        ("1000000000", "at most 999,999,999.99"),
        ("9" * 5000, "at most 999,999,999.99"),
    ],
)
def test_a_bad_amount_is_refused_with_what_to_change(text: str, sentence: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_amount(text)
    assert sentence in str(caught.value)


@given(st.text() | st.text("0123456789., €-\u00a0\u202f"))
def test_any_text_is_an_amount_or_a_field_error(text: str) -> None:
    try:
        amount = parse_amount(text)
    except FieldError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < amount <= MAX_AMOUNT
        assert amount == amount.quantize(Decimal("0.01"))
        assert str(int(amount)) in "".join(filter(str.isdigit, text)).lstrip("0") or amount < 1


@given(
    cents=st.integers(1, int(MAX_AMOUNT * 100)),
    marks=st.sampled_from([("", "."), ("", ","), (" ", "."), (" ", ","), ("\u202f", ","), (".", ","), (",", ".")]),
    sign=st.sampled_from(["", "€", "£ "]),
)
def test_an_amount_in_any_country_s_notation_is_the_amount_meant(cents: int, marks: tuple[str, str], sign: str) -> None:
    group, decimal = marks
    whole = f"{cents // 100:,}".replace(",", group)
    assert parse_amount(f"{sign}{whole}{decimal}{cents % 100:02}") == Decimal(cents) / 100


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\tb", "\x00", "a\x1f", "\x7f", "a\x85", "\ud800", "a\u2028b", "a\u2029b", "\ufffe", "\uffff", "x\n"],
    ids=ascii,
)
def test_control_characters_and_surrogates_are_refused(text: str) -> None:
    with pytest.raises(FieldError, match="one line of plain text"):
        parse_note(text)
    with pytest.raises(FieldError, match="one line of plain text"):
        parse_category(text)


@pytest.mark.parametrize("text", ["_x0041_", "a _xD83D_ b", "__x0041_x0042_", "x005F_"])
def test_text_that_a_workbook_would_take_for_an_escape_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="another character"):
        parse_note(text)


@pytest.mark.parametrize("text", ["", "   ", "\u00a0", "\u3000", "\u200b", "\u200b\u2060"], ids=ascii)
def test_a_category_has_to_be_seen(text: str) -> None:
    with pytest.raises(FieldError, match="Enter a category"):
        parse_category(text)


def test_texts_are_as_long_as_they_may_be_and_no_longer() -> None:
    assert parse_category("é" * 50) == "é" * 50
    assert parse_note("🍎" * 500) == "🍎" * 500
    assert parse_note("  ") == ""
    with pytest.raises(FieldError, match="to 50 characters; it has 51"):
        parse_category("é" * 51)
    with pytest.raises(FieldError, match="to 500 characters; it has 501"):
        parse_note("🍎" * 501)


@given(st.text())
@example("=1+1")
def test_a_note_is_kept_as_typed_without_the_space_around_it(text: str) -> None:
    try:
        note = parse_note(text)
    except FieldError:
        return
    assert note == text.strip()
    assert not any(map(is_refused, note))


@pytest.mark.parametrize("text", ["2025-11-23", "2000-01-01", "2026-11-24", " 2024-02-29 "])
def test_a_day_is_read_in_iso_form(text: str) -> None:
    assert parse_date(text, TODAY) == date.fromisoformat(text.strip())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Choose the day"),
        ("2025-02-30", "exists in the calendar"),
        ("0000-01-01", "exists in the calendar"),
        ("1999-12-31", "from 2000-01-01 to 2026-11-24"),
        ("2026-11-25", "from 2000-01-01 to 2026-11-24"),
        ("20251123", "year-month-day"),
        ("2025-W47-7", "year-month-day"),
        ("23.11.2025", "year-month-day"),
        ("\u0662\u0660\u0662\u0665-11-23", "year-month-day"),
        ("2025-11-23\n", "year-month-day"),
        ("2025-11-23T00:00", "year-month-day"),
    ],
)
def test_a_bad_day_is_refused_with_what_to_change(text: str, sentence: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_date(text, TODAY)
    assert sentence in str(caught.value)


def test_an_entry_is_read_from_its_four_texts() -> None:
    fields = {"amount": "€4,50", "category": " Eating out ", "date": "2025-11-20", "note": "Coffee"}
    assert read_entry(fields, TODAY) == Entry(Decimal("4.50"), "Eating out", date(2025, 11, 20), "Coffee")


def test_a_day_that_was_not_sent_is_today_and_a_note_that_was_not_sent_is_empty() -> None:
    assert read_entry({"amount": "1", "category": "Home"}, TODAY) == Entry(Decimal(1), "Home", TODAY, "")


def test_every_field_that_is_wrong_has_its_message() -> None:
    with pytest.raises(EntryError) as caught:
        read_entry({"amount": "x", "category": "", "date": "", "note": "\x00"}, TODAY)
    assert list(caught.value.messages) == ["amount", "category", "date", "note"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Rhea Group", "Rhea Group"),
        (None, "unnamed device"),
        ("", "unnamed device"),
        ("a\x00b\n", "a\ufffdb\ufffd"),
        ("_x0041_", "\ufffd"),
        ("n" * 200, "n" * 100),
    ],
)
def test_a_device_s_name_always_fits_the_workbook(name: str | None, kept: str) -> None:
    assert clean_device(name) == kept
