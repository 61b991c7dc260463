"""The form as it is filled in."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from budget_app.pages.fields import Fields, fill_in, fill_in_again
from budget_app.pages.page import EditPage
from budget_app.sentences import Sentence

from .samples import CATEGORIES, LATEST, make_form, make_frame, make_item

FRAME = make_frame()
WRONG = Sentence("Wrong.")


def fill(*messages: str, categories: tuple[str, ...] = CATEGORIES, **typed: str) -> Fields:
    page = replace(make_form(FRAME, None), typed=typed, messages=dict.fromkeys(messages, WRONG), categories=categories)
    return fill_in(page)


def test_a_new_form_is_for_today_and_begins_with_the_amount() -> None:
    """Nothing is chosen but the day, and the amount has the focus."""
    fields = fill()
    assert (fields.amount, fields.refund, fields.category, fields.note) == ("", False, "", "")
    assert (fields.day, fields.date, fields.focus) == ("today", "2026-11-23", "amount")


@pytest.mark.parametrize(
    ("typed", "day", "written"),
    [
        ({"date": "today"}, "today", "2026-11-23"),
        ({"date": "2026-11-23"}, "today", "2026-11-23"),
        ({"date": "yesterday"}, "yesterday", "2026-11-23"),
        ({"date": "2026-11-22"}, "yesterday", "2026-11-22"),
        ({"date": "2026-11-01"}, "other", "2026-11-01"),
        ({"day": "yesterday", "date": "2026-11-01"}, "yesterday", "2026-11-01"),
        ({"day": "other", "date": ""}, "other", "2026-11-23"),
        ({"day": "never", "date": "someday"}, "other", "someday"),
    ],
)
def test_the_day_that_was_typed_is_chosen(typed: dict[str, str], day: str, written: str) -> None:
    """A date alone, as a link or a program gives it, chooses its radio button."""
    fields = fill_in(replace(make_form(FRAME, None), typed=typed))
    assert (fields.day, fields.date) == (day, written)


def test_a_wrong_date_is_shown() -> None:
    """The date field is open where the message about it stands."""
    assert fill("date", day="today").day == "other"


def test_the_first_wrong_field_has_the_focus() -> None:
    """From the top of the form; what is wrong with no field leaves the focus where it is."""
    assert fill("date", "category").focus == "category"
    assert fill("id").focus == "amount"
    assert list(fill("id", "note").elsewhere) == [WRONG]


def test_a_category_is_chosen_in_upper_and_lower_case_alike() -> None:
    """As the settings write it; one that is not in them chooses nothing."""
    assert fill(category=" cofFEE ").category == "Coffee"
    assert fill(category="Boats").category == ""


def test_the_fold_is_open_where_the_chosen_category_is_in_it() -> None:
    """Eight are seen at once, the others behind a fold, which never hides what is chosen."""
    assert (len(fill().chips), len(fill().more)) == (8, 4)
    assert not fill(category="Coffee").opened
    assert fill(category="Other").opened
    assert not fill().opened


def test_a_fold_is_not_for_one_alone() -> None:
    """Nine categories are all seen."""
    assert fill(categories=CATEGORIES[:9]).more == ()
    assert len(fill(categories=CATEGORIES[:10]).more) == 2


def test_an_entry_is_filled_in_as_it_would_be_typed() -> None:
    """The form of an entry has its amount without a sign, its category, its note and its day."""
    fields = fill_in_again(EditPage(FRAME, LATEST[2]))
    assert (fields.amount, fields.refund, fields.category) == ("24.90", True, "Clothes")
    assert (fields.note, fields.day, fields.focus) == ("Jacket sent back", "today", "")


def test_what_was_typed_comes_before_what_the_entry_is() -> None:
    """After a mistake the form shows the mistake."""
    fields = fill_in_again(EditPage(FRAME, LATEST[2], {"amount": "four"}, {"amount": WRONG}))
    assert (fields.amount, fields.refund, fields.focus) == ("four", False, "amount")


def test_odd_cells_are_shown_as_they_are() -> None:
    """What the workbook has instead of a number or a day is there to be changed."""
    item = replace(make_item(1), amount="about ten", date="mid November")
    fields = fill_in_again(EditPage(FRAME, item))
    assert (fields.amount, fields.refund, fields.day, fields.date) == ("about ten", False, "other", "mid November")
    exact = fill_in_again(EditPage(FRAME, replace(item, amount=Decimal("1.2345"), date=date(2026, 11, 22))))
    assert (exact.amount, exact.day) == ("1.2345", "yesterday")
